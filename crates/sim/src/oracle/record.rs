//! Adds values up again from their events, and formats records in the oracle's own form.

use std::collections::BTreeSet;

use flowmeter_core::decimal::{Decimal, Quotient};

use super::meter::Held;
use crate::documents::{Sort, at};

/// Returns whether the oracle computes the values of an aggregation. If one period begins with the
/// end of another, it only counts.
pub fn is_simple(aggregation: &str) -> bool {
    !matches!(aggregation, "delta" | "weighted")
}

pub(super) fn value_of(sort: &Sort, events: &[(i64, Decimal, String, String)]) -> Option<Quotient> {
    let whole = |decimal: Decimal| Some(Quotient::of(decimal, 1));
    let numbers = || events.iter().map(|(_, number, ..)| *number);
    let sum = || numbers().fold(Decimal::ZERO, |sum, number| sum.add(number).unwrap_or(sum));
    match sort.aggregation {
        "sum" => whole(sum()),
        "count" => whole(Decimal::from_count(events.len() as u64)),
        "max" => numbers().max().and_then(whole),
        "min" => numbers().min().and_then(whole),
        "unique" => whole(Decimal::from_count(events.iter().map(|(_, _, text, _)| text).collect::<BTreeSet<_>>().len() as u64)),
        // Of equal times the last arrival, which `max_by_key` gives.
        "latest" => events.iter().max_by_key(|(at, ..)| *at).and_then(|(_, number, ..)| whole(*number)),
        "avg" if !events.is_empty() => Some(Quotient::of(sum(), events.len() as u64)),
        _ => None,
    }
}

/// Formats all facts of the oracle about a record.
pub(super) fn line(user: &str, sort: &Sort, start: i64, held: &Held, revision: u32, delta: Option<Quotient>) -> String {
    let text = |value: Option<Quotient>| {
        let mut out = Vec::new();
        match value {
            Some(value) => value.write_to(&mut out),
            None => out.extend_from_slice(b"null"),
        }
        String::from_utf8_lossy(&out).into_owned()
    };
    let millis = |nanos: i64| format!("{}", at(nanos));
    let head = format!("{user} | {} | {}..{} | {revision} | {}", sort.name, millis(start), millis(held.end), held.events.len());
    if !is_simple(sort.aggregation) {
        return head;
    }
    let regions: BTreeSet<&String> = held.events.iter().map(|(_, _, _, region)| region).collect();
    let groups = regions.into_iter().map(|region| {
        let inside: Vec<_> = held.events.iter().filter(|event| event.3 == *region).cloned().collect();
        format!(" {region}={}", text(value_of(sort, &inside)))
    });
    let groups: String = groups.collect();
    let delta = delta.map_or(String::new(), |delta| format!(" delta {}", text(Some(delta))));
    format!("{head} | {}{delta} |{groups}", text(value_of(sort, &held.events)))
}
