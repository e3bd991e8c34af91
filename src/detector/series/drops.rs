//! Hours that fall far below the forecast. Looked for only where asked; an hour without any call in the Region is a gap
//! in the trail and says nothing. Knows clock hours only.

use serde::{Deserialize, Serialize};

use super::incident::attribute;
use super::{Caller, Context, Series};
use crate::detector::Key;
use crate::event::Minute;
use crate::insight::{Closing, Direction, Evidence, Insight, Rate, State, baseline_from};

/// An hour is a drop when so few calls were this improbable (natural logarithm; one in a million), at least this many
/// were expected, and less than half of them came.
const DROP_LN_ODDS: f64 = -13.8;
const DROP_EXPECTED_MIN: f64 = 30.0;
/// A silence that lasts longer than this is learned.
const DROP_HOURS_MAX: u32 = 24;

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Silence {
    /// Hours before it were looked at.
    pub(super) hour: u32,
    pub(super) drop: Option<Drop>,
}

/// What the forecast expected, per minute.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
struct Expectation {
    mean: f64,
    lower: f64,
    upper: f64,
}

/// An hour, or several, far below the forecast.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Drop {
    hour: u32,
    hours: u32,
    count: u64,
    baseline_count: u64,
    pub(super) baseline: Vec<(Caller, u64)>,
    exact: bool,
    forecast: Expectation,
    ln_odds: f64,
}

impl Series {
    /// Compares complete hours with the forecast's lower tail.
    pub(super) fn look_for_drops(&mut self, context: &Context, key: Key, now: u32, out: &mut Vec<Insight>) {
        let Some(active) = context.active_hours else { return };
        let warm = (context.history_start + context.options.warmup_minutes).div_ceil(60);
        let first = self.looked_hour().max(warm).max(self.last / 60);
        // An hour without any call in the Region is a gap in the trail: nothing is said of it.
        for &hour in active.range(first.min(now / 60)..now / 60) {
            self.silence.get_or_insert_default().hour = hour + 1;
            if self.last == 0 || self.is_forgotten(hour * 60) {
                continue;
            }
            let start = Minute(i64::from(hour) * 60);
            let predictive = self.baseline.predict(start, context.peers);
            let count = self.baseline.count_in_hour(hour);
            let expected = predictive.mean() * 60.0;
            let ln_odds = predictive.ln_lower_tail(60.0, count);
            let low = expected >= DROP_EXPECTED_MIN
                && ln_odds <= DROP_LN_ODDS
                && (count as f64) < 0.5 * expected
                && !context.options.is_holiday(hour);
            match (self.silence.get_or_insert_default().drop.take(), low) {
                (None, false) => {}
                (None, true) => {
                    let (baseline_count, baseline, exact) = self.baseline_before(hour * 60);
                    let range = predictive.range(60.0);
                    let forecast = Expectation { mean: range.mean, lower: range.lower, upper: range.upper };
                    let drop = Drop { hour, hours: 1, count, baseline_count, baseline, exact, forecast, ln_odds };
                    out.push(drop.insight(context, key, State::Start, hour + 1, None));
                    self.silence.get_or_insert_default().drop = Some(drop);
                }
                (Some(mut drop), true) if drop.hours < DROP_HOURS_MAX => {
                    drop.hours += 1;
                    drop.count += count;
                    drop.ln_odds = drop.ln_odds.min(ln_odds);
                    self.silence.get_or_insert_default().drop = Some(drop);
                }
                (Some(drop), low) => {
                    let closing = if low { Closing::NewNormal } else { Closing::BackToNormal };
                    out.push(drop.insight(context, key, State::End, hour + 1, Some(closing)));
                }
            }
        }
    }
}

impl Drop {
    fn insight(
        &self,
        context: &Context,
        key: Key,
        state: State,
        decided_hour: u32,
        closing: Option<Closing>,
    ) -> Insight {
        let start = Minute(i64::from(self.hour) * 60);
        let minutes = i64::from(self.hours) * 60;
        Insight {
            series: context.names.series_key(key),
            state,
            direction: Direction::Down,
            start,
            end: (state == State::End).then_some(Minute(start.0 + minutes)),
            decided: Minute(i64::from(decided_hour) * 60),
            insight: Rate { count: self.count, minutes },
            baseline: Rate { count: self.baseline_count, minutes: start.0 - baseline_from(start).0 },
            attributed: attribute(context.callers, key, &[], &self.baseline),
            attribution_exact: self.exact,
            expected: (self.forecast.mean, self.forecast.lower, self.forecast.upper),
            ln_odds: self.ln_odds,
            evidence: Evidence { closing, ..Evidence::default() },
            // Drops are found by their odds; the score says how far those lie beyond the line.
            score: DROP_LN_ODDS - self.ln_odds,
            threshold: 0.0,
            model: context.model_name.clone(),
            incident: None,
        }
    }
}
