//! `highwater report`: the charts and the page of a result directory, made again.

use std::path::PathBuf;

use anyhow::Context;

use super::Ending;
use crate::report;
use crate::store;

#[derive(clap::Args)]
pub(super) struct Arguments {
    /// A result directory of `highwater scan -o`.
    #[arg(value_name = "DIR")]
    directory: PathBuf,
}

pub(super) fn run(arguments: Arguments) -> anyhow::Result<Ending> {
    let root = &arguments.directory;
    let records = store::read_insights(root)?;
    let summary = store::read_summary(root)?;
    let charts = report::publish(root, records, &summary).context("drawing the report")?;
    eprintln!("wrote {} and {charts} charts", root.join("report.html").display());
    Ok(Ending::Done)
}
