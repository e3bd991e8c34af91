//! The shape of a day and of a week: factors on a level, by hour of the week (UTC). Knows no level: it is told what was
//! expected without it.
//!
//! Source: the project's forecast reference, with shapes learned from many series instead of one: where the shape that
//! the series' counts suggest is `f` (see [`Seasons::posterior`]), the hour of day strays from it by
//! d = (S1 + 6) / (E1 + 6), and the factor of an hour of the week is (S2 + 12 f d) / (E2 + 12). S are events, E2 what a
//! level without season expected of the hour of the week, E1 what a level with the season `f` expected of the hour of
//! day on all seven days; both weighed down where counts are overdispersed, and fading with a half-life of 28 days.
//!
//! Hundreds of thousands of series have a season, and it is most of what they take: so each of its numbers is one byte,
//! its logarithm in steps of a twentieth. An hour of the week is learned once a week, when it has lost more than three
//! steps to fading: what rounding takes or gives, 1.5 % on average, is soon forgotten and small beside the scatter of
//! counts.

use std::sync::LazyLock;

use serde::{Deserialize, Serialize};
use serde_bytes::ByteArray;

use super::shapes::{Posterior, Seasons, WEEK_HOURS};

const DAY_HOURS: usize = 24;
/// Pseudo-counts that pull an hour of the day towards the shape, and an hour of the week towards its hour of the day.
const DAY_PSEUDO: f64 = 6.0;
const WEEK_PSEUDO: f64 = 12.0;

/// Factors beyond these would let a single hour rule a level.
const FACTOR_MIN: f64 = 0.05;
const FACTOR_MAX: f64 = 20.0;

/// No hour says more than this many expected calls would by Poisson's law: counts scatter by a tenth even where they
/// are large. It keeps the sums within the range of their codes, too.
const EXPECTED_MAX: f64 = 100.0;

/// Steps of a code per e-fold, and what code 1 stands for; code 0 is zero, code 255 stands for 10,000.
const CODE_STEPS: f32 = 20.0;
const CODE_UNIT: f32 = 1.0 / 32.0;
/// Sums lose one step in this time: half of themselves in 27.7 days.
const STEP_HOURS: u32 = 48;

type Codes = ByteArray<WEEK_HOURS>;

static VALUES: LazyLock<[f32; 256]> = LazyLock::new(|| {
    std::array::from_fn(|code| if code == 0 { 0.0 } else { CODE_UNIT * ((code - 1) as f32 / CODE_STEPS).exp() })
});

fn value(code: u8) -> f32 {
    VALUES[code as usize]
}

/// The code of a number that is not negative.
fn code(value: f32) -> u8 {
    // What is less than half of code 1 is zero; a cast stays within its type.
    if value < CODE_UNIT / 2.0 { 0 } else { ((value / CODE_UNIT).ln() * CODE_STEPS + 1.5).max(1.0) as u8 }
}

/// Sums of events and expectations by hour of the week, and the shape: 384 bytes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Season {
    /// How many times [`STEP_HOURS`] since 1970 the sums have faded for; 0: nothing learned.
    faded: u16,
    /// The day on which `shape` was looked for last.
    shaped_day: u16,
    events: Codes,
    expected: Codes,
    /// What the series' counts suggested on that day.
    shape: Posterior,
}

const _: () = assert!(size_of::<Season>() <= 384);

impl Season {
    pub fn new(seasons: &Seasons) -> Season {
        let mut season = Season {
            faded: 0,
            shaped_day: 0,
            events: Codes::default(),
            expected: Codes::default(),
            shape: Posterior::default(),
        };
        season.find_shape(seasons);
        season
    }

    fn find_shape(&mut self, seasons: &Seasons) {
        let [events, expected] = [&self.events, &self.expected].map(|codes| codes.map(value));
        self.shape = seasons.posterior(&events, &expected);
    }

    /// Level times this is the mean of the hour.
    pub fn factor(&self, hour: u32, seasons: &Seasons) -> f64 {
        let hour = hour as usize % WEEK_HOURS;
        let read = |codes: &Codes, hour: usize| f64::from(value(codes[hour]));
        let shape = self.shape.factors(seasons, hour % DAY_HOURS);
        let (mut events, mut expected) = (0.0, 0.0);
        for (hour, factor) in (hour % DAY_HOURS..WEEK_HOURS).step_by(DAY_HOURS).zip(shape) {
            events += read(&self.events, hour);
            expected += read(&self.expected, hour) * factor;
        }
        let strays = (events + DAY_PSEUDO) / (expected + DAY_PSEUDO);
        let pooled = shape[hour / DAY_HOURS] * strays;
        let (events, expected) = (read(&self.events, hour), read(&self.expected, hour));
        ((events + WEEK_PSEUDO * pooled) / (expected + WEEK_PSEUDO)).clamp(FACTOR_MIN, FACTOR_MAX)
    }

    /// Learns one hour: its calls, their forecast mean, the mean that the level alone expected, and overdispersion.
    pub fn learn(&mut self, hour: u32, calls: f64, mean: f64, level: f64, phi: f64, seasons: &Seasons) {
        let steps = (hour / STEP_HOURS) as u16;
        if self.faded != 0 {
            let lost = steps.saturating_sub(self.faded).min(u8::MAX.into()) as u8;
            if lost > 0 {
                let sums = self.events.iter_mut().chain(self.expected.iter_mut());
                sums.for_each(|code| *code = code.saturating_sub(lost));
            }
        }
        self.faded = steps;
        let worth = (1.0 / (1.0 + phi * mean)).min(EXPECTED_MAX / level);
        let place = hour as usize % WEEK_HOURS;
        for (codes, more) in [(&mut self.events, calls * worth), (&mut self.expected, level * worth)] {
            codes[place] = code(value(codes[place]) + more as f32);
        }
        // Once a day, and only where there is something new to go by.
        let day = (hour / DAY_HOURS as u32) as u16;
        if calls > 0.0 && day > self.shaped_day {
            self.shaped_day = day;
            self.find_shape(seasons);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_is_within_a_fortieth_of_its_number_and_the_same_when_read_again() {
        assert_eq!((code(0.0), code(CODE_UNIT / 2.1), code(CODE_UNIT), code(f32::INFINITY)), (0, 0, 1, 255));
        (0..=255).for_each(|known| assert_eq!(code(value(known)), known));
        for number in (0..2_000).map(|i| CODE_UNIT * (i as f32 / 160.0).exp()).take_while(|n| *n < value(255)) {
            let read = value(code(number));
            assert!((read / number).ln().abs() <= 0.5001 / CODE_STEPS, "{number} {read}");
        }
    }

    #[test]
    fn what_is_learned_halves_in_four_weeks() {
        let seasons = Seasons::flat("seasons/0");
        let mut season = Season::new(&seasons);
        // A multiple of a week and of two days.
        let hour = 1_428 * 336;
        season.learn(hour, 50.0, 25.0, 25.0, 0.0, &seasons);
        let weight = |season: &Season| value(season.expected[0]);
        let before = weight(&season);
        season.learn(hour + 28 * 24 + 1, 0.0, 25.0, 25.0, 0.0, &seasons);
        assert!((weight(&season) / before - 0.5).abs() < 0.01);
        assert_eq!((season.events[1], weight(&season) > 0.0), (0, true));
    }

    #[test]
    fn a_factor_is_known_to_a_few_percent_however_large_the_counts() {
        let seasons = Seasons::flat("seasons/0");
        let truth = |hour: u32| if (8..18).contains(&(hour % 24)) { 2.0 } else { 0.2 };
        for level in [50.0, 1e4, 1e8] {
            let mut season = Season::new(&seasons);
            for hour in 480_000..480_000 + 60 * 24 {
                season.learn(hour, level * truth(hour), level * truth(hour), level, 0.01, &seasons);
            }
            for hour in 480_000..480_000 + 168 {
                let factor = season.factor(hour, &seasons);
                assert!((factor / truth(hour)).ln().abs() < 0.1, "{level} {hour} {factor}");
            }
        }
    }
}
