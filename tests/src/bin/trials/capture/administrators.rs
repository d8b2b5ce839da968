//! What administrators do: every type of resource, created, changed, acted on and deleted.

use keyferry_tests::admin::{SERVICE, WEB};
use keyferry_tests::browser::Browser;
use keyferry_tests::http::Method;
use keyferry_tests::{Error, Result};
use serde_json::{Value, json};

use super::users::{browser, link, page};
use super::{Act, REALM, Scene};

/// Has an administrator do everything.
pub fn act(scene: &Scene) {
    let acts: [Act; 15] = [
        ("users", users),
        ("roles", roles),
        ("groups", groups),
        ("scopes", scopes),
        ("clients", clients),
        ("authorization", authorization),
        ("authentication", authentication),
        ("identity providers", identity_providers),
        ("components", components),
        ("user profile", user_profile),
        ("organizations", organizations),
        ("invitations", invitations),
        ("sessions", sessions),
        ("realm", realm),
        ("another realm", another_realm),
    ];
    for (what, act) in acts {
        Scene::attempt(what, || act(scene));
    }
}

/// Sends a request, and says what was wrong with it if it was refused: the others go on.
fn send(scene: &Scene, method: Method, path: &str, body: Option<&Value>) -> Result<Value> {
    let answer = scene.stage.admin.send(method, &Scene::path(path), body)?;
    if answer.status >= 400 {
        println!("{method:?} {path}: {} {}", answer.status, answer.body);
    }
    Ok(answer.json().unwrap_or_default())
}

fn put(scene: &Scene, path: &str, body: &Value) -> Result<()> {
    send(scene, Method::Put, path, Some(body)).map(drop)
}

fn post(scene: &Scene, path: &str, body: &Value) -> Result<Value> {
    send(scene, Method::Post, path, Some(body))
}

fn delete(scene: &Scene, path: &str) -> Result<()> {
    send(scene, Method::Delete, path, None).map(drop)
}

/// Creates something and returns its id.
fn create(scene: &Scene, path: &str, body: &Value) -> Result<String> {
    scene.stage.admin.create(&Scene::path(path), body)
}

/// Reads something, changes a field of it, and writes it back.
fn change(scene: &Scene, path: &str, field: &str, value: Value) -> Result<()> {
    let mut there = scene.stage.admin.get(&Scene::path(path))?;
    there[field] = value;
    put(scene, path, &there)
}

fn users(scene: &Scene) -> Result<()> {
    let admin = &scene.stage.admin;
    let user = admin.create_user(REALM, "trent")?;
    let path = format!("/users/{user}");
    put(scene, &path, &json!({"firstName": "Trent"}))?;
    put(
        scene,
        &format!("{path}/reset-password"),
        &json!({"type": "password", "value": "S3cret!", "temporary": false}),
    )?;
    post(scene, &format!("{path}/impersonation"), &json!({}))?;
    post(scene, &format!("{path}/logout"), &json!({}))?;
    delete(scene, &format!("/attack-detection/brute-force/users/{user}"))?;
    delete(scene, "/attack-detection/brute-force/users")?;
    delete(scene, &path)
}

fn roles(scene: &Scene) -> Result<()> {
    let admin = &scene.stage.admin;
    let user = admin.create_user(REALM, "victor")?;
    post(scene, "/roles", &json!({"name": "captain"}))?;
    let captain = admin.get(&Scene::path("/roles/captain"))?;
    change(scene, "/roles/captain", "description", "Leads".into())?;
    let web = admin.client(REALM, WEB)?;
    post(scene, &format!("/clients/{web}/roles"), &json!({"name": "reader"}))?;
    let reader = admin.get(&Scene::path(&format!("/clients/{web}/roles/reader")))?;
    change(scene, &format!("/clients/{web}/roles/reader"), "description", "Reads".into())?;
    for (path, role) in [
        (format!("/users/{user}/role-mappings/realm"), &captain),
        (format!("/users/{user}/role-mappings/clients/{web}"), &reader),
    ] {
        post(scene, &path, &json!([role]))?;
        send(scene, Method::Delete, &path, Some(&json!([role])))?;
    }
    let service = admin.client(REALM, SERVICE.0)?;
    for (path, role) in [
        (format!("/clients/{service}/scope-mappings/realm"), &captain),
        (format!("/clients/{service}/scope-mappings/clients/{web}"), &reader),
    ] {
        post(scene, &path, &json!([role]))?;
        send(scene, Method::Delete, &path, Some(&json!([role])))?;
    }
    delete(scene, &format!("/clients/{web}/roles/reader"))?;
    delete(scene, "/roles/captain")
}

fn groups(scene: &Scene) -> Result<()> {
    let user = scene.stage.admin.create_user(REALM, "walter")?;
    let group = create(scene, "/groups", &json!({"name": "crew"}))?;
    let path = format!("/groups/{group}");
    put(scene, &path, &json!({"name": "whole crew"}))?;
    post(scene, &format!("{path}/children"), &json!({"name": "cooks"}))?;
    let membership = format!("/users/{user}/groups/{group}");
    put(scene, &membership, &json!({}))?;
    delete(scene, &membership)?;
    delete(scene, &path)
}

fn scopes(scene: &Scene) -> Result<()> {
    let scope = create(scene, "/client-scopes", &json!({"name": "shipping", "protocol": "openid-connect"}))?;
    let path = format!("/client-scopes/{scope}");
    change(scene, &path, "description", "To ship".into())?;
    let mapper = json!({"name": "address", "protocol": "openid-connect", "protocolMapper": "oidc-usermodel-attribute-mapper",
        "config": {"user.attribute": "address", "claim.name": "address", "jsonType.label": "String"}});
    let mapper = create(scene, &format!("{path}/protocol-mappers/models"), &mapper)?;
    let mapper_path = format!("{path}/protocol-mappers/models/{mapper}");
    change(scene, &mapper_path, "name", "address".into())?;
    delete(scene, &mapper_path)?;
    let web = scene.stage.admin.client(REALM, WEB)?;
    let of_client = format!("/clients/{web}/default-client-scopes/{scope}");
    put(scene, &of_client, &json!({}))?;
    delete(scene, &of_client)?;
    delete(scene, &path)
}

fn clients(scene: &Scene) -> Result<()> {
    let client = create(
        scene,
        "/clients",
        &json!({"clientId": "reports", "secret": "S3cretOfClient", "serviceAccountsEnabled": true}),
    )?;
    let path = format!("/clients/{client}");
    put(scene, &path, &json!({"clientId": "reports", "name": "Reports"}))?;
    post(scene, &format!("{path}/client-secret"), &json!({}))?;
    post(scene, &format!("{path}/nodes"), &json!({"node": "127.0.0.1"}))?;
    delete(scene, &format!("{path}/nodes/127.0.0.1"))?;
    post(scene, &format!("{path}/push-revocation"), &json!({}))?;
    let initial = post(scene, "/clients-initial-access", &json!({"count": 1}))?;
    delete(scene, &format!("/clients-initial-access/{}", initial["id"].as_str().unwrap_or_default()))?;
    delete(scene, &path)
}

fn authorization(scene: &Scene) -> Result<()> {
    let server = format!("/clients/{}/authz/resource-server", scene.stage.admin.client(REALM, "warehouse")?);
    change(scene, &server, "policyEnforcementMode", "PERMISSIVE".into())?;
    let scope = post(scene, &format!("{server}/scope"), &json!({"name": "look"}))?;
    let resource =
        post(scene, &format!("{server}/resource"), &json!({"name": "shelf", "scopes": [{"name": "look"}]}))?;
    let captain =
        json!({"name": "everybody", "type": "client", "clients": [scene.stage.admin.client(REALM, WEB)?]});
    let policy = post(scene, &format!("{server}/policy/client"), &captain)?;
    let id = |value: &Value, name: &str| value[name].as_str().unwrap_or_default().to_owned();
    for (kind, there, name) in
        [("policy/client", &policy, "id"), ("resource", &resource, "_id"), ("scope", &scope, "id")]
    {
        let mut changed = there.clone();
        changed["displayName"] = "changed".into();
        if kind == "policy/client" {
            changed =
                json!({"id": there["id"], "name": "nobody", "type": "client", "clients": there["clients"]});
        }
        put(scene, &format!("{server}/{kind}/{}", id(there, name)), &changed)?;
        let kind = kind.split('/').next().unwrap_or_default();
        delete(scene, &format!("{server}/{kind}/{}", id(there, name)))?;
    }
    Ok(())
}

fn authentication(scene: &Scene) -> Result<()> {
    let flows = "/authentication/flows";
    let flow = json!({"alias": "own", "description": "", "providerId": "basic-flow", "topLevel": true, "builtIn": false});
    let flow = create(scene, flows, &flow)?;
    change(scene, &format!("{flows}/{flow}"), "description", "Our own".into())?;
    post(
        scene,
        &format!("{flows}/own/executions/flow"),
        &json!({"alias": "sub", "type": "basic-flow", "provider": "registration-page-form", "description": ""}),
    )?;
    let execution = create(
        scene,
        &format!("{flows}/own/executions/execution"),
        &json!({"provider": "identity-provider-redirector"}),
    )?;
    let executions = scene.stage.admin.get(&Scene::path(&format!("{flows}/own/executions")))?;
    let mut first = executions[0].clone();
    first["requirement"] = "ALTERNATIVE".into();
    put(scene, &format!("{flows}/own/executions"), &first)?;
    let config = json!({"alias": "redirect", "config": {"defaultProvider": "partner"}});
    let config = create(scene, &format!("/authentication/executions/{execution}/config"), &config)?;
    change(scene, &format!("/authentication/config/{config}"), "alias", "redirect always".into())?;
    delete(scene, &format!("/authentication/config/{config}"))?;
    delete(scene, &format!("/authentication/executions/{execution}"))?;
    delete(scene, &format!("{flows}/{flow}"))?;
    let action = "/authentication/required-actions/UPDATE_PASSWORD";
    change(scene, action, "defaultAction", false.into())?;
    put(scene, &format!("{action}/config"), &json!({"config": {"max_auth_age": "300"}}))?;
    delete(scene, &format!("{action}/config"))?;
    post(scene, &format!("{action}/lower-priority"), &json!({}))?;
    delete(scene, "/authentication/required-actions/VERIFY_PROFILE")?;
    post(
        scene,
        "/authentication/register-required-action",
        &json!({"providerId": "VERIFY_PROFILE", "name": "Verify Profile"}),
    )
    .map(drop)
}

fn identity_providers(scene: &Scene) -> Result<()> {
    let provider = json!({"alias": "partner", "providerId": "oidc", "enabled": true, "config": {"clientId": "shop", "clientSecret": "S3cretOfProvider",
        "authorizationUrl": "https://partner.example.org/auth", "tokenUrl": "https://partner.example.org/token"}});
    let path = "/identity-provider/instances";
    post(scene, path, &provider)?;
    let partner = format!("{path}/partner");
    change(scene, &partner, "displayName", "Partner".into())?;
    let mapper = json!({"name": "captain", "identityProviderAlias": "partner", "identityProviderMapper": "oidc-hardcoded-role-idp-mapper", "config": {"role": "offline_access"}});
    let mapper = create(scene, &format!("{partner}/mappers"), &mapper)?;
    change(scene, &format!("{partner}/mappers/{mapper}"), "name", "mate".into())?;
    delete(scene, &format!("{partner}/mappers/{mapper}"))?;
    let user = scene.stage.admin.create_user(REALM, "yvonne")?;
    let link = format!("/users/{user}/federated-identity/partner");
    post(scene, &link, &json!({"identityProvider": "partner", "userId": "y-1", "userName": "yvonne"}))?;
    delete(scene, &link)?;
    delete(scene, &partner)
}

fn components(scene: &Scene) -> Result<()> {
    let realm = scene.stage.admin.get(&Scene::path(""))?["id"].clone();
    let keys = json!({"name": "keys", "providerId": "hmac-generated", "providerType": "org.keycloak.keys.KeyProvider", "parentId": realm, "config": {"priority": ["1"]}});
    let keys = create(scene, "/components", &keys)?;
    change(scene, &format!("/components/{keys}"), "name", "more keys".into())?;
    delete(scene, &format!("/components/{keys}"))?;
    let directory = json!({"name": "ldap", "providerId": "ldap", "providerType": "org.keycloak.storage.UserStorageProvider", "parentId": realm, "config": {
        "enabled": ["false"], "vendor": ["other"], "connectionUrl": ["ldap://127.0.0.1:1"], "usersDn": ["ou=users"], "bindDn": ["cn=admin"],
        "bindCredential": ["S3cretOfDirectory"], "authType": ["simple"], "usernameLDAPAttribute": ["uid"], "rdnLDAPAttribute": ["uid"], "uuidLDAPAttribute": ["entryUUID"],
        "userObjectClasses": ["person"], "editMode": ["READ_ONLY"]}});
    let directory = create(scene, "/components", &directory)?;
    delete(scene, &format!("/components/{directory}"))
}

fn user_profile(scene: &Scene) -> Result<()> {
    change(scene, "/users/profile", "unmanagedAttributePolicy", "ADMIN_EDIT".into())
}

fn organizations(scene: &Scene) -> Result<()> {
    let body = json!({"name": "acme", "alias": "acme", "domains": [{"name": "acme.example.org"}]});
    let organization = create(scene, "/organizations", &body)?;
    let path = format!("/organizations/{organization}");
    change(scene, &path, "description", "Makes everything".into())?;
    let user = scene.stage.admin.create_user(REALM, "zoe")?;
    send(scene, Method::Post, &format!("{path}/members"), Some(&Value::from(user.clone())))?;
    let group = create(scene, &format!("{path}/groups"), &json!({"name": "makers"}))?;
    let group = format!("{path}/groups/{group}");
    put(scene, &group, &json!({"name": "all makers"}))?;
    put(scene, &format!("{group}/members/{user}"), &json!({}))?;
    delete(scene, &format!("{group}/members/{user}"))?;
    delete(scene, &group)?;
    delete(scene, &format!("{path}/members/{user}"))?;
    delete(scene, &path)
}

/// Somebody whom the realm knows is asked into an organization, and follows the link twice.
fn invitations(scene: &Scene) -> Result<()> {
    let body = json!({"name": "guild", "alias": "guild", "domains": [{"name": "guild.example.org"}]});
    let organization = create(scene, "/organizations", &body)?;
    let user = scene.stage.admin.create_user(REALM, "wanda")?;
    let members = Scene::path(&format!("/organizations/{organization}/members/invite-existing-user"));
    scene.stage.admin.post_form(&members, &[("id", &user)])?;
    let to_join = link(scene, "wanda@example.org")?;
    let mut wandas = browser(scene);
    let asked = page(wandas.follow(&to_join)?, "the link in the mail")?;
    let mut on = asked.body.split("href=\"").filter_map(|part| part.split('"').next());
    let on = on.find(|address| address.contains("action-token"));
    let on = on.ok_or_else(|| Error::Page {
        what: "link to go on",
        address: to_join.clone(),
        page: asked.body.clone(),
    })?;
    wandas.follow(&on.replace("&amp;", "&"))?;
    browser(scene).follow(&to_join)?;
    delete(scene, &format!("/organizations/{organization}"))
}

fn sessions(scene: &Scene) -> Result<()> {
    let user = scene.stage.admin.create_user(REALM, "xavier")?;
    Browser::new(&scene.stage.keycloak.address(), REALM).log_in("xavier")?;
    let sessions = scene.stage.admin.get(&Scene::path(&format!("/users/{user}/sessions")))?;
    let session =
        sessions[0]["id"].as_str().ok_or_else(|| Error::Missing(format!("a session: {sessions}")))?;
    delete(scene, &format!("/sessions/{session}"))?;
    post(scene, "/logout-all", &json!({})).map(drop)
}

fn another_realm(scene: &Scene) -> Result<()> {
    let admin = &scene.stage.admin;
    admin.create_realm("branch", &["kafka"])?;
    admin.delete("/branch", None)
}

fn realm(scene: &Scene) -> Result<()> {
    put(scene, "", &json!({"displayName": "The shop"}))?;
    post(scene, "/push-revocation", &json!({}))?;
    post(scene, "/clear-realm-cache", &json!({})).map(drop)
}
