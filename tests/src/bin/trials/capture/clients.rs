//! What applications do: tokens of all kinds, devices, and their own registration.

use keyferry_tests::admin::{PASSWORD, SERVICE, WEB};
use keyferry_tests::browser::{Browser, Step};
use keyferry_tests::http::{Http, Method};
use keyferry_tests::{Error, Result};
use serde_json::{Value, json};

use super::{Act, REALM, Scene};

const SECRET: &str = "secret-of-the-application";
const EXCHANGE: &str = "urn:ietf:params:oauth:grant-type:token-exchange";
const ACCESS_TOKEN: &str = "urn:ietf:params:oauth:token-type:access_token";
const DEVICE: &str = "urn:ietf:params:oauth:grant-type:device_code";
const TICKET: &str = "urn:ietf:params:oauth:grant-type:uma-ticket";

/// Has applications do everything.
pub fn act(scene: &Scene) {
    let acts: [Act; 7] = [
        ("service", service),
        ("exchange", exchange),
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

fn address(scene: &Scene, path: &str) -> String {
    format!("{}/realms/{REALM}/{path}", scene.stage.keycloak.address())
}

fn openid(scene: &Scene, name: &str) -> String {
    address(scene, &format!("protocol/openid-connect/{name}"))
}

fn text(value: &Value, name: &str) -> Result<String> {
    value[name].as_str().map(str::to_owned).ok_or_else(|| Error::Missing(format!("`{name}` in {value}")))
}

/// A token that the application gets for itself.
fn own_token(scene: &Scene, client: &str, secret: &str) -> Result<String> {
    let form = [("grant_type", "client_credentials"), ("client_id", client), ("client_secret", secret)];
    text(&Http::new().post_form(&openid(scene, "token"), &form)?.success()?.json()?, "access_token")
}

fn service(scene: &Scene) -> Result<()> {
    let http = Http::new();
    let (client, secret) = SERVICE;
    let token = own_token(scene, client, secret)?;
    let wrong = [("grant_type", "client_credentials"), ("client_id", client), ("client_secret", "wrong")];
    http.post_form(&openid(scene, "token"), &wrong)?;
    let introspect = openid(scene, "token/introspect");
    http.post_form(&introspect, &[("client_id", client), ("client_secret", secret), ("token", &token)])?;
    http.post_form(&introspect, &[("client_id", client), ("client_secret", secret), ("token", "x")])?;
    http.post_form(&introspect, &[("client_id", client), ("client_secret", secret)])?;
    let node =
        [("client_id", client), ("client_secret", secret), ("client_cluster_host", "node-1.example.org")];
    for name in ["register-node", "unregister-node"] {
        http.post_form(&address(scene, &format!("clients-managements/{name}")), &node)?;
    }
    let nobody =
        [("client_id", client), ("client_secret", "wrong"), ("client_cluster_host", "node-1.example.org")];
    for name in ["register-node", "unregister-node"] {
        http.post_form(&address(scene, &format!("clients-managements/{name}")), &nobody)?;
    }
    Ok(())
}

fn create_client(scene: &Scene, client: &str, more: &Value) -> Result<String> {
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
    let token = text(&http.post_form(&openid(scene, "token"), &form)?.success()?.json()?, "access_token")?;
    for subject in [token.as_str(), "x"] {
        let form = [
            ("grant_type", EXCHANGE),
            ("client_id", "exchanger"),
            ("client_secret", SECRET),
            ("subject_token", subject),
            ("subject_token_type", ACCESS_TOKEN),
        ];
        http.post_form(&openid(scene, "token"), &form)?;
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
    http.post_form(&openid(scene, "auth/device"), &[("client_id", WEB)])?;
    let form = [("client_id", "television"), ("client_secret", SECRET)];
    let offered = http.post_form(&openid(scene, "auth/device"), &form)?.success()?.json()?;
    let code = text(&offered, "device_code")?;
    let token = [
        ("grant_type", DEVICE),
        ("client_id", "television"),
        ("client_secret", SECRET),
        ("device_code", &code),
    ];
    http.post_form(&openid(scene, "token"), &token)?;
    let mut oscars = Browser::new(&scene.stage.keycloak.address(), REALM);
    let page = openid(scene, "").replace("/protocol/openid-connect/", "/device");
    // A code that no device was given, which is an event of its own.
    oscars.follow(&format!("{page}?user_code=NONE-SUCH"))?;
    let step = oscars.follow(&text(&offered, "verification_uri_complete")?)?;
    let Step::Page(login) = step else { return Err(Error::Missing("a login page".to_owned())) };
    let step = oscars.submit(&login, &[("username", "oscar"), ("password", PASSWORD)])?;
    let Step::Page(consent) = step else { return Err(Error::Missing("a page for consent".to_owned())) };
    oscars.submit(&consent, &[("accept", "Yes")])?;
    // It must not ask more often than every five seconds.
    std::thread::sleep(std::time::Duration::from_secs(6));
    http.post_form(&openid(scene, "token"), &token)?.success().map(drop)
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
        http.post_form(&openid(scene, "ext/par/request"), &form)?;
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
        Http::new().post_form(&openid(scene, "token"), &form)?;
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
    let base = address(scene, "clients-registrations/default");
    let settings = json!({"clientId": "self-made", "redirectUris": ["http://localhost/callback"]});
    let registered = http.send(Method::Post, &base, &initial, Some(&settings))?.success()?.json()?;
    // The name is taken now.
    http.send(Method::Post, &base, &initial, Some(&settings))?;
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
