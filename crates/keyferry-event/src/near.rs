//! Bytes that are near: a search in words of eight bytes.
//!
//! The invariant: **it finds what `memchr` finds.** A vector search is faster where the byte is far away. But a name or a value of an event is a dozen bytes long, and then
//! the call of one takes longer than this whole search.
//!
//! How a word tells where it has a zero byte: H. S. Warren, "Hacker's Delight", 2nd edition, 6-1.

use memchr::{memchr, memchr2};

/// What is farther away is left to a vector search: an identifier of Keycloak, of 36 characters, ends before that.
const NEAR: usize = 40;

const ONES: u64 = u64::from_le_bytes([1; 8]);
const HIGHEST_BITS: u64 = ONES << 7;

/// The highest bit of the first zero byte of `word`, and of others above it that may or may not be zero; 0 if none is.
const fn first_zero(word: u64) -> u64 {
    word.wrapping_sub(ONES) & !word & HIGHEST_BITS
}

const fn index_of_first(found: u64) -> usize {
    (found.trailing_zeros() / 8) as usize
}

/// In eight bytes, zero where they are `byte`.
const fn against(byte: u8, word: [u8; 8]) -> u64 {
    u64::from_le_bytes(word) ^ (ONES * byte as u64)
}

/// Where `byte` stands first in `text`.
pub(crate) fn find(byte: u8, text: &[u8]) -> Option<usize> {
    let (words, _) = text[..text.len().min(NEAR)].as_chunks::<8>();
    for (index, word) in words.iter().enumerate() {
        let found = first_zero(against(byte, *word));
        if found != 0 {
            return Some(index * 8 + index_of_first(found));
        }
    }
    let done = words.len() * 8;
    memchr(byte, &text[done..]).map(|at| done + at)
}

/// Where `one` or `other` stands first in `text`.
pub(crate) fn find_either(one: u8, other: u8, text: &[u8]) -> Option<usize> {
    let (words, _) = text[..text.len().min(NEAR)].as_chunks::<8>();
    for (index, word) in words.iter().enumerate() {
        let found = first_zero(against(one, *word)) | first_zero(against(other, *word));
        if found != 0 {
            return Some(index * 8 + index_of_first(found));
        }
    }
    let done = words.len() * 8;
    memchr2(one, other, &text[done..]).map(|at| done + at)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_is_found_is_what_memchr_finds(text in prop::collection::vec(prop::sample::select(&b"\0\x01:;\"\\\x7f\x80\xba\xff"[..]), 0..80), a: u8) {
            for byte in [b':', b'"', 0, 0xff, 0x80, a] {
                prop_assert_eq!(find(byte, &text), memchr(byte, &text));
                prop_assert_eq!(find_either(byte, b'\\', &text), memchr2(byte, b'\\', &text));
            }
        }

        #[test]
        fn what_is_far_is_found_too(before in 0..200_usize, after in 0..20_usize) {
            let text = [vec![b'x'; before], vec![b'"'], vec![b'"'; after]].concat();
            prop_assert_eq!(find(b'"', &text), Some(before));
            prop_assert_eq!(find_either(b'\\', b'"', &text), Some(before));
            prop_assert_eq!(find(b'y', &text), None);
        }
    }
}
