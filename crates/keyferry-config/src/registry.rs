//! The schema registry of a destination.
//!
//! The invariant: **a format that needs a registry has one.** Whoever asks for such a format without one is refused by the names of both keys, and does not find out by the first record.

use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use serde::Serialize;

use crate::input::Rejected;
use crate::load::{Context, missing_option};
use crate::model::{Credentials, Format, MissingOption, SubjectNameStrategy};
use crate::secret::Secret;
use crate::units::serialize_duration;

pub(crate) const FORMAT: &str = "destination.format";
pub(crate) const URL: &str = "destination.registry.url";
const USERNAME: &str = "destination.registry.username";
const PASSWORD: &str = "destination.registry.password";
const TOKEN: &str = "destination.registry.token";

/// A schema registry with Confluent's API.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Registry {
    /// Its servers.
    pub url: RegistryUrls,
    /// Who the agent is there; `None` is nobody in particular.
    pub login: Option<RegistryLogin>,
    /// The authorities that are believed, in PEM; `None` is those of the operating system.
    pub ca_file: Option<PathBuf>,
    /// What subjects are named after.
    pub subject_name_strategy: SubjectNameStrategy,
    /// Whether schemas that are not there are registered.
    pub register: bool,
    /// How long a server may take to answer.
    #[serde(serialize_with = "serialize_duration")]
    pub timeout: Duration,
}

/// Who the agent is at a registry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum RegistryLogin {
    /// User and password.
    Basic(Credentials),
    /// A bearer token.
    Token(Secret),
}

/// The URLs of the servers of one registry. At least one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RegistryUrls(Vec<String>);

impl RegistryUrls {
    /// The URLs, in the order in which they are tried.
    pub fn urls(&self) -> &[String] {
        &self.0
    }
}

impl FromStr for RegistryUrls {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let urls: Vec<String> =
            text.split(',').map(str::trim).filter(|url| !url.is_empty()).map(ToOwned::to_owned).collect();
        let all_are = !urls.is_empty() && urls.iter().all(|url| is_url(url));
        all_are.then_some(Self(urls)).ok_or(
            "URLs that begin with `https://` or `http://` and carry no credentials, separated by commas",
        )
    }
}

/// Whether `text` is a URL of HTTP without a user in it.
pub(crate) fn is_url(text: &str) -> bool {
    let rest = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
    rest.is_some_and(|rest| !rest.is_empty() && !rest.contains(char::is_whitespace) && !rest.contains('@'))
}

/// What the sources say of a registry.
pub(crate) struct RegistryDraft {
    pub(crate) url: Option<RegistryUrls>,
    pub(crate) username: Option<String>,
    pub(crate) password: Option<Secret>,
    pub(crate) token: Option<Secret>,
    pub(crate) ca_file: Option<PathBuf>,
    pub(crate) subject_name_strategy: SubjectNameStrategy,
    pub(crate) register: bool,
    pub(crate) timeout: Duration,
}

impl Default for RegistryDraft {
    fn default() -> Self {
        Self {
            url: None,
            username: None,
            password: None,
            token: None,
            ca_file: None,
            subject_name_strategy: SubjectNameStrategy::default(),
            register: true,
            timeout: Duration::from_secs(5),
        }
    }
}

/// The registry, if there is one. What is wrong with it, or with a format that needs one, is recorded in `context`, what it lacks in `missing`.
pub(crate) fn assemble(
    draft: RegistryDraft,
    format: Format,
    context: &mut Context<'_>,
    missing: &mut Vec<MissingOption>,
) -> Option<Registry> {
    let mut refuse = |key, remedy: &str| context.reject(key, Rejected::Refused(remedy.to_owned()));
    let login = match (draft.username, draft.password, draft.token) {
        (None, None, None) => None,
        (Some(username), Some(password), None) => {
            Some(RegistryLogin::Basic(Credentials { username, password }))
        }
        (None, None, Some(token)) => Some(RegistryLogin::Token(token)),
        (Some(_), None, None) => {
            missing.extend(missing_option(PASSWORD, "the password of the user at the schema registry"));
            None
        }
        (None, Some(_), None) => {
            missing.extend(missing_option(USERNAME, "the user at the schema registry"));
            None
        }
        (_, _, Some(_)) => {
            refuse(TOKEN, "user or password are given as well: give either those or the token");
            None
        }
    };
    let Some(url) = draft.url else {
        if format.needs_registry() {
            let remedy = format!(
                "`{}` needs a schema registry, and `{URL}` is not set: set it, or choose a format of JSON",
                format.as_str()
            );
            refuse(FORMAT, &remedy);
        }
        return None;
    };
    Some(Registry {
        url,
        login,
        ca_file: draft.ca_file,
        subject_name_strategy: draft.subject_name_strategy,
        register: draft.register,
        timeout: draft.timeout,
    })
}
