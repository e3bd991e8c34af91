//! Who called, as evidence: compares the callers of the last minutes with those of the days before and says it in six
//! numbers for the judge. Knows callers as numbers and text; neither counts over time nor scores.
//!
//! How much a mix of callers surprises depends on the habit of the series: where every job runs as one session, one
//! hand in everything is nothing new. So the surprise is compared with the largest that the series' own hours showed.

use serde::{Deserialize, Serialize};

use super::Callers;
use super::series::{Caller, Daily, Recent};

/// Minutes whose callers are looked at.
pub(super) const WINDOW_MINUTES: u32 = 15;

/// Calls of an hour below which its mix says nothing.
const HABIT_CALLS_MIN: u64 = 4;

/// The largest surprise of a series' hours fades by so much (in `CODE_STEPS` per e-fold) a day.
const HABIT_FADE: u16 = 1;
const CODE_STEPS: f64 = 20.0;

/// The largest surprise that an hour of the series has shown, fading.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Habit {
    code: u16,
    day: u16,
}

impl Habit {
    fn left(self, day: u32) -> u16 {
        self.code.saturating_sub(HABIT_FADE.saturating_mul((day as u16).saturating_sub(self.day)))
    }

    fn raise(&mut self, surprise: f64, day: u32) {
        let code = (surprise.ln_1p() * CODE_STEPS).round() as u16;
        if code > self.left(day) {
            *self = Habit { code, day: day as u16 };
        }
    }

    /// ln(1 + surprise)
    fn ln(self, day: u32) -> f64 {
        f64::from(self.left(day)) / CODE_STEPS
    }
}

/// Calls by value, now and before.
#[derive(Clone, Copy)]
struct Share<K> {
    value: K,
    now: f64,
    before: f64,
    /// On how many earlier days.
    days: f64,
}

/// Adds up by value.
fn shares<K: Ord + Copy>(rows: impl Iterator<Item = Share<K>>) -> Vec<Share<K>> {
    let mut rows: Vec<Share<K>> = rows.collect();
    rows.sort_unstable_by_key(|row| row.value);
    rows.dedup_by(|next, kept| {
        let same = next.value == kept.value;
        if same {
            kept.now += next.now;
            kept.before += next.before;
            kept.days += next.days;
        }
        same
    });
    rows
}

/// How surprising the mix is: sum of `n_c ln((n_c / n) / p_c)` over callers, in nats; `p_c` is the smoothed share of
/// before, half a call for whoever never called.
fn surprise<K>(shares: &[Share<K>]) -> f64 {
    let now: f64 = shares.iter().map(|share| share.now).sum();
    let before: f64 = shares.iter().map(|share| share.before).sum();
    let weight = before + 0.5 * (shares.len() as f64 + 1.0);
    let mut terms: Vec<f64> = shares
        .iter()
        .filter(|share| share.now > 0.0)
        .map(|share| share.now * (share.now / now * weight / (share.before + 0.5)).ln())
        .collect();
    // Numbers of callers follow arrival; their sum must not, to the last bit.
    terms.sort_unstable_by(f64::total_cmp);
    terms.iter().sum::<f64>().max(0.0)
}

/// Share of the calls by values never seen before, times how unlikely a new one was: ln((draws + 2) / (seen + 1)),
/// each value once a day being a draw.
fn newness<K>(shares: &[Share<K>]) -> f64 {
    let now: f64 = shares.iter().map(|share| share.now).sum();
    let new: f64 = shares.iter().filter(|share| share.before == 0.0).map(|share| share.now).sum();
    let draws: f64 = shares.iter().map(|share| share.days).sum();
    let seen = shares.iter().filter(|share| share.before > 0.0).count() as f64;
    new / now.max(1.0) * ((draws + 2.0) / (seen + 1.0)).ln()
}

/// The callers of an hour that is over, for the habit. `rows` are that hour's calls.
pub(super) fn learn_hour(habit: &mut Habit, days: &[Daily], rows: &[Recent], callers: &Callers, day: u32) {
    let principal = |caller: Caller| callers.parts(caller).principal;
    let now: Vec<Share<u32>> = rows.iter().map(|row| row.share(principal, true)).collect();
    let calls: f64 = now.iter().map(|share| share.now).sum();
    if (calls as u64) < HABIT_CALLS_MIN || days.is_empty() {
        return;
    }
    let before = days.iter().map(|row| row.share(principal));
    habit.raise(surprise(&shares(now.into_iter().chain(before))), day);
}

impl Recent {
    fn share<K>(&self, value: impl Fn(Caller) -> K, in_window: bool) -> Share<K> {
        let count = f64::from(self.count);
        let (now, before) = if in_window { (count, 0.0) } else { (0.0, count) };
        Share { value: value(self.caller), now, before, days: 0.0 }
    }
}

impl Daily {
    fn share<K>(&self, value: impl Fn(Caller) -> K) -> Share<K> {
        Share { value: value(self.caller), now: 0.0, before: f64::from(self.count), days: 1.0 }
    }
}

/// In the order of the judge's names: `mix mixn newp newa newf top errs`.
pub(super) fn features(
    habit: Habit,
    days: &[Daily],
    recent: &[Recent],
    minute: u32,
    callers: &Callers,
    of_errors: bool,
) -> [f64; 7] {
    let in_window = |row: &Recent| row.minute + WINDOW_MINUTES > minute;
    if days.is_empty() {
        // Nothing to compare with.
        return [0.0; 7];
    }
    fn of<'a, K: Ord + Copy>(
        days: &'a [Daily],
        recent: &'a [Recent],
        value: impl Fn(Caller) -> K + Copy + 'a,
        in_window: impl Fn(&Recent) -> bool + 'a,
    ) -> Vec<Share<K>> {
        let before = days.iter().map(|row| row.share(value));
        shares(before.chain(recent.iter().map(move |row| row.share(value, in_window(row)))))
    }
    let principals = of(days, recent, |caller| callers.parts(caller).principal, in_window);
    let agents = of(days, recent, |caller| callers.parts(caller).agent, in_window);
    let now: f64 = principals.iter().map(|share| share.now).sum();
    let before: f64 = principals.iter().map(|share| share.before).sum();
    let surprise = surprise(&principals);
    let fines = of(days, recent, |caller| caller.fine, in_window);

    // Sessions, keys and addresses that change every day are a habit too: what a day usually brings is taken off.
    let new_now: f64 = fines.iter().filter(|share| share.before == 0.0).map(|share| share.now).sum();
    let first_day = days.iter().map(|row| row.day).min().unwrap_or(0);
    let mut by_fine: Vec<(u32, u32, f64)> =
        days.iter().map(|row| (row.caller.fine, row.day, f64::from(row.count))).collect();
    by_fine.sort_unstable_by_key(|row| (row.0, row.1));
    let (mut usual_new, mut usual_all) = (0.0, 0.0);
    for rows in by_fine.chunk_by(|a, b| a.0 == b.0) {
        for row in rows.iter().filter(|row| row.1 > first_day) {
            usual_all += row.2;
            if row.1 == rows[0].1 {
                usual_new += row.2;
            }
        }
    }
    let new_fine = new_now / now.max(1.0) - (usual_new + 0.5) / (usual_all + 1.0);

    // The largest share that one hand has beyond its usual one.
    let beyond = |share: &Share<u32>| share.now / now.max(1.0) - share.before / before.max(1.0);
    let top = principals.iter().map(beyond).fold(0.0, f64::max);

    let failed = |caller: Caller| u32::from(callers.parts(caller).failed);
    let error_mix = if of_errors {
        0.0
    } else {
        let errors = of(days, recent, failed, in_window);
        let failed = errors.iter().find(|share| share.value == 1);
        let (e, b) = failed.map_or((0.0, 0.0), |share| (share.now, share.before));
        // Against as many errors as the usual share would have brought.
        ((e + 1.0) / (now * (b + 0.5) / (before + 1.0) + 1.0)).ln()
    };
    [
        surprise.ln_1p() - habit.ln(minute / 1440),
        surprise / now.max(1.0),
        newness(&principals),
        newness(&agents),
        new_fine,
        top,
        error_mix,
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn share(value: u32, now: u32, before: u32) -> Share<u32> {
        Share { value, now: now.into(), before: before.into(), days: f64::from(u8::from(before > 0)) * 7.0 }
    }

    #[test]
    fn the_usual_mix_is_no_surprise_and_one_hand_is() {
        let usual = surprise(&[share(1, 60, 6_000), share(2, 40, 4_000)]);
        let one_hand = surprise(&[share(1, 100, 6_000), share(2, 0, 4_000)]);
        assert!(usual < 0.1, "{usual}");
        // 100 calls that each had a chance of 0.6: -100 ln 0.6 = 51.
        assert!((one_hand - 51.1).abs() < 0.2, "{one_hand}");
    }

    #[test]
    fn who_never_called_surprises_more_the_longer_the_history() {
        let after = |calls| surprise(&[share(1, 0, calls), share(2, 10, 0)]);
        assert!(after(10) < after(100) && after(100) < after(10_000));
        let days = |days: f64| newness(&[Share { days, ..share(1, 0, 50) }, share(2, 10, 0)]);
        assert!(days(1.0) < days(7.0));
        assert_eq!(newness(&[share(1, 10, 50)]), 0.0);
    }

    #[test]
    fn the_order_of_callers_does_not_matter_to_the_last_bit() {
        let callers: Vec<Share<u32>> = (0..50).map(|i| share(i, i * 7 % 13, i * 31 % 97)).collect();
        let mut turned = callers.clone();
        turned.reverse();
        turned.rotate_left(17);
        assert_eq!(surprise(&callers).to_bits(), surprise(&turned).to_bits());
    }

    #[test]
    fn a_habit_fades_by_a_step_a_day_and_keeps_the_largest() {
        let mut habit = Habit::default();
        habit.raise(100.0, 20_000);
        habit.raise(5.0, 20_001);
        let ln = habit.ln(20_001);
        assert!((ln - (101f64.ln() - 0.05)).abs() < 0.03, "{ln}");
        assert!(habit.ln(20_010) < ln);
    }
}
