//! The real binary, with a secret in each place where one may stand: none of them comes out anywhere.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking, also in its helpers")]

use std::fs;
use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

const CANARY: &str = "zQ9xCanaryKv7w";

/// Long enough for librdkafka to be refused and to say so.
const LIFE: Duration = Duration::from_millis(1_500);

/// An answer is there at once.
const ANSWER_LIMIT: Duration = Duration::from_secs(30);

/// What the agent with its socket in `slot` answers to a GET, of a stream the first event; nothing where there is no agent.
fn get(slot: &Path, path: &str) -> Vec<u8> {
    let (mut answer, mut piece) = (Vec::new(), [0; 65_536]);
    if let Ok(mut socket) = UnixStream::connect(slot.join("agent.sock")) {
        socket.set_read_timeout(Some(ANSWER_LIMIT)).unwrap();
        write!(socket, "GET {path} HTTP/1.1\r\nHost: agent\r\nConnection: close\r\n\r\n").unwrap();
        while !is_event_of_stream(&answer) {
            match socket.read(&mut piece).unwrap() {
                0 => break,
                length => answer.extend_from_slice(&piece[..length]),
            }
        }
    }
    answer
}

/// Whether it is a stream, which does not end by itself, with a whole event in it.
fn is_event_of_stream(answer: &[u8]) -> bool {
    let text = String::from_utf8_lossy(answer);
    let event = text.split_once("text/event-stream").and_then(|(_, rest)| rest.split_once("data: "));
    event.is_some_and(|(_, event)| event.contains("\n\n"))
}

/// What it answers to every GET that its own description names.
fn everything_answered(slot: &Path) -> Vec<u8> {
    let description = get(slot, "/api/v1/openapi.json");
    let Some(body) = description.windows(4).position(|end| end == b"\r\n\r\n") else { return Vec::new() };
    let description: serde_json::Value = serde_json::from_slice(&description[body + 4..]).unwrap();
    let paths = description["paths"].as_object().unwrap().iter();
    let paths = paths.filter(|(_, operations)| operations.get("get").is_some());
    let answers: Vec<_> = paths.map(|(path, _)| get(slot, &path.replace("{name}", "default"))).collect();
    assert!(answers.len() > 8, "only {} paths are described", answers.len());
    assert!(answers.iter().any(|answer| is_event_of_stream(answer)), "the stream is not among them");
    answers.concat()
}

/// Everything that an agent with this configuration lets out in its life: both outputs, its command line, what it answers, and what it leaves in its journal; and
/// what a tool says that is given the configuration.
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
    let mut tool = Command::new(env!("CARGO_BIN_EXE_keyferry"));
    tool.args(["verify", "--timeout", "1", "--config"]).arg(&configuration);
    tool.env("RUST_LOG", "trace").envs(variables.iter().copied());
    let tool = tool.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    thread::sleep(LIFE);
    let command_line = fs::read(format!("/proc/{id}/cmdline")).unwrap_or_default();
    let answered = everything_answered(&journal.join("slot-0"));
    agent.kill().unwrap();
    let output = agent.wait_with_output().unwrap();
    let tool = tool.wait_with_output().unwrap();
    let mut all = [output.stdout, output.stderr, command_line, answered, tool.stdout, tool.stderr].concat();
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
    let mut answered = 0;
    for (security, variables) in cases {
        let let_out = everything_let_out(place, &security, &variables);
        assert!(!let_out.is_empty(), "nothing was looked at");
        answered += usize::from(let_out.contains("/api/v1/openapi.json"));
        assert!(!let_out.contains("zQ9x") && !let_out.contains("Kv7w"), "{security}: {let_out}");
    }
    // Not every agent lives until it is asked: some of these configurations are refused.
    assert!(answered >= 4, "only {answered} agents have answered");
}

/// How a shell ends that may dump its core, becomes `program`, and is told to abort.
fn aborted(place: &Path, program: &str) -> std::process::ExitStatus {
    let mut shell = Command::new("sh");
    shell.args(["-c", &format!("ulimit -c unlimited; exec {program}")]).current_dir(place);
    let mut process = shell.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    thread::sleep(LIFE);
    let pid = rustix::process::Pid::from_child(&process);
    rustix::process::kill_process(pid, rustix::process::Signal::ABORT).unwrap();
    process.wait().unwrap()
}

#[test]
fn no_core_of_the_agent_is_dumped() {
    let directory = tempfile::tempdir().unwrap();
    let place = directory.path();
    if !aborted(place, "sleep 600").core_dumped() {
        println!("this machine dumps nobody's core: nothing is shown");
        return;
    }
    fs::create_dir_all(place.join("slot-0")).unwrap();
    fs::write(
        place.join("keyferry.toml"),
        "[destination]\nbootstrap_servers = [\"127.0.0.1:1\"]\ntopic_events = \"e\"\n",
    )
    .unwrap();
    let agent = format!("{} run --slot slot-0 --config keyferry.toml", env!("CARGO_BIN_EXE_keyferry"));
    let status = aborted(place, &agent);
    assert_eq!((status.signal(), status.core_dumped()), (Some(6), false));
}
