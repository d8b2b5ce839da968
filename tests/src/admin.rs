//! Keycloak's administration interface.

use std::sync::Mutex;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::http::{Answer, Http, Method};
use crate::keycloak::ADMINISTRATOR;
use crate::{Error, Result};

/// The administrator's tokens live 60 seconds; a new one is asked for well before.
const TOKEN_LIFE: Duration = Duration::from_secs(30);
const UNAUTHORIZED: u16 = 401;

/// An administrator of one Keycloak.
#[derive(Debug)]
pub struct Admin {
    http: Http,
    address: String,
    token: Mutex<Option<(String, Instant)>>,
}

impl Admin {
    /// The administrator of the Keycloak at `address`.
    pub fn new(address: impl Into<String>) -> Self {
        Self { http: Http::new(), address: address.into(), token: Mutex::new(None) }
    }

    /// Sends a request to a path below `/admin/realms` and returns the answer, whatever its status is.
    ///
    /// # Errors
    /// Where the connection fails or the administrator gets no token.
    pub fn send(&self, method: Method, path: &str, body: Option<&Value>) -> Result<Answer> {
        let address = format!("{}/admin/realms{path}", self.address);
        let answer = self.http.send(method, &address, &self.token()?, body)?;
        if answer.status != UNAUTHORIZED {
            return Ok(answer);
        }
        // Keycloak was restarted and does not know the session any more.
        self.forget_token();
        self.http.send(method, &address, &self.token()?, body)
    }

    /// Reads JSON.
    ///
    /// # Errors
    /// Where the answer is none of success.
    pub fn get(&self, path: &str) -> Result<Value> {
        self.send(Method::Get, path, None)?.success()?.json()
    }

    /// Creates something and returns the id that Keycloak gave it, the last part of its `Location`.
    ///
    /// # Errors
    /// Where the answer is none of success.
    pub fn create(&self, path: &str, body: &Value) -> Result<String> {
        let answer = self.send(Method::Post, path, Some(body))?.success()?;
        let id =
            answer.location.as_deref().and_then(|location| location.rsplit('/').next()).map(str::to_owned);
        id.map_or_else(|| Err(answer.unexpected()), Ok)
    }

    /// Replaces something.
    ///
    /// # Errors
    /// Where the answer is none of success.
    pub fn put(&self, path: &str, body: &Value) -> Result<()> {
        self.send(Method::Put, path, Some(body))?.success().map(drop)
    }

    /// Posts something that gets no id.
    ///
    /// # Errors
    /// Where the answer is none of success.
    pub fn post(&self, path: &str, body: &Value) -> Result<()> {
        self.send(Method::Post, path, Some(body))?.success().map(drop)
    }

    /// Posts a form.
    ///
    /// # Errors
    /// Where the answer is none of success.
    pub fn post_form(&self, path: &str, form: &[(&str, &str)]) -> Result<()> {
        let address = format!("{}/admin/realms{path}", self.address);
        self.http.post_form_as(&self.token()?, &address, form)?.success().map(drop)
    }

    /// Deletes something.
    ///
    /// # Errors
    /// Where the answer is none of success.
    pub fn delete(&self, path: &str, body: Option<&Value>) -> Result<()> {
        self.send(Method::Delete, path, body)?.success().map(drop)
    }

    /// Creates a realm with the clients [`WEB`] and [`SERVICE`], whose events go to `listeners`.
    ///
    /// # Errors
    /// Where Keycloak refuses.
    pub fn create_realm(&self, name: &str, listeners: &[&str]) -> Result<()> {
        let mut realm = realm_settings(name);
        realm["eventsListeners"] = json!(listeners);
        self.post("", &realm)
    }

    /// Creates an enabled user with the password `password` and returns the user's id.
    ///
    /// # Errors
    /// Where Keycloak refuses.
    pub fn create_user(&self, realm: &str, username: &str) -> Result<String> {
        self.create(&format!("/{realm}/users"), &user(username, &format!("{username}@example.org")))
    }

    /// The inner id of a client.
    ///
    /// # Errors
    /// Where there is none.
    pub fn client(&self, realm: &str, client_id: &str) -> Result<String> {
        let found = self.get(&format!("/{realm}/clients?clientId={client_id}"))?;
        let id = found[0]["id"].as_str().map(str::to_owned);
        id.ok_or_else(|| Error::Missing(format!("the realm {realm} has no client {client_id}")))
    }

    /// What a provider says of itself on the administration console's page of server information.
    ///
    /// # Errors
    /// Where there is no such provider.
    pub fn operational_info(&self, spi: &str, provider: &str) -> Result<Value> {
        let address = format!("{}/admin/serverinfo", self.address);
        let info = self.http.send(Method::Get, &address, &self.token()?, None)?.success()?.json()?;
        let provider = &info["providers"][spi]["providers"][provider];
        match &provider["operationalInfo"] {
            Value::Null => {
                Err(Error::Missing(format!("the server information has none of this provider: {provider}")))
            }
            info => Ok(info.clone()),
        }
    }

    fn token(&self) -> Result<String> {
        let mut kept = self.token.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        if let Some((token, since)) = &*kept
            && since.elapsed() < TOKEN_LIFE
        {
            return Ok(token.clone());
        }
        let token = self.new_token()?;
        *kept = Some((token.clone(), Instant::now()));
        Ok(token)
    }

    fn forget_token(&self) {
        *self.token.lock().unwrap_or_else(|poisoned| poisoned.into_inner()) = None;
    }

    fn new_token(&self) -> Result<String> {
        let address = format!("{}/realms/master/protocol/openid-connect/token", self.address);
        let (username, password) = ADMINISTRATOR;
        let form = [
            ("grant_type", "password"),
            ("client_id", "admin-cli"),
            ("username", username),
            ("password", password),
        ];
        let answer = self.http.post_form(&address, &form)?.success()?;
        let token = answer.json()?["access_token"].as_str().map(str::to_owned);
        token.map_or_else(|| Err(answer.unexpected()), Ok)
    }
}

/// The password of every user that the tests create.
pub const PASSWORD: &str = "correct horse";

/// The client that logs users in through a browser, or with their password.
pub const WEB: &str = "web";
/// Where the client [`WEB`] lets Keycloak send a browser back to.
pub const CALLBACK: &str = "http://localhost/callback";
/// The client that logs itself in, with its secret.
pub const SERVICE: (&str, &str) = ("service", "service-secret");

/// A user as Keycloak's administration interface takes it.
pub fn user(username: &str, email: &str) -> Value {
    json!({
        "username": username,
        "email": email,
        "firstName": "Test",
        "lastName": "User",
        "enabled": true,
        "credentials": [{ "type": "password", "value": PASSWORD, "temporary": false }],
    })
}

fn realm_settings(name: &str) -> Value {
    json!({
        "realm": name,
        "enabled": true,
        "registrationAllowed": true,
        "adminEventsEnabled": true,
        "adminEventsDetailsEnabled": true,
        "clients": [
            {
                "clientId": WEB,
                "publicClient": true,
                "redirectUris": [CALLBACK],
                "standardFlowEnabled": true,
                "directAccessGrantsEnabled": true,
            },
            {
                "clientId": SERVICE.0,
                "secret": SERVICE.1,
                "publicClient": false,
                "serviceAccountsEnabled": true,
                "standardFlowEnabled": false,
            },
        ],
    })
}
