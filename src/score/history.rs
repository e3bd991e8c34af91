//! How rare a number is for its own series: order statistics of the last 28 days and a tail beyond them, in one unit,
//! the return period. Knows neither time nor what the numbers mean; whoever feeds it says when an hour is over.
//!
//! Beyond the upper (lower) decile the distance from the median, on the scale `ln(1 + distance / spread)`, is taken as
//! exponential: a generalised Pareto tail (Pickands 1975) whose slope is the mean excess in the history, shrunk to one
//! prior slope for all series. Where the history holds numbers at least as extreme, their count bounds the period.

use std::collections::VecDeque;

/// Share of the history that counts as one tail.
const TAIL_SHARE: f64 = 0.1;

/// The prior of a tail's slope: short histories have this one.
const SLOPE: f64 = 0.4;

/// Weight of the prior slope, in exceedances: at hourly rows, where 28 days hold 67 of them, the prior decides; at five
/// minutes, where they hold 806, the series has nearly half of the say, and four fifths at one minute.
const SLOPE_WEIGHT: f64 = 1_000.0;

/// Numbers of a tail that are looked at for its slope: the middles of as many strata.
const TAIL_POINTS_MAX: usize = 64;

/// What the sorted numbers look like is found anew once this share of them is new: their count is always exact.
const SHAPE_SHARE: f64 = 1.0 / 64.0;

/// Fewer new numbers than this are put in their places one by one, more are merged in one pass.
const MERGE_MIN: usize = 8;

/// Counted in addition to the numbers at least as extreme, so that the only one does not happen "once in 28 days".
const EXTREME_EXTRA: f64 = 0.5;

/// A spread below this share of the series' level is too small to matter to anyone.
const SPREAD_SHARE_MIN: f64 = 0.1;

/// The numbers of one window and what they look like.
#[derive(Debug)]
pub struct History {
    window: usize,
    rows_min: usize,
    /// ln of the chances a day has to be extreme.
    ln_chances: f64,
    /// Oldest first; all of `sorted`, then those not yet in it.
    arrived: VecDeque<f64>,
    sorted: Vec<f64>,
    shape: Option<Shape>,
    /// Numbers that came since `shape` was found.
    unseen: usize,
}

/// What is known of the sorted numbers.
#[derive(Clone, Copy, Debug)]
struct Shape {
    median: f64,
    /// Interquartile range, with a floor; 0 where all numbers are 0.
    spread: f64,
    /// Smallest distance between two different numbers.
    resolution: f64,
    high: Tail,
    low: Tail,
}

/// One tail, as distances from the median.
#[derive(Clone, Copy, Debug)]
struct Tail {
    start: f64,
    slope: f64,
}

impl History {
    /// Keeps `window` numbers and says nothing before there are `rows_min`.
    pub fn new(window: usize, rows_min: usize, chances_per_day: f64) -> History {
        History {
            window: window.max(1),
            rows_min,
            ln_chances: chances_per_day.ln(),
            arrived: VecDeque::new(),
            sorted: Vec::new(),
            shape: None,
            unseen: 0,
        }
    }

    /// Remembers a finite number; it counts from the next [`History::settle`] on.
    pub fn learn(&mut self, number: f64) {
        self.arrived.push_back(number);
    }

    /// Takes in what was learned since the last call. A spread smaller than `spread_min` is taken as that.
    pub fn settle(&mut self, spread_min: f64) {
        let fresh = self.arrived.len() - self.sorted.len();
        if fresh == 0 {
            return;
        }
        let mut new: Vec<f64> = self.arrived.range(self.sorted.len()..).copied().collect();
        let surplus = self.arrived.len().saturating_sub(self.window);
        let mut old: Vec<f64> = self.arrived.drain(..surplus).collect();
        if fresh < MERGE_MIN {
            for number in new {
                let place = self.sorted.partition_point(|other| other.total_cmp(&number).is_lt());
                self.sorted.insert(place, number);
            }
            for number in old {
                let place = self.sorted.partition_point(|other| other.total_cmp(&number).is_lt());
                self.sorted.remove(place);
            }
        } else {
            new.sort_unstable_by(f64::total_cmp);
            old.sort_unstable_by(f64::total_cmp);
            self.sorted = merged(&self.sorted, &new, &old);
        }
        self.unseen += fresh;
        if self.sorted.len() >= self.rows_min && self.unseen as f64 >= SHAPE_SHARE * self.sorted.len() as f64 {
            self.shape = Some(shape(&self.sorted, spread_min));
            self.unseen = 0;
        }
    }

    /// The middle of the settled numbers; 0 before there are any.
    pub fn median(&self) -> f64 {
        self.sorted.get(self.sorted.len() / 2).copied().unwrap_or(0.0)
    }

    /// The smallest spread that means something for values like these: a share of their level, and what is between two
    /// neighbouring ones (one, for counts), so that 1 among zeros is no wonder; 0 before there are any.
    pub fn spread_min(&self) -> f64 {
        let resolution = self.shape.map_or(0.0, |shape| shape.resolution);
        f64::max(SPREAD_SHARE_MIN * self.median().abs(), resolution)
    }

    /// ln of the days between numbers at least this high, at least 0; 0 while too little is known.
    pub fn rise(&self, number: f64) -> f64 {
        let Some(shape) = self.shape else { return 0.0 };
        let as_extreme = self.sorted.len() - self.sorted.partition_point(|&other| other < number);
        self.ln_period(&shape, shape.high, number - shape.median, as_extreme)
    }

    /// The same for numbers at least this low.
    pub fn fall(&self, number: f64) -> f64 {
        let Some(shape) = self.shape else { return 0.0 };
        let as_extreme = self.sorted.partition_point(|&other| other <= number);
        self.ln_period(&shape, shape.low, shape.median - number, as_extreme)
    }

    /// The numbers whose fall and rise reach `ln_period`.
    pub fn band(&self, ln_period: f64) -> Option<(f64, f64)> {
        let shape = self.shape?;
        let distance = |tail: Tail| {
            let beyond = tail.slope * (ln_period + self.ln_chances + TAIL_SHARE.ln()).max(0.0);
            tail.start + (shape.spread + tail.start) * beyond.exp_m1()
        };
        Some((shape.median - distance(shape.low), shape.median + distance(shape.high)))
    }

    fn ln_period(&self, shape: &Shape, tail: Tail, distance: f64, as_extreme: usize) -> f64 {
        if distance <= tail.start {
            return 0.0;
        }
        let counted = ((self.sorted.len() + 1) as f64 / (as_extreme as f64 + EXTREME_EXTRA)).ln();
        let ln_rows = if shape.spread == 0.0 {
            // Nothing but one number so far: how far the new one lies from it cannot be measured.
            counted
        } else {
            let excess = (distance / shape.spread).ln_1p() - (tail.start / shape.spread).ln_1p();
            let modelled = excess / tail.slope - TAIL_SHARE.ln();
            if as_extreme > 0 { modelled.min(counted) } else { modelled }
        };
        (ln_rows - self.ln_chances).max(0.0)
    }
}

/// `sorted` with `new` and without `old`, all ascending; `old` is part of the two others.
fn merged(sorted: &[f64], new: &[f64], old: &[f64]) -> Vec<f64> {
    let mut all = Vec::with_capacity(sorted.len() + new.len() - old.len());
    let (mut new, mut old) = (new.iter().peekable(), old.iter().peekable());
    let mut keep = |number: f64| {
        if old.next_if(|oldest| oldest.total_cmp(&number).is_eq()).is_none() {
            all.push(number);
        }
    };
    for &number in sorted {
        while let Some(&fresh) = new.next_if(|fresh| fresh.total_cmp(&number).is_lt()) {
            keep(fresh);
        }
        keep(number);
    }
    new.for_each(|&fresh| keep(fresh));
    all
}

/// `sorted` is not empty.
fn shape(sorted: &[f64], spread_min: f64) -> Shape {
    let rank = |share: f64| ((sorted.len() as f64 * share) as usize).min(sorted.len() - 1);
    let median = sorted[sorted.len() / 2];
    let mut spread = sorted[rank(0.75)] - sorted[rank(0.25)];
    if spread == 0.0 {
        // More than half of the numbers are the same: the few others say what is usual.
        spread = sorted.iter().map(|number| (number - median).abs()).sum::<f64>() / sorted.len() as f64;
    }
    let spread = spread.max(spread_min);
    let distances = sorted.windows(2).map(|pair| pair[1] - pair[0]);
    let resolution = distances.filter(|&distance| distance > 0.0).min_by(f64::total_cmp).unwrap_or(0.0);
    let (low, high) = (rank(TAIL_SHARE), rank(1.0 - TAIL_SHARE));
    let tail = |start: f64, beyond: &dyn Fn(usize) -> f64, rows: usize| Tail {
        start,
        slope: slope(start, spread, beyond, rows),
    };
    Shape {
        median,
        spread,
        resolution,
        high: tail(sorted[high] - median, &|row| sorted[sorted.len() - 1 - row] - median, sorted.len() - 1 - high),
        low: tail(median - sorted[low], &|row| median - sorted[row], low),
    }
}

/// The mean excess of the `rows` most extreme numbers, `distance(0)` being the most extreme, shrunk to the prior.
fn slope(start: f64, spread: f64, distance: &dyn Fn(usize) -> f64, rows: usize) -> f64 {
    if spread == 0.0 || rows == 0 {
        return SLOPE;
    }
    let points = rows.min(TAIL_POINTS_MAX);
    let start = (start / spread).ln_1p();
    let sum: f64 =
        (0..points).map(|point| (distance((2 * point + 1) * rows / (2 * points)) / spread).ln_1p() - start).sum();
    let weight = rows as f64;
    (sum / points as f64 * weight + SLOPE * SLOPE_WEIGHT) / (weight + SLOPE_WEIGHT)
}
