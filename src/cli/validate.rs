//! `highwater validate` and `highwater schema`: is a configuration file as it must be, and how must it be.

use std::io::{self, Write};
use std::path::PathBuf;

use anyhow::Context;

use super::Ending;
use super::settings::{environment, model};
use crate::config::{FILE_NAME, Settings, Sidecar, found, schema};

#[derive(clap::Args)]
#[command(after_help = "Exit status 1 if the file, or a HIGHWATER_* variable, cannot be used.")]
pub(super) struct Arguments {
    /// The file [default: highwater.toml].
    #[arg(value_name = "FILE")]
    file: Option<PathBuf>,
}

pub(super) fn run(arguments: Arguments) -> anyhow::Result<Ending> {
    let file =
        found(arguments.file.as_deref()).with_context(|| format!("there is no {FILE_NAME} here; name a file"))?;
    let settings = Settings::read(Some(file), environment())?;
    let sidecar = Sidecar::read(Some(file))?;
    model(settings.model.as_deref())?;
    let several = |number: usize, what: &str| format!("{number} {what}{}", if number == 1 { "" } else { "s" });
    let (sources, sinks) = (several(sidecar.sources.len(), "source"), several(sidecar.sinks.len(), "sink"));
    writeln!(io::stdout(), "{}: valid: {sources}, {sinks}", file.display())?;
    Ok(Ending::Done)
}

/// Prints the schema.
pub(super) fn print_schema() -> anyhow::Result<Ending> {
    writeln!(io::stdout(), "{:#}", schema())?;
    Ok(Ending::Done)
}
