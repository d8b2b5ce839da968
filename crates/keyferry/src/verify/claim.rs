//! What a record says of itself: Keyferry's headers, read.
//!
//! The invariant: **a record that carries our headers is either understood or counted as unreadable**, never taken for somebody else's.

use keyferry_client::{Delivery, GAP_TYPE, GapRecord, Headers};
use keyferry_journal::{Epoch, Outcome};

use super::notice;

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
    Gap(Box<GapRecord>),
    /// An event that was sent before, again (`ce_replay`).
    Replay,
}

/// Our headers, but not as they should be.
#[derive(Debug, PartialEq)]
pub struct NotAClaim;

impl<'a> Claim<'a> {
    /// What `headers` and the record's `value` say. `None` if the headers are not ours.
    pub fn of(headers: &Headers<'a>, value: &[u8]) -> Option<Result<Self, NotAClaim>> {
        let delivery = headers.delivery().transpose()?;
        Some(delivery.ok().and_then(|delivery| Self::read(headers, &delivery, value)).ok_or(NotAClaim))
    }

    fn read(headers: &Headers<'a>, delivery: &Delivery<'a>, value: &[u8]) -> Option<Self> {
        let &Delivery { node, epoch, sequence, id, .. } = delivery;
        let content = Content::of(headers, delivery, value)?;
        Some(Self { node, epoch: Epoch(epoch.0), sequence, id: id.as_bytes(), content })
    }
}

impl Content {
    fn of(headers: &Headers<'_>, delivery: &Delivery<'_>, value: &[u8]) -> Option<Self> {
        let outcome = match delivery.outcome {
            // A gap record has no outcome. With the headers `minimal` it has no type either: its value tells.
            keyferry_client::Outcome::Untold => {
                let may_be_gap = headers.event_type().is_none_or(|name| name == GAP_TYPE);
                return may_be_gap.then(|| notice::read(value)).flatten().map(|gap| Self::Gap(Box::new(gap)));
            }
            keyferry_client::Outcome::Committed => Outcome::Committed,
            keyferry_client::Outcome::Unknown => Outcome::Unknown,
        };
        Some(if delivery.is_replay { Self::Replay } else { Self::Event(outcome) })
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
        Claim::of(&headers.iter().copied().collect(), value)
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
        let notice = Box::new(notice::read(GAP).unwrap());
        let minimal = &OURS[..4];
        assert_eq!(claim(minimal, GAP), expected(Content::Gap(notice.clone())));
        let full = [minimal, &[("ce_type", GAP_TYPE.as_bytes())]].concat();
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
        let long = [b'x'; 1025];
        for (index, wrong) in
            [(0, &long[..]), (1, &b"6447b0d1a2c00"[..]), (2, b"0"), (2, b"x"), (4, b"aborted")]
        {
            let mut headers = OURS.to_vec();
            headers[index].1 = wrong;
            assert_eq!(claim(&headers, b"{}"), Some(Err(NotAClaim)), "{headers:?}");
        }
    }
}
