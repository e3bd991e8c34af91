//! Incidents told before their minutes are closed: each once, and what became of it. Nothing here is promised across a
//! kill; what is final stands in `insights.jsonl`. Knows insights, not how they were found.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::event::Minute;
use crate::insight::mute::Mutes;
use crate::insight::trail::TrailRecord;
use crate::insight::{Insight, SeriesKey, State};

/// An early word that nothing confirmed by so long after its minutes were closed was wrong: late counts can only add,
/// but a record that they set on the day before can hide what follows.
const CONFIRMED_WITHIN_MINUTES: i64 = 10;

/// A line of `provisional.jsonl`.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Early {
    /// An Insights record with `highwater.provisional: true`.
    Told(Box<TrailRecord>),
    #[serde(rename_all = "camelCase")]
    Settled {
        #[serde(rename = "sharedEventID")]
        shared_event_id: String,
        /// `confirmed`, `revised` (it began at another minute) or `withdrawn`.
        outcome: &'static str,
        /// The final one, where the start moved.
        #[serde(rename = "finalSharedEventID", skip_serializing_if = "Option::is_none")]
        final_shared_event_id: Option<String>,
    },
}

/// What was told and is not settled: by series, the ID and the minute that decided.
#[derive(Default)]
pub(super) struct Open(BTreeMap<SeriesKey, (String, Minute)>);

impl Open {
    /// What of these is new.
    pub(super) fn tell(&mut self, found: Vec<Insight>, mutes: &Mutes) -> Vec<Early> {
        let mut lines = Vec::new();
        for insight in found {
            if self.0.contains_key(&insight.series) {
                continue;
            }
            let mut record = insight.to_record(false);
            let muted_by = mutes.find(&record).map(|mute| mute.id.clone());
            if let Some(highwater) = &mut record.highwater {
                highwater.provisional = true;
                highwater.muted_by = muted_by;
            }
            self.0.insert(insight.series, (record.shared_event_id.clone(), insight.decided));
            lines.push(Early::Told(Box::new(record)));
        }
        lines
    }

    /// What became of those that the final insights, and the frontier, settle.
    pub(super) fn settle(&mut self, insights: &[Insight], frontier: Minute) -> Vec<Early> {
        let mut lines = Vec::new();
        for insight in insights.iter().filter(|insight| insight.state == State::Start) {
            let Some((told, _)) = self.0.remove(&insight.series) else { continue };
            let id = insight.to_record(true).shared_event_id;
            let moved = id != told;
            lines.push(Early::Settled {
                shared_event_id: told,
                outcome: if moved { "revised" } else { "confirmed" },
                final_shared_event_id: moved.then_some(id),
            });
        }
        let over = |decided: &Minute| decided.0 + CONFIRMED_WITHIN_MINUTES <= frontier.0;
        let wrong: Vec<SeriesKey> =
            self.0.iter().filter(|(_, (_, decided))| over(decided)).map(|(series, _)| series.clone()).collect();
        for series in wrong {
            if let Some((shared_event_id, _)) = self.0.remove(&series) {
                lines.push(Early::Settled { shared_event_id, outcome: "withdrawn", final_shared_event_id: None });
            }
        }
        lines
    }
}
