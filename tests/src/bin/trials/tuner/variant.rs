//! What is compared.

use std::fmt;
use std::fs::File;
use std::io::Write as _;
use std::path::Path;
use std::str::FromStr;

use keyferry_tests::{Error, Result};

/// A profile of the tuner, or settings of the delivery.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Variant {
    /// `destination.tuner.profile`.
    Profile(String),
    /// Keys of `destination.delivery` and their values.
    Settings(Vec<(String, String)>),
}

impl FromStr for Variant {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if !text.contains('=') {
            return Ok(Self::Profile(text.to_owned()));
        }
        let setting = |part: &str| {
            let (key, value) = part.split_once('=').ok_or_else(|| format!("{part} is no key=value"))?;
            Ok((key.to_owned(), value.to_owned()))
        };
        text.split(',').map(setting).collect::<Result<_, String>>().map(Self::Settings)
    }
}

impl fmt::Display for Variant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Profile(profile) => f.pad(profile),
            Self::Settings(settings) => {
                let parts: Vec<String> =
                    settings.iter().map(|(key, value)| format!("{key}={value}")).collect();
                f.pad(&parts.join(","))
            }
        }
    }
}

impl Variant {
    /// Whether it is the profile of this name.
    pub fn is(&self, profile: &str) -> bool {
        matches!(self, Self::Profile(name) if name == profile)
    }

    /// Adds it to a configuration file that ends in the table `destination`.
    ///
    /// # Errors
    /// Where the file cannot be written.
    pub fn configure(&self, file: &Path) -> Result<()> {
        let mut out = File::options().append(true).open(file).map_err(Error::io("open", file))?;
        out.write_all(self.table().as_bytes()).map_err(Error::io("write", file))
    }

    fn table(&self) -> String {
        match self {
            Self::Profile(profile) => format!("\n[destination.tuner]\nprofile = \"{profile}\"\n"),
            Self::Settings(settings) => {
                let line = |(key, value): &(String, String)| match value.parse::<u64>() {
                    Ok(number) => format!("{key} = {number}\n"),
                    Err(_) => format!("{key} = \"{value}\"\n"),
                };
                format!("\n[destination.delivery]\n{}", settings.iter().map(line).collect::<String>())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_is_a_profile_and_an_equals_sign_makes_settings() {
        assert_eq!("auto".parse(), Ok(Variant::Profile("auto".to_owned())));
        let settings: Variant = "linger=0s,max_in_flight=5".parse().unwrap();
        assert_eq!(settings.table(), "\n[destination.delivery]\nlinger = \"0s\"\nmax_in_flight = 5\n");
        assert!("linger=0s,batch".parse::<Variant>().is_err());
    }
}
