//! The live loop: sources to [`Watch`] to whoever listens. Owns the runtime, asks for the time, and decides when to
//! commit and when to end. Knows neither flags nor what a commit does.

use std::collections::VecDeque;
use std::fs::File;
use std::io::Write;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use crate::event::{MINUTES_PER_DAY, Minute, ObjectName};
use crate::http::Server;
use crate::insight::State;
use crate::mirror::{Failed, Mirror, TakenOver};
use crate::sink::{self, Copy, EARLY_MAX, Sink};
use crate::source::listing::Listing;
use crate::source::live::{Feed, Line, Ticket, now_s};
use crate::source::sqs::Sqs;
use crate::source::{Source, folder, listing, push, stdin};
use crate::status::{NotifyState, Status, tell_manager};
use crate::store::mutes;
use crate::watch::{Clock, Committed, Delivery, Early, Watch, WatchError};

pub struct Options {
    pub clock: Clock,
    pub sources: Vec<Source>,
    /// A file that gets every line of `insights.jsonl`.
    pub insights: Option<PathBuf>,
    pub sinks: Vec<Sink>,
    /// Where health and metrics are served; pushes have them beside them anyway.
    pub status: Option<SocketAddr>,
    /// Ends, with everything closed, once nothing came for so long and all sources are known to be empty.
    pub until_idle: Option<Duration>,
    /// Nothing is safe before it is there too.
    pub mirror: Option<Mirror>,
}

impl Options {
    fn reads_stdin(&self) -> bool {
        self.sources.iter().any(|source| matches!(source, Source::Stdin))
    }
}

/// Deliveries wait for a commit for at most so long, and until they have at most so many bytes.
const COMMIT_AGE: Duration = Duration::from_millis(250);
const COMMIT_BYTES: usize = 64 << 20;

/// Deliveries on their way from the sources: few, because each may be large.
const FEEDS: usize = 32;

/// Wait after a commit that failed, doubled each time up to the most.
const RETRY: Duration = Duration::from_millis(200);
const RETRY_MAX: Duration = Duration::from_secs(10);

/// How often a change of the configuration is looked for.
const RELOAD_EVERY: Duration = Duration::from_secs(1);

/// Where health and metrics are served unless told otherwise.
const STATUS: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 9184);

/// All is over by then. This and the next five are counted from the signal, whatever we were doing when it came: whoever
/// sent it kills after a while. Without a signal they are counted from the last commit on.
const LAST_WORDS: Duration = Duration::from_secs(15);

/// How long a bucket may take for the commit in hand; for the last one, and a snapshot.
const LAST_FOLLOW: Duration = Duration::from_secs(5);
const LAST_SNAPSHOT: Duration = Duration::from_secs(8);

/// How long receivers may take; then the bucket, for the places that they have reached; then sources, for what they have
/// to tell their queues.
const LAST_SENDING: Duration = Duration::from_secs(10);
const LAST_NOTE: Duration = Duration::from_secs(11);
const LAST_REQUESTS: Duration = Duration::from_secs(13);

/// The same before a new configuration, for which nobody should wait: what receivers have not taken lies on the disk.
const RELOAD_SENDING: Duration = Duration::from_secs(1);
const RELOAD_REQUESTS: Duration = Duration::from_secs(5);

/// Whoever is told to go leaves within this.
const GOING: Duration = Duration::from_secs(1);

/// How long it may take to take in what standard input has read.
const HEAR_OUT: Duration = Duration::from_secs(5);

/// Whoever waits for a bucket says so often that it is alive.
const TURN_EVERY: Duration = Duration::from_secs(5);

/// What the loop knows of a source.
struct Known {
    name: String,
    safe: mpsc::UnboundedSender<Vec<Ticket>>,
    /// Not committed yet.
    tickets: Vec<Ticket>,
    drained_s: Option<i64>,
    /// The newest delivery of all when it last was empty: what was delivered before is here.
    newest: Option<Minute>,
}

/// Where what a commit said goes.
struct Outlets {
    copy: Option<Copy>,
    provisional: Option<File>,
    /// How far `insights.jsonl` is safe.
    end: tokio::sync::watch::Sender<u64>,
    early: Vec<EarlyLine>,
    mirror: Option<Mirror>,
    /// How long after the signal it is still tried.
    mirror_within: Duration,
    runtime: tokio::runtime::Handle,
    stop: Stop,
}

/// Early words on their way to a receiver, and what became of some: those wait while it lags behind.
struct EarlyLine {
    words: mpsc::Sender<String>,
    settled: VecDeque<String>,
}

impl EarlyLine {
    fn say(&mut self, line: &Early, text: &str) {
        self.catch_up();
        let full = !self.settled.is_empty() || self.words.try_send(text.to_owned()).is_err();
        // Without its early word a receiver hears the final one; one whose early word was wrong must hear that.
        if full && matches!(line, Early::Settled { .. }) && !self.words.is_closed() {
            self.settled.push_back(text.to_owned());
        }
    }

    fn catch_up(&mut self) {
        while let Some(text) = self.settled.pop_front() {
            if self.words.try_send(text.clone()).is_err() {
                self.settled.push_front(text);
                return;
            }
        }
    }
}

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// It was told to, or is idle, or all sources have ended.
    Done,
    /// The configuration is another one: start again.
    Changed,
}

/// Told to end, and when.
#[derive(Clone, Default)]
struct Stop {
    token: CancellationToken,
    at: Arc<OnceLock<Instant>>,
}

impl Stop {
    /// When the signal came; now, without one.
    fn at(&self) -> Instant {
        self.at.get().copied().unwrap_or_else(Instant::now)
    }

    fn is_told(&self) -> bool {
        self.token.is_cancelled()
    }
}

/// What outlasts a change of configuration: threads, and an ear for signals.
pub struct Process {
    runtime: tokio::runtime::Runtime,
    stop: Stop,
    /// Something was taken in that a last commit must make safe. Before, a signal ends the process at once, however long
    /// the state takes to be opened.
    in_hand: Arc<AtomicBool>,
    /// SIGHUP came.
    asked_to_reload: Arc<AtomicBool>,
}

impl Process {
    pub fn new() -> anyhow::Result<Process> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .thread_name("highwater")
            .enable_all()
            .build()
            .context("starting the runtime")?;
        let process =
            Process { runtime, stop: Stop::default(), in_hand: Arc::default(), asked_to_reload: Arc::default() };
        let (stop, in_hand) = (process.stop.clone(), process.in_hand.clone());
        process.runtime.spawn(hear_signals(stop, in_hand, process.asked_to_reload.clone()));
        Ok(process)
    }

    /// Fetches the state that a bucket keeps, before the directory is opened.
    pub fn fetch(&self, place: (String, String), role_arn: Option<&str>, directory: &Path) -> anyhow::Result<Mirror> {
        let fetched = async {
            let mut mirror = Mirror::new(place, role_arn, directory).await;
            let mut wait = RETRY;
            while let Err(error) = mirror.fetch().await {
                if !error.downcast_ref().is_some_and(|failed: &Failed| failed.is_passing) {
                    return Err(error);
                }
                warn!("the state cannot be fetched; trying again: {error:#}");
                tokio::time::sleep(wait).await;
                wait = (wait * 2).min(RETRY_MAX);
            }
            Ok(mirror)
        };
        self.runtime.block_on(async {
            tokio::select! {
                fetched = fetched => fetched,
                () = self.stop.token.cancelled() => bail!("told to end before the state was fetched from the bucket"),
            }
        })
    }

    /// Runs until it is told to end, is idle, or `changed` says that the configuration is another one. `changed` is
    /// asked once a second; it is told whether somebody asked for it.
    pub fn run(&self, watch: Watch, options: Options, changed: &mut dyn FnMut(bool) -> bool) -> anyhow::Result<Ended> {
        let reload = || changed(self.asked_to_reload.swap(false, Ordering::Relaxed));
        let reads_stdin = options.reads_stdin();
        self.in_hand.store(true, Ordering::SeqCst);
        let ended = run(&self.runtime, &self.stop, watch, options, reload);
        // It is read on while the next configuration starts.
        self.in_hand.store(reads_stdin, Ordering::SeqCst);
        match ended {
            Ok(Ended::Changed) if self.stop.is_told() && !reads_stdin => Ok(Ended::Done),
            ended => ended,
        }
    }

    /// What still runs is of no promise: a name that is looked up, a picture that is drawn. Nobody waits for it.
    pub fn end(self) {
        self.runtime.shutdown_background();
    }
}

fn run(
    runtime: &tokio::runtime::Runtime,
    stop: &Stop,
    mut watch: Watch,
    options: Options,
    mut changed: impl FnMut() -> bool,
) -> anyhow::Result<Ended> {
    let reads_stdin = options.reads_stdin();
    let mut copy = options.insights.as_ref().map(|path| Copy::open(path)).transpose()?;
    catch_up(copy.as_mut(), &watch)?;
    let provisional = match options.clock {
        Clock::Wall => {
            let path = watch.insights_path().with_file_name("provisional.jsonl");
            Some(File::options().append(true).create(true).open(&path).with_context(|| path.display().to_string())?)
        }
        Clock::Delivery => None,
    };
    let (end, _) = tokio::sync::watch::channel(watch.insights_bytes());
    let mut early = Vec::new();
    let mut sending = JoinSet::new();
    let stop_sending = CancellationToken::new();
    let status = Arc::new(Status::default());
    // Sinks say how far behind it they are, before the first commit too.
    status.update(|figures| figures.insights_bytes = watch.insights_bytes());
    for follower in sink::open(options.sinks, watch.insights_path(), watch.insights_bytes())? {
        status.add_sink(follower.name(), follower.progress());
        let (words, inbox) = mpsc::channel(EARLY_MAX);
        early.push(EarlyLine { words, settled: VecDeque::new() });
        sending.spawn_on(follower.run(end.subscribe(), inbox, stop_sending.clone()), runtime.handle());
    }
    status.turn();
    let (feeds, mut inbox) = mpsc::channel(FEEDS);
    let mut known = Vec::new();
    let mut running = JoinSet::new();
    let stop_sources = stop.token.child_token();
    // What standard input has read nobody can send again.
    let mut reading = JoinSet::new();
    // The server answers until the last request is safe: it ends after the loop.
    let stop_serving = CancellationToken::new();
    let mut serving = JoinSet::new();
    match runtime.block_on(Server::bind(options.status.unwrap_or(STATUS), None)) {
        Ok(server) => {
            serving.spawn_on(server.serve(status.clone(), None, stop_serving.clone()), runtime.handle());
        }
        Err(error) if options.status.is_some() => return Err(error),
        // Nobody asked for it there: a second sidecar on the same machine may have it.
        Err(error) => info!("health and metrics are not served: {error:#}"),
    }
    let since = first_day(watch.frontier());
    for (place, source) in options.sources.into_iter().enumerate() {
        let (safe, safe_line) = mpsc::unbounded_channel();
        let line = Line { source: place, feeds: feeds.clone(), safe: safe_line, stop: stop_sources.clone() };
        known.push(Known { name: source.name(), safe, tickets: Vec::new(), drained_s: None, newest: None });
        if let Source::Http(http) = source {
            let tls = http.certificate.zip(http.private_key);
            let server = runtime.block_on(Server::bind(http.listen, tls))?;
            let (push, task) = push::push(line, http.key, watch.frontier().0 > 0);
            running.spawn_on(task, runtime.handle());
            serving.spawn_on(server.serve(status.clone(), Some(push), stop_serving.clone()), runtime.handle());
        } else {
            let tasks = if matches!(source, Source::Stdin) { &mut reading } else { &mut running };
            tasks.spawn_on(start(source, since, line), runtime.handle());
        }
    }
    drop(feeds);
    // One that never works is seen to grow old, also where nothing is ever committed.
    status.update(|figures| figures.drained_s = known.iter().map(|source| (source.name.clone(), None)).collect());
    status.set_ready(true);
    tell_manager(NotifyState::Ready);

    let mut outlets = Outlets {
        copy,
        provisional,
        end,
        early,
        mirror: options.mirror,
        mirror_within: LAST_FOLLOW,
        runtime: runtime.handle().clone(),
        stop: stop.clone(),
    };
    if outlets.mirror.is_some() {
        // With a snapshot of its own it takes the place of whoever wrote to the bucket before.
        watch.take_snapshot().context("the first snapshot")?;
        outlets.follow_until_told(&watch, &status)?;
    }
    let (mut bytes, mut waiting_since) = (0, None::<Instant>);
    let mut last_delivery_s = now_s();
    let mut committed_up_to = None;
    let idle_s = options.until_idle.map(|idle| idle.as_secs() as i64);
    let mut is_idle = false;
    let mut mutes = mutes::Followed::new(watch.directory());
    let mut ended = Ended::Done;
    let (mut asked_at, mut looked_at) = (Instant::now(), Instant::now());
    while !stop.is_told() && !is_idle {
        status.turn();
        let mut is_muted_anew = false;
        match mutes.changed() {
            Some(Ok(mutes)) => {
                info!(mutes = mutes.mutes.len(), "what is muted was read");
                watch.mute(mutes);
                is_muted_anew = true;
            }
            Some(Err(error)) => error!("keeping the mutes as they were: {error}"),
            None => {}
        }
        if asked_at.elapsed() >= RELOAD_EVERY {
            asked_at = Instant::now();
            if changed() {
                ended = Ended::Changed;
                break;
            }
        }
        let wait = waiting_since.map_or(COMMIT_AGE, |since| COMMIT_AGE.saturating_sub(since.elapsed()));
        let feed = runtime.block_on(async {
            tokio::select! {
                () = stop.token.cancelled() => None,
                feed = inbox.recv() => feed,
                () = tokio::time::sleep(wait) => None,
            }
        });
        if let Some((place, feed)) = feed {
            if matches!(feed, Feed::Delivery { .. } | Feed::Parked { .. }) {
                last_delivery_s = now_s();
                waiting_since.get_or_insert_with(Instant::now);
            }
            bytes += take(&mut watch, &mut known[place], feed, &status);
        }
        let drained_s = known.iter().map(|source| source.drained_s).min().flatten();
        let all_ended = drained_s == Some(i64::MAX);
        is_idle =
            all_ended || idle_s.zip(drained_s).is_some_and(|(idle_s, drained_s)| drained_s - last_delivery_s >= idle_s);
        let complete = match options.clock {
            Clock::Wall => drained_s.map(|second| Minute::of_second(second.min(now_s()))),
            // A source that has ended holds nothing back.
            Clock::Delivery if all_ended => watch.newest(),
            Clock::Delivery => {
                let lives = known.iter().filter(|source| source.drained_s != Some(i64::MAX));
                lives.map(|source| source.newest).min().flatten()
            }
        };
        let due = bytes >= COMMIT_BYTES
            || is_muted_anew
            || (watch.wants_look() && looked_at.elapsed() >= COMMIT_AGE)
            || waiting_since.is_some_and(|since| since.elapsed() >= COMMIT_AGE)
            || complete > committed_up_to;
        if due || is_idle {
            looked_at = Instant::now();
            let since = waiting_since;
            if since.is_some() && complete > committed_up_to {
                // Early words do not wait until minutes are closed.
                commit(&mut watch, &stop.token, |watch| watch.commit(None), &mut known, &status, &mut outlets)?;
            }
            commit(&mut watch, &stop.token, |watch| watch.commit(complete), &mut known, &status, &mut outlets)?;
            if let Some(since) = since {
                status.update(|figures| figures.commit_lag_ms = Some(since.elapsed().as_millis() as u64));
            }
            (bytes, waiting_since, committed_up_to) = (0, None, complete);
        }
    }
    tell_manager(if ended == Ended::Done { NotifyState::Stopping } else { NotifyState::Reloading });
    let mut is_safe = false;
    if is_idle {
        info!("idle: closing what is open");
        is_safe = commit(&mut watch, &stop.token, Watch::finish, &mut known, &status, &mut outlets)?;
    }
    stop_sources.cancel();
    let (mut failed, mut is_cut_off) = (None, false);
    if !is_safe {
        info!("{}", if ended == Ended::Done { "ending" } else { "ending, to start again" });
        // What the sources had handed over need not come again; of standard input it could not.
        let heard = hear_out(&mut inbox, &mut reading, |place, feed| {
            take(&mut watch, &mut known[place], feed, &status);
        });
        if runtime.block_on(async { tokio::time::timeout(HEAR_OUT, heard).await }).is_err() {
            warn!("standard input did not hand over all that it had read: the rest is lost");
        }
        outlets.mirror_within = LAST_SNAPSHOT;
        is_safe = commit(&mut watch, &stop.token, |watch| watch.commit(None), &mut known, &status, &mut outlets)?;
        // The disk, or the bucket alone?
        failed = if is_safe { None } else { watch.commit(None).err() };
        if failed.is_none() {
            if let Err(error) = watch.take_snapshot() {
                error!(%error, "the state cannot be written anew; its journal stands for it");
            }
            // With what was just followed it can be done without.
            is_cut_off = !is_safe && outlets.mirror.is_some();
            if is_cut_off || !outlets.follow_until_told(&watch, &status)? {
                warn!(
                    "the bucket has the state as it was a moment ago: what it lacks comes again, or is in its journal"
                );
            }
        }
    }
    // Sources tell their queues what is safe, and end; whoever sends from now on hears that it is not.
    drop((known, inbox));
    let mirror = outlets.mirror.take();
    drop(outlets);
    let since = tokio::time::Instant::from_std(stop.at());
    let is_last = ended == Ended::Done;
    // What receivers have not taken by then waits for the next start.
    join_by(runtime, since + if is_last { LAST_SENDING } else { RELOAD_SENDING }, &mut sending);
    stop_sending.cancel();
    join_by(runtime, tokio::time::Instant::now() + GOING, &mut sending);
    // Whoever starts again notes them at once.
    if let Some(mut mirror) = mirror.filter(|_| is_last) {
        match runtime.block_on(async { tokio::time::timeout_at(since + LAST_NOTE, mirror.note()).await }) {
            Ok(Ok(())) => {}
            Ok(Err(error)) => warn!("the sinks' positions in the bucket are a little old: {error:#}"),
            Err(_) => warn!("the sinks' positions in the bucket are a little old: it does not answer"),
        }
    }
    join_by(runtime, since + if is_last { LAST_REQUESTS } else { RELOAD_REQUESTS }, &mut running);
    stop_serving.cancel();
    join_by(runtime, since + LAST_WORDS, &mut serving);
    match failed {
        Some(error) if reads_stdin => {
            Err(error).context("the last commit failed: what standard input brought since the one before is lost")
        }
        Some(error) => Err(error).context("the last commit failed: what came since the one before comes again"),
        None if is_cut_off && reads_stdin => {
            bail!("the bucket did not take the last commit: what standard input brought since the one before is lost")
        }
        None => Ok(ended),
    }
}

/// Takes what waits in the inbox, and all that comes until the readers have ended.
async fn hear_out(
    inbox: &mut mpsc::Receiver<(usize, Feed)>,
    readers: &mut JoinSet<()>,
    mut take: impl FnMut(usize, Feed),
) {
    while !readers.is_empty() {
        tokio::select! {
            Some((place, feed)) = inbox.recv() => take(place, feed),
            Some(_) = readers.join_next() => {}
        }
    }
    // Whoever else goes on sending is not waited for.
    for _ in 0..inbox.len() {
        let Ok((place, feed)) = inbox.try_recv() else { return };
        take(place, feed);
    }
}

fn join_by(runtime: &tokio::runtime::Runtime, by: tokio::time::Instant, tasks: &mut JoinSet<()>) {
    let all = async { while tasks.join_next().await.is_some() {} };
    // Who has not ended by then is not waited for.
    let _ = runtime.block_on(async { tokio::time::timeout_at(by, all).await });
}

/// Where listing begins: with what can still count.
fn first_day(frontier: Minute) -> Minute {
    let now = Minute::of_second(now_s());
    Minute((if frontier.0 > 0 { frontier.0.min(now.0) } else { now.0 }) - 2 * MINUTES_PER_DAY)
}

/// Takes in what a source says. The bytes that now wait for a commit.
fn take(watch: &mut Watch, source: &mut Known, feed: Feed, status: &Status) -> usize {
    match feed {
        Feed::Delivery { ticket, name, bytes } => {
            let (arrived_s, length) = (now_s(), bytes.len());
            if let Some(delivered) = ObjectName::parse(&name).delivered {
                let lag_s = arrived_s - delivered.0 * 60;
                status.update(|figures| figures.delivery_lag_s = Some(lag_s));
            }
            watch.take(&Delivery { name, bytes, arrived: Minute::of_second(arrived_s) });
            source.tickets.push(ticket);
            return length;
        }
        Feed::Parked { ticket, name, reason } => {
            warn!(object = %name, %reason, "given up; see rejects.jsonl");
            watch.park(&name, reason);
            source.tickets.push(ticket);
        }
        Feed::Drained { second } => {
            // A past that is handed over day by day is complete up to that day, whatever others have handed over.
            let newest = watch.newest().map(|newest| newest.min(Minute::of_second(second)));
            (source.drained_s, source.newest) = (Some(second), newest);
        }
        Feed::Ended => (source.drained_s, source.newest) = (Some(i64::MAX), watch.newest()),
    }
    0
}

/// Commits, again and again while the disk does not take it; then the sources are told what is safe. False where it was
/// told to end before that.
fn commit(
    watch: &mut Watch,
    stop: &CancellationToken,
    what: impl Fn(&mut Watch) -> Result<Committed, WatchError>,
    known: &mut [Known],
    status: &Status,
    outlets: &mut Outlets,
) -> anyhow::Result<bool> {
    let mut wait = RETRY;
    loop {
        match what(watch) {
            Ok(committed) => {
                status.set_ready(true);
                status.update(|figures| {
                    figures.commits += 1;
                    figures.snapshots += u64::from(committed.snapshot_taken);
                    figures.closed_early += u64::from(committed.closed_early);
                    let starts = committed.insights.iter().filter(|insight| insight.state == State::Start);
                    figures.starts += starts.count() as u64;
                });
                outlets.early.iter_mut().for_each(EarlyLine::catch_up);
                for line in &committed.early {
                    let text = serde_json::to_string(line).unwrap_or_default() + "\n";
                    outlets.early.iter_mut().for_each(|words| words.say(line, &text));
                    if let Some(file) = &mut outlets.provisional
                        && let Err(error) = file.write_all(text.as_bytes())
                    {
                        warn!(%error, "provisional.jsonl cannot be written");
                    }
                    if let Early::Told(record) = line {
                        info!(
                            api = %record.insight_details.event_name,
                            account = %record.recipient_account_id,
                            start = %record.event_time,
                            "provisional insight"
                        );
                    }
                }
                for insight in &committed.insights {
                    info!(
                        api = %insight.series.api.event_name,
                        account = %insight.series.api.account_id,
                        state = ?insight.state,
                        start = %insight.start,
                        "insight"
                    );
                }
                if let Some(error) = &committed.snapshot_failed {
                    error!(%error, "the state cannot be written anew; the journal goes on, and it is tried again");
                }
                break;
            }
            Err(lost @ WatchError::Lost { .. }) => return Err(lost.into()),
            Err(error) => {
                status.set_ready(false);
                status.turn();
                status.update(|figures| figures.commit_failures += 1);
                error!(%error, "what was received cannot be put on the disk; nothing more is taken in until it can");
                outlets.runtime.block_on(async {
                    tokio::select! {
                        () = stop.cancelled() => {}
                        () = tokio::time::sleep(wait) => {}
                    }
                });
                wait = (wait * 2).min(RETRY_MAX);
                if stop.is_cancelled() {
                    return Ok(false);
                }
            }
        }
    }
    if !outlets.follow_until_told(watch, status)? {
        return Ok(false);
    }
    status.set_ready(true);
    settle(known);
    status.update(|figures| {
        figures.records = watch.counters();
        figures.objects = watch.objects();
        figures.series = watch.series_count() as u64;
        figures.lateness_minutes = watch.lateness_minutes();
        let evicted = watch.evicted() - figures.evicted.min(watch.evicted());
        if evicted > 0 {
            warn!(series = evicted, "forgotten for want of memory; see --memory");
        }
        figures.evicted = watch.evicted();
        let closed = 1..i64::from(u32::MAX);
        figures.frontier_s =
            Some(watch.frontier().0).filter(|minute| closed.contains(minute)).map(|minute| minute * 60);
        figures.drained_s = known.iter().map(|source| (source.name.clone(), source.drained_s)).collect();
        figures.insights_bytes = watch.insights_bytes();
    });
    outlets.end.send_replace(watch.insights_bytes());
    if let Err(error) = catch_up(outlets.copy.as_mut(), watch) {
        error!(%error, "the copy of the insights cannot be written; trying again with the next commit");
    }
    match watch.snapshot_if_due() {
        Ok(taken) => status.update(|figures| figures.snapshots += u64::from(taken)),
        Err(lost @ WatchError::Lost { .. }) => return Err(lost.into()),
        Err(error) => {
            error!(%error, "the state cannot be written anew; the journal goes on, and it is tried again");
        }
    }
    Ok(true)
}

impl Outlets {
    /// The same until it works; false where it was told to end, and the time that this leaves is over.
    fn follow_until_told(&mut self, watch: &Watch, status: &Status) -> anyhow::Result<bool> {
        let mut wait = RETRY;
        while let Err(error) = self.follow(watch, status) {
            status.set_ready(false);
            status.turn();
            status.update(|figures| figures.commit_failures += 1);
            error!("what was received cannot be put into the bucket; nothing more is taken in until it can: {error:#}");
            if error.is::<TakenOver>() {
                return Err(error);
            }
            let is_told = self.stop.is_told();
            if is_told && self.stop.at().elapsed() >= self.mirror_within {
                return Ok(false);
            }
            self.runtime.block_on(async {
                tokio::select! {
                    () = self.stop.token.cancelled(), if !is_told => {}
                    () = tokio::time::sleep(if is_told { RETRY } else { wait }) => {}
                }
            });
            wait = (wait * 2).min(RETRY_MAX);
        }
        status.set_ready(true);
        Ok(true)
    }

    /// What is safe on the disk is put where it is safe from the loss of the disk too.
    fn follow(&mut self, watch: &Watch, status: &Status) -> anyhow::Result<()> {
        let Some(mirror) = &mut self.mirror else { return Ok(()) };
        self.runtime.block_on(async {
            let mut turn = tokio::time::interval_at(tokio::time::Instant::now() + TURN_EVERY, TURN_EVERY);
            let mut told_to_end = std::pin::pin!(async {
                self.stop.token.cancelled().await;
                tokio::time::sleep_until((self.stop.at() + self.mirror_within).into()).await;
            });
            let mut following = std::pin::pin!(mirror.follow(watch.journal_number()));
            loop {
                tokio::select! {
                    followed = &mut following => return followed,
                    // A bucket that does not answer is not our death.
                    _ = turn.tick() => status.turn(),
                    () = &mut told_to_end => bail!("told to end while the bucket does not answer"),
                }
            }
        })
    }
}

fn settle(known: &mut [Known]) {
    for source in known {
        if !source.tickets.is_empty() {
            // A source that has ended needs no word.
            let _ = source.safe.send(std::mem::take(&mut source.tickets));
        }
    }
}

fn catch_up(copy: Option<&mut Copy>, watch: &Watch) -> anyhow::Result<()> {
    let Some(copy) = copy else { return Ok(()) };
    copy.catch_up(watch.insights_path(), watch.insights_bytes())
}

/// `since`: where a listing begins that names no day.
async fn start(source: Source, since: Minute, line: Line) {
    match source {
        Source::Sqs(sqs) => Sqs::new(sqs.url, sqs.region, sqs.role.as_deref()).await.run(line).await,
        Source::S3(s3) => {
            let Ok(place) = listing::trail(&s3.url) else { unreachable!("checked before anything runs") };
            Listing::new(place, None, s3.role.as_deref(), s3.since.unwrap_or(since)).await.run(line).await;
        }
        Source::Dir(dir) => folder::run(dir.path, line).await,
        Source::Stdin => stdin::run(line).await,
        Source::Http(_) => unreachable!("pushes come through the server, which is bound before anything runs"),
    }
}

/// SIGTERM and SIGINT end, SIGHUP asks for the configuration to be read again.
async fn hear_signals(stop: Stop, in_hand: Arc<AtomicBool>, asked_to_reload: Arc<AtomicBool>) {
    use tokio::signal::unix::{SignalKind, signal};
    let [Ok(mut terminate), Ok(mut interrupt), Ok(mut hang_up)] =
        [SignalKind::terminate(), SignalKind::interrupt(), SignalKind::hangup()].map(signal)
    else {
        warn!("signals cannot be heard: only a kill ends this process");
        return;
    };
    loop {
        tokio::select! {
            _ = hang_up.recv() => asked_to_reload.store(true, Ordering::Relaxed),
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
        }
    }
    if !in_hand.load(Ordering::SeqCst) {
        info!("told to end; nothing was taken in");
        // Whatever the main thread is writing, it may be killed at.
        std::process::exit(0);
    }
    let _ = stop.at.set(Instant::now());
    stop.token.cancel();
}
