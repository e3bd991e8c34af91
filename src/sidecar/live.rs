//! One run with one configuration: sources begin, what they hand over is taken in and committed, and all end in order.
//! Knows neither signals nor where a configuration comes from.

use std::fs::File;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use tokio::runtime::Runtime;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use super::outlets::{EarlyLine, Outlets};
use super::{Ended, Options, RETRY, RETRY_MAX, Stop};
use crate::event::{MINUTES_PER_DAY, Minute, ObjectName};
use crate::http::Server;
use crate::insight::State;
use crate::mirror::TakenOver;
use crate::sink::{self, Copy};
use crate::source::listing::Listing;
use crate::source::live::{Feed, Line, Ticket, now_s};
use crate::source::sqs::Sqs;
use crate::source::{Source, folder, listing, push, stdin};
use crate::status::{NotifyState, Status, tell_manager};
use crate::store::mutes;
use crate::watch::{Clock, Committed, Delivery, Watch, WatchError};

/// Deliveries wait for a commit for at most so long, and until they have at most so many bytes.
const COMMIT_AGE: Duration = Duration::from_millis(250);
const COMMIT_BYTES: usize = 64 << 20;

/// Deliveries on their way from the sources: few, because each may be large.
const FEEDS: usize = 32;

/// How often a change of the configuration is looked for.
const RELOAD_EVERY: Duration = Duration::from_secs(1);

/// Where health and metrics are served unless told otherwise.
const STATUS: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 9465);

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

/// A source that has ended is drained for ever.
const ENDED: i64 = i64::MAX;

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

/// Runs until it is told to end, is idle, another was quicker to write to the bucket, or `changed` says that the
/// configuration is another one.
pub(super) fn run(
    runtime: &Runtime,
    stop: &Stop,
    watch: Watch,
    mut options: Options,
    changed: impl FnMut() -> bool,
) -> anyhow::Result<Ended> {
    let (reads_stdin, until_idle) = (options.reads_stdin(), options.until_idle);
    let sources = std::mem::take(&mut options.sources);
    let (feeds, inbox) = mpsc::channel(FEEDS);
    let mut live = Live::begin(runtime, stop, watch, inbox, options)?;
    if !live.take_over()? {
        live.end(Ended::Outrun);
        return Ok(Ended::Outrun);
    }
    live.start_sources(sources, feeds)?;
    let (ended, is_idle) = live.turn_until_told(until_idle, changed)?;
    tell_manager(if ended == Ended::Done { NotifyState::Stopping } else { NotifyState::Reloading });
    let last = live.commit_last(ended, is_idle)?;
    live.end(ended);
    match last {
        Last::Failed(error) if reads_stdin => {
            Err(error).context("the last commit failed: what standard input brought since the one before is lost")
        }
        Last::Failed(error) => Err(error).context("the last commit failed: what came since the one before comes again"),
        Last::CutOff if reads_stdin => {
            bail!("the bucket did not take the last commit: what standard input brought since the one before is lost")
        }
        Last::CutOff | Last::Safe => Ok(ended),
    }
}

/// What became of the last commit.
enum Last {
    Safe,
    /// It is on the disk, and not in the bucket.
    CutOff,
    Failed(WatchError),
}

/// What runs beside the loop, and what ends it.
struct Tasks {
    /// Sinks.
    sending: JoinSet<()>,
    stop_sending: CancellationToken,
    sources: JoinSet<()>,
    /// What standard input has read nobody can send again.
    stdin: JoinSet<()>,
    stop_sources: CancellationToken,
    /// The servers answer until the last request is safe: they end after all else.
    serving: JoinSet<()>,
    stop_serving: CancellationToken,
}

/// A run, from the first source to the last word.
struct Live<'a> {
    runtime: &'a Runtime,
    stop: &'a Stop,
    clock: Clock,
    watch: Watch,
    known: Vec<Known>,
    inbox: mpsc::Receiver<(usize, Feed)>,
    status: Arc<Status>,
    outlets: Outlets,
    mutes: mutes::Followed,
    tasks: Tasks,
    /// Taken in since the last commit, and since when.
    bytes: usize,
    waiting_since: Option<Instant>,
    last_delivery_s: i64,
    /// When early words were last looked for.
    looked_at: Instant,
    /// Up to when all was complete in the last commit.
    committed_up_to: Option<Minute>,
}

impl Live<'_> {
    /// Opens what insights go to, and serves how things stand.
    fn begin<'a>(
        runtime: &'a Runtime,
        stop: &'a Stop,
        watch: Watch,
        inbox: mpsc::Receiver<(usize, Feed)>,
        options: Options,
    ) -> anyhow::Result<Live<'a>> {
        let copy = options.insights.as_ref().map(|path| Copy::open(path)).transpose()?;
        let provisional = match options.clock {
            Clock::Wall => {
                let path = watch.insights_path().with_file_name("provisional.jsonl");
                Some(
                    File::options()
                        .append(true)
                        .create(true)
                        .open(&path)
                        .with_context(|| path.display().to_string())?,
                )
            }
            Clock::Delivery => None,
        };
        let mut outlets = Outlets {
            copy,
            provisional,
            end: tokio::sync::watch::channel(watch.insights_bytes()).0,
            early: Vec::new(),
            mirror: options.mirror,
            mirror_within: LAST_FOLLOW,
            runtime: runtime.handle().clone(),
            stop: stop.clone(),
        };
        outlets.copy_up_to(&watch)?;
        let mut tasks = Tasks {
            sending: JoinSet::new(),
            stop_sending: CancellationToken::new(),
            sources: JoinSet::new(),
            stdin: JoinSet::new(),
            stop_sources: stop.token.child_token(),
            serving: JoinSet::new(),
            stop_serving: CancellationToken::new(),
        };
        let status = Arc::new(Status::default());
        // Sinks say how far behind it they are, before the first commit too.
        status.update(|figures| figures.insights_bytes = watch.insights_bytes());
        for follower in sink::open(options.sinks, watch.insights_path(), watch.insights_bytes())? {
            status.add_sink(follower.name(), follower.progress());
            let (early, inbox) = EarlyLine::new();
            outlets.early.push(early);
            let sending = follower.run(outlets.end.subscribe(), inbox, tasks.stop_sending.clone());
            tasks.sending.spawn_on(sending, runtime.handle());
        }
        status.turn();
        match runtime.block_on(Server::bind(options.status.unwrap_or(STATUS), None)) {
            Ok(server) => {
                let serving = server.serve(status.clone(), None, tasks.stop_serving.clone());
                tasks.serving.spawn_on(serving, runtime.handle());
            }
            Err(error) if options.status.is_some() => return Err(error),
            // Nobody asked for it there: a second sidecar on the same machine may have it.
            Err(error) => info!("health and metrics are not served: {error:#}"),
        }
        // Also where a bucket lets us wait: from here on we say that we are alive.
        tell_manager(NotifyState::Ready);
        Ok(Live {
            runtime,
            stop,
            clock: options.clock,
            mutes: mutes::Followed::new(watch.directory()),
            watch,
            known: Vec::new(),
            inbox,
            status,
            outlets,
            tasks,
            bytes: 0,
            waiting_since: None,
            last_delivery_s: now_s(),
            looked_at: Instant::now(),
            committed_up_to: None,
        })
    }

    /// Takes the place of whoever wrote to the bucket before, with a snapshot of its own. False where another was quicker,
    /// and the state must be fetched anew.
    fn take_over(&mut self) -> anyhow::Result<bool> {
        if self.outlets.mirror.is_none() {
            return Ok(true);
        }
        let taken = self.commit(|watch| {
            watch.take_snapshot()?;
            Ok(Committed { snapshot_taken: true, ..Committed::default() })
        });
        match taken {
            Err(error) if error.is::<TakenOver>() => Ok(false),
            taken => taken.map(|_| true),
        }
    }

    fn start_sources(&mut self, sources: Vec<Source>, feeds: mpsc::Sender<(usize, Feed)>) -> anyhow::Result<()> {
        let since = first_day(self.watch.frontier());
        for (place, source) in sources.into_iter().enumerate() {
            let (safe, safe_line) = mpsc::unbounded_channel();
            let line =
                Line { source: place, feeds: feeds.clone(), safe: safe_line, stop: self.tasks.stop_sources.clone() };
            self.known.push(Known { name: source.name(), safe, tickets: Vec::new(), drained_s: None, newest: None });
            if let Source::Http(http) = source {
                let tls = http.certificate.zip(http.private_key);
                let server = self.runtime.block_on(Server::bind(http.listen, tls))?;
                let (push, task) = push::push(line, http.key, self.watch.frontier().0 > 0);
                self.tasks.sources.spawn_on(task, self.runtime.handle());
                let serving = server.serve(self.status.clone(), Some(push), self.tasks.stop_serving.clone());
                self.tasks.serving.spawn_on(serving, self.runtime.handle());
            } else {
                let running =
                    if matches!(source, Source::Stdin) { &mut self.tasks.stdin } else { &mut self.tasks.sources };
                running.spawn_on(start(source, since, line), self.runtime.handle());
            }
        }
        // One that never works is seen to grow old, also where nothing is ever committed.
        self.status.update(|figures| {
            figures.drained_s = self.known.iter().map(|source| (source.name.clone(), None)).collect()
        });
        self.status.set_ready(true);
        Ok(())
    }

    /// Receives and commits until it is told to end; whether it is idle.
    fn turn_until_told(
        &mut self,
        until_idle: Option<Duration>,
        mut changed: impl FnMut() -> bool,
    ) -> anyhow::Result<(Ended, bool)> {
        let idle_s = until_idle.map(|idle| idle.as_secs() as i64);
        let mut asked_at = Instant::now();
        // A bucket may have taken long until here.
        self.last_delivery_s = now_s();
        while !self.stop.is_told() {
            self.status.turn();
            let is_muted_anew = self.read_mutes();
            if asked_at.elapsed() >= RELOAD_EVERY {
                asked_at = Instant::now();
                if changed() {
                    return Ok((Ended::Changed, false));
                }
            }
            self.receive();
            let drained_s = self.drained_s();
            let idle = |idle_s| drained_s.is_some_and(|drained_s| drained_s - self.last_delivery_s >= idle_s);
            let is_idle = drained_s == Some(ENDED) || idle_s.is_some_and(idle);
            let complete = self.complete();
            let due = self.bytes >= COMMIT_BYTES
                || is_muted_anew
                || (self.watch.wants_look() && self.looked_at.elapsed() >= COMMIT_AGE)
                || self.waiting_since.is_some_and(|since| since.elapsed() >= COMMIT_AGE)
                || complete > self.committed_up_to;
            if due || is_idle {
                self.commit_up_to(complete)?;
            }
            if is_idle {
                return Ok((Ended::Done, true));
            }
        }
        Ok((Ended::Done, false))
    }

    /// Whether what is muted is something else now.
    fn read_mutes(&mut self) -> bool {
        match self.mutes.changed() {
            Some(Ok(mutes)) => {
                info!(mutes = mutes.mutes.len(), "what is muted was read");
                self.watch.mute(mutes);
                true
            }
            Some(Err(error)) => {
                error!("keeping the mutes as they were: {error}");
                false
            }
            None => false,
        }
    }

    /// Waits for a word from a source, until it is time to commit or to end.
    fn receive(&mut self) {
        let wait = self.waiting_since.map_or(COMMIT_AGE, |since| COMMIT_AGE.saturating_sub(since.elapsed()));
        let feed = self.runtime.block_on(async {
            tokio::select! {
                () = self.stop.token.cancelled() => None,
                feed = self.inbox.recv() => feed,
                () = tokio::time::sleep(wait) => None,
            }
        });
        let Some((place, feed)) = feed else { return };
        if matches!(feed, Feed::Delivery { .. } | Feed::Parked { .. }) {
            self.last_delivery_s = now_s();
            self.waiting_since.get_or_insert_with(Instant::now);
        }
        self.bytes += take(&mut self.watch, &mut self.known[place], feed, &self.status);
    }

    /// When the sources were all last known to hold nothing more.
    fn drained_s(&self) -> Option<i64> {
        self.known.iter().map(|source| source.drained_s).min().flatten()
    }

    /// Up to when the sources have handed over all that there was.
    fn complete(&self) -> Option<Minute> {
        let drained_s = self.drained_s();
        match self.clock {
            Clock::Wall => drained_s.map(|second| Minute::of_second(second.min(now_s()))),
            // A source that has ended holds nothing back.
            Clock::Delivery if drained_s == Some(ENDED) => self.watch.newest(),
            Clock::Delivery => {
                let lives = self.known.iter().filter(|source| source.drained_s != Some(ENDED));
                lives.map(|source| source.newest).min().flatten()
            }
        }
    }

    fn commit_up_to(&mut self, complete: Option<Minute>) -> anyhow::Result<()> {
        self.looked_at = Instant::now();
        let since = self.waiting_since;
        if since.is_some() && complete > self.committed_up_to {
            // Early words do not wait until minutes are closed.
            self.commit(|watch| watch.commit(None))?;
        }
        self.commit(|watch| watch.commit(complete))?;
        if let Some(since) = since {
            self.status.update(|figures| figures.commit_lag_ms = Some(since.elapsed().as_millis() as u64));
        }
        (self.bytes, self.waiting_since, self.committed_up_to) = (0, None, complete);
        Ok(())
    }

    /// Commits, again and again while the disk does not take it; then the sources are told what is safe. False where it
    /// was told to end before that.
    fn commit(&mut self, what: impl Fn(&mut Watch) -> Result<Committed, WatchError>) -> anyhow::Result<bool> {
        let mut wait = RETRY;
        let committed = loop {
            match what(&mut self.watch) {
                Ok(committed) => break committed,
                Err(lost @ WatchError::Lost { .. }) => return Err(lost.into()),
                Err(error) => {
                    self.status.set_ready(false);
                    self.status.turn();
                    self.status.update(|figures| figures.commit_failures += 1);
                    error!(%error, "what was received cannot be put on the disk; nothing more is taken in until it can");
                    self.runtime.block_on(async {
                        tokio::select! {
                            () = self.stop.token.cancelled() => {}
                            () = tokio::time::sleep(wait) => {}
                        }
                    });
                    wait = (wait * 2).min(RETRY_MAX);
                    if self.stop.is_told() {
                        return Ok(false);
                    }
                }
            }
        };
        self.status.set_ready(true);
        self.status.update(|figures| {
            figures.commits += 1;
            figures.snapshots += u64::from(committed.snapshot_taken);
            figures.closed_early += u64::from(committed.closed_early);
            let starts = committed.insights.iter().filter(|insight| insight.state == State::Start);
            figures.starts += starts.count() as u64;
        });
        self.outlets.tell(&committed);
        if let Some(error) = &committed.snapshot_failed {
            error!(%error, "the state cannot be written anew; the journal goes on, and it is tried again");
        }
        if !self.outlets.follow_until_told(&self.watch, &self.status)? {
            return Ok(false);
        }
        self.status.set_ready(true);
        self.settle();
        if let Err(error) = self.outlets.copy_up_to(&self.watch) {
            error!(%error, "the copy of the insights cannot be written; trying again with the next commit");
        }
        match self.watch.snapshot_if_due() {
            Ok(taken) => self.status.update(|figures| figures.snapshots += u64::from(taken)),
            Err(lost @ WatchError::Lost { .. }) => return Err(lost.into()),
            Err(error) => {
                error!(%error, "the state cannot be written anew; the journal goes on, and it is tried again");
            }
        }
        Ok(true)
    }

    /// Tells sources and sinks what is safe, and whoever asks how things stand.
    fn settle(&mut self) {
        for source in self.known.iter_mut().filter(|source| !source.tickets.is_empty()) {
            // A source that has ended needs no word.
            let _ = source.safe.send(std::mem::take(&mut source.tickets));
        }
        let (watch, known) = (&self.watch, &self.known);
        self.status.update(|figures| {
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
        self.outlets.end.send_replace(watch.insights_bytes());
    }
    /// Makes safe what is in hand, and lets the sources go.
    fn commit_last(&mut self, ended: Ended, is_idle: bool) -> anyhow::Result<Last> {
        let mut is_safe = false;
        if is_idle {
            info!("idle: closing what is open");
            is_safe = self.commit(Watch::finish)?;
        }
        self.tasks.stop_sources.cancel();
        if is_safe {
            return Ok(Last::Safe);
        }
        info!("{}", if ended == Ended::Done { "ending" } else { "ending, to start again" });
        // What the sources had handed over need not come again; of standard input it could not.
        let heard = hear_out(&mut self.inbox, &mut self.tasks.stdin, |place, feed| {
            take(&mut self.watch, &mut self.known[place], feed, &self.status);
        });
        if self.runtime.block_on(async { tokio::time::timeout(HEAR_OUT, heard).await }).is_err() {
            warn!("standard input did not hand over all that it had read: the rest is lost");
        }
        self.outlets.mirror_within = LAST_SNAPSHOT;
        let is_safe = self.commit(|watch| watch.commit(None))?;
        // The disk, or the bucket alone?
        if !is_safe && let Err(error) = self.watch.commit(None) {
            return Ok(Last::Failed(error));
        }
        if let Err(error) = self.watch.take_snapshot() {
            error!(%error, "the state cannot be written anew; its journal stands for it");
        }
        // With what was just followed it can be done without.
        let is_cut_off = !is_safe && self.outlets.mirror.is_some();
        if is_cut_off || !self.outlets.follow_until_told(&self.watch, &self.status)? {
            warn!("the bucket has the state as it was a moment ago: what it lacks comes again, or is in its journal");
        }
        Ok(if is_cut_off { Last::CutOff } else { Last::Safe })
    }

    /// Lets sinks, sources and servers end, each within its time.
    fn end(self, ended: Ended) {
        let Live { runtime, stop, known, inbox, mut outlets, mut tasks, .. } = self;
        // Sources tell their queues what is safe, and end; whoever sends from now on hears that it is not.
        drop((known, inbox));
        let mirror = outlets.mirror.take();
        drop(outlets);
        let since = tokio::time::Instant::from_std(stop.at());
        let is_last = ended == Ended::Done;
        // What receivers have not taken by then waits for the next start.
        join_by(runtime, since + if is_last { LAST_SENDING } else { RELOAD_SENDING }, &mut tasks.sending);
        tasks.stop_sending.cancel();
        join_by(runtime, tokio::time::Instant::now() + GOING, &mut tasks.sending);
        // Whoever starts again notes them at once.
        if let Some(mut mirror) = mirror.filter(|_| is_last) {
            match runtime.block_on(async { tokio::time::timeout_at(since + LAST_NOTE, mirror.note()).await }) {
                Ok(Ok(())) => {}
                Ok(Err(error)) => warn!("the sinks' positions in the bucket are a little old: {error:#}"),
                Err(_) => warn!("the sinks' positions in the bucket are a little old: it does not answer"),
            }
        }
        join_by(runtime, since + if is_last { LAST_REQUESTS } else { RELOAD_REQUESTS }, &mut tasks.sources);
        tasks.stop_serving.cancel();
        join_by(runtime, since + LAST_WORDS, &mut tasks.serving);
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

fn join_by(runtime: &Runtime, by: tokio::time::Instant, tasks: &mut JoinSet<()>) {
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
        Feed::Ended => (source.drained_s, source.newest) = (Some(ENDED), watch.newest()),
    }
    0
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
