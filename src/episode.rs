//! From scored minutes to incidents: [`Episode::step`] says when one starts, [`Episode::settle`] when it is over. Knows
//! minutes and scores; neither counts nor names nor records.
//!
//! Source: the project's judge reference, "incident machine": alarms at most an hour apart are one incident, and for a
//! day after it a new one needs a score above the old peak, so that one attack is told once.

use serde::{Deserialize, Serialize};

/// An incident is over when its last alarm is this many minutes old.
pub const QUIET_MINUTES: u32 = 60;
/// For so long after its last alarm, an incident makes the next one harder to start ...
const REFRACTORY_MINUTES: u32 = 24 * 60;
/// ... by this much above its peak.
const REFRACTORY_MARGIN: f64 = 1.0;

/// Where a series stands. Minutes are `u32` since 1970-01-01T00:00Z and come in ascending order.
#[derive(Clone, Copy, Debug, PartialEq, Default, Serialize, Deserialize)]
pub enum Episode {
    #[default]
    Quiet,
    /// `last_alarm` is the last minute with an alarm, `peak` the highest score.
    Active { last_alarm: u32, peak: f32 },
    /// Over, but not forgotten.
    Refractory { last_alarm: u32, peak: f32 },
}

impl Episode {
    /// The minute from which an active episode, left alone, is over; none if it is not active.
    pub fn over_from(self) -> Option<u32> {
        match self {
            Episode::Active { last_alarm, .. } => Some(last_alarm + QUIET_MINUTES + 1),
            Episode::Quiet | Episode::Refractory { .. } => None,
        }
    }

    /// Lets time pass up to the start of minute `now`. The law: settling at any minutes in between changes nothing.
    pub fn settle(self, now: u32) -> Episode {
        match self {
            Episode::Active { last_alarm, peak } if now > last_alarm + QUIET_MINUTES => {
                Episode::Refractory { last_alarm, peak }.settle(now)
            }
            Episode::Refractory { last_alarm, .. } if now > last_alarm + REFRACTORY_MINUTES => Episode::Quiet,
            unchanged @ (Episode::Quiet | Episode::Active { .. } | Episode::Refractory { .. }) => unchanged,
        }
    }

    /// Judges a minute that scored `score` against `threshold`, after settling: the next state, and whether the minute
    /// is an alarm.
    pub fn step(self, minute: u32, score: f64, threshold: f64) -> (Episode, bool) {
        let line = match self {
            Episode::Quiet | Episode::Active { .. } => threshold,
            Episode::Refractory { peak, .. } => threshold.max(f64::from(peak) + REFRACTORY_MARGIN),
        };
        if score < line || score.is_nan() {
            return (self, false);
        }
        let peak = match self {
            Episode::Active { peak, .. } => peak.max(score as f32),
            Episode::Quiet | Episode::Refractory { .. } => score as f32,
        };
        (Episode::Active { last_alarm: minute, peak }, true)
    }

    pub fn is_active(self) -> bool {
        matches!(self, Episode::Active { .. })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs scored minutes and prints what happened, one line each.
    fn check(scores: &[(u32, f64)], expected: &[&str]) {
        let mut episode = Episode::Quiet;
        let mut lines = Vec::new();
        for &(minute, score) in scores {
            let before = episode;
            episode = episode.settle(minute);
            if before.is_active() && !episode.is_active() {
                lines.push(format!("over by {minute}"));
            }
            let was_active = episode.is_active();
            let (next, alarm) = episode.step(minute, score, -0.3);
            if alarm {
                lines.push(format!("{} {minute}", if was_active { "goes on" } else { "starts" }));
            }
            episode = next;
        }
        assert_eq!(lines, expected);
    }

    #[test]
    fn alarms_within_an_hour_are_one_incident() {
        check(&[(10, 0.0), (70, -0.2), (131, -5.0)], &["starts 10", "goes on 70", "over by 131"]);
    }

    #[test]
    fn the_line_itself_is_an_alarm_and_anything_below_is_not() {
        check(&[(10, -0.3), (200, -0.3000001)], &["starts 10", "over by 200"]);
    }

    #[test]
    fn for_a_day_a_second_incident_must_beat_the_first() {
        check(&[(10, 2.0), (200, 2.9), (300, 3.0)], &["starts 10", "over by 200", "starts 300"]);
        check(&[(10, 2.0), (10 + 1441, 0.0)], &["starts 10", "over by 1451", "starts 1451"]);
    }

    #[test]
    fn a_score_that_is_no_number_is_no_alarm() {
        check(&[(10, f64::NAN)], &[]);
    }

    #[test]
    fn settling_in_between_changes_nothing() {
        let episode = Episode::Active { last_alarm: 100, peak: 1.0 };
        for now in 100..2000 {
            let at_once = episode.settle(now);
            let in_steps = (100..=now).fold(episode, Episode::settle);
            assert_eq!(at_once, in_steps);
        }
    }
}
