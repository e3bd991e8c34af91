//! An incident's numbers once more, from the stored rates alone: counts, averages, and the forecast as it stood at the
//! alarm. What differs from the record is shown, not explained away.

use super::format;
use crate::baseline::{Baseline, Class, FORGET_MINUTES, Peers, Pooled, Predictive};
use crate::event::{Category, Minute};
use crate::insight::trail::{Average, TrailRecord};
use crate::insight::{baseline_from, words};

/// One number of a record.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Check {
    /// `Start` or `End`.
    pub state: String,
    /// As people call it.
    pub what: &'static str,
    pub recorded: f64,
    pub recomputed: f64,
    pub agrees: bool,
}

impl Check {
    /// "Start, observed: 118 in the record, 117 in the rates"
    pub fn words(&self) -> String {
        let number = |value: f64| Average(value).text();
        let (recorded, recomputed) = (number(self.recorded), number(self.recomputed));
        format!("{}, {}: {recorded} in the record, {recomputed} from the rates", self.state, self.what)
    }
}

/// Logarithms are written with four digits; the same sums in the same order give the same ones.
const LN_TOLERANCE: f64 = 1e-4;

/// Compares the records of one incident with the counts of its series (calls or errors, ascending). `complete`: the
/// rates begin where the detector did, so that what it had learned can be learned again.
pub fn recount(start: &TrailRecord, end: Option<&TrailRecord>, counts: &[(Minute, u64)], complete: bool) -> Vec<Check> {
    let mut checks = check_counts(start, start, counts, complete);
    checks
        .extend(end.filter(|end| *end != start).into_iter().flat_map(|end| check_counts(end, start, counts, complete)));
    let Some(highwater) = start.highwater.as_ref().filter(|_| complete) else { return checks };
    let Some(decided) = format::parse(&highwater.detected_time) else { return checks };
    let Some(began) = format::parse(&start.event_time) else { return checks };
    if highwater.recurrence.is_some() && highwater.direction == "down" {
        // A job that did not come was expected by its rhythm, not by the forecast.
        return checks;
    }
    let up = highwater.direction == "up";
    let at = if up { Minute(decided.0 - 1) } else { began };
    let predictive = predict(counts, at, peers(start));
    for record in [Some(start), end.filter(|end| *end != start)].into_iter().flatten() {
        checks.extend(check_forecast(record, &predictive, up));
    }
    checks
}

fn check_counts(record: &TrailRecord, start: &TrailRecord, counts: &[(Minute, u64)], complete: bool) -> Vec<Check> {
    let details = &record.insight_details;
    let statistics = &details.insight_context.statistics;
    let (Some(began), Some(time)) = (format::parse(&start.event_time), format::parse(&record.event_time)) else {
        return Vec::new();
    };
    let check = |what, recorded: f64, recomputed: f64| {
        let agrees = Average(recorded).text() == Average(recomputed).text();
        Check { state: details.state.clone(), what, recorded, recomputed, agrees }
    };
    let sum = |from: i64, to: i64| -> u64 {
        let low = counts.partition_point(|(minute, _)| minute.0 < from);
        counts[low..].iter().take_while(|(minute, _)| minute.0 < to).map(|(_, count)| count).sum()
    };
    let mut checks = Vec::new();
    if let Some(minutes) = statistics.insight_duration.filter(|minutes| *minutes > 0) {
        let extra = record.highwater.as_ref();
        let down = extra.is_some_and(|extra| extra.direction == "down");
        let detected = extra.and_then(|extra| format::parse(&extra.detected_time));
        // A start is averaged up to its alarm, an end up to its own time; what fell short, from where it began.
        let until = match (details.state.as_str(), detected) {
            _ if down => Some(began.0 + minutes),
            ("End", _) => Some(time.0),
            (_, detected) => detected.map(|detected| detected.0),
        };
        if let Some(until) = until {
            let observed = sum(until - minutes, until);
            if let Some(extra) = extra {
                checks.push(check("observed", extra.observed as f64, observed as f64));
            }
            checks.push(check("average", statistics.insight.average.0, observed as f64 / minutes as f64));
        }
    }
    if let Some(minutes) = statistics.baseline_duration.filter(|minutes| *minutes > 0 && complete) {
        let usual = sum(baseline_from(began).0, began.0) as f64 / minutes as f64;
        checks.push(check("baseline average", statistics.baseline.average.0, usual));
    }
    checks
}

fn check_forecast(record: &TrailRecord, predictive: &Predictive, up: bool) -> Vec<Check> {
    let (Some(extra), Some(minutes)) = (
        &record.highwater,
        record.insight_details.insight_context.statistics.insight_duration.map(|minutes| minutes as f64),
    ) else {
        return Vec::new();
    };
    let check = |what, recorded: f64, recomputed: f64, agrees: bool| Check {
        state: record.insight_details.state.clone(),
        what,
        recorded,
        recomputed,
        agrees,
    };
    // Drops are judged, and foretold, by the hour; the odds of several are those of the worst.
    let window = if up { minutes } else { 60.0 };
    let range = predictive.range(window);
    let bounds = [
        ("expected average", extra.expected.average, range.mean),
        ("expected from", extra.expected.lower, range.lower),
        ("expected up to", extra.expected.upper, range.upper),
    ];
    let mut checks: Vec<Check> = bounds
        .into_iter()
        .map(|(what, recorded, again)| check(what, recorded.0, again, recorded.text() == Average(again).text()))
        .collect();
    if up || minutes <= window {
        let again = match up {
            true => predictive.ln_upper_tail(window, extra.observed),
            false => predictive.ln_lower_tail(window, extra.observed),
        };
        checks.push(check("ln odds", extra.ln_odds, again, (extra.ln_odds - again).abs() <= LN_TOLERANCE));
    }
    checks
}

/// The forecast of a minute's hour from the minutes before it, as the detector made it.
fn predict(counts: &[(Minute, u64)], at: Minute, peers: Peers) -> Predictive {
    let mut baseline = Baseline::default();
    let mut last: Option<Minute> = None;
    for &(minute, count) in counts.iter().take_while(|(minute, _)| *minute < at) {
        if last.is_some_and(|last| minute.0 - last.0 > i64::from(FORGET_MINUTES)) {
            baseline = Baseline::default();
        }
        baseline.learn(minute, count, peers);
        last = Some(minute);
    }
    baseline.predict(at, peers)
}

/// What the detector knew of the likes of a record's series.
pub fn peers(record: &TrailRecord) -> Peers<'static> {
    let details = &record.insight_details;
    let category = Category::parse(details.source_event_category.as_deref().unwrap_or_default());
    Pooled::shipped().peers(Class::of(&details.event_name, details.error_code.is_some(), category))
}

/// A record's title: "RunInstances 14x above normal in us-east-1".
pub fn title(record: &TrailRecord) -> String {
    let details = &record.insight_details;
    let statistics = &details.insight_context.statistics;
    let baseline = statistics.baseline.average.0;
    words::title(&words::Headline {
        event_name: &details.event_name,
        error_code: details.error_code.as_deref(),
        region: &record.aws_region,
        down: record.highwater.as_ref().is_some_and(|extra| extra.direction == "down"),
        ratio: (baseline > 0.0).then_some(statistics.insight.average.0 / baseline),
    })
}
