//! Logging in at a Keycloak that only pretends: what is believed, and what a browser can do with it. The real one is in the suite `monitoring`.

#![allow(clippy::unwrap_used, reason = "tests")]

mod support;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use keyferry_server::access::Listening;
use keyferry_server::oidc::{Http, RoleNames, Settings};
use openssl::hash::MessageDigest;
use openssl::pkey::{PKey, Private};
use openssl::rsa::Rsa;
use openssl::sha::sha256;
use openssl::sign::Signer;
use serde_json::{Value, json};
use support::listener::{Answer, BREAKER, JSON, Listener, OPEN, bearer};

const ISSUER: &str = "https://keycloak.example.org/realms/ops";
const SECRET: &str = "the secret of the client";

/// What it gives out next, and what was asked of it.
struct Keycloak {
    key: PKey<Private>,
    jwk: Value,
    next: Mutex<Next>,
    posted: Mutex<Vec<BTreeMap<String, String>>>,
    keys_read: Mutex<u32>,
}

#[derive(Clone)]
struct Next {
    nonce: String,
    challenge: String,
    roles: Vec<&'static str>,
    /// Changes the claims of both tokens before they are signed.
    change: fn(&mut Value),
}

impl Keycloak {
    fn start() -> Arc<Self> {
        let rsa = Rsa::generate(2048).unwrap();
        let (n, e) = (encoded(rsa.n().to_vec()), encoded(rsa.e().to_vec()));
        let jwk = json!({ "kty": "RSA", "kid": "k", "use": "sig", "alg": "RS256", "n": n, "e": e });
        let next = Next { nonce: String::new(), challenge: String::new(), roles: Vec::new(), change: |_| {} };
        Arc::new(Self {
            key: PKey::from_rsa(rsa).unwrap(),
            jwk,
            next: Mutex::new(next),
            posted: Mutex::default(),
            keys_read: Mutex::default(),
        })
    }

    fn signed(&self, kind: &str, change: fn(&mut Value)) -> String {
        let next = self.next.lock().unwrap().clone();
        let mut claims = json!({
            "iss": ISSUER, "aud": "keyferry", "azp": "keyferry", "exp": now() + 60, "nonce": next.nonce, "typ": kind, "sub": "7",
            "preferred_username": "alice", "realm_access": { "roles": next.roles },
        });
        change(&mut claims);
        let text = format!("{}.{}", encoded(r#"{"alg":"RS256","kid":"k"}"#), encoded(claims.to_string()));
        let signer = Signer::new(MessageDigest::sha256(), &self.key);
        let signature = signer.unwrap().sign_oneshot_to_vec(text.as_bytes()).unwrap();
        format!("{text}.{}", encoded(signature))
    }
}

impl Http for Keycloak {
    fn get(&self, url: &str) -> Result<Vec<u8>, String> {
        if let Some(path) = url.strip_prefix(ISSUER) {
            return match path {
                "/.well-known/openid-configuration" => Ok(json!({
                    "issuer": ISSUER, "authorization_endpoint": format!("{ISSUER}/auth"), "token_endpoint": format!("{ISSUER}/token"),
                    "jwks_uri": format!("{ISSUER}/certs"), "end_session_endpoint": format!("{ISSUER}/logout"),
                })
                .to_string()
                .into_bytes()),
                "/certs" => {
                    *self.keys_read.lock().unwrap() += 1;
                    Ok(json!({ "keys": [self.jwk] }).to_string().into_bytes())
                }
                _ => Err("status 404".to_owned()),
            };
        }
        Err("nobody is there".to_owned())
    }

    fn post(&self, url: &str, form: &[(&str, &str)]) -> Result<Vec<u8>, String> {
        let form: BTreeMap<String, String> =
            form.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        self.posted.lock().unwrap().push(form.clone());
        if form.get("client_secret").map(String::as_str) != Some(SECRET) {
            return Err("status 401".to_owned());
        }
        if url.ends_with("/logout") {
            return Ok(Vec::new());
        }
        let next = self.next.lock().unwrap().clone();
        if encoded(sha256(form["code_verifier"].as_bytes())) != next.challenge || form["code"] != "the-code" {
            return Err("status 400".to_owned());
        }
        let (id, access) = (self.signed("ID", next.change), self.signed("Bearer", next.change));
        Ok(json!({ "id_token": id, "access_token": access, "refresh_token": "refresh" })
            .to_string()
            .into_bytes())
    }
}

fn encoded(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

fn listener(keycloak: &Arc<Keycloak>, session: Duration) -> Listener {
    let roles = RoleNames {
        viewer: "keyferry-viewer".to_owned(),
        operator: "keyferry-operator".to_owned(),
        admin: "keyferry-admin".to_owned(),
    };
    let oidc = Settings {
        issuer: ISSUER.to_owned(),
        client_id: "keyferry".to_owned(),
        client_secret: Some(Box::new(|| Ok(SECRET.to_owned()))),
        roles,
        session,
        http: Arc::clone(keycloak) as _,
    };
    Listener::with(|listening| Listening { oidc: Some(oidc), ..listening })
}

/// A browser: it keeps cookies.
struct Browser<'a> {
    listener: &'a Listener,
    cookies: BTreeMap<String, String>,
}

impl<'a> Browser<'a> {
    fn of(listener: &'a Listener) -> Self {
        Self { listener, cookies: BTreeMap::new() }
    }

    fn send(&mut self, method: &str, path: &str, more: &[(&str, &str)], body: &str) -> Answer {
        let cookies: Vec<_> = self.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let (host, cookies) = (self.listener.host(), cookies.join("; "));
        let headers = [&[("Host", host.as_str()), ("Cookie", cookies.as_str())], more].concat();
        let answer = self.listener.send(method, path, &headers, body);
        for line in answer.head.lines().filter_map(|line| line.split_once(": ")) {
            if let ("set-cookie", cookie) = (line.0.to_ascii_lowercase().as_str(), line.1) {
                let (name, value) = cookie.split(';').next().unwrap().split_once('=').unwrap();
                self.cookies.insert(name.to_owned(), value.to_owned());
                assert!(cookie.contains("HttpOnly") && cookie.contains("Path=/;"), "{cookie}");
                let strict = if name.contains("session") { "SameSite=Strict" } else { "SameSite=Lax" };
                assert!(cookie.contains(strict), "{cookie}");
            }
        }
        answer
    }

    fn get(&mut self, path: &str) -> Answer {
        self.send("GET", path, &[], "")
    }

    /// Is sent to Keycloak, which is told who logs in with which roles; answers the state that it would send back.
    fn begin(&mut self, keycloak: &Keycloak, roles: &[&'static str]) -> String {
        let answer = self.get("/oidc/login");
        assert_eq!(answer.status, 303, "{answer:?}");
        let location = answer.header("location").unwrap().to_owned();
        let (endpoint, query) = location.split_once('?').unwrap();
        assert_eq!(endpoint, format!("{ISSUER}/auth"));
        let query: BTreeMap<&str, &str> = query.split('&').filter_map(|pair| pair.split_once('=')).collect();
        let host = self.listener.host().replace(':', "%3A");
        assert_eq!(query["redirect_uri"], format!("http%3A%2F%2F{host}%2Foidc%2Fcallback"));
        assert_eq!((query["response_type"], query["code_challenge_method"]), ("code", "S256"));
        let mut next = keycloak.next.lock().unwrap();
        (next.nonce, next.challenge) = (query["nonce"].to_owned(), query["code_challenge"].to_owned());
        next.roles = roles.to_vec();
        query["state"].to_owned()
    }

    fn log_in(&mut self, keycloak: &Keycloak, roles: &[&'static str]) -> Answer {
        let state = self.begin(keycloak, roles);
        self.get(&format!("/oidc/callback?state={state}&code=the-code"))
    }

    fn open_breaker(&mut self) -> Answer {
        let origin = format!("http://{}", self.listener.host());
        self.send("PUT", BREAKER, &[JSON, ("Origin", &origin)], OPEN)
    }

    fn session(&mut self) -> Value {
        serde_json::from_str(&self.get("/api/v1/session").body).unwrap()
    }
}

const HOUR: Duration = Duration::from_secs(3_600);

#[test]
fn who_has_a_role_in_keycloak_has_it_here_until_he_logs_out() {
    let keycloak = Keycloak::start();
    let listener = listener(&keycloak, HOUR);
    let mut alice = Browser::of(&listener);
    alice.get("/api/v1/status").is_refused(401, "login");
    assert_eq!(alice.session(), json!({ "who": null, "role": null, "login": "/oidc/login", "logout": null }));
    let answer = alice.log_in(&keycloak, &["keyferry-operator", "keyferry-viewer"]);
    assert_eq!((answer.status, answer.header("location")), (303, Some("/")));
    assert!(!answer.head.contains("eyJ"), "no token reaches the browser: {answer:?}");
    let session = json!({ "who": "user \"alice\"", "role": "operator", "login": "/oidc/login", "logout": "/oidc/logout" });
    assert_eq!(alice.session(), session);
    assert_eq!(alice.get("/api/v1/status").status, 200);
    assert_eq!(alice.open_breaker().status, 200);
    let origin = format!("http://{}", listener.host());
    let configure = alice.send("PATCH", "/api/v1/config", &[JSON, ("Origin", &origin)], "{}");
    configure.is_refused(
        403,
        "takes the role admin, and user \"alice\" has the role operator".replace('"', "\\\"").as_str(),
    );
    Browser::of(&listener).get("/api/v1/status").is_refused(401, "login");

    let kept = alice.cookies.clone();
    assert_eq!(alice.send("POST", "/oidc/logout", &[JSON, ("Origin", &origin)], "").status, 204);
    assert_eq!(keycloak.posted.lock().unwrap().last().unwrap()["refresh_token"], "refresh");
    alice.cookies = kept;
    alice.get("/api/v1/status").is_refused(401, "login");
    assert_eq!(*keycloak.keys_read.lock().unwrap(), 1, "keys are kept");
}

#[test]
fn a_change_that_another_page_has_a_browser_send_is_refused_cookie_or_not() {
    let keycloak = Keycloak::start();
    let listener = listener(&keycloak, HOUR);
    let mut alice = Browser::of(&listener);
    alice.log_in(&keycloak, &["keyferry-admin"]);
    let mut change = |more: &[(&str, &str)]| alice.send("PUT", BREAKER, more, OPEN);
    change(&[JSON]).is_refused(403, "header Origin");
    change(&[JSON, ("Origin", "http://evil.example")]).is_refused(403, "another origin");
    change(&[("Content-Type", "text/plain")]).is_refused(415, "application/json");
    let origin = format!("http://{}", listener.host());
    change(&[JSON, ("Origin", &origin), ("Sec-Fetch-Site", "cross-site")]).is_refused(403, "another site");
    assert!(listener.agent.asked().is_empty());
    assert_eq!(change(&[JSON, ("Origin", &origin)]).status, 200);
}

#[test]
fn a_login_is_finished_once_and_by_the_browser_that_has_begun_it() {
    let keycloak = Keycloak::start();
    let listener = listener(&keycloak, HOUR);
    let (mut alice, mut eve) = (Browser::of(&listener), Browser::of(&listener));
    let state = alice.begin(&keycloak, &["keyferry-admin"]);
    eve.get(&format!("/oidc/callback?state={state}&code=the-code")).is_refused(403, "begin again");
    assert_eq!(eve.session()["role"], Value::Null);
    for back in ["", "?state=x&code=the-code", "?error=access_denied&state=x"] {
        alice.get(&format!("/oidc/callback{back}")).is_refused(403, "begin again");
    }
    assert!(keycloak.posted.lock().unwrap().is_empty(), "no code is redeemed for it");
    let state = alice.begin(&keycloak, &["keyferry-admin"]);
    let back = format!("/oidc/callback?state={state}&code=the-code");
    assert_eq!(alice.get(&back).status, 303);
    alice.get(&back).is_refused(403, "finished already");
}

#[test]
fn what_is_not_signed_for_this_login_logs_nobody_in() {
    let keycloak = Keycloak::start();
    let listener = listener(&keycloak, HOUR);
    let changes: [fn(&mut Value); 6] = [
        |claims| claims["iss"] = json!("https://evil.example/realms/ops"),
        |claims| claims["nonce"] = json!("of another login"),
        |claims| (claims["aud"], claims["azp"]) = (json!("other"), json!("other")),
        |claims| claims["exp"] = json!(now() - 120),
        |claims| claims["sub"] = json!(claims["typ"]),
        |claims| claims["typ"] = json!("Refresh"),
    ];
    for (number, change) in changes.into_iter().enumerate() {
        keycloak.next.lock().unwrap().change = change;
        let mut alice = Browser::of(&listener);
        let answer = alice.log_in(&keycloak, &["keyferry-admin"]);
        assert_eq!(answer.status, 503, "{number}: {answer:?}");
        assert_eq!(alice.session()["role"], Value::Null, "{number}");
    }
    keycloak.next.lock().unwrap().change = |_| {};
    let mut alice = Browser::of(&listener);
    alice
        .log_in(&keycloak, &["offline_access"])
        .is_refused(403, "keyferry-viewer, keyferry-operator and keyferry-admin");
    assert_eq!(alice.session()["role"], Value::Null);
}

#[test]
fn a_session_ends_by_itself() {
    let keycloak = Keycloak::start();
    let listener = listener(&keycloak, Duration::from_millis(300));
    let mut alice = Browser::of(&listener);
    alice.log_in(&keycloak, &["keyferry-viewer"]);
    std::thread::sleep(Duration::from_millis(400));
    alice.get("/api/v1/status").is_refused(401, "login");
}

#[test]
fn an_access_token_of_keycloaks_is_a_token_and_nothing_else_of_its_is() {
    let keycloak = Keycloak::start();
    let listener = listener(&keycloak, HOUR);
    keycloak.next.lock().unwrap().roles = vec!["keyferry-operator"];
    let ask = |token: &str| listener.get("/api/v1/session", &[("Authorization", &bearer(token))]);
    let right = keycloak.signed("Bearer", |_| {});
    let answer = ask(&right);
    assert!(
        answer.status == 200 && answer.body.contains("operator") && answer.body.contains("alice"),
        "{answer:?}"
    );
    let changed = listener.change(&[JSON, ("Authorization", &bearer(&right))]);
    assert_eq!(changed.status, 200);
    let (signed, _) = right.rsplit_once('.').unwrap();
    for wrong in [
        keycloak.signed("ID", |_| {}),
        keycloak.signed("Bearer", |claims| claims["exp"] = json!(now() - 120)),
        keycloak.signed("Bearer", |claims| (claims["aud"], claims["azp"]) = (json!("other"), json!("other"))),
        keycloak.signed("Bearer", |claims| claims["realm_access"] = json!({})),
        Keycloak::start().signed("Bearer", |_| {}),
        format!("{signed}."),
    ] {
        ask(&wrong).is_refused(401, "token");
    }
}
