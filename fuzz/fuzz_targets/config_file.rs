//! Arbitrary text as the configuration file: it is taken or refused with reasons, and what is taken can be told to the Kafka client.
#![no_main]

use std::path::Path;

use keyferry_config::{Readiness, Sources, librdkafka, load};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let sources = Sources::new().with_file_text(Path::new("keyferry.toml"), text);
    match load(&sources) {
        Ok(loaded) => {
            for destination in loaded.config.destinations.iter().filter_map(Readiness::complete) {
                let _ = librdkafka::properties(destination);
            }
            for warning in &loaded.warnings {
                assert!(!warning.to_string().is_empty());
            }
        }
        Err(errors) => assert!(!errors.to_string().is_empty()),
    }
});
