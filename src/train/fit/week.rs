//! Fits the shapes of a week: aligns the weeks of many series, groups them by a mixture of Gaussians, and averages each
//! group. Knows weeks of counts only, not whose they are.
//!
//! 168 factors of a few hundred calls are mostly noise, and a mixture with full covariances over them has more numbers
//! than there are series. So series are grouped by six: the harmonics of their logarithmic day up to the third (the
//! sine of the first is 0 by alignment) and the logarithm of the weekend over the working days; that is what the days of
//! people and of timers differ in. Time zones are taken out first: a week is shifted by whole hours until its first
//! harmonic peaks at noon, and whoever uses a shape tries all 24 shifts. A group's shape is then the mean of its
//! members' 168 factors themselves, weighted by membership, which by that many series is no longer noise.
//!
//! EM for Gaussian mixtures (Dempster, Laird, Rubin, 1977) as implemented by linfa, from a fixed seed; one number after
//! another, so that equal weeks give equal shapes.

use std::f64::consts::TAU;

use linfa::DatasetBase;
use linfa::traits::Fit;
use linfa_clustering::GaussianMixtureModel;
use ndarray::Array2;

use crate::baseline::{Shape, WEEK_HOURS};

const DAY_HOURS: usize = 24;
/// Most groups, and series for each of them: fewer would be a group of chance.
const GROUPS: usize = 8;
const SERIES_PER_GROUP: usize = 40;
const FEATURES: usize = 6;
/// Variance below which features differ by noise alone: a tenth in logarithm.
const NOISE: f64 = 0.01;
const ITERATIONS_MAX: u64 = 1_000;
const TOLERANCE: f64 = 1e-4;
/// Pseudo-counts that pull a logarithm towards 0, as those of the forecast do.
const PSEUDO: f64 = 6.0;
/// No hour of a shape is quieter: in a series that has the shape, one call there is no wonder.
const FACTOR_MIN: f64 = 0.02;

/// Calls of one series, and hours seen, by hour of the week from Thursday 00:00 UTC.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Week {
    pub(super) calls: [f64; WEEK_HOURS],
    pub(super) hours: [f64; WEEK_HOURS],
}

impl Week {
    /// Calls per hour.
    fn rate(&self) -> f64 {
        self.calls.iter().sum::<f64>() / self.hours.iter().sum::<f64>()
    }

    /// ln of calls over expected calls in these hours, pulled towards 0.
    fn ln_factor(&self, hours: impl Iterator<Item = usize>) -> f64 {
        let (mut calls, mut expected) = (PSEUDO, PSEUDO);
        for hour in hours {
            calls += self.calls[hour];
            expected += self.hours[hour] * self.rate();
        }
        (calls / expected).ln()
    }

    /// ln factor of each hour of the day.
    fn ln_day(&self) -> [f64; DAY_HOURS] {
        std::array::from_fn(|hour| self.ln_factor((hour..WEEK_HOURS).step_by(DAY_HOURS)))
    }

    /// Shifted by whole hours so that the day's first harmonic peaks at noon.
    fn aligned(&self) -> Week {
        let (cosine, sine) = harmonic(&self.ln_day(), 1);
        let peak = sine.atan2(cosine) / TAU * DAY_HOURS as f64;
        let shift = ((peak - 12.0).round() as isize + 12).rem_euclid(24) - 12;
        let from = |values: &[f64; WEEK_HOURS]| {
            std::array::from_fn(|hour| values[(hour as isize + shift).rem_euclid(WEEK_HOURS as isize) as usize])
        };
        Week { calls: from(&self.calls), hours: from(&self.hours) }
    }

    fn features(&self) -> [f64; FEATURES] {
        let day = self.ln_day();
        let [first, second, third] = [1, 2, 3].map(|order| harmonic(&day, order));
        // Thursday is day 0.
        let is_weekend = |hour: &usize| matches!(hour / DAY_HOURS, 2 | 3);
        let weekend = self.ln_factor((0..WEEK_HOURS).filter(is_weekend));
        let working = self.ln_factor((0..WEEK_HOURS).filter(|hour| !is_weekend(hour)));
        [first.0, second.0, second.1, third.0, third.1, weekend - working]
    }
}

/// Cosine and sine coefficient of a day.
fn harmonic(day: &[f64; DAY_HOURS], order: usize) -> (f64, f64) {
    let angle = |hour: usize| TAU * (order * hour) as f64 / DAY_HOURS as f64;
    let project = |wave: fn(f64) -> f64| day.iter().enumerate().map(|(hour, value)| value * wave(angle(hour))).sum();
    let (cosine, sine): (f64, f64) = (project(f64::cos), project(f64::sin));
    (cosine / 12.0, sine / 12.0)
}

/// The shapes of these weeks, the most common first. Too few weeks: one shape, none.
pub(super) fn shapes(weeks: &[Week]) -> Vec<Shape> {
    let weeks: Vec<Week> = weeks.iter().map(Week::aligned).collect();
    let features: Vec<f64> = weeks.iter().flat_map(Week::features).collect();
    let features = Array2::from_shape_vec((weeks.len(), FEATURES), features).expect("six features for each week");
    // Fewer groups where as many do not hold: a group may run empty.
    let fitted = (1..=GROUPS.min(weeks.len() / SERIES_PER_GROUP)).rev().find_map(|groups| {
        let mixture = GaussianMixtureModel::params(groups)
            .max_n_iterations(ITERATIONS_MAX)
            .tolerance(TOLERANCE)
            .reg_covariance(NOISE)
            .fit(&DatasetBase::from(features.clone()))
            .ok()?;
        let members = mixture.predict_proba(&features);
        members.iter().all(|share| share.is_finite()).then_some(members)
    });
    let Some(members) = fitted else {
        return vec![Shape { weight: 1.0, factors: vec![1.0; WEEK_HOURS] }];
    };
    let mut shapes: Vec<Shape> = members
        .columns()
        .into_iter()
        .map(|shares| {
            let mut factors = vec![0.0; WEEK_HOURS];
            for (week, share) in weeks.iter().zip(shares) {
                let rate = week.rate();
                for (hour, factor) in factors.iter_mut().enumerate() {
                    *factor += share * week.calls[hour] / (week.hours[hour] * rate);
                }
            }
            let total: f64 = shares.sum();
            factors.iter_mut().for_each(|factor| *factor = (*factor / total).max(FACTOR_MIN));
            let mean = factors.iter().sum::<f64>() / WEEK_HOURS as f64;
            let factors = factors.iter().map(|factor| super::rounded(factor / mean)).collect();
            Shape { weight: super::rounded(total / weeks.len() as f64), factors }
        })
        .collect();
    shapes.sort_by(|a, b| b.weight.total_cmp(&a.weight));
    shapes
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::train::draw::Draw;

    fn week(draw: &mut Draw, factor: impl Fn(usize) -> f64, shift: usize) -> Week {
        let rate = draw.log_between(3.0, 30.0);
        let calls = std::array::from_fn(|hour| {
            f64::from(draw.poisson(rate * factor((hour + WEEK_HOURS - shift) % WEEK_HOURS)))
        });
        Week { calls, hours: [3.0; WEEK_HOURS] }
    }

    fn office(hour: usize) -> f64 {
        match (hour / DAY_HOURS, hour % DAY_HOURS) {
            (2 | 3, _) => 0.2,
            (_, 8..17) => 2.0,
            _ => 0.4,
        }
    }

    #[test]
    fn offices_of_all_time_zones_are_one_shape_and_machines_another() {
        let mut draw = Draw::new(&[3]);
        let weeks: Vec<Week> = (0..160)
            .map(|place| if place % 4 == 0 { week(&mut draw, |_| 1.0, 0) } else { week(&mut draw, office, place % 11) })
            .collect();
        let shapes = shapes(&weeks);
        // Noon of a Monday against Sunday night.
        let contrast = |shape: &Shape| shape.factors[4 * DAY_HOURS + 12] / shape.factors[3 * DAY_HOURS];
        let offices: f64 = shapes.iter().filter(|shape| contrast(shape) > 5.0).map(|shape| shape.weight).sum();
        let machines: f64 =
            shapes.iter().filter(|shape| (0.7..1.4).contains(&contrast(shape))).map(|shape| shape.weight).sum();
        assert!((offices - 0.75).abs() < 0.03 && (machines - 0.25).abs() < 0.03, "{offices} {machines}");
        assert!(shapes.is_sorted_by(|a, b| a.weight >= b.weight));
    }

    #[test]
    fn few_weeks_have_no_shape() {
        let mut draw = Draw::new(&[4]);
        let weeks: Vec<Week> = (0..10).map(|_| week(&mut draw, office, 0)).collect();
        assert_eq!(shapes(&weeks), [Shape { weight: 1.0, factors: vec![1.0; WEEK_HOURS] }]);
    }
}
