//! Marks and deliveries of a target in the catalog.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use flowmeter_engine::outbox::{Delivery, DeliveryState, Kept, Marks, Shelf};
use flowmeter_engine::{Error, Kind};
use flowmeter_store::catalog::{Catalog, Change, Table, key_of};
use uuid::Uuid;

use crate::deliveries::delivery::stories::Stories;
use crate::installation::Installation;
use crate::rows::{kept, put};

/// Deliveries that are read at once.
const PAGE: usize = 1_000;

/// Whether a shelf may still be written to: not once another thread has taken over its target. It
/// is held during a write, so that nothing is stored after it was closed.
#[derive(Clone, Default)]
pub(crate) struct Seal(Arc<Mutex<bool>>);

impl Seal {
    /// Closes the seal: nothing is stored from now on.
    pub(crate) fn close(&self) {
        *self.lock() = true;
    }

    fn lock(&self) -> MutexGuard<'_, bool> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The state of a target in the catalog.
#[derive(Clone)]
pub(crate) struct CatalogShelf {
    catalog: Arc<dyn Catalog>,
    owner: Vec<u8>,
    pipeline: Uuid,
    target: String,
    /// The installation that reports dead deliveries; none for a reader.
    teller: Weak<Installation>,
    seal: Seal,
    stories: Stories,
    /// Rows that the next write commits as well: the audit of the action that writes.
    audit: Vec<Change>,
}

impl CatalogShelf {
    /// Creates the shelf of a pipeline's target.
    pub(crate) fn new(catalog: Arc<dyn Catalog>, pipeline: Uuid, target: &str) -> CatalogShelf {
        let owner = [pipeline.as_bytes(), target.as_bytes(), &[0]].concat();
        CatalogShelf {
            catalog,
            owner,
            pipeline,
            target: target.to_owned(),
            teller: Weak::new(),
            seal: Seal::default(),
            stories: Stories::new(pipeline, target),
            audit: Vec::new(),
        }
    }

    /// Commits rows together with the next write, replacing earlier ones.
    pub(crate) fn commit_with(&mut self, audit: Vec<Change>) {
        self.audit = audit;
    }

    /// Sets the installation that reports dead deliveries.
    pub(crate) fn tell_by(&mut self, teller: Weak<Installation>) {
        self.teller = teller;
    }

    /// Returns the seal of the shelf.
    pub(crate) fn seal(&self) -> Seal {
        self.seal.clone()
    }

    /// Returns the stored state. A new target starts at the record `begin`.
    pub(crate) fn open(&mut self, begin: u64) -> Result<Kept, Error> {
        if self.catalog.get(Table::Cursors, &self.owner)?.is_none() {
            let marks = Marks { next: begin, sent: begin, confirmed: begin, ..Marks::default() };
            self.keep(&marks, &[], &[])?;
        }
        self.kept()
    }

    /// Returns stored deliveries from a record on.
    pub(crate) fn deliveries(&self, from: u64, state: Option<DeliveryState>, limit: usize) -> Result<Vec<Delivery>, Error> {
        let mut found = Vec::new();
        self.each(from.checked_sub(1), &mut |delivery| {
            if state.is_none_or(|state| delivery.state == state) {
                found.push(delivery);
            }
            found.len() < limit
        })?;
        Ok(found)
    }

    /// Returns the numbers of the stored deliveries that `takes` wants.
    pub(crate) fn numbers(&self, takes: &dyn Fn(&Delivery) -> bool) -> Result<Vec<u64>, Error> {
        let mut numbers = Vec::new();
        self.each(None, &mut |delivery| {
            if takes(&delivery) {
                numbers.push(delivery.number);
            }
            true
        })?;
        Ok(numbers)
    }

    /// Passes stored deliveries behind a record to `take`, in order, until it returns false.
    fn each(&self, after: Option<u64>, take: &mut dyn FnMut(Delivery) -> bool) -> Result<(), Error> {
        let mut after = after.map(|number| self.key(number));
        loop {
            let page = self.catalog.scan(Table::Deliveries, &self.owner, after.as_deref(), PAGE)?;
            let Some((last, _)) = page.last() else { return Ok(()) };
            after = Some(last.clone());
            for (_, value) in &page {
                if !take(kept(value)?) {
                    return Ok(());
                }
            }
        }
    }

    /// Returns a delivery that the target accepted after attempts that failed, if it is still kept.
    pub(crate) fn story(&self, number: u64) -> Result<Option<Delivery>, Error> {
        self.stories.read(&*self.catalog, number)
    }

    fn key(&self, number: u64) -> Vec<u8> {
        [self.owner.as_slice(), &key_of(number)].concat()
    }
}

impl Shelf for CatalogShelf {
    fn keep(&mut self, marks: &Marks, changed: &[Delivery], gone: &[Delivery]) -> Result<(), Error> {
        let is_closed = self.seal.lock();
        if *is_closed {
            let message = "the target is at work elsewhere: its pipeline was changed, or the server stops";
            return Err(Error::new(Kind::Unavailable, message));
        }
        let mut changes = vec![put(Table::Cursors, self.owner.clone(), marks)];
        changes.extend(gone.iter().map(|gone| Change::Remove(Table::Deliveries, self.key(gone.number))));
        self.stories.add(&*self.catalog, gone, &mut changes)?;
        changes.extend(changed.iter().map(|delivery| put(Table::Deliveries, self.key(delivery.number), delivery)));
        changes.extend(self.audit.iter().cloned());
        let dead: Vec<&Delivery> = changed.iter().filter(|delivery| delivery.state == DeliveryState::Dead).collect();
        let done = match self.teller.upgrade().filter(|_| !dead.is_empty()) {
            Some(teller) => teller.keep_dead(self.pipeline, &self.target, &dead, changes),
            None => self.catalog.commit(&changes).map_err(Error::from),
        };
        if done.is_err() {
            self.stories.forget();
        }
        done?;
        self.audit.clear();
        Ok(())
    }

    fn kept(&self) -> Result<Kept, Error> {
        let marks = self.catalog.get(Table::Cursors, &self.owner)?.map(|bytes| kept(&bytes)).transpose()?;
        let retrying = self.deliveries(0, Some(DeliveryState::Retrying), usize::MAX)?;
        Ok(Kept { marks: marks.unwrap_or_default(), retrying })
    }

    fn delivery(&self, number: u64) -> Result<Option<Delivery>, Error> {
        self.catalog.get(Table::Deliveries, &self.key(number))?.map(|bytes| kept(&bytes)).transpose()
    }
}
