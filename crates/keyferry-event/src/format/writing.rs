//! JSON, written member by member.
//!
//! The invariant: **what is written is a JSON object as soon as its writer is gone**: commas and braces are the writer's, texts are escaped, and only what is JSON already is written as it is.

use std::fmt::Display;
use std::io::Write as _;

/// An object that is being written. It ends when this is dropped.
pub(super) struct ObjectWriter<'a> {
    out: &'a mut Vec<u8>,
}

impl<'a> ObjectWriter<'a> {
    /// Begins an object at the end of `out`.
    pub(super) fn begin(out: &'a mut Vec<u8>) -> Self {
        out.push(b'{');
        Self { out }
    }

    /// A member that is JSON already.
    pub(super) fn json(&mut self, name: &str, value: &[u8]) {
        self.name(name.as_bytes());
        self.out.extend_from_slice(value);
    }

    /// A member whose name is the content of a JSON string, and whose value is JSON.
    pub(super) fn as_written(&mut self, name: &[u8], value: &[u8]) {
        self.name(name);
        self.out.extend_from_slice(value);
    }

    /// A text.
    pub(super) fn text(&mut self, name: impl AsRef<[u8]>, value: &[u8]) {
        self.name(name.as_ref());
        write_text(value, self.out);
    }

    /// A text that is the content of a JSON string.
    pub(super) fn content(&mut self, name: impl AsRef<[u8]>, content: &[u8]) {
        self.name(name.as_ref());
        write_content(content, self.out);
    }

    /// A text of letters, digits and signs that need no escaping.
    pub(super) fn plain(&mut self, name: &str, value: impl Display) {
        self.name(name.as_bytes());
        // Writing to a Vec cannot fail.
        let _ = write!(self.out, "\"{value}\"");
    }

    /// A whole number.
    pub(super) fn number(&mut self, name: &str, value: u64) {
        self.name(name.as_bytes());
        let _ = write!(self.out, "{value}");
    }

    /// A list of texts, each the content of a JSON string.
    pub(super) fn contents<'b>(&mut self, name: &str, contents: impl IntoIterator<Item = &'b [u8]>) {
        self.name(name.as_bytes());
        self.out.push(b'[');
        for (index, content) in contents.into_iter().enumerate() {
            if index > 0 {
                self.out.push(b',');
            }
            write_content(content, self.out);
        }
        self.out.push(b']');
    }

    /// An object in it.
    pub(super) fn object(&mut self, name: &str) -> ObjectWriter<'_> {
        self.name(name.as_bytes());
        ObjectWriter::begin(self.out)
    }

    fn name(&mut self, name: &[u8]) {
        // A value never ends with an opening brace, so that only the first member follows one.
        if self.out.last() != Some(&b'{') {
            self.out.push(b',');
        }
        write_content(name, self.out);
        self.out.push(b':');
    }
}

impl Drop for ObjectWriter<'_> {
    fn drop(&mut self) {
        self.out.push(b'}');
    }
}

fn write_content(content: &[u8], out: &mut Vec<u8>) {
    out.push(b'"');
    out.extend_from_slice(content);
    out.push(b'"');
}

fn needs_care(byte: u8) -> bool {
    byte < 0x20 || byte == b'"' || byte == b'\\'
}

/// Whether `text` is the content of a JSON string as it is, for sure.
pub(super) fn is_plain(text: &[u8]) -> bool {
    // Without an early end, so that many bytes are compared at once.
    !text.iter().fold(false, |found, byte| found | needs_care(*byte) | !byte.is_ascii())
}

/// Writes `text` as a JSON string. What is not UTF-8 becomes the replacement character.
fn write_text(text: &[u8], out: &mut Vec<u8>) {
    if is_plain(text) {
        return write_content(text, out);
    }
    let text = String::from_utf8_lossy(text);
    out.push(b'"');
    let mut written = 0;
    for (at, byte) in text.bytes().enumerate().filter(|(_, byte)| needs_care(*byte)) {
        out.extend_from_slice(&text.as_bytes()[written..at]);
        match byte {
            b'"' | b'\\' => out.extend_from_slice(&[b'\\', byte]),
            control => {
                let _ = write!(out, "\\u{control:04x}");
            }
        }
        written = at + 1;
    }
    out.extend_from_slice(&text.as_bytes()[written..]);
    out.push(b'"');
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn members_and_objects_are_separated_by_commas() {
        let mut out = Vec::new();
        let mut object = ObjectWriter::begin(&mut out);
        object.number("a", 7);
        drop(object.object("none"));
        let mut inner = object.object("inner");
        inner.json("b", b"{}");
        inner.contents("c", [&b"x"[..], b"y"]);
        drop(inner);
        object.plain("d", "1-2");
        drop(object);
        assert_eq!(out, br#"{"a":7,"none":{},"inner":{"b":{},"c":["x","y"]},"d":"1-2"}"#);
    }

    proptest! {
        #[test]
        fn any_text_is_read_again_as_it_was(text in any::<String>()) {
            let mut out = Vec::new();
            write_text(text.as_bytes(), &mut out);
            prop_assert_eq!(serde_json::from_slice::<String>(&out).unwrap(), text);
        }

        #[test]
        fn what_is_no_text_is_still_json(bytes in any::<Vec<u8>>()) {
            let mut out = Vec::new();
            write_text(&bytes, &mut out);
            prop_assert!(serde_json::from_slice::<String>(&out).is_ok());
        }
    }
}
