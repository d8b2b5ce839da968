//! A real Prometheus that scrapes one agent every second.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde_json::Value;
use xtask::cache::Cache;
use xtask::{parts, workspace};

use crate::http::Http;
use crate::process::Server;
use crate::{Error, Result, port, wait};

const START_LIMIT: Duration = Duration::from_secs(60);

/// Where its configuration of alerts and recordings is, and the tests of that.
pub fn rules_directory() -> PathBuf {
    workspace::root().join("monitoring/prometheus")
}

/// The program that checks metrics, rules and tests of rules.
///
/// # Errors
/// Where it cannot be fetched.
pub fn promtool() -> Result<Command> {
    Ok(Command::new(parts::prometheus(&Cache::from_environment()?)?.join("promtool")))
}

/// Prometheus with the project's rules.
#[derive(Debug)]
pub struct Prometheus {
    _server: Server,
    address: String,
    http: Http,
}

/// One series of an answer: its labels, and its values, the newest last.
#[derive(Debug, Clone, PartialEq)]
pub struct Series {
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// What it was.
    pub values: Vec<f64>,
}

impl Prometheus {
    /// Scrapes `target`, an address with its port, from now on, as text. Keeps its data in `directory`.
    ///
    /// # Errors
    /// Where it does not start.
    pub fn start(directory: &Path, target: &str) -> Result<Self> {
        Self::with(directory, "prometheus", target, "exemplar-storage")
    }

    /// The same, but one that takes native histograms, and no classic ones.
    ///
    /// # Errors
    /// Where it does not start.
    pub fn native(directory: &Path, target: &str) -> Result<Self> {
        Self::with(directory, "prometheus-native", target, "exemplar-storage,native-histograms")
    }

    fn with(directory: &Path, name: &str, target: &str, features: &str) -> Result<Self> {
        let configuration = directory.join(format!("{name}.yml"));
        let rules = rules_directory().join("keyferry.rules.yml");
        let text = format!(
            "global:\n  scrape_interval: 1s\n  evaluation_interval: 1s\nrule_files: ['{}']\nscrape_configs:\n  - job_name: keyferry\n    static_configs:\n      - targets: ['{target}']\n",
            rules.display()
        );
        fs::write(&configuration, text).map_err(Error::io("write", &configuration))?;
        let port = port::free()?;
        let mut command = Command::new(parts::prometheus(&Cache::from_environment()?)?.join("prometheus"));
        command
            .arg(format!("--config.file={}", configuration.display()))
            .arg(format!("--storage.tsdb.path={}", directory.join(name).display()))
            .arg(format!("--enable-feature={features}"))
            .arg(format!("--web.listen-address=127.0.0.1:{port}"));
        let server = Server::start("Prometheus", &mut command, &directory.join(format!("{name}.log")))?;
        let prometheus =
            Self { _server: server, address: format!("http://127.0.0.1:{port}"), http: Http::new() };
        wait::until("Prometheus's start", START_LIMIT, || {
            let answer = prometheus.http.get(&format!("{}/-/ready", prometheus.address)).ok()?;
            (answer.status == 200).then_some(())
        })?;
        Ok(prometheus)
    }

    /// The present value of each series of an expression.
    ///
    /// # Errors
    /// Where it refuses the expression.
    pub fn query(&self, expression: &str) -> Result<Vec<Series>> {
        self.ask(&format!("query?query={}", encoded(expression)))
    }

    /// The values of each series of an expression over the last `seconds`, one a second.
    ///
    /// # Errors
    /// Where it refuses the expression.
    pub fn query_range(&self, expression: &str, now_s: u64, seconds: u64) -> Result<Vec<Series>> {
        let (start, query) = (now_s - seconds, encoded(expression));
        self.ask(&format!("query_range?query={query}&start={start}&end={now_s}&step=1"))
    }

    /// The sum over the series of an expression.
    ///
    /// # Errors
    /// As [`Self::query`].
    pub fn sum(&self, expression: &str) -> Result<f64> {
        Ok(self.query(expression)?.iter().filter_map(|series| series.values.last()).sum())
    }

    /// The exemplars of the last `seconds` of the series of an expression: the trace and the value of each.
    ///
    /// # Errors
    /// Where it refuses the expression.
    pub fn exemplars(&self, expression: &str, now_s: u64, seconds: u64) -> Result<Vec<(String, f64)>> {
        let (start, query) = (now_s - seconds, encoded(expression));
        let question = format!("query_exemplars?query={query}&start={start}&end={}", now_s + 1);
        let answer = self.http.get(&format!("{}/api/v1/{question}", self.address))?.success()?.json()?;
        let of_series = answer["data"].as_array().cloned().unwrap_or_default();
        let exemplars = of_series.iter().filter_map(|series| series["exemplars"].as_array()).flatten();
        let exemplar = |exemplar: &Value| {
            let value = exemplar["value"].as_str()?.parse().ok()?;
            Some((exemplar["labels"]["trace_id"].as_str()?.to_owned(), value))
        };
        Ok(exemplars.filter_map(exemplar).collect())
    }

    /// What went wrong at the last scrape; nothing where it went well.
    ///
    /// # Errors
    /// Where it does not answer.
    pub fn scrape_errors(&self) -> Result<Vec<String>> {
        let answer = self.http.get(&format!("{}/api/v1/targets", self.address))?.success()?.json()?;
        let targets = answer["data"]["activeTargets"].as_array().cloned().unwrap_or_default();
        let errors = targets.iter().filter_map(|target| target["lastError"].as_str().map(str::to_owned));
        Ok(errors.filter(|error| !error.is_empty()).collect())
    }

    fn ask(&self, question: &str) -> Result<Vec<Series>> {
        let answer = self.http.get(&format!("{}/api/v1/{question}", self.address))?.success()?.json()?;
        let results = answer["data"]["result"].as_array().cloned().unwrap_or_default();
        Ok(results.iter().map(series).collect())
    }
}

fn series(result: &Value) -> Series {
    let labels = result["metric"].as_object().into_iter().flatten();
    let labels =
        labels.filter_map(|(name, value)| Some((name.clone(), value.as_str()?.to_owned()))).collect();
    let of_range = result["values"].as_array().into_iter().flatten();
    let points = of_range.chain(result.get("value"));
    let values = points.filter_map(|point| point[1].as_str()?.parse().ok()).collect();
    Series { labels, values }
}

/// Percent-encoding of everything that is not a letter or digit.
fn encoded(text: &str) -> String {
    text.bytes()
        .map(
            |byte| {
                if byte.is_ascii_alphanumeric() {
                    char::from(byte).to_string()
                } else {
                    format!("%{byte:02X}")
                }
            },
        )
        .collect()
}
