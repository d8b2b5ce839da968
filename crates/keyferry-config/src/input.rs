//! From the text of one value to the value, in the dialect of its source.
//!
//! Keyferry's own sources write units (`10ms`, `64KiB`) and are held to the legal range. The drop-in names follow Kafka's
//! Java client: plain milliseconds and bytes, and a number that librdkafka does not allow is taken to the nearest that it
//! does, with a warning, so that a configuration that worked before works on.

use std::fmt::Display;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use crate::secret::Secret;
use crate::units::{ByteSize, format_duration, parse_duration};

/// How a source writes its values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Dialect {
    /// Keyferry's own: with units.
    Native,
    /// That of Kafka's Java client.
    Kafka,
}

/// One value as text.
#[derive(Clone, Copy)]
pub(crate) struct Input<'a> {
    pub(crate) text: &'a str,
    pub(crate) dialect: Dialect,
}

/// Why a value cannot be taken.
pub(crate) enum Rejected {
    /// It is not what the option takes.
    Expected(String),
    /// It cannot be honoured; the text says why and what to do instead.
    Refused(String),
    /// A reference in it yields nothing, for now; the text says which and why.
    Unresolved(String),
}

/// A value, and why it is not the one that was given, if it is not.
pub(crate) struct Parsed<T> {
    pub(crate) value: T,
    pub(crate) overruled: Option<String>,
}

impl<T> Parsed<T> {
    pub(crate) fn as_given(value: T) -> Self {
        Self { value, overruled: None }
    }

    pub(crate) fn map<U>(self, f: impl FnOnce(T) -> U) -> Parsed<U> {
        Parsed { value: f(self.value), overruled: self.overruled }
    }
}

pub(crate) type ParseResult<T> = Result<Parsed<T>, Rejected>;

/// An enumeration with a fixed spelling of each value.
pub(crate) trait Keyword: Copy + 'static {
    const ALL: &'static [Self];

    fn spelling(self) -> &'static str;
}

impl Input<'_> {
    /// A duration: with its unit, or Kafka's whole milliseconds.
    pub(crate) fn duration(&self, millis: RangeInclusive<u64>) -> ParseResult<Duration> {
        let parsed = match self.dialect {
            Dialect::Native => {
                let duration = parse_duration(self.text).ok_or_else(|| {
                    expected("a whole number with its unit (ms, s, m, h, d), such as `10ms`")
                })?;
                let given = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
                in_range(given, &millis, |value| format_duration(Duration::from_millis(value)))?
            }
            Dialect::Kafka => self.clamped("milliseconds", &millis)?,
        };
        Ok(parsed.map(Duration::from_millis))
    }

    /// A size: with its unit, or Kafka's whole bytes.
    pub(crate) fn size(&self, bytes: RangeInclusive<u64>) -> ParseResult<ByteSize> {
        let parsed = match self.dialect {
            Dialect::Native => {
                let size = ByteSize::parse(self.text).ok_or_else(|| {
                    expected("a whole number with its unit (B, KiB, MiB, GiB), such as `64KiB`")
                })?;
                in_range(size.as_bytes(), &bytes, |value| ByteSize::bytes(value).to_string())?
            }
            Dialect::Kafka => self.clamped("bytes", &bytes)?,
        };
        Ok(parsed.map(ByteSize::bytes))
    }

    /// A size of Keyferry's own dialect, or `none`.
    pub(crate) fn size_or_none(&self, bytes: RangeInclusive<u64>) -> ParseResult<Option<ByteSize>> {
        if self.text.trim().eq_ignore_ascii_case("none") {
            return Ok(Parsed::as_given(None));
        }
        match self.size(bytes) {
            Ok(parsed) => Ok(parsed.map(Some)),
            Err(Rejected::Expected(size)) => Err(Rejected::Expected(format!("`none`, or {size}"))),
            Err(other) => Err(other),
        }
    }

    /// A whole number.
    pub(crate) fn integer(&self, range: RangeInclusive<u64>, unit: &str) -> ParseResult<u64> {
        match self.dialect {
            Dialect::Native => {
                let given = self.text.trim().parse().map_err(|_| expected("a whole number"))?;
                in_range(given, &range, |value| value.to_string())
            }
            Dialect::Kafka => self.clamped(unit, &range),
        }
    }

    /// `true` or `false`.
    pub(crate) fn boolean(&self) -> ParseResult<bool> {
        match self.text.trim().to_ascii_lowercase().as_str() {
            "true" => Ok(Parsed::as_given(true)),
            "false" => Ok(Parsed::as_given(false)),
            _ => Err(expected("`true` or `false`")),
        }
    }

    /// One of a fixed set of words; letter case does not matter.
    pub(crate) fn keyword<K: Keyword>(&self) -> ParseResult<K> {
        let given = self.text.trim();
        K::ALL
            .iter()
            .find(|keyword| keyword.spelling().eq_ignore_ascii_case(given))
            .map(|keyword| Parsed::as_given(*keyword))
            .ok_or_else(|| Rejected::Expected(one_of::<K>()))
    }

    /// Any type that says in its error what it expects.
    pub(crate) fn parse<T>(&self) -> ParseResult<T>
    where
        T: FromStr,
        T::Err: Display,
    {
        let value = self.text.trim().parse::<T>().map_err(|error| Rejected::Expected(error.to_string()))?;
        Ok(Parsed::as_given(value))
    }

    /// A text that is not blank.
    pub(crate) fn text(&self) -> ParseResult<String> {
        let text = self.text.trim();
        if text.is_empty() {
            return Err(expected("a text that is not blank"));
        }
        Ok(Parsed::as_given(text.to_owned()))
    }

    /// A path that is not blank.
    pub(crate) fn path(&self) -> ParseResult<PathBuf> {
        Ok(self.text()?.map(PathBuf::from))
    }

    /// A secret. Blanks around it belong to it.
    pub(crate) fn secret(&self) -> ParseResult<Secret> {
        if self.text.is_empty() {
            return Err(expected("a secret that is not empty"));
        }
        Ok(Parsed::as_given(Secret::new(self.text)))
    }

    /// A whole number as Kafka's client takes it, negative ones included, taken to the nearest legal one.
    fn clamped(&self, unit: &str, range: &RangeInclusive<u64>) -> ParseResult<u64> {
        let of_unit = if unit.is_empty() { String::new() } else { format!(" of {unit}") };
        let given: i64 = self
            .text
            .trim()
            .parse()
            .map_err(|_| Rejected::Expected(format!("a whole number{of_unit} without a unit")))?;
        let nearest = u64::try_from(given).unwrap_or(0).clamp(*range.start(), *range.end());
        let overruled = (i64::try_from(nearest) != Ok(given)).then(|| {
            format!("{given} is outside of {} to {}, {nearest} is used", range.start(), range.end())
        });
        Ok(Parsed { value: nearest, overruled })
    }
}

/// `expected` as a rejection.
pub(crate) fn expected(text: &str) -> Rejected {
    Rejected::Expected(text.to_owned())
}

/// The legal words, for messages and the reference.
pub(crate) fn one_of<K: Keyword>() -> String {
    let words: Vec<String> = K::ALL.iter().map(|keyword| format!("`{}`", keyword.spelling())).collect();
    match words.split_last() {
        Some((last, rest)) if !rest.is_empty() => format!("{} or {last}", rest.join(", ")),
        _ => words.concat(),
    }
}

fn in_range(given: u64, range: &RangeInclusive<u64>, show: impl Fn(u64) -> String) -> ParseResult<u64> {
    if range.contains(&given) {
        return Ok(Parsed::as_given(given));
    }
    Err(Rejected::Expected(format!("a value from {} to {}", show(*range.start()), show(*range.end()))))
}
