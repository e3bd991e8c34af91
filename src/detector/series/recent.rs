//! [`RecentCalls`]: who called in each minute of the last hour, packed, for hundreds of thousands of series hold one.
//! Knows neither days nor what a caller is called.

use serde::{Deserialize, Serialize, Serializer};

use super::{Caller, OTHER_ID};

/// A caller's calls in a minute of the last hour.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(in crate::detector) struct Recent {
    pub(in crate::detector) minute: u32,
    pub(in crate::detector) caller: Caller,
    pub(in crate::detector) count: u32,
}

/// A row is one word: the last seven bits of its minute, [`NAMED`], its calls. Two more for the caller follow where the row
/// before it is another's: most series have one caller. In the order of time.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(try_from = "Vec<u32>")]
pub(super) struct RecentCalls {
    words: Vec<u32>,
    /// Where the last row with its caller begins.
    named: u32,
}

const COUNT_BITS: u32 = 24;
const NAMED: u32 = 1 << COUNT_BITS;
/// More calls of one caller in a minute are counted as this many: 280,000 a second.
const COUNT_MAX: u32 = NAMED - 1;
const MINUTE_SHIFT: u32 = COUNT_BITS + 1;

/// Words of a row with its caller.
const NAMED_WORDS: usize = 3;

impl TryFrom<Vec<u32>> for RecentCalls {
    type Error = &'static str;

    /// Refuses what rows cannot be read from.
    fn try_from(words: Vec<u32>) -> Result<RecentCalls, &'static str> {
        let (mut place, mut named) = (0, 0);
        while let Some(word) = words.get(place) {
            if word & NAMED != 0 {
                named = place as u32;
            } else if place == 0 {
                return Err("calls of the last hour have no caller");
            }
            place += words_of(*word);
        }
        if place == words.len() { Ok(RecentCalls { words, named }) } else { Err("calls of the last hour are cut off") }
    }
}

impl Serialize for RecentCalls {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        self.words.serialize(to)
    }
}

fn words_of(word: u32) -> usize {
    if word & NAMED == 0 { 1 } else { NAMED_WORDS }
}

impl RecentCalls {
    /// The bytes that so many rows take, each caller's one after the other; up to three times as many where callers
    /// take turns.
    pub(super) fn bytes_of(rows: usize, callers: usize) -> usize {
        (rows + callers * (NAMED_WORDS - 1)) * size_of::<u32>()
    }

    /// Adds a minute that is not before the last.
    pub(super) fn push(&mut self, minute: u32, callers: &[(Caller, u32)]) {
        let mut last = self.last_caller();
        let is_new = |&(caller, _): &(Caller, u32)| last.replace(caller) != Some(caller);
        let more = callers.len() + (NAMED_WORDS - 1) * callers.iter().map(is_new).filter(|new| *new).count();
        if self.words.len() + more > self.words.capacity() {
            // Most series are called once an hour or less.
            self.words.reserve_exact(more + self.words.len() / 8);
        }
        for &(caller, count) in callers {
            let word = minute << MINUTE_SHIFT | count.min(COUNT_MAX);
            if self.last_caller() == Some(caller) {
                self.words.push(word);
            } else {
                self.named = self.words.len() as u32;
                self.words.extend([word | NAMED, caller.coarse, caller.fine]);
            }
        }
    }

    fn last_caller(&self) -> Option<Caller> {
        let &[_, coarse, fine, ..] = self.words.get(self.named as usize..)? else { return None };
        Some(Caller { coarse, fine })
    }

    /// `newest`: a minute that is not before the last row, and less than 128 minutes after the first.
    pub(super) fn rows(&self, newest: u32) -> impl Iterator<Item = Recent> + '_ {
        let mut words = self.words.iter().copied();
        let mut caller = Caller { coarse: OTHER_ID, fine: OTHER_ID };
        std::iter::from_fn(move || {
            let word = words.next()?;
            if word & NAMED != 0 {
                caller = Caller { coarse: words.next()?, fine: words.next()? };
            }
            let ago = newest.wrapping_sub(word >> MINUTE_SHIFT) & (u32::MAX >> MINUTE_SHIFT);
            Some(Recent { minute: newest.saturating_sub(ago), caller, count: word & COUNT_MAX })
        })
    }

    /// Drops the rows before `minute`. `newest` as above.
    pub(super) fn forget_before(&mut self, minute: u32, newest: u32) {
        let old = self.rows(newest).take_while(|row| row.minute < minute);
        let Some((rows, last)) = old.enumerate().last() else { return };
        let mut place = 0;
        for _ in 0..=rows {
            place += words_of(self.words[place]);
        }
        if let Some(word) = self.words.get(place).copied().filter(|word| word & NAMED == 0) {
            // Its caller was told by a row that goes. There is room: the first of them has its caller, too.
            place -= NAMED_WORDS - 1;
            let Caller { coarse, fine } = last.caller;
            self.words[place..place + NAMED_WORDS].copy_from_slice(&[word | NAMED, coarse, fine]);
        }
        self.words.drain(..place);
        self.named = self.named.saturating_sub(place as u32);
    }

    pub(super) fn renumber(&mut self, mut rename: impl FnMut(Caller) -> Caller) {
        let mut place = 0;
        while let Some(&word) = self.words.get(place) {
            if word & NAMED != 0 {
                let Caller { coarse, fine } =
                    rename(Caller { coarse: self.words[place + 1], fine: self.words[place + 2] });
                (self.words[place + 1], self.words[place + 2]) = (coarse, fine);
            }
            place += words_of(word);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn caller(id: u32) -> Caller {
        Caller { coarse: id, fine: id * 7 }
    }

    proptest! {
        /// What was pushed is there, in its order, until it is forgotten.
        #[test]
        fn rows_are_those_that_were_pushed(
            minutes in prop::collection::vec((1u32..30, prop::collection::vec((0u32..3, 1u32..=COUNT_MAX), 1..4)), 1..80),
            start in 0u32..29_000_000,
        ) {
            let (mut recent, mut expected, mut minute) = (RecentCalls::default(), Vec::new(), start);
            for (step, calls) in minutes {
                // As a series does it: what is older than an hour goes first.
                let newest = minute;
                minute += step;
                let oldest = minute.saturating_sub(60);
                recent.forget_before(oldest, newest);
                expected.retain(|row: &Recent| row.minute >= oldest);
                let calls: Vec<_> = calls.into_iter().map(|(id, count)| (caller(id), count)).collect();
                recent.push(minute, &calls);
                expected.extend(calls.iter().map(|&(caller, count)| Recent { minute, caller, count }));
                prop_assert_eq!(recent.rows(minute).collect::<Vec<_>>(), expected.clone());
                prop_assert!(recent.words.len() * 4 <= RecentCalls::bytes_of(expected.len(), expected.len()));
                prop_assert_eq!(RecentCalls::try_from(recent.words.clone()), Ok(recent.clone()));
            }
            recent.renumber(|known| Caller { coarse: known.coarse + 9, fine: 0 });
            let renamed: Vec<u32> = recent.rows(minute).map(|row| row.caller.coarse).collect();
            prop_assert_eq!(renamed, expected.iter().map(|row| row.caller.coarse + 9).collect::<Vec<_>>());
            recent.forget_before(minute + 1, minute);
            prop_assert_eq!(recent, RecentCalls::default());
        }

        /// Whatever a file holds: it is refused, or read as rows that all come again.
        #[test]
        fn any_words_are_refused_or_read_to_their_end(words in prop::collection::vec(any::<u32>(), 0..12)) {
            if let Ok(mut recent) = RecentCalls::try_from(words.clone()) {
                let named = recent.rows(u32::MAX).count();
                prop_assert!(named <= words.len() && words.len() <= named * NAMED_WORDS);
                recent.renumber(|known| known);
                prop_assert_eq!(&recent.words, &words);
                recent.forget_before(u32::MAX - 60, u32::MAX);
                prop_assert!(RecentCalls::try_from(recent.words).is_ok());
            }
        }
    }

    #[test]
    fn one_caller_is_named_once_and_counts_have_an_end() {
        let mut recent = RecentCalls::default();
        (100..160).for_each(|minute| recent.push(minute, &[(caller(1), u32::MAX)]));
        assert_eq!(recent.words.len() * 4, RecentCalls::bytes_of(60, 1));
        assert!(recent.rows(160).all(|row| row.count == COUNT_MAX && row.caller == caller(1)));
        recent.forget_before(158, 160);
        assert_eq!(recent.rows(160).map(|row| row.minute).collect::<Vec<_>>(), [158, 159]);
    }
}
