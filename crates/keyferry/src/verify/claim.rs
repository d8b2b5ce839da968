//! What a record says of itself: Keyferry's headers, read.
//!
//! The invariant: **a record that carries our headers is either understood or counted as unreadable**, never taken for somebody else's.

use keyferry_journal::{Epoch, Outcome};

use super::notice::Notice;

/// The `ce_type` of a gap record.
const GAP_TYPE: &[u8] = b"org.keyferry.gap";
/// The longest node's name in bytes: longer than any host's name, and short enough to be kept for each epoch.
const LONGEST_NODE: usize = 1024;

/// What a record says of itself.
#[derive(Debug, Clone, PartialEq)]
pub struct Claim<'a> {
    /// `ce_node`.
    pub node: &'a str,
    /// `ce_epoch`.
    pub epoch: Epoch,
    /// `ce_sequence`, at least 1.
    pub sequence: u64,
    /// `ce_id`.
    pub id: &'a [u8],
    /// What it carries.
    pub content: Content,
}

/// What a record carries.
#[derive(Debug, Clone, PartialEq)]
pub enum Content {
    /// An event, with `ce_outcome`.
    Event(Outcome),
    /// Word of events that are missing.
    Gap(Notice),
    /// An event that was sent before, again (`ce_replay`).
    Replay,
}

/// Our headers, but not as they should be.
#[derive(Debug, PartialEq)]
pub struct NotAClaim;

/// Our headers of a record.
#[derive(Debug, Default)]
pub struct Headers<'a> {
    node: Option<&'a [u8]>,
    epoch: Option<&'a [u8]>,
    sequence: Option<&'a [u8]>,
    id: Option<&'a [u8]>,
    outcome: Option<&'a [u8]>,
    kind: Option<&'a [u8]>,
    replay: Option<&'a [u8]>,
}

impl<'a> Headers<'a> {
    /// Takes note of a header.
    pub fn add(&mut self, name: &str, value: &'a [u8]) {
        let header = match name {
            "ce_node" => &mut self.node,
            "ce_epoch" => &mut self.epoch,
            "ce_sequence" => &mut self.sequence,
            "ce_id" => &mut self.id,
            "ce_outcome" => &mut self.outcome,
            "ce_type" => &mut self.kind,
            "ce_replay" => &mut self.replay,
            _ => return,
        };
        *header = Some(value);
    }

    /// What they and the record's `value` say. `None` if neither epoch nor outcome is there: the two that no other producer of CloudEvents has.
    pub fn claim(&self, value: &[u8]) -> Option<Result<Claim<'a>, NotAClaim>> {
        if self.epoch.is_none() && self.outcome.is_none() {
            return None;
        }
        Some(self.read(value).ok_or(NotAClaim))
    }

    fn read(&self, value: &[u8]) -> Option<Claim<'a>> {
        let text = |value: Option<&'a [u8]>| std::str::from_utf8(value?).ok();
        let sequence = text(self.sequence)?.parse().ok().filter(|sequence| *sequence > 0)?;
        let node = text(self.node)?;
        if node.len() > LONGEST_NODE {
            return None;
        }
        let epoch = text(self.epoch)?.parse().ok()?;
        Some(Claim { node, epoch, sequence, id: self.id?, content: self.content(value)? })
    }

    fn content(&self, value: &[u8]) -> Option<Content> {
        let outcome = match self.outcome {
            // A gap record has no outcome. With the headers `minimal` it has no type either: its value tells.
            None => return self.may_be_gap().then(|| Notice::read(value)).flatten().map(Content::Gap),
            Some(b"committed") => Outcome::Committed,
            Some(b"unknown") => Outcome::Unknown,
            Some(_) => return None,
        };
        Some(if self.replay.is_some() { Content::Replay } else { Content::Event(outcome) })
    }

    fn may_be_gap(&self) -> bool {
        self.kind.is_none_or(|kind| kind == GAP_TYPE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OURS: [(&str, &[u8]); 5] = [
        ("ce_node", b"kc-1"),
        ("ce_epoch", b"0006447b0d1a2c00"),
        ("ce_sequence", b"00000000000000000007"),
        ("ce_id", b"e-1"),
        ("ce_outcome", b"unknown"),
    ];
    const GAP: &[u8] = br#"{"type":"KEYFERRY_GAP","cause":"ceiling","userEvents":2,"adminEvents":0}"#;

    fn claim<'a>(headers: &[(&str, &'a [u8])], value: &[u8]) -> Option<Result<Claim<'a>, NotAClaim>> {
        let mut found = Headers::default();
        for (name, value) in headers {
            found.add(name, value);
        }
        found.claim(value)
    }

    fn expected(content: Content) -> Option<Result<Claim<'static>, NotAClaim>> {
        let epoch = Epoch(0x0006_447b_0d1a_2c00);
        Some(Ok(Claim { node: "kc-1", epoch, sequence: 7, id: b"e-1", content }))
    }

    #[test]
    fn our_headers_are_read() {
        assert_eq!(claim(&OURS, b"{}"), expected(Content::Event(Outcome::Unknown)));
        let replayed = [&OURS[..], &[("ce_replay", b"2026-01-31T03:00:00Z")]].concat();
        assert_eq!(claim(&replayed, b"{}"), expected(Content::Replay));
    }

    #[test]
    fn a_gap_record_has_no_outcome_and_is_told_by_its_type_or_its_value() {
        let notice = Notice::read(GAP).unwrap();
        let minimal = &OURS[..4];
        assert_eq!(claim(minimal, GAP), expected(Content::Gap(notice.clone())));
        let full = [minimal, &[("ce_type", GAP_TYPE)]].concat();
        assert_eq!(claim(&full, GAP), expected(Content::Gap(notice)));
        assert_eq!(claim(&full, b"{}"), Some(Err(NotAClaim)), "a gap record that says nothing");
        let other = [minimal, &[("ce_type", b"org.keycloak.event.LOGIN")]].concat();
        assert_eq!(claim(&other, GAP), Some(Err(NotAClaim)), "an event without outcome");
    }

    #[test]
    fn headers_of_others_are_foreign_and_damaged_ones_are_not() {
        assert_eq!(claim(&[("ce_id", b"1"), ("ce_source", b"x"), ("ce_sequence", b"1")], b"{}"), None);
        for (index, (name, _)) in OURS.iter().enumerate() {
            let mut headers = OURS.to_vec();
            headers.remove(index);
            assert_eq!(claim(&headers, b"{}"), Some(Err(NotAClaim)), "without {name}");
        }
        let long = [b'x'; LONGEST_NODE + 1];
        for (index, wrong) in
            [(0, &long[..]), (1, &b"6447b0d1a2c00"[..]), (2, b"0"), (2, b"x"), (4, b"aborted")]
        {
            let mut headers = OURS.to_vec();
            headers[index].1 = wrong;
            assert_eq!(claim(&headers, b"{}"), Some(Err(NotAClaim)), "{headers:?}");
        }
    }
}
