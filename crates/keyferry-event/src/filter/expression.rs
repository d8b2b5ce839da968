//! Conditions as people write them: `type == "LOGIN_ERROR" && details.username ~ "adm*"`.
//!
//! ```text
//! condition  = conjunction { "||" conjunction }
//! conjunction = factor { "&&" factor }
//! factor     = "!" factor | "(" condition ")" | test
//! test       = field                                      the event has it
//!            | field ( "==" | "!=" ) text                 it is this
//!            | field ( "~" | "!~" ) ( text | regex )      it is like this: a glob, or a regular expression between slashes
//!            | field [ "!" ] "in" "[" text { "," text } "]"
//! ```
//!
//! A field that an event does not have is like nothing and is nothing: `error != "x"` holds where there is no error.

use keyferry_journal::event::EventView;

use super::field::{Field, NAMES};
use super::pattern::Pattern;

/// A condition on an event.
#[derive(Clone, Debug)]
pub(super) enum Expression {
    /// The event has the field.
    Has(Field),
    /// The field's value is as the pattern says.
    Is(Field, Pattern),
    /// It does not hold.
    Not(Box<Self>),
    /// All of them hold.
    All(Vec<Self>),
    /// One of them holds at least.
    Any(Vec<Self>),
}

impl Expression {
    /// Whether it holds of `event`.
    pub(super) fn holds(&self, event: &EventView<'_>) -> bool {
        match self {
            Self::Has(field) => field.is(event, |value| !value.is_empty()),
            Self::Is(field, pattern) => field.is(event, |value| pattern.matches(value)),
            Self::Not(condition) => !condition.holds(event),
            Self::All(conditions) => conditions.iter().all(|condition| condition.holds(event)),
            Self::Any(conditions) => conditions.iter().any(|condition| condition.holds(event)),
        }
    }

    /// Calls `visit` with each field and the text that it is compared with.
    pub(super) fn each_text(&self, visit: &mut dyn FnMut(&Field, &str)) {
        match self {
            Self::Is(field, pattern) => pattern.each_text(&mut |text| visit(field, text)),
            Self::Has(_) => {}
            Self::Not(condition) => condition.each_text(visit),
            Self::All(conditions) | Self::Any(conditions) => {
                conditions.iter().for_each(|condition| condition.each_text(visit));
            }
        }
    }
}

/// Deeper nesting of parentheses and negations is refused.
const DEEPEST: usize = 32;

/// Reads a condition.
///
/// # Errors
/// What was expected, and where.
pub(super) fn parse(text: &str) -> Result<Expression, String> {
    let mut parser = Parser { text, rest: text };
    let expression = parser.condition(DEEPEST)?;
    if parser.space().is_empty() { Ok(expression) } else { Err(parser.expected("`&&`, `||` or the end")) }
}

struct Parser<'a> {
    text: &'a str,
    rest: &'a str,
}

impl<'a> Parser<'a> {
    fn condition(&mut self, depth: usize) -> Result<Expression, String> {
        let mut conditions = vec![self.conjunction(depth)?];
        while self.takes("||") {
            conditions.push(self.conjunction(depth)?);
        }
        Ok(any_of(conditions))
    }

    fn conjunction(&mut self, depth: usize) -> Result<Expression, String> {
        let mut conditions = vec![self.factor(depth)?];
        while self.takes("&&") {
            conditions.push(self.factor(depth)?);
        }
        Ok(one_or(conditions, Expression::All))
    }

    fn factor(&mut self, depth: usize) -> Result<Expression, String> {
        let depth =
            depth.checked_sub(1).ok_or_else(|| format!("at most {DEEPEST} conditions within each other"))?;
        if self.takes("!") {
            return Ok(Expression::Not(Box::new(self.factor(depth)?)));
        }
        if self.takes("(") {
            let condition = self.condition(depth)?;
            return if self.takes(")") { Ok(condition) } else { Err(self.expected("`)`")) };
        }
        self.test()
    }

    fn test(&mut self) -> Result<Expression, String> {
        let name = self.name();
        let field = Field::named(name).ok_or_else(|| self.expected(&format!("{NAMES}, and not `{name}`")))?;
        let not = |test: Expression| Expression::Not(Box::new(test));
        if self.takes("==") {
            self.exact(field)
        } else if self.takes("!=") {
            self.exact(field).map(not)
        } else if self.takes("!~") {
            self.like(field).map(not)
        } else if self.takes("~") {
            self.like(field)
        } else if self.takes_in("!in") {
            self.one_of(&field).map(not)
        } else if self.takes_in("in") {
            self.one_of(&field)
        } else {
            Ok(Expression::Has(field))
        }
    }

    fn exact(&mut self, field: Field) -> Result<Expression, String> {
        let text = self.quoted()?;
        exact(field, &text)
    }

    fn like(&mut self, field: Field) -> Result<Expression, String> {
        if self.space().starts_with('/') {
            let regex = self.regex()?;
            return Ok(Expression::Is(field, Pattern::regex(&regex)?));
        }
        let text = self.quoted()?;
        like(field, &text)
    }

    fn one_of(&mut self, field: &Field) -> Result<Expression, String> {
        if !self.takes("[") {
            return Err(self.expected("`[`"));
        }
        let mut tests = vec![self.exact(field.clone())?];
        while self.takes(",") {
            tests.push(self.exact(field.clone())?);
        }
        if self.takes("]") { Ok(any_of(tests)) } else { Err(self.expected("`,` or `]`")) }
    }

    fn quoted(&mut self) -> Result<String, String> {
        let rest = self.space();
        let quote = rest.chars().next().filter(|quote| matches!(quote, '"' | '\''));
        let Some(quote) = quote else { return Err(self.expected("a text between quotes")) };
        self.until(quote)
    }

    fn regex(&mut self) -> Result<String, String> {
        self.until('/')
    }

    /// What stands between this `mark` and the next. A backslash before the mark makes it a part of the text.
    fn until(&mut self, mark: char) -> Result<String, String> {
        let (mut text, mut escaped) = (String::new(), false);
        for (at, character) in self.rest.char_indices().skip(1) {
            match character {
                _ if escaped => {
                    if character != mark && (mark == '/' || character != '\\') {
                        text.push('\\');
                    }
                    text.push(character);
                    escaped = false;
                }
                '\\' => escaped = true,
                _ if character == mark => {
                    self.rest = &self.rest[at + character.len_utf8()..];
                    return Ok(text);
                }
                _ => text.push(character),
            }
        }
        Err(self.expected(&format!("`{mark}` at the end of the text")))
    }

    fn name(&mut self) -> &'a str {
        let rest = self.space();
        let is_part = |character: char| character.is_alphanumeric() || matches!(character, '_' | '.' | '-');
        let length = rest.find(|character| !is_part(character)).unwrap_or(rest.len());
        let (name, rest) = rest.split_at(length);
        self.rest = rest;
        name
    }

    /// Whether `token` comes next, which is passed then.
    fn takes(&mut self, token: &str) -> bool {
        // `!` is a token, and so is `!=`.
        let is_other = |rest: &str| token == "!" && rest.starts_with(['=', '~']);
        let rest = self.space().strip_prefix(token).filter(|rest| !is_other(rest));
        rest.map(|rest| self.rest = rest).is_some()
    }

    /// The same of a word.
    fn takes_in(&mut self, word: &str) -> bool {
        let rest = self.space().strip_prefix(word);
        let rest = rest.filter(|rest| rest.trim_start().starts_with('['));
        rest.map(|rest| self.rest = rest).is_some()
    }

    fn space(&mut self) -> &'a str {
        self.rest = self.rest.trim_start();
        self.rest
    }

    fn expected(&self, what: &str) -> String {
        let at = self.text[..self.text.len() - self.rest.len()].chars().count() + 1;
        format!("at character {at}: {what}")
    }
}

fn one_or(mut conditions: Vec<Expression>, several: fn(Vec<Expression>) -> Expression) -> Expression {
    match conditions.pop() {
        Some(only) if conditions.is_empty() => only,
        Some(last) => {
            conditions.push(last);
            several(conditions)
        }
        None => several(conditions),
    }
}

/// That one of `conditions` holds. Where all of them are tests of one field, they become one, so that its value is looked up once.
pub(super) fn any_of(conditions: Vec<Expression>) -> Expression {
    let Some(field) = common_field(&conditions).cloned() else { return one_or(conditions, Expression::Any) };
    let patterns = conditions.into_iter().filter_map(|condition| match condition {
        Expression::Is(_, pattern) => Some(pattern),
        _ => None,
    });
    let mut patterns: Vec<Pattern> = patterns.collect();
    let pattern = match patterns.len() {
        1 => patterns.swap_remove(0),
        _ => Pattern::OneOf(patterns.into()),
    };
    Expression::Is(field, pattern)
}

/// The field of which all of `conditions` are tests.
fn common_field(conditions: &[Expression]) -> Option<&Field> {
    let fields = conditions.iter().map(|condition| match condition {
        Expression::Is(field, _) => Some(field),
        _ => None,
    });
    let mut fields = fields.collect::<Option<Vec<_>>>()?.into_iter();
    let first = fields.next()?;
    fields.all(|field| field == first).then_some(first)
}

/// That `field` is `text`.
///
/// # Errors
/// It never is.
pub(super) fn exact(field: Field, text: &str) -> Result<Expression, String> {
    let text = field.spelt(text);
    possible(&field, &text)?;
    let pattern = Pattern::Exact(text.as_ref().into());
    Ok(Expression::Is(field, pattern))
}

/// That `field` is as the glob `text`.
///
/// # Errors
/// It never is.
pub(super) fn like(field: Field, text: &str) -> Result<Expression, String> {
    let pattern = Pattern::glob(&field.spelt(text));
    if let Pattern::Exact(text) = &pattern {
        possible(&field, text)?;
    }
    Ok(Expression::Is(field, pattern))
}

fn possible(field: &Field, text: &str) -> Result<(), String> {
    if field.is_impossible(text) {
        return Err(format!("the kind is `user` or `admin`, and never `{text}`"));
    }
    Ok(())
}
