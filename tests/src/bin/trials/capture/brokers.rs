//! Users who come from elsewhere: another realm of the same Keycloak is the partner at which they log in.

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD as BASE64_URL;
use keyferry_tests::admin::{CALLBACK, PASSWORD, WEB};
use keyferry_tests::browser::{Browser, Step};
use keyferry_tests::http::{Answer, Http, Method};
use keyferry_tests::{Error, Result};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::clients::{SECRET, text};
use super::users::{after_password, browser, link, page, token};
use super::{Act, REALM, Scene};

/// The realm of the partner.
const PARTNER: &str = "partner";
/// The partner in the realm, whose tokens are kept, and after whose logins a flow of their own goes on.
const COMPANY: &str = "company";
/// The same in another place, where whoever has the address of a user takes that user over.
const RIVAL: &str = "rival";

/// Has users come from elsewhere.
pub fn act(scene: &Scene) {
    let acts: [Act; 9] = [
        ("the partner", prepare),
        ("a new user of the partner", newcomer),
        ("a user whom both know", acquaintance),
        ("a user whom both know, without mail", unverified),
        ("a link that the user asks for", wanted_link),
        ("a link that the application asks for", application_link),
        ("a link that takes the place of another", override_link),
        ("answers of the partner", answers),
        ("an answer in SAML", saml),
    ];
    for (what, act) in acts {
        Scene::attempt(what, || act(scene));
    }
}

/// The partner's realm, and the partner in ours.
fn prepare(scene: &Scene) -> Result<()> {
    let admin = &scene.stage.admin;
    admin.create_realm(PARTNER, &[])?;
    let back = json!([format!("{}*", scene.address("broker/"))]);
    let client = json!({"clientId": REALM, "secret": SECRET, "publicClient": false, "redirectUris": back});
    admin.create(&format!("/{PARTNER}/clients"), &client)?;
    flow(scene, "after", &["allow-access-authenticator"])?;
    flow(
        scene,
        "take over",
        &["idp-detect-existing-broker-user", "idp-confirm-override-link", "idp-auto-link"],
    )?;
    provide(scene, COMPANY, &json!({"postBrokerLoginFlowAlias": "after"}))?;
    provide(scene, RIVAL, &json!({"firstBrokerLoginFlowAlias": "take over"}))
}

/// A flow in which each of these is required.
fn flow(scene: &Scene, alias: &str, required: &[&str]) -> Result<()> {
    let admin = &scene.stage.admin;
    let flows = Scene::path("/authentication/flows");
    let flow = json!({"alias": alias, "description": "", "providerId": "basic-flow", "topLevel": true, "builtIn": false});
    admin.create(&flows, &flow)?;
    let executions = format!("{flows}/{}/executions", alias.replace(' ', "%20"));
    for provider in required {
        admin.create(&format!("{executions}/execution"), &json!({ "provider": provider }))?;
    }
    let Value::Array(there) = admin.get(&executions)? else { return Ok(()) };
    for mut execution in there {
        execution["requirement"] = "REQUIRED".into();
        admin.put(&executions, &execution)?;
    }
    Ok(())
}

/// The partner as an identity provider of ours.
fn provide(scene: &Scene, alias: &str, more: &Value) -> Result<()> {
    let partner = format!("{}/realms/{PARTNER}", scene.stage.keycloak.address());
    let endpoint = |name: &str| format!("{partner}/protocol/openid-connect/{name}");
    let config = json!({
        "clientId": REALM, "clientSecret": SECRET, "clientAuthMethod": "client_secret_post", "issuer": partner,
        "authorizationUrl": endpoint("auth"), "tokenUrl": endpoint("token"), "userInfoUrl": endpoint("userinfo"),
        "jwksUrl": endpoint("certs"), "useJwksUrl": "true", "validateSignature": "true", "defaultScope": "openid profile email",
    });
    let mut provider = json!({
        "alias": alias, "providerId": "oidc", "enabled": true, "storeToken": true, "addReadTokenRoleOnCreate": true, "config": config,
    });
    if let (Some(provider), Some(more)) = (provider.as_object_mut(), more.as_object()) {
        provider.extend(more.clone());
    }
    scene.stage.admin.post(&Scene::path("/identity-provider/instances"), &provider)
}

/// The partner's page for the login of somebody who comes from ours.
fn page_of_partner(browser: &mut Browser, alias: &str) -> Result<Answer> {
    let address = browser.address_for("auth", WEB, &format!("&kc_idp_hint={alias}"));
    page(browser.follow(&address)?, "the partner's page")
}

/// Logs in at the partner, and returns where that leads.
fn log_in_at(browser: &mut Browser, alias: &str, username: &str) -> Result<Step> {
    let login = page_of_partner(browser, alias)?;
    browser.submit(&login, &[("username", username), ("password", PASSWORD)])
}

/// Where the realm gives an application a partner's token.
fn token_of_partner(scene: &Scene, access: &str) -> Result<Answer> {
    Http::new().send(Method::Get, &scene.address(&format!("broker/{COMPANY}/token")), access, None)
}

fn newcomer(scene: &Scene) -> Result<()> {
    scene.stage.admin.create_user(PARTNER, "anna")?;
    let mut annas = browser(scene);
    let step = log_in_at(&mut annas, COMPANY, "anna")?;
    let tokens = annas.arrive_and_redeem(step)?;
    // Somebody who has no right to it.
    scene.stage.admin.create_user(REALM, "arthur")?;
    token_of_partner(scene, &token(scene, "arthur")?)?;
    token_of_partner(scene, &tokens.access)?.success().map(drop)
}

/// Creates a user of this name in both realms.
fn create_in_both(scene: &Scene, username: &str) -> Result<()> {
    scene.stage.admin.create_user(REALM, username)?;
    scene.stage.admin.create_user(PARTNER, username).map(drop)
}

/// Comes from the partner as somebody who is here already, and says that both are the same.
fn claim(browser: &mut Browser, username: &str) -> Result<Step> {
    let known = page(log_in_at(browser, COMPANY, username)?, "the question whether both are the same")?;
    browser.submit(&known, &[("submitAction", "linkAccount")])
}

fn acquaintance(scene: &Scene) -> Result<()> {
    create_in_both(scene, "bert")?;
    let mut berts = browser(scene);
    claim(&mut berts, "bert")?;
    let to_link = link(scene, "bert@example.org")?;
    berts.follow(&to_link)?;
    // Once more, where nobody knows that it was followed.
    browser(scene).follow(&to_link).map(drop)
}

fn unverified(scene: &Scene) -> Result<()> {
    create_in_both(scene, "cleo")?;
    scene.without_mail(|| claim(&mut browser(scene), "cleo").map(drop))
}

fn wanted_link(scene: &Scene) -> Result<()> {
    create_in_both(scene, "dina")?;
    let mut dinas = browser(scene);
    let question = after_password(&mut dinas, "dina", &format!("&kc_action=idp_link:{COMPANY}"))?;
    let login = page(dinas.submit(&question, &[("continue", "Continue")])?, "the partner's page")?;
    dinas.submit(&login, &[("username", "dina"), ("password", PASSWORD)])?;
    let linked = scene.address(&format!("account/linked-accounts/{COMPANY}"));
    Http::new().send(Method::Delete, &linked, &token(scene, "dina")?, None)?.success()?;
    // A partner that there is not.
    let _ = after_password(&mut browser(scene), "dina", "&kc_action=idp_link:none");
    Ok(())
}

/// The claims of a token.
fn claims(token: &str) -> Result<Value> {
    let claims = token.split('.').nth(1).and_then(|part| BASE64_URL.decode(part).ok());
    let claims = claims.ok_or_else(|| Error::Missing(format!("claims in {token}")))?;
    Ok(serde_json::from_slice(&claims)?)
}

fn application_link(scene: &Scene) -> Result<()> {
    create_in_both(scene, "emil")?;
    let mut emils = browser(scene);
    let tokens = emils.log_in("emil")?;
    let session = text(&claims(&tokens.id)?, "sid")?;
    let right = BASE64_URL.encode(Sha256::digest(format!("once{session}{WEB}{COMPANY}")));
    for hash in [BASE64_URL.encode(Sha256::digest("wrong")), right] {
        let query = format!("client_id={WEB}&redirect_uri={CALLBACK}&nonce=once&hash={hash}");
        emils.open(&scene.address(&format!("broker/{COMPANY}/link?{query}")))?;
    }
    Ok(())
}

fn override_link(scene: &Scene) -> Result<()> {
    let admin = &scene.stage.admin;
    create_in_both(scene, "fern")?;
    log_in_at(&mut browser(scene), RIVAL, "fern")?;
    // Somebody else has the address now.
    let found = admin.get(&format!("/{PARTNER}/users?exact=true&username=fern"))?;
    let fern = text(&found[0], "id")?;
    admin.put(&format!("/{PARTNER}/users/{fern}"), &json!({"email": "fern@example.net"}))?;
    let other = admin.create_user(PARTNER, "fiona")?;
    admin.put(&format!("/{PARTNER}/users/{other}"), &json!({"email": "fern@example.org"}))?;
    let mut fionas = browser(scene);
    let question = page(log_in_at(&mut fionas, RIVAL, "fiona")?, "the question whether to take over")?;
    fionas.submit(&question, &[("submitAction", "confirmOverride")]).map(drop)
}

/// What the partner sends a browser back with, when its page was open for too long, and what nobody has asked for.
fn answers(scene: &Scene) -> Result<()> {
    let endpoint = scene.address(&format!("broker/{COMPANY}/endpoint"));
    let mut browser = browser(scene);
    let login = page_of_partner(&mut browser, COMPANY)?;
    let state = login.request.split(['?', '&']).find_map(|pair| pair.strip_prefix("state="));
    let state = state.ok_or_else(|| Error::Missing(format!("a state in {}", login.request)))?;
    let expired = "error=temporarily_unavailable&error_description=authentication_expired";
    browser.open(&format!("{endpoint}?state={state}&{expired}"))?;
    browser.open(&format!("{endpoint}?state=none&code=none")).map(drop)
}

fn saml(scene: &Scene) -> Result<()> {
    let provider = json!({"alias": "saml", "providerId": "saml", "enabled": true, "config": {
        "singleSignOnServiceUrl": "https://partner.example.org/saml", "idpEntityId": "https://partner.example.org", "validateSignature": "false"}});
    scene.stage.admin.post(&Scene::path("/identity-provider/instances"), &provider)?;
    let endpoint = scene.address("broker/saml/endpoint");
    Http::new().post_form(&endpoint, &[("SAMLResponse", "bm90aGluZw"), ("RelayState", "none")]).map(drop)
}
