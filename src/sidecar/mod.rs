//! The live loop: sources to [`Watch`] to whoever listens. Owns the runtime, asks for the time, and decides when to
//! commit and when to end. Knows neither flags nor what a commit does. Here is what outlasts a configuration; [`live`] is a
//! run with one.

mod live;
mod outlets;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use tokio::runtime::Runtime;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::mirror::{Failed, Mirror};
use crate::sink::Sink;
use crate::source::Source;
use crate::watch::{Clock, Watch};

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

/// Wait after a commit that failed, doubled each time up to the most.
const RETRY: Duration = Duration::from_millis(200);
const RETRY_MAX: Duration = Duration::from_secs(10);

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// It was told to, or is idle, or all sources have ended.
    Done,
    /// The configuration is another one: start again.
    Changed,
    /// Before anything was taken in another wrote to the bucket: start again, with the state that is there now.
    Outrun,
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
    runtime: Runtime,
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
        let was_in_hand = self.in_hand.swap(true, Ordering::SeqCst);
        let ended = live::run(&self.runtime, &self.stop, watch, options, reload);
        // It is read on while the next configuration starts.
        let is_in_hand = if matches!(ended, Ok(Ended::Outrun)) { was_in_hand } else { reads_stdin };
        self.in_hand.store(is_in_hand, Ordering::SeqCst);
        match ended {
            Ok(Ended::Changed | Ended::Outrun) if self.stop.is_told() && !is_in_hand => Ok(Ended::Done),
            ended => ended,
        }
    }

    /// What still runs is of no promise: a name that is looked up, a picture that is drawn. Nobody waits for it.
    pub fn end(self) {
        self.runtime.shutdown_background();
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
