//! `keyferry top` on a running agent: one picture, and a terminal that is taken and given back.

#![allow(clippy::unwrap_used, reason = "tests")]

mod support;

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use support::running::{Agent, begin, cluster, commit, delivered, until};
use support::{keyferry, transcript};

fn top(slot: &Path, further: &[&str]) -> String {
    let arguments = [&["top", slot.to_str().unwrap()], further].concat();
    transcript(&keyferry(Path::new("/"), &arguments).output().unwrap())
}

#[test]
fn one_picture_tells_what_the_agent_does() {
    let (cluster, journal) = (cluster(), tempfile::tempdir().unwrap());
    let servers = cluster.bootstrap_servers();
    let (mut writer, slot) = begin(journal.path(), 0);
    let nobody = top(&slot, &["--once"]);
    assert!(nobody.contains("no agent is running") && nobody.contains("exit code 2"), "{nobody}");
    let agent = Agent::start(journal.path(), &servers, &["--slot", slot.to_str().unwrap()]);
    commit(&mut writer, &["a-1", "a-2"]);
    until("everything is delivered", || (delivered(&servers).len() == 2).then_some(()));
    let refused = top(&slot, &[]);
    assert!(
        refused.contains("no terminal") && refused.contains("--once") && refused.contains("exit code 2"),
        "{refused}"
    );
    let picture = until("the counts are told", || {
        let picture = top(&slot, &["--once"]);
        (picture.contains("active") && picture.contains("idle")).then_some(picture)
    });
    println!("{picture}");
    for told in
        ["delivering\n", "received 0.0/s", "DESTINATIONS", "default", "CONNECTIONS", "TUNER", "exit code 0"]
    {
        assert!(picture.contains(told), "{told}: {picture}");
    }
    assert!(!picture.contains('\x1b'), "a pipe gets no colours");
    let json = top(&slot, &["--once", "--json"]);
    let json: Value = serde_json::from_str(json.strip_suffix("exit code 0\n").unwrap()).unwrap();
    assert_eq!(
        json["snapshot"]["status"]["about"],
        Value::Null,
        "the process stands beside its destinations"
    );
    assert_eq!(json["snapshot"]["status"]["pid"], agent.0.id());
    assert_eq!(
        (&json["snapshot"]["figures"]["published"], &json["rates"]["published"]),
        (&2.into(), &0.0.into())
    );
    assert_eq!(agent.stop(), Some(0));
}

/// `keyferry top` on a terminal of 60 columns that `script` makes.
struct OnTerminal {
    script: Child,
    directory: PathBuf,
}

impl OnTerminal {
    fn start(directory: &Path, slot: &Path) -> Self {
        let program = env!("CARGO_BIN_EXE_keyferry");
        let slot = slot.display();
        let shell = format!(
            "stty cols 60 rows 24; stty -g >before; sh -c 'echo $$ >pid; exec \"{program}\" top \"{slot}\"'; echo $? >code; stty -g >after"
        );
        let mut command = Command::new("script");
        command.args(["-q", "-f", "-c", &shell, "drawn"]).current_dir(directory);
        command
            .env("TERM", "xterm-256color")
            .env_remove("NO_COLOR")
            .stdin(Stdio::piped())
            .stdout(Stdio::null());
        Self { script: command.spawn().unwrap(), directory: directory.to_owned() }
    }

    fn read(&self, file: &str) -> String {
        String::from_utf8_lossy(&fs::read(self.directory.join(file)).unwrap_or_default()).into_owned()
    }

    fn wait_for(&self, drawn: &str) {
        until(drawn, || self.read("drawn").contains(drawn).then_some(()));
    }

    /// That the terminal is as it was before, with what was on it.
    fn assert_given_back(&mut self) {
        until("it ends", || self.script.try_wait().unwrap());
        assert_eq!(self.read("code"), "0\n", "{}", self.read("drawn"));
        assert!(self.read("before").len() > 10);
        assert_eq!(self.read("before"), self.read("after"));
        let drawn = self.read("drawn");
        let at = |sequence: &str| {
            drawn.rfind(sequence).unwrap_or_else(|| panic!("{sequence:?} is not in {drawn:?}"))
        };
        assert!(at("\x1b[?1049h") < at("\x1b[?1049l") && at("\x1b[?25l") < at("\x1b[?25h"));
        assert!(at("\x1b[?2026h\x1b[H") < at("\x1b[?1049l"), "nothing is drawn afterwards");
        assert!(!drawn.contains("\x1b[2J"), "it flickers");
    }
}

#[test]
fn a_terminal_is_given_back_as_it_was() {
    let (cluster, journal) = (cluster(), tempfile::tempdir().unwrap());
    let servers = cluster.bootstrap_servers();
    let (_writer, slot) = begin(journal.path(), 0);
    let agent = Agent::start(journal.path(), &servers, &["--slot", slot.to_str().unwrap()]);
    until("the agent answers", || top(&slot, &["--once"]).contains("exit code 0").then_some(()));
    let places = ["by-key", "by-signal"].map(|name| journal.path().join(name));
    places.iter().for_each(|place| fs::create_dir(place).unwrap());

    let mut terminal = OnTerminal::start(&places[0], &slot);
    terminal.wait_for("DESTINATIONS");
    terminal.wait_for("q ends");
    terminal.script.stdin.as_mut().unwrap().write_all(b"\x1b[Bq").unwrap();
    terminal.assert_given_back();

    let mut terminal = OnTerminal::start(&places[1], &slot);
    terminal.wait_for("DESTINATIONS");
    let pid: i32 = terminal.read("pid").trim().parse().unwrap();
    kill_process(Pid::from_raw(pid).unwrap(), Signal::TERM).unwrap();
    terminal.assert_given_back();

    // An agent that goes away is told of, and what was known stays.
    let place = journal.path().join("by-end");
    fs::create_dir(&place).unwrap();
    let mut terminal = OnTerminal::start(&place, &slot);
    terminal.wait_for("DESTINATIONS");
    assert_eq!(agent.stop(), Some(0));
    terminal.wait_for("no answer since then");
    terminal.script.stdin.as_mut().unwrap().write_all(b"q").unwrap();
    terminal.assert_given_back();
}
