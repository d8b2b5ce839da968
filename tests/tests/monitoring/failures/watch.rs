//! What is seen of one failure, from its cause to the notice of its end.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use keyferry_tests::alertmanager::Alertmanager;
use keyferry_tests::receiver::{Received, Receiver};
use keyferry_tests::wait;
use serde_json::Value;
use tempfile::TempDir;

/// Longer than any machine takes: a wait ends long before, or something is wrong.
const LIMIT: Duration = Duration::from_secs(120);

/// A failure, and what is to follow from it.
#[derive(Debug, Clone, Copy)]
pub struct Failure {
    /// Its name, which every alert of its agent has as the label `failure`.
    pub name: &'static str,
    /// What happens, in a few words.
    pub cause: &'static str,
    /// The rule that tells of it.
    pub alert: &'static str,
    /// What may be done about it.
    pub allow: &'static str,
    /// What the playbook does about it, as in `alerts.toml`.
    pub action: Option<&'static str>,
    /// Further lines of `alerts.toml`: rules whose times are those of hours, with times of seconds.
    pub rules: &'static str,
}

/// Those who are told by every agent.
pub struct Audience {
    hook: Receiver,
    mail: Receiver,
    alertmanager: Alertmanager,
    directory: TempDir,
}

/// What was seen.
#[derive(Debug)]
pub struct Seen {
    failure: Failure,
    /// From the cause to the notice.
    told: Duration,
    /// What was done about it, and how that went.
    actions: Vec<String>,
    /// From the end of the cause until delivery went on.
    recovered: Option<Duration>,
    /// From the end of the cause to the notice of the end.
    ended: Duration,
}

impl Seen {
    /// What was done about it, and how that went.
    pub fn actions(&self) -> &[String] {
        &self.actions
    }

    fn row(&self) -> String {
        let Self { failure: Failure { cause, alert, .. }, told, actions, recovered, ended } = self;
        let actions = if actions.is_empty() { "–".to_owned() } else { actions.join(", ") };
        let recovered = recovered.map_or("–".to_owned(), seconds);
        let (told, ended) = (seconds(*told), seconds(*ended));
        format!("| {cause} | `{alert}` | {told} | {actions} | {recovered} | {ended} |\n")
    }
}

impl Audience {
    /// Nobody is told anything yet.
    pub fn gather() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let alertmanager = Alertmanager::start(directory.path()).unwrap();
        Self { hook: Receiver::http().unwrap(), mail: Receiver::smtp().unwrap(), alertmanager, directory }
    }

    /// A directory for whatever a failure needs.
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// Writes the file of alerts of the agent to which `failures` of one name happen, and answers where it is.
    pub fn inform(&self, failures: &[Failure]) -> PathBuf {
        let name = failures[0].name;
        let playbook = |Failure { alert, action, .. }: &Failure| {
            let action = (*action)?;
            Some(format!(
                "{{ name = \"heal\", match = {{ alertname = \"{alert}\" }}, actions = [{{ {action} }}] }}"
            ))
        };
        let playbooks: Vec<_> = failures.iter().filter_map(playbook).collect();
        let alerts: Vec<_> = failures.iter().map(|failure| failure.alert).collect();
        let rules: String = failures.iter().map(|failure| failure.rules).collect();
        let text = format!(
            r#"environment = "test"
            inhibit = []
            playbook = [{}]
            labels = {{ failure = "{name}" }}
            [incidents]
            severity = "warning"
            allow = ["{}"]
            [[channel]]
            name = "hook"
            webhook.url = "http://127.0.0.1:{}/"
            [[channel]]
            name = "mail"
            email = {{ host = "127.0.0.1", port = {}, tls = "none", from = "agent@example.org", to = ["ops@example.org"] }}
            [[channel]]
            name = "alertmanager"
            alertmanager.url = "{}"
            [[route]]
            match = {{ alertname = "{}" }}
            channels = ["hook", "mail", "alertmanager"]
            {rules}"#,
            playbooks.join(", "),
            failures[0].allow,
            self.hook.port(),
            self.mail.port(),
            self.alertmanager.address(),
            alerts.join("|"),
        );
        let path = self.directory.path().join(format!("{name}.toml"));
        fs::write(&path, text).unwrap();
        path
    }

    /// Watches a failure: `inject` brings its cause about; `mend` takes it away, and says how long delivery took then to go on. `agent` is the agent's
    /// executable and its slot.
    pub fn watch(
        &self,
        failure: Failure,
        agent: (&Path, &Path),
        inject: impl FnOnce(),
        mend: impl FnOnce() -> Option<Duration>,
    ) -> Seen {
        // What was told of the agent's beginning, when its topic was new to the broker, is another matter.
        let before = [&self.hook, &self.mail].map(|receiver| receiver.received().len());
        inject();
        let begun = Instant::now();
        self.notice(&failure, "firing", before);
        let told = begun.elapsed();
        self.wait_for_alertmanager(&failure, true);
        self.wait_for_mail(&failure, "firing", before);
        if failure.action.is_some() {
            wait::until(&format!("{}: what the playbook does", failure.name), LIMIT, || {
                actions(agent, &failure).iter().any(|action| !action.ends_with(": ordered")).then_some(())
            })
            .unwrap();
        }
        let before = [&self.hook, &self.mail].map(|receiver| receiver.received().len());
        let mended = Instant::now();
        let recovered = mend();
        self.notice(&failure, "resolved", before);
        let ended = mended.elapsed();
        self.wait_for_alertmanager(&failure, false);
        self.wait_for_mail(&failure, "resolved", before);
        let seen = Seen { failure, told, actions: actions(agent, &failure), recovered, ended };
        print!("{}", seen.row());
        seen
    }

    /// Waits until nothing fires there, and what was told of the agent's beginning is over.
    pub fn wait_for_calm(&self, failure: &Failure, (executable, slot): (&Path, &Path)) {
        wait::until(&format!("{}: calm", failure.name), LIMIT, || {
            let output = Command::new(executable).args(["alert", "ls"]).arg(slot).output().ok()?;
            output.status.success().then_some(())
        })
        .unwrap();
    }

    fn notice(&self, failure: &Failure, cause: &str, [before, _]: [usize; 2]) {
        let is_meant = |received: &Received| {
            let notice: Value = serde_json::from_str(&received.body).unwrap_or_default();
            let alert = &notice["alerts"][0];
            notice["cause"] == cause
                && alert["name"] == failure.alert
                && alert["labels"]["failure"] == failure.name
        };
        wait::until(&format!("{}: the notice ({cause})", failure.name), LIMIT, || {
            self.hook.received()[before..].iter().any(is_meant).then_some(())
        })
        .unwrap();
    }

    fn wait_for_alertmanager(&self, failure: &Failure, fires: bool) {
        let what = format!("{}: Alertmanager's word", failure.name);
        wait::until(&what, LIMIT, || {
            let has = self.alertmanager.has(failure.alert, ("failure", failure.name)).ok()?;
            (has == fires).then_some(())
        })
        .unwrap();
    }

    fn wait_for_mail(&self, failure: &Failure, cause: &str, [_, before]: [usize; 2]) {
        let subject = format!("[{cause}, ");
        let is_meant = |mail: &Received| {
            // Long lines of a mail are broken (RFC 2045, 6.7).
            let text = mail.body.replace("=\r\n", "");
            [&subject, failure.alert, failure.name].into_iter().all(|part| text.contains(part))
        };
        wait::until(&format!("{}: the mail ({cause})", failure.name), LIMIT, || {
            self.mail.received()[before..].iter().any(is_meant).then_some(())
        })
        .unwrap();
    }
}

/// What was done about the incidents of a failure's alert, each with how it went.
fn actions((executable, slot): (&Path, &Path), failure: &Failure) -> Vec<String> {
    let output = Command::new(executable).args(["incident", "ls"]).arg(slot).arg("--json").output().unwrap();
    let said: Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
    let incidents = said["incidents"].as_array().cloned().unwrap_or_default();
    let of_alert = incidents.iter().filter(|incident| incident["alert"] == failure.alert);
    let actions = of_alert.flat_map(|incident| incident["actions"].as_array().cloned().unwrap_or_default());
    let text = |value: &Value| value.as_str().unwrap_or_default().replace('_', " ");
    actions.map(|action| format!("{}: {}", text(&action["action"]), text(&action["state"]))).collect()
}

/// What was seen, one failure a line, in Markdown.
pub fn table(seen: &[Seen]) -> String {
    let head = "| failure | alert | told after | action | delivery goes on after | its end is told after |\n|---|---|---|---|---|---|\n";
    seen.iter().map(Seen::row).fold(head.to_owned(), |text, row| text + &row)
}

fn seconds(duration: Duration) -> String {
    format!("{:.1} s", duration.as_secs_f64())
}
