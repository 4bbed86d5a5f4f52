//! State by key: ids and times of derived events.

use super::*;
use crate::event::{Batch, Kind};

#[test]
fn times_are_as_fine_as_they_need_to_be() {
    let cases = [
        ("2026-01-05T10:00:00Z", "2026-01-05T10:00:00.000Z"),
        ("2026-01-05T10:00:00.5Z", "2026-01-05T10:00:00.500Z"),
        ("2026-01-05T10:00:00.000250Z", "2026-01-05T10:00:00.000250Z"),
        ("2026-01-05T10:00:00.000000001Z", "2026-01-05T10:00:00.000000001Z"),
    ];
    for (at, expected) in cases {
        assert_eq!(stamp_text(Timestamp::parse_rfc3339(at.as_bytes()).unwrap()), expected);
    }
}

#[test]
fn keys_are_told_apart_by_their_ids() {
    let id = |leaves: &[(Kind, &str)]| {
        let mut batch = Batch::default();
        batch.reset(leaves.len());
        let row = batch.empty_row();
        for (slot, (kind, text)) in (0..).zip(leaves) {
            let value = batch.store(*kind, text.as_bytes());
            batch.set_slot(row, slot, value);
        }
        let mut out = Vec::new();
        key_id(&batch, row, &(0..leaves.len() as u16).collect::<Vec<_>>(), &mut out);
        String::from_utf8(out).unwrap()
    };
    let cases: [(&[(Kind, &str)], &str); 7] = [
        (&[], ""),
        (&[(Kind::Text, "a"), (Kind::Number, "1.0")], "a,1"),
        (&[(Kind::Text, "1")], "1"),
        (&[(Kind::Null, "null")], r"\null"),
        (&[(Kind::Missing, "")], r"\null"),
        (&[(Kind::Text, "null")], "null"),
        (&[(Kind::Text, r"\null,a/b")], r"\\null\,a\/b"),
    ];
    for (leaves, expected) in cases {
        assert_eq!(id(leaves), expected, "{leaves:?}");
    }
}
