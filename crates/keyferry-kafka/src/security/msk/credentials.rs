//! Where AWS credentials come from: the first of these places that has any, in the order of AWS's own tools.
//!
//! 1. The variables `AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY` and `AWS_SESSION_TOKEN`, unless a profile is asked for.
//! 2. The shared credentials file (`AWS_SHARED_CREDENTIALS_FILE`, or `~/.aws/credentials`), in the profile that is asked for, else in that of `AWS_PROFILE`, else in
//!    `default`. Only keys are read: a profile that names a role, a process or a single sign-on has none.
//! 3. The endpoint of the container (`AWS_CONTAINER_CREDENTIALS_RELATIVE_URI` or `…_FULL_URI`): that of an ECS task, or of EKS Pod Identity.
//!
//! The invariant: **an error names the places that were looked at, and no credential.**

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use aws_credential_types::Credentials;
use aws_smithy_types::date_time::{DateTime, Format};
use serde::Deserialize;

/// How long the endpoint of the container may take to answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// Where an ECS task finds its relative URI.
const ECS: &str = "http://169.254.170.2";

/// The hosts to which an authorization may go without encryption: those of ECS and EKS, which are on the same machine, and the machine itself.
const LOCAL_HOSTS: [&str; 5] =
    ["169.254.170.2", "169.254.170.23", "[fd00:ec2::23]", "127.0.0.1", "localhost"];

/// The variables of a process.
pub trait Environment {
    /// The value of a variable, unless it is unset or empty.
    fn variable(&self, name: &str) -> Option<String>;
}

/// The variables of this process.
#[derive(Clone, Copy, Debug)]
pub struct OfProcess;

impl Environment for OfProcess {
    fn variable(&self, name: &str) -> Option<String> {
        std::env::var(name).ok().filter(|value| !value.is_empty())
    }
}

/// Why there are no credentials.
#[derive(Debug, thiserror::Error)]
pub enum CredentialsError {
    /// No place has any.
    #[error(
        "none in AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, none in {file}, and AWS_CONTAINER_CREDENTIALS_FULL_URI is not set"
    )]
    Nowhere {
        /// The shared credentials file.
        file: String,
    },
    /// The profile that was asked for has none.
    #[error("{file} has no aws_access_key_id and aws_secret_access_key in the profile [{profile}]")]
    NotInProfile {
        /// The shared credentials file.
        file: String,
        /// The profile.
        profile: String,
    },
    /// A file cannot be read.
    #[error("{path} cannot be read: {source}")]
    Unreadable {
        /// Which.
        path: String,
        /// Why.
        source: io::Error,
    },
    /// The container's endpoint gives none.
    #[error("the container's endpoint {uri} gives none: {reason}")]
    Container {
        /// Which.
        uri: String,
        /// Why.
        reason: String,
    },
}

/// The credentials of `profile`, or the first that are found.
///
/// # Errors
/// See [`CredentialsError`].
pub(super) fn find(
    environment: &dyn Environment,
    profile: Option<&str>,
) -> Result<Credentials, CredentialsError> {
    if profile.is_none()
        && let Some(credentials) = of_variables(environment)
    {
        return Ok(credentials);
    }
    let named = profile.map(ToOwned::to_owned).or_else(|| environment.variable("AWS_PROFILE"));
    let file = shared_file(environment);
    let name = named.as_deref().unwrap_or("default");
    if let Some(credentials) = file.as_deref().map(|file| of_file(file, name)).transpose()?.flatten() {
        return Ok(credentials);
    }
    let file = file.map_or_else(|| "~/.aws/credentials".to_owned(), |file| file.display().to_string());
    if let Some(profile) = named {
        return Err(CredentialsError::NotInProfile { file, profile });
    }
    match container_uri(environment) {
        Some(uri) => of_container(environment, uri),
        None => Err(CredentialsError::Nowhere { file }),
    }
}

fn of_variables(environment: &dyn Environment) -> Option<Credentials> {
    let key = environment.variable("AWS_ACCESS_KEY_ID")?;
    let secret = environment.variable("AWS_SECRET_ACCESS_KEY")?;
    let session = environment.variable("AWS_SESSION_TOKEN");
    Some(Credentials::new(key, secret, session, None, "variables"))
}

fn shared_file(environment: &dyn Environment) -> Option<PathBuf> {
    let given = environment.variable("AWS_SHARED_CREDENTIALS_FILE").map(PathBuf::from);
    given.or_else(|| Some(Path::new(&environment.variable("HOME")?).join(".aws/credentials")))
}

/// What the file holds for the profile. A file that is not there holds nothing.
fn of_file(file: &Path, profile: &str) -> Result<Option<Credentials>, CredentialsError> {
    match fs::read_to_string(file) {
        Ok(text) => Ok(of_text(&text, profile)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(CredentialsError::Unreadable { path: file.display().to_string(), source }),
    }
}

/// The profile's keys in a shared credentials file: sections in brackets, and a name and a value on each line.
fn of_text(text: &str, profile: &str) -> Option<Credentials> {
    let section = |line: &str| Some(line.strip_prefix('[')?.strip_suffix(']')?.trim().to_owned());
    let mut lines = text.lines().map(str::trim);
    lines.find(|line| section(line).as_deref() == Some(profile))?;
    let (mut key, mut secret, mut session) = (None, None, None);
    for line in lines.take_while(|line| section(line).is_none()) {
        let Some((name, value)) = line.split_once('=') else { continue };
        match name.trim() {
            "aws_access_key_id" => key = Some(value.trim()),
            "aws_secret_access_key" => secret = Some(value.trim()),
            "aws_session_token" => session = Some(value.trim().to_owned()),
            _ => {}
        }
    }
    Some(Credentials::new(key?, secret?, session, None, "file"))
}

fn container_uri(environment: &dyn Environment) -> Option<String> {
    let relative = environment.variable("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI");
    let relative = relative.map(|path| format!("{ECS}{path}"));
    relative.or_else(|| environment.variable("AWS_CONTAINER_CREDENTIALS_FULL_URI"))
}

/// What a container's endpoint answers.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Lent {
    access_key_id: String,
    secret_access_key: String,
    token: Option<String>,
    expiration: Option<String>,
}

fn of_container(environment: &dyn Environment, uri: String) -> Result<Credentials, CredentialsError> {
    ask_container(environment, &uri).map_err(|reason| CredentialsError::Container { uri, reason })
}

fn ask_container(environment: &dyn Environment, uri: &str) -> Result<Credentials, String> {
    if !is_local(uri) {
        return Err(format!("it is asked over http:// and at one of {} only", LOCAL_HOSTS.join(", ")));
    }
    let agent: ureq::Agent =
        ureq::Agent::config_builder().timeout_global(Some(PATIENCE)).proxy(None).build().into();
    let mut request = agent.get(uri);
    if let Some(authorization) = authorization(environment)? {
        request = request.header("Authorization", authorization);
    }
    let mut answer = request.call().map_err(|error| error.to_string())?;
    let body = answer.body_mut().read_to_vec().map_err(|error| error.to_string())?;
    // Not the parser's own words: they may hold a piece of what was parsed.
    let lent: Lent = serde_json::from_slice(&body).map_err(|_| "its answer is not understood".to_owned())?;
    let expiry = lent.expiration.as_deref().map(|text| {
        let time = DateTime::from_str(text, Format::DateTime).ok();
        time.and_then(|time| time.try_into().ok()).ok_or_else(|| format!("it names no time: {text}"))
    });
    let expiry = expiry.transpose()?;
    Ok(Credentials::new(lent.access_key_id, lent.secret_access_key, lent.token, expiry, "container"))
}

/// Whether a URI is one to which an authorization may go.
fn is_local(uri: &str) -> bool {
    let Some(rest) = uri.strip_prefix("http://") else { return false };
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    LOCAL_HOSTS
        .iter()
        .any(|host| authority.strip_prefix(host).is_some_and(|port| port.is_empty() || port.starts_with(':')))
}

/// What the endpoint is to be shown; in a file where it is renewed.
fn authorization(environment: &dyn Environment) -> Result<Option<String>, String> {
    match environment.variable("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE") {
        Some(path) => match fs::read_to_string(&path) {
            Ok(text) => Ok(Some(text.trim().to_owned())),
            Err(error) => Err(format!("{path} cannot be read: {error}")),
        },
        None => Ok(environment.variable("AWS_CONTAINER_AUTHORIZATION_TOKEN")),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;
    use std::io::{BufRead as _, BufReader, Write as _};
    use std::net::TcpListener;
    use std::thread;

    use super::*;

    impl Environment for HashMap<&str, String> {
        fn variable(&self, name: &str) -> Option<String> {
            self.get(name).cloned()
        }
    }

    fn environment<'a>(pairs: &[(&'a str, &str)]) -> HashMap<&'a str, String> {
        pairs.iter().map(|(name, value)| (*name, (*value).to_owned())).collect()
    }

    const FILE: &str = "# kept by hand\n[default]\naws_access_key_id = AKID\naws_secret_access_key=secret/key=\n\n\
                        [ msk ]\naws_access_key_id=ASIA\naws_secret_access_key = other\naws_session_token = session==\n\
                        [roles]\nrole_arn = arn:aws:iam::1:role/x\n";

    fn parts(credentials: &Credentials) -> (&str, &str, Option<&str>) {
        (credentials.access_key_id(), credentials.secret_access_key(), credentials.session_token())
    }

    #[test]
    fn a_shared_file_is_read_by_profile() {
        assert_eq!(parts(&of_text(FILE, "default").unwrap()), ("AKID", "secret/key=", None));
        assert_eq!(parts(&of_text(FILE, "msk").unwrap()), ("ASIA", "other", Some("session==")));
        assert!(of_text(FILE, "roles").is_none() && of_text(FILE, "none").is_none());
    }

    #[test]
    fn variables_come_first_unless_a_profile_is_asked_for() {
        let directory = std::env::temp_dir().join(format!("keyferry-msk-{}", std::process::id()));
        fs::create_dir_all(&directory).unwrap();
        let file = directory.join("credentials");
        fs::write(&file, FILE).unwrap();
        let mut environment = environment(&[("AWS_ACCESS_KEY_ID", "VAR"), ("AWS_SECRET_ACCESS_KEY", "s")]);
        environment.insert("AWS_SHARED_CREDENTIALS_FILE", file.display().to_string());
        let key = |environment: &HashMap<_, _>, profile| {
            find(environment, profile).map(|found| found.access_key_id().to_owned())
        };
        assert_eq!(key(&environment, None).unwrap(), "VAR");
        assert_eq!(key(&environment, Some("msk")).unwrap(), "ASIA");
        environment.remove("AWS_ACCESS_KEY_ID");
        assert_eq!(key(&environment, None).unwrap(), "AKID");
        let error = key(&environment, Some("roles")).unwrap_err().to_string();
        assert!(error.contains("[roles]") && error.contains("credentials"), "{error}");
        fs::remove_dir_all(&directory).unwrap();
    }

    #[test]
    fn without_any_credentials_the_places_are_named() {
        let error = find(&environment(&[("HOME", "/nonexistent")]), None).unwrap_err().to_string();
        assert!(
            error.contains("/nonexistent/.aws/credentials") && error.contains("AWS_ACCESS_KEY_ID"),
            "{error}"
        );
    }

    /// Answers one request with `body`, and says what was asked.
    fn endpoint(body: &'static str) -> (String, thread::JoinHandle<String>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let uri = format!("http://{}/v1/credentials", listener.local_addr().unwrap());
        let served = thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let head: Vec<_> = BufReader::new(&stream)
                .lines()
                .map_while(Result::ok)
                .take_while(|line| !line.is_empty())
                .collect();
            write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len()).unwrap();
            head.join("\n")
        });
        (uri, served)
    }

    #[test]
    fn a_container_lends_credentials_that_expire() {
        let (uri, served) = endpoint(
            r#"{"AccessKeyId":"ASIA","SecretAccessKey":"lent","Token":"t","Expiration":"2026-11-28T07:00:00Z"}"#,
        );
        let environment = environment(&[
            ("AWS_CONTAINER_CREDENTIALS_FULL_URI", &uri),
            ("AWS_CONTAINER_AUTHORIZATION_TOKEN", "let-me-in"),
        ]);
        let lent = find(&environment, None).unwrap();
        assert_eq!(parts(&lent), ("ASIA", "lent", Some("t")));
        let expiry = lent.expiry().unwrap().duration_since(std::time::UNIX_EPOCH).unwrap();
        assert_eq!(expiry.as_secs(), 1_795_849_200);
        let asked = served.join().unwrap().to_ascii_lowercase();
        assert!(asked.contains("authorization: let-me-in"), "{asked}");
    }

    #[test]
    fn an_answer_that_is_not_understood_is_not_shown() {
        let (uri, served) = endpoint(r#"{"AccessKeyId":"ASIA","SecretAccessKey":17,"Token":"canary"}"#);
        let environment = environment(&[("AWS_CONTAINER_CREDENTIALS_FULL_URI", &uri)]);
        let error = find(&environment, None).unwrap_err().to_string();
        assert!(error.contains("not understood") && !error.contains("canary"), "{error}");
        served.join().unwrap();
    }

    #[test]
    fn an_authorization_goes_to_nobody_elsewhere() {
        for uri in [
            "http://example.org/",
            "http://127.0.0.1.example.org/",
            "http://a@example.org/",
            "https://127.0.0.1/",
        ] {
            let environment = environment(&[("AWS_CONTAINER_CREDENTIALS_FULL_URI", uri)]);
            let error = find(&environment, None).unwrap_err().to_string();
            assert!(error.contains("only"), "{error}");
        }
        assert!(is_local("http://169.254.170.23/v1/credentials") && is_local("http://127.0.0.1:80/"));
    }
}
