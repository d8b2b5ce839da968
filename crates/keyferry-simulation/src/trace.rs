//! What happened, in words and as one number.
//!
//! The invariant: **equal seeds have equal traces, byte for byte.** The words are made only when somebody wants to read them; the number is
//! always kept, over the dice that decide each step.

use std::cell::RefCell;
use std::fmt;
use std::hash::{DefaultHasher, Hash, Hasher as _};
use std::rc::Rc;

/// A history's trace. Clones are handles to the same.
#[derive(Clone, Debug, Default)]
pub struct Trace {
    inner: Rc<RefCell<Inner>>,
}

#[derive(Debug, Default)]
struct Inner {
    hash: DefaultHasher,
    /// One line for each thing that happened, where it is recorded.
    text: Option<String>,
}

impl Trace {
    /// A trace that keeps only the number.
    #[must_use]
    pub fn silent() -> Self {
        Self::default()
    }

    /// A trace that keeps the words too.
    #[must_use]
    pub fn recording() -> Self {
        let trace = Self::default();
        trace.inner.borrow_mut().text = Some(String::new());
        trace
    }

    /// Adds a line, if lines are kept.
    pub fn line(&self, line: fmt::Arguments<'_>) {
        if let Some(text) = &mut self.inner.borrow_mut().text {
            // Writing to a String cannot fail.
            let _ = fmt::Write::write_fmt(text, line);
            text.push('\n');
        }
    }

    /// Adds a value to the number.
    pub fn value(&self, value: impl Hash) {
        value.hash(&mut self.inner.borrow_mut().hash);
    }

    /// The number.
    #[must_use]
    pub fn number(&self) -> u64 {
        self.inner.borrow().hash.finish()
    }

    /// The words.
    #[must_use]
    pub fn text(&self) -> String {
        self.inner.borrow().text.clone().unwrap_or_default()
    }
}
