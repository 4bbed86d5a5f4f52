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

/// A number with its digits, which the protocol also takes as text; none for NaN and infinities.
pub(super) fn double(value: &Value) -> Option<Value> {
    match value {
        Value::Number(_) => Some(value.clone()),
        Value::String(text) => serde_json::from_str(text).ok().filter(Value::is_number),
        _ => None,
    }
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

/// Attributes of one owner; SDKs allow 128 by default. More would take memory out of proportion.
const ATTRIBUTES_MAX: usize = 1024;
/// Parts of a name that become objects inside each other; a longer name is kept whole.
const PARTS_MAX: usize = 16;

/// The attributes of a resource, scope or point, by name.
pub(super) struct Attributes<'v>(Vec<(&'v str, Value)>);

impl<'v> Attributes<'v> {
    /// Reads the attributes of an owner.
    ///
    /// # Errors
    /// There are too many.
    pub(super) fn of(owner: &'v Value) -> Result<Attributes<'v>, String> {
        let all = list(owner, "attributes");
        if all.len() > ATTRIBUTES_MAX {
            return Err(format!("{} attributes, at most {ATTRIBUTES_MAX} are allowed", all.len()));
        }
        let named = all.iter().filter_map(|attribute| Some((text(attribute, "key")?, attribute)));
        let mut sorted: Vec<_> = named.map(|(key, one)| (key, any(one.get("value").unwrap_or(&Value::Null)))).collect();
        // A name comes before those that begin with it, in whatever order they were sent.
        sorted.sort_by_key(|(key, _)| *key);
        Ok(Attributes(sorted))
    }

    /// Returns the value of a name.
    pub(super) fn get(&self, name: &str) -> Option<&Value> {
        self.0.iter().find(|(key, _)| *key == name).map(|(_, value)| value)
    }

    /// Returns every name with its value, sorted.
    pub(super) fn iter(&self) -> impl Iterator<Item = &(&'v str, Value)> {
        self.0.iter()
    }

    /// The attributes as an object: a name with points is one inside another, so that
    /// `gen_ai.usage.input_tokens` is found by that path. Where a part of a name is taken by a value,
    /// the longer name is kept whole.
    pub(super) fn nested(&self) -> Map<String, Value> {
        let mut object = Map::new();
        for (key, value) in &self.0 {
            let is_deep = key.split('.').count() > PARTS_MAX;
            let left = if is_deep { Err(value.clone()) } else { put(&mut object, key, value.clone()) };
            if let Err(value) = left {
                object.insert((*key).to_owned(), value);
            }
        }
        object
    }
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
    let kinds = ["stringValue", "boolValue", "intValue", "doubleValue", "arrayValue", "kvlistValue", "bytesValue"];
    let known = |kind: &'static str| Some((kind, value.get(kind).filter(|inner| !inner.is_null())?));
    let Some((kind, inner)) = kinds.into_iter().find_map(known) else { return Value::Null };
    match kind {
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
