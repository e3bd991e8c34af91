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

use crate::detector::{Advance, Detector};
use crate::event::{Category, Event, Limits, MINUTES_PER_DAY, Minute, ObjectName, Outcome, Reader};
use crate::source::Object;
use crate::store::RecordCounts;
use crate::window::Tally;

/// An event this far after the delivery of its object was dated by a broken clock. CloudTrail delivers after the event;
/// the hour allows for clocks that differ.
pub const SKEW_MINUTES: i64 = 60;

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
    /// Where every record went. At any moment they balance.
    pub counters: RecordCounts,
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
    /// Time spent by all readers together, and by folding.
    pub reading: Duration,
    pub folding: Duration,
}

/// What the loop tells while it runs.
pub trait Progress: Sync {
    /// An object has been read: so many bytes of text, so many records.
    fn object(&self, text_bytes: u64, records: u64);
}

/// Reads all objects and hands every advance, and the rejects of its group in the order of objects, to `sink`. With
/// several threads the next group is read while the last one is folded: neither needs the other.
/// Fails only where `sink` does.
pub fn scan(
    objects: &[Object],
    options: &Options,
    detector: &mut Detector,
    progress: &dyn Progress,
    mut sink: impl FnMut(&Advance, Vec<Reject>) -> anyhow::Result<()>,
) -> anyhow::Result<Summary> {
    let job = Job {
        options,
        newest_undated: Minute(Minute::of_second(chrono::Utc::now().timestamp()).0 + SKEW_MINUTES),
        resumed_at: detector.frontier(),
        identities: Mutex::new(HashSet::new()),
    };
    let mut summary = Summary::default();
    let mut fold = |parts: Vec<Part>, frontier: Minute, threads: usize| -> anyhow::Result<()> {
        let started = Instant::now();
        let mut rejects = Vec::new();
        for part in parts {
            detector.merge(part.intake.tally);
            rejects.extend(part.intake.rejects);
            summary.add(part.summary, part.intake.counters);
        }
        rejects.sort();
        let advance = detector.advance(frontier, threads);
        summary.count(&advance);
        summary.folding += started.elapsed();
        summary.counters.open = detector.open_events();
        sink(&advance, rejects)
    };
    let mut unfolded = None;
    for group in groups(objects, options) {
        let next = AtomicUsize::new(0);
        let read = || job.read_objects(&group, &next, progress);
        let (parts, folded) = std::thread::scope(|scope| {
            if options.threads == 1 {
                return (vec![read()], Ok(()));
            }
            let readers: Vec<_> = (0..options.threads.min(group.objects.len())).map(|_| scope.spawn(read)).collect();
            // A group that is read in no time leaves the cores to the folding of the last one.
            let folders = if group.objects.len() < FEW_OBJECTS { options.threads } else { 1 };
            let folded = unfolded.take().map_or(Ok(()), |(parts, frontier)| fold(parts, frontier, folders));
            let parts = readers
                .into_iter()
                .map(|reader| reader.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
                .collect();
            (parts, folded)
        });
        folded?;
        match options.threads {
            1 => fold(parts, group.frontier, 1)?,
            _ => unfolded = Some((parts, group.frontier)),
        }
    }
    match unfolded {
        // Nothing is left to read: all threads fold.
        Some((parts, frontier)) => fold(parts, frontier, options.threads)?,
        None if objects.is_empty() && !options.keep_open => fold(Vec::new(), Minute(i64::MAX), 1)?,
        None => {}
    }
    Ok(summary)
}

/// So many objects are read before folding has well begun.
const FEW_OBJECTS: usize = 32;

/// Objects delivered on one day, or all those that do not tell their day.
struct Group<'a> {
    objects: &'a [Object],
    /// Events before it are late.
    late_before: Minute,
    /// How far time is complete once the group has been read.
    frontier: Minute,
}

/// Cuts objects, which are in the order of delivery, into groups.
fn groups<'a>(objects: &'a [Object], options: &Options) -> Vec<Group<'a>> {
    let day = |object: &Object| object.delivered.map(Minute::day);
    let late_before = |object: Option<&Object>| {
        let day = object.and_then(day);
        day.map_or(Minute(i64::MIN), |day| Minute(day * MINUTES_PER_DAY - options.lateness_minutes))
    };
    let mut groups: Vec<Group> = objects
        .chunk_by(|a, b| day(a) == day(b))
        .map(|objects| Group { objects, late_before: late_before(objects.first()), frontier: Minute(i64::MIN) })
        .collect();
    for place in 0..groups.len() {
        groups[place].frontier = match groups.get(place + 1) {
            Some(next) => next.late_before,
            // More of the last day may come in a later run; without one, the end of input completes everything.
            None if options.keep_open => groups[place].late_before,
            None => Minute(i64::MAX),
        };
    }
    groups
}

/// What all readers share.
struct Job<'a> {
    options: &'a Options,
    /// For objects without a delivery time.
    newest_undated: Minute,
    /// The frontier of the snapshot this run goes on from.
    resumed_at: Minute,
    /// Hash and length of the objects read.
    identities: Mutex<HashSet<(u64, u64)>>,
}

#[derive(Default)]
struct Part {
    intake: Intake,
    summary: Summary,
}

impl Job<'_> {
    fn read_objects(&self, group: &Group, next: &AtomicUsize, progress: &dyn Progress) -> Part {
        let mut part = Part::default();
        let (mut reader, mut buffer) = (Reader::new(), Vec::new());
        let late_before = group.late_before.max(self.resumed_at);
        let started = Instant::now();
        while let Some(object) = group.objects.get(next.fetch_add(1, Ordering::Relaxed)) {
            self.read(object, late_before, &mut reader, &mut buffer, &mut part, progress);
        }
        part.summary.reading = started.elapsed();
        part
    }

    fn read(
        &self,
        object: &Object,
        late_before: Minute,
        reader: &mut Reader,
        buffer: &mut Vec<u8>,
        part: &mut Part,
        progress: &dyn Progress,
    ) {
        let Part { intake, summary } = part;
        if let Err(error) = object.read(buffer) {
            summary.objects_unreadable += 1;
            intake.unreadable(&object.name, format!("the object cannot be read: {error}"));
            return;
        }
        let identity = identity(buffer);
        if !self.identities.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).insert(identity) {
            summary.objects_duplicate += 1;
            progress.object(0, 0);
            return;
        }
        let name = ObjectName::parse(&object.name);
        let newest = object.delivered.map_or(self.newest_undated, |delivered| Minute(delivered.0 + SKEW_MINUTES));
        let bounds = Bounds { late_before, newest };
        let outcome = intake.object(&object.name, buffer, bounds, self.options, reader);
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
        progress.object(outcome.decompressed_bytes, outcome.records);
    }
}

/// Which events of an object can be counted.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Events before it are late.
    pub late_before: Minute,
    /// Events after it were dated by a broken clock.
    pub newest: Minute,
}

/// What objects bring: counts, and what happened to each record.
#[derive(Default)]
pub struct Intake {
    pub tally: Tally,
    pub rejects: Vec<Reject>,
    /// Without what only closing tells: scored, duplicate, open.
    pub counters: RecordCounts,
    /// Records by minutes from their event to the delivery of their object, below [`LAGS`]; the last are all slower ones.
    pub lags: Vec<u64>,
}

/// Twelve hours, by the minute.
pub const LAGS: usize = 721;

impl Intake {
    /// Takes in a whole object.
    pub fn object(
        &mut self,
        object: &str,
        bytes: &[u8],
        bounds: Bounds,
        options: &Options,
        reader: &mut Reader,
    ) -> Outcome {
        let Bounds { late_before, newest } = bounds;
        let Intake { tally, rejects, counters, lags } = self;
        lags.resize(LAGS, 0);
        let mut future = Vec::new();
        let mut outcome = reader.read(&ObjectName::parse(object), bytes, &options.limits, &mut |event| {
            let minute = Minute::of_second(event.event_time_s);
            if !options.filter.admits(event, minute) {
                counters.filtered += 1;
            } else if minute > newest {
                counters.malformed += 1;
                future.push((minute, event.event_id.to_owned()));
            } else {
                let lag = newest.0 - SKEW_MINUTES - minute.0;
                lags[lag.clamp(0, LAGS as i64 - 1) as usize] += 1;
                if minute < late_before {
                    counters.late += 1;
                } else {
                    tally.add(event);
                }
            }
        });
        counters.read += outcome.records;
        counters.filtered += outcome.other_category;
        counters.malformed += outcome.malformed;
        rejects.extend(std::mem::take(&mut outcome.problems).into_iter().map(|problem| Reject {
            object: object.to_owned(),
            offset: Some(problem.offset),
            reason: problem.reason,
            sample: problem.sample,
        }));
        rejects.extend(future.into_iter().map(|(minute, event_id)| Reject {
            object: object.to_owned(),
            offset: None,
            reason: format!(
                "eventTime {minute} lies after {newest}, the time of delivery and an hour for clocks that differ"
            ),
            sample: format!("eventID {event_id}"),
        }));
        outcome
    }

    /// Notes an object that could not be had: it counts as one malformed record.
    pub fn unreadable(&mut self, object: &str, reason: String) {
        self.counters.read += 1;
        self.counters.malformed += 1;
        self.rejects.push(Reject { object: object.to_owned(), offset: None, reason, sample: String::new() });
    }
}

/// What tells an object from others, whatever it is called: a hash of its bytes, and their number.
pub fn identity(bytes: &[u8]) -> (u64, u64) {
    (FixedState::default().hash_one(bytes), bytes.len() as u64)
}

impl Summary {
    fn add(&mut self, other: Summary, records: RecordCounts) {
        self.counters.add(&records);
        self.reading += other.reading;
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
            let [account, region, ..] = advance.closed.api(calls[0].api);
            let coverage = self.coverage.entry((account.to_owned(), region.to_owned())).or_default();
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
