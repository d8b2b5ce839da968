//! Who may do what at the TCP listener.
//!
//! The invariants:
//!
//! - **A page of somebody else's cannot speak through the browser of a user.** A request must name the listener as its host ([`origins`](crate::origins)); and one that changes something must be
//!   of the page's own origin and of a type that no form can send, so that it cannot be forged (CSRF).
//! - **Who asks is known by a token or a login, and what he may do by its role** ([`role`](crate::role)). Where neither is configured, which is only possible on the loopback, every user of the
//!   machine reads and nobody changes anything.
//! - **Whoever asks too often, or guesses, is told to wait** ([`limits`](crate::limits)).
//!
//! A program that is no browser sends neither `Origin` nor `Sec-Fetch-Site` and is held to the rest. The Unix socket needs none of this: its permissions decide.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use openssl::sha::sha256;
use subtle::ConstantTimeEq as _;

use crate::audit::Peer;
use crate::limits::{Limiter, Rate};
use crate::oidc::{self, Login};
use crate::origins::{Origin, Origins};
use crate::page;
use crate::problem::Problem;
use crate::role::{Caller, Role};
use crate::tls::TlsFiles;

/// Looks up what a secret is now; an error says why it cannot be known, without what was found.
pub type SecretSource = Box<dyn Fn() -> Result<String, String> + Send + Sync>;

/// How many bytes a token has at least. The configuration demands the same of one that is no reference.
const SHORTEST_TOKEN: usize = 16;
/// How often somebody may give a token that is not known.
const GUESSES: Rate = Rate { burst: 20, interval: Duration::from_secs(1) };

const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// Nothing but what the listener itself serves is loaded, run, framed or sent anywhere.
const HEADERS: [(HeaderName, HeaderValue); 7] = [
    (
        header::CONTENT_SECURITY_POLICY,
        HeaderValue::from_static(
            "default-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; object-src 'none'",
        ),
    ),
    (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
    (header::X_FRAME_OPTIONS, HeaderValue::from_static("DENY")),
    (header::REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
    (HeaderName::from_static("cross-origin-opener-policy"), HeaderValue::from_static("same-origin")),
    (HeaderName::from_static("cross-origin-resource-policy"), HeaderValue::from_static("same-origin")),
    (
        HeaderName::from_static("permissions-policy"),
        HeaderValue::from_static("camera=(), geolocation=(), microphone=()"),
    ),
];

/// A token, and what who knows it may do.
pub struct Token {
    /// Who is meant to know it, for the audit log.
    pub name: String,
    /// What he may do.
    pub role: Role,
    /// What it is.
    pub value: SecretSource,
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Token").field("name", &self.name).field("role", &self.role).finish_non_exhaustive()
    }
}

/// Where the page and the API are served, and for whom.
#[derive(Debug)]
pub struct Listening {
    /// The address.
    pub address: SocketAddr,
    /// The certificate; none is without TLS.
    pub tls: Option<TlsFiles>,
    /// The names under which it is known besides `localhost` and its addresses.
    pub origins: Vec<Origin>,
    /// Who may ask. Of two that are the same the first counts.
    pub tokens: Vec<Token>,
    /// Where users log in.
    pub oidc: Option<oidc::Settings>,
    /// How often one client may ask.
    pub requests_per_second: u32,
}

/// Who may do what at one address.
#[derive(Debug)]
pub struct Access {
    origins: Origins,
    tokens: Vec<Token>,
    login: Option<Arc<Login>>,
    limits: Mutex<Limits>,
    begun: Instant,
}

#[derive(Debug)]
struct Limits {
    requests: Limiter,
    guesses: Limiter,
}

/// The address of whoever has sent a request.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Client(pub(crate) IpAddr);

/// What an admitted request tells its handler besides the [`Caller`].
#[derive(Clone, Debug)]
pub(crate) struct Visit {
    /// The origin that it is for.
    pub(crate) origin: Origin,
    /// Whether users can log in.
    pub(crate) has_login: bool,
    /// Whether this one has.
    pub(crate) is_logged_in: bool,
}

impl Access {
    /// As `listening` says.
    pub(crate) fn new(listening: Listening) -> Self {
        let Listening { address, tls, origins, tokens, oidc, requests_per_second } = listening;
        let requests = Limiter::new(Rate::each_second(requests_per_second));
        Self {
            origins: Origins::new(address, tls.is_some(), origins),
            tokens,
            login: oidc.map(|settings| Arc::new(Login::new(settings, address.port()))),
            limits: Mutex::new(Limits { requests, guesses: Limiter::new(GUESSES) }),
            begun: Instant::now(),
        }
    }

    pub(crate) fn login(&self) -> Option<&Arc<Login>> {
        self.login.as_ref()
    }

    /// Adds to the request who asks, as far as that is known, if it may be answered.
    async fn admit(&self, request: &mut Request) -> Result<(), Problem> {
        let client =
            request.extensions().get().map_or(IpAddr::from([0, 0, 0, 0]), |Client(address)| *address);
        self.not_too_often(client)?;
        let (method, headers) = (request.method(), request.headers());
        let origin = self.origins.of(request.uri(), headers)?;
        let is_change = !matches!(*method, Method::GET | Method::HEAD);
        if is_change {
            same_origin(&origin, headers)?;
            json(headers)?;
        }
        let session = self.login.as_ref().and_then(|login| login.session(headers));
        let given = headers.get(header::AUTHORIZATION).filter(|_| !self.is_open_to_read());
        let (caller, is_logged_in) = match (given.cloned(), session) {
            (Some(given), _) => (Some(self.bearer(client, given.as_bytes()).await?), false),
            (None, Some(caller)) => {
                if is_change && !headers.contains_key(header::ORIGIN) {
                    return Err(Problem::forbidden(
                        "a change by somebody who is logged in must say where it comes from, as every browser does (header Origin)",
                    ));
                }
                (Some(caller), true)
            }
            (None, None) => {
                (self.is_open_to_read().then_some(Caller { who: Peer::Anybody, role: Role::Viewer }), false)
            }
        };
        if let Some(caller) = caller {
            request.extensions_mut().insert(caller);
        }
        let has_login = self.login.is_some();
        request.extensions_mut().insert(Visit { origin, has_login, is_logged_in });
        Ok(())
    }

    /// Whether nobody must say who he is.
    fn is_open_to_read(&self) -> bool {
        self.tokens.is_empty() && self.login.is_none()
    }

    fn not_too_often(&self, client: IpAddr) -> Result<(), Problem> {
        let now = self.begun.elapsed();
        let mut limits = self.limits.lock().unwrap_or_else(PoisonError::into_inner);
        limits.requests.look(client, now).map_err(Problem::too_many)?;
        limits.requests.count(client, now);
        Ok(())
    }

    async fn bearer(&self, client: IpAddr, given: &[u8]) -> Result<Caller, Problem> {
        self.may_guess(client)?;
        let (scheme, given) = given.split_at_checked(BEARER.len()).unwrap_or_default();
        let given = if scheme.eq_ignore_ascii_case(BEARER) { given } else { &[] };
        let (known, unusable) = self.known(given);
        if let Some(caller) = known {
            return Ok(caller);
        }
        if let (Some(login), Ok(token)) = (&self.login, str::from_utf8(given))
            && let Some(caller) = login.bearer(token).await?
        {
            return Ok(caller);
        }
        self.has_guessed(client);
        match unusable {
            Some(name) => Err(Problem::unavailable(
                "no-token",
                format!("`{name}` cannot be used; the agent's log says why"),
            )),
            None => Err(Problem::unauthorized()),
        }
    }

    /// Whose token it is, and one of those that cannot be used. Every token is looked at, and takes as long if the first byte differs as if the last does.
    fn known(&self, given: &[u8]) -> (Option<Caller>, Option<&str>) {
        let (mut known, mut unusable) = (None, None);
        let given = sha256(given);
        for Token { name, role, value } in &self.tokens {
            match usable(value) {
                Ok(token) if bool::from(sha256(token.as_bytes()).ct_eq(&given)) => {
                    known.get_or_insert_with(|| Caller {
                        who: Peer::Token(name.as_str().into()),
                        role: *role,
                    });
                }
                Ok(_) => {}
                Err(reason) => {
                    tracing::warn!(
                        "nobody is let in at `api.listen` by `{name}`, which cannot be used: {reason}"
                    );
                    unusable = Some(name.as_str());
                }
            }
        }
        (known, unusable)
    }

    fn may_guess(&self, client: IpAddr) -> Result<(), Problem> {
        let limits = self.limits.lock().unwrap_or_else(PoisonError::into_inner);
        limits.guesses.look(client, self.begun.elapsed()).map_err(Problem::too_many)
    }

    fn has_guessed(&self, client: IpAddr) {
        tracing::warn!("audit: {client} has given a token that is not known");
        self.limits
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .guesses
            .count(client, self.begun.elapsed());
    }
}

/// Answers what is admitted, and makes every answer safe to show.
pub async fn guard(State(access): State<Arc<Access>>, mut request: Request, next: Next) -> Response {
    let is_page = page::has(request.uri().path());
    let mut response = match access.admit(&mut request).await {
        Ok(()) => next.run(request).await,
        Err(problem) => problem.into_response(),
    };
    let headers = response.headers_mut();
    headers.extend(HEADERS);
    if !is_page {
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    }
    response
}

/// That no other origin has a browser send this.
fn same_origin(own: &Origin, headers: &HeaderMap) -> Result<(), Problem> {
    let own = own.to_string();
    let is_other = |origin: &HeaderValue| !origin.as_bytes().eq_ignore_ascii_case(own.as_bytes());
    if headers.get_all(header::ORIGIN).iter().any(is_other) {
        return Err(Problem::forbidden(format!("a change must come from {own}, not from another origin")));
    }
    let is_foreign = |site: &HeaderValue| !matches!(site.as_bytes(), b"same-origin" | b"none");
    if headers.get_all(SEC_FETCH_SITE).iter().any(is_foreign) {
        return Err(Problem::forbidden("a change must come from the page itself, not from another site"));
    }
    Ok(())
}

/// That it is of a type that no form can send, whether it has a body or not.
fn json(headers: &HeaderMap) -> Result<(), Problem> {
    let media_type =
        headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let essence = media_type.split(';').next().unwrap_or_default().trim();
    if essence.eq_ignore_ascii_case("application/json") { Ok(()) } else { Err(Problem::not_json()) }
}

fn usable(value: &SecretSource) -> Result<String, String> {
    value().and_then(|token| match token.len() {
        SHORTEST_TOKEN.. => Ok(token),
        length => Err(format!("it has {length} bytes, and at least {SHORTEST_TOKEN} are needed")),
    })
}

const BEARER: &[u8] = b"Bearer ";
