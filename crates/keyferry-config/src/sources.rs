//! Where values are looked for, and which of several holds.
//!
//! The invariant: **the defaults give way to the file, the file to `KAFKA_…` variables, those to `KEYFERRY_…` variables,
//! those to the options that Keycloak hands over, and all of them to what was changed while the agent ran.** Only the value that holds is parsed, so a value that is
//! overridden can do no harm.
//!
//! Only the file can speak of several destinations. Whatever variables and options say of a destination, they say of the first.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

use crate::dropin::{self, DROP_IN, DropIn, Property, Treatment};
use crate::error::{ConfigError, ConfigErrors, Got, Warning};
use crate::file::{ConfigFile, FileContent};
use crate::input::Dialect;
use crate::names::DestinationName;
use crate::origin::Origin;
use crate::provider;
use crate::secret::Secret;
use crate::settings::{self, DESTINATION_NAME, DESTINATION_TABLE, LIBRDKAFKA_TABLE, SETTINGS, Setting};
use crate::stores::OpenStore;
use crate::substitution::{self, Resolver};

/// The sources of one configuration. Without any, everything has its default.
#[derive(Clone, Default)]
pub struct Sources {
    file: Option<ConfigFile>,
    environment: BTreeMap<String, String>,
    options: BTreeMap<String, String>,
    live: BTreeMap<String, String>,
    node: Option<String>,
    open_store: Option<OpenStore>,
}

/// A value, where it goes and where it comes from.
pub(crate) struct Assignment {
    pub(crate) target: Target,
    pub(crate) text: String,
    pub(crate) dialect: Dialect,
    pub(crate) origin: Origin,
    /// The option as messages call it: its key in a file, else its name as an option of Keycloak.
    pub(crate) option: String,
}

/// Where a value goes.
#[derive(Clone)]
pub(crate) enum Target {
    Setting(&'static Setting),
    /// A property of librdkafka's by way of a drop-in option.
    Translated(&'static Property),
    /// A drop-in option that sets nothing, but may deserve a warning or an error.
    Checked(&'static DropIn),
    /// A property of librdkafka's as it is.
    Property(String),
}

impl Target {
    /// Two values with the same slot exclude each other.
    fn slot(&self) -> String {
        match self {
            Self::Setting(setting) => setting.key.to_owned(),
            Self::Translated(property) => format!("{LIBRDKAFKA_TABLE}.{}", property.name),
            Self::Property(name) => format!("{LIBRDKAFKA_TABLE}.{name}"),
            Self::Checked(entry) => entry.option.to_owned(),
        }
    }

    /// Whether each destination has its own value.
    fn is_of_destination(&self) -> bool {
        match self {
            Self::Setting(setting) => setting.is_of_destination(),
            Self::Translated(_) | Self::Property(_) | Self::Checked(_) => true,
        }
    }
}

/// Values that hold, by their slots.
pub(crate) type Assignments = BTreeMap<String, Assignment>;

/// The values that hold for one destination.
#[derive(Default)]
pub(crate) struct GivenDestination {
    /// Its table, if it is one of `[[destination]]`.
    pub(crate) table: Option<DestinationTable>,
    pub(crate) assignments: Assignments,
}

/// One table of `[[destination]]`.
#[derive(Clone)]
pub(crate) struct DestinationTable {
    /// What messages call it: its name, or its number where the name is missing, wrong, or also another's.
    label: String,
    /// Where it begins.
    pub(crate) origin: Origin,
}

impl DestinationTable {
    /// The key as messages call it: `destination[west].delivery.linger`.
    pub(crate) fn qualify(&self, key: &str) -> String {
        match key.strip_prefix(DESTINATION_TABLE) {
            Some(rest) => format!("{self}{rest}"),
            None => key.to_owned(),
        }
    }

    /// Every table of the file.
    fn all_of(file: &ConfigFile, content: &FileContent) -> Vec<Self> {
        let lines = content.destinations.iter().enumerate();
        lines.map(|(index, line)| Self { label: label(content, index), origin: file.origin(*line) }).collect()
    }
}

impl fmt::Display for DestinationTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{DESTINATION_TABLE}[{}]", self.label)
    }
}

fn label(content: &FileContent, index: usize) -> String {
    let names = || content.entries.iter().filter(|entry| entry.key == DESTINATION_NAME);
    let own = names().find(|entry| entry.destination == Some(index)).map(|entry| entry.text.as_str());
    let is_unique = |name: &&str| names().filter(|entry| entry.text == *name).count() == 1;
    let legal = own.filter(is_unique).and_then(|name| name.parse::<DestinationName>().ok());
    legal.map_or_else(|| (index + 1).to_string(), |name| name.to_string())
}

/// The values that hold, and what was found on the way to them.
#[derive(Default)]
pub(crate) struct Collected {
    /// Those of the agent as a whole.
    pub(crate) agent: Assignments,
    /// Those of the first destination, which is always there.
    pub(crate) first: GivenDestination,
    /// Those of further destinations.
    pub(crate) others: Vec<GivenDestination>,
    pub(crate) errors: Vec<ConfigError>,
    pub(crate) warnings: Vec<Warning>,
}

/// What it holds may be secret.
impl fmt::Debug for Sources {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sources").finish_non_exhaustive()
    }
}

impl Sources {
    /// No source at all.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a configuration file.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn with_file(mut self, path: &Path) -> Result<Self, ConfigErrors> {
        self.file = Some(ConfigFile::read(path)?);
        Ok(self)
    }

    /// Adds a configuration file that has been read already; `path` is what messages call it.
    #[must_use]
    pub fn with_file_text(mut self, path: &Path, text: impl Into<String>) -> Self {
        self.file = Some(ConfigFile { path: path.to_owned(), text: text.into() });
        self
    }

    /// What a text stands for in which references may be, as in every value of the configuration, for files that have their own form.
    ///
    /// # Errors
    /// A reference leads nowhere; the text names it and nothing that was found.
    pub fn reveal(&self, text: &str) -> Result<Secret, String> {
        let resolved =
            Resolver::new(&self.environment).resolve(text).map(|value| Secret::new(value.into_owned()));
        resolved.map_err(|unresolved| unresolved.to_string())
    }

    /// Adds the variables of this process. Those that are not Unicode are left out.
    #[must_use]
    pub fn with_process_environment(self) -> Self {
        let unicode = std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
        self.with_environment(unicode)
    }

    /// Adds variables.
    #[must_use]
    pub fn with_environment<N, V>(mut self, variables: impl IntoIterator<Item = (N, V)>) -> Self
    where
        N: Into<String>,
        V: Into<String>,
    {
        self.environment.extend(variables.into_iter().map(|(name, value)| (name.into(), value.into())));
        self
    }

    /// Adds the options that Keycloak hands over.
    #[must_use]
    pub fn with_options<N, V>(mut self, options: impl IntoIterator<Item = (N, V)>) -> Self
    where
        N: Into<String>,
        V: Into<String>,
    {
        self.options.extend(options.into_iter().map(|(name, value)| (name.into(), value.into())));
        self
    }

    /// Adds changes that were made while the agent ran: keys of the configuration file, those of a destination that is not the first as
    /// `destination[name].…`.
    #[must_use]
    pub fn with_live<N, V>(mut self, changes: impl IntoIterator<Item = (N, V)>) -> Self
    where
        N: Into<String>,
        V: Into<String>,
    {
        self.live.extend(changes.into_iter().map(|(key, value)| (key.into(), value.into())));
        self
    }

    /// Gives the node's name as the hand-over has it. It wins over every other source.
    #[must_use]
    pub fn with_node(mut self, node: impl Into<String>) -> Self {
        self.node = Some(node.into());
        self
    }

    /// Says how key and trust stores are opened. Without it a configuration that names one is refused.
    #[must_use]
    pub fn with_stores(mut self, open: OpenStore) -> Self {
        self.open_store = Some(open);
        self
    }

    pub(crate) fn open_store(&self) -> Option<OpenStore> {
        self.open_store
    }

    pub(crate) fn environment(&self) -> &BTreeMap<String, String> {
        &self.environment
    }

    pub(crate) fn node(&self) -> Option<&str> {
        self.node.as_deref()
    }

    pub(crate) fn variable(&self, name: &str) -> Option<&str> {
        self.environment.get(name).map(String::as_str)
    }

    /// The values that hold. Sources are taken in the order of their precedence, the weakest first.
    pub(crate) fn collect(&self) -> Collected {
        let mut collected = Collected::default();
        self.collect_file(&mut collected);
        self.collect_kafka_variables(&mut collected);
        self.collect_keyferry_variables(&mut collected);
        self.collect_options(&mut collected);
        self.collect_live(&mut collected);
        collected
    }

    fn collect_live(&self, collected: &mut Collected) {
        for (key, text) in &self.live {
            let Some((destination, target)) = collected.live_target(key) else {
                collected.unknown_key(key, key.clone(), Origin::Live);
                continue;
            };
            let (text, dialect, origin, option) = (text.clone(), Dialect::Native, Origin::Live, key.clone());
            let assignment = Assignment { target, text, dialect, origin, option };
            if assignment.is_secret() && !substitution::is_reference(&assignment.text) {
                let remedy = "a secret is set by a reference, such as `${file:/run/secrets/password}`: what is changed is kept in the history".to_owned();
                collected.errors.push(ConfigError::Refused {
                    option: key.clone(),
                    origin: Origin::Live,
                    remedy,
                });
                continue;
            }
            collected.add_to(destination, assignment);
        }
    }

    fn collect_file(&self, collected: &mut Collected) {
        let Some(file) = &self.file else { return };
        let mut content = file.content();
        let tables = DestinationTable::all_of(file, &content);
        collected.errors.append(&mut content.errors);
        for entry in content.entries {
            let table = entry.destination.and_then(|index| tables.get(index));
            let option = table.map_or_else(|| entry.key.clone(), |table| table.qualify(&entry.key));
            let origin = file.origin(entry.line);
            let Some(target) = target_of(&entry.key) else {
                collected.unknown_key(&entry.key, option, origin);
                continue;
            };
            if entry.list && !matches!(&target, Target::Setting(setting) if setting.takes_list()) {
                let expected = "one value".to_owned();
                let got = Got::value("a list");
                collected.errors.push(ConfigError::Invalid { option, origin, expected, got });
                continue;
            }
            let (text, dialect) = (entry.text, Dialect::Native);
            let assignment = Assignment { target, text, dialect, origin, option };
            collected.add_to(entry.destination.unwrap_or(0), assignment);
        }
        collected.name_tables(tables);
    }

    fn collect_kafka_variables(&self, collected: &mut Collected) {
        let variables = self.environment.iter().filter(|(name, _)| name.starts_with(dropin::VARIABLE_PREFIX));
        for (name, value) in variables {
            let origin = Origin::KafkaVariable(name.clone());
            match DropIn::by_variable(name) {
                Some(entry) => collected.drop_in(entry, value, origin),
                None => collected.unknown_kafka_variable(name, origin),
            }
        }
    }

    fn collect_keyferry_variables(&self, collected: &mut Collected) {
        let properties_prefix = format!(
            "{}{}_",
            settings::VARIABLE_PREFIX,
            LIBRDKAFKA_TABLE.replace('.', "_").to_ascii_uppercase()
        );
        let variables =
            self.environment.iter().filter(|(name, _)| name.starts_with(settings::VARIABLE_PREFIX));
        for (name, value) in variables {
            let origin = Origin::KeyferryVariable(name.clone());
            let (target, option) = match (Setting::by_variable(name), name.strip_prefix(&properties_prefix)) {
                (Some(setting), _) => {
                    (Target::Setting(setting), setting.option.unwrap_or(setting.key).to_owned())
                }
                (None, Some(property)) => {
                    let property = property.replace('_', ".").to_ascii_lowercase();
                    (Target::Property(property.clone()), format!("{LIBRDKAFKA_TABLE}.{property}"))
                }
                (None, None) => {
                    collected.unknown_keyferry_variable(name, origin);
                    continue;
                }
            };
            if !is_blank(value) {
                collected.add(Assignment {
                    target,
                    text: value.clone(),
                    dialect: Dialect::Native,
                    origin,
                    option,
                });
            }
        }
    }

    fn collect_options(&self, collected: &mut Collected) {
        // A name in its proper spelling comes last, so that it wins over another spelling of the same.
        let (proper, other): (Vec<_>, Vec<_>) =
            self.options.iter().partition(|(name, _)| kebab_case(name) == **name);
        for (name, value) in other.into_iter().chain(proper) {
            let option = kebab_case(name);
            match DropIn::by_option(&option) {
                Some(entry) => collected.drop_in(entry, value, Origin::Keycloak),
                None => collected.own_option(option, value),
            }
        }
    }
}

/// So many characters may be wrong, missing or too much in a slip of the pen.
const SLIP_OF_THE_PEN: usize = 2;

/// The prefix of options that are handed to librdkafka as they are.
const PROPERTY_OPTION_PREFIX: &str = "librdkafka-";

/// Beginnings of variables with Keyferry's prefix that are no settings: the command line's, those of the tools that build and test
/// Keyferry, and those that Kubernetes makes for a service called `keyferry`.
const OTHER_KEYFERRY_VARIABLES: [&str; 7] = [
    "KEYFERRY_CACHE",
    "KEYFERRY_CONFIG",
    "KEYFERRY_DOCS",
    "KEYFERRY_GOLDEN",
    "KEYFERRY_PORT",
    "KEYFERRY_SERVICE_",
    "KEYFERRY_TEST_",
];

/// Where the value of a key of the file goes; `None` if there is no such key.
fn target_of(key: &str) -> Option<Target> {
    match key.strip_prefix(LIBRDKAFKA_TABLE).and_then(|rest| rest.strip_prefix('.')) {
        Some(property) => Some(Target::Property(property.to_owned())),
        None => Setting::by_key(key).map(Target::Setting),
    }
}

impl Collected {
    /// What does not come from the file concerns the first destination.
    fn add(&mut self, assignment: Assignment) {
        self.add_to(0, assignment);
    }

    fn add_to(&mut self, destination: usize, assignment: Assignment) {
        let assignments = if assignment.target.is_of_destination() {
            &mut self.destination(destination).assignments
        } else {
            &mut self.agent
        };
        assignments.insert(assignment.target.slot(), assignment);
    }

    /// Where a key of a live change leads: the number of its destination, and the target.
    fn live_target(&self, key: &str) -> Option<(usize, Target)> {
        let Some((label, rest)) = key
            .strip_prefix(DESTINATION_TABLE)
            .and_then(|rest| rest.strip_prefix('['))
            .and_then(|rest| rest.split_once("]."))
        else {
            return Some((0, target_of(key)?));
        };
        let mut tables = std::iter::once(&self.first).chain(&self.others).map(|one| one.table.as_ref());
        let number = tables.position(|table| table.is_some_and(|table| table.label == label))?;
        Some((number, target_of(&format!("{DESTINATION_TABLE}.{rest}"))?))
    }

    /// The destination with this number, counted from 0.
    fn destination(&mut self, number: usize) -> &mut GivenDestination {
        let Some(index) = number.checked_sub(1) else { return &mut self.first };
        if self.others.len() <= index {
            self.others.resize_with(index + 1, GivenDestination::default);
        }
        &mut self.others[index]
    }

    fn name_tables(&mut self, tables: Vec<DestinationTable>) {
        for (number, table) in tables.into_iter().enumerate() {
            self.destination(number).table = Some(table);
        }
    }

    fn drop_in(&mut self, entry: &'static DropIn, value: &str, origin: Origin) {
        let empties_mean_something = matches!(
            entry.treatment,
            Treatment::Setting { key: "destination.security.tls.verify_hostname", .. }
        );
        if is_blank(value) && !empties_mean_something {
            return;
        }
        let target = match &entry.treatment {
            Treatment::Setting { key, .. } => match Setting::by_key(key) {
                Some(setting) => Target::Setting(setting),
                None => return,
            },
            Treatment::Property(property) => Target::Translated(property),
            Treatment::Fixed { .. } | Treatment::JavaClass { .. } | Treatment::Ignored { .. } => {
                Target::Checked(entry)
            }
            Treatment::Provider { .. } => return,
        };
        let option = entry.option.to_owned();
        self.add(Assignment { target, text: value.to_owned(), dialect: Dialect::Kafka, origin, option });
    }

    /// An option that the replaced listener does not know.
    fn own_option(&mut self, option: String, value: &str) {
        if is_blank(value) {
            return;
        }
        let target = match (Setting::by_option(&option), option.strip_prefix(PROPERTY_OPTION_PREFIX)) {
            (Some(setting), _) => Target::Setting(setting),
            (None, _) if provider::owns(&option) => return,
            (None, Some(property)) => Target::Property(property.replace('-', ".")),
            (None, None) => {
                let known = SETTINGS
                    .iter()
                    .filter_map(|setting| setting.option)
                    .chain(DROP_IN.iter().map(|entry| entry.option))
                    .chain(provider::PROVIDER_OPTIONS.iter().map(|known| known.name));
                let suggestion = nearest(&option, known.map(str::to_owned));
                self.warnings.push(Warning::Unknown { name: option, origin: Origin::Keycloak, suggestion });
                return;
            }
        };
        self.add(Assignment {
            target,
            text: value.to_owned(),
            dialect: Dialect::Native,
            origin: Origin::Keycloak,
            option,
        });
    }

    /// `shown` is the key as messages call it.
    fn unknown_key(&mut self, key: &str, shown: String, origin: Origin) {
        let suggestion = nearest(key, SETTINGS.iter().map(|setting| setting.key.to_owned()));
        self.errors.push(ConfigError::UnknownKey { key: shown, origin, suggestion });
    }

    /// A variable with Keyferry's prefix that is no setting.
    fn unknown_keyferry_variable(&mut self, name: &str, origin: Origin) {
        if OTHER_KEYFERRY_VARIABLES.iter().any(|other| name.starts_with(other)) {
            return;
        }
        let suggestion = nearest(name, SETTINGS.iter().map(Setting::variable));
        self.warnings.push(Warning::Unknown { name: name.to_owned(), origin, suggestion });
    }

    /// A variable with Kafka's prefix that is none of the replaced listener's. Other programs use the prefix too, and so
    /// does Kubernetes for a service called `kafka`: only what looks like a slip of the pen is worth a warning.
    fn unknown_kafka_variable(&mut self, name: &str, origin: Origin) {
        let suggestion = nearest(name, DROP_IN.iter().map(|entry| entry.variable.to_owned()))
            .filter(|known| strsim::levenshtein(name, known) <= SLIP_OF_THE_PEN);
        if suggestion.is_some() {
            self.warnings.push(Warning::Unknown { name: name.to_owned(), origin, suggestion });
        }
    }
}

/// A name is suggested if it shares so much with the unknown one.
const LEAST_SIMILARITY: f64 = 0.7;

fn nearest(unknown: &str, known: impl Iterator<Item = String>) -> Option<String> {
    most_similar(unknown, known)
        .filter(|name| strsim::normalized_damerau_levenshtein(unknown, name) >= LEAST_SIMILARITY)
}

/// The one of the `known` names that is nearest to the `unknown`, however far that is.
pub(crate) fn most_similar(unknown: &str, known: impl Iterator<Item = String>) -> Option<String> {
    known
        .map(|name| (strsim::normalized_damerau_levenshtein(unknown, &name), name))
        .max_by(|(one, _), (other, _)| one.total_cmp(other))
        .map(|(_, name)| name)
}

/// A value that is blank counts as not given: `KAFKA_X=${X:-}` is how container files leave something out.
fn is_blank(value: &str) -> bool {
    value.trim().is_empty()
}

/// `topicEvents`, `topic.events` and `topic_events` as `topic-events`.
fn kebab_case(name: &str) -> String {
    let mut kebab = String::with_capacity(name.len() + 4);
    for character in name.chars() {
        match character {
            '.' | '_' => kebab.push('-'),
            capital if capital.is_ascii_uppercase() => {
                if !kebab.is_empty() && !kebab.ends_with('-') {
                    kebab.push('-');
                }
                kebab.push(capital.to_ascii_lowercase());
            }
            other => kebab.push(other),
        }
    }
    kebab
}
