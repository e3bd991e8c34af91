//! The batch loop: objects in, advances out. Owns the threads and asks for the time once; everything that decides lies
//! in the detector. Knows neither flags nor what becomes of insights.
//!
//! Objects are read in groups, one for each day of delivery. Within a group any thread may read any object; between
//! groups the frontier moves. What is late depends on an event and its object's day alone, never on what was read
//! before it, so that no order of reading leaves a trace.

use std::collections::{BTreeMap, HashSet};
use std::hash::BuildHasher;
use std::ops::Range;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use foldhash::quality::FixedState;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::detector::{Advance, Detector};
use crate::event::{Category, Event, Limits, MINUTES_PER_DAY, Minute, ObjectName, Reader};
use crate::source::Object;
use crate::window::Tally;

/// An event this far after the delivery of its object was dated by a broken clock. CloudTrail delivers after the event;
/// the hour allows for clocks that differ.
const SKEW_MINUTES: i64 = 60;

/// Which events are counted.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// Event times, half-open.
    pub from: Option<Minute>,
    pub to: Option<Minute>,
    /// Empty: all.
    pub accounts: Vec<String>,
    pub regions: Vec<String>,
    pub data_events: bool,
}

impl Filter {
    fn admits(&self, event: &Event, minute: Minute) -> bool {
        let named = |list: &[String], name: &str| list.is_empty() || list.iter().any(|item| item == name);
        (self.data_events || event.category == Category::Management)
            && self.from.is_none_or(|from| minute >= from)
            && self.to.is_none_or(|to| minute < to)
            && named(&self.accounts, event.account_id)
            && named(&self.regions, event.region)
    }
}

#[derive(Clone, Debug)]
pub struct Options {
    pub filter: Filter,
    pub limits: Limits,
    /// Events older than the day of delivery by more than this are late.
    pub lateness_minutes: i64,
    pub threads: usize,
    /// Leave the last `lateness` open, for a snapshot that a later run goes on from.
    pub keep_open: bool,
}

/// Where every record went. At any moment `read = scored + duplicate + filtered + late + malformed + open`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counters {
    pub read: u64,
    /// Counted in a minute that was closed.
    pub scored: u64,
    pub duplicate: u64,
    /// Not asked for, or of a category that is not scored.
    pub filtered: u64,
    /// For a minute closed before they came.
    pub late: u64,
    pub malformed: u64,
    /// Counted in a minute that a snapshot keeps open.
    pub open: u64,
}

/// One malformed record, or object.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Reject {
    pub object: String,
    /// In the decompressed text; none where the object itself could not be read.
    pub offset: Option<u64>,
    pub reason: String,
    pub sample: String,
}

/// How complete an account's Region is, from object names and events.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Coverage {
    pub objects: u64,
    pub events: u64,
    pub deliveries: Vec<Minute>,
    pub first_event: Option<Minute>,
    pub last_event: Option<Minute>,
}

#[derive(Clone, Debug, Default)]
pub struct Summary {
    pub counters: Counters,
    pub objects_read: u64,
    /// Objects with the same bytes as one read before.
    pub objects_duplicate: u64,
    pub objects_unreadable: u64,
    /// Digests found by their content.
    pub digests: u64,
    pub stored_bytes: u64,
    pub text_bytes: u64,
    /// By account and Region.
    pub coverage: BTreeMap<(String, String), Coverage>,
    pub reading: Duration,
    pub detecting: Duration,
}

/// What the loop tells while it runs.
pub trait Progress: Sync {
    /// An object of so many stored bytes has been read, with so many bytes of text and records.
    fn object(&self, stored_bytes: u64, text_bytes: u64, records: u64);
}

/// Why a scan stops before its end.
#[derive(Debug, Error)]
pub enum ScanError {
    #[error(transparent)]
    Sink(#[from] anyhow::Error),
}

/// Reads all objects and hands every advance, and the rejects of its group in the order of objects, to `sink`.
pub fn scan(
    objects: &[Object],
    options: &Options,
    detector: &mut Detector,
    progress: &dyn Progress,
    mut sink: impl FnMut(&Advance, Vec<Reject>) -> anyhow::Result<()>,
) -> Result<Summary, ScanError> {
    let now = Minute::of_second(chrono::Utc::now().timestamp());
    let mut summary = Summary::default();
    let identities = Mutex::new(HashSet::new());
    let mut rest = objects;
    while let Some(first) = rest.first() {
        let day = first.delivered.map(Minute::day);
        let (group, later) = rest.split_at(rest.partition_point(|object| object.delivered.map(Minute::day) == day));
        rest = later;
        let late_before = match day {
            Some(day) => Minute(day * MINUTES_PER_DAY - options.lateness_minutes),
            None => Minute(i64::MIN),
        };
        let job = Job { group, options, now, late_before: late_before.max(detector.frontier()), identities: &identities };
        let started = Instant::now();
        let parts = job.read_all(progress);
        summary.reading += started.elapsed();

        let started = Instant::now();
        let mut rejects = Vec::new();
        for part in parts {
            detector.merge(part.tally);
            rejects.extend(part.rejects);
            summary.add(part.summary);
        }
        rejects.sort();
        // The next group's first possible minute; at the end of input everything is complete.
        let frontier = match later.first() {
            Some(next) => next.delivered.map(|next| Minute(next.day() * MINUTES_PER_DAY - options.lateness_minutes)),
            None if options.keep_open => (day.is_some()).then_some(late_before),
            None => Some(Minute(i64::MAX)),
        };
        let advance = detector.advance(frontier.unwrap_or(Minute(i64::MIN)), options.threads);
        summary.count(&advance);
        summary.detecting += started.elapsed();
        sink(&advance, rejects)?;
    }
    if objects.is_empty() && !options.keep_open {
        let advance = detector.advance(Minute(i64::MAX), options.threads);
        summary.count(&advance);
        sink(&advance, Vec::new())?;
    }
    summary.counters.open = detector.open_events();
    Ok(summary)
}

/// One group of objects.
struct Job<'a> {
    group: &'a [Object],
    options: &'a Options,
    now: Minute,
    late_before: Minute,
    identities: &'a Mutex<HashSet<(u64, usize)>>,
}

#[derive(Default)]
struct Part {
    tally: Tally,
    rejects: Vec<Reject>,
    summary: Summary,
}

impl Job<'_> {
    fn read_all(&self, progress: &dyn Progress) -> Vec<Part> {
        let next = AtomicUsize::new(0);
        let threads = self.options.threads.clamp(1, self.group.len().max(1));
        let work = || {
            let mut part = Part::default();
            let (mut reader, mut buffer) = (Reader::new(), Vec::new());
            while let Some(object) = self.group.get(next.fetch_add(1, Ordering::Relaxed)) {
                self.read(object, &mut reader, &mut buffer, &mut part, progress);
            }
            part
        };
        if threads == 1 {
            return vec![work()];
        }
        std::thread::scope(|scope| {
            let handles: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
            handles
                .into_iter()
                .map(|handle| handle.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
                .collect()
        })
    }

    fn read(
        &self,
        object: &Object,
        reader: &mut Reader,
        buffer: &mut Vec<u8>,
        part: &mut Part,
        progress: &dyn Progress,
    ) {
        let Part { tally, rejects, summary } = part;
        if let Err(error) = object.read(buffer) {
            summary.objects_unreadable += 1;
            summary.counters.read += 1;
            summary.counters.malformed += 1;
            rejects.push(Reject {
                object: object.name.clone(),
                offset: None,
                reason: format!("the object cannot be read: {error}"),
                sample: String::new(),
            });
            return;
        }
        let identity = (FixedState::default().hash_one(&**buffer), buffer.len());
        if !self.identities.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).insert(identity) {
            summary.objects_duplicate += 1;
            progress.object(object.bytes, 0, 0);
            return;
        }
        let name = ObjectName::parse(&object.name);
        let newest = Minute(object.delivered.unwrap_or(self.now).0 + SKEW_MINUTES);
        let counters = &mut summary.counters;
        let mut future = Vec::new();
        let outcome = reader.read(&name, buffer, &self.options.limits, &mut |event| {
            let minute = Minute::of_second(event.event_time_s);
            if !self.options.filter.admits(event, minute) {
                counters.filtered += 1;
            } else if minute > newest {
                counters.malformed += 1;
                future.push((minute, event.event_id.to_owned()));
            } else if minute < self.late_before {
                counters.late += 1;
            } else {
                tally.add(event);
            }
        });
        counters.read += outcome.records;
        counters.filtered += outcome.other_category;
        counters.malformed += outcome.malformed;
        rejects.extend(outcome.problems.into_iter().map(|problem| Reject {
            object: object.name.clone(),
            offset: Some(problem.offset),
            reason: problem.reason,
            sample: problem.sample,
        }));
        rejects.extend(future.into_iter().map(|(minute, event_id)| Reject {
            object: object.name.clone(),
            offset: None,
            reason: format!("eventTime {minute} lies after {newest}, the time of delivery and an hour for clocks that differ"),
            sample: format!("eventID {event_id}"),
        }));
        summary.objects_read += 1;
        summary.digests += u64::from(outcome.digest);
        summary.stored_bytes += buffer.len() as u64;
        summary.text_bytes += outcome.decompressed_bytes;
        if !name.account.is_empty() {
            let place = (name.account.to_owned(), name.region.to_owned());
            let coverage = summary.coverage.entry(place).or_default();
            coverage.objects += 1;
            coverage.deliveries.extend(object.delivered);
        }
        progress.object(object.bytes, outcome.decompressed_bytes, outcome.records);
    }
}

impl Summary {
    fn add(&mut self, other: Summary) {
        let (ours, theirs) = (&mut self.counters, other.counters);
        ours.read += theirs.read;
        ours.filtered += theirs.filtered;
        ours.late += theirs.late;
        ours.malformed += theirs.malformed;
        self.objects_read += other.objects_read;
        self.objects_duplicate += other.objects_duplicate;
        self.objects_unreadable += other.objects_unreadable;
        self.digests += other.digests;
        self.stored_bytes += other.stored_bytes;
        self.text_bytes += other.text_bytes;
        for (place, theirs) in other.coverage {
            let ours = self.coverage.entry(place).or_default();
            ours.objects += theirs.objects;
            ours.deliveries.extend(theirs.deliveries);
        }
    }

    fn count(&mut self, advance: &Advance) {
        self.counters.scored += advance.events;
        self.counters.duplicate += advance.closed.duplicates;
        for calls in advance.closed.calls.chunk_by(|a, b| a.api == b.api) {
            let api = &advance.closed.apis[calls[0].api as usize];
            let coverage = self.coverage.entry((api.account_id.to_string(), api.region.to_string())).or_default();
            coverage.events += calls.iter().map(|calls| u64::from(calls.count)).sum::<u64>();
            for calls in [&calls[0], &calls[calls.len() - 1]] {
                let minute = Some(Minute(i64::from(calls.minute)));
                coverage.first_event = coverage.first_event.min(minute).or(minute);
                coverage.last_event = coverage.last_event.max(minute);
            }
        }
    }
}

/// Deliveries further apart than this are worth a line: CloudTrail delivers about every five minutes while anything
/// is called, and an hour without a call is rare outside quiet Regions.
const GAP_MINUTES: i64 = 60;

impl Coverage {
    /// Stretches without a delivery, longest first, at most `most`; and how many there are.
    pub fn gaps(&mut self, most: usize) -> (Vec<Range<Minute>>, usize) {
        self.deliveries.sort_unstable();
        let mut gaps: Vec<Range<Minute>> = self
            .deliveries
            .windows(2)
            .filter(|pair| pair[1].0 - pair[0].0 > GAP_MINUTES)
            .map(|pair| pair[0]..pair[1])
            .collect();
        let count = gaps.len();
        gaps.sort_by_key(|gap| (gap.start.0 - gap.end.0, gap.start));
        gaps.truncate(most);
        (gaps, count)
    }
}
