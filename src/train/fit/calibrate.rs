//! What a line costs: scores of accounts in which nothing happens, to the number of incidents that would begin at each
//! line per series and day with calls. Knows scores and episodes; no features.

use crate::detector::Candidate;
use crate::episode::Episode;
use crate::judge::Calibration;

/// Lines that are tried.
const LINE_MIN: f64 = -6.0;
const LINE_MAX: f64 = 6.0;
const LINE_STEP: f64 = 0.25;

/// Incidents that a rate must rest on; beyond, the curve goes on as it was.
const INCIDENTS_MIN: u64 = 6;
/// The curve falls at least by this factor per step, so that every rate has one line.
const FALL_MIN: f64 = 0.01;

/// What one quiet account showed.
#[derive(Clone, Debug, Default)]
pub(super) struct Quiet {
    /// Incidents at each line.
    incidents: Vec<u64>,
    /// Days with calls, over all series.
    series_days: u64,
}

fn lines() -> Vec<f64> {
    let steps = ((LINE_MAX - LINE_MIN) / LINE_STEP) as usize;
    (0..=steps).map(|step| LINE_MIN + LINE_STEP * step as f64).collect()
}

/// Counts incidents among candidates, which are sorted by series and minute.
pub(super) fn count(candidates: &[Candidate], series_days: u64) -> Quiet {
    let incidents = lines()
        .into_iter()
        .map(|line| {
            let series = candidates.chunk_by(|a, b| a.series == b.series);
            series.map(|minutes| starts(minutes, line)).sum()
        })
        .collect();
    Quiet { incidents, series_days }
}

fn starts(minutes: &[Candidate], line: f64) -> u64 {
    let mut episode = Episode::Quiet;
    let mut starts = 0;
    for candidate in minutes {
        let minute = candidate.minute.0 as u32;
        episode = episode.settle(minute);
        let was_active = episode.is_active();
        let (next, alarm) = episode.step(minute, candidate.score, line);
        starts += u64::from(alarm && !was_active);
        episode = next;
    }
    starts
}

/// The curve of all accounts together.
pub(super) fn curve(accounts: &[Quiet]) -> Calibration {
    let series_days: u64 = accounts.iter().map(|account| account.series_days).sum();
    let mut curve = Calibration::default();
    for (place, line) in lines().into_iter().enumerate() {
        let incidents: u64 = accounts.iter().map(|account| account.incidents[place]).sum();
        if incidents < INCIDENTS_MIN {
            break;
        }
        let mut ln = (incidents as f64 / series_days.max(1) as f64).ln();
        if let Some(last) = curve.ln_per_series_day.last() {
            ln = ln.min(last - FALL_MIN);
        }
        curve.lines.push(line);
        curve.ln_per_series_day.push((ln * 1e4).round() / 1e4);
    }
    curve
}
