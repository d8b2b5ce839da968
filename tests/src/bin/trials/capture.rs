//! Events of the real Keycloak as golden files: one of each type that can be raised here, as a consumer reads it, byte for byte.
//!
//! What is raised is tried, not demanded: a later Keycloak may refuse what this one takes. What came of it is printed, so that nobody takes a type for captured that is not.

mod administrators;
mod clients;
mod users;

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use keyferry_tests::consumer::Record;
use keyferry_tests::keycloak::Database;
use keyferry_tests::receiver::Receiver;
use keyferry_tests::stage::Stage;
use keyferry_tests::{Error, Result};
use serde_json::json;
use xtask::workspace;

/// The realm in which everything happens.
const REALM: &str = "shop";

/// Captures one event of each type.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Where the files go [default: testdata/events/keycloak].
    #[arg(long, value_name = "DIRECTORY")]
    place: Option<PathBuf>,
}

/// Something that is tried, and what it is called.
type Act = (&'static str, fn(&Scene) -> Result<()>);

/// What happens in Keycloak, and who gets its mail.
struct Scene {
    stage: Stage,
    mail: Receiver,
}

impl Scene {
    /// Tries something, and says what was wrong with it if it failed.
    fn attempt(what: &str, act: impl FnOnce() -> Result<()>) {
        if let Err(error) = act() {
            let text: String = error.to_string().chars().take(300).collect();
            println!("{what}: {text}");
        }
    }

    fn path(path: &str) -> String {
        format!("/{REALM}{path}")
    }
}

/// Has the events raised and keeps them.
///
/// # Errors
/// Where a server does not start, or the files cannot be written.
pub fn run(arguments: &Arguments) -> Result<bool> {
    let mut scene = Scene { stage: Stage::start(Database::File)?, mail: Receiver::smtp()? };
    prepare(&scene)?;
    users::act(&scene);
    clients::act(&scene);
    administrators::act(&scene);
    let records = scene.stage.settle()?;
    let place = arguments.place.clone().unwrap_or_else(|| workspace::root().join("testdata/events/keycloak"));
    keep(&records, &place)
}

/// A realm in which as much as possible is allowed.
fn prepare(scene: &Scene) -> Result<()> {
    let admin = &scene.stage.admin;
    admin.create_realm(REALM, &["kafka"])?;
    admin.put(
        &Scene::path(""),
        &json!({
            "resetPasswordAllowed": true,
            "editUsernameAllowed": true,
            "organizationsEnabled": true,
            "adminPermissionsEnabled": false,
            "smtpServer": {"host": "127.0.0.1", "port": scene.mail.port().to_string(), "from": "shop@example.org"},
        }),
    )
}

/// Writes the first event of each name.
fn keep(records: &[Record], place: &PathBuf) -> Result<bool> {
    let mut chosen: BTreeMap<String, &Record> = BTreeMap::new();
    for record in records.iter().filter(|record| record.header("ce_source").ends_with(REALM)) {
        chosen.entry(name(record)).or_insert(record);
    }
    if place.exists() {
        fs::remove_dir_all(place).map_err(Error::io("remove", place))?;
    }
    fs::create_dir_all(place).map_err(Error::io("create", place))?;
    for (name, record) in &chosen {
        let path = place.join(format!("{name}.json"));
        fs::write(&path, &record.value).map_err(Error::io("write", &path))?;
    }
    println!("{} events of {} records in {}", chosen.len(), records.len(), place.display());
    println!("{}", chosen.keys().cloned().collect::<Vec<_>>().join(" "));
    Ok(true)
}

/// `LOGIN`, or `USER.CREATE`.
fn name(record: &Record) -> String {
    match record.field("operationType") {
        "" => record.field("type").to_owned(),
        operation => format!("{}.{operation}", record.field("resourceType")),
    }
}
