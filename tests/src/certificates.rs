//! Certificates of the tests' own authorities, good ones and bad ones.

use openssl::asn1::Asn1Time;
use openssl::bn::{BigNum, MsbOption};
use openssl::ec::{EcGroup, EcKey};
use openssl::error::ErrorStack;
use openssl::hash::MessageDigest;
use openssl::nid::Nid;
use openssl::pkcs12::Pkcs12;
use openssl::pkey::{PKey, Private};
use openssl::x509::extension::{BasicConstraints, KeyUsage, SubjectAlternativeName};
use openssl::x509::{X509, X509Builder, X509Name};

use crate::{Error, Result};

const DAY: i64 = 86_400;

/// A certificate and its key.
pub struct Certificate {
    certificate: X509,
    key: PKey<Private>,
}

/// When a certificate is valid.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Validity {
    /// From yesterday to tomorrow.
    Now,
    /// From yesterday for a year.
    Long,
    /// It ended an hour ago.
    Expired,
}

impl Certificate {
    /// An authority, for a year.
    ///
    /// # Errors
    /// Where OpenSSL refuses.
    pub fn authority(name: &str) -> Result<Self> {
        made(|| {
            let key = new_key()?;
            let mut builder = begin(name, &key, Validity::Long)?;
            builder.set_issuer_name(&*named(name)?)?;
            builder.append_extension(BasicConstraints::new().critical().ca().build()?)?;
            builder.append_extension(KeyUsage::new().critical().key_cert_sign().crl_sign().build()?)?;
            builder.sign(&key, MessageDigest::sha256())?;
            Ok(Self { certificate: builder.build(), key })
        })
    }

    /// A certificate that this authority has issued, for a server of the name `host` where there is one.
    ///
    /// # Errors
    /// Where OpenSSL refuses.
    pub fn issue(&self, name: &str, host: Option<&str>, validity: Validity) -> Result<Self> {
        made(|| {
            let key = new_key()?;
            let mut builder = begin(name, &key, validity)?;
            builder.set_issuer_name(self.certificate.subject_name())?;
            if let Some(host) = host {
                let names = SubjectAlternativeName::new()
                    .dns(host)
                    .build(&builder.x509v3_context(Some(&self.certificate), None))?;
                builder.append_extension(names)?;
            }
            builder.sign(&self.key, MessageDigest::sha256())?;
            Ok(Self { certificate: builder.build(), key })
        })
    }

    /// The certificate as PEM.
    ///
    /// # Errors
    /// Where OpenSSL refuses.
    pub fn pem(&self) -> Result<String> {
        made(|| self.certificate.to_pem()).map(text)
    }

    /// The key as PEM (PKCS#8, no password).
    ///
    /// # Errors
    /// Where OpenSSL refuses.
    pub fn key_pem(&self) -> Result<String> {
        made(|| self.key.private_key_to_pem_pkcs8()).map(text)
    }

    /// Key and certificate as a PKCS#12 store.
    ///
    /// # Errors
    /// Where OpenSSL refuses.
    pub fn pkcs12(&self, password: &str) -> Result<Vec<u8>> {
        made(|| {
            let mut builder = Pkcs12::builder();
            builder.name("keyferry").pkey(&self.key).cert(&self.certificate);
            builder.build2(password)?.to_der()
        })
    }
}

fn begin(name: &str, key: &PKey<Private>, validity: Validity) -> Result<X509Builder, ErrorStack> {
    let mut builder = X509::builder()?;
    builder.set_version(2)?;
    let mut serial = BigNum::new()?;
    serial.rand(127, MsbOption::MAYBE_ZERO, false)?;
    let serial = serial.to_asn1_integer()?;
    builder.set_serial_number(&serial)?;
    let subject = named(name)?;
    builder.set_subject_name(&subject)?;
    builder.set_pubkey(key)?;
    let now = now();
    let end = match validity {
        Validity::Now => now + DAY,
        Validity::Long => now + 365 * DAY,
        Validity::Expired => now - 3_600,
    };
    let (begin, end) = (Asn1Time::from_unix(now - DAY)?, Asn1Time::from_unix(end)?);
    builder.set_not_before(&begin)?;
    builder.set_not_after(&end)?;
    Ok(builder)
}

fn named(name: &str) -> Result<X509Name, ErrorStack> {
    let mut builder = X509Name::builder()?;
    builder.append_entry_by_nid(Nid::COMMONNAME, name)?;
    Ok(builder.build())
}

fn new_key() -> Result<PKey<Private>, ErrorStack> {
    let group = EcGroup::from_curve_name(Nid::X9_62_PRIME256V1)?;
    PKey::from_ec_key(EcKey::generate(&group)?)
}

fn now() -> i64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(now.as_secs()).unwrap_or(i64::MAX)
}

fn made<T>(make: impl FnOnce() -> Result<T, ErrorStack>) -> Result<T> {
    make().map_err(|errors| Error::Missing(format!("OpenSSL makes no certificate: {errors}")))
}

fn text(pem: Vec<u8>) -> String {
    String::from_utf8_lossy(&pem).into_owned()
}
