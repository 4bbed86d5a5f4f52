//! JSON of users in answers, shown byte for byte as it was sent.
//!
//! A `Value` keeps the digits of a number (`arbitrary_precision`), but neither the form of an
//! exponent nor the order of members. So events and records become part of answers as text, next to
//! the members that the server adds.

#[cfg(test)]
mod tests;

use serde_json::Value;
use serde_json::value::RawValue;

/// An object whose members are JSON texts.
#[derive(Clone, Debug)]
pub struct Object {
    /// The text of the object without its last brace.
    text: String,
}

impl Object {
    /// Begins with the members of a value. A value that is not an object has no members.
    pub fn of(members: &Value) -> Object {
        let mut text = match members.is_object() {
            true => members.to_string(),
            false => "{}".to_owned(),
        };
        text.pop();
        Object { text }
    }

    /// Adds a member. Its name must be new.
    #[must_use]
    pub fn with(mut self, name: &str, json: &RawValue) -> Object {
        self.name(name);
        self.text.push_str(json.get());
        self
    }

    /// Adds a list. Its name must be new.
    #[must_use]
    pub fn with_list(mut self, name: &str, items: &[Box<RawValue>]) -> Object {
        self.name(name);
        self.text.push('[');
        for (at, item) in items.iter().enumerate() {
            if at > 0 {
                self.text.push(',');
            }
            self.text.push_str(item.get());
        }
        self.text.push(']');
        self
    }

    /// Completes and returns the object.
    pub fn finish(mut self) -> Box<RawValue> {
        self.text.push('}');
        RawValue::from_string(self.text).unwrap_or_default()
    }

    fn name(&mut self, name: &str) {
        if !self.text.ends_with('{') {
            self.text.push(',');
        }
        self.text.push_str(&Value::from(name).to_string());
        self.text.push(':');
    }
}

/// Returns JSON as it was sent; bytes that are not JSON become a text.
pub fn sent(bytes: &[u8]) -> Box<RawValue> {
    let text = |_| raw(&Value::from(String::from_utf8_lossy(bytes)));
    serde_json::from_slice(bytes).unwrap_or_else(text)
}

/// Returns a value of this server as JSON text.
pub fn raw(value: &Value) -> Box<RawValue> {
    RawValue::from_string(value.to_string()).unwrap_or_default()
}
