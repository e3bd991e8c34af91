//! Random numbers that never change: a PCG stream and the few distributions that made-up accounts are drawn from. Knows
//! nothing of trails. Everything here is integer arithmetic, correctly rounded IEEE operations, or the software
//! functions of the `libm` crate, so that a seed gives the same values on every platform and with every compiler.
//!
//! References: M. E. O'Neill, "PCG" (HMC-CS-2014-0905), variant XSL-RR 128/64; S. Vigna's SplitMix64 as the seed mixer;
//! D. Lemire, "Fast Random Integer Generation in an Interval" (2019); G. Marsaglia's polar method (1962); G. Marsaglia
//! and W. W. Tsang, "A Simple Method for Generating Gamma Variables" (2000); D. E. Knuth, TAOCP 2, 3.4.1 (Poisson).

use rand_pcg::Pcg64;
use rand_pcg::rand_core::Rng;

/// Largest mean drawn by one run of Knuth's product method; a larger mean is a sum of several runs.
const POISSON_CHUNK: f64 = 24.0;

/// One stream of random numbers.
pub(super) struct Draw(Pcg64);

/// SplitMix64's finalizer: a bijection of `u64` in which every input bit moves about half of the output bits.
pub(super) fn mix(value: u64) -> u64 {
    let value = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

/// One number for a list of numbers; order matters.
pub(super) fn mix_all(parts: &[u64]) -> u64 {
    parts.iter().fold(0x6869_6768_7761_7465, |hash, &part| mix(hash ^ mix(part)))
}

impl Draw {
    /// The stream that belongs to these numbers: the same list always gives the same stream.
    pub(super) fn new(parts: &[u64]) -> Draw {
        let hash = mix_all(parts);
        let wide = |a: u64, b: u64| (u128::from(mix(hash ^ a)) << 64) | u128::from(mix(hash ^ b));
        Draw(Pcg64::new(wide(1, 2), wide(3, 4)))
    }

    pub(super) fn next(&mut self) -> u64 {
        self.0.next_u64()
    }

    /// A whole number in `0..n`. The bias of the multiplication is below n / 2^64 and is left in: no loop, no surprise.
    pub(super) fn below(&mut self, n: u64) -> u64 {
        ((u128::from(self.next()) * u128::from(n)) >> 64) as u64
    }

    /// A whole number in `low..=high`.
    pub(super) fn whole(&mut self, low: u64, high: u64) -> u64 {
        low + self.below(high - low + 1)
    }

    /// Uniform in `[0, 1)`, 53 bits.
    pub(super) fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// Uniform in `[low, high)`.
    pub(super) fn between(&mut self, low: f64, high: f64) -> f64 {
        low + (high - low) * self.unit()
    }

    /// Log-uniform in `[low, high)`: any factor of two is as likely as any other; `low` must be above zero.
    pub(super) fn log_between(&mut self, low: f64, high: f64) -> f64 {
        low * libm::exp(self.unit() * libm::log(high / low))
    }

    pub(super) fn chance(&mut self, probability: f64) -> bool {
        self.unit() < probability
    }

    /// One element; the slice must not be empty.
    pub(super) fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        &from[self.below(from.len() as u64) as usize]
    }

    /// An index drawn in proportion to its weight; the weights must not be empty.
    pub(super) fn weighted(&mut self, weights: &[f64]) -> usize {
        let mut left = self.unit() * weights.iter().sum::<f64>();
        for (index, weight) in weights.iter().enumerate() {
            left -= weight;
            if left < 0.0 {
                return index;
            }
        }
        weights.len() - 1
    }

    /// Fisher and Yates.
    pub(super) fn shuffle<T>(&mut self, list: &mut [T]) {
        for last in (1..list.len()).rev() {
            list.swap(last, self.below(last as u64 + 1) as usize);
        }
    }

    pub(super) fn exponential(&mut self) -> f64 {
        -libm::log(1.0 - self.unit())
    }

    /// Standard normal.
    pub(super) fn normal(&mut self) -> f64 {
        loop {
            let (x, y) = (self.between(-1.0, 1.0), self.between(-1.0, 1.0));
            let square = x * x + y * y;
            if square > 0.0 && square < 1.0 {
                return x * (-2.0 * libm::log(square) / square).sqrt();
            }
        }
    }

    pub(super) fn log_normal(&mut self, median: f64, sigma: f64) -> f64 {
        median * libm::exp(sigma * self.normal())
    }

    /// Gamma with mean 1 and variance 1 / `shape`; `shape` must be at least 1.
    pub(super) fn gamma(&mut self, shape: f64) -> f64 {
        let d = shape - 1.0 / 3.0;
        let c = 1.0 / (9.0 * d).sqrt();
        loop {
            let x = self.normal();
            let v = 1.0 + c * x;
            if v <= 0.0 {
                continue;
            }
            let v = v * v * v;
            let u = 1.0 - self.unit();
            if libm::log(u) < 0.5 * x * x + d - d * v + d * libm::log(v) {
                return d * v / shape;
            }
        }
    }

    /// Time grows with the mean, which is fine here: each call that is drawn is also written out.
    pub(super) fn poisson(&mut self, mean: f64) -> u32 {
        let (mut left, mut count) = (mean, 0);
        while left > 0.0 {
            let limit = libm::exp(-left.min(POISSON_CHUNK));
            let mut product = self.unit();
            while product > limit {
                count += 1;
                product *= self.unit();
            }
            left -= POISSON_CHUNK;
        }
        count
    }

    /// Negative binomial with variance `mean` + `mean`^2 / `shape`: a Poisson count whose rate is gamma distributed.
    pub(super) fn negative_binomial(&mut self, mean: f64, shape: f64) -> u32 {
        if mean <= 0.0 {
            return 0;
        }
        let rate = mean * self.gamma(shape);
        self.poisson(rate)
    }

    /// Pareto cut at `max` by drawing from the truncated law: heavy, but never absurd.
    pub(super) fn pareto(&mut self, min: f64, alpha: f64, max: f64) -> f64 {
        let tail = libm::pow(min / max, alpha);
        min * libm::pow(1.0 - self.unit() * (1.0 - tail), -1.0 / alpha)
    }

    /// Successes in `n` trials; a loop, because `n` is the number of calls of one minute.
    pub(super) fn binomial(&mut self, n: u32, probability: f64) -> u32 {
        if probability <= 0.0 {
            return 0;
        }
        if probability >= 1.0 {
            return n;
        }
        (0..n).filter(|_| self.chance(probability)).count() as u32
    }
}

#[cfg(test)]
mod tests {
    use super::Draw;

    #[test]
    fn the_stream_never_changes() {
        let mut draw = Draw::new(&[7, 1]);
        assert_eq!([draw.next(), draw.next(), draw.next()], STREAM_7_1);
        let mut again = Draw::new(&[1, 7]);
        assert_ne!(again.next(), STREAM_7_1[0]);
    }

    /// First three values of the stream of `[7, 1]`, taken down once: a change here changes every simulated trail.
    const STREAM_7_1: [u64; 3] = [1_620_610_051_215_579_359, 2_317_336_299_349_812_213, 2_453_886_607_579_843_226];

    /// Mean and variance of 200,000 draws.
    fn moments(mut one: impl FnMut() -> f64) -> (f64, f64) {
        let n = 200_000;
        let values: Vec<f64> = (0..n).map(|_| one()).collect();
        let mean = values.iter().sum::<f64>() / f64::from(n);
        (mean, values.iter().map(|v| (v - mean) * (v - mean)).sum::<f64>() / f64::from(n))
    }

    #[test]
    fn moments_are_those_of_the_laws() {
        let mut draw = Draw::new(&[42]);
        let near = |got: (f64, f64), want: (f64, f64)| {
            assert!((got.0 - want.0).abs() <= 0.03 * want.0.abs().max(0.3), "{got:?} {want:?}");
            assert!((got.1 - want.1).abs() <= 0.05 * want.1.max(0.3), "{got:?} {want:?}");
        };
        near(moments(|| draw.unit()), (0.5, 1.0 / 12.0));
        near(moments(|| draw.normal()), (0.0, 1.0));
        near(moments(|| draw.exponential()), (1.0, 1.0));
        near(moments(|| draw.gamma(4.0)), (1.0, 0.25));
        near(moments(|| f64::from(draw.poisson(0.2))), (0.2, 0.2));
        near(moments(|| f64::from(draw.poisson(60.0))), (60.0, 60.0));
        near(moments(|| f64::from(draw.negative_binomial(5.0, 10.0))), (5.0, 7.5));
        near(moments(|| f64::from(draw.binomial(20, 0.3))), (6.0, 4.2));
        near(moments(|| draw.weighted(&[1.0, 3.0]) as f64), (0.75, 0.1875));
    }

    #[test]
    fn pareto_stays_in_its_bounds() {
        let mut draw = Draw::new(&[5]);
        let values: Vec<f64> = (0..10_000).map(|_| draw.pareto(2.0, 1.2, 80.0)).collect();
        assert!(values.iter().all(|v| (2.0..=80.001).contains(v)));
        assert!(values.iter().any(|v| *v > 60.0));
    }
}
