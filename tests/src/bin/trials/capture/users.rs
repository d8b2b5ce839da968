//! What users do at Keycloak's pages and at the account interface.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use keyferry_tests::admin::{PASSWORD, WEB};
use keyferry_tests::browser::{Browser, Step};
use keyferry_tests::http::{Answer, Http, Method};
use keyferry_tests::{Error, Result};
use openssl::hash::MessageDigest;
use openssl::pkey::PKey;
use openssl::sign::Signer;
use serde_json::{Value, json};

use super::{Act, REALM, Scene};

const MAIL_LIMIT: Duration = Duration::from_secs(20);

/// Has users do everything.
pub fn act(scene: &Scene) {
    let acts: [Act; 18] = [
        ("sessions", sessions),
        ("errors of tokens", errors),
        ("registration", registration),
        ("required actions", required_actions),
        ("one-time passwords", one_time_password),
        ("deletion of the own account", delete_account),
        ("forgotten password", forgotten_password),
        ("mail to verify", verified_mail),
        ("restart of a login", restart),
        ("account", account),
        ("mail that cannot be sent", unsent_mail),
        ("a changed address", changed_address),
        ("a credential that is gone", gone_credential),
        ("deletion that is not allowed", refused_deletion),
        ("pages that nobody was led to", stray_pages),
        ("revocation", revocation),
        ("lockout", lockout),
        ("permanent lockout", permanent_lockout),
    ];
    for (what, act) in acts {
        Scene::attempt(what, || act(scene));
    }
}

pub(super) fn browser(scene: &Scene) -> Browser {
    Browser::new(&scene.stage.keycloak.address(), REALM)
}

/// The page that a step led to.
pub(super) fn page(step: Step, what: &'static str) -> Result<Answer> {
    match step {
        Step::Page(page) => Ok(page),
        Step::Code(code) => Err(Error::Missing(format!("{what}: there is no page, but the code {code}"))),
    }
}

/// The page after user name and password.
pub(super) fn after_password(browser: &mut Browser, username: &str, more: &str) -> Result<Answer> {
    let login = browser.visit_for("auth", WEB, more)?;
    page(browser.submit(&login, &[("username", username), ("password", PASSWORD)])?, "after the password")
}

fn require(scene: &Scene, user: &str, action: &str) -> Result<()> {
    scene.stage.admin.put(&Scene::path(&format!("/users/{user}")), &json!({ "requiredActions": [action] }))
}

fn sessions(scene: &Scene) -> Result<()> {
    scene.stage.admin.create_user(REALM, "alice")?;
    let mut alices = browser(scene);
    alices.fail_to_log_in("alice")?;
    let tokens = alices.log_in("alice")?;
    let tokens = alices.refresh(&tokens)?;
    let http = Http::new();
    http.send(Method::Get, &scene.openid("userinfo"), &tokens.access, None)?.success()?;
    alices.log_out(&tokens)
}

fn errors(scene: &Scene) -> Result<()> {
    let http = Http::new();
    let token = scene.openid("token");
    http.post_form(&token, &[("grant_type", "authorization_code"), ("client_id", WEB), ("code", "a.b.c")])?;
    http.post_form(&token, &[("grant_type", "refresh_token"), ("client_id", WEB), ("refresh_token", "x")])?;
    http.post_form(
        &token,
        &[
            ("grant_type", "urn:ietf:params:oauth:grant-type:jwt-bearer"),
            ("client_id", WEB),
            ("assertion", "a.b.c"),
        ],
    )?;
    http.post_form(&scene.openid("logout"), &[("client_id", WEB), ("refresh_token", "x")])?;
    http.send(Method::Get, &scene.openid("userinfo"), "x", None)?;
    Ok(())
}

fn registration(scene: &Scene) -> Result<()> {
    browser(scene).register("carol")?;
    // The name is taken now.
    let _ = browser(scene).register("carol");
    Ok(())
}

fn required_actions(scene: &Scene) -> Result<()> {
    let admin = &scene.stage.admin;
    let user = admin.create_user(REALM, "dan")?;
    require(scene, &user, "UPDATE_PASSWORD")?;
    let mut dans = browser(scene);
    let form = after_password(&mut dans, "dan", "")?;
    let form =
        page(dans.submit(&form, &[("password-new", "a"), ("password-confirm", "b")])?, "two passwords")?;
    dans.submit(&form, &[("password-new", PASSWORD), ("password-confirm", PASSWORD)])?;

    let terms = admin.get(&Scene::path("/authentication/required-actions/TERMS_AND_CONDITIONS"))?;
    let mut terms = terms;
    terms["enabled"] = true.into();
    admin.put(&Scene::path("/authentication/required-actions/TERMS_AND_CONDITIONS"), &terms)?;
    require(scene, &user, "TERMS_AND_CONDITIONS")?;
    let mut dans = browser(scene);
    let form = after_password(&mut dans, "dan", "")?;
    dans.submit(&form, &[("accept", "Accept")])?;

    require(scene, &user, "UPDATE_PROFILE")?;
    let mut dans = browser(scene);
    let form = after_password(&mut dans, "dan", "")?;
    let form = page(dans.submit(&form, &profile("not a mail address"))?, "a wrong address")?;
    dans.submit(&form, &profile("dan@example.com"))?;

    // Nobody logs in without an address.
    let nameless = json!({"username": "erin", "enabled": true, "credentials": [{"type": "password", "value": PASSWORD}]});
    admin.create(&Scene::path("/users"), &nameless)?;
    let mut erins = browser(scene);
    let form = after_password(&mut erins, "erin", "")?;
    erins.submit(
        &form,
        &[("username", "erin"), ("email", "erin@example.org"), ("firstName", "Erin"), ("lastName", "User")],
    )?;
    Ok(())
}

fn profile(email: &str) -> [(&'static str, &str); 4] {
    [("username", "dan"), ("email", email), ("firstName", "Daniel"), ("lastName", "User")]
}

/// A user's one-time password.
struct OneTimePassword {
    user: String,
    id: String,
    secret: String,
}

/// Creates a user who makes himself a one-time password, not without a mistake.
fn set_one_time_password(scene: &Scene, username: &str) -> Result<OneTimePassword> {
    let user = scene.stage.admin.create_user(REALM, username)?;
    require(scene, &user, "CONFIGURE_TOTP")?;
    let mut franks = browser(scene);
    let form = after_password(&mut franks, username, "")?;
    let secret = hidden(&form, "totpSecret")?;
    let fields = |code: &str| {
        [("totp", code.to_owned()), ("totpSecret", secret.clone()), ("userLabel", "phone".to_owned())]
    };
    let wrong = fields("000000");
    let wrong: Vec<(&str, &str)> = wrong.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let form = page(franks.submit(&form, &wrong)?, "a wrong code")?;
    let right = fields(&code(&secret, 0)?);
    let right: Vec<(&str, &str)> = right.iter().map(|(name, value)| (*name, value.as_str())).collect();
    franks.submit(&form, &right)?;
    let credentials = scene.stage.admin.get(&Scene::path(&format!("/users/{user}/credentials")))?;
    let otp = credentials.as_array().and_then(|all| all.iter().find(|one| one["type"] == "otp")).cloned();
    let otp = otp.ok_or_else(|| Error::Missing(format!("there is no one-time password: {credentials}")))?;
    let id = otp["id"].as_str().unwrap_or_default().to_owned();
    Ok(OneTimePassword { user, id, secret })
}

/// The user's own page to delete it.
fn page_to_delete(browser: &mut Browser, username: &str, otp: &OneTimePassword) -> Result<Answer> {
    let form = after_password(browser, username, &format!("&kc_action=delete_credential:{}", otp.id))?;
    // No code is taken twice, and the next one is taken already.
    page(browser.submit(&form, &[("otp", &code(&otp.secret, 1)?)])?, "after the code")
}

fn one_time_password(scene: &Scene) -> Result<()> {
    let otp = set_one_time_password(scene, "frank")?;
    let mut franks = browser(scene);
    let form = page_to_delete(&mut franks, "frank", &otp)?;
    franks.submit(&form, &[("accept", "Confirm")]).map(drop)
}

fn gone_credential(scene: &Scene) -> Result<()> {
    let otp = set_one_time_password(scene, "fritz")?;
    let mut fritzs = browser(scene);
    let form = page_to_delete(&mut fritzs, "fritz", &otp)?;
    let path = format!("/users/{}/credentials/{}", otp.user, otp.id);
    scene.stage.admin.delete(&Scene::path(&path), None)?;
    fritzs.submit(&form, &[("accept", "Confirm")])?;
    // One that there never was.
    let _ = after_password(&mut browser(scene), "fritz", "&kc_action=delete_credential:none");
    Ok(())
}

/// The value of a hidden field of a form.
fn hidden(page: &Answer, name: &'static str) -> Result<String> {
    let missing = || Error::Page { what: name, address: page.request.clone(), page: page.body.clone() };
    let field = page.body.split("<input").find(|field| field.contains(&format!("name=\"{name}\"")));
    let value =
        field.and_then(|field| field.split("value=\"").nth(1)).and_then(|rest| rest.split('"').next());
    value.map(str::to_owned).ok_or_else(missing)
}

/// The code of this half minute, or of one that is to come ([RFC 6238](https://www.rfc-editor.org/rfc/rfc6238)).
fn code(secret: &str, ahead: u64) -> Result<String> {
    let failed = |error: openssl::error::ErrorStack| Error::Missing(format!("a one-time password: {error}"));
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs() / 30 + ahead;
    let key = PKey::hmac(secret.as_bytes()).map_err(failed)?;
    let mut signer = Signer::new(MessageDigest::sha1(), &key).map_err(failed)?;
    let hash = signer.sign_oneshot_to_vec(&now.to_be_bytes()).map_err(failed)?;
    let at = usize::from(hash[hash.len() - 1] & 0xF);
    let number = u32::from_be_bytes([hash[at] & 0x7F, hash[at + 1], hash[at + 2], hash[at + 3]]);
    Ok(format!("{:06}", number % 1_000_000))
}

fn enable(scene: &Scene, action: &str) -> Result<()> {
    let path = Scene::path(&format!("/authentication/required-actions/{action}"));
    let mut there = scene.stage.admin.get(&path)?;
    there["enabled"] = true.into();
    scene.stage.admin.put(&path, &there)
}

/// Creates a user who may delete his account, and returns the path of the mapping by which he may, and the role.
fn may_delete_account(scene: &Scene, username: &str) -> Result<(String, Value)> {
    let admin = &scene.stage.admin;
    let user = admin.create_user(REALM, username)?;
    enable(scene, "delete_account")?;
    let account = admin.client(REALM, "account")?;
    let role = json!([admin.get(&Scene::path(&format!("/clients/{account}/roles/delete-account")))?]);
    let mapping = Scene::path(&format!("/users/{user}/role-mappings/clients/{account}"));
    admin.post(&mapping, &role)?;
    Ok((mapping, role))
}

fn delete_account(scene: &Scene) -> Result<()> {
    may_delete_account(scene, "grace")?;
    let mut graces = browser(scene);
    let form = after_password(&mut graces, "grace", "&kc_action=delete_account")?;
    graces.submit(&form, &[]).map(drop)
}

fn refused_deletion(scene: &Scene) -> Result<()> {
    let (mapping, role) = may_delete_account(scene, "gwen")?;
    let mut gwens = browser(scene);
    let form = after_password(&mut gwens, "gwen", "&kc_action=delete_account")?;
    scene.stage.admin.delete(&mapping, Some(&role))?;
    gwens.submit(&form, &[]).map(drop)
}

fn unsent_mail(scene: &Scene) -> Result<()> {
    let user = scene.stage.admin.create_user(REALM, "sybil")?;
    require(scene, &user, "VERIFY_EMAIL")?;
    scene.stage.admin.create_user(REALM, "sven")?;
    scene.without_mail(|| {
        after_password(&mut browser(scene), "sybil", "")?;
        let mut svens = browser(scene);
        let reset = scene.address(&format!("login-actions/reset-credentials?client_id={WEB}"));
        let form = page(svens.follow(&reset)?, "reset")?;
        svens.submit(&form, &[("username", "sven")]).map(drop)
    })
}

fn changed_address(scene: &Scene) -> Result<()> {
    enable(scene, "UPDATE_EMAIL")?;
    scene.stage.admin.create_user(REALM, "emma")?;
    let mut emmas = browser(scene);
    let form = after_password(&mut emmas, "emma", "&kc_action=UPDATE_EMAIL")?;
    emmas.submit(&form, &[("email", "emma@example.net")]).map(drop)
}

/// Addresses without the login that they belong to.
fn stray_pages(scene: &Scene) -> Result<()> {
    for page in ["restart", "first-broker-login", "post-broker-login", "action-token"] {
        let address = scene.address(&format!("login-actions/{page}?client_id={WEB}&tab_id=none&key=none"));
        browser(scene).open(&address)?;
    }
    Ok(())
}

fn revocation(scene: &Scene) -> Result<()> {
    scene.stage.admin.create_user(REALM, "rupert")?;
    let tokens = browser(scene).log_in("rupert")?;
    for token in [tokens.refresh.as_str(), "x"] {
        Http::new().post_form(&scene.openid("revoke"), &[("client_id", WEB), ("token", token)])?;
    }
    Ok(())
}

/// The link in the last mail to `to`.
pub(super) fn link(scene: &Scene, to: &str) -> Result<String> {
    let is_meant = |mail: &keyferry_tests::receiver::Received| mail.head.iter().any(|line| line.contains(to));
    let mail = scene.mail.wait_for(&format!("a mail to {to}"), MAIL_LIMIT, is_meant)?;
    let text = mail
        .body
        .replace("=\r\n", "")
        .replace("=\n", "")
        .replace("=3D", "=")
        .replace("&amp;", "&")
        .replace("&#61;", "=");
    let link =
        text.split_once("http://").and_then(|(_, rest)| rest.split(['\r', '\n', '"', ' ', '<']).next());
    link.map(|link| format!("http://{link}")).ok_or_else(|| Error::Missing(format!("a link in {text}")))
}

fn forgotten_password(scene: &Scene) -> Result<()> {
    scene.stage.admin.create_user(REALM, "heidi")?;
    let reset = scene.address(&format!("login-actions/reset-credentials?client_id={WEB}"));
    let mut somebodys = browser(scene);
    let form = page(somebodys.follow(&reset)?, "reset")?;
    somebodys.submit(&form, &[("username", "nobody")])?;
    let mut heidis = browser(scene);
    let form = page(heidis.follow(&reset)?, "reset")?;
    heidis.submit(&form, &[("username", "heidi")])?;
    let form = page(heidis.follow(&link(scene, "heidi@example.org")?)?, "the link in the mail")?;
    heidis.submit(&form, &[("password-new", PASSWORD), ("password-confirm", PASSWORD)])?;
    Ok(())
}

fn verified_mail(scene: &Scene) -> Result<()> {
    let user = scene.stage.admin.create_user(REALM, "ivan")?;
    require(scene, &user, "VERIFY_EMAIL")?;
    let mut ivans = browser(scene);
    after_password(&mut ivans, "ivan", "")?;
    let to_verify = link(scene, "ivan@example.org")?;
    ivans.follow(&to_verify)?;
    // Once more, where nobody knows that it was followed.
    browser(scene).follow(&to_verify)?;
    // An administrator asks for several things at once.
    let judy = scene.stage.admin.create_user(REALM, "judy")?;
    scene
        .stage
        .admin
        .put(&Scene::path(&format!("/users/{judy}/execute-actions-email")), &json!(["UPDATE_PASSWORD"]))?;
    let mut judys = browser(scene);
    let to_act = link(scene, "judy@example.org")?;
    let proceed = page(judys.follow(&to_act)?, "the link in the mail")?;
    let address = proceed
        .body
        .split("href=\"")
        .find(|part| part.contains("action-token"))
        .and_then(|part| part.split('"').next());
    if let Some(address) = address {
        let form = page(judys.follow(&address.replace("&amp;", "&"))?, "proceed")?;
        judys.submit(&form, &[("password-new", PASSWORD), ("password-confirm", PASSWORD)])?;
    }
    browser(scene).follow(&to_act).map(drop)
}

fn restart(scene: &Scene) -> Result<()> {
    let mut browser = browser(scene);
    let form = browser.visit_for("auth", WEB, "")?;
    let action =
        form.body.split("action=\"").nth(1).and_then(|rest| rest.split('"').next()).unwrap_or_default();
    let action = action.replace("&amp;", "&").replace("/authenticate?", "/restart?");
    browser.follow(&action)?;
    Ok(())
}

/// An access token for the account interface.
pub(super) fn token(scene: &Scene, username: &str) -> Result<String> {
    let form = [
        ("grant_type", "password"),
        ("client_id", WEB),
        ("username", username),
        ("password", PASSWORD),
        ("scope", "openid"),
    ];
    let answer = Http::new().post_form(&scene.openid("token"), &form)?.success()?;
    let token = answer.json()?["access_token"].as_str().map(str::to_owned);
    token.ok_or_else(|| Error::Missing("an access token".to_owned()))
}

fn account(scene: &Scene) -> Result<()> {
    scene.stage.admin.create_user(REALM, "kim")?;
    let token = token(scene, "kim")?;
    let base = scene.address("account");
    let http = Http::new();
    let changed =
        json!({"username": "kim", "firstName": "Kimberly", "lastName": "User", "email": "kim@example.com"});
    http.send(Method::Post, &format!("{base}/"), &token, Some(&changed))?.success()?;
    let wrong = json!({"username": "kim", "email": "no address"});
    http.send(Method::Post, &format!("{base}/"), &token, Some(&wrong))?;
    consents(&http, &base, &token)?;
    let token = self::token(scene, "kim")?;
    http.send(Method::Delete, &format!("{base}/sessions?current=true"), &token, None)?;
    Ok(())
}

fn consents(http: &Http, base: &str, token: &str) -> Result<()> {
    let consent = format!("{base}/applications/{WEB}/consent");
    let scopes: Value = json!({"grantedScopes": []});
    http.send(Method::Post, &consent, token, Some(&scopes))?;
    http.send(Method::Put, &consent, token, Some(&scopes))?;
    // A scope that there is not, and then a client.
    let none = json!({"grantedScopes": [{"id": "none", "name": "none"}]});
    http.send(Method::Post, &consent, token, Some(&none))?;
    http.send(Method::Put, &consent, token, Some(&none))?;
    let nowhere = format!("{base}/applications/nowhere/consent");
    http.send(Method::Post, &nowhere, token, Some(&scopes))?;
    http.send(Method::Put, &nowhere, token, Some(&scopes))?;
    http.send(Method::Delete, &nowhere, token, None)?;
    // The last of them, because it ends the session of the client whose token that is.
    http.send(Method::Delete, &consent, token, None)?;
    Ok(())
}

fn lock(scene: &Scene, username: &str, is_permanent: bool) -> Result<()> {
    let admin = &scene.stage.admin;
    admin.create_user(REALM, username)?;
    let protection =
        json!({"bruteForceProtected": true, "failureFactor": 2, "permanentLockout": is_permanent});
    admin.put(&Scene::path(""), &protection)?;
    for _ in 0..4 {
        let _ = browser(scene).fail_to_log_in(username);
    }
    admin.put(&Scene::path(""), &json!({"bruteForceProtected": false, "permanentLockout": false}))
}

fn lockout(scene: &Scene) -> Result<()> {
    lock(scene, "leo", false)
}

fn permanent_lockout(scene: &Scene) -> Result<()> {
    lock(scene, "mia", true)
}
