//! How the agent can be reached over TCP.
//!
//! The invariant: **what others than users of this machine reach is encrypted, or said in so many words not to be, and takes a token or a login.** An [`Api`] that is reached from elsewhere and has
//! neither is no value of the configuration.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use serde::Serialize;

use crate::error::ConfigError;
use crate::input::{Input, ParseResult, Parsed, expected};
use crate::load::named;
use crate::model::{PlainText, pairs};
use crate::origin::Origin;
use crate::secret::Secret;
use crate::sources::Assignments;
use crate::substitution::has_reference;
use crate::units::serialize_duration;

pub(crate) const LISTEN: &str = "api.listen";
pub(crate) const CERTIFICATE: &str = "api.tls.certificate";
pub(crate) const KEY: &str = "api.tls.key";
pub(crate) const ORIGINS: &str = "api.origins";
pub(crate) const TOKENS: [&str; 3] = ["api.tokens.viewer", "api.tokens.operator", "api.tokens.admin"];
pub(crate) const ISSUER: &str = "api.oidc.issuer";

/// How the agent can be reached over TCP, besides the Unix socket.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Api {
    /// The address of page and API; `None` is none.
    pub listen: Option<SocketAddr>,
    /// The certificate that is shown; `None` is none, and no encryption.
    pub tls: Option<ApiTls>,
    /// The origins at which it is known, besides `localhost` and addresses.
    pub origins: Vec<String>,
    /// What clients must know.
    pub tokens: ApiTokens,
    /// How often one client may ask.
    pub requests_per_second: u32,
    /// Where users log in; `None` is nowhere.
    pub oidc: Option<ApiOidc>,
}

/// Where the certificate is that the API shows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ApiTls {
    /// The certificate, and those that lead to its authority, as PEM.
    pub certificate: PathBuf,
    /// Its key, as PEM.
    pub key: PathBuf,
}

/// What clients must know, by what they may do. References are not resolved yet.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct ApiTokens {
    /// Who reads.
    pub viewer: Vec<ApiToken>,
    /// Who acts as well.
    pub operator: Vec<ApiToken>,
    /// Who changes the configuration as well.
    pub admin: Vec<ApiToken>,
}

/// A token.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ApiToken {
    /// Who is meant to know it.
    pub name: String,
    /// What it is.
    pub value: Secret,
}

/// Where users of the API log in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ApiOidc {
    /// The realm.
    pub issuer: String,
    /// What the agent is called there.
    pub client_id: String,
    /// By which it proves that. References are not resolved yet.
    pub client_secret: Option<Secret>,
    /// Who has this role there reads.
    pub viewer_role: String,
    /// Acts.
    pub operator_role: String,
    /// Changes the configuration.
    pub admin_role: String,
    /// How long somebody stays logged in.
    #[serde(serialize_with = "serialize_duration")]
    pub session: Duration,
}

/// What the sources say of the API, each value legal by itself.
pub(crate) struct ApiDraft {
    pub(crate) listen: Option<SocketAddr>,
    pub(crate) plain_text: PlainText,
    pub(crate) certificate: Option<PathBuf>,
    pub(crate) key: Option<PathBuf>,
    pub(crate) origins: Vec<String>,
    pub(crate) token: Option<Secret>,
    pub(crate) tokens: ApiTokens,
    pub(crate) requests_per_second: u32,
    pub(crate) issuer: Option<String>,
    /// Its issuer is not known yet.
    pub(crate) oidc: ApiOidc,
}

impl Default for ApiDraft {
    fn default() -> Self {
        Self {
            listen: None,
            plain_text: PlainText::Loopback,
            certificate: None,
            key: None,
            origins: Vec::new(),
            token: None,
            tokens: ApiTokens::default(),
            requests_per_second: 50,
            issuer: None,
            oidc: ApiOidc {
                issuer: String::new(),
                client_id: "keyferry".to_owned(),
                client_secret: None,
                viewer_role: "keyferry-viewer".to_owned(),
                operator_role: "keyferry-operator".to_owned(),
                admin_role: "keyferry-admin".to_owned(),
                session: Duration::from_secs(3_600),
            },
        }
    }
}

impl Api {
    /// How many bytes a token has at least: what cannot be guessed.
    pub const SHORTEST_TOKEN: usize = 16;
    /// What the token of `api.token` is called in the log.
    pub const TOKEN: &str = "api.token";
}

/// What does not go together: the key, and what to do.
type Remedy = (&'static str, String);

impl ApiTokens {
    fn all(&self) -> impl Iterator<Item = &ApiToken> {
        self.viewer.iter().chain(&self.operator).chain(&self.admin)
    }

    /// Nobody can tell who did what where two have the same name.
    fn namesakes(&self) -> impl Iterator<Item = Remedy> {
        let is_twice = |token: &ApiToken| self.all().filter(|other| other.name == token.name).count() > 1;
        let of_roles = TOKENS.into_iter().zip([&self.viewer, &self.operator, &self.admin]);
        let keys = of_roles.filter(move |(_, tokens)| tokens.iter().any(is_twice)).map(|(key, _)| key);
        let remedy = "a name stands for two tokens here or in another of `api.tokens`: give each a name of its own, or nobody can tell who did what";
        keys.map(move |key| (key, remedy.to_owned()))
    }
}

impl ApiDraft {
    /// What it comes to, and what does not go together. `given` tells where each value comes from.
    pub(crate) fn assemble(self, given: &Assignments, errors: &mut Vec<ConfigError>) -> Api {
        let (tls, lack) = pair(self.certificate, self.key);
        let mut tokens = self.tokens;
        if let Some(value) = self.token {
            tokens.admin.push(ApiToken { name: Api::TOKEN.to_owned(), value });
        }
        let oidc = self.issuer.map(|issuer| ApiOidc { issuer, ..self.oidc });
        let Self { listen, origins, requests_per_second, .. } = self;
        let api = Api { listen, tls, origins, tokens, requests_per_second, oidc };
        let is_encrypted_elsewhere = self.plain_text == PlainText::Anywhere;
        let overheard = api.overheard().filter(|_| !is_encrypted_elsewhere);
        let remedies = lack.into_iter().chain(api.tokens.namesakes()).chain(overheard).chain(api.unguarded());
        errors.extend(remedies.map(|(key, remedy)| {
            let (option, origin) = named(given, key).unwrap_or_else(|| (key.to_owned(), Origin::Default));
            ConfigError::Refused { option, origin, remedy }
        }));
        api
    }
}

/// A certificate and its key, and what is lacking if one of them is there alone.
fn pair(certificate: Option<PathBuf>, key: Option<PathBuf>) -> (Option<ApiTls>, Option<Remedy>) {
    let lacks = |path: PathBuf, what: &str| format!("{} needs its {what}", path.display());
    match (certificate, key) {
        (Some(certificate), Some(key)) => (Some(ApiTls { certificate, key }), None),
        (Some(path), None) => (None, Some((CERTIFICATE, lacks(path, "key: set `api.tls.key`")))),
        (None, Some(path)) => (None, Some((KEY, lacks(path, "certificate: set `api.tls.certificate`")))),
        (None, None) => (None, None),
    }
}

impl Api {
    fn address_of_others(&self) -> Option<SocketAddr> {
        self.listen.filter(|address| !address.ip().is_loopback())
    }

    /// What others could read on its way.
    fn overheard(&self) -> impl Iterator<Item = Remedy> {
        let issuer = self.oidc.as_ref().map(|oidc| &oidc.issuer).filter(|issuer| !is_confidential(issuer));
        let issuer = issuer.map(|issuer| {
            (ISSUER, format!(
                "{issuer} is not encrypted, and who listens could log in: give a URL that begins with `https://`, or say `api.plain_text = \"anywhere\"` if something else encrypts what is sent there"
            ))
        });
        let listen = self.address_of_others().filter(|_| self.tls.is_none()).map(|address| {
            (LISTEN, format!(
                "{address} can be reached from other machines, and what is sent there is not encrypted: set `{CERTIFICATE}` and `{KEY}`; or give an address of the loopback, such as \
                 `127.0.0.1:{}`, and reach it through an SSH tunnel (docs/page.md); or say `api.plain_text = \"anywhere\"` if something else encrypts it, such as a service mesh",
                address.port()
            ))
        });
        issuer.into_iter().chain(listen)
    }

    /// What anybody elsewhere could read.
    fn unguarded(&self) -> Option<Remedy> {
        let is_guarded = self.oidc.is_some() || self.tokens.all().next().is_some();
        let address = self.address_of_others().filter(|_| !is_guarded)?;
        let remedy = format!(
            "{address} can be reached from other machines, and anybody there could read it: set a token, such as `api.tokens.viewer = [\"grafana=${{file:/run/secrets/grafana}}\"]`, or `{ISSUER}`"
        );
        Some((LISTEN, remedy))
    }
}

/// Whether nobody on the way reads what is sent there.
fn is_confidential(url: &str) -> bool {
    let Some(rest) = url.strip_prefix("http://") else { return true };
    let authority = rest.split('/').next().unwrap_or_default();
    let host = authority
        .rsplit_once(':')
        .filter(|(_, port)| !port.ends_with(']'))
        .map_or(authority, |(host, _)| host);
    let address = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || address.parse().is_ok_and(|ip: std::net::IpAddr| ip.is_loopback())
}

/// Tokens as `name=token`. Of one that is a reference the length is seen when it is resolved.
pub(crate) fn tokens(input: Input<'_>) -> ParseResult<Vec<ApiToken>> {
    let is_name = |name: &str| {
        !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
    };
    let is_token = |value: &str| has_reference(value) || value.len() >= Api::SHORTEST_TOKEN;
    let token = |pair: Option<(&str, &str)>| {
        let (name, value) = pair.filter(|(name, value)| is_name(name) && is_token(value))?;
        Some(ApiToken { name: name.to_owned(), value: Secret::new(value) })
    };
    let tokens: Option<Vec<_>> = pairs(input.text).map(token).collect();
    tokens.map(Parsed::as_given).ok_or_else(|| {
        expected("tokens as `name=token`, separated by commas: the name of letters, digits, `-`, `_` and `.`, the token of at least 16 characters")
    })
}

/// Where browsers are when they show the page.
pub(crate) fn origins(input: Input<'_>) -> ParseResult<Vec<String>> {
    let is_origin = |text: &&str| {
        let authority = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
        authority.is_some_and(|authority| {
            let is_legal = |byte: u8| byte.is_ascii_alphanumeric() || b"-.:[]".contains(&byte);
            !authority.is_empty() && authority.bytes().all(is_legal)
        })
    };
    let parts: Vec<&str> = input.text.split(',').map(str::trim).filter(|part| !part.is_empty()).collect();
    if parts.iter().all(is_origin) {
        return Ok(Parsed::as_given(parts.into_iter().map(ToOwned::to_owned).collect()));
    }
    Err(expected(
        "origins such as `https://keyferry.example.org`, separated by commas: a scheme, a host and perhaps a port, and nothing behind it",
    ))
}
