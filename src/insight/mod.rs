//! [`Insight`]: what was found, in the terms of the detector. `trail` writes the shape that CloudTrail users know,
//! `words` says it in a sentence, `evidence` and `severity` say what follows from it, `compare` tells two runs apart.
//! Knows neither how it was found nor where it goes.

pub mod compare;
mod evidence;
pub mod mute;
mod sensitive;
mod severity;
pub mod trail;
pub mod words;

use std::sync::Arc;

use uuid::Uuid;

use crate::event::{MINUTES_PER_DAY, Minute};
use crate::window::{Api, Attribute};
pub use evidence::{Closing, Counterfactual, Evidence, Novelty, Recurrence, return_years};
pub use sensitive::is_sensitive;
pub use severity::{Weights, severity};
use trail::{
    Attribution, Average, Excess, ExcessValue, Expected, Highwater, InsightContext, InsightDetails, Mean, New, Repeat,
    Statistics, TrailRecord, ValueAverage, Without,
};

/// What is counted: the calls of an API, or those that ended in one error code.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SeriesKey {
    pub api: Arc<Api>,
    /// `None`: call rate. `Some`: error rate of that code.
    pub error_code: Option<Arc<str>>,
}

impl SeriesKey {
    /// `ApiCallRateInsight` or `ApiErrorRateInsight`.
    pub fn insight_type(&self) -> &'static str {
        if self.error_code.is_some() { "ApiErrorRateInsight" } else { "ApiCallRateInsight" }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum State {
    Start,
    End,
}

impl State {
    pub fn as_str(self) -> &'static str {
        match self {
            State::Start => "Start",
            State::End => "End",
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    Up,
    Down,
}

/// Calls (or errors) in some minutes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    pub count: u64,
    pub minutes: i64,
}

impl Rate {
    /// Per minute.
    pub fn average(self) -> f64 {
        self.count as f64 / self.minutes.max(1) as f64
    }
}

/// Counts by value of one attribute, in the insight and in the baseline.
#[derive(Clone, Debug, PartialEq)]
pub struct Attributed {
    pub attribute: Attribute,
    pub insight: Vec<(String, u64)>,
    pub baseline: Vec<(String, u64)>,
}

/// One value's part in the extra calls.
#[derive(Clone, Debug, PartialEq)]
pub struct ExtraCalls {
    pub value: String,
    /// Calls in the insight, and in the baseline.
    pub count: u64,
    pub usual: u64,
    /// Of the extra calls, in `0..=1`.
    pub share: f64,
}

/// The start or the end of an incident.
#[derive(Clone, Debug, PartialEq)]
pub struct Insight {
    pub series: SeriesKey,
    pub state: State,
    pub direction: Direction,
    /// First minute of the incident.
    pub start: Minute,
    /// First minute after it; of a start, none.
    pub end: Option<Minute>,
    /// The minute whose passing made this known. Insights leave the detector in its order.
    pub decided: Minute,
    /// Of a start: the window that triggered. Of an end: the whole incident.
    pub insight: Rate,
    pub baseline: Rate,
    pub attributed: Vec<Attributed>,
    pub attribution_exact: bool,
    /// Calls per minute, for the insight's minutes: mean, lower, upper.
    pub expected: (f64, f64, f64),
    /// Natural logarithm of the forecast's probability of so many calls (or so few).
    pub ln_odds: f64,
    pub evidence: Evidence,
    /// Highest score so far, and the line.
    pub score: f64,
    pub threshold: f64,
    pub model: Arc<str>,
    /// Shared by the insights of one caller in the same minutes; none before it is known.
    pub incident: Option<Uuid>,
}

/// Days of the reported baseline before the day of the start.
pub const BASELINE_DAYS: i64 = 7;

/// Where the reported baseline begins: 00:00 UTC, seven days before the day of the start. So its length is 10,080
/// minutes plus the minute of the day of the start: the rule that fits AWS's published examples.
pub fn baseline_from(start: Minute) -> Minute {
    Minute((start.day() - BASELINE_DAYS) * MINUTES_PER_DAY)
}

/// Values of an attribute that a record lists at most.
const VALUES_MAX: usize = 5;

/// Namespace of the project's derived IDs (UUID version 5), itself derived from a fixed random UUID.
const NAMESPACE: Uuid = Uuid::from_u128(0x6f1c_4dd2_0a9e_4c54_9f0b_5a0c_7e4b_d9a1);

impl Insight {
    /// The incident's ID: the same series and start minute always give the same one.
    pub fn shared_event_id(&self) -> Uuid {
        let api = &self.series.api;
        let error = self.series.error_code.as_deref().unwrap_or("");
        let down = match (self.direction, &self.evidence.recurrence) {
            (Direction::Up, _) => "",
            (Direction::Down, None) => "down",
            // A job that did not come, which a drop of the same minute may stand beside.
            (Direction::Down, Some(_)) => "missed",
        };
        let name = [
            &*api.account_id,
            &*api.region,
            &*api.event_source,
            &*api.event_name,
            api.category.as_str(),
            error,
            down,
            &self.start.to_string(),
        ];
        Uuid::new_v5(&NAMESPACE, name.join("\n").as_bytes())
    }

    /// Insight average over baseline average; none over a zero baseline.
    pub fn ratio(&self) -> Option<f64> {
        (self.baseline.count > 0).then(|| self.insight.average() / self.baseline.average())
    }

    /// Calls beyond what the baseline average would have brought; not negative.
    pub fn extra(&self) -> f64 {
        (self.insight.count as f64 - self.baseline.average() * self.insight.minutes as f64).max(0.0)
    }

    /// `info` to `critical`: see [`severity()`].
    pub fn severity(&self) -> &'static str {
        let api = &self.series.api;
        severity(&Weights {
            margin: self.score - self.threshold,
            extra: self.extra(),
            ratio: self.ratio().unwrap_or(f64::INFINITY),
            new_caller: self.has_new_caller(),
            sensitive: is_sensitive(&api.event_source, &api.event_name),
        })
    }

    /// Per attribute, who made the extra calls, largest share first.
    pub fn excess(&self) -> Vec<(Attribute, Vec<ExtraCalls>)> {
        let per_minute = |count: u64, rate: Rate| count as f64 / rate.minutes.max(1) as f64;
        self.attributed
            .iter()
            .map(|attributed| {
                let mut values: Vec<ExtraCalls> = attributed
                    .insight
                    .iter()
                    .map(|(value, count)| {
                        let usual = attributed.baseline.iter().find(|(v, _)| v == value).map_or(0, |(_, n)| *n);
                        let extra = per_minute(*count, self.insight) - per_minute(usual, self.baseline);
                        ExtraCalls { value: value.clone(), count: *count, usual, share: extra.max(0.0) }
                    })
                    .collect();
                let total: f64 = values.iter().map(|value| value.share).sum();
                values.iter_mut().for_each(|value| value.share = if total > 0.0 { value.share / total } else { 0.0 });
                values.sort_by(|a, b| b.share.total_cmp(&a.share).then_with(|| a.value.cmp(&b.value)));
                (attributed.attribute, values)
            })
            .collect()
    }

    /// The record; `strict` leaves out the object `highwater`.
    pub fn to_record(&self, strict: bool) -> TrailRecord {
        let api = &self.series.api;
        let shared = self.shared_event_id();
        let time = self.end.unwrap_or(self.start);
        let top = |counts: &[(String, u64)], rate: Rate| -> Vec<ValueAverage> {
            let mut counts: Vec<_> = counts.iter().collect();
            counts.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
            let average = |n: u64| Average(n as f64 / rate.minutes.max(1) as f64);
            counts
                .into_iter()
                .take(VALUES_MAX)
                .map(|(value, n)| ValueAverage { value: value.clone(), average: average(*n) })
                .collect()
        };
        let attributions = self
            .attributed
            .iter()
            .filter(|attributed| match attributed.attribute {
                Attribute::UserIdentityArn | Attribute::UserAgent | Attribute::ResourceArn => true,
                Attribute::ErrorCode => self.series.error_code.is_none(),
                Attribute::SessionName | Attribute::AccessKeyId | Attribute::SourceIpAddress => false,
            })
            .map(|attributed| Attribution {
                attribute: attributed.attribute.as_str().to_owned(),
                insight: top(&attributed.insight, self.insight),
                baseline: top(&attributed.baseline, self.baseline),
            })
            .collect();
        TrailRecord {
            event_version: "1.09".to_owned(),
            event_time: time.to_string(),
            aws_region: api.region.to_string(),
            event_id: Uuid::new_v5(&shared, self.state.as_str().as_bytes()).to_string(),
            event_type: "AwsCloudTrailInsight".to_owned(),
            recipient_account_id: api.account_id.to_string(),
            shared_event_id: shared.to_string(),
            insight_details: InsightDetails {
                state: self.state.as_str().to_owned(),
                event_source: api.event_source.to_string(),
                event_name: api.event_name.to_string(),
                insight_type: self.series.insight_type().to_owned(),
                error_code: self.series.error_code.as_deref().map(str::to_owned),
                source_event_category: Some(api.category.as_str().to_owned()),
                insight_context: InsightContext {
                    statistics: Statistics {
                        baseline: Mean { average: Average(self.baseline.average()) },
                        insight: Mean { average: Average(self.insight.average()) },
                        insight_duration: Some(self.insight.minutes),
                        baseline_duration: Some(self.baseline.minutes),
                    },
                    attributions: Some(attributions),
                },
                insight_source: None,
            },
            event_category: "Insight".to_owned(),
            highwater: (!strict).then(|| self.to_highwater()),
        }
    }

    fn to_highwater(&self) -> Highwater {
        let per_minute = |count: u64, rate: Rate| Average(count as f64 / rate.minutes.max(1) as f64);
        let excess = self
            .excess()
            .into_iter()
            .filter(|(_, values)| !values.is_empty())
            .map(|(attribute, values)| Excess {
                attribute: attribute.as_str().to_owned(),
                values: values
                    .into_iter()
                    .take(VALUES_MAX)
                    .map(|extra| ExcessValue {
                        value: extra.value,
                        average: per_minute(extra.count, self.insight),
                        baseline_average: per_minute(extra.usual, self.baseline),
                        share: rounded(extra.share),
                        first_seen: extra.usual == 0,
                    })
                    .collect(),
            })
            .collect();
        let (mean, lower, upper) = self.expected;
        let without = self.counterfactual().map(|without| Without {
            attribute: without.attribute.as_str().to_owned(),
            value: without.value,
            average: per_minute(without.rest, self.insight),
            observed: without.rest,
        });
        let new = self.novelties().into_iter().map(|new| New {
            attribute: new.attribute.as_str().to_owned(),
            value: new.value,
            ever: new.ever,
        });
        let recurrence = self.evidence.recurrence.map(|recurrence| Repeat {
            period_minutes: recurrence.rhythm.period_minutes,
            phase_minutes: recurrence.rhythm.phase_minutes,
            weekdays: recurrence.rhythm.weekdays,
            hits: recurrence.rhythm.hits,
            chances: recurrence.rhythm.chances,
            shift_minutes: recurrence.rhythm.shift_minutes,
            usual: u64::from(recurrence.rhythm.count),
            observed: recurrence.count,
            words: words::recurrence(&recurrence, self.has_new_caller()),
        });
        Highwater {
            direction: if self.direction == Direction::Up { "up" } else { "down" }.to_owned(),
            score: rounded(self.score),
            threshold: self.threshold,
            severity: self.severity().to_owned(),
            observed: self.insight.count,
            expected: Expected { average: Average(mean), lower: Average(lower), upper: Average(upper) },
            ratio: self.ratio().map(rounded),
            ln_odds: rounded(self.ln_odds),
            odds: words::odds(self.return_years()),
            window_minutes: (self.evidence.window_minutes > 0).then_some(self.evidence.window_minutes),
            recurrence,
            new: new.collect(),
            without,
            closing: self.evidence.closing.map(|closing| closing.as_str().to_owned()),
            detected_time: self.decided.to_string(),
            reason: words::reason(self),
            excess,
            attribution_exact: self.attribution_exact,
            model: self.model.to_string(),
            provisional: false,
            incident_id: self.incident.map(|incident| incident.to_string()),
            muted_by: None,
        }
    }
}

/// Four digits after the point: more would only show noise of the last place.
fn rounded(value: f64) -> f64 {
    (value * 1e4).round() / 1e4
}
