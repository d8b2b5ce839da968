//! What is kept of the moment in which an incident was opened.
//!
//! The invariant: **no secret and no event is kept.** What sources give is redacted once more, because a last log line may quote anything.

use serde::{Deserialize, Serialize};

/// The longest piece, in bytes.
const LONGEST: usize = 32 << 10;

/// One piece.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Evidence {
    /// What it is.
    pub name: String,
    /// What it says.
    pub content: String,
}

/// Whoever knows something of the moment.
pub trait EvidenceSource {
    /// What is known now.
    fn collect(&self) -> Vec<Evidence>;
}

/// Words after which a secret may stand.
const SECRETIVE: [&str; 7] =
    ["password", "passwd", "secret", "token", "authorization", "api_key", "private_key"];

impl Evidence {
    /// A piece, cut to what can be kept, and without what looks like a secret.
    pub fn new(name: &str, content: &str) -> Self {
        let mut content = redacted(content);
        if content.len() > LONGEST {
            let mut end = LONGEST;
            while !content.is_char_boundary(end) {
                end -= 1;
            }
            content.truncate(end);
            content.push_str("\n[cut]");
        }
        Self { name: name.to_owned(), content }
    }
}

/// `text` with the values of what is called like a secret replaced, line by line: `password=…`, `"token": "…"`, `Authorization: …`.
fn redacted(text: &str) -> String {
    text.lines().map(redacted_line).collect::<Vec<_>>().join("\n")
}

fn redacted_line(line: &str) -> String {
    let (mut out, mut rest) = (String::new(), line);
    loop {
        let lower = rest.to_ascii_lowercase();
        let found = SECRETIVE.iter().filter_map(|word| Some((lower.find(word)?, word.len()))).min();
        let Some((start, length)) = found else { break };
        let (before, after) = rest.split_at(start + length);
        out.push_str(before);
        let separator =
            after.trim_start_matches(|c: char| c.is_ascii_alphanumeric() || "_-.\"' ".contains(c));
        let Some(value) = separator.strip_prefix(['=', ':']) else {
            rest = after;
            continue;
        };
        let value = value.trim_start();
        out.push_str(&after[..after.len() - value.len()]);
        out.push_str(keyferry_config::REDACTED);
        rest = end_of_value(value);
    }
    out + rest
}

/// What follows a value: behind its closing quote, else behind the next comma, semicolon or brace. A value may hold blanks ("Bearer abc").
fn end_of_value(value: &str) -> &str {
    for quote in ['"', '\''] {
        if let Some(quoted) = value.strip_prefix(quote) {
            return quoted.find(quote).map_or("", |end| &quoted[end + 1..]);
        }
    }
    value.find([',', ';', '}', ']']).map_or("", |end| &value[end..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_called_like_a_secret_is_not_kept() {
        for (text, kept) in [
            ("sasl.password=hunter2", "sasl.password=<redacted>"),
            (r#"{"token": "hunter2", "n": 1}"#, r#"{"token": <redacted>, "n": 1}"#),
            ("Authorization: Bearer hunter2", "Authorization: <redacted>"),
            ("ssl.key.password = 'hunter2' rest", "ssl.key.password = <redacted> rest"),
            ("client_secret=hunter2, user=a", "client_secret=<redacted>, user=a"),
            ("the password is wrong", "the password is wrong"),
            ("a=1\npasswd: hunter2", "a=1\npasswd: <redacted>"),
        ] {
            assert_eq!(Evidence::new("x", text).content, kept);
        }
    }

    #[test]
    fn a_piece_is_bounded() {
        let long = Evidence::new("x", &"ä".repeat(LONGEST));
        assert!(long.content.len() <= LONGEST + 6 && long.content.ends_with("[cut]"));
    }
}
