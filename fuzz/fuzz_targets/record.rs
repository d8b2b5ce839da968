//! Arbitrary bytes as one record, one segment header, one name: what is accepted encodes to the same bytes again.
#![no_main]

use keyferry_journal::format::{
    GapPayload, HeaderVerdict, RECORD_HEADER, RecordHeader, Salt, SegmentHeader, decode_commit, encode_record,
};
use keyferry_journal::{Epoch, SegmentName};
use libfuzzer_sys::fuzz_target;

const NAME: SegmentName = SegmentName { epoch: Epoch(0x0006_447b_0d1a_2c00), number: 3 };

fuzz_target!(|bytes: &[u8]| {
    header(bytes);
    record(bytes);
    gap(bytes);
    let _ = decode_commit(bytes);
    if let Ok(text) = std::str::from_utf8(bytes)
        && let Ok(name) = text.parse::<SegmentName>()
    {
        assert_eq!(name.to_string(), text);
    }
});

fn header(bytes: &[u8]) {
    match SegmentHeader::decode(bytes, NAME) {
        HeaderVerdict::Valid(header, length) => {
            assert!(length <= bytes.len() && header.name == NAME);
            // A longer header of a later release, and other bytes in the padding, are accepted.
            assert!(header.encode().len() <= length);
        }
        HeaderVerdict::Incomplete(needed) => assert!(needed > bytes.len()),
        HeaderVerdict::Later(_) | HeaderVerdict::Invalid => {}
    }
}

fn record(bytes: &[u8]) {
    let Some(header) = bytes.first_chunk::<RECORD_HEADER>().and_then(RecordHeader::decode) else { return };
    let Some(payload) = bytes.get(RECORD_HEADER..header.unpadded()) else { return };
    let salt = Salt::of(NAME);
    let mut own = Vec::new();
    encode_record(&mut own, salt, 64, header.kind, header.transaction, header.written_ms, payload);
    let own_header = own.first_chunk().and_then(RecordHeader::decode).expect("an encoded record decodes");
    assert_eq!(own.len(), header.length());
    assert!(own_header.verify(salt, 64, &mut own));
    assert!(!own_header.verify(salt, 72, &mut own), "a record is valid at one place only");
    assert!(!own_header.verify(Salt::of(SegmentName { number: 4, ..NAME }), 64, &mut own));
    if header.verify(salt, 64, &mut bytes.to_vec()) && bytes[13..16] == [0; 3] {
        assert_eq!(own[..header.unpadded()], bytes[..header.unpadded()]);
    }
}

fn gap(bytes: &[u8]) {
    if let Some(gap) = GapPayload::decode(bytes) {
        assert_eq!(gap.encode()[..], bytes[..33]);
    }
}
