//! [`score`]: what a detector found in one account against the truth about it, and [`pool`]: several accounts as one.
//! The rule is that of the benchmark this project began with (`tests/fixtures/matching/make.py` says how its numbers
//! were made): an incident counts for a truth of its series that it overlaps within ten minutes; it is neither right
//! nor wrong where the API was under attack in another way, or changed harmlessly; else it is a false alarm. Knows
//! nothing of how incidents are found.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::event::{MINUTES_PER_DAY, Minute};
use crate::insight::Insight;
use crate::insight::compare::{Incident, incidents};
use crate::train::labelled::{Duty, Truth};
use crate::window::Attribute;

/// Minutes by which an incident may miss a truth on either side.
const SLACK_MINUTES: i64 = 10;

/// One incident as a detector tells it, over `[start, end)`.
#[derive(Clone, Debug, PartialEq)]
pub struct Found {
    pub account_id: String,
    pub region: String,
    pub event_source: String,
    pub event_name: String,
    /// `None`: in the call rate.
    pub error_code: Option<String>,
    pub start: Minute,
    pub end: Minute,
    /// When it was known that there is one.
    pub known: Minute,
    /// The most frequent caller, without its session; none where a detector does not look at callers.
    pub arn: Option<String>,
}

impl Found {
    /// An incident still open counts as one minute long: an insight without an end tells no more.
    pub fn from_insights(insights: &[Insight]) -> Vec<Found> {
        let found = |incident: Incident| {
            let (start, last) = (&incident.start, incident.last());
            let api = &start.series.api;
            let arn = last.attributed.iter().find(|of| of.attribute == Attribute::UserIdentityArn);
            Found {
                account_id: api.account_id.to_string(),
                region: api.region.to_string(),
                event_source: api.event_source.to_string(),
                event_name: api.event_name.to_string(),
                error_code: start.series.error_code.as_deref().map(str::to_owned),
                start: start.start,
                end: last.end.unwrap_or(start.start).max(Minute(start.start.0 + 1)),
                known: start.decided,
                arn: arn.and_then(|of| of.insight.first()).map(|(value, _)| value.clone()),
            }
        };
        incidents(insights).into_iter().map(found).collect()
    }

    fn meets(&self, truth: &Truth) -> bool {
        truth.account_id == self.account_id
            && truth.region == self.region
            && truth.event_source == self.event_source
            && truth.event_name == self.event_name
            && self.start.0 <= truth.end.0 + SLACK_MINUTES
            && self.end.0 >= truth.start.0 - SLACK_MINUTES
    }
}

/// How a detector did on one account, or on several. Ratios are in `0..=1`; of nothing they are 0.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Score {
    pub accounts: usize,
    /// Sum over accounts of the time judged.
    pub account_weeks: f64,
    /// To be found, and found.
    pub truths: usize,
    pub found: usize,
    pub false_alarms: usize,
    /// Further incidents for a truth already found.
    pub fragments: usize,
    /// Neither right nor wrong.
    pub ignored: usize,
    pub precision: f64,
    pub recall: f64,
    pub f1: f64,
    /// Of the worst account.
    pub worst_f1: f64,
    pub false_alarms_per_account_week: f64,
    /// Median over accounts of the median minutes from the start of a truth to the start of its incident, and to the
    /// minute in which that was known.
    pub start_delay_minutes: Option<f64>,
    pub known_delay_minutes: Option<f64>,
    /// Mean over accounts of the share of found truths whose culprit was named first.
    pub top_arn_right: Option<f64>,
    /// Found and to be found.
    pub recall_by_kind: BTreeMap<String, (usize, usize)>,
}

/// Scores one account, or several judged together: `accounts` of them, judged over `live`.
pub fn score(truths: &[Truth], found: &[Found], live: std::ops::Range<Minute>, accounts: usize) -> Score {
    let mut hits: Vec<Vec<&Found>> = vec![Vec::new(); truths.len()];
    let (mut false_alarms, mut fragments, mut ignored) = (0, 0, 0);
    for incident in found.iter().filter(|incident| incident.start >= live.start) {
        let near = || truths.iter().zip(0..).filter(|(truth, _)| incident.meets(truth));
        let mut same =
            near().filter(|(truth, _)| truth.duty != Duty::Benign && truth.error_code == incident.error_code);
        if let Some((_, place)) = same.next() {
            fragments += usize::from(!hits[place].is_empty());
            hits[place].push(incident);
        } else if near().next().is_some() {
            ignored += 1;
        } else {
            false_alarms += 1;
        }
    }
    let mut recall_by_kind: BTreeMap<String, (usize, usize)> = BTreeMap::new();
    let (mut start_delays, mut known_delays, mut arns) = (Vec::new(), Vec::new(), Vec::new());
    for (truth, hits) in truths.iter().zip(&hits).filter(|(truth, _)| truth.duty == Duty::Required) {
        let of_kind = recall_by_kind.entry(truth.kind.clone()).or_default();
        of_kind.1 += 1;
        let Some(start) = hits.iter().map(|hit| hit.start).min() else { continue };
        of_kind.0 += 1;
        let known = hits.iter().map(|hit| hit.known).min().unwrap_or(start);
        start_delays.push((start.0 - truth.start.0).max(0) as f64);
        known_delays.push((known.0 - truth.start.0).max(0) as f64);
        arns.push(f64::from(u8::from(hits.iter().any(|hit| hit.arn == truth.arn))));
    }
    let mut score = Score {
        accounts,
        account_weeks: accounts as f64 * (live.end.0 - live.start.0) as f64 / (7 * MINUTES_PER_DAY) as f64,
        truths: recall_by_kind.values().map(|kind| kind.1).sum(),
        found: recall_by_kind.values().map(|kind| kind.0).sum(),
        false_alarms,
        fragments,
        ignored,
        start_delay_minutes: median(start_delays),
        known_delay_minutes: median(known_delays),
        top_arn_right: mean(&arns),
        recall_by_kind,
        ..Score::default()
    };
    score.rate();
    score.worst_f1 = score.f1;
    score
}

/// Sums of counts, not means of ratios: an account with more truths weighs more.
pub fn pool(scores: &[Score]) -> Score {
    let mut all = Score { worst_f1: f64::INFINITY, ..Score::default() };
    for score in scores {
        all.accounts += score.accounts;
        all.account_weeks += score.account_weeks;
        all.truths += score.truths;
        all.found += score.found;
        all.false_alarms += score.false_alarms;
        all.fragments += score.fragments;
        all.ignored += score.ignored;
        all.worst_f1 = all.worst_f1.min(score.worst_f1);
        for (kind, (found, truths)) in &score.recall_by_kind {
            let of_kind = all.recall_by_kind.entry(kind.clone()).or_default();
            *of_kind = (of_kind.0 + found, of_kind.1 + truths);
        }
    }
    all.worst_f1 = if scores.is_empty() { 0.0 } else { all.worst_f1 };
    all.start_delay_minutes = median(scores.iter().filter_map(|score| score.start_delay_minutes).collect());
    all.known_delay_minutes = median(scores.iter().filter_map(|score| score.known_delay_minutes).collect());
    all.top_arn_right = mean(&scores.iter().filter_map(|score| score.top_arn_right).collect::<Vec<f64>>());
    all.rate();
    all
}

impl Score {
    /// The ratios, from the counts.
    fn rate(&mut self) {
        let share = |part: usize, whole: usize| part as f64 / whole.max(1) as f64;
        self.precision = share(self.found, self.found + self.false_alarms);
        self.recall = share(self.found, self.truths);
        let sum = self.precision + self.recall;
        self.f1 = if sum > 0.0 { 2.0 * self.precision * self.recall / sum } else { 0.0 };
        self.false_alarms_per_account_week = self.false_alarms as f64 / self.account_weeks.max(1e-9);
    }
}

/// The mean of the middle two where they are even.
fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let middle = values.len().checked_sub(1)? as f64 / 2.0;
    Some(values[middle.floor() as usize].midpoint(values[middle.ceil() as usize]))
}

fn mean(values: &[f64]) -> Option<f64> {
    (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64)
}
