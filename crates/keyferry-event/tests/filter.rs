//! Which events pass.
#![allow(clippy::unwrap_used)]

use keyferry_event::Filter;
use keyferry_event::filter::{Condition, Selection};
use keyferry_journal::EventKind;
use keyferry_journal::event::{EventEncoder, Events, Field};
use proptest::prelude::*;

const LOGIN: (EventKind, &[(Field, &str)], &str) = (
    EventKind::User,
    &[
        (Field::Type, "LOGIN_ERROR"),
        (Field::RealmId, "1-2"),
        (Field::RealmName, "shop"),
        (Field::Client, "web"),
        (Field::UserId, "u1"),
        (Field::Error, "user_not_found"),
    ],
    r#"{"type":"LOGIN_ERROR","details":{"username":"administrator","reason":"a \"b\"\u00fc"}}"#,
);

const CHANGE: (EventKind, &[(Field, &str)], &str) = (
    EventKind::Admin,
    &[
        (Field::Type, "UPDATE"),
        (Field::RealmName, "master"),
        (Field::UserId, "boss"),
        (Field::ResourceType, "USER"),
        (Field::ResourcePath, "users/u1/groups/g"),
    ],
    r#"{"operationType":"UPDATE","details":null}"#,
);

fn passes(filter: &Filter, (kind, fields, body): (EventKind, &[(Field, &str)], &str)) -> bool {
    let mut payload = EventEncoder::new();
    payload.push(kind, 0, fields, body.as_bytes());
    filter.passes(&Events::of(payload.payload()).next().unwrap().unwrap())
}

/// Whether the login and the change pass.
fn both(filter: &Filter) -> (bool, bool) {
    (passes(filter, LOGIN), passes(filter, CHANGE))
}

fn condition(text: &str) -> (bool, bool) {
    let condition: Condition = text.parse().unwrap_or_else(|error| panic!("{text}: {error}"));
    both(&Filter::new(&Selection::default(), &Selection::default(), Some(&condition)))
}

fn selection(include: &str, exclude: &str) -> (bool, bool) {
    both(&Filter::new(&include.parse().unwrap(), &exclude.parse().unwrap(), None))
}

#[test]
fn a_condition_is_a_condition_on_fields() {
    let cases = [
        (r#"type == "LOGIN_ERROR" && details.username ~ "adm*""#, (true, false)),
        (r#"type == "login_error" && details.username ~ "min*""#, (false, false)),
        (r#"kind == 'admin'"#, (false, true)),
        (r#"kind != "admin""#, (true, false)),
        (r#"type in ["LOGIN", "UPDATE"]"#, (false, true)),
        (r#"type !in ["LOGIN", "UPDATE"]"#, (true, false)),
        (r#"realm == "shop" || realm == "master""#, (true, true)),
        (r#"realm == "1-2""#, (true, false)),
        (r#"realmName == "1-2""#, (false, false)),
        (r#"user == "u1""#, (true, true)),
        (r#"client ~ /^w.b$/"#, (true, false)),
        (r#"client !~ /^w.b$/"#, (false, true)),
        (r#"resourcePath ~ /^users\/u1/ && resource_type == "user""#, (false, true)),
        (r#"operationType == "UPDATE""#, (false, true)),
        (r#"error"#, (true, false)),
        (r#"!error"#, (false, true)),
        (r#"error != "user_not_found""#, (false, true)),
        (r#"!(error || kind == "admin")"#, (false, false)),
        (r#"error && kind == "admin" || type == "LOGIN_ERROR""#, (true, false)),
        (r#"details.reason == "a \"b\"ü""#, (true, false)),
        (r#"details.missing"#, (false, false)),
    ];
    for (text, expected) in cases {
        assert_eq!(condition(text), expected, "{text}");
    }
}

#[test]
fn a_selection_includes_and_excludes() {
    let cases = [
        ("", "", (true, true)),
        ("realm = shop", "", (true, false)),
        (" realm =  shop ,  , mas* ;; ", "", (true, true)),
        ("realm = shop, master; type = LOGIN_ERROR", "", (true, false)),
        ("type = login_error,  UPDATE ", "", (true, true)),
        ("type = ", "", (true, true)),
        ("", "type = LOGIN_ERROR", (false, true)),
        ("", "type = LOGIN_ERROR; realm = master", (false, false)),
        ("kind = user, admin", "details.username = adm*", (false, true)),
        ("resourcePath = /^users\\/[^,;]+/", "", (false, true)),
        // As a list of texts of the configuration file comes.
        ("type = LOGIN_ERROR, UPDATE,realm = shop", "", (true, false)),
    ];
    for (include, exclude, expected) in cases {
        assert_eq!(selection(include, exclude), expected, "{include} | {exclude}");
    }
}

#[test]
fn what_is_not_understood_is_refused_with_what_was_expected_and_where() {
    let condition = |text: &str| text.parse::<Condition>().unwrap_err().to_string();
    let selection = |text: &str| text.parse::<Selection>().unwrap_err().to_string();
    assert!(
        condition("typ == 'x'").contains("`kind`, `type`") && condition("typ == 'x'").contains("not `typ`")
    );
    assert_eq!(condition("type == LOGIN"), "at character 9: a text between quotes");
    assert_eq!(condition("type == 'LOGIN"), "at character 9: `'` at the end of the text");
    assert_eq!(condition("(type == 'LOGIN'"), "at character 17: `)`");
    assert_eq!(condition("type == 'LOGIN' type"), "at character 17: `&&`, `||` or the end");
    assert_eq!(condition("kind == 'users'"), "the kind is `user` or `admin`, and never `users`");
    assert!(condition("type ~ /(/").contains("the regular expression `(` is none"));
    assert!(condition(&"!".repeat(40)).contains("within each other"));
    assert!(selection("LOGIN").contains("`LOGIN` belongs to none"));
    assert!(selection("type = /(/").contains("is none"));
}

#[test]
fn names_that_keycloak_does_not_know_are_found_and_those_of_users_are_not() {
    let names = |text: &str| text.parse::<Condition>().unwrap().unknown_names();
    let unknown = names(
        "type == 'LOGINN' || !(resourceType in ['USER', 'USERS']) || realm == 'nowhere' || type ~ 'LOGIN*'",
    );
    assert_eq!(unknown.iter().map(|unknown| unknown.name.as_str()).collect::<Vec<_>>(), ["LOGINN", "USERS"]);
    assert!(unknown[0].known.contains(&"LOGIN") && unknown[1].known.contains(&"USER"));
    let selection: Selection = "type = REFRESH_TOKEN, CREATE, Login; operationType = ACTION".parse().unwrap();
    assert_eq!(selection.unknown_names(), []);
}

proptest! {
    #[test]
    fn nothing_panics(text in "[a-z!=~&|()'\"/\\[\\], ;*.]{0,40}") {
        let _ = (text.parse::<Condition>(), text.parse::<Selection>());
    }
}
