//! [`Dictionary`]: lists of strings, each stored once and numbered. Knows nothing of what the strings mean.

use std::hash::{BuildHasher, Hasher};

use foldhash::quality::FixedState;
use hashbrown::HashTable;

/// Lists of strings, each list stored once and numbered in the order of arrival. Numbers are private to one dictionary.
pub struct Dictionary<const N: usize> {
    text: String,
    /// Where list `i` begins in `text`, and the end of each of its strings.
    starts: Vec<u32>,
    ends: Vec<[u32; N]>,
    table: HashTable<u32>,
}

/// Fixed, so that a snapshot or a run can be repeated; strings of strangers can at worst make one table slow.
pub(super) const HASH_SEED: u64 = 0x6869_6768_7761_7465;

impl<const N: usize> Dictionary<N> {
    pub fn new() -> Self {
        Dictionary { text: String::new(), starts: Vec::new(), ends: Vec::new(), table: HashTable::new() }
    }

    fn hash(list: &[&str; N]) -> u64 {
        let mut hasher = FixedState::with_seed(HASH_SEED).build_hasher();
        for value in list {
            hasher.write(value.as_bytes());
            hasher.write_u8(0xff);
        }
        hasher.finish()
    }

    pub fn get(&self, id: u32) -> [&str; N] {
        let mut start = self.starts[id as usize] as usize;
        self.ends[id as usize].map(|end| {
            let value = &self.text[start..end as usize];
            start = end as usize;
            value
        })
    }

    pub fn intern(&mut self, list: &[&str; N]) -> u32 {
        let hash = Self::hash(list);
        if let Some(&id) = self.table.find(hash, |&id| self.get(id) == *list) {
            return id;
        }
        if self.text.len() > DICTIONARY_BYTES_MAX && *list != [OTHER; N] {
            return self.intern(&[OTHER; N]);
        }
        let id = self.starts.len() as u32;
        self.starts.push(self.text.len() as u32);
        self.ends.push(list.map(|value| {
            self.text.push_str(value);
            self.text.len() as u32
        }));
        let (text, starts, ends) = (&self.text, &self.starts, &self.ends);
        self.table.insert_unique(hash, id, |&other| {
            let mut start = starts[other as usize] as usize;
            Self::hash(&ends[other as usize].map(|end| {
                let value = &text[start..end as usize];
                start = end as usize;
                value
            }))
        });
        id
    }

    pub fn len(&self) -> usize {
        self.starts.len()
    }
}

/// Offsets into a dictionary's text are `u32`. A text this long takes no new list: what is new counts as [`OTHER`].
const DICTIONARY_BYTES_MAX: usize = 3 << 30;

/// Stands for callers (or APIs) past a bound.
pub const OTHER: &str = "(other)";

