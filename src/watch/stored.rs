//! What a state directory holds between two processes: the snapshot's layout, opening a directory, writing it all down.
//! What entries do is [`Watch::apply`]'s; how they lie on the disk is the journal's.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::journal::{Journal, Recovered};
use super::lags::Lags;
use super::lines::Lines;
use super::{Entry, ObjectCounts, Options, Span, Watch, WatchError, early};
use crate::detector::{Detector, SnapshotError};
use crate::event::{Minute, Reader};
use crate::insight::mute::Mutes;
use crate::run::{Intake, identity};
use crate::store::rates::{PART_ROWS_SMALL, RatesWriter};
use crate::store::{Account, Objects, RecordCounts, SummaryFile, Timings, write_summary};
use crate::window::{FrameReader, Frames, Tally};

/// The layout of [`Entry`], which begins with it, and of [`Head`], before which it stands.
pub(super) const FORMAT: u32 = 4;

/// What a snapshot holds beside the objects seen, the rates and the detector, which follow it.
#[derive(Serialize, Deserialize)]
struct Head {
    seen: usize,
    counters: RecordCounts,
    objects: ObjectCounts,
    newest: i64,
    insights_end: u64,
    near_end: u64,
    rejects_end: u64,
    /// As JSON.
    mutes: String,
    muted: BTreeMap<String, String>,
    accounts: BTreeMap<(String, String), Span>,
    told: u64,
    incidents: u64,
    lags: Lags,
    ceiling: Option<u64>,
    evicted: u64,
}

impl Watch {
    /// Goes on where the directory's last process stopped, or begins. `detector` is still empty.
    pub fn open(directory: &Path, options: Options, mut detector: Detector) -> Result<Watch, WatchError> {
        let Recovered { journal, snapshot, entries } = Journal::open(directory)?;
        let damaged = |error: postcard::Error| WatchError::Damaged {
            path: directory.join("snapshot").display().to_string(),
            reason: format!("it cannot be read ({error}); start afresh with an empty directory"),
        };
        let unread = |source: std::io::Error| WatchError::Damaged {
            path: directory.join("snapshot").display().to_string(),
            reason: format!("it cannot be read ({source}); start afresh with an empty directory"),
        };
        let mut snapshot = snapshot.map(FrameReader::from);
        let of_this_format = |found: u32, path: &str| match found {
            FORMAT => Ok(()),
            _ => Err(WatchError::Damaged {
                path: directory.join(path).display().to_string(),
                reason: format!(
                    "it was written by another version of highwater (layout {found}, this one has {FORMAT}); go on with that version, or start afresh with an empty directory"
                ),
            }),
        };
        let head: Option<Head> = match &mut snapshot {
            Some(snapshot) => {
                of_this_format(snapshot.take().map_err(unread)?, "snapshot")?;
                Some(snapshot.take().map_err(unread)?)
            }
            None => None,
        };
        let ends = head.as_ref().map_or([0; 3], |head| [head.insights_end, head.near_end, head.rejects_end]);
        let lines = |name: &str, end: u64| Lines::open(&directory.join(name), end);
        // It has no name and goes with the process: snapshot and journal have its rows too.
        let aside = tempfile::tempfile_in(directory)
            .map_err(|source| WatchError::Io { path: directory.display().to_string(), source })?;
        detector.put_aside_on(Box::new(aside));
        let settings = identity(format!("{} {}", env!("CARGO_PKG_VERSION"), detector.settings()).as_bytes()).0;
        let mut watch = Watch {
            options,
            detector,
            settings,
            reader: Reader::new(),
            journal,
            intake: Intake::default(),
            fresh: BTreeSet::new(),
            fresh_newest: i64::MIN,
            fresh_objects: ObjectCounts::default(),
            seen: BTreeSet::new(),
            by_identity: BTreeMap::new(),
            counters: RecordCounts::default(),
            objects: ObjectCounts::default(),
            newest: i64::MIN,
            early: early::Open::default(),
            unsaid: Vec::new(),
            mutes: Mutes::default(),
            fresh_mutes: None,
            touched: BTreeSet::new(),
            look_debt: 0,
            muted: BTreeMap::new(),
            accounts: BTreeMap::new(),
            told: 0,
            incidents: 0,
            lags: Lags::default(),
            ceiling: None,
            evicted: 0,
            insights: lines("insights.jsonl", ends[0])?,
            near: lines("near.jsonl", ends[1])?,
            rejects: lines("rejects.jsonl", ends[2])?,
            rates: RatesWriter::new(directory.join("rates")).in_parts(PART_ROWS_SMALL),
        };
        if let (Some(head), Some(mut from)) = (head, snapshot) {
            for _ in 0..head.seen {
                let seen = from.take().map_err(unread)?;
                watch.see([seen]);
            }
            watch.rates.read_open(&mut from).map_err(unread)?;
            watch.detector = watch.detector.restored(from.into_inner())?;
            (watch.counters, watch.objects, watch.newest) = (head.counters, head.objects, head.newest);
            watch.set_mutes(&head.mutes)?;
            (watch.muted, watch.accounts) = (head.muted, head.accounts);
            (watch.told, watch.incidents, watch.evicted) = (head.told, head.incidents, head.evicted);
            (watch.lags, watch.ceiling) = (head.lags, head.ceiling);
        }
        // Other settings would say other things of the minutes since the snapshot. What was said of them stands, and
        // nothing is added to it.
        let mut is_settled_anew = false;
        for bytes in entries {
            let bytes = bytes.map_err(unread)?;
            let journal = format!("journal-{}", watch.journal.number());
            of_this_format(postcard::take_from_bytes(&bytes).map_err(damaged)?.0, &journal)?;
            let entry: Entry = postcard::from_bytes(&bytes).map_err(damaged)?;
            let tally = Tally::from_bytes(&entry.tally).map_err(damaged)?;
            if entry.settings != settings && !is_settled_anew {
                is_settled_anew = true;
                watch.rates.forget_from(watch.detector.frontier().day())?;
            }
            watch.apply(entry, tally)?;
            if is_settled_anew {
                watch.lines().into_iter().for_each(Lines::forget_pending);
            }
            watch.flush()?;
        }
        if is_settled_anew {
            watch.lines().into_iter().try_for_each(Lines::stand)?;
            watch.take_snapshot()?;
        }
        Ok(watch)
    }

    /// Writes `summary.json`, so that the directory can be reported on like the result of a scan. Nothing depends on it:
    /// what could not be written is written the next time.
    pub(super) fn summarise(&self) {
        let account = |((account, region), span): (&(String, String), &Span)| Account {
            account: account.clone(),
            region: region.clone(),
            events: span.events,
            first_event: Some(Minute(span.first).to_string()),
            last_event: Some(Minute(span.last).to_string()),
            ..Account::default()
        };
        let summary = SummaryFile {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            model: self.detector.model_name().to_owned(),
            command: vec!["highwater".to_owned(), "watch".to_owned()],
            insights: self.told,
            incidents: self.incidents,
            records: self.counters(),
            objects: Objects {
                read: self.objects.read,
                duplicate: self.objects.duplicate,
                unreadable: self.objects.parked,
                other_files_passed_over: self.objects.passed_over,
                stored_bytes: self.objects.stored_bytes,
                ..Objects::default()
            },
            series: self.series_count() as u64,
            accounts: self.accounts.iter().map(account).collect(),
            timings: Timings::default(),
        };
        let _ = write_summary(self.directory(), &summary);
    }

    /// Writes the whole state down, so that starting again is quick.
    pub fn take_snapshot(&mut self) -> Result<(), WatchError> {
        self.flush()?;
        let head = Head {
            seen: self.seen.len(),
            counters: self.counters,
            objects: self.objects,
            newest: self.newest,
            insights_end: self.insights.end(),
            near_end: self.near.end(),
            rejects_end: self.rejects.end(),
            mutes: self.mutes.to_json(),
            muted: self.muted.clone(),
            accounts: self.accounts.clone(),
            told: self.told,
            incidents: self.incidents,
            lags: self.lags.clone(),
            ceiling: self.ceiling,
            evicted: self.evicted,
        };
        self.summarise();
        let (seen, rates, detector) = (&self.seen, &self.rates, &self.detector);
        self.journal.snapshot(|file| {
            let mut frames = Frames::to(&mut *file);
            frames.put(&FORMAT).map_err(SnapshotError::from)?;
            frames.put(&head).map_err(SnapshotError::from)?;
            seen.iter().try_for_each(|seen| frames.put(seen)).map_err(SnapshotError::from)?;
            rates.write_open(&mut frames).map_err(SnapshotError::from)?;
            Ok(detector.write_snapshot(file)?)
        })
    }
}
