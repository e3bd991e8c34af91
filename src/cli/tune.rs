//! `highwater tune`: how many alerts other thresholds would have given over a trail, what they would have lost and
//! gained, and the line for highwater.toml.

use std::io::{self, Write};

use anyhow::bail;
use serde::Serialize;

use super::Ending;
use super::progress::Bar;
use super::settings::{Flags, run_options};
use crate::config::parse_budget;
use crate::detector::{Detector, Options};
use crate::event::{MINUTES_PER_DAY, Minute};
use crate::insight::compare::{Incident, compare, incidents};
use crate::insight::{Insight, words};

use crate::run::{self, Filter, Summary};
use crate::source;

#[derive(clap::Args)]
#[command(after_help = "Example:\n  highwater tune --max-alerts 3/week AWSLogs")]
pub(super) struct Arguments {
    /// Files, directories, patterns, or `-` for standard input.
    #[arg(required = true, value_name = "PATH")]
    paths: Vec<String>,
    /// As many incidents as you want to look at, such as 3/week, 1/day or 10/month, over all accounts of the trail.
    #[arg(long, value_parser = parse_budget, value_name = "N/UNIT")]
    max_alerts: f64,
    /// Scores data events too.
    #[arg(long)]
    data_events: bool,
    /// Prints all figures, and the incidents lost and gained at every threshold, as JSON.
    #[arg(long)]
    json: bool,
    /// No progress.
    #[arg(short, long)]
    quiet: bool,
    #[command(flatten)]
    settings: Flags,
}

/// Thresholds that are tried, as differences from the one in force. A score is a logarithm of odds: half a step is 1.6
/// times the odds. The widest lie beyond what any but the strongest attack scores.
const OFFSETS: [f64; 23] = [
    -2.0, -1.5, -1.0, -0.5, 0.0, 0.5, 1.0, 1.5, 2.0, 2.5, 3.0, 3.5, 4.0, 5.0, 6.0, 7.0, 8.0, 10.0, 12.0, 14.0, 17.0,
    20.0, 25.0,
];

#[derive(Serialize)]
struct Tuned {
    weeks: f64,
    max_alerts_per_week: f64,
    /// In force before: from the settings, else the model's.
    threshold_before: f64,
    /// The lowest that keeps to the number; none if none of those tried does.
    threshold: Option<f64>,
    thresholds: Vec<Line>,
}

#[derive(Serialize)]
struct Line {
    threshold: f64,
    alerts: usize,
    alerts_per_week: f64,
    lost: Vec<Told>,
    gained: Vec<Told>,
}

/// An incident as this command tells it.
#[derive(Clone, Serialize)]
struct Told {
    shared_event_id: String,
    start: String,
    account: String,
    region: String,
    score: f64,
    reason: String,
}

impl Told {
    fn new(incident: &Incident) -> Told {
        let last = incident.last();
        let api = &last.series.api;
        Told {
            shared_event_id: last.shared_event_id().to_string(),
            start: incident.start.start.to_string(),
            account: api.account_id.to_string(),
            region: api.region.to_string(),
            score: (last.score * 100.0).round() / 100.0,
            reason: words::reason(last),
        }
    }
}

pub(super) fn run(arguments: Arguments) -> anyhow::Result<Ending> {
    let settings = arguments.settings.settings()?;
    let model = super::settings::model(settings.model.as_deref())?;
    let before = settings.threshold.unwrap_or(model.threshold);
    // Two digits, as they are printed: what is put into the file is what was tried.
    let near = |offset: f64| if offset == 0.0 { before } else { ((before + offset) * 100.0).round() / 100.0 };
    let thresholds = OFFSETS.map(near);
    let mut detectors: Vec<Detector> = thresholds
        .iter()
        .map(|threshold| {
            let now = *threshold == before;
            let options = if now {
                settings.detector()
            } else {
                Options { threshold: Some(*threshold), budget_per_week: None, ..settings.detector() }
            };
            super::settings::detector(&settings, options)
        })
        .collect::<anyhow::Result<_>>()?;

    let found = source::find(&arguments.paths)?;
    let filter = Filter { data_events: arguments.data_events, ..Filter::default() };
    let options = run_options(&settings, filter);
    let mut insights: Vec<Vec<Insight>> = vec![Vec::new(); detectors.len()];
    let bar = Bar::new(&found.objects, arguments.quiet);
    // The first detector reads; the others are handed what it has counted.
    let Some((first, others)) = detectors.split_first_mut() else { unreachable!("there are thresholds to try") };
    let scanned = run::scan(&found.objects, &options, first, &bar, |advance, _| {
        insights[0].extend_from_slice(&advance.insights);
        for (detector, insights) in others.iter_mut().zip(&mut insights[1..]) {
            insights.extend(detector.fold(&advance.closed, advance.frontier, options.threads).insights);
        }
        Ok(())
    });
    bar.finish();
    let summary = scanned?;
    let weeks = weeks_judged(&summary, settings.detector().warmup_minutes);
    if weeks <= 0.0 {
        bail!(
            "there is nothing to tune on: no account has more history than the first day, in which nothing is judged"
        );
    }
    let tuned = tuned(&thresholds, &insights, before, weeks, arguments.max_alerts);
    let mut out = io::stdout().lock();
    if arguments.json {
        serde_json::to_writer_pretty(&mut out, &tuned)?;
        writeln!(out)?;
    } else {
        write!(out, "{}", words_of(&tuned))?;
    }
    out.flush()?;
    Ok(if summary.counters.malformed > 0 { Ending::Partial } else { Ending::Done })
}

/// From the end of the first account's warm-up to the last event.
fn weeks_judged(summary: &Summary, warmup_minutes: u32) -> f64 {
    let first = summary.coverage.values().filter_map(|coverage| coverage.first_event).min();
    let last = summary.coverage.values().filter_map(|coverage| coverage.last_event).max();
    let span = first.zip(last).map_or(0, |(Minute(first), Minute(last))| last + 1 - first);
    (span - i64::from(warmup_minutes)) as f64 / (7 * MINUTES_PER_DAY) as f64
}

fn tuned(thresholds: &[f64], insights: &[Vec<Insight>], before: f64, weeks: f64, max_per_week: f64) -> Tuned {
    let told: Vec<Vec<Incident>> = insights.iter().map(|insights| incidents(insights)).collect();
    let now = thresholds.iter().position(|threshold| *threshold == before).map_or(&[][..], |place| &told[place]);
    let lines: Vec<Line> = thresholds
        .iter()
        .zip(&told)
        .map(|(threshold, incidents)| {
            let changes = compare(now, incidents);
            Line {
                threshold: *threshold,
                alerts: incidents.len(),
                alerts_per_week: incidents.len() as f64 / weeks,
                lost: changes.vanished.into_iter().map(Told::new).collect(),
                gained: changes.appeared.into_iter().map(Told::new).collect(),
            }
        })
        .collect();
    let fits = lines.iter().find(|line| line.alerts_per_week <= max_per_week);
    let threshold = fits.map(|line| line.threshold);
    Tuned { weeks, max_alerts_per_week: max_per_week, threshold_before: before, threshold, thresholds: lines }
}

/// Incidents listed one by one; JSON has them all.
const TOLD_MAX: usize = 20;

fn words_of(tuned: &Tuned) -> String {
    let mut text =
        format!("{:.1} weeks judged; wanted: at most {:.1} alerts a week\n\n", tuned.weeks, tuned.max_alerts_per_week);
    text += &format!("{:>9}{:>9}{:>9}{:>7}{:>9}\n", "threshold", "alerts", "a week", "lost", "gained");
    for line in &tuned.thresholds {
        let mark = match line.threshold {
            threshold if Some(threshold) == tuned.threshold && threshold == tuned.threshold_before => {
                "  in force, and it fits"
            }
            threshold if Some(threshold) == tuned.threshold => "  the lowest that fits",
            threshold if threshold == tuned.threshold_before => "  in force",
            _ => "",
        };
        text += &format!(
            "{:>9.2}{:>9}{:>9.2}{:>7}{:>9}{mark}\n",
            line.threshold,
            line.alerts,
            line.alerts_per_week,
            line.lost.len(),
            line.gained.len()
        );
    }
    let chosen = tuned.thresholds.iter().find(|line| Some(line.threshold) == tuned.threshold);
    let Some(chosen) = chosen else {
        return text + "\nNone of these keeps to it: mute what you know, or allow more.\n";
    };
    for (title, incidents) in [("lost", &chosen.lost), ("gained", &chosen.gained)] {
        if incidents.is_empty() {
            continue;
        }
        text += &format!("\n{title} at {:.2}:\n", chosen.threshold);
        for told in incidents.iter().take(TOLD_MAX) {
            text += &format!("  {} {} {}: {}\n", told.start, told.account, told.region, told.reason);
        }
        if incidents.len() > TOLD_MAX {
            text += &format!("  and {} more: --json lists them\n", incidents.len() - TOLD_MAX);
        }
    }
    text + &format!("\nFor highwater.toml:\nthreshold = {:.2}\n", chosen.threshold)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn budgets_are_numbers_in_a_time() {
        assert_eq!(parse_budget("3/week"), Ok(3.0));
        assert_eq!(parse_budget("1/day"), Ok(7.0));
        assert_eq!(parse_budget("30/month"), Ok(7.0));
        for wrong in ["", "3", "3/year", "-1/week", "x/day", "inf/day", "/week"] {
            assert!(parse_budget(wrong).is_err(), "{wrong}");
        }
    }
}
