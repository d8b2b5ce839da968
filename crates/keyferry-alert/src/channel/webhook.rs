//! Any HTTP server: a template, a signature, and a proof of who is writing.

use hmac::{Hmac, KeyInit as _, Mac as _};
use keyferry_config::Secret;
use sha2::Sha256;

use super::{Auth, Request, Reveal, Webhook};
use crate::error::Error;
use crate::notice::Notice;

/// The header with the signature: `sha256=` and 64 hexadecimal digits.
pub const SIGNATURE: &str = "x-keyferry-signature";
/// The header with the time that is signed as well, in milliseconds since the Unix epoch, so that a receiver can refuse what is old.
pub const TIMESTAMP: &str = "x-keyferry-timestamp";

impl Webhook {
    pub(super) fn request(
        &self,
        notice: &Notice,
        place: &str,
        reveal: Reveal<'_>,
        now_ms: u64,
    ) -> Result<Request, Error> {
        let wrong = |wrong: String| Error::Setting { place: place.to_owned(), wrong };
        let body = match &self.template {
            Some(template) => template.fill(notice, self.content_type.contains("json")).into_bytes(),
            None => serde_json::to_vec(notice).map_err(|error| wrong(error.to_string()))?,
        };
        let mut headers = vec![("content-type".to_owned(), Secret::new(self.content_type.clone()))];
        headers.extend(Auth::header(self.auth.as_ref(), place, reveal)?);
        if let Some(secret) = &self.hmac_secret {
            let signature = signature(&secret.reveal(place, reveal)?, now_ms, &body).map_err(wrong)?;
            headers.push((TIMESTAMP.to_owned(), Secret::new(now_ms.to_string())));
            headers.push((SIGNATURE.to_owned(), Secret::new(signature)));
        }
        Ok(Request { method: self.method, url: self.url.reveal(place, reveal)?, headers, body })
    }
}

/// HMAC (RFC 2104) with SHA-256 over the time, a full stop and the body.
fn signature(secret: &Secret, now_ms: u64, body: &[u8]) -> Result<String, String> {
    let mut mac =
        Hmac::<Sha256>::new_from_slice(secret.expose().as_bytes()).map_err(|error| error.to_string())?;
    mac.update(format!("{now_ms}.").as_bytes());
    mac.update(body);
    let digits: Vec<String> = mac.finalize().into_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
    Ok(format!("sha256={}", digits.concat()))
}

/// RFC 4648, section 4.
pub(super) fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let bits =
            (0..3).fold(0_usize, |bits, place| bits << 8 | usize::from(*chunk.get(place).unwrap_or(&0)));
        for place in 0..4 {
            let digit = DIGITS[bits >> (18 - 6 * place) & 63];
            text.push(if place <= chunk.len() { char::from(digit) } else { '=' });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_is_that_of_every_other_implementation() {
        // printf '1700000000000.{}' | openssl dgst -sha256 -hmac key
        let signature = signature(&Secret::new("key"), 1_700_000_000_000, b"{}").unwrap();
        assert_eq!(signature, "sha256=36a72f4525d3323bd0f238fe82098164fb77b1e42288ff8e07b074c686178ad3");
    }

    #[test]
    fn base64_is_that_of_the_rfc() {
        for (bytes, text) in
            [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foobar", "Zm9vYmFy")]
        {
            assert_eq!(base64(bytes.as_bytes()), text);
        }
    }
}
