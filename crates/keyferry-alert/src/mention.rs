//! Where the file names actions.
//!
//! The invariant: **what an agent cannot do is refused when the file is read**, with its line and key and what would have to be otherwise; not in the middle of an
//! incident, when it is wanted.

use serde::Deserialize;
use toml::Spanned;

use crate::error::Error;
use crate::incident::Action;

/// Says of an action, by its name, why an agent can never do it and what would have to be otherwise; `None` if it can.
pub type Inability<'a> = &'a dyn Fn(&str) -> Option<String>;

/// The key of what may be done.
const ALLOW: &str = "incidents.allow";

/// A place of the file that names an action.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Mention {
    action: String,
    /// Counted from 1.
    line: usize,
    key: String,
}

#[derive(Deserialize)]
struct File {
    #[serde(default)]
    incidents: Incidents,
    #[serde(default, rename = "playbook")]
    playbooks: Vec<Playbook>,
}

#[derive(Default, Deserialize)]
struct Incidents {
    #[serde(default)]
    allow: Vec<Spanned<String>>,
}

#[derive(Deserialize)]
struct Playbook {
    name: String,
    #[serde(default)]
    actions: Vec<Step>,
}

#[derive(Deserialize)]
struct Step {
    action: Spanned<String>,
}

impl Mention {
    /// All of a file with this text, in order. None if it has not the right form, which whoever reads the rest of it says better.
    pub(crate) fn all_of(text: &str) -> Vec<Self> {
        let Ok(file) = toml::from_str::<File>(text) else { return Vec::new() };
        let mention = |key: String, action: Spanned<String>| {
            let line = text[..action.span().start].matches('\n').count() + 1;
            Self { line, key, action: action.into_inner() }
        };
        let allowed = file.incidents.allow.into_iter().map(|action| mention(ALLOW.to_owned(), action));
        let steps = file.playbooks.into_iter().flat_map(|Playbook { name, actions }| {
            actions.into_iter().map(move |step| mention(format!("playbook `{name}`, `action`"), step.action))
        });
        allowed.chain(steps).collect()
    }

    /// That there is such an action, and that it can be done where `inability` speaks of.
    pub(crate) fn check(&self, inability: Inability<'_>) -> Result<(), Error> {
        let refusal = Action::refusal(&self.action).or_else(|| inability(&self.action));
        refusal.map_or(Ok(()), |refusal| self.refuse(&refusal))
    }

    /// That it may be done, where `allow` has all that may.
    pub(crate) fn check_allowed(&self, allow: &[String]) -> Result<(), Error> {
        if self.key == ALLOW || allow.contains(&self.action) {
            return Ok(());
        }
        self.refuse(&format!("`{ALLOW}` does not name it: add it there, or take it out of the playbook"))
    }

    fn refuse(&self, refusal: &str) -> Result<(), Error> {
        let place = format!("line {}, {}", self.line, self.key);
        Err(Error::Setting { place, wrong: format!("`{}` cannot be done: {refusal}", self.action) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "environment = 'x'\n[incidents]\nallow = [\n 'reconnect',\n 'fail_over',\n]\n\n[[playbook]]\nname = 'p'\n\
                        actions = [{ action = 'reconnect' }, { action = 'restart_agent' }]\n";

    fn said(result: Result<(), Error>) -> String {
        result.unwrap_err().to_string()
    }

    #[test]
    fn every_action_is_found_with_its_line_and_key() {
        let found: Vec<_> =
            Mention::all_of(FILE).into_iter().map(|one| (one.line, one.key, one.action)).collect();
        let step = "playbook `p`, `action`";
        let expected = [
            (4, ALLOW, "reconnect"),
            (5, ALLOW, "fail_over"),
            (10, step, "reconnect"),
            (10, step, "restart_agent"),
        ];
        assert_eq!(found, expected.map(|(line, key, action)| (line, key.to_owned(), action.to_owned())));
        assert!(Mention::all_of("[[playbook").is_empty());
    }

    #[test]
    fn what_cannot_be_done_is_refused_where_it_is_named() {
        let inability = |name: &str| (name == "fail_over").then(|| "set the fallback".to_owned());
        let all = Mention::all_of(FILE);
        assert!(all[0].check(&inability).is_ok() && all[3].check(&inability).is_ok());
        assert_eq!(
            said(all[1].check(&inability)),
            "line 5, incidents.allow: `fail_over` cannot be done: set the fallback"
        );
        for never in ["compress_segments", "rm -rf /"] {
            let all = Mention::all_of(&format!("incidents.allow = ['{never}']"));
            assert!(said(all[0].check(&|_| None)).starts_with("line 1, incidents.allow"), "{never}");
        }
    }

    #[test]
    fn a_playbook_does_only_what_is_allowed() {
        let allow = ["reconnect".to_owned()];
        let all = Mention::all_of(FILE);
        assert!(all[..3].iter().all(|one| one.check_allowed(&allow).is_ok()));
        assert!(
            said(all[3].check_allowed(&allow)).contains("line 10, playbook `p`, `action`: `restart_agent`")
        );
    }
}
