//! The attempts of deliveries that were accepted in the end, the newest of each target.
//!
//! An accepted delivery needs no row of its own: its state follows from the progress of the target.
//! People who look at it later want to see its attempts nevertheless.

use std::collections::BTreeSet;

use flowmeter_engine::Error;
use flowmeter_engine::outbox::Delivery;
use flowmeter_store::catalog::{Catalog, Change, Table, key_of};
use uuid::Uuid;

use crate::rows::{kept, put};

/// Deliveries of a target that are kept.
const KEPT_MAX: usize = 1_000;
/// Rows that are read at once.
const PAGE: usize = 100;

/// The stored deliveries of a target that it has accepted.
#[derive(Clone)]
pub(super) struct Stories {
    prefix: Vec<u8>,
    /// The numbers of the stored ones; `None` until they are read.
    numbers: Option<BTreeSet<u64>>,
}

impl Stories {
    pub(super) fn new(pipeline: Uuid, target: &str) -> Stories {
        Stories { prefix: [pipeline.as_bytes(), target.as_bytes(), &[1]].concat(), numbers: None }
    }

    fn key(&self, number: u64) -> Vec<u8> {
        [self.prefix.as_slice(), &key_of(number)].concat()
    }

    /// Adds the rows of accepted deliveries to a change. Those of the oldest records leave.
    pub(super) fn add(&mut self, catalog: &dyn Catalog, accepted: &[Delivery], changes: &mut Vec<Change>) -> Result<(), Error> {
        // A single attempt adds nothing to the state.
        let accepted: Vec<&Delivery> = accepted.iter().filter(|delivery| delivery.history.len() > 1).collect();
        if accepted.is_empty() {
            return Ok(());
        }
        let mut numbers = match self.numbers.take() {
            Some(numbers) => numbers,
            None => self.stored(catalog)?,
        };
        for delivery in accepted {
            numbers.insert(delivery.number);
            changes.push(put(Table::Deliveries, self.key(delivery.number), delivery));
        }
        while numbers.len() > KEPT_MAX {
            let Some(oldest) = numbers.pop_first() else { break };
            changes.push(Change::Remove(Table::Deliveries, self.key(oldest)));
        }
        self.numbers = Some(numbers);
        Ok(())
    }

    /// Reads the numbers again with the next addition, since a change was not stored.
    pub(super) fn forget(&mut self) {
        self.numbers = None;
    }

    /// Returns a stored delivery.
    pub(super) fn read(&self, catalog: &dyn Catalog, number: u64) -> Result<Option<Delivery>, Error> {
        catalog.get(Table::Deliveries, &self.key(number))?.map(|bytes| kept(&bytes)).transpose()
    }

    fn stored(&self, catalog: &dyn Catalog) -> Result<BTreeSet<u64>, Error> {
        let (mut numbers, mut after) = (BTreeSet::new(), None);
        loop {
            let page = catalog.scan(Table::Deliveries, &self.prefix, after.as_deref(), PAGE)?;
            let Some((last, _)) = page.last() else { return Ok(numbers) };
            after = Some(last.clone());
            for (_, value) in &page {
                numbers.insert(kept::<Delivery>(value)?.number);
            }
        }
    }
}
