//! From the sources to the configuration.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::Duration;

use crate::content::{FIELDS, Filter, PRESET, Redaction};
use crate::draft::{AgentDraft, DestinationDraft};
use crate::dropin::DropIn;
use crate::error::{ConfigError, ConfigErrors, Got, Warning};
use crate::flow::Breaker;
use crate::input::{Input, Parsed, Rejected};
use crate::librdkafka;
use crate::model::{Config, Destination, Journal, MissingOption, PropertyValue, Readiness};
use crate::names::DestinationName;
use crate::origin::Origin;
use crate::registry;
use crate::security;
use crate::settings::{Apply, DESTINATION_NAME, Setting};
use crate::sources::{Assignment, Assignments, Collected, GivenDestination, Sources, Target, most_similar};
use crate::stores::OpenStore;
use crate::substitution::{self, Resolver};
use crate::units::{ByteSize, format_duration};

/// A configuration and what its reader should know of it.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// The configuration.
    pub config: Config,
    /// What an operator should know.
    pub warnings: Vec<Warning>,
    /// Where each setting's value comes from, by key; those of a destination that is not the first as `destination[name].…`.
    /// A setting that is not listed has its default.
    pub origins: BTreeMap<String, Origin>,
    /// The files from which values were read: those that references name, and key and trust stores. The value changes with the file.
    pub files: BTreeSet<PathBuf>,
}

/// Reads the sources, checks every value, and puts them together.
///
/// # Errors
/// With everything that is wrong, not only the first thing. That something is *missing* is no error, but
/// [`Readiness::Incomplete`].
pub fn load(sources: &Sources) -> Result<Loaded, ConfigErrors> {
    let Collected { agent, first, others, errors, warnings } = sources.collect();
    let given: Vec<GivenDestination> = std::iter::once(first).chain(others).collect();
    let origins = origins(&agent, &given);
    let mut context = Context {
        agent: AgentDraft::default(),
        given: GivenDestination::default(),
        unresolved: Vec::new(),
        errors,
        warnings,
        aws_region: AWS_REGION.iter().find_map(|name| sources.variable(name)).map(ToOwned::to_owned),
        system_trust: sources.variable(OPENSSL_CA_FILE).map(PathBuf::from),
        resolver: Resolver::new(sources.environment()),
        open_store: sources.open_store(),
    };
    let drafts: Vec<DestinationDraft> =
        given.iter().map(|given| context.draft(given.assignments.values())).collect();
    let of_agent = context.draft(agent.values());
    context.errors.extend(of_agent.unresolved);
    context.check_names(&given, &drafts);
    context.check_ceiling(&agent);
    if let Some(node) = sources.node() {
        context.agent.node = Some(node.to_owned());
    }
    let destinations = given
        .into_iter()
        .zip(drafts)
        .enumerate()
        .map(|(number, (given, draft))| context.assemble(number, given, draft));
    let destinations = destinations.collect();
    let AgentDraft { node, journal, api, metrics, log, alerts_file, probation, config_topic } = context.agent;
    let probation = probation.unwrap_or(PROBATION);
    let api = api.assemble(&agent, &mut context.errors);
    ConfigErrors::check(context.errors)?;
    let config =
        Config { node, journal, destinations, api, metrics, log, alerts_file, probation, config_topic };
    Ok(Loaded { config, warnings: context.warnings, origins, files: context.resolver.into_files() })
}

fn origins(agent: &Assignments, given: &[GivenDestination]) -> BTreeMap<String, Origin> {
    let destinations = given.iter().enumerate().flat_map(|(number, given)| {
        let table = given.table.as_ref().filter(|_| number > 0);
        let qualified = move |slot: &String| table.map_or_else(|| slot.clone(), |table| table.qualify(slot));
        given.assignments.iter().map(move |(slot, assignment)| (qualified(slot), assignment.origin.clone()))
    });
    let agent = agent.iter().map(|(slot, assignment)| (slot.clone(), assignment.origin.clone()));
    agent.chain(destinations).collect()
}

/// For how long a change is watched if nothing else is configured.
const PROBATION: Duration = Duration::from_secs(60);

/// What is resolved when it is needed: no event waits for a secret that only metrics or operators need.
const RESOLVED_LATE: [&str; 6] = [
    "api.token",
    "api.tokens.viewer",
    "api.tokens.operator",
    "api.tokens.admin",
    "api.oidc.client_secret",
    "metrics.otlp.headers",
];
const GAP_RECORDS: &str = "destination.gap_records";
const FIRST_PAUSE: &str = "destination.breaker.first_pause";
const LONGEST_PAUSE: &str = "destination.breaker.longest_pause";
const MAX_SIZE: &str = "journal.max_size";
const SEGMENT_SIZE: &str = "journal.segment_size";
/// So many segments fit below the ceiling at least. The provider demands the same.
const LEAST_SEGMENTS: u64 = 4;

/// The variable by which OpenSSL is told where the system's authorities are.
const OPENSSL_CA_FILE: &str = "SSL_CERT_FILE";

/// The variables by which AWS's own tools are told the region, the first before the second.
const AWS_REGION: [&str; 2] = ["AWS_REGION", "AWS_DEFAULT_REGION"];

/// Why another value holds than one that must not be shown.
const HIDDEN_REASON: &str =
    "what the reference stands for is out of range, and the nearest legal value is used";

/// What the steps of [`load`] share.
pub(crate) struct Context<'a> {
    agent: AgentDraft,
    /// The destination that is being put together.
    given: GivenDestination,
    /// What references in its values yield nothing.
    unresolved: Vec<ConfigError>,
    errors: Vec<ConfigError>,
    warnings: Vec<Warning>,
    pub(crate) aws_region: Option<String>,
    pub(crate) system_trust: Option<PathBuf>,
    pub(crate) resolver: Resolver<'a>,
    pub(crate) open_store: Option<OpenStore>,
}

impl Context<'_> {
    /// The draft of a destination from `assignments`; what they say of the agent as a whole goes into its draft.
    fn draft<'g>(&mut self, assignments: impl Iterator<Item = &'g Assignment>) -> DestinationDraft {
        let mut draft = DestinationDraft::default();
        for assignment in assignments {
            let applied = self.resolve(assignment).and_then(|text| self.apply(&mut draft, assignment, &text));
            if let Err(rejected) = applied {
                let secret = assignment.is_secret() || assignment.has_reference();
                let (option, origin) = (assignment.option.clone(), assignment.origin.clone());
                let can_wait = matches!(rejected, Rejected::Unresolved(_)) && !assignment.is_name();
                let errors = if can_wait { &mut draft.unresolved } else { &mut self.errors };
                errors.push(rejected.into_error(option, origin, &assignment.text, secret));
            }
        }
        draft
    }

    /// The value's text, with what its references stand for. A login configuration is only resolved if it is one reference as a whole:
    /// those in it are resolved when it has been taken apart, so that no secret can be mistaken for a part of it. See [`RESOLVED_LATE`] for the others.
    fn resolve<'g>(&mut self, assignment: &'g Assignment) -> Result<Cow<'g, str>, Rejected> {
        let text = &assignment.text;
        let is_taken_apart = assignment.is_login_configuration() && !substitution::is_reference(text);
        if is_taken_apart || assignment.is_resolved_late() {
            return Ok(Cow::Borrowed(text));
        }
        self.resolver.resolve(text).map_err(|unresolved| Rejected::Unresolved(unresolved.to_string()))
    }

    fn apply(
        &mut self,
        draft: &mut DestinationDraft,
        assignment: &Assignment,
        text: &str,
    ) -> Result<(), Rejected> {
        let input = Input { text, dialect: assignment.dialect };
        let overruled = match &assignment.target {
            Target::Setting(setting) => match setting.apply {
                Apply::Agent(apply) => apply(&mut self.agent, input)?,
                Apply::Destination(apply) => apply(draft, input)?,
            },
            Target::Translated(property) => {
                let Parsed { value, overruled } = (property.translate)(input)?;
                draft.librdkafka.insert(property.name.to_owned(), PropertyValue::Plain(value));
                overruled
            }
            Target::Property(name) => {
                let value = librdkafka::pass_through(name, text)?;
                let value = if assignment.has_reference() { value.hidden() } else { value };
                draft.librdkafka.insert(name.clone(), value);
                None
            }
            Target::Checked(entry) => {
                self.warnings.extend(entry.check(text, &assignment.origin)?);
                None
            }
        };
        if let Some(reason) = overruled {
            let (option, origin) = (assignment.option.clone(), assignment.origin.clone());
            let reason = if assignment.has_reference() { HIDDEN_REASON.to_owned() } else { reason };
            self.warnings.push(Warning::Overruled { option, origin, reason });
        }
        Ok(())
    }

    /// Of several destinations each needs a name, and no two the same one.
    fn check_names(&mut self, given: &[GivenDestination], drafts: &[DestinationDraft]) {
        if given.len() < 2 {
            return;
        }
        let mut names = BTreeSet::new();
        for (given, draft) in given.iter().zip(drafts) {
            let remedy = match &draft.name {
                Some(name) if names.insert(name.clone()) => continue,
                Some(name) => format!("another destination is called `{name}`; each needs a name of its own"),
                // It is there, and was refused already.
                None if given.assignments.contains_key(DESTINATION_NAME) => continue,
                None => "each of several destinations needs a name of its own, such as `name = \"default\"` for one that \
                         was the only one so far"
                    .to_owned(),
            };
            let (option, origin) = given.named(DESTINATION_NAME);
            self.errors.push(ConfigError::Refused { option, origin, remedy });
        }
    }

    /// The ceiling leaves room for what is being written, what is being read, and something in between.
    fn check_ceiling(&mut self, agent: &Assignments) {
        let Journal { segment_size, max_size: Some(max_size), .. } = self.agent.journal else { return };
        let least = ByteSize::bytes(segment_size.as_bytes().saturating_mul(LEAST_SEGMENTS));
        if max_size >= least {
            return;
        }
        let remedy = format!(
            "{max_size} is less than {LEAST_SEGMENTS} times `{SEGMENT_SIZE}` ({segment_size}); give at least {least}, or smaller segments, \
             and tell the provider the same"
        );
        let (option, origin) =
            named(agent, MAX_SIZE).unwrap_or_else(|| (MAX_SIZE.to_owned(), Origin::Default));
        self.errors.push(ConfigError::Refused { option, origin, remedy });
    }

    fn assemble(&mut self, number: usize, given: GivenDestination, draft: DestinationDraft) -> Readiness {
        self.given = given;
        let mut readiness = self.destination(draft);
        if let (Readiness::Incomplete { missing, .. }, Some(table), true) =
            (&mut readiness, &self.given.table, number > 0)
        {
            missing.iter_mut().for_each(|option| option.of_destination = Some(table.to_string()));
        }
        readiness
    }

    fn destination(&mut self, mut draft: DestinationDraft) -> Readiness {
        let name = draft.name.take().unwrap_or_default();
        self.unresolved = std::mem::take(&mut draft.unresolved);
        if let Some(waiting) = self.unresolved(&name) {
            return waiting;
        }
        self.check_pauses(&draft.breaker);
        self.check_gap_records(&draft);
        self.check_names_in(&draft.content.filter);
        self.check_hash_key(&draft.content.redaction);
        let mut missing = Vec::new();
        let registry = registry::assemble(draft.registry, draft.content.format, self, &mut missing);
        if draft.bootstrap_servers.is_none() {
            missing.extend(missing_option("destination.bootstrap_servers", "the servers to connect to"));
        }
        if draft.topic_events.is_none() {
            missing.extend(missing_option("destination.topic_events", "the topic of user events"));
        }
        let security = security::assemble(draft.security, self, &mut missing);
        if let Some(waiting) = self.unresolved(&name) {
            return waiting;
        }
        let (Some(bootstrap_servers), Some(topic_events), Some(security), true) =
            (draft.bootstrap_servers, draft.topic_events, security, missing.is_empty())
        else {
            return Readiness::Incomplete { name, missing };
        };
        let client_id =
            draft.client_id.unwrap_or_else(|| default_client_id(self.agent.node.as_deref(), &name));
        Readiness::Complete(Box::new(Destination {
            name,
            bootstrap_servers,
            fallback_bootstrap_servers: draft.fallback_bootstrap_servers,
            topic_events,
            topic_admin_events: draft.topic_admin_events,
            client_id,
            pool: draft.pool,
            topics: draft.topics,
            tuner: draft.tuner,
            delivery: draft.delivery,
            breaker: draft.breaker,
            security,
            content: draft.content,
            registry,
            headers: draft.headers,
            in_doubt: draft.in_doubt,
            dead_letter_topic: draft.dead_letter_topic,
            gap_records: draft.gap_records,
            settle_delay: draft.settle_delay,
            librdkafka: draft.librdkafka,
            given: self.given.assignments.keys().cloned().collect(),
        }))
    }

    /// That the destination waits until its references yield something, if some do not.
    fn unresolved(&mut self, name: &DestinationName) -> Option<Readiness> {
        let reasons: Vec<String> = self.unresolved.drain(..).map(|error| error.to_string()).collect();
        (!reasons.is_empty()).then(|| Readiness::Unresolved { name: name.clone(), reasons })
    }

    /// The first pause of a breaker is none of its longest.
    fn check_pauses(&mut self, breaker: &Breaker) {
        let Breaker { first_pause, longest_pause, .. } = *breaker;
        if first_pause > longest_pause {
            let remedy = format!(
                "{} is longer than `{LONGEST_PAUSE}` ({}); shorten the one or lengthen the other",
                format_duration(first_pause),
                format_duration(longest_pause)
            );
            self.reject(FIRST_PAUSE, Rejected::Refused(remedy));
        }
    }

    /// What is passed over must be told.
    fn check_gap_records(&mut self, draft: &DestinationDraft) {
        if !draft.gap_records && !self.agent.journal.backpressure.low_priority.names().is_empty() {
            let remedy = "`backpressure.low_priority` passes over events, and nothing but gap records tells consumers of them; keep the gap records, or name no types there";
            self.reject(GAP_RECORDS, Rejected::Refused(remedy.to_owned()));
        }
    }

    /// A name that Keycloak does not know may be a slip of the pen, or of a later Keycloak.
    fn check_names_in(&mut self, filter: &Filter) {
        for (key, unknown) in filter.unknown_names() {
            let (option, origin) = self.given.named(key);
            let suggestion = most_similar(&unknown.name, unknown.known.iter().map(|name| (*name).to_owned()));
            self.warnings.push(Warning::UnknownName { option, origin, name: unknown.name, suggestion });
        }
    }

    /// What is hashed without a key could be guessed.
    fn check_hash_key(&mut self, redaction: &Redaction) {
        if redaction.needs_key() && redaction.hash_key.is_none() {
            let key = if redaction.fields.need_key() { FIELDS } else { PRESET };
            let remedy = "it hashes, and `destination.redaction.hash_key` is not set: set it to a secret of at least 16 bytes, \
                          such as `${file:/run/secrets/keyferry-hash-key}`";
            self.reject(key, Rejected::Refused(remedy.to_owned()));
        }
    }

    /// Whether a source gives the setting.
    pub(crate) fn is_given(&self, key: &str) -> bool {
        self.given.assignments.contains_key(key)
    }

    /// Whether the value of the setting is one reference as a whole.
    pub(crate) fn comes_from_reference(&self, key: &str) -> bool {
        let assignment = self.given.assignments.get(key);
        assignment.is_some_and(|assignment| substitution::is_reference(&assignment.text))
    }

    /// How much the source of a setting's value counts.
    pub(crate) fn weight_of(&self, key: &str) -> u8 {
        let assignment = self.given.assignments.get(key);
        assignment.map_or(Origin::Default.weight(), |assignment| assignment.origin.weight())
    }

    /// Records that the value of a setting cannot be used.
    pub(crate) fn reject(&mut self, key: &'static str, rejected: Rejected) {
        let (option, origin) = self.given.named(key);
        let can_wait = matches!(rejected, Rejected::Unresolved(_));
        let errors = if can_wait { &mut self.unresolved } else { &mut self.errors };
        errors.push(rejected.into_error(option, origin, "", true));
    }

    /// Records that the value of a setting has no effect.
    pub(crate) fn warn_ignored(&mut self, key: &'static str, reason: &str) {
        let (option, origin) = self.given.named(key);
        self.warnings.push(Warning::Ignored { option, origin, reason: reason.to_owned() });
    }
}

impl GivenDestination {
    /// What messages call the key, and where its value comes from. A value that is not given is missing in the table.
    fn named(&self, key: &'static str) -> (String, Origin) {
        named(&self.assignments, key).unwrap_or_else(|| match &self.table {
            Some(table) => (table.qualify(key), table.origin.clone()),
            None => (key.to_owned(), Origin::Default),
        })
    }
}

pub(crate) fn named(assignments: &Assignments, key: &str) -> Option<(String, Origin)> {
    let assignment = assignments.get(key)?;
    Some((assignment.option.clone(), assignment.origin.clone()))
}

impl Assignment {
    /// Whether the text is not the value itself, which may then be a secret whatever it is for.
    pub(crate) fn has_reference(&self) -> bool {
        substitution::has_reference(&self.text)
    }

    fn is_login_configuration(&self) -> bool {
        matches!(&self.target, Target::Setting(setting) if setting.key == security::JAAS_CONFIG)
    }

    fn is_resolved_late(&self) -> bool {
        matches!(&self.target, Target::Setting(setting) if RESOLVED_LATE.contains(&setting.key))
    }

    /// Whether it is the name of a destination, without which nothing can be said of it.
    fn is_name(&self) -> bool {
        matches!(&self.target, Target::Setting(setting) if setting.key == DESTINATION_NAME)
    }

    pub(crate) fn is_secret(&self) -> bool {
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
            Self::Refused(remedy) | Self::Unresolved(remedy) => {
                ConfigError::Refused { option, origin, remedy }
            }
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
    Some(MissingOption { option: setting.option?, variable, key, purpose, of_destination: None })
}

/// The only destination, and the first of several that takes over its name, is known to the brokers by the node alone.
fn default_client_id(node: Option<&str>, name: &DestinationName) -> String {
    let parts = [Some("keyferry"), node, Some(name.as_str()).filter(|_| *name != DestinationName::default())];
    parts.into_iter().flatten().collect::<Vec<_>>().join("-")
}
