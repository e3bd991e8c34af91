//! What a series knows of its incident beyond counts: which window stood out, whether a job by the clock did it, whether
//! anything called before, and how it ended. Decides nothing.

use super::incident::{FREEZE_MINUTES_MAX, Incident};
use super::{Context, Series};
use crate::detector::FORGET_MINUTES;
use crate::insight::{Closing, Evidence, Recurrence};
use crate::judge::{RUN_GAP_MINUTES, Run, SCALES, find_rhythm};

/// An incident that starts so soon after its run is the run's: the first minutes were within the expected range.
const RUN_LEAD_MINUTES: u32 = 12;

const HOUR_MINUTES: u32 = 60;

/// Of 1, 5, 15 and 60 minutes, the window with the largest log ratio to its record; the shortest of equals.
/// `log_ratios` in the order of [`SCALES`]; more may follow, less is as if nothing had stood out.
pub(super) fn window_minutes(log_ratios: &[f64]) -> u32 {
    let mut best = (f64::NEG_INFINITY, 0);
    for (ratio, minutes) in log_ratios.iter().zip(SCALES) {
        if *ratio > best.0 {
            best = (*ratio, minutes);
        }
    }
    best.1
}

impl Series {
    /// At the alarm, before its minute is learned.
    pub(super) fn evidence(&self, context: &Context, start: u32, window_minutes: u32) -> Evidence {
        let runs = self.judge.runs();
        let goes_on = |run: &&Run| start < run.start + run.minutes + RUN_GAP_MINUTES;
        let run_start = runs.last().filter(goes_on).map(|run| run.start).filter(|run| run + RUN_LEAD_MINUTES >= start);
        let rhythm = find_rhythm(&runs, run_start.unwrap_or(start).min(start));
        let recurrence = rhythm.map(|rhythm| Recurrence { rhythm, count: self.calls_between(start, u32::MAX) });
        // A series is forgotten after a long silence: then nobody knows whether it was called before.
        let all_known = start <= context.history_start + FORGET_MINUTES;
        let first_ever = all_known && runs.iter().all(|run| run.start >= start);
        Evidence { window_minutes, recurrence, first_ever, closing: None }
    }

    /// What the end knows more than the start.
    pub(super) fn close(&self, incident: &mut Incident, over: u32) {
        if let Some(recurrence) = &mut incident.evidence.recurrence {
            let runs = self.judge.runs();
            let own = runs.iter().filter(|run| run.start + run.minutes > incident.start && run.start < over);
            recurrence.count = own.map(|run| u64::from(run.count)).max().unwrap_or(0).max(recurrence.count);
        }
        let last_hour = self.calls_between(over - HOUR_MINUTES, over);
        let limit = incident.predictive.range(f64::from(HOUR_MINUTES)).upper * f64::from(HOUR_MINUTES);
        let learned = over >= incident.first_alarm + FREEZE_MINUTES_MAX;
        let stays = learned && last_hour as f64 > limit;
        incident.evidence.closing = Some(if stays { Closing::NewNormal } else { Closing::BackToNormal });
    }

    /// Of the last hour with calls.
    fn calls_between(&self, from: u32, to: u32) -> u64 {
        let minutes = self.judge.recent().filter(|(minute, _)| (from..to).contains(minute));
        minutes.map(|(_, count)| u64::from(count)).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::window_minutes;

    #[test]
    fn the_window_furthest_above_its_record_speaks() {
        assert_eq!(window_minutes(&[0.1, 2.0, 3.0, 0.5, 9.0]), 15);
        assert_eq!(window_minutes(&[1.0, 1.0, 1.0, 1.0]), 1);
        assert_eq!(window_minutes(&[f64::NAN, 1.0]), 5);
        assert_eq!(window_minutes(&[]), 0);
    }
}
