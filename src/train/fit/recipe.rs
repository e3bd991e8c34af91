//! What the shipped models are made of, and how they are made: from seeds and given trails to models with provenance.
//! Equal recipes give equal models. Knows no files but the trails it is given.

use std::ops::Range;
use std::path::PathBuf;

use serde_json::json;

use super::{Make, calibrate, judge, measure_quiet};
use crate::judge::Model;
use crate::train::evaluate::{self, Contestant, Scenario};
use crate::train::labelled::Labelled;
use crate::train::{simulate, worlds};

/// Seeds and trails to learn from.
#[derive(Clone, Debug, PartialEq)]
pub struct Recipe {
    /// Accounts of `worlds`: every second one tidy.
    pub worlds: Range<u64>,
    /// Accounts of `simulate`.
    pub simulated: Range<u64>,
    /// Accounts of `simulate` in which nothing happens, for the calibration.
    pub quiet: Range<u64>,
    /// Accounts of both kinds that nothing is learned from, for the figures in the provenance.
    pub held_out: Range<u64>,
    /// Labelled trails on disk to learn from as well: see [`Labelled::read`].
    pub trails: Vec<PathBuf>,
}

impl Default for Recipe {
    fn default() -> Recipe {
        Recipe { worlds: 1_000..1_100, simulated: 1_000..1_040, quiet: 3_000..3_016, held_out: 8_000..8_010, trails: Vec::new() }
    }
}

/// Shares of bursts by insiders, in turn.
const INSIDERS: [f64; 5] = [0.5, 1.0, 0.5, 1.0, 0.2];

/// The line is where this many false alarms a week begin in a quiet account of `LINE_SERIES` active series.
const LINE_PER_WEEK: f64 = 0.2;
/// Below it nothing is recorded.
const NEAR_PER_WEEK: f64 = 12.0;
