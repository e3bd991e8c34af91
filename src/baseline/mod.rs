//! What was to be expected: [`Baseline`] learns a series and forecasts its next hours as a negative binomial mixture;
//! from it come the band on the chart, the expected value and the odds in words. It decides nothing. Knows no insight,
//! and of other series only what it is handed as [`Peers`].
//!
//! Source: the project's forecast reference: gamma-Poisson levels with three half-lives, weighted by how well each
//! foretold the last hours; hour-of-day and hour-of-week season shrunk towards the pooled shape; overdispersion by
//! moments; parameter uncertainty in the predictive shape (gamma-Poisson conjugacy, so that a young series is wide).
//! Learning goes by clock hours: a burst never shifts the forecast of its own hour, and a minute costs two additions.

mod pooled;
mod priors;
mod season;
mod shapes;
mod tails;

use serde::{Deserialize, Serialize};

use crate::event::Minute;
pub use pooled::{Peers, Pooled, PooledError};
pub use priors::{Class, ClassPrior, PRIORS_JSON, Prior, Priors, Verb};
use season::Season;
pub use shapes::{SEASONS_JSON, Seasons, Shape, WEEK_HOURS};
pub use tails::NegativeBinomial;

/// A series without calls for this long is forgotten: long enough for a monthly job to be known when it comes again.
pub const FORGET_MINUTES: u32 = 35 * 1_440;

/// Half-lives of the levels, in hours: 2 hours, 12 hours, 4 days.
const LEVEL_HALF_LIFE_HOURS: [f64; 3] = [2.0, 12.0, 96.0];

/// Half-life of the evidence for a level, in hours, and the least share that a level keeps.
const WEIGHT_HALF_LIFE_HOURS: f64 = 6.0;
const WEIGHT_MIN: f64 = 0.02;
/// One hour speaks against a level by at most this much (natural logarithm).
const LN_EVIDENCE_MIN: f64 = -30.0;

/// Overdispersion: half-life in hours, floor, and what a block that seems to have more of it is clipped by. Var = mean +
/// phi mean^2.
const PHI_HALF_LIFE_HOURS: f64 = 96.0;
const PHI_MIN: f64 = 0.01;
const PHI_CLIP: f64 = 1.0;
/// A few calls are within the clip of the quietest series: all blocks without calls and none with would say that counts
/// scatter less than Poisson's.
const CLIP_VARIANCE_MIN: f64 = 1.0;

/// Learning clips an hour at this many standard deviations above its forecast, until this many of the last three hours
/// lay above it: then it is the new level.
const CLIP_SD: f64 = 4.0;
const CLIPPED_HOURS_MAX: u32 = 2;

/// The change that the e-detector looks for, the most that an hour can say, and the most that is remembered.
const RAMP: f64 = 2.0;
const LN_RAMP_STEP_MAX: f64 = 6.0;
const LN_RAMP_MAX: f64 = 20.0;

/// A season is kept once a series has calls on two days, and this many of them.
const SEASON_CALLS_MIN: f32 = 30.0;

/// The expected range holds a minute with this probability on either side.
const BAND_TAIL: f64 = 0.005;

const MINUTES_PER_HOUR: f64 = 60.0;

/// What is expected of some minutes, in calls per minute.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Forecast {
    pub mean: f64,
    /// All but one in 200 minutes lie at or above it.
    pub lower: f64,
    /// All but one in 200 minutes lie at or below it.
    pub upper: f64,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Level {
    /// Faded events, and the faded minutes (times season) that they fell into.
    events: f32,
    exposure: f32,
    ln_weight: f32,
}

/// Faded sums for a moment estimate of phi.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Dispersion {
    excess: f32,
    weight: f32,
}

impl Dispersion {
    fn add(&mut self, squares: f64, mean: f64, blocks: f64) {
        let (excess, weight) = overdispersion(squares, mean, blocks);
        self.excess += excess as f32;
        self.weight += weight as f32;
    }

    fn fade(&mut self, hours: f64) {
        let fade = (-hours / PHI_HALF_LIFE_HOURS).exp2() as f32;
        self.excess *= fade;
        self.weight *= fade;
    }

    fn phi(self, prior: f64, prior_weight: f64) -> f64 {
        let excess = f64::from(self.excess) + prior_weight * prior;
        (excess / (f64::from(self.weight) + prior_weight)).max(PHI_MIN)
    }
}

/// What one block (a minute, an hour) of mean `mean`, or several equal ones with these squared distances from it
/// together, says of phi: squared distance beyond Poisson's over the mean squared, times its weight, and the weight.
/// The estimate of a block is worth more the more its mean stands above Poisson noise.
pub fn overdispersion(squares: f64, mean: f64, blocks: f64) -> (f64, f64) {
    let weight = mean * mean / (mean * mean + mean / 0.3);
    let variance = (PHI_CLIP * mean * mean + mean).max(CLIP_VARIANCE_MIN);
    let clipped = squares.min(blocks * CLIP_SD * CLIP_SD * variance);
    (weight * (clipped - blocks * mean) / (mean * mean), weight * blocks)
}

/// What one series has taught so far.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Baseline {
    /// The clock hour being counted, since 1970; hours before it are learned. 0: nothing yet.
    hour: u32,
    /// Counts of that hour: their sum and the sum of their squares.
    sum: f32,
    squares: f32,
    levels: [Level; 3],
    /// Of single minutes and of hours.
    minute_dispersion: Dispersion,
    hour_dispersion: Dispersion,
    /// Bit `i`: the hour `i + 1` ago lay above the clip.
    clipped: u8,
    first_day: u16,
    calls: f32,
    /// See [`Baseline::ln_ramp`].
    ln_ramp: f32,
    season: Option<Box<Season>>,
}

impl Baseline {
    /// How much memory it takes beside itself.
    pub fn heap_bytes(&self) -> usize {
        self.season.as_ref().map_or(0, |_| size_of::<Season>())
    }

    /// Counts a minute. Minutes come in ascending order; those without calls need not come.
    pub fn learn(&mut self, minute: Minute, count: u64, peers: Peers) {
        let hour = minute.hour() as u32;
        if self.hour == 0 {
            self.hour = hour;
            self.first_day = (hour / 24) as u16;
        }
        self.roll_to(hour, peers);
        self.sum += count as f32;
        self.squares += (count as f32) * (count as f32);
    }

    /// The distribution of counts in a clock hour, as known before it.
    pub fn predict(&self, minute: Minute, peers: Peers) -> Predictive {
        let hour = minute.hour() as u32;
        if self.hour != 0 && hour > self.hour {
            let mut later = self.clone();
            later.roll_to(hour, peers);
            later.predictive(hour, peers)
        } else {
            self.predictive(hour, peers)
        }
    }

    /// Calls counted so far in a clock hour that is not learned yet; 0 for any other.
    pub fn count_in_hour(&self, hour: u32) -> u64 {
        if hour == self.hour { self.sum as u64 } else { 0 }
    }

    fn factor(&self, hour: u32, peers: Peers) -> f64 {
        self.season.as_ref().map_or(1.0, |season| season.factor(hour, peers.seasons))
    }

    fn predictive(&self, hour: u32, peers: Peers) -> Predictive {
        self.predictive_at(self.factor(hour, peers), peers.prior)
    }

    fn predictive_at(&self, factor: f64, prior: Prior) -> Predictive {
        let best = self.levels.iter().map(|level| level.ln_weight).fold(f32::MIN, f32::max);
        let mut parts = self.levels.map(|level| {
            let events = f64::from(level.events) + prior.events;
            let mean = factor * events / (f64::from(level.exposure) + prior.minutes);
            let weight = f64::from(level.ln_weight - best).exp().max(WEIGHT_MIN);
            Part { weight, mean, uncertainty: 1.0 / events }
        });
        let total: f64 = parts.iter().map(|part| part.weight).sum();
        parts.iter_mut().for_each(|part| part.weight /= total);
        Predictive {
            parts,
            minute_phi: self.minute_dispersion.phi(prior.minute_phi, prior.minute_phi_weight),
            hour_phi: self.hour_dispersion.phi(prior.hour_phi, prior.hour_phi_weight),
        }
    }

    /// ln of NB(count; [`RAMP`] mean) / NB(count; mean), both of the slow level's shape, for this part of an hour.
    fn ramp_evidence(predictive: &Predictive, count: f64, hours: f64) -> f64 {
        let part = predictive.parts[2];
        let mean = part.mean * MINUTES_PER_HOUR * hours;
        let shape = 1.0 / (predictive.hour_phi + part.uncertainty);
        let slower = (shape + mean).ln() - (shape + RAMP * mean).ln();
        count * (RAMP.ln() + slower) + shape * slower
    }

    /// Evidence that the level has been twice the slow forecast for some hours: the logarithm of the sum of a
    /// Shiryaev-Roberts e-detector (Shin, Ramdas, Rinaldo: "E-detectors", 2024) over clock hours, the present one
    /// counting up to `minute` with `count` calls not yet learned. For the hour that [`Baseline::advance`] came to.
    pub fn ln_ramp(&self, minute: Minute, count: u64, peers: Peers) -> f64 {
        let elapsed = (minute.0.rem_euclid(60) + 1) as f64 / MINUTES_PER_HOUR;
        let predictive = self.predictive(self.hour, peers);
        let evidence = Self::ramp_evidence(&predictive, f64::from(self.sum) + count as f64, elapsed);
        (f64::from(self.ln_ramp).exp().ln_1p() + evidence.min(LN_RAMP_STEP_MAX)).clamp(0.0, LN_RAMP_MAX)
    }

    /// The same as of the end of the last hour: nothing to compute.
    pub fn ln_ramp_of_last_hour(&self) -> f64 {
        f64::from(self.ln_ramp)
    }

    /// Learns the hours before that of `minute`. [`Baseline::learn`] does it too; asking for a forecast is cheaper
    /// after it.
    pub fn advance(&mut self, minute: Minute, peers: Peers) {
        self.roll_to(minute.hour() as u32, peers);
    }

    /// Learns the hours before `hour`.
    fn roll_to(&mut self, hour: u32, peers: Peers) {
        if self.hour == 0 || hour <= self.hour {
            return;
        }
        let (sum, squares) = (f64::from(self.sum), f64::from(self.squares));
        self.learn_hours(1, sum, squares, peers);
        (self.sum, self.squares) = (0.0, 0.0);
        self.calls += sum as f32;
        if self.season.is_none() && self.calls >= SEASON_CALLS_MIN && (self.hour / 24) as u16 > self.first_day {
            self.season = Some(Box::new(Season::new(peers.seasons)));
        }
        let mut step = 1;
        while self.hour < hour {
            // With a season each silent hour has its own factor; without one, silence is learned in growing steps.
            let hours = if self.season.is_some() { 1 } else { step.min(hour - self.hour) };
            self.learn_hours(hours, 0.0, 0.0, peers);
            step *= 2;
        }
    }

    /// Learns `hours` hours from `self.hour` on, which together hold `sum` calls (all of them, if there are several,
    /// silent).
    fn learn_hours(&mut self, hours: u32, sum: f64, squares: f64, peers: Peers) {
        let span = f64::from(hours);
        let factor = self.factor(self.hour, peers);
        let predictive = self.predictive_at(factor, peers.prior);
        let mean = predictive.mean() * MINUTES_PER_HOUR;
        let phi = predictive.hour_phi;

        let clip = mean + CLIP_SD * (mean + phi * mean * mean).sqrt().max(1.0);
        let evidence = Self::ramp_evidence(&predictive, sum, span);
        let kept = if hours == 1 { f64::from(self.ln_ramp).exp().ln_1p() } else { f64::from(self.ln_ramp) };
        self.ln_ramp = (kept + evidence.min(LN_RAMP_STEP_MAX)).clamp(0.0, LN_RAMP_MAX) as f32;
        let above = sum > clip;
        let settled = (self.clipped & 0b111).count_ones() >= CLIPPED_HOURS_MAX;
        let learned = if above && !settled { clip } else { sum };
        self.clipped = if hours > 7 { 0 } else { self.clipped << hours } | u8::from(above) << (hours.min(7) - 1);

        for (level, (part, half_life)) in self.levels.iter_mut().zip(predictive.parts.iter().zip(LEVEL_HALF_LIFE_HOURS))
        {
            let foretold =
                NegativeBinomial { mean: part.mean * MINUTES_PER_HOUR, shape: 1.0 / (phi + part.uncertainty) };
            let evidence = foretold.ln_pmf(learned.round() as u64).max(LN_EVIDENCE_MIN);
            let fade = (-span / WEIGHT_HALF_LIFE_HOURS).exp2();
            let hours_worth = (1.0 - fade) / (1.0 - (-1.0 / WEIGHT_HALF_LIFE_HOURS).exp2());
            level.ln_weight = (f64::from(level.ln_weight) * fade + evidence * hours_worth) as f32;

            let fade = (-span / half_life).exp2();
            // Within the hours the minutes fade too: their weight is the mean of the fading curve.
            let worth = (1.0 - fade) * half_life / (span * std::f64::consts::LN_2);
            level.events = (f64::from(level.events) * fade + learned * worth) as f32;
            level.exposure = (f64::from(level.exposure) * fade + factor * MINUTES_PER_HOUR * span * worth) as f32;
        }
        // Only evidence relative to the best level counts; taking it off keeps the numbers small.
        let best = self.levels.iter().map(|level| level.ln_weight).fold(f32::MIN, f32::max);
        self.levels.iter_mut().for_each(|level| level.ln_weight -= best);

        self.minute_dispersion.fade(span);
        self.hour_dispersion.fade(span);
        let scale = if sum > 0.0 { learned / sum } else { 1.0 };
        let per_minute = mean / MINUTES_PER_HOUR;
        let minutes = MINUTES_PER_HOUR * span;
        let around = squares * scale * scale - 2.0 * per_minute * learned + minutes * per_minute * per_minute;
        self.minute_dispersion.add(around, per_minute, minutes);
        self.hour_dispersion.add(span * (learned / span - mean).powi(2), mean, span);

        if let Some(season) = &mut self.season {
            // Against the slowest level: the quick ones follow the shape of the day themselves.
            let level = predictive.parts[2].mean * MINUTES_PER_HOUR / factor;
            season.learn(self.hour, learned, mean, level, phi, peers.seasons);
        }
        self.hour += hours;
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
struct Part {
    weight: f64,
    /// Calls per minute.
    mean: f64,
    /// Relative variance of the mean.
    uncertainty: f64,
}

/// The distribution of counts in the minutes of one clock hour.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Predictive {
    parts: [Part; 3],
    minute_phi: f64,
    hour_phi: f64,
}

impl Predictive {
    /// Calls per minute.
    pub fn mean(&self) -> f64 {
        self.parts.iter().map(|part| part.weight * part.mean).sum()
    }

    /// Mixture of the counts in `minutes` minutes together. Overdispersion of a window lies between that of a minute
    /// and that of an hour; noise that is new each minute averages out, noise of whole hours does not.
    fn window(&self, minutes: f64) -> [(f64, NegativeBinomial); 3] {
        let share = ((1.0 / minutes - 1.0 / 60.0) / (1.0 - 1.0 / 60.0)).clamp(0.0, 1.0);
        let phi = self.hour_phi + (self.minute_phi - self.hour_phi).max(0.0) * share;
        self.parts.map(|part| {
            let mean = (part.mean * minutes).max(1e-9);
            (part.weight, NegativeBinomial { mean, shape: 1.0 / (phi + part.uncertainty) })
        })
    }

    /// ln P(count of `minutes` minutes = count)
    pub fn ln_probability(&self, minutes: f64, count: u64) -> f64 {
        ln_mix(self.window(minutes).map(|(w, nb)| (w, nb.ln_pmf(count))))
    }

    /// ln P(count of `minutes` minutes >= count). Zero calls are certain: 0.
    pub fn ln_upper_tail(&self, minutes: f64, count: u64) -> f64 {
        if count == 0 { 0.0 } else { ln_mix(self.window(minutes).map(|(w, nb)| (w, nb.ln_sf(count - 1)))) }
    }

    /// ln P(count of `minutes` minutes <= count)
    pub fn ln_lower_tail(&self, minutes: f64, count: u64) -> f64 {
        ln_mix(self.window(minutes).map(|(w, nb)| (w, nb.ln_cdf(count))))
    }

    /// Mean and expected range of single minutes.
    pub fn forecast(&self) -> Forecast {
        self.range(1.0)
    }

    /// Mean and expected range, per minute, of `minutes` minutes taken together.
    pub fn range(&self, minutes: f64) -> Forecast {
        let quantile = |ln_p: f64| {
            let mut high = 1u64;
            while self.ln_lower_tail(minutes, high) < ln_p && high < 1 << 40 {
                high *= 2;
            }
            let mut low = 0u64;
            while low < high {
                let middle = low + (high - low) / 2;
                if self.ln_lower_tail(minutes, middle) < ln_p { low = middle + 1 } else { high = middle }
            }
            low as f64 / minutes
        };
        Forecast { mean: self.mean(), lower: quantile(BAND_TAIL.ln()), upper: quantile((-BAND_TAIL).ln_1p()) }
    }
}

/// ln of a weighted sum, from weights and logarithms.
fn ln_mix(parts: [(f64, f64); 3]) -> f64 {
    let terms = parts.map(|(weight, ln)| weight.ln() + ln);
    let best = terms.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    if best == f64::NEG_INFINITY {
        return best;
    }
    (best + terms.iter().map(|term| (term - best).exp()).sum::<f64>().ln()).min(0.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Category;

    const T0: i64 = 20_514 * 1440; // 2026-03-02, a Monday

    fn peers() -> Peers<'static> {
        Pooled::shipped().peers(Class::of("CreateThing", false, Category::Management))
    }

    fn learned(counts: impl Iterator<Item = (i64, u64)>) -> Baseline {
        let mut baseline = Baseline::default();
        counts
            .filter(|(_, count)| *count > 0)
            .for_each(|(minute, count)| baseline.learn(Minute(T0 + minute), count, peers()));
        baseline
    }

    #[test]
    fn a_steady_series_is_forecast_at_its_level_with_a_narrow_band() {
        let baseline = learned((0..7 * 1440).map(|m| (m, 9 + (m % 3) as u64)));
        let forecast = baseline.predict(Minute(T0 + 7 * 1440), peers()).forecast();
        assert!((forecast.mean - 10.0).abs() < 0.5, "{forecast:?}");
        assert!(forecast.lower >= 1.0 && forecast.upper <= 28.0, "{forecast:?}");
    }

    #[test]
    fn a_daily_shape_is_learned() {
        let shape = |m: i64| if (m / 60) % 24 < 12 { 1 } else { 10 };
        let mean_after =
            |minutes: i64| learned((0..minutes).map(|m| (m, shape(m)))).predict(Minute(T0 + minutes), peers()).mean();
        let (night, day) = (mean_after(21 * 1440), mean_after(21 * 1440 + 12 * 60));
        assert!(night < 2.5 && day > 5.0, "night {night}, day {day}");
    }

    #[test]
    fn a_burst_does_not_shift_the_forecast_of_its_own_hour() {
        let calm = learned((0..5 * 1440).map(|m| (m, 2)));
        let burst = learned((0..5 * 1440).map(|m| (m, 2)).chain((0..20).map(|m| (5 * 1440 + m, 500))));
        let at = Minute(T0 + 5 * 1440 + 30);
        assert_eq!(calm.predict(at, peers()).mean(), burst.predict(at, peers()).mean());
    }

    #[test]
    fn a_lasting_shift_becomes_the_new_level_within_a_day() {
        let baseline = learned((0..10 * 1440).map(|m| (m, if m < 8 * 1440 { 2 } else { 20 })));
        let mean = baseline.predict(Minute(T0 + 10 * 1440), peers()).mean();
        assert!((15.0..25.0).contains(&mean), "{mean}");
    }

    #[test]
    fn silence_is_learned_and_an_idle_series_stays_finite() {
        let baseline = learned((0..1440).map(|m| (m, 5)));
        for days in [1, 3, 30, 3000] {
            let predictive = baseline.predict(Minute(T0 + days * 1440), peers());
            let forecast = predictive.forecast();
            assert!(forecast.mean.is_finite() && forecast.mean >= 0.0 && forecast.upper >= forecast.lower);
            assert!(predictive.ln_upper_tail(5.0, 1000).is_finite());
        }
        assert!(baseline.predict(Minute(T0 + 30 * 1440), peers()).mean() < 0.2);
    }

    #[test]
    fn a_young_series_is_wide_and_an_old_one_narrow() {
        let young = learned((0..120).map(|m| (m, 1))).predict(Minute(T0 + 120), peers());
        let old = learned((0..14 * 1440).map(|m| (m, 1))).predict(Minute(T0 + 14 * 1440), peers());
        assert!(young.ln_upper_tail(60.0, 600) > old.ln_upper_tail(60.0, 600));
    }

    #[test]
    fn a_series_never_seen_is_forecast_at_the_rate_of_its_class_and_soon_at_its_own() {
        let priors = Priors::new("priors/0", |class| {
            let minutes = if class.is_error_rate() { 1_000.0 } else { 0.5 };
            (1, Prior { events: 0.1, minutes, ..Prior::WEAK })
        });
        let pooled = Pooled { priors, seasons: Seasons::flat("seasons/0") };
        for (is_error, rate) in [(false, 0.2), (true, 1e-4)] {
            let peers = pooled.peers(Class::of("CreateThing", is_error, Category::Management));
            let mut baseline = Baseline::default();
            let at = |hour: i64| Minute(T0 + hour * 60);
            assert!((baseline.predict(at(0), peers).mean() - rate).abs() < 1e-9);
            (0..360).for_each(|minute| baseline.learn(Minute(T0 + minute), 3, peers));
            let mean = baseline.predict(at(6), peers).mean();
            // The first hour was clipped; a prior of a thousand quiet minutes lets go more slowly.
            assert!(if is_error { (0.4..3.0).contains(&mean) } else { (2.5..3.1).contains(&mean) }, "{mean}");
        }
    }

    #[test]
    fn a_season_is_known_within_days_where_others_have_it() {
        // Office hours at nine hours' shift, known from others; seen for five days.
        let factors: Vec<f64> = (0..WEEK_HOURS).map(|h| if (8..16).contains(&(h % 24)) { 2.5 } else { 0.25 }).collect();
        let shape = Shape { weight: 0.5, factors };
        let flat = Shape { weight: 0.5, factors: vec![1.0; WEEK_HOURS] };
        let seasons = Seasons::new("seasons/0", serde_json::Value::Null, vec![flat, shape]).expect("sound shapes");
        let none = Seasons::flat("seasons/0");
        let mean_at = |hours: i64, seasons: &Seasons| {
            let peers = Peers { prior: Prior::WEAK, seasons };
            let mut baseline = Baseline::default();
            for minute in 0..hours * 60 {
                let office = (8..16).contains(&((minute / 60 + 24 - 9) % 24));
                if minute % if office { 4 } else { 40 } == 0 {
                    baseline.learn(Minute(T0 + minute), 1, peers);
                }
            }
            baseline.predict(Minute(T0 + hours * 60), peers).mean()
        };
        // The first hours of an office's day, and of its night: 10 times as many calls.
        let night_to_day = |seasons: &Seasons| mean_at(5 * 24 + 17, seasons) / mean_at(5 * 24 + 1, seasons);
        let (with, without) = (night_to_day(&seasons), night_to_day(&none));
        assert!(with > 5.0 && with > 1.5 * without, "{with} {without}");
    }
}
