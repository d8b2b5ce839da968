//! Keyed hashes: who has the key can join and look up, who has not learns nothing.

use std::fmt;
use std::sync::Arc;

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;

/// How many bytes of a hash are written: 2⁶⁴ different values are to be expected before two of them share one.
const WRITTEN: usize = 16;

/// The key of the hashes. Never shown.
#[derive(Clone)]
pub struct HashKey(Arc<Hmac<Sha256>>);

/// The key is too short to be one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a key of at least {} bytes, such as the output of `openssl rand -hex 32`", HashKey::SHORTEST)]
pub struct ShortKey;

impl HashKey {
    /// A shorter key could be guessed, in bytes.
    pub const SHORTEST: usize = 16;

    /// The key `key`, of any bytes.
    ///
    /// # Errors
    /// It is too short.
    pub fn new(key: &[u8]) -> Result<Self, ShortKey> {
        if key.len() < Self::SHORTEST {
            return Err(ShortKey);
        }
        Hmac::new_from_slice(key).map(|mac| Self(Arc::new(mac))).map_err(|_| ShortKey)
    }

    /// Writes the hash of `text` to the end of `hash`: the first half of HMAC-SHA256 ([RFC 2104](https://www.rfc-editor.org/rfc/rfc2104)), in small hexadecimal digits.
    pub(crate) fn write_hash(&self, text: &[u8], hash: &mut Vec<u8>) {
        let mut mac = Hmac::clone(&self.0);
        mac.update(text);
        for byte in &mac.finalize().into_bytes()[..WRITTEN] {
            hash.extend([byte >> 4, byte & 15].map(|digit| b"0123456789abcdef"[usize::from(digit)]));
        }
    }
}

impl fmt::Debug for HashKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("HashKey")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Test case 1 of [RFC 4231](https://www.rfc-editor.org/rfc/rfc4231#section-4.2).
    #[test]
    fn the_hash_is_that_of_everybody() {
        let mut hash = Vec::new();
        HashKey::new(&[0x0b; 20]).unwrap().write_hash(b"Hi There", &mut hash);
        assert_eq!(hash, b"b0344c61d8db38535ca8afceaf0bf12b");
    }

    #[test]
    fn a_short_key_is_refused() {
        assert!(HashKey::new(b"0123456789abcde").is_err() && HashKey::new(b"0123456789abcdef").is_ok());
    }
}
