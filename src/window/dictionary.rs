//! [`Dictionary`]: lists of strings, each stored once and numbered. Knows nothing of what the strings mean.

use std::hash::{BuildHasher, Hasher};

use foldhash::quality::FixedState;
use hashbrown::HashTable;

/// Lists of `N` strings, each list stored once and numbered in the order of arrival. Numbers are private to one
/// dictionary. Strings longer than 65,535 bytes are cut; the reader lets none so long through.
pub struct Dictionary<const N: usize> {
    text: String,
    lists: Vec<List<N>>,
    table: HashTable<u32>,
    /// The list being looked up, as one text: one hash and one comparison instead of `N`.
    joined: String,
}

/// Where a list's text begins, and the lengths of its strings.
#[derive(Clone, Copy)]
struct List<const N: usize> {
    start: u32,
    lengths: [u16; N],
}

impl<const N: usize> List<N> {
    fn text(self, text: &str) -> &str {
        let length: usize = self.lengths.iter().map(|length| usize::from(*length)).sum();
        &text[self.start as usize..self.start as usize + length]
    }
}

/// Fixed, so that a snapshot or a run can be repeated; strings of strangers can at worst make one table slow.
pub(super) const HASH_SEED: u64 = 0x6869_6768_7761_7465;

/// Offsets into a dictionary's text are `u32`. A text this long takes no new list: what is new counts as [`OTHER`].
const TEXT_BYTES_MAX: usize = 3 << 30;

/// Stands for callers (or APIs) past a bound.
pub const OTHER: &str = "(other)";

fn hash<const N: usize>(lengths: &[u16; N], text: &str) -> u64 {
    let mut hasher = FixedState::with_seed(HASH_SEED).build_hasher();
    lengths.iter().for_each(|length| hasher.write_u16(*length));
    hasher.write(text.as_bytes());
    hasher.finish()
}

impl<const N: usize> Default for Dictionary<N> {
    fn default() -> Self {
        Dictionary { text: String::new(), lists: Vec::new(), table: HashTable::new(), joined: String::new() }
    }
}

impl<const N: usize> Dictionary<N> {
    /// The strings of list `id`, which must have come from this dictionary.
    pub fn get(&self, id: u32) -> [&str; N] {
        let list = self.lists[id as usize];
        let mut start = list.start as usize;
        list.lengths.map(|length| {
            let string = &self.text[start..start + usize::from(length)];
            start += usize::from(length);
            string
        })
    }

    /// The number of a list, new or known.
    pub fn intern(&mut self, strings: &[&str; N]) -> u32 {
        self.joined.clear();
        let lengths = strings.map(|string| {
            let string = &string[..string.floor_char_boundary(usize::from(u16::MAX))];
            self.joined.push_str(string);
            string.len() as u16
        });
        let hashed = hash(&lengths, &self.joined);
        let (text, lists, joined) = (&self.text, &self.lists, &self.joined);
        let known = self.table.find(hashed, |&id| {
            let list = lists[id as usize];
            list.lengths == lengths && list.text(text) == joined
        });
        if let Some(&id) = known {
            return id;
        }
        if self.text.len() > TEXT_BYTES_MAX && *strings != [OTHER; N] {
            return self.intern(&[OTHER; N]);
        }
        let id = self.lists.len() as u32;
        self.lists.push(List { start: self.text.len() as u32, lengths });
        self.text.push_str(&self.joined);
        let (text, lists) = (&self.text, &self.lists);
        self.table.insert_unique(hashed, id, |&other| {
            let list = lists[other as usize];
            hash(&list.lengths, list.text(text))
        });
        id
    }

    /// How many lists there are: numbers are below it.
    pub fn len(&self) -> usize {
        self.lists.len()
    }

    pub fn is_empty(&self) -> bool {
        self.lists.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_that_join_to_the_same_text_stay_apart() {
        let mut dictionary = Dictionary::default();
        let lists = [["ab", "c"], ["a", "bc"], ["", "abc"], ["abc", ""]];
        let ids: Vec<u32> = lists.iter().map(|list| dictionary.intern(list)).collect();
        assert_eq!(ids, [0, 1, 2, 3]);
        for (id, list) in ids.into_iter().zip(lists) {
            assert_eq!(dictionary.get(id), list);
            assert_eq!(dictionary.intern(&list), id);
        }
    }

    #[test]
    fn a_string_too_long_is_cut_between_characters() {
        let mut dictionary = Dictionary::default();
        let id = dictionary.intern(&["é".repeat(40_000).as_str()]);
        assert_eq!(dictionary.get(id)[0].len(), 65_534);
    }
}
