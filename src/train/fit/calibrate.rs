//! What a line costs: scores of accounts in which nothing happens, to the number of incidents that would begin at each
//! line per series and day with calls. Knows scores and episodes; no features.

use std::collections::HashSet;

use crate::detector::Candidate;
use crate::episode::Episode;
use crate::event::{MINUTES_PER_DAY, Minute};
use crate::judge::Calibration;
use crate::window::{Attribute, Closed};

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

/// Days with calls, summed over the series that a detector makes of them.
pub(super) fn series_days(closed: &Closed, live_from: Minute) -> u64 {
    let mut seen = HashSet::new();
    for calls in closed.calls.iter().filter(|calls| i64::from(calls.minute) >= live_from.0) {
        let day = calls.minute / MINUTES_PER_DAY as u32;
        if !calls.read_only {
            seen.insert((calls.api, "", day));
        }
        let code = closed.caller(calls.caller)[Attribute::ErrorCode as usize];
        if !code.is_empty() {
            seen.insert((calls.api, code, day));
        }
    }
    seen.len() as u64
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

/// The power law `told * budget^power` through what was told at some budgets, in false alarms a week: least squares in
/// logarithms, each weighing as much as its count allows.
pub(super) fn power_law(budgets: &[f64], counts: &[u64], weeks: f64) -> (f64, f64) {
    // Incidents are not independent: beyond so many, more of them say little.
    const ENOUGH: f64 = 30.0;
    let points = budgets.iter().zip(counts).map(|(budget, count)| {
        let count = *count as f64;
        (budget.ln(), ((count + 0.5) / weeks.max(1.0)).ln(), count / (1.0 + count / ENOUGH))
    });
    let points: Vec<(f64, f64, f64)> = points.collect();
    let weight: f64 = points.iter().map(|(.., w)| w).sum();
    let mean = |value: &dyn Fn(&(f64, f64, f64)) -> f64| points.iter().map(|p| p.2 * value(p)).sum::<f64>() / weight;
    let (x, y) = (mean(&|p| p.0), mean(&|p| p.1));
    let (xx, xy) = (mean(&|p| (p.0 - x).powi(2)), mean(&|p| (p.0 - x) * (p.1 - y)));
    let power = xy / xx;
    // Too little was told to say anything: taken at its word.
    if power.is_finite() && power > 0.0 { ((y - power * x).exp(), power) } else { (1.0, 1.0) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::insight::SeriesKey;
    use crate::judge::FEATURE_COUNT;
    use crate::window::Api;

    fn candidates(scores: &[(i64, f64)]) -> Vec<Candidate> {
        let api = Api::from_fields(["1", "r", "s", "n", "Management"]);
        let series = SeriesKey { api: api.into(), error_code: None };
        scores
            .iter()
            .map(|&(minute, score)| Candidate {
                series: series.clone(),
                minute: Minute(30_000_000 + minute),
                features: [0.0; FEATURE_COUNT],
                score,
            })
            .collect()
    }

    #[test]
    fn minutes_close_together_are_one_incident_at_each_line() {
        let quiet = count(&candidates(&[(0, 0.0), (30, 1.0), (2_000, 1.5)]), 10);
        let at = |line: f64| quiet.incidents[((line - LINE_MIN) / LINE_STEP) as usize];
        assert_eq!([at(-1.0), at(0.5), at(1.25), at(2.0)], [2, 2, 1, 0]);
    }

    #[test]
    fn a_power_law_is_found_again_and_silence_is_taken_at_its_word() {
        let budgets = [0.25, 1.0, 4.0, 16.0];
        let counts = budgets.map(|budget: f64| (1e6 * budget.powf(1.5)) as u64);
        let (told, power) = power_law(&budgets, &counts, 2e6);
        assert!((told - 0.5).abs() < 1e-3 && (power - 1.5).abs() < 1e-3, "{told} {power}");
        assert_eq!(power_law(&budgets, &[0; 4], 10.0), (1.0, 1.0));
    }

    #[test]
    fn the_curve_falls_and_ends_where_it_rests_on_too_little() {
        let many: Vec<(i64, f64)> = (0..40).map(|i| (i * 5_000, f64::from(i as i32) / 10.0)).collect();
        let curve = curve(&[count(&candidates(&many), 1_000)]);
        assert!(curve.ln_per_series_day.windows(2).all(|pair| pair[0] > pair[1]));
        assert!(curve.lines.last().is_some_and(|line| *line < 3.5), "{curve:?}");
    }
}
