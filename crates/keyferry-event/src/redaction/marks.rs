//! The one look at every byte of an event: where something stands by which a secret could be known.
//!
//! The invariant: **every colon before which a secret's name may end, every `A` and `J`, and every `u` behind a backslash is marked**, but for the first byte, which has nothing before it. What the
//! marks mean is known to [`secret`](super::secret); of the 700 bytes of a renewed token three are marked.
//!
//! Bytes are compared in vectors of 32 where the processor has AVX2, as nearly every one has; else one by one. Both are one function of a block, and are compared with each other:
//! `tests::both_ways_mark_the_same`. What is marked is gathered without a branch, for which blocks have marks cannot be foretold.

use std::num::NonZeroU64;

use super::secret::ENDINGS;

/// So many bytes are looked at at once.
const BLOCK: usize = 64;

/// So many bytes before a colon are looked at with it: two letters and a quote.
const BEFORE: usize = 3;

/// A block, and the bytes before it.
type Block = [u8; BEFORE + BLOCK];

/// So many blocks are marked before what is marked is shown.
const PAGE: usize = 16;

/// Something known of each byte by its last four bits: so a vector of bytes is looked up in one instruction. Bytes that are not ASCII have 0. `A` and `Q`, or a quote and `R`, are the same here; what is marked for that
/// alone costs a look.
type Table = [u8; 16];

/// How the text before a colon ends if that is the name of a secret. Three bytes are looked up, each in its table: they may be such an end if the last is a blank, or if the others have a bit in common.
#[derive(Debug)]
pub(super) struct Endings {
    /// Has a bit for what may be a blank, or the end of one's escape.
    blank: Table,
    /// Has a bit for each letter that a name ends with.
    last: Table,
    /// Has, for the letter before that one, the bits of those that it stands before.
    second_last: Table,
}

impl Endings {
    /// The bit of every byte as the second last. As the last, of what may stand between a name and the quote: separators, and the backslash of a quote that is escaped.
    const ANY: u8 = 1 << 7;

    /// Those of names with these last letters.
    pub(super) const fn of(names: &[[u8; 3]]) -> Self {
        let mut last = table(b"_-. \\");
        let mut second_last = [Self::ANY; 16];
        let mut bit = 1;
        let mut rest = names;
        while let [[_, before, letter], others @ ..] = rest {
            let bits = &mut last[low(*letter)];
            if *bits == 0 {
                assert!(bit < Self::ANY, "there are more last letters than bits");
                (*bits, bit) = (bit, bit << 1);
            }
            second_last[low(*before)] |= *bits;
            rest = others;
        }
        Self { blank: table(b" \t\n\rtn"), last, second_last }
    }

    /// Whether the text before a colon may end so.
    #[inline]
    fn may_be(&self, [second_last, last, quote]: [u8; BEFORE]) -> bool {
        let bits =
            look_up(&self.blank, quote) | look_up(&self.last, last) & look_up(&self.second_last, second_last);
        bits != 0
    }
}

/// The table in which these bytes have [`Endings::ANY`].
const fn table(bytes: &[u8]) -> Table {
    let mut table = [0; 16];
    let mut rest = bytes;
    while let [byte, others @ ..] = rest {
        table[low(*byte)] = Endings::ANY;
        rest = others;
    }
    table
}

/// The last four bits.
const fn low(byte: u8) -> usize {
    (byte & 15) as usize
}

/// What is known of `byte`, as the processor's instruction has it.
fn look_up(table: &Table, byte: u8) -> u8 {
    if byte.is_ascii() { table[low(byte)] } else { 0 }
}

/// Places of a block, the lowest bit for its first byte; in their order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Places(u64);

impl Places {
    /// Those behind the first `seen` bytes, as those of a block that begins there.
    #[inline(always)]
    fn behind(self, seen: usize) -> Self {
        Self(self.0 >> seen)
    }
}

impl Iterator for Places {
    type Item = usize;

    #[inline(always)]
    fn next(&mut self) -> Option<usize> {
        let places = NonZeroU64::new(self.0)?;
        self.0 &= self.0 - 1;
        Some(places.trailing_zeros() as usize)
    }
}

/// What is marked of blocks of which something is, each with the place of its first byte.
type Page = [(usize, Places); PAGE];

/// Shows every marked place of `text` to `see`.
#[inline]
pub(super) fn show(text: &[u8], mut see: impl FnMut(usize)) {
    // So little stands before these that it is no name.
    for (before, bytes) in text.array_windows().take(BEFORE - 1).enumerate() {
        if is_sign(*bytes) {
            see(before + 1);
        }
    }
    let mut page = Page::default();
    let mut begin = 0;
    while begin + BEFORE < text.len() {
        let end = text.len().min(begin + PAGE * BLOCK + BEFORE);
        let marked = mark(&text[begin..end], &mut page);
        for (first, places) in page.iter().take(marked) {
            for place in *places {
                see(begin + first + place);
            }
        }
        begin += PAGE * BLOCK;
    }
}

/// Marks what stands in `text` behind its first bytes, and answers of how many blocks something is marked. There are no more blocks than a page has.
fn mark(text: &[u8], page: &mut Page) -> usize {
    #[cfg(target_arch = "x86_64")]
    if is_x86_feature_detected!("avx2") {
        #[expect(unsafe_code, reason = "only here it is known what the processor has")]
        // SAFETY: the processor has what the function is compiled for.
        return unsafe { vectors::mark(text, page) };
    }
    mark_blocks(text, page, places)
}

/// To be compiled into whoever knows what the processor has.
#[inline(always)]
fn mark_blocks(text: &[u8], page: &mut Page, places: impl Fn(&Block) -> Places) -> usize {
    let mut marked = 0;
    let mut keep = |first: usize, places: Places| {
        page[marked] = (first, places);
        marked += usize::from(places.0 != 0);
    };
    let mut begin = 0;
    while let Some(block) = text[begin..].first_chunk() {
        keep(begin + BEFORE, places(block));
        begin += BLOCK;
    }
    let first = begin + BEFORE;
    if first < text.len() {
        // The last bytes are no whole block, but with some that have been seen, or zeros.
        if let Some(block) = text.last_chunk() {
            keep(first, places(block).behind(first + BLOCK - text.len()));
        } else {
            let mut block = [0; size_of::<Block>()];
            block[..text.len()].copy_from_slice(text);
            keep(first, places(&block));
        }
    }
    marked
}

/// Whether a shape or an escape may be known by the second of two bytes.
#[inline]
fn is_sign(bytes: [u8; 2]) -> bool {
    matches!(bytes, [_, b'A' | b'J'] | [b'\\', b'u'])
}

/// Whether the last of these bytes is to be marked.
fn is_marked([second_last, last, quote, byte]: [u8; BEFORE + 1]) -> bool {
    is_sign([quote, byte]) || byte == b':' && ENDINGS.may_be([second_last, last, quote])
}

/// What is marked of `block`, byte by byte.
fn places(block: &Block) -> Places {
    let bit = |(place, bytes): (usize, &[u8; BEFORE + 1])| u64::from(is_marked(*bytes)) << place;
    Places(block.array_windows().enumerate().map(bit).sum())
}

#[cfg(target_arch = "x86_64")]
mod vectors {
    use std::arch::x86_64::{
        __m256i, _mm_loadu_si128, _mm256_and_si256, _mm256_andnot_si256, _mm256_broadcastsi128_si256,
        _mm256_cmpeq_epi8, _mm256_loadu_si256, _mm256_movemask_epi8, _mm256_or_si256, _mm256_set1_epi8,
        _mm256_setzero_si256, _mm256_shuffle_epi8,
    };

    use super::{BEFORE, Block, ENDINGS, Page, Places, Table, low, mark_blocks};

    /// Bytes of a vector.
    const VECTOR: usize = size_of::<__m256i>();

    /// For the last four bits of `A` and `J`, these; for others what no byte is that has them.
    const LETTERS: Table = {
        let mut letters = [u8::MAX; 16];
        letters[low(b'A')] = b'A';
        letters[low(b'J')] = b'J';
        letters
    };

    #[target_feature(enable = "avx2")]
    pub(super) fn mark(text: &[u8], page: &mut Page) -> usize {
        mark_blocks(text, page, |block| places(block))
    }

    #[target_feature(enable = "avx2")]
    #[inline]
    fn places(block: &Block) -> Places {
        let [low, high] = [0, VECTOR].map(|begin| half(block, begin));
        Places(u64::from(high) << VECTOR | u64::from(low))
    }

    /// What is marked in the half of `block` before which `begin` bytes of it stand.
    #[target_feature(enable = "avx2")]
    #[inline]
    fn half(block: &Block, begin: usize) -> u32 {
        let is = |bytes, byte: u8| _mm256_cmpeq_epi8(bytes, _mm256_set1_epi8(byte.cast_signed()));
        let [second_last, last, quote, bytes] = [0, 1, 2, BEFORE].map(|place| load(block, begin + place));
        let letters =
            _mm256_and_si256(look_up(&ENDINGS.last, last), look_up(&ENDINGS.second_last, second_last));
        let endings = _mm256_or_si256(look_up(&ENDINGS.blank, quote), letters);
        let is_none = _mm256_cmpeq_epi8(endings, _mm256_setzero_si256());
        let colons = _mm256_andnot_si256(is_none, is(bytes, b':'));
        let letters = _mm256_cmpeq_epi8(bytes, look_up(&LETTERS, bytes));
        let escapes = _mm256_and_si256(is(quote, b'\\'), is(bytes, b'u'));
        let marked = _mm256_or_si256(colons, _mm256_or_si256(letters, escapes));
        _mm256_movemask_epi8(marked).cast_unsigned()
    }

    #[target_feature(enable = "avx2")]
    #[inline]
    fn look_up(table: &Table, bytes: __m256i) -> __m256i {
        #[expect(unsafe_code, reason = "one instruction, which takes a pointer")]
        // SAFETY: so many bytes are there, however they are aligned.
        let table = unsafe { _mm_loadu_si128(table.as_ptr().cast()) };
        _mm256_shuffle_epi8(_mm256_broadcastsi128_si256(table), bytes)
    }

    #[target_feature(enable = "avx2")]
    #[inline]
    fn load(block: &Block, begin: usize) -> __m256i {
        let bytes = &block[begin..begin + VECTOR];
        #[expect(unsafe_code, reason = "one instruction, which takes a pointer")]
        // SAFETY: so many bytes are there, however they are aligned.
        unsafe {
            _mm256_loadu_si256(bytes.as_ptr().cast())
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Bytes of every sort that is told apart: letters of names, what counts as the same as one, signs, quotes, blanks, separators, and bytes that are not ASCII.
    const BYTES: &[u8] = b":\"etsdxABJKuU\\ \n_-.:\"\0\xff\xe5";

    fn text(longest: usize) -> impl Strategy<Value = Vec<u8>> {
        prop::collection::vec(prop::sample::select(BYTES), 0..longest)
    }

    fn is_marked_in(text: &[u8], place: usize) -> bool {
        match text[..=place] {
            [.., second_last, last, quote, byte] => is_marked([second_last, last, quote, byte]),
            [.., before, byte] => is_sign([before, byte]),
            _ => false,
        }
    }

    proptest! {
        /// The invariant of the module: what may end a name is known to [`Endings`], whose test is the next one.
        #[test]
        fn whatever_is_to_be_marked_is_and_nothing_else(text in text(2_500)) {
            let mut marked = Vec::new();
            show(&text, |place| marked.push(place));
            let expected: Vec<_> = (0..text.len()).filter(|place| is_marked_in(&text, *place)).collect();
            prop_assert_eq!(marked, expected, "{:?}", text);
        }

        #[test]
        fn both_ways_mark_the_same(text in text(PAGE * BLOCK)) {
            let [mut page, mut expected] = [Page::default(); 2];
            let marked = mark(&text, &mut page);
            let by_bytes = mark_blocks(&text, &mut expected, places);
            prop_assert_eq!(&page[..marked], &expected[..by_bytes], "{:?}", text);
        }
    }

    #[test]
    fn names_of_secrets_may_end_so_and_few_others() {
        let endings = Endings::of(&[*b"ret", *b"key", *b"ord"]);
        for end in [*b"et\"", *b"ET\"", *b"ey\"", *b"t_\"", *b"t.\"", *b"t\\\"", *b"t\" ", *b"\"\\n"] {
            assert!(endings.may_be(end), "{}", String::from_utf8_lossy(&end));
        }
        for end in [*b"id\"", *b"me\"", *b"pe\"", *b"le\"", *b"ry\"", *b"0:1"] {
            assert!(!endings.may_be(end), "{}", String::from_utf8_lossy(&end));
        }
    }
}
