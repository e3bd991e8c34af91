//! What an account as a whole has shown: when its history begins, how many series are active on a day, and how often
//! they come near an alarm. From it follows the line that keeps a budget of alarms. Knows counts only; the days that
//! are over decide the line of the next, so it does not matter how far one advance reaches.

use serde::{Deserialize, Serialize};

use super::Options;
use crate::event::MINUTES_PER_DAY;
use crate::judge::Model;

/// Half-life of what was seen, in days.
const HALF_LIFE_DAYS: f64 = 28.0;

/// Near-alarms that the calibration counts for: an account's own must be as many to weigh as much.
const PRIOR_NEAR_ALARMS: f64 = 8.0;

/// False alarms a week from which on the default line rises, by calibration; accounts as they are stay well below.
const DEFAULT_PER_WEEK: f64 = 0.32;

/// How much higher the line begins in an account without history, and for how many days it stays above.
const YOUTH_RISE: f64 = 2.6;
const YOUTH_RISE_LENT: f64 = 0.6;
const YOUTH_DAYS: f64 = 7.0;

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
    /// Incidents over the model's lower line that began, less those that became alarms.
    pub(super) near_alarms: i32,
}

impl Seen {
    pub(super) fn add(&mut self, other: Seen) {
        self.active = self.active.saturating_add(other.active);
        self.near_alarms += other.near_alarms;
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

    /// Whole days of UTC that it has been known at the beginning of `day`, the first one as a whole.
    pub(super) fn age_days(&self, day: u32) -> u32 {
        day.saturating_sub(self.first / MINUTES_PER_DAY as u32)
    }

    /// The line of a day: `threshold` as it is; or the one that keeps a budget of false alarms a week; or, by default,
    /// the model's, raised where the account would go beyond [`DEFAULT_PER_WEEK`], and while its history is young; less so for a
    /// series of which other accounts have `lent` their records.
    pub(super) fn line(&self, model: &Model, options: &Options, day: u32, lent: bool) -> f64 {
        if let Some(threshold) = options.threshold {
            return threshold;
        }
        let rise = if lent { YOUTH_RISE_LENT } else { YOUTH_RISE };
        let youth = rise * (1.0 - f64::from(self.age_days(day)) / YOUTH_DAYS).max(0.0);
        match options.budget_per_week {
            Some(per_week) => self.line_of(model, per_week) + youth,
            None => self.line_of(model, DEFAULT_PER_WEEK).max(model.threshold) + youth,
        }
    }

    /// Where the calibrated rate, times how much livelier than the calibration's accounts this one has shown itself near
    /// the line, meets so many false alarms a week.
    fn line_of(&self, model: &Model, per_week: f64) -> f64 {
        let active = (self.active + ACTIVE_SERIES_PRIOR) / (self.days + 1.0);
        let per_week = model.asked(per_week);
        let expected = model.false_alarms_per_series_day(model.near_line) * self.active;
        let liveliness = (self.near_alarms.max(0.0) + PRIOR_NEAR_ALARMS) / (expected + PRIOR_NEAR_ALARMS);
        model.line_of(per_week / 7.0 / (active * liveliness))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::judge::{Calibration, DEFAULT_JSON};

    fn model() -> Model {
        let mut model = Model::from_json(DEFAULT_JSON).expect("the shipped model");
        (model.threshold, model.near_line) = (-0.2, -4.0);
        model.calibration =
            Calibration { lines: vec![-4.0, 2.0], ln_per_series_day: vec![-3.0, -9.0], ..Calibration::default() };
        model
    }

    /// An account that has shown the same for so many days.
    fn after(days: u32, seen: Seen) -> Account {
        let mut account = Account::new(20_000 * 1_440);
        for day in 20_000..20_000 + days {
            account.roll_to(day);
            account.add(seen);
        }
        account.roll_to(20_000 + days);
        account
    }

    #[test]
    fn a_smaller_budget_a_larger_and_a_livelier_account_need_a_higher_line() {
        let model = model();
        let line = |active, near_alarms, budget| {
            after(28, Seen { active, near_alarms }).line(
                &model,
                &Options { budget_per_week: Some(budget), ..Options::default() },
                20_028,
                false,
            )
        };
        assert!(line(50, 2, 0.1) > line(50, 2, 1.0) && line(50, 2, 1.0) > line(50, 2, 10.0));
        assert!(line(200, 8, 1.0) > line(50, 2, 1.0));
        assert!(line(50, 10, 1.0) > line(50, 2, 1.0));
        // 50 active series at e^-3 near alarms a day each are what the calibration expects.
        let expected = model.line_of(1.0 / 7.0 / 50.0);
        let near = (50.0 * (-3f64).exp()).round() as i32;
        assert!((line(50, near, 1.0) - expected).abs() < 0.35, "{} {expected}", line(50, near, 1.0));
    }

    #[test]
    fn a_threshold_is_taken_as_it_is_and_youth_raises_the_rest() {
        let model = model();
        let account = after(2, Seen { active: 20, near_alarms: 0 });
        let fixed = Options { threshold: Some(0.7), budget_per_week: Some(3.0), ..Options::default() };
        assert_eq!(account.line(&model, &fixed, 20_002, false), 0.7);
        let line = |day, lent| account.line(&model, &Options::default(), day, lent);
        assert!(line(20_002, false) > line(20_002, true) && line(20_002, true) > line(20_010, false));
        assert!(line(20_010, true) >= model.threshold);
    }
}
