//! [`ShortMinute`]: a minute and its calls in four bytes, for the last hour of hundreds of thousands of series. Which
//! two hours it belongs to is told by a minute close to it.

use serde::{Deserialize, Serialize};

const COUNT_BITS: u32 = 25;

/// More calls than this are counted as this many: 560,000 a second.
pub const COUNT_MAX: u32 = (1 << COUNT_BITS) - 1;

/// The last seven bits of the minute, then the calls.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct ShortMinute(u32);

impl ShortMinute {
    pub fn new(minute: u32, count: u32) -> ShortMinute {
        ShortMinute(minute << COUNT_BITS | count.min(COUNT_MAX))
    }

    /// `newest`: a minute that is not before it, and less than 128 minutes after.
    pub fn minute(self, newest: u32) -> u32 {
        newest - (newest.wrapping_sub(self.0 >> COUNT_BITS) & (u32::MAX >> COUNT_BITS))
    }

    pub fn count(self) -> u32 {
        self.0 & COUNT_MAX
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_hours_are_told_apart() {
        for minute in [128, 29_000_000, 29_000_127, u32::MAX - 127] {
            for later in 0..128 {
                let short = ShortMinute::new(minute, later * 300_000);
                let count = (later * 300_000).min(COUNT_MAX);
                assert_eq!((short.minute(minute + later), short.count()), (minute, count));
            }
        }
    }
}
