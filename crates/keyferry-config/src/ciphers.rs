//! Java's names of the TLS 1.2 cipher suites, which OpenSSL calls otherwise.

use crate::input::{ParseResult, Parsed, Rejected, expected};

/// The suites that a current JDK and OpenSSL share and that are not broken: Java's name, OpenSSL's name.
const SUITES: [(&str, &str); 14] = [
    ("TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384", "ECDHE-ECDSA-AES256-GCM-SHA384"),
    ("TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256", "ECDHE-ECDSA-AES128-GCM-SHA256"),
    ("TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256", "ECDHE-ECDSA-CHACHA20-POLY1305"),
    ("TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384", "ECDHE-RSA-AES256-GCM-SHA384"),
    ("TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256", "ECDHE-RSA-AES128-GCM-SHA256"),
    ("TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256", "ECDHE-RSA-CHACHA20-POLY1305"),
    ("TLS_DHE_RSA_WITH_AES_256_GCM_SHA384", "DHE-RSA-AES256-GCM-SHA384"),
    ("TLS_DHE_RSA_WITH_AES_128_GCM_SHA256", "DHE-RSA-AES128-GCM-SHA256"),
    ("TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA384", "ECDHE-ECDSA-AES256-SHA384"),
    ("TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA384", "ECDHE-RSA-AES256-SHA384"),
    ("TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA256", "ECDHE-ECDSA-AES128-SHA256"),
    ("TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA256", "ECDHE-RSA-AES128-SHA256"),
    ("TLS_RSA_WITH_AES_256_GCM_SHA384", "AES256-GCM-SHA384"),
    ("TLS_RSA_WITH_AES_128_GCM_SHA256", "AES128-GCM-SHA256"),
];

/// The suites of TLS 1.3, which OpenSSL allows whatever list it is given.
const TLS_1_3_SUITES: [&str; 3] =
    ["TLS_AES_256_GCM_SHA384", "TLS_AES_128_GCM_SHA256", "TLS_CHACHA20_POLY1305_SHA256"];

/// Java's list, separated by commas, as OpenSSL's; `None` if it names suites of TLS 1.3 only.
pub(crate) fn from_java(list: &str) -> ParseResult<Option<String>> {
    let names = list.split(',').map(str::trim).filter(|name| !name.is_empty());
    let mut translated = Vec::new();
    for name in names.filter(|name| !TLS_1_3_SUITES.contains(name)) {
        translated.push(to_openssl(name)?);
    }
    if list.trim().is_empty() {
        return Err(expected("cipher suites, separated by commas"));
    }
    Ok(Parsed::as_given((!translated.is_empty()).then(|| translated.join(":"))))
}

fn to_openssl(name: &str) -> Result<&'static str, Rejected> {
    let suite = SUITES.iter().find(|(java, openssl)| *java == name || *openssl == name);
    suite.map(|(_, openssl)| *openssl).ok_or_else(|| {
        Rejected::Refused(format!(
            "the cipher suite `{}` has no known OpenSSL name: give the suites by their OpenSSL names in the key \
             `destination.security.tls.cipher_suites`",
            name.escape_debug()
        ))
    })
}
