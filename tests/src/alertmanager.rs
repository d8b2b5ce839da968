//! A real Alertmanager of Prometheus's.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use serde_json::Value;

use crate::http::Http;
use crate::process::Server;
use crate::{Error, Result, port, wait};

/// Debian's, which has to be installed: it looks for its templates in `/usr/share`.
const PROGRAM: &str = "prometheus-alertmanager";
const START_LIMIT: Duration = Duration::from_secs(60);

/// An Alertmanager that tells nobody.
#[derive(Debug)]
pub struct Alertmanager {
    _server: Server,
    address: String,
    http: Http,
}

impl Alertmanager {
    /// Starts it; its data lie in `directory`.
    ///
    /// # Errors
    /// Where it is not installed or does not start.
    pub fn start(directory: &Path) -> Result<Self> {
        let configuration = directory.join("alertmanager.yml");
        let text = "route: { receiver: nobody }\nreceivers: [{ name: nobody }]\n";
        fs::write(&configuration, text).map_err(Error::io("write", &configuration))?;
        let port = port::free()?;
        let mut command = Command::new(PROGRAM);
        command
            .arg(format!("--config.file={}", configuration.display()))
            .arg(format!("--storage.path={}", directory.join("alertmanager").display()))
            .arg("--cluster.listen-address=")
            .arg(format!("--web.listen-address=127.0.0.1:{port}"));
        let server = Server::start("Alertmanager", &mut command, &directory.join("alertmanager.log"))?;
        let address = format!("http://127.0.0.1:{port}");
        let alertmanager = Self { _server: server, address, http: Http::new() };
        wait::until("Alertmanager", START_LIMIT, || alertmanager.active().ok())?;
        Ok(alertmanager)
    }

    /// Its address.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Whether an alert of this name fires that has this label.
    ///
    /// # Errors
    /// Where it does not answer.
    pub fn has(&self, name: &str, (label, value): (&str, &str)) -> Result<bool> {
        let alerts = self.http.get(&format!("{}/api/v2/alerts", self.address))?.success()?.json()?;
        let is_meant =
            |alert: &Value| alert["labels"]["alertname"] == name && alert["labels"][label] == value;
        Ok(alerts.as_array().into_iter().flatten().any(is_meant))
    }

    /// The names of the alerts that fire.
    ///
    /// # Errors
    /// Where it does not answer.
    pub fn active(&self) -> Result<Vec<String>> {
        let alerts = self.http.get(&format!("{}/api/v2/alerts", self.address))?.success()?.json()?;
        let name = |alert: &Value| Some(alert["labels"]["alertname"].as_str()?.to_owned());
        Ok(alerts.as_array().into_iter().flatten().filter_map(name).collect())
    }
}
