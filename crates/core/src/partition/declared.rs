//! Meters that people open, change and take away.

use super::{Birth, Effects, Identities, Meter, MeterIx, MeterKey, Meters, Partition, Periods, Rare};
use crate::plan::{DeclaredMeter, Plan};
use crate::schedule::Period;
use crate::time::Timestamp;

impl<M: Meters, I: Identities> Partition<M, I> {
    /// Opens a meter by hand; one that exists already is left as it is.
    pub(super) fn open_declared(&mut self, declared: &DeclaredMeter, at: Timestamp, effects: &mut impl Effects) {
        let user = declared.user.as_bytes();
        let key = MeterKey::new(user, Plan::user_hash(user), declared.processor, declared.meter_type);
        if self.meters.find(&key).is_some() {
            return;
        }
        let created_at = declared.created_at.unwrap_or(at);
        let meter = Meter {
            user: user.into(),
            processor: declared.processor,
            meter_type: declared.meter_type,
            birth: Birth::Declared,
            delete_on_reset: declared.delete_on_reset,
            created_at,
            next: created_at,
            flushed: Period { start: created_at, end: created_at },
            due: Timestamp::MAX,
            changed_at: Timestamp::MIN,
            periods: Periods::default(),
            rare: rare(declared.id, declared),
        };
        let ix = self.meters.insert(key.hash, meter);
        effects.opened(self.meters.get(ix));
        self.schedule_next(ix);
    }

    /// Changes what is set on a meter by hand.
    pub(super) fn edit_declared(&mut self, declared: &DeclaredMeter) {
        if let Some(ix) = self.declared(declared) {
            let meter = self.meters.get_mut(ix);
            meter.delete_on_reset = declared.delete_on_reset;
            let id = meter.rare.as_ref().and_then(|rare| rare.id);
            meter.rare = rare(id, declared);
        }
    }

    /// Takes a meter away.
    pub(super) fn delete_declared(&mut self, declared: &DeclaredMeter, effects: &mut impl Effects) {
        if let Some(ix) = self.declared(declared) {
            self.delete(ix, effects);
        }
    }

    fn declared(&self, declared: &DeclaredMeter) -> Option<MeterIx> {
        let user = declared.user.as_bytes();
        self.meters.find(&MeterKey::new(user, Plan::user_hash(user), declared.processor, declared.meter_type))
    }
}

fn rare(id: Option<uuid::Uuid>, declared: &DeclaredMeter) -> Option<Box<Rare>> {
    let custom_fields = declared.custom_fields.clone();
    (id.is_some() || !custom_fields.is_empty()).then(|| Box::new(Rare { id, custom_fields }))
}
