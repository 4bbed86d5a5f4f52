//! The states of one record at all targets of its pipeline.

use flowmeter_engine::Error;
use flowmeter_engine::outbox::Shelf;
use serde_json::{Value, json};

use crate::installation::{Installation, Served};

impl Installation {
    /// Returns the state of a record of a period at each target of its pipeline that takes such
    /// records; targets of thresholds do not.
    pub(crate) fn states_of(&self, served: &Served, number: u64) -> Result<Vec<Value>, Error> {
        let mut states = Vec::new();
        for courier in served.delivery.couriers().into_iter().filter(|courier| !courier.plan().thresholds) {
            let own = self.shelf(served, &courier).delivery(number)?;
            let state = own.map_or_else(|| courier.board().state_of(number), |own| own.state);
            let id = format!("{}.{number}.{}", served.kept.id, courier.id());
            states.push(json!({"id": id, "target": courier.id(), "state": state.name()}));
        }
        Ok(states)
    }
}
