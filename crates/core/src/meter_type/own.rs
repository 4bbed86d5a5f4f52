//! The limits of one meter and the thresholds, in the form of documents and of the API.

use serde_json::{Map, Value, json};

use super::{OwnLimits, Threshold};
use crate::decimal::Decimal;

impl OwnLimits {
    /// Returns what was set for the meter, as the API takes it.
    pub fn settings(&self) -> Map<String, Value> {
        let mut settings = Map::new();
        if let Some(capacity) = self.capacity {
            settings.insert("capacity".to_owned(), shown(capacity));
        }
        if let Some(thresholds) = &self.thresholds {
            settings.insert("thresholds".to_owned(), thresholds.iter().map(Threshold::shown).collect());
        }
        settings
    }
}

impl Threshold {
    /// Returns it as a document writes it.
    pub fn shown(&self) -> Value {
        let mut written = Map::new();
        written.insert("name".to_owned(), json!(self.name));
        let numbers = [("value", self.value), ("percentOfCapacity", self.percent_of_capacity)];
        let given = numbers.into_iter().filter_map(|(name, number)| Some((name.to_owned(), shown(number?))));
        written.extend(given);
        if !self.custom_fields.is_empty() {
            let fields = self.custom_fields.iter();
            let fields = fields.map(|(name, json)| (name.clone(), serde_json::from_str(json).unwrap_or_default()));
            written.insert("customFields".to_owned(), Value::Object(fields.collect()));
        }
        Value::Object(written)
    }
}

/// Returns the JSON number with all digits.
fn shown(number: Decimal) -> Value {
    serde_json::from_str(&number.to_string()).unwrap_or_default()
}
