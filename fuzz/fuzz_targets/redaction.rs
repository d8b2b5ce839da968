//! Arbitrary bytes as the JSON of an event: what was JSON stays JSON, what has been redacted is not redacted again, and a string that is JSON is searched where it
//! stands as it would be decoded.
#![no_main]

use keyferry_event::redaction::Redactor;
use libfuzzer_sys::fuzz_target;
use serde_json::Value;

/// An escape that stands for a blank.
const BLANK: &str = "\\u0020";
/// Looks like names and shapes of secrets, and is none.
const SUSPECT: &str = r#"[{"value":"eyJ"},"#;

fuzz_target!(|bytes: &[u8]| {
    let mut redactor = Redactor::default();
    let redacted = redactor.redact(bytes).to_vec();
    let Ok(event) = std::str::from_utf8(bytes) else { return };
    // Nested as deeply as it is below.
    if serde_json::from_str::<Value>(&format!("[[{event}]]")).is_err() {
        return;
    }
    let redacted = String::from_utf8(redacted).expect("text stays text");
    assert!(serde_json::from_str::<Value>(&redacted).is_ok(), "{redacted}");
    assert_eq!(redactor.redact(redacted.as_bytes()), redacted.as_bytes(), "{event}");
    if !event.contains("u0020") {
        let searched = if_suspect(&mut redactor, event);
        assert_eq!(at_length(&mut redactor, event), searched, "{event}");
        assert!(redacted == searched || redacted == event, "{event}\n{redacted}\n{searched}");
    }
});

/// What becomes of an event that looks as if it held secrets.
fn if_suspect(redactor: &mut Redactor, event: &str) -> String {
    let redacted = redactor.redact(format!("{SUSPECT}{event}]").as_bytes()).to_vec();
    let redacted = String::from_utf8(redacted).expect("text stays text");
    redacted[SUSPECT.len()..redacted.len() - 1].to_owned()
}

/// The same where no string can be searched but decoded: behind each that may be JSON stands an escaped blank.
fn at_length(redactor: &mut Redactor, event: &str) -> String {
    let [object, list] = ["}", "]"].map(|end| (format!("{end}\""), format!("{end}{BLANK}\"")));
    let event = event.replace(&object.0, &object.1).replace(&list.0, &list.1);
    if_suspect(redactor, &event).replace(BLANK, "")
}
