//! What a value is compared with.

use regex::Regex;

/// A text, a glob or a regular expression.
#[derive(Clone, Debug)]
pub(super) enum Pattern {
    /// The value is this text.
    Exact(Box<str>),
    /// The value begins with this text: a glob with a star at its end and nowhere else, which most are.
    Prefix(Box<str>),
    /// The value is this text, in which `*` stands for any characters and `?` for one.
    Glob(Box<str>),
    /// The expression is found in the value. It is of the kind that is matched in a time linear in the value, whatever either is.
    Regex(Box<Regex>),
    /// The value is as one of them says.
    OneOf(Box<[Self]>),
}

/// A larger program is refused, in bytes: it would cost every event time.
const LARGEST_PROGRAM: usize = 1 << 20;

impl Pattern {
    /// A glob, or the text itself if nothing in it stands for anything else.
    pub(super) fn glob(text: &str) -> Self {
        let is_plain = |text: &str| !text.contains(['*', '?']);
        match text.strip_suffix('*') {
            Some(prefix) if is_plain(prefix) => Self::Prefix(prefix.into()),
            None if is_plain(text) => Self::Exact(text.into()),
            _ => Self::Glob(text.into()),
        }
    }

    /// A regular expression.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(super) fn regex(text: &str) -> Result<Self, String> {
        let compiled = regex::RegexBuilder::new(text).size_limit(LARGEST_PROGRAM).build();
        compiled.map(|regex| Self::Regex(Box::new(regex))).map_err(|error| {
            let reason = error.to_string();
            let last =
                reason.lines().last().unwrap_or_default().trim().trim_start_matches("error: ").to_owned();
            format!("the regular expression `{text}` is none: {last}")
        })
    }

    /// Whether `value` is what is looked for.
    pub(super) fn matches(&self, value: &str) -> bool {
        match self {
            Self::Exact(text) => **text == *value,
            Self::Prefix(text) => value.starts_with(&**text),
            Self::Glob(glob) => is_like(value.as_bytes(), glob.as_bytes()),
            Self::Regex(regex) => regex.is_match(value),
            Self::OneOf(patterns) => patterns.iter().any(|pattern| pattern.matches(value)),
        }
    }

    /// Calls `visit` with each text that a value must be as a whole.
    pub(super) fn each_text<'a>(&'a self, visit: &mut dyn FnMut(&'a str)) {
        match self {
            Self::Exact(text) => visit(text),
            Self::OneOf(patterns) => patterns.iter().for_each(|pattern| pattern.each_text(visit)),
            Self::Prefix(_) | Self::Glob(_) | Self::Regex(_) => {}
        }
    }
}

/// Whether `value` is as `glob` says: by going back to the last `*` whenever what follows does not fit, which takes no memory and never looks further back.
fn is_like(value: &[u8], glob: &[u8]) -> bool {
    let (mut at, mut wanted) = (0, 0);
    // Behind the last star, and how much of the value it stands for.
    let mut star = None;
    while at < value.len() {
        match glob.get(wanted) {
            Some(b'*') => {
                wanted += 1;
                star = Some((wanted, at));
            }
            Some(b'?') => (at, wanted) = (at + character(value[at]), wanted + 1),
            Some(byte) if *byte == value[at] => (at, wanted) = (at + 1, wanted + 1),
            _ => {
                let Some((behind, taken)) = star else { return false };
                (at, wanted) = (taken + 1, behind);
                star = Some((behind, at));
            }
        }
    }
    glob[wanted..].iter().all(|byte| *byte == b'*')
}

/// How many bytes the character has that begins with `first`, in UTF-8.
fn character(first: u8) -> usize {
    match first.leading_ones() {
        0 | 1 => 1,
        ones => ones as usize,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn globs() {
        let is = |glob: &str, value: &str| Pattern::glob(glob).matches(value);
        assert!(is("adm*", "admin") && is("adm*", "adm") && is("*min", "admin") && is("a*m*n", "admin"));
        assert!(is("a?min", "admin") && is("gr?n", "grün") && is("*", "") && is("admin", "admin"));
        assert!(!is("adm*", "Admin") && !is("a?min", "amin") && !is("?", "") && !is("*min", "minus"));
        assert!(!is("admin", "admin2") && !is("", "a"));
    }

    #[test]
    fn regular_expressions_are_found_anywhere_and_wrong_ones_refused() {
        assert!(Pattern::regex("^adm|_bot$").unwrap().matches("clean_bot"));
        assert!(Pattern::regex("a(b").unwrap_err().contains("`a(b` is none: unclosed group"));
    }

    proptest! {
        /// A glob is what the regular expression is that it stands for.
        #[test]
        fn a_glob_is_a_regular_expression(glob in "[ab*?ü]{0,8}", value in "[abü]{0,10}") {
            let regex = regex::escape(&glob).replace("\\*", ".*").replace("\\?", ".");
            let regex = Regex::new(&format!("^(?s:{regex})$")).unwrap();
            prop_assert_eq!(Pattern::glob(&glob).matches(&value), regex.is_match(&value), "{} {}", glob, value);
        }
    }
}
