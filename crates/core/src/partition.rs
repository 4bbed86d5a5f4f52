//! A partition: the meters of some users and the identities of some events.
//!
//! This is the deterministic heart. What can happen is a closed list of [`Command`]s;
//! [`Partition::apply`] folds one into the state at an instant it is given and tells
//! what follows through [`Effects`]. It reads no clock, does no I/O, knows no other
//! partition. The same commands give the same state and the same effects, always:
//! that is what replay, recomputation and proof rest on.
//!
//! Invariants:
//! - an event's usages reach exactly one partition, chosen by its user, in the order
//!   of arrival;
//! - a period is flushed once per revision, and periods of a meter in their order, also
//!   where a meter is deleted and another takes its place;
//! - nothing closes but by [`Command::Tick`], [`Command::Flush`] and their `at`.

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
mod order;
mod parked;
mod periods;
mod reschedule;
mod stretches;
mod sure;
mod symbols;
mod threshold;

use std::collections::BTreeMap;
use std::sync::Arc;

pub use crate::keyed::{Due, Input, Rejudged, Released};
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
pub(crate) use threshold::THRESHOLDS_MAX;

use crate::keyed::State;
use crate::plan::Plan;
use crate::schedule::Calendar;
use crate::time::Timestamp;

/// Index of a meter in its store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MeterIx(pub u32);

/// Where meters are kept. In memory, or in memory with the rest on disk.
pub trait Meters {
    /// The meter of a key.
    fn find(&self, key: &MeterKey<'_>) -> Option<MeterIx>;
    /// The meter that a hash leads to first, if any: a guess, good for bringing its
    /// memory near.
    fn guess(&self, hash: u64) -> Option<MeterIx>;
    /// Whether a meter, if it is still there, has this key.
    fn is(&self, meter: MeterIx, key: &MeterKey<'_>) -> bool;
    /// Adds a meter under its key, which must be new.
    fn insert(&mut self, hash: u64, meter: Meter) -> MeterIx;
    /// A meter, if it is still there.
    fn peek(&self, meter: MeterIx) -> Option<&Meter>;
    /// A meter that exists.
    fn get(&self, meter: MeterIx) -> &Meter;
    /// A meter that exists, to change.
    fn get_mut(&mut self, meter: MeterIx) -> &mut Meter;
    /// Takes a meter away.
    fn remove(&mut self, hash: u64, meter: MeterIx);
    /// Every meter there is, in no order.
    fn all(&self) -> impl Iterator<Item = (MeterIx, &Meter)>;
    /// How many there are.
    fn count(&self) -> usize;
}

/// How an identity was known when it was admitted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admission {
    /// Not at all; it is recorded.
    New,
    /// Only outside the window; it is recorded.
    Beside,
    /// Within the window: the event is a duplicate, and nothing is recorded.
    Known,
}

/// Where identities are kept.
pub trait Identities {
    /// Admits identities in order, and gives to `answer` each that was known: within `window`
    /// nanoseconds of its event time (`None`: for ever) or outside. First arrival wins.
    fn admit(&mut self, identities: &[Identity], window: Option<i64>, answer: &mut dyn FnMut(&Identity, Admission));
    /// Takes back an identity that was recorded since the last [`Identities::settle`].
    fn withdraw(&mut self, fingerprint: u128, at: Timestamp);
    /// Nothing that was recorded so far will be taken back.
    fn settle(&mut self) {}
    /// Makes room for so many in all. Only a hint: no answer depends on it.
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
    /// Those of the plan's meter types, then those of meters whose type had another one.
    calendars: Vec<Calendar>,
    /// By meter type.
    horizons: Vec<late::Horizon>,
    /// By meter type.
    thresholds: Vec<gone::Crossings>,
    stones: Stones,
    /// How many of the meters are gone.
    gone: usize,
    /// By meter type: which periods an event may still open.
    openings: Vec<Option<late::Opening>>,
    symbols: Symbols,
    /// By operator: the state of those that keep it by key. Empty where none does.
    keyed: Vec<Option<State>>,
    /// Meters by the instant at which something is to be flushed. An entry counts only
    /// if the meter still says the same.
    due: BTreeMap<Timestamp, Vec<MeterIx>>,
    /// Whether the current events are judged late by their time of receipt.
    by_receipt: bool,
    scratch: count::Scratch,
}

impl<M: Meters + Default, I: Identities> Partition<M, I> {
    /// A partition without meters.
    pub fn with_identities(plan: Arc<Plan>, identities: I) -> Partition<M, I> {
        let calendar = |t: &crate::meter_type::MeterType| Calendar::new(Arc::clone(&t.schedule), t.zone.clone());
        Partition {
            calendars: plan.meter_types.iter().map(calendar).collect(),
            horizons: plan.meter_types.iter().map(late::Horizon::of).collect(),
            openings: vec![None; plan.meter_types.len()],
            thresholds: vec![gone::Crossings::default(); plan.meter_types.len()],
            stones: Stones::default(),
            gone: 0,
            meters: M::default(),
            identities,
            parked: ParkedIdentities::default(),
            symbols: Symbols::default(),
            keyed: keyed::empty(&plan),
            due: BTreeMap::new(),
            by_receipt: false,
            scratch: count::Scratch::default(),
            plan,
        }
    }
}

impl<M: Meters, I: Identities> Partition<M, I> {
    /// Folds a command into the state, at an instant, and tells what follows.
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
            Command::Keep { node, batch, inputs } => self.keep(node, batch, inputs, at, effects),
            Command::Release { node, until, everything } => self.release(node, Due { at, until, everything }, effects),
            Command::Open(declared) => self.open_declared(declared, at, effects),
            Command::Edit(declared) => self.edit_declared(declared),
            Command::Delete(declared) => self.delete_declared(declared, effects),
            Command::Reschedule => self.reschedule(at),
            Command::Tick => self.tick(at, effects),
            Command::Flush => self.flush_open(at, effects),
        }
    }

    /// Makes room for so many identities in all. Only a hint: no answer depends on it.
    pub fn expect_identities(&mut self, count: usize) {
        self.identities.expect(count);
    }

    /// Identities of parked events.
    pub fn parked(&self) -> &ParkedIdentities {
        &self.parked
    }

    /// Forgets the identities of parked events that need no successor any more.
    pub fn forget_parked(&mut self, is_settled: &dyn Fn(u64) -> bool) {
        self.parked.forget(is_settled);
    }

    /// The round is over: what was admitted stays.
    pub fn settle_identities(&mut self) {
        self.identities.settle();
    }

    /// Its identities.
    pub fn identities_mut(&mut self) -> &mut I {
        &mut self.identities
    }

    /// What remains of it are its identities.
    pub fn into_identities(self) -> I {
        self.identities
    }

    /// Every meter there is, in no order.
    pub fn meters(&self) -> impl Iterator<Item = &Meter> {
        self.meters.all().map(|(_, meter)| meter).filter(|meter| meter.is_alive())
    }

    /// When something is due next; a guess that may be too early, never too late.
    pub fn next_due(&self) -> Option<Timestamp> {
        self.due.first_key_value().map(|(due, _)| *due)
    }

    /// How many meters there are.
    pub fn meter_count(&self) -> usize {
        self.meters.count() - self.gone
    }

    /// How many meters are gone, and may still be amended.
    pub fn gone_count(&self) -> usize {
        self.gone
    }
}
