//! `highwater mute` and `highwater feedback`: what people do not want to hear of, for a while, or because it is a run
//! that they expect. Both write `mutes.json` of a state directory, which a running sidecar reads within a second.

use std::io::{self, Write};
use std::path::PathBuf;

use anyhow::{Context, bail};
use uuid::Uuid;

use super::Ending;
use super::explain::find;
use super::time::parse_time;
use crate::config::{Sidecar, parse_minutes};
use crate::event::{MINUTES_PER_DAY, Minute};
use crate::insight::mute::{Glob, Mute, Mutes, Run, api_name, leading_principal, principal_names};
use crate::insight::trail::TrailRecord;
use crate::report;
use crate::store::{self, mutes};

/// A mute that is over is listed for so long.
const LISTED_AFTER_MINUTES: i64 = 7 * MINUTES_PER_DAY;

/// An expected run may begin so much earlier or later.
const RUN_SPREAD_MINUTES: i64 = 30;

/// A run beyond so many times the size of the one that was shown is news.
const RUN_SIZE_MAX: f64 = 2.0;

#[derive(clap::Args)]
#[command(after_help = "Examples:\n  \
    highwater mute --api ec2:RunInstances --principal role/deploy --until 2026-12-01 --reason CHG-123 --state state\n  \
    highwater mute --list --state state\n  \
    highwater mute --undo m-1f0c2d3e --state state")]
pub(super) struct MuteArguments {
    /// Service and name, such as ec2:RunInstances; with * and ?.
    #[arg(long, value_name = "API", value_parser = Glob::new)]
    api: Option<Glob>,
    /// Who makes at least half of the extra calls: an ARN, or the part after its account, such as role/deploy; with * and ?.
    #[arg(long, value_name = "NAME", value_parser = Glob::new)]
    principal: Option<Glob>,
    /// With * and ?.
    #[arg(long, value_name = "ID", value_parser = Glob::new)]
    account: Option<Glob>,
    /// With * and ?.
    #[arg(long, value_name = "NAME", value_parser = Glob::new)]
    region: Option<Glob>,
    /// Incidents that begin before this time: 2026-12-01, 2026-12-01T08:00:00Z, or a length from now such as 4h.
    #[arg(long, value_name = "TIME", value_parser = parse_until)]
    until: Option<Minute>,
    /// Why, such as a ticket.
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
    /// Nothing is learned from the muted incidents: once the mute is over, their size is as unusual as before.
    #[arg(long)]
    no_learning: bool,
    /// Prints what is muted.
    #[arg(long, conflicts_with_all = ["api", "principal", "account", "region", "until", "reason", "no_learning", "undo"])]
    list: bool,
    /// Takes a mute, or an expected run, back.
    #[arg(long, value_name = "ID", conflicts_with_all = ["api", "principal", "account", "region", "until", "reason", "no_learning"])]
    undo: Option<String>,
    #[command(flatten)]
    state: State,
}

#[derive(clap::Args)]
#[command(
    after_help = "The run is expected at the same time of day (or of the week), by the same principal, up to twice its size.\n\n\
    Examples:\n  \
    highwater feedback 4 --expected \"nightly backup\" --state state\n  \
    highwater feedback --undo m-1f0c2d3e --state state"
)]
pub(super) struct FeedbackArguments {
    /// The incident: its sharedEventID, the beginning of it, or its place in insights.jsonl, from 1.
    #[arg(value_name = "ID", required_unless_present = "undo", conflicts_with = "undo")]
    id: Option<String>,
    /// What it is: from now on its runs are recorded and told to nobody.
    #[arg(long, value_name = "TEXT", required_unless_present = "undo")]
    expected: Option<String>,
    /// It comes once a week, not daily.
    #[arg(long, conflicts_with = "undo")]
    weekly: bool,
    /// Takes it back.
    #[arg(long, value_name = "ID")]
    undo: Option<String>,
    #[command(flatten)]
    state: State,
}

#[derive(clap::Args)]
struct State {
    /// The sidecar's directory [default: state in the [watch] table of highwater.toml].
    #[arg(long, value_name = "DIR")]
    state: Option<PathBuf>,
}

impl State {
    fn directory(&self) -> anyhow::Result<PathBuf> {
        let directory = match &self.state {
            Some(directory) => directory.clone(),
            None => Sidecar::read(None)?.watch.state.context("name the sidecar's directory with --state DIR")?,
        };
        if !directory.is_dir() {
            bail!("{}: no such directory; a sidecar keeps its state there", directory.display());
        }
        Ok(directory)
    }
}

pub(super) fn run(arguments: MuteArguments) -> anyhow::Result<Ending> {
    let directory = arguments.state.directory()?;
    if arguments.list {
        return list(&mutes::read(&directory)?, &told(&directory)?);
    }
    if let Some(id) = &arguments.undo {
        return undo(&directory, id);
    }
    if arguments.no_learning && arguments.principal.is_some() && arguments.api.is_none() {
        bail!("--no-learning is by API, not by who calls it: name the API too, with --api");
    }
    let MuteArguments { api, principal, account, region, until, reason, no_learning, .. } = arguments;
    if [&api, &principal, &account, &region].iter().all(|part| part.is_none()) {
        bail!(
            "what to mute: name an API (--api), a principal (--principal), an account or a Region; --list shows what is muted"
        );
    }
    let until = until.context("until when: --until 2026-12-01, or --until 4h")?;
    if until <= now() {
        bail!("{until} is over: a mute ends in the future");
    }
    let reason = reason.context("why: --reason TEXT, such as a ticket, for those who wonder later")?;
    let mute = Mute {
        account,
        region,
        api,
        principal,
        until_minute: Some(until.0),
        unlearned: no_learning,
        ..new_mute(reason)
    };
    add(&directory, mute)
}

pub(super) fn feedback(arguments: FeedbackArguments) -> anyhow::Result<Ending> {
    let directory = arguments.state.directory()?;
    if let Some(id) = &arguments.undo {
        return undo(&directory, id);
    }
    let (Some(id), Some(expected)) = (arguments.id, arguments.expected) else {
        bail!("name an incident and what it is")
    };
    let incidents = report::pair(told(&directory)?);
    let named = || format!("{} has no incident to speak of", directory.display());
    let (_, (start, end)) = find(&incidents, &id).with_context(named)?;
    let began = report::time_of(start);
    let recurrence = start.highwater.as_ref().and_then(|highwater| highwater.recurrence.as_ref());
    let period_minutes = match (arguments.weekly, recurrence) {
        (true, _) => 7 * MINUTES_PER_DAY,
        (false, Some(recurrence)) => i64::from(recurrence.period_minutes),
        (false, None) => MINUTES_PER_DAY,
    };
    // An hourly job has less room.
    let spread = RUN_SPREAD_MINUTES.min(period_minutes / 4);
    let average = |record: &TrailRecord| record.insight_details.insight_context.statistics.insight.average.0;
    let largest = end.as_ref().map_or(0.0, average).max(average(start));
    let details = &start.insight_details;
    // Without its session: the next run has another.
    let principal = leading_principal(start).map(|arn| {
        let names = principal_names(arn);
        Glob::exact(names.last().map_or(arn, String::as_str))
    });
    let mute = Mute {
        account: Some(Glob::exact(&start.recipient_account_id)),
        region: Some(Glob::exact(&start.aws_region)),
        api: Some(Glob::exact(&api_name(&details.event_source, &details.event_name))),
        error_code: Some(details.error_code.clone().unwrap_or_default()),
        principal,
        run: Some(Run {
            period_minutes,
            phase_minutes: (began.0 - spread).rem_euclid(period_minutes),
            spread_minutes: 2 * spread,
            average_max: largest * RUN_SIZE_MAX,
        }),
        ..new_mute(expected)
    };
    add(&directory, mute)
}

/// Writes it down, and says what it would have muted of what was told.
fn add(directory: &std::path::Path, mute: Mute) -> anyhow::Result<Ending> {
    let (id, words) = (mute.id.clone(), mute.words());
    let records = told(directory)?;
    mutes::edit(directory, |list| {
        let now = now();
        list.mutes.retain(|mute| mute.until_minute.is_none_or(|until| until + LISTED_AFTER_MINUTES > now.0));
        list.mutes.push(mute.clone());
    })?;
    let mut out = io::stdout().lock();
    let until = mute.until_minute.map(|until| format!(", until {}", Minute(until))).unwrap_or_default();
    writeln!(out, "{id}: {words}{until}")?;
    let starts = records.iter().filter(|record| record.insight_details.state == "Start");
    // Those of the past too: a mute by its end alone would say nothing.
    let silenced: Vec<&TrailRecord> = starts.filter(|record| mute.fits(record)).collect();
    writeln!(
        out,
        "Of the {} told so far it would have kept back {}.",
        count(records.iter(), "incident"),
        silenced.len()
    )?;
    for record in silenced {
        let details = &record.insight_details;
        let api = api_name(&details.event_source, &details.event_name);
        let average = details.insight_context.statistics.insight.average.text();
        let error = details.error_code.as_ref().map(|code| format!(" {code}")).unwrap_or_default();
        writeln!(
            out,
            "  {}  {}  {}  {api}{error}, {average} a minute  {}",
            record.event_time, record.recipient_account_id, record.aws_region, record.shared_event_id
        )?;
    }
    writeln!(out, "To take it back: highwater mute --undo {id}")?;
    Ok(Ending::Done)
}

fn count<'a>(records: impl Iterator<Item = &'a TrailRecord>, what: &str) -> String {
    let count = records.filter(|record| record.insight_details.state == "Start").count();
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

fn undo(directory: &std::path::Path, id: &str) -> anyhow::Result<Ending> {
    let removed = mutes::edit(directory, |list| {
        let before = list.mutes.len();
        list.mutes.retain(|mute| mute.id != id);
        before > list.mutes.len()
    })?;
    if !removed {
        bail!("{id}: no such mute; highwater mute --list shows all");
    }
    writeln!(io::stdout(), "{id}: taken back")?;
    Ok(Ending::Done)
}

fn list(mutes: &Mutes, records: &[TrailRecord]) -> anyhow::Result<Ending> {
    let mut out = io::stdout().lock();
    if mutes.mutes.is_empty() {
        writeln!(out, "Nothing is muted.")?;
    }
    for mute in &mutes.mutes {
        let by = |record: &&TrailRecord| {
            record.highwater.as_ref().is_some_and(|highwater| highwater.muted_by.as_ref() == Some(&mute.id))
        };
        let kept_back = count(records.iter().filter(by), "incident");
        let until = match mute.until_minute.map(Minute) {
            Some(until) if until <= now() => format!("over since {until}"),
            Some(until) => format!("until {until}"),
            None => "until taken back".to_owned(),
        };
        writeln!(
            out,
            "{}  {until}  {}\n    {}; made {}; kept back {kept_back}",
            mute.id,
            mute.reason,
            mute.words(),
            mute.made
        )?;
    }
    Ok(Ending::Done)
}

/// What was told so far; before the first commit, nothing.
fn told(directory: &std::path::Path) -> anyhow::Result<Vec<TrailRecord>> {
    if !directory.join("insights.jsonl").exists() {
        return Ok(Vec::new());
    }
    Ok(store::read_insights(directory)?)
}

fn new_mute(reason: String) -> Mute {
    let id = Uuid::new_v4().simple().to_string();
    Mute {
        id: format!("m-{}", &id[..8]),
        made: chrono::Utc::now().format("%Y-%m-%dT%H:%M:%SZ").to_string(),
        reason,
        account: None,
        region: None,
        api: None,
        error_code: None,
        principal: None,
        until_minute: None,
        run: None,
        unlearned: false,
    }
}

fn now() -> Minute {
    Minute::of_second(chrono::Utc::now().timestamp())
}

/// Lengths count from now on.
fn parse_until(text: &str) -> Result<Minute, String> {
    match parse_minutes(text) {
        Ok(minutes) => Ok(Minute(now().0 + minutes)),
        Err(_) => parse_time(text)
            .map_err(|_| format!("{text}: neither a date, a time like 2026-12-01T08:00:00Z, nor a length like 4h")),
    }
}
