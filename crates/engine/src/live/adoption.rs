//! Adoption of another version of the plan, and the check whether the pipeline can continue under it.

use std::sync::Arc;

use flowmeter_core::plan::Plan;
use flowmeter_core::schedule::Calendar;
use uuid::Uuid;

use super::{Live, decoders};
use crate::{Displaced, Error, StateChoices};

impl Live {
    /// Continues under another version of the plan. A version that lacks what meters need is
    /// refused before it enters the log; here it ends the pipeline. State without a place there is
    /// released or given up by the operators of the earlier version. A changed reset schedule takes
    /// effect from the next period of each meter on.
    pub(super) fn adopt(&mut self, version: u32, mut plan: Arc<Plan>, state: &StateChoices) -> Result<(), Error> {
        let (mut sink, mut watch) = self.outlet.split(&self.plan, self.clock);
        self.engine.settle_displaced(&plan, state, self.clock, &mut sink, &mut watch)?;
        self.open_services_of(&mut plan)?;
        self.engine.exchange(&plan)?;
        self.engine.reschedule(self.clock);
        let declared = self.engine.open_declared(self.clock);
        self.outlet.note(&plan, &declared);
        self.fill_tables(&plan, None)?;
        self.decoders = decoders(&plan);
        (self.plan, self.version) = (plan, version);
        Ok(())
    }

    /// Checks that the plan of another version has all that the meters need. Returns the operators
    /// whose state has no place there, with the decision about it.
    pub fn accepts(&self, plan: &Plan, state: &StateChoices) -> Result<Vec<Displaced>, Error> {
        self.engine.displaced(plan, state)
    }

    /// Returns the calendar of a user's meter, if it exists or was deleted recently: that of its
    /// type, or the earlier one followed by that of its type.
    pub fn calendar_of(&self, user: &str, meter_key: Uuid, meter_type: Uuid) -> Option<Calendar> {
        let processor = self.plan.processors.iter().position(|known| known.key == meter_key)? as u16;
        let meter_type = self.plan.meter_types.iter().position(|known| known.id == meter_type)? as u16;
        let mut partitions = self.engine.partitions();
        partitions.find_map(|partition| partition.calendar_of(user.as_bytes(), processor, meter_type)).cloned()
    }

    /// Returns the numbers of remembered deleted meters: those that can still be amended, and those
    /// with only their flushed stretches.
    pub fn remembered(&self) -> (usize, usize) {
        let partitions = self.engine.partitions();
        partitions.fold((0, 0), |(gone, stones), one| (gone + one.gone_count(), stones + one.stones().count()))
    }
}
