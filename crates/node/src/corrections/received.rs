//! A parked event with the time at which it was received, which the event store has.

use std::ops::ControlFlow;

use flowmeter_core::time::Timestamp;
use flowmeter_engine::Error;
use flowmeter_store::archive::{Filter, Row};
use serde_json::value::RawValue;

use super::Correction;
use crate::installation::{Installation, Served};
use crate::refusal::{Refusal, RefusalKind, Refused, refusal_of};

impl Installation {
    /// Returns a parked event by id, in its JSON form.
    pub fn correction_shown(&self, namespace: &str, id: &str) -> Result<Box<RawValue>, Refused> {
        let (served, correction) = self.correction(namespace, id)?;
        let received_at = self.received_at(&served, &correction).map_err(|why| refusal_of(&why))?;
        Ok(correction.shown_received(received_at))
    }

    /// Returns a parked event as it was received. One that an operator held is read from the event
    /// store: the operators in front of that one may have changed its fields.
    ///
    /// # Errors
    /// The event is no longer kept.
    pub(crate) fn event_to_repeat(&self, served: &Served, correction: &Correction) -> Result<Vec<u8>, Refused> {
        if !correction.was_held {
            return Ok(correction.raw.clone());
        }
        let row = self.row_of(served, correction).map_err(|why| refusal_of(&why))?;
        row.map(|row| row.raw).ok_or_else(|| {
            let detail = format!("`{}` was received too long ago: the event store no longer has it", correction.id());
            Box::new(Refusal::new(RefusalKind::Conflict, detail).remedy("Send the corrected event with `correct`."))
        })
    }

    /// Returns the time at which a parked event was received, unless the event is no longer kept.
    fn received_at(&self, served: &Served, correction: &Correction) -> Result<Option<Timestamp>, Error> {
        // The arrival of a derived event is that of another one.
        if correction.is_derived {
            return Ok(None);
        }
        Ok(self.row_of(served, correction)?.map(|row| Timestamp::from_nanos(row.received_at)))
    }

    /// Returns the row of a received event in the event store.
    fn row_of(&self, served: &Served, correction: &Correction) -> Result<Option<Row>, Error> {
        let positions = correction.arrival..correction.arrival + 1;
        let filter = Filter { positions: Some(positions), ..Filter::default() };
        let mut found = None;
        self.walk_events(&served.kept, &filter, correction.arrival, &mut |row| {
            found = Some(row).filter(|row| row.position == correction.arrival);
            ControlFlow::Break(())
        })?;
        Ok(found)
    }
}
