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

/// A near alarm as a line of JSON: the words of an Insights record where it has them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NearRecord {
    pub start_time: String,
    pub end_time: String,
    pub recipient_account_id: String,
    pub aws_region: String,
    pub event_source: String,
    pub event_name: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error_code: Option<String>,
    pub insight_type: String,
    /// Calls, or errors, in the minutes over the lower line.
    pub observed: u64,
    pub score: f64,
    pub threshold: f64,
    /// Always `info`.
    pub severity: String,
}

impl NearAlarm {
    pub fn to_record(&self) -> NearRecord {
        let rounded = |value: f64| (value * 1e4).round() / 1e4;
        let api = &self.series.api;
        NearRecord {
            start_time: self.start.to_string(),
            end_time: self.end.to_string(),
            recipient_account_id: api.account_id.to_string(),
            aws_region: api.region.to_string(),
            event_source: api.event_source.to_string(),
            event_name: api.event_name.to_string(),
            error_code: self.series.error_code.as_deref().map(str::to_owned),
            insight_type: self.series.insight_type().to_owned(),
            observed: self.count,
            score: rounded(self.score),
            threshold: rounded(self.threshold),
            severity: "info".to_owned(),
        }
    }
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

    /// Adds a minute over the lower line; says whether it is the one that makes an incident of it.
    pub(super) fn add(&mut self, minute: u32, count: u32, score: f64, alarm: bool) -> bool {
        let first_alarm = alarm && !self.alarmed;
        self.last = minute;
        self.count += u64::from(count);
        self.peak = self.peak.max(score as f32);
        self.alarmed |= alarm;
        first_alarm
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
