//! Forgetting for want of memory: the series that were not called for longest go first. What goes follows from what was
//! counted alone, by an estimate that does not know how it came to be here; so a run that was stopped forgets the same.

use super::Detector;
use crate::event::Minute;

/// Beside a series' own bytes: its key, its place in the index, and its share of the names.
const BYTES_PER_SERIES: usize = 100;

/// Allocations come in sizes, lists grow in steps, and what was given back lies between what was not: measured under
/// 5,000 events a second over 200,000 series.
const WASTE: f64 = 1.4;

/// Forgets down to this part of the room, so that it need not do so every minute.
const KEPT: f64 = 0.9;

impl Detector {
    /// The minute from which on what is open takes at most so many bytes.
    pub fn open_within(&mut self, bytes: u64) -> Minute {
        self.open.first_within((bytes as f64 / WASTE) as u64)
    }

    /// Forgets series until, with what is open, about so many bytes are in use; says how many. Never one with an
    /// incident that has not ended. One that comes back begins anew.
    pub fn shrink(&mut self, bytes: u64) -> usize {
        let room = bytes as f64 / WASTE - self.open.bytes() as f64;
        self.series.iter_mut().for_each(super::Series::add_up_days);
        let size = |series: &super::Series| series.bytes() + BYTES_PER_SERIES;
        let total: usize = self.series.iter().filter(|series| !series.is_new()).map(size).sum();
        if total as f64 <= room {
            return 0;
        }
        let mut order: Vec<u32> = (0..self.series.len() as u32)
            .filter(|&id| !self.series[id as usize].is_new() && !self.series[id as usize].is_open())
            .collect();
        let name =
            |id: u32| (self.names.api(self.keys[id as usize]), self.names.get(self.keys[id as usize].error_code));
        let last = |id: u32| self.series[id as usize].last();
        order.sort_unstable_by(|&a, &b| last(a).cmp(&last(b)).then_with(|| name(a).cmp(&name(b))));
        let mut alive = vec![true; self.series.len()];
        let (mut left, mut count) = (total as f64, 0);
        for id in order {
            if left <= room * KEPT {
                break;
            }
            left -= size(&self.series[id as usize]) as f64;
            alive[id as usize] = false;
            count += 1;
        }
        self.keep(&alive);
        self.rename_callers();
        count
    }
}
