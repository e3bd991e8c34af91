//! What the shipped judge is made of, and how it is made: from seeds and given trails to a model with provenance. Equal
//! recipes give equal models, with any number of threads. Knows no files but the trails it is given.

use std::ops::Range;
use std::path::PathBuf;

use serde_json::json;

use super::{Lesson, Make, PASSES, calibration, forecast, judge, rounded, told};
use crate::baseline::Pooled;
use crate::judge::Model;
use crate::train::evaluate::{self, Scenario};
use crate::train::labelled::Labelled;
use crate::train::trail::TrailError;
use crate::train::{simulate, worlds};

/// Seeds and trails to learn from.
#[derive(Clone, Debug, PartialEq)]
pub struct Recipe {
    /// Accounts of `worlds`, two of three of them tidy.
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
        Recipe {
            worlds: 1_000..1_090,
            simulated: 1_000..1_030,
            quiet: 3_000..3_016,
            held_out: 8_000..8_010,
            trails: Vec::new(),
        }
    }
}

/// Name of the judge, with the version of its features.
const NAME: &str = "judge-32/1";

/// Shares of bursts by insiders, in turn.
const INSIDERS: [f64; 5] = [0.5, 1.0, 0.5, 1.0, 0.2];

/// A given trail counts for so many accounts: whoever gives one wants to see it mirrored.
const TRAIL_WEIGHT: f64 = 3.0;

/// Near alarms of a quiet account of medium size a week.
const NEAR_PER_WEEK: f64 = 10.0;
/// Series with calls on a day in such an account.
const MEDIUM_SERIES: f64 = 60.0;

/// The alarm line, as a logit: see `models/README.md` for how it was chosen.
const LINE: f64 = -0.5;

/// Calls of `done` that [`train`] will make.
pub fn steps(recipe: &Recipe) -> u64 {
    let learned = recipe.worlds.clone().count() + recipe.simulated.clone().count() + recipe.trails.len();
    (PASSES * learned + 2 * recipe.quiet.clone().count() + 2 * recipe.held_out.clone().count()) as u64
}

/// The models.
#[derive(Clone, Debug, PartialEq)]
pub struct Trained {
    pub judge: Model,
    pub pooled: Pooled,
}

/// What the forecast learns from: accounts of both kinds in which nothing happens.
fn calm(recipe: &Recipe) -> Vec<Make> {
    let of_worlds = recipe.worlds.clone().map(|seed| {
        let options = worlds::Options { anomalies: false, tidy: seed % 3 != 0, ..worlds::Options::default() };
        Box::new(move || worlds::labelled(seed, &options)) as Make
    });
    let of_simulate = recipe
        .simulated
        .clone()
        .map(|seed| simulated(simulate::Options { seed, anomalies_per_week: 0.0, ..simulate::Options::default() }));
    of_worlds.chain(of_simulate).collect()
}

/// Makes the models: first the forecast, whose odds the judge weighs, then the judge. Fails only where a trail cannot
/// be read.
pub fn train(recipe: &Recipe, threads: usize, done: &(dyn Fn() + Sync)) -> Result<Trained, TrailError> {
    let provenance = json!({
        "command": "highwater train",
        "version": env!("CARGO_PKG_VERSION"),
        "worlds": seeds(&recipe.worlds),
        "simulate": seeds(&recipe.simulated),
    });
    let (mut priors, mut seasons) = forecast(&calm(recipe), threads);
    priors.provenance = provenance.clone();
    seasons.provenance = provenance;
    let pooled = Pooled { priors, seasons };
    let mut lessons: Vec<Lesson> = Vec::new();
    for seed in recipe.worlds.clone() {
        let options = worlds::Options { insiders: insiders(seed), tidy: seed % 3 != 0, ..worlds::Options::default() };
        lessons.push(Lesson { make: Box::new(move || Ok(worlds::labelled(seed, &options))), weight: 1.0 });
    }
    for seed in recipe.simulated.clone() {
        let options = simulate::Options { seed, insiders: insiders(seed), ..simulate::Options::default() };
        let make = simulated(options);
        lessons.push(Lesson { make: Box::new(move || Ok(make())), weight: 1.0 });
    }
    for folder in &recipe.trails {
        // Read once to find out how many accounts there are and whether it can be read at all.
        for place in 0..Labelled::read(folder)?.len() {
            let folder = folder.clone();
            let read = move || {
                let account = Labelled::read(&folder)?.into_iter().nth(place);
                account.ok_or_else(|| TrailError::Changed { path: folder.clone() })
            };
            lessons.push(Lesson { make: Box::new(read), weight: TRAIL_WEIGHT });
        }
    }
    let mut model = judge(NAME, &pooled, &lessons, threads, done)?;
    let quiet: Vec<Make> = recipe
        .quiet
        .clone()
        .map(|seed| {
            let apis = [60, 120, 200, 300][(seed % 4) as usize];
            simulated(simulate::Options {
                seed,
                apis,
                days: 63,
                anomalies_per_week: 0.0,
                ..simulate::Options::default()
            })
        })
        .collect();
    model.threshold = LINE;
    model.near_line = f64::NEG_INFINITY;
    model.calibration = calibration(&quiet, &model, &pooled, threads, done);
    model.near_line = rounded(model.line_of(NEAR_PER_WEEK / 7.0 / MEDIUM_SERIES)).min(LINE - 1.0);
    (model.calibration.told, model.calibration.power) = {
        let (told, power) = told(&quiet, &model, &pooled, threads, done);
        (rounded(told), rounded(power))
    };
    model.provenance = json!({
        "command": "highwater train",
        "version": env!("CARGO_PKG_VERSION"),
        "worlds": seeds(&recipe.worlds),
        "simulate": seeds(&recipe.simulated),
        "quiet": seeds(&recipe.quiet),
        "trails": recipe.trails.iter().filter_map(|path| Some(path.file_name()?.to_string_lossy())).collect::<Vec<_>>(),
        "heldOut": held_out(recipe, &model, threads, done),
    });
    Ok(Trained { judge: model, pooled })
}

fn insiders(seed: u64) -> f64 {
    INSIDERS[(seed % INSIDERS.len() as u64) as usize]
}

fn simulated(options: simulate::Options) -> Make {
    Box::new(move || simulate::labelled(&options, 0).expect("the options are within their ranges"))
}

fn seeds(range: &Range<u64>) -> String {
    format!("seeds {} to {}", range.start, range.end.saturating_sub(1))
}

/// How the model does on accounts that it has not learned from.
fn held_out(recipe: &Recipe, model: &Model, threads: usize, done: &(dyn Fn() + Sync)) -> serde_json::Value {
    let contestants = evaluate::highwater("", model, false);
    let figures = ["simulate", "worlds"].map(|name| {
        let set = evaluate::set(name).expect("a set of that name");
        let scenario = Scenario::new(set, recipe.held_out.clone());
        let accounts = evaluate::evaluate(&scenario, &contestants, threads).unwrap_or_default();
        (0..recipe.held_out.clone().count()).for_each(|_| done());
        let scores: Vec<_> = accounts.into_iter().flat_map(|account| account.scores).collect();
        let pooled = evaluate::pool(&scores);
        (
            name.to_owned(),
            json!({
                "seeds": seeds(&recipe.held_out),
                "f1": rounded(pooled.f1),
                "precision": rounded(pooled.precision),
                "recall": rounded(pooled.recall),
                "falseAlarmsPerAccountWeek": rounded(pooled.false_alarms_per_account_week),
            }),
        )
    });
    serde_json::Value::Object(figures.into_iter().collect())
}
