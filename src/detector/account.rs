//! What an account as a whole has shown: when its history begins, how many series are active on a day, and how often
//! they come near an alarm. From it follows the line that keeps a budget of alarms. Knows counts only; the days that
//! are over decide the line of the next, so it does not matter how far one advance reaches.

use serde::{Deserialize, Serialize};

use crate::judge::Model;

/// Half-life of what was seen, in days.
const HALF_LIFE_DAYS: f64 = 28.0;

/// Near-alarms that the calibration counts for: an account's own must be as many to weigh as much.
const PRIOR_NEAR_ALARMS: f64 = 8.0;

/// Active series of an account that nothing is known of yet.
const ACTIVE_SERIES_PRIOR: f64 = 30.0;

/// An account, day by day.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Account {
    /// The first minute known of it.
    pub(super) first: u32,
    /// The day being counted, since 1970; 0: none.
    day: u32,
    today: Seen,
    /// Faded sums of the days before: their number, and what they showed.
    days: f64,
    active: f64,
    near_alarms: f64,
}

/// What some series showed on one day.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Seen {
    /// Series with calls.
    pub(super) active: u32,
    /// Incidents over the model's lower line that began.
    pub(super) near_alarms: u32,
}

impl Seen {
    pub(super) fn add(&mut self, other: Seen) {
        self.active = self.active.saturating_add(other.active);
        self.near_alarms = self.near_alarms.saturating_add(other.near_alarms);
    }
}

impl Account {
    pub(super) fn new(first: u32) -> Account {
        Account { first, ..Account::default() }
    }

    /// Ends the days before `day`.
    pub(super) fn roll_to(&mut self, day: u32) {
        if day <= self.day {
            return;
        }
        if self.day != 0 {
            let fade = |days: u32| (-f64::from(days) / HALF_LIFE_DAYS).exp2();
            let silent = day - self.day - 1;
            let add = |sum: f64, value: f64| (sum * fade(1) + value) * fade(silent);
            self.active = add(self.active, f64::from(self.today.active));
            self.near_alarms = add(self.near_alarms, f64::from(self.today.near_alarms));
            self.days = add(self.days, 1.0);
        }
        self.today = Seen::default();
        self.day = day;
    }

    /// Counts what some of its series showed on the present day.
    pub(super) fn add(&mut self, seen: Seen) {
        self.today.add(seen);
    }

    /// The line that lets through about `per_week` alarms a week when nothing happens: where the calibrated rate, times
    /// how much livelier than the calibration's accounts this one has shown itself near the line, meets the budget.
    pub(super) fn line(&self, model: &Model, per_week: f64) -> f64 {
        let active = (self.active + ACTIVE_SERIES_PRIOR) / (self.days + 1.0);
        let expected = model.false_alarms_per_series_day(model.near_line) * self.active;
        let liveliness = (self.near_alarms + PRIOR_NEAR_ALARMS) / (expected + PRIOR_NEAR_ALARMS);
        model.line_of(per_week / 7.0 / (active * liveliness))
    }
}
