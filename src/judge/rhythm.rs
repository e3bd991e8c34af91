//! Does a series run by the clock? [`find`] looks in its past runs for a period that the run asked about belongs to:
//! daily, weekly, hourly, every so many minutes. Knows starts, lengths and sizes of runs; no scores, no names, no words.
//!
//! The rule. A run that starts at `at` belongs to a rhythm of period P and tolerance J if runs started within J minutes
//! of `at - P`, `at - 2P`, ... (the *chances*) so often (the *hits*) that
//!
//! - at least two did, and two of three chances were hits (weekends do not count for a job of working days only), and
//! - chance would not do that: with `n` runs in the time looked at, a window of 2J + 1 minutes holds one with
//!   `q = 1 - exp(-density (2J + 1))`, and P(Binomial(chances, q) >= hits) is at most one in [`CHANCE_MAX`]. The density
//!   is that of all runs or that around the windows, whichever is greater: people who work by day keep no rhythm.
//!
//! The periods tried are those of calendars and schedulers, and the distances to the last runs, which must have half as
//! many hits again; a period taken from the runs themselves has its first hit for nothing, so that hit does not count
//! against chance. Of several, the one least likely by chance is meant: the shortest, as it has the most hits. What lies an hour off a rhythm of whole days
//! is looked for too, as clocks change twice a year where trails do not.

use serde::{Deserialize, Serialize};

/// Calls further apart than this are of two runs.
pub const RUN_GAP_MINUTES: u32 = 10;

const DAY: u32 = 1_440;
const WEEK: u32 = 7 * DAY;

/// Periods of schedulers and calendars, in minutes.
const PERIODS: [u32; 14] = [15, 20, 30, 60, 120, 180, 240, 360, 480, 720, DAY, 2 * DAY, WEEK, 2 * WEEK];

/// Tolerances tried, in minutes; none is wider than an eighth of the period.
const TOLERANCES: [u32; 4] = [1, 3, 6, 12];
const TOLERANCE_SHARE: u32 = 8;

/// Hits below which nothing is called a rhythm, and further back than these many chances nothing is looked at.
const HITS_MIN: u32 = 2;
const CHANCES_MAX: u32 = 64;

/// Chance must explain the hits less often than once in so many. Some fifty tests are made for one answer, not
/// independent ones; with this line random starts are called a rhythm in less than one of 100 (see the tests).
const CHANCE_MAX: f64 = 20_000.0;

/// So far around a window the density of runs is looked at.
const BESIDE_MINUTES: u32 = 60;

/// Clocks are changed by an hour.
const CLOCK_SHIFT_MINUTES: u32 = 60;

/// A stretch of calls without a pause of more than [`RUN_GAP_MINUTES`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Run {
    /// First minute with calls, since 1970-01-01T00:00Z.
    pub start: u32,
    /// Up to and with its last minute with calls.
    pub minutes: u32,
    /// Calls in its fullest 60 minutes.
    pub count: u32,
}

/// A job by the clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rhythm {
    pub period_minutes: u32,
    /// Where its runs start: minutes after a multiple of the period since 1970-01-01T00:00Z (a Thursday).
    pub phase_minutes: u32,
    /// No run counted started further from there.
    pub jitter_minutes: u32,
    /// Runs on working days only; the weekends are no chances.
    pub weekdays: bool,
    /// Middle size and length of its runs: see [`Run`].
    pub count: u32,
    pub minutes: u32,
    /// Runs that came, of those that could have.
    pub hits: u32,
    pub chances: u32,
    /// How much later than its rhythm the run asked about started: 0, 60 or -60.
    pub shift_minutes: i32,
}

impl Rhythm {
    /// The next start that is due after a run that started at `start`.
    pub fn next_after(&self, start: u32) -> u32 {
        let half = self.period_minutes / 2;
        let from = start + half;
        let wait = (self.phase_minutes + self.period_minutes - from % self.period_minutes) % self.period_minutes;
        let mut due = from + wait;
        while self.weekdays && is_weekend(due) {
            due += self.period_minutes;
        }
        due
    }
}

/// Saturday or Sunday, UTC. 1970-01-01 was a Thursday.
fn is_weekend(minute: u32) -> bool {
    matches!((minute / DAY + 4) % 7, 0 | 6)
}

/// The rhythm that a run starting at `at` belongs to, from the runs before it. `runs` in order of time.
pub fn find(runs: &[Run], at: u32) -> Option<Rhythm> {
    let past = &runs[..runs.partition_point(|run| run.start.saturating_add(RUN_GAP_MINUTES) <= at)];
    if past.len() < HITS_MIN as usize {
        return None;
    }
    let of_calendar = |at: u32, step: u32| {
        let periods = PERIODS.into_iter().filter(move |period| period % step == 0);
        least_by_chance(periods.filter_map(|period| measure(past, at, period, false)))
    };
    let shifted = |asked: u32, shift_minutes: i32| {
        of_calendar(asked, DAY).map(|(ln_chance, rhythm)| (ln_chance, Rhythm { shift_minutes, ..rhythm }))
    };
    let own = || {
        let last = past.iter().rev().take(3).map(|run| at - run.start);
        let between = past.windows(2).last().map(|pair| pair[1].start - pair[0].start);
        let periods = last.chain(between).filter(|period| *period >= PERIODS[0]);
        least_by_chance(periods.filter_map(|period| measure(past, at, period, true)))
    };
    let hour = CLOCK_SHIFT_MINUTES;
    // A job of the calendar also fits periods a minute beside it; one of its own period, multiples of that.
    let (calendar, own) = (of_calendar(at, 1), own());
    let hits = |found: &Option<(f64, Rhythm)>| found.map_or(0, |(_, rhythm)| rhythm.hits);
    let best = if hits(&own) * 2 > hits(&calendar) * 3 { own } else { calendar };
    let found = best.or_else(|| {
        let early = shifted(at.saturating_add(hour), -(hour as i32));
        least_by_chance(early.into_iter().chain(shifted(at.saturating_sub(hour), hour as i32)))
    });
    found.map(|(_, rhythm)| rhythm)
}

fn least_by_chance(found: impl Iterator<Item = (f64, Rhythm)>) -> Option<(f64, Rhythm)> {
    found.min_by(|a, b| a.0.total_cmp(&b.0))
}

/// How well one period fits, and ln of how often chance does as well; none where it does too often. `own`: the period
/// was taken from the runs.
fn measure(past: &[Run], at: u32, period: u32, own: bool) -> Option<(f64, Rhythm)> {
    let first = past.first()?.start;
    // A job that waits from run to run drifts; one of the calendar does not.
    let mut expected = i64::from(at);
    let mut nearest: Vec<(u32, Option<(i64, Run)>)> = Vec::new();
    let reach = i64::from(TOLERANCES[TOLERANCES.len() - 1].min(period / TOLERANCE_SHARE));
    while nearest.len() < CHANCES_MAX as usize {
        expected -= i64::from(period);
        if expected < i64::from(first) - reach {
            break;
        }
        let after = past.partition_point(|run| i64::from(run.start) < expected);
        let near = past[after.saturating_sub(1)..(after + 1).min(past.len())]
            .iter()
            .map(|run| (i64::from(run.start) - expected, *run))
            .min_by_key(|(off, _)| off.abs())
            .filter(|(off, _)| off.abs() <= reach);
        nearest.push((expected.max(0) as u32, near));
        if own {
            expected += near.map_or(0, |(off, _)| off);
        }
    }
    // The narrowest tolerances convince most; the widest that still convinces counts the runs.
    let found = TOLERANCES
        .into_iter()
        .filter(|tolerance| *tolerance <= period / TOLERANCE_SHARE)
        .filter_map(|tolerance| within(past, &nearest, at, period, tolerance, own));
    found.reduce(|narrow, wide| (narrow.0.min(wide.0), wide.1))
}

fn within(
    past: &[Run],
    nearest: &[(u32, Option<(i64, Run)>)],
    at: u32,
    period: u32,
    tolerance: u32,
    own: bool,
) -> Option<(f64, Rhythm)> {
    let hit = |near: &Option<(i64, Run)>| near.filter(|(off, _)| off.unsigned_abs() <= u64::from(tolerance));
    let (mut hits, mut weekend_hits, mut weekend_chances) = (0u32, 0u32, 0u32);
    // As far back as the hits are frequent: a job may be younger than the series.
    let mut reached: Option<(usize, u32, bool)> = None;
    for (place, (expected, near)) in nearest.iter().enumerate() {
        let chances = place as u32 + 1;
        let weekend = period == DAY && is_weekend(*expected);
        weekend_chances += u32::from(weekend);
        if hit(near).is_some() {
            hits += 1;
            weekend_hits += u32::from(weekend);
            let weekdays = weekend_chances >= 2 && weekend_hits == 0 && !is_weekend(at);
            let counted = if weekdays { chances - weekend_chances } else { chances };
            if hits * 3 >= counted * 2 {
                reached = Some((place + 1, hits, weekdays));
            }
        }
    }
    let (taken, hits, weekdays) = reached?;
    let nearest = &nearest[..taken];
    let chances = nearest.iter().filter(|(expected, _)| !(weekdays && is_weekend(*expected))).count() as u32;
    if hits < HITS_MIN + u32::from(own) {
        return None;
    }
    let oldest = nearest.last()?.0.saturating_sub(tolerance);
    let looked_at = &past[past.partition_point(|run| run.start < oldest)..];
    let density = looked_at.len() as f64 / f64::from(at - oldest);
    // How many started beside the windows, but nearer to them than to the next.
    let width = 2 * tolerance + 1;
    let side = BESIDE_MINUTES.max(2 * width).min(period / 3 - tolerance);
    let beside = nearest.iter().map(|(expected, _)| {
        let low = looked_at.partition_point(|run| run.start + side + tolerance < *expected);
        let near = looked_at[low..].iter().take_while(|run| run.start <= expected + tolerance + side);
        near.filter(|run| run.start.abs_diff(*expected) > tolerance).count()
    });
    let around = beside.sum::<usize>() as f64 / f64::from(2 * side * taken as u32);
    let q = 1.0 - (-density.max(around) * f64::from(width)).exp();
    let free = u32::from(own);
    let ln_chance = ln_binomial_tail(taken as u32 - free, q, hits - free);
    if ln_chance > -CHANCE_MAX.ln() {
        return None;
    }
    let met: Vec<(i64, Run)> = nearest.iter().filter_map(|(_, near)| hit(near)).collect();
    // The middle of the starts; of a drifting job the last one, which was asked about.
    let middle = if own { 0 } else { median(met.iter().map(|(off, _)| *off)) };
    let start = (i64::from(at) + middle).max(0) as u32;
    let rhythm = Rhythm {
        period_minutes: period,
        phase_minutes: start % period,
        jitter_minutes: met.iter().map(|(off, _)| (off - middle).unsigned_abs() as u32).max().unwrap_or(0),
        weekdays,
        count: median(met.iter().map(|(_, run)| i64::from(run.count))) as u32,
        minutes: median(met.iter().map(|(_, run)| i64::from(run.minutes))) as u32,
        hits,
        chances,
        shift_minutes: 0,
    };
    Some((ln_chance, rhythm))
}

fn median(values: impl Iterator<Item = i64>) -> i64 {
    let mut values: Vec<i64> = values.collect();
    values.sort_unstable();
    values.get(values.len() / 2).copied().unwrap_or(0)
}

/// ln P(Binomial(n, q) >= k), for n up to some hundreds.
fn ln_binomial_tail(n: u32, q: f64, k: u32) -> f64 {
    if k == 0 || q >= 1.0 {
        return 0.0;
    }
    if q <= 0.0 || k > n {
        return f64::NEG_INFINITY;
    }
    let mut ln_term = (0..k).map(|i| (f64::from(n - i) / f64::from(k - i)).ln()).sum::<f64>()
        + f64::from(k) * q.ln()
        + f64::from(n - k) * (-q).ln_1p();
    let first = ln_term;
    let mut sum = 1.0;
    for i in k..n {
        ln_term += (f64::from(n - i) / f64::from(i + 1) * q / (1.0 - q)).ln();
        sum += (ln_term - first).exp();
    }
    (first + sum.ln()).min(0.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// 2026-03-02T00:00Z, a Monday.
    const MONDAY: u32 = 20_514 * DAY;

    /// A seeded stream of numbers in `0..1` (SplitMix64).
    struct Random(u64);

    impl Random {
        fn next(&mut self) -> f64 {
            self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut z = self.0;
            z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            ((z ^ (z >> 31)) >> 11) as f64 / (1u64 << 53) as f64
        }
    }

    fn run(start: u32) -> Run {
        Run { start, minutes: 5, count: 40 }
    }

    /// Runs of one job, and the start of the next.
    fn job(period: u32, jitter: u32, repeats: u32, random: &mut Random) -> (Vec<Run>, u32) {
        let mut start = |k: u32| {
            let off = (random.next() * f64::from(2 * jitter + 1)) as u32;
            MONDAY + 360 + k * period + off - jitter
        };
        ((0..repeats).map(|k| run(start(k))).collect(), start(repeats))
    }

    proptest! {
        #[test]
        fn a_job_is_recognised_after_three_repeats(
            period in prop::sample::select(vec![30u32, 60, 90, 180, 360, 720, 1_440, 10_080]),
            repeats in 5u32..30,
            seed in any::<u64>(),
        ) {
            let (runs, at) = job(period, if period >= 720 { 3 } else { 0 }, repeats, &mut Random(seed));
            let rhythm = find(&runs, at);
            prop_assert!(rhythm.is_some_and(|rhythm| rhythm.period_minutes == period), "{rhythm:?}");
            let rhythm = rhythm.expect("just seen");
            prop_assert_eq!((rhythm.hits, rhythm.count), (repeats, 40));
            let off = (rhythm.phase_minutes + period - (MONDAY + 360) % period) % period;
            prop_assert!(off <= 3 || off >= period - 3, "{rhythm:?}");
        }

        #[test]
        fn times_beyond_any_calendar_do_no_harm(
            starts in prop::collection::btree_set(any::<u32>(), 0..70),
            at in any::<u32>(),
        ) {
            let runs: Vec<Run> = starts.into_iter().map(run).collect();
            if let Some(rhythm) = find(&runs, at) {
                prop_assert!(rhythm.hits <= rhythm.chances && rhythm.phase_minutes < rhythm.period_minutes);
            }
        }
    }

    #[test]
    fn a_daily_job_is_known_at_its_second_repeat() {
        let runs = [run(MONDAY + 360), run(MONDAY + DAY + 362)];
        let rhythm = find(&runs, MONDAY + 2 * DAY + 359).expect("a rhythm");
        assert_eq!((rhythm.period_minutes, rhythm.hits, rhythm.chances), (DAY, 2, 2));
    }

    #[test]
    fn a_missing_run_and_others_in_between_are_counted_and_passed_over() {
        let mut runs: Vec<Run> = (0..28).filter(|day| *day != 9).map(|day| run(MONDAY + day * DAY + 360)).collect();
        runs.extend([5, 11, 16, 21].map(|day| run(MONDAY + day * DAY + 700 + day * 17)));
        runs.sort_by_key(|run| run.start);
        let rhythm = find(&runs, MONDAY + 28 * DAY + 361).expect("a rhythm");
        assert_eq!((rhythm.period_minutes, rhythm.phase_minutes), (DAY, 360));
        assert_eq!((rhythm.hits, rhythm.chances), (27, 28));
        assert_eq!(find(&runs, MONDAY + 28 * DAY + 800), None, "another time of day");
    }

    #[test]
    fn weekends_are_no_chances_for_a_job_of_working_days() {
        let runs: Vec<Run> = (0..21).filter(|day| day % 7 < 5).map(|day| run(MONDAY + day * DAY + 360)).collect();
        let rhythm = find(&runs, MONDAY + 21 * DAY + 360).expect("a rhythm");
        assert!(rhythm.weekdays);
        assert_eq!((rhythm.hits, rhythm.chances), (15, 15));
        let friday = MONDAY + 18 * DAY + 360;
        assert_eq!(rhythm.next_after(friday), friday + 3 * DAY);
    }

    #[test]
    fn an_hour_off_is_a_change_of_clocks_for_days_and_nothing_for_hours() {
        let (runs, at) = job(DAY, 2, 20, &mut Random(5));
        let early = find(&runs, at - 60).expect("a rhythm");
        assert_eq!((early.period_minutes, early.shift_minutes), (DAY, -60));
        assert_eq!(find(&runs, at + 60).map(|rhythm| rhythm.shift_minutes), Some(60));
        assert_eq!(find(&runs, at + 90), None);
    }

    #[test]
    fn the_next_run_is_due_a_period_later() {
        let (runs, at) = job(DAY, 0, 9, &mut Random(1));
        let rhythm = find(&runs, at).expect("a rhythm");
        assert_eq!(rhythm.next_after(at), at + DAY);
        assert_eq!(rhythm.next_after(at + 4), at + DAY);
        assert_eq!(rhythm.next_after(at - 4), at + DAY);
    }

    /// Poisson starts, starts of working hours only, and clusters are no jobs.
    #[test]
    fn chance_is_called_a_rhythm_less_than_once_in_a_hundred() {
        let mut random = Random(7);
        for gap in [20.0, 45.0, 90.0, 240.0, 700.0, 1_440.0, 4_000.0] {
            for form in ["poisson", "by day", "clusters"] {
                let (mut found, tries) = (0, 3_000);
                for _ in 0..tries {
                    let mut starts = Vec::new();
                    let mut at = f64::from(MONDAY) + random.next() * 1_440.0;
                    let wanted = 4 + (random.next() * 60.0) as usize;
                    while starts.len() < wanted {
                        let slow = if form == "clusters" && random.next() < 0.7 { 0.2 } else { 1.0 };
                        at += 11.0 - gap * slow * random.next().max(1e-12).ln();
                        let by_day = (480..1_080).contains(&(at as u32 % DAY)) && (at as u32 / DAY + 3) % 7 < 5;
                        if form != "by day" || by_day {
                            starts.push(at as u32);
                        }
                    }
                    let asked = starts.pop().expect("many starts");
                    let runs: Vec<Run> = starts.into_iter().map(run).collect();
                    found += usize::from(find(&runs, asked).is_some());
                }
                assert!(found * 100 < tries, "{form}, every {gap} minutes: {found} of {tries}");
            }
        }
    }

    #[test]
    fn the_binomial_tail_is_right() {
        // 1 - 0.9^3, 10 * 0.1^3 * 0.9^2 + 5 * 0.1^4 * 0.9 + 0.1^5, 0.02^60.
        for (n, q, k, tail) in [(3, 0.1, 1, 0.271f64), (5, 0.1, 3, 0.00856), (60, 0.02, 60, 1.152_921_504_606_847e-102)]
        {
            assert!((ln_binomial_tail(n, q, k) - tail.ln()).abs() < 1e-9, "{n} {q} {k}");
        }
        assert_eq!((ln_binomial_tail(5, 0.3, 0), ln_binomial_tail(2, 0.3, 3)), (0.0, f64::NEG_INFINITY));
    }
}
