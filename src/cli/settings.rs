//! The flags that are settings too: flag, then environment, then file, then default.

use std::path::PathBuf;

use super::default_threads;
use crate::config::{
    Settings, parse_call_rate, parse_direction, parse_mebibytes, parse_minutes, parse_threads, parse_threshold,
};
use crate::detector::CallRate;
use crate::event::Limits;
use crate::run::{self, Filter};

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
    /// Score from which on a minute is an alarm; `highwater tune` helps to choose it [default: the model's].
    #[arg(long, value_parser = parse_threshold, value_name = "SCORE", allow_negative_numbers = true)]
    threshold: Option<f64>,
    /// How long before its day of delivery an event may have happened; older ones are late [default: 1d].
    #[arg(long, value_parser = parse_minutes, value_name = "LENGTH")]
    lateness: Option<i64>,
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
    pub(super) fn settings(&self) -> anyhow::Result<Settings> {
        let settings = Settings::read(self.config.as_deref(), environment())?;
        Ok(Settings {
            call_rate: self.call_rate.unwrap_or(settings.call_rate),
            drops: self.direction.unwrap_or(settings.drops),
            missed_jobs: self.missed_jobs || settings.missed_jobs,
            threshold: self.threshold.or(settings.threshold),
            lateness_minutes: self.lateness.unwrap_or(settings.lateness_minutes),
            object_mib_max: self.object_max.unwrap_or(settings.object_mib_max),
            threads: self.threads.or(settings.threads),
        })
    }
}

/// The process's variables, without those that are not UTF-8: none of ours can be among them.
pub(super) fn environment() -> impl Iterator<Item = (String, String)> {
    std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
}

/// How a scan reads under these settings.
pub(super) fn run_options(settings: &Settings, filter: Filter) -> run::Options {
    run::Options {
        filter,
        limits: Limits { object_bytes_max: settings.object_mib_max << 20, ..Limits::default() },
        lateness_minutes: settings.lateness_minutes,
        threads: settings.threads.unwrap_or_else(default_threads),
        keep_open: false,
    }
}
