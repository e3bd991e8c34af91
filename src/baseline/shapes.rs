//! [`Seasons`]: the shapes of a week that many series have, read from JSON, and which of them a series' own counts
//! suggest. Knows no level and no calendar: hours of the week count from Thursday 00:00 UTC, as 1970 began.
//!
//! A shape is kept once, with the middle of its day at noon; a series may have it at any of 24 hours' shift, because
//! accounts live in all time zones. Each shape at each shift is a hypothesis. Given hourly counts `S` and what a level
//! without season expected, `E`, its likelihood is that of independent Poisson counts with means proportional to
//! `E f`, given their sum (a multinomial, so that an error of the level says nothing): `sum S ln f - (sum S) ln(sum E
//! f)`. The posterior mean over all hypotheses is the shape that loses least under squared error. Of the posterior the
//! likeliest hypotheses are kept, and of each shape how likely it is at any other shift ([`Posterior`]).

use serde::{Deserialize, Serialize};

use super::PooledError;

/// The seasons that ship with Highwater; `models/README.md` says where they come from.
pub const SEASONS_JSON: &str = include_str!("../../models/seasons.json");

pub const WEEK_HOURS: usize = 168;
pub const WEEK_DAYS: usize = 7;
/// Shifts of a shape, from 12 hours earlier to 11 later.
const SHIFTS: usize = 24;
const SHIFT_MIN: isize = -12;
/// Hypotheses are numbered in a byte.
const SHAPES_MAX: usize = 10;
/// A sum or a mean of four-digit numbers may be off by so much.
const ROUNDING: f64 = 0.01;

/// Factors on a level for each hour of the week, with mean 1, and the share of series that have it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Shape {
    pub weight: f64,
    pub factors: Vec<f64>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Seasons {
    /// Name and version: `seasons/1`.
    pub name: String,
    pub provenance: serde_json::Value,
    shapes: Vec<Shape>,
    /// Of each shape: two weeks of factors and of their logarithms, so that a shifted week is a slice.
    #[serde(skip)]
    weeks: Vec<[Vec<f32>; 2]>,
    /// Of each shape the mean over all shifts.
    #[serde(skip)]
    blurred: Vec<Vec<f32>>,
}

/// Hypotheses that a posterior keeps. After a week at a call an hour few others have any weight.
const KEPT: usize = 17;

/// What counts suggest. Weights are of 255 parts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Posterior {
    /// Hypotheses by number, likeliest first, and their weights.
    kept: [(u8, u8); KEPT],
    /// The weights of each shape's other hypotheses together.
    rest: [u8; SHAPES_MAX],
}

impl Posterior {
    /// Its mean for an hour of the day on each day of the week. `seasons`: those that it was found in.
    pub fn factors(&self, seasons: &Seasons, hour_of_day: usize) -> [f64; WEEK_DAYS] {
        let kept = self.kept.iter().take_while(|(_, weight)| *weight > 0);
        let kept = kept.filter_map(|(number, weight)| Some((seasons.week((*number).into())?[0], *weight)));
        let rest = seasons.blurred.iter().map(Vec::as_slice).zip(self.rest).filter(|(_, weight)| *weight > 0);
        let (mut factors, mut total) = ([0.0; WEEK_DAYS], 0.0);
        for (week, weight) in kept.chain(rest) {
            let weight = f32::from(weight);
            let days = week[hour_of_day..].iter().step_by(WEEK_HOURS / WEEK_DAYS);
            factors.iter_mut().zip(days).for_each(|(factor, day)| *factor += weight * day);
            total += weight;
        }
        factors.map(|factor| if total > 0.0 { f64::from(factor / total) } else { 1.0 })
    }
}

impl Seasons {
    /// Checks shapes.
    pub fn new(name: &str, provenance: serde_json::Value, shapes: Vec<Shape>) -> Result<Seasons, PooledError> {
        if !(1..=SHAPES_MAX).contains(&shapes.len()) {
            return Err(PooledError::Shapes(shapes.len()));
        }
        for (place, shape) in shapes.iter().enumerate() {
            let wrong = |reason| PooledError::Shape { place, reason };
            if shape.factors.len() != WEEK_HOURS {
                return Err(wrong("needs 168 factors, one for each hour of the week from Thursday 00:00 UTC"));
            }
            if !shape.factors.iter().all(|factor| *factor > 0.0 && factor.is_finite()) {
                return Err(wrong("factors must be above 0"));
            }
            if (shape.factors.iter().sum::<f64>() / WEEK_HOURS as f64 - 1.0).abs() > ROUNDING {
                return Err(wrong("factors must have the mean 1"));
            }
        }
        let total: f64 = shapes.iter().map(|shape| shape.weight).sum();
        if !shapes.iter().all(|shape| shape.weight > 0.0) || (total - 1.0).abs() > ROUNDING {
            return Err(PooledError::Weights(total));
        }
        let twice = |shape: &Shape, value: fn(f64) -> f64| -> Vec<f32> {
            shape.factors.iter().chain(&shape.factors).map(|factor| value(*factor) as f32).collect()
        };
        let weeks = shapes.iter().map(|shape| [twice(shape, |factor| factor), twice(shape, f64::ln)]).collect();
        let seasons = Seasons { name: name.to_owned(), provenance, shapes, weeks, blurred: Vec::new() };
        let mut blurred = vec![vec![0.0; WEEK_HOURS]; seasons.shapes.len()];
        for (number, [factors, _]) in seasons.hypotheses() {
            let means = blurred[number / SHIFTS].iter_mut();
            means.zip(factors).for_each(|(mean, factor)| *mean += factor / SHIFTS as f32);
        }
        Ok(Seasons { blurred, ..seasons })
    }

    /// A shape at a shift, and its logarithms.
    fn week(&self, number: usize) -> Option<[&[f32]; 2]> {
        let start = (-(SHIFT_MIN + (number % SHIFTS) as isize)).rem_euclid(WEEK_HOURS as isize) as usize;
        let [factors, logarithms] = self.weeks.get(number / SHIFTS)?;
        Some([&factors[start..start + WEEK_HOURS], &logarithms[start..start + WEEK_HOURS]])
    }

    fn hypotheses(&self) -> impl Iterator<Item = (usize, [&[f32]; 2])> {
        (0..self.weeks.len() * SHIFTS).filter_map(|number| Some((number, self.week(number)?)))
    }

    /// One shape: none.
    pub fn flat(name: &str) -> Seasons {
        let flat = Shape { weight: 1.0, factors: vec![1.0; WEEK_HOURS] };
        Seasons::new(name, serde_json::Value::Null, vec![flat]).expect("168 ones with weight 1")
    }

    /// Reads and checks shapes.
    pub fn from_json(text: &str) -> Result<Seasons, PooledError> {
        let read: Seasons = serde_json::from_str(text).map_err(PooledError::SeasonsJson)?;
        Seasons::new(&read.name, read.provenance, read.shapes)
    }

    pub fn shapes(&self) -> &[Shape] {
        &self.shapes
    }

    /// The likeliest hypotheses, given counts and what a level without season expected of these hours: [`WEEK_HOURS`] of
    /// each.
    pub fn posterior(&self, counts: &[f32], expected: &[f32]) -> Posterior {
        let total: f64 = counts.iter().map(|count| f64::from(*count)).sum();
        let likelihood = |(number, [factors, logarithms]): (usize, [&[f32]; 2])| {
            let mean = f64::from(dot(factors, expected)).max(f64::from(f32::MIN_POSITIVE));
            let ln_likelihood = f64::from(dot(logarithms, counts)) - total * mean.ln();
            (self.shapes[number / SHIFTS].weight.ln() + ln_likelihood, number)
        };
        let mut hypotheses: Vec<(f64, usize)> = self.hypotheses().map(likelihood).collect();
        hypotheses.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
        let best = hypotheses.first().map_or(0.0, |(ln, _)| *ln);
        let sum: f64 = hypotheses.iter().map(|(ln, _)| (ln - best).exp()).sum();
        let weights = hypotheses.iter().map(|(ln, number)| (*number, (ln - best).exp() / sum * 255.0));
        let mut posterior = Posterior::default();
        let mut rest = [0.0; SHAPES_MAX];
        for (place, (number, weight)) in weights.enumerate() {
            match posterior.kept.get_mut(place) {
                Some(kept) => *kept = (number as u8, weight.round() as u8),
                None => rest[number / SHIFTS] += weight,
            }
        }
        posterior.rest = rest.map(|weight| weight.round() as u8);
        posterior
    }
}

/// Eight sums side by side: one running sum would have to be added up in order, a number at a time.
fn dot(a: &[f32], b: &[f32]) -> f32 {
    let mut sums = [0.0; 8];
    for (a, b) in a.chunks_exact(8).zip(b.chunks_exact(8)) {
        for lane in 0..8 {
            sums[lane] += a[lane] * b[lane];
        }
    }
    sums.iter().sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn normalised(factor: impl Fn(usize) -> f64) -> Vec<f64> {
        let mean = (0..WEEK_HOURS).map(&factor).sum::<f64>() / WEEK_HOURS as f64;
        (0..WEEK_HOURS).map(|hour| factor(hour) / mean).collect()
    }

    /// Flat; office hours with quiet weekends; a job at noon.
    fn three() -> Seasons {
        // Thursday comes first: Saturday and Sunday are days 2 and 3.
        let office = |hour: usize| match (hour / 24, hour % 24) {
            (2 | 3, _) => 0.1,
            (_, 8..18) => 2.0,
            _ => 0.2,
        };
        let factors =
            [normalised(|_| 1.0), normalised(office), normalised(|hour| if hour % 24 == 12 { 10.0 } else { 0.3 })];
        let shapes = factors.map(|factors| Shape { weight: 1.0 / 3.0, factors });
        Seasons::new("seasons/0", serde_json::Value::Null, shapes.to_vec()).expect("sound shapes")
    }

    #[test]
    fn a_week_of_counts_picks_its_shape_and_shift() {
        let seasons = three();
        for (place, shift) in [(1, 0), (1, -9), (1, 7), (2, 11), (2, -12), (0, 0)] {
            let truth = |hour: usize| {
                seasons.shapes()[place].factors[(hour as isize - shift).rem_euclid(WEEK_HOURS as isize) as usize]
            };
            let counts: Vec<f32> = (0..WEEK_HOURS).map(|hour| (2.0 * truth(hour)).round() as f32).collect();
            // A wrong level says nothing.
            let shape = seasons.posterior(&counts, &[7.0; WEEK_HOURS]);
            for hour in 0..WEEK_HOURS {
                let factor = shape.factors(&seasons, hour % 24)[hour / 24];
                assert!((factor - truth(hour)).abs() < 0.05 * truth(hour), "{place} {shift} {hour}");
            }
        }
    }

    #[test]
    fn without_counts_every_shift_is_as_likely() {
        let posterior = three().posterior(&[0.0; WEEK_HOURS], &[0.0; WEEK_HOURS]);
        let shape: Vec<f64> = (0..24).flat_map(|hour| posterior.factors(&three(), hour)).collect();
        assert!((shape.iter().sum::<f64>() / WEEK_HOURS as f64 - 1.0).abs() < 1e-3);
        assert!(shape.iter().all(|factor| (0.5..1.5).contains(factor)), "{shape:?}");
    }

    #[test]
    fn shapes_come_back_from_json_and_wrong_ones_are_refused_by_place() {
        let seasons = three();
        let text = serde_json::to_string(&seasons).expect("JSON");
        assert_eq!(Seasons::from_json(&text).expect("shapes"), seasons);

        let with = |change: &dyn Fn(&mut Vec<Shape>)| {
            let mut shapes = seasons.shapes().to_vec();
            change(&mut shapes);
            Seasons::new("seasons/0", serde_json::Value::Null, shapes).unwrap_err().to_string()
        };
        assert!(with(&|shapes| shapes[1].factors.truncate(167)).contains("shape 1 of the seasons: needs 168"));
        assert!(with(&|shapes| shapes[2].factors[5] = 0.0).contains("above 0"));
        assert!(with(&|shapes| shapes[2].factors[5] += 9.0).contains("mean 1"));
        assert!(with(&|shapes| shapes[0].weight = 0.9).contains("add up to 1.5"));
        assert!(with(&|shapes| shapes.clear()).contains("0 shapes"));
        assert!(Seasons::from_json("[]").unwrap_err().to_string().contains("seasons"));
    }
}
