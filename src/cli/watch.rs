//! `highwater watch`: the sidecar. Flags to sources and settings; everything else lies in `sidecar` and `watch`.

use std::fs;
use std::io::IsTerminal;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, bail};
use clap::ValueEnum;
use tracing::{error, info};

use super::Ending;
use super::settings::{Flags, run_options};
use super::time::parse_time;
use crate::config::{Lateness, Settings, Sidecar, parse_memory};
use crate::event::Minute;
use crate::run::{self, Filter};
use crate::secret::Secret;
use crate::sidecar::{self, Ended, Process};
use crate::sink::{SEVERITIES, Severity, Sink, Webhook};
use crate::source::watched::{Dir, Http, S3, Source, Sqs};
use crate::source::{STDIN, listing};
use crate::store::state;
use crate::watch::{Clock, Options, Watch};

/// How late an event may be delivered, in minutes, before the minute it belongs to is judged.
const LATENESS_MINUTES: i64 = 30;

/// Secrets come from the environment, never from the command line, which everyone can list.
const PUSH_KEY: &str = "HIGHWATER_PUSH_KEY";
const WEBHOOK_SECRET: &str = "HIGHWATER_WEBHOOK_SECRET";

/// None where it is not set; empty, it was meant to be one.
fn secret(name: &str) -> anyhow::Result<Option<Secret>> {
    match std::env::var_os(name) {
        Some(_) => Secret::read(&format!("env:{name}")).map(Some).map_err(anyhow::Error::msg),
        None => Ok(None),
    }
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
    #[arg(long, value_name = "URL", value_parser = parse_trail)]
    s3: Vec<String>,
    /// With --s3: objects delivered from this day on [default: two days before what is open, or before now].
    #[arg(long, value_name = "TIME", value_parser = parse_time, requires = "s3")]
    since: Option<Minute>,
    /// A role to assume for queues and buckets.
    #[arg(long, value_name = "ARN")]
    role: Option<String>,
    /// A directory that grows; may be given several times.
    #[arg(long, value_name = "DIR")]
    dir: Vec<PathBuf>,
    /// Takes records that are pushed to this address: JSON lines to /records, Firehose to /firehose. Where others can
    /// reach it, senders must know the secret in HIGHWATER_PUSH_KEY, and it needs a certificate.
    #[arg(long, value_name = "ADDR")]
    listen: Option<SocketAddr>,
    /// PEM file with the certificate for --listen.
    #[arg(long, value_name = "FILE", requires_all = ["listen", "tls_key"])]
    tls_certificate: Option<PathBuf>,
    /// PEM file with its private key.
    #[arg(long, value_name = "FILE", requires = "tls_certificate")]
    tls_key: Option<PathBuf>,
    /// Serves /healthz, /readyz, /metrics and /version at this address; --listen serves them too
    /// [default: 127.0.0.1:9465].
    #[arg(long, value_name = "ADDR")]
    status: Option<SocketAddr>,
    /// Where the sidecar keeps what it knows. One directory for each sidecar.
    #[arg(long, value_name = "DIR")]
    state: Option<PathBuf>,
    /// Keeps the state in a bucket too, s3://BUCKET/PREFIX: another machine then goes on where this one stopped.
    #[arg(long, value_name = "URL", value_parser = parse_bucket)]
    mirror: Option<String>,
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
    /// A ceiling of this process's memory, such as 256MiB or 1GiB: what was not called for longest is forgotten.
    #[arg(long, value_name = "SIZE", value_parser = parse_memory)]
    memory: Option<u64>,
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

/// Everything that a run needs, from flags and file.
struct Plan {
    settings: Settings,
    sidecar: Sidecar,
    state: PathBuf,
}

pub(super) fn run(arguments: Arguments) -> anyhow::Result<Ending> {
    log_to_stderr();
    let process = Process::new()?;
    let ended = watch(&process, &arguments);
    process.end();
    ended
}

fn watch(process: &Process, arguments: &Arguments) -> anyhow::Result<Ending> {
    let file = arguments.settings.file();
    let mut text = file.as_deref().and_then(|file| fs::read_to_string(file).ok());
    let mut plan = plan(arguments)?;
    let mut earlier = None;
    loop {
        let mut next = None;
        let mut has_run = false;
        let mut changed = |asked: bool| {
            // It is asked once it runs.
            has_run = true;
            let Some(file) = file.as_deref() else { return false };
            let now = fs::read_to_string(file).ok();
            if !asked && now == text {
                return false;
            }
            text = now;
            next = match self::plan(arguments) {
                Ok(next) if next.state == plan.state => Some(next),
                Ok(_) => {
                    error!("another state directory needs another process; keeping the old configuration");
                    None
                }
                Err(error) => {
                    error!("keeping the old configuration: {}", super::told(&error));
                    None
                }
            };
            next.is_some()
        };
        let ended = start(process, arguments, &plan, &mut changed);
        if has_run {
            // What has run is no reason to go back.
            earlier = None;
        }
        match (ended, next) {
            (Ok(Ended::Done), _) => return Ok(Ending::Done),
            (Ok(Ended::Outrun), _) => {
                info!("another sidecar has written to the bucket meanwhile; fetching its state");
            }
            (Ok(Ended::Changed), next) => {
                info!("a new configuration");
                earlier = Some(match next {
                    Some(next) => std::mem::replace(&mut plan, next),
                    None => continue,
                });
            }
            (Err(error), _) => match earlier.take() {
                Some(earlier) => {
                    error!("going back to the old configuration: {}", super::told(&error));
                    plan = earlier;
                }
                None => return Err(error),
            },
        }
    }
}

fn plan(arguments: &Arguments) -> anyhow::Result<Plan> {
    let settings = arguments.settings.settings()?;
    let mut sidecar = Sidecar::read(arguments.settings.config())?;
    let state = arguments.state.clone().or(sidecar.watch.state.take());
    let state = state.context("where to keep what is known: name a directory with --state DIR, or state in [watch]")?;
    sidecar.sources.extend(sources(arguments)?);
    if sidecar.sources.is_empty() {
        bail!(
            "nothing to watch: name a queue (--sqs URL), a bucket (--s3 URL), a directory (--dir DIR), an address to listen at (--listen ADDR), standard input (-), or a [[source]] in highwater.toml"
        );
    }
    sidecar.sinks.extend(sinks(arguments)?);
    for source in &sidecar.sources {
        source.check().map_err(anyhow::Error::msg)?;
    }
    Ok(Plan { settings, sidecar, state })
}

fn start(
    process: &Process,
    arguments: &Arguments,
    plan: &Plan,
    changed: &mut dyn FnMut(bool) -> bool,
) -> anyhow::Result<Ended> {
    let Plan { settings, sidecar, state } = plan;
    let or = |flags: &[String], file: &[String]| if flags.is_empty() { file.to_vec() } else { flags.to_vec() };
    let filter = Filter {
        accounts: or(&arguments.account, &sidecar.watch.accounts),
        regions: or(&arguments.region, &sidecar.watch.regions),
        data_events: arguments.data_events || sidecar.watch.data_events,
        ..Filter::default()
    };
    let run = run_options(settings, filter);
    let (clock, run) = match arguments.frontier {
        Frontier::Delivery => (Clock::Delivery, run),
        Frontier::Clock => {
            let lateness_minutes = settings.lateness.and_then(Lateness::minutes).unwrap_or(LATENESS_MINUTES);
            (Clock::Wall, run::Options { lateness_minutes, ..run })
        }
    };
    let place = arguments.mirror.as_ref().or(sidecar.watch.mirror.as_ref()).and_then(|place| listing::place(place));
    let mirror = place.map(|place| process.fetch(place, arguments.role.as_deref(), state)).transpose()?;
    let detector = super::settings::detector(settings, settings.detector())?;
    let memory = arguments.memory.or(sidecar.watch.memory);
    let learns_lateness = settings.lateness == Some(Lateness::Auto);
    let watch = Watch::open(state, Options { run, clock, learns_lateness, memory }, detector)
        .with_context(|| format!("the state in {}", state.display()))?;
    info!(
        version = env!("CARGO_PKG_VERSION"),
        state = %state.display(),
        frontier = %watch.frontier(),
        series = watch.series_count(),
        "watching"
    );
    let options = sidecar::Options {
        clock,
        sources: sidecar.sources.clone(),
        insights: arguments.insights.clone().or(sidecar.watch.insights.clone()),
        sinks: sidecar.sinks.clone(),
        status: arguments.status.or(sidecar.watch.status),
        until_idle: arguments.until_idle,
        mirror,
    };
    process.run(watch, options, changed)
}

fn parse_trail(text: &str) -> Result<String, String> {
    listing::trail(text).map(|_| text.to_owned())
}

fn parse_bucket(text: &str) -> Result<String, String> {
    listing::place(text).map(|_| text.to_owned()).ok_or_else(|| format!("{text}: not like s3://BUCKET/PREFIX"))
}

/// Those that flags name.
fn sources(arguments: &Arguments) -> anyhow::Result<Vec<Source>> {
    let role = &arguments.role;
    let sqs = |url: &String| Source::Sqs(Sqs { url: url.clone(), region: None, role: role.clone() });
    let s3 = |url: &String| Source::S3(S3 { url: url.clone(), role: role.clone(), since: arguments.since });
    let dir = |path: &PathBuf| Source::Dir(Dir { path: path.clone() });
    let mut sources: Vec<Source> = arguments.sqs.iter().map(sqs).collect();
    sources.extend(arguments.s3.iter().map(s3));
    sources.extend(arguments.dir.iter().map(dir));
    if let Some(listen) = arguments.listen {
        sources.push(Source::Http(Http {
            listen,
            key: secret(PUSH_KEY)?,
            certificate: arguments.tls_certificate.clone(),
            private_key: arguments.tls_key.clone(),
            plaintext: false,
        }));
    }
    match arguments.input.as_deref() {
        Some(STDIN) => sources.push(Source::Stdin),
        Some(other) => bail!("{other}: only - (standard input) can be named so; directories are given with --dir"),
        None => {}
    }
    Ok(sources)
}

fn sinks(arguments: &Arguments) -> anyhow::Result<Vec<Sink>> {
    let severity = arguments.webhook_severity.as_deref().and_then(Severity::parse);
    let sink = |url: &String| -> anyhow::Result<Sink> {
        let webhook = Webhook { url: Some(url.clone()), secret: secret(WEBHOOK_SECRET)?, ..Webhook::default() };
        Ok(Sink { name: Some(name_of(url)), severity, webhook: Some(webhook), ..Sink::default() })
    };
    arguments.webhook.iter().map(sink).collect()
}

/// Under which it is remembered what a URL has been sent: the same whatever other flags there are.
fn name_of(url: &str) -> String {
    let uri: http::Uri = url.parse().unwrap_or_default();
    let plain = |c: &char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-');
    let host: String = uri.host().unwrap_or_default().chars().filter(plain).take(40).collect();
    format!("webhook-{host}-{:08x}", state::checksum(url.as_bytes()))
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
