//! Failures injected into the real system: for each the alert that fires, what a webhook, a mail server and a real Alertmanager are told, what the playbook does about it, that
//! delivery goes on, and what they are told of the end.
//!
//! The failures overlap as far as they do not share a broker or its network: an agent for each, all at once. What a time tells is printed, as the table of `docs/alerts.md`.

mod keycloak;
mod watch;

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::thread;
use std::time::Duration;

use keyferry_tests::certificates::{Certificate, Validity};
use keyferry_tests::consumer::Consumer;
use keyferry_tests::disk::SmallDisk;
use keyferry_tests::ferry::{Ferry, Plan};
use keyferry_tests::kafka::{Kafka, Options, PARTITIONS, WRITER};
use keyferry_tests::proxy::Link;
use keyferry_tests::secure::{Answer, Certificates, Endpoint, SecureKafka};
use keyferry_tests::wait;
use xtask::cache::Cache;

use watch::{Audience, Failure, Seen, table};

pub const LIMIT: Duration = Duration::from_secs(120);
/// Events a second.
const RATE: u32 = 50;

const KILLED: Failure = Failure {
    name: "killed",
    cause: "Kafka killed, and not started again",
    alert: "BreakerOpen",
    allow: "fail_over",
    action: Some(r#"action = "fail_over", check_after = "2m""#),
    rules: "",
};
const PAUSED: Failure = Failure {
    name: "paused",
    cause: "Kafka frozen (SIGSTOP)",
    alert: "BreakerOpen",
    allow: "reconnect",
    action: Some(r#"action = "reconnect""#),
    rules: "",
};
const PARTITIONED: Failure = Failure { name: "partitioned", cause: "the network passes nothing", ..PAUSED };
const SLOW: Failure = Failure {
    name: "slow",
    cause: "Kafka slow (800 ms each way)",
    alert: "LatencyP95Critical",
    allow: "tuner_profile",
    action: Some(r#"action = "tuner_profile", value = "throughput""#),
    rules: r#"
        [[rule]]
        name = "LatencyP95Critical"
        severity = "error"
        signal.quantile = { metric = "keyferry_event_latency_seconds_bucket", quantile = 0.95, window = "10s", at_least = 20.0, by = ["destination"] }
        above = 1
        clear = 0.8
        summary = "events take {value} s to {destination} (95th percentile)"
        "#,
};
const PASSWORD: Failure = Failure {
    name: "password",
    cause: "wrong password",
    alert: "AccessRefused",
    allow: "reload_credentials",
    action: Some(r#"action = "reload_credentials""#),
    rules: "",
};
const CERTIFICATE: Failure = Failure {
    name: "certificate",
    cause: "the client's certificate ends tomorrow",
    alert: "CertificateExpiresSoon",
    allow: "reload_credentials",
    action: Some(r#"action = "reload_credentials""#),
    rules: "",
};
const TOPIC: Failure = Failure {
    name: "topic",
    cause: "topic missing",
    alert: "BreakerOpen",
    allow: "reconnect",
    action: Some(r#"action = "reconnect""#),
    rules: "",
};
const DISK: Failure = Failure {
    name: "disk",
    cause: "the journal's disk fills up with what is kept",
    alert: "DiskNearlyFull",
    allow: "tighten_retention",
    action: Some(r#"action = "tighten_retention", after = "4s""#),
    rules: r#"
        [override.test.DiskNearlyFull]
        for = "0s"
        keep_firing = "5s"
        "#,
};
const ERRORS: Failure = Failure {
    name: "errors",
    cause: "the topic refuses every record",
    alert: "ErrorRateCritical",
    allow: "reconnect",
    action: Some(r#"action = "reconnect""#),
    rules: r#"
        [[rule]]
        name = "ErrorRateCritical"
        severity = "critical"
        signal.ratio = { part = "keyferry_records_failed_total", whole = ["keyferry_records_failed_total", "keyferry_events_published_total"], window = "10s", at_least = 20.0, by = ["destination"] }
        above = 0.05
        clear = 0.03
        summary = "{percent} of the records to {destination} fail"
        "#,
};

/// The broker that most failures leave alone.
fn broker(directory: &Path) -> Kafka {
    // As brokers in production are configured: a topic is there when somebody creates it.
    let properties = vec![("auto.create.topics.enable".to_owned(), "false".to_owned())];
    let options = Options { properties, ..Options::default() };
    Kafka::start_with(&Cache::from_environment().unwrap(), directory, options).unwrap()
}

/// An agent's plan, with what is told of `failure`.
fn informed(audience: &Audience, failure: &Failure, plan: Plan) -> Plan {
    plan.rate(RATE).settings(&format!("[alerts]\nfile = \"{}\"", audience.inform(&[*failure]).display()))
}

fn at(ferry: &Ferry) -> (&Path, &Path) {
    (ferry.agent.executable(), ferry.agent.slot())
}

fn goes_on(ferry: &Ferry) -> Option<Duration> {
    Some(ferry.wait_for_delivery().unwrap())
}

#[test]
fn each_failure_is_told_and_healed_and_its_end_is_told() {
    let audience = Audience::gather();
    let kafka = broker(&audience.directory().join("one"));
    let (audience, kafka) = (&audience, &kafka);
    let seen: Vec<Seen> = thread::scope(|scope| {
        let all = [
            scope.spawn(|| broker_fails(audience, kafka)),
            scope.spawn(|| network_fails(audience, kafka)),
            scope.spawn(|| access_is_refused(audience, kafka)),
            scope.spawn(|| topic_is_missing(audience, kafka)),
            scope.spawn(|| disk_fills_up(audience, kafka)),
            scope.spawn(|| records_are_refused(audience, kafka)),
            scope.spawn(|| certificate_ends(audience)),
        ];
        all.into_iter().flat_map(|one| one.join().unwrap()).collect()
    });
    println!("{}", table(&seen));
}

fn broker_fails(audience: &Audience, other: &Kafka) -> Vec<Seen> {
    let mut kafka = broker(&audience.directory().join("two"));
    for broker in [&kafka, other] {
        broker.create_topic(KILLED.name, PARTITIONS).unwrap();
    }
    let fallback = format!("fallback_bootstrap_servers = \"{}\"", other.bootstrap_servers());
    let plan =
        Plan::new(&kafka.bootstrap_servers(), &kafka.bootstrap_servers(), KILLED.name).settings(&fallback);
    let ferry = informed(audience, &KILLED, plan).start().unwrap();
    audience.wait_for_calm(&KILLED, at(&ferry));
    let elsewhere = || {
        let stored = wait::until("delivery to the fallback", LIMIT, || {
            other.stored(KILLED.name).ok().filter(|stored| *stored > 0)
        });
        stored.map(|_| None).unwrap()
    };
    let killed = audience.watch(KILLED, at(&ferry), || kafka.kill().unwrap(), elsewhere);
    let written = ferry.traffic.pause();
    kafka.start().unwrap();
    assert_complete(written.committed() as u64, [kafka.bootstrap_servers(), other.bootstrap_servers()]);
    drop(ferry);

    kafka.create_topic(PAUSED.name, PARTITIONS).unwrap();
    let plan = Plan::new(&kafka.bootstrap_servers(), &kafka.bootstrap_servers(), PAUSED.name);
    let ferry = informed(audience, &PAUSED, plan).start().unwrap();
    let kafka = std::cell::RefCell::new(kafka);
    let resume = || {
        kafka.borrow_mut().resume().unwrap();
        goes_on(&ferry)
    };
    let paused = audience.watch(PAUSED, at(&ferry), || kafka.borrow_mut().pause().unwrap(), resume);
    ferry.settle().unwrap();
    vec![killed, paused]
}

/// That two clusters have, between them, every number up to the last.
fn assert_complete(last: u64, clusters: [String; 2]) {
    let mut readers = clusters.map(|servers| Consumer::new(&servers, KILLED.name).unwrap());
    let mut missing = BTreeSet::new();
    wait::until("every number in one of the clusters", LIMIT, || {
        let mut numbers = BTreeSet::new();
        for reader in &mut readers {
            reader.read().unwrap();
            numbers.extend(
                reader.records().iter().filter_map(|record| record.header("ce_sequence").parse::<u64>().ok()),
            );
        }
        missing = (1..=last).filter(|number| !numbers.contains(number)).collect();
        missing.is_empty().then_some(())
    })
    .unwrap_or_else(|error| panic!("{error}: {missing:?} of {last}"));
}

fn network_fails(audience: &Audience, kafka: &Kafka) -> Vec<Seen> {
    let slow = Link::Slow { delay: Duration::from_millis(800), bytes_per_second: 1_000_000 };
    let cases = [(PARTITIONED, Link::Stalled), (SLOW, slow)];
    cases
        .into_iter()
        .map(|(failure, link)| {
            let ferry =
                informed(audience, &failure, Plan::proxied(kafka, failure.name).unwrap()).start().unwrap();
            audience.wait_for_calm(&failure, at(&ferry));
            let mend = || {
                kafka.proxy().set(Link::Up);
                goes_on(&ferry)
            };
            let seen = audience.watch(failure, at(&ferry), || kafka.proxy().set(link), mend);
            ferry.settle().unwrap();
            seen
        })
        .collect()
}

fn access_is_refused(audience: &Audience, kafka: &Kafka) -> Vec<Seen> {
    kafka.create_topic(PASSWORD.name, PARTITIONS).unwrap();
    let file = audience.directory().join("password");
    fs::write(&file, "wrong\n").unwrap();
    let (user, password) = WRITER;
    let security = format!(
        "[destination.security]\nprotocol = \"SASL_PLAINTEXT\"\n[destination.security.sasl]\nmechanism = \"PLAIN\"\n\
         username = \"{user}\"\npassword = \"${{file:{}}}\"",
        file.display()
    );
    let plan = Plan::new(&kafka.sasl_bootstrap_servers(), &kafka.bootstrap_servers(), PASSWORD.name)
        .settings(&security);
    let ferry = informed(audience, &PASSWORD, plan).launch().unwrap();
    let mend = || {
        fs::write(&file, format!("{password}\n")).unwrap();
        goes_on(&ferry)
    };
    let seen = audience.watch(PASSWORD, at(&ferry), || (), mend);
    ferry.settle().unwrap();
    vec![seen]
}

fn topic_is_missing(audience: &Audience, kafka: &Kafka) -> Vec<Seen> {
    let plan = Plan::new(&kafka.bootstrap_servers(), &kafka.bootstrap_servers(), TOPIC.name);
    let ferry = informed(audience, &TOPIC, plan).launch().unwrap();
    let mend = || {
        kafka.create_topic(TOPIC.name, PARTITIONS).unwrap();
        goes_on(&ferry)
    };
    let seen = audience.watch(TOPIC, at(&ferry), || (), mend);
    ferry.settle().unwrap();
    vec![seen]
}

/// Nothing takes the cause away but the playbook: what was kept for replays gives way.
fn disk_fills_up(audience: &Audience, kafka: &Kafka) -> Vec<Seen> {
    let Some(disk) = SmallDisk::mount(&audience.directory().join("small"), 24).unwrap() else {
        println!("{}: left out, because this machine mounts no small disk", DISK.cause);
        return Vec::new();
    };
    kafka.create_topic(DISK.name, PARTITIONS).unwrap();
    let plan = Plan::new(&kafka.bootstrap_servers(), &kafka.bootstrap_servers(), DISK.name);
    let plan = plan.settings("[journal]\nkeep = \"1h\"").padding(4_000).journal(disk.place());
    let ferry = informed(audience, &DISK, plan).start().unwrap();
    audience.wait_for_calm(&DISK, at(&ferry));
    let free = || {
        let space = rustix::fs::statvfs(disk.place()).unwrap();
        space.f_bavail as f64 / space.f_blocks as f64
    };
    let fill = || {
        ferry.traffic.set_rate(400);
        wait::until("a disk that is nearly full", LIMIT, || (free() < 0.15).then_some(())).unwrap();
        ferry.traffic.set_rate(RATE);
    };
    let seen = audience.watch(DISK, at(&ferry), fill, || goes_on(&ferry));
    assert!(free() > 0.5, "what was kept is still there: {} is free", free());
    ferry.settle().unwrap();
    vec![seen]
}

fn records_are_refused(audience: &Audience, kafka: &Kafka) -> Vec<Seen> {
    kafka.create_topic(ERRORS.name, PARTITIONS).unwrap();
    let plan = Plan::new(&kafka.bootstrap_servers(), &kafka.bootstrap_servers(), ERRORS.name);
    let ferry = informed(audience, &ERRORS, plan).start().unwrap();
    audience.wait_for_calm(&ERRORS, at(&ferry));
    let limit = |bytes: &str| kafka.configure_topic(ERRORS.name, "max.message.bytes", bytes).unwrap();
    let mend = || {
        limit("1048588");
        goes_on(&ferry)
    };
    let seen = audience.watch(ERRORS, at(&ferry), || limit("100"), mend);
    vec![seen]
}

fn certificate_ends(audience: &Audience) -> Vec<Seen> {
    let certificates = Certificates::new().unwrap();
    let place = audience.directory().join("secure");
    fs::create_dir_all(&place).unwrap();
    // No client logs in by tokens here: an issuer without keys will do.
    let issuer = Endpoint::open(Answer::Token("{\"keys\":[]}".to_owned())).unwrap();
    let kafka = SecureKafka::start(&place, &certificates, &issuer.address()).unwrap();
    kafka.create_topic(CERTIFICATE.name).unwrap();
    let path = |name: &str| place.join(name).display().to_string();
    let show = |certificate: &Certificate| {
        fs::write(path("client.key"), certificate.key_pem().unwrap()).unwrap();
        fs::write(path("client.crt"), certificate.pem().unwrap()).unwrap();
    };
    fs::write(path("ca.pem"), certificates.authority.pem().unwrap()).unwrap();
    show(&certificates.client(Validity::Now).unwrap());
    let security = format!(
        "[destination.security]\nprotocol = \"SSL\"\n[destination.security.tls]\nca_file = \"{}\"\ncertificate_file = \"{}\"\n\
         key_file = \"{}\"",
        path("ca.pem"),
        path("client.crt"),
        path("client.key")
    );
    let plan = Plan::new(&kafka.tls_servers(), &kafka.plain_servers(), CERTIFICATE.name).settings(&security);
    let ferry = informed(audience, &CERTIFICATE, plan).start().unwrap();
    let mend = || {
        show(&certificates.client(Validity::Long).unwrap());
        goes_on(&ferry)
    };
    let seen = audience.watch(CERTIFICATE, at(&ferry), || (), mend);
    ferry.settle().unwrap();
    vec![seen]
}
