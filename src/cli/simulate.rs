//! `highwater simulate`: a labelled trail.

use std::path::PathBuf;

use super::{Ending, default_threads};
use crate::insight::words::thousands;
use crate::train::simulate::{self, Options};

#[derive(clap::Args)]
pub(super) struct Arguments {
    /// Where the trail goes: AWSLogs/ and truth.json. Must be empty.
    #[arg(short, long, value_name = "DIR")]
    output: PathBuf,
    /// The small trail of notebooks-data/, or a medium one.
    #[arg(long, value_enum, default_value_t = Preset::Medium)]
    preset: Preset,
    /// Equal options give equal bytes.
    #[arg(long)]
    seed: Option<u64>,
    /// Attacks come after the eighth day.
    #[arg(long)]
    days: Option<u32>,
    #[arg(long)]
    accounts: Option<u32>,
    /// Regions of each account.
    #[arg(long)]
    regions: Option<u32>,
    /// APIs of each account.
    #[arg(long)]
    apis: Option<u32>,
    /// Multiplies the background traffic.
    #[arg(long)]
    scale: Option<f64>,
    /// Chooses the scale for about so much uncompressed text, in MB.
    #[arg(long, value_name = "MB", conflicts_with = "scale")]
    target: Option<u64>,
    /// Attacks per account and week; 0 for a quiet trail.
    #[arg(long, value_name = "N")]
    anomalies_per_week: Option<f64>,
    /// Share of bursts by the API's usual caller with its usual agent.
    #[arg(long, value_name = "SHARE")]
    insiders: Option<f64>,
    /// Repeats every attack so many days later.
    #[arg(long, value_name = "DAYS")]
    repeat_after_days: Option<u32>,
    #[arg(long, value_name = "SHARE")]
    late_share: Option<f64>,
    #[arg(long, value_name = "SHARE")]
    duplicate_share: Option<f64>,
    /// Writes the key layout of an organisation's trail.
    #[arg(long)]
    organisation: bool,
    /// Writes into a directory that is not empty.
    #[arg(long)]
    force: bool,
    #[arg(long, default_value_t = default_threads(), value_name = "N")]
    threads: usize,
}

#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Preset {
    Sample,
    Medium,
}

pub(super) fn run(arguments: Arguments) -> anyhow::Result<Ending> {
    let preset = match arguments.preset {
        Preset::Sample => Options::sample(),
        Preset::Medium => Options::default(),
    };
    let options = Options {
        seed: arguments.seed.unwrap_or(preset.seed),
        days: arguments.days.unwrap_or(preset.days),
        accounts: arguments.accounts.unwrap_or(preset.accounts),
        regions: arguments.regions.unwrap_or(preset.regions),
        apis: arguments.apis.unwrap_or(preset.apis),
        scale: arguments.scale.unwrap_or(preset.scale),
        target_bytes: arguments.target.map(|megabytes| megabytes * 1_000_000).or(preset.target_bytes),
        anomalies_per_week: arguments.anomalies_per_week.unwrap_or(preset.anomalies_per_week),
        insiders: arguments.insiders.unwrap_or(preset.insiders),
        repeat_after_days: arguments.repeat_after_days.or(preset.repeat_after_days),
        late_share: arguments.late_share.unwrap_or(preset.late_share),
        duplicate_share: arguments.duplicate_share.unwrap_or(preset.duplicate_share),
        organisation: arguments.organisation || preset.organisation,
        force: arguments.force,
        threads: arguments.threads.max(1),
        ..preset
    };
    let report = simulate::simulate(&options, &arguments.output)?;
    eprintln!(
        "wrote {} records ({:.1} MB of text, {:.1} MB stored) in {} files, {} attacks, to {}",
        thousands(report.records),
        report.raw_bytes as f64 / 1e6,
        report.packed_bytes as f64 / 1e6,
        thousands(report.files),
        report.attacks,
        arguments.output.display()
    );
    Ok(Ending::Done)
}
