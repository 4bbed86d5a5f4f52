//! Meters that are gone, and the data that is kept of them.
//!
//! The id of a record contains meter, period and revision. A meter that is deleted and opened again
//! is the same meter by its key. The periods that it flushed must not be flushed again with other
//! values under ids that targets already have. Hence a deleted meter leaves data behind
//! (`docs/decisions/0013-what-a-deleted-meter-leaves.md`):
//!
//! - as long as a period of it may be amended, the meter stays as [`Birth::Gone`]: it is not
//!   visible and no further period is due, but an event for a flushed period is late as usual and
//!   corrects it;
//! - after that, a [`Stones`] entry holds the stretches that were flushed: an event for them is too
//!   late for ever, and a meter that takes the same key skips them.
//!
//! Of an open period only the ids of its partial records remain.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use uuid::Uuid;

use super::meter::{Standing, Stretch};
use super::own::crossings;
use super::stretches::merge_closed;
use super::{Birth, Effects, Identities, Meter, MeterIx, MeterKey, Meters, Partition, Periods, Rare};
use crate::meter_type::{LatePolicy, MeterType, derived};
use crate::plan::Plan;
use crate::schedule::Period;
use crate::time::Timestamp;

/// The data that is kept of deleted meters, without a bound: 40 to 60 bytes for each.
#[derive(Clone, Debug, Default)]
pub struct Stones {
    /// The flushed stretches in order, by the id derived from processor, type and user.
    pub(super) flushed: BTreeMap<u128, Box<[Period]>>,
    /// Ids of partial records of periods that were never flushed.
    pub(super) told: BTreeSet<u128>,
}

impl Stones {
    /// Returns the number of meters that are kept.
    pub fn count(&self) -> usize {
        self.flushed.len()
    }

    /// Keeps the stretches that a meter flushed.
    pub(super) fn lay(&mut self, meter: Uuid, mut stretches: Vec<Stretch>) {
        stretches.iter_mut().for_each(|stretch| stretch.standing = Standing::Closed);
        merge_closed(&mut stretches);
        if !stretches.is_empty() {
            self.flushed.insert(meter.as_u128(), stretches.iter().map(|stretch| stretch.period).collect());
        }
    }
}

impl<M: Meters, I: Identities> Partition<M, I> {
    /// Returns the data of meters that were deleted so long ago that none of their periods may be
    /// amended.
    pub fn stones(&self) -> &Stones {
        &self.stones
    }

    /// Returns the meter of a key, a deleted one included. A meter is restored from its stone.
    pub(super) fn find_or_remember(&mut self, key: &MeterKey<'_>) -> Option<MeterIx> {
        let found = self.meters.find(key);
        if found.is_some() || self.stones.flushed.is_empty() {
            return found;
        }
        let stretches = self.stones.flushed.remove(&self.id_of(key).as_u128())?;
        let stretches: Vec<Stretch> =
            stretches.iter().map(|period| Stretch { period: *period, standing: Standing::Closed }).collect();
        let end = stretches.last().map_or(Timestamp::MIN, |last| last.period.end);
        let meter = Meter {
            user: key.user.into(),
            processor: key.processor,
            meter_type: key.meter_type,
            calendar: key.meter_type,
            birth: Birth::Gone,
            delete_on_reset: false,
            created_at: end,
            flushed: Period { start: end, end },
            due: Timestamp::MAX,
            periods: Periods::default(),
            changed_at: Timestamp::MIN,
            rare: Some(Box::new(Rare { stretches, ..Rare::default() })),
        };
        let ix = self.meters.insert(key.hash, meter);
        self.opened.note(ix);
        self.gone += 1;
        self.schedule_next(ix);
        Some(ix)
    }

    pub(super) fn id_of(&self, key: &MeterKey<'_>) -> Uuid {
        let plan = &self.plan;
        let meter_type = plan.meter_types[usize::from(key.meter_type)].id;
        derived::meter(plan.processors[usize::from(key.processor)].key, meter_type, key.user)
    }

    /// Deletes a meter and its open periods.
    pub(super) fn delete(&mut self, ix: MeterIx, effects: &mut impl Effects) {
        effects.deleted(self.meters.get(ix));
        self.remember_told(ix);
        let horizon = self.horizons[usize::from(self.meters.get(ix).meter_type)].amendable_from;
        let meter = self.meters.get_mut(ix);
        meter.end_stretches(horizon);
        meter.birth = Birth::Gone;
        meter.periods.retain(|held| held.sent().is_some());
        self.gone += 1;
        if self.meters.get(ix).stretches().is_empty() {
            return self.remove_gone(ix);
        }
        self.schedule_next(ix);
    }

    /// Keeps the ids of partial records of unflushed periods, which must not be sent again.
    fn remember_told(&mut self, ix: MeterIx) {
        let plan = Arc::clone(&self.plan);
        let meter = self.meters.get(ix);
        let kind = &plan.meter_types[usize::from(meter.meter_type)];
        let (id, names) = (meter.id(&plan), self.threshold_names(meter, kind));
        for held in meter.periods.iter().filter(|held| held.sent().is_none()) {
            for (threshold, direction) in crossings(names.iter().map(String::as_str), held.crossed()) {
                self.stones.told.insert(meter.partial_record_id(id, held, threshold, direction).as_u128());
            }
        }
    }

    /// Reopens a deleted meter for an event. Its period begins where the first period of a new
    /// meter would begin.
    pub(super) fn reopen_by_event(&mut self, ix: MeterIx, start: Timestamp, created_at: Timestamp, effects: &mut impl Effects) {
        let before = self.threshold_names(self.meters.get(ix), self.kind(self.meters.get(ix)));
        let meter = self.meters.get_mut(ix);
        meter.birth = Birth::ByEvent;
        meter.delete_on_reset = false;
        meter.created_at = created_at;
        meter.changed_at = Timestamp::MIN;
        meter.begin_at(start);
        if let Some(rare) = &mut meter.rare {
            rare.custom_fields.clear();
            rare.limits = None;
        }
        self.rename_crossings(ix, &before);
        self.gone -= 1;
        self.opened.note(ix);
        effects.opened(self.meters.get(ix));
        self.schedule_next(ix);
    }

    /// Handles the due instant of a deleted meter; removes the meter once none of its periods may
    /// be amended any more.
    pub(super) fn settle_gone(&mut self, ix: MeterIx, due: Timestamp) {
        self.forget_closed(ix, due);
        let meter = self.meters.get(ix);
        if !meter.periods.is_empty() || self.remembered_until(meter) > due {
            return self.schedule_next(ix);
        }
        self.bury(ix);
    }

    /// Returns the instant until which a deleted meter is kept as a meter; after it, only a stone
    /// is.
    pub(super) fn remembered_until(&self, meter: &Meter) -> Timestamp {
        let within = amendable_for(self.kind(meter));
        let ends = meter.periods.iter().map(|held| held.period.end);
        let ends = ends.chain(meter.stretches().iter().map(|stretch| stretch.period.end));
        ends.max().map_or(Timestamp::MIN, |end| end.saturating_add(within).saturating_add(1))
    }

    fn bury(&mut self, ix: MeterIx) {
        let meter = self.meters.get(ix);
        let key = MeterKey::new(&meter.user, Plan::user_hash(&meter.user), meter.processor, meter.meter_type);
        let (id, stretches) = (self.id_of(&key), meter.stretches().to_vec());
        self.stones.lay(id, stretches);
        self.remove_gone(ix);
    }

    fn remove_gone(&mut self, ix: MeterIx) {
        let meter = self.meters.get(ix);
        let hash = MeterKey::new(&meter.user, Plan::user_hash(&meter.user), meter.processor, meter.meter_type).hash;
        self.meters.remove(hash, ix);
        self.gone -= 1;
    }
}

/// Returns the time for which a period is kept after its end to be amended, in nanoseconds.
pub(super) fn amendable_for(kind: &MeterType) -> i64 {
    match kind.late.policy {
        LatePolicy::Amend => kind.late.amend_within,
        LatePolicy::Carry | LatePolicy::Park => 0,
    }
}

/// The names of a type's thresholds, by the bit of a period that marks them as crossed: those of
/// the plan, followed by those that it no longer has.
#[derive(Clone, Debug, Default)]
pub(super) struct Crossings {
    pub(super) retired: Vec<String>,
}

impl Crossings {
    /// Returns every name, in the order of the bits.
    pub(super) fn names<'n>(&'n self, kind: &'n MeterType) -> impl Iterator<Item = &'n str> {
        let known = kind.thresholds.iter().map(|threshold| threshold.name.as_str());
        known.chain(self.retired.iter().map(String::as_str)).take(super::THRESHOLDS_MAX)
    }
}
