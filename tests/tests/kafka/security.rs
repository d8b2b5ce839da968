//! Each kind of security on a real broker: it delivers; what is wrong with it is named, costs nothing while it lasts, and heals by itself when it is mended; what
//! is rotated is rotated under load without a record lost, doubled or out of order.
//!
//! One broker with all listeners, one Keycloak as the issuer of tokens, and an agent for each row of the tables, all at once.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use keyferry_tests::certificates::{Certificate, Validity};
use keyferry_tests::ferry::{Ferry, Plan};
use keyferry_tests::outages::{RECOVERY_LIMIT, TIME_LIMITS};
use keyferry_tests::secure::{
    Answer, Certificates, Endpoint, Fault, PLAIN_USER, Realm, SCRAM_USER, STRANGER, SecureKafka,
    TOKEN_CLIENT, TOKEN_LIFE,
};
use keyferry_tests::{log, wait};
use tempfile::TempDir;

/// Events a second of each row of a table.
const RATE: u32 = 20;
/// Events a second while something is rotated.
const LOAD: u32 = 500;
/// How long a fault may take to be named.
const NAMING_LIMIT: Duration = Duration::from_secs(30);
/// How long each fault lasts at least once it has been named.
const FAULT: Duration = Duration::from_secs(5);
/// What an agent may log in that time, in lines, and use of the processor.
const QUIET: (usize, Duration) = (12, Duration::from_millis(1_500));
const STORE_PASSWORD: &str = "changeit";

/// The servers, and the files of all agents.
struct Grounds {
    kafka: SecureKafka,
    realm: Arc<Realm>,
    certificates: Certificates,
    directory: TempDir,
}

impl Grounds {
    fn prepare() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let certificates = Certificates::new().unwrap();
        let mut realm = Realm::launch(directory.path()).unwrap();
        realm.settle().unwrap();
        let kafka = SecureKafka::start(directory.path(), &certificates, &realm.issuer()).unwrap();
        let grounds = Self { kafka, realm: Arc::new(realm), certificates, directory };
        grounds.write("authority.pem", grounds.certificates.authority.pem().unwrap());
        grounds.write("foreign.pem", grounds.certificates.foreign.pem().unwrap());
        grounds
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn write(&self, name: &str, content: impl AsRef<[u8]>) -> String {
        let path = self.path(name);
        fs::write(&path, content).unwrap();
        path.to_str().unwrap().to_owned()
    }

    /// A reference to a file that holds `secret`.
    fn secret(&self, name: &str, secret: &str) -> String {
        format!("${{file:{}}}", self.write(name, format!("{secret}\n")))
    }

    /// The certificate and key of a client, as the files that its configuration names.
    fn show(&self, name: &str, certificate: &Certificate) -> String {
        let chain = self.write(&format!("{name}.crt"), certificate.pem().unwrap());
        let key = self.write(&format!("{name}.key"), certificate.key_pem().unwrap());
        format!("certificate_file = \"{chain}\"\nkey_file = \"{key}\"\n")
    }

    fn authority(&self, name: &str) -> String {
        format!("ca_file = \"{}\"\n", self.path(name).display())
    }

    fn launch(&self, name: &str, servers: &str, rate: u32, security: &str) -> Ferry {
        self.kafka.create_topic(name).unwrap();
        let plan = Plan::new(servers, &self.kafka.plain_servers(), name).rate(rate).settings(security);
        plan.launch().unwrap()
    }

    /// An agent that logs in by `mechanism`.
    fn login(&self, name: &str, rate: u32, mechanism: &str, lines: &str) -> Ferry {
        let tls = self.authority("authority.pem");
        let security = format!(
            "[destination.security]\nprotocol = \"SASL_SSL\"\n[destination.security.tls]\n{tls}\
             [destination.security.sasl]\nmechanism = \"{mechanism}\"\n{lines}"
        );
        self.launch(name, &self.kafka.sasl_servers(), rate, &security)
    }

    /// An agent that shows a certificate.
    fn certified(&self, name: &str, rate: u32, lines: &str) -> Ferry {
        let security =
            format!("[destination.security]\nprotocol = \"SSL\"\n[destination.security.tls]\n{lines}");
        self.launch(name, &self.kafka.tls_servers(), rate, &security)
    }
}

fn user(name: &str, password: &str) -> String {
    format!("username = \"{name}\"\npassword = \"{password}\"\n")
}

fn client(endpoint: &str, secret: &str) -> String {
    let id = TOKEN_CLIENT.0;
    format!("token_endpoint = \"{endpoint}\"\nclient_id = \"{id}\"\nclient_secret = \"{secret}\"\n")
}

/// An agent with a fault, the words by which it is named, and what mends it.
struct Faulty<'a> {
    name: &'static str,
    ferry: Ferry,
    named_by: &'static [&'static str],
    mend: Box<dyn FnOnce() + 'a>,
}

/// What an agent has logged and used of the processor.
#[derive(Clone, Copy)]
struct Effort {
    lines: usize,
    processor: Duration,
}

impl Effort {
    fn of(ferry: &Ferry) -> Self {
        Self { lines: log::read(ferry.agent.log()).lines().count(), processor: processor_time(ferry) }
    }
}

/// In user and system mode, to a hundredth of a second.
fn processor_time(ferry: &Ferry) -> Duration {
    let pid = ferry.agent.pid().unwrap().as_raw_nonzero();
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let fields = text.rsplit(')').next().unwrap().split_whitespace();
    let ticks: u64 = fields.skip(11).take(2).map(|field| field.parse::<u64>().unwrap()).sum();
    Duration::from_millis(ticks * 10)
}

#[test]
fn each_kind_of_security_delivers_names_what_is_wrong_heals_and_is_rotated_under_load() {
    let started = Instant::now();
    let step = |what: &str| println!("{:>6.1} s  {what}", started.elapsed().as_secs_f64());
    let grounds = Grounds::prepare();
    step("broker and issuer serve");
    let sound = sound(&grounds);
    let faulty = faulty(&grounds);
    let server = grounds.launch(
        "faulty-server",
        &grounds.kafka.faulty_servers(),
        RATE,
        &format!(
            "[destination.security]\nprotocol = \"SSL\"\n[destination.security.tls]\n{}",
            grounds.authority("authority.pem")
        ),
    );
    for (name, ferry) in &sound {
        let took = ferry.wait_for_delivery().unwrap_or_else(|error| panic!("{name}: {error}"));
        println!("          {name}: {took:?}");
    }
    step("every kind delivers");
    let idle =
        Idle::begin(sound.iter().find(|(name, _)| *name == "oauthbearer").map(|(_, ferry)| ferry).unwrap());
    let mut wrong = heal(faulty);
    step("every fault of a client is named and mended");
    wrong.extend(heal_server(&grounds, server));
    step("every fault of a server is named and mended");
    wrong.extend(idle.end());
    step("a token was renewed while nothing flowed");
    let mut settled = sound;
    settled.push(("scram-rotation", rotate_password(&grounds)));
    settled.push(("certificate-rotation", rotate_certificate(&grounds)));
    step("everything is rotated");
    for (name, ferry) in settled {
        let log = log::read(ferry.agent.log());
        let (_, ledger) = ferry.settle().unwrap_or_else(|error| panic!("{name}: {error}\n{log}"));
        if ledger.copies() > 0 {
            wrong.push(format!("{name}: {} copies", ledger.copies()));
        }
    }
    step("nothing is lost, doubled or out of order");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// An agent that has nothing to send for longer than its token lives. The broker ends a connection whose token has expired and was not renewed.
struct Idle<'a> {
    ferry: &'a Ferry,
    since: Instant,
}

impl<'a> Idle<'a> {
    fn begin(ferry: &'a Ferry) -> Self {
        ferry.traffic.pause();
        Self { ferry, since: Instant::now() }
    }

    /// Sends something again. Returns what was wrong with the login meanwhile.
    fn end(self) -> Option<String> {
        thread::sleep((TOKEN_LIFE * 2).saturating_sub(self.since.elapsed()));
        println!("          oauthbearer: idle for {:?}", self.since.elapsed());
        self.ferry.traffic.resume();
        let delivered = self.ferry.wait_for_delivery();
        let complaints = log::lines_with(self.ferry.agent.log(), "authentication failed");
        match (delivered, complaints.first()) {
            (Err(error), _) => Some(format!("idle: {error}")),
            (Ok(_), Some(complaint)) => Some(format!("idle: {complaint}")),
            (Ok(took), None) => {
                println!("          oauthbearer: delivers again in {took:?}");
                None
            }
        }
    }
}

/// What is configured as it should be.
fn sound(grounds: &Grounds) -> Vec<(&'static str, Ferry)> {
    let certificate = grounds.certificates.client(Validity::Now).unwrap();
    let files = grounds.authority("authority.pem") + &grounds.show("sound", &certificate);
    let key_store = grounds.write("sound.p12", certificate.pkcs12(STORE_PASSWORD).unwrap());
    let trust_store = java_trust_store(grounds);
    let stores = format!(
        "ca_file = \"{trust_store}\"\ntruststore_password = \"{STORE_PASSWORD}\"\nkeystore_file = \"{key_store}\"\n\
         keystore_password = \"{}\"\n",
        grounds.secret("store-password", STORE_PASSWORD)
    );
    let jaas = format!(
        "jaas_config = 'org.apache.kafka.common.security.scram.ScramLoginModule required username=\"{}\" password=\"{}\";'\n",
        SCRAM_USER.0,
        grounds.secret("scram-256", SCRAM_USER.1)
    );
    vec![
        ("plaintext", grounds.launch("plaintext", &grounds.kafka.plain_servers(), RATE, "")),
        ("certificate-files", grounds.certified("certificate-files", RATE, &files)),
        ("certificate-stores", grounds.certified("certificate-stores", RATE, &stores)),
        ("plain", grounds.login("plain", RATE, "PLAIN", &user(PLAIN_USER.0, PLAIN_USER.1))),
        ("scram-256", grounds.login("scram-256", RATE, "SCRAM-SHA-256", &jaas)),
        ("scram-512", grounds.login("scram-512", RATE, "SCRAM-SHA-512", &user(SCRAM_USER.0, SCRAM_USER.1))),
        (
            "oauthbearer",
            grounds.login(
                "oauthbearer",
                RATE,
                "OAUTHBEARER",
                &client(&grounds.realm.token_endpoint(), TOKEN_CLIENT.1),
            ),
        ),
    ]
}

/// The authority in a store of Java's own format, written by Java's own tool.
fn java_trust_store(grounds: &Grounds) -> String {
    let store = grounds.path("trust.jks");
    let mut keytool = std::process::Command::new("keytool");
    keytool.args(["-importcert", "-noprompt", "-storetype", "JKS", "-storepass", STORE_PASSWORD, "-file"]);
    keytool.arg(grounds.path("authority.pem")).arg("-keystore").arg(&store);
    xtask::tool::run_silently(&mut keytool).unwrap();
    store.to_str().unwrap().to_owned()
}

/// What is wrong, each thing in its own way.
fn faulty(grounds: &Grounds) -> Vec<Faulty<'_>> {
    let wrong_password =
        |name: &'static str, mechanism: &str, (user_name, password): (&str, &'static str)| {
            let secret = grounds.secret(name, "wrong");
            Faulty {
                name,
                ferry: grounds.login(name, RATE, mechanism, &user(user_name, &secret)),
                named_by: &["authentication failed"],
                mend: Box::new(move || drop(grounds.secret(name, password))),
            }
        };
    let expired = grounds.certificates.client(Validity::Expired).unwrap();
    let expired = grounds.authority("authority.pem") + &grounds.show("expired", &expired);
    let foreign = grounds.certificates.client(Validity::Now).unwrap();
    let foreign = grounds.authority("unknown.pem") + &grounds.show("unknown", &foreign);
    fs::copy(grounds.path("foreign.pem"), grounds.path("unknown.pem")).unwrap();
    let wrong_secret = grounds.secret("client-secret", "wrong");
    let stale = grounds.realm.expired_token().unwrap();
    let stale = Arc::new(Endpoint::open(Answer::Token(stale)).unwrap());
    let down = Arc::new(Endpoint::open(Answer::Nothing).unwrap());
    vec![
        wrong_password("wrong-password", "PLAIN", PLAIN_USER),
        wrong_password("wrong-scram-password", "SCRAM-SHA-256", SCRAM_USER),
        Faulty {
            name: "expired-certificate",
            ferry: grounds.certified("expired-certificate", RATE, &expired),
            named_by: &["the broker refuses the client's certificate", "which expired on"],
            mend: Box::new(|| {
                drop(grounds.show("expired", &grounds.certificates.client(Validity::Now).unwrap()));
            }),
        },
        Faulty {
            name: "unknown-authority",
            ferry: grounds.certified("unknown-authority", RATE, &foreign),
            named_by: &["the broker's certificate is refused", "unable to get local issuer certificate"],
            mend: Box::new(|| replace_by_link(&grounds.path("authority.pem"), &grounds.path("unknown.pem"))),
        },
        Faulty {
            name: "wrong-client-secret",
            ferry: grounds.login(
                "wrong-client-secret",
                RATE,
                "OAUTHBEARER",
                &client(&grounds.realm.token_endpoint(), &wrong_secret),
            ),
            named_by: &["Failed to retrieve OIDC token from", "unauthorized_client"],
            mend: Box::new(|| drop(grounds.secret("client-secret", TOKEN_CLIENT.1))),
        },
        Faulty {
            name: "expired-token",
            ferry: grounds.login("expired-token", RATE, "OAUTHBEARER", &client(&stale.address(), "any")),
            named_by: &["unexpired token"],
            mend: Box::new(move || stale.set(Answer::Of(Arc::clone(&grounds.realm)))),
        },
        Faulty {
            name: "issuer-down",
            ferry: grounds.login("issuer-down", RATE, "OAUTHBEARER", &client(&down.address(), "any")),
            named_by: &["Failed to retrieve OIDC token from"],
            mend: Box::new(move || down.set(Answer::Of(Arc::clone(&grounds.realm)))),
        },
        Faulty {
            name: "missing-right",
            ferry: grounds.login("missing-right", RATE, "PLAIN", &user(STRANGER.0, STRANGER.1)),
            named_by: &["not authorised"],
            mend: Box::new(|| grounds.kafka.grant_write(STRANGER.0, "missing-right").unwrap()),
        },
    ]
}

/// As Kubernetes replaces a mounted secret: the name comes to stand for another file.
fn replace_by_link(target: &Path, name: &Path) {
    let link = name.with_extension("new");
    std::os::unix::fs::symlink(target, &link).unwrap();
    fs::rename(&link, name).unwrap();
}

/// Waits until each fault is named, watches it for a while, mends it, and waits for delivery. Returns what is not as it should be.
fn heal(faulty: Vec<Faulty<'_>>) -> Vec<String> {
    let mut wrong = Vec::new();
    let mut watched = Vec::new();
    for fault in faulty {
        let named = wait_for_words(&fault.ferry, fault.named_by);
        wrong.extend(named.err().map(|error| format!("{}: {error}", fault.name)));
        let effort = Effort::of(&fault.ferry);
        watched.push((fault, effort, Instant::now()));
    }
    for (fault, before, since) in watched {
        thread::sleep(FAULT.saturating_sub(since.elapsed()));
        let lasted = since.elapsed();
        wrong.extend(noise(fault.name, before, Effort::of(&fault.ferry), lasted));
        (fault.mend)();
        match fault.ferry.wait_for_delivery() {
            Ok(took) => wrong.extend(healed(fault.name, took)),
            Err(error) => wrong.push(format!("{}: {error}", fault.name)),
        }
        if let Err(error) = fault.ferry.settle() {
            wrong.push(format!("{}: {error}", fault.name));
        }
    }
    wrong
}

/// A time tells of the machine as well: it is held against its limit only where that is asked for.
fn healed(name: &str, took: Duration) -> Option<String> {
    println!("          {name}: healed in {took:?}");
    let is_late = std::env::var_os(TIME_LIMITS).is_some() && took > RECOVERY_LIMIT;
    is_late.then(|| format!("{name}: healed in {took:?}, later than {RECOVERY_LIMIT:?}"))
}

fn noise(name: &str, before: Effort, after: Effort, lasted: Duration) -> Option<String> {
    let turns = lasted.as_secs_f64() / FAULT.as_secs_f64();
    let lines = after.lines - before.lines;
    let processor = after.processor - before.processor;
    println!("          {name}: {lines} lines and {processor:?} of processor in {lasted:?}");
    let too_much = lines as f64 > QUIET.0 as f64 * turns || processor > QUIET.1.mul_f64(turns);
    too_much.then(|| format!("{name}: {lines} lines and {processor:?} of processor in {lasted:?}"))
}

fn wait_for_words(ferry: &Ferry, words: &[&str]) -> keyferry_tests::Result<()> {
    wait::until(&format!("a word of {words:?}"), NAMING_LIMIT, || {
        let log = log::read(ferry.agent.log());
        log.lines().find(|line| words.iter().all(|word| line.contains(word))).map(str::to_owned)
    })
    .map(|line| println!("          {line}"))
    .map_err(|error| error.with_log(ferry.agent.log()))
}

/// One broker's certificate after the other, and at last a good one.
fn heal_server(grounds: &Grounds, ferry: Ferry) -> Vec<String> {
    let mut wrong = Vec::new();
    for (fault, reason) in [
        (Fault::Expired, "certificate has expired"),
        (Fault::OtherHost, "hostname mismatch"),
        (Fault::Foreign, "unable to get local issuer certificate"),
    ] {
        if fault != Fault::Expired {
            grounds.kafka.present(fault).unwrap();
        }
        let words = ["the broker's certificate is refused", reason];
        wrong.extend(wait_for_words(&ferry, &words).err().map(|error| format!("{fault:?}: {error}")));
    }
    grounds.kafka.present(Fault::None).unwrap();
    match ferry.wait_for_delivery() {
        Ok(took) => wrong.extend(healed("faulty-server", took)),
        Err(error) => wrong.push(format!("faulty-server: {error}")),
    }
    wrong.extend(ferry.settle().err().map(|error| format!("faulty-server: {error}")));
    wrong
}

/// Another password, twice, while events flow.
fn rotate_password(grounds: &Grounds) -> Ferry {
    let secret = grounds.secret("rotated", SCRAM_USER.1);
    let ferry = grounds.login("scram-rotation", LOAD, "SCRAM-SHA-512", &user(SCRAM_USER.0, &secret));
    ferry.wait_for_delivery().unwrap();
    for (number, password) in ["second-secret", "third-secret"].into_iter().enumerate() {
        grounds.kafka.set_scram_password("SCRAM-SHA-512", password).unwrap();
        grounds.secret("rotated", password);
        wait_for_generation(&ferry, number + 1);
    }
    ferry
}

/// Another certificate, twice, while events flow.
fn rotate_certificate(grounds: &Grounds) -> Ferry {
    let shown = |certificate: &Certificate| {
        grounds.authority("authority.pem") + &grounds.show("rotated", certificate)
    };
    let new = || grounds.certificates.client(Validity::Now).unwrap();
    let ferry = grounds.certified("certificate-rotation", LOAD, &shown(&new()));
    ferry.wait_for_delivery().unwrap();
    for number in 1..=2 {
        shown(&new());
        wait_for_generation(&ferry, number);
    }
    ferry
}

/// Waits until connections with other credentials have taken over for the `number`th time.
fn wait_for_generation(ferry: &Ferry, number: usize) {
    wait::until("the takeover by new connections", NAMING_LIMIT, || {
        let lines = log::lines_with(ferry.agent.log(), "has taken over");
        (lines.iter().filter(|line| line.contains("credentials changed")).count() >= number).then_some(())
    })
    .map_err(|error| error.with_log(ferry.agent.log()))
    .unwrap();
    ferry.wait_for_delivery().unwrap();
}
