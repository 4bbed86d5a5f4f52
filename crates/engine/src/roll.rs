//! Usage rolled up beside the meters: an event that counts in a meter is added to the rollups of
//! the partition in the same step, so that the two always agree.

use std::sync::Arc;

use flowmeter_core::event::Path;
use flowmeter_core::partition::Counted;
use flowmeter_core::plan::{Plan, Rule};
use flowmeter_store::Error;
use flowmeter_store::rollups::Rollups;

/// The rollups of a partition under a plan.
pub(crate) struct Roll {
    rollups: Rollups,
    fields: Arc<Fields>,
    failure: Option<Error>,
}

/// The fields by which usage is grouped, for each processor and each of its rules: those of all
/// breakdowns, each once, in order.
pub(crate) struct Fields(Vec<Vec<Grouped>>);

#[derive(Default)]
struct Grouped {
    names: Vec<Path>,
    slots: Vec<u16>,
}

impl Fields {
    pub(crate) fn of(plan: &Plan) -> Fields {
        let of_rule = |rule: &Rule| {
            let mut grouped = Grouped::default();
            for (breakdown, slots) in &rule.group_by {
                for (name, slot) in plan.breakdowns[usize::from(*breakdown)].iter().zip(slots) {
                    if !grouped.names.contains(name) {
                        grouped.names.push(name.clone());
                        grouped.slots.push(*slot);
                    }
                }
            }
            grouped
        };
        Fields(plan.processors.iter().map(|processor| processor.rules.iter().map(of_rule).collect()).collect())
    }
}

impl Roll {
    pub(crate) fn new(rollups: Rollups, fields: Arc<Fields>) -> Roll {
        Roll { rollups, fields, failure: None }
    }

    /// Adds the contribution of an event to a meter.
    #[inline]
    pub(crate) fn add(&mut self, counted: &Counted<'_>) {
        let Counted { batch, usage, user, meter_type, contribution, .. } = *counted;
        let grouped = &self.fields.0[usize::from(counted.processor)][usize::from(counted.rule)];
        let values = grouped.slots.iter().map(|&slot| batch.leaf(usage.row as usize, slot));
        let tuple = self.rollups.tuple(&grouped.names, values);
        self.rollups.add(meter_type.id, meter_type.aggregation, user, usage.user_hash, tuple, contribution);
    }

    /// Writes rollups that exceed the memory to disk, between two stages. After a write error, they
    /// stay in memory, and the pipeline ends after the round.
    pub(crate) fn make_room(&mut self) {
        if self.failure.is_none() {
            self.failure = self.rollups.make_room().err();
        }
    }

    pub(crate) fn failure(&self) -> Option<&Error> {
        self.failure.as_ref()
    }

    pub(crate) fn rollups_mut(&mut self) -> &mut Rollups {
        &mut self.rollups
    }

    pub(crate) fn into_rollups(self) -> Rollups {
        self.rollups
    }
}
