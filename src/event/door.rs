//! The door: the bytes of one object become text, and the text becomes records, whatever the dialect. Knows the
//! shapes in which people hold CloudTrail records; deliberately not how text is decompressed (`gzip`), what a record
//! means (`record`), nor whether an object should be read at all or read twice. Nothing here fails: what cannot be
//! read is counted and reported.
//!
//! A document is told by looking at its keys one by one, never by building a tree; [`Documents::object`] is the list
//! of dialects.

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use libdeflater::Decompressor;
use memchr::{memchr, memchr_iter, memrchr};

use super::gzip::{TooLarge, gunzip, is_gzip};
use super::record::{Fields, RECORD_KEYS, Raw, Reason, Slot, Verdict, interpret, slot};
use super::walk::Scanner;
use super::{Event, Kind, ObjectName, json, parse};

/// What an object may be at most.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Decompressed. CloudTrail writes at most 50 MB before compression; five times that leaves room for files that
    /// people have joined, and still fits the memory of a small machine.
    pub object_bytes_max: usize,
    /// One record. CloudTrail's own limit is 256 KB; four times that leaves room for pretty-printing.
    pub record_bytes_max: usize,
    /// Objects and lists open at once within a record. Other JSON readers stop at 128; real records stay below 20.
    /// Values below 4 count as 4: a record with an identity has three levels.
    pub nesting_max: usize,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits { object_bytes_max: 256 << 20, record_bytes_max: 1 << 20, nesting_max: 128 }
    }
}

/// The text of at most this many malformed records is kept for each object; the rest are only counted. A thousand
/// samples of 2 KiB are 2 MiB: more than anyone reads, less than anyone misses.
pub const PROBLEMS_KEPT_MAX: usize = 1_000;

/// Bytes of a malformed record kept as its sample.
pub const SAMPLE_BYTES_MAX: usize = 2 * 1024;

/// A buffer larger than this is given back after its object: ordinary objects are far smaller.
const BUFFER_KEPT_BYTES_MAX: usize = 64 << 20;

/// Lists and envelopes around a record: `[{"detail":..}]` is 2, `{"Events":[{"CloudTrailEvent":..}]}` 3. More than
/// this is no dialect, and the walk over dialects recurses this deep at most.
const DIALECT_LEVELS_MAX: usize = 4;

/// A record, its identity, and what is in that: the levels that the scanner knows of, and one to spare.
const NESTING_MIN: usize = 4;

/// How text becomes records. All three give the same events for the same valid text; only tests and measurements
/// have a reason to ask for anything but `Best`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Engine {
    /// The scanner with the widest instructions this CPU has.
    #[default]
    Best,
    /// The scanner without SIMD instructions.
    Portable,
    /// No scanner: every byte is validated.
    Validating,
}

/// A malformed record, or a stretch of text in which no record could be found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Where it starts, in the decompressed text.
    pub offset: u64,
    /// What is missing, or wrong.
    pub reason: String,
    /// Its first bytes, at most [`SAMPLE_BYTES_MAX`].
    pub sample: String,
}

/// What was found in one object. Events delivered, `other_category` and `malformed` add up to `records`.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Outcome {
    /// Every record found, whatever became of it.
    pub records: u64,
    /// Insights, network activity, summaries: well-formed records that are no calls.
    pub other_category: u64,
    /// Records that could not be read, each with its [`Problem`] up to [`PROBLEMS_KEPT_MAX`].
    pub malformed: u64,
    /// In the order of the text.
    pub problems: Vec<Problem>,
    /// Length of the text.
    pub decompressed_bytes: u64,
    /// The object is a digest, by name or by content: nothing in it is a record, and nothing is wrong with it.
    pub digest: bool,
}

impl Outcome {
    fn problem(&mut self, offset: usize, reason: impl Into<String>, text: &str) {
        self.records += 1;
        self.malformed += 1;
        if self.problems.len() < PROBLEMS_KEPT_MAX {
            let sample = text[..text.floor_char_boundary(SAMPLE_BYTES_MAX)].to_owned();
            self.problems.push(Problem { offset: offset as u64, reason: reason.into(), sample });
        }
    }
}

/// Reads objects one after another. Holds the buffers that are worth reusing, so keep one for each thread.
pub struct Reader {
    engine: Engine,
    decompressor: Decompressor,
    buffer: Vec<u8>,
}

impl Default for Reader {
    fn default() -> Reader {
        Reader::new()
    }
}

impl Reader {
    /// A reader with the best engine this CPU can run.
    pub fn new() -> Reader {
        Reader::with_engine(Engine::Best)
    }

    /// A reader for tests and measurements.
    pub fn with_engine(engine: Engine) -> Reader {
        Reader { engine, decompressor: Decompressor::new(), buffer: Vec::new() }
    }

    /// Reads one object and hands each event to `on_event`, in the order of the text. `bytes` are the object as it is
    /// stored; whether they are compressed, and in which dialect they are, is found out by looking.
    pub fn read(
        &mut self,
        name: &ObjectName<'_>,
        bytes: &[u8],
        limits: &Limits,
        on_event: &mut impl FnMut(&Event<'_>),
    ) -> Outcome {
        let mut outcome = Outcome::default();
        if name.kind == Kind::Digest {
            outcome.digest = true;
            return outcome;
        }
        let text = if is_gzip(bytes) {
            gunzip(&mut self.decompressor, bytes, limits.object_bytes_max, &mut self.buffer)
                .map(|(len, damage)| (&self.buffer[..len], damage))
        } else if bytes.len() <= limits.object_bytes_max {
            Ok((bytes, None))
        } else {
            Err(TooLarge)
        };
        match text {
            Ok((bytes, damage)) => {
                outcome.decompressed_bytes = bytes.len() as u64;
                let (text, replaced) = text_of(bytes);
                let call = Call { engine: self.engine, name, limits, replaced };
                Documents::new(&text, &call, &mut outcome, on_event).read_all(damage);
            }
            Err(TooLarge) => {
                outcome.problem(0, format!("more than {} bytes of text", limits.object_bytes_max), "");
            }
        }
        if self.buffer.len() > BUFFER_KEPT_BYTES_MAX {
            self.buffer = Vec::new();
        }
        outcome
    }
}

/// Stands in for each byte that is not UTF-8: a control character, which no JSON text may hold. The record around it
/// then fails like any other malformed record, and every offset stays true.
const NOT_UTF8: u8 = 1;

/// The bytes as text, and whether any had to be replaced.
fn text_of(bytes: &[u8]) -> (Cow<'_, str>, bool) {
    if let Ok(text) = simdutf8::basic::from_utf8(bytes) {
        return (Cow::Borrowed(text), false);
    }
    let mut text = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        text.push_str(chunk.valid());
        text.extend(chunk.invalid().iter().map(|_| char::from(NOT_UTF8)));
    }
    (Cow::Owned(text), true)
}

/// What stays the same for all texts of one object.
struct Call<'c> {
    engine: Engine,
    name: &'c ObjectName<'c>,
    limits: &'c Limits,
    /// Some bytes became [`NOT_UTF8`].
    replaced: bool,
}

impl Call<'_> {
    /// The scanner counts on a record having room for its identity.
    fn nesting_max(&self) -> usize {
        self.limits.nesting_max.max(NESTING_MIN)
    }
}

/// No record can be found in the rest of the text, and that has been reported.
struct Exhausted;

/// What a list is expected to hold.
#[derive(Clone, Copy)]
enum Element {
    Record,
    LogEvent,
    Document,
}

/// A walk over one text. Positions are byte offsets in it.
struct Documents<'w, 't, F> {
    text: &'t str,
    scanner: Scanner<'t>,
    call: &'w Call<'w>,
    outcome: &'w mut Outcome,
    on_event: &'w mut F,
    /// For text that was quoted in other text: where its string starts in the object's text.
    quoted_at: Option<usize>,
    /// Records may hold compressed text once, not again inside that.
    may_unpack: bool,
    /// Text that this one has unpacked so far.
    unpacked_bytes: usize,
    /// How the compressed stream ended early, until a problem has told it.
    damage: Option<String>,
    /// After damage, brackets that nothing opened are not reported a second time.
    resumed: bool,
    /// The next place after the last damage that looks like a record; `usize::MAX` if there is none.
    next_start: usize,
    /// Bytes that may still be spent on balancing the brackets of damaged records, so that hostile text costs no more
    /// than a few times its length.
    balance_bytes_left: usize,
}

impl<'w, 't, F: FnMut(&Event<'_>)> Documents<'w, 't, F> {
    fn new(text: &'t str, call: &'w Call<'w>, outcome: &'w mut Outcome, on_event: &'w mut F) -> Documents<'w, 't, F> {
        Documents {
            text,
            scanner: Scanner::new(text, call.engine == Engine::Portable, call.nesting_max()),
            call,
            outcome,
            on_event,
            quoted_at: None,
            may_unpack: true,
            unpacked_bytes: 0,
            damage: None,
            resumed: false,
            next_start: 0,
            balance_bytes_left: text.len().saturating_mul(4),
        }
    }

    /// Everything in the text: documents one after another, on lines of their own or not.
    fn read_all(&mut self, damage: Option<String>) {
        self.damage = damage;
        let read = self.documents();
        if let (Ok(()), Some(damage)) = (read, self.damage.take()) {
            self.problem(self.text.len(), damage, "");
        }
    }

    fn documents(&mut self) -> Result<(), Exhausted> {
        let mut at = 0;
        let mut empty = true;
        loop {
            at = self.skip_space(at);
            at = match self.byte(at) {
                None => break,
                Some(b'{') => self.object(at, 0)?,
                Some(b'[') => self.list(at, Element::Document, 0)?,
                Some(b',') => at + 1,
                Some(b'}' | b']') if self.resumed => at + 1,
                // A byte order mark, at the start or where files were joined.
                Some(0xef) if self.text[at..].starts_with('\u{feff}') => {
                    at += '\u{feff}'.len_utf8();
                    continue;
                }
                Some(_) => self.lost(at, at, "neither an object nor a list".into())?,
            };
            empty = false;
        }
        if empty && self.damage.is_none() {
            self.problem(0, "empty: CloudTrail writes at least an empty list of records", "");
        }
        Ok(())
    }

    /// A document of any dialect. The first key that tells decides; nothing that tells makes it a record, and the
    /// record's own rules then say what is missing.
    fn object(&mut self, at: usize, level: usize) -> Result<usize, Exhausted> {
        if level > DIALECT_LEVELS_MAX {
            return self.record(at);
        }
        let mut told = false;
        let mut pos = self.skip_space(at + 1);
        loop {
            match self.byte(pos) {
                Some(b'}') if told => return Ok(pos + 1),
                Some(b',') if told => {
                    pos = self.skip_space(pos + 1);
                    continue;
                }
                None if told => return self.ended(pos),
                _ => {}
            }
            let Some((key, value)) = self.key(pos) else {
                return if told { self.lost(pos, pos, "a key was expected here".into()) } else { self.record(at) };
            };
            let first = self.byte(value);
            let end = match (key, first) {
                // A trail's log file.
                ("Records", Some(b'[')) => self.list(value, Element::Record, level + 1)?,
                ("Records" | "Events" | "logEvents", Some(b'n')) => self.pass_over(value)?,
                // `aws cloudtrail lookup-events`, and its items alone.
                ("Events", Some(b'[')) => self.list(value, Element::Document, level + 1)?,
                ("CloudTrailEvent", Some(b'"')) => self.quoted_record(value)?,
                // EventBridge.
                ("detail", Some(b'{')) => self.record(value)?,
                // A CloudWatch Logs subscription, bare and as Lambda gets it.
                ("messageType", Some(b'"')) if self.text[value..].starts_with("\"CONTROL_MESSAGE\"") => {
                    return self.pass_over(at);
                }
                ("messageType", Some(b'"')) => self.pass_over(value)?,
                ("logEvents", Some(b'[')) => self.list(value, Element::LogEvent, level + 1)?,
                ("awslogs", Some(b'{')) if self.may_unpack => self.packed(value)?,
                ("digestStartTime" | "digestS3Bucket" | "digestS3Object", _) if !told => {
                    self.outcome.digest = true;
                    return self.pass_over(at);
                }
                _ if !told && tells_record(key) => return self.record(at),
                // A member that does not matter.
                _ => {
                    let Some(end) = self.skip(value) else {
                        return if told { self.lost(pos, value, "not JSON".into()) } else { self.record(at) };
                    };
                    pos = self.skip_space(end);
                    if !told {
                        match self.byte(pos) {
                            Some(b',') => pos = self.skip_space(pos + 1),
                            _ => return self.record(at),
                        }
                    }
                    continue;
                }
            };
            told = true;
            pos = self.skip_space(end);
        }
    }

    fn list(&mut self, at: usize, element: Element, level: usize) -> Result<usize, Exhausted> {
        let mut pos = at + 1;
        loop {
            pos = self.skip_space(pos);
            pos = match (self.byte(pos), element) {
                (Some(b','), _) => pos + 1,
                (Some(b']'), _) => return Ok(pos + 1),
                (Some(b'{'), Element::Record) => self.record(pos)?,
                (Some(b'{'), Element::LogEvent) => self.log_event(pos)?,
                (Some(b'{'), Element::Document) => self.object(pos, level + 1)?,
                (Some(_), _) => self.not_a_record(pos, "a record was expected here")?,
                (None, _) => return self.ended(pos),
            };
        }
    }

    /// The record that opens at `at`; the position after it.
    #[inline]
    fn record(&mut self, at: usize) -> Result<usize, Exhausted> {
        if self.call.engine != Engine::Validating {
            let mut fields = Fields::EMPTY;
            if let Some(end) = self.scanner.record(at, &mut fields)
                && end - at <= self.call.limits.record_bytes_max
                && let Ok(verdict) = interpret(&fields, self.call.name, self.on_event)
            {
                self.outcome.records += 1;
                self.outcome.other_category += u64::from(verdict == Verdict::OtherCategory);
                return Ok(end);
            }
        }
        self.record_validated(at)
    }

    /// The same, every byte of it checked: only this path may call a record malformed.
    #[cold]
    fn record_validated(&mut self, at: usize) -> Result<usize, Exhausted> {
        let rest = &self.text[at..];
        let bytes_max = self.call.limits.record_bytes_max;
        let window = &rest[..rest.floor_char_boundary(bytes_max)];
        match json::value_len(window) {
            Ok(len) => {
                let record = &window[..len];
                let verdict = parse::fields(record, self.call.nesting_max())
                    .and_then(|fields| interpret(&fields.borrowed(), self.call.name, self.on_event));
                self.count(at, record, verdict);
                Ok(at + len)
            }
            Err(error) if error.ended && window.len() < rest.len() => {
                let reason = format!("longer than {bytes_max} bytes");
                match self.balance(at) {
                    Some(end) => {
                        self.problem(at, reason, rest);
                        Ok(end)
                    }
                    None => self.lost(at, at + window.len(), reason.into()),
                }
            }
            Err(error) => self.lost(at, at + error.offset, error.reason.into()),
        }
    }

    fn count(&mut self, at: usize, record: &str, verdict: Result<Verdict, Reason>) {
        match verdict {
            Ok(verdict) => {
                self.outcome.records += 1;
                self.outcome.other_category += u64::from(verdict == Verdict::OtherCategory);
            }
            Err(reason) => self.problem(at, reason, record),
        }
    }

    /// `{"id":..,"timestamp":..,"message":"<record>"}`
    fn log_event(&mut self, at: usize) -> Result<usize, Exhausted> {
        let Some(end) = self.balance(at) else { return self.record(at) };
        match json::member(&self.text[at..end], "message") {
            Ok(Some(message)) if message.starts_with("\"CWL CONTROL MESSAGE") => {}
            Ok(Some(message)) => self.unquote(message, at),
            Ok(None) => self.problem(at, "a log event without a message", &self.text[at..end]),
            Err(error) => return self.lost(at, at, json::message(&error).into()),
        }
        Ok(end)
    }

    /// A record as a string within the text.
    fn quoted_record(&mut self, at: usize) -> Result<usize, Exhausted> {
        let Some(end) = self.skip(at) else { return self.lost(at, at, "a string without an end".into()) };
        self.unquote(&self.text[at..end], at);
        Ok(end)
    }

    fn unquote(&mut self, string: &'t str, at: usize) {
        let record = match json::string(string) {
            Ok(record) => record.unwrap_or_default(),
            Err(reason) => return self.problem(at, format!("the quoted record {reason}"), string),
        };
        let mut quoted = Documents::new(&record, self.call, self.outcome, self.on_event);
        quoted.quoted_at = Some(self.quoted_at.unwrap_or(at));
        let start = quoted.skip_space(0);
        if let Ok(end) = quoted.record(start) {
            let end = quoted.skip_space(end);
            if end < record.len() && !quoted.resumed {
                quoted.problem(end, "more text follows the quoted record", &record[end..]);
            }
        }
    }

    /// `{"data":"<base64 of gzip of a subscription document>"}`
    fn packed(&mut self, at: usize) -> Result<usize, Exhausted> {
        let Some(end) = self.balance(at) else { return self.lost(at, at, "brackets do not balance".into()) };
        let packed = &self.text[at..end];
        let data = json::member(packed, "data").ok().flatten().and_then(|raw| json::string(raw).ok().flatten());
        let Some(bytes) = data.and_then(|data| BASE64.decode(data.as_bytes()).ok()).filter(|bytes| is_gzip(bytes))
        else {
            self.problem(at, "awslogs.data is not base64 of gzip", packed);
            return Ok(end);
        };
        // All that one object unpacks together counts against its limit.
        let room = self.call.limits.object_bytes_max.saturating_sub(self.unpacked_bytes);
        let mut buffer = Vec::new();
        match gunzip(&mut Decompressor::new(), &bytes, room, &mut buffer) {
            Ok((len, damage)) => {
                self.unpacked_bytes += len;
                let (text, replaced) = text_of(&buffer[..len]);
                let call = Call { replaced, ..*self.call };
                let mut documents = Documents::new(&text, &call, self.outcome, self.on_event);
                documents.quoted_at = Some(at);
                documents.may_unpack = false;
                documents.read_all(damage);
            }
            Err(TooLarge) => self.problem(at, "awslogs.data unpacks to more text than an object may have", packed),
        }
        Ok(end)
    }

    /// Something else where a record should be: one problem, and on behind it.
    fn not_a_record(&mut self, at: usize, reason: &'static str) -> Result<usize, Exhausted> {
        match self.skip(at) {
            Some(end) => {
                self.problem(at, reason, &self.text[at..end]);
                Ok(end)
            }
            None => self.lost(at, at, reason.into()),
        }
    }

    /// On behind a value that is of no interest.
    fn pass_over(&mut self, at: usize) -> Result<usize, Exhausted> {
        match self.skip(at) {
            Some(end) => Ok(end),
            None => self.lost(at, at, "not JSON".into()),
        }
    }

    /// The text ends inside a document. After damage that was reported already, this says nothing new.
    fn ended(&mut self, at: usize) -> Result<usize, Exhausted> {
        if !self.resumed || self.damage.is_some() {
            let reason = self.with_damage("the text ends inside a document".into());
            self.problem(at, reason, "");
        }
        Err(Exhausted)
    }

    /// Reports damage that starts at `at` and shows at `error`, and finds where to go on: behind the brackets that
    /// opened at `at`, or at the next place that looks like a record, whichever is nearer; the former only if there is
    /// no better hope, where a stray quote may have turned strings and brackets around.
    fn lost(&mut self, at: usize, error: usize, reason: Reason) -> Result<usize, Exhausted> {
        // A quote too few shows only behind the first quote of the next record: that one starts before the error.
        let last = self.text.as_bytes().get(at + 1..error).and_then(|passed| memrchr(b'{', passed));
        let from = last.map(|offset| at + 1 + offset).filter(|start| self.looks_like_start(*start));
        let next = self.next_start(from.unwrap_or(error.max(at + 1)));
        let balanced = if matches!(self.byte(at), Some(b'{' | b'[')) { self.balance(at) } else { None };
        let go_on = match (balanced, next) {
            (Some(end), Some(next)) if self.scanner.was_clean(end) => Some(end.min(next)),
            (end, next) => next.or(end),
        };
        let reason = if go_on.is_none() { self.with_damage(reason) } else { reason };
        self.problem(at, reason, &self.text[at..go_on.unwrap_or(self.text.len())]);
        self.resumed = true;
        go_on.ok_or(Exhausted)
    }

    fn with_damage(&mut self, reason: Reason) -> Reason {
        match self.damage.take() {
            Some(damage) => format!("{damage}; {reason}").into(),
            None => reason,
        }
    }

    fn problem(&mut self, at: usize, reason: impl Into<Reason>, text: &str) {
        let at = self.quoted_at.unwrap_or(at);
        let text = &text[..text.floor_char_boundary(SAMPLE_BYTES_MAX)];
        let reason = reason.into();
        if self.call.replaced && memchr(NOT_UTF8, text.as_bytes()).is_some() {
            let text = text.replace(char::from(NOT_UTF8), "\u{fffd}");
            self.outcome.problem(at, format!("not UTF-8: {reason}"), &text);
        } else {
            self.outcome.problem(at, reason, text);
        }
    }

    /// The next `{` from `from` on that stands where a line or a further element of a list could start, and whose first
    /// key is one that records or documents have.
    fn next_start(&mut self, from: usize) -> Option<usize> {
        if self.next_start < from {
            let rest = self.text.as_bytes().get(from..).unwrap_or(&[]);
            let found = memchr_iter(b'{', rest).map(|offset| from + offset).find(|at| self.looks_like_start(*at));
            self.next_start = found.unwrap_or(usize::MAX);
        }
        (self.next_start != usize::MAX).then_some(self.next_start)
    }

    fn looks_like_start(&self, at: usize) -> bool {
        let before = self.text[..at].trim_end_matches([' ', '\t', '\r']);
        let Some((key, _)) = self.key(self.skip_space(at + 1)) else { return false };
        before.ends_with(['\n', ',', '}'])
            && (tells_record(key) || matches!(key, "Records" | "Events" | "EventId" | "version" | "messageType"))
    }

    /// The end of the object or list that opens at `at`, by its brackets alone.
    fn balance(&mut self, at: usize) -> Option<usize> {
        if self.balance_bytes_left == 0 {
            return None;
        }
        let end = self.scanner.container(at);
        self.balance_bytes_left = self.balance_bytes_left.saturating_sub(end.unwrap_or(self.text.len()) - at);
        end
    }

    fn byte(&self, at: usize) -> Option<u8> {
        self.text.as_bytes().get(at).copied()
    }

    fn skip_space(&self, mut at: usize) -> usize {
        while matches!(self.byte(at), Some(b' ' | b'\n' | b'\r' | b'\t')) {
            at += 1;
        }
        at
    }

    /// The key at `at`, as written, and where its value starts.
    fn key(&self, at: usize) -> Option<(&'t str, usize)> {
        let end = self.string_end(at)?;
        let colon = self.skip_space(end);
        (self.byte(colon) == Some(b':')).then(|| (&self.text[at + 1..end - 1], self.skip_space(colon + 1)))
    }

    /// The position after the string at `at`, if there is one.
    fn string_end(&self, at: usize) -> Option<usize> {
        if self.byte(at) != Some(b'"') {
            return None;
        }
        let mut from = at + 1;
        loop {
            let mark = from + memchr::memchr2(b'"', b'\\', self.text.as_bytes().get(from..)?)?;
            if self.byte(mark) == Some(b'"') {
                return Some(mark + 1);
            }
            from = mark + 2;
        }
    }

    /// The position after the value at `at`.
    fn skip(&mut self, at: usize) -> Option<usize> {
        match self.byte(at)? {
            b'"' => self.string_end(at),
            b'{' | b'[' => self.balance(at),
            _ => {
                let rest = &self.text.as_bytes()[at..];
                let len = rest.iter().take_while(|b| b.is_ascii_alphanumeric() || b"+-.".contains(b)).count();
                (len > 0).then_some(at + len)
            }
        }
    }
}

/// A key that only a record has. `resources` is not among them: EventBridge's envelope has it too.
fn tells_record(key: &str) -> bool {
    !matches!(slot(&RECORD_KEYS, key.as_bytes()), Slot::Unknown | Slot::Raw(Raw::Resources))
}
