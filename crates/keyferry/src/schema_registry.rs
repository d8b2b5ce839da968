//! The schema registry of a destination, as it is configured.

use keyferry_config::{Credentials, Destination, Registry, RegistryLogin};
use keyferry_registry::{Access, Authorization, Configuration, SubjectNameStrategy};

/// How the registry of `destination` is used, if it has one.
pub fn configuration(destination: &Destination) -> Option<Configuration> {
    let Registry { url, login, ca_file, subject_name_strategy, register, timeout } =
        destination.registry.as_ref()?;
    let access = Access {
        urls: url.urls().to_vec(),
        authorization: login.as_ref().map(authorization),
        ca_file: ca_file.clone(),
        timeout: *timeout,
        registers: *register,
    };
    let subject_name_strategy = match subject_name_strategy {
        keyferry_config::SubjectNameStrategy::Topic => SubjectNameStrategy::Topic,
        keyferry_config::SubjectNameStrategy::Record => SubjectNameStrategy::Record,
        keyferry_config::SubjectNameStrategy::TopicRecord => SubjectNameStrategy::TopicRecord,
    };
    Some(Configuration { access, subject_name_strategy })
}

fn authorization(login: &RegistryLogin) -> Authorization {
    match login {
        RegistryLogin::Basic(Credentials { username, password }) => {
            Authorization::Basic { username: username.clone(), password: password.expose().to_owned() }
        }
        RegistryLogin::Token(token) => Authorization::Bearer(token.expose().to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;
    use std::time::Duration;

    use keyferry_config::{Readiness, Sources};

    use super::*;

    fn configured(options: &[(&str, &str)]) -> Option<Configuration> {
        let needed = [("bootstrap-servers", "kafka:9092"), ("topic-events", "events")];
        let sources = Sources::new().with_options(needed.iter().chain(options).copied());
        let config = keyferry_config::load(&sources).unwrap_or_else(|errors| panic!("{errors}")).config;
        let [Readiness::Complete(destination)] = &config.destinations[..] else { panic!("{config:?}") };
        configuration(destination)
    }

    #[test]
    fn what_is_configured_reaches_the_registry() {
        assert_eq!(configured(&[]), None);
        let least = configured(&[("registry-url", "http://r:8081"), ("format", "avro")]).unwrap();
        assert_eq!(least.subject_name_strategy, SubjectNameStrategy::Topic);
        let access = Access {
            urls: vec!["http://r:8081".to_owned()],
            authorization: None,
            ca_file: None,
            timeout: Duration::from_secs(5),
            registers: true,
        };
        assert_eq!(least.access, access);
        let all = configured(&[
            ("registry-url", "https://a/apis/ccompat/v7, https://b"),
            ("registry-username", "u"),
            ("registry-password", "p"),
            ("registry-ca-file", "/ca.pem"),
            ("registry-subject-name-strategy", "topic-record"),
            ("registry-register", "false"),
            ("registry-timeout", "2s"),
        ])
        .unwrap();
        assert_eq!(all.subject_name_strategy, SubjectNameStrategy::TopicRecord);
        let login = Authorization::Basic { username: "u".to_owned(), password: "p".to_owned() };
        let access = Access {
            urls: vec!["https://a/apis/ccompat/v7".to_owned(), "https://b".to_owned()],
            authorization: Some(login),
            ca_file: Some(PathBuf::from("/ca.pem")),
            timeout: Duration::from_secs(2),
            registers: false,
        };
        assert_eq!(all.access, access);
        let token = configured(&[("registry-url", "http://r"), ("registry-token", "t")]).unwrap();
        assert_eq!(token.access.authorization, Some(Authorization::Bearer("t".to_owned())));
    }
}
