//! The lowest layer of the fast path: text becomes bit masks, 64 bytes at a time. Each block of 64 bytes is told as its
//! quotes, its brackets outside strings and its backslashes, a bit per byte, as in Langdale and Lemire, "Parsing
//! gigabytes of JSON per second" (2019); a [`Window`] holds the blocks of a stretch of text. Deliberately knows nothing
//! of keys or records: `walk` is what reads the masks.
//!
//! This is the one module of the crate with `unsafe`: calls into code compiled for AVX2 or AVX-512, which only the
//! holder of a token can make that a run-time check of the CPU handed out; loads from arrays of at least the loaded
//! length; and bytes between two quotes of a text taken as text again.

#![deny(unsafe_op_in_unsafe_fn)]

/// Bytes to a block, and bits to a mask.
pub(super) const BLOCK: usize = 64;

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

/// Work to be compiled for what the CPU can do. Its `run`, and all that calls, must be `#[inline(always)]`.
pub(super) trait Task {
    type Output;
    fn run(self) -> Self::Output;
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
    use super::{BLOCK, Lanes, Masks, Task, Window};
    use std::arch::x86_64::*;

    /// Exists only where the CPU has AVX2, carry-less multiplication and the bit instructions.
    #[derive(Clone, Copy)]
    pub struct Avx2(());

    /// Exists only where the CPU has AVX-512 for bytes besides: a mask of 64 bytes is one instruction there.
    #[derive(Clone, Copy)]
    pub struct Avx512(Avx2);

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

        pub(super) fn run<T: Task>(self, task: T) -> T::Output {
            // SAFETY: `self` exists only if `detect` found every feature that `run` is compiled for.
            unsafe { run(task) }
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

        pub(super) fn run<T: Task>(self, task: T) -> T::Output {
            self.0.run(task)
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

    /// The whole task, compiled for these features so that everything it calls is inlined with them.
    #[target_feature(enable = "avx2,pclmulqdq,popcnt,bmi1,bmi2,lzcnt")]
    fn run<T: Task>(task: T) -> T::Output {
        task.run()
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
pub(super) struct Block {
    /// Quotes that begin or end a string.
    pub quotes: u64,
    /// Outside strings.
    pub opens: u64,
    /// Outside strings.
    pub closes: u64,
    pub backslashes: u64,
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
pub(super) struct Window {
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
    pub(super) fn start(&mut self, at: usize) {
        self.blocks.clear();
        self.base = at;
        self.carry = Carry::default();
        self.next_blocks = WINDOW_BLOCKS_MIN;
        self.first_bad = usize::MAX;
    }

    pub(super) const fn new() -> Window {
        Window { blocks: Vec::new(), base: 0, carry: Carry { in_string: 0, escaped: 0 }, next_blocks: 0, first_bad: 0 }
    }

    /// The blocks that hold the 64 bytes from `at` on, and how far into the first one `at` is. Positions may only grow,
    /// except within two blocks.
    #[inline(always)]
    pub(super) fn blocks(&mut self, best: Best, text: &str, at: usize) -> (&Block, &Block, usize) {
        let offset = at.wrapping_sub(self.base);
        let mut index = offset / BLOCK;
        if index + 2 > self.blocks.len() {
            index = best.fill(self, text, at);
        }
        match self.blocks.get(index..index + 2) {
            Some([first, second]) => (first, second, offset % BLOCK),
            _ => (&NOTHING, &NOTHING, 0),
        }
    }

    /// Position of the first byte since the start that is where no JSON text has it; `usize::MAX` if there is none.
    #[inline(always)]
    pub(super) fn first_bad(&self) -> usize {
        self.first_bad
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
pub(super) fn join(first: u64, second: u64, shift: usize) -> u64 {
    (first >> shift) | (second << 1) << (BLOCK - 1 - shift)
}

/// The best instructions that may be used.
#[derive(Clone, Copy)]
pub(super) enum Best {
    Portable,
    #[cfg(target_arch = "x86_64")]
    Avx2(x86::Avx2),
    #[cfg(target_arch = "x86_64")]
    Avx512(x86::Avx512),
}

impl Best {
    pub(super) fn detect() -> Best {
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

    #[inline]
    pub(super) fn run<T: Task>(self, task: T) -> T::Output {
        match self {
            Best::Portable => task.run(),
            #[cfg(target_arch = "x86_64")]
            Best::Avx2(lanes) => lanes.run(task),
            #[cfg(target_arch = "x86_64")]
            Best::Avx512(lanes) => lanes.run(task),
        }
    }
}

/// The text between two quotes, if quotes are what is at these places.
#[inline(always)]
pub(super) fn between_quotes(text: &str, open: usize, close: usize) -> Option<&str> {
    let quote = |at: usize| text.as_bytes().get(at) == Some(&b'"');
    let bytes = text.as_bytes().get(open + 1..close)?;
    if !quote(open) || !quote(close) {
        return None;
    }
    // SAFETY: the bytes lie in a `str`, right behind an ASCII byte and right before one; so they are whole characters.
    Some(unsafe { std::str::from_utf8_unchecked(bytes) })
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
            for best in [Best::Portable, Best::detect()] {
                let mut window = Window::new();
                window.start(0);
                let mut found = Vec::new();
                for at in 0..text.len() {
                    let (first, _, shift) = window.blocks(best, &text, at);
                    let bit = |mask: u64| mask >> shift & 1 == 1;
                    if bit(first.quotes) || bit(first.opens) || bit(first.closes) {
                        found.push((at, text.as_bytes()[at]));
                    }
                }
                assert_eq!(found, expected, "{text:?}");
            }
        }
    }
}
