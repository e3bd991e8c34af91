//! Near alarms: stretches of a series that came over the model's lower line and stayed below the alarm. They are
//! recorded for whoever looks back, and counted for the budget. Knows scores and counts, no callers.

use serde::{Deserialize, Serialize};

use crate::episode::QUIET_MINUTES;
use crate::event::Minute;
use crate::insight::SeriesKey;

/// A stretch that was unusual, but no alarm.
#[derive(Clone, Debug, PartialEq)]
pub struct NearAlarm {
    pub series: SeriesKey,
    /// First minute over the lower line, and the minute after the last.
    pub start: Minute,
    pub end: Minute,
    /// Calls in the minutes over the line.
    pub count: u64,
    /// The highest score, and the line that an alarm needed.
    pub score: f64,
    pub threshold: f64,
}

/// One that may still go on.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct OpenNear {
    first: u32,
    last: u32,
    count: u64,
    peak: f32,
    /// It became an incident, which says all there is to say.
    alarmed: bool,
    /// The line of the minute it began.
    threshold: f64,
}

impl OpenNear {
    pub(super) fn new(minute: u32, threshold: f64) -> OpenNear {
        OpenNear { first: minute, last: minute, count: 0, peak: f32::MIN, alarmed: false, threshold }
    }

    pub(super) fn add(&mut self, minute: u32, count: u32, score: f64, alarm: bool) {
        self.last = minute;
        self.count += u64::from(count);
        self.peak = self.peak.max(score as f32);
        self.alarmed |= alarm;
    }

    pub(super) fn is_over(&self, now: u32) -> bool {
        now > self.last + QUIET_MINUTES
    }

    /// What is to be recorded of it, if anything.
    pub(super) fn close(self, series: SeriesKey) -> Option<NearAlarm> {
        (!self.alarmed).then(|| NearAlarm {
            series,
            start: Minute(i64::from(self.first)),
            end: Minute(i64::from(self.last) + 1),
            count: self.count,
            score: f64::from(self.peak),
            threshold: self.threshold,
        })
    }
}
