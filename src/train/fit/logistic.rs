//! Fits an additive logistic model whose terms are piecewise linear and some of which may only rise: every segment of
//! every feature is one column in `0..=1`, its gain one coefficient, the gains of rising features bounded by zero.
//! Knows features as columns of numbers; neither accounts nor episodes.
//!
//! Method: cyclic coordinate descent with one bounded Newton step per coefficient (J. Friedman, T. Hastie,
//! R. Tibshirani, "Regularization Paths for Generalized Linear Models via Coordinate Descent", 2010), on
//! sum of w ln(1 + exp(-y s)) + l2 / 2 |gain|^2. The problem is convex, so where it ends does not depend on where it
//! begins. Sums run in a fixed order: equal input gives equal bits.

use ndarray::{Array2, Axis};

/// What the fit is told of one feature.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Term {
    pub(super) name: &'static str,
    pub(super) knots: Vec<f64>,
    /// More of it never lowers the score.
    pub(super) rising: bool,
}

/// Bias, and the gains of each term's segments.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Fitted {
    pub(super) bias: f64,
    pub(super) gains: Vec<Vec<f64>>,
}

/// Rows as columns of segments, so that a coefficient's column lies in one piece.
pub(super) struct Design {
    /// Segment by row.
    columns: Array2<f32>,
    rising: Vec<bool>,
    lengths: Vec<usize>,
}

impl Design {
    /// `value(row, term)` is the row's feature.
    pub(super) fn new(terms: &[Term], rows: usize, value: impl Fn(usize, usize) -> f64) -> Design {
        let lengths: Vec<usize> = terms.iter().map(|term| term.knots.len() - 1).collect();
        let mut columns = Array2::zeros((lengths.iter().sum(), rows));
        let mut rising = Vec::with_capacity(columns.nrows());
        for (place, term) in terms.iter().enumerate() {
            for knot in term.knots.windows(2) {
                let mut column = columns.row_mut(rising.len());
                for (row, cell) in column.iter_mut().enumerate() {
                    *cell = ((value(row, place) - knot[0]) / (knot[1] - knot[0])).clamp(0.0, 1.0) as f32;
                }
                rising.push(term.rising);
            }
        }
        Design { columns, rising, lengths }
    }

    fn rows(&self) -> usize {
        self.columns.ncols()
    }

    /// Scores of all rows.
    pub(super) fn scores(&self, fitted: &Fitted) -> Vec<f64> {
        let mut scores = vec![fitted.bias; self.rows()];
        for (column, gain) in self.columns.axis_iter(Axis(0)).zip(fitted.gains.iter().flatten()) {
            if *gain != 0.0 {
                scores.iter_mut().zip(column).for_each(|(score, cell)| *score += gain * f64::from(*cell));
            }
        }
        scores
    }
}

/// Sweeps over all coefficients at most, and the change of a coefficient below which none follows.
const SWEEPS_MAX: usize = 100;
const CHANGE_MIN: f64 = 1e-3;
/// The longest step of one coefficient in one sweep: a Newton step from far away can overshoot.
const STEP_MAX: f64 = 1.0;

/// Fits rows that are positive (`true`) or not, each with its weight, from `start`.
pub(super) fn fit(design: &Design, positive: &[bool], weights: &[f64], l2: f64, start: Option<&Fitted>) -> Fitted {
    let mut gains: Vec<f64> = match start {
        Some(start) => start.gains.iter().flatten().copied().collect(),
        None => vec![0.0; design.rising.len()],
    };
    let mut bias = start.map_or(0.0, |start| start.bias);
    let nested = |gains: &[f64], bias| {
        let mut rest = gains;
        let gains = design
            .lengths
            .iter()
            .map(|length| {
                let (mine, others) = rest.split_at(*length);
                rest = others;
                mine.to_vec()
            })
            .collect();
        Fitted { bias, gains }
    };
    let mut scores = design.scores(&nested(&gains, bias));
    for _ in 0..SWEEPS_MAX {
        let mut largest: f64 = 0.0;
        let (mut slope, mut curve) = (0.0, 1e-9);
        for ((score, positive), weight) in scores.iter().zip(positive).zip(weights) {
            let p = 1.0 / (1.0 + (-score).exp());
            slope += weight * (p - f64::from(u8::from(*positive)));
            curve += weight * p * (1.0 - p);
        }
        let step = (-slope / curve).clamp(-STEP_MAX, STEP_MAX);
        bias += step;
        scores.iter_mut().for_each(|score| *score += step);
        largest = largest.max(step.abs());
        for (place, column) in design.columns.axis_iter(Axis(0)).enumerate() {
            let (mut slope, mut curve) = (l2 * gains[place], l2);
            for (row, cell) in column.iter().enumerate() {
                if *cell != 0.0 {
                    let cell = f64::from(*cell);
                    let p = 1.0 / (1.0 + (-scores[row]).exp());
                    slope += weights[row] * cell * (p - f64::from(u8::from(positive[row])));
                    curve += weights[row] * cell * cell * p * (1.0 - p);
                }
            }
            let mut next = gains[place] + (-slope / curve).clamp(-STEP_MAX, STEP_MAX);
            if design.rising[place] {
                next = next.max(0.0);
            }
            let step = next - gains[place];
            if step != 0.0 {
                gains[place] = next;
                for (score, cell) in scores.iter_mut().zip(column) {
                    *score += step * f64::from(*cell);
                }
                largest = largest.max(step.abs());
            }
        }
        if largest < CHANGE_MIN {
            break;
        }
    }
    nested(&gains, bias)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn loss(design: &Design, positive: &[bool], l2: f64, fitted: &Fitted) -> f64 {
        let scores = design.scores(fitted);
        let misfit = scores.iter().zip(positive).map(|(s, y)| if *y { (-s).exp().ln_1p() } else { s.exp().ln_1p() });
        misfit.sum::<f64>() + 0.5 * l2 * fitted.gains.iter().flatten().map(|g| g * g).sum::<f64>()
    }

    fn example() -> (Design, Vec<bool>) {
        let terms = [
            Term { name: "a", knots: vec![0.0, 1.0, 3.0], rising: true },
            Term { name: "b", knots: vec![0.0, 1.0], rising: false },
            Term { name: "c", knots: vec![0.0, 1.0], rising: true },
        ];
        let value = |row: usize, term: usize| match term {
            0 => (row % 40) as f64 / 10.0,
            1 => (row * 7 % 11) as f64 / 10.0,
            _ => (row * 3 % 13) as f64 / 12.0,
        };
        // The third feature speaks against, which its bound forbids to use.
        let positive = (0..400).map(|row| value(row, 0) + value(row, 1) - 2.0 * value(row, 2) > 1.6).collect();
        (Design::new(&terms, 400, value), positive)
    }

    #[test]
    fn nothing_within_the_bounds_is_better() {
        let (design, positive) = example();
        let fitted = fit(&design, &positive, &[1.0; 400], 0.5, None);
        let best = loss(&design, &positive, 0.5, &fitted);
        assert_eq!(fitted.gains[2][0], 0.0);
        assert!(fitted.gains[0].iter().all(|gain| *gain >= 0.0));
        for (term, segment) in [(0, 0), (0, 1), (1, 0), (2, 0)] {
            for step in [-0.05, 0.05] {
                let mut other = fitted.clone();
                other.gains[term][segment] += step;
                let allowed = term == 1 || other.gains[term][segment] >= 0.0;
                assert!(!allowed || loss(&design, &positive, 0.5, &other) > best, "{term} {segment} {step}");
            }
        }
    }

    #[test]
    fn where_it_begins_does_not_matter() {
        let (design, positive) = example();
        let cold = fit(&design, &positive, &[1.0; 400], 0.5, None);
        let start = Fitted { bias: 2.0, gains: vec![vec![3.0, 0.0], vec![-4.0], vec![1.0]] };
        let warm = fit(&design, &positive, &[1.0; 400], 0.5, Some(&start));
        let (cold, warm) = (loss(&design, &positive, 0.5, &cold), loss(&design, &positive, 0.5, &warm));
        assert!((cold / warm - 1.0).abs() < 1e-4, "{cold} {warm}");
    }
}
