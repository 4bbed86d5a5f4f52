//! JSON values compared as people read them.

use serde_json::{Number, Value};

use crate::decimal;

/// Returns whether two values are the same JSON. Numbers are equal if they are the same
/// decimal, however they are written; numbers beyond decimals are compared as text.
pub fn is_equal(one: &Value, other: &Value) -> bool {
    match (one, other) {
        (Value::Number(a), Value::Number(b)) => is_same_number(a, b),
        (Value::Array(a), Value::Array(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| is_equal(a, b)),
        (Value::Object(a), Value::Object(b)) => {
            let same = |(name, a): (&String, &Value)| b.get(name).is_some_and(|b| is_equal(a, b));
            a.len() == b.len() && a.iter().all(same)
        }
        (one, other) => one == other,
    }
}

/// Returns whether a value has every member that is expected, and equal values. Lists are compared
/// element by element.
pub fn holds(found: &Value, expected: &Value) -> bool {
    match (found, expected) {
        (Value::Object(found), Value::Object(expected)) => {
            expected.iter().all(|(name, expected)| found.get(name).is_some_and(|found| holds(found, expected)))
        }
        (Value::Array(found), Value::Array(expected)) => {
            found.len() == expected.len() && found.iter().zip(expected).all(|(found, expected)| holds(found, expected))
        }
        (found, expected) => is_equal(found, expected),
    }
}

fn is_same_number(one: &Number, other: &Number) -> bool {
    let (one, other) = (one.to_string(), other.to_string());
    match (decimal::parse(one.as_bytes()), decimal::parse(other.as_bytes())) {
        (Ok(a), Ok(b)) => a == b,
        _ => one == other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Value {
        serde_json::from_str(text).unwrap()
    }

    #[test]
    fn a_value_may_have_more_members_than_expected() {
        let cases = [
            (r#"{"a":1.0,"b":2}"#, r#"{"a":1}"#, true),
            (r#"{"a":1}"#, r#"{"a":1,"b":null}"#, false),
            (r#"[{"a":1,"b":2},3]"#, r#"[{"a":1},3.0]"#, true),
            ("[1,2]", "[1]", false),
            ("{}", "[]", false),
        ];
        for (found, expected, result) in cases {
            assert_eq!(holds(&read(found), &read(expected)), result, "{found} and {expected}");
        }
    }

    #[test]
    fn numbers_are_compared_by_their_digits() {
        let cases = [
            ("100", "1E+2", true),
            ("1.0", "1.00", true),
            ("-0", "0", true),
            ("1842.00000000000000025", "1842.0", false),
            ("9007199254740993", "9007199254740992", false),
            ("1e400", "1e400", true),
            (r#"{"a":[1,{"b":2.50}],"c":null}"#, r#"{"c":null,"a":[1.0,{"b":2.5}]}"#, true),
            (r#"{"a":1}"#, r#"{"a":1,"b":2}"#, false),
            ("[1,2]", "[2,1]", false),
            (r#""1""#, "1", false),
        ];
        for (one, other, expected) in cases {
            assert_eq!(is_equal(&read(one), &read(other)), expected, "{one} and {other}");
        }
    }
}
