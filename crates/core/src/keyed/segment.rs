//! The length of a segment of a pair, and the fields that it has of its stop.

use crate::decimal::{Decimal, Fraction, Rounding};
use crate::event::json::Document;
use crate::time::Timestamp;

/// The length of a segment in a unit, rounded half to even at 18 places where it does not end.
pub(super) fn length(start: Timestamp, end: Timestamp, unit: i64) -> Decimal {
    let nanos = i64::try_from(end.since(start)).unwrap_or(i64::MAX);
    let length = Fraction::of(Decimal::from_int(nanos)).divide(Decimal::from_int(unit), 18, Rounding::HalfEven);
    length.unwrap_or_default()
}

/// The value at a path of an object.
pub(super) fn value_at(document: &Document, names: &[Box<str>]) -> Option<Vec<u8>> {
    let [name, rest @ ..] = names else { return None };
    let members = document.members()?;
    let member = members.iter().find(|member| *member.name == *name.as_bytes())?;
    match rest.is_empty() {
        true => Some(member.value.to_vec()),
        false => value_at(&Document::new(member.value.to_vec()), rest),
    }
}
