//! Scores any count or rate series, row by row and causally: what was to be expected, how rare the row is, and whether
//! that deserves a flag. Self-contained: knows no CloudTrail, files or commands, and is not the judge that `scan` uses.
//!
//! A row is compared with the last 28 days twice: as it is (marginal), and after what was to be expected at its hour of
//! the week is taken away (contextual). Either comparison gives a return period: numbers as extreme come once in so
//! many days. The score is the logarithm of the period:
//!
//! - a rise scores the mean of the two logarithms: the geometric mean of "for this series" and "for this hour";
//! - a fall scores the contextual one of the last hour's or of the last four hours' mean, the greater of the two: one low
//!   row among many is no news; and only rows below the median of the 28 days fall;
//! - a row scores only what its incident has not already told: [`Echo`].
//!
//! So score 1 is about once in e = 2.7 days, 2 once in 7.4 days, 3 once in 20. Multiplying a series by a constant does
//! not change its scores.

mod history;
mod incident;
mod season;
mod series;
mod table;
mod text;

use std::collections::VecDeque;

use history::History;
use season::Season;

pub use incident::{Direction, Incident};
pub use series::{Missing, Options, Scored, SeriesError, score};
pub use table::{Columns, Reading, Table, TableBuilder, TableError, Time, check_value, read_csv};
pub use text::{Format, write_incidents, write_rows};

/// The default of the threshold on the score.
pub const THRESHOLD: f64 = 1.0;

/// Days that a series is compared with.
const HISTORY_DAYS: f64 = 28.0;

/// Nothing is scored before so many rows, nor before a day of them.
const ROWS_MIN: usize = 20;

/// Rows that follow each other within an hour are not independent chances to be extreme: their number counts with this
/// power.
const CHANCES_POWER: f64 = 0.8;

/// Spans over which a fall is measured.
const FALL_S: [f64; 2] = [3_600.0, 4.0 * 3_600.0];

/// How two rows of one series lie apart, in seconds: one minute to one day.
pub const STEP_S_MIN: i64 = 60;
/// See [`STEP_S_MIN`].
pub const STEP_S_MAX: i64 = 86_400;

/// What is said of one row.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Verdict {
    /// None before the first value of the series.
    pub expected: Option<f64>,
    /// The band that the contextual comparison alone leaves with a score of the threshold; none while too little is
    /// known.
    pub band: Option<(f64, f64)>,
    /// ln of the return period in days, less what the incident has told; 0 for a row without a value.
    pub score: f64,
    /// The row belongs to an incident.
    pub flag: bool,
    /// The row is flagged for being low.
    pub fall: bool,
}

/// One series through time.
#[derive(Debug)]
pub struct Scorer {
    threshold: f64,
    hour_s: i64,
    hour: Option<i64>,
    season: Season,
    marginal: History,
    contextual: History,
    falls: Vec<Fall>,
    echo: Echo,
    flag: bool,
    lowest: f64,
}

/// The mean departure of the last rows, and its history.
#[derive(Debug)]
struct Fall {
    span_s: i64,
    rows: f64,
    recent: VecDeque<(i64, f64)>,
    history: History,
}

impl Fall {
    /// Takes in a row and gives the mean, if at least half of its rows are there.
    fn mean(&mut self, time_s: i64, departure: f64) -> Option<f64> {
        self.recent.push_back((time_s, departure));
        while self.recent.front().is_some_and(|&(first, _)| first <= time_s.saturating_sub(self.span_s)) {
            self.recent.pop_front();
        }
        let rows = self.recent.len() as f64;
        (2.0 * rows >= self.rows).then(|| self.recent.iter().map(|(_, departure)| departure).sum::<f64>() / rows)
    }
}

/// What was told lately: a peak that halves twice a day. A row is news if it exceeds the peak clearly.
#[derive(Debug)]
struct Echo {
    half_life_s: f64,
    time_s: i64,
    peak: f64,
}

impl Echo {
    /// How much more is clear.
    const NEWS: f64 = 1.2;

    fn news(&mut self, time_s: i64, score: f64) -> f64 {
        self.peak *= (-(time_s.saturating_sub(self.time_s) as f64) / self.half_life_s).exp2();
        self.time_s = time_s;
        let news = if score >= Self::NEWS * self.peak { score } else { 0.0 };
        self.peak = self.peak.max(score);
        news
    }
}

impl Scorer {
    /// For rows `step_s` seconds apart, within [`STEP_S_MIN`] and [`STEP_S_MAX`] or taken as the nearer of the two.
    /// Where a row stands for more than an hour, 24 rows take the place of a day.
    pub fn new(step_s: i64, threshold: f64) -> Scorer {
        let step = step_s.clamp(STEP_S_MIN, STEP_S_MAX) as f64;
        let day = f64::max(86_400.0, 24.0 * step);
        let rows_per_day = day / step;
        let chances = 24.0 * (rows_per_day / 24.0).powf(CHANCES_POWER);
        let rows_min = ROWS_MIN.max(rows_per_day as usize);
        let history = || History::new((HISTORY_DAYS * rows_per_day) as usize, rows_min, chances);
        let mut spans: Vec<f64> = FALL_S.iter().map(|span| (span / step).round().max(1.0)).collect();
        spans.dedup();
        let fall = |rows: f64| Fall { span_s: (rows * step) as i64, rows, recent: VecDeque::new(), history: history() };
        Scorer {
            threshold,
            hour_s: step.max(3_600.0) as i64,
            hour: None,
            season: Season::new(step, day),
            marginal: history(),
            contextual: history(),
            falls: spans.into_iter().map(fall).collect(),
            echo: Echo { half_life_s: day / 2.0, time_s: i64::MIN, peak: 0.0 },
            flag: false,
            lowest: f64::INFINITY,
        }
    }

    /// The next row; times must not go back. A value that is not there, or not finite, is neither scored nor learned.
    pub fn row(&mut self, time_s: i64, value: Option<f64>) -> Verdict {
        let hour = time_s.div_euclid(self.hour_s);
        if self.hour != Some(hour) {
            self.hour = Some(hour);
            self.marginal.settle(self.marginal.spread_min());
            let spread_min = self.marginal.spread_min();
            self.contextual.settle(spread_min);
            self.falls.iter_mut().for_each(|fall| fall.history.settle(spread_min));
        }
        let expected = self.season.expected(time_s).map(|expected| expected.max(self.lowest_possible()));
        let mut verdict = Verdict { expected, band: self.band(expected), score: 0.0, flag: false, fall: false };
        let Some(value) = value.filter(|value| value.is_finite()) else { return verdict };
        let (mut rise, mut fall) = (0.0, 0.0);
        if let Some(expected) = expected {
            let departure = value - expected;
            rise = (self.marginal.rise(value) + self.contextual.rise(departure)) / 2.0;
            for span in &mut self.falls {
                if let Some(mean) = span.mean(time_s, departure) {
                    if value < self.marginal.median() {
                        fall = f64::max(fall, span.history.fall(mean));
                    }
                    span.history.learn(mean);
                }
            }
            self.contextual.learn(departure);
        }
        self.marginal.learn(value);
        self.season.learn(time_s, value);
        self.lowest = self.lowest.min(value);

        let rarity = f64::max(rise, fall);
        verdict.score = self.echo.news(time_s, rarity);
        self.flag = verdict.score >= self.threshold || (self.flag && rarity >= self.threshold);
        verdict.flag = self.flag;
        verdict.fall = self.flag && fall > rise;
        verdict
    }

    fn band(&self, expected: Option<f64>) -> Option<(f64, f64)> {
        let (below, above) = self.contextual.band(self.threshold)?;
        let expected = expected?;
        Some(((expected + below).max(self.lowest_possible()), expected + above))
    }

    /// A series that never was negative is not expected to be.
    fn lowest_possible(&self) -> f64 {
        if self.lowest >= 0.0 { 0.0 } else { f64::NEG_INFINITY }
    }
}
