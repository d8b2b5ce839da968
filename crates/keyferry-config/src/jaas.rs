//! The one line of Java's login configuration that Kafka clients carry in `sasl.jaas.config`.
//!
//! The grammar is `module flag (name = value)* ;`. Values are words or stand in double or single quotes, in which the
//! backslash escapes as in C. Comments are Java's. No error ever repeats a piece of the text, because it holds a password.

use std::iter::Peekable;
use std::str::Chars;

use thiserror::Error;

/// Why a login configuration cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub(crate) enum JaasError {
    #[error("a login module, a control flag, options and a final `;`; there is no {missing}")]
    Missing { missing: &'static str },
    #[error(
        "`;` after the last option of the login module; a value with other characters than letters, digits, `.`, `_`, `-` and `$` must stand in double quotes"
    )]
    NotTerminated,
    #[error(
        "`name=value` for each option of the login module; a value with other characters than letters, digits, `.`, `_`, `-` and `$` must stand in double quotes"
    )]
    NotAnOption,
    #[error("a closing quote for each opening one, on the same line")]
    UnterminatedQuote,
    #[error("one login module, and there are several")]
    SeveralModules,
}

/// A login module and its options.
#[derive(PartialEq, Eq)]
pub(crate) struct LoginModule {
    class: String,
    options: Vec<(String, String)>,
}

#[derive(PartialEq, Eq)]
enum Token {
    Word(String),
    Equals,
    Semicolon,
    Other,
}

impl LoginModule {
    pub(crate) fn parse(text: &str) -> Result<Self, JaasError> {
        let mut tokens = Tokens { characters: text.chars().peekable() };
        let Some(Token::Word(class)) = tokens.next()? else {
            return Err(JaasError::Missing { missing: "login module" });
        };
        let Some(Token::Word(flag)) = tokens.next()? else {
            return Err(JaasError::Missing { missing: "control flag such as `required`" });
        };
        if !["required", "requisite", "sufficient", "optional"].contains(&flag.to_ascii_lowercase().as_str())
        {
            return Err(JaasError::Missing { missing: "control flag such as `required`" });
        }
        let options = tokens.options()?;
        match tokens.next()? {
            None => Ok(Self { class, options }),
            Some(_) => Err(JaasError::SeveralModules),
        }
    }

    /// The class's name without its package, which distributions of Kafka change.
    pub(crate) fn simple_name(&self) -> &str {
        self.class.rsplit('.').next().unwrap_or(&self.class)
    }

    /// The same module with other values of its options.
    pub(crate) fn try_map_options<E>(
        mut self,
        mut map: impl FnMut(&str) -> Result<String, E>,
    ) -> Result<Self, E> {
        for (_, value) in &mut self.options {
            *value = map(value)?;
        }
        Ok(self)
    }

    /// The value of an option; the last one where it is given twice.
    pub(crate) fn option(&self, name: &str) -> Option<&str> {
        self.options.iter().rev().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }
}

struct Tokens<'a> {
    characters: Peekable<Chars<'a>>,
}

impl Tokens<'_> {
    /// The options up to and with the semicolon.
    fn options(&mut self) -> Result<Vec<(String, String)>, JaasError> {
        let mut options = Vec::new();
        loop {
            let name = match self.next()? {
                Some(Token::Semicolon) => return Ok(options),
                Some(Token::Word(name)) => name,
                Some(Token::Equals | Token::Other) => return Err(JaasError::NotAnOption),
                None => return Err(JaasError::NotTerminated),
            };
            if self.next()? != Some(Token::Equals) {
                return Err(JaasError::NotAnOption);
            }
            match self.next()? {
                Some(Token::Word(value)) => options.push((name, value)),
                _ => return Err(JaasError::NotAnOption),
            }
        }
    }

    fn next(&mut self) -> Result<Option<Token>, JaasError> {
        loop {
            let Some(first) = self.characters.next() else { return Ok(None) };
            return Ok(Some(match first {
                blank if blank.is_whitespace() || blank.is_control() => continue,
                '/' if self.skip_comment() => continue,
                quote @ ('"' | '\'') => Token::Word(self.quoted(quote)?),
                '=' => Token::Equals,
                ';' => Token::Semicolon,
                letter if is_word(letter) => Token::Word(self.word(letter)),
                _ => Token::Other,
            }));
        }
    }

    /// Skips what follows a `/` if it makes a comment.
    fn skip_comment(&mut self) -> bool {
        match self.characters.peek() {
            Some('/') => {
                self.characters.by_ref().take_while(|character| *character != '\n').for_each(drop);
                true
            }
            Some('*') => {
                self.characters.next();
                let mut previous = ' ';
                for character in self.characters.by_ref() {
                    if previous == '*' && character == '/' {
                        break;
                    }
                    previous = character;
                }
                true
            }
            _ => false,
        }
    }

    fn word(&mut self, first: char) -> String {
        let mut word = String::from(first);
        while let Some(next) = self.characters.next_if(|character| is_word(*character)) {
            word.push(next);
        }
        word
    }

    fn quoted(&mut self, quote: char) -> Result<String, JaasError> {
        let mut value = String::new();
        loop {
            match self.characters.next() {
                None | Some('\n' | '\r') => return Err(JaasError::UnterminatedQuote),
                Some('\\') => value.push(self.escaped()?),
                Some(end) if end == quote => return Ok(value),
                Some(character) => value.push(character),
            }
        }
    }

    fn escaped(&mut self) -> Result<char, JaasError> {
        Ok(match self.characters.next().ok_or(JaasError::UnterminatedQuote)? {
            'a' => '\u{7}',
            'b' => '\u{8}',
            'f' => '\u{c}',
            'n' => '\n',
            'r' => '\r',
            't' => '\t',
            'v' => '\u{b}',
            digit @ '0'..='7' => self.octal(digit),
            other => other,
        })
    }

    /// Up to three octal digits, of which three only below `\400`.
    fn octal(&mut self, first: char) -> char {
        let longest = if first <= '3' { 3 } else { 2 };
        let mut code = first.to_digit(8).unwrap_or(0);
        for _ in 1..longest {
            let Some(digit) = self.characters.next_if(|character| character.is_digit(8)) else { break };
            code = code * 8 + digit.to_digit(8).unwrap_or(0);
        }
        char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER)
    }
}

fn is_word(character: char) -> bool {
    character.is_ascii_alphanumeric() || matches!(character, '.' | '_' | '-' | '$') || character > '\u{a0}'
}
