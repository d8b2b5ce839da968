//! `keyferry doctor` on a sound way, and on that way with one fault after the other: it finds each by the name of its check, names the remedy, and finds nothing else.
//!
//! Every fault is real: a broker's certificate that has expired, a disk that is full, a process that is stopped. Only a small limit of memory is told by files in place of `/proc` and `/sys`.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant, UNIX_EPOCH};

use keyferry_tests::certificates::Validity;
use keyferry_tests::disk::SmallDisk;
use keyferry_tests::ferry::{Ferry, Plan};
use keyferry_tests::secure::{Certificates, Fault as BrokerFault, PLAIN_USER, STRANGER, SecureKafka};
use keyferry_tests::{port, process, wait};
use rustix::process::Signal;
use serde_json::Value;
use tempfile::TempDir;

const LIMIT: Duration = Duration::from_secs(60);
/// How long a check may take: long enough for a slow machine, and waited for only where a fault is that nobody answers.
const PATIENCE: &str = "6";
const TOPIC: &str = "events";
/// All nodes are told by it.
const NODES: &str = "nodes";
/// Its broker tells when it stored a record.
const PROBE: &str = "probe";
/// So many examinations in a row must find a broker's new certificate.
const STEADY: u32 = 4;
/// By how much the clock is wrong.
const SKEW_S: u32 = 600;

/// The servers, and everything that a sound way needs.
struct Grounds {
    kafka: SecureKafka,
    certificates: Certificates,
    /// A journal with a writer and an agent.
    ferry: Ferry,
    directory: TempDir,
}

/// One examination: what the doctor is told.
struct Visit {
    journal: PathBuf,
    config: String,
    home: PathBuf,
    arguments: Vec<String>,
    /// The command line by which it is started.
    wrapper: Vec<String>,
}

/// What one examination has found.
struct Found(Vec<Value>);

impl Found {
    /// The checks that are not as they should be.
    fn wrong(&self) -> BTreeSet<&str> {
        let wrong = self.0.iter().filter(|one| one["severity"] == "warning" || one["severity"] == "problem");
        wrong.filter_map(|one| one["check"].as_str()).collect()
    }

    fn remedy(&self, check: &str) -> &str {
        let of_check = self.0.iter().filter(|one| one["check"] == check);
        of_check.filter_map(|one| one["remedy"].as_str()).next().unwrap_or_default()
    }
}

impl Grounds {
    fn prepare() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let certificates = Certificates::new().unwrap();
        let kafka = SecureKafka::start_without_tokens(directory.path(), &certificates).unwrap();
        for topic in [TOPIC, PROBE, NODES] {
            kafka.create_topic(topic).unwrap();
        }
        kafka.configure_topic(NODES, "cleanup.policy", "compact").unwrap();
        kafka.configure_topic(PROBE, "message.timestamp.type", "LogAppendTime").unwrap();
        let mut ferry =
            Plan::new(&kafka.plain_servers(), &kafka.plain_servers(), TOPIC).rate(50).start().unwrap();
        ferry.settle().unwrap();
        // Its checkpoint is at the end then.
        ferry.agent.stop().unwrap();
        copy(journal_of(&ferry), &directory.path().join("delivered"));
        ferry.agent.start().unwrap();
        ferry.agent.wait_for_state("idle", LIMIT).unwrap();
        let grounds = Self { kafka, certificates, ferry, directory };
        grounds.write("authority.pem", &grounds.certificates.authority.pem().unwrap());
        grounds.write("keyferry.toml", &(grounds.login(PLAIN_USER, TOPIC) + &shared_by(NODES)));
        keycloak(&grounds.path("keycloak"), env!("CARGO_PKG_VERSION"));
        grounds
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn write(&self, name: &str, text: &str) -> String {
        fs::write(self.path(name), text).unwrap();
        self.path(name).display().to_string()
    }

    fn tls(&self) -> String {
        format!("[destination.security.tls]\nca_file = \"{}\"\n", self.path("authority.pem").display())
    }

    /// A configuration that logs in over TLS.
    fn login(&self, (user, password): (&str, &str), topic: &str) -> String {
        let sasl = format!(
            "[destination.security.sasl]\nmechanism = \"PLAIN\"\nusername = \"{user}\"\npassword = \"{password}\"\n"
        );
        secured("SASL_SSL", &self.kafka.sasl_servers(), topic) + &self.tls() + &sasl
    }

    /// A configuration that goes over TLS to a broker whose certificate may be bad.
    fn encrypted(&self) -> String {
        secured("SSL", &self.kafka.faulty_servers(), TOPIC) + &self.tls()
    }

    /// An examination of the sound way.
    fn visit(&self) -> Visit {
        Visit {
            journal: journal_of(&self.ferry).to_owned(),
            config: fs::read_to_string(self.path("keyferry.toml")).unwrap(),
            home: self.path("keycloak"),
            arguments: Vec::new(),
            wrapper: Vec::new(),
        }
    }

    /// The same with a record that is sent to a topic.
    fn probing(&self, topic: &str) -> Visit {
        Visit { arguments: vec!["--probe-topic".to_owned(), topic.to_owned()], ..self.visit() }
    }

    /// The same with another configuration.
    fn by(&self, config: String) -> Visit {
        Visit { config, ..self.visit() }
    }

    /// The same with a topic that has a property.
    fn topic(&self, name: &str, property: &str, value: &str) -> Visit {
        self.kafka.create_topic(name).unwrap();
        self.kafka.configure_topic(name, property, value).unwrap();
        self.by(self.login(PLAIN_USER, name))
    }

    /// The same with another journal.
    fn of(&self, journal: &Path) -> Visit {
        Visit { journal: journal.to_owned(), ..self.visit() }
    }

    /// The same with a copy of a journal that is delivered.
    fn copied(&self, name: &str) -> Visit {
        let journal = self.path(name);
        copy(&self.path("delivered"), &journal);
        self.of(&journal)
    }

    fn examine(&self, visit: &Visit) -> Found {
        let config = self.write("visit.toml", &visit.config);
        let executable = self.ferry.agent.executable().display().to_string();
        let words = [visit.wrapper.clone(), vec![executable]].concat();
        let mut command = Command::new(&words[0]);
        command.args(&words[1..]).arg("doctor").arg(&visit.journal);
        command.args(["--json", "--timeout", PATIENCE, "--config", &config, "--keycloak"]).arg(&visit.home);
        let output = command.args(&visit.arguments).output().unwrap();
        let lines = output.stdout.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
        let found: Vec<Value> = lines.map(|line| serde_json::from_slice(line).unwrap()).collect();
        assert!(!found.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
        let is_bad = found.iter().any(|one| one["severity"] == "problem");
        assert_eq!(
            output.status.code(),
            Some(i32::from(is_bad)),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        Found(found)
    }
}

/// Lines of a configuration.
fn shared_by(topic: &str) -> String {
    format!("[config]\ntopic = \"{topic}\"\n")
}

fn journal_of(ferry: &Ferry) -> &Path {
    ferry.agent.slot().parent().unwrap()
}

/// Copies a journal with its modes, and without the sockets of its agents.
fn copy(from: &Path, to: &Path) {
    let copied = Command::new("cp").arg("-a").arg(from).arg(to).status().unwrap();
    assert!(copied.success());
    let _ = fs::remove_file(to.join("slot-0/agent.sock"));
}

fn secured(protocol: &str, servers: &str, topic: &str) -> String {
    plain(servers, topic) + &format!("[destination.security]\nprotocol = \"{protocol}\"\n")
}

fn plain(servers: &str, topic: &str) -> String {
    format!("[destination]\nbootstrap_servers = [\"{servers}\"]\ntopic_events = \"{topic}\"\n")
}

/// As much of a Keycloak as tells of a provider of `version`, and of the build with it.
fn keycloak(home: &Path, version: &str) {
    let jar = home.join("providers/keyferry.jar");
    let parts = home.join("parts");
    write_below(&parts, "org/keyferry/provider/Provider.class", "");
    write_below(&parts, "manifest", &format!("Implementation-Version: {version}\n"));
    archive(&jar, &["--manifest", "manifest", "org"], &parts);
    let modified = fs::metadata(&jar).unwrap().modified().unwrap().duration_since(UNIX_EPOCH).unwrap();
    let built = format!("kc.provider.file.keyferry.jar.last-modified={}\n", modified.as_millis());
    write_below(&parts, "META-INF/keycloak-persisted.properties", &built);
    archive(&home.join("lib/quarkus/generated-bytecode.jar"), &["META-INF"], &parts);
}

fn write_below(directory: &Path, name: &str, text: &str) {
    let path = directory.join(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

fn archive(archive: &Path, content: &[&str], directory: &Path) {
    fs::create_dir_all(archive.parent().unwrap()).unwrap();
    let mut jar = Command::new("jar");
    jar.args(["--create", "--file"]).arg(archive).args(content).current_dir(directory);
    xtask::tool::run_silently(&mut jar).unwrap();
}

/// What was found, held against what should have been.
struct Rounds<'a> {
    grounds: &'a Grounds,
    begun: Instant,
    visits: usize,
    wrong: Vec<String>,
}

impl Rounds<'_> {
    /// Examines, and expects exactly these checks not to be as they should be; the remedy of the first has these words.
    fn expect(&mut self, fault: &str, visit: &Visit, checks: &[&str], remedy: &str) {
        self.visits += 1;
        let found = self.grounds.examine(visit);
        let told = found.remedy(checks[0]);
        println!("{:>6.1} s  {fault}: {:?}", self.begun.elapsed().as_secs_f64(), found.wrong());
        if found.wrong() != checks.iter().copied().collect() || !told.contains(remedy) || remedy.is_empty() {
            let findings: Vec<_> = found.0.iter().map(ToString::to_string).collect();
            self.wrong.push(format!(
                "{fault}: expected {checks:?} and the remedy {remedy:?}\n    {}",
                findings.join("\n    ")
            ));
        }
    }
}

#[test]
fn the_doctor_finds_nothing_on_a_sound_way_and_each_planted_fault_with_its_remedy() {
    let grounds = Grounds::prepare();
    let mut rounds = Rounds { grounds: &grounds, begun: Instant::now(), visits: 0, wrong: Vec::new() };
    for (what, visit) in [("live", grounds.probing(PROBE)), ("delivered", grounds.copied("sound"))] {
        let sound = grounds.examine(&visit);
        assert_eq!(sound.wrong(), BTreeSet::new(), "{what}: {:?}", sound.0);
        let skipped = sound.0.iter().filter(|one| one["severity"] == "skipped").count();
        assert!(what != "live" || skipped == 0, "{:?}", sound.0);
    }
    configurations(&mut rounds);
    providers(&mut rounds);
    networks(&mut rounds);
    certificates(&mut rounds);
    clusters(&mut rounds);
    journals(&mut rounds);
    disks(&mut rounds);
    machines(&mut rounds);
    agents(&mut rounds);
    println!("{} planted faults", rounds.visits);
    assert!(rounds.visits >= 20 && rounds.wrong.is_empty(), "{}", rounds.wrong.join("\n"));
}

fn configurations(rounds: &mut Rounds<'_>) {
    let grounds = rounds.grounds;
    let sound = grounds.visit().config;
    let with =
        |line: &str| grounds.by(sound.replacen("[destination]\n", &format!("[destination]\n{line}\n"), 1));
    rounds.expect("unknown key", &with("topic_evnts = \"x\""), &["config.unknown-key"], "spelling");
    rounds.expect("bad value", &with("headers = \"some\""), &["config.valid"], "Correct the value");
    let secret = format!("${{file:{}}}", grounds.path("no-such-secret").display());
    let secret = grounds.by(grounds.login((PLAIN_USER.0, &secret), TOPIC));
    rounds.expect("missing secret", &secret, &["config.secret"], "Create the file");
    let nothing = grounds.by("[destination]\ntopic_events = \"events\"\n".to_owned());
    rounds.expect("no servers", &nothing, &["config.complete"], "Set what is named");
}

fn providers(rounds: &mut Rounds<'_>) {
    let grounds = rounds.grounds;
    let at = |name: &str| Visit { home: grounds.path(name), ..grounds.visit() };
    fs::create_dir_all(grounds.path("bare/providers")).unwrap();
    rounds.expect("no jar", &at("bare"), &["provider.jar"], "`providers` directory");
    keycloak(&grounds.path("old"), "0.0.1");
    rounds.expect("old jar", &at("old"), &["provider.version"], "one release");
    keycloak(&grounds.path("unbuilt"), env!("CARGO_PKG_VERSION"));
    let jar = fs::File::options().write(true).open(grounds.path("unbuilt/providers/keyferry.jar")).unwrap();
    jar.set_modified(UNIX_EPOCH + Duration::from_secs(1)).unwrap();
    rounds.expect("jar after the build", &at("unbuilt"), &["provider.build"], "kc.sh build");
}

fn networks(rounds: &mut Rounds<'_>) {
    let grounds = rounds.grounds;
    let by = |servers: &str| grounds.by(plain(servers, TOPIC));
    rounds.expect("wrong name", &by("no-such-host.invalid:9092"), &["net.dns"], "DNS");
    let closed = format!("127.0.0.1:{}", port::free().unwrap());
    rounds.expect("closed port", &by(&closed), &["net.tcp"], "Check the port");
    let one_of_two = by(&format!("{closed}\", \"{}", grounds.kafka.plain_servers()));
    rounds.expect("one of two closed", &one_of_two, &["net.tcp"], "Check the port");
    let no_tls = grounds.by(secured("SSL", &grounds.kafka.plain_servers(), TOPIC) + &grounds.tls());
    rounds.expect("TLS to a plain port", &no_tls, &["tls.handshake"], "the port is one for TLS");
    let no_plain = by(&grounds.kafka.faulty_servers());
    rounds.expect("plain to a TLS port", &no_plain, &["kafka.answers"], "`security-protocol`");
}

fn certificates(rounds: &mut Rounds<'_>) {
    let grounds = rounds.grounds;
    for (fault, check, remedy) in [
        (BrokerFault::Expired, "tls.expired", "renewed"),
        (BrokerFault::OtherHost, "tls.host-name", "Use the name"),
        (BrokerFault::Foreign, "tls.authority", "Give the authority"),
    ] {
        grounds.kafka.present(fault).unwrap();
        let visit = grounds.by(grounds.encrypted());
        // The broker's threads take the new one up one after the other.
        let mut in_a_row = 0;
        wait_for(grounds, &visit, |wrong| {
            in_a_row = if wrong.contains(check) { in_a_row + 1 } else { 0 };
            in_a_row == STEADY
        });
        rounds.expect(&format!("{fault:?}"), &visit, &[check], remedy);
    }
    let own = grounds.certificates.client(Validity::Expired).unwrap();
    let (chain, key) = (own.pem().unwrap(), own.key_pem().unwrap());
    let (chain, key) = (grounds.write("own.crt", &chain), grounds.write("own.key", &key));
    let own = secured("SSL", &grounds.kafka.tls_servers(), TOPIC)
        + &grounds.tls()
        + &format!("certificate_file = \"{chain}\"\nkey_file = \"{key}\"\n");
    let checks = ["tls.client-certificate", "kafka.login"];
    rounds.expect("own certificate expired", &grounds.by(own), &checks, "Renew it");
}

fn clusters(rounds: &mut Rounds<'_>) {
    let grounds = rounds.grounds;
    let wrong = grounds.by(grounds.login((PLAIN_USER.0, "wrong"), TOPIC));
    rounds.expect("wrong password", &wrong, &["kafka.login"], "password");
    let stranger = |topic: &str| grounds.by(grounds.login(STRANGER, topic));
    rounds.expect("no right at all", &stranger(TOPIC), &["topic.describe"], "DESCRIBE");
    grounds.kafka.grant_describe(STRANGER.0, TOPIC).unwrap();
    rounds.expect("no right to write", &stranger(TOPIC), &["topic.write"], "Grant WRITE");
    let missing = grounds.by(grounds.login(PLAIN_USER, "no-such-topic"));
    rounds.expect("no topic", &missing, &["topic.exists"], "Create the topic");
    let few = grounds.topic("in-sync", "min.insync.replicas", "2");
    rounds.expect("too few replicas", &few, &["topic.min-insync-replicas"], "replication factor");
    let small = grounds.topic("small", "max.message.bytes", "1000");
    rounds.expect("small records only", &small, &["topic.max-message-bytes"], "max.message.bytes");
    let compacted = grounds.topic("compacted", "cleanup.policy", "compact");
    rounds.expect("compacted", &compacted, &["topic.cleanup-policy"], "cleanup.policy");
    let mut short = grounds.topic("short", "retention.ms", "3600000");
    short.config.push_str("[destination.topics]\noutage_budget = \"1d\"\n");
    rounds.expect("short retention", &short, &["topic.retention"], "retention.ms");
    grounds.topic("tiny", "max.message.bytes", "10");
    rounds.expect("refused record", &grounds.probing("tiny"), &["probe.round-trip"], "no better");
    for (what, topic, found) in
        [("no topic for all nodes", "no-such-topic", "not exist"), ("one that forgets", TOPIC, "delete")]
    {
        let visit = grounds.by(grounds.login(PLAIN_USER, TOPIC) + &shared_by(topic));
        let told = grounds.examine(&visit).0.into_iter().find(|one| one["check"] == "config.topic").unwrap();
        assert!(told["what"].as_str().unwrap().contains(found), "{told}");
        rounds.expect(what, &visit, &["config.topic"], "cleanup.policy=compact");
    }
    let wrong_clock = Visit { wrapper: with_wrong_clock(grounds), ..grounds.probing(PROBE) };
    rounds.expect("wrong clock", &wrong_clock, &["clock.skew"], "time service");
}

/// A command line that starts a program whose clock is wrong, by a library of its own before libc's.
fn with_wrong_clock(grounds: &Grounds) -> Vec<String> {
    let source = grounds.write(
        "clock.c",
        "#define _GNU_SOURCE\n#include <dlfcn.h>\n#include <time.h>\n\
         int clock_gettime(clockid_t id, struct timespec *t) {\n\
           int (*real)(clockid_t, struct timespec *) = dlsym(RTLD_NEXT, \"clock_gettime\");\n\
           int result = real(id, t);\n\
           if (id == CLOCK_REALTIME) t->tv_sec -= SKEW;\n\
           return result;\n\
         }\n",
    );
    let library = grounds.path("clock.so").display().to_string();
    let mut compiler = Command::new("cc");
    compiler.args(["-shared", "-fPIC", &format!("-DSKEW={SKEW_S}"), "-o", &library, &source, "-ldl"]);
    xtask::tool::run_silently(&mut compiler).unwrap();
    vec!["env".to_owned(), format!("LD_PRELOAD={library}")]
}

fn journals(rounds: &mut Rounds<'_>) {
    let grounds = rounds.grounds;
    let nowhere = grounds.of(&grounds.path("nowhere"));
    rounds.expect("no journal", &nowhere, &["journal.directory"], "`journal-dir`");
    let open = grounds.copied("open");
    let segment = segments(&open.journal).remove(0);
    fs::set_permissions(&segment, fs::Permissions::from_mode(0o644)).unwrap();
    rounds.expect("readable by all", &open, &["journal.mode"], "chmod");
    let foreign = grounds.copied("foreign");
    chown(&segments(&foreign.journal)[0], Some(12_345), None).unwrap();
    rounds.expect("another's file", &foreign, &["journal.owner"], "chown");
    let damaged = grounds.copied("damaged");
    damage(&segments(&damaged.journal)[0]);
    rounds.expect("damaged", &damaged, &["journal.damage"], "journal check");
    let held = grounds.copied("held");
    fs::write(held.journal.join("slot-0/default.held.jsonl"), "{}\n").unwrap();
    fs::set_permissions(held.journal.join("slot-0/default.held.jsonl"), fs::Permissions::from_mode(0o600))
        .unwrap();
    rounds.expect("held events", &held, &["journal.in-doubt"], "in-doubt ls");
    let abandoned = grounds.copied("abandoned");
    fs::remove_file(abandoned.journal.join("slot-0/default.checkpoint")).unwrap();
    rounds.expect("nobody ships it", &abandoned, &["agent.running"], "keyferry run");
}

fn segments(journal: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(journal.join("slot-0")).unwrap();
    let mut segments: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    segments.retain(|path| path.extension().is_some_and(|extension| extension == "kfj"));
    segments.sort();
    segments
}

/// Flips a bit of an event in the middle of it. (That of a COMMIT would make a transaction in doubt as well, which somebody would have to ship.)
fn damage(segment: &Path) {
    let mut bytes = fs::read(segment).unwrap();
    let middle = bytes.len() / 2;
    let word = b"LOGIN";
    let of_event = bytes[middle..].windows(word.len()).position(|window| window == word).unwrap();
    bytes[middle + of_event] ^= 1;
    fs::write(segment, bytes).unwrap();
}

fn disks(rounds: &mut Rounds<'_>) {
    let grounds = rounds.grounds;
    let place = grounds.path("read-only");
    fs::create_dir(&place).unwrap();
    copy(&grounds.path("delivered"), &place.join("journal"));
    let mounted = |arguments: &[&str]| {
        Command::new("mount").args(arguments).arg(&place).status().is_ok_and(|status| status.success())
    };
    if !mounted(&["--bind", place.to_str().unwrap()]) {
        println!("nothing can be mounted here: faults of disks are left out");
        return;
    }
    let _mount = Mounted(&place);
    assert!(mounted(&["-o", "remount,bind,ro"]));
    rounds.expect("read-only", &grounds.of(&place.join("journal")), &["journal.writable"], "for writing");
    let Some(memory) = SmallDisk::mount(&grounds.path("memory"), 1024).unwrap() else { return };
    let in_memory = grounds.of(&memory.place().join("journal"));
    copy(&grounds.path("delivered"), &in_memory.journal);
    rounds.expect("in memory", &in_memory, &["disk.kind"], "local disk");
    let crowded = SmallDisk::mount_for_files(&grounds.path("crowded"), 64).unwrap().unwrap();
    let on_crowded = grounds.of(&crowded.place().join("journal"));
    copy(&grounds.path("delivered"), &on_crowded.journal);
    rounds.expect("few files more", &on_crowded, &["disk.inodes", "disk.kind"], "more inodes");
    let full = SmallDisk::mount(&grounds.path("full"), 8).unwrap().unwrap();
    let on_full = grounds.of(&full.place().join("journal"));
    copy(&grounds.path("delivered"), &on_full.journal);
    full.fill().unwrap();
    rounds.expect("full disk", &on_full, &["disk.space", "disk.kind"], "Make room");
}

/// Unmounted when it is dropped.
struct Mounted<'a>(&'a Path);

impl Drop for Mounted<'_> {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(self.0).status();
    }
}

fn machines(rounds: &mut Rounds<'_>) {
    let grounds = rounds.grounds;
    let shell = ["sh", "-c", "ulimit -n 128; exec \"$@\"", "sh"].map(str::to_owned).to_vec();
    let few_files = Visit { wrapper: shell, ..grounds.copied("few-files") };
    rounds.expect("few open files", &few_files, &["machine.open-files"], "ulimit -n");
    let root = grounds.path("root");
    write_below(&root, "proc/self/cgroup", "0::/\n");
    write_below(&root, "sys/fs/cgroup/memory.max", "33554432\n");
    let mut tight = grounds.copied("tight");
    tight.arguments.extend(["--root".to_owned(), root.display().to_string()]);
    rounds.expect("little memory", &tight, &["machine.memory"], "memory limit");
    let root = grounds.path("enterprise");
    write_below(
        &root,
        "lib/libc.so.6",
        "GNU C Library (GNU libc) stable release version 2.17, by Roland McGrath et al.\n",
    );
    let mapped = root.join("lib/libc.so.6").display().to_string();
    write_below(&root, "proc/self/maps", &format!("7f00-7f01 r-xp 00000000 08:01 42 {mapped}\n"));
    let mut old = grounds.copied("old-machine");
    old.arguments.extend(["--root".to_owned(), root.display().to_string()]);
    rounds.expect("old C library", &old, &["machine.glibc"], "glibc 2.28");
}

fn agents(rounds: &mut Rounds<'_>) {
    let grounds = rounds.grounds;
    let ferry = &grounds.ferry;
    let pid = ferry.agent.pid().unwrap();
    process::signal(pid, Signal::STOP).unwrap();
    rounds.expect("stopped process", &grounds.visit(), &["agent.answers"], "It hangs");
    process::signal(pid, Signal::CONT).unwrap();
    let order = |word: &str| {
        let mut breaker = Command::new(ferry.agent.executable());
        breaker.arg("breaker").arg(ferry.agent.slot()).arg(word);
        xtask::tool::run_silently(&mut breaker).unwrap();
    };
    order("open");
    wait_for(grounds, &grounds.visit(), |wrong| wrong.contains("agent.breaker"));
    rounds.expect("breaker forced open", &grounds.visit(), &["agent.breaker"], "keyferry breaker DIR auto");
    let set = |values: &[&str]| {
        let mut config = Command::new(ferry.agent.executable());
        config.args(["config", "set"]).arg(ferry.agent.slot()).args(values);
        xtask::tool::run_silently(&mut config).unwrap();
    };
    set(&["backpressure.elevated_backlog=1KiB"]);
    ferry.traffic.resume();
    wait_for(grounds, &grounds.visit(), |wrong| wrong.contains("agent.backlog"));
    let checks = ["agent.backlog", "agent.breaker"];
    rounds.expect("backlog", &grounds.visit(), &checks, "give the journal more room");
    set(&["--unset", "backpressure.elevated_backlog"]);
    // It closes when a record has got through.
    order("auto");
    wait_for(grounds, &grounds.visit(), |wrong| wrong.is_empty());
    let sound = fs::read_to_string(ferry.directory().join("keyferry.toml")).unwrap();
    ferry.agent.configure(&(plain(&grounds.kafka.plain_servers(), TOPIC) + "topic_evnts = \"x\"\n")).unwrap();
    wait_for(grounds, &grounds.visit(), |wrong| wrong.contains("config.in-use"));
    rounds.expect("file that is not taken up", &grounds.visit(), &["config.in-use"], "takes it up by itself");
    ferry.agent.configure(&sound).unwrap();
    wait_for(grounds, &grounds.visit(), |wrong| wrong.is_empty());
    // The last, because an agent never forgets what it has laid aside.
    grounds.kafka.configure_topic(TOPIC, "max.message.bytes", "100").unwrap();
    wait_for(grounds, &grounds.visit(), |wrong| wrong.contains("agent.dead-letters"));
    ferry.traffic.pause();
    grounds.kafka.configure_topic(TOPIC, "max.message.bytes", "1048588").unwrap();
    wait_for(grounds, &grounds.visit(), |wrong| wrong.len() == 1);
    rounds.expect("dead letters", &grounds.visit(), &["agent.dead-letters"], "dead-letter retry");
}

/// Waits until an examination finds what `is_so` tells of: agents and brokers take a moment to change.
fn wait_for(grounds: &Grounds, visit: &Visit, mut is_so: impl FnMut(&BTreeSet<&str>) -> bool) {
    wait::until("what was planted shows", LIMIT, || is_so(&grounds.examine(visit).wrong()).then_some(()))
        .unwrap();
}
