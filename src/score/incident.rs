//! Flagged rows to incidents: runs of them with their worst row and a sentence. Knows nothing of how rows are scored.

use super::Verdict;
use super::table::Reading;
use super::text::{number, time};

/// Flagged rows no farther apart than this many rows are one incident.
const ROWS_APART_MAX: usize = 3;

/// From here on a sentence does not say how rare.
const YEAR_DAYS: f64 = 365.0;

/// Which side of the expectation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    Up,
    Down,
}

impl Direction {
    pub fn as_str(self) -> &'static str {
        match self {
            Direction::Up => "up",
            Direction::Down => "down",
        }
    }
}

/// A run of flagged rows of one series. `observed` and `expected` are those of the row with the highest score.
#[derive(Clone, Debug, PartialEq)]
pub struct Incident {
    /// Index into the table's series.
    pub series: u32,
    /// First and last flagged row, seconds since 1970.
    pub start_s: i64,
    pub end_s: i64,
    pub peak_s: i64,
    pub peak_score: f64,
    pub observed: f64,
    pub expected: f64,
    pub direction: Direction,
}

impl Incident {
    /// `1287 at 2018-07-17T12:00:00Z where 84.2 was expected, 15 times as much; as rare as once in 21 days`
    pub fn sentence(&self) -> String {
        let ratio = match (self.direction, self.observed / self.expected) {
            (_, ratio) if !ratio.is_finite() || ratio <= 0.0 || self.expected <= 0.0 => String::new(),
            (Direction::Up, ratio) => format!(", {} times as much", number(ratio, 2)),
            (Direction::Down, ratio) => format!(", {} % of it", number(100.0 * ratio, 2)),
        };
        // No history of weeks tells centuries from millennia.
        let days = self.peak_score.exp();
        let rarity = if days < YEAR_DAYS {
            format!("as rare as once in {} days", number(days, 2))
        } else {
            "rarer than once a year".to_owned()
        };
        format!(
            "{} at {} where {} was expected{ratio}; {rarity}",
            number(self.observed, 6),
            time(self.peak_s),
            number(self.expected, 3),
        )
    }
}

/// A flagged row and its number among all rows of its series, in order of time.
pub(super) struct FlaggedRow {
    pub row: usize,
    pub reading: Reading,
    pub verdict: Verdict,
}

/// The incidents of one series.
pub(super) fn incidents(flagged: &[FlaggedRow]) -> Vec<Incident> {
    let mut found: Vec<(usize, Incident)> = Vec::new();
    for FlaggedRow { row, reading, verdict } in flagged {
        let direction = if verdict.fall { Direction::Down } else { Direction::Up };
        let single = Incident {
            series: reading.series,
            start_s: reading.time_s,
            end_s: reading.time_s,
            peak_s: reading.time_s,
            peak_score: verdict.score,
            observed: reading.value,
            expected: verdict.expected.unwrap_or(reading.value),
            direction,
        };
        match found.last_mut() {
            Some((last, incident)) if row - *last <= ROWS_APART_MAX && incident.direction == direction => {
                *last = *row;
                let start_s = incident.start_s;
                if verdict.score > incident.peak_score {
                    *incident = Incident { start_s, ..single };
                }
                incident.end_s = reading.time_s;
            }
            _ => found.push((*row, single)),
        }
    }
    found.into_iter().map(|(_, incident)| incident).collect()
}
