//! What follows from an insight's numbers: how rare, without whom it would be nothing, what is new. Knows the insight
//! alone; says nothing in words.

use serde::{Deserialize, Serialize};

use super::{Direction, Insight};
use crate::event::MINUTES_PER_DAY;
use crate::judge::Rhythm;
use crate::window::{Attribute, OTHER};

/// A job by the clock, and what became of its run this time.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Recurrence {
    pub rhythm: Rhythm,
    /// Calls in the fullest hour of this run, so far; 0: it did not come.
    pub count: u64,
}

impl Recurrence {
    /// This run's size over the usual one; none where that is not known.
    pub fn ratio(&self) -> Option<f64> {
        (self.rhythm.count > 0).then(|| self.count as f64 / f64::from(self.rhythm.count))
    }
}

/// What the detector knows beyond counts.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Evidence {
    /// Of 1, 5, 15 and 60 minutes, the window that beat its record by most; 0: none is meant.
    pub window_minutes: u32,
    /// The job by the clock that this is a run of, or that did not come.
    pub recurrence: Option<Recurrence>,
    /// The series had no call before the incident, as far back as the trail goes.
    pub first_ever: bool,
    /// Of an end.
    pub closing: Option<Closing>,
}

/// Why an incident is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Closing {
    /// The level stayed and was learned.
    NewNormal,
    BackToNormal,
}

impl Closing {
    pub fn as_str(self) -> &'static str {
        match self {
            Closing::NewNormal => "new normal",
            Closing::BackToNormal => "back to normal",
        }
    }
}

/// One caller without whom the minutes lie inside the expected range.
#[derive(Clone, Debug, PartialEq)]
pub struct Counterfactual {
    pub attribute: Attribute,
    pub value: String,
    /// Calls of all others in the insight's minutes.
    pub rest: u64,
}

/// A value not seen with this series in the baseline.
#[derive(Clone, Debug, PartialEq)]
pub struct Novelty {
    pub attribute: Attribute,
    pub value: String,
    /// Nor at any time that the trail knows of.
    pub ever: bool,
}

/// Who can be a cause, in the order in which they are tried.
const CALLERS: [Attribute; 4] =
    [Attribute::UserIdentityArn, Attribute::SessionName, Attribute::AccessKeyId, Attribute::SourceIpAddress];

/// What can be new. A session's name is new by nature, and so is a temporary key.
const LASTING: [Attribute; 4] =
    [Attribute::UserIdentityArn, Attribute::AccessKeyId, Attribute::SourceIpAddress, Attribute::UserAgent];
const TEMPORARY_KEY: &str = "ASIA";

/// What is new is worth a word from this share of the calls on.
const NOVELTY_SHARE: f64 = 0.1;

const MINUTES_PER_YEAR: f64 = 365.0 * MINUTES_PER_DAY as f64;

/// Years between two windows as unusual as one of probability e^`ln_odds`: windows of `minutes` minutes follow one upon
/// the other, `MINUTES_PER_YEAR / minutes` of them a year, so the mean distance is `minutes / MINUTES_PER_YEAR / p`.
/// Infinity for the impossible.
pub fn return_years(ln_odds: f64, minutes: f64) -> f64 {
    ((minutes.max(1.0) / MINUTES_PER_YEAR).ln() - ln_odds).exp()
}

impl Insight {
    /// The length of the windows that `ln_odds` speaks of: the insight's minutes, the hours of a drop, or the period of
    /// a job that did not come.
    pub fn odds_minutes(&self) -> f64 {
        const HOUR: f64 = 60.0;
        match (self.direction, &self.evidence.recurrence) {
            (Direction::Up, _) => self.insight.minutes as f64,
            (Direction::Down, Some(recurrence)) => f64::from(recurrence.rhythm.period_minutes),
            (Direction::Down, None) => HOUR,
        }
    }

    /// See [`return_years`].
    pub fn return_years(&self) -> f64 {
        return_years(self.ln_odds, self.odds_minutes())
    }

    /// The single caller whose calls make the difference between the observed count and the expected range of the same
    /// minutes; none if there is no such caller. A principal goes before sessions, keys and addresses, unless it also
    /// made most of the baseline's calls: then one session of it may say more. Leaving out the only caller there is,
    /// and usually is, explains nothing.
    pub fn counterfactual(&self) -> Option<Counterfactual> {
        let limit = self.expected.2 * self.insight.minutes as f64 + 1e-9;
        if self.direction == Direction::Down || self.insight.count as f64 <= limit {
            return None;
        }
        let suffices = |attribute: Attribute, usual_too: bool| {
            let attributed = self.attributed.iter().find(|attributed| attributed.attribute == attribute)?;
            let (value, count) = attributed.insight.iter().max_by_key(|(_, count)| *count)?;
            let usual = attributed.baseline.iter().find(|(v, _)| v == value).map_or(0, |(_, count)| *count);
            let rest = self.insight.count.saturating_sub(*count);
            let named = value != OTHER && value != "null";
            let tells = usual * 2 <= self.baseline.count || (usual_too && rest > 0);
            (named && rest as f64 <= limit && tells).then(|| Counterfactual { attribute, value: value.clone(), rest })
        };
        CALLERS
            .into_iter()
            .find_map(|attribute| suffices(attribute, false))
            .or_else(|| suffices(Attribute::UserIdentityArn, true))
    }

    /// Whether a principal with a part in the insight had none in the baseline.
    pub fn has_new_caller(&self) -> bool {
        self.novelties().iter().any(|new| new.attribute == Attribute::UserIdentityArn)
    }

    /// Callers, long-lived keys, addresses and agents with a part in the insight and none in the baseline, one for each
    /// attribute. Where nobody called at all before, only the caller is news. Nothing where small callers were folded.
    pub fn novelties(&self) -> Vec<Novelty> {
        if self.direction == Direction::Down || !(self.attribution_exact || self.baseline.count == 0) {
            return Vec::new();
        }
        let enough = (self.insight.count as f64 * NOVELTY_SHARE).max(1.0);
        let attributes = if self.baseline.count == 0 { &LASTING[..1] } else { &LASTING[..] };
        let newest = |attribute: &Attribute| {
            let attributed = self.attributed.iter().find(|attributed| attributed.attribute == *attribute)?;
            let is_new = |value: &str| !attributed.baseline.iter().any(|(known, _)| known == value);
            let (value, _) = attributed
                .insight
                .iter()
                .filter(|(value, count)| *count as f64 >= enough && is_new(value) && value != OTHER && value != "null")
                .filter(|(value, _)| *attribute != Attribute::AccessKeyId || !value.starts_with(TEMPORARY_KEY))
                .max_by(|a, b| a.1.cmp(&b.1).then_with(|| b.0.cmp(&a.0)))?;
            Some(Novelty { attribute: *attribute, value: value.clone(), ever: self.evidence.first_ever })
        };
        attributes.iter().filter_map(newest).collect()
    }
}
