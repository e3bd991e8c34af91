//! From scored minutes to what is learned from: minutes of one series close together are one bag, and the truth says
//! of the bag whether something happened, not of each minute. Knows truths and candidates; fits nothing.

use std::collections::HashMap;

use crate::detector::Candidate;
use crate::event::Minute;
use crate::judge::FEATURE_COUNT;
use crate::train::labelled::{Duty, Truth};

/// Scored minutes of one series so far apart at most belong to one bag.
const BAG_GAP_MINUTES: i64 = 30;
/// Slack when a bag is compared with a truth.
const SLACK_MINUTES: i64 = 10;

/// The minutes of one stretch of one series.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Bag {
    pub(super) positive: bool,
    pub(super) weight: f64,
    pub(super) minutes: Vec<[f32; FEATURE_COUNT]>,
}

type Place<'a> = (&'a str, &'a str, &'a str, &'a str);

/// Bags from `live_from` on, from candidates in any order. Those that touch something harmless or optional are left out: they are neither.
pub(super) fn bags(mut candidates: Vec<Candidate>, truths: &[Truth], live_from: Minute) -> Vec<Bag> {
    candidates.sort_by(|a, b| (&a.series, a.minute).cmp(&(&b.series, b.minute)));
    let mut by_api: HashMap<Place, Vec<&Truth>> = HashMap::new();
    for truth in truths {
        let place: Place = (&truth.account_id, &truth.region, &truth.event_source, &truth.event_name);
        by_api.entry(place).or_default().push(truth);
    }
    candidates
        .chunk_by(|a, b| a.series == b.series && b.minute.0 - a.minute.0 <= BAG_GAP_MINUTES)
        .filter(|bag| bag[0].minute >= live_from)
        .filter_map(|bag| {
            let (first, last) = (bag[0].minute.0, bag[bag.len() - 1].minute.0);
            let series = &bag[0].series;
            let place: Place =
                (&series.api.account_id, &series.api.region, &series.api.event_source, &series.api.event_name);
            let touched = by_api
                .get(&place)
                .into_iter()
                .flatten()
                .filter(|truth| first <= truth.end.0 + SLACK_MINUTES && last >= truth.start.0 - SLACK_MINUTES);
            let (mut positive, mut other) = (false, false);
            for truth in touched {
                let same = truth.error_code.as_deref() == series.error_code.as_deref();
                positive |= truth.duty == Duty::Required && same;
                other = true;
            }
            (positive || !other).then(|| Bag {
                positive,
                weight: 1.0,
                minutes: bag.iter().map(|candidate| candidate.features.map(|value| value as f32)).collect(),
            })
        })
        .collect()
}
