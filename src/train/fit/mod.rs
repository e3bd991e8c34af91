//! Fits the judge: measures labelled accounts with the detector itself, learns from stretches of minutes which are
//! labelled as a whole, and writes a [`Model`]. Knows the names of features, not how they are made.
//!
//! Method: multiple-instance learning. First every minute of a stretch stands for it; then, in rounds, only the one
//! that scores highest under the fit before (S. Andrews et al., "Support Vector Machines for Multiple-Instance
//! Learning", 2003, the bag-level variant). Two passes: incidents keep their own minutes out of the records, so what
//! is measured depends on the model in use; the second pass measures with the first one's.

mod bags;
mod calibrate;
mod forecast;
mod logistic;
mod recipe;
mod week;

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::baseline::Pooled;
use crate::detector::{Candidate, Detector, Options};
use crate::event::{MINUTES_PER_DAY, Minute};
use crate::insight::State;
use crate::judge::{Additive, Calibration, FEATURE_COUNT, FEATURE_NAMES, Model};
use crate::train::labelled::Labelled;
use crate::train::trail::TrailError;
use crate::window::Closed;
use bags::Bag;
use calibrate::Quiet;
pub use forecast::{LogScore, forecast, log_score};
use logistic::{Design, Fitted, Term};
pub use recipe::{Recipe, Trained, steps, train};

/// Makes one account, anew each time it is asked.
pub type Make = Box<dyn Fn() -> Labelled + Send + Sync>;

/// An account to learn from, and how many accounts it counts for.
pub struct Lesson {
    /// Makes it, anew in each pass. A trail may have become unreadable meanwhile.
    pub make: Box<dyn Fn() -> Result<Labelled, TrailError> + Send + Sync>,
    pub weight: f64,
}

/// Minutes of a stretch that stand for it in the first round, evenly spaced.
const MINUTES_PER_BAG: usize = 8;
const ROUNDS: usize = 4;

/// False alarms per account and week that are tried in quiet accounts.
const BUDGETS: [f64; 5] = [0.1, 0.3, 1.0, 3.0, 10.0];

const L2: f64 = 1.0;

/// Accounts are also learned from with their history cut off before one of so many days from when they are live, so
/// that the judge knows young histories.
const CUT_DAYS: i64 = 8;

/// Knots of each feature, and whether more of it may only raise the score. Ranges from what the simulators show; beyond
/// the outer knots a term is constant, so nothing unseen can run away.
fn terms() -> Vec<Term> {
    const RECORD: &[f64] = &[-2.0, -0.5, 0.0, 0.2, 0.4, 0.6, 0.9, 1.3, 2.0, 3.5];
    const CONTEXT: &[f64] = &[-1.5, -0.5, 0.0, 0.25, 0.5, 0.75, 1.1, 1.6, 2.4, 4.0];
    const ODDS: &[f64] = &[0.0, 0.5, 1.0, 1.5, 2.0, 2.5, 3.0, 3.5, 4.0, 5.0];
    const NEW: &[f64] = &[0.0, 0.3, 0.8, 1.5, 2.5, 4.0, 6.0];
    FEATURE_NAMES
        .iter()
        .map(|&name| {
            let (knots, rising): (&[f64], bool) = match name {
                "r1" | "r5" | "r15" | "r60" => (RECORD, true),
                "h15" | "h60" | "w60" => (CONTEXT, true),
                "lS1" => (&[0.7, 1.4, 2.0, 2.7, 3.5, 4.5, 6.5], true),
                "lS5" => (&[1.1, 1.6, 2.1, 2.8, 3.6, 4.6, 6.5], true),
                "lrate" => (&[-9.0, -7.5, -6.0, -4.5, -3.0, -1.5, 0.0, 2.0], false),
                "acth" => (&[0.0, 0.05, 0.15, 0.35, 0.6, 0.85, 1.0], false),
                "actm" => (&[0.0, 0.005, 0.02, 0.08, 0.25, 0.6, 1.0], false),
                "actd" => (&[0.0, 0.2, 0.5, 0.8, 1.0], false),
                "nz15" => (&[1.0, 2.0, 3.0, 5.0, 8.0, 12.0, 15.0], false),
                "nz60" => (&[1.0, 3.0, 6.0, 12.0, 25.0, 45.0, 60.0], false),
                "gap" => (&[0.69, 1.4, 2.5, 4.1, 5.5, 7.3, 9.0], false),
                "lu" => (&[0.0, 0.7, 1.0, 1.5, 2.2, 3.0, 4.2, 6.0], false),
                "age" => (&[0.65, 0.9, 1.15, 1.4, 1.75, 2.1, 2.7], false),
                "z5" | "z60" => (&[-4.0, -1.0, 0.0, 1.0, 2.0, 3.0, 4.5, 6.5, 9.0, 14.0], true),
                "sd5" | "sd60" => (&[0.15, 0.25, 0.35, 0.5, 0.7, 1.0, 1.5], false),
                "x15" | "x60" => (ODDS, true),
                "ramp" => (&[0.0, 1.0, 2.0, 4.0, 6.0, 9.0, 12.0, 16.0, 20.0], true),
                "mix" => (&[-2.0, -1.0, -0.5, 0.0, 0.5, 1.0, 2.0, 3.0, 4.5], true),
                "mixn" => (&[0.0, 0.1, 0.25, 0.5, 0.8, 1.2, 2.0, 3.0, 5.0, 8.0], true),
                "newp" | "newa" => (NEW, true),
                "newf" => (&[-1.0, -0.5, -0.2, 0.0, 0.2, 0.5, 1.0], true),
                "top" => (&[0.0, 0.1, 0.2, 0.35, 0.5, 0.7, 1.0], true),
                "errs" => (&[0.0, 0.3, 0.7, 1.2, 2.0, 3.0, 4.5], true),
                other => unreachable!("feature {other} has no knots"),
            };
            Term { name, knots: knots.to_vec(), rising }
        })
        .collect()
}

/// A judge fitted to all accounts, still without a line. `done` is called after each account and pass.
pub fn judge(
    name: &str,
    pooled: &Pooled,
    lessons: &[Lesson],
    threads: usize,
    done: &(dyn Fn() + Sync),
) -> Result<Model, TrailError> {
    let terms = terms();
    let mut model = silent(name, &terms);
    for _ in 0..PASSES {
        let measured = for_all(lessons, threads, done, |place, lesson| measure(place, lesson, &model, pooled));
        let measured: Vec<Vec<Bag>> = measured.into_iter().collect::<Result<_, _>>()?;
        let bags: Vec<Bag> = measured.into_iter().flatten().collect();
        let fitted = learn(&terms, &bags);
        model = Model {
            bias: rounded(fitted.bias),
            // What the second pass needs: about as many alarms as there will be.
            threshold: 0.0,
            features: terms
                .iter()
                .zip(&fitted.gains)
                .map(|(term, gains)| Additive {
                    feature: term.name.to_owned(),
                    knots: term.knots.clone(),
                    gain: gains.iter().map(|gain| rounded(*gain)).collect(),
                })
                .collect(),
            ..model
        };
    }
    Ok(model)
}

/// Passes over all accounts; see the head of this file.
pub const PASSES: usize = 2;

/// Four digits: more would be noise, and make a file that nobody can read.
fn rounded(value: f64) -> f64 {
    (value * 1e4).round() / 1e4
}

/// A judge that never alarms.
fn silent(name: &str, terms: &[Term]) -> Model {
    Model {
        name: name.to_owned(),
        provenance: serde_json::Value::Null,
        bias: 0.0,
        threshold: f64::INFINITY,
        near_line: f64::INFINITY,
        calibration: Calibration::default(),
        features: terms
            .iter()
            .map(|term| Additive {
                feature: term.name.to_owned(),
                knots: term.knots.clone(),
                gain: vec![0.0; term.knots.len() - 1],
            })
            .collect(),
    }
}

/// Runs `work` for all accounts, shared out among threads; results in the order of accounts.
fn for_all<I: Sync, T: Send>(
    accounts: &[I],
    threads: usize,
    done: &(dyn Fn() + Sync),
    work: impl Fn(usize, &I) -> T + Sync,
) -> Vec<T> {
    let next = AtomicUsize::new(0);
    let results = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..threads.clamp(1, accounts.len().max(1)) {
            scope.spawn(|| {
                loop {
                    let place = next.fetch_add(1, Ordering::Relaxed);
                    let Some(account) = accounts.get(place) else { break };
                    let result = work(place, account);
                    results.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).push((place, result));
                    done();
                }
            });
        }
    });
    let mut results = results.into_inner().unwrap_or_else(|poisoned| poisoned.into_inner());
    results.sort_by_key(|(place, _)| *place);
    results.into_iter().map(|(_, result)| result).collect()
}

/// An account's bags: of the account whole, and with its history cut off.
fn measure(place: usize, lesson: &Lesson, model: &Model, pooled: &Pooled) -> Result<Vec<Bag>, TrailError> {
    let mut account = (lesson.make)()?;
    let cut = Minute(account.live_from.0 + (place as i64 % CUT_DAYS) * MINUTES_PER_DAY);
    let (early, late) = (account.calls.close_before(cut), account.calls.close_before(Minute(i64::MAX)));
    let bags_of = |parts: &[&Closed], live_from: Minute| {
        let options = Options { keep_candidates: true, threshold: Some(model.threshold), ..Options::default() };
        let mut detector = Detector::new(options, model.clone()).with_forecast(pooled.clone());
        let frontiers = [cut, Minute(i64::MAX)];
        let candidates: Vec<Candidate> = parts
            .iter()
            .zip(&frontiers[2 - parts.len()..])
            .flat_map(|(closed, frontier)| detector.fold(closed, *frontier, 1).candidates)
            .collect();
        bags::bags(candidates, &account.truths, live_from)
    };
    let mut found = bags_of(&[&early, &late], account.live_from);
    found.extend(bags_of(&[&late], Minute(cut.0 + MINUTES_PER_DAY)));
    found.iter_mut().for_each(|bag| bag.weight = lesson.weight);
    Ok(found)
}

/// How many incidents begin at which line in accounts where nothing happens.
fn calibration(
    accounts: &[Make],
    model: &Model,
    pooled: &Pooled,
    threads: usize,
    done: &(dyn Fn() + Sync),
) -> Calibration {
    let quiet: Vec<Quiet> = for_all(accounts, threads, done, |_, make| {
        let account = make();
        let mut detector = Detector::new(
            Options { keep_candidates: true, threshold: Some(model.threshold), ..Options::default() },
            Model::clone(model),
        )
        .with_forecast(pooled.clone());
        detector.merge(account.calls);
        let advance = detector.advance(Minute(i64::MAX), 1);
        let live: Vec<_> = advance.candidates.into_iter().filter(|one| one.minute >= account.live_from).collect();
        calibrate::count(&live, calibrate::series_days(&advance.closed, account.live_from))
    });
    calibrate::curve(&quiet)
}

/// What a detector with each of [`BUDGETS`] tells in the same accounts, as a power of what was asked for.
fn told(accounts: &[Make], model: &Model, pooled: &Pooled, threads: usize, done: &(dyn Fn() + Sync)) -> (f64, f64) {
    let quiet = for_all(accounts, threads, done, |_, make| {
        let mut account = make();
        let closed = account.calls.close_before(Minute(i64::MAX));
        let counts = BUDGETS.map(|per_week| {
            let options = Options { budget_per_week: Some(per_week), ..Options::default() };
            let mut detector = Detector::new(options, Model::clone(model)).with_forecast(pooled.clone());
            let insights = detector.fold(&closed, Minute(i64::MAX), 1).insights;
            let starts = insights.iter().filter(|one| one.state == State::Start && one.start >= account.live_from);
            starts.count() as u64
        });
        (counts, (account.end.0 - account.live_from.0) as f64 / (7.0 * MINUTES_PER_DAY as f64))
    });
    let counts: [u64; BUDGETS.len()] = std::array::from_fn(|place| quiet.iter().map(|(counts, _)| counts[place]).sum());
    calibrate::power_law(&BUDGETS, &counts, quiet.iter().map(|(_, weeks)| weeks).sum())
}

fn learn(terms: &[Term], bags: &[Bag]) -> Fitted {
    let mut rows: Vec<&[f32; FEATURE_COUNT]> = Vec::new();
    let (mut positive, mut weights) = (Vec::new(), Vec::new());
    for bag in bags {
        let step = bag.minutes.len().div_ceil(MINUTES_PER_BAG);
        let chosen: Vec<&[f32; FEATURE_COUNT]> = bag.minutes.iter().step_by(step).collect();
        positive.extend(chosen.iter().map(|_| bag.positive));
        weights.extend(chosen.iter().map(|_| bag.weight / chosen.len() as f64));
        rows.extend(chosen);
    }
    let design = Design::new(terms, rows.len(), |row, term| f64::from(rows[row][term]));
    let mut fitted = logistic::fit(&design, &positive, &weights, L2, None);
    let positive: Vec<bool> = bags.iter().map(|bag| bag.positive).collect();
    let weights: Vec<f64> = bags.iter().map(|bag| bag.weight).collect();
    for _ in 0..ROUNDS {
        let best: Vec<&[f32; FEATURE_COUNT]> = bags.iter().map(|bag| highest(terms, &fitted, bag)).collect();
        let design = Design::new(terms, best.len(), |row, term| f64::from(best[row][term]));
        fitted = logistic::fit(&design, &positive, &weights, L2, Some(&fitted));
    }
    fitted
}

/// The bag's minute with the highest score; the first of several.
fn highest<'a>(terms: &[Term], fitted: &Fitted, bag: &'a Bag) -> &'a [f32; FEATURE_COUNT] {
    let score = |features: &[f32; FEATURE_COUNT]| -> f64 {
        let term = |(place, term): (usize, &Term)| -> f64 {
            let x = f64::from(features[place]);
            let segments = term.knots.windows(2).zip(&fitted.gains[place]);
            segments.map(|(knot, gain)| gain * ((x - knot[0]) / (knot[1] - knot[0])).clamp(0.0, 1.0)).sum()
        };
        terms.iter().enumerate().map(term).sum()
    };
    let mut best = (&bag.minutes[0], f64::NEG_INFINITY);
    for minute in &bag.minutes {
        let score = score(minute);
        if score > best.1 {
            best = (minute, score);
        }
    }
    best.0
}
