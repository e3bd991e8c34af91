//! Tails of the negative binomial distribution in log space: they never underflow, however far out a burst lies.
//! Knows no series and no time.
//!
//! The distribution is given by its mean and its shape `r`: variance = mean + mean^2 / r; `r` = infinity is Poisson.
//! P(X > k) = I_q(k + 1, r) with q = mean / (mean + r), the regularised incomplete beta function (DLMF 8.17.24); below
//! the reach of doubles, ln pmf of the first term plus the logarithm of the sum of term ratios.

use statrs::function::beta::checked_beta_reg;
use statrs::function::gamma::{checked_gamma_lr, checked_gamma_ur, ln_gamma};

/// Below it the library's tails lose digits and end at zero; above it they are good to nine digits.
const TAIL_MIN: f64 = 1e-280;

/// A shape this large differs from Poisson by less than a double can tell.
const SHAPE_MAX: f64 = 1e12;

/// Terms of a tail's series: each is smaller than the one before, and far out by a factor, so that the sum has long
/// converged; the bound only keeps hostile parameters from looping.
const TERMS_MAX: usize = 100_000;

/// A count's distribution.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct NegativeBinomial {
    /// > 0
    pub mean: f64,
    /// > 0; infinity: Poisson.
    pub shape: f64,
}

impl NegativeBinomial {
    fn is_poisson(self) -> bool {
        self.shape > SHAPE_MAX
    }

    /// ln P(X = k)
    pub fn ln_pmf(self, k: u64) -> f64 {
        let (m, r, k) = (self.mean, self.shape, k as f64);
        if self.is_poisson() {
            return k * m.ln() - m - ln_gamma(k + 1.0);
        }
        // ln(r / (r + m)) and ln(m / (r + m)), each without cancellation.
        let ln_p = -(m / r).ln_1p();
        let ln_q = -(r / m).ln_1p();
        ln_gamma(k + r) - ln_gamma(r) - ln_gamma(k + 1.0) + r * ln_p + k * ln_q
    }

    /// ln P(X > k)
    pub fn ln_sf(self, k: u64) -> f64 {
        let tail = if self.is_poisson() {
            checked_gamma_lr(k as f64 + 1.0, self.mean).ok()
        } else {
            checked_beta_reg(k as f64 + 1.0, self.shape, self.mean / (self.mean + self.shape)).ok()
        };
        match tail {
            Some(tail) if tail > TAIL_MIN => tail.min(1.0).ln(),
            _ => self.ln_tail(k.saturating_add(1), |j| (j + self.shape) / (j + 1.0) * self.q(), 1.0),
        }
    }

    /// ln P(X <= k)
    pub fn ln_cdf(self, k: u64) -> f64 {
        let tail = if self.is_poisson() {
            checked_gamma_ur(k as f64 + 1.0, self.mean).ok()
        } else {
            checked_beta_reg(self.shape, k as f64 + 1.0, self.shape / (self.mean + self.shape)).ok()
        };
        match tail {
            Some(tail) if tail > TAIL_MIN => tail.min(1.0).ln(),
            _ => self.ln_tail(k, |j| j / ((j - 1.0 + self.shape) * self.q()), -1.0),
        }
    }

    /// mean / (mean + shape). For Poisson the shape cancels in every ratio that uses it.
    fn q(self) -> f64 {
        self.mean / (self.mean + self.shape)
    }

    /// ln of pmf(first) + pmf(first + step) + ..., from the ratio of neighbouring terms.
    fn ln_tail(self, first: u64, ratio: impl Fn(f64) -> f64, step: f64) -> f64 {
        let poisson = |j: f64| if step > 0.0 { self.mean / (j + 1.0) } else { j / self.mean };
        let (mut j, mut term, mut sum) = (first as f64, 1.0f64, 1.0f64);
        for _ in 0..TERMS_MAX {
            if step < 0.0 && j <= 0.0 {
                break;
            }
            term *= if self.is_poisson() { poisson(j) } else { ratio(j) };
            sum += term;
            j += step;
            if term < sum * 1e-17 || !sum.is_finite() {
                break;
            }
        }
        self.ln_pmf(first) + sum.ln()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// mean, shape, k, ln sf, ln cdf: made by `tests/fixtures/tails/make.py` with 60-digit arithmetic.
    #[test]
    fn tails_agree_with_sixty_digit_arithmetic() {
        let table = include_str!("../../tests/fixtures/tails/negative_binomial.csv");
        let mut rows = 0;
        for line in table.lines().skip(1) {
            let cell: Vec<f64> = line.split(',').map(|cell| cell.parse().expect("a number")).collect();
            let [mean, shape, k, ln_sf, ln_cdf] = cell[..] else { panic!("five columns: {line}") };
            let nb = NegativeBinomial { mean, shape };
            for (ours, theirs, name) in [(nb.ln_sf(k as u64), ln_sf, "sf"), (nb.ln_cdf(k as u64), ln_cdf, "cdf")] {
                let error = (ours - theirs).abs() / theirs.abs().max(1.0);
                assert!(error < 2e-8, "ln {name} of {line}: {ours} against {theirs}");
            }
            rows += 1;
        }
        assert!(rows > 200, "{rows} rows");
    }

    #[test]
    fn the_farthest_tails_are_finite() {
        for (mean, shape) in [(1e-9, 1e-3), (1e-9, f64::INFINITY), (1e9, 0.01), (1e6, f64::INFINITY), (5.0, 1e13)] {
            let nb = NegativeBinomial { mean, shape };
            for k in [0, 1, 1_000, u64::from(u32::MAX)] {
                assert!(nb.ln_sf(k).is_finite() && nb.ln_cdf(k).is_finite(), "{mean} {shape} {k}");
            }
        }
    }
}
