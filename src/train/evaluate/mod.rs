//! Judges detectors: Highwater at one threshold or at many, with parts of its judge left out, and plain baselines, on
//! labelled accounts. Accounts are taken one at a time by each thread and forgotten when every contestant has seen them,
//! so memory holds one account for each thread. Results do not depend on the number of threads. Prints nothing.

mod ablation;
mod baselines;
mod matching;
mod sets;

use std::ops::Range;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use thiserror::Error;

use crate::detector::{Detector, Options};
use crate::event::Minute;
use crate::judge::Model;
use crate::window::Closed;

use super::labelled::Labelled;
use super::simulate;
use super::trail::TrailError;

pub use ablation::ablations;
pub use baselines::Baseline;
pub use matching::{Found, Score, pool, score};
pub use sets::{SETS, Scenario, Set, set};

/// Why there is nothing to judge.
#[derive(Debug, Error)]
pub enum Error {
    #[error(transparent)]
    Simulate(#[from] simulate::Error),
    #[error(transparent)]
    Trail(#[from] TrailError),
}

/// A detector at one setting.
pub struct Contestant {
    /// The detector: contestants of one name differ in `line` only.
    pub name: String,
    /// A score at or above it is an alarm.
    pub line: f64,
    /// The setting that it comes with.
    pub is_default: bool,
    pub method: Method,
}

pub enum Method {
    Highwater(Box<Model>),
    /// With a budget of false alarms, which stands in `line`.
    Budget(Box<Model>),
    Baseline(Baseline),
}

/// Lines that a sweep tries, as differences from the model's own.
const LINES: [f64; 12] = [-4.0, -3.0, -2.0, -1.0, -0.5, 0.0, 0.5, 1.0, 2.0, 3.0, 5.0, 8.0];
/// Leaving features out lowers every score: their lines lie lower.
const ABLATED_LINES: [f64; 9] = [-8.0, -6.5, -5.0, -4.0, -3.0, -2.0, -1.0, 0.0, 1.0];
/// As multiples of the customary line.
const BASELINE_LINES: [f64; 10] = [0.67, 1.0, 1.5, 2.0, 3.0, 4.5, 7.0, 10.0, 15.0, 25.0];

/// Highwater with this model: at its own line, or at several around it.
pub fn highwater(name: &str, model: &Model, sweep: bool) -> Vec<Contestant> {
    lines(name, model, if sweep { &LINES } else { &[0.0] })
}

/// A model with features left out, at several lines. None of them is a default: which line is fair is to be found.
pub fn ablated(name: &str, model: &Model) -> Vec<Contestant> {
    let lines = lines(name, model, &ABLATED_LINES).into_iter();
    lines.map(|contestant| Contestant { is_default: false, ..contestant }).collect()
}

fn lines(name: &str, model: &Model, offsets: &[f64]) -> Vec<Contestant> {
    let at = |offset: &f64| Contestant {
        name: name.to_owned(),
        line: model.threshold + offset,
        is_default: *offset == 0.0,
        method: Method::Highwater(Box::new(model.clone())),
    };
    offsets.iter().map(at).collect()
}

/// Highwater with a budget of so many false alarms per account and week.
pub fn budget(model: &Model, per_week: f64) -> Contestant {
    let method = Method::Budget(Box::new(model.clone()));
    Contestant { name: "Highwater, budget".to_owned(), line: per_week, is_default: true, method }
}

/// Every plain baseline: at its customary line, or at several.
pub fn baselines(sweep: bool) -> Vec<Contestant> {
    let of = |baseline: Baseline| {
        BASELINE_LINES.into_iter().filter(move |factor| sweep || *factor == 1.0).map(move |factor| Contestant {
            name: baseline.name().to_owned(),
            line: baseline.customary() * factor,
            is_default: factor == 1.0,
            method: Method::Baseline(baseline),
        })
    };
    Baseline::ALL.into_iter().flat_map(of).collect()
}

/// How every contestant did on one account.
pub struct Account {
    pub name: String,
    /// In the order of the contestants.
    pub scores: Vec<Score>,
}

/// Lets all contestants judge all accounts.
pub fn evaluate(scenario: &Scenario, contestants: &[Contestant], threads: usize) -> Result<Vec<Account>, Error> {
    let next = AtomicUsize::new(0);
    let results = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..threads.clamp(1, scenario.jobs.len().max(1)) {
            scope.spawn(|| {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    let Some(job) = scenario.jobs.get(number) else { break };
                    let judged = job.accounts().map(|accounts| {
                        accounts.into_iter().map(|account| judge(account, contestants)).collect::<Vec<Account>>()
                    });
                    results.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).push((number, judged));
                }
            });
        }
    });
    let mut results = results.into_inner().unwrap_or_else(|poisoned| poisoned.into_inner());
    results.sort_by_key(|(number, _)| *number);
    let judged: Result<Vec<Vec<Account>>, Error> = results.into_iter().map(|(_, judged)| judged).collect();
    Ok(judged?.into_iter().flatten().collect())
}

fn judge(mut account: Labelled, contestants: &[Contestant]) -> Account {
    let closed = account.calls.close_before(Minute(i64::MAX));
    let live = account.live_from..account.end;
    // APIs come in the order of their accounts.
    let mut names: Vec<&str> =
        closed.calls.chunk_by(|a, b| a.api == b.api).map(|calls| closed.api(calls[0].api)[0]).collect();
    names.dedup();
    let accounts = names.len().max(1);
    let scores = contestants
        .iter()
        .map(|contestant| score(&account.truths, &contestant.find(&closed, &live), live.clone(), accounts))
        .collect();
    Account { name: account.name, scores }
}

impl Contestant {
    /// Attributes incidents to callers.
    pub fn names_callers(&self) -> bool {
        !matches!(self.method, Method::Baseline(_))
    }

    fn find(&self, closed: &Closed, live: &Range<Minute>) -> Vec<Found> {
        match &self.method {
            Method::Highwater(model) | Method::Budget(model) => {
                let options = match self.method {
                    Method::Budget(_) => Options { budget_per_week: Some(self.line), ..Options::default() },
                    _ => Options { threshold: (!self.is_default).then_some(self.line), ..Options::default() },
                };
                // A trail that begins late gives less history than a detector would like.
                let first = closed.calls.iter().map(|calls| i64::from(calls.minute)).min().unwrap_or(live.start.0);
                let history = (live.start.0 - first).clamp(0, i64::from(options.warmup_minutes)) as u32;
                let mut detector = Detector::new(Options { warmup_minutes: history, ..options }, Model::clone(model));
                Found::from_insights(&detector.fold(closed, Minute(i64::MAX), 1).insights)
            }
            Method::Baseline(baseline) => baseline.find(self.line, closed, live.start),
        }
    }
}
