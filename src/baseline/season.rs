//! The shape of a day and of a week: factors on a level, by hour of the week (UTC). Knows no level: it is told what was
//! expected without it.
//!
//! Source: the project's forecast reference, with shapes learned from many series instead of one: where the shape that
//! the series' counts suggest is `f` (see [`Seasons::posterior`]), the hour of day strays from it by
//! d = (S1 + 6) / (E1 + 6), and the factor of an hour of the week is (S2 + 12 f d) / (E2 + 12). S are events, E2 what a
//! level without season expected of the hour of the week, E1 what a level with the season `f` expected of the hour of
//! day on all seven days; both weighed down where counts are overdispersed, and fading with a half-life of 28 days.

use serde::{Deserialize, Serialize};

use super::shapes::{Seasons, WEEK_HOURS};

const DAY_HOURS: usize = 24;
const HALF_LIFE_HOURS: f64 = 28.0 * 24.0;
/// Pseudo-counts that pull an hour of the day towards the shape, and an hour of the week towards its hour of the day.
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
    /// The day on which `shape` was looked for last.
    shaped_day: u32,
    scale: f64,
    week: Box<[(f32, f32)]>,
    /// What the series' counts suggested on that day.
    shape: Box<[f32]>,
}

impl Season {
    pub fn new(seasons: &Seasons) -> Season {
        Season {
            hour: 0,
            shaped_day: 0,
            scale: 1.0,
            week: vec![(0.0, 0.0); WEEK_HOURS].into_boxed_slice(),
            shape: seasons.posterior(&[0.0; WEEK_HOURS], &[0.0; WEEK_HOURS]),
        }
    }

    /// How much memory it takes.
    pub fn bytes(&self) -> usize {
        size_of::<Season>() + size_of_val(&*self.week) + size_of_val(&*self.shape)
    }

    /// Level times this is the mean of the hour.
    pub fn factor(&self, hour: u32) -> f64 {
        let hour = hour as usize % WEEK_HOURS;
        let (mut events, mut expected) = (0.0, 0.0);
        for hour in (hour % DAY_HOURS..WEEK_HOURS).step_by(DAY_HOURS) {
            events += f64::from(self.week[hour].0);
            expected += f64::from(self.week[hour].1 * self.shape[hour]);
        }
        let strays = (events / self.scale + DAY_PSEUDO) / (expected / self.scale + DAY_PSEUDO);
        let pooled = f64::from(self.shape[hour]) * strays;
        let (events, expected) = self.week[hour];
        let (events, expected) = (f64::from(events) / self.scale, f64::from(expected) / self.scale);
        ((events + WEEK_PSEUDO * pooled) / (expected + WEEK_PSEUDO)).clamp(FACTOR_MIN, FACTOR_MAX)
    }

    /// Learns one hour: its calls, their forecast mean, the mean that the level alone expected, and overdispersion.
    pub fn learn(&mut self, hour: u32, calls: f64, mean: f64, level: f64, phi: f64, seasons: &Seasons) {
        if self.hour != 0 {
            self.scale *= (f64::from(hour - self.hour) / HALF_LIFE_HOURS).exp2();
        }
        self.hour = hour;
        if self.scale > SCALE_MAX {
            for sums in self.week.iter_mut() {
                *sums = (sums.0 / self.scale as f32, sums.1 / self.scale as f32);
            }
            self.scale = 1.0;
        }
        let worth = self.scale / (1.0 + phi * mean);
        let sums = &mut self.week[hour as usize % WEEK_HOURS];
        sums.0 += (calls * worth) as f32;
        sums.1 += (level * worth) as f32;
        // Once a day, and only where there is something new to go by.
        if calls > 0.0 && hour / DAY_HOURS as u32 > self.shaped_day {
            self.shaped_day = hour / DAY_HOURS as u32;
            let mut sums = [[0.0; WEEK_HOURS]; 2];
            for (place, (events, expected)) in self.week.iter().enumerate() {
                [sums[0][place], sums[1][place]] = [events, expected].map(|sum| sum / self.scale as f32);
            }
            self.shape = seasons.posterior(&sums[0], &sums[1]);
        }
    }
}
