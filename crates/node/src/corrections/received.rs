//! Parked events with the time at which they were received, which the event store has.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::{ControlFlow, Range};
use std::sync::Arc;

use flowmeter_core::time::Timestamp;
use flowmeter_engine::Error;
use flowmeter_store::archive::{self, Filter, Row};
use serde_json::value::RawValue;

use super::Correction;
use crate::events::rows::events_folder;
use crate::installation::{Installation, Served};
use crate::refusal::{Refusal, RefusalKind, Refused, refusal_of};

/// Events between two parked ones up to which both are read at once.
const GAP_MAX: u64 = 1_024;

/// Spans that are read for one page. Each takes a part of a file: events that are farther apart are listed
/// without the time, which one of them by itself has.
const SPANS_MAX: usize = 16;

/// Returns the spans of arrivals that are read at once.
fn spans(arrivals: impl Iterator<Item = u64>) -> Vec<Range<u64>> {
    let mut spans: Vec<Range<u64>> = Vec::new();
    for arrival in arrivals {
        match spans.last_mut().filter(|span| arrival - span.end <= GAP_MAX) {
            Some(span) => span.end = arrival + 1,
            None => spans.push(arrival..arrival + 1),
        }
    }
    spans
}

impl Installation {
    /// Returns parked events of a pipeline in their JSON form, each with the time at which it was
    /// received, unless the event is no longer kept.
    ///
    /// # Errors
    /// The event store cannot be read.
    pub fn corrections_shown(&self, served: &Served, parked: &[Correction]) -> Result<Vec<Box<RawValue>>, Error> {
        // The arrival of a derived event is that of another one.
        let own = |one: &&Correction| !one.is_derived;
        let arrivals = parked.iter().filter(own).map(|one| one.arrival).collect();
        // Without the times the queue is still of use.
        let times = self.times_of(served, &arrivals).unwrap_or_else(|why| {
            tracing::warn!(pipeline = served.kept.name, "the times of receipt of parked events cannot be read: {why}");
            BTreeMap::new()
        });
        let time = |one: &Correction| times.get(&one.arrival).filter(|_| !one.is_derived).copied().map(Timestamp::from_nanos);
        Ok(parked.iter().map(|one| one.shown_received(time(one))).collect())
    }

    /// Returns when events were received, by their number in the order of arrival.
    fn times_of(&self, served: &Served, arrivals: &BTreeSet<u64>) -> Result<BTreeMap<u64, i64>, Error> {
        let folder = events_folder(served.kept.id);
        let archived = archive::extent(&**self.disk(), &folder)?.unwrap_or(0);
        let mut times = BTreeMap::new();
        for span in spans(arrivals.range(..archived).copied()).into_iter().take(SPANS_MAX) {
            let filter = Filter { positions: Some(span), ..Filter::default() };
            for row in archive::scan(Arc::clone(self.disk()), &folder, filter)? {
                let row = row?;
                if arrivals.contains(&row.position) {
                    times.insert(row.position, row.received_at);
                }
            }
        }
        // Those that are not in files yet follow each other closely.
        let mut tail = arrivals.range(archived..);
        let (Some(&first), Some(last)) = (tail.next(), arrivals.last().copied()) else { return Ok(times) };
        let filter = Filter { positions: Some(first..last + 1), ..Filter::default() };
        let mut from = Some(first);
        while let Some(next) = from.filter(|next| *next <= last) {
            from = self.walk_events(&served.kept, &filter, next, &mut |row| {
                if arrivals.contains(&row.position) {
                    times.insert(row.position, row.received_at);
                }
                if row.position < last { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
            })?;
        }
        Ok(times)
    }

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arrivals_that_are_near_each_other_are_read_at_once() {
        let far = 10 + 2 * GAP_MAX;
        assert_eq!(spans([3, 4, 10, far].into_iter()), [3..11, far..far + 1]);
        assert_eq!(spans(std::iter::empty()), []);
    }
}
