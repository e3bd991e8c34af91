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
mod x86 {
    use super::{BLOCK, Cursor, Fields, Lanes, Masks, Window};
    use std::arch::x86_64::*;

    /// Exists only where the CPU has AVX2, carry-less multiplication and the bit instructions.
    #[derive(Clone, Copy)]
    pub(super) struct Avx2(());

    /// Exists only where the CPU has AVX-512 for bytes besides: a mask of 64 bytes is one instruction there.
    #[derive(Clone, Copy)]
    pub(super) struct Avx512(Avx2);

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
            // SAFETY: `self` exists only if `detect` found every feature that `fill_avx2` is compiled for.
            unsafe { fill_avx2(self, window, text) }
        }
    }

    impl Avx512 {
        pub(super) fn detect() -> Option<Avx512> {
            let present = is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512bw");
            Avx2::detect().filter(|_| present).map(Avx512)
        }

        pub(super) fn record<'t>(
            self,
            cursor: &mut Cursor<'_, 't>,
            at: usize,
            fields: &mut Fields<'t, &'t str>,
        ) -> Option<usize> {
            self.0.record(cursor, at, fields)
        }

        pub(super) fn fill(self, window: &mut Window, text: &[u8]) {
            // SAFETY: `self` exists only if `detect` found every feature that `fill_avx512` is compiled for.
            unsafe { fill_avx512(self, window, text) }
        }
    }

    impl Lanes for Avx2 {
        #[inline(always)]
        fn masks(self, block: &[u8; BLOCK]) -> Masks {
            // SAFETY: `self` exists only if `detect` found every feature that `masks_avx2` is compiled for.
            unsafe { masks_avx2(block) }
        }

        #[inline(always)]
        fn prefix_xor(self, bits: u64) -> u64 {
            // SAFETY: as above, for `prefix_xor`.
            unsafe { prefix_xor(bits) }
        }
    }

    impl Lanes for Avx512 {
        #[inline(always)]
        fn masks(self, block: &[u8; BLOCK]) -> Masks {
            // SAFETY: `self` exists only if `detect` found every feature that `masks_avx512` is compiled for.
            unsafe { masks_avx512(block) }
        }

        #[inline(always)]
        fn prefix_xor(self, bits: u64) -> u64 {
            self.0.prefix_xor(bits)
        }
    }

    /// The whole walk over one record, compiled for these features so that everything it calls is inlined with them.
    #[target_feature(enable = "avx2,pclmulqdq,popcnt,bmi1,bmi2,lzcnt")]
    fn record<'t>(cursor: &mut Cursor<'_, 't>, at: usize, fields: &mut Fields<'t, &'t str>) -> Option<usize> {
        super::record(cursor, at, fields)
    }

    #[target_feature(enable = "avx2,pclmulqdq,popcnt,bmi1,bmi2,lzcnt")]
    fn fill_avx2(lanes: Avx2, window: &mut Window, text: &[u8]) {
        window.fill(lanes, text);
    }

    #[target_feature(enable = "avx512f,avx512bw,avx2,pclmulqdq,popcnt,bmi1,bmi2,lzcnt")]
    fn fill_avx512(lanes: Avx512, window: &mut Window, text: &[u8]) {
        window.fill(lanes, text);
    }

    #[target_feature(enable = "avx2,pclmulqdq,popcnt,bmi1,bmi2,lzcnt")]
    #[inline]
    fn prefix_xor(bits: u64) -> u64 {
        let ones = _mm_set1_epi8(-1);
        _mm_cvtsi128_si64(_mm_clmulepi64_si128::<0>(_mm_set_epi64x(0, bits as i64), ones)) as u64
    }

    /// One bit for each row of the ASCII table that holds token bytes; bit 7 for the two rows of control characters.
    const fn row_bit(row: usize) -> u8 {
        match row {
            0 => 0x80 | 0x01,
            1 => 0x80,
            2..=7 => 1 << (row - 1),
            _ => 0,
        }
    }

    /// The bits of the rows in which a column of the ASCII table holds a token byte. A byte is of a token if its row's
    /// bit is among the bits of its column, and a control character if both have bit 7.
    const fn column_bits(column: usize) -> u8 {
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

    /// Tables of 16 entries, once for each 16-byte lane.
    const ROWS: [u8; BLOCK] = {
        let mut table = [0; BLOCK];
        let mut i = 0;
        while i < BLOCK {
            table[i] = row_bit(i % 16);
            i += 1;
        }
        table
    };
    const COLUMNS: [u8; BLOCK] = {
        let mut table = [0; BLOCK];
        let mut i = 0;
        while i < BLOCK {
            table[i] = column_bits(i % 16);
            i += 1;
        }
        table
    };

    /// `{` and `[`, `}` and `]` differ in this bit only, and no other byte becomes one of them by it.
    const BRACKET_BIT: i8 = 0x20;

    #[target_feature(enable = "avx2,pclmulqdq,popcnt,bmi1,bmi2,lzcnt")]
    #[inline]
    fn masks_avx2(block: &[u8; BLOCK]) -> Masks {
        let (low, high) = block.split_at(32);
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

    /// The masks of the first 32 bytes.
    #[target_feature(enable = "avx2,pclmulqdq,popcnt,bmi1,bmi2,lzcnt")]
    #[inline]
    fn half(bytes: &[u8]) -> Half {
        assert!(bytes.len() >= 32);
        // SAFETY: each load reads 32 bytes of something at least as long, and needs no alignment.
        let (bytes, rows, columns) = unsafe {
            (
                _mm256_loadu_si256(bytes.as_ptr().cast()),
                _mm256_loadu_si256(ROWS.as_ptr().cast()),
                _mm256_loadu_si256(COLUMNS.as_ptr().cast()),
            )
        };
        let bits = |mask: __m256i| _mm256_movemask_epi8(mask) as u32;
        let equal = |bytes: __m256i, byte: u8| bits(_mm256_cmpeq_epi8(bytes, _mm256_set1_epi8(byte as i8)));
        let merged = _mm256_or_si256(bytes, _mm256_set1_epi8(BRACKET_BIT));
        let row = _mm256_and_si256(_mm256_srli_epi16::<4>(bytes), _mm256_set1_epi8(0x0f));
        // A byte above 0x7f selects 0 in the columns, so it is foreign whatever its row.
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

    /// As [`masks_avx2`], step by step.
    #[target_feature(enable = "avx512f,avx512bw,avx2,pclmulqdq,popcnt,bmi1,bmi2,lzcnt")]
    #[inline]
    fn masks_avx512(block: &[u8; BLOCK]) -> Masks {
        // SAFETY: each load reads 64 bytes of an array of 64, and needs no alignment.
        let (bytes, rows, columns) = unsafe {
            (
                _mm512_loadu_si512(block.as_ptr().cast()),
                _mm512_loadu_si512(ROWS.as_ptr().cast()),
                _mm512_loadu_si512(COLUMNS.as_ptr().cast()),
            )
        };
        let equal = |bytes: __m512i, byte: u8| _mm512_cmpeq_epi8_mask(bytes, _mm512_set1_epi8(byte as i8));
        let merged = _mm512_or_si512(bytes, _mm512_set1_epi8(BRACKET_BIT));
        let row = _mm512_and_si512(_mm512_srli_epi16::<4>(bytes), _mm512_set1_epi8(0x0f));
        let found = _mm512_and_si512(_mm512_shuffle_epi8(rows, row), _mm512_shuffle_epi8(columns, bytes));
        Masks {
            quotes: equal(bytes, b'"'),
            backslashes: equal(bytes, b'\\'),
            opens: equal(merged, b'{'),
            closes: equal(merged, b'}'),
            controls: _mm512_movepi8_mask(found),
            foreign: _mm512_testn_epi8_mask(found, _mm512_set1_epi8(0x7f)),
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
/// at a time between the steps of the walk; short enough (32 KiB of text, 16 KiB of masks) to stay in a near cache.
struct Window {
    blocks: Vec<Block>,
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
        self.blocks.clear();
        self.base = at;
        self.carry = Carry::default();
        self.next_blocks = WINDOW_BLOCKS_MIN;
        self.first_bad = usize::MAX;
    }

    /// The next stretch. Past the end, a text is spaces.
    #[inline(always)]
    fn fill<L: Lanes>(&mut self, lanes: L, text: &[u8]) {
        self.base += self.blocks.len().saturating_sub(1) * BLOCK;
        let rest = text.get(self.base..).unwrap_or(&[]);
        let (whole, tail) = rest[..rest.len().min(self.next_blocks * BLOCK)].as_chunks::<BLOCK>();
        self.next_blocks = (self.next_blocks * 2).min(WINDOW_BLOCKS_MAX);
        self.blocks.resize(whole.len(), Block::default());
        let mut at = self.base;
        let mut carry = self.carry;
        for (block, bytes) in self.blocks.iter_mut().zip(whole) {
            self.carry = carry;
            *block = Block::of(lanes, bytes, &mut carry, at, &mut self.first_bad);
            at += BLOCK;
        }
        if whole.len() * BLOCK + tail.len() == rest.len() {
            let mut bytes = [b' '; BLOCK];
            bytes[..tail.len()].copy_from_slice(tail);
            self.blocks.push(Block::of(lanes, &bytes, &mut carry, at, &mut self.first_bad));
            self.blocks.push(Block::default());
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
        Block { quotes, opens: masks.opens & !within, closes: masks.closes & !within, backslashes: masks.backslashes }
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
    /// The blocks that hold the 64 bytes from `at` on, and how far into the first one `at` is. Positions may only grow,
    /// except within two blocks.
    #[inline(always)]
    fn blocks(&mut self, at: usize) -> (&Block, &Block, usize) {
        let offset = at.wrapping_sub(self.window.base);
        let mut index = offset / BLOCK;
        if index + 2 > self.window.blocks.len() {
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
                let bytes = text.as_bytes().get(open + 1..end)?;
                if escapes != 0 || self.byte(end) != b'"' {
                    return None;
                }
                // SAFETY: the bytes lie in a `str`, right behind a quote and right before one, both just seen; so they
                // are whole characters.
                return Some((unsafe { std::str::from_utf8_unchecked(bytes) }, end + 1));
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

/// The best instructions that may be used.
#[derive(Clone, Copy)]
enum Best {
    Portable,
    #[cfg(target_arch = "x86_64")]
    Avx2(x86::Avx2),
    #[cfg(target_arch = "x86_64")]
    Avx512(x86::Avx512),
}

impl Best {
    fn detect() -> Best {
        #[cfg(target_arch = "x86_64")]
        if let Some(lanes) = x86::Avx512::detect() {
            return Best::Avx512(lanes);
        }
        #[cfg(target_arch = "x86_64")]
        if let Some(lanes) = x86::Avx2::detect() {
            return Best::Avx2(lanes);
        }
        Best::Portable
    }

    /// Moves the window on until it holds the 64 bytes from `at`; the index of the block that `at` is in.
    #[cold]
    #[inline(never)]
    fn fill(self, window: &mut Window, text: &str, at: usize) -> usize {
        while at >= window.base {
            match self {
                Best::Portable => window.fill(Portable, text.as_bytes()),
                #[cfg(target_arch = "x86_64")]
                Best::Avx2(lanes) => lanes.fill(window, text.as_bytes()),
                #[cfg(target_arch = "x86_64")]
                Best::Avx512(lanes) => lanes.fill(window, text.as_bytes()),
            }
            let index = at.wrapping_sub(window.base) / BLOCK;
            if index + 1 < window.blocks.len() {
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
        let best = if portable { Best::Portable } else { Best::detect() };
        let window = Window { blocks: Vec::new(), base: 0, carry: Carry::default(), next_blocks: 0, first_bad: 0 };
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
            Best::Avx2(lanes) => lanes.record(&mut cursor, at, fields),
            #[cfg(target_arch = "x86_64")]
            Best::Avx512(lanes) => lanes.record(&mut cursor, at, fields),
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
    fn equals_portable(lanes: impl Lanes) {
        for first in 0..=255_u8 {
            let block: [u8; BLOCK] = std::array::from_fn(|i| first.wrapping_add((i as u8).wrapping_mul(5)));
            assert_eq!(lanes.masks(&block), Portable.masks(&block), "{block:?}");
        }
        for bits in [0, 1, u64::MAX, 0x8000_0000_0000_0001, 0x1248_8421_0f0f_f0f0] {
            assert_eq!(lanes.prefix_xor(bits), Portable.prefix_xor(bits));
        }
    }

    #[cfg(target_arch = "x86_64")]
    #[test]
    fn wide_masks_equal_portable_masks() {
        if let Some(lanes) = x86::Avx2::detect() {
            equals_portable(lanes);
        }
        if let Some(lanes) = x86::Avx512::detect() {
            equals_portable(lanes);
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
