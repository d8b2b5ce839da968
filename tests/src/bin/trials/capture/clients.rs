//! What applications do: tokens of all kinds, devices, and their own registration.

use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD as BASE64_URL;
use keyferry_tests::admin::{PASSWORD, SERVICE, WEB};
use keyferry_tests::browser::{Browser, Step};
use keyferry_tests::http::{Http, Method};
use keyferry_tests::receiver::Received;
use keyferry_tests::{Error, Result};
use openssl::error::ErrorStack;
use openssl::hash::MessageDigest;
use openssl::pkey::{PKey, Private};
use openssl::rsa::Rsa;
use openssl::sign::Signer;
use serde_json::{Value, json};

use super::{Act, REALM, Scene};

pub(super) const SECRET: &str = "secret-of-the-application";
const EXCHANGE: &str = "urn:ietf:params:oauth:grant-type:token-exchange";
const ACCESS_TOKEN: &str = "urn:ietf:params:oauth:token-type:access_token";
const DEVICE: &str = "urn:ietf:params:oauth:grant-type:device_code";
const TICKET: &str = "urn:ietf:params:oauth:grant-type:uma-ticket";
const ASSERTION: &str = "urn:ietf:params:oauth:grant-type:jwt-bearer";
const BACKCHANNEL: &str = "urn:openid:params:grant-type:ciba";
/// Whose assertions are taken.
const SIGNER: &str = "https://signer.example.org";
const CHANNEL_LIMIT: Duration = Duration::from_secs(20);

/// Has applications do everything.
pub fn act(scene: &Scene) {
    let acts: [Act; 10] = [
        ("service", service),
        ("introspection", introspection),
        ("exchange", exchange),
        ("assertion", assertion),
        ("a yes from elsewhere", backchannel),
        ("device", device),
        ("pushed request", pushed_request),
        ("consent", consent),
        ("permissions", permissions),
        ("registration of clients", registration),
    ];
    for (what, act) in acts {
        Scene::attempt(what, || act(scene));
    }
}

pub(super) fn text(value: &Value, name: &str) -> Result<String> {
    value[name].as_str().map(str::to_owned).ok_or_else(|| Error::Missing(format!("`{name}` in {value}")))
}

/// A token that the application gets for itself.
fn own_token(scene: &Scene, client: &str, secret: &str) -> Result<String> {
    let form = [("grant_type", "client_credentials"), ("client_id", client), ("client_secret", secret)];
    text(&Http::new().post_form(&scene.openid("token"), &form)?.success()?.json()?, "access_token")
}

fn service(scene: &Scene) -> Result<()> {
    let http = Http::new();
    let (client, secret) = SERVICE;
    let token = own_token(scene, client, secret)?;
    let wrong = [("grant_type", "client_credentials"), ("client_id", client), ("client_secret", "wrong")];
    http.post_form(&scene.openid("token"), &wrong)?;
    let introspect = scene.openid("token/introspect");
    http.post_form(&introspect, &[("client_id", client), ("client_secret", secret), ("token", &token)])?;
    http.post_form(&introspect, &[("client_id", client), ("client_secret", secret), ("token", "x")])?;
    http.post_form(&introspect, &[("client_id", client), ("client_secret", secret)])?;
    let node =
        [("client_id", client), ("client_secret", secret), ("client_cluster_host", "node-1.example.org")];
    for name in ["register-node", "unregister-node"] {
        http.post_form(&scene.address(&format!("clients-managements/{name}")), &node)?;
    }
    let nobody =
        [("client_id", client), ("client_secret", "wrong"), ("client_cluster_host", "node-1.example.org")];
    for name in ["register-node", "unregister-node"] {
        http.post_form(&scene.address(&format!("clients-managements/{name}")), &nobody)?;
    }
    Ok(())
}

/// Somebody who may ask what a token is worth.
fn introspection(scene: &Scene) -> Result<()> {
    let audience = json!({"name": "itself", "protocol": "openid-connect", "protocolMapper": "oidc-audience-mapper",
        "config": {"included.client.audience": "auditor", "access.token.claim": "true", "introspection.token.claim": "true"}});
    create_client(scene, "auditor", &json!({ "protocolMappers": [audience] }))?;
    let token = own_token(scene, "auditor", SECRET)?;
    let form = [("client_id", "auditor"), ("client_secret", SECRET), ("token", token.as_str())];
    Http::new().post_form(&scene.openid("token/introspect"), &form)?.success().map(drop)
}

fn failed(error: ErrorStack) -> Error {
    Error::Missing(format!("a signature: {error}"))
}

/// A token with these claims ([RFC 7515](https://www.rfc-editor.org/rfc/rfc7515)).
fn signed(key: &PKey<Private>, claims: &Value) -> Result<String> {
    let part = |value: &Value| BASE64_URL.encode(value.to_string());
    let signed = format!("{}.{}", part(&json!({"alg": "RS256", "typ": "JWT", "kid": "k1"})), part(claims));
    let mut signer = Signer::new(MessageDigest::sha256(), key).map_err(failed)?;
    let signature = signer.sign_oneshot_to_vec(signed.as_bytes()).map_err(failed)?;
    Ok(format!("{signed}.{}", BASE64_URL.encode(signature)))
}

/// An application brings the word of somebody whom the realm trusts for who a user is ([RFC 7523](https://www.rfc-editor.org/rfc/rfc7523)).
fn assertion(scene: &Scene) -> Result<()> {
    let admin = &scene.stage.admin;
    let key = PKey::from_rsa(Rsa::generate(2048).map_err(failed)?).map_err(failed)?;
    let public = key.public_key_to_pem().map_err(failed)?;
    let config = json!({"issuer": SIGNER, "useJwksUrl": "false", "publicKeySignatureVerifier": String::from_utf8_lossy(&public),
        "publicKeySignatureVerifierKeyId": "k1", "jwtAuthorizationGrantEnabled": "true", "jwtAuthorizationGrantAssertionSignatureAlg": "RS256"});
    let provider = json!({"alias": "signer", "providerId": "jwt-authorization-grant", "enabled": true, "config": config});
    admin.post(&Scene::path("/identity-provider/instances"), &provider)?;
    let user = admin.create_user(REALM, "quentin")?;
    let link = json!({"identityProvider": "signer", "userId": "q-1", "userName": "quentin"});
    admin.post(&Scene::path(&format!("/users/{user}/federated-identity/signer")), &link)?;
    let granted = json!({"oauth2.jwt.authorization.grant.enabled": "true", "oauth2.jwt.authorization.grant.idp": "signer"});
    create_client(scene, "bearer", &json!({ "attributes": granted }))?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let realm = scene.address("").trim_end_matches('/').to_owned();
    let claims = json!({"iss": SIGNER, "sub": "q-1", "aud": realm, "preferred_username": "quentin", "iat": now, "exp": now + 60, "jti": "once"});
    let assertion = signed(&key, &claims)?;
    let form = [
        ("grant_type", ASSERTION),
        ("client_id", "bearer"),
        ("client_secret", SECRET),
        ("assertion", assertion.as_str()),
    ];
    Http::new().post_form(&scene.openid("token"), &form)?.success().map(drop)
}

/// A user says yes on a device of the user's own, of which the realm is told by the authentication channel (CIBA).
fn backchannel(scene: &Scene) -> Result<()> {
    let attributes =
        json!({"oidc.ciba.grant.enabled": "true", "ciba.backchannel.token.delivery.mode": "poll"});
    create_client(scene, "counter", &json!({ "attributes": attributes }))?;
    scene.stage.admin.create_user(REALM, "ruth")?;
    let http = Http::new();
    let asked = [
        ("client_id", "counter"),
        ("client_secret", SECRET),
        ("scope", "openid"),
        ("login_hint", "ruth"),
        ("binding_message", "pay"),
    ];
    let asked = http.post_form(&scene.openid("ext/ciba/auth"), &asked)?.success()?.json()?;
    let id = text(&asked, "auth_req_id")?;
    let is_asked = |asked: &Received| asked.bearer().is_some();
    let told = scene.channel.wait_for("the question to the user", CHANNEL_LIMIT, is_asked)?;
    let token = told.bearer().unwrap_or_default();
    let yes = json!({"status": "SUCCEED"});
    http.send(Method::Post, &scene.openid("ext/ciba/auth/callback"), token, Some(&yes))?.success()?;
    // It must not ask more often than every five seconds.
    thread::sleep(Duration::from_secs(6));
    let form = [
        ("grant_type", BACKCHANNEL),
        ("client_id", "counter"),
        ("client_secret", SECRET),
        ("auth_req_id", id.as_str()),
    ];
    // Of which question it speaks is missing.
    http.post_form(&scene.openid("token"), &form[..3])?;
    http.post_form(&scene.openid("token"), &form)?.success().map(drop)
}

pub(super) fn create_client(scene: &Scene, client: &str, more: &Value) -> Result<String> {
    let mut settings = json!({
        "clientId": client, "secret": SECRET, "publicClient": false, "redirectUris": ["http://localhost/callback"],
        "standardFlowEnabled": true, "directAccessGrantsEnabled": true, "serviceAccountsEnabled": true,
    });
    if let (Some(settings), Some(more)) = (settings.as_object_mut(), more.as_object()) {
        settings.extend(more.clone());
    }
    scene.stage.admin.create(&Scene::path("/clients"), &settings)
}

fn exchange(scene: &Scene) -> Result<()> {
    create_client(scene, "exchanger", &json!({"attributes": {"standard.token.exchange.enabled": "true"}}))?;
    scene.stage.admin.create_user(REALM, "nina")?;
    let http = Http::new();
    let form = [
        ("grant_type", "password"),
        ("client_id", "exchanger"),
        ("client_secret", SECRET),
        ("username", "nina"),
        ("password", PASSWORD),
    ];
    let token = text(&http.post_form(&scene.openid("token"), &form)?.success()?.json()?, "access_token")?;
    for subject in [token.as_str(), "x"] {
        let form = [
            ("grant_type", EXCHANGE),
            ("client_id", "exchanger"),
            ("client_secret", SECRET),
            ("subject_token", subject),
            ("subject_token_type", ACCESS_TOKEN),
        ];
        http.post_form(&scene.openid("token"), &form)?;
    }
    Ok(())
}

fn device(scene: &Scene) -> Result<()> {
    create_client(
        scene,
        "television",
        &json!({"attributes": {"oauth2.device.authorization.grant.enabled": "true"}}),
    )?;
    scene.stage.admin.create_user(REALM, "oscar")?;
    let http = Http::new();
    http.post_form(&scene.openid("auth/device"), &[("client_id", WEB)])?;
    let form = [("client_id", "television"), ("client_secret", SECRET)];
    let offered = http.post_form(&scene.openid("auth/device"), &form)?.success()?.json()?;
    let code = text(&offered, "device_code")?;
    let token = [
        ("grant_type", DEVICE),
        ("client_id", "television"),
        ("client_secret", SECRET),
        ("device_code", &code),
    ];
    http.post_form(&scene.openid("token"), &token)?;
    let none = [
        ("grant_type", DEVICE),
        ("client_id", "television"),
        ("client_secret", SECRET),
        ("device_code", "none"),
    ];
    http.post_form(&scene.openid("token"), &none)?;
    let mut oscars = Browser::new(&scene.stage.keycloak.address(), REALM);
    let page = scene.address("device");
    // A code that no device was given, which is an event of its own.
    oscars.follow(&format!("{page}?user_code=NONE-SUCH"))?;
    let step = oscars.follow(&text(&offered, "verification_uri_complete")?)?;
    let Step::Page(login) = step else { return Err(Error::Missing("a login page".to_owned())) };
    let step = oscars.submit(&login, &[("username", "oscar"), ("password", PASSWORD)])?;
    let Step::Page(consent) = step else { return Err(Error::Missing("a page for consent".to_owned())) };
    oscars.submit(&consent, &[("accept", "Yes")])?;
    // It must not ask more often than every five seconds.
    thread::sleep(Duration::from_secs(6));
    http.post_form(&scene.openid("token"), &token)?.success().map(drop)
}

fn pushed_request(scene: &Scene) -> Result<()> {
    let http = Http::new();
    for redirect in ["http://localhost/callback", "http://elsewhere.example.org/"] {
        let form = [
            ("client_id", "exchanger"),
            ("client_secret", SECRET),
            ("response_type", "code"),
            ("redirect_uri", redirect),
        ];
        http.post_form(&scene.openid("ext/par/request"), &form)?;
    }
    Ok(())
}

fn consent(scene: &Scene) -> Result<()> {
    create_client(scene, "careful", &json!({"publicClient": true, "consentRequired": true}))?;
    scene.stage.admin.create_user(REALM, "peggy")?;
    for answer in [("cancel", "No"), ("accept", "Yes")] {
        let mut peggys = Browser::new(&scene.stage.keycloak.address(), REALM);
        let login = peggys.visit_for("auth", "careful", "")?;
        let step = peggys.submit(&login, &[("username", "peggy"), ("password", PASSWORD)])?;
        let Step::Page(asked) = step else { return Err(Error::Missing("a page for consent".to_owned())) };
        // A refusal leads back without a code.
        let _ = peggys.submit(&asked, &[answer]);
    }
    Ok(())
}

fn permissions(scene: &Scene) -> Result<()> {
    create_client(scene, "warehouse", &json!({"authorizationServicesEnabled": true}))?;
    let admin = &scene.stage.admin;
    let server = format!("/clients/{}/authz/resource-server", admin.client(REALM, "warehouse")?);
    let create = |path: &str, body: &Value| -> Result<Value> {
        admin.send(Method::Post, &Scene::path(&format!("{server}/{path}")), Some(body))?.success()?.json()
    };
    let policy = json!({"name": "its own", "type": "client", "clients": [admin.client(REALM, "warehouse")?]});
    let policy = create("policy/client", &policy)?;
    let resource = create("resource", &json!({"name": "stock"}))?;
    let permission = json!({"name": "stock", "type": "resource", "resources": [resource["_id"]], "policies": [policy["id"]]});
    create("permission/resource", &permission)?;
    let token = own_token(scene, "warehouse", SECRET)?;
    for audience in ["warehouse", "nowhere"] {
        let form = [
            ("grant_type", TICKET),
            ("audience", audience),
            ("client_id", "warehouse"),
            ("client_secret", SECRET),
            ("subject_token", &token),
        ];
        Http::new().post_form(&scene.openid("token"), &form)?;
    }
    Ok(())
}

fn registration(scene: &Scene) -> Result<()> {
    let http = Http::new();
    let initial = scene.stage.admin.send(
        Method::Post,
        &Scene::path("/clients-initial-access"),
        Some(&json!({"count": 2})),
    )?;
    let initial = text(&initial.success()?.json()?, "token")?;
    let base = scene.address("clients-registrations/default");
    let settings = json!({"clientId": "self-made", "redirectUris": ["http://localhost/callback"]});
    let registered = http.send(Method::Post, &base, &initial, Some(&settings))?.success()?.json()?;
    // The name is taken now.
    http.send(Method::Post, &base, &initial, Some(&settings))?;
    http.send(Method::Post, &base, "x", Some(&settings))?;
    let own = format!("{base}/self-made");
    let mut token = text(&registered, "registrationAccessToken")?;
    let seen = http.send(Method::Get, &own, &token, None)?.success()?.json()?;
    token = text(&seen, "registrationAccessToken").unwrap_or(token);
    let changed = http.send(Method::Put, &own, &token, Some(&settings))?.success()?.json()?;
    token = text(&changed, "registrationAccessToken").unwrap_or(token);
    for method in [Method::Get, Method::Put, Method::Delete] {
        let body = matches!(method, Method::Put).then_some(&settings);
        http.send(method, &own, "x", body)?;
    }
    http.send(Method::Delete, &own, &token, None)?.success().map(drop)
}
