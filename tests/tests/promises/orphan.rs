//! A child whose parent was killed: nobody reads its log any more, and it delivers and ends all the same.

use std::io::Write as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use keyferry_tests::agent;
use keyferry_tests::consumer::Consumer;
use keyferry_tests::journal::{Journal, NODE};
use keyferry_tests::kafka::Kafka;
use keyferry_tests::proxy::Link;
use keyferry_tests::stage::{ADMIN_EVENTS, EVENTS, jar};
use keyferry_tests::{audit, wait};
use serde_json::json;

const SEGMENT: u64 = 64 * 1024;
const TRANSACTIONS: u64 = 500;
/// How long the agent has something to complain of, in a log that nobody reads.
const COMPLAINTS: Duration = Duration::from_secs(3);
const DELIVERY_LIMIT: Duration = Duration::from_secs(60);
const END_LIMIT: Duration = Duration::from_secs(60);

/// An agent that this process is the parent of, and that does not outlive the test.
struct Orphan(Child);

impl Orphan {
    /// Starts it as the provider does, and stops reading its log.
    fn start(executable: &Path, slot: &Path, bootstrap_servers: &str) -> Self {
        let hand_over = json!({
            "version": 1,
            "slot": slot,
            "node": NODE,
            "provider": "test",
            "keycloak": "test",
            "options": {
                "bootstrap-servers": bootstrap_servers,
                "topic-events": EVENTS,
                "topic-admin-events": ADMIN_EVENTS,
            },
        });
        let mut command = Command::new(executable);
        command.args(["run", "--child"]).env_remove("KEYFERRY_CACHE");
        command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut agent = Self(command.spawn().unwrap());
        writeln!(agent.0.stdin.as_mut().unwrap(), "{hand_over}").unwrap();
        drop(agent.0.stderr.take());
        agent
    }

    /// As the kernel does for a parent that is gone.
    fn let_go(&mut self) {
        drop(self.0.stdin.take());
    }
}

impl Drop for Orphan {
    fn drop(&mut self) {
        // It has ended by itself, or the test has failed.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn an_agent_whose_log_nobody_reads_delivers_and_ends_with_its_parent() {
    let directory = tempfile::tempdir().unwrap();
    let kafka = Kafka::start_with_topics(directory.path()).unwrap();
    let executable = agent::unpack(&jar().unwrap(), directory.path()).unwrap();
    let mut journal = Journal::begin(&directory.path().join("journal"), "event", SEGMENT).unwrap();
    journal.write(TRANSACTIONS).unwrap();

    kafka.proxy().set(Link::Cut);
    let mut orphan = Orphan::start(&executable, journal.slot(), &kafka.proxied_bootstrap_servers());
    thread::sleep(COMPLAINTS);
    assert_eq!(orphan.0.try_wait().unwrap(), None, "the agent ended because nobody read its log");
    kafka.proxy().set(Link::Up);
    let mut events = Consumer::new(&kafka.bootstrap_servers(), EVENTS).unwrap();
    let count = journal.written().committed();
    let records = events
        .wait_until("the arrival of everything", DELIVERY_LIMIT, |records| audit::distinct(records) >= count)
        .unwrap();
    assert_eq!(journal.written().judge(records), Vec::<String>::new());

    orphan.let_go();
    let status =
        wait::try_until("the end of the agent", END_LIMIT, || Ok(orphan.0.try_wait().unwrap())).unwrap();
    assert_eq!(status.code(), Some(0), "{status}");
}
