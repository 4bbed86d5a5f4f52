//! Values of OTLP's JSON: attributes, numbers, instants.

use flowmeter_core::time::Timestamp;
use serde_json::{Map, Value};

/// The items of a list in a member; none if it is missing.
pub(super) fn list<'v>(object: &'v Value, name: &str) -> &'v [Value] {
    object.get(name).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

/// A text that is there and not empty.
pub(super) fn text<'v>(object: &'v Value, name: &str) -> Option<&'v str> {
    object.get(name).and_then(Value::as_str).filter(|text| !text.is_empty())
}

/// A whole number, which the protocol writes as text or as a number.
pub(super) fn integer(value: &Value) -> Option<Value> {
    let digits = match value {
        Value::String(text) => text.clone(),
        Value::Number(number) => number.to_string(),
        _ => return None,
    };
    let is_whole = digits.strip_prefix('-').unwrap_or(&digits).bytes().all(|digit| digit.is_ascii_digit());
    // Digits as they were sent: a number of any length keeps them.
    (is_whole && digits.bytes().any(|digit| digit.is_ascii_digit())).then(|| serde_json::from_str(&digits).ok()).flatten()
}

/// A number with its digits; none for NaN and infinities, which the protocol writes as text.
pub(super) fn double(value: &Value) -> Option<Value> {
    value.is_number().then(|| value.clone())
}

/// An instant in nanoseconds since 1970; none if it is missing or 0.
pub(super) fn nanos(object: &Value, name: &str) -> Option<u64> {
    let nanos: u64 = integer(object.get(name)?)?.to_string().parse().ok()?;
    (nanos > 0).then_some(nanos)
}

/// An instant with all its digits.
pub(super) fn instant(nanos: u64) -> Option<String> {
    let text = Timestamp::from_nanos(i64::try_from(nanos).ok()?).to_string();
    let (seconds, _) = text.split_once('.')?;
    Some(format!("{seconds}.{:09}Z", nanos % 1_000_000_000))
}

/// Attributes as an object: a name with points is one inside another, so that
/// `gen_ai.usage.input_tokens` is found by that path. Where a part of a name is taken by a value, the
/// longer name is kept whole.
pub(super) fn attributes(owner: &Value) -> Map<String, Value> {
    let mut object = Map::new();
    let named = list(owner, "attributes").iter().filter_map(|attribute| Some((text(attribute, "key")?, attribute)));
    let mut sorted: Vec<(&str, &Value)> = named.collect();
    // A name before those that begin with it, in whatever order they were sent.
    sorted.sort_by_key(|(key, _)| *key);
    for (key, attribute) in sorted {
        let value = any(attribute.get("value").unwrap_or(&Value::Null));
        if let Err(value) = put(&mut object, key, value) {
            object.insert(key.to_owned(), value);
        }
    }
    object
}

/// Sets a value under a name with points; gives it back if a part of the name is taken.
fn put(object: &mut Map<String, Value>, key: &str, value: Value) -> Result<(), Value> {
    match key.split_once('.') {
        Some((first, rest)) if !first.is_empty() && !rest.is_empty() => {
            match object.entry(first).or_insert_with(|| Value::Object(Map::new())) {
                Value::Object(inner) => put(inner, rest, value),
                _ => Err(value),
            }
        }
        _ if object.contains_key(key) => Err(value),
        _ => {
            object.insert(key.to_owned(), value);
            Ok(())
        }
    }
}

/// A value of an attribute or a body. Bytes stay Base64.
pub(super) fn any(value: &Value) -> Value {
    let Some((kind, inner)) = value.as_object().and_then(|object| object.iter().next()) else { return Value::Null };
    match kind.as_str() {
        "stringValue" | "boolValue" | "bytesValue" => inner.clone(),
        "intValue" => integer(inner).unwrap_or(Value::Null),
        "doubleValue" => double(inner).unwrap_or(Value::Null),
        "arrayValue" => Value::Array(list(inner, "values").iter().map(any).collect()),
        "kvlistValue" => {
            let pair = |pair: &Value| Some((text(pair, "key")?.to_owned(), any(pair.get("value")?)));
            Value::Object(list(inner, "values").iter().filter_map(pair).collect())
        }
        _ => Value::Null,
    }
}
