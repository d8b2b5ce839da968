//! One TLS handshake, and all that is wrong with what the server shows.
//!
//! The invariant: **a certificate that librdkafka would refuse has a complaint here.** It is checked by the same OpenSSL against the same authorities and the same host name. But where
//! librdkafka ends the connection at the first thing that is wrong, this goes on and collects every one: nothing is sent on the connection, so that nobody is believed.

use std::fmt;
use std::net::{IpAddr, TcpStream};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use openssl::error::ErrorStack;
use openssl::pkey::{PKey, Private};
use openssl::ssl::{Ssl, SslContext, SslContextBuilder, SslMethod, SslVerifyMode};
use openssl::x509::{X509, X509NameRef, X509Ref, X509StoreContextRef};

use super::validity;
use crate::settings::ProducerSettings;

/// What the server has shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Handshake {
    /// The version of TLS, such as `TLSv1.3`.
    pub version: &'static str,
    /// The server's certificate.
    pub certificate: Option<Shown>,
    /// What is wrong with it or with those who vouch for it; each kind once.
    pub complaints: Vec<Complaint>,
}

/// A certificate.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Shown {
    /// Whom it is for.
    pub subject: String,
    /// Who has issued it.
    pub issuer: String,
    /// The host names and addresses that it is for.
    pub names: Vec<String>,
    /// When it ends to be valid, in seconds since the Unix epoch.
    pub ends_s: Option<i64>,
}

/// Something that is wrong with a certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Complaint {
    /// What kind of thing.
    pub kind: ComplaintKind,
    /// OpenSSL's word for it, with the certificate that it is about.
    pub text: String,
}

/// What can be wrong with a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ComplaintKind {
    /// Its time is over, or has not come yet.
    Time,
    /// It is for another host.
    HostName,
    /// None of the authorities that are trusted vouches for it.
    Authority,
    /// Something else.
    Other,
}

/// Why there is no handshake.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HandshakeError {
    /// The authorities that are trusted cannot be read.
    Trust(String),
    /// The client's own certificate or key cannot be read.
    Identity(String),
    /// Server and client do not come to terms.
    Refused(String),
}

impl fmt::Display for HandshakeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Trust(reason) => write!(f, "the authorities that are trusted cannot be read: {reason}"),
            Self::Identity(reason) => write!(f, "the client's certificate or key cannot be read: {reason}"),
            Self::Refused(reason) => write!(f, "there is no TLS handshake: {reason}"),
        }
    }
}

impl std::error::Error for HandshakeError {}

/// Shakes hands over `stream`, which is connected to `host` and has time limits, as a client with `settings` does.
///
/// # Errors
/// See [`HandshakeError`].
pub fn shake(
    stream: TcpStream,
    host: &str,
    settings: &ProducerSettings,
) -> Result<Handshake, HandshakeError> {
    let complaints = Arc::new(Mutex::new(Vec::new()));
    let context = context(settings, Arc::clone(&complaints))?;
    let refused = |reason: String| HandshakeError::Refused(reason);
    let ssl = client(&context, host, settings).map_err(|error| refused(error.to_string()))?;
    let connected = ssl.connect(stream).map_err(|error| refused(error.to_string()))?;
    let certificate = connected.ssl().peer_certificate();
    let complaints = std::mem::take(&mut *complaints.lock().unwrap_or_else(PoisonError::into_inner));
    Ok(Handshake {
        version: connected.ssl().version_str(),
        certificate: certificate.as_deref().map(shown),
        complaints,
    })
}

/// When the first of the client's own certificates ends to be valid, in seconds since the Unix epoch; `None` if it has none.
pub fn own_end_s(settings: &ProducerSettings) -> Option<i64> {
    let pem = text_of(settings, "ssl.certificate.pem", "ssl.certificate.location")?.ok()?;
    validity::ends(&pem).into_iter().min()
}

fn context(
    settings: &ProducerSettings,
    complaints: Arc<Mutex<Vec<Complaint>>>,
) -> Result<SslContext, HandshakeError> {
    let mut builder = SslContext::builder(SslMethod::tls_client())
        .map_err(|error| HandshakeError::Refused(error.to_string()))?;
    trust(&mut builder, settings).map_err(HandshakeError::Trust)?;
    identify(&mut builder, settings).map_err(HandshakeError::Identity)?;
    if let Some(suites) = settings.property("ssl.cipher.suites") {
        builder.set_cipher_list(suites).map_err(|error| HandshakeError::Refused(error.to_string()))?;
    }
    builder.set_verify_callback(SslVerifyMode::PEER, move |is_sound, certificates| {
        if !is_sound {
            note(&mut complaints.lock().unwrap_or_else(PoisonError::into_inner), certificates);
        }
        true
    });
    Ok(builder.build())
}

fn client(context: &SslContext, host: &str, settings: &ProducerSettings) -> Result<Ssl, ErrorStack> {
    let mut ssl = Ssl::new(context)?;
    let address = host.parse::<IpAddr>().ok();
    if address.is_none() {
        ssl.set_hostname(host)?;
    }
    if settings.property("ssl.endpoint.identification.algorithm") != Some("none") {
        match address {
            Some(address) => ssl.param_mut().set_ip(address)?,
            None => ssl.param_mut().set_host(host)?,
        }
    }
    Ok(ssl)
}

/// Takes the authorities from where librdkafka does.
fn trust(builder: &mut SslContextBuilder, settings: &ProducerSettings) -> Result<(), String> {
    if let Some(pem) = settings.property("ssl.ca.pem") {
        let authorities = X509::stack_from_pem(pem.as_bytes()).map_err(|error| error.to_string())?;
        let store = builder.cert_store_mut();
        return authorities
            .into_iter()
            .try_for_each(|one| store.add_cert(one))
            .map_err(|error| error.to_string());
    }
    let place = settings.property("ssl.ca.location").unwrap_or("probe");
    if place != "probe" {
        return load(builder, Path::new(place));
    }
    let found = openssl_probe::probe();
    for place in found.cert_file.iter().chain(&found.cert_dir) {
        load(builder, place)?;
    }
    Ok(())
}

fn load(builder: &mut SslContextBuilder, place: &Path) -> Result<(), String> {
    let (file, directory) = if place.is_dir() { (None, Some(place)) } else { (Some(place), None) };
    builder.load_verify_locations(file, directory).map_err(|error| format!("{}: {error}", place.display()))
}

fn identify(builder: &mut SslContextBuilder, settings: &ProducerSettings) -> Result<(), String> {
    let Some(chain) = text_of(settings, "ssl.certificate.pem", "ssl.certificate.location") else {
        return Ok(());
    };
    let Some(key) = text_of(settings, "ssl.key.pem", "ssl.key.location") else { return Ok(()) };
    let told = |error: ErrorStack| error.to_string();
    let mut chain = X509::stack_from_pem(&chain?).map_err(told)?.into_iter();
    if let Some(own) = chain.next() {
        builder.set_certificate(&own).map_err(told)?;
    }
    for other in chain {
        builder.add_extra_chain_cert(other).map_err(told)?;
    }
    let key = private_key(&key?, settings).map_err(told)?;
    builder.set_private_key(&key).map_err(told)
}

fn private_key(pem: &[u8], settings: &ProducerSettings) -> Result<PKey<Private>, ErrorStack> {
    match settings.property("ssl.key.password") {
        Some(password) => PKey::private_key_from_pem_passphrase(pem, password.as_bytes()),
        None => PKey::private_key_from_pem(pem),
    }
}

/// A text that one property holds, or the file that another names; `None` if neither is set.
fn text_of(settings: &ProducerSettings, pem: &str, location: &str) -> Option<Result<Vec<u8>, String>> {
    if let Some(pem) = settings.property(pem) {
        return Some(Ok(pem.as_bytes().to_vec()));
    }
    let path = settings.property(location)?;
    Some(std::fs::read(path).map_err(|error| format!("{path}: {error}")))
}

/// Adds a complaint, unless there is one of its kind.
fn note(complaints: &mut Vec<Complaint>, certificates: &X509StoreContextRef) {
    let error = certificates.error();
    let kind = kind_of(error.as_raw());
    if complaints.iter().any(|known| known.kind == kind) {
        return;
    }
    let of = certificates.current_cert().map(|one| format!(" ({})", name(one.subject_name())));
    complaints.push(Complaint { kind, text: format!("{}{}", error.error_string(), of.unwrap_or_default()) });
}

/// By the numbers of OpenSSL's `x509_vfy.h`, which `X509_verify_cert` documents.
fn kind_of(error: i32) -> ComplaintKind {
    match error {
        9 | 10 => ComplaintKind::Time,
        62 | 64 => ComplaintKind::HostName,
        2 | 18..=21 => ComplaintKind::Authority,
        _ => ComplaintKind::Other,
    }
}

fn shown(certificate: &X509Ref) -> Shown {
    let names = certificate.subject_alt_names().into_iter().flatten().filter_map(|name| {
        name.dnsname().map(str::to_owned).or_else(|| Some(address(name.ipaddress()?)?.to_string()))
    });
    Shown {
        subject: name(certificate.subject_name()),
        issuer: name(certificate.issuer_name()),
        names: names.collect(),
        ends_s: validity::end(certificate),
    }
}

fn address(bytes: &[u8]) -> Option<IpAddr> {
    let four = <[u8; 4]>::try_from(bytes).map(IpAddr::from).ok();
    four.or_else(|| <[u8; 16]>::try_from(bytes).map(IpAddr::from).ok())
}

fn name(name: &X509NameRef) -> String {
    let parts = name.entries().filter_map(|entry| {
        let key = entry.object().nid().short_name().ok()?;
        Some(format!("{key}={}", entry.data().to_string().ok()?))
    });
    parts.collect::<Vec<_>>().join(",")
}
