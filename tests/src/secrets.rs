//! Real secrets, brought into a real Keycloak in every way in which an administrator brings them there, and where they are found.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use openssl::pkey::PKey;
use openssl::rsa::Rsa;
use serde_json::{Value, json};

use crate::admin::Admin;
use crate::http::Method;
use crate::{Error, Result};

/// What a secret is, and what of it must not be found anywhere.
pub type Secret = (&'static str, String);

/// A realm into which an administrator brings secrets.
struct Realm<'a> {
    admin: &'a Admin,
    name: &'a str,
}

impl Realm<'_> {
    fn path(&self, path: &str) -> String {
        format!("/{}{path}", self.name)
    }

    fn create(&self, path: &str, body: &Value) -> Result<String> {
        self.admin.create(&self.path(path), body)
    }

    /// The field of the answer to something that is posted.
    fn answer(&self, path: &str, field: &str, body: &Value) -> Result<String> {
        let answer = self.admin.send(Method::Post, &self.path(path), Some(body))?.success()?.json()?;
        let found = answer[field].as_str().map(str::to_owned);
        found.ok_or_else(|| Error::Missing(format!("{path} has no {field}: {answer}")))
    }

    fn component(&self, kind: &str, of: &str, config: &Value) -> Result<()> {
        let realm = self.admin.get(&self.path(""))?["id"].clone();
        let body =
            json!({"name": of, "providerId": of, "providerType": kind, "parentId": realm, "config": config});
        self.create("/components", &body).map(drop)
    }
}

/// Does what an administrator does with each kind of secret, and returns the secrets, those that Keycloak made among them. Some have a name that tells nothing, and are known by their
/// shape alone.
///
/// # Errors
/// Where Keycloak refuses something.
pub fn spread(admin: &Admin, realm: &str) -> Result<Vec<Secret>> {
    let realm = Realm { admin, name: realm };
    let [noted, key] = [private_key()?, private_key()?];
    let initial = realm.answer("/clients-initial-access", "token", &json!({"count": 1}))?;
    let settings = json!({
        "clientId": "reports", "secret": "S3cretOfClient", "attributes": {"note": noted, "memo": format!("try {initial} first")},
    });
    let client = realm.create("/clients", &settings)?;
    let generated = realm.answer(&format!("/clients/{client}/client-secret"), "value", &json!({}))?;
    let path = format!("/clients/{client}/registration-access-token");
    let registration = realm.answer(&path, "registrationAccessToken", &json!({}))?;
    let keys = json!({"privateKey": [key], "priority": ["1"]});
    realm.component("org.keycloak.keys.KeyProvider", "rsa", &keys)?;
    realm.component("org.keycloak.storage.UserStorageProvider", "ldap", &directory())?;
    let mail = json!({"host": "localhost", "from": "shop@example.org", "auth": "true", "user": "shop", "password": "S3cretOfMail"});
    admin.put(&realm.path(""), &json!({ "smtpServer": mail }))?;
    admin.post(&realm.path("/identity-provider/instances"), &identity_provider())?;
    let password = |value: &str| json!({"type": "password", "value": value, "temporary": false});
    let dora =
        json!({"username": "dora-of-secrets", "enabled": true, "credentials": [password("S3cretOfUser1")]});
    let user = realm.create("/users", &dora)?;
    admin.put(&realm.path(&format!("/users/{user}/reset-password")), &password("S3cretOfUser2"))?;
    Ok(vec![
        ("client", "S3cretOfClient".to_owned()),
        ("generated secret", generated),
        ("registration token", registration),
        ("initial access token, also in a memo", initial),
        ("private key of a provider", middle(&key)),
        ("private key in a note", middle(&noted)),
        ("directory", "S3cretOfDirectory".to_owned()),
        ("mail server", "S3cretOfMail".to_owned()),
        ("identity provider", "S3cretOfProvider".to_owned()),
        ("user", "S3cretOfUser1".to_owned()),
        ("user's new password", "S3cretOfUser2".to_owned()),
    ])
}

fn private_key() -> Result<String> {
    let failed = |error: openssl::error::ErrorStack| Error::Missing(format!("a private key: {error}"));
    let key = PKey::from_rsa(Rsa::generate(2048).map_err(failed)?).map_err(failed)?;
    let pem = key.private_key_to_pem_pkcs8().map_err(failed)?;
    Ok(String::from_utf8_lossy(&pem).into_owned())
}

/// A line from the middle of a key: how its lines are broken is not the same everywhere.
fn middle(key: &str) -> String {
    key.lines().nth(5).unwrap_or_default().to_owned()
}

fn directory() -> Value {
    json!({
        "enabled": ["false"], "vendor": ["other"], "connectionUrl": ["ldap://127.0.0.1:1"], "usersDn": ["ou=users"], "bindDn": ["cn=admin"],
        "bindCredential": ["S3cretOfDirectory"], "authType": ["simple"], "usernameLDAPAttribute": ["uid"], "rdnLDAPAttribute": ["uid"],
        "uuidLDAPAttribute": ["entryUUID"], "userObjectClasses": ["person"], "editMode": ["READ_ONLY"],
    })
}

fn identity_provider() -> Value {
    json!({"alias": "partner", "providerId": "oidc", "enabled": true, "config": {
        "clientId": "shop", "clientSecret": "S3cretOfProvider",
        "authorizationUrl": "https://partner.example.org/auth", "tokenUrl": "https://partner.example.org/token",
    }})
}

/// The names of the secrets that `bytes` hold.
pub fn found<'a>(bytes: &[u8], secrets: &'a [Secret]) -> BTreeSet<&'a str> {
    let holds = |secret: &str| bytes.windows(secret.len()).any(|window| window == secret.as_bytes());
    secrets.iter().filter(|(_, secret)| holds(secret)).map(|(name, _)| *name).collect()
}

/// Every file below `directory` of which `is_wanted` holds, one after the other.
///
/// # Errors
/// Where the directory cannot be read. A file that is removed meanwhile holds nothing.
pub fn files(directory: &Path, is_wanted: &dyn Fn(&Path) -> bool) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    for entry in fs::read_dir(directory).map_err(Error::io("read", directory))? {
        let path = entry.map_err(Error::io("read", directory))?.path();
        if path.is_dir() {
            bytes.extend(files(&path, is_wanted)?);
        } else if is_wanted(&path) && path.is_file() {
            bytes.extend(fs::read(&path).unwrap_or_default());
        }
    }
    Ok(bytes)
}

/// Whether a file is a segment of a journal.
pub fn is_segment(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "kfj")
}
