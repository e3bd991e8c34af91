//! The shape of a day and of a week: factors on a level, by hour of day and hour of week (UTC). Knows no level: it is
//! told what was expected without it.
//!
//! Source: the project's forecast reference: factor of the hour of day = (S1 + 6) / (E1 + 6), of the hour of week =
//! (S2 + 12 f1) / (E2 + 12), where S are events and E what a level without season expected, both weighed down where
//! counts are overdispersed, and fading with a half-life of 28 days.

use serde::{Deserialize, Serialize};

const DAY_HOURS: usize = 24;
const WEEK_HOURS: usize = 168;
const HALF_LIFE_HOURS: f64 = 28.0 * 24.0;
/// Pseudo-counts that pull an hour of the day towards no season, and an hour of the week towards its hour of the day.
const DAY_PSEUDO: f64 = 6.0;
const WEEK_PSEUDO: f64 = 12.0;
/// Factors beyond these would let a single hour rule a level.
const FACTOR_MIN: f64 = 0.05;
const FACTOR_MAX: f64 = 20.0;
/// Fading multiplies what is new instead of dividing what is old; the sums are rescaled before `f32` loses digits.
const SCALE_MAX: f64 = 1_048_576.0;

/// Sums of events and expectations, in growing units: `scale` events of now are one unit.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Season {
    /// Hours since 1970 that `scale` belongs to; 0: nothing learned.
    hour: u32,
    scale: f64,
    day: Box<[(f32, f32)]>,
    week: Box<[(f32, f32)]>,
}

impl Default for Season {
    fn default() -> Self {
        Season {
            hour: 0,
            scale: 1.0,
            day: vec![(0.0, 0.0); DAY_HOURS].into_boxed_slice(),
            week: vec![(0.0, 0.0); WEEK_HOURS].into_boxed_slice(),
        }
    }
}

impl Season {
    /// Level times this is the mean of the hour.
    pub fn factor(&self, hour: u32) -> f64 {
        let sums = |(events, expected): (f32, f32)| (f64::from(events) / self.scale, f64::from(expected) / self.scale);
        let (events, expected) = sums(self.day[hour as usize % DAY_HOURS]);
        let day = (events + DAY_PSEUDO) / (expected + DAY_PSEUDO);
        let (events, expected) = sums(self.week[hour as usize % WEEK_HOURS]);
        ((events + WEEK_PSEUDO * day) / (expected + WEEK_PSEUDO)).clamp(FACTOR_MIN, FACTOR_MAX)
    }

    /// Learns one hour: its calls, their forecast mean, the mean that the level alone expected, and overdispersion.
    pub fn learn(&mut self, hour: u32, calls: f64, mean: f64, level: f64, phi: f64) {
        if self.hour != 0 {
            self.scale *= (f64::from(hour - self.hour) / HALF_LIFE_HOURS).exp2();
        }
        self.hour = hour;
        if self.scale > SCALE_MAX {
            for sums in self.day.iter_mut().chain(self.week.iter_mut()) {
                *sums = (sums.0 / self.scale as f32, sums.1 / self.scale as f32);
            }
            self.scale = 1.0;
        }
        let worth = self.scale / (1.0 + phi * mean);
        for sums in [&mut self.day[hour as usize % DAY_HOURS], &mut self.week[hour as usize % WEEK_HOURS]] {
            sums.0 += (calls * worth) as f32;
            sums.1 += (level * worth) as f32;
        }
    }
}
