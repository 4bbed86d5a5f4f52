//! The capacity and the thresholds of one meter, as the API takes and shows them.

use serde_json::{Map, Value, json};

use super::compile::number;
use super::{Pipeline, Problems, conform, forms, meter_type, tree};
use crate::decimal::Decimal;
use crate::meter_type::{OwnLimits, Threshold};

impl Pipeline {
    /// Reads `capacity` and `thresholds` of a meter. `has_capacity`: whether its type gives it one.
    pub fn read_own_limits(fields: &Map<String, Value>, has_capacity: bool) -> Result<OwnLimits, Problems> {
        let tree = tree::parse(&Value::Object(fields.clone()).to_string())?;
        let mut problems = Problems::default();
        conform::conform(&tree, &forms::OWN, "", &mut problems);
        problems.into_result()?;
        let mut problems = Problems::default();
        let capacity = number(&tree, "capacity");
        let has_capacity = has_capacity || capacity.is_some();
        let own = tree.get("thresholds").filter(|own| !own.is_null());
        let thresholds = own.map(|_| meter_type::thresholds(&tree, has_capacity, "", &mut problems));
        problems.into_result()?;
        Ok(OwnLimits { capacity, capacity_of_event: None, thresholds })
    }
}

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
