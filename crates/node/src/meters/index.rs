//! An index of the meters of a pipeline: users in order, and places by id.
//!
//! It is kept beside the pipeline's worker and never visits all meters at once: the worker notes the
//! meters that it opens, and the index takes them in small portions between two rounds. The answer
//! to a question always has the meters of every event that was counted before.
//!
//! An index is made when a pipeline is loaded, and again when another version of it is adopted,
//! because meters have other places then. It needs about 20 bytes for each meter.

mod ids;
mod users;

use std::ops::Bound;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use flowmeter_core::meter_type::derived;
use flowmeter_core::plan::Plan;
use flowmeter_engine::Error;
use flowmeter_engine::live::{Live, MeterPlace, Named};
use flowmeter_engine::node::Worker;
use ids::Ids;
use users::{Kinds, Users};
use uuid::Uuid;

/// Meters that are taken at a time: less than a millisecond of the worker.
const PORTION: u32 = 2048;

/// The index of a pipeline's meters.
#[derive(Default)]
pub(crate) struct MeterIndex {
    inner: Mutex<Inner>,
    /// The position of the pipeline at which the index was last known to have all meters.
    followed_to: AtomicU64,
}

#[derive(Default)]
struct Inner {
    progress: Progress,
    users: Users,
    /// Places by partition and id.
    ids: Vec<Ids>,
    /// The meter types that users have, by the number of their bit.
    kinds: Vec<Uuid>,
}

#[derive(Default)]
enum Progress {
    /// It has no meters yet.
    #[default]
    Empty,
    /// It has the meters before a place, and those opened since are noted.
    Reading(MeterPlace),
    /// It has every meter but those noted.
    Following,
}

impl MeterIndex {
    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a portion of meters. Returns whether the index has all.
    pub(crate) fn take(&self, live: &mut Live) -> bool {
        self.inner().take(live)
    }

    /// Takes the meters that were opened since the last call, if anything happened since.
    ///
    /// # Errors
    /// The pipeline is not loaded.
    pub(crate) fn follow(self: &Arc<Self>, worker: &Worker) -> Result<(), Error> {
        // One more than the position, so that a new pipeline differs from one never looked at.
        let position = worker.board().position() + 1;
        if self.followed_to.swap(position, Ordering::Relaxed) == position {
            return Ok(());
        }
        let done = self.catch_up(worker);
        if done.is_err() {
            self.followed_to.store(0, Ordering::Relaxed);
        }
        done
    }

    /// Takes meters until it has all, and merges its parts.
    ///
    /// # Errors
    /// The pipeline is not loaded.
    pub(crate) fn catch_up(self: &Arc<Self>, worker: &Worker) -> Result<(), Error> {
        loop {
            let index = Arc::clone(self);
            let has_all = worker.ask(move |live| index.take(live))?;
            self.merge();
            if has_all {
                return Ok(());
            }
        }
    }

    /// Merges parts of similar size. Only swapping them needs the lock.
    fn merge(&self) {
        loop {
            let Some(pair) = self.inner().users.mergeable() else { break };
            let run = users::Run::merge(&pair.0, &pair.1);
            self.inner().users.merged(&pair, run);
        }
        for partition in 0.. {
            let pair = match self.inner().ids.get(partition) {
                Some(ids) => ids.mergeable(),
                None => break,
            };
            let Some(pair) = pair else { continue };
            let run = ids::merge(&pair.0, &pair.1);
            if let Some(ids) = self.inner().ids.get_mut(partition) {
                ids.merged(&pair, run);
            }
        }
    }

    /// Returns the places at which the meter with an id may be.
    pub(crate) fn places(&self, id: Uuid) -> Vec<MeterPlace> {
        let inner = self.inner();
        let of = |(partition, ids): (usize, &Ids)| -> Vec<MeterPlace> {
            ids.places(id).into_iter().map(|meter| MeterPlace { partition, meter }).collect()
        };
        inner.ids.iter().enumerate().flat_map(of).collect()
    }

    /// Calls `take` with the users within bounds that may have meters of the wanted types, in order
    /// or backwards, until it returns false.
    pub(crate) fn visit(
        &self,
        bounds: (Bound<&[u8]>, Bound<&[u8]>),
        is_backward: bool,
        wanted: &[Uuid],
        take: impl FnMut(&[u8]) -> bool,
    ) {
        let inner = self.inner();
        let of_wanted = inner.kinds.iter().zip(0u32..).filter(|(kind, _)| wanted.contains(kind));
        let kinds = of_wanted.fold(0, |kinds, (_, number)| kinds | bit(number));
        match is_backward {
            false => inner.users.visit(bounds, kinds, take),
            true => inner.users.visit_back(bounds, kinds, take),
        }
    }

    /// Whether there are, or were, meters of a type.
    pub(crate) fn has_kind(&self, kind: Uuid) -> bool {
        self.inner().kinds.contains(&kind)
    }

    /// Returns the approximate bytes of the index.
    pub(crate) fn memory_bytes(&self) -> usize {
        let inner = self.inner();
        inner.users.memory_bytes() + inner.ids.iter().map(Ids::memory_bytes).sum::<usize>()
    }
}

impl Inner {
    fn take(&mut self, live: &mut Live) -> bool {
        let plan = Arc::clone(live.plan());
        let noted = match self.progress {
            Progress::Empty => None,
            Progress::Reading(_) | Progress::Following => live.take_opened(PORTION as usize),
        };
        let Some((opened, are_all)) = noted else {
            // Nothing was noted yet, or another version has other places.
            live.note_opened();
            *self = Inner { progress: Progress::Reading(MeterPlace { partition: 0, meter: 0 }), ..Inner::default() };
            return false;
        };
        opened.iter().for_each(|named| self.add(&plan, named));
        if let Progress::Reading(from) = self.progress {
            let (found, next) = live.meters_from(from, PORTION);
            found.iter().for_each(|named| self.add(&plan, named));
            self.progress = next.map_or(Progress::Following, Progress::Reading);
            return false;
        }
        are_all
    }

    fn add(&mut self, plan: &Plan, named: &Named) {
        let kind = plan.meter_types[usize::from(named.meter_type)].id;
        let key = plan.processors[usize::from(named.processor)].key;
        let id = named.given_id.unwrap_or_else(|| derived::meter(key, kind, &named.user));
        let partition = named.place.partition;
        if self.ids.len() <= partition {
            self.ids.resize_with(partition + 1, Ids::default);
        }
        self.ids[partition].insert(id, named.place.meter);
        let number = self.kinds.iter().position(|known| *known == kind).unwrap_or_else(|| {
            self.kinds.push(kind);
            self.kinds.len() - 1
        });
        self.users.insert(&named.user, bit(number as u32));
    }
}

/// The bit of a meter type by its number; the sixty-fifth shares that of the first.
fn bit(number: u32) -> Kinds {
    1 << (number % Kinds::BITS)
}
