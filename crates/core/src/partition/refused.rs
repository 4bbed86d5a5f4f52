//! Messages about events that no meter takes: the rule, the user, the time or the value.

use crate::decimal::{self, Inexact};
use crate::event::{Batch, Kind, Leaf};
use crate::plan::{Plan, Processor, Rule};
use crate::verdict::Reason;

use super::Usage;

/// Describes why no meter of the rules that apply takes an event.
#[cold]
pub(super) fn passed_on(plan: &Plan, processor: &Processor, usage: &Usage, user: &[u8], reason: Reason) -> String {
    let applies = |bit: &usize| usage.rules >> bit & 1 == 1;
    let rules = (0..processor.rules.len()).filter(applies).map(|bit| &processor.rules[bit]);
    let kinds = || rules.clone().flat_map(|rule| &rule.meter_types).map(|kind| &plan.meter_types[usize::from(*kind)]);
    let (at, user) = (usage.at, String::from_utf8_lossy(user));
    match reason {
        Reason::BeforeActive => match kinds().find(|kind| at < kind.active_from) {
            Some(kind) => format!("{at} is before `activeFrom` of `{}`, {}", kind.name, kind.active_from),
            None => format!("{at} is before the meter of `{user}` was created"),
        },
        Reason::AfterActive => match kinds().find(|kind| at >= kind.active_to) {
            Some(kind) => format!("{at} is not before `activeTo` of `{}`, {}", kind.name, kind.active_to),
            None => String::new(),
        },
        Reason::NoMeter => {
            let names: Vec<String> = kinds().map(|kind| format!("`{}`", kind.name)).collect();
            format!("`{user}` has no meter of {}", names.join(" or "))
        }
        _ => String::new(),
    }
}

/// Describes the leaf that was found in place of a value, for people.
#[cold]
pub(super) fn bad_value(plan: &Plan, processor: &Processor, rule: &Rule, batch: &Batch, row: usize) -> String {
    let leaf = batch.leaf(row, rule.value);
    let path = &plan.paths[usize::from(rule.value)];
    if leaf.is_absent() {
        // An expression that reads one field fails for want of it.
        let read = match rule.value_from.as_slice() {
            [one] if rule.computed.is_some() => batch.leaf(row, *one),
            _ => leaf,
        };
        return format!("`{path}` is {}", plan.absence(batch, if read.is_absent() { read } else { leaf }));
    }
    if rule.computed.is_some()
        && let Some(why) = failure(leaf)
    {
        return format!("`{path}`: {why}");
    }
    let mut found = Vec::new();
    leaf.write_json(&mut found);
    found.truncate(100);
    let is_text = leaf.kind == Kind::Text && !processor.text_numbers;
    let why = match decimal::parse(leaf.bytes) {
        Ok(_) if is_text => "a number written as text; send a number, or allow it with `textNumbers: true`".to_owned(),
        Ok(_) => "not a number".to_owned(),
        Err(Inexact::TooFine) if rule.round.is_none() => {
            format!("{}; say where it is rounded, like `round: {{places: 9}}` in the rule", Inexact::TooFine)
        }
        Err(why) => why.to_string(),
    };
    format!("`{path}` is {}: {why}", String::from_utf8_lossy(&found))
}

/// Returns the error of an expression, which takes the place of its value as a JSON string. A value
/// that is text is never of this kind.
fn failure(leaf: Leaf<'_>) -> Option<String> {
    let text = (leaf.kind == Kind::Json).then_some(leaf.bytes)?;
    let inside = text.strip_prefix(b"\"")?.strip_suffix(b"\"")?;
    Some(String::from_utf8_lossy(&crate::event::unescape(inside)).into_owned())
}
