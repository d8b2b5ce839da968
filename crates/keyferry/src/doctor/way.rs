//! The way to a destination: names, connections, TLS, login, topics, and a record that is sent.

use std::io;
use std::net::{TcpStream, ToSocketAddrs as _};
use std::time::Duration;

use keyferry_config::{Destination, Server};
use keyferry_event::{Failure, FailureClass};
use keyferry_kafka::compacted::Found;
use keyferry_kafka::examine::{Examined, Receipt};
use keyferry_kafka::security::handshake::{Complaint, ComplaintKind, Handshake, HandshakeError, shake};
use keyferry_kafka::topics::{Severity as Weight, Subject, TopicPresence, TopicSnapshot};
use keyferry_kafka::{ProducerSettings, topics};

use super::checks::{
    CLOCK_SKEW, CONFIG_TOPIC, Check, KAFKA_ANSWERS, KAFKA_IDEMPOTENCE, KAFKA_LOGIN, NET_DNS, NET_TCP,
    PROBE_ROUND_TRIP, TLS_AUTHORITY, TLS_CLIENT, TLS_HANDSHAKE, TLS_HOST_NAME, TLS_TIME, TOPIC_CLEANUP,
    TOPIC_DESCRIBE, TOPIC_EXISTS, TOPIC_IN_SYNC, TOPIC_LEADERS, TOPIC_RETENTION, TOPIC_SIZE, TOPIC_WRITE,
};
use super::finding::{Finding, Severity};
use super::within;

/// A certificate that ends sooner is worth a warning, in seconds: two weeks, as many authorities allow for a renewal.
const SOON_S: i64 = 14 * 86_400;
/// More than the first between two clocks is worth a warning, more than the second a problem, in milliseconds.
const SKEW_MS: (u64, u64) = (2_000, 60_000);

/// How far a connection to a server got.
#[derive(Debug)]
pub enum Reached {
    /// Its name cannot be resolved.
    NoName(String),
    /// Nobody takes the connection.
    NoConnection(String),
    /// They do not come to terms over TLS.
    NoHandshake(HandshakeError),
    /// As far as there is anything before Kafka's own protocol; the handshake, if it has TLS.
    Connected(Option<Handshake>),
}

/// Connects to `server` as a client with `settings`.
pub fn reach(server: &Server, settings: Option<&ProducerSettings>, limit: Duration) -> Reached {
    let (host, port) = (server.host().to_owned(), server.port());
    let resolved = within(limit, move || (host, port).to_socket_addrs().map(Iterator::collect::<Vec<_>>));
    let addresses = match resolved {
        None => return Reached::NoName(format!("no answer in {limit:?}")),
        Some(Err(error)) => return Reached::NoName(error.to_string()),
        Some(Ok(addresses)) => addresses,
    };
    let mut refused = "it has no address".to_owned();
    for address in addresses {
        match connect(address, limit) {
            Err(error) => refused = format!("{address}: {error}"),
            Ok(stream) => return encrypt(stream, server, settings),
        }
    }
    Reached::NoConnection(refused)
}

fn connect(address: std::net::SocketAddr, limit: Duration) -> io::Result<TcpStream> {
    let stream = TcpStream::connect_timeout(&address, limit)?;
    stream.set_read_timeout(Some(limit))?;
    stream.set_write_timeout(Some(limit))?;
    Ok(stream)
}

fn encrypt(stream: TcpStream, server: &Server, settings: Option<&ProducerSettings>) -> Reached {
    let Some(settings) = settings else { return Reached::Connected(None) };
    match shake(stream, server.host(), settings) {
        Ok(handshake) => Reached::Connected(Some(handshake)),
        Err(error) => Reached::NoHandshake(error),
    }
}

/// What follows from how far connections got, and whether one is good enough to go on.
///
/// A server that fails is a problem where it is the only one: the client asks the others.
pub fn judge_servers(
    servers: &[(String, Reached)],
    now_s: i64,
) -> (Vec<Finding>, Result<(), &'static Check>) {
    let mut findings = Vec::new();
    let mut outcome = Err(&NET_DNS);
    let sound = servers.iter().filter(|(_, reached)| failed(reached).is_none()).count();
    for (server, reached) in servers {
        let judged = judge_server(server, reached, now_s);
        findings
            .extend(judged.into_iter().map(|finding| if sound > 0 { finding.softened() } else { finding }));
        match failed(reached) {
            None => outcome = Ok(()),
            Some(check) if outcome.is_err() => outcome = Err(check),
            Some(_) => {}
        }
    }
    (findings, outcome)
}

/// The check that keeps the client from going on.
fn failed(reached: &Reached) -> Option<&'static Check> {
    match reached {
        Reached::NoName(_) => Some(&NET_DNS),
        Reached::NoConnection(_) => Some(&NET_TCP),
        Reached::NoHandshake(_) => Some(&TLS_HANDSHAKE),
        Reached::Connected(handshake) => {
            let complaint = handshake.iter().flat_map(|handshake| &handshake.complaints).next();
            complaint.map(|complaint| check_of(complaint.kind))
        }
    }
}

fn check_of(kind: ComplaintKind) -> &'static Check {
    match kind {
        ComplaintKind::Time => &TLS_TIME,
        ComplaintKind::HostName => &TLS_HOST_NAME,
        ComplaintKind::Authority => &TLS_AUTHORITY,
        ComplaintKind::Other => &TLS_HANDSHAKE,
    }
}

fn judge_server(server: &str, reached: &Reached, now_s: i64) -> Vec<Finding> {
    match reached {
        Reached::NoName(reason) => {
            vec![NET_DNS.problem(server, reason.clone()), NET_TCP.after(server, &NET_DNS)]
        }
        Reached::NoConnection(reason) => {
            vec![NET_DNS.ok(server, "it has an address"), NET_TCP.problem(server, reason.clone())]
        }
        Reached::NoHandshake(error) => {
            let mut findings = connected(server);
            findings.push(TLS_HANDSHAKE.problem(server, error.to_string()));
            findings
        }
        Reached::Connected(None) => connected(server),
        Reached::Connected(Some(handshake)) => {
            let mut findings = connected(server);
            findings.extend(judge_handshake(server, handshake, now_s));
            findings
        }
    }
}

fn connected(server: &str) -> Vec<Finding> {
    vec![NET_DNS.ok(server, "it has an address"), NET_TCP.ok(server, "it takes connections")]
}

fn judge_handshake(server: &str, handshake: &Handshake, now_s: i64) -> Vec<Finding> {
    let certificate = handshake.certificate.clone().unwrap_or_default();
    let complaint = |kind| handshake.complaints.iter().find(|complaint: &&Complaint| complaint.kind == kind);
    let judged = |kind, sound: String| match complaint(kind) {
        Some(complaint) => check_of(kind).problem(server, complaint.text.clone()),
        None => check_of(kind).ok(server, sound),
    };
    let names = certificate.names.join(", ");
    let mut host_name = judged(ComplaintKind::HostName, format!("it is for {names}"));
    if host_name.severity == Severity::Problem {
        host_name.what = format!("{}; it is for {names}", host_name.what);
    }
    vec![
        judged(ComplaintKind::Other, handshake.version.to_owned()),
        judged(ComplaintKind::Authority, format!("issued by {}", certificate.issuer)),
        host_name,
        match complaint(ComplaintKind::Time) {
            Some(complaint) => TLS_TIME.problem(server, complaint.text.clone()),
            None => judge_end(&TLS_TIME, server, certificate.ends_s, now_s),
        },
    ]
}

/// What follows from when a certificate ends.
pub fn judge_end(check: &'static Check, place: &str, ends_s: Option<i64>, now_s: i64) -> Finding {
    let Some(ends_s) = ends_s else { return check.ok(place, "it does not tell its end") };
    let days = (ends_s - now_s) / 86_400;
    if ends_s < now_s {
        check.problem(place, "it has expired")
    } else if ends_s - now_s < SOON_S {
        check.warning(place, format!("it expires in {days} days"))
    } else {
        check.ok(place, format!("it is valid for {days} days"))
    }
}

/// What follows from the client's own certificate, if it has one.
pub fn judge_own(name: &str, ends_s: Option<i64>, now_s: i64) -> Option<Finding> {
    ends_s.map(|ends_s| judge_end(&TLS_CLIENT, name, Some(ends_s), now_s))
}

/// What follows from what the cluster has told of the topics of `destination`. `servers` is what was found of its servers: a complaint of one that fails tells nothing new.
pub fn judge_cluster(
    destination: &Destination,
    examined: &Result<Examined, Failure>,
    servers: &[Finding],
) -> Vec<Finding> {
    let place = destination.name.as_str();
    match examined {
        Err(failure) if failure.class == FailureClass::Authentication => {
            vec![KAFKA_LOGIN.problem(place, failure.reason.clone()), TOPIC_EXISTS.after(place, &KAFKA_LOGIN)]
        }
        Err(failure) => vec![
            KAFKA_ANSWERS.problem(place, failure.reason.clone()),
            TOPIC_EXISTS.after(place, &KAFKA_ANSWERS),
        ],
        Ok(examined) => {
            let mut findings =
                vec![KAFKA_ANSWERS.ok(place, "it answers"), KAFKA_LOGIN.ok(place, "it knows us")];
            findings.extend(examined.topics.iter().flat_map(|topic| judge_topic(destination, topic)));
            let is_new = |failure: &&Failure| {
                failure.class != FailureClass::Transient
                    || servers.iter().all(|finding| finding.severity <= Severity::Ok)
            };
            findings.push(judge_complaint(place, examined.complaint.as_ref().filter(is_new), &findings));
            findings
        }
    }
}

/// A producer that may write nowhere may not be idempotent either: that is told once.
fn judge_complaint(place: &str, complaint: Option<&Failure>, found: &[Finding]) -> Finding {
    let lacks =
        |check: &Check| found.iter().any(|one| one.check == check.id && one.severity == Severity::Problem);
    match complaint {
        None => KAFKA_IDEMPOTENCE.ok(place, "nothing was refused"),
        Some(_) if lacks(&TOPIC_WRITE) => KAFKA_IDEMPOTENCE.after(place, &TOPIC_WRITE),
        Some(_) if lacks(&TOPIC_DESCRIBE) => KAFKA_IDEMPOTENCE.after(place, &TOPIC_DESCRIBE),
        Some(failure) if failure.class == FailureClass::Authorisation => {
            KAFKA_IDEMPOTENCE.problem(place, failure.reason.clone())
        }
        Some(failure) => KAFKA_ANSWERS.warning(place, failure.reason.clone()),
    }
}

fn judge_topic(destination: &Destination, topic: &TopicSnapshot) -> Vec<Finding> {
    let mut findings: Vec<_> =
        topic.findings.iter().map(|finding| judge_finding(destination, &topic.name, finding)).collect();
    if topic.presence == TopicPresence::Present {
        let partitions = format!("{} partitions, {} replicas", topic.partitions, topic.replicas);
        findings.insert(0, TOPIC_EXISTS.ok(&topic.name, partitions));
    }
    if findings.iter().all(|finding| finding.severity == Severity::Ok) {
        findings.push(TOPIC_WRITE.ok(&topic.name, "nothing speaks against it"));
    }
    // Dead letters go to a file where their topic takes none.
    let is_for_dead_letters =
        destination.dead_letter_topic.as_ref().is_some_and(|name| name.as_str() == topic.name);
    let soften = |finding: Finding| if is_for_dead_letters { finding.softened() } else { finding };
    findings.into_iter().map(soften).collect()
}

fn judge_finding(destination: &Destination, topic: &str, finding: &topics::Finding) -> Finding {
    let check = match finding.about {
        Subject::Presence => &TOPIC_EXISTS,
        Subject::Description | Subject::Configuration => &TOPIC_DESCRIBE,
        Subject::Write => &TOPIC_WRITE,
        Subject::Leaders => &TOPIC_LEADERS,
        Subject::Copies | Subject::InSync => &TOPIC_IN_SYNC,
        Subject::Size => &TOPIC_SIZE,
        Subject::Retention => &TOPIC_RETENTION,
        Subject::Cleanup => &TOPIC_CLEANUP,
    };
    let text = finding.text.clone();
    match (finding.severity, finding.about) {
        (Weight::Note, _) => check.ok(topic, text),
        (Weight::Warning, Subject::Presence) if destination.topics.create => {
            check.warning(topic, "it does not exist yet: the agent creates it")
        }
        (Weight::Warning, Subject::Size | Subject::Retention) => check.warning(topic, text),
        (Weight::Warning, _) => check.problem(topic, text),
    }
}

/// What follows from what was found of the topic by which all nodes are changed at once. Delivery depends on none of it.
pub fn judge_config_topic(topic: &str, is_created: bool, found: &Result<Found, Failure>) -> Finding {
    match found {
        Err(failure) => CONFIG_TOPIC.warning(topic, failure.reason.clone()),
        Ok(Found::Missing) if is_created => {
            CONFIG_TOPIC.ok(topic, "it does not exist yet: the agent creates it")
        }
        Ok(found) => match found.lack() {
            Some(lack) => CONFIG_TOPIC.warning(topic, lack),
            None => CONFIG_TOPIC.ok(topic, "it is compacted"),
        },
    }
}

/// What follows from the record that was sent to `topic`.
pub fn judge_probe(topic: &str, receipt: &Result<Receipt, Failure>) -> Vec<Finding> {
    match receipt {
        Err(failure) => vec![
            PROBE_ROUND_TRIP.problem(topic, failure.reason.clone()),
            CLOCK_SKEW.after(topic, &PROBE_ROUND_TRIP),
        ],
        Ok(receipt) => {
            let took = receipt.acknowledged_ms.saturating_sub(receipt.sent_ms);
            let told = format!(
                "acknowledged in {took} ms at offset {} of partition {}",
                receipt.offset, receipt.partition
            );
            vec![PROBE_ROUND_TRIP.ok(topic, told), judge_clock(topic, receipt)]
        }
    }
}

/// The broker's time lies between sending and acknowledgement if the two clocks agree.
fn judge_clock(topic: &str, receipt: &Receipt) -> Finding {
    let Some(stored_ms) = receipt.stored_ms else {
        return CLOCK_SKEW.skipped(
            topic,
            "its message.timestamp.type is not LogAppendTime: the broker does not tell its time",
        );
    };
    let (ahead, skew) = if stored_ms < receipt.sent_ms {
        ("ahead of", receipt.sent_ms - stored_ms)
    } else {
        ("behind", stored_ms.saturating_sub(receipt.acknowledged_ms))
    };
    let told = format!(
        "this clock is {} {ahead} the broker's",
        humantime::format_duration(Duration::from_millis(skew))
    );
    if skew > SKEW_MS.1 {
        CLOCK_SKEW.problem(topic, told)
    } else if skew > SKEW_MS.0 {
        CLOCK_SKEW.warning(topic, told)
    } else {
        CLOCK_SKEW.ok(topic, "the two agree")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wrong(findings: &[Finding]) -> Vec<(&'static str, Severity)> {
        let wrong = findings.iter().filter(|finding| finding.severity > Severity::Ok);
        wrong.map(|finding| (finding.check, finding.severity)).collect()
    }

    fn handshake(complaints: Vec<ComplaintKind>) -> Reached {
        let complaints = complaints.into_iter().map(|kind| Complaint { kind, text: "x".to_owned() });
        let ends_s = Some(SOON_S);
        let certificate = keyferry_kafka::security::handshake::Shown { ends_s, ..Default::default() };
        let complaints = complaints.collect();
        Reached::Connected(Some(Handshake { version: "TLSv1.3", certificate: Some(certificate), complaints }))
    }

    #[test]
    fn each_step_that_fails_is_told_and_those_behind_it_are_skipped() {
        let of = |reached| judge_servers(&[("k:1".to_owned(), reached)], 0);
        for (reached, id) in [
            (Reached::NoName("no".to_owned()), "net.dns"),
            (Reached::NoConnection("no".to_owned()), "net.tcp"),
            (Reached::NoHandshake(HandshakeError::Refused("no".to_owned())), "tls.handshake"),
            (handshake(vec![ComplaintKind::Time]), "tls.expired"),
            (handshake(vec![ComplaintKind::HostName]), "tls.host-name"),
            (handshake(vec![ComplaintKind::Authority]), "tls.authority"),
        ] {
            let (findings, outcome) = of(reached);
            assert_eq!(wrong(&findings), [(id, Severity::Problem)]);
            assert_eq!(outcome.err().map(|check| check.id), Some(id));
        }
        for sound in [Reached::Connected(None), handshake(Vec::new())] {
            let (findings, outcome) = of(sound);
            assert_eq!((wrong(&findings), outcome.is_ok()), (Vec::new(), true));
        }
    }

    #[test]
    fn one_server_of_several_that_fails_is_a_warning() {
        let servers = [
            ("a:1".to_owned(), Reached::NoName("no".to_owned())),
            ("b:1".to_owned(), Reached::Connected(None)),
        ];
        let (findings, outcome) = judge_servers(&servers, 0);
        assert_eq!((wrong(&findings), outcome.is_ok()), (vec![("net.dns", Severity::Warning)], true));
    }

    #[test]
    fn a_certificate_that_ends_soon_is_worth_a_warning() {
        let of = |ends_s| judge_end(&TLS_CLIENT, "default", Some(ends_s), 100).severity;
        assert_eq!(of(99), Severity::Problem);
        assert_eq!(of(100 + SOON_S - 1), Severity::Warning);
        assert_eq!(of(100 + SOON_S), Severity::Ok);
    }

    #[test]
    fn clocks_agree_if_the_brokers_time_lies_between_sending_and_acknowledgement() {
        let of = |stored_ms| {
            let receipt = Receipt {
                partition: 0,
                offset: 0,
                sent_ms: 1_000_000,
                acknowledged_ms: 1_000_100,
                stored_ms,
            };
            judge_clock("probe", &receipt).severity
        };
        assert_eq!(of(None), Severity::Skipped);
        assert_eq!(of(Some(1_000_050)), Severity::Ok);
        assert_eq!(of(Some(998_000)), Severity::Ok);
        assert_eq!(of(Some(997_999)), Severity::Warning);
        assert_eq!(of(Some(1_002_101)), Severity::Warning);
        assert_eq!(of(Some(939_999)), Severity::Problem);
        assert_eq!(of(Some(1_060_101)), Severity::Problem);
    }

    fn destination() -> Box<Destination> {
        let options = [("bootstrap-servers", "k:1"), ("topic-events", "events")];
        let loaded = keyferry_config::load(&keyferry_config::Sources::new().with_options(options)).unwrap();
        match loaded.config.destinations.into_iter().next() {
            Some(keyferry_config::Readiness::Complete(destination)) => destination,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_topic_for_all_nodes_that_forgets_or_is_missing_is_worth_a_warning() {
        let of = |is_created, found| judge_config_topic("config", is_created, &found).severity;
        let present = |cleanup: &str| Ok(Found::Present { writable: None, cleanup: Ok(cleanup.to_owned()) });
        assert_eq!(of(false, present("compact")), Severity::Ok);
        assert_eq!(of(false, present("delete")), Severity::Warning);
        assert_eq!(of(false, Ok(Found::Missing)), Severity::Warning);
        assert_eq!(of(true, Ok(Found::Missing)), Severity::Ok);
        assert_eq!(of(true, Err(Failure::transient("no"))), Severity::Warning);
    }

    #[test]
    fn what_a_cluster_tells_is_judged() {
        let destination = destination();
        let judged = |examined| wrong(&judge_cluster(&destination, &examined, &[]));
        let failed = |class| Failure { class, reason: "no".to_owned() };
        assert_eq!(judged(Err(failed(FailureClass::Authentication))), [("kafka.login", Severity::Problem)]);
        assert_eq!(judged(Err(failed(FailureClass::Transient))), [("kafka.answers", Severity::Problem)]);
        let topic = |about| TopicSnapshot {
            name: "events".to_owned(),
            presence: TopicPresence::Present,
            findings: vec![topics::Finding { about, severity: Weight::Warning, text: "x".to_owned() }],
            ..TopicSnapshot::default()
        };
        let of = |about, complaint| Ok(Examined { topics: vec![topic(about)], complaint });
        for (about, id, severity) in [
            (Subject::Presence, "topic.exists", Severity::Problem),
            (Subject::Description, "topic.describe", Severity::Problem),
            (Subject::Write, "topic.write", Severity::Problem),
            (Subject::Leaders, "topic.leaders", Severity::Problem),
            (Subject::InSync, "topic.min-insync-replicas", Severity::Problem),
            (Subject::Size, "topic.max-message-bytes", Severity::Warning),
            (Subject::Retention, "topic.retention", Severity::Warning),
            (Subject::Cleanup, "topic.cleanup-policy", Severity::Problem),
        ] {
            assert_eq!(judged(of(about, None)), [(id, severity)]);
        }
        let refused = Some(failed(FailureClass::Authorisation));
        let write = [("topic.write", Severity::Problem)];
        assert_eq!(judged(of(Subject::Write, refused.clone())), write, "it is told once");
        let away = || Ok(Examined { topics: Vec::new(), complaint: Some(failed(FailureClass::Transient)) });
        assert_eq!(judged(away()), [("kafka.answers", Severity::Warning)]);
        let known = [NET_TCP.warning("k:1", "no")];
        assert_eq!(wrong(&judge_cluster(&destination, &away(), &known)), [], "it is told once");
        let only = Examined { topics: Vec::new(), complaint: refused };
        assert_eq!(judged(Ok(only)), [("kafka.idempotent-write", Severity::Problem)]);
    }
}
