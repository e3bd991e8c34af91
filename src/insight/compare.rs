//! Two lists of insights over one trail: which incidents appear, vanish or change from one to the other. Knows neither
//! the detectors that made them nor what differed between those.

use std::collections::BTreeMap;
use std::ops::Range;

use super::{Insight, State};
use crate::event::Minute;

/// A start with its end.
#[derive(Clone, Debug, PartialEq)]
pub struct Incident {
    pub start: Insight,
    /// None while it is open.
    pub end: Option<Insight>,
}

impl Incident {
    /// The end where there is one: it tells the whole incident.
    pub fn last(&self) -> &Insight {
        self.end.as_ref().unwrap_or(&self.start)
    }

    /// Its minutes; an open incident reaches to where it was told.
    pub fn span(&self) -> Range<Minute> {
        let last = self.last();
        self.start.start..last.end.unwrap_or(last.decided).max(Minute(self.start.start.0 + 1))
    }

    fn overlaps(&self, other: &Incident) -> bool {
        let (ours, theirs) = (self.span(), other.span());
        self.start.direction == other.start.direction && ours.start < theirs.end && theirs.start < ours.end
    }

    fn is_told_as(&self, other: &Incident) -> bool {
        self.span() == other.span()
            && self.end.is_some() == other.end.is_some()
            && self.last().severity() == other.last().severity()
    }
}

/// Pairs starts with ends; by time of the start, then series. An end whose start is not in the list is left out.
pub fn incidents(insights: &[Insight]) -> Vec<Incident> {
    let mut by_id = BTreeMap::new();
    for insight in insights.iter().filter(|insight| insight.state == State::Start) {
        by_id.insert(insight.shared_event_id(), Incident { start: insight.clone(), end: None });
    }
    for insight in insights.iter().filter(|insight| insight.state == State::End) {
        if let Some(incident) = by_id.get_mut(&insight.shared_event_id()) {
            incident.end = Some(insight.clone());
        }
    }
    let mut list: Vec<Incident> = by_id.into_values().collect();
    list.sort_by(|a, b| (a.start.start, &a.start.series).cmp(&(b.start.start, &b.start.series)));
    list
}

/// What became of `before` in `after`. Incidents of one series that overlap are the same.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Changes<'a> {
    pub appeared: Vec<&'a Incident>,
    pub vanished: Vec<&'a Incident>,
    /// With what it is told as now: another start, end or severity, or several incidents instead of one.
    pub changed: Vec<(&'a Incident, Vec<&'a Incident>)>,
}

pub fn compare<'a>(before: &'a [Incident], after: &'a [Incident]) -> Changes<'a> {
    let same = |one: &'a Incident, others: &BTreeMap<_, Vec<&'a Incident>>| -> Vec<&'a Incident> {
        let of_series = others.get(&one.start.series).into_iter().flatten();
        of_series.filter(|other| one.overlaps(other)).copied().collect()
    };
    let (was, is) = (by_series(before), by_series(after));
    let mut changes = Changes::default();
    for incident in before {
        let now = same(incident, &is);
        match now[..] {
            [] => changes.vanished.push(incident),
            [only] if incident.is_told_as(only) => {}
            _ => changes.changed.push((incident, now)),
        }
    }
    changes.appeared.extend(after.iter().filter(|incident| same(incident, &was).is_empty()));
    changes
}

fn by_series(incidents: &[Incident]) -> BTreeMap<&super::SeriesKey, Vec<&Incident>> {
    let mut map: BTreeMap<_, Vec<&Incident>> = BTreeMap::new();
    for incident in incidents {
        map.entry(&incident.start.series).or_default().push(incident);
    }
    map
}
