//! The flags that are settings too: flag, then environment, then file, then default.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context;

use super::default_threads;
use crate::baseline::{Pooled, Priors, Seasons};
use crate::config::{
    Lateness, Settings, found, parse_budget, parse_call_rate, parse_days, parse_direction, parse_lateness,
    parse_mebibytes, parse_threads, parse_threshold,
};
use crate::detector::{CallRate, Detector, Options};
use crate::event::Limits;
use crate::judge::{DEFAULT_JSON, Model};
use crate::run::{self, Filter};

/// By this name clap takes it as one value.
type Days = BTreeSet<u32>;

/// Of a scan, and wherever time follows days of delivery: CloudTrail promises no bound.
const LATENESS_MINUTES: i64 = 24 * 60;

#[derive(clap::Args)]
#[command(next_help_heading = "Settings, also in highwater.toml and as HIGHWATER_* in the environment")]
pub(super) struct Flags {
    /// Which management calls the call rate counts: write, as AWS does, or all [default: write].
    #[arg(long, value_parser = parse_call_rate, value_name = "write|all")]
    call_rate: Option<CallRate>,
    /// up, or both to report hours far below the forecast too [default: up].
    #[arg(long, value_parser = parse_direction, value_name = "up|both")]
    direction: Option<bool>,
    /// Also reports jobs that come by the clock and did not come.
    #[arg(long)]
    missed_jobs: bool,
    /// Dates on which silence is not reported, with commas between them: 2026-12-25,2026-12-26.
    #[arg(long, value_parser = parse_days, value_name = "DATES")]
    holidays: Option<Days>,
    /// Score from which on a minute is an alarm; `highwater tune` helps to choose it [default: the model's].
    #[arg(long, value_parser = parse_threshold, value_name = "SCORE", allow_negative_numbers = true)]
    threshold: Option<f64>,
    /// Instead of a threshold: as many false alarms per account as you will put up with, such as 3/week or 1/month.
    #[arg(long, value_parser = parse_budget, value_name = "N/UNIT", conflicts_with = "threshold")]
    budget: Option<f64>,
    /// Directory with models made by `highwater train`, to use instead of the ones that ship.
    #[arg(long, value_name = "DIR")]
    model: Option<PathBuf>,
    /// How long before its day of delivery an event may have happened; older ones are late [default: 1d; of the sidecar
    /// under the clock 30m, and auto lets it learn].
    #[arg(long, value_parser = parse_lateness, value_name = "LENGTH")]
    lateness: Option<Lateness>,
    /// Largest decompressed object, in MiB [default: 256].
    #[arg(long, value_parser = parse_mebibytes, value_name = "MIB")]
    object_max: Option<usize>,
    /// [default: one for each core]
    #[arg(long, value_parser = parse_threads, value_name = "N")]
    threads: Option<usize>,
    /// Reads the settings from this file instead of highwater.toml.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

impl Flags {
    /// The file that was named.
    pub(super) fn config(&self) -> Option<&Path> {
        self.config.as_deref()
    }

    /// The file that is read, named or not.
    pub(super) fn file(&self) -> Option<PathBuf> {
        found(self.config()).map(Path::to_owned)
    }

    pub(super) fn settings(&self) -> anyhow::Result<Settings> {
        let settings = Settings::read(self.config.as_deref(), environment())?;
        Ok(Settings {
            call_rate: self.call_rate.unwrap_or(settings.call_rate),
            drops: self.direction.unwrap_or(settings.drops),
            missed_jobs: self.missed_jobs || settings.missed_jobs,
            holidays: self.holidays.clone().unwrap_or(settings.holidays),
            threshold: self.threshold.or(settings.threshold).filter(|_| self.budget.is_none()),
            budget_per_week: self.budget.or(settings.budget_per_week).filter(|_| self.threshold.is_none()),
            model: self.model.clone().or(settings.model),
            lateness: self.lateness.or(settings.lateness),
            object_mib_max: self.object_max.unwrap_or(settings.object_mib_max),
            threads: self.threads.or(settings.threads),
        })
    }
}

/// The process's variables, without those that are not UTF-8: none of ours can be among them.
pub(super) fn environment() -> impl Iterator<Item = (String, String)> {
    std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
}

/// A detector under these settings, with the models that they name.
pub(super) fn detector(settings: &Settings, options: Options) -> anyhow::Result<Detector> {
    let detector = Detector::new(options, model(settings.model.as_deref())?);
    Ok(match &settings.model {
        Some(directory) => detector.with_forecast(forecast(directory)?),
        None => detector,
    })
}

/// The judge of a directory, or the one that ships.
pub(super) fn model(directory: Option<&Path>) -> anyhow::Result<Model> {
    let Some(directory) = directory else { return Ok(Model::from_json(DEFAULT_JSON)?) };
    let (path, text) = read(directory, "judge.json")?;
    Model::from_json(&text).with_context(|| path.display().to_string())
}

fn forecast(directory: &Path) -> anyhow::Result<Pooled> {
    let (path, text) = read(directory, "priors.json")?;
    let priors = Priors::from_json(&text).with_context(|| path.display().to_string())?;
    let (path, text) = read(directory, "seasons.json")?;
    let seasons = Seasons::from_json(&text).with_context(|| path.display().to_string())?;
    Ok(Pooled { priors, seasons })
}

fn read(directory: &Path, name: &str) -> anyhow::Result<(PathBuf, String)> {
    let path = directory.join(name);
    let text = fs::read_to_string(&path).with_context(|| {
        format!("reading {}; a model directory is what `highwater train -o` writes", path.display())
    })?;
    Ok((path, text))
}

/// How a scan reads under these settings.
pub(super) fn run_options(settings: &Settings, filter: Filter) -> run::Options {
    run::Options {
        filter,
        limits: Limits { object_bytes_max: settings.object_mib_max << 20, ..Limits::default() },
        lateness_minutes: settings.lateness.and_then(Lateness::minutes).unwrap_or(LATENESS_MINUTES),
        threads: settings.threads.unwrap_or_else(default_threads),
        keep_open: false,
    }
}
