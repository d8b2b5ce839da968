//! Arbitrary values for settings, options and variables that exist: taken or refused with reasons, and a password is in no message.
#![no_main]

use std::fmt;

use arbitrary::{Arbitrary, Unstructured};
use keyferry_config::{DROP_IN, Readiness, SETTINGS, Sources, librdkafka, load};
use libfuzzer_sys::fuzz_target;

/// Stands in no message, wherever it was given as a password.
const PASSWORD: &str = "xyzzy-plugh-4711";

struct Given {
    sources: Sources,
}

impl fmt::Debug for Given {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Given").finish_non_exhaustive()
    }
}

impl<'a> Arbitrary<'a> for Given {
    fn arbitrary(input: &mut Unstructured<'a>) -> arbitrary::Result<Self> {
        let mut sources = Sources::new();
        for _ in 0..input.int_in_range(0..=12)? {
            let value = value(input)?;
            sources = match input.int_in_range(0..=4)? {
                0 => sources.with_options(input.choose(SETTINGS)?.option.map(|option| (option, value))),
                1 => sources.with_environment([(input.choose(SETTINGS)?.variable(), value)]),
                2 => sources.with_options([(input.choose(DROP_IN)?.option, value)]),
                3 => sources.with_environment([(input.choose(DROP_IN)?.variable, value)]),
                _ => sources.with_environment([(<&str>::arbitrary(input)?, value)]),
            };
        }
        if bool::arbitrary(input)? {
            sources = sources.with_options([("sasl-username", "user"), ("sasl-password", PASSWORD)]);
        }
        Ok(Self { sources })
    }
}

/// A value as it might be meant, or anything.
fn value(input: &mut Unstructured<'_>) -> arbitrary::Result<String> {
    const WORDS: &[&str] = &[
        "true",
        "false",
        "0",
        "1",
        "-1",
        "10s",
        "5 min",
        "64MiB",
        "1e9",
        "SASL_SSL",
        "SASL_PLAINTEXT",
        "SSL",
        "SCRAM-SHA-512",
        "PLAIN",
        "OAUTHBEARER",
        "localhost:9092",
        "a:1,b:2",
        "[::1]:9092",
        "events",
        "zstd",
        "publish",
        "hold",
        "/nonexistent/file.pem",
        "all",
        "none",
        "",
    ];
    Ok(if bool::arbitrary(input)? {
        (*input.choose(WORDS)?).to_owned()
    } else {
        String::arbitrary(input)?.replace('/', "")
    })
}

fuzz_target!(|given: Given| {
    match load(&given.sources) {
        Ok(loaded) => {
            assert!(!format!("{:?}{:?}", loaded.config, loaded.warnings).contains(PASSWORD));
            for warning in &loaded.warnings {
                assert!(!warning.to_string().contains(PASSWORD));
            }
            for destination in loaded.config.destinations.iter().filter_map(Readiness::complete) {
                let _ = librdkafka::properties(destination);
            }
        }
        Err(errors) => assert!(!format!("{errors}{errors:?}").contains(PASSWORD)),
    }
});
