//! The meters of a pipeline, for those that read them: by user, by place, and those opened lately.
//!
//! Only [`Live::meters`] visits all of them at once; the others take little of the time of counting.

use flowmeter_core::partition::{Memory, Meter, MeterIx, Partition};
use flowmeter_store::identities::SpilledIdentities;
use uuid::Uuid;

use super::Live;

/// A meter and the partition that holds it.
pub type LiveMeter<'l> = (&'l Partition<Memory, SpilledIdentities>, &'l Meter);

/// The place of a meter until another version of the pipeline is adopted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MeterPlace {
    /// The number of its partition.
    pub partition: usize,
    /// The place in that partition.
    pub meter: u32,
}

/// A meter as an index names it.
#[derive(Clone, Debug)]
pub struct Named {
    /// The place of the meter.
    pub place: MeterPlace,
    /// The id of its user.
    pub user: Box<[u8]>,
    /// Index of its processor in the plan.
    pub processor: u16,
    /// Index of its meter type in the plan.
    pub meter_type: u16,
    /// The id that it was given, if any.
    pub given_id: Option<Uuid>,
}

impl Named {
    fn of(partition: usize, place: MeterIx, meter: &Meter) -> Named {
        Named {
            place: MeterPlace { partition, meter: place.0 },
            user: meter.user[..].into(),
            processor: meter.processor,
            meter_type: meter.meter_type,
            given_id: meter.rare.as_ref().and_then(|rare| rare.id),
        }
    }
}

impl Live {
    /// Returns its meters, partition by partition. Visits all of them.
    pub fn meters(&self) -> impl Iterator<Item = LiveMeter<'_>> {
        self.engine.partitions().flat_map(|partition| partition.meters().map(move |meter| (partition, meter)))
    }

    /// Returns the meters of a user, in the order of the plan.
    pub fn meters_of(&self, user: &[u8]) -> Vec<LiveMeter<'_>> {
        let (processors, kinds) = (self.plan.processors.len() as u16, self.plan.meter_types.len() as u16);
        let keys = (0..processors).flat_map(|processor| (0..kinds).map(move |kind| (processor, kind)));
        let find = |(processor, kind)| {
            let mut partitions = self.engine.partitions();
            partitions.find_map(|partition| Some((partition, partition.meter_of(user, processor, kind)?)))
        };
        keys.filter_map(find).collect()
    }

    /// Returns the meter at a place, if there is one.
    pub fn meter_at(&self, place: MeterPlace) -> Option<LiveMeter<'_>> {
        let partition = self.engine.partitions().nth(place.partition)?;
        Some((partition, partition.meter_at(MeterIx(place.meter))?))
    }

    /// Notes meters that are opened from now on, until another version is adopted.
    pub fn note_opened(&mut self) {
        self.engine.partitions_mut().for_each(Partition::note_opened);
    }

    /// Returns meters that were opened and noted, at most `max`, and whether these were all.
    /// `None` if some were not noted.
    pub fn take_opened(&mut self, max: usize) -> Option<(Vec<Named>, bool)> {
        let (mut found, mut left) = (Vec::new(), max);
        for (number, partition) in self.engine.partitions_mut().enumerate() {
            let places = partition.take_opened(left)?;
            left -= places.len();
            found.extend(places.into_iter().filter_map(|at| Some(Named::of(number, at, partition.meter_at(at)?))));
        }
        Some((found, left > 0))
    }

    /// Returns the meters at `count` places from one on, and the place to continue with.
    pub fn meters_from(&self, from: MeterPlace, count: u32) -> (Vec<Named>, Option<MeterPlace>) {
        let Some(partition) = self.engine.partitions().nth(from.partition) else { return (Vec::new(), None) };
        let until = partition.places_end().min(from.meter.saturating_add(count));
        let named = |at| Some(Named::of(from.partition, MeterIx(at), partition.meter_at(MeterIx(at))?));
        let found = (from.meter..until).filter_map(named).collect();
        let next = match until < partition.places_end() {
            true => MeterPlace { meter: until, ..from },
            false => MeterPlace { partition: from.partition + 1, meter: 0 },
        };
        (found, Some(next))
    }
}
