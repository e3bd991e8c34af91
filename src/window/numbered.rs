//! [`Numbered`]: small values, each stored once and numbered in the order of arrival. Knows nothing of what they are.

use std::hash::{BuildHasher, Hash};
use std::ops::Deref;

use foldhash::quality::FixedState;
use hashbrown::HashTable;

use super::dictionary::HASH_SEED;

/// Reads as the slice of its values, by number.
pub(super) struct Numbered<T> {
    values: Vec<T>,
    table: HashTable<u32>,
}

impl<T> Default for Numbered<T> {
    fn default() -> Self {
        Numbered { values: Vec::new(), table: HashTable::new() }
    }
}

impl<T> Deref for Numbered<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        &self.values
    }
}

impl<T: Copy + Eq + Hash> Numbered<T> {
    /// The number of a value, new or known.
    pub(super) fn number(&mut self, value: T) -> u32 {
        let hasher = FixedState::with_seed(HASH_SEED);
        let hashed = hasher.hash_one(value);
        let values = &self.values;
        if let Some(&known) = self.table.find(hashed, |&known| values[known as usize] == value) {
            return known;
        }
        let number = self.values.len() as u32;
        self.values.push(value);
        let values = &self.values;
        self.table.insert_unique(hashed, number, |&other| hasher.hash_one(values[other as usize]));
        number
    }
}
