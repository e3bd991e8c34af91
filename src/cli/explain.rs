//! `highwater explain`: one incident of a result directory in words and numbers, recomputed from the stored rates.

use std::io::{self, IsTerminal, Write};
use std::path::PathBuf;

use anyhow::{Context, bail};
use serde::Serialize;

use super::Ending;
use crate::event::Minute;
use crate::insight::trail::TrailRecord;
use crate::report::{self, Band, Check, Style, Told};
use crate::store::rates::{self, Name};
use crate::store::{self, SummaryFile};

#[derive(clap::Args)]
#[command(after_help = "Exit status 1 if a number of the record differs from what the stored rates give.")]
pub(super) struct Arguments {
    /// The incident: its sharedEventID, the beginning of it, or its place in insights.jsonl, from 1.
    #[arg(value_name = "ID")]
    id: String,
    /// A result directory of `highwater scan -o`.
    #[arg(value_name = "RESULT_DIR", default_value = ".")]
    directory: PathBuf,
    /// Prints the same as JSON.
    #[arg(long)]
    json: bool,
}

/// Minutes shown before the start: so many times the incident's length, within these bounds.
const BEFORE_TIMES: i64 = 4;
const BEFORE_MINUTES: (i64, i64) = (120, 3 * 1_440);
const AFTER_MINUTES: (i64, i64) = (60, 1_440);

/// A text of no terminal, and the bounds of what lines can be read.
const WIDTH_DEFAULT: usize = 100;
const WIDTH: (usize, usize) = (48, 140);

pub(super) type Incident = (TrailRecord, Option<TrailRecord>);

pub(super) fn run(arguments: Arguments) -> anyhow::Result<Ending> {
    let root = &arguments.directory;
    let incidents = report::pair(store::read_insights(root)?);
    let (row, (start, end)) =
        find(&incidents, &arguments.id).with_context(|| format!("{} has no incident to explain", root.display()))?;
    let summary = store::read_summary(root)?;
    let name = Name::of_record(start);
    let counts = rates::read(&root.join("rates"), std::slice::from_ref(&name), ..)?.remove(&name).unwrap_or_default();
    // What a saved state knew is not in the rates of the run that went on from it.
    let complete = !goes_on(&summary);
    let checks = report::recount(start, end.as_ref(), &counts, complete);
    let (began, ended) = (report::time_of(start), end.as_ref().map(report::time_of));
    let length = ended.map_or(0, |ended| ended.0 - began.0);
    let clamp = |minutes: i64, (low, high): (i64, i64)| minutes.clamp(low, high);
    let from = Minute(began.0 - clamp(length * BEFORE_TIMES, BEFORE_MINUTES));
    let last = counts.last().map_or(began.0, |(minute, _)| minute.0 + 1);
    let to = Minute(ended.map_or(last.max(began.0 + 1), |ended| ended.0) + clamp(length, AFTER_MINUTES));
    let band = report::band(start, &counts, from, to, (began, ended));
    let told = Told { start, end: end.as_ref(), counts: &counts, band: &band, from, to, checks: &checks, complete };
    let mut out = io::stdout().lock();
    match arguments.json {
        true => {
            serde_json::to_writer_pretty(&mut out, &json(row, &told))?;
            writeln!(out)?;
        }
        false => out.write_all(report::tell(&told, style()).as_bytes())?,
    }
    out.flush()?;
    let wrong = checks.iter().filter(|check| !check.agrees).count();
    if wrong > 0 {
        bail!("{wrong} of {} numbers of the record differ from the rates of {}", checks.len(), root.display());
    }
    Ok(Ending::Done)
}

fn goes_on(summary: &SummaryFile) -> bool {
    summary.command.iter().any(|word| word == "--from-state" || word.starts_with("--from-state="))
}

/// An incident by its place from 1, or by the beginning of its ID.
pub(super) fn find<'a>(incidents: &'a [Incident], id: &str) -> anyhow::Result<(usize, &'a Incident)> {
    const SHOWN: usize = 5;
    if let Ok(row) = id.parse::<usize>()
        && let Some(incident) = row.checked_sub(1).and_then(|place| incidents.get(place))
    {
        return Ok((row, incident));
    }
    let wanted = id.to_ascii_lowercase();
    let matching: Vec<(usize, &Incident)> = incidents
        .iter()
        .enumerate()
        .filter(|(_, (start, _))| start.shared_event_id.to_ascii_lowercase().starts_with(&wanted))
        .map(|(place, incident)| (place + 1, incident))
        .collect();
    match matching[..] {
        [one] => Ok(one),
        [] if incidents.is_empty() => bail!("insights.jsonl is empty"),
        [] => bail!("none begins with {id:?}; name one of {} by its sharedEventID or as 1 to {0}", incidents.len()),
        _ => {
            let ids: Vec<&str> =
                matching.iter().take(SHOWN).map(|(_, (start, _))| start.shared_event_id.as_str()).collect();
            bail!("{} begin with {id:?}: {}; give more of it", matching.len(), ids.join(", "))
        }
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Explained<'a> {
    row: usize,
    start: &'a TrailRecord,
    end: Option<&'a TrailRecord>,
    agrees: bool,
    /// Whether baseline and forecast could be recomputed.
    complete: bool,
    checks: &'a [Check],
    from: String,
    to: String,
    /// Minutes with calls between `from` and `to`.
    counts: Vec<Count>,
    /// By the hour: first minute, and what was expected of each of its minutes.
    expected: Vec<Expected>,
}

#[derive(Serialize)]
struct Count {
    minute: String,
    count: u64,
}

#[derive(Serialize)]
struct Expected {
    hour: String,
    average: f64,
    lower: f64,
    upper: f64,
}

fn json<'a>(row: usize, told: &Told<'a>) -> Explained<'a> {
    let shown = told.counts.iter().filter(|(minute, _)| (told.from..told.to).contains(minute));
    let hour = |band: &Band| Expected {
        hour: band.minute.to_string(),
        average: band.expected,
        lower: band.lower,
        upper: band.upper,
    };
    Explained {
        row,
        start: told.start,
        end: told.end,
        agrees: told.checks.iter().all(|check| check.agrees),
        complete: told.complete,
        checks: told.checks,
        from: told.from.to_string(),
        to: told.to.to_string(),
        counts: shown.map(|(minute, count)| Count { minute: minute.to_string(), count: *count }).collect(),
        expected: told.band.iter().filter(|band| band.minute.0 % 60 == 0).map(hour).collect(),
    }
}

/// What standard output can show.
fn style() -> Style {
    let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
    let terminal = io::stdout().is_terminal();
    let columns = set("COLUMNS").and_then(|columns| columns.to_str()?.parse::<usize>().ok());
    let width = match terminal.then(|| console::Term::stdout().size_checked()).flatten() {
        Some((_, columns)) => usize::from(columns),
        None => columns.unwrap_or(WIDTH_DEFAULT),
    };
    // The first of these that is set names the character set.
    let locale = ["LC_ALL", "LC_CTYPE", "LANG"].iter().find_map(|name| set(name));
    let unicode = locale.is_some_and(|locale| {
        let locale = locale.to_string_lossy().to_ascii_lowercase();
        locale.contains("utf-8") || locale.contains("utf8")
    });
    let dumb = set("TERM").is_some_and(|term| term == "dumb");
    Style { width: width.clamp(WIDTH.0, WIDTH.1), unicode, colour: terminal && !dumb && set("NO_COLOR").is_none() }
}
