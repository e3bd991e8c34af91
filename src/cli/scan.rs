//! `highwater scan`: a trail in, insights out.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context, bail};
use clap::ValueEnum;
use serde::Serialize;

use super::Ending;
use super::progress::Bar;
use super::settings::{Flags, run_options};
use super::time::parse_time;
use crate::config::{Settings, parse_minutes};
use crate::detector::{Advance, Detector};
use crate::event::Minute;
use crate::insight::words::thousands;
use crate::insight::{Insight, State};
use crate::report;
use crate::run::{self, Filter, Reject, Summary};
use crate::source::{self, Found, Part};
use crate::store::rates::RatesWriter;
use crate::store::{Account, Gap, Objects, ResultDir, SummaryFile, Timings, state};

#[derive(clap::Args)]
#[command(after_help = "Examples:\n  \
    highwater scan AWSLogs -o result\n  \
    highwater scan s3://my-trail/AWSLogs --last 30d -o result\n  \
    highwater scan 'AWSLogs/**/2026/03/*/*.json.gz' --last 90d --fail-on-insight\n  \
    zcat log.json.gz | highwater scan - --strict")]
pub(super) struct Arguments {
    /// Files, directories, patterns, buckets as s3://BUCKET/PREFIX, or `-` for standard input.
    #[arg(required = true, value_name = "PATH")]
    paths: Vec<String>,
    /// A role to assume for buckets.
    #[arg(long, value_name = "ARN")]
    role: Option<String>,
    /// Result directory: insights.jsonl, near.jsonl, rejects.jsonl, summary.json, rates/, charts/, report.html.
    #[arg(short, long, value_name = "DIR")]
    output: Option<PathBuf>,
    /// Replaces the results that the directory holds.
    #[arg(long, requires = "output")]
    force: bool,
    /// How insights are written: JSON lines, or (into the result directory) log files in CloudTrail's own layout.
    #[arg(long, value_enum, default_value_t = Format::Jsonl)]
    format: Format,
    /// Leaves out what AWS's records do not have.
    #[arg(long)]
    strict: bool,
    /// Counts events from this time on: RFC 3339, a date, or a length before now such as 90d.
    #[arg(long, value_parser = parse_time, value_name = "TIME")]
    from: Option<Minute>,
    /// Counts events before this time.
    #[arg(long, value_parser = parse_time, value_name = "TIME")]
    to: Option<Minute>,
    /// Counts the last days or hours up to now.
    #[arg(long, value_parser = parse_minutes, value_name = "LENGTH", conflicts_with_all = ["from", "to"])]
    last: Option<i64>,
    /// Only this account; may be given several times.
    #[arg(long, value_name = "ID")]
    account: Vec<String>,
    /// Only this Region; may be given several times.
    #[arg(long, value_name = "NAME")]
    region: Vec<String>,
    /// Scores data events too.
    #[arg(long)]
    data_events: bool,
    /// Goes on from this snapshot.
    #[arg(long, value_name = "FILE")]
    from_state: Option<PathBuf>,
    /// Leaves what may still grow open and saves it here, for a later run to go on from.
    #[arg(long, value_name = "FILE")]
    save_state: Option<PathBuf>,
    /// Leaves out the charts and the report.
    #[arg(long)]
    no_charts: bool,
    /// Exits with status 3 if there are insights.
    #[arg(long)]
    fail_on_insight: bool,
    /// No progress and no closing summary.
    #[arg(short, long)]
    quiet: bool,
    #[command(flatten)]
    settings: Flags,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    Jsonl,
    CloudtrailS3,
}

pub(super) fn run(arguments: Arguments) -> anyhow::Result<Ending> {
    let started = Instant::now();
    if arguments.format == Format::CloudtrailS3 && arguments.output.is_none() {
        bail!("--format cloudtrail-s3 writes files: name a directory with -o");
    }
    let settings = arguments.settings.settings()?;
    let options =
        run::Options { keep_open: arguments.save_state.is_some(), ..run_options(&settings, filter(&arguments)) };
    let found = source::find_part(&arguments.paths, &part(&arguments, &options))?;
    let mut detector = detector(&arguments, &settings)?;
    let output = match &arguments.output {
        Some(root) => Some(ResultDir::create(root, arguments.force)?),
        None => None,
    };
    let mut sink = Sink::new(output.as_ref(), &arguments)?;
    let bar = Bar::new(&found.objects, arguments.quiet);
    let scanned =
        run::scan(&found.objects, &options, &mut detector, &bar, |advance, rejects| sink.take(advance, rejects));
    bar.finish();
    let mut summary = scanned?;
    let (insights, rejects) = sink.finish()?;
    if let Some(path) = &arguments.save_state {
        let failed = |error| anyhow::Error::new(error).context(path.display().to_string());
        let mut file = state::Writer::create(path).map_err(failed)?;
        detector.write_snapshot(&mut file)?;
        file.finish().map_err(failed)?;
    }

    let mut written = Vec::new();
    if let Some(output) = &output {
        let file = summary_file(&mut summary, &found, &detector, &insights, started);
        output.write("summary.json", format!("{}\n", serde_json::to_string_pretty(&file)?).as_bytes())?;
        written.extend(["insights.jsonl", "near.jsonl", "rejects.jsonl", "summary.json", "rates/"].map(str::to_owned));
        if arguments.format == Format::CloudtrailS3 {
            output.write_cloudtrail_s3(&insights, arguments.strict)?;
            written.push("AWSLogs/".to_owned());
        }
        if !arguments.no_charts {
            let records = insights.iter().map(|insight| insight.to_record(false)).collect();
            let charts = report::publish(&output.path(""), records, &file).context("drawing the report")?;
            if charts > 0 {
                written.push(format!("charts/ ({charts} pictures)"));
            }
            written.push("report.html".to_owned());
        }
    }
    if !arguments.quiet {
        let places = arguments.output.as_deref().map(|root| (root, &written[..]));
        eprint!("{}", closing_words(&summary, &insights, &rejects, started, places));
    }
    // The process ends: handing back a million series one by one would only take time.
    std::mem::forget(detector);
    if summary.counters.malformed > 0 {
        Ok(Ending::Partial)
    } else if arguments.fail_on_insight && !insights.is_empty() {
        Ok(Ending::InsightsFound)
    } else {
        Ok(Ending::Done)
    }
}

fn detector(arguments: &Arguments, settings: &Settings) -> anyhow::Result<Detector> {
    let detector = super::settings::detector(settings, settings.detector())?;
    match &arguments.from_state {
        Some(path) => detector.restored(state::open(path)?.0).with_context(|| path.display().to_string()),
        None => Ok(detector),
    }
}

fn filter(arguments: &Arguments) -> Filter {
    let now = Minute::of_second(chrono::Utc::now().timestamp());
    Filter {
        from: arguments.last.map(|last| Minute(now.0 - last)).or(arguments.from),
        to: arguments.to,
        accounts: arguments.account.clone(),
        regions: arguments.region.clone(),
        data_events: arguments.data_events,
    }
}

/// What is listed of buckets. Where time is left open for a later run, the frontier must go as far as the trail does.
fn part(arguments: &Arguments, options: &run::Options) -> Part {
    let Filter { from, to, accounts, regions, .. } = &options.filter;
    let (first_day, last_day) = source::days(*from, *to, options.lateness_minutes);
    Part {
        first_day,
        last_day: last_day.filter(|_| !options.keep_open),
        accounts: accounts.clone(),
        regions: regions.clone(),
        role_arn: arguments.role.clone(),
    }
}

/// Where insights, rates and rejects go while the scan runs.
struct Sink {
    strict: bool,
    lines: Box<dyn Write>,
    rates: Option<RatesWriter>,
    rejects: Option<BufWriter<File>>,
    near: Option<BufWriter<File>>,
    /// Kept for the report and the closing words.
    insights: Vec<Insight>,
    first_rejects: Vec<Reject>,
}

/// Rejects named in the closing words.
const REJECTS_SHOWN: usize = 5;

impl Sink {
    fn new(output: Option<&ResultDir>, arguments: &Arguments) -> anyhow::Result<Sink> {
        let lines: Box<dyn Write> = match output {
            Some(output) => Box::new(output.lines("insights.jsonl")?),
            None => Box::new(BufWriter::new(io::stdout())),
        };
        let rejects = output.map(|output| output.lines("rejects.jsonl")).transpose()?;
        let near = output.map(|output| output.lines("near.jsonl")).transpose()?;
        let rates = output.map(|output| RatesWriter::new(output.path("rates")));
        let strict = arguments.strict;
        Ok(Sink { strict, lines, rates, rejects, near, insights: Vec::new(), first_rejects: Vec::new() })
    }

    fn take(&mut self, advance: &Advance, rejects: Vec<Reject>) -> anyhow::Result<()> {
        write_lines(&mut self.lines, advance.insights.iter().map(|insight| insight.to_record(self.strict)))
            .context("writing insights")?;
        self.insights.extend(advance.insights.iter().cloned());
        if let Some(rates) = &mut self.rates {
            rates.add(advance);
            rates.flush()?;
        }
        if let Some(file) = &mut self.rejects {
            write_lines(file, rejects.iter()).context("writing rejects.jsonl")?;
        }
        if let Some(file) = &mut self.near {
            write_lines(file, advance.near.iter().map(|near| near.to_record())).context("writing near.jsonl")?;
        }
        let room = REJECTS_SHOWN.saturating_sub(self.first_rejects.len());
        self.first_rejects.extend(rejects.into_iter().take(room));
        Ok(())
    }

    fn finish(self) -> anyhow::Result<(Vec<Insight>, Vec<Reject>)> {
        if let Some(rates) = self.rates {
            rates.finish()?;
        }
        Ok((self.insights, self.first_rejects))
    }
}

/// One line of JSON each, on their way to the disk before this returns.
fn write_lines(file: &mut impl Write, lines: impl Iterator<Item = impl Serialize>) -> io::Result<()> {
    for line in lines {
        serde_json::to_writer(&mut *file, &line)?;
        file.write_all(b"\n")?;
    }
    file.flush()
}

/// Longest gaps listed for each account and Region.
const GAPS_LISTED: usize = 20;

fn summary_file(
    summary: &mut Summary,
    found: &Found,
    detector: &Detector,
    insights: &[Insight],
    started: Instant,
) -> SummaryFile {
    let time = |minute: Option<Minute>| minute.map(|minute| minute.to_string());
    let accounts = summary
        .coverage
        .iter_mut()
        .map(|((account, region), coverage)| {
            let (gaps, gap_count) = coverage.gaps(GAPS_LISTED);
            Account {
                account: account.clone(),
                region: region.clone(),
                objects: coverage.objects,
                events: coverage.events,
                first_event: time(coverage.first_event),
                last_event: time(coverage.last_event),
                first_delivery: time(coverage.deliveries.first().copied()),
                last_delivery: time(coverage.deliveries.last().copied()),
                gap_count: gap_count as u64,
                gaps: gaps.iter().map(|gap| Gap { from: gap.start.to_string(), to: gap.end.to_string() }).collect(),
            }
        })
        .collect();
    SummaryFile {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        model: detector.model_name().to_owned(),
        command: std::iter::once("highwater".to_owned()).chain(std::env::args().skip(1)).collect(),
        insights: insights.len() as u64,
        incidents: insights.iter().filter(|insight| insight.state == State::Start).count() as u64,
        records: summary.counters,
        objects: Objects {
            read: summary.objects_read,
            duplicate: summary.objects_duplicate,
            unreadable: summary.objects_unreadable,
            digests_passed_over: found.digests + summary.digests,
            insights_passed_over: found.insights,
            aggregated_passed_over: found.aggregated,
            network_activity_passed_over: found.network_activity,
            other_files_passed_over: found.other_files,
            stored_bytes: summary.stored_bytes,
            text_bytes: summary.text_bytes,
        },
        series: detector.series_count() as u64,
        accounts,
        timings: Timings {
            reading_seconds: summary.reading.as_secs_f64(),
            folding_seconds: summary.folding.as_secs_f64(),
            total_seconds: started.elapsed().as_secs_f64(),
        },
    }
}

/// What a person wants to know at the end.
fn closing_words(
    summary: &Summary,
    insights: &[Insight],
    rejects: &[Reject],
    started: Instant,
    written: Option<(&Path, &[String])>,
) -> String {
    let counters = &summary.counters;
    let seconds = started.elapsed().as_secs_f64();
    let mut text = format!(
        "read {} records in {} objects ({:.1} MB of text) in {seconds:.1} s\n",
        thousands(counters.read),
        thousands(summary.objects_read),
        summary.text_bytes as f64 / 1e6,
    );
    let parts = [
        ("scored", counters.scored),
        ("duplicate", counters.duplicate),
        ("filtered", counters.filtered),
        ("late", counters.late),
        ("malformed", counters.malformed),
        ("open", counters.open),
    ];
    let parts: Vec<String> = parts
        .iter()
        .filter(|(name, count)| *count > 0 || *name == "scored")
        .map(|(name, count)| format!("{} {name}", thousands(*count)))
        .collect();
    text += &format!("  {}\n", parts.join(", "));
    for reject in rejects {
        let at = reject.offset.map_or(String::new(), |offset| format!(" at byte {offset}"));
        text += &format!("  {}{at}: {}\n", reject.object, reject.reason);
    }
    if counters.malformed > rejects.len() as u64 {
        text += &format!("  and {} more\n", thousands(counters.malformed - rejects.len() as u64));
    }
    if counters.late > 0 {
        text += "  late records were delivered more than --lateness after they happened; a longer one counts them\n";
    }
    let starts = insights.iter().filter(|insight| insight.state == State::Start).count();
    text += &match starts {
        0 => "nothing unusual\n".to_owned(),
        1 => "1 incident\n".to_owned(),
        n => format!("{} incidents\n", thousands(n as u64)),
    };
    if let Some((root, files)) = written {
        text += &format!("wrote to {}:\n", root.display());
        for file in files {
            text += &format!("  {file}\n");
        }
    }
    text
}
