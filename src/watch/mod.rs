//! [`Watch`]: the sidecar's heart. Deliveries come in, in any order and perhaps twice; what a commit has said is on the
//! disk, and only then may whoever sent a delivery be told that it was received. Starting again goes on as if nothing
//! had happened. Knows no network, no clock and no thread: time is handed over, and the same deliveries and times give
//! the same bytes.
//!
//! The state directory is laid out like the result of a scan (`insights.jsonl`, `near.jsonl`, `rejects.jsonl`,
//! `rates/`), beside the journal from which all of it can be written again.

mod early;
mod journal;
mod lags;
mod lines;
mod stored;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::detector::{Detector, SnapshotError};
use crate::event::{Kind, MINUTES_PER_DAY, Minute, ObjectName, Reader};
use crate::insight::mute::Mutes;
use crate::insight::trail::TrailRecord;
use crate::insight::{Insight, State};
use crate::run::{self, Bounds, Intake, Reject, SKEW_MINUTES, identity};
use crate::store::rates::RatesWriter;
use crate::store::{RecordCounts, StoreError};
use crate::window::Tally;
pub use early::Early;
use journal::Journal;
use lags::Lags;
use lines::Lines;
use stored::FORMAT;

/// What keeps the sidecar from going on.
#[derive(Debug, Error)]
pub enum WatchError {
    #[error("{path}: {source}")]
    Io { path: String, source: std::io::Error },
    #[error("{path} is in use by another highwater watch; each needs a directory of its own")]
    Locked { path: String },
    #[error("{path}: {reason}")]
    Damaged { path: String, reason: String },
    /// The process cannot go on: what it holds is no longer what the disk says. Starting again mends it.
    #[error("{path}: {source}; start again, nothing that was taken in is lost")]
    Lost { path: String, source: std::io::Error },
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Snapshot(#[from] SnapshotError),
}

/// What moves the frontier.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Clock {
    /// The time at which the sources were last known to hold nothing more, minus the lateness.
    Wall,
    /// Days of delivery alone, as in a scan, as far as the sources are known to have handed over all: for old trails.
    /// What a scan of the same objects says, this says.
    Delivery,
}

#[derive(Clone, Debug)]
pub struct Options {
    /// How objects are read; what is late.
    pub run: run::Options,
    pub clock: Clock,
    /// Under [`Clock::Wall`]: the lateness follows from what was observed, once enough was.
    pub learns_lateness: bool,
    /// A ceiling of the process's memory in bytes, held by forgetting the series that were not called for longest.
    pub memory: Option<u64>,
}

/// What the program takes before it knows anything, and for a moment: code, buffers, minutes that are being closed, a
/// part of the rates being written.
const MEMORY_FIXED: u64 = 80 << 20;

/// An object that was seen, in two trees.
const BYTES_PER_OBJECT: u64 = 80;

/// The least ceiling that leaves room for anything.
pub const MEMORY_MIN: u64 = 128 << 20;

/// Of what is left, the part that open minutes may take; what they do not take is the series'.
fn open_share(memory: u64) -> u64 {
    memory.saturating_sub(MEMORY_FIXED) / 2
}

/// So many open rows may be looked through for each commit, on average.
const LOOK_ROWS: u64 = 2_500_000;

/// So many rows are closed at once, however far the frontier goes: closing takes a hundred bytes a row.
const STEP_ROWS: usize = 1 << 18;

/// The frontier of an entry that closes all that is open.
const FINISH: Minute = Minute(i64::MAX);

/// Objects may come this much later than others that were delivered after them; only then is a day of delivery over.
const REORDER_MINUTES: i64 = 6 * 60;

/// One object, or one push.
#[derive(Clone, Debug)]
pub struct Delivery {
    /// Key or path: it tells the kind, the account and the time of delivery.
    pub name: String,
    pub bytes: Vec<u8>,
    /// By our clock.
    pub arrived: Minute,
}

/// Objects since the beginning.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ObjectCounts {
    pub read: u64,
    /// The bytes were seen before.
    pub duplicate: u64,
    /// Digests, Insights and the like: nothing to count.
    pub passed_over: u64,
    /// They could not be had: see `rejects.jsonl`.
    pub parked: u64,
    pub stored_bytes: u64,
}

/// What one commit takes into the state; the journal is a list of these.
#[derive(Default, Serialize, Deserialize)]
struct Entry {
    format: u32,
    /// What the lines depend on beside the entries: a hash of the detector's settings and of this version's name.
    settings: u64,
    tally: Vec<u8>,
    seen: Vec<Seen>,
    counters: RecordCounts,
    objects: ObjectCounts,
    rejects: Vec<Reject>,
    /// The newest delivery of all.
    newest: i64,
    frontier: i64,
    /// As JSON, where they are others than before.
    mutes: Option<String>,
    lags: Vec<(u16, u64)>,
    /// The ceiling in force: what is forgotten follows from it and from what came before, so a replay forgets the same.
    memory: Option<u64>,
}

/// An object that was read: the frontier from which on it could bring nothing but late events if it came again, and what
/// tells it from others.
type Seen = (i64, u64, u64);

/// An object that tells its time of delivery is known again for so long: queues give out old ones again, and then they
/// count as duplicates, not as late. Pushes tell none, and are many: they are known while they could still count.
const KNOWN_MINUTES: i64 = 2 * MINUTES_PER_DAY;

/// What was closed of an account's Region.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
struct Span {
    events: u64,
    first: i64,
    last: i64,
}

/// What a commit said, now on the disk.
#[derive(Debug, Default)]
pub struct Committed {
    pub insights: Vec<Insight>,
    /// Under [`Clock::Wall`]: incidents in minutes that may still grow, and what became of earlier ones.
    pub early: Vec<Early>,
    /// Minutes were closed before their time, for want of memory.
    pub closed_early: bool,
    /// The whole state was written anew.
    pub snapshot_taken: bool,
    /// It could not be; the journal still has all of it.
    pub snapshot_failed: Option<WatchError>,
}

pub struct Watch {
    options: Options,
    detector: Detector,
    /// As entries have it.
    settings: u64,
    reader: Reader,
    journal: Journal,
    /// What came since the last commit.
    intake: Intake,
    fresh: BTreeSet<Seen>,
    fresh_newest: i64,
    fresh_objects: ObjectCounts,
    seen: BTreeSet<Seen>,
    by_identity: BTreeMap<(u64, u64), i64>,
    counters: RecordCounts,
    objects: ObjectCounts,
    newest: i64,
    early: early::Open,
    /// Found, and not yet on the disk as lines.
    unsaid: Vec<Insight>,
    /// In force since the last commit, and from the next one on.
    mutes: Mutes,
    fresh_mutes: Option<Mutes>,
    /// APIs that were called since the last look at what is open, and the rows that it went through beyond what its
    /// commits may.
    touched: BTreeSet<[String; 5]>,
    look_debt: u64,
    /// What muted a start, by the ID that it shares with its end.
    muted: BTreeMap<String, String>,
    accounts: BTreeMap<(String, String), Span>,
    /// Lines of `insights.jsonl`, and starts among them.
    told: u64,
    incidents: u64,
    lags: Lags,
    /// The ceiling on memory in force since the last entry, and series forgotten for want of memory.
    ceiling: Option<u64>,
    evicted: u64,
    insights: Lines,
    near: Lines,
    rejects: Lines,
    rates: RatesWriter,
}

impl Watch {
    fn lines(&mut self) -> [&mut Lines; 3] {
        [&mut self.rejects, &mut self.near, &mut self.insights]
    }

    /// Minutes before it are closed.
    pub fn frontier(&self) -> Minute {
        self.detector.frontier()
    }

    /// Where every record went so far: as of the last commit, they balance.
    pub fn counters(&self) -> RecordCounts {
        RecordCounts { open: self.detector.open_events(), ..self.counters }
    }

    pub fn objects(&self) -> ObjectCounts {
        self.objects
    }

    pub fn series_count(&self) -> usize {
        self.detector.series_count()
    }

    /// Series forgotten for want of memory so far.
    pub fn evicted(&self) -> u64 {
        self.evicted
    }

    /// Where all of it is kept.
    pub fn directory(&self) -> &Path {
        self.insights.path().parent().unwrap_or(Path::new("."))
    }

    /// Of the journal in use: with each snapshot begins another.
    pub fn journal_number(&self) -> u64 {
        self.journal.number()
    }

    /// `insights.jsonl`.
    pub fn insights_path(&self) -> &Path {
        self.insights.path()
    }

    /// Where the lines end that are on the disk: the size of `insights.jsonl`.
    pub fn insights_bytes(&self) -> u64 {
        self.insights.end()
    }

    /// Takes in an object, until the next commit in memory alone. One whose bytes were seen before is passed over.
    pub fn take(&mut self, delivery: &Delivery) {
        let name = ObjectName::parse(&delivery.name);
        if !matches!(name.kind, Kind::CloudTrail | Kind::Other) {
            self.fresh_objects.passed_over += 1;
            return;
        }
        let (hash, length) = identity(&delivery.bytes);
        // A name from the future tells nothing, and would move time for ever.
        let dated = name.delivered.filter(|delivered| delivered.0 <= delivery.arrived.0 + SKEW_MINUTES);
        let delivered = dated.unwrap_or(delivery.arrived);
        if self.by_identity.contains_key(&(hash, length)) {
            self.fresh_objects.duplicate += 1;
            return;
        }
        let known_until = delivered.0 + if dated.is_some() { KNOWN_MINUTES } else { SKEW_MINUTES + 1 };
        self.by_identity.insert((hash, length), known_until);
        self.fresh.insert((known_until, hash, length));
        let frontier = self.detector.frontier();
        let late_before = match (self.options.clock, dated) {
            // What tells no time of delivery is never late, as in a scan; nor does it move time.
            (Clock::Wall, _) | (_, None) => frontier,
            (Clock::Delivery, Some(delivered)) => frontier.max(Minute(self.day_start(delivered.0))),
        };
        self.fresh_newest = self.fresh_newest.max(dated.map_or(i64::MIN, |delivered| delivered.0));
        let bounds = Bounds { late_before, newest: Minute(delivered.0 + SKEW_MINUTES) };
        let outcome = self.intake.object(&delivery.name, &delivery.bytes, bounds, &self.options.run, &mut self.reader);
        if outcome.digest {
            self.fresh_objects.passed_over += 1;
            return;
        }
        self.fresh_objects.read += 1;
        self.fresh_objects.stored_bytes += length;
    }

    /// Notes an object that could not be had and will not be asked for again.
    pub fn park(&mut self, name: &str, reason: String) {
        self.intake.unreadable(name, reason);
        self.fresh_objects.parked += 1;
    }

    /// What people do not want to hear of, from the next commit on.
    pub fn mute(&mut self, mutes: Mutes) {
        self.fresh_mutes = (mutes != self.mutes).then_some(mutes);
    }

    fn set_mutes(&mut self, json: &str) -> Result<(), SnapshotError> {
        self.mutes = Mutes::parse(json).map_err(|_| postcard::Error::SerdeDeCustom)?;
        self.detector.mute(&self.mutes);
        Ok(())
    }

    /// How late an event may come and still be scored.
    pub fn lateness_minutes(&self) -> i64 {
        let given = self.options.run.lateness_minutes;
        match self.options.learns_lateness {
            true => self.lags.lateness_minutes().unwrap_or(given),
            false => given,
        }
    }

    /// The first minute that an object of this time of delivery can still bring.
    fn day_start(&self, delivered: i64) -> i64 {
        Minute(delivered).day() * MINUTES_PER_DAY - self.options.run.lateness_minutes
    }

    /// The newest delivery among all that was taken in.
    pub fn newest(&self) -> Option<Minute> {
        let newest = self.newest_delivery();
        (newest != i64::MIN).then_some(Minute(newest))
    }

    fn newest_delivery(&self) -> i64 {
        self.fresh_newest.max(self.newest)
    }

    /// Puts all that was taken in on the disk, moves the frontier, and says what that brought. `complete`: up to when
    /// the sources are known to have handed over all that there was, by the wall clock or by time of delivery. After
    /// an error nothing has been said, and it can be tried again.
    pub fn commit(&mut self, complete: Option<Minute>) -> Result<Committed, WatchError> {
        let frontier = complete.map(|complete| match self.options.clock {
            Clock::Wall => complete.0 - self.lateness_minutes(),
            Clock::Delivery => self.day_start(complete.0 - REORDER_MINUTES),
        });
        self.commit_up_to(frontier.map_or(self.detector.frontier(), Minute))
    }

    /// Commits, and closes all that is open. What comes for the minutes closed is late from then on; what comes after
    /// them goes on from there.
    pub fn finish(&mut self) -> Result<Committed, WatchError> {
        let mut committed = self.commit_up_to(FINISH)?;
        // The journal stands for the state until a snapshot can be written again.
        match self.take_snapshot() {
            Ok(()) => committed.snapshot_taken = true,
            Err(lost @ WatchError::Lost { .. }) => return Err(lost),
            Err(error) => committed.snapshot_failed = Some(error),
        }
        Ok(committed)
    }

    fn commit_up_to(&mut self, frontier: Minute) -> Result<Committed, WatchError> {
        // What an earlier commit could not say comes first.
        self.flush()?;
        // Open minutes that take more than their share are closed early: what comes for them later is late.
        let early = self.options.memory.map(|memory| self.detector.open_within(open_share(memory)));
        let closed_early = early.is_some_and(|early| early > frontier.max(self.detector.frontier()));
        let frontier = frontier.max(early.unwrap_or(frontier));
        let unchanged = frontier <= self.detector.frontier()
            && self.fresh.is_empty()
            && self.fresh_objects == ObjectCounts::default()
            && self.fresh_mutes.is_none()
            && self.ceiling == self.options.memory
            && self.intake.counters == RecordCounts::default();
        if !unchanged {
            self.write_entry(frontier)?;
        }
        self.flush()?;
        let insights = std::mem::take(&mut self.unsaid);
        let settled_before = if frontier == FINISH { frontier } else { self.detector.frontier() };
        // A commit that is tried again has nothing new but what could not be said before.
        let is_news = !unchanged || !insights.is_empty();
        let mut early = if is_news { self.early.settle(&insights, settled_before) } else { Vec::new() };
        early.extend(self.look()?);
        if !insights.is_empty() {
            self.summarise();
        }
        Ok(Committed { insights, early, closed_early, ..Committed::default() })
    }

    /// Writes the whole state anew where replaying the journal would take long by now; whether it did. It takes seconds
    /// for a large state, so it comes once everybody knows what the last commit said.
    pub fn snapshot_if_due(&mut self) -> Result<bool, WatchError> {
        let is_due = self.journal.wants_snapshot();
        if is_due {
            self.take_snapshot()?;
        }
        Ok(is_due)
    }

    /// Takes what is fresh into the journal and the state.
    fn write_entry(&mut self, frontier: Minute) -> Result<(), WatchError> {
        let tally = std::mem::take(&mut self.intake.tally);
        let entry = Entry {
            format: FORMAT,
            settings: self.settings,
            tally: tally.to_bytes().map_err(SnapshotError::from)?,
            seen: self.fresh.iter().copied().collect(),
            counters: self.intake.counters,
            objects: self.fresh_objects,
            rejects: std::mem::take(&mut self.intake.rejects),
            newest: self.newest_delivery(),
            frontier: frontier.0,
            mutes: self.fresh_mutes.as_ref().map(Mutes::to_json),
            lags: (0..).zip(self.intake.lags.iter().copied()).filter(|(_, count)| *count > 0).collect(),
            memory: self.options.memory,
        };
        let bytes = postcard::to_stdvec(&entry).map_err(SnapshotError::from)?;
        if let Err(error) = self.journal.append(&bytes) {
            self.intake.tally = tally;
            self.intake.rejects = entry.rejects;
            return Err(error);
        }
        self.fresh_mutes = None;
        self.intake.counters = RecordCounts::default();
        self.intake.lags.clear();
        self.fresh_objects = ObjectCounts::default();
        self.fresh.clear();
        // An old trail is read to its end: nobody waits for the first word of it.
        if self.options.clock == Clock::Wall {
            self.touched.extend(tally.apis().map(|api| api.map(str::to_owned)));
        }
        let insights = self.apply(entry, tally)?;
        self.unsaid.extend(insights);
        Ok(())
    }

    /// Whether a commit without anything new would still look for early words.
    pub fn wants_look(&self) -> bool {
        !self.touched.is_empty()
    }

    /// Early words of the APIs that were called since the last look. A look goes through the open minutes of those that
    /// may have something to tell: after one that had to go through millions of rows some commits have none.
    fn look(&mut self) -> Result<Vec<Early>, WatchError> {
        if self.touched.is_empty() {
            return Ok(Vec::new());
        }
        self.look_debt = self.look_debt.saturating_sub(LOOK_ROWS);
        if self.look_debt > 0 {
            return Ok(Vec::new());
        }
        let before = self.detector.looked_through();
        let touched: Vec<[String; 5]> = std::mem::take(&mut self.touched).into_iter().collect();
        let begun = self.detector.peek(&touched).map_err(|source| self.lost_rows(source))?;
        self.look_debt = self.detector.looked_through() - before;
        Ok(self.early.tell(begun, &self.mutes))
    }

    /// What an entry does to the state; the same when it is replayed.
    fn apply(&mut self, entry: Entry, tally: Tally) -> Result<Vec<Insight>, WatchError> {
        if let Some(json) = &entry.mutes {
            self.set_mutes(json)?;
        }
        let mut rejects = entry.rejects;
        rejects.sort();
        rejects.iter().for_each(|reject| self.rejects.push(reject));
        self.see(entry.seen);
        self.lags.add(&entry.lags);
        self.newest = self.newest.max(entry.newest);
        self.counters.add(&entry.counters);
        self.objects.add(&entry.objects);
        self.detector.merge(tally);
        let is_new_ceiling = std::mem::replace(&mut self.ceiling, entry.memory) != entry.memory;
        if Minute(entry.frontier) <= self.detector.frontier() {
            if is_new_ceiling {
                self.shrink();
            }
            return Ok(Vec::new());
        }
        let (mut insights, mut over) = (Vec::new(), false);
        while !over {
            let frontier = Minute(entry.frontier);
            let step = self.detector.step(STEP_ROWS).filter(|step| *step < frontier);
            over = step.is_none();
            insights.extend(self.advance(step.unwrap_or(frontier))?);
        }
        if entry.frontier == FINISH.0 {
            self.rates.write_parts();
        }
        self.lags.roll_to(self.detector.frontier().day());
        self.forget();
        self.shrink();
        Ok(insights)
    }

    /// Keeps to the ceiling.
    fn shrink(&mut self) {
        if let Some(memory) = self.ceiling {
            let fixed = MEMORY_FIXED + self.seen.len() as u64 * BYTES_PER_OBJECT;
            self.evicted += self.detector.shrink(memory.saturating_sub(fixed)) as u64;
        }
    }

    fn advance(&mut self, frontier: Minute) -> Result<Vec<Insight>, WatchError> {
        let threads = self.options.run.threads;
        self.detector.recall(frontier).map_err(|source| self.lost_rows(source))?;
        let mut advance = match frontier {
            FINISH => self.detector.finish(threads),
            frontier => self.detector.advance(frontier, threads),
        };
        self.counters.scored += advance.events;
        self.counters.duplicate += advance.closed.duplicates;
        for insight in &advance.insights {
            let record = self.record(insight);
            self.insights.push(&record);
            self.told += 1;
            self.incidents += u64::from(insight.state == State::Start);
        }
        for calls in advance.closed.calls.chunk_by(|a, b| a.api == b.api) {
            let [account, region, ..] = advance.closed.api(calls[0].api);
            let (first, last) = (i64::from(calls[0].minute), i64::from(calls[calls.len() - 1].minute));
            let fresh = Span { events: 0, first, last };
            let span = self.accounts.entry((account.to_owned(), region.to_owned())).or_insert(fresh);
            span.events += calls.iter().map(|calls| u64::from(calls.count)).sum::<u64>();
            (span.first, span.last) = (span.first.min(first), span.last.max(last));
        }
        advance.near.iter().for_each(|near| self.near.push(&near.to_record()));
        self.rates.add(&advance);
        // Who is told of an incident wants to see its numbers.
        if !advance.insights.is_empty() {
            self.rates.write_parts();
        }
        // For the memory's sake: early, and once what was closed is let go, for writing takes as much again. What cannot be
        // written now is written, or complained of, with the lines.
        let insights = std::mem::take(&mut advance.insights);
        drop(advance);
        let _ = self.rates.flush();
        Ok(insights)
    }

    /// Rows were put aside and cannot be read, half of a step may be done: starting again counts them again.
    fn lost_rows(&self, source: std::io::Error) -> WatchError {
        WatchError::Lost { path: self.directory().display().to_string(), source }
    }

    /// With what mutes it: an end goes the way of its start.
    fn record(&mut self, insight: &Insight) -> TrailRecord {
        let mut record = insight.to_record(false);
        let muted_by = match insight.state {
            State::Start => {
                let muted_by = self.mutes.find(&record).map(|mute| mute.id.clone());
                if let Some(id) = &muted_by {
                    self.muted.insert(record.shared_event_id.clone(), id.clone());
                }
                muted_by
            }
            State::End => self.muted.remove(&record.shared_event_id),
        };
        if let Some(highwater) = &mut record.highwater {
            highwater.muted_by = muted_by;
        }
        record
    }

    fn see(&mut self, all: impl IntoIterator<Item = Seen>) {
        for seen in all {
            let (known_until, hash, length) = seen;
            self.by_identity.insert((hash, length), known_until);
            self.seen.insert(seen);
        }
    }

    /// Forgets objects that need not be known again.
    fn forget(&mut self) {
        let kept = self.seen.split_off(&(self.detector.frontier().0, 0, 0));
        for (_, hash, length) in std::mem::replace(&mut self.seen, kept) {
            self.by_identity.remove(&(hash, length));
        }
    }

    fn flush(&mut self) -> Result<(), WatchError> {
        self.lines().into_iter().try_for_each(Lines::flush)?;
        Ok(self.rates.flush()?)
    }
}

impl ObjectCounts {
    fn add(&mut self, other: &ObjectCounts) {
        self.read += other.read;
        self.duplicate += other.duplicate;
        self.passed_over += other.passed_over;
        self.parked += other.parked;
        self.stored_bytes += other.stored_bytes;
    }
}
