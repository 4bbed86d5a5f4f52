//! The capacity and the thresholds of one meter, as the API takes them.

use flowmeter_core::meter_type::OwnLimits;
use serde_json::{Map, Value};

use super::compile::number;
use super::{Pipeline, Problems, conform, forms, meter_type, tree};

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
