//! `highwater train`: makes the models that ship with Highwater, or others from trails of one's own.

use std::fs;
use std::ops::Range;
use std::path::PathBuf;

use anyhow::Context;

use super::progress::steps_bar;
use super::{Ending, default_threads};
use crate::train::fit::{self, Recipe};

#[derive(clap::Args)]
pub(super) struct Arguments {
    /// Where `judge.json`, `priors.json` and `seasons.json` go.
    #[arg(short, long, value_name = "DIR")]
    output: PathBuf,
    /// Labelled trails to learn from as well, as `highwater simulate` writes them; may be given several times.
    #[arg(long, value_name = "DIR")]
    trail: Vec<PathBuf>,
    /// Made-up accounts of many kinds to learn from.
    #[arg(long, value_name = "N", default_value_t = count(&Recipe::default().worlds))]
    worlds: u64,
    /// Accounts of `highwater simulate` to learn from.
    #[arg(long, value_name = "N", default_value_t = count(&Recipe::default().simulated))]
    simulated: u64,
    /// Accounts without anything to find, for the calibration.
    #[arg(long, value_name = "N", default_value_t = count(&Recipe::default().quiet))]
    quiet: u64,
    /// Accounts of both kinds to judge the result on.
    #[arg(long, value_name = "N", default_value_t = count(&Recipe::default().held_out))]
    held_out: u64,
    #[arg(long, default_value_t = default_threads(), value_name = "N")]
    threads: usize,
    /// No progress.
    #[arg(long)]
    no_progress: bool,
}

fn count(range: &Range<u64>) -> u64 {
    range.end - range.start
}

pub(super) fn run(arguments: Arguments) -> anyhow::Result<Ending> {
    let recipe = Recipe::default();
    let first = |range: Range<u64>, count: u64| range.start..range.start + count;
    let recipe = Recipe {
        worlds: first(recipe.worlds, arguments.worlds),
        simulated: first(recipe.simulated, arguments.simulated),
        quiet: first(recipe.quiet, arguments.quiet),
        held_out: first(recipe.held_out, arguments.held_out),
        trails: arguments.trail,
    };
    let bar = steps_bar(fit::steps(&recipe), arguments.no_progress);
    let trained = fit::train(&recipe, arguments.threads.max(1), &|| bar.inc(1))?;
    bar.finish_and_clear();
    fs::create_dir_all(&arguments.output).with_context(|| arguments.output.display().to_string())?;
    for (name, text) in [
        ("judge.json", serde_json::to_string_pretty(&trained.judge)?),
        ("priors.json", serde_json::to_string_pretty(&trained.pooled.priors)?),
        ("seasons.json", serde_json::to_string_pretty(&trained.pooled.seasons)?),
    ] {
        let path = arguments.output.join(name);
        fs::write(&path, text + "\n").with_context(|| path.display().to_string())?;
    }
    eprintln!("wrote {}; held out: {}", arguments.output.display(), trained.judge.provenance["heldOut"]);
    Ok(Ending::Done)
}
