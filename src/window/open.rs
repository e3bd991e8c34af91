//! [`Open`]: the rows that no frontier has passed yet, by minute. A busy sidecar holds millions of them for half an hour,
//! so a row is twelve bytes here, may lie in a file instead of in memory, and closing touches only what it closes. Knows
//! no clock.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Read, Write};

use serde::{Deserialize, Serialize};

use super::aside::{Aside, Shelf};
use super::frames::{FrameReader, Frames};
use super::kinds::{Kind, Kinds, Named};
use super::{Attribute, Closed, EventId, Row, Tally};
use crate::event::Minute;

/// 64 bits of the event ID's 128, for they only have to tell the events of one minute and API apart: of a million, two
/// are taken for one with a chance of three in a hundred million. All zero: no ID.
type ShortId = [u32; 2];

fn short(EventId([high, low]): EventId) -> ShortId {
    if (high, low) == (0, 0) {
        return [0; 2];
    }
    // A UUID has fixed bits in both halves, at other places.
    let both = high ^ low;
    if both == 0 { [1, 0] } else { [(both >> 32) as u32, both as u32] }
}

fn long([high, low]: ShortId) -> EventId {
    EventId([0, u64::from(high) << 32 | u64::from(low)])
}

#[derive(Clone, Copy, Serialize, Deserialize)]
pub(super) struct Slim {
    pub(super) kind: u32,
    pub(super) id: ShortId,
}

impl Slim {
    fn full(&self, minute: u32, named: &mut Named) -> Row {
        let Kind { api, caller, addendum, read_only } = named.kind(self.kind);
        Row { api, minute, event_id: long(self.id), addendum, read_only, caller }
    }
}

/// Rows come in pieces of this many, so that a minute that grows is never copied and what one minute gives back fits
/// the next.
pub(super) const PIECE_ROWS: usize = if cfg!(test) { 8 } else { 1_024 };

/// The rows of a minute.
#[derive(Default)]
struct Bag {
    pieces: Vec<Vec<Slim>>,
    /// Where its other pieces are.
    aside: Vec<u32>,
}

impl Bag {
    /// A piece that has become full is put aside; where it cannot be, as on a full disk, it stays.
    fn push(&mut self, row: Slim, aside: Option<&mut Aside>) {
        match self.pieces.last_mut() {
            Some(piece) if piece.len() < PIECE_ROWS => piece.push(row),
            Some(_) => {
                let mut piece = Vec::with_capacity(PIECE_ROWS);
                piece.push(row);
                self.pieces.push(piece);
            }
            // Most minutes of a small trail hold a handful.
            None => self.pieces.push(vec![row]),
        }
        if let (Some(piece), Some(aside)) = (self.pieces.last_mut(), aside)
            && piece.len() == PIECE_ROWS
            && let Ok(place) = aside.put(piece)
        {
            self.aside.push(place);
            piece.clear();
        }
    }

    fn len(&self) -> usize {
        self.aside.len() * PIECE_ROWS + self.pieces.iter().map(Vec::len).sum::<usize>()
    }

    /// Hands over all rows, those put aside too.
    fn each(&self, aside: Option<&Aside>, mut take: impl FnMut(&Slim)) -> io::Result<()> {
        if let Some(aside) = aside {
            for &place in &self.aside {
                aside.get(place)?.iter().for_each(&mut take);
            }
        }
        self.pieces.iter().flatten().for_each(take);
        Ok(())
    }
}

/// Rows of one API in one open minute, duplicates among them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OpenMinute {
    pub minute: u32,
    /// The number of rows, up to a billion, and in the last two bits how many of them have an error code, up to two.
    counts: u32,
}

const COUNT_MAX: u32 = u32::MAX >> 2;
const FAILED_MAX: u32 = 2;

impl OpenMinute {
    fn add(&mut self, failed: bool) {
        let failed = (self.failed() + u32::from(failed)).min(FAILED_MAX);
        self.counts = (self.count() + 1).min(COUNT_MAX) << 2 | failed;
    }

    pub fn count(&self) -> u32 {
        self.counts >> 2
    }

    /// Those with an error code: none, one, or more.
    pub fn failed(&self) -> u32 {
        self.counts & 3
    }
}

#[derive(Default)]
pub struct Open {
    kinds: Kinds,
    minutes: BTreeMap<u32, Bag>,
    rows: usize,
    aside: Option<Aside>,
    /// Closed since names that nothing needs were last thrown away.
    closed: usize,
    /// By number of the API, in the order of time; kept once somebody has asked for it.
    counts: Option<Vec<Vec<OpenMinute>>>,
    /// How many minutes stand in `counts`, and how many of its lists hold any.
    counted: (usize, usize),
    /// Rows that looks have gone through so far.
    looked_through: u64,
}

/// Fewer names are not worth throwing away.
const CLOSED_MIN: usize = 65_536;

/// What a row takes, a minute of an API in the counts, and an API that has any: its names and its list.
const BYTES_PER_ROW: usize = size_of::<Slim>();
const BYTES_PER_COUNT: usize = size_of::<OpenMinute>() * 9 / 8;
const BYTES_PER_API: usize = 96;

impl Open {
    /// Puts rows aside. Before there are any. To close minutes, [`Open::recall`] them first.
    pub fn put_aside_on(&mut self, shelf: Box<dyn Shelf>) {
        self.aside = Some(Aside::on(shelf));
        // Counting them later would mean to read them all.
        self.counts.get_or_insert_default();
    }

    /// Brings back the rows of the minutes before `frontier` that were put aside, and throws away names that nothing
    /// needs. What cannot be read stays aside; after such an error no more can be closed than before it.
    pub fn recall(&mut self, frontier: Minute) -> io::Result<()> {
        let Some(aside) = &mut self.aside else { return Ok(()) };
        let frontier = frontier.0.clamp(0, i64::from(u32::MAX)) as u32;
        for (_, bag) in self.minutes.range_mut(..frontier) {
            while let Some(&place) = bag.aside.last() {
                bag.pieces.push(aside.get(place)?);
                bag.aside.pop();
                aside.free(place);
            }
        }
        if self.has_names_to_forget() { self.forget_names() } else { Ok(()) }
    }

    /// Rows not closed yet.
    pub fn len(&self) -> usize {
        self.rows
    }

    pub fn is_empty(&self) -> bool {
        self.rows == 0
    }

    /// About how much memory all of it takes, counts included; what the same rows take is the same.
    pub fn bytes(&mut self) -> u64 {
        self.count_all();
        let (minutes, apis) = self.counted;
        let rows = match self.aside {
            // By the number of rows, wherever they are: it must not matter that a disk was full once.
            Some(_) => self.minutes.values().map(|bag| bag.len() % PIECE_ROWS).sum(),
            None => self.rows,
        };
        // Half as much again: names that no row needs any more stay until they are so many.
        let names = self.kinds.bytes() + self.kinds.bytes() / 2;
        (rows * BYTES_PER_ROW + minutes * BYTES_PER_COUNT + apis * BYTES_PER_API + names) as u64
    }

    /// The first minute from which on the rows, each with its share of the rest, take at most so many bytes.
    pub fn first_within(&mut self, bytes: u64) -> Minute {
        let all = self.bytes();
        if all <= bytes {
            return Minute(0);
        }
        let mut rows = (self.rows as u128 * u128::from(bytes) / u128::from(all)) as usize;
        for (minute, bag) in self.minutes.iter().rev() {
            match rows.checked_sub(bag.len()) {
                Some(left) => rows = left,
                None => return Minute(i64::from(*minute) + 1),
            }
        }
        Minute(0)
    }

    /// The last minute with a row.
    pub fn newest(&self) -> Option<Minute> {
        self.minutes.last_key_value().map(|(minute, _)| Minute(i64::from(*minute)))
    }

    /// The minute before which lie at least so many rows, and not many more; none where there are fewer.
    pub fn after_rows(&self, rows: usize) -> Option<Minute> {
        let mut sum = 0;
        let (minute, _) = self.minutes.iter().find(|(_, bag)| {
            sum += bag.len();
            sum >= rows
        })?;
        Some(Minute(i64::from(*minute) + 1))
    }

    fn push(&mut self, minute: u32, row: Slim) {
        self.minutes.entry(minute).or_default().push(row, self.aside.as_mut());
        self.rows += 1;
        self.kinds.add(row.kind);
        if self.counts.is_some() {
            self.count(minute, row.kind);
        }
    }

    fn count(&mut self, minute: u32, kind: u32) {
        let Some(counts) = &mut self.counts else { return };
        let Kind { api, caller, .. } = self.kinds.get(kind);
        let failed = !self.kinds.callers.get(caller)[Attribute::ErrorCode as usize].is_empty();
        if counts.len() <= api as usize {
            counts.resize_with(self.kinds.apis.len().max(api as usize + 1), Vec::new);
        }
        let minutes = &mut counts[api as usize];
        self.counted.1 += usize::from(minutes.is_empty());
        let place = minutes.partition_point(|known| known.minute < minute);
        if minutes.get(place).is_none_or(|known| known.minute != minute) {
            // Most APIs are called in a minute or two of the half hour.
            if minutes.len() == minutes.capacity() {
                minutes.reserve_exact(1 + minutes.len() / 8);
            }
            minutes.insert(place, OpenMinute { minute, counts: 0 });
            self.counted.0 += 1;
        }
        minutes[place].add(failed);
    }

    /// Adds all of a tally.
    pub fn merge(&mut self, tally: Tally) {
        let kinds = &mut self.kinds;
        let apis: Vec<u32> = (0..tally.apis.len() as u32).map(|id| kinds.apis.intern(&tally.apis.get(id))).collect();
        let callers: Vec<u32> =
            (0..tally.callers.len() as u32).map(|id| kinds.callers.intern(&tally.callers.get(id))).collect();
        for (_, rows) in tally.hours {
            for Row { api, minute, event_id, addendum, read_only, caller } in rows {
                let (api, caller) = (apis[api as usize], callers[caller as usize]);
                let kind = self.kinds.number(Kind { api, caller, addendum, read_only });
                self.push(minute, Slim { kind, id: short(event_id) });
            }
        }
    }

    /// The open minutes of an API, in the order of time.
    pub fn minutes_of(&mut self, api: &[&str; 5]) -> &[OpenMinute] {
        self.count_all();
        let api = self.kinds.apis.intern(api) as usize;
        self.counts.as_ref().and_then(|counts| counts.get(api)).map_or(&[], Vec::as_slice)
    }

    /// Begins to count, where nobody has asked for it yet; where rows are put aside it was begun with the first.
    fn count_all(&mut self) {
        if self.counts.is_some() {
            return;
        }
        self.counts = Some(Vec::new());
        let minutes = std::mem::take(&mut self.minutes);
        for (minute, bag) in &minutes {
            bag.pieces.iter().flatten().for_each(|row| self.count(*minute, row.kind));
        }
        self.minutes = minutes;
    }

    /// The minutes of some APIs as they stand, which may still grow. What is here stays here.
    pub fn peek(&mut self, apis: &[[String; 5]]) -> io::Result<Closed> {
        let mut wanted = vec![false; self.kinds.apis.len()];
        // Where nobody has asked for counts, any minute may hold them.
        let mut minutes: BTreeSet<u32> = match &self.counts {
            Some(_) => BTreeSet::new(),
            None => self.minutes.keys().copied().collect(),
        };
        for api in apis {
            let id = self.kinds.apis.intern(&api.each_ref().map(String::as_str)) as usize;
            if let Some(wanted) = wanted.get_mut(id) {
                *wanted = true;
            }
            let counts = self.counts.as_ref().and_then(|counts| counts.get(id));
            minutes.extend(counts.into_iter().flatten().map(|open| open.minute));
        }
        let wanted: Vec<bool> = self.kinds.iter().map(|kind| wanted[kind.api as usize]).collect();
        let mut named = Named::of(&self.kinds);
        let (mut rows, mut looked_through) = (Vec::new(), 0);
        if wanted.contains(&true) {
            for (minute, bag) in self.minutes.iter().filter(|(minute, _)| minutes.contains(minute)) {
                looked_through += bag.len() as u64;
                bag.each(self.aside.as_ref(), |row| {
                    if wanted[row.kind as usize] {
                        rows.push(row.full(*minute, &mut named));
                    }
                })?;
            }
        }
        let (apis, callers) = named.names();
        self.looked_through += looked_through;
        Ok(Closed::from_rows(apis, callers, rows))
    }

    /// Rows that [`Open::peek`] has gone through so far: what looking costs.
    pub fn looked_through(&self) -> u64 {
        self.looked_through
    }

    /// Takes out all minutes before `frontier`, without duplicates, in an order that depends on the events alone. Minutes
    /// of which rows lie aside stay open.
    pub fn close_before(&mut self, frontier: Minute) -> Closed {
        let frontier = frontier.0.clamp(0, i64::from(u32::MAX)) as u32;
        let open = self.minutes.split_off(&frontier);
        let mut taken = std::mem::replace(&mut self.minutes, open);
        self.minutes.extend(taken.extract_if(.., |_, bag| !bag.aside.is_empty()));
        let count: usize = taken.values().map(Bag::len).sum();
        self.rows -= count;
        self.closed += count;
        taken.values().flat_map(|bag| bag.pieces.iter().flatten()).for_each(|row| self.kinds.remove(row.kind));
        let mut rows = Vec::with_capacity(count);
        let mut named = Named::of(&self.kinds);
        for (minute, bag) in taken {
            // Piece by piece, so that what is closed is not held twice.
            for piece in bag.pieces {
                rows.extend(piece.iter().map(|row| row.full(minute, &mut named)));
            }
        }
        let (apis, callers) = named.names();
        if let Some(counts) = &mut self.counts {
            for minutes in counts.iter_mut().filter(|minutes| !minutes.is_empty()) {
                let over = minutes.partition_point(|known| known.minute < frontier);
                minutes.drain(..over);
                self.counted.0 -= over;
                if minutes.is_empty() {
                    self.counted.1 -= 1;
                    *minutes = Vec::new();
                }
            }
        }
        if self.aside.is_none() && self.has_names_to_forget() {
            // Rows in memory can be read.
            let _ = self.forget_names();
        }
        Closed::from_rows(apis, callers, rows)
    }

    fn has_names_to_forget(&self) -> bool {
        // Where the same APIs are called again and again there is nothing to gain.
        self.closed > (self.rows / 2).max(CLOSED_MIN) && self.kinds.has_grown() || self.rows == 0
    }

    /// Keeps only the names that an open row needs.
    fn forget_names(&mut self) -> io::Result<()> {
        let (kinds, renamed) = self.kinds.needed();
        let rename = |row: &mut Slim| row.kind = renamed[row.kind as usize];
        let mut minutes = std::mem::take(&mut self.minutes);
        for bag in minutes.values_mut() {
            if let Some(aside) = &mut self.aside {
                for &place in &bag.aside {
                    let mut piece = aside.get(place)?;
                    piece.iter_mut().for_each(rename);
                    aside.overwrite(place, &piece)?;
                }
            }
            bag.pieces.iter_mut().flatten().for_each(rename);
        }
        self.minutes = minutes;
        if let Some(old) = &mut self.counts {
            let mut counts = vec![Vec::new(); kinds.apis.len()];
            for (old_kind, new_kind) in self.kinds.iter().zip(renamed).filter(|(_, new)| *new != u32::MAX) {
                let minutes = std::mem::take(&mut old[old_kind.api as usize]);
                if !minutes.is_empty() {
                    counts[kinds.get(new_kind).api as usize] = minutes;
                }
            }
            *old = counts;
        }
        self.kinds = kinds;
        self.closed = 0;
        Ok(())
    }

    /// All of it, for a snapshot.
    pub fn write(&self, to: &mut Frames<impl Write>) -> io::Result<()> {
        self.kinds.write(to)?;
        to.put(&self.minutes.len())?;
        for (minute, bag) in &self.minutes {
            to.put(&(minute, bag.aside.len() + bag.pieces.len()))?;
            for &place in &bag.aside {
                to.put(&self.aside.as_ref().map(|aside| aside.get(place)).transpose()?.unwrap_or_default())?;
            }
            bag.pieces.iter().try_for_each(|piece| to.put(piece))?;
        }
        Ok(())
    }

    /// Takes what was written; nothing is in it yet.
    pub fn read<R: Read>(&mut self, from: &mut FrameReader<R>) -> io::Result<()> {
        self.kinds.read(from)?;
        let minutes: usize = from.take()?;
        for _ in 0..minutes {
            let (minute, pieces): (u32, usize) = from.take()?;
            for _ in 0..pieces {
                for row in from.take::<Vec<Slim>>()? {
                    if row.kind as usize >= self.kinds.len() {
                        return Err(io::ErrorKind::InvalidData.into());
                    }
                    self.push(minute, row);
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{Category, Event};

    fn plain() -> Event<'static> {
        Event {
            event_time_s: 0,
            event_name: "",
            event_id: "",
            addendum_of: "",
            principal: "",
            error_code: "",
            read_only: false,
            category: Category::Management,
            account_id: "",
            region: "",
            event_source: "",
            session: "",
            access_key_id: "",
            source_ip: "",
            user_agent: "",
            resource_arn: "",
        }
    }

    /// Rows of few APIs, minutes, callers and IDs, so that everything that can meet does.
    fn tally(seed: u64, rows: u64) -> Tally {
        let mut tally = Tally::default();
        let mut state = seed;
        let mut below = |bound: u64| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) % bound
        };
        for _ in 0..rows {
            let [name, id, caller] =
                [("Call", 9), ("", 40), ("arn:", 5)].map(|(text, n)| format!("{text}{}", below(n)));
            let event = Event {
                event_time_s: 1_700_000_000 + below(3_600 * 3) as i64,
                event_name: &name,
                event_id: if id == "7" { "" } else { &id },
                addendum_of: if below(9) == 0 { "3" } else { "" },
                principal: &caller,
                error_code: if below(4) == 0 { "AccessDenied" } else { "" },
                read_only: below(3) == 0,
                ..plain()
            };
            tally.add(&event);
        }
        tally
    }

    type Line = (Vec<String>, u32, Vec<String>, bool, u32);

    fn lines(closed: &Closed) -> (Vec<Line>, u64) {
        let texts = |list: &[&str]| list.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
        let mut lines: Vec<Line> = closed
            .calls
            .iter()
            .map(|calls| {
                let caller = texts(&closed.caller(calls.caller));
                (texts(&closed.api(calls.api)), calls.minute, caller, calls.read_only, calls.count)
            })
            .collect();
        lines.sort();
        (lines, closed.duplicates)
    }

    /// With its rows in memory, or put aside.
    fn fresh(aside: bool) -> Open {
        let mut open = Open::default();
        if aside {
            open.put_aside_on(Box::new(io::Cursor::new(Vec::new())));
        }
        open
    }

    #[test]
    fn what_is_closed_in_steps_through_snapshots_is_what_a_tally_closes_at_once() {
        for (seed, aside) in (0..8).flat_map(|seed| [(seed, false), (seed, true)]) {
            let expected = lines(&tally(seed, 9_000).close_before(Minute(i64::MAX)));
            let mut open = fresh(aside);
            open.merge(tally(seed, 9_000));
            assert_eq!(open.len(), 9_000);
            let mut found = (Vec::new(), 0);
            while let Some(step) = open.after_rows(700) {
                open.recall(step).expect("rows");
                let closed = lines(&open.close_before(step));
                found.0.extend(closed.0);
                found.1 += closed.1;
                if seed % 2 == 0 {
                    // Names were thrown away, and all of it went through a snapshot.
                    open.forget_names().expect("rows");
                    let mut bytes = Vec::new();
                    open.write(&mut Frames::to(&mut bytes)).expect("written");
                    let before = open.len();
                    open = fresh(aside);
                    open.read(&mut FrameReader::from(&bytes[..])).expect("read");
                    assert_eq!(open.len(), before);
                }
            }
            open.recall(Minute(i64::MAX)).expect("rows");
            let closed = lines(&open.close_before(Minute(i64::MAX)));
            found.0.extend(closed.0);
            found.1 += closed.1;
            found.0.sort();
            assert_eq!(found, expected, "seed {seed}, put aside: {aside}");
            assert!(open.is_empty());
        }
    }

    #[test]
    fn rows_put_aside_are_looked_at_where_they_are_and_stay_open_until_they_are_recalled() {
        let (mut here, mut aside) = (fresh(false), fresh(true));
        for seed in 0..3 {
            here.merge(tally(seed, 3_000));
            aside.merge(tally(seed, 3_000));
        }
        let room = |open: &Open| open.aside.as_ref().map_or(0, Aside::places);
        let held = |open: &Open| open.minutes.values().flat_map(|bag| &bag.pieces).map(Vec::len).sum::<usize>();
        assert!(held(&aside) < 180 * PIECE_ROWS && held(&here) == 9_000);
        assert!(aside.bytes() + 9_000 < here.bytes());
        let apis = [["", "", "", "Call3", "Management"].map(str::to_owned)];
        let look = |open: &mut Open| lines(&open.peek(&apis).expect("rows"));
        assert_eq!(look(&mut aside), look(&mut here));
        assert_eq!(aside.first_within(0), here.first_within(0));

        let end = Minute(i64::MAX);
        let some = lines(&aside.close_before(end));
        assert!(aside.len() + some.0.iter().map(|line| line.4 as usize).sum::<usize>() <= 9_000 && !aside.is_empty());
        aside.recall(end).expect("rows");
        let mut rest = lines(&aside.close_before(end));
        rest.0.extend(some.0);
        rest.1 += some.1;
        rest.0.sort();
        assert_eq!(rest, lines(&here.close_before(end)));
        // The room is used again; where there is none they stay, and are counted as if they did not.
        let mut full = Open::default();
        full.put_aside_on(Box::new(io::Cursor::new([0u8; PIECE_ROWS * 12 * 3])));
        let mut roomy = fresh(true);
        [&mut full, &mut roomy].into_iter().for_each(|open| open.merge(tally(5, 9_000)));
        assert!(room(&full) == 3 && room(&roomy) > 900 && held(&full) == 9_000 - 3 * PIECE_ROWS);
        assert_eq!(full.bytes(), roomy.bytes());
        assert_eq!(look(&mut full), look(&mut roomy));
        [&mut full, &mut roomy].into_iter().for_each(|open| open.recall(end).expect("rows"));
        assert_eq!(lines(&full.close_before(end)), lines(&roomy.close_before(end)));
        let before = room(&aside);
        aside.merge(tally(1, 9_000));
        assert!(room(&aside) <= before + 10, "{before}");
    }

    #[test]
    fn callers_of_one_call_each_take_room_and_give_it_back() {
        for aside in [false, true] {
            let (mut alike, mut apart) = (fresh(aside), fresh(aside));
            for place in 0..2_000 {
                let one = |open: &mut Open, session: &str| {
                    let mut tally = Tally::default();
                    let event = Event { event_time_s: 1_700_000_000 + place / 100 * 60, session, ..plain() };
                    tally.add(&event);
                    open.merge(tally);
                };
                one(&mut alike, "session");
                one(&mut apart, &format!("session-{place}"));
            }
            assert!(apart.bytes() > alike.bytes() + 2_000 * 40, "{} {}", apart.bytes(), alike.bytes());
            let half = apart.after_rows(1_000).expect("a step");
            apart.recall(half).expect("rows");
            apart.close_before(half);
            assert!(apart.kinds.bytes() < 1_100 * 80 && apart.kinds.bytes() > 900 * 40, "{}", apart.kinds.bytes());
            let before = apart.kinds.bytes();
            apart.forget_names().expect("rows");
            assert_eq!(apart.kinds.bytes(), before);
            apart.recall(Minute(i64::MAX)).expect("rows");
            apart.close_before(Minute(i64::MAX));
            assert_eq!(apart.kinds.bytes(), 0);
        }
    }

    /// A disk that takes all and gives nothing back.
    struct Unreadable(io::Cursor<Vec<u8>>);

    impl Read for Unreadable {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            Err(io::ErrorKind::Other.into())
        }
    }

    impl Write for Unreadable {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl io::Seek for Unreadable {
        fn seek(&mut self, to: io::SeekFrom) -> io::Result<u64> {
            self.0.seek(to)
        }
    }

    #[test]
    fn rows_that_cannot_be_read_are_complained_of_and_not_taken_for_closed() {
        let mut open = Open::default();
        open.put_aside_on(Box::new(Unreadable(io::Cursor::new(Vec::new()))));
        open.merge(tally(1, 9_000));
        let end = Minute(i64::MAX);
        assert!(open.recall(end).is_err() && open.recall(end).is_err());
        assert!(open.peek(&[["", "", "", "Call3", "Management"].map(str::to_owned)]).is_err());
        assert!(open.write(&mut Frames::to(&mut Vec::new())).is_err());
        let closed = open.close_before(end);
        let events = closed.duplicates + closed.calls.iter().map(|calls| u64::from(calls.count)).sum::<u64>();
        assert!(events < 1_000, "{events}");
        assert_eq!(open.len() as u64 + events, 9_000);
    }

    #[test]
    fn counts_of_open_minutes_follow_every_change() {
        let mut open = Open::default();
        open.merge(tally(1, 2_000));
        let api = ["", "", "", "Call3", "Management"];
        let counted = |open: &mut Open| open.minutes_of(&api).iter().map(|open| u64::from(open.count())).sum::<u64>();
        let asked_first = counted(&mut open);
        open.merge(tally(2, 2_000));
        let mut fresh = Open::default();
        fresh.merge(tally(1, 2_000));
        fresh.merge(tally(2, 2_000));
        assert!(asked_first > 0);
        assert_eq!(open.minutes_of(&api), fresh.minutes_of(&api));
        let step = open.after_rows(1_500).expect("a step");
        open.close_before(step);
        fresh.close_before(step);
        assert_eq!(open.bytes(), fresh.bytes());
        open.forget_names().expect("rows");
        assert_eq!(open.bytes(), fresh.bytes());
        assert_eq!(open.minutes_of(&api), fresh.minutes_of(&api));
        let all = open.bytes();
        assert!(open.first_within(all) <= step && open.first_within(0).0 > step.0);
    }
}
