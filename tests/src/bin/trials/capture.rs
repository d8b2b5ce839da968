//! Events of the real Keycloak as golden files: one of each type that can be raised here, as a consumer reads it, byte for byte.
//!
//! What is raised is tried, not demanded: a later Keycloak may refuse what this one takes. What came of it is printed, so that nobody takes a type for captured that is not. Types that no
//! golden file has stand in `testdata/events/not-raised.tsv`, each with its reason; that none is missing in both is tested.

mod administrators;
mod brokers;
mod clients;
mod credentials;
mod users;

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use keyferry_tests::browser::Browser;
use keyferry_tests::consumer::Record;
use keyferry_tests::keycloak::{Database, Distribution};
use keyferry_tests::receiver::Receiver;
use keyferry_tests::stage::{Stage, jar};
use keyferry_tests::{Error, Result};
use serde_json::json;
use xtask::cache::Cache;
use xtask::{parts, workspace};

/// The realm in which everything happens.
const REALM: &str = "shop";
/// What Keycloak 26.7 has not by default, and raises events of its own: verifiable credentials.
const FEATURES: [&str; 3] = ["oid4vc-vci", "oid4vc-vci-preauth-code", "oid4vc-vci-rest-credential-offer"];
/// Keycloak looks for sessions that are over every few minutes, a quarter of an hour at most.
const SESSION_LIMIT: Duration = Duration::from_secs(20 * 60);

/// Captures one event of each type.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Where the files go [default: testdata/events/keycloak].
    #[arg(long, value_name = "DIRECTORY")]
    place: Option<PathBuf>,
    /// Replace the files that are there as well. The examples in the documentation are made of them.
    #[arg(long)]
    anew: bool,
}

/// Something that is tried, and what it is called.
type Act = (&'static str, fn(&Scene) -> Result<()>);

/// What happens in Keycloak, who gets its mail, and who is told of logins that wait for a user's yes elsewhere (CIBA).
struct Scene {
    stage: Stage,
    mail: Receiver,
    channel: Receiver,
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

    /// An address of the realm's pages and endpoints.
    fn address(&self, path: &str) -> String {
        format!("{}/realms/{REALM}/{path}", self.stage.keycloak.address())
    }

    fn openid(&self, name: &str) -> String {
        self.address(&format!("protocol/openid-connect/{name}"))
    }

    /// Does something while no mail can be sent.
    fn without_mail(&self, act: impl FnOnce() -> Result<()>) -> Result<()> {
        self.send_mail_to(1)?;
        let outcome = act();
        self.send_mail_to(self.mail.port())?;
        outcome
    }

    fn send_mail_to(&self, port: u16) -> Result<()> {
        let server = json!({"host": "127.0.0.1", "port": port.to_string(), "from": "shop@example.org"});
        self.stage.admin.put(&Self::path(""), &json!({ "smtpServer": server }))
    }
}

/// Has the events raised and keeps them.
///
/// # Errors
/// Where a server does not start, or the files cannot be written.
pub fn run(arguments: &Arguments) -> Result<bool> {
    let mut scene = start()?;
    prepare(&scene)?;
    users::act(&scene);
    clients::act(&scene);
    brokers::act(&scene);
    credentials::act(&scene);
    administrators::act(&scene);
    Scene::attempt("sessions that are over", || let_a_session_end(&mut scene));
    let records = scene.stage.settle()?;
    let place = arguments.place.clone().unwrap_or_else(|| workspace::root().join("testdata/events/keycloak"));
    keep(&records, &place, arguments.anew)
}

/// Starts Keycloak with everything that raises events.
fn start() -> Result<Scene> {
    let cache = Cache::from_environment()?;
    let distribution = Distribution::build_featured(
        &cache,
        parts::Keycloak::V26_7,
        Some(&jar()?),
        Database::File,
        &FEATURES,
    )?;
    let mut stage = Stage::prepare_with(&distribution)?;
    let channel = Receiver::http_created()?;
    let of_channel = "spi-ciba-auth-channel--ciba-http-auth-channel--http-authentication-channel-uri";
    stage
        .keycloak
        .option(of_channel, format!("http://127.0.0.1:{}/", channel.port()))
        .option("spi-login-protocol--openid-connect--allow-client-initiated-account-linking", "true");
    stage.keycloak.start()?;
    Ok(Scene { stage, mail: Receiver::smtp()?, channel })
}

/// Nobody does anything: Keycloak finds the session that is older than sessions may become.
fn let_a_session_end(scene: &mut Scene) -> Result<()> {
    scene.stage.admin.create_user(REALM, "zora")?;
    Browser::new(&scene.stage.keycloak.address(), REALM).log_in("zora")?;
    scene
        .stage
        .admin
        .put(&Scene::path(""), &json!({"ssoSessionMaxLifespan": 1, "ssoSessionIdleTimeout": 1}))?;
    let is_it = |record: &Record| record.field("type") == "USER_SESSION_DELETED";
    let events = scene.stage.events();
    events.wait_until("the end of a session", SESSION_LIMIT, |records| records.iter().any(is_it)).map(drop)
}

/// A realm in which as much as possible is allowed.
fn prepare(scene: &Scene) -> Result<()> {
    let admin = &scene.stage.admin;
    // Realms come and go there.
    let told =
        json!({"eventsListeners": ["kafka"], "adminEventsEnabled": true, "adminEventsDetailsEnabled": true});
    admin.put("/master", &told)?;
    admin.create_realm(REALM, &["kafka"])?;
    let allowed = json!({
        "resetPasswordAllowed": true,
        "editUsernameAllowed": true,
        "organizationsEnabled": true,
        "adminPermissionsEnabled": false,
        "verifiableCredentialsEnabled": true,
    });
    admin.put(&Scene::path(""), &allowed)?;
    scene.send_mail_to(scene.mail.port())
}

/// Writes the first event of each name, of the realm if it has one. What is there stays, unless everything is wanted `anew`.
fn keep(records: &[Record], place: &PathBuf, anew: bool) -> Result<bool> {
    let (here, elsewhere): (Vec<&Record>, Vec<&Record>) =
        records.iter().partition(|record| record.header("ce_source").ends_with(REALM));
    let mut chosen: BTreeMap<String, &Record> = BTreeMap::new();
    for record in here.into_iter().chain(elsewhere) {
        chosen.entry(name(record)).or_insert(record);
    }
    if anew && place.exists() {
        fs::remove_dir_all(place).map_err(Error::io("remove", place))?;
    }
    fs::create_dir_all(place).map_err(Error::io("create", place))?;
    let mut new = Vec::new();
    for (name, record) in &chosen {
        let path = place.join(format!("{name}.json"));
        if !path.exists() {
            fs::write(&path, &record.value).map_err(Error::io("write", &path))?;
            new.push(name.as_str());
        }
    }
    let mut there: Vec<String> = Vec::new();
    for entry in fs::read_dir(place).map_err(Error::io("read", place))? {
        let file = entry.map_err(Error::io("read", place))?.file_name();
        there.extend(file.to_str().and_then(|file| file.strip_suffix(".json")).map(str::to_owned));
    }
    there.retain(|name| !chosen.contains_key(name));
    println!("{} types of event in {} records, in {}", chosen.len(), records.len(), place.display());
    println!("new: {}", new.join(" "));
    println!("there, and not raised this time: {}", there.join(" "));
    Ok(true)
}

/// `LOGIN`, or `USER.CREATE`.
fn name(record: &Record) -> String {
    match record.field("operationType") {
        "" => record.field("type").to_owned(),
        operation => format!("{}.{operation}", record.field("resourceType")),
    }
}
