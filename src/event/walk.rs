//! The fast path: finds the needed members of a record without building anything.
//!
//! A [`Cursor`] walks over a text by the bit masks of its blocks: strings end at the next quote bit, and containers
//! nobody needs are passed by counting bracket bits. The walk does not validate what it passes over beyond those masks,
//! so it never decides that a record is bad: whatever surprises it is `None`, and the caller asks the validating path.
//! Deliberately knows nothing of instruction sets (`scan`), dialects, objects or events.

use super::record::{Fields, IDENTITY_KEYS, Key, RECORD_KEYS, Slot, place};
use super::scan::{BLOCK, Best, Block, Task, Window, between_quotes, join};

/// For each key of a list, the key that followed it last time; at [`START`], the one that came first.
struct Habits([u8; START + 1]);

const START: usize = 31;
/// Stands for every key that is in no list.
const UNKNOWN: usize = 30;

/// A forward walk over a text.
struct Cursor<'w, 't> {
    text: &'t str,
    window: &'w mut Window,
    habits: &'w mut [Habits; 2],
    best: Best,
    /// How deep containers may be nested below a record before the walk gives up.
    nesting_max: usize,
}

impl<'t> Cursor<'_, 't> {
    #[inline(always)]
    fn blocks(&mut self, at: usize) -> (&Block, &Block, usize) {
        self.window.blocks(self.best, self.text, at)
    }

    #[inline(always)]
    fn quotes(&mut self, at: usize) -> u64 {
        let (first, second, shift) = self.blocks(at);
        join(first.quotes, second.quotes, shift)
    }

    #[inline(always)]
    fn byte(&self, at: usize) -> u8 {
        // No JSON token is 0, so the end of the text needs no other mark.
        self.text.as_bytes().get(at).copied().unwrap_or(0)
    }

    /// The position of the first byte from `at` on that is no space.
    #[inline(always)]
    fn after_space(&self, at: usize) -> usize {
        // CloudTrail writes no spaces.
        if self.byte(at) > b' ' { at } else { self.after_real_space(at) }
    }

    #[cold]
    #[inline(never)]
    fn after_real_space(&self, mut at: usize) -> usize {
        while matches!(self.byte(at), b' ' | b'\n' | b'\r' | b'\t') {
            at += 1;
        }
        at
    }

    /// Position of the quote that ends the string whose first byte after the opening quote is at `at`.
    #[inline(always)]
    fn string_end(&mut self, mut at: usize) -> Option<usize> {
        loop {
            let quotes = self.quotes(at);
            if quotes != 0 {
                return Some(at + quotes.trailing_zeros() as usize);
            }
            at += BLOCK;
            if at >= self.text.len() {
                return None;
            }
        }
    }

    /// The text of the string that opens at `open`, if no backslash is in it, and the position after it.
    #[inline(always)]
    fn plain_string(&mut self, open: usize) -> Option<(&'t str, usize)> {
        let text: &'t str = self.text;
        if self.byte(open) != b'"' {
            return None;
        }
        let mut at = open + 1;
        let mut escapes = 0;
        loop {
            let (first, second, shift) = self.blocks(at);
            let quotes = join(first.quotes, second.quotes, shift);
            let backslashes = join(first.backslashes, second.backslashes, shift);
            if quotes != 0 {
                escapes |= backslashes & (quotes - 1) & !quotes;
                let end = at + quotes.trailing_zeros() as usize;
                if escapes != 0 {
                    return None;
                }
                return Some((between_quotes(text, open, end)?, end + 1));
            }
            escapes |= backslashes;
            at += BLOCK;
            if at >= text.len() {
                return None;
            }
        }
    }

    /// Position after the container that opens at `at`. Brackets are counted, not matched by kind.
    #[inline(always)]
    fn container(&mut self, mut at: usize) -> Option<usize> {
        let mut depth = 0;
        loop {
            let (first, second, shift) = self.blocks(at);
            let opens = join(first.opens, second.opens, shift);
            let closes = join(first.closes, second.closes, shift);
            if depth == 0 && opens & 1 == 0 {
                // Damaged text: by the quotes before it, this bracket is in a string.
                return None;
            }
            let (opened, closed) = (opens.count_ones() as usize, closes.count_ones() as usize);
            if closed >= depth {
                let (mut left, mut passed) = (closes, 0);
                while left != 0 {
                    let close = left & left.wrapping_neg();
                    passed += 1;
                    if depth + (opens & (close - 1)).count_ones() as usize == passed {
                        return Some(at + close.trailing_zeros() as usize + 1);
                    }
                    left &= left - 1;
                }
            }
            // An upper bound: the brackets that close within these 64 bytes are not yet taken off.
            if depth + opened > self.nesting_max {
                return None;
            }
            depth = depth + opened - closed;
            at += BLOCK;
            if at >= self.text.len() {
                return None;
            }
        }
    }

    /// What `true`, `false` or `null` says, and the position after it.
    #[inline(always)]
    fn literal(&self, at: usize) -> Option<(Option<bool>, usize)> {
        let rest = self.text.as_bytes().get(at..)?;
        if rest.starts_with(b"true") {
            Some((Some(true), at + 4))
        } else if rest.starts_with(b"false") {
            Some((Some(false), at + 5))
        } else if rest.starts_with(b"null") {
            Some((None, at + 4))
        } else {
            None
        }
    }
}

/// Reading one record, from its opening bracket at `at`; gives the position after it.
struct ReadRecord<'c, 'w, 't> {
    cursor: Cursor<'w, 't>,
    at: usize,
    fields: &'c mut Fields<'t, &'t str>,
}

impl Task for ReadRecord<'_, '_, '_> {
    type Output = Option<usize>;

    #[inline(always)]
    fn run(mut self) -> Option<usize> {
        let end = members::<InRecord>(&mut self.cursor, self.at, self.fields)?;
        (self.cursor.window.first_bad() >= end).then_some(end)
    }
}

/// The two objects whose members are looked at.
trait Level {
    const KEYS: &'static [Key];
    fn habits<'c>(cursor: &'c mut Cursor<'_, '_>) -> &'c mut Habits;
    fn identity<'t>(cursor: &mut Cursor<'_, 't>, at: usize, fields: &mut Fields<'t, &'t str>) -> Option<usize>;
}

struct InRecord;
struct InIdentity;

impl Level for InRecord {
    const KEYS: &'static [Key] = &RECORD_KEYS;

    #[inline(always)]
    fn habits<'c>(cursor: &'c mut Cursor<'_, '_>) -> &'c mut Habits {
        &mut cursor.habits[0]
    }

    #[inline(always)]
    fn identity<'t>(cursor: &mut Cursor<'_, 't>, at: usize, fields: &mut Fields<'t, &'t str>) -> Option<usize> {
        fields.clear_identity();
        members::<InIdentity>(cursor, at, fields)
    }
}

impl Level for InIdentity {
    const KEYS: &'static [Key] = &IDENTITY_KEYS;

    #[inline(always)]
    fn habits<'c>(cursor: &'c mut Cursor<'_, '_>) -> &'c mut Habits {
        &mut cursor.habits[1]
    }

    #[inline(always)]
    fn identity<'t>(_: &mut Cursor<'_, 't>, _: usize, _: &mut Fields<'t, &'t str>) -> Option<usize> {
        None
    }
}

/// The members of the object that opens at `at`, its needed ones into `fields`; the position after it.
#[inline(always)]
fn members<'t, L: Level>(cursor: &mut Cursor<'_, 't>, at: usize, fields: &mut Fields<'t, &'t str>) -> Option<usize> {
    if cursor.byte(at) != b'{' {
        return None;
    }
    let mut before = START;
    // Where the bracket or comma before the next key is.
    let mut at = at;
    loop {
        let text = cursor.text.as_bytes();
        let habit = usize::from(L::habits(cursor).0[before]);
        let expected = L::KEYS.get(habit).and_then(|key| Some((key.slot, key.behind(text, at + 1)?)));
        let (slot, behind) = match expected {
            Some(expected) => {
                before = habit;
                expected
            }
            None => {
                let open = cursor.after_space(at + 1);
                if before == START && cursor.byte(open) == b'}' {
                    return Some(open + 1);
                }
                if cursor.byte(open) != b'"' {
                    return None;
                }
                let close = cursor.string_end(open + 1)?;
                let colon = cursor.after_space(close + 1);
                if cursor.byte(colon) != b':' {
                    return None;
                }
                let name = text.get(open + 1..close)?;
                let slot = match place(L::KEYS, name) {
                    Some(place) => {
                        L::habits(cursor).0[before] = place as u8;
                        before = place;
                        L::KEYS.get(place)?.slot
                    }
                    None if memchr::memchr(b'\\', name).is_some() => return None,
                    None => {
                        before = UNKNOWN;
                        Slot::Unknown
                    }
                };
                (slot, colon + 1)
            }
        };
        let start = cursor.after_space(behind);
        let first = cursor.byte(start);
        let end = match slot {
            Slot::Text(text) if first == b'"' => {
                let (value, end) = cursor.plain_string(start)?;
                fields.set_text(text, Some(value));
                end
            }
            Slot::Text(text) => {
                let (None, end) = cursor.literal(start)? else { return None };
                fields.set_text(text, None);
                end
            }
            Slot::Flag(flag) if first == b'"' => {
                let (value, end) = cursor.plain_string(start)?;
                fields.set_flag(flag, Some(truth(value)?));
                end
            }
            Slot::Flag(flag) => {
                let (value, end) = cursor.literal(start)?;
                fields.set_flag(flag, value);
                end
            }
            Slot::Identity if first == b'{' => L::identity(cursor, start, fields)?,
            Slot::Identity => {
                let (None, end) = cursor.literal(start)? else { return None };
                fields.clear_identity();
                end
            }
            Slot::Raw(_) | Slot::Ignored | Slot::Unknown => {
                let end = match first {
                    b'"' => cursor.string_end(start + 1)? + 1,
                    b'{' | b'[' => cursor.container(start)?,
                    _ => cursor.literal(start)?.1,
                };
                if let Slot::Raw(raw) = slot {
                    fields.set_raw(raw, cursor.text.get(start..end)?);
                }
                end
            }
        };
        at = cursor.after_space(end);
        match cursor.byte(at) {
            b',' => {}
            b'}' => return Some(at + 1),
            _ => return None,
        }
    }
}

#[inline(always)]
fn truth(text: &str) -> Option<bool> {
    match text {
        "true" => Some(true),
        "false" => Some(false),
        _ => None,
    }
}

/// The fast path over one text.
pub(super) struct Scanner<'t> {
    text: &'t str,
    best: Best,
    nesting_max: usize,
    window: Window,
    /// Of the record and of its identity.
    habits: [Habits; 2],
    /// How far it has come; there is no way back but to start anew.
    reached: usize,
}

impl<'t> Scanner<'t> {
    pub(super) fn new(text: &'t str, portable: bool, nesting_max: usize) -> Scanner<'t> {
        let best = if portable { Best::Portable } else { Best::detect() };
        let window = Window::new();
        // Members of a record are on level 2 already, those of its identity on level 3.
        let nesting_max = nesting_max.saturating_sub(2);
        let habits = [const { Habits([0; START + 1]) }; 2];
        Scanner { text, best, nesting_max, window, habits, reached: usize::MAX }
    }

    /// Reads the record that opens at `at` into `fields` and returns the position after it. `None` says nothing about
    /// the record but that it needs the validating path; `fields` then hold anything.
    #[inline]
    pub(super) fn record(&mut self, at: usize, fields: &mut Fields<'t, &'t str>) -> Option<usize> {
        // Far ahead, a new start costs less than the blocks between would.
        if at < self.reached || at - self.reached > 2 * BLOCK {
            self.window.start(at);
        }
        let best = self.best;
        let end = best.run(ReadRecord { cursor: self.cursor(self.nesting_max), at, fields });
        self.reached = end.unwrap_or(usize::MAX);
        end
    }

    /// Position after the object or list that opens at `at`, however deep or damaged within, if its brackets balance.
    pub(super) fn container(&mut self, at: usize) -> Option<usize> {
        self.reached = usize::MAX;
        self.window.start(at);
        self.cursor(usize::MAX).container(at)
    }

    /// After [`Scanner::container`]: whether every byte before `end` was where JSON may have it. If not, a quote may be
    /// missing, and then what was taken for brackets lay within strings.
    pub(super) fn was_clean(&self, end: usize) -> bool {
        self.window.first_bad() >= end
    }

    #[inline(always)]
    fn cursor(&mut self, nesting_max: usize) -> Cursor<'_, 't> {
        let Scanner { text, best, .. } = *self;
        Cursor { text, window: &mut self.window, habits: &mut self.habits, best, nesting_max }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn containers_end_where_their_brackets_balance() {
        for padding in 0..140 {
            let inner = format!("{{\"a\":[{{}},\"]}}\\\"{}\",[[1]]]}}", "x".repeat(padding));
            let text = format!("{}{inner} ]}}", " ".repeat(padding));
            let mut scanner = Scanner::new(&text, padding % 2 == 0, 100);
            assert_eq!(scanner.container(padding), Some(padding + inner.len()));
        }
        assert_eq!(Scanner::new("[[]", false, 100).container(0), None);
        assert_eq!(Scanner::new("[\"]", false, 100).container(0), None);
    }

    /// Found by fuzzing: the brackets of the second record lie in a string, as far as the masks know.
    #[test]
    fn a_stray_quote_between_records_only_costs_the_fast_path() {
        let text = r#"{"a":"b"}"{"c":{"d":"e"}}"#;
        let mut scanner = Scanner::new(text, false, 100);
        let mut fields = Fields::EMPTY;
        assert_eq!(scanner.record(0, &mut fields), Some(9));
        assert_eq!(scanner.record(10, &mut fields), None);
        assert_eq!(scanner.record(10, &mut fields), Some(text.len()));
    }
}
