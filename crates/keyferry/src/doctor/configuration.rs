//! The configuration, as an agent that begins now would have it.

use keyferry_config::{ConfigError, ConfigErrors, Loaded, Readiness, Warning};

use super::checks::{CONFIG_COMPLETE, CONFIG_SECRET, CONFIG_UNKNOWN_KEY, CONFIG_VALID, CONFIG_WARNING};
use super::finding::Finding;

/// What follows from what was loaded; `place` is where from.
pub fn judge(place: &str, loaded: &Result<Loaded, ConfigErrors>) -> Vec<Finding> {
    match loaded {
        Err(errors) => {
            let mut findings: Vec<_> =
                errors.errors().iter().map(|error| judge_error(place, error)).collect();
            let later = [&CONFIG_COMPLETE, &CONFIG_SECRET, &CONFIG_WARNING];
            findings.extend(later.map(|check| check.after(place, &CONFIG_VALID)));
            findings
        }
        Ok(loaded) => {
            let mut findings = vec![CONFIG_VALID.ok(place, "it can be read")];
            findings.extend(loaded.warnings.iter().map(|warning| judge_warning(place, warning)));
            findings.extend(loaded.config.destinations.iter().map(judge_readiness));
            findings
        }
    }
}

fn judge_error(place: &str, error: &ConfigError) -> Finding {
    match error {
        ConfigError::UnknownKey { .. } => CONFIG_UNKNOWN_KEY.problem(place, error.to_string()),
        _ => CONFIG_VALID.problem(place, error.to_string()),
    }
}

fn judge_warning(place: &str, warning: &Warning) -> Finding {
    match warning {
        Warning::Unknown { .. } => CONFIG_UNKNOWN_KEY.warning(place, warning.to_string()),
        _ => CONFIG_WARNING.warning(place, warning.to_string()),
    }
}

fn judge_readiness(readiness: &Readiness) -> Finding {
    let name = readiness.name();
    match readiness {
        Readiness::Complete(_) => CONFIG_COMPLETE.ok(name, "nothing is missing"),
        Readiness::Incomplete { missing, .. } => {
            let missing: Vec<String> = missing.iter().map(ToString::to_string).collect();
            CONFIG_COMPLETE.problem(name, missing.join("; "))
        }
        Readiness::Unresolved { reasons, .. } => CONFIG_SECRET.problem(name, reasons.join("; ")),
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use keyferry_config::Sources;

    use super::*;
    use crate::doctor::finding::Severity;

    fn wrong(text: &str) -> Vec<(&'static str, Severity)> {
        let sources = Sources::new().with_file_text(Path::new("keyferry.toml"), text);
        let findings = judge("keyferry.toml", &keyferry_config::load(&sources)).into_iter();
        let wrong = findings.filter(|finding| finding.severity > Severity::Ok);
        wrong.map(|finding| (finding.check, finding.severity)).collect()
    }

    #[test]
    fn each_fault_of_a_configuration_has_its_check() {
        let sound = "[destination]\nbootstrap_servers = [\"k:1\"]\ntopic_events = \"e\"\n";
        assert_eq!(wrong(sound), []);
        for (line, id) in [
            ("topic_evnts = \"e\"\n", "config.unknown-key"),
            ("headers = \"some\"\n", "config.valid"),
            ("client_id = \"${file:/nowhere/at/all}\"\n", "config.secret"),
        ] {
            assert_eq!(wrong(&format!("{sound}{line}")), [(id, Severity::Problem)], "{line}");
        }
        assert_eq!(wrong("[destination"), [("config.valid", Severity::Problem)]);
        assert_eq!(wrong(""), [("config.complete", Severity::Problem)]);
    }
}
