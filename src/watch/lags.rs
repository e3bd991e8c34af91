//! [`Lags`]: how long records take from their event to the delivery of their object, and how late one may therefore be.
//! Knows counts by minutes; no clock.

use serde::{Deserialize, Serialize};

use crate::run::LAGS;

/// One record in so many may be later than the lateness that is learned.
const LATE_SHARE: u64 = 1_000;

/// Before so many records nothing is learned.
const RECORDS_MIN: u64 = 2_000;

/// For tomorrow may be slower than yesterday: a quarter more, and the way from the bucket to us.
const WAY_MINUTES: i64 = 2;
const BOUNDS_MINUTES: (i64, i64) = (10, LAGS as i64 - 1);

/// Records by minutes, yesterday's at half their weight, those of the day before at a quarter.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Lags {
    counts: Vec<u64>,
    day: i64,
}

impl Lags {
    pub(super) fn add(&mut self, counts: &[(u16, u64)]) {
        self.counts.resize(LAGS, 0);
        for (minutes, count) in counts {
            if let Some(known) = self.counts.get_mut(usize::from(*minutes)) {
                *known = known.saturating_add(*count);
            }
        }
    }

    /// A new day: what was counted before weighs half.
    pub(super) fn roll_to(&mut self, day: i64) {
        if day > self.day {
            self.day = day;
            self.counts.iter_mut().for_each(|count| *count /= 2);
        }
    }

    /// How late a record may be; `None`: nobody knows yet.
    pub(super) fn lateness_minutes(&self) -> Option<i64> {
        let total: u64 = self.counts.iter().sum();
        let mut later = total;
        let enough = self.counts.iter().position(|count| {
            later -= count;
            later <= total / LATE_SHARE
        });
        let minutes = enough.filter(|_| total >= RECORDS_MIN)? as i64;
        Some((minutes + minutes / 4 + WAY_MINUTES).clamp(BOUNDS_MINUTES.0, BOUNDS_MINUTES.1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_record_in_a_thousand_may_be_late() {
        let mut lags = Lags::default();
        assert_eq!(lags.lateness_minutes(), None);
        lags.add(&[(3, 1_000), (5, 500)]);
        assert_eq!(lags.lateness_minutes(), None, "too few");
        lags.add(&[(3, 8_000), (5, 492), (40, 8), (60, 2)]);
        // 10 of 10,002 took longer than 5 minutes.
        assert_eq!(lags.lateness_minutes(), Some(10));
        lags.add(&[(40, 100)]);
        assert_eq!(lags.lateness_minutes(), Some(40 + 10 + 2));
        lags.add(&[(720, 1_000)]);
        assert_eq!(lags.lateness_minutes(), Some(720));
        // What was slow for a day is forgotten after some.
        for day in 1..=3 {
            lags.roll_to(day);
            lags.add(&[(3, 10_000)]);
        }
        assert_eq!(lags.lateness_minutes(), Some(720), "still more than one in a thousand");
        for day in 4..=8 {
            lags.roll_to(day);
            lags.add(&[(3, 10_000)]);
        }
        assert_eq!(lags.lateness_minutes(), Some(10));
    }
}
