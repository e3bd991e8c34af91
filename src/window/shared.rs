//! [`SharedLists`]: what [`Dictionary`] does, in a fifth of the memory where lists share their strings, and slower. Knows
//! nothing of what the strings mean.

use super::dictionary::Dictionary;
use super::numbered::Numbered;

/// Lists of `N` strings, each string and each list stored once and numbered in the order of arrival. Numbers are private
/// to one of these.
#[derive(Default)]
pub struct SharedLists<const N: usize> {
    strings: Dictionary<1>,
    /// Numbers in `strings`.
    lists: Numbered<[u32; N]>,
}

impl<const N: usize> SharedLists<N> {
    /// The strings of list `id`, which must have come from here.
    pub fn get(&self, id: u32) -> [&str; N] {
        self.lists[id as usize].map(|string| self.strings.get(string)[0])
    }

    /// The number of a list, new or known.
    pub fn intern(&mut self, strings: &[&str; N]) -> u32 {
        let list = strings.map(|string| self.strings.intern(&[string]));
        self.lists.number(list)
    }

    /// How many lists there are: numbers are below it.
    pub fn len(&self) -> usize {
        self.lists.len()
    }

    pub fn is_empty(&self) -> bool {
        self.lists.is_empty()
    }

    /// By number of the list: how many lists come before it in the order of their strings.
    pub fn ranks(&self) -> Vec<u32> {
        fn ranks_by<K: Ord>(count: usize, key: impl Fn(u32) -> K) -> Vec<u32> {
            let mut order: Vec<u32> = (0..count as u32).collect();
            order.sort_unstable_by_key(|&id| key(id));
            let mut ranks = vec![0; count];
            (0..).zip(order).for_each(|(rank, id)| ranks[id as usize] = rank);
            ranks
        }
        let strings = ranks_by(self.strings.len(), |id| self.strings.get(id)[0]);
        ranks_by(self.lists.len(), |id| self.lists[id as usize].map(|string| strings[string as usize]))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// It says what a dictionary says.
        #[test]
        fn lists_are_numbered_as_in_a_dictionary(lists in prop::collection::vec(prop::array::uniform3("[ab]{0,2}"), 1..60)) {
            let (mut shared, mut dictionary) = (SharedLists::default(), Dictionary::default());
            for list in &lists {
                let list = list.each_ref().map(String::as_str);
                let id = shared.intern(&list);
                prop_assert_eq!(id, dictionary.intern(&list));
                prop_assert_eq!(shared.get(id), list);
            }
            prop_assert_eq!(shared.len(), dictionary.len());
            let ranks = shared.ranks();
            for (a, b) in (0..shared.len() as u32).flat_map(|a| (0..a).map(move |b| (a, b))) {
                prop_assert_eq!(ranks[a as usize].cmp(&ranks[b as usize]), shared.get(a).cmp(&shared.get(b)));
            }
        }
    }
}
