//! A real agent's API, asked all that its own OpenAPI document allows and much that it forbids, by Schemathesis: with every token and with none.

use std::fs;
use std::process::Command;

use keyferry_tests::ferry::{Ferry, Plan};
use keyferry_tests::{kafka, port};
use serde_json::Value;
use xtask::cache::Cache;
use xtask::{parts, workspace};

const ADMIN: &str = "a token that nobody guesses";
const VIEWER: &str = "another that nobody guesses";
/// Whatever is answered is in the document, and none of it is a fault of the server's.
const CHECKS: &str =
    "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance";

/// A real agent, and what asks it.
struct Questions<'a> {
    ferry: &'a Ferry,
    port: u16,
}

impl Questions<'_> {
    /// Asks as the bearer of a token, or of none that is known, and answers how many questions there were. The stream has no end, and an agent that is not ready answers 503.
    fn ask(&self, token: Option<&str>, phases: &str, most: &str) -> u64 {
        let packages = parts::schemathesis(&Cache::from_environment().unwrap()).unwrap();
        let mut command = Command::new("python3");
        command.args(["-m", "schemathesis.cli", "--no-color", "run"]).env("PYTHONPATH", packages);
        command.arg(workspace::root().join("docs/openapi.json"));
        command.args(["--url", &format!("http://127.0.0.1:{}", self.port)]);
        command.args(["--phases", phases, "--seed", "1", "--max-examples", most]);
        command.args([
            "--generation-database",
            "none",
            "--suppress-health-check",
            "all",
            "--warnings",
            "off",
        ]);
        command.args(["--exclude-path", "/api/v1/stream", "--exclude-path", "/readyz", "--checks", CHECKS]);
        if let Some(token) = token {
            command.args(["--header", &format!("Authorization: Bearer {token}")]);
            command.args(["--generation-with-security-parameters", "false"]);
        }
        let output = command.current_dir(self.ferry.directory()).output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{said}");
        let sum = said.lines().find_map(|line| line.trim().split_once(" generated")?.0.parse().ok());
        sum.unwrap_or_else(|| panic!("{said}"))
    }

    /// Whoever changed something, as the agent's log has it.
    fn changes(&self) -> Vec<String> {
        let log = fs::read_to_string(self.ferry.agent.log()).unwrap();
        log.lines().filter(|line| line.contains(" changed ")).map(ToOwned::to_owned).collect()
    }

    /// What the command line says.
    fn keyferry(&self, words: &[&str], more: &[&str]) -> Value {
        let agent = &self.ferry.agent;
        let output =
            Command::new(agent.executable()).args(words).arg(agent.slot()).args(more).output().unwrap();
        assert!(output.status.success(), "{words:?}: {}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice(&output.stdout).unwrap_or_default()
    }
}

#[test]
fn whatever_is_asked_is_answered_as_documented_and_nothing_is_changed_without_a_role() {
    let kafka = kafka::shared().unwrap();
    let topic = kafka::fresh_topic("api");
    kafka.create_topic(&topic, kafka::PARTITIONS).unwrap();
    let port = port::free().unwrap();
    let settings = format!(
        "[api]\nlisten = \"127.0.0.1:{port}\"\nrequests_per_second = 100000\n[api.tokens]\nadmin = [\"fuzz={ADMIN}\"]\nviewer = [\"look={VIEWER}\"]\n[config]\nprobation = \"0s\"\n"
    );
    let servers = kafka.bootstrap_servers();
    let ferry = Plan::new(&servers, &servers, &topic).settings(&settings).start().unwrap();
    let questions = Questions { ferry: &ferry, port };

    for (who, token) in [("a viewer", Some(VIEWER)), ("somebody", None)] {
        println!("{who} has asked {} questions", questions.ask(token, "fuzzing", "3"));
        assert_eq!(questions.changes(), Vec::<String>::new());
    }
    let version = || questions.keyferry(&["config", "show"], &["--json"])["version"]["version"].clone();
    assert_eq!(version(), 1);

    println!("an admin has asked {} questions", questions.ask(Some(ADMIN), "examples,coverage,fuzzing", "5"));
    let changes = questions.changes();
    let is_admins = |line: &String| line.contains("the bearer of `fuzz`");
    assert!(!changes.is_empty() && changes.iter().all(is_admins), "{changes:#?}");

    questions.keyferry(&["breaker"], &["auto"]);
    ferry.wait_for_delivery().unwrap();
    ferry.settle().unwrap();
}
