//! Conditions on the fields of an event: a list of comparisons of which all or any must hold, whose
//! members may be such lists themselves, one level deep.
//!
//! A condition is checked when it is saved: a misspelt status would never match, without any
//! report. Numbers are compared as decimals, never as floats.

#[cfg(test)]
mod tests;

use std::cmp::Ordering;

use flowmeter_core::decimal::{self, Decimal};
use flowmeter_core::time::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::notifications::vocabulary::{EventKind, FieldKind};
use crate::notifications::{meant, wrong};
use crate::refusal::Refused;

/// Maximum of members of a group.
const MEMBERS_MAX: usize = 100;

/// A condition on an event.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Condition {
    /// All members must hold; an empty group always holds.
    All {
        /// The members of the group.
        all: Vec<Condition>,
    },
    /// At least one member must hold.
    Any {
        /// The members of the group.
        any: Vec<Condition>,
    },
    /// A comparison of one field.
    Test(Test),
}

/// A comparison of a field.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Test {
    /// Name of the field.
    pub field: String,
    /// The operator of the comparison.
    pub op: Comparison,
    /// The value with which it is compared.
    pub value: Value,
}

/// The operator of a comparison.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Comparison {
    /// The field equals the value.
    #[serde(rename = "=")]
    Equal,
    /// The field does not equal the value; a missing field equals nothing.
    #[serde(rename = "!=")]
    NotEqual,
    /// The field is less, or earlier.
    #[serde(rename = "<")]
    Less,
    /// The field is less or equal.
    #[serde(rename = "<=")]
    LessOrEqual,
    /// The field is greater, or later.
    #[serde(rename = ">")]
    More,
    /// The field is greater or equal.
    #[serde(rename = ">=")]
    MoreOrEqual,
    /// The field equals one value of a list.
    #[serde(rename = "in")]
    In,
    /// The field is a text that begins with the value.
    #[serde(rename = "startsWith")]
    StartsWith,
    /// Whether the field is missing.
    #[serde(rename = "isNull")]
    IsNull,
}

impl Comparison {
    /// All operators, with their spellings; the first spelling is stored.
    const WRITTEN: [(Comparison, &'static [&'static str]); 9] = [
        (Comparison::Equal, &["=", "==", "eq"]),
        (Comparison::NotEqual, &["!=", "≠", "<>", "ne"]),
        (Comparison::Less, &["<", "lt"]),
        (Comparison::LessOrEqual, &["<=", "≤", "le"]),
        (Comparison::More, &[">", "gt"]),
        (Comparison::MoreOrEqual, &[">=", "≥", "ge"]),
        (Comparison::In, &["in"]),
        (Comparison::StartsWith, &["startsWith", "starts with"]),
        (Comparison::IsNull, &["isNull", "is null"]),
    ];

    fn read(written: &str) -> Option<Comparison> {
        Comparison::WRITTEN.iter().find(|(_, ways)| ways.contains(&written)).map(|(comparison, _)| *comparison)
    }

    fn is_order(self) -> bool {
        matches!(self, Comparison::Less | Comparison::LessOrEqual | Comparison::More | Comparison::MoreOrEqual)
    }
}

impl Condition {
    /// Reads a condition on an event and checks it against the event's fields.
    ///
    /// # Errors
    /// The first error, with its place and the name that was probably meant.
    pub fn read(written: &Value, kind: &EventKind) -> Result<Condition, Refused> {
        read(written, kind, "conditions", 0)
    }

    /// Returns whether the condition holds for an event.
    pub fn holds(&self, payload: &Value) -> bool {
        match self {
            Condition::All { all } => all.iter().all(|member| member.holds(payload)),
            Condition::Any { any } => any.iter().any(|member| member.holds(payload)),
            Condition::Test(test) => test.holds(payload),
        }
    }
}

/// Maximal nesting: a group may be in a group, but not deeper.
const GROUPS_DEEP: usize = 2;

fn read(written: &Value, kind: &EventKind, place: &str, depth: usize) -> Result<Condition, Refused> {
    let Some(members) = written.as_object() else {
        return Err(wrong(place, "a condition is {\"all\": […]}, {\"any\": […]} or {\"field\", \"op\", \"value\"}"));
    };
    for name in ["all", "any"] {
        let Some(list) = members.get(name) else { continue };
        let place = format!("{place}.{name}");
        if members.len() > 1 {
            return Err(wrong(place, format!("`{name}` must be the only member of its group")));
        }
        if depth >= GROUPS_DEEP {
            return Err(wrong(place, "a group may stand in a group, and no deeper"));
        }
        let list = list.as_array().filter(|list| list.len() <= MEMBERS_MAX);
        let list = list.ok_or_else(|| wrong(&place, format!("a list of {MEMBERS_MAX} conditions at most")))?;
        let each = |(at, member): (usize, &Value)| read(member, kind, &format!("{place}[{at}]"), depth + 1);
        let list = list.iter().enumerate().map(each).collect::<Result<Vec<_>, _>>()?;
        return Ok(if name == "all" { Condition::All { all: list } } else { Condition::Any { any: list } });
    }
    test(members, kind, place).map(Condition::Test)
}

fn test(members: &Map<String, Value>, kind: &EventKind, place: &str) -> Result<Test, Refused> {
    const MEMBERS: [&str; 3] = ["field", "op", "value"];
    let at = |name: &str| format!("{place}.{name}");
    if let Some(other) = members.keys().find(|name| !MEMBERS.contains(&name.as_str())) {
        let meant = meant(other, ["field", "op", "value", "all", "any"]);
        return Err(wrong(at(other), format!("a condition has no `{other}`{meant}")));
    }
    let text = |name: &str| members.get(name).and_then(Value::as_str).unwrap_or_default();
    let field = text("field");
    let field_kind = kind.field(field).ok_or_else(|| {
        let names: Vec<&str> = kind.fields().map(|(name, _)| name).collect();
        let meant = meant(field, names.iter().copied());
        wrong(at("field"), format!("{} has no field `{field}`{meant}; it has {}", kind.name, names.join(", ")))
    })?;
    let op = Comparison::read(text("op")).ok_or_else(|| {
        let all = Comparison::WRITTEN.iter().flat_map(|(_, ways)| ways.iter().copied());
        let meant = meant(text("op"), all);
        let known: Vec<&str> = Comparison::WRITTEN.iter().map(|(_, ways)| ways[0]).collect();
        wrong(at("op"), format!("`{}` is no comparison{meant}; there are {}", text("op"), known.join(" ")))
    })?;
    if op.is_order() && !field_kind.has_order() {
        return Err(wrong(at("op"), format!("`{field}` is {}, which has no order; use =, != or in", field_kind.noun())));
    }
    let value = members.get("value").unwrap_or(&Value::Null);
    let value = match op {
        Comparison::IsNull => match value {
            Value::Null => Value::Bool(true),
            Value::Bool(_) => value.clone(),
            _ => return Err(wrong(at("value"), "isNull is true or false")),
        },
        Comparison::In => {
            let list = value.as_array().filter(|list| !list.is_empty() && list.len() <= MEMBERS_MAX);
            let list = list.ok_or_else(|| wrong(at("value"), format!("`in` takes a list of 1 to {MEMBERS_MAX} values")))?;
            for (number, one) in list.iter().enumerate() {
                fits(one, field, field_kind, &format!("{place}.value[{number}]"))?;
            }
            value.clone()
        }
        Comparison::StartsWith if !matches!(field_kind, FieldKind::Number | FieldKind::Decimal) => match value.as_str() {
            Some(_) => value.clone(),
            None => return Err(wrong(at("value"), "startsWith takes a text")),
        },
        Comparison::StartsWith => return Err(wrong(at("op"), format!("`{field}` is a number, which starts with nothing"))),
        _ => {
            fits(value, field, field_kind, &at("value"))?;
            value.clone()
        }
    };
    Ok(Test { field: field.to_owned(), op, value })
}

/// Whether a value fits the field.
fn fits(value: &Value, field: &str, kind: FieldKind, place: &str) -> Result<(), Refused> {
    let fits = match (kind, value) {
        (FieldKind::Number | FieldKind::Decimal, Value::Number(number)) => decimal_of(number).is_some(),
        (FieldKind::Time, Value::String(text)) => Timestamp::parse_rfc3339(text.as_bytes()).is_some(),
        (FieldKind::Text, Value::String(_)) => true,
        (FieldKind::Status | FieldKind::RunType, Value::String(text)) => {
            let names = kind.names().unwrap_or_default();
            if names.contains(&text.as_str()) {
                return Ok(());
            }
            let meant = meant(text, names.iter().copied());
            return Err(wrong(place, format!("`{text}` is not {}{meant}; there are {}", kind.noun(), names.join(", "))));
        }
        _ => false,
    };
    let shown: String = value.to_string().chars().take(60).collect();
    if fits { Ok(()) } else { Err(wrong(place, format!("{shown} does not fit; `{field}` is {}", kind.noun()))) }
}

fn decimal_of(number: &serde_json::Number) -> Option<Decimal> {
    decimal::parse(number.to_string().as_bytes()).ok()
}

impl Test {
    fn holds(&self, payload: &Value) -> bool {
        let value = payload.get(&self.field).unwrap_or(&Value::Null);
        match self.op {
            Comparison::IsNull => value.is_null() == self.value.as_bool().unwrap_or(true),
            Comparison::In => {
                self.value.as_array().is_some_and(|list| list.iter().any(|one| order(value, one) == Some(Ordering::Equal)))
            }
            Comparison::StartsWith => match (value.as_str(), self.value.as_str()) {
                (Some(text), Some(start)) => text.starts_with(start),
                _ => false,
            },
            Comparison::NotEqual => order(value, &self.value) != Some(Ordering::Equal),
            comparison => order(value, &self.value).is_some_and(|order| match comparison {
                Comparison::Less => order.is_lt(),
                Comparison::LessOrEqual => order.is_le(),
                Comparison::More => order.is_gt(),
                Comparison::MoreOrEqual => order.is_ge(),
                _ => order.is_eq(),
            }),
        }
    }
}

/// Returns the order of two values; values of different kinds have none. Two texts that are times
/// are compared as times, since the same instant may be written in many ways.
fn order(value: &Value, other: &Value) -> Option<Ordering> {
    match (value, other) {
        (Value::Number(a), Value::Number(b)) => Some(decimal_of(a)?.cmp(&decimal_of(b)?)),
        // A field whose digits are stored as text; no other text is compared with a number.
        (Value::String(a), Value::Number(b)) => Some(decimal::parse(a.as_bytes()).ok()?.cmp(&decimal_of(b)?)),
        (Value::String(a), Value::String(b)) => {
            let time = |text: &str| Timestamp::parse_rfc3339(text.as_bytes());
            Some(match (time(a), time(b)) {
                (Some(a), Some(b)) => a.cmp(&b),
                _ => a.cmp(b),
            })
        }
        _ => None,
    }
}
