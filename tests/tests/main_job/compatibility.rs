//! Every supported line of Keycloak, and the newest Java.

use std::env;
use std::fs;
use std::path::PathBuf;

use keyferry_tests::audit;
use keyferry_tests::browser::Browser;
use keyferry_tests::keycloak::{Database, Distribution};
use keyferry_tests::named::Named;
use keyferry_tests::stage::{ADMIN_EVENTS, EVENTS, Stage, jar};
use xtask::cache::Cache;
use xtask::parts::Keycloak;

const REALM: &str = "shop";
/// A realm of its own: organizations change how users log in.
const WITH_NAMES: &str = "named";

fn build(version: Keycloak) -> Distribution {
    let cache = Cache::from_environment().unwrap();
    Distribution::build(&cache, version, Some(&jar().unwrap()), Database::File).unwrap()
}

/// A user registers, logs in and out, and is deleted, and names stand beside ids; then Keycloak is restarted and another does the same.
fn check(distribution: &Distribution) {
    let mut stage = Stage::prepare_with(distribution).unwrap();
    stage.keycloak.listener_option("journal-enrich", "all");
    stage.keycloak.start().unwrap();
    stage.admin.create_realm(REALM, &["kafka"]).unwrap();
    live(&stage, "alice");
    stage.admin.create_realm(WITH_NAMES, &["kafka"]).unwrap();
    let named = Named::act(&stage.keycloak.address(), &stage.admin, WITH_NAMES).unwrap();
    let records = stage.settle().unwrap();
    assert_eq!(named.differences(&records).unwrap(), Vec::<String>::new());
    stage.keycloak.stop().unwrap();
    stage.keycloak.start().unwrap();
    live(&stage, "bob");
    let records = stage.settle().unwrap();
    let count = |topic: &str, kind: &str| {
        let is_kind = |record: &&keyferry_tests::consumer::Record| {
            let admin = format!("{} {}", record.field("operationType"), record.field("resourceType"));
            record.topic == topic
                && record.header("ce_source").ends_with(REALM)
                && (record.field("type") == kind || admin == kind)
        };
        records.iter().filter(is_kind).count()
    };
    assert_eq!(count(EVENTS, "REGISTER"), 2);
    assert_eq!(count(EVENTS, "LOGIN"), 4);
    assert_eq!(count(EVENTS, "LOGIN_ERROR"), 2);
    assert_eq!(count(EVENTS, "CODE_TO_TOKEN"), 4);
    assert_eq!(count(EVENTS, "LOGOUT"), 2);
    assert_eq!(count(ADMIN_EVENTS, "DELETE USER"), 2);
    assert_eq!(audit::copies(&records), 0);
    assert!(audit::gaps(&records).is_empty());
}

fn live(stage: &Stage, username: &str) {
    let browser = || Browser::new(&stage.keycloak.address(), REALM);
    browser().register(username).unwrap();
    browser().fail_to_log_in(username).unwrap();
    let mut browser = browser();
    let tokens = browser.log_in(username).unwrap();
    browser.log_out(&tokens).unwrap();
    let found = stage.admin.get(&format!("/{REALM}/users?exact=true&username={username}")).unwrap();
    let id = found[0]["id"].as_str().unwrap();
    stage.admin.delete(&format!("/{REALM}/users/{id}"), None).unwrap();
}

#[test]
fn keycloak_26_4() {
    check(&build(Keycloak::V26_4));
}

#[test]
fn keycloak_26_5() {
    check(&build(Keycloak::V26_5));
}

#[test]
fn keycloak_26_7_on_java_25() {
    let Some(java) = java_25() else {
        println!("skipped: no JDK 25; set JAVA_HOME_25_X64 to one");
        return;
    };
    check(&build(Keycloak::V26_7).on_java(&java));
}

/// Where GitHub's runners name it, else where Debian's packages put it.
fn java_25() -> Option<PathBuf> {
    let named = env::var_os("JAVA_HOME_25_X64").map(PathBuf::from);
    let installed = || {
        let machines = fs::read_dir("/usr/lib/jvm").ok()?.flatten().map(|entry| entry.path());
        machines
            .into_iter()
            .find(|path| path.to_string_lossy().contains("-25-") && path.join("bin/java").exists())
    };
    named.or_else(installed)
}
