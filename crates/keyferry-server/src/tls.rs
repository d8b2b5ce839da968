//! TLS of a listener: certificate and key from files that may be renewed while it runs.
//!
//! The invariant: **a renewed certificate holds from the next connection on, and one that cannot be used takes nothing away.** The files are looked at when somebody connects, by name, so that a
//! link that comes to stand for another file is a change, and never otherwise: nothing is done while nobody asks. Between the writing of the one file and of the other the pair does not fit, and the one in use stays.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::pin::Pin;

use openssl::error::ErrorStack;
use openssl::ssl::{AlpnError, Ssl, SslAcceptor, SslContext, SslFiletype, SslMethod, select_next_proto};
use tokio::net::TcpStream;
use tokio_openssl::SslStream;

/// Where a listener's certificate is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFiles {
    /// The certificate, and behind it those that lead to its authority, as PEM.
    pub certificate: PathBuf,
    /// Its private key, as PEM without a password.
    pub key: PathBuf,
}

/// Why a certificate cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TlsError {
    #[error("cannot use the certificate {}, `api.tls.certificate`: {source}", path.display())]
    Certificate { path: PathBuf, source: ErrorStack },
    #[error("cannot use the key {}, `api.tls.key`: {source}", path.display())]
    Key { path: PathBuf, source: ErrorStack },
    #[error("the key {}, `api.tls.key`, is not that of the certificate {}, `api.tls.certificate`", key.display(), certificate.display())]
    NotAPair { certificate: PathBuf, key: PathBuf },
    #[error("cannot set up TLS: {0}")]
    Setup(#[from] ErrorStack),
}

/// A certificate in use, and the files that it came from.
#[derive(Debug)]
pub(crate) struct Tls {
    files: TlsFiles,
    context: SslContext,
    /// What the files were like when they were read last, whether they could be used or not.
    seen: [Option<Stamp>; 2],
}

impl Tls {
    pub(crate) fn open(files: TlsFiles) -> Result<Self, TlsError> {
        let seen = stamps(&files);
        Ok(Self { context: context(&files)?, files, seen })
    }

    /// With what is in the files now, if that can be used.
    pub(crate) fn current(&mut self) -> SslContext {
        let now = stamps(&self.files);
        if now != self.seen {
            self.seen = now;
            match context(&self.files) {
                Ok(context) => {
                    tracing::info!("the certificate of `api.listen` is renewed");
                    self.context = context;
                }
                Err(error) => tracing::warn!("{error}; the one in use stays"),
            }
        }
        self.context.clone()
    }
}

/// Greets a client.
pub(crate) async fn greet(stream: TcpStream, context: &SslContext) -> io::Result<SslStream<TcpStream>> {
    let mut stream = SslStream::new(Ssl::new(context)?, stream)?;
    Pin::new(&mut stream).accept().await.map_err(io::Error::other)?;
    Ok(stream)
}

/// Mozilla's intermediate configuration: TLS 1.2 and 1.3, forward secrecy, authenticated encryption.
fn context(files: &TlsFiles) -> Result<SslContext, TlsError> {
    let TlsFiles { certificate, key } = files;
    let mut acceptor = SslAcceptor::mozilla_intermediate_v5(SslMethod::tls_server())?;
    acceptor
        .set_certificate_chain_file(certificate)
        .map_err(|source| TlsError::Certificate { path: certificate.clone(), source })?;
    acceptor.set_private_key_file(key, SslFiletype::PEM).map_err(|source| {
        match acceptor_has_other_key(&source) {
            true => TlsError::NotAPair { certificate: certificate.clone(), key: key.clone() },
            false => TlsError::Key { path: key.clone(), source },
        }
    })?;
    acceptor
        .check_private_key()
        .map_err(|_| TlsError::NotAPair { certificate: certificate.clone(), key: key.clone() })?;
    acceptor.set_alpn_select_callback(|_, offered| {
        select_next_proto(b"\x08http/1.1", offered).ok_or(AlpnError::NOACK)
    });
    Ok(acceptor.build().into_context())
}

/// OpenSSL compares a key with the certificate when it is set.
fn acceptor_has_other_key(error: &ErrorStack) -> bool {
    error.errors().iter().any(|one| one.reason().is_some_and(|reason| reason.contains("mismatch")))
}

/// What does not stay the same when a file is written or another one takes its place.
#[derive(Debug, PartialEq, Eq)]
struct Stamp {
    device: u64,
    inode: u64,
    length: u64,
    modified: (i64, i64),
}

fn stamps(files: &TlsFiles) -> [Option<Stamp>; 2] {
    [stamp(&files.certificate), stamp(&files.key)]
}

fn stamp(path: &Path) -> Option<Stamp> {
    let metadata = fs::metadata(path).ok()?;
    Some(Stamp {
        device: metadata.dev(),
        inode: metadata.ino(),
        length: metadata.len(),
        modified: (metadata.mtime(), metadata.mtime_nsec()),
    })
}
