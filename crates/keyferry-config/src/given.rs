//! What the sources say, value by value, in a form that may be shown and compared.
//!
//! The invariant: **a secret is compared and never shown.**

use std::collections::BTreeMap;

use crate::class::Class;
use crate::error::ConfigErrors;
use crate::input::Dialect;
use crate::origin::Origin;
use crate::secret::{REDACTED, Secret};
use crate::sources::{Assignment, Assignments, Collected, Sources, Target};
use crate::substitution;

/// One value that holds, as its source gives it.
#[derive(Debug, Clone)]
pub struct Given {
    /// Which destination it is for, counted from 0; `None` if it is for the agent as a whole.
    pub destination: Option<usize>,
    /// What a change of it takes.
    pub class: Class,
    /// Where it comes from.
    pub origin: Origin,
    /// The text for people. A reference is shown, what it stands for is not.
    pub shown: String,
    text: Secret,
    dialect: Dialect,
}

/// Values that hold, by their keys: those of a destination that is not the first as `destination[name].…`.
pub type Givens = BTreeMap<String, Given>;

impl Given {
    fn of(assignment: &Assignment, destination: Option<usize>) -> Option<Self> {
        let class = match &assignment.target {
            Target::Setting(setting) => setting.class,
            Target::Translated(_) | Target::Property(_) => Class::Swap,
            Target::Checked(_) => return None,
        };
        let text = assignment.text.trim();
        let is_shown = substitution::is_reference(text) || !assignment.is_secret();
        Some(Self {
            destination,
            class,
            origin: assignment.origin.clone(),
            shown: if is_shown { text.to_owned() } else { REDACTED.to_owned() },
            text: Secret::new(text),
            dialect: assignment.dialect,
        })
    }

    /// Whether it is a secret that stands in the file as it is.
    pub fn is_plain_secret(&self) -> bool {
        self.shown == REDACTED && matches!(self.origin, Origin::File { .. })
    }

    /// Whether it says the same, wherever it comes from.
    pub fn says_the_same_as(&self, other: &Self) -> bool {
        self.text == other.text && self.dialect == other.dialect
    }
}

impl Sources {
    /// What the sources say, each value by itself.
    ///
    /// # Errors
    /// A source cannot be understood, or has a key that does not exist.
    pub fn given(&self) -> Result<Givens, ConfigErrors> {
        let Collected { agent, first, others, errors, .. } = self.collect();
        ConfigErrors::check(errors)?;
        let mut givens = Givens::new();
        let mut add = |assignments: &Assignments, destination, qualify: &dyn Fn(&str) -> String| {
            for (slot, assignment) in assignments {
                givens.extend(Given::of(assignment, destination).map(|given| (qualify(slot), given)));
            }
        };
        add(&agent, None, &str::to_owned);
        add(&first.assignments, Some(0), &str::to_owned);
        for (number, other) in (1..).zip(&others) {
            let qualify = |slot: &str| {
                other.table.as_ref().map_or_else(|| slot.to_owned(), |table| table.qualify(slot))
            };
            add(&other.assignments, Some(number), &qualify);
        }
        Ok(givens)
    }
}
