//! The fast path: finds the needed members of a record without building anything, 64 bytes at a time.
//!
//! Each block of 64 bytes becomes a few bit masks (quotes, brackets outside strings, bytes that belong nowhere), as in
//! Langdale and Lemire, "Parsing gigabytes of JSON per second" (2019). A [`Cursor`] walks over the masks lazily:
//! strings end at the next quote bit, and containers nobody needs are passed by counting bits. The walk does not
//! validate what it passes over beyond those masks, so it never decides that a record is bad: whatever surprises it is
//! `None`, and the caller asks the validating path. Deliberately knows nothing of dialects, objects or events.
//!
//! This is the one module of the crate with `unsafe`: calls into code compiled for AVX2, behind a run-time check that
//! a token type proves, and its two loads from a 64-byte array. Text is only ever sliced by checked methods.

#![deny(unsafe_op_in_unsafe_fn)]

use super::record::{Fields, IDENTITY_KEYS, Key, RECORD_KEYS, Slot, place};

const BLOCK: usize = 64;

/// What one block of text looks like, a bit per byte; strings are not yet taken into account.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Masks {
    quotes: u64,
    backslashes: u64,
    opens: u64,
    closes: u64,
    /// Bytes below 0x20, which no JSON string may hold.
    controls: u64,
    /// Bytes that are part of no JSON token outside strings.
    foreign: u64,
}

/// A way to compute masks. Values of an implementing type prove that this CPU can run it.
trait Lanes: Copy {
    fn masks(self, block: &[u8; BLOCK]) -> Masks;
    /// Bit `i` of the result is the parity of bits `0..=i`: ones from each odd quote up to the next even one.
    fn prefix_xor(self, bits: u64) -> u64;
}

/// Byte classes as bits, used by both implementations' tables and tests.
mod class {
    pub const QUOTE: u8 = 1;
    pub const BACKSLASH: u8 = 2;
    pub const OPEN: u8 = 4;
    pub const CLOSE: u8 = 8;
    pub const CONTROL: u8 = 16;
    pub const FOREIGN: u8 = 32;

    pub const OF_BYTE: [u8; 256] = {
        let mut table = [FOREIGN; 256];
        // Every byte that can be part of a token or of the space between tokens.
        let tokens = b" \t\n\r\"{}[]:,0123456789+-.Eaeflnrstu";
        let mut i = 0;
        while i < tokens.len() {
            table[tokens[i] as usize] = 0;
            i += 1;
        }
        let mut control = 0;
        while control < 0x20 {
            table[control] |= CONTROL;
            control += 1;
        }
        table[b'"' as usize] |= QUOTE;
        table[b'\\' as usize] |= BACKSLASH;
        table[b'{' as usize] |= OPEN;
        table[b'[' as usize] |= OPEN;
        table[b'}' as usize] |= CLOSE;
        table[b']' as usize] |= CLOSE;
        table
    };
}

/// Plain code for any CPU: a class per byte by table, then the class bits of eight bytes gathered by a multiplication.
#[derive(Clone, Copy)]
struct Portable;

impl Lanes for Portable {
    #[inline(always)]
    fn masks(self, block: &[u8; BLOCK]) -> Masks {
        let mut masks = Masks { quotes: 0, backslashes: 0, opens: 0, closes: 0, controls: 0, foreign: 0 };
        for (i, bytes) in block.chunks_exact(8).enumerate() {
            let mut classes = [0_u8; 8];
            for (class, byte) in classes.iter_mut().zip(bytes) {
                *class = class::OF_BYTE[*byte as usize];
            }
            let classes = u64::from_le_bytes(classes);
            // The low bit of each byte moves to bits 56..64, the first byte's lowest.
            let gather = |class: u8| {
                let bits = (classes >> class.trailing_zeros()) & 0x0101_0101_0101_0101;
                (bits.wrapping_mul(0x0102_0408_1020_4080) >> 56) << (8 * i)
            };
            masks.quotes |= gather(class::QUOTE);
            masks.backslashes |= gather(class::BACKSLASH);
            masks.opens |= gather(class::OPEN);
            masks.closes |= gather(class::CLOSE);
            masks.controls |= gather(class::CONTROL);
            masks.foreign |= gather(class::FOREIGN);
        }
        masks
    }

    #[inline(always)]
    fn prefix_xor(self, mut bits: u64) -> u64 {
        for shift in [1, 2, 4, 8, 16, 32] {
            bits ^= bits << shift;
        }
        bits
    }
}

#[cfg(target_arch = "x86_64")]
mod avx2 {
    use super::{BLOCK, Cursor, Fields, Lanes, Masks, Window};
    use std::arch::x86_64::*;

    /// Exists only where the CPU has AVX2, carry-less multiplication and the bit instructions.
    #[derive(Clone, Copy)]
    pub(super) struct Avx2(());

    impl Avx2 {
        pub(super) fn detect() -> Option<Avx2> {
            let present = is_x86_feature_detected!("avx2")
                && is_x86_feature_detected!("pclmulqdq")
                && is_x86_feature_detected!("popcnt")
                && is_x86_feature_detected!("bmi1")
                && is_x86_feature_detected!("bmi2")
                && is_x86_feature_detected!("lzcnt");
            present.then_some(Avx2(()))
        }

        pub(super) fn record<'t>(
            self,
            cursor: &mut Cursor<'_, 't>,
            at: usize,
            fields: &mut Fields<'t, &'t str>,
        ) -> Option<usize> {
            // SAFETY: `self` exists only if `detect` found every feature that `record` is compiled for.
            unsafe { record(cursor, at, fields) }
        }

        pub(super) fn fill(self, window: &mut Window, text: &[u8]) {
            // SAFETY: as above.
            unsafe { fill(self, window, text) }
        }
    }

    impl Lanes for Avx2 {
        #[inline(always)]
        fn masks(self, block: &[u8; BLOCK]) -> Masks {
            // SAFETY: `self` exists only if `detect` found every feature that `masks` is compiled for.
            unsafe { masks(block) }
        }

        #[inline(always)]
        fn prefix_xor(self, bits: u64) -> u64 {
            // SAFETY: as above.
            unsafe { prefix_xor(bits) }
        }
    }

    /// The whole walk over one record, compiled for these features so that everything it calls is inlined with them.
    #[target_feature(enable = "avx2,pclmulqdq,popcnt,bmi1,bmi2,lzcnt")]
    fn record<'t>(cursor: &mut Cursor<'_, 't>, at: usize, fields: &mut Fields<'t, &'t str>) -> Option<usize> {
        super::record(cursor, at, fields)
    }

    #[target_feature(enable = "avx2,pclmulqdq,popcnt,bmi1,bmi2,lzcnt")]
    fn fill(lanes: Avx2, window: &mut Window, text: &[u8]) {
        window.fill(lanes, text);
    }

    #[target_feature(enable = "avx2,pclmulqdq,popcnt,bmi1,bmi2,lzcnt")]
    #[inline]
    fn prefix_xor(bits: u64) -> u64 {
        let ones = _mm_set1_epi8(-1);
        _mm_cvtsi128_si64(_mm_clmulepi64_si128::<0>(_mm_set_epi64x(0, bits as i64), ones)) as u64
    }

    #[target_feature(enable = "avx2,pclmulqdq,popcnt,bmi1,bmi2,lzcnt")]
    #[inline]
    fn masks(block: &[u8; BLOCK]) -> Masks {
        // SAFETY: both loads read 32 bytes inside the 64-byte array, and need no alignment.
        let (low, high) = unsafe {
            let start = block.as_ptr();
            (_mm256_loadu_si256(start.cast()), _mm256_loadu_si256(start.add(32).cast()))
        };
        let (a, b) = (half(low), half(high));
        let join = |a: u32, b: u32| u64::from(a) | u64::from(b) << 32;
        Masks {
            quotes: join(a.quotes, b.quotes),
            backslashes: join(a.backslashes, b.backslashes),
            opens: join(a.opens, b.opens),
            closes: join(a.closes, b.closes),
            controls: join(a.controls, b.controls),
            foreign: join(a.foreign, b.foreign),
        }
    }

    struct Half {
        quotes: u32,
        backslashes: u32,
        opens: u32,
        closes: u32,
        controls: u32,
        foreign: u32,
    }

    /// One bit for each row of the ASCII table that holds token bytes; bit 7 for the two rows of control characters.
    /// A byte is of a token if its row's bit is among the bits of its column.
    const fn rows(column: usize) -> u8 {
        let mut bits = 0x80;
        let mut row = 0;
        while row < 8 {
            if super::class::OF_BYTE[row * 16 + column] & super::class::FOREIGN == 0 {
                bits |= row_bit(row) & 0x7f;
            }
            row += 1;
        }
        bits
    }

    const fn row_bit(row: usize) -> u8 {
        match row {
            0 => 0x80 | 0x01,
            1 => 0x80,
            2..=7 => 1 << (row - 1),
            _ => 0,
        }
    }

    /// The table for one 16-byte lane, twice.
    const fn twice(of_rows: bool) -> [u8; 32] {
        let mut table = [0; 32];
        let mut i = 0;
        while i < 32 {
            table[i] = if of_rows { row_bit(i % 16) } else { rows(i % 16) };
            i += 1;
        }
        table
    }

    #[target_feature(enable = "avx2,pclmulqdq,popcnt,bmi1,bmi2,lzcnt")]
    #[inline]
    fn half(bytes: __m256i) -> Half {
        const ROWS: [u8; 32] = twice(true);
        const COLUMNS: [u8; 32] = twice(false);
        // SAFETY: both loads read the 32 bytes of a constant array.
        let (rows, columns) =
            unsafe { (_mm256_loadu_si256(ROWS.as_ptr().cast()), _mm256_loadu_si256(COLUMNS.as_ptr().cast())) };
        let bits = |mask: __m256i| _mm256_movemask_epi8(mask) as u32;
        let equal = |bytes: __m256i, byte: u8| bits(_mm256_cmpeq_epi8(bytes, _mm256_set1_epi8(byte as i8)));
        // `{` and `[`, `}` and `]` differ in this bit only; no other byte becomes one of them.
        let merged = _mm256_or_si256(bytes, _mm256_set1_epi8(0x20));
        // A byte above 0x7f selects 0 in the columns, so it is foreign whatever its row.
        let row = _mm256_and_si256(_mm256_srli_epi16::<4>(bytes), _mm256_set1_epi8(0x0f));
        let found = _mm256_and_si256(_mm256_shuffle_epi8(rows, row), _mm256_shuffle_epi8(columns, bytes));
        let token = _mm256_and_si256(found, _mm256_set1_epi8(0x7f));
        Half {
            quotes: equal(bytes, b'"'),
            backslashes: equal(bytes, b'\\'),
            opens: equal(merged, b'{'),
            closes: equal(merged, b'}'),
            controls: bits(found),
            foreign: bits(_mm256_cmpeq_epi8(token, _mm256_setzero_si256())),
        }
    }
}

/// One block, strings taken into account.
#[derive(Clone, Copy, Default)]
struct Block {
    /// Quotes that begin or end a string.
    quotes: u64,
    /// Outside strings.
    opens: u64,
    /// Outside strings.
    closes: u64,
    backslashes: u64,
}

/// What is carried from one block to the next.
#[derive(Clone, Copy, Default)]
struct Carry {
    /// All ones if the block ended within a string, else zero.
    in_string: u64,
    /// 1 if the first byte of the next block is escaped, else 0.
    escaped: u64,
}

/// The blocks of a stretch of text. Computed in one go, because a tight loop over blocks is much faster than one block
/// at a time between the steps of the walk; short enough (32 KiB of text, 16 KiB of masks) to stay in the nearest cache.
struct Window {
    /// The first `len` of these are in use.
    blocks: Vec<Block>,
    len: usize,
    /// Where the first block starts in the text.
    base: usize,
    /// As it was before the last block, because the next stretch starts with that block again: whoever asks for 64
    /// bits from any position on needs two blocks.
    carry: Carry,
    /// How many blocks the next stretch gets. A new start begins small, because it may lead to one record only.
    next_blocks: usize,
    /// Position of the first byte since the start that is where no JSON text has it.
    first_bad: usize,
}

const WINDOW_BLOCKS_MIN: usize = 32;
const WINDOW_BLOCKS_MAX: usize = 512;

impl Window {
    /// Starts anew at a position outside strings.
    fn start(&mut self, at: usize) {
        self.len = 0;
        self.base = at;
        self.carry = Carry::default();
        self.next_blocks = WINDOW_BLOCKS_MIN;
        self.first_bad = usize::MAX;
    }

    /// The next stretch. Past the end, a text is spaces.
    #[inline(always)]
    fn fill<L: Lanes>(&mut self, lanes: L, text: &[u8]) {
        self.base += self.len.saturating_sub(1) * BLOCK;
        let rest = text.get(self.base..).unwrap_or(&[]);
        let (whole, tail) = rest[..rest.len().min(self.next_blocks * BLOCK)].as_chunks::<BLOCK>();
        self.len = whole.len();
        self.next_blocks = (self.next_blocks * 2).min(WINDOW_BLOCKS_MAX);
        if self.blocks.len() < self.len + 2 {
            self.blocks.resize(self.len + 2, Block::default());
        }
        let mut at = self.base;
        let mut carry = self.carry;
        for (block, bytes) in self.blocks.iter_mut().zip(whole) {
            self.carry = carry;
            *block = Block::of(lanes, bytes, &mut carry, at, &mut self.first_bad);
            at += BLOCK;
        }
        if self.len * BLOCK + tail.len() == rest.len() {
            let mut bytes = [b' '; BLOCK];
            bytes[..tail.len()].copy_from_slice(tail);
            self.blocks[self.len] = Block::of(lanes, &bytes, &mut carry, at, &mut self.first_bad);
            self.blocks[self.len + 1] = Block::default();
            self.len += 2;
            self.carry = carry;
        }
    }
}

impl Block {
    #[inline(always)]
    fn of<L: Lanes>(lanes: L, bytes: &[u8; BLOCK], carry: &mut Carry, at: usize, first_bad: &mut usize) -> Block {
        let masks = lanes.masks(bytes);
        let quotes = masks.quotes & !carry.escapes(masks.backslashes);
        let within = lanes.prefix_xor(quotes) ^ carry.in_string;
        carry.in_string = ((within as i64) >> 63) as u64;
        let bad = (masks.controls & within) | (masks.foreign & !within);
        if bad != 0 {
            *first_bad = (*first_bad).min(at + bad.trailing_zeros() as usize);
        }
        Block {
            quotes,
            opens: masks.opens & !within,
            closes: masks.closes & !within,
            backslashes: masks.backslashes,
        }
    }
}

impl Carry {
    /// The bytes that a backslash before them escapes. A run of backslashes escapes itself in pairs; adding the start
    /// of each run that begins on an odd position to the run flips which parity is left over at its end.
    #[inline(always)]
    fn escapes(&mut self, backslashes: u64) -> u64 {
        const EVEN: u64 = 0x5555_5555_5555_5555;
        if backslashes == 0 {
            return std::mem::take(&mut self.escaped);
        }
        let active = backslashes & !self.escaped;
        let follows = active << 1 | self.escaped;
        let odd_starts = active & !EVEN & !follows;
        let (runs, overflow) = odd_starts.overflowing_add(active);
        self.escaped = u64::from(overflow);
        (EVEN ^ (runs << 1)) & follows
    }
}

/// What an impossible position gets: no quote, no bracket.
static NOTHING: Block = Block { quotes: 0, opens: 0, closes: 0, backslashes: 0 };

/// 64 bits from two blocks in a row, from bit `shift` of the first one on.
#[inline(always)]
fn join(first: u64, second: u64, shift: usize) -> u64 {
    (first >> shift) | (second << 1) << (BLOCK - 1 - shift)
}

/// For each key of a list, the key that followed it last time; at [`START`], the one that came first.
struct Habits([u8; START + 1]);

const START: usize = 31;

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
    /// The blocks that hold the 64 bytes from `at` on, and how far into the first one `at` is. Positions may only grow,
    /// except within two blocks.
    #[inline(always)]
    fn blocks(&mut self, at: usize) -> (&Block, &Block, usize) {
        let offset = at.wrapping_sub(self.window.base);
        let mut index = offset / BLOCK;
        if index + 1 >= self.window.len {
            index = self.best.fill(self.window, self.text, at);
        }
        match self.window.blocks.get(index..index + 2) {
            Some([first, second]) => (first, second, offset % BLOCK),
            _ => (&NOTHING, &NOTHING, 0),
        }
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

    /// The first byte from `at` on that is no space, and its position.
    #[inline(always)]
    fn after_space(&self, at: usize) -> (u8, usize) {
        let byte = self.byte(at);
        // CloudTrail writes no spaces.
        if byte > b' ' { (byte, at) } else { self.after_real_space(at) }
    }

    #[cold]
    #[inline(never)]
    fn after_real_space(&self, mut at: usize) -> (u8, usize) {
        while matches!(self.byte(at), b' ' | b'\n' | b'\r' | b'\t') {
            at += 1;
        }
        (self.byte(at), at)
    }

    /// The text between two quotes.
    #[inline(always)]
    fn between(&self, start: usize, end: usize) -> Option<&'t str> {
        let text: &'t str = self.text;
        let bytes = text.as_bytes().get(start..end)?;
        if start == 0 || self.byte(start - 1) != b'"' || self.byte(end) != b'"' {
            return None;
        }
        // SAFETY: the bytes lie in a `str`, right behind an ASCII byte and right before one, so whole characters do.
        Some(unsafe { std::str::from_utf8_unchecked(bytes) })
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

    /// The text of the same string, if no backslash is in it, and the position of the quote that ends it.
    #[inline(always)]
    fn plain_string(&mut self, start: usize) -> Option<(&'t str, usize)> {
        let mut at = start;
        let mut escapes = 0;
        loop {
            let (first, second, shift) = self.blocks(at);
            let quotes = join(first.quotes, second.quotes, shift);
            let backslashes = join(first.backslashes, second.backslashes, shift);
            if quotes != 0 {
                escapes |= backslashes & (quotes - 1) & !quotes;
                let end = at + quotes.trailing_zeros() as usize;
                return if escapes == 0 { Some((self.between(start, end)?, end)) } else { None };
            }
            escapes |= backslashes;
            at += BLOCK;
            if at >= self.text.len() {
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

    /// Position after `true`, `false` or `null`.
    #[inline(always)]
    fn literal(&self, at: usize) -> Option<(usize, Option<bool>)> {
        let rest = self.text.as_bytes().get(at..)?;
        if rest.starts_with(b"true") {
            Some((at + 4, Some(true)))
        } else if rest.starts_with(b"false") {
            Some((at + 5, Some(false)))
        } else if rest.starts_with(b"null") {
            Some((at + 4, None))
        } else {
            None
        }
    }
}

/// One record, from its opening bracket at `at`; the position after it.
#[inline(always)]
fn record<'t>(cursor: &mut Cursor<'_, 't>, at: usize, fields: &mut Fields<'t, &'t str>) -> Option<usize> {
    let end = members::<InRecord>(cursor, at, fields)?;
    (cursor.window.first_bad >= end).then_some(end)
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
fn members<'t, L: Level>(
    cursor: &mut Cursor<'_, 't>,
    at: usize,
    fields: &mut Fields<'t, &'t str>,
) -> Option<usize> {
    if cursor.byte(at) != b'{' {
        return None;
    }
    let (mut byte, mut at) = cursor.after_space(at + 1);
    if byte == b'}' {
        return Some(at + 1);
    }
    let mut before = START;
    loop {
        if byte != b'"' {
            return None;
        }
        // Records come out of few programs, which write their keys in an order of their own: what followed this key
        // last time is tried first.
        let habit = L::habits(cursor).0[before];
        let expected = L::KEYS.get(usize::from(habit)).and_then(|key| key.behind(cursor.text.as_bytes(), at));
        let (slot, behind) = match expected {
            Some(behind) => {
                before = usize::from(habit);
                (L::KEYS.get(before)?.slot, behind)
            }
            None => {
                let key_end = cursor.string_end(at + 1)?;
                let name = cursor.text.as_bytes().get(at + 1..key_end)?;
                let (colon, at_colon) = cursor.after_space(key_end + 1);
                if colon != b':' {
                    return None;
                }
                let slot = match place(L::KEYS, name) {
                    Some(place) => {
                        L::habits(cursor).0[before] = place as u8;
                        before = place;
                        L::KEYS.get(place)?.slot
                    }
                    None if name.contains(&b'\\') => return None,
                    None => Slot::Unknown,
                };
                (slot, at_colon + 1)
            }
        };
        let (first, start) = cursor.after_space(behind);
        let end = match first {
            b'"' => {
                let end = match slot {
                    Slot::Text(text) => {
                        let (value, end) = cursor.plain_string(start + 1)?;
                        fields.set_text(text, Some(value));
                        end
                    }
                    Slot::Flag(flag) => {
                        let (value, end) = cursor.plain_string(start + 1)?;
                        fields.set_flag(flag, Some(truth(value)?));
                        end
                    }
                    Slot::Raw(raw) => {
                        let end = cursor.string_end(start + 1)?;
                        fields.set_raw(raw, cursor.text.get(start..=end)?);
                        end
                    }
                    Slot::Identity => return None,
                    Slot::Ignored | Slot::Unknown => cursor.string_end(start + 1)?,
                };
                end + 1
            }
            b'{' | b'[' => match slot {
                Slot::Text(_) | Slot::Flag(_) => return None,
                Slot::Identity => L::identity(cursor, start, fields)?,
                Slot::Raw(raw) => {
                    let end = cursor.container(start)?;
                    fields.set_raw(raw, cursor.text.get(start..end)?);
                    end
                }
                Slot::Ignored | Slot::Unknown => cursor.container(start)?,
            },
            _ => {
                let (end, value) = cursor.literal(start)?;
                match slot {
                    Slot::Text(text) if value.is_none() => fields.set_text(text, None),
                    Slot::Flag(flag) => fields.set_flag(flag, value),
                    Slot::Raw(raw) => fields.set_raw(raw, cursor.text.get(start..end)?),
                    Slot::Identity if value.is_none() => fields.clear_identity(),
                    Slot::Text(_) | Slot::Identity => return None,
                    Slot::Ignored | Slot::Unknown => {}
                }
                end
            }
        };
        let (next, at_next) = cursor.after_space(end);
        if next != b',' {
            return (next == b'}').then_some(at_next + 1);
        }
        (byte, at) = cursor.after_space(at_next + 1);
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

/// The best instructions that may be used.
#[derive(Clone, Copy)]
enum Best {
    Portable,
    #[cfg(target_arch = "x86_64")]
    Avx2(avx2::Avx2),
}

impl Best {
    /// Moves the window on until it holds the 64 bytes from `at`; the index of the block that `at` is in.
    #[cold]
    #[inline(never)]
    fn fill(self, window: &mut Window, text: &str, at: usize) -> usize {
        while at >= window.base {
            match self {
                Best::Portable => window.fill(Portable, text.as_bytes()),
                #[cfg(target_arch = "x86_64")]
                Best::Avx2(avx2) => avx2.fill(window, text.as_bytes()),
            }
            let index = at.wrapping_sub(window.base) / BLOCK;
            if index + 1 < window.len {
                return index;
            }
        }
        // Backwards, where nothing here ever goes: an index that no window has.
        usize::MAX / BLOCK
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
        #[cfg(target_arch = "x86_64")]
        let best = match avx2::Avx2::detect() {
            Some(avx2) if !portable => Best::Avx2(avx2),
            _ => Best::Portable,
        };
        #[cfg(not(target_arch = "x86_64"))]
        let best = Best::Portable;
        let _ = portable;
        let window =
            Window { blocks: Vec::new(), len: 0, base: 0, carry: Carry::default(), next_blocks: 0, first_bad: 0 };
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
        let mut cursor = self.cursor(self.nesting_max);
        let end = match cursor.best {
            Best::Portable => record(&mut cursor, at, fields),
            #[cfg(target_arch = "x86_64")]
            Best::Avx2(avx2) => avx2.record(&mut cursor, at, fields),
        };
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
        self.window.first_bad >= end
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

    /// A few bytes of everything that matters, without any order: enough to fill blocks with every neighbourhood.
    fn noise(len: usize, mut seed: u64) -> Vec<u8> {
        let alphabet = b"\"\"\\\\{}[]:, \n\x01a0\xc3\xa9-tE~";
        let mut bytes = Vec::with_capacity(len);
        for _ in 0..len {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            bytes.push(alphabet[(seed >> 33) as usize % alphabet.len()]);
        }
        bytes
    }

    #[test]
    fn portable_masks_are_what_the_table_says() {
        for seed in 0..50 {
            let bytes = noise(BLOCK, seed);
            let masks = Portable.masks(bytes.first_chunk().unwrap());
            for (i, byte) in bytes.iter().enumerate() {
                let class = class::OF_BYTE[usize::from(*byte)];
                let bit = |mask: u64| mask >> i & 1 == 1;
                assert_eq!(bit(masks.quotes), class & class::QUOTE != 0);
                assert_eq!(bit(masks.backslashes), class & class::BACKSLASH != 0);
                assert_eq!(bit(masks.opens), class & class::OPEN != 0);
                assert_eq!(bit(masks.closes), class & class::CLOSE != 0);
                assert_eq!(bit(masks.controls), class & class::CONTROL != 0);
                assert_eq!(bit(masks.foreign), class & class::FOREIGN != 0);
            }
        }
    }

    #[cfg(target_arch = "x86_64")]
    #[test]
    fn avx2_masks_equal_portable_masks() {
        let Some(avx2) = avx2::Avx2::detect() else { return };
        for first in 0..=255_u8 {
            let block: [u8; BLOCK] = std::array::from_fn(|i| first.wrapping_add((i as u8).wrapping_mul(5)));
            assert_eq!(avx2.masks(&block), Portable.masks(&block), "{block:?}");
        }
        for bits in [0, 1, u64::MAX, 0x8000_0000_0000_0001, 0x1248_8421_0f0f_f0f0] {
            assert_eq!(avx2.prefix_xor(bits), Portable.prefix_xor(bits));
        }
    }

    /// The masks of whole windows against a byte-by-byte reading of the same text, across block and window borders.
    #[test]
    fn windows_know_strings_and_escapes() {
        for (seed, len) in (0..40).zip([1, 63, 64, 65, 127, 128, 2_048, 2_049, 6_000].into_iter().cycle()) {
            let text = String::from_utf8_lossy(&noise(len, seed)).into_owned();
            let (mut in_string, mut escaped) = (false, false);
            let mut expected = Vec::new();
            for (at, byte) in text.bytes().enumerate() {
                let ends_or_begins = byte == b'"' && !escaped;
                escaped = byte == b'\\' && !escaped;
                if ends_or_begins {
                    in_string = !in_string;
                    expected.push((at, b'"'));
                } else if !in_string && b"{}[]".contains(&byte) {
                    expected.push((at, byte));
                }
            }
            for portable in [true, false] {
                let mut scanner = Scanner::new(&text, portable, 100);
                scanner.window.start(0);
                let mut cursor = scanner.cursor(100);
                let mut found = Vec::new();
                for at in 0..text.len() {
                    let (first, _, shift) = cursor.blocks(at);
                    let bit = |mask: u64| mask >> shift & 1 == 1;
                    if bit(first.quotes) || bit(first.opens) || bit(first.closes) {
                        found.push((at, text.as_bytes()[at]));
                    }
                }
                assert_eq!(found, expected, "{text:?}");
            }
        }
    }

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
}
