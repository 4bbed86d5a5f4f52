//! Meters that people open, change and delete.

use uuid::Uuid;

use super::own::declared_limits;
use super::{Birth, Effects, Identities, Meter, MeterIx, MeterKey, Meters, Partition, Periods, Rare};
use crate::plan::{DeclaredMeter, Plan};
use crate::schedule::Period;
use crate::time::Timestamp;

impl<M: Meters, I: Identities> Partition<M, I> {
    /// Opens a declared meter; an existing one stays unchanged. After a deleted meter of the same
    /// key, it continues after the periods that the deleted one flushed.
    pub(super) fn open_declared(&mut self, declared: &DeclaredMeter, at: Timestamp, effects: &mut impl Effects) {
        let user = declared.user.as_bytes();
        let key = MeterKey::new(user, Plan::user_hash(user), declared.processor, declared.meter_type);
        let created_at = declared.created_at.unwrap_or(at);
        match self.find_or_remember(&key) {
            Some(ix) if self.meters.get(ix).is_alive() => {}
            Some(ix) => self.reopen_declared(ix, declared, created_at, effects),
            None => {
                let meter = Meter {
                    user: user.into(),
                    processor: declared.processor,
                    meter_type: declared.meter_type,
                    calendar: self.calendar_of_declared(declared),
                    birth: Birth::Declared,
                    delete_on_reset: declared.delete_on_reset,
                    created_at,
                    flushed: Period { start: created_at, end: created_at },
                    due: Timestamp::MAX,
                    changed_at: Timestamp::MIN,
                    periods: Periods::default(),
                    rare: rare(declared.id, declared, None),
                };
                let ix = self.meters.insert(key.hash, meter);
                self.opened.note(ix);
                effects.opened(self.meters.get(ix));
                self.schedule_next(ix);
            }
        }
    }

    fn reopen_declared(&mut self, ix: MeterIx, declared: &DeclaredMeter, created_at: Timestamp, effects: &mut impl Effects) {
        if self.plan.meter_types[usize::from(declared.meter_type)].zone_from.is_some() && self.takes_zone(ix) {
            let calendar = self.calendar_of_declared(declared);
            self.meters.get_mut(ix).calendar = calendar;
        }
        let before = self.threshold_names(self.meters.get(ix), self.kind(self.meters.get(ix)));
        let meter = self.meters.get_mut(ix);
        let id = declared.id.or(meter.rare.as_ref().and_then(|rare| rare.id));
        meter.rare = rare(id, declared, meter.rare.as_deref());
        meter.birth = Birth::Declared;
        meter.delete_on_reset = declared.delete_on_reset;
        meter.created_at = created_at;
        meter.changed_at = Timestamp::MIN;
        meter.begin_at(created_at);
        meter.step_over();
        self.gone -= 1;
        self.opened.note(ix);
        self.rename_crossings(ix, &before);
        effects.opened(self.meters.get(ix));
        self.schedule_next(ix);
    }

    /// Changes the settings of a declared meter.
    pub(super) fn edit_declared(&mut self, declared: &DeclaredMeter) {
        if let Some(ix) = self.declared(declared) {
            let meter = self.meters.get(ix);
            let before = self.threshold_names(meter, self.kind(meter));
            let meter = self.meters.get_mut(ix);
            meter.delete_on_reset = declared.delete_on_reset;
            let id = meter.rare.as_ref().and_then(|rare| rare.id);
            meter.rare = rare(id, declared, meter.rare.as_deref());
            self.rename_crossings(ix, &before);
        }
    }

    /// Deletes a declared meter.
    pub(super) fn delete_declared(&mut self, declared: &DeclaredMeter, effects: &mut impl Effects) {
        if let Some(ix) = self.declared(declared) {
            self.delete(ix, effects);
        }
    }

    fn declared(&self, declared: &DeclaredMeter) -> Option<MeterIx> {
        let user = declared.user.as_bytes();
        let key = MeterKey::new(user, Plan::user_hash(user), declared.processor, declared.meter_type);
        self.meters.find(&key).filter(|ix| self.meters.get(*ix).is_alive())
    }
}

fn rare(id: Option<Uuid>, declared: &DeclaredMeter, before: Option<&Rare>) -> Option<Box<Rare>> {
    let rare = Rare {
        id,
        custom_fields: declared.custom_fields.clone(),
        stretches: before.map(|rare| rare.stretches.clone()).unwrap_or_default(),
        limits: declared_limits(declared, before),
    };
    let any = id.is_some() || !rare.custom_fields.is_empty() || !rare.stretches.is_empty() || rare.limits.is_some();
    any.then(|| Box::new(rare))
}
