//! Who may do what at the TCP listener.
//!
//! The invariants:
//!
//! - **A page of somebody else's cannot speak through the browser of a user.** A request must name the listener as its host, so that a name that comes to stand for the loopback address
//!   (DNS rebinding) reaches nothing; and one that changes something must be of the page's own origin and of a type that no form can send, so that it cannot be forged (CSRF).
//! - **Without a token nothing is changed**, because every user of the machine reaches a port of the loopback. With one, nothing but the page itself and `/healthz` is to be had without
//!   naming it.
//!
//! A program that is no browser sends neither `Origin` nor `Sec-Fetch-Site` and is held to the rest. The Unix socket needs none of this: its permissions decide.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, Uri, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use subtle::ConstantTimeEq as _;

use crate::audit::Peer;
use crate::page;
use crate::problem::Problem;

/// Looks up what the token is now; an error says why it cannot be known, without what was found.
pub type TokenSource = Box<dyn Fn() -> Result<String, String> + Send + Sync>;

/// How many bytes a token has at least. The configuration demands the same of one that is no reference.
const SHORTEST_TOKEN: usize = 16;
/// What is allowed where nobody must name a token, besides the page.
const ALIVE: &str = "/healthz";

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

/// Who may do what at one address.
pub struct Access {
    port: u16,
    token: Option<TokenSource>,
}

impl fmt::Debug for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Access").field("port", &self.port).field("token", &self.token.is_some()).finish()
    }
}

impl Access {
    /// At `address`, for those who know the token, or for everybody and to read only if there is none.
    pub fn new(address: SocketAddr, token: Option<TokenSource>) -> Self {
        Self { port: address.port(), token }
    }

    /// Who asks, as far as that is known, if the request may be answered.
    fn admit(&self, request: &Request) -> Result<Option<Peer>, Problem> {
        let (method, headers) = (request.method(), request.headers());
        let host = self.host(request.uri(), headers)?;
        let is_change = !matches!(*method, Method::GET | Method::HEAD);
        if is_change {
            same_origin(host, headers)?;
            json(headers)?;
        }
        let is_open = !is_change && (page::has(request.uri().path()) || request.uri().path() == ALIVE);
        match &self.token {
            _ if is_open => Ok(None),
            Some(token) => Ok(Some(bearer(token, headers)?)),
            None if is_change => Err(Problem::forbidden(
                "without `api.token` this listener changes nothing; set one and restart the agent, or use the Unix socket",
            )),
            None => Ok(None),
        }
    }

    /// The host that the request is for, which must be this listener.
    fn host<'a>(&self, uri: &'a Uri, headers: &'a HeaderMap) -> Result<&'a str, Problem> {
        let of_header = || headers.get(header::HOST).and_then(|host| host.to_str().ok());
        let host = uri.authority().map(|authority| authority.as_str()).or_else(of_header).unwrap_or_default();
        if host
            .rsplit_once(':')
            .is_some_and(|(name, port)| is_loopback(name) && port.parse() == Ok(self.port))
        {
            return Ok(host);
        }
        let port = self.port;
        Err(Problem::misdirected(format!(
            "the host {host:?} is not this listener; ask for localhost:{port} or 127.0.0.1:{port} (a tunnel must have the same port at both ends)"
        )))
    }
}

/// Answers what is admitted, and makes every answer safe to show.
pub async fn guard(State(access): State<Arc<Access>>, mut request: Request, next: Next) -> Response {
    let is_page = page::has(request.uri().path());
    let mut response = match access.admit(&request) {
        Ok(peer) => {
            if let Some(peer) = peer {
                request.extensions_mut().insert(peer);
            }
            next.run(request).await
        }
        Err(problem) => problem.into_response(),
    };
    let headers = response.headers_mut();
    headers.extend(HEADERS);
    if !is_page {
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    }
    response
}

fn is_loopback(name: &str) -> bool {
    let address = name.strip_prefix('[').and_then(|name| name.strip_suffix(']')).unwrap_or(name);
    name.eq_ignore_ascii_case("localhost") || address.parse().is_ok_and(|ip: IpAddr| ip.is_loopback())
}

/// That no other origin has a browser send this.
fn same_origin(host: &str, headers: &HeaderMap) -> Result<(), Problem> {
    let own = format!("http://{host}");
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

fn bearer(token: &TokenSource, headers: &HeaderMap) -> Result<Peer, Problem> {
    let token = token().and_then(|token| match token.len() {
        SHORTEST_TOKEN.. => Ok(token),
        length => Err(format!("it has {length} bytes, and at least {SHORTEST_TOKEN} are needed")),
    });
    let token = token.map_err(|reason| {
        tracing::warn!("nobody is let in at `api.listen`: `api.token` cannot be used: {reason}");
        Problem::unavailable("no-token", "`api.token` cannot be used; the agent's log says why")
    })?;
    let given = headers.get(header::AUTHORIZATION).map(HeaderValue::as_bytes).unwrap_or_default();
    let (scheme, given) = given.split_at_checked(BEARER.len()).unwrap_or_default();
    // The comparison takes as long for the first byte that differs as for the last.
    let is_known = scheme.eq_ignore_ascii_case(BEARER) && bool::from(given.ct_eq(token.as_bytes()));
    if is_known { Ok(Peer::Bearer) } else { Err(Problem::unauthorized()) }
}

const BEARER: &[u8] = b"Bearer ";
