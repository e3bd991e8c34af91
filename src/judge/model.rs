//! The judge's weights: a piecewise-linear additive logistic model, read from JSON. Knows the names of features, not
//! how they are made.

use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::{FEATURE_COUNT, FEATURE_NAMES};

/// The weights that ship with Highwater; `models/` says where they come from.
pub const DEFAULT_JSON: &str = include_str!("../../models/judge.json");

/// Why a model cannot be used.
#[derive(Debug, Error)]
pub enum ModelError {
    #[error("the judge's model is not valid JSON of the expected shape: {0}")]
    Json(#[from] serde_json::Error),
    #[error("the judge's model has features {found:?}; this version needs {expected:?}, in this order")]
    Features { found: Vec<String>, expected: Vec<&'static str> },
    #[error("calibration: needs as many rates as lines, the lines ascending and the rates falling")]
    Calibration,
    #[error("feature {feature}: {reason}")]
    Shape { feature: String, reason: &'static str },
}

/// As stored: see `models/README.md`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Model {
    /// Name and version, copied into each insight: `judge-17/1`.
    pub name: String,
    pub provenance: serde_json::Value,
    pub bias: f64,
    /// A score at or above it is an alarm.
    pub threshold: f64,
    /// A score at or above it is worth recording; it lies below `threshold`.
    pub near_line: f64,
    /// False alarms of quiet accounts.
    pub calibration: Calibration,
    pub features: Vec<Additive>,
}

/// What quiet accounts taught: at which line how many incidents begin, per series and day with calls.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Calibration {
    /// In ascending order.
    pub lines: Vec<f64>,
    /// Natural logarithms, falling.
    pub ln_per_series_day: Vec<f64>,
    /// What the lines of that curve come to once they follow each account: asked for `b` false alarms a week, quiet
    /// accounts told `told * b^power`.
    pub told: f64,
    pub power: f64,
}

impl Default for Calibration {
    fn default() -> Calibration {
        Calibration { lines: Vec::new(), ln_per_series_day: Vec::new(), told: 1.0, power: 1.0 }
    }
}

impl Calibration {
    /// The piece of the curve, as (line, ln rate) pairs, that holds a line or a rate; the outer ones go on.
    fn piece(&self, beyond: impl Fn(f64, f64) -> bool) -> Option<[(f64, f64); 2]> {
        let points: Vec<(f64, f64)> = self.lines.iter().copied().zip(self.ln_per_series_day.iter().copied()).collect();
        let mut pieces = points.windows(2).map(|pair| [pair[0], pair[1]]);
        pieces.clone().find(|pair| !beyond(pair[1].0, pair[1].1)).or_else(|| pieces.next_back())
    }
}

/// One feature's contribution: `gain[i]` is reached linearly between `knots[i]` and `knots[i + 1]`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Additive {
    pub feature: String,
    pub knots: Vec<f64>,
    pub gain: Vec<f64>,
}

impl Model {
    /// Reads and checks a model.
    pub fn from_json(text: &str) -> Result<Model, ModelError> {
        let model: Model = serde_json::from_str(text)?;
        if model.features.iter().map(|f| f.feature.as_str()).ne(FEATURE_NAMES) {
            let found = model.features.into_iter().map(|f| f.feature).collect();
            return Err(ModelError::Features { found, expected: FEATURE_NAMES.to_vec() });
        }
        let Calibration { lines, ln_per_series_day, told, power } = &model.calibration;
        let ascending = |values: &[f64]| values.windows(2).all(|pair| pair[0] < pair[1]);
        let falling = ln_per_series_day.windows(2).all(|pair| pair[0] > pair[1]);
        let positive = [told, power].iter().all(|value| value.is_finite() && **value > 0.0);
        if lines.len() != ln_per_series_day.len() || !ascending(lines) || !falling || !positive {
            return Err(ModelError::Calibration);
        }
        for additive in &model.features {
            let wrong = |reason| ModelError::Shape { feature: additive.feature.clone(), reason };
            if additive.knots.len() != additive.gain.len() + 1 {
                return Err(wrong("needs one knot more than gains"));
            }
            if !additive.knots.windows(2).all(|pair| pair[0] < pair[1]) {
                return Err(wrong("needs knots in strictly ascending order"));
            }
        }
        Ok(model)
    }

    /// Incidents that begin per series and day with calls in a quiet account, with the alarm at this line.
    pub fn false_alarms_per_series_day(&self, line: f64) -> f64 {
        match self.calibration.piece(|upper, _| upper < line) {
            Some([a, b]) => (a.1 + (b.1 - a.1) * (line - a.0) / (b.0 - a.0)).min(0.0).exp(),
            None => 0.0,
        }
    }

    /// What to ask for, a week, so that an account tells so many false alarms.
    pub fn asked(&self, told_per_week: f64) -> f64 {
        (told_per_week / self.calibration.told).powf(1.0 / self.calibration.power)
    }

    /// The line at which so many begin; never below `near_line`.
    pub fn line_of(&self, per_series_day: f64) -> f64 {
        let ln = per_series_day.ln();
        match self.calibration.piece(|_, rate| rate > ln) {
            Some([a, b]) => (a.0 + (b.0 - a.0) * (ln - a.1) / (b.1 - a.1)).max(self.near_line),
            None => self.threshold,
        }
    }

    /// The logit of an alarm: bias + sum over features and segments of the gain times the part of the segment reached.
    pub fn score(&self, features: &[f64; FEATURE_COUNT]) -> f64 {
        let contributions = self.features.iter().zip(features).map(|(additive, &x)| {
            additive
                .knots
                .windows(2)
                .zip(&additive.gain)
                .map(|(knot, gain)| gain * ((x - knot[0]) / (knot[1] - knot[0])).clamp(0.0, 1.0))
                .sum::<f64>()
        });
        self.bias + contributions.sum::<f64>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shipped_model_is_sound_and_more_calls_never_lower_the_record_terms() {
        let model = Model::from_json(DEFAULT_JSON).expect("the shipped model");
        for additive in model
            .features
            .iter()
            .filter(|f| ["r1", "r5", "r15", "r60", "h15", "h60", "w60", "lS1", "lS5"].contains(&f.feature.as_str()))
        {
            assert!(additive.gain.iter().all(|gain| *gain >= 0.0), "{}", additive.feature);
        }
    }

    #[test]
    fn a_model_with_other_features_is_refused_by_name() {
        let text = DEFAULT_JSON.replace("\"r15\"", "\"r16\"");
        let error = Model::from_json(&text).unwrap_err().to_string();
        assert!(error.contains("r16") && error.contains("r15"), "{error}");
    }

    #[test]
    fn a_line_and_its_rate_belong_together_also_beyond_the_curve() {
        let mut model = Model::from_json(DEFAULT_JSON).expect("the shipped model");
        model.near_line = -10.0;
        model.calibration = Calibration {
            lines: vec![-2.0, -1.0, 1.0],
            ln_per_series_day: vec![-2.0, -4.0, -5.0],
            told: 0.5,
            power: 2.0,
        };
        for line in [-3.0, -2.0, -1.5, -1.0, 0.0, 1.0, 4.0] {
            let rate = model.false_alarms_per_series_day(line);
            assert!((model.line_of(rate) - line).abs() < 1e-9, "{line}: {rate} {}", model.line_of(rate));
        }
        assert!((model.false_alarms_per_series_day(0.0).ln() + 4.5).abs() < 1e-9);
        assert_eq!((model.asked(0.5), model.asked(8.0)), (1.0, 4.0));
        model.near_line = -1.0;
        assert_eq!(model.line_of(1.0), -1.0);
    }
}
