//! Several destinations: which values belong to which, and what messages call them.

use std::path::Path;
use std::time::Duration;

use keyferry_config::{Destination, Loaded, Readiness, Sources, load};

const TWO: &str = "\
[[destination]]
name = \"near\"
bootstrap_servers = \"near:9092\"
topic_events = \"events\"

[[destination]]
name = \"far\"
bootstrap_servers = [\"far-0:9092\", \"far-1:9092\"]
topic_events = \"events\"
[destination.delivery]
linger = \"50ms\"
[destination.librdkafka]
\"client.rack\" = \"a\"
";

fn file(text: &str) -> Sources {
    Sources::new().with_file_text(Path::new("k.toml"), text)
}

fn loaded(sources: &Sources) -> Loaded {
    load(sources).unwrap_or_else(|errors| panic!("{errors}"))
}

fn destinations(sources: &Sources) -> Vec<Destination> {
    let readiness = loaded(sources).config.destinations.into_iter();
    readiness
        .map(|readiness| match readiness {
            Readiness::Complete(destination) => *destination,
            other => panic!("{other:?}"),
        })
        .collect()
}

fn error(sources: &Sources) -> String {
    load(sources).map(|loaded| panic!("was accepted: {loaded:?}")).unwrap_or_else(|errors| errors.to_string())
}

fn names(sources: &Sources) -> Vec<String> {
    loaded(sources).config.destinations.iter().map(|readiness| readiness.name().to_string()).collect()
}

#[test]
fn each_destination_has_its_own_values_and_its_own_defaults() {
    let [near, far] = destinations(&file(TWO)).try_into().unwrap();
    assert_eq!((near.name.as_str(), far.name.as_str()), ("near", "far"));
    assert_eq!((near.bootstrap_servers.servers().len(), far.bootstrap_servers.servers().len()), (1, 2));
    assert_eq!(
        (near.delivery.linger, far.delivery.linger),
        (Duration::from_millis(10), Duration::from_millis(50))
    );
    assert!(near.librdkafka.is_empty() && far.librdkafka.contains_key("client.rack"));
    assert!(!near.is_given("destination.delivery.linger") && far.is_given("destination.delivery.linger"));
}

#[test]
fn variables_and_options_speak_to_the_first() {
    let sources = file(TWO)
        .with_environment([("KAFKA_TOPIC", "from-kafka"), ("KEYFERRY_DESTINATION_DELIVERY_LINGER", "70ms")])
        .with_options([("client-id", "given"), ("librdkafka-client-rack", "b"), ("acks", "all")]);
    let [near, far] = destinations(&sources).try_into().unwrap();
    assert_eq!((near.topic_events.as_str(), far.topic_events.as_str()), ("from-kafka", "events"));
    assert_eq!(
        (near.delivery.linger, far.delivery.linger),
        (Duration::from_millis(70), Duration::from_millis(50))
    );
    assert_eq!((near.client_id.as_str(), far.client_id.as_str()), ("given", "keyferry-far"));
    assert_eq!(near.librdkafka["client.rack"].expose(), "b");
    assert_eq!(far.librdkafka["client.rack"].expose(), "a");
}

#[test]
fn the_only_destination_needs_no_name_and_may_have_one() {
    assert_eq!(names(&Sources::new()), ["default"]);
    assert_eq!(names(&file("[destination]\ntopic_events = \"t\"\n")), ["default"]);
    assert_eq!(names(&file("[destination]\nname = \"west\"\n")), ["west"]);
    assert_eq!(names(&file("[[destination]]\ntopic_events = \"t\"\n")), ["default"]);
}

#[test]
fn the_brokers_can_tell_destinations_apart_but_know_the_default_one_as_before() {
    let text = TWO.replace("near\"\nboot", "default\"\nboot");
    let [default, far] = destinations(&file(&text).with_node("kc-1")).try_into().unwrap();
    assert_eq!((default.client_id.as_str(), far.client_id.as_str()), ("keyferry-kc-1", "keyferry-kc-1-far"));
}

#[test]
fn what_one_destination_lacks_is_no_business_of_the_others() {
    let config =
        loaded(&file(&TWO.replace("bootstrap_servers = [\"far-0:9092\", \"far-1:9092\"]\n", ""))).config;
    let [near, far] = config.destinations.try_into().unwrap();
    assert!(near.complete().is_some());
    let Readiness::Incomplete { name, missing } = far else { panic!("complete without servers") };
    assert_eq!(name.as_str(), "far");
    let texts: Vec<String> = missing.iter().map(ToString::to_string).collect();
    assert_eq!(
        texts,
        [
            "key `destination.bootstrap_servers` of destination[far] is not set (the servers to connect to): set it in the \
          configuration file; options and variables speak to the first destination only"
        ]
    );
}

#[test]
fn the_first_destination_may_get_what_it_lacks_from_options() {
    let config = loaded(&file(&TWO.replace("bootstrap_servers = \"near:9092\"\n", ""))).config;
    let Readiness::Incomplete { missing, .. } = &config.destinations[0] else { panic!("complete") };
    assert!(
        missing[0].to_string().contains("--spi-events-listener--kafka--bootstrap-servers"),
        "{missing:?}"
    );
}

#[test]
fn several_destinations_need_names_and_no_two_the_same() {
    assert_eq!(
        error(&file(&TWO.replace("name = \"far\"\n", ""))),
        "option `destination[2].name` (from k.toml, line 6): each of several destinations needs a name of its own, such as \
         `name = \"default\"` for one that was the only one so far"
    );
    assert_eq!(
        error(&file(&TWO.replace("\"far\"\n", "\"near\"\n"))),
        "option `destination[2].name` (from k.toml, line 7): another destination is called `near`; each needs a name of its own"
    );
    for name in ["", "Far", "a/b", "..", "fär", "a b", &"x".repeat(65)] {
        let text = error(&file(&TWO.replace("\"far\"\n", &format!("\"{name}\"\n"))));
        let beginning =
            "option `destination[2].name` (from k.toml, line 7): expected a name: 1 to 64 characters";
        assert!(text.starts_with(beginning), "{text}");
        assert_eq!(text.matches("option `").count(), 1, "{text}");
    }
}

#[test]
fn errors_name_the_destination_the_key_and_the_line() {
    assert_eq!(
        error(&file(&TWO.replace("50ms", "50"))),
        "option `destination[far].delivery.linger` (from k.toml, line 11): expected a whole number with its unit \
         (ms, s, m, h, d), such as `10ms`, got `50`"
    );
    assert_eq!(
        error(&file(&TWO.replace("linger", "lingr"))),
        "unknown key `destination[far].delivery.lingr` (k.toml, line 11), did you mean `destination.delivery.linger`?"
    );
    assert_eq!(
        error(&file("destination = [{ name = \"a\" }, 7]\n")),
        "option `destination` (from k.toml, line 1): expected a table, got `integer`; option `destination[2].name` \
         (from k.toml, line 1): each of several destinations needs a name of its own, such as `name = \"default\"` for one \
         that was the only one so far"
    );
}

#[test]
fn security_is_checked_for_each_destination_by_itself() {
    let tls = "[destination.security]\nprotocol = \"SSL\"\n[destination.security.tls]\nca_file = \"/ca.pem\"\nca_pem = \
               \"-----BEGIN CERTIFICATE-----\"\n";
    assert_eq!(
        error(&file(&format!("{TWO}{tls}"))),
        "option `destination[far].security.tls.ca_pem` (from k.toml, line 18): a trust store file is given as well; keep one \
         of the two"
    );
}

#[test]
fn no_secret_of_any_destination_is_shown() {
    let secret = "xyzzy-plugh";
    let sasl = format!(
        "[destination.security]\nprotocol = \"SASL_SSL\"\n[destination.security.sasl]\nmechanism = \"PLAIN\"\nusername = \
         \"u\"\npassword = \"{secret}\"\n"
    );
    let sources = file(&format!("{TWO}{sasl}"));
    let loaded = loaded(&sources);
    assert!(matches!(loaded.config.destinations[1], Readiness::Complete(_)));
    let shown = format!("{loaded:?} {}", serde_json::to_string(&loaded.config).unwrap());
    assert!(!shown.contains(secret), "{shown}");
    let wrong = file(&format!("{TWO}{}", sasl.replace("mechanism", "mechanisms")));
    assert!(!error(&wrong).contains(secret));
}

#[test]
fn origins_tell_destinations_apart() {
    let origins = loaded(&file(TWO)).origins;
    let line = |key: &str| origins.get(key).map(ToString::to_string);
    assert_eq!(line("destination.topic_events").as_deref(), Some("k.toml, line 4"));
    assert_eq!(line("destination[far].topic_events").as_deref(), Some("k.toml, line 9"));
}

#[test]
fn a_ceiling_needs_room_for_four_segments() {
    let journal = |max: &str| file(&format!("[journal]\nsegment_size = \"1MiB\"\nmax_size = \"{max}\"\n"));
    assert_eq!(
        error(&journal("4095KiB")),
        "option `journal.max_size` (from k.toml, line 3): 4095KiB is less than 4 times `journal.segment_size` (1MiB); give \
         at least 4MiB, or smaller segments, and tell the provider the same"
    );
    assert!(load(&journal("4MiB")).is_ok() && load(&journal("none")).is_ok());
}

#[test]
fn a_reference_that_yields_nothing_holds_up_its_own_destination_only() {
    let secret = |reference: &str| {
        format!(
            "{TWO}[destination.security]\nprotocol = \"SASL_PLAINTEXT\"\n[destination.security.sasl]\nmechanism = \"PLAIN\"\n\
             username = \"u\"\npassword = \"hush{reference}\"\n"
        )
    };
    for reference in ["${env:NOT_SET}", "${file:/does/not/exist}"] {
        let loaded = loaded(&file(&secret(reference)));
        let [Readiness::Complete(near), Readiness::Unresolved { name, reasons }] =
            &loaded.config.destinations[..]
        else {
            panic!("{:?}", loaded.config.destinations)
        };
        assert_eq!((near.name.as_str(), name.as_str()), ("near", "far"));
        let [reason] = &reasons[..] else { panic!("{reasons:?}") };
        assert!(
            reason.contains("destination[far].security.sasl.password") && reason.contains(reference),
            "{reason}"
        );
        assert!(!reason.contains("hush"), "{reason}");
    }
    let file_names: Vec<_> = loaded(&file(&secret("${file:/does/not/exist}"))).files.into_iter().collect();
    assert_eq!(file_names, [Path::new("/does/not/exist")], "it is watched, so that its coming is noticed");
}

#[test]
fn a_reference_that_yields_nothing_is_an_error_where_no_single_destination_can_wait_for_it() {
    let agents = error(&file(&format!("node = \"${{env:NOT_SET}}\"\n{TWO}")));
    assert!(agents.contains("`node`") && agents.contains("the variable is not set"), "{agents}");
    let name = error(&file(&TWO.replace("\"far\"", "\"${env:NOT_SET}\"")));
    assert!(name.contains("the variable is not set"), "{name}");
}

#[test]
fn what_is_wrong_in_other_ways_is_an_error_whatever_else_waits() {
    let text =
        format!("{TWO}[destination.breaker]\nwindow = \"1ms\"\n").replace("\"a\"", "\"${env:NOT_SET}\"");
    let error = error(&file(&text));
    assert!(error.contains("destination[far].breaker.window"), "{error}");
}

#[test]
fn the_first_pause_of_a_breaker_is_not_longer_than_its_longest() {
    let breaker = |first: &str, longest: &str| {
        file(&format!(
            "{TWO}[destination.breaker]\nfirst_pause = \"{first}\"\nlongest_pause = \"{longest}\"\n"
        ))
    };
    assert_eq!(destinations(&breaker("3s", "3s"))[1].breaker.first_pause, Duration::from_secs(3));
    let error = error(&breaker("4s", "3s"));
    assert!(error.contains("destination[far].breaker.first_pause"), "{error}");
    assert!(error.contains("4s is longer than `destination.breaker.longest_pause` (3s)"), "{error}");
}

#[test]
fn what_is_passed_over_is_told() {
    let low = "[backpressure]\nlow_priority = \"code_to_token, REFRESH_TOKEN\"\nlow_priority_from = \"critical\"\nlow_priority_sample = 0\n";
    let backpressure = loaded(&file(&format!("{TWO}{low}"))).config.journal.backpressure;
    assert_eq!(backpressure.low_priority.names(), ["CODE_TO_TOKEN", "REFRESH_TOKEN"]);
    let silent = TWO.replace("name = \"far\"", "name = \"far\"\ngap_records = false");
    let error = error(&file(&format!("{silent}{low}")));
    assert!(
        error.contains("destination[far].gap_records") && error.contains("backpressure.low_priority"),
        "{error}"
    );
    assert_eq!(
        destinations(&file(&silent)).len(),
        2,
        "without such events gap records are a matter of taste"
    );
}
