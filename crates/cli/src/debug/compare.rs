//! Expected records beside those that were made, in any order.
//!
//! An expected record agrees with a record if every field it names has the same value there.
//! Numbers are compared by value, so `12.50` is `12.5`; everything else must be equal. The largest
//! possible number of pairs that agree is found first. A record of the same user, meter type and
//! period as an expected one that is left is shown as different, field by field.

use std::collections::{BTreeMap, VecDeque};

use flowmeter_core::json::is_equal;
use serde_json::Value;

/// Fields that tell which record is meant.
const IDENTITY: [&str; 8] = ["userId", "meterTypeName", "meterTypeId", "meterKey", "id", "periodStart", "periodEnd", "threshold"];
/// Those that must agree for two records to be one with differences.
const NEAR: usize = 2;

/// The result of a comparison.
#[derive(Debug, Default)]
pub(super) struct Comparison {
    pub(super) expected_count: usize,
    pub(super) found_count: usize,
    pub(super) missing: Vec<Value>,
    pub(super) unexpected: Vec<Value>,
    pub(super) different: Vec<Different>,
}

/// A record that was expected with other values.
#[derive(Debug)]
pub(super) struct Different {
    pub(super) found: Value,
    pub(super) fields: Vec<Field>,
}

/// A field with both values, as JSON; `None` where the record does not have it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Field {
    pub(super) path: String,
    pub(super) expected: Option<String>,
    pub(super) found: Option<String>,
}

impl Comparison {
    pub(super) fn is_equal(&self) -> bool {
        self.missing.is_empty() && self.unexpected.is_empty() && self.different.is_empty()
    }
}

/// Compares expected records with those that were found.
pub(super) fn compare(expected: &[Value], found: &[Value]) -> Comparison {
    let mut pairs = Pairs::new(expected, found);
    (0..expected.len()).for_each(|at| pairs.pair(at));
    let mut comparison = Comparison { expected_count: expected.len(), found_count: found.len(), ..Comparison::default() };
    let mut is_taken: Vec<bool> = pairs.of_found.iter().map(Option::is_some).collect();
    for (at, wanted) in expected.iter().enumerate().filter(|(at, _)| pairs.of_expected[*at].is_none()) {
        let free = pairs.candidates(at).iter().copied().filter(|at| !is_taken[*at]);
        match nearest(wanted, free, found) {
            Some((at, fields)) => {
                is_taken[at] = true;
                comparison.different.push(Different { found: found[at].clone(), fields });
            }
            None => comparison.missing.push(wanted.clone()),
        }
    }
    comparison.unexpected = found.iter().zip(&is_taken).filter(|(_, taken)| !**taken).map(|(one, _)| one.clone()).collect();
    comparison
}

/// Returns the record that an expected one may have meant, with the fields that differ: the one
/// with the fewest, and with other identity only where user and meter type agree.
fn nearest(wanted: &Value, free: impl Iterator<Item = usize>, found: &[Value]) -> Option<(usize, Vec<Field>)> {
    let has = |one: &Value, name: &&str| wanted.get(name).is_none_or(|value| agrees(value, one.get(name)));
    let near = free.filter(|at| IDENTITY[..NEAR].iter().all(|name| has(&found[*at], name)));
    let scored = near.map(|at| {
        let others = IDENTITY.iter().filter(|name| !has(&found[at], name)).count();
        let mut fields = Vec::new();
        differences(wanted, &found[at], "", &mut fields);
        (others, fields.len(), at, fields)
    });
    let best = scored.min_by_key(|(others, count, at, _)| (*others, *count, *at));
    best.map(|(.., at, fields)| (at, fields))
}

/// Pairs of records that agree.
struct Pairs<'r> {
    expected: &'r [Value],
    found: &'r [Value],
    /// Places of records by their user.
    by_user: BTreeMap<&'r str, Vec<usize>>,
    all: Vec<usize>,
    /// For each record the expected one it is paired with.
    of_found: Vec<Option<usize>>,
    /// For each expected record the one it is paired with.
    of_expected: Vec<Option<usize>>,
}

impl<'r> Pairs<'r> {
    fn new(expected: &'r [Value], found: &'r [Value]) -> Pairs<'r> {
        let mut by_user: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
        for (at, record) in found.iter().enumerate() {
            by_user.entry(user(record).unwrap_or_default()).or_default().push(at);
        }
        let (all, of_found, of_expected) = ((0..found.len()).collect(), vec![None; found.len()], vec![None; expected.len()]);
        Pairs { expected, found, by_user, all, of_found, of_expected }
    }

    /// Returns the records that may agree with an expected one.
    fn candidates(&self, expected: usize) -> &[usize] {
        match user(&self.expected[expected]) {
            Some(user) => self.by_user.get(user).map_or(&[], Vec::as_slice),
            None => &self.all,
        }
    }

    /// Pairs an expected record. If all records that agree with it are taken, looks for a chain of
    /// pairs that can move on by one record each.
    fn pair(&mut self, first: usize) {
        let mut waiting = VecDeque::from([first]);
        // For each record that was looked at, the expected one that would take it.
        let mut taken_by: BTreeMap<usize, usize> = BTreeMap::new();
        while let Some(expected) = waiting.pop_front() {
            let mut free = None;
            for &at in self.candidates(expected) {
                if taken_by.contains_key(&at) || !agrees(&self.expected[expected], Some(&self.found[at])) {
                    continue;
                }
                taken_by.insert(at, expected);
                match self.of_found[at] {
                    Some(other) => waiting.push_back(other),
                    None => {
                        free = Some(at);
                        break;
                    }
                }
            }
            let Some(mut at) = free else { continue };
            // Every expected record on the way moves to the record that was found for it.
            loop {
                let expected = taken_by[&at];
                let before = self.of_expected[expected].replace(at);
                self.of_found[at] = Some(expected);
                match before {
                    Some(before) => at = before,
                    None => return,
                }
            }
        }
    }
}

fn user(record: &Value) -> Option<&str> {
    record.get("userId").and_then(Value::as_str)
}

/// Whether a value is as expected. A field that is expected to be null may be absent.
fn agrees(expected: &Value, found: Option<&Value>) -> bool {
    let Some(found) = found else { return expected.is_null() };
    match (expected, found) {
        (Value::Object(fields), Value::Object(_)) => fields.iter().all(|(name, value)| agrees(value, found.get(name))),
        (Value::Array(expected), Value::Array(found)) => {
            expected.len() == found.len() && expected.iter().zip(found).all(|(expected, found)| agrees(expected, Some(found)))
        }
        (expected, found) => is_equal(expected, found),
    }
}

/// Adds the innermost fields that differ.
fn differences(expected: &Value, found: &Value, path: &str, fields: &mut Vec<Field>) {
    let (Value::Object(wanted), Value::Object(_)) = (expected, found) else {
        fields.push(Field { path: path.to_owned(), expected: Some(expected.to_string()), found: Some(found.to_string()) });
        return;
    };
    for (name, value) in wanted {
        let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
        match found.get(name) {
            _ if agrees(value, found.get(name)) => {}
            Some(found) => differences(value, found, &path, fields),
            None => fields.push(Field { path, expected: Some(value.to_string()), found: None }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(lines: &str) -> Vec<Value> {
        lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// Returns counts of missing, unexpected and different records, and the fields that differ.
    fn summary(expected: &str, found: &str) -> (usize, usize, Vec<String>) {
        let compared = compare(&values(expected), &values(found));
        let text = |value: &Option<String>| value.clone().unwrap_or("nothing".to_owned());
        let field = |field: &Field| format!("{}: {} / {}", field.path, text(&field.expected), text(&field.found));
        let fields = compared.different.iter().map(|one| one.fields.iter().map(field).collect::<Vec<_>>().join(", "));
        (compared.missing.len(), compared.unexpected.len(), fields.collect())
    }

    #[test]
    fn only_named_fields_are_compared_in_any_order() {
        let found = "{\"userId\":\"a\",\"value\":12.5,\"meta\":{\"revision\":0,\"id\":\"x\"}}\n{\"userId\":\"b\",\"value\":1,\"list\":[1,{\"k\":2,\"l\":3}]}\n";
        let none: Vec<String> = Vec::new();
        let differs = |text: &str| vec![text.to_owned()];
        for (expected, result) in [
            ("{\"userId\":\"b\"}\n{\"userId\":\"a\"}", (0, 0, none.clone())),
            ("{\"value\":1.00}\n{\"value\":1.25e1,\"userId\":\"a\"}", (0, 0, none.clone())),
            ("{\"userId\":\"b\",\"list\":[1.0,{\"k\":2}]}\n{\"meta\":{\"revision\":0}}", (0, 0, none.clone())),
            ("{\"userId\":\"b\",\"gone\":null}\n{\"userId\":\"a\"}", (0, 0, none.clone())),
            ("{\"userId\":\"a\"}", (0, 1, none.clone())),
            ("{\"userId\":\"a\"}\n{\"userId\":\"b\"}\n{\"userId\":\"c\"}", (1, 0, none.clone())),
            ("{\"userId\":\"a\",\"value\":\"12.5\"}\n{\"userId\":\"b\"}", (0, 0, differs("value: \"12.5\" / 12.5"))),
            (
                "{\"userId\":\"a\",\"meta\":{\"revision\":1,\"no\":true}}\n{\"userId\":\"b\"}",
                (0, 0, differs("meta.no: true / nothing, meta.revision: 1 / 0")),
            ),
            ("{\"userId\":\"b\",\"list\":[1]}\n{\"userId\":\"a\"}", (0, 0, differs("list: [1] / [1,{\"k\":2,\"l\":3}]"))),
        ] {
            assert_eq!(summary(expected, found), result, "{expected}");
        }
    }

    #[test]
    fn as_many_records_as_possible_are_paired() {
        // The first expected record agrees with both; the second only with the first record.
        let found = "{\"userId\":\"a\",\"value\":1}\n{\"userId\":\"a\",\"value\":2}\n{\"userId\":\"a\",\"value\":3}";
        let expected = "{\"userId\":\"a\"}\n{}\n{\"userId\":\"a\",\"value\":1}";
        assert_eq!(summary(expected, found), (0, 0, Vec::new()));
        assert_eq!(summary(&format!("{expected}\n{{\"value\":2}}"), found).0, 1);
    }

    #[test]
    fn a_record_of_another_period_is_the_nearest_one_left() {
        let found = "{\"userId\":\"a\",\"periodStart\":\"1\",\"value\":5}\n{\"userId\":\"a\",\"periodStart\":\"2\",\"value\":6}";
        let expected = "{\"userId\":\"a\",\"periodStart\":\"2\",\"value\":5}";
        assert_eq!(summary(expected, found), (0, 1, vec!["value: 5 / 6".to_owned()]));
    }
}
