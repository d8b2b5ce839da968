//! What kind of file a key or trust store is.
//!
//! The name and the declared type of a Java store prove nothing: `keytool` has written PKCS#12 into files called `.jks`
//! since Java 9, and Java reads either whatever is declared. So the first bytes decide, and the declaration only where the
//! file cannot be read (yet).

use std::fs::File;
use std::io::Read;
use std::path::Path;

use crate::secret::Secret;

/// Opens a store, PKCS#12 or JKS. What is wrong is told in words, without anything that was read.
///
/// It is handed in by [`Sources::with_stores`](crate::Sources::with_stores), because this crate has no cryptography.
pub type OpenStore = fn(&[u8], StorePasswords<'_>) -> Result<OpenedStore, String>;

/// What opens a store.
#[derive(Clone, Copy)]
pub struct StorePasswords<'a> {
    /// That of the store.
    pub store: Option<&'a Secret>,
    /// That of the key, where it is another one.
    pub key: Option<&'a Secret>,
}

/// What a store holds.
pub struct OpenedStore {
    /// The certificates that are not the client's own, as PEM; empty if there is none.
    pub authorities: String,
    /// The client's own certificate and key.
    pub identity: Option<StoreIdentity>,
}

/// A certificate and its key.
pub struct StoreIdentity {
    /// The certificate and its chain, as PEM.
    pub certificates: String,
    /// The private key, as PEM without a password.
    pub key: Secret,
}

/// The format of a key or trust store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum StoreFormat {
    Pem,
    Pkcs12,
    Jks,
}

impl crate::input::Keyword for StoreFormat {
    const ALL: &'static [Self] = &[Self::Pem, Self::Pkcs12, Self::Jks];

    fn spelling(self) -> &'static str {
        match self {
            Self::Pem => "PEM",
            Self::Pkcs12 => "PKCS12",
            Self::Jks => "JKS",
        }
    }
}

/// The magic numbers of `sun.security.provider.JavaKeyStore` and of its JCEKS variant.
const JKS_MAGIC: [[u8; 4]; 2] = [[0xFE, 0xED, 0xFE, 0xED], [0xCE, 0xCE, 0xCE, 0xCE]];

/// An ASN.1 SEQUENCE, which a PKCS#12 file is.
const DER_SEQUENCE: u8 = 0x30;

impl StoreFormat {
    /// The format of the file at `path`; where it cannot be read, the declared one, and failing that the one its name
    /// suggests.
    pub(crate) fn of(path: &Path, declared: Option<Self>) -> Option<Self> {
        Self::by_content(path).or(declared).or_else(|| Self::by_name(path))
    }

    fn by_content(path: &Path) -> Option<Self> {
        let mut beginning = [0; 4];
        File::open(path).ok()?.read_exact(&mut beginning).ok()?;
        if JKS_MAGIC.contains(&beginning) {
            Some(Self::Jks)
        } else if beginning[0] == DER_SEQUENCE && !beginning[1].is_ascii() {
            Some(Self::Pkcs12)
        } else {
            beginning.iter().all(u8::is_ascii).then_some(Self::Pem)
        }
    }

    fn by_name(path: &Path) -> Option<Self> {
        match path.extension()?.to_str()?.to_ascii_lowercase().as_str() {
            "pem" | "crt" | "cer" | "key" => Some(Self::Pem),
            "p12" | "pfx" | "pkcs12" => Some(Self::Pkcs12),
            "jks" | "jceks" => Some(Self::Jks),
            _ => None,
        }
    }
}
