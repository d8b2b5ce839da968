//! What the provider says on standard input: one line of JSON, specified in `docs/provider-agent.md`.

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;

use serde::Deserialize;

use crate::error::Error;

/// The hand-over.
#[derive(Deserialize)]
pub struct HandOver {
    version: u32,
    /// The slot to ship.
    pub slot: PathBuf,
    /// The node's name.
    pub node: String,
    /// The provider's version.
    pub provider: String,
    /// Keycloak's version.
    pub keycloak: String,
    /// The provider's options. Some are secrets: never log them.
    pub options: BTreeMap<String, String>,
}

impl HandOver {
    /// Reads the line, byte by byte so that nothing behind it is taken from the pipe.
    ///
    /// # Errors
    /// There is no such line.
    pub fn read(input: &mut impl io::Read) -> Result<Self, Error> {
        let mut line = Vec::new();
        for byte in io::Read::bytes(input) {
            match byte {
                Ok(b'\n') => break,
                Ok(byte) => line.push(byte),
                Err(error) => return Err(Error::HandOver(error.to_string())),
            }
        }
        // serde's message would quote the text, and with it a secret: only its place is told.
        let hand_over: Self = serde_json::from_slice(&line).map_err(|error| {
            Error::HandOver(format!("line of {} bytes, wrong at column {}", line.len(), error.column()))
        })?;
        if hand_over.version != 1 {
            return Err(Error::HandOver(format!("version {} instead of 1", hand_over.version)));
        }
        Ok(hand_over)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINE: &str = r#"{"version":1,"slot":"/j/slot-0","node":"n","provider":"0.1.0","keycloak":"26.7.3","options":{"sasl-jaas-config":"hunter2"}}"#;

    #[test]
    fn one_line_is_read_and_no_more() {
        let text = format!("{LINE}\nrest");
        let mut input = text.as_bytes();
        let hand_over = HandOver::read(&mut input).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(hand_over.slot, PathBuf::from("/j/slot-0"));
        assert_eq!(hand_over.options["sasl-jaas-config"], "hunter2");
        assert_eq!(input, b"rest");
    }

    #[test]
    fn a_wrong_line_is_refused_without_quoting_it() {
        for line in [&LINE[..LINE.len() - 3], &LINE.replace("\"version\":1", "\"version\":2"), "", "hunter2"]
        {
            let error = HandOver::read(&mut line.as_bytes()).err().map(|error| error.to_string());
            let error = error.unwrap_or_else(|| panic!("accepted: {line}"));
            assert!(!error.contains("hunter2"), "{error}");
        }
    }
}
