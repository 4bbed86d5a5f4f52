//! Settings of single meters: the zone and the capacity that their events name, and the capacity and
//! thresholds that were set for them.
//!
//! The event that opens a meter decides its zone, which stays: its calendar is one of the
//! partition's. The newest event that names a capacity decides that; one that was set for the meter
//! takes precedence.

use std::borrow::Cow;

use super::count::{Refusal, read_value};
use super::{Identities, Meter, MeterIx, Meters, Partition, Rare, Standing, Usage};
use crate::decimal::Decimal;
use crate::event::{Batch, Kind};
use crate::meter_type::{MeterType, OwnLimits, Threshold};
use crate::plan::{DeclaredMeter, OwnFields, Plan, Rule};
use crate::record::Direction;
use crate::schedule::Calendar;
use crate::time::Zone;
use crate::verdict::Reason;

impl Meter {
    /// Returns its own capacity and thresholds, if it has any.
    pub fn limits(&self) -> Option<&OwnLimits> {
        self.rare.as_ref()?.limits.as_deref()
    }

    /// Returns the amount it may use in a period.
    pub fn capacity(&self, kind: &MeterType) -> Option<Decimal> {
        self.limits().and_then(OwnLimits::any_capacity).or(kind.capacity)
    }

    /// Returns its thresholds: its own, or those of its type.
    pub fn thresholds<'t>(&'t self, kind: &'t MeterType) -> &'t [Threshold] {
        self.own_thresholds().unwrap_or(&kind.thresholds)
    }

    pub(super) fn own_thresholds(&self) -> Option<&[Threshold]> {
        self.limits()?.thresholds.as_deref()
    }
}

impl<M: Meters, I: Identities> Partition<M, I> {
    /// Returns the calendar of a meter that an event opens.
    pub(super) fn calendar_of_event(
        &mut self,
        plan: &Plan,
        meter_type: u16,
        own: &OwnFields,
        batch: &Batch,
        usage: &Usage,
    ) -> Result<u16, Refusal> {
        let Some(slot) = own.zone else { return Ok(meter_type) };
        if self.begun_with.contains(&meter_type) {
            return Ok(meter_type);
        }
        let Some(name) = batch.leaf(usage.row as usize, slot).as_text().filter(|name| !name.is_empty()) else {
            return Ok(meter_type);
        };
        if let Some(known) = self.zones.get(&*name).and_then(|of_types| of_types.get(&meter_type)) {
            return Ok(*known);
        }
        let path = &plan.paths[usize::from(slot)];
        let unknown = |name: Cow<'_, str>| {
            let detail = format!("`{path}` is no time zone: `{name}`; write an IANA name like Europe/Oslo");
            Refusal::Park(Reason::BadTime, detail)
        };
        let zone = std::str::from_utf8(&name).ok().and_then(Zone::canonical);
        let zone = zone.ok_or_else(|| unknown(String::from_utf8_lossy(&name)))?;
        let calendar = self.calendar_in(meter_type, zone);
        let full = || Refusal::Park(Reason::BadTime, "the pipeline has more calendars than it can keep".to_owned());
        let calendar = calendar.ok_or_else(full)?;
        self.zones.entry(name.into_owned().into()).or_default().insert(meter_type, calendar);
        Ok(calendar)
    }

    /// Returns the calendar of a type's schedule in another zone.
    fn calendar_in(&mut self, meter_type: u16, zone: Zone) -> Option<u16> {
        let schedule = self.plan.meter_types[usize::from(meter_type)].schedule.clone();
        self.calendar(Calendar::new(schedule, zone))
    }

    /// Returns the calendar of a declared meter.
    pub(super) fn calendar_of_declared(&mut self, declared: &DeclaredMeter) -> u16 {
        let takes_zones = self.plan.meter_types[usize::from(declared.meter_type)].zone_from.is_some();
        let is_given = self.begun_with.contains(&declared.meter_type);
        let zone = declared.zone.clone().filter(|_| takes_zones && !is_given);
        zone.and_then(|zone| self.calendar_in(declared.meter_type, zone)).unwrap_or(declared.meter_type)
    }

    /// Whether a meter that exists takes another zone when it is opened again: of a deleted one,
    /// only periods are left that can no longer be amended.
    pub(super) fn takes_zone(&self, ix: MeterIx) -> bool {
        let meter = self.meters.get(ix);
        let is_closed = || meter.stretches().iter().all(|stretch| stretch.standing == Standing::Closed);
        !meter.is_alive() && meter.periods.is_empty() && is_closed()
    }

    /// Parks an event whose capacity is no number.
    pub(super) fn check_capacity(&self, plan: &Plan, own: &OwnFields, batch: &Batch, usage: &Usage) -> Result<(), Refusal> {
        let Some(slot) = own.capacity else { return Ok(()) };
        capacity_of(batch, usage, slot).map(drop).map_err(|reason| {
            let text = batch.leaf(usage.row as usize, slot).as_text().unwrap_or_default();
            let (path, text) = (&plan.paths[usize::from(slot)], String::from_utf8_lossy(&text));
            Refusal::Park(reason, format!("`{path}`, the capacity of the meter, is no number: `{text}`"))
        })
    }

    /// Notes the capacity that an event names, unless a newer event, by its time, has named one.
    pub(super) fn note_capacity(&mut self, ix: MeterIx, rule: &Rule, meter_type: u16, batch: &Batch, usage: &Usage) {
        let place = rule.meter_types.iter().position(|known| *known == meter_type);
        let Some(slot) = place.and_then(|place| rule.own.get(place)?.capacity) else { return };
        let Ok(Some(capacity)) = capacity_of(batch, usage, slot) else { return };
        let limits = self.meters.get_mut(ix).rare.get_or_insert_default().limits.get_or_insert_default();
        if limits.capacity_of_event.is_none_or(|(named_at, _)| named_at <= usage.at) {
            limits.capacity_of_event = Some((usage.at, capacity));
        }
    }

    /// Translates the thresholds that the open periods of a meter have crossed, after its
    /// thresholds changed. A crossing of one that is gone is kept as the id of its partial record.
    pub(super) fn rename_crossings(&mut self, ix: MeterIx, before: &[String]) {
        let plan = std::sync::Arc::clone(&self.plan);
        let meter = self.meters.get(ix);
        let kind = &plan.meter_types[usize::from(meter.meter_type)];
        let names = self.threshold_names(meter, kind);
        if names == before {
            return;
        }
        let id = meter.id(&plan);
        for at in 0..self.meters.get(ix).periods.len() {
            let meter = self.meters.get(ix);
            let (held, mut crossed) = (&meter.periods[at], 0);
            if held.crossed() == 0 {
                continue;
            }
            for (name, direction) in crossings(before.iter().map(String::as_str), held.crossed()) {
                match names.iter().position(|known| known == name) {
                    Some(bit) => crossed |= direction.bit(bit),
                    None => {
                        let record = meter.partial_record_id(id, held, name, direction);
                        self.stones.told.insert(record.as_u128());
                    }
                }
            }
            self.meters.get_mut(ix).periods[at].extra.get_or_insert_default().crossed = crossed;
        }
    }

    /// Returns the names of a meter's thresholds, in the order of their bits.
    pub(super) fn threshold_names(&self, meter: &Meter, kind: &MeterType) -> Vec<String> {
        match meter.own_thresholds() {
            Some(own) => own.iter().map(|threshold| threshold.name.clone()).collect(),
            None => self.thresholds[usize::from(meter.meter_type)].names(kind).map(str::to_owned).collect(),
        }
    }
}

/// Returns the capacity that an event names, if it names one.
pub(super) fn capacity_of(batch: &Batch, usage: &Usage, slot: u16) -> Result<Option<Decimal>, Reason> {
    let leaf = batch.leaf(usage.row as usize, slot);
    let is_absent = matches!(leaf.kind, Kind::Missing | Kind::Null) || leaf.bytes.is_empty();
    if is_absent { Ok(None) } else { read_value(leaf, None, true, true).map(Some) }
}

/// Returns the crossings that bits record, by the names of the bits.
pub(super) fn crossings<'n>(names: impl Iterator<Item = &'n str>, crossed: u64) -> impl Iterator<Item = (&'n str, Direction)> {
    names.enumerate().flat_map(move |(bit, name)| {
        let both = [Direction::Reached, Direction::Recovered].into_iter();
        both.filter(move |direction| crossed & direction.bit(bit) != 0).map(move |direction| (name, direction))
    })
}

/// Returns the capacity and thresholds of a declared meter, beside what events have named.
pub(super) fn declared_limits(declared: &DeclaredMeter, before: Option<&Rare>) -> Option<Box<OwnLimits>> {
    let named = before.and_then(|rare| rare.limits.as_ref()).and_then(|limits| limits.capacity_of_event);
    let limits = OwnLimits { capacity: declared.capacity, capacity_of_event: named, thresholds: declared.thresholds.clone() };
    (limits != OwnLimits::default()).then(|| Box::new(limits))
}
