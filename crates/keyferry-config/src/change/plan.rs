//! What a change consists of.

use std::collections::BTreeSet;
use std::fmt;

use crate::class::Class;
use crate::given::Givens;

/// One value that becomes another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// Its key.
    pub key: String,
    /// The number of its destination, if it is of one.
    pub destination: Option<usize>,
    /// What it takes.
    pub class: Class,
    /// What a source gave; `None` was the default. Nothing secret.
    pub before: Option<String>,
    /// What a source gives; `None` is the default. Nothing secret.
    pub after: Option<String>,
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let told = |value: &Option<String>| value.clone().unwrap_or_else(|| "default".to_owned());
        write!(f, "{}: {} -> {} ({})", self.key, told(&self.before), told(&self.after), self.class)
    }
}

/// Every value that becomes another, by key.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// The steps.
    pub steps: Vec<Step>,
}

impl Plan {
    /// From `before` to `after`.
    pub fn between(before: &Givens, after: &Givens) -> Self {
        let keys: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
        let steps = keys.into_iter().filter_map(|key| {
            let (was, is) = (before.get(key), after.get(key));
            if let (Some(was), Some(is)) = (was, is)
                && was.says_the_same_as(is)
            {
                return None;
            }
            let either = is.or(was)?;
            Some(Step {
                key: key.clone(),
                destination: either.destination,
                class: either.class,
                before: was.map(|given| given.shown.clone()),
                after: is.map(|given| given.shown.clone()),
            })
        });
        Self { steps: steps.collect() }
    }

    /// Whether nothing changes.
    pub fn is_empty(&self) -> bool {
        self.steps.is_empty()
    }

    /// The keys that change.
    pub fn keys(&self) -> Vec<String> {
        self.steps.iter().map(|step| step.key.clone()).collect()
    }

    /// The keys that the agent must be started anew for.
    pub fn needs_restart(&self) -> Vec<String> {
        let fixed = self.steps.iter().filter(|step| step.class == Class::Restart);
        fixed.map(|step| step.key.clone()).collect()
    }

    /// The most that the change takes of the destination with this number; `None` if it does not change.
    pub fn class_of(&self, destination: usize) -> Option<Class> {
        self.steps.iter().filter(|step| step.destination == Some(destination)).map(|step| step.class).max()
    }
}
