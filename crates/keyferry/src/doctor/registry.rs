//! The schema registry: whether it answers, and what it says of the schema.

use std::collections::BTreeSet;
use std::time::Duration;

use keyferry_event::Schema;
use keyferry_registry::client::{Answer, Examined, Trouble};
use keyferry_registry::failure::{Kind, Refusal, interpret};
use keyferry_registry::{Access, Configuration};

use super::checks::{REGISTRY_ANSWERS, REGISTRY_SCHEMA};
use super::finding::Finding;

/// Looks at each server, and by the first that answers at the subjects of `topics`.
pub fn examine(
    registry: &Configuration,
    schema: &Schema,
    topics: &[String],
    limit: Duration,
) -> Vec<Finding> {
    let Configuration { access, subject_name_strategy } = registry;
    let access = Access { timeout: access.timeout.min(limit), ..access.clone() };
    let subjects: BTreeSet<String> =
        topics.iter().map(|topic| subject_name_strategy.subject(topic, schema.record_name)).collect();
    let Some(first) = subjects.first() else { return Vec::new() };
    let servers: Vec<(String, Result<Examined, Trouble>)> = (0..access.urls.len())
        .map(|server| (access.urls[server].clone(), access.examine(server, first, schema)))
        .collect();
    let (mut findings, answering) = judge_servers(&servers);
    match answering {
        None => {
            findings.extend(subjects.iter().map(|subject| REGISTRY_SCHEMA.after(subject, &REGISTRY_ANSWERS)))
        }
        Some(server) => {
            for subject in &subjects {
                let examined = access.examine(server, subject, schema);
                findings.push(judge_subject(subject, examined, access.registers));
            }
        }
    }
    findings
}

/// What follows from how servers answered, and the first that does. One that fails is a problem where none answers: the agent asks the others.
fn judge_servers(servers: &[(String, Result<Examined, Trouble>)]) -> (Vec<Finding>, Option<usize>) {
    let refusal = |examined: &Result<Examined, Trouble>| {
        let refusal = interpret(examined.clone().map(|examined| examined.looked_up)).err()?;
        refusal.kind.is_of_registry().then_some(refusal)
    };
    let refusals: Vec<Option<Refusal>> = servers.iter().map(|(_, examined)| refusal(examined)).collect();
    let answering = refusals.iter().position(Option::is_none);
    let findings = servers.iter().zip(refusals).map(|((url, _), refusal)| match refusal {
        None => REGISTRY_ANSWERS.ok(url, "it answers"),
        Some(refusal) if answering.is_some() => REGISTRY_ANSWERS.warning(url, refusal.to_string()),
        Some(refusal) => REGISTRY_ANSWERS.problem(url, refusal.to_string()),
    });
    (findings.collect(), answering)
}

/// What follows from what the registry says of `subject`.
fn judge_subject(subject: &str, examined: Result<Examined, Trouble>, registers: bool) -> Finding {
    let examined = match examined {
        Ok(examined) => examined,
        Err(trouble) => {
            let refusal = interpret(Err::<Answer, _>(trouble)).err().map(|refusal| refusal.to_string());
            return REGISTRY_SCHEMA.skipped(subject, refusal.unwrap_or_default());
        }
    };
    let level = examined.compatibility.as_deref().unwrap_or("not told");
    match interpret(Ok(examined.looked_up)) {
        Ok(id) => {
            REGISTRY_SCHEMA.ok(subject, format!("registered with the id {} (compatibility: {level})", id.0))
        }
        Err(Refusal { kind: Kind::Missing, .. }) if !registers => REGISTRY_SCHEMA
            .problem(subject, "it is not registered, and destination.registry.register = false"),
        Err(Refusal { kind: Kind::Missing, .. }) if examined.is_compatible == Some(false) => REGISTRY_SCHEMA
            .problem(
                subject,
                format!("it does not go together with what is registered (compatibility: {level})"),
            ),
        Err(Refusal { kind: Kind::Missing, .. }) => {
            REGISTRY_SCHEMA.ok(subject, format!("the agent will register it (compatibility: {level})"))
        }
        Err(refusal) => REGISTRY_SCHEMA.problem(subject, refusal.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::finding::Severity;

    fn examined(status: u16, body: &str, is_compatible: Option<bool>) -> Examined {
        let looked_up = Answer { status, body: body.to_owned() };
        Examined { looked_up, is_compatible, compatibility: Some("FULL".to_owned()) }
    }

    const MISSING: &str = r#"{"error_code":40401}"#;

    #[test]
    fn what_is_said_of_a_subject_is_judged_by_what_the_agent_may_do() {
        let judge = |examined, registers| judge_subject("s", Ok(examined), registers).severity;
        for (registers, expected) in [(true, Severity::Ok), (false, Severity::Problem)] {
            assert_eq!(judge(examined(404, MISSING, None), registers), expected);
            assert_eq!(judge(examined(200, r#"{"id":7}"#, Some(true)), registers), Severity::Ok);
            assert_eq!(judge(examined(404, MISSING, Some(false)), registers), Severity::Problem);
            assert_eq!(judge(examined(403, "", None), registers), Severity::Problem);
        }
        let told = judge_subject("s", Ok(examined(200, r#"{"id":7}"#, None)), true);
        assert!(told.what.contains("id 7") && told.what.contains("FULL"), "{}", told.what);
    }

    #[test]
    fn a_server_that_fails_is_a_warning_as_long_as_another_answers() {
        let away = || ("a".to_owned(), Err(Trouble::Unreachable("no".to_owned())));
        let login = || ("b".to_owned(), Ok(examined(401, "", None)));
        let well = || ("c".to_owned(), Ok(examined(404, MISSING, None)));
        let of = |servers: &[_]| {
            let (findings, answering) = judge_servers(servers);
            (findings.iter().map(|finding| finding.severity).collect::<Vec<_>>(), answering)
        };
        assert_eq!(of(&[away(), well()]), (vec![Severity::Warning, Severity::Ok], Some(1)));
        assert_eq!(of(&[away(), login()]), (vec![Severity::Problem; 2], None));
    }
}
