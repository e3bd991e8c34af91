//! `highwater diff-config`: what two settings files make of the same trail, and what differs.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::Ending;
use super::progress::Bar;
use super::settings::run_options;
use crate::config::Settings;
use crate::insight::compare::{Changes, Incident, compare, incidents};
use crate::insight::words;
use crate::run::{self, Filter};
use crate::source::{self, Object};

#[derive(clap::Args)]
#[command(after_help = "Example:\n  highwater diff-config highwater.toml stricter.toml AWSLogs")]
pub(super) struct Arguments {
    /// Settings in force; the environment is left out of it.
    before: PathBuf,
    /// Settings to compare with them.
    after: PathBuf,
    /// Files, directories or patterns.
    #[arg(required = true, value_name = "PATH")]
    paths: Vec<String>,
    /// Scores data events too.
    #[arg(long)]
    data_events: bool,
    /// Prints the differences as JSON.
    #[arg(long)]
    json: bool,
    /// No progress.
    #[arg(short, long)]
    quiet: bool,
}

#[derive(Serialize)]
struct Difference {
    incidents_before: usize,
    incidents_after: usize,
    appeared: Vec<Told>,
    vanished: Vec<Told>,
    changed: Vec<Changed>,
}

#[derive(Serialize)]
struct Changed {
    before: Told,
    after: Vec<Told>,
}

/// An incident as this command tells it.
#[derive(Serialize)]
struct Told {
    shared_event_id: String,
    start: String,
    end: Option<String>,
    severity: String,
    account: String,
    region: String,
    reason: String,
}

impl Told {
    fn new(incident: &Incident) -> Told {
        let last = incident.last();
        let api = &last.series.api;
        Told {
            shared_event_id: last.shared_event_id().to_string(),
            start: incident.start.start.to_string(),
            end: last.end.map(|end| end.to_string()),
            severity: last.severity().to_owned(),
            account: api.account_id.to_string(),
            region: api.region.to_string(),
            reason: words::reason(last),
        }
    }

    fn span(&self) -> String {
        let end = self.end.as_ref().map_or(", still open".to_owned(), |end| format!(" to {end}"));
        format!("{}{end}, {}", self.start, self.severity)
    }
}

pub(super) fn run(arguments: Arguments) -> anyhow::Result<Ending> {
    let settings =
        [&arguments.before, &arguments.after].map(|path| Settings::read(Some(Path::new(path)), std::iter::empty()));
    let [before, after] = settings;
    let (before, after) = (before?, after?);
    let found = source::find(&arguments.paths)?;
    let (before, malformed) = scan(&arguments, &found.objects, &before)?;
    let (after, more) = scan(&arguments, &found.objects, &after)?;
    let difference = difference(&before, &after);
    let mut out = io::stdout().lock();
    if arguments.json {
        serde_json::to_writer_pretty(&mut out, &difference)?;
        writeln!(out)?;
    } else {
        write!(out, "{}", words_of(&difference))?;
    }
    out.flush()?;
    Ok(if malformed || more { Ending::Partial } else { Ending::Done })
}

/// The incidents under these settings, and whether some input was malformed. Settings decide how objects are read, too:
/// each of the two reads them anew.
fn scan(arguments: &Arguments, objects: &[Object], settings: &Settings) -> anyhow::Result<(Vec<Incident>, bool)> {
    let mut detector = super::settings::detector(settings, settings.detector())?;
    let filter = Filter { data_events: arguments.data_events, ..Filter::default() };
    let mut insights = Vec::new();
    let bar = Bar::new(objects, arguments.quiet);
    let scanned = run::scan(objects, &run_options(settings, filter), &mut detector, &bar, |advance, _| {
        insights.extend_from_slice(&advance.insights);
        Ok(())
    });
    bar.finish();
    Ok((incidents(&insights), scanned?.counters.malformed > 0))
}

fn difference(before: &[Incident], after: &[Incident]) -> Difference {
    let Changes { appeared, vanished, changed } = compare(before, after);
    let all = |incidents: Vec<&Incident>| incidents.into_iter().map(Told::new).collect();
    Difference {
        incidents_before: before.len(),
        incidents_after: after.len(),
        appeared: all(appeared),
        vanished: all(vanished),
        changed: changed
            .into_iter()
            .map(|(incident, now)| Changed { before: Told::new(incident), after: all(now) })
            .collect(),
    }
}

fn words_of(difference: &Difference) -> String {
    let Difference { incidents_before, incidents_after, appeared, vanished, changed } = difference;
    let mut text = format!("{incidents_before} incidents before, {incidents_after} after");
    if appeared.is_empty() && vanished.is_empty() && changed.is_empty() {
        return text + "; nothing differs\n";
    }
    text += &format!(": {} appear, {} vanish, {} change\n", appeared.len(), vanished.len(), changed.len());
    for (title, incidents) in [("appear", appeared), ("vanish", vanished)] {
        if !incidents.is_empty() {
            text += &format!("\n{title}:\n");
        }
        for told in incidents {
            text += &format!("  {} {} {}, {}: {}\n", told.start, told.account, told.region, told.severity, told.reason);
        }
    }
    if !changed.is_empty() {
        text += "\nchange:\n";
    }
    for Changed { before, after } in changed {
        let now: Vec<String> = after.iter().map(Told::span).collect();
        text += &format!(
            "  {}\n    {} {}, was {}\n    now {}\n",
            before.reason,
            before.account,
            before.region,
            before.span(),
            now.join("; and ")
        );
    }
    text
}
