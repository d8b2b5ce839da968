//! The provider in Keycloak: its jar, its version, and whether Keycloak was built with it; and the options that Keycloak hands over.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use zip::ZipArchive;

use super::checks::{PROVIDER_BUILD, PROVIDER_JAR, PROVIDER_VERSION};
use super::finding::Finding;

/// What a jar of ours holds and no other does.
const MARK: &str = "org/keyferry/provider/";
const MANIFEST: &str = "META-INF/MANIFEST.MF";
/// Where a build of Keycloak writes down what it was built with.
const BUILT: (&str, &str) = ("lib/quarkus/generated-bytecode.jar", "META-INF/keycloak-persisted.properties");
/// The listener's options, in both of Keycloak's spellings.
const OPTIONS: [&str; 2] = ["spi-events-listener--kafka--", "spi-events-listener-kafka-"];
const VARIABLES: [&str; 2] = ["KC_SPI_EVENTS_LISTENER__KAFKA__", "KC_SPI_EVENTS_LISTENER_KAFKA_"];

/// What there is to know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Provider {
    /// The providers directory.
    pub directory: PathBuf,
    /// Our jars in it, or why they cannot be looked at.
    pub jars: Result<Vec<Jar>, String>,
    /// What Keycloak was built with; `None` if it was never built, or does not tell.
    pub built: Option<BTreeMap<String, String>>,
}

/// A jar of ours.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Jar {
    /// Its name.
    pub name: String,
    /// Its version; `None` if its manifest has none.
    pub version: Option<String>,
    /// When it was modified, in milliseconds since the Unix epoch.
    pub modified_ms: Option<u128>,
}

impl Provider {
    /// That of the Keycloak in `home`.
    pub fn observe(home: &Path) -> Self {
        let directory = home.join("providers");
        let jars = jars(&directory).map_err(|error| error.to_string());
        let built = properties_in(&home.join(BUILT.0), BUILT.1).ok();
        Self { directory, jars, built }
    }

    /// What follows for an agent of `version`.
    pub fn judge(&self, version: &str) -> Vec<Finding> {
        let place = self.directory.display();
        let jars = match &self.jars {
            Err(reason) => return self.absent(format!("it cannot be read: {reason}")),
            Ok(jars) => jars,
        };
        match jars.as_slice() {
            [] => self.absent("no jar of Keyferry's is there".to_owned()),
            [jar] => vec![
                PROVIDER_JAR.ok(place, jar.name.clone()),
                self.judge_version(jar, version),
                self.judge_build(jar),
            ],
            several => {
                let names: Vec<&str> = several.iter().map(|jar| jar.name.as_str()).collect();
                self.absent(format!("there are several: {}", names.join(", ")))
            }
        }
    }

    fn absent(&self, what: String) -> Vec<Finding> {
        let place = self.directory.display();
        vec![
            PROVIDER_JAR.problem(&place, what),
            PROVIDER_VERSION.after(&place, &PROVIDER_JAR),
            PROVIDER_BUILD.after(&place, &PROVIDER_JAR),
        ]
    }

    fn judge_version(&self, jar: &Jar, version: &str) -> Finding {
        let place = self.directory.join(&jar.name);
        let place = place.display();
        match &jar.version {
            None => PROVIDER_VERSION.warning(place, "its manifest names no version"),
            Some(found) if found == version => PROVIDER_VERSION.ok(place, found.clone()),
            Some(found) => {
                PROVIDER_VERSION.problem(place, format!("the jar is {found}, and this agent {version}"))
            }
        }
    }

    fn judge_build(&self, jar: &Jar) -> Finding {
        let place = self.directory.join(&jar.name);
        let place = place.display();
        let Some(built) = &self.built else {
            return PROVIDER_BUILD.skipped(place, "Keycloak does not tell what it was built with");
        };
        let built = built.get(&format!("kc.provider.file.{}.last-modified", jar.name));
        match (built, jar.modified_ms.map(|modified| modified.to_string())) {
            (None, _) => PROVIDER_BUILD.problem(place, "Keycloak was built without it"),
            (Some(then), Some(now)) if *then != now => {
                PROVIDER_BUILD.problem(place, "Keycloak was built with another jar of this name")
            }
            _ => PROVIDER_BUILD.ok(place, "Keycloak was built with it"),
        }
    }
}

fn jars(directory: &Path) -> io::Result<Vec<Jar>> {
    let mut jars = Vec::new();
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "jar") {
            jars.extend(Jar::at(&path)?);
        }
    }
    jars.sort_by(|one, other| one.name.cmp(&other.name));
    Ok(jars)
}

impl Jar {
    /// The jar at `path`, if it is one of ours. What is no archive is none.
    fn at(path: &Path) -> io::Result<Option<Self>> {
        let file = File::open(path)?;
        let modified = file.metadata()?.modified()?.duration_since(UNIX_EPOCH).ok();
        let Ok(mut archive) = ZipArchive::new(file) else { return Ok(None) };
        if !archive.file_names().any(|name| name.starts_with(MARK)) {
            return Ok(None);
        }
        let manifest = text_in(&mut archive, MANIFEST).unwrap_or_default();
        let version = manifest.lines().find_map(|line| line.strip_prefix("Implementation-Version: "));
        Ok(Some(Self {
            name: path.file_name().unwrap_or_default().to_string_lossy().into_owned(),
            version: version.map(|version| version.trim().to_owned()),
            modified_ms: modified.map(|since| since.as_millis()),
        }))
    }
}

fn properties_in(archive: &Path, name: &str) -> io::Result<BTreeMap<String, String>> {
    let mut archive = ZipArchive::new(File::open(archive)?).map_err(io::Error::other)?;
    Ok(properties(&text_in(&mut archive, name)?))
}

fn text_in(archive: &mut ZipArchive<File>, name: &str) -> io::Result<String> {
    let mut text = String::new();
    archive.by_name(name).map_err(io::Error::other)?.read_to_string(&mut text)?;
    Ok(text)
}

/// The lines `name=value`.
fn properties(text: &str) -> BTreeMap<String, String> {
    let lines = text.lines().map(str::trim_start).filter(|line| !line.starts_with(['#', '!']));
    let pairs = lines.filter_map(|line| line.split_once('='));
    pairs.map(|(name, value)| (name.trim().to_owned(), value.trim().to_owned())).collect()
}

/// The options that the Keycloak in `home` hands over to the agent: those of its configuration file, and those of `environment`, which are stronger. What its command line says is
/// not known here.
pub fn options(
    home: &Path,
    environment: impl IntoIterator<Item = (String, String)>,
) -> BTreeMap<String, String> {
    let file = fs::read_to_string(home.join("conf/keycloak.conf")).unwrap_or_default();
    let of_file = properties(&file).into_iter().filter_map(|(name, value)| {
        let name = OPTIONS.iter().find_map(|prefix| name.strip_prefix(prefix))?;
        Some((name.to_owned(), value))
    });
    let of_environment = environment.into_iter().filter_map(|(name, value)| {
        let name = VARIABLES.iter().find_map(|prefix| name.strip_prefix(prefix))?;
        Some((name.to_ascii_lowercase().replace('_', "-"), value))
    });
    of_file.chain(of_environment).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::finding::Severity;

    fn provider(jars: &[(&str, &str)], built: &[(&str, &str)]) -> Provider {
        let jar = |(name, version): &(&str, &str)| Jar {
            name: (*name).to_owned(),
            version: Some((*version).to_owned()),
            modified_ms: Some(7),
        };
        let built = built
            .iter()
            .map(|(name, value)| (format!("kc.provider.file.{name}.last-modified"), (*value).to_owned()));
        Provider {
            directory: PathBuf::from("providers"),
            jars: Ok(jars.iter().map(jar).collect()),
            built: Some(built.collect()),
        }
    }

    #[test]
    fn one_jar_of_this_release_that_keycloak_was_built_with_is_as_it_should_be() {
        let sound = provider(&[("keyferry.jar", "1.0")], &[("keyferry.jar", "7")]);
        assert!(sound.judge("1.0").iter().all(|finding| finding.severity == Severity::Ok));
        for (faulty, id) in [
            (provider(&[], &[]), "provider.jar"),
            (provider(&[("a.jar", "1.0"), ("b.jar", "1.0")], &[]), "provider.jar"),
            (provider(&[("keyferry.jar", "0.9")], &[("keyferry.jar", "7")]), "provider.version"),
            (provider(&[("keyferry.jar", "1.0")], &[]), "provider.build"),
            (provider(&[("keyferry.jar", "1.0")], &[("keyferry.jar", "6")]), "provider.build"),
            (Provider { jars: Err("no".to_owned()), ..provider(&[], &[]) }, "provider.jar"),
        ] {
            let problems: Vec<_> = faulty
                .judge("1.0")
                .into_iter()
                .filter(|finding| finding.severity == Severity::Problem)
                .map(|finding| finding.check)
                .collect();
            assert_eq!(problems, [id]);
        }
    }

    #[test]
    fn options_come_from_the_file_and_from_variables_which_are_stronger() {
        let home = tempfile::tempdir().unwrap();
        fs::create_dir(home.path().join("conf")).unwrap();
        let text = "# spi-events-listener--kafka--node=no\nspi-events-listener--kafka--topic-events = a\n\
                    spi-events-listener-kafka-bootstrap-servers=k:1\ndb=postgres\n";
        fs::write(home.path().join("conf/keycloak.conf"), text).unwrap();
        let variable = ("KC_SPI_EVENTS_LISTENER__KAFKA__TOPIC_EVENTS".to_owned(), "b".to_owned());
        let options = options(home.path(), [variable, ("KC_DB".to_owned(), "x".to_owned())]);
        let expected = [("bootstrap-servers", "k:1"), ("topic-events", "b")];
        assert_eq!(options, expected.map(|(name, value)| (name.to_owned(), value.to_owned())).into());
    }
}
