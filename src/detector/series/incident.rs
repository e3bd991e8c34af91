//! [`Incident`]: an alarm becomes a start, minutes are counted until it is over, and an end tells what there was; and who
//! is to be named. Knows when a minute is an alarm as little as what a record looks like.

use serde::{Deserialize, Serialize};

use super::{Caller, Cell, Context, RECENT_MINUTES, Series};
use crate::baseline::Predictive;
use crate::detector::{Callers, Key};
use crate::event::Minute;
use crate::insight::{Attributed, Direction, Evidence, Insight, Rate, State, baseline_from};
use crate::window::Attribute;

/// AWS averages a Start over five minutes.
const TRIGGER_MINUTES: u32 = 5;

/// Minutes above the expected range belong together across this many calm ones.
const START_GAP_MINUTES: u32 = 5;

/// What an incident's minutes are kept out of the record for: so long before its first alarm, so long after its last,
/// and at most so long in all; then it is the new normal.
pub(super) const FREEZE_AFTER_MINUTES: u32 = 15;
pub(super) const FREEZE_MINUTES_MAX: u32 = 180;

/// What an end must repeat of its start, and what has been counted since.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Incident {
    pub(super) start: u32,
    pub(super) first_alarm: u32,
    pub(super) baseline_count: u64,
    pub(super) baseline: Vec<(Caller, u64)>,
    pub(super) exact: bool,
    /// Counts per minute above this are unusual: the upper end of the forecast at the start.
    pub(super) limit: f64,
    /// The last minute above the limit, or the last alarm where none was.
    pub(super) last_unusual: u32,
    pub(super) above_limit: bool,
    /// Calls from the start up to `last_unusual`, and those after it, which belong to the incident only if it goes on.
    pub(super) counted: Vec<(Caller, u64)>,
    pub(super) tail: Vec<(Caller, u64)>,
    pub(super) peak: f64,
    /// The line of the day on which it began.
    pub(super) threshold: f64,
    /// The forecast as it stood at the start, for the odds of the whole.
    pub(super) predictive: Predictive,
    pub(super) evidence: Evidence,
}

impl Series {
    /// The first minute of unusual activity: back from the alarm while minutes lie above the limit.
    fn walk_back(&self, alarm: u32, limit: f64) -> u32 {
        let mut start = alarm;
        for (minute, count) in self.judge.recent().collect::<Vec<_>>().into_iter().rev() {
            if minute + START_GAP_MINUTES < start || minute + RECENT_MINUTES <= alarm {
                break;
            }
            if minute < start && f64::from(count) > limit {
                start = minute;
            }
        }
        start
    }

    pub(super) fn start(
        &mut self,
        context: &Context,
        key: Key,
        alarm: u32,
        score: f64,
        window_minutes: u32,
        out: &mut Vec<Insight>,
    ) {
        let predictive = self.baseline.predict(Minute(i64::from(alarm)), context.peers);
        let forecast = predictive.forecast();
        let start = self.walk_back(alarm, forecast.upper);
        let (baseline_count, baseline, exact) = self.baseline_before(start);
        let trigger_from = start.min(alarm + 1 - TRIGGER_MINUTES);
        let in_window = |from: u32| -> Vec<(Caller, u64)> {
            let recent = self.recent().filter(|recent| recent.minute >= from);
            let mut counts = recent.map(|recent| (recent.caller, u64::from(recent.count))).collect();
            merge_counts(&mut counts);
            counts
        };
        let trigger = in_window(trigger_from);
        let mut counted = in_window(start);
        // The alarm's own minute is counted by the step that follows.
        for recent in self.recent().filter(|recent| recent.minute == alarm) {
            if let Some(known) = counted.iter_mut().find(|(caller, _)| *caller == recent.caller) {
                known.1 -= u64::from(recent.count);
            }
        }
        counted.retain(|(_, count)| *count > 0);
        let rate = Rate { count: trigger.iter().map(|c| c.1).sum(), minutes: i64::from(alarm + 1 - trigger_from) };
        let incident = Incident {
            start,
            first_alarm: alarm,
            baseline_count,
            baseline,
            exact,
            limit: forecast.upper,
            last_unusual: alarm,
            above_limit: false,
            counted,
            tail: Vec::new(),
            peak: score,
            threshold: context.threshold,
            predictive,
            evidence: self.evidence(context, start, window_minutes),
        };
        out.push(Insight {
            series: context.names.series_key(key),
            state: State::Start,
            direction: Direction::Up,
            start: Minute(i64::from(start)),
            end: None,
            decided: Minute(i64::from(alarm) + 1),
            insight: rate,
            baseline: incident.baseline_rate(),
            attributed: attribute(context.callers, key, &trigger, &incident.baseline),
            attribution_exact: exact,
            expected: expected(&predictive, rate),
            ln_odds: ln_odds(&predictive, rate),
            evidence: incident.evidence.clone(),
            score,
            threshold: context.threshold,
            model: context.model_name.clone(),
            incident: None,
        });
        self.incident = Some(Box::new(incident));
    }

    /// Keeps the minutes of an incident out of the records it is judged by.
    pub(super) fn freeze(&mut self, alarm: u32) {
        let Some(incident) = &self.incident else { return };
        let until = (alarm + FREEZE_AFTER_MINUTES + 1).min(incident.first_alarm + FREEZE_MINUTES_MAX);
        if alarm < until {
            self.judge.freeze(until);
        }
    }

    pub(super) fn count_incident(&mut self, cell: &Cell, alarm: bool, score: f64, first: bool) {
        let Some(incident) = &mut self.incident else { return };
        incident.peak = incident.peak.max(score);
        incident.tail.extend(cell.callers.iter().map(|&(caller, count)| (caller, u64::from(count))));
        // One busy minute long after the burst does not prolong it, unless it is an alarm itself.
        let near = cell.minute <= incident.last_unusual + START_GAP_MINUTES;
        let above = f64::from(cell.count) > incident.limit && (near || alarm);
        if above || first || (alarm && !incident.above_limit) {
            incident.above_limit |= above;
            incident.last_unusual = cell.minute;
            incident.counted.append(&mut incident.tail);
        }
        if incident.counted.len().is_power_of_two() && incident.counted.len() >= 64 {
            merge_counts(&mut incident.counted);
        }
    }
}

impl Incident {
    fn baseline_rate(&self) -> Rate {
        let start = Minute(i64::from(self.start));
        Rate { count: self.baseline_count, minutes: start.0 - baseline_from(start).0 }
    }

    pub(super) fn end(mut self, context: &Context, key: Key, over: u32) -> Insight {
        merge_counts(&mut self.counted);
        let end = self.last_unusual + 1;
        let rate = Rate { count: self.counted.iter().map(|c| c.1).sum(), minutes: i64::from(end - self.start) };
        Insight {
            series: context.names.series_key(key),
            state: State::End,
            direction: Direction::Up,
            start: Minute(i64::from(self.start)),
            end: Some(Minute(i64::from(end))),
            decided: Minute(i64::from(over)),
            insight: rate,
            baseline: self.baseline_rate(),
            attributed: attribute(context.callers, key, &self.counted, &self.baseline),
            attribution_exact: self.exact,
            expected: expected(&self.predictive, rate),
            ln_odds: ln_odds(&self.predictive, rate),
            evidence: self.evidence,
            score: self.peak,
            threshold: self.threshold,
            model: context.model_name.clone(),
            incident: None,
        }
    }
}

/// What the forecast expected of as many minutes together: mean and range per minute.
fn expected(predictive: &Predictive, rate: Rate) -> (f64, f64, f64) {
    let range = predictive.range(rate.minutes as f64);
    (range.mean, range.lower, range.upper)
}

/// ln P(at least so many calls in so many minutes).
fn ln_odds(predictive: &Predictive, rate: Rate) -> f64 {
    predictive.ln_upper_tail(rate.minutes as f64, rate.count)
}

/// Adds up counts of the same caller.
pub(super) fn merge_counts(counts: &mut Vec<(Caller, u64)>) {
    counts.sort_unstable();
    counts.dedup_by(|next, kept| {
        let same = next.0 == kept.0;
        if same {
            kept.1 += next.1;
        }
        same
    });
}

/// Counts by value for every attribute that has values.
pub(super) fn attribute(
    callers: &Callers,
    key: Key,
    insight: &[(Caller, u64)],
    baseline: &[(Caller, u64)],
) -> Vec<Attributed> {
    let value_of = |attribute: Attribute, caller: Caller| -> &str {
        let [arn, agent, error, resource] = callers.coarse.get(caller.coarse);
        let [session, access_key, address] = callers.fine.get(caller.fine);
        match attribute {
            Attribute::UserIdentityArn => arn,
            Attribute::SessionName => session,
            Attribute::AccessKeyId => access_key,
            Attribute::SourceIpAddress => address,
            Attribute::UserAgent => agent,
            Attribute::ErrorCode => error,
            Attribute::ResourceArn => resource,
        }
    };
    let by_value = |attribute: Attribute, counts: &[(Caller, u64)]| -> Vec<(String, u64)> {
        // AWS attributes calls without an error to the string "null"; so does every attribute that AWS has.
        let always = matches!(attribute, Attribute::UserIdentityArn | Attribute::UserAgent | Attribute::ErrorCode);
        let mut values = std::collections::BTreeMap::<&str, u64>::new();
        for &(caller, count) in counts {
            match value_of(attribute, caller) {
                "" if always => *values.entry("null").or_default() += count,
                "" => {}
                value => *values.entry(value).or_default() += count,
            }
        }
        let mut values: Vec<_> = values.into_iter().map(|(value, count)| (value.to_owned(), count)).collect();
        values.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
        values
    };
    Attribute::ALL
        .into_iter()
        .filter(|attribute| *attribute != Attribute::ErrorCode || !key.is_error_rate())
        .map(|attribute| Attributed {
            attribute,
            insight: by_value(attribute, insight),
            baseline: by_value(attribute, baseline),
        })
        .filter(|attributed| {
            !(attributed.attribute == Attribute::ResourceArn
                && attributed.insight.is_empty()
                && attributed.baseline.is_empty())
        })
        .collect()
}
