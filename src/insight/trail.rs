//! The Insights record as CloudTrail writes it to a trail: keys, their order, and how numbers are printed. The
//! object `highwater` comes last and can be left out. Knows nothing of how an insight was found.
//!
//! Source: the CloudTrail user guide, "CloudTrail record contents for Insights events", and its published examples.

use serde::{Deserialize, Serialize, Serializer};
use serde_json::value::RawValue;

/// A mean per minute. Printed with at most ten decimals, trailing zeros cut, never with an exponent.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd, Deserialize)]
#[serde(transparent)]
pub struct Average(pub f64);

impl Average {
    /// The text that AWS would print.
    pub fn text(self) -> String {
        let text = format!("{:.10}", self.0);
        let text = text.trim_end_matches('0').trim_end_matches('.');
        match text {
            "" | "-0" => "0".to_owned(),
            text => text.to_owned(),
        }
    }
}

impl Serialize for Average {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        RawValue::from_string(self.text()).map_err(serde::ser::Error::custom)?.serialize(serializer)
    }
}

/// One Insights event of a trail.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TrailRecord {
    pub event_version: String,
    /// Whole minute, `2026-03-04T14:07:00Z`.
    pub event_time: String,
    pub aws_region: String,
    #[serde(rename = "eventID")]
    pub event_id: String,
    pub event_type: String,
    pub recipient_account_id: String,
    #[serde(rename = "sharedEventID")]
    pub shared_event_id: String,
    pub insight_details: InsightDetails,
    pub event_category: String,
    /// What Highwater knows beyond AWS's fields; absent under `--strict` and in AWS's own records.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub highwater: Option<Highwater>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct InsightDetails {
    /// `Start` or `End`.
    pub state: String,
    pub event_source: String,
    pub event_name: String,
    /// `ApiCallRateInsight` or `ApiErrorRateInsight`.
    pub insight_type: String,
    /// Error-rate insights only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error_code: Option<String>,
    /// `Management` or `Data`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source_event_category: Option<String>,
    pub insight_context: InsightContext,
    /// Data-event insights of AWS: the trail's ARN. Read, never made up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub insight_source: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct InsightContext {
    pub statistics: Statistics,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attributions: Option<Vec<Attribution>>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Statistics {
    pub baseline: Mean,
    pub insight: Mean,
    /// Minutes the insight average is taken over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub insight_duration: Option<i64>,
    /// Minutes the baseline average is taken over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub baseline_duration: Option<i64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Mean {
    pub average: Average,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Attribution {
    /// `userIdentityArn`, `userAgent`, `errorCode` (call rate only) or `resourceArn` (data events only).
    pub attribute: String,
    /// At most five, largest first.
    pub insight: Vec<ValueAverage>,
    pub baseline: Vec<ValueAverage>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ValueAverage {
    pub value: String,
    pub average: Average,
}

/// The extra object of a Highwater record.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Highwater {
    /// `up` or `down`.
    pub direction: String,
    /// The judge's highest logit so far in this incident; the alarm line is at `threshold`.
    pub score: f64,
    pub threshold: f64,
    /// `info`, `low`, `medium`, `high` or `critical`.
    pub severity: String,
    /// Calls (or errors) in the insight's minutes.
    pub observed: u64,
    /// What the forecast expected of the same minutes, in calls per minute.
    pub expected: Expected,
    /// Insight average over baseline average; absent when the baseline is zero.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ratio: Option<f64>,
    /// Natural logarithm of the forecast's probability of a window at least this extreme.
    pub ln_odds: f64,
    /// How often normal traffic would do this: `about once in 40 years`.
    #[serde(default)]
    pub odds: String,
    /// Of 1, 5, 15 and 60 minutes, the window that stood out most from its record.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub window_minutes: Option<u32>,
    /// The job by the clock that this was a run of, or that did not come.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recurrence: Option<Repeat>,
    /// Who and what was not there in the baseline.
    #[serde(default)]
    pub new: Vec<New>,
    /// The single caller without whose calls the minutes lie inside the expected range.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub without: Option<Without>,
    /// Of an end: `new normal` if the level stayed, else `back to normal`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub closing: Option<String>,
    /// The end of the minute whose count decided.
    pub detected_time: String,
    /// One sentence for people.
    pub reason: String,
    /// Who made the extra calls: per attribute, largest excess first.
    pub excess: Vec<Excess>,
    /// False when a bound on distinct callers was hit and small callers were folded into `(other)`.
    pub attribution_exact: bool,
    pub model: String,
    /// True while the minutes may still grow: the start and the callers may change, the incident stays. Absent once it
    /// is final.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub provisional: bool,
    /// Shared by the insights of one caller in the same minutes, whatever the API, Region or account: one incident for
    /// people.
    #[serde(rename = "incidentID", default, skip_serializing_if = "Option::is_none")]
    pub incident_id: Option<String>,
    /// The mute or the expected run that keeps it from people: recorded, and sent to nobody.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub muted_by: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Expected {
    pub average: Average,
    pub lower: Average,
    pub upper: Average,
}

/// A job by the clock: see `judge::Rhythm`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Repeat {
    pub period_minutes: u32,
    /// Minutes after a multiple of the period since 1970-01-01T00:00Z.
    pub phase_minutes: u32,
    /// Working days only.
    pub weekdays: bool,
    /// Runs that came, of those that could have.
    pub hits: u32,
    pub chances: u32,
    /// How much later than usual this run started: 0, or an hour (60, -60) as clocks change.
    pub shift_minutes: i32,
    /// Calls in the fullest hour of a usual run, and of this one.
    pub usual: u64,
    pub observed: u64,
    pub words: String,
}

/// Not seen with this API in the baseline.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct New {
    /// `userIdentityArn`, `accessKeyId`, `sourceIPAddress` or `userAgent`.
    pub attribute: String,
    pub value: String,
    /// Nor at any time the trail tells of.
    pub ever: bool,
}

/// What would have been left without one caller.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Without {
    /// `userIdentityArn`, `sessionName`, `accessKeyId` or `sourceIPAddress`.
    pub attribute: String,
    pub value: String,
    /// Calls (or errors) of all others in the insight's minutes, and per minute.
    pub observed: u64,
    pub average: Average,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Excess {
    /// `userIdentityArn`, `sessionName`, `accessKeyId`, `sourceIPAddress`, `userAgent`, `errorCode` or `resourceArn`.
    pub attribute: String,
    /// At most five.
    pub values: Vec<ExcessValue>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ExcessValue {
    pub value: String,
    /// Per minute, in the insight.
    pub average: Average,
    /// Per minute, in the baseline.
    pub baseline_average: Average,
    /// Share of the extra calls, in `0..=1`.
    pub share: f64,
    /// Not seen with this API in the baseline.
    pub first_seen: bool,
}
