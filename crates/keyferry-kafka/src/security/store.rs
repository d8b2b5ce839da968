//! Key and trust stores as Java has them, as the PEM texts that librdkafka takes.
//!
//! librdkafka reads keys from PKCS#12 files, but no authorities, and nothing of JKS. Reading the stores here serves what worked
//! with Kafka's Java client, and makes a rotated store a matter of new texts. Nothing is written to disk.

use std::fmt;

use openssl::error::ErrorStack;
use openssl::pkcs12::{ParsedPkcs12_2, Pkcs12};
use openssl::pkey::PKey;
use openssl::x509::{X509, X509Ref};
use thiserror::Error;

use crate::security::jks;

/// What a store holds.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Store {
    /// The certificates that are not the client's own, as PEM: authorities, if it is a trust store.
    pub authorities: String,
    /// The client's own key and certificate.
    pub identity: Option<Identity>,
}

/// A key and the certificate that belongs to it.
#[derive(PartialEq, Eq)]
pub struct Identity {
    /// The certificate and its chain, as PEM.
    pub certificates: String,
    /// The private key, as PEM without a password. Never log it.
    pub key: String,
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity").field("certificates", &self.certificates).finish_non_exhaustive()
    }
}

/// What opens a store.
#[derive(Clone, Copy, Default)]
pub struct Passwords<'a> {
    /// That of the store. A trust store can be read without it; its integrity is then not checked.
    pub store: Option<&'a str>,
    /// That of the key, where it is another than the store's; JKS only.
    pub key: Option<&'a str>,
}

/// Why a store cannot be read.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum StoreError {
    /// Nothing fits the password.
    #[error("the password is wrong, or the store is damaged")]
    Password,
    /// The password of the key does not fit.
    #[error("the key's password is wrong (`ssl-key-password`; without it that of the store is tried)")]
    KeyPassword,
    /// It is no store, or only a part of one.
    #[error("it is neither a PKCS#12 nor a JKS store, or it is damaged")]
    Damaged,
    /// It holds more keys than one.
    #[error("it holds {0} keys, and the agent cannot know which one to show: keep one of them")]
    SeveralKeys(usize),
    /// Its algorithms are not supported any more.
    #[error(
        "it is encrypted as before 2021, which OpenSSL refuses: write it anew with \
         `keytool -importkeystore -srckeystore OLD -destkeystore NEW -deststoretype PKCS12`"
    )]
    Outdated,
    /// OpenSSL refuses what it holds.
    #[error("OpenSSL refuses a key or certificate of it: {0}")]
    Refused(String),
}

impl Store {
    /// Reads a store, PKCS#12 or JKS, whatever its first bytes say.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub fn open(bytes: &[u8], passwords: Passwords<'_>) -> Result<Self, StoreError> {
        if jks::is_jks(bytes) { from_jks(bytes, passwords) } else { from_pkcs12(bytes, passwords) }
    }
}

fn from_pkcs12(bytes: &[u8], passwords: Passwords<'_>) -> Result<Store, StoreError> {
    let store = Pkcs12::from_der(bytes).map_err(|_| StoreError::Damaged)?;
    let parsed = store.parse2(passwords.store.unwrap_or_default()).map_err(|errors| refusal(&errors))?;
    let ParsedPkcs12_2 { pkey, cert, ca } = parsed;
    let others: Vec<X509> = ca.into_iter().flatten().collect();
    let authorities = pem(others.iter().map(|certificate| &**certificate))?;
    let identity = match (pkey, cert) {
        (Some(key), Some(certificate)) => {
            let key = key.private_key_to_pem_pkcs8().map_err(refused)?;
            let chain = std::iter::once(&*certificate).chain(others.iter().map(|other| &**other));
            Some(Identity { certificates: pem(chain)?, key: text(key)? })
        }
        _ => None,
    };
    Ok(Store { authorities, identity })
}

fn from_jks(bytes: &[u8], passwords: Passwords<'_>) -> Result<Store, StoreError> {
    let entries = jks::entries(bytes, passwords.store)?;
    let mut authorities = String::new();
    for certificate in &entries.trusted {
        authorities.push_str(&pem([&*X509::from_der(certificate).map_err(refused)?])?);
    }
    let identity = match entries.keys.as_slice() {
        [] => None,
        [entry] => {
            let password = passwords.key.or(passwords.store).unwrap_or_default();
            let key = PKey::private_key_from_pkcs8(&entry.open(password)?).map_err(refused)?;
            let chain = entry.chain.iter().map(|certificate| X509::from_der(certificate));
            let chain = chain.collect::<Result<Vec<_>, _>>().map_err(refused)?;
            let key = text(key.private_key_to_pem_pkcs8().map_err(refused)?)?;
            Some(Identity { certificates: pem(chain.iter().map(|certificate| &**certificate))?, key })
        }
        several => return Err(StoreError::SeveralKeys(several.len())),
    };
    Ok(Store { authorities, identity })
}

fn pem<'a>(certificates: impl IntoIterator<Item = &'a X509Ref>) -> Result<String, StoreError> {
    let texts = certificates.into_iter().map(|certificate| text(certificate.to_pem().map_err(refused)?));
    texts.collect()
}

fn text(pem: Vec<u8>) -> Result<String, StoreError> {
    String::from_utf8(pem).map_err(|_| StoreError::Damaged)
}

/// OpenSSL tells a wrong password by the checksum that does not fit, and an algorithm that it has given up as unsupported.
fn refusal(errors: &ErrorStack) -> StoreError {
    let tells = |word: &str| {
        errors.errors().iter().filter_map(openssl::error::Error::reason).any(|reason| reason.contains(word))
    };
    if tells("unsupported") { StoreError::Outdated } else { StoreError::Password }
}

fn refused(errors: ErrorStack) -> StoreError {
    let reason = errors.errors().first().and_then(openssl::error::Error::reason);
    StoreError::Refused(reason.unwrap_or("no reason given").to_owned())
}
