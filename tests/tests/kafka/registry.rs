//! A real schema registry and real Kafka: what the agent writes is read by the official libraries with the schema that the registry has, and whatever the registry does delays events and loses none.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use keyferry_tests::agent::{self, Agent};
use keyferry_tests::apicurio::{API, Apicurio};
use keyferry_tests::certificates::{Certificate, Validity};
use keyferry_tests::consumer::{Consumer, Record};
use keyferry_tests::ferry::{Ferry, Plan};
use keyferry_tests::gate::{Entry, Gate};
use keyferry_tests::http::Http;
use keyferry_tests::journal::Journal;
use keyferry_tests::kafka;
use keyferry_tests::{log, port, wait};
use serde_json::Value;
use xtask::cache::Cache;
use xtask::{parts, workspace};

const LIMIT: Duration = Duration::from_secs(90);
const SEGMENT: u64 = 256 * 1024;

/// What the agent says of itself on its command line.
fn said(executable: &Path, slot: &Path, words: &[&str]) -> Value {
    let output = Command::new(executable).args(words).arg("--json").arg(slot).output().unwrap();
    serde_json::from_slice(&output.stdout).unwrap_or_default()
}

/// Why the agent of `ferry` has no ids, as its status tells it.
fn cause(ferry: &Ferry) -> Value {
    let status = said(ferry.agent.executable(), ferry.agent.slot(), &["status"]);
    status["status"]["destinations"][0]["slots"][0]["registry"]["cause"].clone()
}

/// The sum of the samples in `text` whose name and labels begin so and hold `label`.
fn sum(text: &str, name: &str, label: &str) -> f64 {
    let samples = text.lines().filter(|line| line.starts_with(&format!("{name}{{")) && line.contains(label));
    samples.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum()
}

/// Waits until nothing is sent because the registry is as `kind` says, and until that is told by everybody who is to tell it, with what is to be done.
fn wait_until_held(ferry: &mut Ferry, kind: &str, remedy: &str) {
    let (executable, slot) = (ferry.agent.executable().to_owned(), ferry.agent.slot().to_owned());
    let (executable, slot) = (executable.as_path(), slot.as_path());
    wait::until(&format!("a registry that is {kind}"), LIMIT, || (cause(ferry) == kind).then_some(()))
        .map_err(|error| error.with_log(ferry.agent.log()))
        .unwrap();
    wait::until("an open breaker", LIMIT, || {
        let breaker = &said(executable, slot, &["breaker"])["slots"][0];
        (breaker["cause"] == "schema-registry" && breaker["state"] != "closed").then_some(())
    })
    .unwrap();
    wait::until("the reason", LIMIT, || {
        let status = ferry.agent.status()?;
        let reason = status["reason"].as_str()?;
        let is_told = reason.contains("schema registry http") && reason.contains(remedy);
        (status["state"] == "blocked" && is_told).then_some(())
    })
    .unwrap_or_else(|error| panic!("{error}: {:?}", ferry.agent.status()));
    assert!(!log::lines_with(ferry.agent.log(), remedy).is_empty(), "the log does not say: {remedy}");
    wait::until("the alert", LIMIT, || {
        let output = Command::new(executable).args(["alert", "ls"]).arg(slot).output().unwrap();
        String::from_utf8_lossy(&output.stdout).contains("SchemaRegistry").then_some(())
    })
    .unwrap();
}

/// The agent begins anew and knows no id, with a registry that is configured by these lines.
fn begin_anew(ferry: &mut Ferry, plan: &Plan, lines: &str) {
    ferry.agent.kill().unwrap();
    ferry.agent.configure(&plan.clone().settings(lines).configuration()).unwrap();
    ferry.agent.start().unwrap();
}

#[test]
fn a_registry_that_is_away_frozen_closed_or_not_believed_delays_events_and_loses_none() {
    let directory = tempfile::tempdir().unwrap();
    let authority = Certificate::authority("registry's authority").unwrap();
    let certificate = authority.issue("registry", Some("localhost"), Validity::Now).unwrap();
    let mut registry = Apicurio::prepare(directory.path()).unwrap().secured(&certificate).unwrap();
    let alerts = directory.path().join("alerts.toml");
    fs::write(&alerts, "environment = \"test\"\n[override.test.SchemaRegistry]\nfor = \"0s\"\n").unwrap();
    let metrics = format!("127.0.0.1:{}", port::free().unwrap());
    let told = || Http::new().get(&format!("http://{metrics}/metrics")).unwrap().body;
    let settings = format!(
        "format = \"avro\"\n[alerts]\nfile = \"{}\"\n[metrics]\nlisten = \"{metrics}\"\n[destination.registry]\ntimeout = \"500ms\"",
        alerts.display()
    );
    let plan = Plan::shared("registry").unwrap().rate(100).settings(&settings);

    // It is not there when the agent begins.
    let there = format!("url = \"http://127.0.0.1:1, {}\"", registry.url());
    let mut ferry = plan.clone().settings(&there).launch().unwrap();
    wait_until_held(&mut ferry, "unreachable", "check destination.registry.url and the network");
    let incidents = said(ferry.agent.executable(), ferry.agent.slot(), &["incident", "ls"]);
    let is_open = |incident: &Value| incident["alert"] == "SchemaRegistry" && incident["state"] == "open";
    assert!(incidents["incidents"].as_array().unwrap().iter().any(is_open), "{incidents}");
    assert_eq!(ferry.tally.distinct(), 0);
    let away = told();
    assert!(sum(&away, "keyferry_registry_failures_total", "class=\"unreachable\"") >= 1.0, "{away}");
    assert!(sum(&away, "keyferry_registry_waiting_subjects", "destination=") >= 1.0, "{away}");
    assert_eq!(sum(&away, "keyferry_registry_ids", "destination="), 0.0, "{away}");
    registry.start().unwrap();
    ferry.wait_for_delivery().unwrap();
    let there = wait::until("metrics of a registry that answers", LIMIT, || {
        let there = told();
        let (ids, waiting) = ["keyferry_registry_ids", "keyferry_registry_waiting_subjects"]
            .map(|name| sum(&there, name, "destination="))
            .into();
        (ids >= 1.0 && waiting == 0.0).then_some(there)
    })
    .unwrap();
    let failed = sum(&there, "keyferry_registry_failures_total", "destination=");
    assert!(sum(&there, "keyferry_registry_requests_total", "destination=") > failed, "{there}");
    assert!(sum(&there, "keyferry_registry_request_seconds_total", "destination=") > 0.0, "{there}");

    // What is known needs no registry. An agent that begins knows nothing.
    registry.pause().unwrap();
    ferry.wait_for_delivery().unwrap();
    ferry.agent.kill().unwrap();
    ferry.agent.start().unwrap();
    wait_until_held(&mut ferry, "slow", "check the registry's load");
    registry.resume().unwrap();
    ferry.wait_for_delivery().unwrap();

    // Before it stands what has trouble, then knows the agent and lets it do nothing, and then does not know it. What is mended is the password's file.
    let gate = Gate::before(registry.address(), Entry::Refused(503)).unwrap();
    let password = directory.path().join("password");
    fs::write(&password, "wrong").unwrap();
    let closed = format!(
        "url = \"http://127.0.0.1:{}{API}\"\nusername = \"ferry\"\npassword = \"${{file:{}}}\"",
        gate.port(),
        password.display()
    );
    begin_anew(&mut ferry, &plan, &closed);
    wait_until_held(&mut ferry, "failing", "HTTP 503 (see the registry's log)");
    gate.set(Entry::Refused(403));
    wait_until_held(&mut ferry, "forbidden", "HTTP 403 (grant the agent the right");
    gate.set(Entry::Login { username: "ferry".to_owned(), password: "right".to_owned() });
    wait_until_held(&mut ferry, "unauthenticated", "HTTP 401 (check destination.registry.username");
    fs::write(&password, "right").unwrap();
    ferry.wait_for_delivery().unwrap();

    // It shows a certificate of an authority that the agent does not believe, until its file is mended.
    let believed = directory.path().join("ca.pem");
    fs::write(&believed, Certificate::authority("another").unwrap().pem().unwrap()).unwrap();
    let secure = format!("url = \"{}\"\nca_file = \"{}\"", registry.secure_url(), believed.display());
    begin_anew(&mut ferry, &plan, &secure);
    wait_until_held(&mut ferry, "insecure", "check destination.registry.ca_file");
    fs::write(&believed, authority.pem().unwrap()).unwrap();
    ferry.wait_for_delivery().unwrap();

    // It dies during delivery and stays away for good: nobody notices.
    registry.kill().unwrap();
    ferry.wait_for_delivery().unwrap();
    let (written, ledger) = ferry.settle().unwrap();
    println!("{} events, {} copies", written.committed(), ledger.copies());
}

/// What one destination of the second test is for.
struct Case {
    name: &'static str,
    format: &'static str,
    settings: &'static str,
}

const CASES: [Case; 5] = [
    Case { name: "avro", format: "avro", settings: "" },
    Case { name: "protobuf", format: "protobuf", settings: "subject_name_strategy = \"record\"" },
    Case { name: "json", format: "json-schema", settings: "subject_name_strategy = \"topic-record\"" },
    Case { name: "refused", format: "avro", settings: "" },
    Case { name: "looked-up", format: "avro", settings: "register = false" },
];

/// A schema of the same name with a field of another type.
const OTHER: &str =
    r#"{"type":"record","name":"Event","namespace":"io.keyferry","fields":[{"name":"kind","type":"long"}]}"#;

fn committed_schema(file: &str) -> String {
    fs::read_to_string(workspace::root().join("schemas").join(file)).unwrap()
}

/// Reads values by the official library of `format`, each with the schema that the registry has under the id that it names, and answers the ids of the events.
fn read_back(format: &str, registry: &Apicurio, records: &[Record]) -> BTreeSet<String> {
    const SCRIPT: &str = r#"
import base64, io, json, pathlib, sys, tempfile, urllib.request
form, url, path = sys.argv[1:4]
def of_avro(text):
    from avro import io as avro_io, schema
    parsed = schema.parse(text)
    def read(value):
        source = io.BytesIO(value)
        fields = avro_io.DatumReader(parsed).read(avro_io.BinaryDecoder(source))
        assert not source.read(), "something stands behind the last field"
        return fields["id"]
    return read
def of_protobuf(text):
    from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
    from grpc_tools import protoc
    with tempfile.TemporaryDirectory() as place:
        (pathlib.Path(place) / "event.proto").write_text(text)
        assert protoc.main(["protoc", f"-I{place}", f"--descriptor_set_out={place}/out", "event.proto"]) == 0
        files = descriptor_pb2.FileDescriptorSet.FromString((pathlib.Path(place) / "out").read_bytes())
    pool = descriptor_pool.DescriptorPool()
    [pool.Add(file) for file in files.file]
    event = message_factory.GetMessageClass(pool.FindMessageTypeByName("io.keyferry.Event"))
    def read(value):
        assert value[0] == 0, "it is not the first message"
        return event.FromString(value[1:]).id
    return read
def of_json(text):
    from jsonschema import Draft7Validator
    validator = Draft7Validator(json.loads(text))
    def read(value):
        fields = json.loads(value)
        validator.validate(fields)
        return fields["id"]
    return read
readers = {}
def read(value):
    value = base64.b64decode(value)
    assert value[0] == 0, value[:8]
    number = int.from_bytes(value[1:5], "big")
    if number not in readers:
        with urllib.request.urlopen(f"{url}/schemas/ids/{number}") as answer:
            text = json.load(answer)["schema"]
        readers[number] = {"avro": of_avro, "protobuf": of_protobuf, "json-schema": of_json}[form](text)
    return readers[number](value[5:])
print(json.dumps([read(value) for value in json.loads(pathlib.Path(path).read_text())]))
"#;
    let values: Vec<String> = records.iter().map(|record| STANDARD.encode(&record.value)).collect();
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), serde_json::to_vec(&values).unwrap()).unwrap();
    let packages = parts::format_readers(&Cache::from_environment().unwrap()).unwrap();
    let output = Command::new("python3")
        .args(["-c", SCRIPT, format, &registry.url()])
        .arg(file.path())
        .env("PYTHONPATH", packages)
        .output()
        .unwrap();
    assert!(output.status.success(), "{format}: {}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn each_format_is_read_back_by_its_registry_and_what_is_refused_waits_until_it_is_not() {
    const EVENTS: u64 = 200;
    let kafka = kafka::shared().unwrap();
    let directory = tempfile::tempdir().unwrap();
    let mut registry = Apicurio::prepare(directory.path()).unwrap();
    registry.start().unwrap();
    let registry = registry;
    let topics = CASES.map(|case| kafka::fresh_topic(case.name));
    let mut configuration = String::new();
    for (Case { name, format, settings }, topic) in CASES.iter().zip(&topics) {
        kafka.create_topic(topic, kafka::PARTITIONS).unwrap();
        configuration += &format!(
            "[[destination]]\nname = \"{name}\"\nbootstrap_servers = \"{}\"\ntopic_events = \"{topic}\"\nformat = \"{format}\"\n\
             [destination.registry]\nurl = \"{}\"\n{settings}\n",
            kafka.bootstrap_servers(),
            registry.url()
        );
    }
    let [.., refused, looked_up] = topics.clone();
    let (refused, looked_up) = (format!("{refused}-value"), format!("{looked_up}-value"));
    registry.register(&refused, "AVRO", OTHER).unwrap();
    registry.set_compatibility(&refused, "FULL").unwrap();
    let mut journal = Journal::begin(&directory.path().join("journal"), "event", SEGMENT).unwrap();
    journal.write(EVENTS).unwrap();
    let executable = agent::under_test().unwrap();
    let mut agent = Agent::configured(&executable, directory.path(), journal.slot(), &configuration).unwrap();
    agent.start().unwrap();

    let ids: BTreeSet<String> = (1..=EVENTS)
        .filter(|number| keyferry_tests::journal::Written::is_committed(*number))
        .map(|number| journal.written().id(number))
        .collect();
    let arrive = |index: usize| {
        let Case { name, format, .. } = CASES[index];
        let mut consumer = Consumer::new(&kafka.bootstrap_servers(), &topics[index]).unwrap();
        let enough = |records: &[Record]| records.len() >= ids.len();
        let records =
            consumer.wait_until(name, LIMIT, enough).map_err(|error| error.with_log(agent.log())).unwrap();
        assert_eq!(journal.written().judge(records), Vec::<String>::new(), "{name}");
        assert_eq!(read_back(format, &registry, records), ids, "{name}");
    };
    (0..3).for_each(arrive);
    let subjects = registry.subjects().unwrap();
    let record_of = |topic: &str| format!("{topic}-io.keyferry.Event");
    for subject in [format!("{}-value", topics[0]), "io.keyferry.Event".to_owned(), record_of(&topics[2])] {
        assert!(subjects.contains(&subject), "{subject}: {subjects:?}");
    }

    // What is refused waits, each for itself, and says why.
    let causes = || {
        let status = said(&executable, journal.slot(), &["status"]);
        let destinations = status["status"]["destinations"].as_array().cloned().unwrap_or_default();
        let of = |name: &str| {
            let found = destinations.iter().find(|one| one["name"] == name)?;
            found["slots"][0]["registry"]["cause"].as_str().map(str::to_owned)
        };
        (of("refused"), of("looked-up"), of("avro"))
    };
    let expected = (Some("incompatible".to_owned()), Some("missing".to_owned()), None);
    wait::until("what is refused is told", LIMIT, || (causes() == expected).then_some(()))
        .unwrap_or_else(|error| panic!("{error}: {:?}\n{}", causes(), log::tail(agent.log())));
    assert!(!registry.subjects().unwrap().contains(&looked_up), "what is only looked up was registered");
    let output = Command::new(&executable)
        .args(["doctor", "--json", "--config"])
        .arg(directory.path().join("keyferry.toml"))
        .output()
        .unwrap();
    let findings: Vec<Value> = output
        .stdout
        .split(|byte| *byte == b'\n')
        .filter_map(|line| serde_json::from_slice(line).ok())
        .collect();
    let problems: BTreeSet<&str> = findings
        .iter()
        .filter(|finding| finding["check"] == "registry.schema" && finding["severity"] == "problem")
        .filter_map(|finding| finding["where"].as_str())
        .collect();
    assert_eq!(problems, BTreeSet::from([refused.as_str(), looked_up.as_str()]), "{findings:#?}");

    // Somebody mends both; nobody tells the agent.
    registry.set_compatibility(&refused, "NONE").unwrap();
    registry.register(&looked_up, "AVRO", &committed_schema("keyferry-event.avsc")).unwrap();
    (3..5).for_each(arrive);
    agent.stop().unwrap();

    // The schemas of this release are an evolution of those that were released, by the registry's own check; and what is none is not.
    for (kind, file) in [
        ("AVRO", "keyferry-event.avsc"),
        ("PROTOBUF", "keyferry-event.proto"),
        ("JSON", "keyferry-event.schema.json"),
    ] {
        let current = committed_schema(file);
        let subject = format!("evolution-{}", kind.to_lowercase());
        for release in fs::read_dir(workspace::root().join("schemas/released")).unwrap() {
            let released = fs::read_to_string(release.unwrap().path().join(file)).unwrap();
            registry.register(&subject, kind, &released).unwrap();
            registry.set_compatibility(&subject, "BACKWARD").unwrap();
            assert!(registry.is_compatible(&subject, kind, &current).unwrap(), "{file}");
        }
        let broken = current.replacen("\"string\"", "\"boolean\"", 1).replacen("string kind", "bool kind", 1);
        assert_ne!(broken, current);
        assert!(!registry.is_compatible(&subject, kind, &broken).unwrap(), "{file}: anything is taken");
    }
}
