//! What is not told of an event, and that everything else stays what it was.
#![allow(clippy::unwrap_used)]

use keyferry_event::redaction::{HashKey, Preset, Redactor};
use keyferry_event::{Encoder, Envelope, HeaderMode, Redaction};
use keyferry_journal::event::{EventEncoder, Events, Field};
use keyferry_journal::{Epoch, EventKind, Outcome};
use proptest::prelude::*;
use serde_json::{Value, json};

const MASK: &str = "**********";

fn redacted(redaction: &Redaction, body: &str) -> String {
    String::from_utf8(Redactor::new(redaction.clone()).redact(body.as_bytes()).to_vec()).unwrap()
}

/// An admin event with this representation, as Keycloak writes it.
fn admin_event(representation: &Value) -> String {
    json!({
        "id": "e1", "time": 1, "realmId": "r1", "authDetails": {"userId": "u1", "ipAddress": "192.0.2.7"},
        "resourcePath": "clients/c1", "representation": representation.to_string(), "error": null, "details": null,
    })
    .to_string()
}

fn without_secrets(representation: &Value) -> Value {
    let event: Value =
        serde_json::from_str(&redacted(&Redaction::default(), &admin_event(representation))).unwrap();
    serde_json::from_str(event["representation"].as_str().unwrap()).unwrap()
}

/// Looks like names and shapes of secrets, and is none.
const SUSPECT: &str = r#"[{"value":"eyJ"},"#;

/// What becomes of an event under the default that looks as if it held secrets.
fn redacted_if_suspect(body: &str) -> String {
    let redacted = redacted(&Redaction::default(), &format!("{SUSPECT}{body}]"));
    let body = redacted.strip_prefix(SUSPECT).and_then(|rest| rest.strip_suffix(']'));
    body.unwrap_or(&redacted).to_owned()
}

/// The same where no string can be searched but decoded: behind each that may be JSON stands an escaped blank.
fn redacted_at_length(body: &str) -> String {
    let spelt = body.replace("}\"", "}\\u0020\"").replace("]\"", "]\\u0020\"");
    redacted_if_suspect(&spelt).replace("\\u0020", "")
}

fn rules(text: &str) -> Redaction {
    let key = HashKey::new(b"0123456789abcdef").unwrap();
    Redaction::new(true, None, &text.parse().unwrap(), Some(key))
}

#[test]
fn each_kind_of_secret_is_masked_where_keycloak_puts_it() {
    let jwt = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl";
    let cases = [
        // A client, with attributes.
        (
            json!({"clientId": "web", "secret": "s1", "registrationAccessToken": jwt, "attributes":
                {"saml.signing.private.key": "MII", "client.secret.rotated": "s2", "client.secret.creation.time": "17", "use.refresh.tokens": "true"}}),
            json!({"clientId": "web", "secret": MASK, "registrationAccessToken": MASK, "attributes":
                {"saml.signing.private.key": MASK, "client.secret.rotated": MASK, "client.secret.creation.time": "17", "use.refresh.tokens": "true"}}),
        ),
        // A secret that was generated anew; the type may come later.
        (json!({"type": "secret", "value": "s1"}), json!({"type": "secret", "value": MASK})),
        (
            json!({"a": {"value": "s1", "temporary": true, "zz": 1, "type": "password"}}),
            json!({"a": {"value": MASK, "temporary": true, "zz": 1, "type": "password"}}),
        ),
        (json!({"type": "String", "value": "open"}), json!({"type": "String", "value": "open"})),
        // Components: keys and a directory's password, in lists.
        (
            json!({"providerId": "rsa", "config": {"privateKey": ["MIIE"], "certificate": ["MIIC"], "keySize": ["2048"]}}),
            json!({"providerId": "rsa", "config": {"privateKey": [MASK], "certificate": ["MIIC"], "keySize": ["2048"]}}),
        ),
        (
            json!({"config": {"bindCredential": ["p1"], "bindDn": ["cn=admin"]}}),
            json!({"config": {"bindCredential": [MASK], "bindDn": ["cn=admin"]}}),
        ),
        // A realm's mail server and an identity provider.
        (
            json!({"smtpServer": {"host": "mail", "password": "p1", "authTokenClientSecret": "p2"}, "passwordPolicy": "length(8)", "resetPasswordAllowed": true}),
            json!({"smtpServer": {"host": "mail", "password": MASK, "authTokenClientSecret": MASK}, "passwordPolicy": "length(8)", "resetPasswordAllowed": true}),
        ),
        (
            json!({"alias": "idp", "config": {"clientSecret": "s1", "clientId": "c"}}),
            json!({"alias": "idp", "config": {"clientSecret": MASK, "clientId": "c"}}),
        ),
        // A user's credentials, whose data are JSON in strings.
        (
            json!({"username": "jo", "credentials": [{"type": "password", "value": "p1", "secretData": "{\"value\":\"h\",\"salt\":\"s\"}"}]}),
            json!({"username": "jo", "credentials": [{"type": "password", "value": MASK, "secretData": MASK}]}),
        ),
        // A token for the registration of clients, and numbers.
        (json!({"token": jwt, "count": 2, "apiKey": 1234}), json!({"token": MASK, "count": 2, "apiKey": 0})),
        // JSON within a text of the JSON in a text.
        (
            json!({"attributes": {"settings": "{\"password\" : \"p1\", \"port\":1}"}}),
            json!({"attributes": {"settings": format!("{{\"password\" : \"{MASK}\", \"port\":1}}")}}),
        ),
        // By its shape, under whatever name.
        (
            json!({"note": format!("use {jwt} now,\n{jwt} later"), "other": "-----BEGIN PRIVATE KEY-----\nMII"}),
            json!({"note": format!("use {MASK} now,\n{MASK} later"), "other": MASK}),
        ),
    ];
    for (given, expected) in cases {
        assert_eq!(without_secrets(&given), expected, "{given}");
    }
}

/// Each event of Keycloak, with the secrets that Keycloak masked put back, as it is, and within a representation.
#[test]
fn what_keycloak_writes_is_searched_where_it_stands_as_it_would_be_decoded() {
    let captured = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../testdata/events/keycloak");
    let (mut events, mut masked) = (0, 0);
    for entry in std::fs::read_dir(captured).unwrap() {
        let event = std::fs::read_to_string(entry.unwrap().path()).unwrap();
        let event = event.trim_end().replace(MASK, "s1");
        for event in [event.clone(), json!({ "representation": event }).to_string()] {
            let found = redacted(&Redaction::default(), &event);
            assert_eq!(found, redacted_if_suspect(&event));
            assert_eq!(found, redacted_at_length(&event));
            assert!(serde_json::from_str::<Value>(&found).is_ok(), "{found}");
            (events, masked) = (events + 1, masked + usize::from(found != event));
        }
    }
    assert!(events > 200 && masked >= 8, "{masked} of {events}");
}

#[test]
fn a_representation_that_is_spelt_unusually_is_searched_all_the_same() {
    let masked = |representation: &str| {
        let event = |content: &str| format!(r#"{{"a":1,"representation":"{content}","error":null}}"#);
        let edited = redacted(&Redaction::default(), &event(representation));
        assert_eq!(edited, event(&representation.replace("s1", MASK)), "{representation}");
    };
    for representation in [
        r#"{\"secret\":\"s1\"}"#,
        r#"{\"secret\"\n :\"s1\"}"#,
        r#"\n {\n \t\"secret\" : \"s1\"\r\n}\n"#,
        r#"{\"s\u0065cret\":\"s1\"}"#,
        r#"{\"s\\u0065cret\":\"s1\"}"#,
        r#"{\u0022secret\u0022:\u0022s1\u0022}"#,
        r#"{\"a\/b\":\"\/\",\"secret\":\"s1\"}"#,
        r#"{\"a\\\"b\":\"\\\\\",\"secret\":\"s1\"}"#,
        r#"{\"a\":\"x\\\"y\\\\\",\"secret\":[\"s1\",{\"b\":\"s1\"}]}"#,
        r#"{\"a\":\"{\\\"secret\\\":\\\"s1\\\"}\",\"b\":[1,true,null]}"#,
        r#"[{\"value\":\"s1\",\"type\":\"password\"}]"#,
        r#"\u0020\n\u007B\"secret\":\"s1\"}"#,
        r#"{\"type\":\"pa\u0073sword\",\"value\":\"s1\"}"#,
        r#"{\"type\":\"pa\\u0073sword\",\"value\":\"s1\"}"#,
        r#"{\"value\":\"s1\",\"value\":\"s1\"}"#,
    ] {
        masked(representation);
    }
}

#[test]
fn a_shape_is_known_however_it_is_spelt() {
    let masked = |content: &str, expected: &str| {
        let event = |content: &str| format!(r#"{{"details":{{"note":"{content}"}}}}"#);
        assert_eq!(redacted(&Redaction::default(), &event(content)), event(expected), "{content}");
    };
    masked(r"an \u0065yJabcde.abcdef\u0067h.x\u0079\n\u0061", &format!(r"an {MASK}\n\u0061"));
    masked(r"-----BEGIN \u0050RIVATE KEY-----\nMII", MASK);
    masked(r"MIIG\/gIBADANBgkqhkiG9w0BAQ", MASK);
    masked(r"\u0061eyJabcde.abcdefgh.x", r"\u0061eyJabcde.abcdefgh.x");
}

/// What the provider is held to as well: `SecretMaskTest`.
#[test]
fn secrets_are_known_as_the_provider_knows_them() {
    let cases =
        std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../../testdata/secrets/cases.json"));
    let cases: Value = serde_json::from_str(&cases.unwrap()).unwrap();
    let cases = cases.as_array().unwrap();
    assert!(cases.len() > 30, "{} cases", cases.len());
    // The provider writes JSON anew, and the agent leaves what it does not mask.
    let read = |text: &str| serde_json::from_str::<Value>(text).unwrap_or_else(|_| text.into());
    for case in cases {
        let (given, told) = (case["given"].as_str().unwrap(), case["told"].as_str().unwrap());
        let event = json!({"id": "e1", "representation": given}).to_string();
        let found: Value = serde_json::from_str(&redacted(&Redaction::default(), &event)).unwrap();
        let found = found["representation"].as_str().unwrap();
        assert_eq!(read(found), read(told), "{given}: {found}");
        assert!(given != told || found == given, "{given}: {found}");
    }
}

#[test]
fn what_tells_nothing_stays() {
    for harmless in [
        json!({"secret": MASK}),
        json!({"secret": ""}),
        json!({"secret": null}),
        json!({"secret": "${vault.smtp}"}),
        json!({"use_refresh_token": "false"}),
    ] {
        let event = admin_event(&harmless);
        assert_eq!(redacted(&Redaction::default(), &event), event);
    }
}

#[test]
fn secrets_in_details_are_masked_and_with_the_opt_out_everything_passes() {
    let event = r#"{"type":"LOGIN","details":{"username":"jo","access_token":"t1","token_id":"i1"}}"#;
    assert_eq!(redacted(&Redaction::default(), event), event.replace("\"t1\"", &format!("\"{MASK}\"")));
    assert_eq!(redacted(&Redaction::none(), event), event);
}

#[test]
fn what_cannot_be_searched_is_not_published() {
    let cut = r#"{"representation":"{\"secret\":\"s1"}"#;
    assert_eq!(redacted(&Redaction::default(), cut), format!(r#"{{"representation":"{MASK}"}}"#));
    assert_eq!(redacted(&Redaction::default(), r#"{"secret":"s1"#), format!("\"{MASK}\""));
}

#[test]
fn fields_are_redacted_by_path() {
    let event = r#"{"time":5,"userId":"u1","ipAddress":"192.0.2.7","error":null,"details":{"username":"jo","ok":true},"representation":"{\"attributes\":{\"phone\":[\"1\",\"2\"]},\"secret\":\"s1\"}"}"#;
    let of = |text: &str| redacted(&rules(text), event);
    assert_eq!(of("userId = keep"), event.replace(r#"\"s1\""#, &format!(r#"\"{MASK}\""#)));
    let edited = of(
        "time = mask; ipAddress = truncate-ip; details.* = mask; error = mask; representation.attributes = drop; representation.secret = keep",
    );
    let expected = r#"{"time":0,"userId":"u1","ipAddress":"192.0.2.0","error":null,"details":{"username":"**********","ok":null},"representation":"{\"attributes\":null,\"secret\":\"s1\"}"}"#;
    assert_eq!(edited, expected);
    assert!(
        of("representation.**.phone = mask").contains(&format!(r#"{{\"phone\":[\"{MASK}\",\"{MASK}\"]}}"#))
    );
    assert!(of("representation = drop").contains(r#""representation":null"#));
    let hashed = of("userId = hash; details.username = hash");
    let [user, name] = ["userId", "username"]
        .map(|field| hashed.split(&format!("\"{field}\":\"")).nth(1).unwrap()[..32].to_owned());
    assert!(user != name && user.bytes().all(|byte| byte.is_ascii_hexdigit()), "{user} {name}");
}

#[test]
fn what_a_rule_does_to_the_type_of_a_credential_does_not_tell_its_value() {
    let event = r#"{"representation":"{\"type\":\"password\",\"value\":\"s1\"}"}"#;
    for (rule, kind) in [("keep", r#"\"password\""#), ("mask", r#"\"**********\""#), ("drop", "null")] {
        let expected = format!(r#"{{"representation":"{{\"type\":{kind},\"value\":\"{MASK}\"}}"}}"#);
        assert_eq!(redacted(&rules(&format!("**.type = {rule}")), event), expected);
    }
    assert_eq!(redacted(&rules("representation.value = keep"), event), event);
}

#[test]
fn a_path_leads_through_a_value_that_is_json() {
    let event = r#"{"value":"{\"a\":\"b\"}"}"#;
    let expected = format!(r#"{{"value":"{{\"a\":\"{MASK}\"}}"}}"#);
    assert_eq!(redacted(&rules("value.a = mask; a = drop"), event), expected);
}

#[test]
fn the_id_in_a_path_is_hashed_however_the_path_is_spelt() {
    let of = |event: &str| redacted(&rules("userId = hash; resourcePath = hash-user"), event);
    let hash = of(r#"{"userId":"u1"}"#)[11..43].to_owned();
    for slash in ["/", r"\/", r"\u002f"] {
        let event = format!(r#"{{"resourcePath":"users{slash}u1{slash}groups"}}"#);
        assert_eq!(of(&event), format!(r#"{{"resourcePath":"users{slash}{hash}{slash}groups"}}"#));
    }
}

/// Key and headers would give away what the JSON does not.
#[test]
fn who_is_not_told_in_the_value_is_not_told_beside_it_and_keeps_one_key() {
    let user = "4f1a9d3e-aaaa-bbbb-cccc-1234567890ab";
    let path = format!("users/{user}/role-mappings/realm");
    let redactions = [
        Redaction::new(
            true,
            Some(Preset::GdprPseudonymous),
            &"".parse().unwrap(),
            Some(HashKey::new(&[7; 16]).unwrap()),
        ),
        rules("userId = mask; resourcePath = mask"),
    ];
    for redaction in redactions {
        let told = |kind, fields: &[(Field, &str)], body: &str| {
            let mut payload = EventEncoder::new();
            payload.push(kind, 0, fields, body.as_bytes());
            let event = Events::of(payload.payload()).next().unwrap().unwrap();
            let mut encoder = Encoder::new(HeaderMode::CloudEvents).redacting(redaction.clone());
            let envelope = Envelope { node: "n", epoch: Epoch(1), outcome: Outcome::Committed, sequence: 1 };
            let record = encoder.encode("t", &event, &envelope).unwrap();
            let everything: Vec<u8> = record
                .headers()
                .flat_map(|header| header.value.to_vec())
                .chain(record.value.to_vec())
                .chain(record.key.to_vec())
                .collect();
            let everything = String::from_utf8(everything).unwrap();
            assert!(!everything.contains(user), "{everything}");
            String::from_utf8(record.key.to_vec()).unwrap()
        };
        let login = json!({"userId": user}).to_string();
        let change =
            json!({"resourcePath": path, "resourceId": "x", "authDetails": {"userId": "admin"}}).to_string();
        let as_user = told(EventKind::User, &[(Field::RealmId, "r"), (Field::UserId, user)], &login);
        let as_admin =
            told(EventKind::Admin, &[(Field::RealmId, "r"), (Field::ResourcePath, &path)], &change);
        assert_eq!(as_user, as_admin);
        assert!(!as_user.is_empty());
    }
}

#[test]
fn the_preset_for_the_gdpr_knows_the_fields_of_both_kinds() {
    let key = HashKey::new(&[7; 16]).unwrap();
    let redaction = Redaction::new(true, Some(Preset::GdprPseudonymous), &"".parse().unwrap(), Some(key));
    let event = json!({"realmName": "shop", "userId": "u1", "sessionId": "s1", "ipAddress": "2001:db8:1:2::7", "details": {"username": "jo", "first_name": "Jo", "grant_type": "x"},
        "representation": "{}", "resourcePath": "users/u1/groups/g1", "resourceId": "u1", "authDetails": {"userId": "u1", "ipAddress": "192.0.2.7", "realmId": "r1"}});
    let told: Value = serde_json::from_str(&redacted(&redaction, &event.to_string())).unwrap();
    let user = told["userId"].as_str().unwrap();
    assert_eq!(
        (told["resourceId"].as_str(), told["authDetails"]["userId"].as_str()),
        (Some(user), Some(user))
    );
    assert_eq!(told["resourcePath"], format!("users/{user}/groups/g1"));
    assert_eq!(
        (&told["ipAddress"], &told["authDetails"]["ipAddress"]),
        (&json!("2001:db8:1::"), &json!("192.0.2.0"))
    );
    assert_eq!((&told["details"]["first_name"], &told["representation"]), (&json!(MASK), &Value::Null));
    assert_eq!(
        (&told["realmName"], &told["details"]["grant_type"], &told["authDetails"]["realmId"]),
        (&json!("shop"), &json!("x"), &json!("r1"))
    );
    assert!(told["sessionId"] != "s1" && told["details"]["username"] != "jo");
}

/// JSON with names of secrets among others, and JSON in strings.
fn documents(numbers: impl Strategy<Value = i32> + 'static) -> impl Strategy<Value = Value> {
    let text = prop_oneof![
        any::<String>(),
        Just("eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2ln".to_owned()),
        Just("[a-z]{2}\"\\".to_owned()),
        Just("{".to_owned()),
    ];
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        numbers.prop_map(Value::from),
        text.prop_map(Value::from)
    ];
    let name = prop_oneof![
        prop::sample::select(vec![
            "secret",
            "clientSecret",
            "password",
            "token",
            "type",
            "value",
            "name",
            "representation",
            "a\"b",
            "privateKey",
            "credentials"
        ])
        .prop_map(ToOwned::to_owned),
        "[a-zé\"\\\\]{0,4}"
    ];
    leaf.prop_recursive(5, 40, 5, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map(name.clone(), inner.clone(), 0..5)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
            inner.prop_map(|value| Value::from(value.to_string())),
        ]
    })
}

fn is_secret(name: &str) -> bool {
    ["secret", "clientSecret", "password", "token", "privateKey"].contains(&name)
}

/// That `after` is `before` but for what stands at names of secrets, and of tokens in texts.
fn differs_only_where_it_may(before: &Value, after: &Value, may: bool) -> bool {
    match (before, after) {
        (Value::Object(one), Value::Object(other)) => {
            one.len() == other.len()
                && one.iter().all(|(name, value)| {
                    let may = may || is_secret(name) || (name == "value" && one.contains_key("type"));
                    other.get(name).is_some_and(|other| differs_only_where_it_may(value, other, may))
                })
        }
        (Value::Array(one), Value::Array(other)) => {
            one.len() == other.len()
                && one.iter().zip(other).all(|(one, other)| differs_only_where_it_may(one, other, may))
        }
        (Value::String(one), Value::String(other)) if one != other => {
            let parsed = [one, other].map(|text| serde_json::from_str::<Value>(text));
            let nested =
                matches!(&parsed, [Ok(one), Ok(other)] if differs_only_where_it_may(one, other, may));
            nested || (may && other == MASK) || one.contains("eyJ")
                // A representation that is no JSON.
                || other == MASK && one.trim_start().starts_with(['{', '['])
        }
        (Value::Number(_), Value::Number(other)) if may => before == after || *other == 0.into(),
        _ => before == after,
    }
}

/// Whether a text stands at the name of a secret.
fn tells_a_secret(value: &Value, at_secret: bool, depth: usize) -> bool {
    match value {
        Value::Object(members) => {
            members.iter().any(|(name, value)| tells_a_secret(value, at_secret || is_secret(name), depth))
        }
        Value::Array(elements) => elements.iter().any(|value| tells_a_secret(value, at_secret, depth)),
        Value::String(_) if at_secret => value
            .as_str()
            .is_some_and(|text| text.bytes().any(|byte| byte != b'*') && !["true", "false"].contains(&text)),
        Value::String(text) if depth > 0 && text.starts_with(['{', '[']) => {
            serde_json::from_str(text).is_ok_and(|value| tells_a_secret(&value, false, depth - 1))
        }
        Value::Number(number) if at_secret => *number != 0.into(),
        _ => false,
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn redaction_never_breaks_json_and_changes_nothing_else(document in documents(Just(0))) {
        let text = document.to_string();
        let after = redacted(&Redaction::default(), &text);
        let parsed: Value = serde_json::from_str(&after).unwrap();
        prop_assert!(differs_only_where_it_may(&document, &parsed, false), "{}\n{}", text, after);
        prop_assert!(!tells_a_secret(&parsed, false, 3), "{}\n{}", text, after);
        // What stands between masks (a masked number is 0, and here every number is) is what stood there, byte for byte and in order.
        let mut rest = text.as_str();
        for piece in after.split(MASK) {
            let at = rest.find(piece);
            prop_assert!(at.is_some(), "{:?} is new\n{}\n{}", piece, text, after);
            rest = &rest[at.unwrap() + piece.len()..];
        }
        prop_assert_eq!(redacted(&Redaction::default(), &after), after.clone(), "it is redacted once and for all");
        if !text.contains("u0020") {
            let searched = redacted_if_suspect(&text);
            prop_assert_eq!(redacted_at_length(&text), searched.clone(), "{}", text);
            // What is not suspect is not searched, a representation that only begins like JSON included.
            prop_assert!(after == searched || after == text, "{}\n{}\n{}", text, after, searched);
        }
    }

    #[test]
    fn rules_never_break_json(document in documents(any::<i32>()), path in "(\\*\\*\\.)?(secret|name|\\*|representation)(\\.(type|\\*|value))?", action in "keep|mask|drop|hash|hash-user|truncate-ip") {
        let rules = rules(&format!("{path} = {action}"));
        let after = redacted(&rules, &document.to_string());
        prop_assert!(serde_json::from_str::<Value>(&after).is_ok(), "{}", after);
    }

    #[test]
    fn nothing_panics(mut text in any::<Vec<u8>>(), at: usize, secret: bool) {
        if secret {
            let at = at % (text.len() + 1);
            text.splice(at..at, br#""secret":"\"x\u00e","#.iter().copied());
        }
        Redactor::new(rules("**.x = hash")).redact(&text);
    }
}
