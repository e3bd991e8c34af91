//! [`Tally`]: what was called, in which minute, by whom, as a bag of rows that only grows until a frontier closes it.
//! Counting commutes: `a + b == b + a`, and closing sorts, so the order in which objects were read leaves no trace.
//! Knows no clock, no file and no baseline: the caller says how far time is complete.

mod aside;
mod dictionary;
mod frames;
mod kinds;
mod numbered;
mod open;
mod shared;

use std::cmp::Ordering;
use std::hash::BuildHasher;
use std::ops::Range;
use std::sync::Arc;

use foldhash::quality::FixedState;
use serde::{Deserialize, Serialize};

use crate::event::{Category, Event, Minute};
pub use aside::Shelf;
use dictionary::HASH_SEED;
pub use dictionary::{Dictionary, OTHER};
pub use frames::{FrameReader, Frames};
pub use open::{Open, OpenMinute};
pub use shared::SharedLists;

/// What of a caller is told in an attribution. The order is the order of the fields of [`Caller`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[repr(u8)]
pub enum Attribute {
    /// The ARN without its session.
    UserIdentityArn,
    SessionName,
    AccessKeyId,
    SourceIpAddress,
    UserAgent,
    /// Empty for calls without an error.
    ErrorCode,
    /// Data events only.
    ResourceArn,
}

impl Attribute {
    pub const ALL: [Attribute; 7] = [
        Attribute::UserIdentityArn,
        Attribute::SessionName,
        Attribute::AccessKeyId,
        Attribute::SourceIpAddress,
        Attribute::UserAgent,
        Attribute::ErrorCode,
        Attribute::ResourceArn,
    ];

    /// As records spell it: AWS's names where AWS has one.
    pub fn as_str(self) -> &'static str {
        match self {
            Attribute::UserIdentityArn => "userIdentityArn",
            Attribute::SessionName => "sessionName",
            Attribute::AccessKeyId => "accessKeyId",
            Attribute::SourceIpAddress => "sourceIPAddress",
            Attribute::UserAgent => "userAgent",
            Attribute::ErrorCode => "errorCode",
            Attribute::ResourceArn => "resourceArn",
        }
    }
}

/// One value per [`Attribute`].
const CALLER_FIELDS: usize = Attribute::ALL.len();

/// An API of an account in a Region: what a row is counted under. Error codes split it further when it is scored.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Api {
    pub account_id: Arc<str>,
    pub region: Arc<str>,
    pub event_source: Arc<str>,
    pub event_name: Arc<str>,
    pub category: Category,
}

/// The fields of an [`Api`] as strings, in the order in which APIs are sorted.
fn api_fields<'a>(event: &Event<'a>) -> [&'a str; 5] {
    [event.account_id, event.region, event.event_source, event.event_name, event.category.as_str()]
}

impl Api {
    /// From its fields, in the order in which APIs are sorted.
    pub fn from_fields([account_id, region, event_source, event_name, category]: [&str; 5]) -> Api {
        Api {
            account_id: account_id.into(),
            region: region.into(),
            event_source: event_source.into(),
            event_name: event_name.into(),
            category: Category::parse(category),
        }
    }

    /// Its fields, in that order.
    pub fn fields(&self) -> [&str; 5] {
        [&self.account_id, &self.region, &self.event_source, &self.event_name, self.category.as_str()]
    }
}

/// 128 bits in halves: a row of 32 bytes, where one number would make it 48.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
struct EventId([u64; 2]);

impl EventId {
    const NONE: EventId = EventId([0; 2]);

    fn of(id: &str) -> EventId {
        let bits = event_id_bits(id);
        EventId([(bits >> 64) as u64, bits as u64])
    }
}

/// One event, or several equal ones without an ID.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
struct Row {
    api: u32,
    minute: u32,
    /// The eventID; of an `UPDATED_DATA` addendum, that of the event it repeats. `NONE`: never a duplicate.
    event_id: EventId,
    /// An addendum sorts behind the event it repeats, so that the event itself is the one that counts.
    addendum: bool,
    read_only: bool,
    caller: u32,
}

/// Counts that may still grow. See the head of this file for its law.
#[derive(Default)]
pub struct Tally {
    apis: Dictionary<5>,
    callers: Dictionary<CALLER_FIELDS>,
    /// By hour since 1970, so that closing touches only what is complete; the hour used last stands last.
    hours: Vec<(u32, Vec<Row>)>,
}

/// A UUID's 128 bits as they are; anything else by its 128-bit hash. 0 for an empty ID.
fn event_id_bits(id: &str) -> u128 {
    if id.is_empty() {
        return 0;
    }
    if let Some(bits) = uuid_bits(id.as_bytes()) {
        return bits.max(1);
    }
    let half = |seed| u128::from(FixedState::with_seed(seed).hash_one(id));
    (half(HASH_SEED) << 64 | half(!HASH_SEED)).max(1)
}

/// Value of a hexadecimal digit; 0xff for any other byte.
const HEX: [u8; 256] = {
    let mut table = [0xff; 256];
    let mut i = 0;
    while i < 10 {
        table[b'0' as usize + i] = i as u8;
        i += 1;
    }
    let mut i = 0;
    while i < 6 {
        table[b'a' as usize + i] = 10 + i as u8;
        i += 1;
    }
    table
};

/// `8-4-4-4-12` lower-case hexadecimal digits, as CloudTrail writes them. Upper case is another text: it is hashed.
fn uuid_bits(id: &[u8]) -> Option<u128> {
    let id: &[u8; 36] = id.try_into().ok()?;
    if id[8] != b'-' || id[13] != b'-' || id[18] != b'-' || id[23] != b'-' {
        return None;
    }
    let mut bits = 0u128;
    let mut bad = 0u8;
    for range in [0..8, 9..13, 14..18, 19..23, 24..36] {
        for &byte in &id[range] {
            let digit = HEX[byte as usize];
            bad |= digit;
            bits = bits << 4 | u128::from(digit & 0xf);
        }
    }
    (bad < 16).then_some(bits)
}

/// First and last minute a row can hold: 1970-01-01 and, far beyond any event the reader lets through, year 10135.
pub const MINUTES: Range<i64> = 0..u32::MAX as i64;

impl Tally {
    /// Counts one event. Events outside [`MINUTES`] are refused by the reader and ignored here.
    pub fn add(&mut self, event: &Event) {
        let minute = Minute::of_second(event.event_time_s);
        if !MINUTES.contains(&minute.0) {
            return;
        }
        let api = self.apis.intern(&api_fields(event));
        let caller = self.callers.intern(&[
            event.principal,
            event.session,
            event.access_key_id,
            event.source_ip,
            event.user_agent,
            event.error_code,
            event.resource_arn,
        ]);
        let addendum = !event.addendum_of.is_empty();
        let event_id = EventId::of(if addendum { event.addendum_of } else { event.event_id });
        let row = Row { api, minute: minute.0 as u32, event_id, addendum, read_only: event.read_only, caller };
        self.hour(minute.0 as u32 / 60).push(row);
    }

    /// The rows of an hour. An object's events lie close together: looking from the end finds them at once.
    fn hour(&mut self, hour: u32) -> &mut Vec<Row> {
        let last = match self.hours.iter().rposition(|(h, _)| *h == hour) {
            Some(found) => {
                let last = self.hours.len() - 1;
                self.hours.swap(found, last);
                last
            }
            None => {
                self.hours.push((hour, Vec::new()));
                self.hours.len() - 1
            }
        };
        &mut self.hours[last].1
    }

    /// Rows not closed yet.
    pub fn len(&self) -> usize {
        self.hours.iter().map(|(_, rows)| rows.len()).sum()
    }

    pub fn is_empty(&self) -> bool {
        self.hours.is_empty()
    }

    /// Adds all of `other`: `a + b == b + a`.
    pub fn merge(&mut self, mut other: Tally) {
        if self.is_empty() {
            *self = other;
            return;
        }
        if other.len() > self.len() {
            std::mem::swap(self, &mut other);
        }
        let apis: Vec<u32> = (0..other.apis.len() as u32).map(|id| self.apis.intern(&other.apis.get(id))).collect();
        let callers: Vec<u32> =
            (0..other.callers.len() as u32).map(|id| self.callers.intern(&other.callers.get(id))).collect();
        for (hour, rows) in other.hours {
            self.hour(hour).extend(rows.into_iter().map(|row| Row {
                api: apis[row.api as usize],
                caller: callers[row.caller as usize],
                ..row
            }));
        }
    }

    /// The fields of the APIs that anything is counted under.
    pub fn apis(&self) -> impl Iterator<Item = [&str; 5]> {
        (0..self.apis.len() as u32).map(|id| self.apis.get(id))
    }

    /// Takes out all minutes before `frontier`, without duplicates, in an order that depends on the events alone.
    /// What stays keeps only the strings it needs.
    pub fn close_before(&mut self, frontier: Minute) -> Closed {
        let frontier = frontier.0.clamp(0, i64::from(u32::MAX)) as u32;
        let taken = std::mem::take(self);
        let mut rows: Vec<Row> = Vec::with_capacity(taken.len());
        for (hour, mut bag) in taken.hours {
            if (hour + 1) * 60 <= frontier {
                rows.append(&mut bag);
                continue;
            }
            for row in bag {
                if row.minute < frontier {
                    rows.push(row);
                    continue;
                }
                let api = self.apis.intern(&taken.apis.get(row.api));
                let caller = self.callers.intern(&taken.callers.get(row.caller));
                self.hour(hour).push(Row { api, caller, ..row });
            }
        }
        Closed::from_rows(taken.apis, taken.callers, rows)
    }
}

/// A tally as stored: APIs, callers, rows.
#[derive(Serialize, Deserialize)]
struct Stored {
    apis: Vec<[String; 5]>,
    callers: Vec<[String; CALLER_FIELDS]>,
    rows: Vec<Row>,
}

impl Tally {
    /// All counts, for a snapshot.
    pub fn to_bytes(&self) -> Result<Vec<u8>, postcard::Error> {
        fn lists<const N: usize>(dictionary: &Dictionary<N>) -> Vec<[String; N]> {
            (0..dictionary.len() as u32).map(|id| dictionary.get(id).map(str::to_owned)).collect()
        }
        let rows = self.hours.iter().flat_map(|(_, rows)| rows).copied().collect();
        postcard::to_stdvec(&Stored { apis: lists(&self.apis), callers: lists(&self.callers), rows })
    }

    /// The tally that was stored.
    pub fn from_bytes(bytes: &[u8]) -> Result<Tally, postcard::Error> {
        let stored: Stored = postcard::from_bytes(bytes)?;
        let mut tally = Tally::default();
        let apis: Vec<u32> =
            stored.apis.iter().map(|list| tally.apis.intern(&list.each_ref().map(String::as_str))).collect();
        let callers: Vec<u32> =
            stored.callers.iter().map(|list| tally.callers.intern(&list.each_ref().map(String::as_str))).collect();
        for row in stored.rows {
            let (Some(&api), Some(&caller)) = (apis.get(row.api as usize), callers.get(row.caller as usize)) else {
                return Err(postcard::Error::SerdeDeCustom);
            };
            tally.hour(row.minute / 60).push(Row { api, caller, ..row });
        }
        Ok(tally)
    }
}

/// The minutes a frontier has passed: per API, in time order, each event once.
pub struct Closed {
    apis: Dictionary<5>,
    /// Numbers in `apis`, in the order of the names.
    by_name: Vec<u32>,
    callers: Dictionary<CALLER_FIELDS>,
    /// Sorted by (API, minute, caller); API numbers are in the order of [`Api`].
    pub calls: Vec<Calls>,
    /// Events that were there already, addenda to counted events among them.
    pub duplicates: u64,
}

/// The calls of one API in one minute by one caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Calls {
    /// For [`Closed::api`]; in the order of the names.
    pub api: u32,
    pub minute: u32,
    /// For [`Closed::caller`].
    pub caller: u32,
    pub read_only: bool,
    pub count: u32,
}

impl Closed {
    fn from_rows(apis: Dictionary<5>, callers: Dictionary<CALLER_FIELDS>, mut rows: Vec<Row>) -> Closed {
        // Numbers follow arrival; ranks follow the names, so that everything later is the same for any arrival.
        let mut by_name: Vec<u32> = (0..apis.len() as u32).collect();
        by_name.sort_unstable_by(|&a, &b| apis.get(a).cmp(&apis.get(b)));
        let mut rank = vec![0u32; by_name.len()];
        for (place, &id) in by_name.iter().enumerate() {
            rank[id as usize] = place as u32;
        }
        // By API without comparing: count, then swap each row to its place. Days of rows are sorted many times a run, and
        // there may be too many of them to hold twice.
        let mut bounds = vec![0usize; by_name.len() + 1];
        for row in &mut rows {
            row.api = rank[row.api as usize];
            bounds[row.api as usize + 1] += 1;
        }
        for api in 0..by_name.len() {
            bounds[api + 1] += bounds[api];
        }
        let mut place = bounds.clone();
        for api in 0..by_name.len() {
            while place[api] < bounds[api + 1] {
                let here = place[api];
                let owner = rows[here].api as usize;
                rows.swap(here, place[owner]);
                place[owner] += 1;
            }
        }
        // Callers are compared by their text, and only where two rows claim the same event: hardly ever.
        let by_text = |a: u32, b: u32| if a == b { Ordering::Equal } else { callers.get(a).cmp(&callers.get(b)) };
        // Of room that is never written to, nothing is taken.
        let mut calls = Vec::with_capacity(rows.len());
        let mut duplicates = 0;
        for bound in bounds.windows(2) {
            let rows = &mut rows[bound[0]..bound[1]];
            rows.sort_unstable_by(|a, b| {
                (a.minute, a.event_id).cmp(&(b.minute, b.event_id)).then_with(|| {
                    (a.addendum, a.read_only).cmp(&(b.addendum, b.read_only)).then_with(|| by_text(a.caller, b.caller))
                })
            });
            for minute in rows.chunk_by(|a, b| a.minute == b.minute) {
                let first = calls.len();
                for event in minute.chunk_by(|a, b| a.event_id == b.event_id && a.event_id != EventId::NONE) {
                    duplicates += event.len() as u64 - 1;
                    let Row { api, minute, caller, read_only, .. } = event[0];
                    calls.push(Calls { api, minute, caller, read_only, count: 1 });
                }
                calls[first..].sort_unstable();
                let mut kept = first;
                for next in first + 1..calls.len() {
                    let (Calls { caller, read_only, .. }, known) = (calls[next], &mut calls[kept]);
                    if (caller, read_only) == (known.caller, known.read_only) {
                        known.count = known.count.saturating_add(1);
                    } else {
                        kept += 1;
                        calls[kept] = calls[next];
                    }
                }
                calls.truncate(kept + 1);
            }
        }
        Closed { apis, by_name, callers, calls, duplicates }
    }

    /// The API's account, Region, event source, event name and category.
    pub fn api(&self, api: u32) -> [&str; 5] {
        self.apis.get(self.by_name[api as usize])
    }

    /// The caller's fields, in the order of [`Attribute::ALL`].
    pub fn caller(&self, id: u32) -> [&str; CALLER_FIELDS] {
        self.callers.get(id)
    }

    /// How many callers there are: numbers are below it.
    pub fn caller_count(&self) -> usize {
        self.callers.len()
    }
}

/// Calls per API and minute and nothing else: what `highwater tally` prints. Duplicates are not looked for.
#[derive(Default)]
pub struct Counts {
    apis: Dictionary<5>,
    /// API number and minute of events not yet sorted in.
    fresh: Vec<u64>,
    /// Sorted by key, each key once.
    cells: Vec<(u64, u64)>,
}

/// Fresh events are sorted in when there are this many (512 KiB: they still lie in the second-level cache), or as
/// many as there are cells.
const FRESH_MAX: usize = 1 << 16;

impl Counts {
    pub fn add(&mut self, event: &Event) {
        let minute = Minute::of_second(event.event_time_s);
        if !MINUTES.contains(&minute.0) {
            return;
        }
        let api = self.apis.intern(&api_fields(event));
        self.fresh.push(u64::from(api) << 32 | minute.0 as u64);
        if self.fresh.len() >= FRESH_MAX.max(self.cells.len()) {
            self.settle();
        }
    }

    fn settle(&mut self) {
        self.fresh.sort_unstable();
        self.cells.extend(self.fresh.chunk_by(|a, b| a == b).map(|run| (run[0], run.len() as u64)));
        self.fresh.clear();
        // Two sorted runs behind each other: the stable sort finds and merges them in linear time.
        self.cells.sort_by_key(|cell| cell.0);
        self.cells.dedup_by(|next, kept| {
            let same = next.0 == kept.0;
            if same {
                kept.1 += next.1;
            }
            same
        });
    }

    /// Adds all of `other`: `a + b == b + a`.
    pub fn merge(&mut self, mut other: Counts) {
        other.settle();
        let names = &other.apis;
        let ids: Vec<u32> = (0..names.len() as u32).map(|id| self.apis.intern(&names.get(id))).collect();
        self.settle();
        self.cells.extend(
            other.cells.iter().map(|(key, n)| (u64::from(ids[(key >> 32) as usize]) << 32 | key & 0xffff_ffff, *n)),
        );
        self.settle();
    }

    /// Every API and minute with calls, by name and time.
    pub fn finish(mut self) -> Vec<(Api, Vec<(Minute, u64)>)> {
        self.settle();
        let names = &self.apis;
        let mut apis: Vec<_> = self
            .cells
            .chunk_by(|a, b| a.0 >> 32 == b.0 >> 32)
            .map(|cells| {
                let api = Api::from_fields(names.get((cells[0].0 >> 32) as u32));
                (api, cells.iter().map(|(key, n)| (Minute((key & 0xffff_ffff) as i64), *n)).collect())
            })
            .collect();
        apis.sort_by(|a, b| a.0.cmp(&b.0));
        apis
    }
}
