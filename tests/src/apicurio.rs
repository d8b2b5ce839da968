//! A real Apicurio Registry, which speaks Confluent's API below a path of its own.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use rustix::process::Signal;
use serde_json::{Value, json};
use xtask::cache::Cache;
use xtask::parts;
use xtask::tool;

use crate::certificates::Certificate;
use crate::http::{Answer, Http, Method};
use crate::process::Server;
use crate::{Error, Result, log, port, wait};

/// Where below its address Confluent's API is.
pub const API: &str = "/apis/ccompat/v7";
const START_LIMIT: Duration = Duration::from_secs(120);

/// A registry with its database. Its address and what was registered stay over restarts.
#[derive(Debug)]
pub struct Apicurio {
    program: PathBuf,
    directory: PathBuf,
    port: u16,
    /// Where it speaks TLS, if it does.
    secure_port: Option<u16>,
    http: Http,
    server: Option<Server>,
}

impl Apicurio {
    /// Prepares a registry in `directory` without starting it.
    ///
    /// # Errors
    /// Where it cannot be fetched.
    pub fn prepare(directory: &Path) -> Result<Self> {
        let program = parts::apicurio(&Cache::from_environment()?)?;
        let directory = directory.to_owned();
        Ok(Self {
            program,
            directory,
            port: port::free()?,
            secure_port: None,
            http: Http::new(),
            server: None,
        })
    }

    /// It shows this certificate on a port beside the other.
    ///
    /// # Errors
    /// Where the certificate cannot be written, or there is no port left.
    pub fn secured(mut self, certificate: &Certificate) -> Result<Self> {
        for (path, pem) in
            [(self.certificate(), certificate.pem()?), (self.certificate_key(), certificate.key_pem()?)]
        {
            fs::write(&path, pem).map_err(Error::io("write", &path))?;
        }
        self.secure_port = Some(port::free()?);
        Ok(self)
    }

    fn certificate(&self) -> PathBuf {
        self.directory.join("apicurio.pem")
    }

    fn certificate_key(&self) -> PathBuf {
        self.directory.join("apicurio.key")
    }

    /// Starts it, and waits until it serves.
    ///
    /// # Errors
    /// Where it does not.
    pub fn start(&mut self) -> Result<()> {
        self.launch()?;
        wait::try_until("the start of Apicurio", START_LIMIT, || {
            self.server()?.require_running()?;
            let answer = self.http.get(&format!("{}/subjects", self.url()));
            Ok(answer.ok().filter(|answer| answer.status == 200).map(drop))
        })
    }

    /// Starts it without waiting for it.
    ///
    /// # Errors
    /// Where it cannot be started.
    pub fn launch(&mut self) -> Result<()> {
        let database =
            format!("jdbc:h2:file:{};DB_CLOSE_ON_EXIT=FALSE", self.directory.join("registry").display());
        let mut java = Command::new(tool::java_21()?);
        java.args(["-Xms64m", "-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"])
            .arg("-jar")
            .arg(&self.program)
            .current_dir(&self.directory)
            .env("QUARKUS_HTTP_HOST", "127.0.0.1")
            .env("QUARKUS_HTTP_PORT", self.port.to_string())
            .env("APICURIO_DATASOURCE_URL", database)
            .env("APICURIO_STORAGE_SQL_KIND", "h2");
        if let Some(port) = self.secure_port {
            java.env("QUARKUS_HTTP_SSL_PORT", port.to_string())
                .env("QUARKUS_HTTP_SSL_CERTIFICATE_FILES", self.certificate())
                .env("QUARKUS_HTTP_SSL_CERTIFICATE_KEY_FILES", self.certificate_key())
                .env("QUARKUS_HTTP_INSECURE_REQUESTS", "enabled");
        }
        self.server = Some(Server::start("Apicurio", &mut java, &self.log())?);
        Ok(())
    }

    /// Kills it with SIGKILL.
    ///
    /// # Errors
    /// Where the system does not tell how it ended.
    pub fn kill(&mut self) -> Result<()> {
        self.server.take().map_or(Ok(()), |server| server.kill().map(drop))
    }

    /// Freezes it: its connections stay open and nothing is answered.
    ///
    /// # Errors
    /// Where it is not running.
    pub fn pause(&mut self) -> Result<()> {
        self.server()?.signal(Signal::STOP)
    }

    /// Lets it go on.
    ///
    /// # Errors
    /// Where it is not running.
    pub fn resume(&mut self) -> Result<()> {
        self.server()?.signal(Signal::CONT)
    }

    /// Where its Confluent-compatible API is.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}{API}", self.port)
    }

    /// Where that is over TLS, by the name `localhost`; nothing listens there unless it is [`Self::secured`].
    pub fn secure_url(&self) -> String {
        format!("https://localhost:{}{API}", self.secure_port.unwrap_or_default())
    }

    /// Where it listens, without TLS.
    pub fn address(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.port).into()
    }

    /// Registers a schema under a subject, and answers its id.
    ///
    /// # Errors
    /// Where it refuses.
    pub fn register(&self, subject: &str, kind: &str, schema: &str) -> Result<u64> {
        let answer = self.post(&format!("/subjects/{subject}/versions"), kind, schema)?.success()?.json()?;
        Ok(answer["id"].as_u64().unwrap_or_default())
    }

    /// Whether a schema goes together with the latest of a subject, by the registry's own check.
    ///
    /// # Errors
    /// Where it does not say.
    pub fn is_compatible(&self, subject: &str, kind: &str, schema: &str) -> Result<bool> {
        let path = format!("/compatibility/subjects/{subject}/versions/latest");
        Ok(self.post(&path, kind, schema)?.success()?.json()?["is_compatible"] == true)
    }

    /// Sets the compatibility level of a subject.
    ///
    /// # Errors
    /// Where it refuses.
    pub fn set_compatibility(&self, subject: &str, level: &str) -> Result<()> {
        let address = format!("{}/config/{subject}", self.url());
        let body = json!({ "compatibility": level });
        self.http.send(Method::Put, &address, "nobody", Some(&body))?.success().map(drop)
    }

    /// The subjects that it has.
    ///
    /// # Errors
    /// Where it does not answer.
    pub fn subjects(&self) -> Result<Vec<String>> {
        let answer = self.http.get(&format!("{}/subjects", self.url()))?.success()?.json()?;
        let name = |subject: &Value| subject.as_str().map(ToOwned::to_owned);
        Ok(answer.as_array().into_iter().flatten().filter_map(name).collect())
    }

    /// Its log, over all its lives.
    pub fn log(&self) -> PathBuf {
        self.directory.join("apicurio.log")
    }

    fn post(&self, path: &str, kind: &str, schema: &str) -> Result<Answer> {
        let body = json!({ "schema": schema, "schemaType": kind });
        self.http.post_json(&format!("{}{path}", self.url()), &body)
    }

    fn server(&mut self) -> Result<&mut Server> {
        let log = self.log();
        let ended = || Error::Ended { what: "Apicurio".to_owned(), log: log::tail(&log) };
        self.server.as_mut().ok_or_else(ended)
    }
}
