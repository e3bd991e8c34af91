//! The attacks of one account: what, where, when, how strong and by whom. Plans against the counts that the account's
//! series really have, so that each attack can be found in principle: at the scale of a minute, of five minutes or of
//! its whole length it exceeds everything of the seven days before by [`FINDABLE`], or it is labelled optional.
//! Knows nothing of records, files or how a detector works.

use super::Options;
use super::account::{Account, Failure, Series};
use super::cast::{self, Kind as Identity, Session, Trade};
use super::traffic::{DAY_MINUTES, Name, Pattern};
use crate::train::draw::Draw;

/// The days that a detector may learn from before anything happens; the first attack comes a day later.
pub(super) const WARM_DAYS: u32 = 7;
/// Days of history that an attack has to rise above.
const PAST_DAYS: u32 = 7;
/// How far it has to rise above them, as a ratio.
pub(super) const FINDABLE: f64 = 1.6;
/// Attacks between this ratio and [`FINDABLE`] are kept now and then, as optional ones.
const FAINT: f64 = 1.2;
/// Days between two attacks on one series, so that the first is out of the second one's past.
const REST_DAYS: u32 = 9;
/// Calls of the largest burst, per unit of scale: above this it would be a flood of the whole trail.
const LARGEST: u32 = 3_000;
/// Minutes at the end of the trail that stay calm, so that the last incident can end.
const CALM_END: u32 = 90;

/// The kinds of attack, with what they are called in the truth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Attack {
    Spike,
    Flash,
    QuietBurst,
    ErrorFlood,
    SlowRamp,
    OffHours,
    /// One stranger tries many read APIs and is denied: an error flood on each.
    Sweep,
    /// One stranger turns to several write APIs that are hardly ever called.
    Spree,
    SignInStuffing,
}

use Attack::*;

/// The order in which attacks are dealt out: one of each kind before any second one, then by how common they are.
const DECK: [Attack; 27] = [
    Spike,
    ErrorFlood,
    QuietBurst,
    Flash,
    SlowRamp,
    OffHours,
    Sweep,
    SignInStuffing,
    Spree,
    ErrorFlood,
    Spike,
    QuietBurst,
    Flash,
    ErrorFlood,
    SlowRamp,
    OffHours,
    Spike,
    ErrorFlood,
    QuietBurst,
    Flash,
    OffHours,
    ErrorFlood,
    SlowRamp,
    Spike,
    QuietBurst,
    ErrorFlood,
    Flash,
];

impl Attack {
    pub(super) fn label(self) -> &'static str {
        match self {
            Spike => "spike",
            Flash => "flash",
            QuietBurst => "quiet_burst",
            ErrorFlood => "error_flood",
            SlowRamp => "slow_ramp",
            OffHours => "off_hours",
            Sweep => "sweep",
            Spree => "spree",
            SignInStuffing => "signin_stuffing",
        }
    }

    fn is_flood(self) -> bool {
        matches!(self, ErrorFlood | Sweep)
    }

    /// Patterns that this attack makes sense on.
    fn suits(self, series: &Series) -> bool {
        if series.api.is_data() || series.name == Name::Step || (series.api.is_sign_in() != (self == SignInStuffing)) {
            return false;
        }
        let write = series.api.is_write();
        let quiet = matches!(series.name, Name::Crumbs | Name::Silent);
        match self {
            Spike => write && !quiet && series.name != Name::Storm,
            Flash => write && series.name != Name::Silent,
            QuietBurst => write && quiet,
            Spree => write && (quiet || series.name == Name::Office),
            SlowRamp => write && matches!(series.name, Name::Tide | Name::Growth | Name::Heartbeat | Name::Clockwork),
            OffHours => write && series.name == Name::Office,
            ErrorFlood => true,
            Sweep => !write,
            SignInStuffing => true,
        }
    }
}

/// Extra calls on one series.
#[derive(Clone)]
pub(super) struct Burst {
    pub(super) attack: Attack,
    /// Index into [`Account::series`].
    pub(super) series: usize,
    /// Minute of the trail of the first element of `calls`, which is not zero; nor is the last.
    pub(super) start: u32,
    pub(super) calls: Vec<u32>,
    /// How many of the calls fail with `failure`.
    pub(super) errors: Vec<u32>,
    pub(super) failure: Failure,
    /// Index into [`Account::cast`].
    pub(super) who: usize,
    pub(super) session: Session,
    pub(super) insider: bool,
    pub(super) optional: bool,
    /// The second, identical run of an earlier burst.
    pub(super) repeat: bool,
}

impl Burst {
    pub(super) fn end(&self) -> u32 {
        self.start + self.calls.len() as u32
    }

    /// Total number of extra calls.
    pub(super) fn total(&self) -> u32 {
        self.calls.iter().sum()
    }
}

/// Who does it.
struct Culprit {
    who: usize,
    session: Session,
    insider: bool,
}

/// Plans every attack of the account and adds the newcomers to its cast.
pub(super) fn plan(account: &mut Account, options: &Options) {
    let first = (WARM_DAYS + 1) * DAY_MINUTES as u32;
    let last = account.minutes().saturating_sub(CALM_END + options.repeat_after_days.unwrap_or(0) * DAY_MINUTES as u32);
    if first >= last {
        return;
    }
    let weeks = f64::from(last - first) / (7.0 * DAY_MINUTES as f64);
    let wanted = (options.anomalies_per_week * weeks).round() as usize;
    let mut planner = Planner { options, first, last, turns: 0, draw: Draw::new(&[account.seed, 0x6174_7461]) };
    for deal in 0..wanted * 3 {
        let missing = wanted.saturating_sub(account.bursts.len());
        if missing == 0 {
            break;
        }
        let attack = DECK[deal % DECK.len()];
        let rows = match attack {
            Sweep => planner.draw.whole(3, 6) as usize,
            Spree => planner.draw.whole(2, 4) as usize,
            _ => 1,
        };
        planner.stage(account, attack, rows.min(missing.max(2)));
    }
    if let Some(days) = options.repeat_after_days {
        repeat(account, days);
    }
    account.bursts.sort_by_key(|burst| (burst.start, burst.series));
}

/// Adds every burst once more, `days` later, call for call.
fn repeat(account: &mut Account, days: u32) {
    for index in 0..account.bursts.len() {
        let mut burst = account.bursts[index].clone();
        burst.start += days * DAY_MINUTES as u32;
        burst.repeat = true;
        // The first run is left out of the past: whether a detector forgives a repetition is what this asks.
        let margin = margin_of(account, &burst);
        burst.optional |= margin < FINDABLE && burst.attack != OffHours;
        account.bursts.push(burst);
    }
}

struct Planner<'a> {
    options: &'a Options,
    /// First and last minute of the trail in which an attack may run.
    first: u32,
    last: u32,
    /// Bursts so far that an insider could have made.
    turns: u32,
    draw: Draw,
}

/// Places tried for one burst before it is given up.
const TRIES: u32 = 40;

impl Planner<'_> {
    /// One attack: one burst, or `rows` bursts of one culprit at nearly the same time.
    fn stage(&mut self, account: &mut Account, attack: Attack, rows: usize) {
        let start = self.start(account, attack);
        let alone = matches!(attack, Sweep | Spree | SignInStuffing);
        let stranger = alone.then(|| self.stranger(account, None, start, attack));
        for _ in 0..rows {
            for _ in 0..TRIES {
                // Bursts of one campaign begin within a quarter of an hour; single ones move freely.
                let start =
                    if alone && rows > 1 { start + self.draw.below(15) as u32 } else { self.start(account, attack) };
                let Some(index) = self.series(account, attack, start) else { continue };
                let Some(mut burst) = self.burst(account, attack, index, start) else { continue };
                let culprit = match &stranger {
                    Some(c) => Culprit { who: c.who, session: c.session.clone(), insider: false },
                    None => self.culprit(account, index, burst.start, attack),
                };
                (burst.who, burst.session, burst.insider) = (culprit.who, culprit.session, culprit.insider);
                if !burst.insider && !attack.is_flood() && !alone && self.draw.chance(0.4) {
                    let share = self.draw.between(0.05, 0.5);
                    burst.errors = burst.calls.iter().map(|calls| self.draw.binomial(*calls, share)).collect();
                }
                account.bursts.push(burst);
                break;
            }
        }
    }

    /// A minute to begin in; off-hours attacks begin when the office is closed.
    fn start(&mut self, account: &Account, attack: Attack) -> u32 {
        let minute = self.first + self.draw.below(u64::from(self.last - self.first)) as u32;
        if attack != OffHours {
            return minute;
        }
        let opening = account.calendar.opening as u32;
        // The office span is 660 minutes, the night's core lies between 840 and 1,300 minutes after opening.
        let night = (opening + self.draw.whole(840, 1_300) as u32) % DAY_MINUTES as u32;
        minute - minute % DAY_MINUTES as u32 + night
    }

    /// A series that suits the attack and has had no other for a while.
    fn series(&mut self, account: &Account, attack: Attack, start: u32) -> Option<usize> {
        let rest = REST_DAYS * DAY_MINUTES as u32;
        let repeats = self.options.repeat_after_days.unwrap_or(0) * DAY_MINUTES as u32;
        let free = |index: usize| {
            let mine = account.bursts.iter().filter(|burst| burst.series == index);
            mine.map(|burst| burst.start).all(|other| start.abs_diff(other) > rest + repeats)
        };
        let fitting: Vec<usize> =
            (0..account.series.len()).filter(|index| attack.suits(&account.series[*index]) && free(*index)).collect();
        (!fitting.is_empty()).then(|| *self.draw.pick(&fitting))
    }

    /// The extra calls of one attack on one series, if they stand out there.
    fn burst(&mut self, account: &Account, attack: Attack, index: usize, start: u32) -> Option<Burst> {
        let series = &account.series[index];
        let draw = &mut self.draw;
        let width = match attack {
            Spike => draw.whole(5, 30),
            Flash => draw.whole(2, 3),
            QuietBurst | Spree => draw.whole(2, 15),
            ErrorFlood | Sweep => draw.whole(3, 25),
            SlowRamp => draw.whole(150, 360),
            OffHours => draw.whole(15, 60),
            SignInStuffing => draw.whole(4, 40),
        } as usize;
        if start + width as u32 >= self.last || start < self.first {
            return None;
        }
        // A flood mostly uses the failure that the series knows: then a baseline of errors is there to rise above.
        let other = *draw.pick(&[Failure::Denied, Failure::Throttled, Failure::Missing]);
        let failure = match attack {
            ErrorFlood if draw.chance(0.6) => series.standing.0,
            ErrorFlood => other,
            _ => Failure::Denied,
        };
        let errors_only = attack.is_flood();
        let past = past(account, series, start, errors_only.then_some(failure));
        let now = during(account, series, start, width, errors_only.then_some(failure));
        let highest = |width: usize| f64::from(window_max(&past, width)) / width as f64;
        let mean_now = f64::from(now.iter().sum::<u32>()) / width as f64;
        let strength = match attack {
            Spike => (9.0 * mean_now).max(1.75 * highest(width)).max(2.5) * draw.between(0.9, 1.5),
            Flash => (2.2 * highest(width)).max(draw.between(10.0, 40.0)),
            QuietBurst | Spree => (2.5 * highest(width)).max(draw.between(1.5, 9.0)),
            ErrorFlood | Sweep => (2.2 * highest(width)).max(draw.between(1.5, 9.0)),
            SlowRamp => (2.1 * highest(width) - mean_now).max(1.5 * mean_now).max(0.3),
            OffHours => draw.between(0.8, 2.5).max(0.7 * highest(width)),
            SignInStuffing => (2.5 * highest(width)).max(draw.between(2.0, 12.0)),
        };
        let mut calls: Vec<u32> = (0..width)
            .map(|minute| {
                // A slow ramp needs a third of its time to reach its height.
                let climb = if attack == SlowRamp { (3.0 * (minute + 1) as f64 / width as f64).min(1.0) } else { 1.0 };
                draw.negative_binomial(strength * climb, 15.0)
            })
            .collect();
        let lead = calls.iter().position(|calls| *calls > 0)?;
        calls.drain(..lead);
        while calls.last() == Some(&0) {
            calls.pop();
        }
        let total: u32 = calls.iter().sum();
        let largest = f64::from(LARGEST) * self.options.scale.max(1.0);
        if total < 6 || f64::from(total) > largest {
            return None;
        }
        let start = start + lead as u32;
        let errors = if errors_only || attack == SignInStuffing { calls.clone() } else { vec![0; calls.len()] };
        let session = account.cast[0].session(start, 0);
        let mut burst = Burst {
            attack,
            series: index,
            start,
            calls,
            errors,
            failure,
            who: 0,
            session,
            insider: false,
            optional: false,
            repeat: false,
        };
        let margin = margin_of(account, &burst);
        burst.optional = margin < FINDABLE;
        (margin >= FINDABLE || (margin >= FAINT && self.draw.chance(0.15))).then_some(burst)
    }

    /// The usual caller for the asked share of bursts, else a stranger.
    fn culprit(&mut self, account: &mut Account, index: usize, start: u32, attack: Attack) -> Culprit {
        let series = &account.series[index];
        let usual = series.callers.iter().map(|(who, _)| *who).find(|who| account.cast[*who].kind != Identity::Service);
        if let (Some(who), false) = (usual, series.name == Name::Silent) {
            // Spread evenly instead of drawn: a dozen bursts should have the share that was asked for.
            let share = self.options.insiders;
            let insider = (f64::from(self.turns + 1) * share).floor() > (f64::from(self.turns) * share).floor();
            self.turns += 1;
            if insider {
                return Culprit { who, session: account.cast[who].session(start, 0), insider: true };
            }
        }
        self.stranger(account, Some(index), start, attack)
    }

    /// A newcomer, or someone of the account who does not use this API, on a machine that no one has seen.
    fn stranger(&mut self, account: &mut Account, index: Option<usize>, start: u32, attack: Attack) -> Culprit {
        let newcomer = cast::newcomer(&mut self.draw);
        let mut session = newcomer.session(start, 0);
        let known: Vec<usize> = (0..account.cast.len())
            .filter(|who| {
                let person = &account.cast[*who];
                matches!(person.kind, Identity::Role | Identity::User)
                    && person.trade != Trade::Newcomer
                    && index.is_some_and(|index| account.series[index].callers.iter().all(|(caller, _)| caller != who))
            })
            .collect();
        if attack != SignInStuffing && !known.is_empty() && self.draw.chance(0.45) {
            let who = *self.draw.pick(&known);
            let own = account.cast[who].session(start, 0);
            if account.cast[who].kind == Identity::User {
                // A stolen key stays the same key; a user has no session name.
                session.key = own.key;
                session.name = own.name;
            } else if session.name.is_empty() {
                session.name = format!("session{}", self.draw.below(10_000));
                session.key.replace_range(..4, "ASIA");
            }
            return Culprit { who, session, insider: false };
        }
        account.cast.push(newcomer);
        Culprit { who: account.cast.len() - 1, session, insider: false }
    }
}

/// Counts of the [`PAST_DAYS`] before a minute: all calls, or the errors of one failure.
fn past(account: &Account, series: &Series, start: u32, failure: Option<Failure>) -> Vec<u32> {
    let from = start.saturating_sub(PAST_DAYS * DAY_MINUTES as u32);
    counts(account, series, from, start, failure)
}

fn during(account: &Account, series: &Series, start: u32, width: usize, failure: Option<Failure>) -> Vec<u32> {
    counts(account, series, start, start + width as u32, failure)
}

/// Counts of the minutes `from..to`.
fn counts(account: &Account, series: &Series, from: u32, to: u32, failure: Option<Failure>) -> Vec<u32> {
    let day_minutes = DAY_MINUTES as u32;
    let mut list = Vec::with_capacity((to - from) as usize);
    for day in from / day_minutes..to.div_ceil(day_minutes) {
        let made = series.day(&account.calendar, day);
        let zero = vec![0; DAY_MINUTES];
        let counts = match failure {
            None => made.calls,
            Some(failure) if failure == series.standing.0 => made.errors,
            Some(_) => zero,
        };
        let begin = day * day_minutes;
        let low = from.max(begin) - begin;
        let high = to.min(begin + day_minutes) - begin;
        list.extend_from_slice(&counts[low as usize..high as usize]);
    }
    list
}

/// Largest sum of `width` minutes in a row.
fn window_max(counts: &[u32], width: usize) -> u32 {
    let width = width.min(counts.len());
    let mut sum: u32 = counts[..width].iter().sum();
    let mut max = sum;
    for index in width..counts.len() {
        sum = sum + counts[index] - counts[index - width];
        max = max.max(sum);
    }
    max
}

/// By how much a burst, on top of the traffic it meets, exceeds the week before it: the best ratio of three scales.
pub(super) fn margin_of(account: &Account, burst: &Burst) -> f64 {
    let series = &account.series[burst.series];
    let failure = burst.attack.is_flood().then_some(burst.failure);
    let width = burst.calls.len();
    let mut now = during(account, series, burst.start, width, failure);
    now.iter_mut().zip(&burst.calls).for_each(|(now, extra)| *now += extra);
    let before = past(account, series, burst.start, failure);
    if burst.attack == OffHours {
        return off_hours_margin(&before, &now);
    }
    // A slow ramp is no news at the scale of a minute, whatever one lucky minute says.
    let scales: &[usize] = if burst.attack == SlowRamp { &[width] } else { &[1, 5, width] };
    let ratio = |width: usize| f64::from(window_max(&now, width)) / f64::from(window_max(&before, width).max(1));
    scales.iter().map(|width| ratio(*width)).fold(0.0, f64::max)
}

/// An off-hours burst is unusual for its time of day: it has to exceed the same hour and a half of the nights before by
/// twice [`FINDABLE`] and to be no smaller than [`OFF_HOURS_SHARE`] of the busiest stretch of the week.
fn off_hours_margin(before: &[u32], now: &[u32]) -> f64 {
    let width = now.len();
    let mut night = 1;
    for day in 1..=(before.len() / DAY_MINUTES) {
        let centre = before.len() - day * DAY_MINUTES;
        let stretch = centre.saturating_sub(90)..(centre + width + 90).min(before.len());
        night = night.max(window_max(&before[stretch], width));
    }
    let total = f64::from(now.iter().sum::<u32>());
    if total < 12.0 || total < OFF_HOURS_SHARE * f64::from(window_max(before, width)) {
        return 0.0;
    }
    total / f64::from(night) / 2.0
}

/// See [`off_hours_margin`].
const OFF_HOURS_SHARE: f64 = 0.5;

/// Lasting changes of level that begin after the warm-up: series and minute.
pub(super) fn steps(account: &Account) -> Vec<(usize, u32)> {
    let steps = account.series.iter().enumerate().filter_map(|(index, series)| match &series.pattern {
        Pattern::Tide { step: Some(step), .. } => Some((index, step.at)),
        _ => None,
    });
    steps.filter(|(_, at)| *at < account.minutes()).collect()
}

#[cfg(test)]
mod tests {
    use super::window_max;

    #[test]
    fn windows() {
        assert_eq!(window_max(&[1, 2, 3, 0, 9], 2), 9);
        assert_eq!(window_max(&[1, 2, 3], 2), 5);
        assert_eq!(window_max(&[4], 5), 4);
    }
}
