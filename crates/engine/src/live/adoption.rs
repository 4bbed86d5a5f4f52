//! Adoption of another version of the plan, and the check whether the meters can continue under it.

use std::sync::Arc;

use flowmeter_core::mediation::Services;
use flowmeter_core::meter_type::MeterType;
use flowmeter_core::partition::{Identities, Partition};
use flowmeter_core::plan::Plan;
use flowmeter_core::schedule::Calendar;
use uuid::Uuid;

use super::{Live, decoders};
use crate::{Engine, Error, Kind, Totals};

impl Live {
    /// Continues under another version of the plan. A version that lacks what meters need is
    /// refused before it enters the log; here it ends the pipeline. A changed reset schedule takes
    /// effect from the next period of each meter on.
    pub(super) fn adopt(&mut self, version: u32, mut plan: Arc<Plan>) -> Result<(), Error> {
        self.open_services_of(&mut plan)?;
        let totals = self.engine.totals();
        let kept: Vec<String> = self.plan.nodes.iter().map(|node| node.id.clone()).collect();
        let images = self.engine.images();
        let (rollups, listens) = (self.engine.take_rollups(), self.engine.listens());
        // The engine is taken apart for its identities; an empty one takes its place meanwhile.
        let stand_in = Engine::with_identities(&self.plan, self.settings.engine, Vec::new())?;
        let identities = std::mem::replace(&mut self.engine, stand_in).into_identities();
        self.engine = Engine::read(Arc::clone(&plan), self.settings.engine, &images, identities)?;
        self.engine.use_services(Arc::clone(&self.answers) as Arc<dyn Services>);
        self.engine.follow_watermarks(true);
        self.engine.set_totals(renamed(totals, &kept, &plan));
        self.engine.roll_up(rollups);
        self.engine.listen(listens);
        self.engine.reschedule(self.clock);
        let declared = self.engine.open_declared(self.clock);
        self.outlet.note(&plan, &declared);
        self.fill_tables(&plan, None)?;
        self.decoders = decoders(&plan);
        (self.plan, self.version) = (plan, version);
        Ok(())
    }

    /// Checks that the plan of another version has all that the meters need.
    pub fn accepts(&self, plan: &Plan) -> Result<(), Error> {
        accepts(&self.engine, plan)
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

/// Checks that another plan has all that the meters of an engine need.
pub(crate) fn accepts<I: Identities + Send + Sync>(engine: &Engine<I>, plan: &Plan) -> Result<(), Error> {
    let meters = engine.partitions().flat_map(Partition::meters);
    let missing = meters.into_iter().find_map(|meter| {
        let kind = &engine.plan().meter_types[usize::from(meter.meter_type)];
        let key = engine.plan().processors[usize::from(meter.processor)].key;
        let of_type = plan.meter_types.iter().find(|known| known.id == kind.id);
        if !plan.processors.iter().any(|processor| processor.key == key) {
            return Some(format!("there are meters of the operator with the key {key}; keep it"));
        }
        match of_type {
            None => Some(format!("there are meters of the type `{}`; keep it, or delete them first", kind.name)),
            Some(known) => changed(kind, known),
        }
    });
    let state = || engine.partitions().find_map(|partition| partition.state_without_place(plan));
    let lost = |id: String| {
        let what = "its key, time, windows, fields or schedule changed, or it is gone, while it holds state";
        format!("state_incompatible: operator `{id}`: {what}; give the changed operator another id once its state is released")
    };
    missing.or_else(|| state().map(lost)).map_or(Ok(()), |message| Err(Error::new(Kind::Invalid, message)))
}

/// Returns what must not change in a meter type that has meters, if it changed.
fn changed(old: &MeterType, new: &MeterType) -> Option<String> {
    let what = if old.name != new.name {
        "name"
    } else if old.aggregation != new.aggregation {
        "aggregation"
    } else {
        return None;
    };
    Some(format!("the {what} of the meter type `{}` cannot change while there are meters of it; make a new type", old.name))
}

/// Converts the counters of operators to another plan: operators with the same id continue.
fn renamed(totals: Totals, before: &[String], plan: &Plan) -> Totals {
    let count = |id: &String| {
        let at = before.iter().position(|known| known == id);
        at.and_then(|at| totals.operators.get(at)).copied().unwrap_or_default()
    };
    let operators = plan.nodes.iter().map(|node| count(&node.id)).collect();
    let place = |id: &String| plan.nodes.iter().position(|node| node.id == *id);
    let counters = totals.counters.iter().filter_map(|((at, name), count)| {
        let now = place(before.get(usize::from(*at))?)?;
        Some(((now as u16, name.clone()), *count))
    });
    let counters = counters.collect();
    Totals { operators, counters, ..totals }
}
