//! The web page in a real Chromium, over TLS: what it shows of a normal run, an outage and the recovery, and what can be done with it.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use keyferry_tests::certificates::{Certificate, Validity};
use keyferry_tests::chromium::{Chromium, Screen};
use keyferry_tests::ferry::{Ferry, Plan};
use keyferry_tests::kafka::{self, Kafka};
use keyferry_tests::port;
use serde_json::Value;
use xtask::cache::Cache;
use xtask::workspace;

const TOKEN: &str = "a token that nobody guesses";
pub const LINGER: &str = "destination.delivery.linger";
/// One rule, so that nothing fires because of the machine, such as a disk that is nearly full.
const ALERTS: &str = r#"
    incidents.automatic = false
    default_rules = false
    [[rule]]
    name = "BreakerOpen"
    severity = "critical"
    signal.value = { metric = 'keyferry_breaker_state{state!="closed"}', by = ["destination"] }
    above = 0
    keep_firing = "10s"
    summary = "the circuit breaker of {destination} is open: nothing is sent"
"#;
/// What axe calls serious: nobody may be kept from using the page.
const AXE: &str = "const done = arguments[arguments.length - 1];
    axe.run(document).then(({ violations }) => done(violations
        .filter(({ impact }) => impact === 'serious' || impact === 'critical')
        .map(({ id, nodes }) => id + ': ' + nodes.map((node) => node.target + ' ' + node.failureSummary).join('; '))));";

/// The pictures that are kept in docs/page, with `KEYFERRY_DOCS=write`.
const IN_DOCS: [&str; 4] = [
    "normal-desktop-light.png",
    "draft-desktop-light.png",
    "outage-desktop-dark.png",
    "outage-phone-light.png",
];

/// The page, and where pictures of it are kept.
pub struct Page {
    pub chromium: Chromium,
    pictures: PathBuf,
    axe: String,
    writes_docs: bool,
}

impl Page {
    pub fn open(directory: &Path, address: &str) -> Self {
        let pictures = workspace::target().join("page");
        fs::create_dir_all(&pictures).unwrap();
        let axe = workspace::root().join("web/node_modules/axe-core/axe.min.js");
        let axe = fs::read_to_string(&axe)
            .unwrap_or_else(|error| panic!("{}: {error}; run `npm ci` in web/", axe.display()));
        let chromium = Chromium::start(directory).unwrap();
        chromium.show_on(Screen::Desktop, "light").unwrap();
        chromium.open(address).unwrap();
        let writes_docs = env::var_os("KEYFERRY_DOCS").is_some_and(|what| what == "write");
        Self { chromium, pictures, axe, writes_docs }
    }

    /// Looks at it as it is now on every screen: nobody is kept from using it, nothing is wider than a phone, and a picture is kept of each.
    pub fn look(&self, name: &str) {
        for (screen, theme) in
            [(Screen::Phone, "light"), (Screen::Desktop, "dark"), (Screen::Desktop, "light")]
        {
            self.chromium.show_on(screen, theme).unwrap();
            self.chromium.run(&self.axe).unwrap();
            let found = self.chromium.run_until_done(AXE).unwrap();
            assert_eq!(found, Value::Array(Vec::new()), "{name} on {screen:?} in {theme}: {found:#}");
            let width = self.chromium.run("return document.documentElement.scrollWidth").unwrap();
            assert!(width.as_u64().unwrap() <= screen.width(), "{name} on {screen:?} is {width} pixels wide");
            let picture = format!("{name}-{}-{theme}.png", format!("{screen:?}").to_lowercase());
            let path = self.pictures.join(&picture);
            self.chromium.photograph(&path).unwrap();
            if self.writes_docs && IN_DOCS.contains(&picture.as_str()) {
                fs::copy(&path, workspace::root().join("docs/page").join(&picture)).unwrap();
            }
        }
    }

    pub fn headline(&self, wanted: &str) {
        self.chromium.wait_for("#verdict .headline", |headline| headline == wanted).unwrap();
    }

    pub fn press(&self, button: &str) {
        self.chromium
            .click(&format!("//button[normalize-space()='{button}' or @aria-label='{button}']"))
            .unwrap();
    }

    pub fn change_linger(&self) {
        let of = &self.chromium;
        of.write("//input[@id='filter']", LINGER).unwrap();
        self.press(&format!("Edit {LINGER}"));
        of.write("//dialog//input[@name='value']", "30ms").unwrap();
        self.press("Add to the draft");
        self.press("Check");
        let difference =
            of.wait_for(".draft", |draft| draft.contains("30ms") && draft.contains("After")).unwrap();
        assert!(difference.contains(LINGER) && difference.contains("swap"), "{difference}");
    }
}

/// What the command line says of the same agent.
fn keyferry<const WORDS: usize>(ferry: &Ferry, words: [&str; WORDS], more: &[&str]) -> String {
    let mut command = Command::new(ferry.agent.executable());
    let output = command.args(words).arg(ferry.agent.slot()).args(more).output().unwrap();
    String::from_utf8(output.stdout).unwrap()
}

/// What a source gives for the linger, and the version that runs.
fn linger(ferry: &Ferry) -> (Value, u64) {
    let config: Value = serde_json::from_str(&keyferry(ferry, ["config", "show"], &["--json"])).unwrap();
    let settings = config["settings"].as_array().unwrap();
    let linger = settings.iter().find(|setting| setting["key"] == LINGER).unwrap();
    (linger["value"].clone(), config["version"]["version"].as_u64().unwrap())
}

#[test]
fn the_page_shows_a_normal_run_an_outage_and_the_recovery_and_what_is_done_on_it_is_done() {
    let directory = tempfile::tempdir().unwrap();
    let mut kafka = Kafka::start_new(&Cache::from_environment().unwrap(), directory.path()).unwrap();
    let topic = kafka::fresh_topic("page");
    kafka.create_topic(&topic, kafka::PARTITIONS).unwrap();
    let (token, alerts) = (directory.path().join("token"), directory.path().join("alerts.toml"));
    fs::write(&token, TOKEN).unwrap();
    fs::write(&alerts, ALERTS).unwrap();
    let authority = Certificate::authority("Authority of the page").unwrap();
    let served = authority.issue("localhost", Some("localhost"), Validity::Long).unwrap();
    let (certificate, key) = (directory.path().join("page.crt"), directory.path().join("page.key"));
    fs::write(&certificate, served.pem().unwrap()).unwrap();
    fs::write(&key, served.key_pem().unwrap()).unwrap();
    let port = port::free().unwrap();
    let tls =
        format!("[api.tls]\ncertificate = \"{}\"\nkey = \"{}\"\n", certificate.display(), key.display());
    let settings = format!(
        "[api]\nlisten = \"127.0.0.1:{port}\"\ntoken = \"${{file:{}}}\"\n{tls}[alerts]\nfile = \"{}\"\n[config]\nprobation = \"0s\"",
        token.display(),
        alerts.display()
    );
    let servers = kafka.bootstrap_servers();
    let mut ferry = Plan::new(&servers, &servers, &topic).settings(&settings).start().unwrap();
    let page = Page::open(directory.path(), &format!("https://localhost:{port}/"));

    page.chromium.write("//dialog//input[@name='token']", TOKEN).unwrap();
    page.press("Go on");
    page.headline("Everything is being delivered");
    page.chromium.wait_for("#link", |link| link == "Live").unwrap();
    page.chromium.wait_for("#tiles .value", |rate| rate.parse().is_ok_and(|rate: f64| rate > 0.0)).unwrap();
    page.chromium.wait_for("#incidents", |text| text.contains("Nothing has gone wrong")).unwrap();
    page.look("normal");

    page.change_linger();
    page.look("draft");
    assert_eq!(linger(&ferry), (Value::Null, 1), "what is checked is not made");
    page.press("Apply");
    page.chromium.wait_for("#configuration p", |state| state.starts_with("Version 2 runs")).unwrap();
    assert_eq!(linger(&ferry), ("30ms".into(), 2));
    page.press("Roll back to version 1");
    page.chromium.wait_for("dialog", |dialog| dialog.contains("30ms") && dialog.contains("default")).unwrap();
    page.chromium.click("//dialog//button[@value='yes']").unwrap();
    page.chromium.wait_for("#configuration p", |state| state.starts_with("Version 3 runs")).unwrap();
    assert_eq!(linger(&ferry), (Value::Null, 3));

    kafka.kill().unwrap();
    page.headline("Events wait in the journal");
    page.chromium.wait_for("#destinations", |text| text.contains("opened once")).unwrap();
    page.press("Acknowledge inc-1");
    page.chromium.wait_for("#incident-inc-1 h3", |title| title.contains("acknowledged")).unwrap();
    let report = keyferry(&ferry, ["incident", "report"], &["inc-1"]);
    assert!(report.contains("| state | acknowledged |") && report.contains("`api.token`"), "{report}");
    page.press("Silence inc-1");
    page.chromium.write("//dialog//input[@name='comment']", "Kafka is being mended").unwrap();
    page.chromium.click("//dialog//button[@value='yes']").unwrap();
    page.chromium.wait_for("#notices", |text| text.contains("BreakerOpen is silenced")).unwrap();
    let silences = keyferry(&ferry, ["alert", "silences"], &["--json"]);
    assert!(silences.contains("Kafka is being mended") && silences.contains("`api.token`"), "{silences}");
    page.look("outage");

    kafka.start().unwrap();
    page.chromium.wait_for("#incident-inc-1 h3", |title| title.contains("resolved")).unwrap();
    page.headline("Everything is being delivered");
    page.look("recovered");

    // Somebody opens the breaker and knows that nothing is wrong: the incident is over because he says so.
    keyferry(&ferry, ["breaker"], &["open"]);
    page.press("Resolve inc-1");
    page.chromium.wait_for("#notices", |text| text.contains("inc-1 is resolved")).unwrap();
    page.chromium.wait_for("#incident-inc-1 h3", |title| title.contains("resolved")).unwrap();
    let report = keyferry(&ferry, ["incident", "report"], &["inc-1"]);
    assert!(report.contains("| state | resolved |") && report.contains("declared over"), "{report}");
    keyferry(&ferry, ["breaker"], &["auto"]);
    page.headline("Everything is being delivered");

    ferry.agent.stop().unwrap();
    page.headline("No word from the agent");
    page.chromium.wait_for("#link", |link| link.starts_with("Disconnected since")).unwrap();
    page.look("disconnected");
    ferry.agent.start().unwrap();
    page.headline("Everything is being delivered");
    let foreign = "return performance.getEntriesByType('resource').map(({ name }) => name).filter((name) => !name.startsWith(location.origin))";
    assert_eq!(page.chromium.run(foreign).unwrap(), Value::Array(Vec::new()), "the page asks others");
    ferry.wait_for_delivery().unwrap();
    ferry.settle().unwrap();
}
