//! Events as Keycloak writes them in the course of sessions: of the same shapes and sizes, and as hard to compress. A seed makes the same ones again, byte for byte.

use std::fmt::Write as _;

use fastrand::Rng;

/// What all choices come from.
const SEED: u64 = 8;
/// When the first event happens, in milliseconds since the Unix epoch; each following one a millisecond later.
const BEGIN_MS: u64 = 1_767_225_600_000;
/// How many users there are.
const USERS: u64 = 10_000;
const REALM_ID: &str = "8b1f0d5e-3a77-4a0e-9c44-1f6f3c0d2b11";
/// The realm's name.
pub const REALM: &str = "shop";
/// The client's name.
pub const CLIENT: &str = "web-shop";

/// What happens in turn: two sessions, refreshed twice each, of which one ends, and an attempt that fails.
const SESSION: [Kind; 10] = [
    Kind::Login,
    Kind::CodeToToken,
    Kind::RefreshToken,
    Kind::RefreshToken,
    Kind::Login,
    Kind::CodeToToken,
    Kind::RefreshToken,
    Kind::RefreshToken,
    Kind::Logout,
    Kind::LoginError,
];

/// A type of event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Login,
    CodeToToken,
    RefreshToken,
    Logout,
    LoginError,
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Self::Login => "LOGIN",
            Self::CodeToToken => "CODE_TO_TOKEN",
            Self::RefreshToken => "REFRESH_TOKEN",
            Self::Logout => "LOGOUT",
            Self::LoginError => "LOGIN_ERROR",
        }
    }
}

/// Makes one event after the other; each lies here until the next one is made.
#[derive(Debug, Clone)]
pub struct Events {
    choices: Rng,
    made: u64,
    kind: Kind,
    id: String,
    user: String,
    body: String,
}

impl Events {
    /// Before the first one.
    pub fn new() -> Self {
        Self {
            choices: Rng::with_seed(SEED),
            made: 0,
            kind: Kind::Login,
            id: String::new(),
            user: String::new(),
            body: String::new(),
        }
    }

    /// Makes the next one. Its id begins with its number, which counts from 0, in eight hexadecimal digits.
    pub fn make(&mut self) {
        self.kind = SESSION[(self.made % SESSION.len() as u64) as usize];
        let now = BEGIN_MS + self.made;
        self.id = format!("{:08x}{}", self.made, &uuid(&mut self.choices)[8..]);
        self.user = uuid(&mut Rng::with_seed(self.choices.u64(..USERS)));
        let session = uuid(&mut self.choices);
        let [a, b, c, d] = self.choices.u32(..).to_be_bytes();
        let error = if self.kind == Kind::LoginError { "\"invalid_user_credentials\"" } else { "null" };
        let (id, user, kind) = (&self.id, &self.user, self.kind.name());
        self.body.clear();
        // Writing to a string cannot fail.
        let _ = write!(
            self.body,
            "{{\"id\":\"{id}\",\"time\":{now},\"type\":\"{kind}\",\"realmId\":\"{REALM_ID}\",\"realmName\":\"{REALM}\",\"clientId\":\"{CLIENT}\",\
             \"userId\":\"{user}\",\"sessionId\":\"{session}\",\"ipAddress\":\"{a}.{b}.{c}.{d}\",\"error\":{error},\"details\":{{"
        );
        self.describe();
        self.body.push_str("}}");
        self.made += 1;
    }

    /// Adds the details that Keycloak gives an event of this type.
    fn describe(&mut self) {
        let mut uuid = || uuid(&mut self.choices);
        let name = &self.user[..8];
        // Writing to a string cannot fail.
        let _ = match self.kind {
            Kind::Login => write!(
                self.body,
                "\"auth_method\":\"openid-connect\",\"auth_type\":\"code\",\"response_type\":\"code\",\"redirect_uri\":\"https://shop.example/callback\",\
                 \"consent\":\"no_consent_required\",\"code_id\":\"{}\",\"response_mode\":\"query\",\"username\":\"{name}@example.com\"",
                uuid()
            ),
            Kind::CodeToToken => write!(
                self.body,
                "\"token_id\":\"onrtac:{}\",\"grant_type\":\"authorization_code\",\"refresh_token_type\":\"Refresh\",\"scope\":\"openid email profile\",\
                 \"refresh_token_id\":\"{}\",\"code_id\":\"{}\",\"client_auth_method\":\"client-secret\"",
                uuid(),
                uuid(),
                uuid()
            ),
            Kind::RefreshToken => write!(
                self.body,
                "\"token_id\":\"onrtrt:{}\",\"grant_type\":\"refresh_token\",\"refresh_token_type\":\"Refresh\",\"scope\":\"openid email profile\",\
                 \"refresh_token_id\":\"{}\",\"updated_refresh_token_id\":\"{}\",\"client_auth_method\":\"client-secret\"",
                uuid(),
                uuid(),
                uuid()
            ),
            Kind::Logout => write!(
                self.body,
                "\"auth_method\":\"openid-connect\",\"redirect_uri\":\"https://shop.example/\",\"username\":\"{name}@example.com\""
            ),
            Kind::LoginError => write!(
                self.body,
                "\"auth_method\":\"openid-connect\",\"auth_type\":\"code\",\"redirect_uri\":\"https://shop.example/callback\",\"code_id\":\"{}\",\
                 \"username\":\"{name}@example.com\"",
                uuid()
            ),
        };
    }

    /// How many have been made.
    pub fn made(&self) -> u64 {
        self.made
    }

    /// The type of the last one.
    pub fn kind(&self) -> &'static str {
        self.kind.name()
    }

    /// Its id.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The user whom it concerns.
    pub fn user(&self) -> &str {
        &self.user
    }

    /// The realm's id.
    pub fn realm_id(&self) -> &'static str {
        REALM_ID
    }

    /// Its JSON, without a line's end.
    pub fn body(&self) -> &str {
        &self.body
    }
}

/// The number of an event, from its JSON.
pub fn number(body: &[u8]) -> Option<usize> {
    let digits = body.strip_prefix(b"{\"id\":\"")?.get(..8)?;
    usize::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
}

fn uuid(choices: &mut Rng) -> String {
    let bits = choices.u128(..);
    format!(
        "{:08x}-{:04x}-4{:03x}-a{:03x}-{:012x}",
        (bits >> 96) as u32,
        (bits >> 80) as u16,
        (bits >> 68) & 0xfff,
        (bits >> 56) & 0xfff,
        bits & 0xffff_ffff_ffff
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The first so many events, a line each.
    fn lines(count: usize) -> Vec<String> {
        let mut events = Events::new();
        let line = |_| {
            events.make();
            events.body().to_owned()
        };
        (0..count).map(line).collect()
    }

    #[test]
    fn they_are_json_of_590_bytes_on_average_and_the_same_each_time() {
        let made = lines(1000);
        assert_eq!(made, lines(1000));
        let average = made.iter().map(String::len).sum::<usize>() / made.len();
        assert!((580..=600).contains(&average), "{average}");
        for (number, line) in made.iter().enumerate() {
            let json: serde_json::Value = serde_json::from_str(line).unwrap();
            assert!(json["details"].is_object() && json["userId"].is_string(), "{line}");
            assert_eq!(super::number(line.as_bytes()), Some(number));
        }
    }

    #[test]
    fn what_is_no_event_has_no_number() {
        assert_eq!(number(b"{}"), None);
        assert_eq!(number(b"{\"id\":\"nonsense-\"}"), None);
    }
}
