//! What Keyferry says of a record, in headers around it.
//!
//! The invariant: **a record that carries our headers is either understood or refused with the header that is wrong**, never taken for somebody else's.

use std::fmt;
use std::str::FromStr;

/// The `ce_type` of a gap record.
pub const GAP_TYPE: &str = "org.keyferry.gap";
/// The longest node's name in bytes: longer than any host's name, and short enough to be kept for each epoch.
const LONGEST_NODE: usize = 1024;

/// A life of a journal's writer: each start of Keycloak begins one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Epoch(pub u64);

impl Epoch {
    /// The number of the slot on which the epoch was lived. Epochs of a node and slot follow one another; those of different slots overlap.
    #[must_use]
    pub fn slot(self) -> u8 {
        (self.0 & 0xFF) as u8
    }
}

impl fmt::Display for Epoch {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{:016x}", self.0)
    }
}

impl FromStr for Epoch {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const EXPECTED: &str = "an epoch has 16 lower-case hexadecimal digits";
        let is_digit = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        if text.len() != 16 || !text.bytes().all(is_digit) {
            return Err(EXPECTED);
        }
        u64::from_str_radix(text, 16).map(Self).map_err(|_| EXPECTED)
    }
}

/// Whether what an event tells of is known to have happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// Its transaction has committed.
    Committed,
    /// In doubt: Keycloak died before the outcome of the transaction was written.
    Unknown,
    /// The record does not say: it has no headers of ours, or is a gap record.
    Untold,
}

/// Where a record stands in the stream of its node.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Place {
    /// The Keycloak node.
    pub node: String,
    /// The epoch in which records are counted.
    pub epoch: Epoch,
    /// The record's number in its epoch and destination, from 1.
    pub sequence: u64,
}

/// What the headers of a record say of its delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Delivery<'a> {
    /// `ce_node`.
    pub node: &'a str,
    /// `ce_epoch`.
    pub epoch: Epoch,
    /// `ce_sequence`, at least 1.
    pub sequence: u64,
    /// `ce_id`.
    pub id: &'a str,
    /// `ce_outcome`.
    pub outcome: Outcome,
    /// Whether it was sent before, and is sent again by an operator (`ce_replay`).
    pub is_replay: bool,
}

/// Our headers, but not as they should be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HeaderError {
    /// One is not there.
    #[error("the header {0} is missing; something between Keyferry and here has dropped it")]
    Missing(&'static str),
    /// One has a value that Keyferry never writes.
    #[error("the header {name} is `{value}`: {expected}")]
    Illegal {
        /// Which.
        name: &'static str,
        /// Its value.
        value: String,
        /// What was expected.
        expected: &'static str,
    },
}

/// The headers of a record that matter here. Others are passed over; of two with one name the latter counts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Headers<'a> {
    node: Option<&'a [u8]>,
    epoch: Option<&'a [u8]>,
    sequence: Option<&'a [u8]>,
    id: Option<&'a [u8]>,
    outcome: Option<&'a [u8]>,
    event_type: Option<&'a [u8]>,
    replay: Option<&'a [u8]>,
    traceparent: Option<&'a [u8]>,
    content_type: Option<&'a [u8]>,
}

impl<'a, N: AsRef<str>> FromIterator<(N, &'a [u8])> for Headers<'a> {
    fn from_iter<I: IntoIterator<Item = (N, &'a [u8])>>(pairs: I) -> Self {
        let mut headers = Self::default();
        pairs.into_iter().for_each(|(name, value)| headers.add(name.as_ref(), value));
        headers
    }
}

impl<'a> Headers<'a> {
    /// Takes note of a header.
    pub fn add(&mut self, name: &str, value: &'a [u8]) {
        let header = match name {
            "ce_node" => &mut self.node,
            "ce_epoch" => &mut self.epoch,
            "ce_sequence" => &mut self.sequence,
            "ce_id" => &mut self.id,
            "ce_outcome" => &mut self.outcome,
            "ce_type" => &mut self.event_type,
            "ce_replay" => &mut self.replay,
            "ce_traceparent" => &mut self.traceparent,
            "content-type" => &mut self.content_type,
            _ => return,
        };
        *header = Some(value);
    }

    /// What they say of the delivery; `None` if neither epoch nor outcome is there, the two that no other producer of CloudEvents has.
    ///
    /// # Errors
    /// A header of ours is missing or illegal.
    pub fn delivery(&self) -> Result<Option<Delivery<'a>>, HeaderError> {
        if self.epoch.is_none() && self.outcome.is_none() {
            return Ok(None);
        }
        let number =
            |text: &str| text.parse().ok().filter(|number| *number > 0).ok_or("a number, at least 1");
        let short =
            |text: &'a str| if text.len() > LONGEST_NODE { Err("at most 1024 bytes") } else { Ok(text) };
        Ok(Some(Delivery {
            node: read("ce_node", self.node, short)?,
            epoch: read("ce_epoch", self.epoch, str::parse)?,
            sequence: read("ce_sequence", self.sequence, number)?,
            id: read("ce_id", self.id, Ok)?,
            outcome: self.outcome()?,
            is_replay: self.replay.is_some(),
        }))
    }

    fn outcome(&self) -> Result<Outcome, HeaderError> {
        if self.outcome.is_none() {
            return Ok(Outcome::Untold);
        }
        read("ce_outcome", self.outcome, |text| match text {
            "committed" => Ok(Outcome::Committed),
            "unknown" => Ok(Outcome::Unknown),
            _ => Err("`committed` or `unknown`"),
        })
    }

    /// `ce_id`.
    #[must_use]
    pub fn id(&self) -> Option<&'a str> {
        text(self.id)
    }

    /// `ce_type`.
    #[must_use]
    pub fn event_type(&self) -> Option<&'a str> {
        text(self.event_type)
    }

    /// `ce_replay`: when the record was sent again, RFC 3339.
    #[must_use]
    pub fn replay(&self) -> Option<&'a str> {
        text(self.replay)
    }

    /// `ce_traceparent`: the request's W3C Trace Context.
    #[must_use]
    pub fn traceparent(&self) -> Option<&'a str> {
        text(self.traceparent)
    }

    /// The media type of `content-type`, without its parameters.
    #[must_use]
    pub fn media_type(&self) -> Option<&'a str> {
        text(self.content_type).map(|text| text.split(';').next().unwrap_or_default().trim())
    }
}

fn text(value: Option<&[u8]>) -> Option<&str> {
    std::str::from_utf8(value?).ok()
}

fn read<'a, T>(
    name: &'static str,
    value: Option<&'a [u8]>,
    read: impl FnOnce(&'a str) -> Result<T, &'static str>,
) -> Result<T, HeaderError> {
    let value = value.ok_or(HeaderError::Missing(name))?;
    let text = std::str::from_utf8(value).map_err(|_| "text in UTF-8");
    text.and_then(read).map_err(|expected| HeaderError::Illegal {
        name,
        value: String::from_utf8_lossy(&value[..value.len().min(LONGEST_NODE)]).into_owned(),
        expected,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const OURS: [(&str, &[u8]); 5] = [
        ("ce_node", b"kc-1"),
        ("ce_epoch", b"0006447b0d1a2c00"),
        ("ce_sequence", b"00000000000000000007"),
        ("ce_id", b"e-1"),
        ("ce_outcome", b"unknown"),
    ];

    fn delivery<'a>(headers: &[(&str, &'a [u8])]) -> Result<Option<Delivery<'a>>, HeaderError> {
        Headers::from_iter(headers.iter().copied()).delivery()
    }

    #[test]
    fn our_headers_are_read() {
        let expected = Delivery {
            node: "kc-1",
            epoch: Epoch(0x0006_447b_0d1a_2c00),
            sequence: 7,
            id: "e-1",
            outcome: Outcome::Unknown,
            is_replay: false,
        };
        assert_eq!(delivery(&OURS), Ok(Some(expected)));
        assert_eq!(delivery(&OURS[..4]), Ok(Some(Delivery { outcome: Outcome::Untold, ..expected })));
        let replayed = [&OURS[..], &[("ce_replay", b"2026-01-31T03:00:00Z")]].concat();
        assert_eq!(delivery(&replayed), Ok(Some(Delivery { is_replay: true, ..expected })));
    }

    #[test]
    fn those_of_others_are_foreign() {
        assert_eq!(delivery(&[("ce_id", b"1"), ("ce_source", b"x"), ("ce_sequence", b"1")]), Ok(None));
        assert_eq!(delivery(&[]), Ok(None));
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (index, (name, _)) in OURS[..4].iter().enumerate() {
            let mut headers = OURS.to_vec();
            headers.remove(index);
            assert_eq!(delivery(&headers), Err(HeaderError::Missing(name)), "without {name}");
        }
        for (index, wrong) in [
            (0, &[b'x'; LONGEST_NODE + 1][..]),
            (1, &b"6447b0d1a2c00"[..]),
            (2, b"0"),
            (2, b"x"),
            (4, b"aborted"),
        ] {
            let mut headers = OURS.to_vec();
            headers[index].1 = wrong;
            let error = delivery(&headers).unwrap_err().to_string();
            assert!(error.contains(OURS[index].0), "{error}");
        }
    }

    #[test]
    fn parameters_are_no_part_of_a_media_type() {
        let headers = Headers::from_iter([("content-type", &b"application/json; charset=utf-8"[..])]);
        assert_eq!(headers.media_type(), Some("application/json"));
    }
}
