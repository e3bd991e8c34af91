//! `highwater watch`: the sidecar. Flags to sources and settings; everything else lies in `sidecar` and `watch`.

use std::io::IsTerminal;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, bail};
use clap::ValueEnum;
use tracing::info;

use super::Ending;
use super::settings::{Flags, run_options};
use super::time::parse_time;
use crate::event::{MINUTES_PER_DAY, Minute};
use crate::run::{self, Filter};
use crate::sidecar::{self, Source};
use crate::sink::webhook::{SEVERITIES, Webhook};
use crate::source::{STDIN, listing};
use crate::watch::{Clock, Options, Watch};

/// How late an event may be delivered, in minutes, before the minute it belongs to is judged.
const LATENESS_MINUTES: i64 = 30;

/// Secrets come from the environment, never from the command line, which everyone can list.
const PUSH_KEY: &str = "HIGHWATER_PUSH_KEY";
const WEBHOOK_SECRET: &str = "HIGHWATER_WEBHOOK_SECRET";

fn secret(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|secret| !secret.is_empty())
}

#[derive(clap::Args)]
#[command(after_help = "Examples:\n  \
    highwater watch --sqs https://sqs.eu-west-1.amazonaws.com/123456789012/trail --state state --insights insights.jsonl\n  \
    highwater watch --dir /var/log/cloudtrail --state state\n  \
    tail -F events.jsonl | highwater watch - --state state")]
pub(super) struct Arguments {
    /// `-`: JSON lines from standard input.
    #[arg(value_name = "-")]
    input: Option<String>,
    /// A queue that announces the trail's objects in S3; may be given several times.
    #[arg(long, value_name = "URL")]
    sqs: Vec<String>,
    /// A bucket without a queue, s3://BUCKET/PREFIX, listed twice a minute; may be given several times.
    #[arg(long, value_name = "URL", value_parser = parse_bucket)]
    s3: Vec<(String, String)>,
    /// With --s3: objects delivered from this day on [default: two days before what is open, or before now].
    #[arg(long, value_name = "TIME", value_parser = parse_time, requires = "s3")]
    since: Option<Minute>,
    /// A role to assume for queues and buckets.
    #[arg(long, value_name = "ARN")]
    role: Option<String>,
    /// A directory that grows; may be given several times.
    #[arg(long, value_name = "DIR")]
    dir: Vec<PathBuf>,
    /// Takes records that are pushed to this address: JSON lines to /records, Firehose to /firehose. Senders from
    /// elsewhere than this machine must know the secret in HIGHWATER_PUSH_KEY.
    #[arg(long, value_name = "ADDR")]
    listen: Option<SocketAddr>,
    /// Serves /healthz, /readyz, /metrics and /version at this address; --listen serves them too.
    #[arg(long, value_name = "ADDR")]
    status: Option<SocketAddr>,
    /// Where the sidecar keeps what it knows. One directory for each sidecar.
    #[arg(long, value_name = "DIR")]
    state: PathBuf,
    /// Appends each insight to this file too.
    #[arg(long, value_name = "FILE")]
    insights: Option<PathBuf>,
    /// Sends each insight to this URL as a POST of JSON; may be given several times. Signed with the secret in
    /// HIGHWATER_WEBHOOK_SECRET, if there is one.
    #[arg(long, value_name = "URL")]
    webhook: Vec<String>,
    /// Sends only what is at least as severe.
    #[arg(long, value_name = "SEVERITY", requires = "webhook", value_parser = SEVERITIES)]
    webhook_severity: Option<String>,
    /// What moves time: the clock, while the sources have nothing more; or, for an old trail, its days of delivery.
    #[arg(long, value_enum, default_value_t = Frontier::Clock)]
    frontier: Frontier,
    /// Closes everything and ends once nothing came for so long, such as 60s or 5m, and the sources have nothing more.
    #[arg(long, value_name = "LENGTH", value_parser = parse_length)]
    until_idle: Option<Duration>,
    /// Only this account; may be given several times.
    #[arg(long, value_name = "ID")]
    account: Vec<String>,
    /// Only this Region; may be given several times.
    #[arg(long, value_name = "NAME")]
    region: Vec<String>,
    /// Scores data events too.
    #[arg(long)]
    data_events: bool,
    #[command(flatten)]
    settings: Flags,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Frontier {
    Clock,
    Delivery,
}

pub(super) fn run(arguments: Arguments) -> anyhow::Result<Ending> {
    log_to_stderr();
    let settings = arguments.settings.settings()?;
    let filter = Filter {
        accounts: arguments.account.clone(),
        regions: arguments.region.clone(),
        data_events: arguments.data_events,
        ..Filter::default()
    };
    let run = run_options(&settings, filter);
    let (clock, run) = match arguments.frontier {
        Frontier::Delivery => (Clock::Delivery, run),
        Frontier::Clock => {
            let lateness_minutes = settings.lateness_minutes.unwrap_or(LATENESS_MINUTES);
            (Clock::Wall, run::Options { lateness_minutes, ..run })
        }
    };
    let detector = super::settings::detector(&settings, settings.detector())?;
    let watch = Watch::open(&arguments.state, Options { run, clock }, detector)
        .with_context(|| format!("the state in {}", arguments.state.display()))?;
    let since = arguments.since.unwrap_or_else(|| first_day(watch.frontier()));
    let sources = sources(&arguments, since)?;
    info!(
        version = env!("CARGO_PKG_VERSION"),
        state = %arguments.state.display(),
        frontier = %watch.frontier(),
        series = watch.series_count(),
        "watching"
    );
    let secret = secret(WEBHOOK_SECRET);
    let severity_min = arguments.webhook_severity;
    let webhook = |url| Webhook { url, secret: secret.clone(), severity_min: severity_min.clone() };
    let options = sidecar::Options {
        clock,
        sources,
        insights: arguments.insights,
        webhooks: arguments.webhook.into_iter().map(webhook).collect(),
        status: arguments.status,
        until_idle: arguments.until_idle,
    };
    sidecar::run(watch, options)?;
    Ok(Ending::Done)
}

/// Where listing begins: with what can still count.
fn first_day(frontier: Minute) -> Minute {
    let now = Minute::of_second(chrono::Utc::now().timestamp());
    Minute((if frontier.0 > 0 { frontier.0.min(now.0) } else { now.0 }) - 2 * MINUTES_PER_DAY)
}

fn parse_bucket(text: &str) -> Result<(String, String), String> {
    listing::parse(text).ok_or_else(|| format!("{text}: not like s3://BUCKET/PREFIX"))
}

fn sources(arguments: &Arguments, since: Minute) -> anyhow::Result<Vec<Source>> {
    let mut sources: Vec<Source> = arguments
        .sqs
        .iter()
        .map(|url| Source::Sqs { url: url.clone(), region: None, role_arn: arguments.role.clone() })
        .chain(arguments.s3.iter().cloned().map(|(bucket, prefix)| Source::Listing {
            bucket,
            prefix,
            role_arn: arguments.role.clone(),
            since,
        }))
        .chain(arguments.dir.iter().cloned().map(Source::Folder))
        .collect();
    if let Some(address) = arguments.listen {
        sources.push(Source::Push { address, key: secret(PUSH_KEY) });
    }
    match arguments.input.as_deref() {
        Some(STDIN) => sources.push(Source::Stdin),
        Some(other) => bail!("{other}: only - (standard input) can be named so; directories are given with --dir"),
        None => {}
    }
    if sources.is_empty() {
        bail!(
            "nothing to watch: name a queue (--sqs URL), a bucket (--s3 URL), a directory (--dir DIR), an address to listen at (--listen ADDR) or standard input (-)"
        );
    }
    Ok(sources)
}

/// Words for people, JSON for machines.
fn log_to_stderr() {
    let log = tracing_subscriber::fmt().with_max_level(tracing::Level::INFO).with_writer(std::io::stderr);
    if std::io::stderr().is_terminal() {
        log.with_target(false).init();
    } else {
        log.json().with_target(false).init();
    }
}

/// `60s`, `5m`, `2h`.
fn parse_length(text: &str) -> Result<Duration, String> {
    let wrong = || format!("{text}: not a length of time like 60s, 5m or 2h");
    let (number, unit) = text.split_at_checked(text.len().wrapping_sub(1)).ok_or_else(wrong)?;
    let seconds = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3_600,
        _ => return Err(wrong()),
    };
    let number: u32 = number.parse().map_err(|_| wrong())?;
    Ok(Duration::from_secs(u64::from(number) * seconds))
}
