//! The formats, read by others than their author: what `testdata/events` expects of each is given to the CloudEvents SDK, to OCSF's own schema, to ECS' own list of fields, to the libraries of Avro,
//! Protobuf and JSON Schema, and to the schemas that consumers get; the AsyncAPI document to its own parser.
//!
//! That the encoder makes what is expected is tested in `keyferry-event`.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde::Deserialize;
use serde_json::{Map, Value};
use xtask::cache::Cache;
use xtask::{parts, workspace};

/// What a reader found.
#[derive(Debug, Deserialize)]
struct Finding {
    /// How many events it read.
    read: usize,
    /// What it did not like, one line each.
    complaints: Vec<String>,
    /// What it did not like of an event that is broken on purpose.
    of_broken: Vec<String>,
}

fn expected(format: &str) -> PathBuf {
    workspace::root().join("testdata/events").join(format)
}

fn count(directory: &Path) -> usize {
    fs::read_dir(directory).unwrap().count()
}

/// Lets a Python script read a directory of events; what it finds is the JSON that it prints.
fn python(script: &str, directories: &[&Path]) -> Finding {
    let packages = parts::format_readers(&Cache::from_environment().unwrap()).unwrap();
    let output = Command::new("python3")
        .args(["-c", script])
        .args(directories)
        .env("PYTHONPATH", packages)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// The constants of one of Keycloak's enumerations, by the class itself.
fn constants(class: &str) -> BTreeSet<String> {
    let keycloak = parts::Keycloak::V26_7.fetch(&Cache::from_environment().unwrap()).unwrap();
    let version = parts::Keycloak::V26_7.version();
    let jar = keycloak.join(format!("lib/lib/main/org.keycloak.keycloak-server-spi-private-{version}.jar"));
    let output = Command::new("javap").arg("-cp").arg(&jar).arg(class).output().unwrap();
    assert!(output.status.success(), "{}: {}", jar.display(), String::from_utf8_lossy(&output.stderr));
    let said = String::from_utf8(output.stdout).unwrap();
    let field = format!("public static final {class} ");
    said.lines()
        .filter_map(|line| line.trim().strip_prefix(&field)?.strip_suffix(';'))
        .map(str::to_owned)
        .collect()
}

/// What Keycloak itself knows, not what somebody has written down of it: no type is missing silently.
#[test]
fn every_type_that_keycloak_itself_knows_is_captured_or_it_is_said_why_not() {
    let known: BTreeSet<String> = ["org.keycloak.events.EventType", "org.keycloak.events.admin.ResourceType"]
        .into_iter()
        .flat_map(constants)
        .collect();
    assert!(known.len() > 150, "{known:?}");
    let files = fs::read_dir(expected("keycloak")).unwrap().map(|entry| entry.unwrap().file_name());
    let captured = files.map(|file| file.to_str().unwrap().split('.').next().unwrap().to_owned());
    let list = fs::read_to_string(expected("not-raised.tsv")).unwrap();
    let told = list.lines().filter(|line| !line.starts_with('#')).filter_map(|line| line.split('\t').next());
    let told: BTreeSet<String> = captured.chain(told.map(str::to_owned)).collect();
    let difference: Vec<&String> = known.symmetric_difference(&told).collect();
    assert_eq!(difference, Vec::<&String>::new());
}

#[test]
fn ocsf_is_valid_by_its_own_schema() {
    const SCRIPT: &str = r#"
import json, pathlib, sys
from jsonschema import Draft202012Validator
from ocsf_json_schema import OcsfJsonSchemaEmbedded, get_ocsf_schema
schema = OcsfJsonSchemaEmbedded(get_ocsf_schema("1.8.0"))
validators = {}
def complaints(name, event):
    uid = event["class_uid"]
    if uid not in validators:
        of_class = schema.get_class_schema(schema.lookup_class_name_from_uid(uid))
        validators[uid] = Draft202012Validator(of_class)
    return [f"{name}: {e.json_path}: {e.message[:200]}" for e in validators[uid].iter_errors(event)]
paths = sorted(pathlib.Path(sys.argv[1]).glob("*.json"))
events = {path.name: json.loads(path.read_text()) for path in paths}
found = [line for name, event in events.items() for line in complaints(name, event)]
login = {**events["LOGIN.json"], "type_uid": "300201", "surprise": 1}
del login["user"]
print(json.dumps({"read": len(events), "complaints": found, "of_broken": complaints("broken", login)}))
"#;
    let directory = expected("ocsf");
    let finding = python(SCRIPT, &[&directory]);
    assert_eq!(finding.read, count(&directory));
    assert!(finding.complaints.is_empty(), "{:#?}", finding.complaints);
    assert_eq!(finding.of_broken.len(), 4, "{:#?}", finding.of_broken);
    println!("{} events are valid OCSF", finding.read);
}

#[test]
fn structured_cloudevents_are_read_by_the_sdk_and_hold_keycloaks_event() {
    const SCRIPT: &str = r#"
import json, pathlib, re, sys
from cloudevents.core.bindings.kafka import KafkaMessage, from_structured
from cloudevents.core.formats.json import JSONFormat
def complaints(name, value, data):
    headers = {"content-type": b"application/cloudevents+json"}
    try:
        event = from_structured(KafkaMessage(headers=headers, key=None, value=value), JSONFormat())
    except Exception as error:
        return [f"{name}: {error!r}"]
    found = [f"{name}: {text}" for text, is_so in [
        ("another id than its data", data and event.get_id() != data["id"]),
        ("other data than Keycloak's", data and event.get_data() != data),
        ("no sequence", event.get_extension("sequence") != "00000000000000000042"),
        ("no partition key", not event.get_extension("partitionkey")),
        ("no node and epoch", not (event.get_extension("node") and event.get_extension("epoch"))),
    ] if is_so]
    illegal = [key for key in json.loads(value) if not re.fullmatch("[a-z0-9]{1,20}", key)]
    return found + [f"{name}: the name {key} is illegal" for key in illegal]
found, paths = [], sorted(pathlib.Path(sys.argv[1]).glob("*.json"))
for path in paths:
    own = pathlib.Path(sys.argv[2]) / path.name
    found += complaints(path.name, path.read_bytes(), json.loads(own.read_text()) if own.exists() else None)
login = json.loads((pathlib.Path(sys.argv[1]) / "LOGIN.json").read_text())
del login["type"]
print(json.dumps({"read": len(paths), "complaints": found, "of_broken": complaints("broken", json.dumps(login).encode(), None)}))
"#;
    let (directory, own) = (expected("cloudevents"), expected("keycloak"));
    let finding = python(SCRIPT, &[&directory, &own]);
    assert_eq!(finding.read, count(&directory));
    assert!(finding.complaints.is_empty(), "{:#?}", finding.complaints);
    assert_eq!(finding.of_broken.len(), 1, "{:#?}", finding.of_broken);
    println!("{} events are valid CloudEvents", finding.read);
}

/// A field of ECS.
#[derive(Debug, Deserialize)]
struct Field {
    #[serde(rename = "type")]
    of_type: String,
    #[serde(default)]
    normalize: Vec<String>,
    #[serde(default)]
    allowed_values: Vec<Allowed>,
}

/// A value that a field may have.
#[derive(Debug, Deserialize)]
struct Allowed {
    name: String,
    #[serde(default)]
    expected_event_types: Vec<String>,
}

/// All fields of ECS by their names, and its version.
#[derive(Debug, Deserialize)]
struct Schema {
    version: String,
    fields: BTreeMap<String, Field>,
}

fn ecs() -> Schema {
    const SCRIPT: &str = "const { EcsFlat, EcsVersion } = require('@elastic/ecs');
console.log(JSON.stringify({ version: EcsVersion, fields: EcsFlat }));";
    let modules = parts::ecs(&Cache::from_environment().unwrap()).unwrap();
    let output = Command::new("node").args(["-e", SCRIPT]).env("NODE_PATH", modules).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// Fields of our own, which ECS leaves to whoever needs them.
const OWN: [&str; 2] = ["keycloak", "keyferry"];

fn flatten(prefix: &str, object: &Map<String, Value>, fields: &mut BTreeMap<String, Value>) {
    for (name, value) in object {
        let name = if prefix.is_empty() { name.clone() } else { format!("{prefix}.{name}") };
        match value {
            Value::Object(inner) if !OWN.contains(&name.as_str()) => flatten(&name, inner, fields),
            _ => drop(fields.insert(name, value.clone())),
        }
    }
}

impl Field {
    fn takes(&self, value: &Value) -> bool {
        if let Value::Array(list) = value {
            return self.normalize.iter().any(|how| how == "array")
                && list.iter().all(|one| self.takes_one(one));
        }
        !self.normalize.iter().any(|how| how == "array") && self.takes_one(value)
    }

    fn takes_one(&self, value: &Value) -> bool {
        let is_of_type = match self.of_type.as_str() {
            "keyword" | "wildcard" | "match_only_text" | "constant_keyword" => value.is_string(),
            "long" => value.is_u64(),
            "ip" => value.as_str().is_some_and(|text| text.parse::<std::net::IpAddr>().is_ok()),
            "date" => value.as_str().is_some_and(|text| text.len() == 24 && text.ends_with('Z')),
            _ => false,
        };
        is_of_type
            && (self.allowed_values.is_empty() || self.allowed_values.iter().any(|one| value == &*one.name))
    }
}

/// What of `event` is not as ECS has it.
fn complaints(schema: &Schema, event: &Value) -> Vec<String> {
    let mut fields = BTreeMap::new();
    flatten("", event.as_object().unwrap(), &mut fields);
    let mut found = Vec::new();
    for (name, value) in fields.iter().filter(|(name, _)| !OWN.contains(&name.as_str())) {
        match schema.fields.get(name) {
            None => found.push(format!("{name} is no field of ECS")),
            Some(field) if !field.takes(value) => found.push(format!("{name} does not take {value}")),
            Some(_) => {}
        }
    }
    let texts = |name: &str| -> Vec<String> {
        let list = fields.get(name).and_then(Value::as_array).cloned().unwrap_or_default();
        list.iter().filter_map(|one| one.as_str().map(str::to_owned)).collect()
    };
    for category in texts("event.category") {
        let expected = &schema.fields["event.category"].allowed_values;
        let expected = expected.iter().find(|one| one.name == category);
        for of_type in texts("event.type") {
            if !expected.is_some_and(|one| one.expected_event_types.contains(&of_type)) {
                found.push(format!("{of_type} is no type of {category}"));
            }
        }
    }
    for name in ["@timestamp", "ecs.version", "event.kind"] {
        if !fields.contains_key(name) {
            found.push(format!("{name} is missing"));
        }
    }
    found
}

#[test]
fn ecs_has_nothing_but_fields_of_ecs_and_our_own() {
    let schema = ecs();
    let mut read = 0;
    for entry in fs::read_dir(expected("ecs")).unwrap() {
        let path = entry.unwrap().path();
        let event: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        assert_eq!(complaints(&schema, &event), Vec::<String>::new(), "{}", path.display());
        assert_eq!(event["ecs"]["version"], *schema.version);
        read += 1;
    }
    assert!(read > 60, "{read}");
    let broken = serde_json::json!({"@timestamp": "yesterday", "event": {"kind": "event", "category": ["authentication"], "type": ["user"]}, "user": {"nick": "x"}});
    let found = complaints(&schema, &broken);
    assert_eq!(found.len(), 4, "{found:#?}");
    println!("{read} events are valid ECS {}", schema.version);
}

/// Each value is as its schema says, every field of it is described there, and what is broken is refused.
#[test]
fn values_are_as_the_json_schemas_say() {
    const SCRIPT: &str = r#"
import json, pathlib, sys
from jsonschema import Draft202012Validator
def strict(node):
    # Consumers must take fields that the schema does not name. Here there must be none: each release's fields are described.
    if isinstance(node, dict):
        if "properties" in node:
            node = {**node, "additionalProperties": False}
        return {key: strict(value) for key, value in node.items()}
    return [strict(value) for value in node] if isinstance(node, list) else node
read, found, broken = 0, [], []
for name in ["keycloak", "cloudevents"]:
    schema = json.loads((pathlib.Path(sys.argv[1]) / f"{name}.schema.json").read_text())
    Draft202012Validator.check_schema(schema)
    validator, exact = Draft202012Validator(schema), Draft202012Validator(strict(schema))
    events = {path.name: json.loads(path.read_text()) for path in sorted((pathlib.Path(sys.argv[2]) / name).glob("*.json"))}
    gap = json.loads((pathlib.Path(sys.argv[2]) / "cloudevents" / "org.keyferry.gap.json").read_text())
    events["gap"] = gap if name == "cloudevents" else gap["data"]
    read += len(events)
    for event, value in events.items():
        found += [f"{name} {event}: {e.json_path}: {e.message[:200]}" for e in [*validator.iter_errors(value), *exact.iter_errors(value)]]
    login = events["LOGIN.json"]
    data = login if name == "keycloak" else login["data"]
    names = {"user": {"username": "carol"}, "roles": [{"id": "r", "name": "mate"}]}
    def whole(data):
        return data if name == "keycloak" else {**login, "data": data}
    found += [f"{name} with names: {e.message[:200]}" for e in exact.iter_errors(whole({**data, "keyferry": names}))]
    found += [f"{name} of a later Keycloak: {e.message[:200]}" for e in validator.iter_errors(whole({**data, "later": 1}))]
    for wrong in [{"time": "yesterday"}, {"type": 7}, {"details": "x"}, {"operationType": "CREATE"}, {"type": "KEYFERRY_GAP"}, {"keyferry": {"roles": {}}}]:
        broken += [f"{name} {wrong}"] if validator.is_valid(whole({**data, **wrong})) else []
print(json.dumps({"read": read, "complaints": found, "of_broken": broken}))
"#;
    let finding =
        python(SCRIPT, &[&workspace::root().join("schemas"), &workspace::root().join("testdata/events")]);
    assert_eq!(finding.read, count(&expected("keycloak")) + 1 + count(&expected("cloudevents")) + 1);
    assert!(finding.complaints.is_empty(), "{:#?}", finding.complaints);
    assert!(finding.of_broken.is_empty(), "what is broken is not refused: {:#?}", finding.of_broken);
    println!("{} values are as their schemas say", finding.read);
}

/// What AsyncAPI's own parser says of a document: the messages of each channel, and what is wrong with it.
#[derive(Debug, Deserialize)]
struct Parsed {
    messages: BTreeMap<String, Vec<String>>,
    errors: Vec<String>,
}

fn parse_asyncapi(document: &str) -> Parsed {
    const SCRIPT: &str = r#"
const { Parser, DiagnosticSeverity } = require('@asyncapi/parser');
new Parser().parse(require('fs').readFileSync(0, 'utf8')).then(({ document, diagnostics }) => {
    const errors = diagnostics.filter((one) => one.severity <= 1 && one.code !== 'asyncapi-latest-version');
    const messages = {};
    for (const channel of document ? document.channels().all() : []) {
        messages[channel.id()] = channel.messages().all().map((one) => one.id());
    }
    console.log(JSON.stringify({ messages, errors: errors.map((one) => `${one.path.join('.')}: ${one.message}`) }));
});"#;
    let modules = parts::asyncapi_parser(&Cache::from_environment().unwrap()).unwrap();
    let mut node = Command::new("node");
    node.args(["-e", SCRIPT]).env("NODE_PATH", modules).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut node = node.spawn().unwrap();
    node.stdin.take().unwrap().write_all(document.as_bytes()).unwrap();
    let output = node.wait_with_output().unwrap();
    assert!(output.status.success());
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn the_asyncapi_document_is_taken_by_its_own_parser() {
    let document = fs::read_to_string(workspace::root().join("docs/asyncapi.json")).unwrap();
    let parsed = parse_asyncapi(&document);
    assert!(parsed.errors.is_empty(), "{:#?}", parsed.errors);
    for (channel, messages) in [
        ("events", ["userEvent.keycloak", "gap.ecs"]),
        ("adminEvents", ["adminEvent.ocsf", "gap.cloudevents"]),
    ] {
        for message in messages {
            assert!(parsed.messages[channel].iter().any(|one| one == message), "{:?}", parsed.messages);
        }
    }
    let broken = document.replace("\"action\": \"send\"", "\"action\": \"shout\"");
    assert_ne!(broken, document);
    assert!(!parse_asyncapi(&broken).errors.is_empty());
    println!(
        "{} messages of {} channels",
        parsed.messages.values().map(Vec::len).sum::<usize>(),
        parsed.messages.len()
    );
}

/// What Keycloak wrote, out of the fields of a record, in the names of JSON. `read(name, bytes)` gives the fields of a value behind its frame as Python has them, or raises.
const BY_SCHEMA: &str = r#"
import json, pathlib, sys
schemas, values, own = map(pathlib.Path, sys.argv[1:4])
def event(fields):
    fields = {name: value for name, value in fields.items() if value is not None}
    told = {name: fields.pop(name) for name in ["kind", "sequence", "node", "epoch", "outcome", "traceparent"] if name in fields}
    for record in [fields, fields.get("authDetails", {})]:
        record.update({name: plain(value) for name, value in record.pop("unknown", {}).items()})
    if not fields.get("details"):
        fields.pop("details", None)
    return told, fields
def without_null(value):
    return {k: without_null(v) for k, v in value.items() if v is not None} if isinstance(value, dict) else value
def complaints(name, value):
    if value[:5] != bytes([0, 0, 0, 0, 7]):
        return [f"{name}: the frame is {value[:5]}"]
    try:
        told, fields = event(read(value[5:]))
    except Exception as error:
        return [f"{name}: {error!r}"]
    place = {"sequence": 42, "node": "kc-1", "epoch": "0006447b0d1a2c00"}
    if told["kind"] != "gap":
        place |= {"outcome": "committed", "traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"}
    found = [f"{name}: {key} is {told.get(key)}" for key, is_so in place.items() if told.get(key) != is_so]
    if told["kind"] == "gap":
        gap = plain(fields["gap"])
        return found + ([] if gap["type"] == "KEYFERRY_GAP" and gap["userEvents"] == 3 else [f"{name}: {gap}"])
    keycloaks = without_null(json.loads((own / name).with_suffix(".json").read_text()))
    masked = lambda text: text if "*****" not in str(text) else "masked"
    different = [key for key in keycloaks.keys() | fields.keys() if fields.get(key) != keycloaks.get(key) and masked(fields.get(key)) != "masked"]
    return found + [f"{name}: {key} is {fields.get(key)!r}, not {keycloaks.get(key)!r}" for key in different]
def judge(spoil):
    paths = sorted(values.glob("*.bin"))
    found = [line for path in paths for line in complaints(path.name, path.read_bytes())]
    login = (values / "LOGIN.bin").read_bytes()
    print(json.dumps({"read": len(paths), "complaints": found, "of_broken": complaints("LOGIN.bin", spoil(login))}))
"#;

/// Lets `script` read the values of a format by the schema in `schemas/`.
fn read_by_schema(format: &str, script: &str) {
    let (directory, own) = (expected(format), expected("keycloak"));
    let schemas = workspace::root().join("schemas");
    let finding = python(&format!("{BY_SCHEMA}\n{script}"), &[&schemas, &directory, &own]);
    assert_eq!(finding.read, count(&directory));
    assert!(finding.complaints.is_empty(), "{:#?}", finding.complaints);
    assert_eq!(finding.of_broken.len(), 1, "{:#?}", finding.of_broken);
    println!("{} events are read in {format}", finding.read);
}

#[test]
fn avro_is_read_by_its_own_library_and_its_schema_reads_what_was_released() {
    read_by_schema(
        "avro",
        r#"
import io
from avro import compatibility, datafile, io as avro_io, schema
plain = json.loads
text = lambda path: schema.parse(path.read_text())
current = text(schemas / "keyferry-event.avsc")
def read(value):
    source = io.BytesIO(value)
    fields = avro_io.DatumReader(current).read(avro_io.BinaryDecoder(source))
    if source.read():
        raise ValueError("something stands behind the last field")
    fields["time"] = round(fields["time"].timestamp() * 1000)
    return fields
released = [text(path) for path in schemas.glob("released/*/keyferry-event.avsc")]
if not released:
    raise ValueError("no released schema")
for writer in released:
    result = compatibility.ReaderWriterCompatibilityChecker().get_compatibility(reader=current, writer=writer)
    if result.compatibility is not compatibility.SchemaCompatibilityType.compatible:
        raise ValueError(f"{result.messages} at {result.locations}")
judge(lambda login: login + b"x")
"#,
    );
}

#[test]
fn protobuf_is_read_by_its_own_library_and_its_schema_reads_what_was_released() {
    read_by_schema(
        "protobuf",
        r#"
import tempfile
from google.protobuf import descriptor_pb2, descriptor_pool, json_format, message_factory
from grpc_tools import protoc
plain = json.loads
def descriptor(path):
    with tempfile.NamedTemporaryFile() as compiled:
        if protoc.main(["protoc", f"-I{path.parent}", f"--descriptor_set_out={compiled.name}", path.name]) != 0:
            raise ValueError("the schema does not compile")
        files = descriptor_pb2.FileDescriptorSet.FromString(pathlib.Path(compiled.name).read_bytes())
    pool = descriptor_pool.DescriptorPool()
    [pool.Add(file) for file in files.file]
    return pool.FindMessageTypeByName("io.keyferry.Event")
current = descriptor(schemas / "keyferry-event.proto")
Event = message_factory.GetMessageClass(current)
def read(value):
    if value[:1] != bytes([0]):
        raise ValueError("it is not the first message")
    message = Event.FromString(value[1:])
    if message.FromString(message.SerializeToString()) != message or len(message.SerializeToString()) != len(value) - 1:
        raise ValueError("it has something that the schema does not know")
    fields = json_format.MessageToDict(message)
    return {**fields, "time": message.time, "sequence": message.sequence}
released = [descriptor(path) for path in schemas.glob("released/*/keyferry-event.proto")]
if not released:
    raise ValueError("no released schema")
def shape(message):
    return {field.number: (field.name, field.type, field.label if hasattr(field, "label") else field.is_repeated) for field in message.fields}
for writer in released:
    lost = shape(writer).items() - shape(current).items()
    if lost:
        raise ValueError(f"{lost} are gone or changed")
judge(lambda login: login[:5] + bytes([2]) + login[6:])
"#,
    );
}

#[test]
fn json_with_a_schema_is_valid_by_it() {
    read_by_schema(
        "json-schema",
        r#"
from jsonschema import Draft7Validator
plain = lambda value: value
schema = json.loads((schemas / "keyferry-event.schema.json").read_text())
Draft7Validator.check_schema(schema)
validator = Draft7Validator(schema)
def read(value):
    fields = json.loads(value)
    validator.validate(fields)
    return fields
judge(lambda login: login.replace(b'"kind"', b'"sort"'))
"#,
    );
}
