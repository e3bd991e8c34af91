//! [`SharedLists`]: what [`Dictionary`] does, in a fifth of the memory where lists share their strings, and slower. Knows
//! nothing of what the strings mean.

use std::hash::BuildHasher;

use foldhash::quality::FixedState;
use hashbrown::HashTable;

use super::dictionary::{Dictionary, HASH_SEED};

/// Lists of `N` strings, each string and each list stored once and numbered in the order of arrival. Numbers are private
/// to one of these.
#[derive(Default)]
pub(super) struct SharedLists<const N: usize> {
    strings: Dictionary<1>,
    /// Numbers in `strings`.
    lists: Vec<[u32; N]>,
    table: HashTable<u32>,
}

impl<const N: usize> SharedLists<N> {
    /// The strings of list `id`, which must have come from here.
    pub(super) fn get(&self, id: u32) -> [&str; N] {
        self.lists[id as usize].map(|string| self.strings.get(string)[0])
    }

    /// The number of a list, new or known.
    pub(super) fn intern(&mut self, strings: &[&str; N]) -> u32 {
        let list = strings.map(|string| self.strings.intern(&[string]));
        let hasher = FixedState::with_seed(HASH_SEED);
        let hashed = hasher.hash_one(list);
        let lists = &self.lists;
        if let Some(&id) = self.table.find(hashed, |&id| lists[id as usize] == list) {
            return id;
        }
        let id = self.lists.len() as u32;
        self.lists.push(list);
        let lists = &self.lists;
        self.table.insert_unique(hashed, id, |&other| hasher.hash_one(lists[other as usize]));
        id
    }

    /// How many lists there are: numbers are below it.
    pub(super) fn len(&self) -> usize {
        self.lists.len()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// It says what a dictionary says.
        #[test]
        fn lists_are_numbered_as_in_a_dictionary(lists in prop::collection::vec(prop::array::uniform3("[ab]{0,2}"), 1..200)) {
            let (mut shared, mut dictionary) = (SharedLists::default(), Dictionary::default());
            for list in &lists {
                let list = list.each_ref().map(String::as_str);
                let id = shared.intern(&list);
                prop_assert_eq!(id, dictionary.intern(&list));
                prop_assert_eq!(shared.get(id), list);
            }
            prop_assert_eq!(shared.len(), dictionary.len());
        }
    }
}
