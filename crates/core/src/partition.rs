//! A partition: the meters of some users and the identities of some events.
//!
//! It is the deterministic state machine. Every input is one of a closed list of [`Command`]s.
//! [`Partition::apply`] folds a command into the state at a given instant and reports its effects
//! through [`Effects`]. It reads no clock, does no I/O and depends on no other partition. The same
//! commands always give the same state and the same effects; replay, recomputation and proof rely
//! on this.
//!
//! Invariants:
//! - an event's usages reach exactly one partition, chosen by its user, in the order of arrival;
//! - a period is flushed once per revision, and periods of a meter in their order, also where a
//!   meter is deleted and another one takes its place;
//! - periods close only by [`Command::Tick`], [`Command::Flush`] and their `at`.

mod ahead;
mod close;
mod command;
mod count;
mod declared;
mod effects;
mod footprint;
mod gone;
mod groups;
mod identities;
mod image;
mod keyed;
mod late;
mod memory;
mod meter;
mod name;
mod opened;
mod order;
mod own;
mod parked;
mod periods;
mod refused;
mod reschedule;
mod stretches;
mod sure;
mod symbols;
mod threshold;

use std::collections::BTreeMap;
use std::sync::Arc;

pub use crate::keyed::{Change, Due, Input, Rejudged, ReleaseExtent, Released};
pub use command::{Command, Identity, Usage};
pub(crate) use count::read_value;
pub use effects::{Counted, Effects, RecordKey};
pub use footprint::METER_INDEX_BYTES;
pub use gone::Stones;
pub use identities::{Drain, IdentityTable, is_within, recorded_at};
pub use memory::Memory;
pub use meter::{Amount, Birth, Carry, Extra, Meter, MeterKey, OpenPeriod, Rare, Sent, Standing, Stretch};
pub use name::Name;
pub use parked::ParkedIdentities;
pub use periods::Periods;
pub use symbols::Symbols;
pub use threshold::THRESHOLDS_MAX;

use crate::keyed::State;
use crate::mutant::{self, Mutant};
use crate::plan::Plan;
use crate::schedule::Calendar;
use crate::time::Timestamp;

/// Index of a meter in its store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MeterIx(pub u32);

/// The store of meters: in memory, or in memory with the rest on disk.
pub trait Meters {
    /// Returns the meter of a key.
    fn find(&self, key: &MeterKey<'_>) -> Option<MeterIx>;
    /// Returns the first meter that a hash leads to, if any. It is a guess, used to prefetch its
    /// memory.
    fn guess(&self, hash: u64) -> Option<MeterIx>;
    /// Whether a meter, if it is still there, has this key.
    fn is(&self, meter: MeterIx, key: &MeterKey<'_>) -> bool;
    /// Adds a meter under its key, which must be new.
    fn insert(&mut self, hash: u64, meter: Meter) -> MeterIx;
    /// Returns a meter, if it still exists.
    fn peek(&self, meter: MeterIx) -> Option<&Meter>;
    /// Returns a meter that must exist.
    fn get(&self, meter: MeterIx) -> &Meter;
    /// Returns a meter that must exist, to change it.
    fn get_mut(&mut self, meter: MeterIx) -> &mut Meter;
    /// Removes a meter and its key.
    fn remove(&mut self, hash: u64, meter: MeterIx);
    /// Returns every meter, in no order.
    fn all(&self) -> impl Iterator<Item = (MeterIx, &Meter)>;
    /// Returns the number of meters.
    fn count(&self) -> usize;
}

/// The state of an identity before it was admitted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admission {
    /// Unknown; it is recorded.
    New,
    /// Known only outside the window; it is recorded.
    Beside,
    /// Known within the window: the event is a duplicate, and nothing is recorded.
    Known,
}

/// The store of identities.
pub trait Identities {
    /// Admits identities in order, and gives each known one to `answer`: known within `window`
    /// nanoseconds of its event time (`None`: for ever) or outside. The first arrival wins.
    fn admit(&mut self, identities: &[Identity], window: Option<i64>, answer: &mut dyn FnMut(&Identity, Admission));
    /// Withdraws an identity that was recorded since the last [`Identities::settle`].
    fn withdraw(&mut self, fingerprint: u128, at: Timestamp);
    /// Makes all recorded identities final: none of them will be withdrawn.
    fn settle(&mut self) {}
    /// Reserves room for `count` identities in all. Only a hint: no answer depends on it.
    fn expect(&mut self, count: usize);
}

/// The meters of some users and the identities of some events.
#[derive(Debug)]
pub struct Partition<M = Memory, I = IdentityTable> {
    plan: Arc<Plan>,
    meters: M,
    identities: I,
    /// Identities of parked events: the next event with one of them takes its place.
    parked: ParkedIdentities,
    /// The calendars of the plan's meter types, followed by those of meters whose type had another
    /// one.
    calendars: Vec<Calendar>,
    /// The horizons, by meter type.
    horizons: Vec<late::Horizon>,
    /// The thresholds' bits, by meter type.
    thresholds: Vec<gone::Crossings>,
    stones: Stones,
    /// The number of meters that are gone.
    gone: usize,
    /// The periods that an event may still open, by meter type and calendar.
    openings: BTreeMap<(u16, u16), late::Opening>,
    /// The calendars of meters with a zone of their own, by its name and by meter type.
    zones: BTreeMap<Box<[u8]>, BTreeMap<u16, u16>>,
    /// Meter types whose calendar was set for a recount.
    begun_with: Vec<u16>,
    symbols: Symbols,
    opened: opened::Opened,
    /// The state of operators that keep it by key, by operator. Empty if no operator does.
    keyed: Vec<Option<State>>,
    /// Meters by the instant at which a period is to be flushed. An entry is valid only if it
    /// agrees with the meter's own `due`.
    due: BTreeMap<Timestamp, Vec<MeterIx>>,
    /// Whether the current events are judged late by their time of receipt.
    by_receipt: bool,
    scratch: count::Scratch,
}

impl<M: Meters + Default, I: Identities> Partition<M, I> {
    /// Creates a partition without meters.
    pub fn with_identities(plan: Arc<Plan>, identities: I) -> Partition<M, I> {
        let calendar = |t: &crate::meter_type::MeterType| Calendar::new(Arc::clone(&t.schedule), t.zone.clone());
        Partition {
            calendars: plan.meter_types.iter().map(calendar).collect(),
            horizons: plan.meter_types.iter().map(late::Horizon::of).collect(),
            openings: BTreeMap::new(),
            zones: BTreeMap::new(),
            begun_with: Vec::new(),
            thresholds: vec![gone::Crossings::default(); plan.meter_types.len()],
            stones: Stones::default(),
            gone: 0,
            meters: M::default(),
            identities,
            parked: ParkedIdentities::default(),
            symbols: Symbols::default(),
            opened: opened::Opened::default(),
            keyed: keyed::empty(&plan),
            due: BTreeMap::new(),
            by_receipt: false,
            scratch: count::Scratch::default(),
            plan,
        }
    }
}

impl<M: Meters, I: Identities> Partition<M, I> {
    /// Folds a command into the state, at an instant, and reports its effects.
    #[allow(clippy::needless_pass_by_value)] // a command is used up by being applied
    pub fn apply(&mut self, command: Command<'_>, at: Timestamp, effects: &mut impl Effects) {
        match command {
            Command::Admit { identities, window } => {
                let mut answer = |identity: &Identity, admission| match admission {
                    Admission::Known => effects.duplicate(identity),
                    Admission::Beside => effects.beside(identity),
                    Admission::New => {}
                };
                self.identities.admit(identities, window, &mut answer);
            }
            Command::Withdraw { identity } => {
                self.identities.withdraw(identity.fingerprint, identity.at);
            }
            Command::Park { .. } if mutant::is_put_back(Mutant::ParkedSpends) => {}
            Command::Park { identity, arrival } => {
                self.identities.withdraw(identity.fingerprint, identity.at);
                self.parked.add(identity, arrival);
            }
            Command::Spend { identity, window, arrival } => {
                for parked in self.parked.take(identity, window) {
                    effects.superseded(parked, arrival);
                }
            }
            Command::Count { processor, batch, usages, by_receipt } => {
                self.by_receipt = by_receipt;
                self.count(processor, batch, usages, at, effects);
            }
            Command::Keep { node, batch, tables, inputs } => self.keep(node, (batch, tables), inputs, at, effects),
            Command::Release { node, until, extent } => self.release(node, Due { at, until, extent }, effects),
            Command::GiveUp { node } => self.give_up(node, effects),
            Command::Open(declared) => self.open_declared(declared, at, effects),
            Command::Edit(declared) => self.edit_declared(declared),
            Command::Delete(declared) => self.delete_declared(declared, effects),
            Command::Reschedule => self.reschedule(at),
            Command::Tick => self.tick(at, effects),
            Command::Revise => self.revise(at, effects),
            Command::Flush => self.flush_open(at, effects),
        }
    }

    /// Reserves room for `count` identities in all. Only a hint: no answer depends on it.
    pub fn expect_identities(&mut self, count: usize) {
        self.identities.expect(count);
    }

    /// Returns the identities of parked events.
    pub fn parked(&self) -> &ParkedIdentities {
        &self.parked
    }

    /// Removes the identities of parked events that need no successor any more.
    pub fn forget_parked(&mut self, is_settled: &dyn Fn(u64) -> bool) {
        self.parked.forget(is_settled);
    }

    /// Ends the round: its admitted identities become final.
    pub fn settle_identities(&mut self) {
        self.identities.settle();
    }

    /// Returns its identities, to change them.
    pub fn identities_mut(&mut self) -> &mut I {
        &mut self.identities
    }

    /// Returns the identities; the rest is dropped.
    pub fn into_identities(self) -> I {
        self.identities
    }

    /// Returns every meter, in no order.
    pub fn meters(&self) -> impl Iterator<Item = &Meter> {
        self.meters.all().map(|(_, meter)| meter).filter(|meter| meter.is_alive())
    }

    /// Returns the instant at which something is due next. It may be too early, but never too late.
    pub fn next_due(&self) -> Option<Timestamp> {
        self.due.first_key_value().map(|(due, _)| *due)
    }

    /// Returns the number of meters.
    pub fn meter_count(&self) -> usize {
        self.meters.count() - self.gone
    }

    /// Returns the number of meters that are gone but may still be amended.
    pub fn gone_count(&self) -> usize {
        self.gone
    }
}
