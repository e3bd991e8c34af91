//! [`Incidents`]: which insights are one incident for people. What one caller does within a quarter of an hour, to
//! whatever API, in whatever Region or account, is one. Knows insights in the order in which they become known, and
//! nothing else.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::event::MINUTES_PER_DAY;
use crate::insight::mute::principal_names;
use crate::insight::{Direction, Insight, State};
use crate::window::Attribute;

/// Starts so far apart belong together, each to the next.
const APART_MINUTES: i64 = 15;

/// Share of the extra calls that makes a caller the incident's.
const SHARE_MIN: f64 = 0.5;

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Incidents {
    /// By caller, without its account.
    open: BTreeMap<String, Open>,
    /// By the ID that start and end share: of insights that have not ended.
    of: BTreeMap<u128, u128>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Open {
    incident: u128,
    last_start: i64,
}

impl Incidents {
    /// Tells each insight its incident. In the order in which they became known.
    pub(super) fn assign(&mut self, insights: &mut [Insight]) {
        for insight in insights {
            let shared = insight.shared_event_id().as_u128();
            let incident = match insight.state {
                State::Start => {
                    let incident = self.of_start(insight, shared);
                    self.of.insert(shared, incident);
                    incident
                }
                State::End => self.of.remove(&shared).unwrap_or(shared),
            };
            insight.incident = Some(Uuid::from_u128(incident));
        }
    }

    fn of_start(&mut self, insight: &Insight, shared: u128) -> u128 {
        let Some(caller) = leading_caller(insight).filter(|_| insight.direction == Direction::Up) else {
            return shared;
        };
        let start = insight.start.0;
        let fresh = Open { incident: shared, last_start: start };
        let open = self.open.entry(caller).or_insert_with(|| fresh.clone());
        if (start - open.last_start).abs() > APART_MINUTES {
            *open = fresh;
        }
        open.last_start = open.last_start.max(start);
        open.incident
    }

    /// These, and beside them what early words have told: of each caller, what began last.
    pub(super) fn with_early(&self, early: &Incidents) -> Incidents {
        let mut open = self.open.clone();
        for (caller, told) in &early.open {
            let known = open.entry(caller.clone()).or_insert_with(|| told.clone());
            if told.last_start > known.last_start {
                *known = told.clone();
            }
        }
        Incidents { open, of: BTreeMap::new() }
    }

    /// Forgets what nothing can join any more.
    pub(super) fn forget(&mut self, frontier: i64) {
        self.open.retain(|_, open| open.last_start + MINUTES_PER_DAY > frontier);
    }
}

/// Who made at least half of the extra calls: the part of the ARN after the account, so that a role of the same name in
/// another account is the same caller.
fn leading_caller(insight: &Insight) -> Option<String> {
    let (_, values) = insight.excess().into_iter().find(|(attribute, _)| *attribute == Attribute::UserIdentityArn)?;
    let first = values.into_iter().next().filter(|value| value.share >= SHARE_MIN)?;
    principal_names(&first.value).into_iter().nth(1).or(Some(first.value))
}
