//! Until when certificates are valid.

use openssl::asn1::Asn1Time;
use openssl::x509::{X509, X509Ref};

const DAY_S: i64 = 86_400;

/// When the certificates of a PEM text end to be valid, in seconds since the Unix epoch and in their order. Empty where there are none, or something else.
pub fn ends(pem: &[u8]) -> Vec<i64> {
    let certificates = X509::stack_from_pem(pem).unwrap_or_default();
    certificates.iter().filter_map(|certificate| end(certificate)).collect()
}

/// When a certificate ends to be valid, in seconds since the Unix epoch.
pub(crate) fn end(certificate: &X509Ref) -> Option<i64> {
    let since_epoch = Asn1Time::from_unix(0).ok()?.diff(certificate.not_after()).ok()?;
    Some(i64::from(since_epoch.days) * DAY_S + i64::from(since_epoch.secs))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use openssl::hash::MessageDigest;
    use openssl::pkey::PKey;
    use openssl::rsa::Rsa;

    use super::*;

    fn certificate(end_s: i64) -> Vec<u8> {
        let key = PKey::from_rsa(Rsa::generate(2048).unwrap()).unwrap();
        let mut certificate = X509::builder().unwrap();
        certificate.set_pubkey(&key).unwrap();
        certificate.set_not_before(&Asn1Time::from_unix(0).unwrap()).unwrap();
        certificate.set_not_after(&Asn1Time::from_unix(end_s).unwrap()).unwrap();
        certificate.sign(&key, MessageDigest::sha256()).unwrap();
        certificate.build().to_pem().unwrap()
    }

    #[test]
    fn each_certificate_of_a_chain_has_its_end() {
        let chain = [certificate(2_000_000_007), certificate(1_700_000_000)].concat();
        assert_eq!(ends(&chain), [2_000_000_007, 1_700_000_000]);
        assert!(ends(b"no certificate").is_empty());
    }
}
