//! Which events pass.
#![allow(clippy::unwrap_used)]

use keyferry_event::filter::{Condition, Selection, Unwanted};
use keyferry_event::{Filter, Topics};
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

fn topics(admin: bool) -> Topics {
    Topics { events: Some("events".to_owned()), admin_events: admin.then(|| "admin".to_owned()) }
}

fn unwanted(filters: &[(&str, &str, &str)]) -> Unwanted {
    let of = |(include, exclude, condition): &(&str, &str, &str)| {
        let condition: Option<Condition> = (!condition.is_empty()).then(|| condition.parse().unwrap());
        let filter = Filter::new(&include.parse().unwrap(), &exclude.parse().unwrap(), condition.as_ref());
        (filter, topics(true))
    };
    Unwanted::by_all(&filters.iter().map(of).collect::<Vec<_>>())
}

#[test]
fn what_no_destination_wants_is_told_by_its_type_alone() {
    let nothing = Unwanted::default();
    let of = |filter: (&str, &str, &str)| unwanted(&[filter]);
    assert_eq!(unwanted(&[]), nothing);
    for wanted in [
        ("", "", ""),
        ("realm = shop", "", ""),
        ("", "realm = shop; error = *", ""),
        ("", "", r#"type == "LOGIN" || client == "web""#),
        ("", "", r#"!(type == "LOGIN" && details.username)"#),
    ] {
        assert_eq!(of(wanted), nothing, "{wanted:?}");
    }
    assert_eq!(
        of(("", "type = LOGOUT, refresh_*", "")).user,
        ["LOGOUT", "REFRESH_TOKEN", "REFRESH_TOKEN_ERROR"]
    );
    assert_eq!(of(("", "resourceType = USER; operationType = ACTION", "")).admin.len(), 39 + 3);
    assert_eq!(
        of(("", "", r#"resourceType != "USER" || operationType == "DELETE""#)).admin,
        ["USER.CREATE", "USER.UPDATE", "USER.ACTION"]
    );
    let logins = of(("type = LOGIN, LOGIN_ERROR; realm = shop", "", ""));
    assert!(
        !logins.user.iter().any(|name| name.starts_with("LOGIN"))
            && logins.user.contains(&"LOGOUT".to_owned())
    );
    assert_eq!((logins.user.len(), logins.admin.len()), (132 - 2, 39 * 4));
    // One destination that wants it is enough.
    assert_eq!(unwanted(&[("type = LOGIN", "", ""), ("kind = admin", "", "")]).admin, Vec::<String>::new());
    let both = unwanted(&[("type = LOGIN", "", ""), ("type = LOGOUT", "", "")]).user;
    assert!(
        both.contains(&"REGISTER".to_owned())
            && !both.contains(&"LOGIN".to_owned())
            && !both.contains(&"LOGOUT".to_owned())
    );
    // A kind that has no topic is not published, whatever the filter says.
    let no_topic = Unwanted::by_all(&[(Filter::default(), topics(false))]);
    assert_eq!((no_topic.user.len(), no_topic.admin.len()), (0, 39 * 4));
}

/// Filters over types and over other fields, which may contradict themselves.
fn any_filter() -> impl Strategy<Value = Filter> {
    let values = || {
        prop::sample::select(vec![
            "kind = user",
            "kind = admin",
            "type = LOGIN",
            "type = LOG*",
            "type = CREATE",
            "type = /ERROR$/",
            "operationType = CREATE, DELETE",
            "resourceType = USER",
            "resourceType = *",
            "resourcePath = users/*",
            "realm = shop",
            "error = *",
            "client = web",
            "details.a = b",
            "",
        ])
    };
    let condition = prop::sample::select(vec![
        "",
        "error",
        "!resourceType",
        "type != 'LOGIN'",
        "type in ['LOGIN', 'CREATE'] && realm == 'shop'",
        "!(type ~ 'L*' || client == 'web')",
        "kind == 'admin' || error",
        "operationType && resourcePath",
        "!(resourceType == 'USER') && !(realm == 'shop' && client)",
    ]);
    (values(), values(), values(), condition).prop_map(|(one, two, exclude, condition)| {
        let condition: Option<Condition> = (!condition.is_empty()).then(|| condition.parse().unwrap());
        Filter::new(&format!("{one}; {two}").parse().unwrap(), &exclude.parse().unwrap(), condition.as_ref())
    })
}

proptest! {
    /// What the provider leaves out, every destination would have dropped.
    #[test]
    fn nothing_that_a_filter_lets_pass_is_unwanted(
        filters in prop::collection::vec((any_filter(), any::<bool>()), 1..3),
        user in any::<bool>(),
        of_type in prop::sample::select(vec!["LOGIN", "LOGOUT", "LOGIN_ERROR", "CREATE", "DELETE", "OF_NEXT_YEAR"]),
        others in prop::array::uniform5(any::<bool>()),
    ) {
        let resource = ["USER", "GROUP"][usize::from(others[4])];
        let mut fields = vec![(Field::Type, of_type)];
        let more = [(Field::RealmName, "shop"), (Field::Client, "web"), (Field::ResourceType, resource), (Field::ResourcePath, "users/u"), (Field::Error, "e")];
        fields.extend(more.into_iter().zip([others[0], others[1], !user, !user && others[2], others[3]]).filter_map(|(field, is_there)| is_there.then_some(field)));
        let kind = if user { EventKind::User } else { EventKind::Admin };
        let destinations: Vec<_> = filters.iter().map(|(filter, admin)| (filter.clone(), topics(*admin))).collect();
        let unwanted = Unwanted::by_all(&destinations);
        let is_unwanted = if user { unwanted.user.contains(&of_type.to_owned()) } else { unwanted.admin.contains(&format!("{resource}.{of_type}")) };
        let is_published = destinations.iter().any(|(filter, topics)| topics.of(kind).is_some() && passes(filter, (kind, &fields, r#"{"details":{"a":"b"}}"#)));
        prop_assert!(!(is_unwanted && is_published));
    }
}
