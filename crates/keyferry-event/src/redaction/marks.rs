//! The one look at every byte of an event: where something stands by which a secret could be known.
//!
//! The invariant: **every colon, every `A` and `J`, and every `u` behind a backslash is marked**, but for the first byte, which has nothing before it. What the marks mean is known to
//! [`secret`](super::secret); of a login's 700 bytes thirty are marked.
//!
//! Bytes are compared in vectors of 32 where the processor has AVX2, as nearly every one has; else one by one. Both are one function of a block, and are compared with each other:
//! `tests::both_ways_mark_the_same`.

use std::num::NonZeroU64;

/// So many bytes are looked at at once.
const BLOCK: usize = 64;

/// A block, and the byte before it.
type Block = [u8; BLOCK + 1];

/// What is marked of so many blocks in a row.
type Page = [Marks; 16];

/// What is marked of a block.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Marks {
    /// Where a colon stands.
    pub(super) colons: Places,
    /// Where `A` or `J` stands, or `u` behind a backslash.
    pub(super) signs: Places,
}

/// Shows the marks of `text` to `see`, block by block, with the place of the block's first byte.
#[inline]
pub(super) fn show(text: &[u8], mut see: impl FnMut(usize, Marks)) {
    let mut page = Page::default();
    let mut first = 1;
    while first < text.len() {
        mark(&text[first - 1..], &mut page);
        let blocks = (text.len() - first).div_ceil(BLOCK);
        for marks in page.iter().take(blocks) {
            see(first, *marks);
            first += BLOCK;
        }
    }
}

/// Marks the first blocks of `text`, whose first byte is the one before them.
fn mark(text: &[u8], page: &mut Page) {
    #[cfg(target_arch = "x86_64")]
    if is_x86_feature_detected!("avx2") {
        #[expect(unsafe_code, reason = "only here it is known what the processor has")]
        // SAFETY: the processor has what the function is compiled for.
        return unsafe { vectors::mark(text, page) };
    }
    mark_blocks(text, page, marks);
}

/// To be compiled into whoever knows what the processor has.
#[inline(always)]
fn mark_blocks(text: &[u8], page: &mut Page, marks: impl Fn(&Block) -> Marks) {
    let mut rest = text;
    for slot in page {
        let Some(block) = rest.first_chunk() else {
            let mut block = [0; size_of::<Block>()];
            block[..rest.len()].copy_from_slice(rest);
            *slot = marks(&block);
            return;
        };
        *slot = marks(block);
        rest = &rest[BLOCK..];
    }
}

/// Places of a block, the lowest bit for its first byte; in their order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Places(u64);

impl Iterator for Places {
    type Item = usize;

    #[inline(always)]
    fn next(&mut self) -> Option<usize> {
        let places = NonZeroU64::new(self.0)?;
        self.0 &= self.0 - 1;
        Some(places.trailing_zeros() as usize)
    }
}

fn marks(block: &Block) -> Marks {
    let (mut colons, mut signs) = (0, 0);
    for (place, (before, byte)) in block.iter().zip(&block[1..]).enumerate() {
        let is_sign = matches!((before, byte), (_, b'A' | b'J') | (b'\\', b'u'));
        colons |= u64::from(*byte == b':') << place;
        signs |= u64::from(is_sign) << place;
    }
    Marks { colons: Places(colons), signs: Places(signs) }
}

#[cfg(target_arch = "x86_64")]
mod vectors {
    use std::arch::x86_64::{
        __m256i, _mm256_and_si256, _mm256_cmpeq_epi8, _mm256_loadu_si256, _mm256_movemask_epi8,
        _mm256_or_si256, _mm256_set1_epi8,
    };

    use super::{Block, Marks, Page, Places, mark_blocks};

    /// Bytes of a vector.
    const VECTOR: usize = size_of::<__m256i>();

    #[target_feature(enable = "avx2")]
    pub(super) fn mark(text: &[u8], page: &mut Page) {
        mark_blocks(text, page, |block| marks(block));
    }

    #[target_feature(enable = "avx2")]
    #[inline]
    fn marks(block: &Block) -> Marks {
        let [low, high] = [half(block, 0), half(block, VECTOR)];
        let both = |low: u32, high: u32| Places(u64::from(high) << VECTOR | u64::from(low));
        Marks { colons: both(low.0, high.0), signs: both(low.1, high.1) }
    }

    /// Where a colon and where a sign stands in the bytes of `block` from `begin` on.
    #[target_feature(enable = "avx2")]
    #[inline]
    fn half(block: &Block, begin: usize) -> (u32, u32) {
        let is = |bytes, byte: u8| _mm256_cmpeq_epi8(bytes, _mm256_set1_epi8(byte.cast_signed()));
        let places = |found| _mm256_movemask_epi8(found).cast_unsigned();
        let [before, bytes] = [begin, begin + 1].map(|begin| load(block, begin));
        let letters = _mm256_or_si256(is(bytes, b'A'), is(bytes, b'J'));
        let escapes = _mm256_and_si256(is(before, b'\\'), is(bytes, b'u'));
        (places(is(bytes, b':')), places(_mm256_or_si256(letters, escapes)))
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

    fn is_marked(text: &[u8], place: usize) -> [bool; 2] {
        let is_escape = place > 0 && text[place] == b'u' && text[place - 1] == b'\\';
        [text[place] == b':', matches!(text[place], b'A' | b'J') || is_escape]
    }

    proptest! {
        /// The invariant of the module.
        #[test]
        fn whatever_is_to_be_marked_is_and_nothing_else(text in prop::collection::vec(prop::sample::select(&b":AJ\\uBKx\0\xff"[..]), 0..1_500)) {
            let mut marked = vec![[false; 2]; text.len()];
            show(&text, |first, Marks { colons, signs }| {
                colons.for_each(|place| marked[first + place][0] = true);
                signs.for_each(|place| marked[first + place][1] = true);
            });
            for (place, marked) in marked.into_iter().enumerate().skip(1) {
                prop_assert_eq!(marked, is_marked(&text, place), "{} of {:?}", place, text);
            }
        }

        #[test]
        fn both_ways_mark_the_same(block in prop::array::uniform::<_, { BLOCK + 1 }>(prop::sample::select(&b":AJ\\uBKx\0\xff"[..]))) {
            let mut shown = Vec::new();
            show(&block, |_, marks| shown.push(marks));
            prop_assert!(shown.iter().all(|shown| *shown == marks(&block)), "{:?}", block);
        }
    }
}
