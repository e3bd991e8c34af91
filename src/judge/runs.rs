//! [`Runs`]: the last runs of a series that is called often, the one that goes on as it is, those before it in six bytes
//! each. Knows minutes and calls; what they mean is for [`super::rhythm`].

use serde::{Deserialize, Serialize};

use super::rhythm::{RUN_GAP_MINUTES, Run};

/// Runs that are kept: a month of a daily job, a day of an hourly one.
pub const RUNS_MAX: usize = 33;

/// Those before the last.
const OVER_MAX: usize = RUNS_MAX - 1;

/// A run that is over.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Over {
    /// Minutes from its start to that of the run after it.
    before_next: u16,
    /// Longer ones than 45 days are told as 45 days.
    minutes: u16,
    /// See [`short`].
    count: u16,
}

/// In place, oldest first: most series that have any have many.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Runs {
    over: [Over; OVER_MAX],
    /// So many of them there are.
    count: u8,
    /// Of no minutes: there was none yet.
    last: Run,
    /// All calls of the last.
    last_calls: u32,
}

/// Eleven bits and how often they are doubled: exact below 2,048, then less by at most one in a thousand.
fn short(count: u32) -> u16 {
    let doubled = (u32::BITS - count.leading_zeros()).saturating_sub(11);
    (doubled << 11 | count >> doubled) as u16
}

fn long(count: u16) -> u32 {
    u32::from(count & 0x7FF) << (count >> 11)
}

impl Runs {
    /// Those that a list of hours knows; how many calls the last had in all is not known to it.
    pub fn of(runs: &[Run]) -> Runs {
        let mut all = Runs::default();
        runs.iter().for_each(|run| all.begin(*run));
        all.last_calls = u32::MAX;
        all
    }

    /// Notes a minute with `count` calls, with which the last 60 minutes hold `sum_60`. Minutes come in ascending order.
    pub fn note(&mut self, minute: u32, count: u32, sum_60: u32) {
        let run = &mut self.last;
        if run.minutes > 0 && minute <= run.start + run.minutes - 1 + RUN_GAP_MINUTES {
            run.minutes = minute + 1 - run.start;
            self.last_calls = self.last_calls.saturating_add(count);
            // The last hour may reach back into the run before.
            run.count = run.count.max(sum_60.min(self.last_calls));
        } else {
            self.begin(Run { start: minute, minutes: 1, count });
            self.last_calls = count;
        }
    }

    fn begin(&mut self, run: Run) {
        let last = std::mem::replace(&mut self.last, run);
        if last.minutes == 0 {
            return;
        }
        let Ok(before_next) = u16::try_from(run.start - last.start) else {
            // It lasted for more than a month: what was before it is no rhythm of now.
            (self.over, self.count) = Default::default();
            return;
        };
        if usize::from(self.count) >= OVER_MAX {
            self.over.rotate_left(1);
            self.count = OVER_MAX as u8 - 1;
        }
        let minutes = u16::try_from(last.minutes).unwrap_or(u16::MAX);
        self.over[usize::from(self.count)] = Over { before_next, minutes, count: short(last.count) };
        self.count += 1;
    }

    pub fn list(&self) -> Vec<Run> {
        if self.last.minutes == 0 {
            return Vec::new();
        }
        let mut runs = vec![self.last];
        let mut start = self.last.start;
        for over in self.over.iter().take(self.count.into()).rev() {
            start = start.saturating_sub(over.before_next.into());
            runs.push(Run { start, minutes: over.minutes.into(), count: long(over.count) });
        }
        runs.reverse();
        runs
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// What is kept in few bytes is the youngest of what was noted, but for the thousandth part of a large count.
        #[test]
        fn the_youngest_runs_are_as_they_were(
            steps in prop::collection::vec((1u32..70_000, 1u32..=5_000_000), 1..200),
        ) {
            let mut runs = Runs::default();
            let mut all: Vec<Run> = Vec::new();
            let (mut minute, mut kept_from) = (28_000_000u32, 0);
            for (step, count) in steps {
                minute += step;
                runs.note(minute, count, count);
                match all.last_mut() {
                    Some(run) if minute <= run.start + run.minutes - 1 + RUN_GAP_MINUTES => {
                        run.minutes = minute + 1 - run.start;
                        run.count = run.count.max(count);
                    }
                    _ => {
                        if all.last().is_some_and(|run| minute - run.start > u32::from(u16::MAX)) {
                            kept_from = all.len();
                        }
                        all.push(Run { start: minute, minutes: 1, count });
                    }
                }
            }
            let kept = &all[kept_from.max(all.len().saturating_sub(RUNS_MAX))..];
            let list = runs.list();
            prop_assert_eq!(list.len(), kept.len());
            prop_assert_eq!(list.last(), kept.last());
            for (ours, theirs) in list.iter().zip(kept) {
                prop_assert_eq!((ours.start, ours.minutes), (theirs.start, theirs.minutes));
                prop_assert!(ours.count <= theirs.count && theirs.count - ours.count <= theirs.count / 1_000);
            }
        }
    }

    #[test]
    fn counts_of_any_size_have_a_short_form() {
        (0..2_048).for_each(|count| assert_eq!(long(short(count)), count));
        for count in (0..32).flat_map(|bits| [1 << bits, u32::MAX >> bits]) {
            let read = long(short(count));
            assert!(read <= count && count - read <= count / 1_000, "{count} {read}");
        }
    }
}
