//! What the answer of a registry means: an id, or why there is none and who can do something about it.
//!
//! The error codes are those of Confluent's API reference; a code is believed before the status that comes with it.

use std::fmt;

use keyferry_event::{Failure, FailureClass, SchemaId};
use serde_json::Value;

use crate::client::{Answer, Trouble};

/// Why there is no id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// No connection.
    Unreachable,
    /// No answer in time.
    Slow,
    /// It answers that it cannot, for now.
    Failing,
    /// TLS fails.
    Insecure,
    /// It does not know us.
    Unauthenticated,
    /// It knows us and refuses a right.
    Forbidden,
    /// The schema does not go together with those that the subject has.
    Incompatible,
    /// It takes the schema for none.
    Invalid,
    /// The subject, or this schema of it, is not there, and we are not to register it.
    Missing,
    /// What answers there is no schema registry.
    Unintelligible,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Self; 10] = [
        Self::Unreachable,
        Self::Slow,
        Self::Failing,
        Self::Insecure,
        Self::Unauthenticated,
        Self::Forbidden,
        Self::Incompatible,
        Self::Invalid,
        Self::Missing,
        Self::Unintelligible,
    ];

    /// The word for it, in metrics and API.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Unreachable => "unreachable",
            Self::Slow => "slow",
            Self::Failing => "failing",
            Self::Insecure => "insecure",
            Self::Unauthenticated => "unauthenticated",
            Self::Forbidden => "forbidden",
            Self::Incompatible => "incompatible",
            Self::Invalid => "invalid",
            Self::Missing => "missing",
            Self::Unintelligible => "unintelligible",
        }
    }

    /// What can be done about it.
    pub const fn class(self) -> FailureClass {
        match self {
            Self::Unreachable | Self::Slow | Self::Failing => FailureClass::Transient,
            Self::Insecure | Self::Unauthenticated => FailureClass::Authentication,
            Self::Forbidden => FailureClass::Authorisation,
            Self::Incompatible | Self::Invalid | Self::Missing | Self::Unintelligible => {
                FailureClass::Configuration
            }
        }
    }

    /// Whether it concerns every subject, and not only the one that was asked for.
    pub const fn is_of_registry(self) -> bool {
        !matches!(self, Self::Forbidden | Self::Incompatible | Self::Invalid | Self::Missing)
    }

    /// Whether another server of the same registry may do better.
    pub(crate) const fn is_of_server(self) -> bool {
        self.is_of_registry() && !matches!(self, Self::Unauthenticated)
    }

    /// Where to look.
    pub(crate) const fn remedy(self) -> &'static str {
        match self {
            Self::Unreachable => "check destination.registry.url and the network",
            Self::Slow => "check the registry's load, the network and destination.registry.timeout",
            Self::Failing => "see the registry's log",
            Self::Insecure => "check destination.registry.ca_file and the registry's certificate",
            Self::Unauthenticated => {
                "check destination.registry.username and destination.registry.password, or destination.registry.token"
            }
            Self::Forbidden => {
                "grant the agent the right to register under the subject, or register the schema yourself and set destination.registry.register = false"
            }
            Self::Incompatible => {
                "choose another compatibility level for the subject, or another subject by destination.registry.subject_name_strategy"
            }
            Self::Invalid => {
                "the registry does not take this type of schema: enable it there, or choose another destination.format"
            }
            Self::Missing => {
                "register the schema under the subject, or set destination.registry.register = true"
            }
            Self::Unintelligible => {
                "check that destination.registry.url is that of a Confluent-compatible API (of Apicurio that ends with /apis/ccompat/v7)"
            }
        }
    }
}

/// Why there is no id, as a kind and in words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// Which kind.
    pub kind: Kind,
    /// What was said.
    pub what: String,
}

impl Refusal {
    /// As a pipeline is told of it: `place` is what was asked, and for what.
    pub(crate) fn failure(&self, place: &str) -> Failure {
        Failure { class: self.kind.class(), reason: format!("schema registry {place}: {self}") }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.what, self.kind.remedy())
    }
}

/// As much of what a registry says is told.
const LONGEST_MESSAGE: usize = 300;

/// The id that was answered, or why there is none.
///
/// # Errors
/// There is no id.
pub fn interpret(outcome: Result<Answer, Trouble>) -> Result<SchemaId, Refusal> {
    let Answer { status, body } = outcome.map_err(refusal)?;
    let json: Value = serde_json::from_str(&body).unwrap_or_default();
    if (200..300).contains(&status) {
        let id = json["id"].as_u64().and_then(|id| u32::try_from(id).ok());
        return id.map(SchemaId).ok_or_else(|| Refusal {
            kind: Kind::Unintelligible,
            what: format!("HTTP {status} without an id"),
        });
    }
    let code = json["error_code"].as_u64();
    let message = json["message"].as_str().unwrap_or_default();
    let message: String = message.split_whitespace().collect::<Vec<_>>().join(" ");
    let message: String = message.chars().take(LONGEST_MESSAGE).collect();
    let what = match (code, message.as_str()) {
        (_, "") => format!("HTTP {status}"),
        (Some(code), message) => format!("HTTP {status}, error {code}: {message}"),
        (None, message) => format!("HTTP {status}: {message}"),
    };
    Err(Refusal { kind: kind(status, code), what })
}

fn kind(status: u16, code: Option<u64>) -> Kind {
    match (status, code) {
        (_, Some(40_401..=40_403)) => Kind::Missing,
        (_, Some(409)) | (409, _) => Kind::Incompatible,
        (_, Some(42_201)) | (422, _) => Kind::Invalid,
        (401, _) => Kind::Unauthenticated,
        (403, _) => Kind::Forbidden,
        (408 | 425 | 429 | 500..=599, _) => Kind::Failing,
        _ => Kind::Unintelligible,
    }
}

fn refusal(trouble: Trouble) -> Refusal {
    let (kind, what) = match trouble {
        Trouble::Unreachable(what) => (Kind::Unreachable, what),
        Trouble::Slow(limit) => (Kind::Slow, format!("no answer in {limit:?}")),
        Trouble::Insecure(what) => (Kind::Insecure, what),
    };
    Refusal { kind, what }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::time::Duration;

    use super::*;

    fn answer(status: u16, body: &str) -> Result<SchemaId, Refusal> {
        interpret(Ok(Answer { status, body: body.to_owned() }))
    }

    #[test]
    fn an_id_is_an_id_and_nothing_else_is() {
        assert_eq!(answer(200, r#"{"id":7}"#), Ok(SchemaId(7)));
        assert_eq!(
            answer(200, r#"{"subject":"s","version":1,"id":4294967295,"schema":"x"}"#),
            Ok(SchemaId(u32::MAX))
        );
        for none in ["", "[]", "<html>", r#"{"id":-1}"#, r#"{"id":4294967296}"#, r#"{"id":"7"}"#] {
            assert_eq!(answer(200, none).unwrap_err().kind, Kind::Unintelligible, "{none}");
        }
    }

    #[test]
    fn each_refusal_is_of_the_kind_that_says_who_can_help() {
        let of = |code| format!(r#"{{"error_code":{code},"message":"no"}}"#);
        for (status, body, kind) in [
            (401, String::new(), Kind::Unauthenticated),
            (401, of(40_101), Kind::Unauthenticated),
            (403, of(40_301), Kind::Forbidden),
            (404, of(40_401), Kind::Missing),
            (404, of(40_403), Kind::Missing),
            (404, "<html>not found</html>".to_owned(), Kind::Unintelligible),
            (405, String::new(), Kind::Unintelligible),
            (302, String::new(), Kind::Unintelligible),
            (409, of(409), Kind::Incompatible),
            (422, of(42_201), Kind::Invalid),
            (429, String::new(), Kind::Failing),
            (500, of(50_001), Kind::Failing),
            (503, String::new(), Kind::Failing),
        ] {
            assert_eq!(answer(status, &body).unwrap_err().kind, kind, "{status} {body}");
        }
        let of = |trouble| interpret(Err(trouble)).unwrap_err();
        assert_eq!(of(Trouble::Unreachable("refused".to_owned())).kind, Kind::Unreachable);
        assert_eq!(of(Trouble::Slow(Duration::from_secs(5))).what, "no answer in 5s");
        assert_eq!(of(Trouble::Insecure("unknown authority".to_owned())).kind, Kind::Insecure);
    }

    #[test]
    fn what_is_told_names_the_place_what_was_said_and_where_to_look() {
        let refusal = answer(409, "{\"error_code\":409,\"message\":\"not\\n  compatible\"}").unwrap_err();
        let failure = refusal.failure("http://r:8081, subject `events-value`");
        assert_eq!(failure.class, FailureClass::Configuration);
        assert!(
            failure.reason.starts_with(
                "schema registry http://r:8081, subject `events-value`: HTTP 409, error 409: not compatible (choose another compatibility level"
            ),
            "{failure}"
        );
        let long = answer(500, &format!(r#"{{"message":"{}"}}"#, "é".repeat(9_999))).unwrap_err();
        assert_eq!(long.what.chars().count(), "HTTP 500: ".len() + LONGEST_MESSAGE);
    }

    #[test]
    fn every_kind_has_a_word_of_its_own() {
        let words: BTreeSet<&str> = Kind::ALL.iter().map(|kind| kind.word()).collect();
        assert_eq!(words.len(), Kind::ALL.len());
        assert!(Kind::ALL.iter().all(|kind| kind.is_of_registry() || !kind.is_of_server()));
    }
}
