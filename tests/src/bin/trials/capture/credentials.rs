//! Credentials that a wallet asks for ([OpenID for Verifiable Credential Issuance](https://openid.net/specs/openid-4-verifiable-credential-issuance-1_0.html)).

use keyferry_tests::admin::PASSWORD;
use keyferry_tests::http::{Http, Method};
use keyferry_tests::{Error, Result};
use serde_json::{Value, json};

use super::clients::{SECRET, create_client, text};
use super::{Act, REALM, Scene};

const PRE_AUTHORIZED: &str = "urn:ietf:params:oauth:grant-type:pre-authorized_code";
/// The credential, which is bound to no key: a wallet that proves nothing gets it.
const MEMBERSHIP: &str = "membership";
const WALLET: &str = "wallet";

/// Has a wallet ask for credentials.
pub fn act(scene: &Scene) {
    let acts: [Act; 2] = [("credentials that nobody offers", refused), ("a credential", issued)];
    for (what, act) in acts {
        Scene::attempt(what, || act(scene));
    }
}

fn endpoint(scene: &Scene, name: &str) -> String {
    scene.address(&format!("protocol/oid4vc/{name}"))
}

/// The token of a user who uses the wallet.
fn token(scene: &Scene, username: &str) -> Result<String> {
    let form = [
        ("grant_type", "password"),
        ("client_id", WALLET),
        ("client_secret", SECRET),
        ("username", username),
        ("password", PASSWORD),
    ];
    text(&Http::new().post_form(&scene.openid("token"), &form)?.success()?.json()?, "access_token")
}

fn refused(scene: &Scene) -> Result<()> {
    let http = Http::new();
    create_client(scene, WALLET, &json!({"attributes": {"oid4vci.enabled": "true"}}))?;
    scene.stage.admin.create_user(REALM, "ursula")?;
    let token = token(scene, "ursula")?;
    http.send(Method::Get, &endpoint(scene, "create-credential-offer"), &token, None)?;
    http.get(&endpoint(scene, "credential-offer/none"))?;
    http.send(
        Method::Post,
        &endpoint(scene, "credential"),
        &token,
        Some(&json!({"credential_identifier": "none"})),
    )?;
    http.post_form(
        &scene.openid("token"),
        &[
            ("grant_type", PRE_AUTHORIZED),
            ("client_id", WALLET),
            ("client_secret", SECRET),
            ("pre-authorized_code", "none"),
        ],
    )?;
    // A realm that issues none.
    let issues =
        |yes: bool| scene.stage.admin.put(&Scene::path(""), &json!({ "verifiableCredentialsEnabled": yes }));
    issues(false)?;
    http.post_form(&endpoint(scene, "nonce"), &[])?;
    issues(true)
}

/// The credential as a scope that the wallet may ask for.
fn offer(scene: &Scene) -> Result<()> {
    let admin = &scene.stage.admin;
    let mapper = json!({"name": "address", "protocol": "oid4vc", "protocolMapper": "oid4vc-user-attribute-mapper",
        "config": {"claim.name": "email", "userAttribute": "email"}});
    let scope = json!({"name": MEMBERSHIP, "protocol": "oid4vc", "protocolMappers": [mapper],
        "attributes": {"vc.format": "jwt_vc_json", "vc.credential_configuration_id": MEMBERSHIP, "vc.binding_required": "false"}});
    let scope = admin.create(&Scene::path("/client-scopes"), &scope)?;
    let wallet = admin.client(REALM, WALLET)?;
    admin.put(&Scene::path(&format!("/clients/{wallet}/optional-client-scopes/{scope}")), &json!({}))
}

fn issued(scene: &Scene) -> Result<()> {
    let http = Http::new();
    offer(scene)?;
    let user = scene.stage.admin.create_user(REALM, "vivian")?;
    let held = json!({ "credentialScopeName": MEMBERSHIP });
    scene.stage.admin.post(&Scene::path(&format!("/users/{user}/vc/credentials")), &held)?;
    http.post_form(&endpoint(scene, "nonce"), &[])?.success()?;
    let wanted = format!(
        "create-credential-offer?credential_configuration_id={MEMBERSHIP}&pre_authorized=true&target_user=vivian"
    );
    let token = token(scene, "vivian")?;
    let offered = http.send(Method::Get, &endpoint(scene, &wanted), &token, None)?.success()?.json()?;
    let nonce = text(&offered, "nonce")?;
    let offer = http.get(&endpoint(scene, &format!("credential-offer/{nonce}")))?.success()?.json()?;
    let code = text(&offer["grants"][PRE_AUTHORIZED], "pre-authorized_code")?;
    let form = [
        ("grant_type", PRE_AUTHORIZED),
        ("client_id", WALLET),
        ("client_secret", SECRET),
        ("pre-authorized_code", code.as_str()),
    ];
    let granted = http.post_form(&scene.openid("token"), &form)?.success()?.json()?;
    let identifier = &granted["authorization_details"][0]["credential_identifiers"][0];
    if identifier.is_null() {
        return Err(Error::Missing(format!("a credential in {granted}")));
    }
    let wanted: Value = json!({ "credential_identifier": identifier });
    let access = text(&granted, "access_token")?;
    http.send(Method::Post, &endpoint(scene, "credential"), &access, Some(&wanted))?.success().map(drop)
}
