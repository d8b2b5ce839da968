//! Logging in at Keycloak: OpenID Connect's authorization code flow with PKCE (RFC 7636), of which the browser sees nothing but a cookie.
//!
//! The invariants:
//!
//! - **No token of Keycloak's reaches the browser.** The agent redeems the code, believes what is signed ([`token`]), and keeps who it is ([`sessions`]); the browser keeps a number that no script
//!   reads (`HttpOnly`) and that no other site has it send (`SameSite=Strict`).
//! - **A login is finished in the browser that has begun it**, so that nobody can be logged in as somebody else.
//! - **Keycloak holds up nobody but who logs in.** It is asked in threads of their own, and its keys again only when a token names one that is not known, once in a while.

mod sessions;
mod token;

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use axum::Router;
use axum::extract::{Extension, Query, State};
use axum::http::{HeaderMap, HeaderName, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use openssl::sha::sha256;
use serde::Deserialize;

use self::sessions::{Nonce, Session, Sessions, TO_LOG_IN};
pub use self::token::RoleNames;
use self::token::{Claims, Keys, Party, TokenError};
use crate::access::{SecretSource, Visit};
use crate::audit::Peer;
use crate::origins::Origin;
use crate::problem::Problem;
use crate::role::Caller;

/// Where somebody is sent to log in.
pub(crate) const LOGIN: &str = "/oidc/login";
/// Where Keycloak sends him back to.
const CALLBACK: &str = "/oidc/callback";
/// Where he logs out.
pub(crate) const LOGOUT: &str = "/oidc/logout";
/// How often Keycloak is asked for its keys at most.
const BETWEEN_KEYS: Duration = Duration::from_secs(30);

/// The way to Keycloak. Whoever calls waits for it, and it must end.
pub trait Http: Send + Sync + 'static {
    /// What is there.
    ///
    /// # Errors
    /// Nobody answers, or not with success; the text says what.
    fn get(&self, url: &str) -> Result<Vec<u8>, String>;

    /// The answer to a form.
    ///
    /// # Errors
    /// See [`get`](Self::get).
    fn post(&self, url: &str, form: &[(&str, &str)]) -> Result<Vec<u8>, String>;
}

/// Where users log in.
pub struct Settings {
    /// The realm, such as `https://keycloak.example.org/realms/ops`.
    pub issuer: String,
    /// What the agent is called there.
    pub client_id: String,
    /// By which it proves that; none of a public client.
    pub client_secret: Option<SecretSource>,
    /// What the roles are called there.
    pub roles: RoleNames,
    /// How long somebody stays logged in.
    pub session: Duration,
    /// The way there.
    pub http: Arc<dyn Http>,
}

impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Settings")
            .field("issuer", &self.issuer)
            .field("client_id", &self.client_id)
            .finish_non_exhaustive()
    }
}

/// Why nobody is logged in.
#[derive(Debug, thiserror::Error)]
enum OidcError {
    #[error("Keycloak cannot be asked (`api.oidc.issuer`): {url}: {reason}")]
    Unreachable { url: String, reason: String },
    #[error("`api.oidc.client_secret` cannot be used: {0}")]
    NoSecret(String),
    #[error(
        "the issuer calls itself {found:?}, and `api.oidc.issuer` is {configured:?}: set it as the issuer does"
    )]
    OtherIssuer { found: String, configured: String },
    #[error("what Keycloak has sent is not believed: {0}")]
    Token(#[from] TokenError),
    #[error("the ID token and the access token are of different users")]
    OtherUser,
    #[error("cannot make a secret: {0}")]
    Random(#[from] openssl::error::ErrorStack),
}

impl From<OidcError> for Problem {
    /// Keycloak's words are for the log.
    fn from(error: OidcError) -> Self {
        tracing::warn!("nobody is logged in: {error}");
        Self::unavailable("no-login", "Keycloak cannot be used to log in; the agent's log says why")
    }
}

/// What an issuer says of itself (OpenID Connect Discovery, 4.2).
#[derive(Clone, Debug, Deserialize)]
struct Provider {
    issuer: String,
    authorization_endpoint: String,
    token_endpoint: String,
    jwks_uri: String,
    end_session_endpoint: Option<String>,
}

#[derive(Deserialize)]
struct Tokens {
    id_token: String,
    access_token: String,
    refresh_token: Option<String>,
}

/// What was learnt of the issuer.
#[derive(Debug, Default)]
struct Known {
    provider: Option<Provider>,
    keys: Arc<Keys>,
    /// When it was asked for its keys.
    asked: Option<Duration>,
}

/// The logging in of one listener.
pub(crate) struct Login {
    settings: Settings,
    /// Cookies are those of a host, whatever the port: two agents of one host must not take each other's.
    port: u16,
    known: Mutex<Known>,
    sessions: Mutex<Sessions>,
    begun: Instant,
}

impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Login").field("settings", &self.settings).finish_non_exhaustive()
    }
}

impl Login {
    pub(crate) fn new(settings: Settings, port: u16) -> Self {
        let begun = Instant::now();
        Self { settings, port, known: Mutex::default(), sessions: Mutex::default(), begun }
    }

    /// Who is logged in where these are the headers.
    pub(crate) fn session(&self, headers: &HeaderMap) -> Option<Caller> {
        let ids = [true, false].map(|is_encrypted| cookie(headers, &self.name("session", is_encrypted)));
        let sessions = self.sessions();
        let mut found = ids.into_iter().flatten().filter_map(|id| sessions.find(id, self.now()));
        found.next().map(|session| session.caller.clone())
    }

    /// Whose access token it is; `None` if it is none of this issuer's that is believed.
    pub(crate) async fn bearer(&self, token: &str) -> Result<Option<Caller>, Problem> {
        let claims = match self.open(token).await {
            Ok(claims) => claims,
            Err(OidcError::Token(_)) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        Ok(claims.is_of_access(self.party(), wall()).ok().and_then(|()| self.caller(&claims)))
    }

    fn party(&self) -> Party<'_> {
        Party { issuer: &self.settings.issuer, client: &self.settings.client_id }
    }

    fn caller(&self, claims: &Claims) -> Option<Caller> {
        let role = claims.role(&self.settings.roles, &self.settings.client_id)?;
        Some(Caller { who: Peer::User(claims.user().into()), role })
    }

    fn now(&self) -> Duration {
        self.begun.elapsed()
    }

    fn sessions(&self) -> MutexGuard<'_, Sessions> {
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The name of a cookie. With its prefix a browser takes it only over TLS, for this host and of all its paths.
    fn name(&self, what: &str, is_encrypted: bool) -> String {
        format!("{}keyferry-{what}-{}", if is_encrypted { "__Host-" } else { "" }, self.port)
    }

    fn set_cookie(
        &self,
        what: &str,
        value: &str,
        same_site: &str,
        age: Duration,
        origin: &Origin,
    ) -> (HeaderName, String) {
        let (name, age) = (self.name(what, origin.is_encrypted()), age.as_secs());
        let secure = if origin.is_encrypted() { "; Secure" } else { "" };
        let cookie = format!("{name}={value}; Path=/; HttpOnly; SameSite={same_site}; Max-Age={age}{secure}");
        (header::SET_COOKIE, cookie)
    }

    /// Asks in a thread of its own.
    async fn ask<T: Send + 'static>(
        &self,
        url: &str,
        ask: impl FnOnce(&dyn Http, &str) -> Result<Vec<u8>, String> + Send + 'static,
        read: impl FnOnce(&[u8]) -> Result<T, serde_json::Error>,
    ) -> Result<T, OidcError> {
        let (http, place) = (Arc::clone(&self.settings.http), url.to_owned());
        let answer = tokio::task::spawn_blocking(move || ask(&*http, &place)).await;
        let answer = answer.unwrap_or_else(|error| Err(error.to_string()));
        let read = answer.and_then(|body| read(&body).map_err(|error| error.to_string()));
        read.map_err(|reason| OidcError::Unreachable { url: url.to_owned(), reason })
    }

    async fn provider(&self) -> Result<Provider, OidcError> {
        if let Some(provider) = self.known().provider.clone() {
            return Ok(provider);
        }
        let configured = &self.settings.issuer;
        let url = format!("{}/.well-known/openid-configuration", configured.trim_end_matches('/'));
        let provider: Provider =
            self.ask(&url, |http, url| http.get(url), |body| serde_json::from_slice(body)).await?;
        if provider.issuer != *configured {
            let (found, configured) = (provider.issuer, configured.clone());
            return Err(OidcError::OtherIssuer { found, configured });
        }
        self.known().provider = Some(provider.clone());
        Ok(provider)
    }

    /// What a token says, if the issuer has signed it. One that names a key that is not known has the keys read again, for they may have been renewed.
    async fn open(&self, token: &str) -> Result<Claims, OidcError> {
        let keys = Arc::clone(&self.known().keys);
        match keys.open(token) {
            Err(TokenError::UnknownKey) if self.may_ask_for_keys() => {}
            opened => return Ok(opened?),
        }
        let url = self.provider().await?.jwks_uri;
        let keys = Arc::new(self.ask(&url, |http, url| http.get(url), Keys::read).await?);
        self.known().keys = Arc::clone(&keys);
        Ok(keys.open(token)?)
    }

    fn may_ask_for_keys(&self) -> bool {
        let (now, mut known) = (self.now(), self.known());
        let may = known.asked.is_none_or(|asked| now >= asked + BETWEEN_KEYS);
        if may {
            known.asked = Some(now);
        }
        may
    }

    async fn begin(&self, origin: &Origin) -> Result<Response, OidcError> {
        let endpoint = self.provider().await?.authorization_endpoint;
        let [state, browser, nonce, verifier] = [Nonce::new()?, Nonce::new()?, Nonce::new()?, Nonce::new()?];
        let challenge = URL_SAFE_NO_PAD.encode(sha256(verifier.as_str().as_bytes()));
        let location = with_query(
            &endpoint,
            &[
                ("response_type", "code"),
                ("client_id", &self.settings.client_id),
                ("redirect_uri", &format!("{origin}{CALLBACK}")),
                ("scope", "openid"),
                ("state", state.as_str()),
                ("nonce", nonce.as_str()),
                ("code_challenge", &challenge),
                ("code_challenge_method", "S256"),
            ],
        );
        // The browser comes back from another site, and must send it then.
        let cookie = self.set_cookie("login", browser.as_str(), "Lax", TO_LOG_IN, origin);
        self.sessions().begin(&state, &browser, nonce, verifier, self.now());
        Ok((StatusCode::SEE_OTHER, [(header::LOCATION, location), cookie]).into_response())
    }

    /// Logs in who comes back with `code`.
    async fn finish(
        &self,
        origin: &Origin,
        attempt: sessions::Attempt,
        code: &str,
    ) -> Result<Response, Problem> {
        let (claims, refresh_token) = self.redeem(origin, &attempt, code).await?;
        let caller = self.caller(&claims).ok_or_else(|| self.no_role(claims.user()))?;
        let id = Nonce::new().map_err(OidcError::from)?;
        tracing::info!("audit: {} has logged in with the role {}", caller.who, caller.role);
        let lifetime = self.settings.session;
        self.sessions().open(&id, caller, refresh_token, self.now(), lifetime);
        let session = self.set_cookie("session", id.as_str(), "Strict", lifetime, origin);
        let login = self.set_cookie("login", "", "Lax", Duration::ZERO, origin);
        let mut response = (StatusCode::SEE_OTHER, [(header::LOCATION, "/")]).into_response();
        for (name, cookie) in [session, login] {
            // A cookie is made of visible ASCII.
            if let Ok(cookie) = cookie.parse() {
                response.headers_mut().append(name, cookie);
            }
        }
        Ok(response)
    }

    fn no_role(&self, user: &str) -> Problem {
        let RoleNames { viewer, operator, admin } = &self.settings.roles;
        tracing::warn!(
            "audit: user {user:?} is logged in at Keycloak and has none of the roles {viewer}, {operator}, {admin}"
        );
        Problem::forbidden(format!(
            "user {user:?} has none of the roles {viewer}, {operator} and {admin}: have one assigned in Keycloak, in the realm or of the client {}",
            self.settings.client_id
        ))
    }

    /// What the access token says that Keycloak gives for `code`, and by which token it can be told later that the user leaves.
    async fn redeem(
        &self,
        origin: &Origin,
        attempt: &sessions::Attempt,
        code: &str,
    ) -> Result<(Claims, Option<String>), OidcError> {
        let form = vec![
            ("grant_type", "authorization_code".to_owned()),
            ("code", code.to_owned()),
            ("redirect_uri", format!("{origin}{CALLBACK}")),
            ("code_verifier", attempt.verifier.as_str().to_owned()),
        ];
        let endpoint = self.provider().await?.token_endpoint;
        let Tokens { id_token, access_token, refresh_token } =
            self.post(&endpoint, form, |body| serde_json::from_slice(body)).await?;
        let of_login = self.open(&id_token).await?;
        of_login.is_of_login(self.party(), attempt.nonce.as_str(), wall())?;
        let of_access = self.open(&access_token).await?;
        of_access.is_of_access(self.party(), wall())?;
        if of_login.sub.is_none() || of_login.sub != of_access.sub {
            return Err(OidcError::OtherUser);
        }
        Ok((of_access, refresh_token))
    }

    /// Ends the session, here and at Keycloak. That Keycloak does not answer keeps nobody logged in here.
    async fn end(&self, origin: &Origin, headers: &HeaderMap) -> Response {
        let name = self.name("session", origin.is_encrypted());
        let session = cookie(headers, &name).and_then(|id| self.sessions().close(id));
        if let Some(Session { caller, refresh_token, .. }) = session {
            tracing::info!("audit: {} has logged out", caller.who);
            if let Err(error) = self.leave(refresh_token).await {
                tracing::warn!("{} is still logged in at Keycloak: {error}", caller.who);
            }
        }
        (StatusCode::NO_CONTENT, [self.set_cookie("session", "", "Strict", Duration::ZERO, origin)])
            .into_response()
    }

    async fn leave(&self, refresh_token: Option<String>) -> Result<(), OidcError> {
        let (Some(refresh_token), Some(endpoint)) =
            (refresh_token, self.provider().await?.end_session_endpoint)
        else {
            return Ok(());
        };
        self.post(&endpoint, vec![("refresh_token", refresh_token)], |_| Ok(())).await
    }

    /// Posts a form as the client that the agent is.
    async fn post<T: Send + 'static>(
        &self,
        url: &str,
        mut form: Vec<(&'static str, String)>,
        read: impl FnOnce(&[u8]) -> Result<T, serde_json::Error>,
    ) -> Result<T, OidcError> {
        form.push(("client_id", self.settings.client_id.clone()));
        if let Some(secret) = &self.settings.client_secret {
            form.push(("client_secret", secret().map_err(OidcError::NoSecret)?));
        }
        let post = move |http: &dyn Http, url: &str| {
            let form: Vec<(&str, &str)> = form.iter().map(|(name, value)| (*name, value.as_str())).collect();
            http.post(url, &form)
        };
        self.ask(url, post, read).await
    }
}

/// What Keycloak sends back with (OpenID Connect Core, 3.1.2.5 and 3.1.2.6).
#[derive(Deserialize)]
struct Back {
    state: Option<String>,
    code: Option<String>,
    error: Option<String>,
}

/// The routes of the flow, beside the page.
pub(crate) fn routes<S: Clone + Send + Sync + 'static>(login: &Arc<Login>) -> Router<S> {
    Router::new()
        .route(LOGIN, get(begin))
        .route(CALLBACK, get(finish))
        .route(LOGOUT, post(end))
        .with_state(Arc::clone(login))
}

async fn begin(
    State(login): State<Arc<Login>>,
    Extension(visit): Extension<Visit>,
) -> Result<Response, Problem> {
    Ok(login.begin(&visit.origin).await?)
}

async fn finish(
    State(login): State<Arc<Login>>,
    Extension(Visit { origin, .. }): Extension<Visit>,
    headers: HeaderMap,
    Query(Back { state, code, error }): Query<Back>,
) -> Result<Response, Problem> {
    let browser = cookie(&headers, &login.name("login", origin.is_encrypted())).unwrap_or_default();
    let attempt = login.sessions().finish(&state.unwrap_or_default(), browser, login.now());
    let (Some(attempt), Some(code)) = (attempt, code) else {
        let why = error.map(|error| format!(" (Keycloak says {error:?})")).unwrap_or_default();
        return Err(Problem::forbidden(format!(
            "this login was not begun in this browser, was finished already, or was given up{why}; begin again at {LOGIN}"
        )));
    };
    login.finish(&origin, attempt, &code).await
}

async fn end(
    State(login): State<Arc<Login>>,
    Extension(visit): Extension<Visit>,
    headers: HeaderMap,
) -> Response {
    login.end(&visit.origin, &headers).await
}

fn wall() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

/// The value of a cookie (RFC 6265, 5.4).
fn cookie<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let lines = headers.get_all(header::COOKIE).iter().filter_map(|line| line.to_str().ok());
    let mut pairs = lines.flat_map(|line| line.split(';')).filter_map(|pair| pair.trim().split_once('='));
    pairs.find(|(known, _)| *known == name).map(|(_, value)| value)
}

/// `endpoint` with further parameters.
fn with_query(endpoint: &str, parameters: &[(&str, &str)]) -> String {
    let mut location = endpoint.to_owned();
    let mut separator = if endpoint.contains('?') { '&' } else { '?' };
    for (name, value) in parameters {
        location.push(separator);
        location.push_str(name);
        location.push('=');
        value.bytes().for_each(|byte| escape(byte, &mut location));
        separator = '&';
    }
    location
}

/// Only what is never reserved stays as it is (RFC 3986, 2.3).
fn escape(byte: u8, into: &mut String) {
    match byte {
        b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => into.push(char::from(byte)),
        _ => into.push_str(&format!("%{byte:02X}")),
    }
}
