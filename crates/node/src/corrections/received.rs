//! A parked event with the time at which it was received, which the event store has.

use std::ops::ControlFlow;

use flowmeter_core::time::Timestamp;
use flowmeter_engine::Error;
use flowmeter_store::archive::Filter;
use serde_json::value::RawValue;

use super::Correction;
use crate::installation::{Installation, Served};
use crate::refusal::{Refused, refusal_of};

impl Installation {
    /// Returns a parked event by id, in its JSON form.
    pub fn correction_shown(&self, namespace: &str, id: &str) -> Result<Box<RawValue>, Refused> {
        let (served, correction) = self.correction(namespace, id)?;
        let received_at = self.received_at(&served, &correction).map_err(|why| refusal_of(&why))?;
        Ok(correction.shown_received(received_at))
    }

    /// Returns the time at which a parked event was received, unless the event is no longer kept.
    fn received_at(&self, served: &Served, correction: &Correction) -> Result<Option<Timestamp>, Error> {
        // The arrival of a derived event is that of another one.
        if correction.is_derived {
            return Ok(None);
        }
        let positions = correction.arrival..correction.arrival + 1;
        let filter = Filter { positions: Some(positions), ..Filter::default() };
        let mut found = None;
        self.walk_events(&served.kept, &filter, correction.arrival, &mut |row| {
            found = (row.position == correction.arrival).then(|| Timestamp::from_nanos(row.received_at));
            ControlFlow::Break(())
        })?;
        Ok(found)
    }
}
