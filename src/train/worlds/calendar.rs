//! When an account is busy: its office hours, weekends, holidays and clock changes, and the shapes that a day and a
//! week of one of its series can have. Knows nothing of rates, kinds of traffic or callers.

use std::f64::consts::TAU;

use crate::train::draw::Draw;

pub(super) const DAY: u32 = 1_440;

/// Where and when an account lives.
pub(super) struct Calendar {
    pub(super) days: u32,
    /// Weekday of day 0; 0 is Monday.
    weekday: u32,
    /// Minutes by which the office's clock is ahead of UTC.
    zone: i64,
    /// Weekday with which the two days of the weekend begin.
    weekend: u32,
    holidays: Vec<u32>,
    /// Minute of the trail at which the office's clock is put forward or back, and by how many minutes.
    clock_change: Option<(u32, i64)>,
    /// First day that is the first of a month.
    pub(super) month_start: u32,
}

/// A minute as the office sees it.
pub(super) struct Local {
    /// Day of the office, counted from the first of the trail.
    pub(super) day: u32,
    /// Minute of the office's day.
    pub(super) minute: usize,
}

impl Calendar {
    pub(super) fn new(days: u32, weekday: u32, draw: &mut Draw) -> Calendar {
        let zone = draw.below(24) as i64 * 60 - 720;
        let weekend = if draw.chance(0.12) { 4 } else { 5 };
        let holidays = if draw.chance(0.5) {
            (0..draw.whole(1, 2)).map(|_| draw.below(u64::from(days)) as u32).collect()
        } else {
            Vec::new()
        };
        let forward = if draw.chance(0.5) { 60 } else { -60 };
        let change = draw.whole(3, u64::from(days) - 2) as u32 * DAY;
        let clock_change = draw.chance(0.3).then_some((change, forward));
        let month_start = draw.below(30) as u32;
        Calendar { days, weekday, zone, weekend, holidays, clock_change, month_start }
    }

    pub(super) fn minutes(&self) -> u32 {
        self.days * DAY
    }

    /// Minutes by which clocks have been put forward since the trail began.
    pub(super) fn shift(&self, minute: u32) -> i64 {
        self.clock_change.filter(|(at, _)| minute >= *at).map_or(0, |(_, by)| by)
    }

    pub(super) fn local(&self, minute: u32) -> Local {
        // A day is added, so that a zone behind UTC does not begin before day 0.
        let local = i64::from(minute) + self.zone + self.shift(minute) + i64::from(DAY);
        let day = (local.div_euclid(i64::from(DAY)) - 1).max(0) as u32;
        Local { day, minute: local.rem_euclid(i64::from(DAY)) as usize }
    }

    /// The minute of the trail at which the office's clock shows `minute_of_day` on day `day`; may lie outside.
    pub(super) fn at(&self, day: u32, minute_of_day: f64) -> i64 {
        let plain = i64::from(day * DAY) + minute_of_day as i64 - self.zone;
        plain - self.shift(plain.max(0) as u32)
    }

    pub(super) fn weekday(&self, day: u32) -> u32 {
        (self.weekday + day) % 7
    }

    /// Weekend or holiday.
    pub(super) fn is_quiet(&self, day: u32) -> bool {
        let since = (self.weekday(day) + 7 - self.weekend) % 7;
        since < 2 || self.holidays.contains(&day)
    }
}

/// The shape of a day, minute by minute, with mean 1, by the office's clock.
pub(super) fn day_shape(draw: &mut Draw) -> Vec<f64> {
    let peak = draw.between(0.0, 1.0);
    let (first, second, turn) = (draw.between(0.1, 0.98), draw.between(-0.4, 0.4), draw.unit());
    let bell = |x: f64, at: f64, width: f64| {
        let gap = (x - at).abs().min(1.0 - (x - at).abs());
        libm::exp(-0.5 * (gap / width) * (gap / width))
    };
    let opening = draw.between(6.5, 9.5) / 24.0;
    let closing = opening + draw.between(8.0, 13.0) / 24.0;
    let (floor, dip) = (draw.log_between(0.005, 0.4), draw.between(0.0, 0.7));
    let harmonics: Vec<(f64, f64)> = (1..=5).map(|j| (draw.normal() * 0.7 / f64::from(j), draw.unit())).collect();
    let form = draw.below(8);
    let shape: Vec<f64> = (0..DAY)
        .map(|minute| {
            let x = f64::from(minute) / f64::from(DAY);
            match form {
                0 => 1.0 + first * libm::cos(TAU * (x - peak)),
                1 => {
                    (1.0 + first * libm::cos(TAU * (x - 0.58)) + second * libm::cos(2.0 * TAU * (x - peak))).max(floor)
                }
                // Office hours with soft edges and a lunch dip, flat nights.
                2 => {
                    let edge = |at: f64| 1.0 / (1.0 + libm::exp((at - x) * 24.0 * 3.0));
                    floor + edge(opening) * (1.0 - edge(closing)) * (1.0 - dip * bell(x, opening + 0.17, 0.02))
                }
                3 => floor + bell(x, opening + 0.1, 0.08) + first * bell(x, closing + 0.05, 0.06),
                4 => 1.0,
                5 => libm::exp(
                    harmonics.iter().zip(1..).map(|((a, p), j)| a * libm::cos(TAU * (f64::from(j) * x + p))).sum(),
                ),
                // Work that is done at night.
                6 => floor + bell(x, (7.0 * peak - 1.0) / 24.0, 0.03 + 0.08 * turn),
                // Consumers: a deep night, a steep morning, an evening peak.
                _ => libm::exp(1.3 * first * libm::cos(TAU * (x - 0.75)) + second * libm::cos(2.0 * TAU * (x - turn))),
            }
        })
        .collect();
    let mean = shape.iter().sum::<f64>() / shape.len() as f64;
    shape.into_iter().map(|value| value / mean).collect()
}

/// Factors of the seven weekdays on working days, and the one of quiet days.
pub(super) fn week_shape(draw: &mut Draw) -> ([f64; 7], f64) {
    let spread = *draw.pick(&[0.0, 0.03, 0.1, 0.25]);
    let week = std::array::from_fn(|_| draw.log_normal(1.0, spread));
    let quiet = if draw.chance(0.25) { 1.0 } else { draw.log_between(0.02, 1.3) };
    (week, quiet)
}
