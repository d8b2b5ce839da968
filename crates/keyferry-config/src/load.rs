//! From the sources to the configuration.

use std::collections::BTreeMap;
use std::path::PathBuf;

use crate::draft::Draft;
use crate::dropin::DropIn;
use crate::error::{ConfigError, ConfigErrors, Got, Warning};
use crate::input::{Input, Parsed, Rejected};
use crate::librdkafka;
use crate::model::{Config, Destination, MissingOption, PropertyValue, Readiness};
use crate::origin::Origin;
use crate::security;
use crate::settings::Setting;
use crate::sources::{Assignment, Sources, Target};

/// A configuration and what its reader should know of it.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// The configuration.
    pub config: Config,
    /// What an operator should know.
    pub warnings: Vec<Warning>,
    /// Where each setting's value comes from, by key. A setting that is not listed has its default.
    pub origins: BTreeMap<String, Origin>,
}

/// The name of the destination while there is one.
const DEFAULT_DESTINATION: &str = "default";

/// Reads the sources, checks every value, and puts them together.
///
/// # Errors
/// With everything that is wrong, not only the first thing. That something is *missing* is no error, but
/// [`Readiness::Incomplete`].
pub fn load(sources: &Sources) -> Result<Loaded, ConfigErrors> {
    let collected = sources.collect();
    let mut context = Context {
        assignments: collected.assignments,
        errors: collected.errors,
        warnings: collected.warnings,
        system_trust: sources.variable(OPENSSL_CA_FILE).map(PathBuf::from),
    };
    let mut draft = Draft::default();
    context.apply_all(&mut draft);
    if let Some(node) = sources.node() {
        draft.node = Some(node.to_owned());
    }
    let config = context.assemble(draft);
    ConfigErrors::check(context.errors)?;
    let origins =
        context.assignments.into_iter().map(|(slot, assignment)| (slot, assignment.origin)).collect();
    Ok(Loaded { config, warnings: context.warnings, origins })
}

/// The variable by which OpenSSL is told where the system's authorities are.
const OPENSSL_CA_FILE: &str = "SSL_CERT_FILE";

/// What the steps of [`load`] share.
pub(crate) struct Context {
    assignments: BTreeMap<String, Assignment>,
    errors: Vec<ConfigError>,
    warnings: Vec<Warning>,
    pub(crate) system_trust: Option<PathBuf>,
}

impl Context {
    fn apply_all(&mut self, draft: &mut Draft) {
        let assignments = std::mem::take(&mut self.assignments);
        for assignment in assignments.values() {
            if let Err(rejected) = self.apply(draft, assignment) {
                let secret = assignment.is_secret();
                let (option, origin) = (assignment.option.clone(), assignment.origin.clone());
                self.errors.push(rejected.into_error(option, origin, &assignment.text, secret));
            }
        }
        self.assignments = assignments;
    }

    fn apply(&mut self, draft: &mut Draft, assignment: &Assignment) -> Result<(), Rejected> {
        let input = Input { text: &assignment.text, dialect: assignment.dialect };
        let overruled = match &assignment.target {
            Target::Setting(setting) => (setting.apply)(draft, input)?,
            Target::Translated(property) => {
                let Parsed { value, overruled } = (property.translate)(input)?;
                draft.librdkafka.insert(property.name.to_owned(), PropertyValue::Plain(value));
                overruled
            }
            Target::Property(name) => {
                draft.librdkafka.insert(name.clone(), librdkafka::pass_through(name, &assignment.text)?);
                None
            }
            Target::Checked(entry) => {
                self.warnings.extend(entry.check(&assignment.text, &assignment.origin)?);
                None
            }
        };
        if let Some(reason) = overruled {
            let (option, origin) = (assignment.option.clone(), assignment.origin.clone());
            self.warnings.push(Warning::Overruled { option, origin, reason });
        }
        Ok(())
    }

    fn assemble(&mut self, draft: Draft) -> Config {
        let node = draft.node.clone();
        let journal = draft.journal.clone();
        let log = draft.log;
        Config { node, journal, destination: self.destination(draft), log }
    }

    fn destination(&mut self, draft: Draft) -> Readiness {
        let mut missing = Vec::new();
        if draft.bootstrap_servers.is_none() {
            missing.extend(missing_option("destination.bootstrap_servers", "the servers to connect to"));
        }
        if draft.topic_events.is_none() {
            missing.extend(missing_option("destination.topic_events", "the topic of user events"));
        }
        let security = security::assemble(draft.security, self, &mut missing);
        let (Some(bootstrap_servers), Some(topic_events), Some(security), true) =
            (draft.bootstrap_servers, draft.topic_events, security, missing.is_empty())
        else {
            return Readiness::Incomplete { missing };
        };
        let client_id = draft.client_id.unwrap_or_else(|| default_client_id(draft.node.as_deref()));
        Readiness::Complete(Box::new(Destination {
            name: DEFAULT_DESTINATION.to_owned(),
            bootstrap_servers,
            topic_events,
            topic_admin_events: draft.topic_admin_events,
            client_id,
            delivery: draft.delivery,
            security,
            headers: draft.headers,
            in_doubt: draft.in_doubt,
            gap_records: draft.gap_records,
            librdkafka: draft.librdkafka,
        }))
    }

    /// Whether a source gives the setting.
    pub(crate) fn is_given(&self, key: &str) -> bool {
        self.assignments.contains_key(key)
    }

    /// How much the source of a setting's value counts.
    pub(crate) fn weight_of(&self, key: &str) -> u8 {
        self.assignments.get(key).map_or(Origin::Default.weight(), |assignment| assignment.origin.weight())
    }

    /// Records that the value of a setting cannot be used.
    pub(crate) fn reject(&mut self, key: &'static str, rejected: Rejected) {
        let (option, origin) = self.named(key);
        self.errors.push(rejected.into_error(option, origin, "", true));
    }

    /// Records that the value of a setting has no effect.
    pub(crate) fn warn_ignored(&mut self, key: &'static str, reason: &str) {
        let (option, origin) = self.named(key);
        self.warnings.push(Warning::Ignored { option, origin, reason: reason.to_owned() });
    }

    fn named(&self, key: &'static str) -> (String, Origin) {
        match self.assignments.get(key) {
            Some(assignment) => (assignment.option.clone(), assignment.origin.clone()),
            None => (key.to_owned(), Origin::Default),
        }
    }
}

impl Assignment {
    fn is_secret(&self) -> bool {
        match &self.target {
            Target::Setting(setting) => setting.secret,
            Target::Translated(_) | Target::Checked(_) => false,
            Target::Property(name) => librdkafka::is_sensitive(name),
        }
    }
}

impl Rejected {
    pub(crate) fn into_error(self, option: String, origin: Origin, given: &str, secret: bool) -> ConfigError {
        match self {
            Self::Refused(remedy) => ConfigError::Refused { option, origin, remedy },
            Self::Expected(expected) => {
                let got = if secret { Got::Secret } else { Got::value(given) };
                ConfigError::Invalid { option, origin, expected, got }
            }
        }
    }
}

/// How to give the setting with this key. `None` only for a key that is not in the table.
pub(crate) fn missing_option(key: &'static str, purpose: &'static str) -> Option<MissingOption> {
    let setting = Setting::by_key(key)?;
    let variable = match DropIn::by_key(key) {
        Some(entry) => entry.variable.to_owned(),
        None => setting.variable(),
    };
    Some(MissingOption { option: setting.option?, variable, key, purpose })
}

fn default_client_id(node: Option<&str>) -> String {
    node.map_or_else(|| "keyferry".to_owned(), |node| format!("keyferry-{node}"))
}
