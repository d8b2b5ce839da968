//! What of an event is not told: secrets, by default, and whatever the configuration names.
//!
//! The invariants:
//!
//! - **What was JSON stays JSON**, and every byte that is not part of a redacted value stays what it was.
//! - **An event in which there is nothing to redact is not taken apart**: one search over its bytes decides.
//! - **What cannot be searched is not published.** A representation that begins like JSON and is none is masked as a whole, an event that is no JSON as well.
//!
//! Keycloak puts the objects that an administrator sends into admin events, as JSON in a string of the event's JSON. It masks some secrets in them itself, and not all: those of some components, of
//! regenerated client secrets, registration access tokens, or attributes have been found in events again and again. Hence a secret is known by its name or its shape, wherever it stands.
//!
//! - [`rule`]: what is done to which field, by configuration.
//! - `secret`: what a secret looks like.
//! - `marks`: where one could be.
//! - `walk`: the way through the JSON.
//! - `spelling`: JSON as it is, and as it stands in a string.
//! - `edit`: edits of text in text.
//! - [`hash`]: keyed hashes.

mod edit;
pub mod hash;
mod marks;
pub mod rule;
mod secret;
mod spelling;
mod walk;

use std::sync::Arc;

pub use hash::HashKey;
pub use rule::{Action, FieldRules, Preset};

use edit::Edits;
use rule::Rules;
use secret::Suspicion;
use walk::Walk;

/// The names of secrets, a line for each.
pub(crate) fn names_of_secrets() -> String {
    secret::names()
}

/// What becomes of an event in whose JSON nothing can be searched.
const UNSEARCHABLE: &[u8] = b"\"**********\"";

/// What is redacted. The default is every secret.
#[derive(Clone, Debug)]
pub struct Redaction {
    /// Whether secrets are masked by their names and shapes.
    secrets: bool,
    rules: Arc<Rules>,
    key: Option<HashKey>,
}

impl Default for Redaction {
    fn default() -> Self {
        Self { secrets: true, rules: Arc::default(), key: None }
    }
}

/// What becomes of a user's id outside of the JSON: in keys and headers.
#[derive(Clone, Copy, Debug)]
pub(crate) enum OfUser<'a> {
    /// It stays.
    Told,
    /// It is hashed.
    Hashed(&'a HashKey),
    /// It is left out.
    Untold,
}

impl Redaction {
    /// Nothing: every event passes byte for byte.
    pub fn none() -> Self {
        Self { secrets: false, ..Self::default() }
    }

    /// Secrets, if they are not `kept`, and what `preset` and `fields` name, of which `fields` wins. Without a key what is to be hashed is masked.
    pub fn new(secrets: bool, preset: Option<Preset>, fields: &FieldRules, key: Option<HashKey>) -> Self {
        let rules = preset.map(Preset::rules).unwrap_or_default().and(fields);
        Self { secrets, rules: Arc::new(Rules::new(&rules)), key }
    }

    /// What becomes of a user's id in keys and headers: what becomes of it in user events, or in the paths of admin events, whichever tells less. So a user has one key in both.
    pub(crate) fn of_user(&self) -> OfUser<'_> {
        let actions = ["userId", "resourcePath"].map(|name| self.rules.of_top(name));
        let is_any = |wanted: &[Action]| actions.iter().flatten().any(|action| wanted.contains(action));
        if is_any(&[Action::Mask, Action::Drop, Action::TruncateIp]) {
            OfUser::Untold
        } else if is_any(&[Action::Hash, Action::HashUser]) {
            self.key.as_ref().map_or(OfUser::Untold, OfUser::Hashed)
        } else {
            OfUser::Told
        }
    }
}

/// Redacts events, one after the other.
#[derive(Debug, Default)]
pub struct Redactor {
    redaction: Redaction,
    edits: Edits,
    buffers: Vec<Vec<u8>>,
    redacted: Vec<u8>,
}

impl Redactor {
    /// Redacts what `redaction` says.
    pub fn new(redaction: Redaction) -> Self {
        Self { redaction, ..Self::default() }
    }

    /// What is redacted.
    pub(crate) fn redaction(&self) -> &Redaction {
        &self.redaction
    }

    /// The JSON `body` without what is redacted: itself if that is nothing. It lives until the next call.
    pub fn redact<'a>(&'a mut self, body: &'a [u8]) -> &'a [u8] {
        let Redaction { secrets, rules, key } = &self.redaction;
        let suspicion = if *secrets { Suspicion::of(body) } else { Suspicion::default() };
        if suspicion.is_none() && rules.first().are_none() {
            return body;
        }
        self.edits.clear();
        let (edits, buffers) = (&mut self.edits, &mut self.buffers);
        let mut walk = Walk { rules, key: key.as_ref(), suspicion, edits, buffers };
        if walk.event(body).is_err() {
            return UNSEARCHABLE;
        }
        if self.edits.are_none() {
            return body;
        }
        self.edits.apply(body, &mut self.redacted);
        &self.redacted
    }
}
