//! Tokens of Keycloak: signed JSON (RFC 7515, 7519), believed only by the keys that the issuer publishes (RFC 7517).
//!
//! The invariant: **nothing that a token says is looked at before its signature holds**, and the algorithm is that of the key (RS256 for RSA, ES256 for P-256), never what the token asks for.

use std::collections::BTreeMap;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use openssl::bn::BigNum;
use openssl::ec::{EcGroup, EcKey};
use openssl::ecdsa::EcdsaSig;
use openssl::error::ErrorStack;
use openssl::hash::MessageDigest;
use openssl::nid::Nid;
use openssl::pkey::{PKey, Public};
use openssl::rsa::Rsa;
use openssl::sha::sha256;
use openssl::sign::Verifier;
use serde::Deserialize;

use crate::role::Role;

/// So far clocks may be apart.
const LEEWAY: u64 = 60;
/// The shortest key of RSA that is believed, in bits (NIST SP 800-131A).
const SHORTEST_RSA: u32 = 2048;

/// Why a token is not believed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum TokenError {
    #[error("it is no token")]
    Malformed,
    #[error("it is signed by a key that the issuer does not publish")]
    UnknownKey,
    #[error("its signature does not hold")]
    BadSignature,
    #[error("its {claim} is {found}, not {wanted}")]
    Other { claim: &'static str, found: String, wanted: String },
    #[error("it is not for this client")]
    OtherAudience,
    #[error("it has ended, or not begun (if it has not, the clocks of this machine and of Keycloak differ)")]
    NotNow,
}

/// The keys of an issuer.
#[derive(Debug, Default)]
pub(crate) struct Keys(Vec<Key>);

#[derive(Debug)]
struct Key {
    id: Option<String>,
    public: PublicKey,
}

#[derive(Debug)]
enum PublicKey {
    /// RS256.
    Rsa(PKey<Public>),
    /// ES256.
    P256(EcKey<Public>),
}

/// A key as it is published.
#[derive(Deserialize)]
struct Jwk {
    kty: String,
    kid: Option<String>,
    #[serde(rename = "use")]
    purpose: Option<String>,
    crv: Option<String>,
    n: Option<String>,
    e: Option<String>,
    x: Option<String>,
    y: Option<String>,
}

#[derive(Deserialize)]
struct Jwks {
    keys: Vec<Jwk>,
}

#[derive(Deserialize)]
struct Header {
    alg: String,
    kid: Option<String>,
    crit: Option<serde_json::Value>,
}

/// What a token says.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Claims {
    iss: String,
    #[serde(default)]
    aud: Audience,
    azp: Option<String>,
    exp: u64,
    nbf: Option<u64>,
    nonce: Option<String>,
    typ: Option<String>,
    pub(crate) sub: Option<String>,
    preferred_username: Option<String>,
    #[serde(default)]
    realm_access: Grants,
    #[serde(default)]
    resource_access: BTreeMap<String, Grants>,
}

#[derive(Clone, Debug, Default, Deserialize)]
struct Grants {
    #[serde(default)]
    roles: Vec<String>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
enum Audience {
    One(String),
    Many(Vec<String>),
}

impl Default for Audience {
    fn default() -> Self {
        Self::Many(Vec::new())
    }
}

impl Audience {
    fn has(&self, client: &str) -> bool {
        match self {
            Self::One(one) => one == client,
            Self::Many(many) => many.iter().any(|one| one == client),
        }
    }
}

/// What Keycloak's roles are called.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RoleNames {
    /// Who has it reads.
    pub viewer: String,
    /// Who has it acts.
    pub operator: String,
    /// Who has it changes the configuration.
    pub admin: String,
}

impl RoleNames {
    fn of(&self, role: Role) -> &str {
        match role {
            Role::Viewer => &self.viewer,
            Role::Operator => &self.operator,
            Role::Admin => &self.admin,
        }
    }
}

/// Whose tokens are believed, and for whom they must be.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Party<'a> {
    pub(crate) issuer: &'a str,
    pub(crate) client: &'a str,
}

impl Keys {
    /// Those of a JSON Web Key Set that can sign. What is not understood, or is no key to be believed, is passed over.
    pub(crate) fn read(jwks: &[u8]) -> Result<Self, serde_json::Error> {
        let Jwks { keys } = serde_json::from_slice(jwks)?;
        Ok(Self(keys.iter().filter_map(Key::of).collect()))
    }

    /// What `token` says, if one of the keys has signed it.
    pub(crate) fn open(&self, token: &str) -> Result<Claims, TokenError> {
        let (signed, signature) = token.rsplit_once('.').ok_or(TokenError::Malformed)?;
        let (header, claims) = signed.split_once('.').ok_or(TokenError::Malformed)?;
        let Header { alg, kid, crit } = json(header)?;
        let key = self.0.iter().find(|key| key.id == kid).ok_or(TokenError::UnknownKey)?;
        let signature = decoded(signature).ok_or(TokenError::Malformed)?;
        let holds = alg == key.public.algorithm()
            && crit.is_none()
            && key.public.has_signed(signed.as_bytes(), &signature).unwrap_or(false);
        if holds { json(claims) } else { Err(TokenError::BadSignature) }
    }
}

impl Key {
    fn of(jwk: &Jwk) -> Option<Self> {
        if jwk.purpose.as_deref().is_some_and(|purpose| purpose != "sig") {
            return None;
        }
        let public = match (jwk.kty.as_str(), jwk.crv.as_deref()) {
            ("RSA", _) => {
                let rsa = Rsa::from_public_components(number(&jwk.n)?, number(&jwk.e)?).ok()?;
                if rsa.size() * 8 < SHORTEST_RSA {
                    return None;
                }
                PublicKey::Rsa(PKey::from_rsa(rsa).ok()?)
            }
            ("EC", Some("P-256")) => {
                let group = EcGroup::from_curve_name(Nid::X9_62_PRIME256V1).ok()?;
                // Is refused if it is no point of the curve.
                let key =
                    EcKey::from_public_key_affine_coordinates(&group, &*number(&jwk.x)?, &*number(&jwk.y)?);
                PublicKey::P256(key.ok()?)
            }
            _ => return None,
        };
        Some(Self { id: jwk.kid.clone(), public })
    }
}

impl PublicKey {
    const fn algorithm(&self) -> &'static str {
        match self {
            Self::Rsa(_) => "RS256",
            Self::P256(_) => "ES256",
        }
    }

    fn has_signed(&self, text: &[u8], signature: &[u8]) -> Result<bool, ErrorStack> {
        match self {
            Self::Rsa(key) => Verifier::new(MessageDigest::sha256(), key)?.verify_oneshot(signature, text),
            // Two numbers of 32 bytes each (RFC 7518, 3.4).
            Self::P256(key) if signature.len() == 64 => {
                let (r, s) = signature.split_at(32);
                let signature =
                    EcdsaSig::from_private_components(BigNum::from_slice(r)?, BigNum::from_slice(s)?)?;
                signature.verify(&sha256(text), key)
            }
            Self::P256(_) => Ok(false),
        }
    }
}

impl Claims {
    /// That it is an ID token for a login with this nonce (OpenID Connect Core, 3.1.3.7).
    pub(crate) fn is_of_login(&self, party: Party<'_>, nonce: &str, now: Duration) -> Result<(), TokenError> {
        self.is_valid(party, now)?;
        is("typ", self.typ.as_deref(), "ID")?;
        is("nonce", self.nonce.as_deref(), nonce)?;
        if self.azp.as_deref().is_some_and(|azp| azp != party.client) || !self.aud.has(party.client) {
            return Err(TokenError::OtherAudience);
        }
        Ok(())
    }

    /// That it is an access token that was given to this client, or for it.
    pub(crate) fn is_of_access(&self, party: Party<'_>, now: Duration) -> Result<(), TokenError> {
        self.is_valid(party, now)?;
        is("typ", self.typ.as_deref(), "Bearer")?;
        let is_ours = self.azp.as_deref() == Some(party.client) || self.aud.has(party.client);
        if is_ours { Ok(()) } else { Err(TokenError::OtherAudience) }
    }

    fn is_valid(&self, party: Party<'_>, now: Duration) -> Result<(), TokenError> {
        is("iss", Some(&self.iss), party.issuer)?;
        let now = now.as_secs();
        let has_begun = self.nbf.is_none_or(|begin| begin <= now.saturating_add(LEEWAY));
        if has_begun && now < self.exp.saturating_add(LEEWAY) { Ok(()) } else { Err(TokenError::NotNow) }
    }

    /// What the user is called, for people.
    pub(crate) fn user(&self) -> &str {
        self.preferred_username.as_deref().or(self.sub.as_deref()).unwrap_or("nameless")
    }

    /// The greatest role that is granted, in the realm or of this client.
    pub(crate) fn role(&self, names: &RoleNames, client: &str) -> Option<Role> {
        let of_client =
            self.resource_access.get(client).map(|grants| grants.roles.as_slice()).unwrap_or_default();
        let is_granted =
            |name: &str| self.realm_access.roles.iter().chain(of_client).any(|role| role == name);
        Role::ALL.into_iter().rev().find(|role| is_granted(names.of(*role)))
    }
}

fn is(claim: &'static str, found: Option<&str>, wanted: &str) -> Result<(), TokenError> {
    match found {
        Some(found) if found == wanted => Ok(()),
        found => Err(TokenError::Other {
            claim,
            found: format!("{:?}", found.unwrap_or_default()),
            wanted: format!("{wanted:?}"),
        }),
    }
}

fn json<T: serde::de::DeserializeOwned>(part: &str) -> Result<T, TokenError> {
    let bytes = decoded(part).ok_or(TokenError::Malformed)?;
    serde_json::from_slice(&bytes).map_err(|_| TokenError::Malformed)
}

fn decoded(part: &str) -> Option<Vec<u8>> {
    URL_SAFE_NO_PAD.decode(part).ok()
}

fn number(part: &Option<String>) -> Option<BigNum> {
    BigNum::from_slice(&decoded(part.as_deref()?)?).ok()
}

#[cfg(test)]
mod tests {
    use openssl::pkey::Private;
    use openssl::sign::Signer;
    use serde_json::{Value, json};

    use super::*;

    const PARTY: Party<'static> = Party { issuer: "https://k/realms/r", client: "keyferry" };
    const NOW: Duration = Duration::from_secs(1_000_000);

    fn encoded(bytes: impl AsRef<[u8]>) -> String {
        URL_SAFE_NO_PAD.encode(bytes)
    }

    fn rsa() -> (PKey<Private>, Value) {
        let rsa = Rsa::generate(2048).unwrap();
        let jwk = json!({ "kty": "RSA", "kid": "r", "use": "sig", "n": encoded(rsa.n().to_vec()), "e": encoded(rsa.e().to_vec()) });
        (PKey::from_rsa(rsa).unwrap(), jwk)
    }

    fn p256() -> (EcKey<Private>, Value) {
        let group = EcGroup::from_curve_name(Nid::X9_62_PRIME256V1).unwrap();
        let key = EcKey::generate(&group).unwrap();
        let (mut x, mut y) = (BigNum::new().unwrap(), BigNum::new().unwrap());
        let mut context = openssl::bn::BigNumContext::new().unwrap();
        key.public_key().affine_coordinates(&group, &mut x, &mut y, &mut context).unwrap();
        let padded = |number: &BigNum| encoded(number.to_vec_padded(32).unwrap());
        let jwk = json!({ "kty": "EC", "crv": "P-256", "kid": "e", "x": padded(&x), "y": padded(&y) });
        (key, jwk)
    }

    fn keys(keys: &[&Value]) -> Keys {
        Keys::read(json!({ "keys": keys }).to_string().as_bytes()).unwrap()
    }

    fn claims() -> Value {
        json!({
            "iss": PARTY.issuer, "aud": ["keyferry", "account"], "azp": "keyferry", "exp": 1_000_300, "nonce": "n", "typ": "ID", "sub": "7",
            "preferred_username": "alice", "realm_access": { "roles": ["user", "keyferry-operator"] },
            "resource_access": { "keyferry": { "roles": ["keyferry-viewer"] }, "other": { "roles": ["keyferry-admin"] } },
        })
    }

    fn text(header: &Value, claims: &Value) -> String {
        format!("{}.{}", encoded(header.to_string()), encoded(claims.to_string()))
    }

    fn signed(key: &PKey<Private>, header: &Value, claims: &Value) -> String {
        let text = text(header, claims);
        let signature =
            Signer::new(MessageDigest::sha256(), key).unwrap().sign_oneshot_to_vec(text.as_bytes()).unwrap();
        format!("{text}.{}", encoded(signature))
    }

    fn rs256() -> Value {
        json!({ "alg": "RS256", "kid": "r" })
    }

    #[test]
    fn a_token_of_either_kind_of_key_is_read_and_only_if_it_is_signed() {
        let ((rsa, of_rsa), (p256, of_p256)) = (rsa(), p256());
        let keys = keys(&[&of_rsa, &of_p256]);
        let token = signed(&rsa, &rs256(), &claims());
        assert_eq!(keys.open(&token).unwrap().user(), "alice");
        let of_ec = text(&json!({ "alg": "ES256", "kid": "e" }), &claims());
        let signature = EcdsaSig::sign(&sha256(of_ec.as_bytes()), &p256).unwrap();
        let raw =
            [signature.r().to_vec_padded(32).unwrap(), signature.s().to_vec_padded(32).unwrap()].concat();
        assert_eq!(keys.open(&format!("{of_ec}.{}", encoded(&raw))).unwrap().user(), "alice");
        let mut greater = claims();
        greater["realm_access"]["roles"] = json!(["keyferry-admin"]);
        let forged = format!("{}.{}", text(&rs256(), &greater), token.rsplit_once('.').unwrap().1);
        assert_eq!(keys.open(&forged).unwrap_err(), TokenError::BadSignature);
        for (header, of) in [
            (json!({ "alg": "none", "kid": "r" }), ""),
            (json!({ "alg": "HS256", "kid": "r" }), "AAAA"),
            (json!({ "alg": "ES256", "kid": "r" }), "AAAA"),
            (rs256(), ""),
        ] {
            let token = format!("{}.{of}", text(&header, &claims()));
            assert_eq!(keys.open(&token).unwrap_err(), TokenError::BadSignature, "{header}");
        }
        for kid in [json!("other"), Value::Null] {
            let token = signed(&rsa, &json!({ "alg": "RS256", "kid": kid }), &claims());
            assert_eq!(keys.open(&token).unwrap_err(), TokenError::UnknownKey);
        }
        for no_token in ["", "a", "a.b", "a.b.c", "..", "e30.e30."] {
            assert!(keys.open(no_token).is_err(), "{no_token}");
        }
    }

    #[test]
    fn keys_that_are_for_something_else_or_too_short_are_no_keys() {
        let (key, mut of_key) = rsa();
        of_key["use"] = json!("enc");
        let short = Rsa::generate(1024).unwrap();
        let of_short = json!({ "kty": "RSA", "kid": "s", "n": encoded(short.n().to_vec()), "e": encoded(short.e().to_vec()) });
        let keys = keys(&[&of_key, &of_short, &json!({ "kty": "oct", "k": "AAAA" })]);
        assert!(keys.0.is_empty());
        assert_eq!(keys.open(&signed(&key, &rs256(), &claims())).unwrap_err(), TokenError::UnknownKey);
    }

    fn says(change: impl FnOnce(&mut Value)) -> Claims {
        let mut claims = claims();
        change(&mut claims);
        serde_json::from_value(claims).unwrap()
    }

    #[test]
    fn a_login_is_believed_only_if_it_is_of_this_issuer_for_this_client_for_this_login_and_now() {
        let of_login = |change: fn(&mut Value)| says(change).is_of_login(PARTY, "n", NOW);
        assert_eq!(of_login(|_| {}), Ok(()));
        assert_eq!(of_login(|claims| claims["aud"] = json!("keyferry")), Ok(()));
        assert_eq!(of_login(|claims| claims["aud"] = json!("account")), Err(TokenError::OtherAudience));
        assert_eq!(of_login(|claims| claims["azp"] = json!("other")), Err(TokenError::OtherAudience));
        assert_eq!(of_login(|claims| claims["exp"] = json!(1_000_000 - 60)), Err(TokenError::NotNow));
        assert_eq!(of_login(|claims| claims["exp"] = json!(1_000_000 - 59)), Ok(()));
        assert_eq!(of_login(|claims| claims["nbf"] = json!(1_000_000 + 61)), Err(TokenError::NotNow));
        for (claim, value) in [("iss", "https://k/realms/other"), ("nonce", "other"), ("typ", "Bearer")] {
            let mut changed = claims();
            changed[claim] = json!(value);
            let claims: Claims = serde_json::from_value(changed).unwrap();
            let error = claims.is_of_login(PARTY, "n", NOW).unwrap_err();
            assert!(matches!(error, TokenError::Other { claim: named, .. } if named == claim), "{error}");
        }
        let without = says(|claims| claims["nonce"] = Value::Null);
        assert!(without.is_of_login(PARTY, "n", NOW).is_err());
    }

    #[test]
    fn access_is_given_to_this_client_or_for_it_and_not_by_an_id_token() {
        let of_access = |azp: &str, aud: &str, typ: &str| {
            says(|claims| {
                (claims["azp"], claims["aud"], claims["typ"]) = (json!(azp), json!(aud), json!(typ))
            })
            .is_of_access(PARTY, NOW)
        };
        assert_eq!(of_access("keyferry", "account", "Bearer"), Ok(()));
        assert_eq!(of_access("other", "keyferry", "Bearer"), Ok(()));
        assert_eq!(of_access("other", "account", "Bearer"), Err(TokenError::OtherAudience));
        assert!(of_access("keyferry", "keyferry", "ID").is_err());
    }

    #[test]
    fn the_greatest_role_counts_of_the_realm_or_of_this_client_but_of_no_other() {
        let names = RoleNames {
            viewer: "keyferry-viewer".to_owned(),
            operator: "keyferry-operator".to_owned(),
            admin: "keyferry-admin".to_owned(),
        };
        assert_eq!(says(|_| {}).role(&names, "keyferry"), Some(Role::Operator));
        assert_eq!(
            says(|claims| claims["realm_access"] = json!({})).role(&names, "keyferry"),
            Some(Role::Viewer)
        );
        let none = says(|claims| {
            claims["realm_access"] = json!({ "roles": ["keyferry-admin2"] });
            claims["resource_access"] = json!({});
        });
        assert_eq!(none.role(&names, "keyferry"), None);
    }
}
