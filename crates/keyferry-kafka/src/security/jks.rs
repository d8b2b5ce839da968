//! Java's own key store format, JKS, as `sun.security.provider.JavaKeyStore` of the JDK writes it.
//!
//! Java writes PKCS#12 since version 9; the format has been frozen since, and no well-kept library reads it, which is why it is read
//! here. All numbers are big endian:
//!
//! ```text
//! magic (4)  version (4)  count (4)  entry…  SHA-1 of (password, "Mighty Aphrodite", everything before) (20)
//! entry: 1 (4)  alias (2 + n)  time (8)  key (4 + n)  count (4)  certificate…       a key and its chain
//!        2 (4)  alias (2 + n)  time (8)  certificate                                a trusted certificate
//! certificate: type (2 + n, from version 2 on)  DER (4 + n)
//! ```
//!
//! A key is an `EncryptedPrivateKeyInfo` of Sun's own algorithm: a salt of 20 bytes, the key combined by exclusive or with the chain of
//! SHA-1 sums that begins with the salt, and the SHA-1 sum of password and key. Passwords are UTF-16, big endian.

use openssl::sha::Sha1;

use crate::security::store::StoreError;

const MAGIC: u32 = 0xFEED_FEED;
/// Of the variant JCEKS: the same but for the encryption of keys.
const MAGIC_JCEKS: u32 = 0xCECE_CECE;
const KEY: u32 = 1;
const TRUSTED_CERTIFICATE: u32 = 2;
const DIGEST_LENGTH: usize = 20;
const WHITENER: &[u8] = b"Mighty Aphrodite";
/// 1.3.6.1.4.1.42.2.17.1.1
const SUN_KEY_PROTECTOR: &[u8] = &[0x2B, 0x06, 0x01, 0x04, 0x01, 0x2A, 0x02, 0x11, 0x01, 0x01];
const DER_SEQUENCE: u8 = 0x30;
const DER_OID: u8 = 0x06;
const DER_OCTETS: u8 = 0x04;

/// What a store holds; certificates as DER.
#[derive(Default)]
pub(super) struct Entries<'a> {
    pub(super) keys: Vec<ProtectedKey<'a>>,
    pub(super) trusted: Vec<&'a [u8]>,
}

/// A key as the store has it, and its certificates.
pub(super) struct ProtectedKey<'a> {
    info: &'a [u8],
    pub(super) chain: Vec<&'a [u8]>,
}

/// Whether the bytes begin as a store of this format does.
pub(super) fn is_jks(bytes: &[u8]) -> bool {
    let magic = Reader(bytes).number();
    matches!(magic, Some(MAGIC | MAGIC_JCEKS))
}

/// Everything that the store holds, once its checksum fits `password`; without a password it is not checked, as Java does.
pub(super) fn entries<'a>(bytes: &'a [u8], password: Option<&str>) -> Result<Entries<'a>, StoreError> {
    let length = bytes.len().checked_sub(DIGEST_LENGTH).ok_or(StoreError::Damaged)?;
    let (content, digest) = bytes.split_at(length);
    if password.is_some_and(|password| sha1(&[&utf16(password), WHITENER, content]) != digest) {
        return Err(StoreError::Password);
    }
    read(content).ok_or(StoreError::Damaged)
}

fn read(content: &[u8]) -> Option<Entries<'_>> {
    let mut reader = Reader(content);
    let _magic = reader.number()?;
    let version = reader.number()?;
    let count = reader.number()?;
    let mut entries = Entries::default();
    for _ in 0..count {
        let kind = reader.number()?;
        let _alias = reader.short()?;
        let _time = reader.take(8)?;
        match kind {
            KEY => {
                let info = reader.long()?;
                let certificates = reader.number()?;
                let chain = (0..certificates).map(|_| reader.certificate(version)).collect::<Option<_>>()?;
                entries.keys.push(ProtectedKey { info, chain });
            }
            TRUSTED_CERTIFICATE => entries.trusted.push(reader.certificate(version)?),
            _ => return None,
        }
    }
    Some(entries)
}

impl ProtectedKey<'_> {
    /// The key as PKCS#8 DER.
    pub(super) fn open(&self, password: &str) -> Result<Vec<u8>, StoreError> {
        let protected = self.protected().ok_or(StoreError::Outdated)?;
        let length = protected.len().checked_sub(2 * DIGEST_LENGTH).ok_or(StoreError::Damaged)?;
        let (salt, rest) = protected.split_at(DIGEST_LENGTH);
        let (encrypted, check) = rest.split_at(length);
        let password = utf16(password);
        let mut mask: [u8; DIGEST_LENGTH] = sha1(&[&password, salt]);
        let mut key = Vec::with_capacity(length);
        for block in encrypted.chunks(DIGEST_LENGTH) {
            key.extend(block.iter().zip(mask).map(|(byte, mask)| byte ^ mask));
            mask = sha1(&[&password, &mask]);
        }
        if sha1(&[&password, &key]) == check { Ok(key) } else { Err(StoreError::KeyPassword) }
    }

    /// What Sun's algorithm has protected; `None` if another one has.
    fn protected(&self) -> Option<&[u8]> {
        let (info, _) = der(self.info, DER_SEQUENCE)?;
        let (algorithm, data) = der(info, DER_SEQUENCE)?;
        let (oid, _) = der(algorithm, DER_OID)?;
        (oid == SUN_KEY_PROTECTOR).then_some(())?;
        der(data, DER_OCTETS).map(|(protected, _)| protected)
    }
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(taken)
    }

    fn number(&mut self) -> Option<u32> {
        self.take(4)?.try_into().ok().map(u32::from_be_bytes)
    }

    /// Bytes behind their number as 2 bytes.
    fn short(&mut self) -> Option<&'a [u8]> {
        let length: [u8; 2] = self.take(2)?.try_into().ok()?;
        self.take(usize::from(u16::from_be_bytes(length)))
    }

    /// Bytes behind their number as 4 bytes.
    fn long(&mut self) -> Option<&'a [u8]> {
        let length = self.number()?;
        self.take(usize::try_from(length).ok()?)
    }

    fn certificate(&mut self, version: u32) -> Option<&'a [u8]> {
        if version > 1 {
            self.short()?;
        }
        self.long()
    }
}

/// The content of the DER element that `bytes` begin with, if it has this tag, and what follows it.
fn der(bytes: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let (&found, rest) = bytes.split_first()?;
    (found == tag).then_some(())?;
    let (&first, rest) = rest.split_first()?;
    let (length, rest) = if first < 0x80 {
        (usize::from(first), rest)
    } else {
        let (digits, rest) = rest.split_at_checked(usize::from(first & 0x7F))?;
        (digits.len() <= 4).then_some(())?;
        (digits.iter().fold(0, |length, digit| length << 8 | usize::from(*digit)), rest)
    };
    rest.split_at_checked(length)
}

fn sha1(parts: &[&[u8]]) -> [u8; DIGEST_LENGTH] {
    let mut sum = Sha1::new();
    for part in parts {
        sum.update(part);
    }
    sum.finish()
}

fn utf16(password: &str) -> Vec<u8> {
    password.encode_utf16().flat_map(u16::to_be_bytes).collect()
}
