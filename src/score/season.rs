//! What was to be expected of a row: a level and an hour of the week. Robust, additive, one row at a time. Knows
//! nothing of how far from it is unusual.
//!
//! Additive, so that series around zero and below have a season too. The hour of the week is shrunk to the hour of the
//! day, and that to nothing: one day of rows gives half a daily profile, one week half a weekly one.

const HOURS: usize = 24;
const WEEK: usize = 7 * HOURS;

/// Half-life of the level.
const LEVEL_DAYS: f64 = 3.0;
/// Half-life of an hour of the day, in visits (days) ...
const DAILY_VISITS: f64 = 28.0;
/// ... and of an hour of the week (weeks).
const WEEKLY_VISITS: f64 = 8.0;
/// Visits that an hour starts with: of an hour of the day, with no departure; of an hour of the week, with the departure
/// of its hour of the day.
const PRIOR_VISITS: f64 = 1.0;
/// Half-life of the mean absolute error.
const ERROR_DAYS: f64 = 28.0;
/// A row is learned as at most this many mean absolute errors away from what was expected, so that a burst does not
/// become the level; the error itself follows faster, so that a lasting change does.
const CLIP: f64 = 5.0;

/// A weighted mean that forgets.
#[derive(Clone, Copy, Debug, Default)]
struct Mean {
    sum: f64,
    weight: f64,
}

impl Mean {
    fn add(&mut self, number: f64, weight: f64, keep: f64) {
        self.sum = self.sum * keep + number * weight;
        self.weight = self.weight * keep + weight;
    }

    fn shrunk(&self, prior: f64) -> f64 {
        (self.sum + prior * PRIOR_VISITS) / (self.weight + PRIOR_VISITS)
    }

    fn get(&self) -> Option<f64> {
        (self.weight > 0.0).then(|| self.sum / self.weight)
    }
}

/// The expectation of one series.
#[derive(Debug)]
pub struct Season {
    /// Share of an hour that a row stands for, at most 1.
    hour_share: f64,
    keep_level: f64,
    keep_error: f64,
    level: Mean,
    error: Mean,
    daily: [Mean; HOURS],
    weekly: [Mean; WEEK],
}

impl Season {
    /// For rows `step_s` apart; a day is as many seconds as the caller counts as one.
    pub fn new(step_s: f64, day_s: f64) -> Season {
        let keep = |days: f64| (-step_s / (days * day_s)).exp2();
        Season {
            hour_share: (step_s / 3_600.0).min(1.0),
            keep_level: keep(LEVEL_DAYS),
            keep_error: keep(ERROR_DAYS),
            level: Mean::default(),
            error: Mean::default(),
            daily: [Mean::default(); HOURS],
            weekly: [Mean::default(); WEEK],
        }
    }

    /// The value to expect; none before the first row.
    pub fn expected(&self, time_s: i64) -> Option<f64> {
        Some(self.level.get()? + self.departure(time_s))
    }

    /// Learns a finite value.
    pub fn learn(&mut self, time_s: i64, value: f64) {
        let departure = self.departure(time_s);
        let mut clipped = value;
        if let Some(level) = self.level.get() {
            let expected = level + departure;
            let error = (value - expected).abs();
            let usual = self.error.get().unwrap_or(error);
            clipped = value.clamp(expected - CLIP * usual, expected + CLIP * usual);
            self.error.add(error, 1.0, self.keep_error);
        }
        self.level.add(clipped - departure, 1.0, self.keep_level);
        let departure = clipped - self.level.get().unwrap_or(clipped);
        let hour = hour_of_week(time_s);
        let keep = |visits: f64| (-self.hour_share / visits).exp2();
        self.daily[hour % HOURS].add(departure, self.hour_share, keep(DAILY_VISITS));
        self.weekly[hour].add(departure, self.hour_share, keep(WEEKLY_VISITS));
    }

    /// The season alone, between the middles of the two hours next to the middle of the row.
    fn departure(&self, time_s: i64) -> f64 {
        let middle = time_s as f64 / 3_600.0 + self.hour_share / 2.0 - 0.5;
        let first = middle.floor();
        let share = middle - first;
        let hour = hour_of_week(first as i64 * 3_600);
        self.hour(hour) * (1.0 - share) + self.hour((hour + 1) % WEEK) * share
    }

    fn hour(&self, hour_of_week: usize) -> f64 {
        let daily = self.daily[hour_of_week % HOURS].shrunk(0.0);
        self.weekly[hour_of_week].shrunk(daily)
    }
}

/// In `0..168`, from midnight UTC of a Thursday, as 1970-01-01 was.
fn hour_of_week(time_s: i64) -> usize {
    time_s.div_euclid(3_600).rem_euclid(WEEK as i64) as usize
}
