//! The real binary, with a secret in each place where one may stand: none of them comes out anywhere.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking, also in its helpers")]

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

const CANARY: &str = "zQ9xCanaryKv7w";

/// Long enough for librdkafka to be refused and to say so.
const LIFE: Duration = Duration::from_millis(1_500);

/// Everything that an agent with this configuration lets out in its life: both outputs, its command line, and what it leaves in its journal.
fn everything_let_out(place: &Path, security: &str, variables: &[(&str, &str)]) -> String {
    let journal = place.join("journal");
    fs::create_dir_all(journal.join("slot-0")).unwrap();
    let configuration = place.join("keyferry.toml");
    let text =
        format!("[destination]\nbootstrap_servers = [\"127.0.0.1:1\"]\ntopic_events = \"e\"\n{security}");
    fs::write(&configuration, text).unwrap();
    let mut agent = Command::new(env!("CARGO_BIN_EXE_keyferry"));
    agent.arg("run").arg("--slot").arg(journal.join("slot-0")).arg("--config").arg(&configuration);
    agent.env("RUST_LOG", "trace").envs(variables.iter().copied());
    let mut agent = agent.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let id = agent.id();
    thread::sleep(LIFE);
    let command_line = fs::read(format!("/proc/{id}/cmdline")).unwrap_or_default();
    agent.kill().unwrap();
    let output = agent.wait_with_output().unwrap();
    let mut all = [output.stdout, output.stderr, command_line].concat();
    for entry in fs::read_dir(journal.join("slot-0")).unwrap().flatten() {
        all.extend(fs::read(entry.path()).unwrap_or_default());
    }
    String::from_utf8_lossy(&all).into_owned()
}

#[test]
fn no_secret_comes_out_of_the_agent_wherever_it_stands() {
    let directory = tempfile::tempdir().unwrap();
    let place = directory.path();
    let file = place.join("secret");
    fs::write(&file, CANARY).unwrap();
    let sasl = |lines: &str| {
        format!("[destination.security]\nprotocol = \"SASL_PLAINTEXT\"\n[destination.security.sasl]\n{lines}")
    };
    let plain = |password: &str| {
        sasl(&format!("mechanism = \"PLAIN\"\nusername = \"u\"\npassword = \"{password}\"\n"))
    };
    let jaas = format!("PlainLoginModule required username=u password=\"{CANARY}\";");
    let broken = format!("PlainLoginModule required username=u password=\"{CANARY}");
    let cases: Vec<(String, Vec<(&str, &str)>)> = vec![
        (plain(CANARY), vec![]),
        (plain("${env:SECRET}"), vec![("SECRET", CANARY)]),
        (plain(&format!("${{file:{}}}", file.display())), vec![]),
        (sasl(""), vec![("KAFKA_SASL_JAAS_CONFIG", &jaas)]),
        (sasl(""), vec![("KAFKA_SASL_JAAS_CONFIG", &broken)]),
        (
            sasl(&format!(
                "mechanism = \"OAUTHBEARER\"\ntoken_endpoint = \"http://127.0.0.1:1/\"\nclient_id = \"c\"\nclient_secret = \"{CANARY}\"\n"
            )),
            vec![],
        ),
        (format!("[destination.security]\nprotocol = {CANARY}\n"), vec![]),
        ("[destination.delivery]\nlinger = \"${env:SECRET}\"\n".to_owned(), vec![("SECRET", CANARY)]),
        (format!("[destination.librdkafka]\n\"sasl.password\" = \"{CANARY}\"\n"), vec![]),
        (format!("[destination.librdkafka]\n\"ssl.key.pem\" = \"{CANARY}\"\n"), vec![]),
    ];
    for (security, variables) in cases {
        let let_out = everything_let_out(place, &security, &variables);
        assert!(!let_out.is_empty(), "nothing was looked at");
        assert!(!let_out.contains("zQ9x") && !let_out.contains("Kv7w"), "{security}: {let_out}");
    }
}
