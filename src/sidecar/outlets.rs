//! [`Outlets`]: where what a commit said goes beside the state directory: early words to the sinks, the copy of the
//! insights, the bucket that has the state too. Knows neither sources nor when to commit.

use std::collections::VecDeque;
use std::fs::File;
use std::io::Write;
use std::time::Duration;

use anyhow::bail;
use tokio::sync::mpsc;
use tracing::{error, info, warn};

use super::{RETRY, RETRY_MAX, Stop};
use crate::mirror::{Mirror, TakenOver};
use crate::sink::{Copy, EARLY_MAX};
use crate::status::Status;
use crate::watch::{Committed, Early, Watch};

/// Whoever waits for a bucket says so often that it is alive.
const TURN_EVERY: Duration = Duration::from_secs(5);

/// Where what a commit said goes.
pub(super) struct Outlets {
    pub(super) copy: Option<Copy>,
    pub(super) provisional: Option<File>,
    /// How far `insights.jsonl` is safe.
    pub(super) end: tokio::sync::watch::Sender<u64>,
    pub(super) early: Vec<EarlyLine>,
    pub(super) mirror: Option<Mirror>,
    /// How long after the signal it is still tried.
    pub(super) mirror_within: Duration,
    pub(super) runtime: tokio::runtime::Handle,
    pub(super) stop: Stop,
}

/// Early words on their way to a receiver, and what became of some: those wait while it lags behind.
pub(super) struct EarlyLine {
    words: mpsc::Sender<String>,
    settled: VecDeque<String>,
}

impl EarlyLine {
    /// And where its receiver listens.
    pub(super) fn new() -> (EarlyLine, mpsc::Receiver<String>) {
        let (words, inbox) = mpsc::channel(EARLY_MAX);
        (EarlyLine { words, settled: VecDeque::new() }, inbox)
    }

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

impl Outlets {
    /// Tells the early words, and logs them and what is final.
    pub(super) fn tell(&mut self, committed: &Committed) {
        self.early.iter_mut().for_each(EarlyLine::catch_up);
        for line in &committed.early {
            let text = serde_json::to_string(line).unwrap_or_default() + "\n";
            self.early.iter_mut().for_each(|words| words.say(line, &text));
            if let Some(file) = &mut self.provisional
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
    }

    /// Brings the copy of the insights up to what is safe.
    pub(super) fn copy_up_to(&mut self, watch: &Watch) -> anyhow::Result<()> {
        let Some(copy) = &mut self.copy else { return Ok(()) };
        copy.catch_up(watch.insights_path(), watch.insights_bytes())
    }

    /// Follows until it works; false where it was told to end, and the time that this leaves is over.
    pub(super) fn follow_until_told(&mut self, watch: &Watch, status: &Status) -> anyhow::Result<bool> {
        let mut wait = RETRY;
        while let Err(error) = self.follow(watch, status) {
            status.set_ready(false);
            if error.is::<TakenOver>() {
                return Err(error);
            }
            status.turn();
            status.update(|figures| figures.commit_failures += 1);
            error!("what was received cannot be put into the bucket; nothing more is taken in until it can: {error:#}");
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
