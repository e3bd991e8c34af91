//! Three plain detectors to compare with, as they are often put over per-minute counts: the counts of a minute against
//! mean and standard deviation of seven days, against exponentially weighted ones, and against median and MAD. They see
//! the same series as Highwater and merge alarms an hour apart into incidents as it does. They know nothing of callers.

use std::collections::{BTreeMap, VecDeque};

use crate::episode::QUIET_MINUTES;
use crate::event::{Category, MINUTES_PER_DAY, Minute};
use crate::window::{Attribute, Calls, Closed};

use super::matching::Found;

/// Which of the three.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Baseline {
    /// Standard deviations above the mean of the seven days before.
    MeanSigmas,
    /// Standard deviations above the mean, both exponentially weighted with a half-life of a day: the second moment of
    /// T. Finch, "Incremental calculation of weighted mean and variance" (2009).
    Ewma,
    /// B. Iglewicz and D. Hoaglin, "How to Detect and Handle Outliers" (1993): 0.6745 (x - median) / MAD over the seven
    /// days before the hour.
    RobustZ,
}

const WINDOW_MINUTES: u32 = 7 * MINUTES_PER_DAY as u32;
const HALF_LIFE_MINUTES: f64 = MINUTES_PER_DAY as f64;

/// Least spread, in calls. Without it the first call of a rare API is infinitely unusual, and each of these detectors
/// would look worse than anyone runs it.
const SPREAD_MIN: f64 = 1.0;

impl Baseline {
    pub const ALL: [Baseline; 3] = [Baseline::MeanSigmas, Baseline::Ewma, Baseline::RobustZ];

    pub fn name(self) -> &'static str {
        match self {
            Baseline::MeanSigmas => "7-day mean + k sd",
            Baseline::Ewma => "EWMA + k sd",
            Baseline::RobustZ => "robust z (MAD)",
        }
    }

    /// The customary line: three sigmas, and the 3.5 that Iglewicz and Hoaglin advise.
    pub fn customary(self) -> f64 {
        match self {
            Baseline::MeanSigmas | Baseline::Ewma => 3.0,
            Baseline::RobustZ => 3.5,
        }
    }

    /// How far each minute with calls lies above what the minutes before it say. `counts` is in order of time, without
    /// zeros; minutes before `first` are not known.
    pub fn scores(self, counts: &[(u32, u32)], first: u32) -> Vec<f64> {
        match self {
            Baseline::MeanSigmas => mean_sigmas(counts, first),
            Baseline::Ewma => ewma(counts, first),
            Baseline::RobustZ => robust_z(counts, first),
        }
    }

    /// Incidents from `live_from` on: minutes that score above `line`, merged where they are an hour apart.
    pub fn find(self, line: f64, closed: &Closed, live_from: Minute) -> Vec<Found> {
        let mut list = Vec::new();
        let first = closed.calls.iter().map(|calls| calls.minute).min().unwrap_or(0);
        for calls in closed.calls.chunk_by(|a, b| a.api == b.api) {
            let [account_id, region, event_source, event_name, _] = closed.api(calls[0].api).map(str::to_owned);
            for (error_code, counts) in series(closed, calls) {
                let scores = self.scores(&counts, first);
                let alarms: Vec<u32> = counts
                    .iter()
                    .zip(scores)
                    .filter(|((minute, _), score)| *score > line && i64::from(*minute) >= live_from.0)
                    .map(|((minute, _), _)| *minute)
                    .collect();
                list.extend(alarms.chunk_by(|a, b| b - a <= QUIET_MINUTES).map(|alarms| Found {
                    account_id: account_id.clone(),
                    region: region.clone(),
                    event_source: event_source.clone(),
                    event_name: event_name.clone(),
                    error_code: error_code.map(str::to_owned),
                    start: Minute(i64::from(alarms[0])),
                    end: Minute(i64::from(alarms[alarms.len() - 1]) + 1),
                    known: Minute(i64::from(alarms[0]) + 1),
                    arn: None,
                }));
            }
        }
        list
    }
}

/// The series of one API: its call rate if it writes, and the rate of each error.
fn series<'a>(closed: &'a Closed, calls: &[Calls]) -> BTreeMap<Option<&'a str>, Vec<(u32, u32)>> {
    let data = closed.api(calls[0].api)[4] == Category::Data.as_str();
    let mut series: BTreeMap<Option<&str>, Vec<(u32, u32)>> = BTreeMap::new();
    for call in calls {
        let error = closed.caller(call.caller)[Attribute::ErrorCode as usize];
        let rates = [(data || !call.read_only).then_some(None), (!error.is_empty()).then_some(Some(error))];
        for key in rates.into_iter().flatten() {
            let counts = series.entry(key).or_default();
            match counts.last_mut() {
                Some(last) if last.0 == call.minute => last.1 += call.count,
                _ => counts.push((call.minute, call.count)),
            }
        }
    }
    series
}

/// Minutes of the window before `minute`; those without calls count as zeros.
fn known_minutes(minute: u32, first: u32) -> f64 {
    f64::from((minute - first).clamp(1, WINDOW_MINUTES))
}

fn mean_sigmas(counts: &[(u32, u32)], first: u32) -> Vec<f64> {
    let (mut sum, mut squares, mut oldest) = (0.0, 0.0, 0);
    let mut scores = Vec::with_capacity(counts.len());
    for &(minute, count) in counts {
        while counts[oldest].0 + WINDOW_MINUTES < minute {
            let gone = f64::from(counts[oldest].1);
            (sum, squares, oldest) = (sum - gone, squares - gone * gone, oldest + 1);
        }
        let (n, x) = (known_minutes(minute, first), f64::from(count));
        let mean = sum / n;
        let deviation = (squares / n - mean * mean).max(0.0).sqrt();
        scores.push((x - mean) / deviation.max(SPREAD_MIN));
        (sum, squares) = (sum + x, squares + x * x);
    }
    scores
}

fn ewma(counts: &[(u32, u32)], first: u32) -> Vec<f64> {
    let keep = (-1.0 / HALF_LIFE_MINUTES).exp2();
    // Of all minutes before `next`; the weights of those minutes add up to `weight`.
    let (mut sum, mut squares, mut weight, mut next) = (0.0, 0.0, 0.0, first);
    let mut scores = Vec::with_capacity(counts.len());
    for &(minute, count) in counts {
        // Minutes without calls only fade what was there.
        let fade = (-f64::from(minute - next) / HALF_LIFE_MINUTES).exp2();
        (sum, squares, weight) = (sum * fade, squares * fade, 1.0 - (1.0 - weight) * fade);
        let x = f64::from(count);
        let known = f64::max(weight, f64::MIN_POSITIVE);
        let mean = sum / known;
        let deviation = (squares / known - mean * mean).max(0.0).sqrt();
        scores.push((x - mean) / deviation.max(SPREAD_MIN));
        (sum, squares) = (sum * keep + (1.0 - keep) * x, squares * keep + (1.0 - keep) * x * x);
        (weight, next) = (1.0 - (1.0 - weight) * keep, minute + 1);
    }
    scores
}

fn robust_z(counts: &[(u32, u32)], first: u32) -> Vec<f64> {
    let mut window: VecDeque<(u32, u32)> = VecDeque::new();
    // How often each count occurs in the window; zeros are the rest.
    let mut tally: BTreeMap<u32, u32> = BTreeMap::new();
    let mut scores = Vec::with_capacity(counts.len());
    let (mut hour, mut median, mut spread) = (0, 0.0, SPREAD_MIN);
    for &(minute, count) in counts {
        if minute / 60 != hour {
            hour = minute / 60;
            while let Some(&(old, gone)) = window.front().filter(|(old, _)| old + WINDOW_MINUTES < minute) {
                debug_assert!(old < minute);
                window.pop_front();
                tally.entry(gone).and_modify(|times| *times -= 1);
            }
            let zeros = known_minutes(minute, first) - window.len() as f64;
            let values = || tally.iter().map(|(value, times)| (f64::from(*value), f64::from(*times)));
            median = weighted_median([(0.0, zeros)].into_iter().chain(values()).collect());
            let far = [(median, zeros)].into_iter().chain(values().map(|(value, n)| ((value - median).abs(), n)));
            spread = (weighted_median(far.collect()) / 0.6745).max(SPREAD_MIN);
        }
        scores.push((f64::from(count) - median) / spread);
        window.push_back((minute, count));
        *tally.entry(count).or_default() += 1;
    }
    scores
}

/// The lower median of values with their numbers.
fn weighted_median(mut values: Vec<(f64, f64)>) -> f64 {
    values.sort_by(|a, b| a.0.total_cmp(&b.0));
    let half = values.iter().map(|value| value.1.max(0.0)).sum::<f64>() / 2.0;
    let mut below = 0.0;
    let middle = values.iter().find(|value| {
        below += value.1.max(0.0);
        below >= half
    });
    middle.map_or(0.0, |value| value.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Mean and standard deviation over every minute of the window, zeros and all, as a textbook would.
    #[test]
    fn sliding_sums_are_the_sums_of_the_window() {
        let first = 1_000;
        let counts: Vec<(u32, u32)> = (0..900).map(|i| (first + i * 23 + i % 7, 1 + (i * i) % 11)).collect();
        let scores = Baseline::MeanSigmas.scores(&counts, first);
        for (place, &(minute, count)) in counts.iter().enumerate().skip(1).step_by(37) {
            let from = first.max(minute.saturating_sub(WINDOW_MINUTES));
            let n = f64::from(minute - from);
            let past: Vec<f64> =
                counts.iter().filter(|(m, _)| (from..minute).contains(m)).map(|(_, c)| f64::from(*c)).collect();
            let mean = past.iter().sum::<f64>() / n;
            let squares: f64 = past.iter().map(|c| (c - mean) * (c - mean)).sum::<f64>();
            let deviation = ((squares + (n - past.len() as f64) * mean * mean) / n).sqrt().max(1.0);
            let expected = (f64::from(count) - mean) / deviation;
            assert!((scores[place] - expected).abs() < 1e-9, "{place}: {} {expected}", scores[place]);
        }
    }

    /// One call every minute: once an hour is known, nothing deviates.
    #[test]
    fn a_steady_series_is_never_unusual_and_a_burst_always_is() {
        let mut counts: Vec<(u32, u32)> = (0..30_000).map(|minute| (minute + 7, 1)).collect();
        counts.push((30_008, 40));
        for baseline in Baseline::ALL {
            let scores = baseline.scores(&counts, 7);
            assert!(scores[120..30_000].iter().all(|score| score.abs() < 1e-6), "{}", baseline.name());
            assert!((scores[30_000] - 39.0).abs() < 0.1, "{}: {}", baseline.name(), scores[30_000]);
        }
    }

    #[test]
    fn medians_count_minutes_without_calls() {
        assert_eq!(weighted_median(vec![(0.0, 6.0), (5.0, 3.0), (9.0, 2.0)]), 0.0);
        assert_eq!(weighted_median(vec![(9.0, 2.0), (5.0, 3.0), (0.0, 1.0)]), 5.0);
        assert_eq!(weighted_median(Vec::new()), 0.0);
    }
}
