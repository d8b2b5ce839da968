//! Logging in to Amazon MSK with AWS credentials.
//!
//! The token is no token of an issuer's: it is the URL of a request to MSK that is never made, signed by the client with its AWS credentials (Signature Version 4, in the
//! query), in base 64. The broker asks AWS whether the signature is right. The form is that of Amazon's own signers for Kafka clients
//! ([aws-msk-iam-sasl-signer](https://github.com/aws/aws-msk-iam-sasl-signer-python)).
//!
//! The invariant: **the credentials are read anew for each token**, so that credentials which are rotated, in a file or by whoever lends them, are taken up by the next
//! token. [`credentials`] says where they come from.

pub mod credentials;

use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_credential_types::Credentials;
use aws_sigv4::http_request::{SignableBody, SignableRequest, SignatureLocation, SigningSettings, sign};
use aws_sigv4::sign::v4;
use openssl::base64;

use credentials::{CredentialsError, Environment};

/// librdkafka's property from which [`Login::of`] reads what it needs; its content is free.
pub const PROPERTY: &str = "sasl.oauthbearer.config";

/// How [`PROPERTY`] begins where it is ours.
const MARK: &str = "aws-msk-iam";

/// How long a token is valid: as long as Amazon's own signers let it be, the longest that MSK accepts.
const LIFE: Duration = Duration::from_secs(900);

/// What the URL names itself after.
const USER_AGENT: &str = concat!("keyferry/", env!("CARGO_PKG_VERSION"));

/// Where a client logs in, and as whom.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Login {
    /// The AWS region of the cluster.
    pub region: String,
    /// The profile of the shared credentials file; `None` for the first credentials that are found.
    pub profile: Option<String>,
}

impl Login {
    /// What [`PROPERTY`] says, if it is ours.
    pub fn of(property: &str) -> Option<Self> {
        let mut words = property.split(' ').filter(|word| !word.is_empty());
        if words.next() != Some(MARK) {
            return None;
        }
        let pairs: Vec<_> = words.filter_map(|word| word.split_once('=')).collect();
        let value =
            |name| pairs.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned());
        Some(Self { region: value("region")?, profile: value("profile") })
    }

    /// A token that is valid from `now` on, with the credentials of `environment`.
    ///
    /// # Errors
    /// There are no credentials, or they cannot be used.
    pub fn token(&self, environment: &dyn Environment, now: SystemTime) -> Result<Token, TokenError> {
        let credentials = credentials::find(environment, self.profile.as_deref())?;
        sign_token(&self.region, credentials, now)
    }
}

/// A signed token. It is a secret as long as it is valid, and so is not shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Token {
    text: String,
    expires: SystemTime,
}

impl Token {
    /// The token itself.
    pub fn expose(&self) -> &str {
        &self.text
    }

    /// Until when it is valid, in milliseconds since the Unix epoch.
    pub fn expires_ms(&self) -> i64 {
        let since = self.expires.duration_since(UNIX_EPOCH).unwrap_or_default();
        i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Token").field("expires", &self.expires).finish_non_exhaustive()
    }
}

/// Why there is no token.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    /// There are no credentials.
    #[error("no AWS credentials: {0}")]
    Credentials(#[from] CredentialsError),
    /// The token cannot be signed.
    #[error("cannot sign a token for MSK in the region {region}: {reason} (check sasl-aws-region)")]
    Signing {
        /// The region that was asked for.
        region: String,
        /// What the signer says.
        reason: String,
    },
}

/// The token of `credentials`, for at most as long as they are valid themselves.
fn sign_token(region: &str, credentials: Credentials, now: SystemTime) -> Result<Token, TokenError> {
    let longest = now + LIFE;
    let expires = credentials.expiry().map_or(longest, |expiry| expiry.min(longest));
    let host = format!("https://kafka.{region}.amazonaws.com/");
    let mut url = format!("{host}?Action=kafka-cluster%3AConnect");
    for (name, value) in signature(&url, region, credentials, now)? {
        url = format!("{url}&{name}={}", percent_encoded(&value));
    }
    url = format!("{url}&User-Agent={}", percent_encoded(USER_AGENT));
    Ok(Token { text: url_safe(&base64::encode_block(url.as_bytes())), expires })
}

/// The parameters that sign `url`.
fn signature(
    url: &str,
    region: &str,
    credentials: Credentials,
    now: SystemTime,
) -> Result<Vec<(&'static str, String)>, TokenError> {
    let failed = |reason: String| TokenError::Signing { region: region.to_owned(), reason };
    let mut settings = SigningSettings::default();
    settings.signature_location = SignatureLocation::QueryParams;
    settings.expires_in = Some(LIFE);
    let identity = credentials.into();
    let parameters = v4::SigningParams::builder()
        .identity(&identity)
        .region(region)
        .name("kafka-cluster")
        .time(now)
        .settings(settings)
        .build()
        .map_err(|error| failed(error.to_string()))?;
    let request = SignableRequest::new("GET", url, std::iter::empty(), SignableBody::Bytes(&[]))
        .map_err(|error| failed(error.to_string()))?;
    let signed = sign(request, &parameters.into()).map_err(|error| failed(error.to_string()))?;
    let (instructions, _) = signed.into_parts();
    let (_, parameters) = instructions.into_parts();
    Ok(parameters.into_iter().map(|(name, value)| (name, value.into_owned())).collect())
}

/// As RFC 3986 wants a value in a query.
fn percent_encoded(value: &str) -> String {
    use std::fmt::Write as _;
    value.bytes().fold(String::with_capacity(value.len()), |mut text, byte| {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => {
                text.push(char::from(byte))
            }
            // Writing to a text cannot fail.
            _ => drop(write!(text, "%{byte:02X}")),
        }
        text
    })
}

/// The alphabet of RFC 4648, section 5, without padding.
fn url_safe(base64: &str) -> String {
    base64.trim_end_matches('=').replace('+', "-").replace('/', "_")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 2026-11-28 07:00:00 UTC.
    const NOW_S: u64 = 1_795_849_200;

    fn now() -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(NOW_S)
    }

    fn credentials(session: Option<&str>, expiry: Option<SystemTime>) -> Credentials {
        Credentials::new(
            "AKIAIOSFODNN7EXAMPLE",
            "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
            session.map(ToOwned::to_owned),
            expiry,
            "test",
        )
    }

    /// The URL that a token is, without what names its maker: the address, and the parameters in the order of their names.
    fn url(token: &str) -> (String, Vec<String>) {
        let padded = token.replace('-', "+").replace('_', "/") + &"=".repeat((4 - token.len() % 4) % 4);
        let url = String::from_utf8(base64::decode_block(&padded).unwrap()).unwrap();
        let (address, query) = url.split_once('?').unwrap();
        let mut parameters: Vec<_> =
            query.split('&').filter(|one| !one.starts_with("User-Agent=")).map(ToOwned::to_owned).collect();
        parameters.sort();
        (address.to_owned(), parameters)
    }

    /// The golden tokens come from Amazon's signer, see `testdata/msk-iam/make.py`.
    #[test]
    fn the_token_is_the_one_that_amazons_own_signer_makes() {
        for (session, golden) in [
            (None, include_str!("../../../../../testdata/msk-iam/long-term.txt")),
            (Some("FwoGZXIvYXdzE//+session=="), include_str!("../../../../../testdata/msk-iam/session.txt")),
        ] {
            let token = sign_token("eu-central-1", credentials(session, None), now()).unwrap();
            assert_eq!(url(token.expose()), url(golden.trim()));
            assert_eq!(token.expires_ms(), (NOW_S as i64 + 900) * 1_000);
        }
    }

    #[test]
    fn a_token_lives_no_longer_than_the_credentials() {
        let expiry = now() + Duration::from_secs(60);
        let token = sign_token("eu-central-1", credentials(None, Some(expiry)), now()).unwrap();
        assert_eq!(token.expires_ms(), (NOW_S as i64 + 60) * 1_000);
    }

    #[test]
    fn neither_token_nor_credentials_are_shown() {
        let token = sign_token("eu-central-1", credentials(Some("session"), None), now()).unwrap();
        let shown = format!("{token:?} {:?}", credentials(Some("session"), None));
        assert!(!shown.contains(token.expose()) && !shown.contains("wJalr"), "{shown}");
        assert!(!shown.contains("\"session\""), "{shown}");
    }

    #[test]
    fn a_login_is_read_from_its_property() {
        let login = |region: &str, profile: Option<&str>| {
            Some(Login { region: region.to_owned(), profile: profile.map(ToOwned::to_owned) })
        };
        assert_eq!(Login::of("aws-msk-iam region=eu-west-1"), login("eu-west-1", None));
        assert_eq!(Login::of("aws-msk-iam region=eu-west-1 profile=msk"), login("eu-west-1", Some("msk")));
        assert_eq!(Login::of("principal=me"), None);
        assert_eq!(Login::of("aws-msk-iam"), None);
    }
}
