//! A topic that keeps the newest record of each key: whether it is there, and whether it is such a one.
//!
//! The invariant: **nothing is waited for without an end, and nothing is created that was not asked for.** What is asked is asked by a client that lives for the question.

use std::time::{Duration, Instant};

use keyferry_event::{Failure, FailureClass, Sink as _};

use crate::examine::{explained, wait};
use crate::settings::ProducerSettings;
use crate::sink::KafkaSink;
use crate::topics::{Answer, Creation, Described, NewTopic, Question, Request};

/// The entry of a topic's configuration that says how room is made in it.
const CLEANUP: &str = "cleanup.policy";
/// That the newest record of each key is kept.
const COMPACT: &str = "compact";

/// What a cluster says of the topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// It does not exist, or we may not know of it.
    Missing,
    /// It exists.
    Present {
        /// Whether we may write to it; `None` if the cluster does not tell.
        writable: Option<bool>,
        /// How room is made in it, in Kafka's words; or why that is not told.
        cleanup: Result<String, Failure>,
    },
}

impl Found {
    /// What keeps it from being of use, or may do so one day, in words; `None` if nothing does.
    pub fn lack(&self) -> Option<String> {
        match self {
            Self::Missing => Some("it does not exist".to_owned()),
            Self::Present { writable: Some(false), .. } => Some("this user may not write to it".to_owned()),
            Self::Present { cleanup: Err(failure), .. } => {
                Some(format!("it is not told whether it is compacted: {}", failure.reason))
            }
            Self::Present { cleanup: Ok(policy), .. } if policy != COMPACT => Some(format!(
                "its {CLEANUP} is {policy}: what holds for all nodes is forgotten when its records are as old as the topic keeps them; set {COMPACT}"
            )),
            Self::Present { .. } => None,
        }
    }
}

/// Looks at `topic`.
///
/// # Errors
/// The client refuses the settings, the login fails, or the cluster has not answered within `limit`.
pub fn look(settings: &ProducerSettings, topic: &str, limit: Duration) -> Result<Found, Failure> {
    let mut sink = KafkaSink::new(settings.clone())?;
    let names = || vec![topic.to_owned()];
    let writable = match ask(&mut sink, Question::Describe(names()), limit)? {
        Answer::Described(described) => match described?.pop() {
            Some((_, Described::Present(description))) => description.writable,
            Some((_, Described::Refused(failure))) => return Err(failure),
            Some((_, Described::Missing)) | None => return Ok(Found::Missing),
        },
        other => return Err(unexpected(&other)),
    };
    let cleanup = match ask(&mut sink, Question::Configuration(names()), limit)? {
        Answer::Configuration(configuration) => configuration.and_then(|mut topics| {
            let (_, entries) =
                topics.pop().ok_or_else(|| Failure::transient("the cluster says nothing of it"))?;
            let policy = entries?.into_iter().find(|(name, _)| name == CLEANUP);
            policy.map(|(_, policy)| policy).ok_or_else(|| Failure::transient(format!("it has no {CLEANUP}")))
        }),
        other => return Err(unexpected(&other)),
    };
    Ok(Found::Present { writable, cleanup })
}

/// Creates `topic` with one partition, compacted. That somebody else has done so meanwhile is as good.
///
/// # Errors
/// The cluster refuses it, or has not answered within `limit`.
pub fn create(
    settings: &ProducerSettings,
    topic: &str,
    replication: Option<u16>,
    limit: Duration,
) -> Result<(), Failure> {
    let mut sink = KafkaSink::new(settings.clone())?;
    let configuration = vec![(CLEANUP.to_owned(), COMPACT.to_owned())];
    let new = NewTopic { name: topic.to_owned(), partitions: Some(1), replication, configuration };
    match ask(&mut sink, Question::Create(vec![new]), limit)? {
        Answer::Created(created) => match created?.pop() {
            Some((_, Ok(()) | Err(Creation::Exists))) => Ok(()),
            Some((_, Err(Creation::Failed(failure)))) => Err(failure),
            None => Err(Failure::transient("the cluster does not say whether it was created")),
        },
        other => Err(unexpected(&other)),
    }
}

fn ask(sink: &mut KafkaSink, question: Question, limit: Duration) -> Result<Answer, Failure> {
    sink.ask(&Request { question, timeout: limit })?;
    let begun = Instant::now();
    // The client's own limit comes first, so that it is the one that says what was missing.
    while begun.elapsed() < limit + Duration::from_secs(1) {
        wait(sink);
        sink.poll(&mut |_, _| {});
        if let Some(answer) = sink.answer() {
            return Ok(answer);
        }
        if let Some(failure) = sink.trouble().filter(|failure| failure.class == FailureClass::Authentication)
        {
            return Err(failure);
        }
    }
    Err(explained(sink, Failure::transient("the cluster does not answer")))
}

fn unexpected(answer: &Answer) -> Failure {
    Failure::transient(format!("the client answers another question: {answer:?}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_topic_lacks_is_told() {
        let present = |writable, cleanup: Result<&str, Failure>| {
            Found::Present { writable, cleanup: cleanup.map(str::to_owned) }.lack()
        };
        assert_eq!(present(Some(true), Ok("compact")), None);
        assert_eq!(present(None, Ok("compact")), None);
        assert!(Found::Missing.lack().unwrap().contains("does not exist"));
        assert!(present(Some(false), Ok("compact")).unwrap().contains("may not write"));
        for other in ["delete", "compact,delete"] {
            assert!(present(Some(true), Ok(other)).unwrap().contains(other));
        }
        let silent = present(Some(true), Err(Failure::transient("no right"))).unwrap();
        assert!(silent.contains("no right"), "{silent}");
    }
}
