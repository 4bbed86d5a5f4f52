//! Delivers records to a dishonest target, while the program may end between any two acts of
//! delivery, also before the result is stored.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use flowmeter_core::time::Timestamp;
use flowmeter_engine::live::{folder_of, record_item, records_folder};
use flowmeter_engine::outbox::{
    Delivery, DeliveryState, Kept, Marks, Outbox, Part, Patience, Progress, RecordLog, Shelf, WindowLimits,
};
use flowmeter_engine::{Error, Kind};
use flowmeter_store::disk::Disk;

use super::{Stop, World, stop};
use crate::documents::{HOUR, plan_of};
use crate::random::Random;
use crate::target::Liar;

/// The stored state of deliveries; like a catalog, it outlives the program.
#[derive(Clone, Default)]
struct Catalog(Arc<Mutex<(Marks, BTreeMap<u64, Delivery>)>>);

impl Catalog {
    fn kept(&self) -> Kept {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let retrying = kept.1.values().filter(|delivery| delivery.state == DeliveryState::Retrying).cloned().collect();
        Kept { marks: kept.0, retrying }
    }
}

/// A catalog that fails at some moment.
#[derive(Clone)]
struct Fragile {
    catalog: Catalog,
    /// Number of commits until then.
    ends_in: u64,
}

impl Shelf for Fragile {
    fn keep(&mut self, marks: &Marks, changed: &[Delivery], gone: &[Delivery]) -> Result<(), Error> {
        self.ends_in = self.ends_in.saturating_sub(1);
        if self.ends_in == 0 {
            // Once only: a program that continues may try again.
            self.ends_in = u64::MAX;
            return Err(Error::new(Kind::Unavailable, "nothing could be kept"));
        }
        let mut kept = self.catalog.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.0 = marks.clone();
        gone.iter().for_each(|gone| drop(kept.1.remove(&gone.number)));
        kept.1.extend(changed.iter().map(|delivery| (delivery.number, delivery.clone())));
        Ok(())
    }

    fn kept(&self) -> Result<Kept, Error> {
        Ok(self.catalog.kept())
    }

    fn delivery(&self, number: u64) -> Result<Option<Delivery>, Error> {
        Ok(self.catalog.0.lock().unwrap_or_else(PoisonError::into_inner).1.get(&number).cloned())
    }
}

pub(super) struct Delivering {
    random: Random,
    catalog: Catalog,
    target: Liar,
    outbox: Option<Outbox<Fragile>>,
}

impl Delivering {
    pub(super) fn new(mut random: Random) -> Delivering {
        let target = Liar::new(random.fork());
        Delivering { random, catalog: Catalog::default(), target, outbox: None }
    }

    pub(super) fn end(&mut self) {
        self.outbox = None;
    }

    /// Opens the outbox again after the program ended; it ends again sooner or later, unless it
    /// must not.
    fn open(&mut self, lasts: bool) -> &mut Outbox<Fragile> {
        let ends_in = if lasts { u64::MAX } else { 1 + self.random.below(30) };
        let limits = WindowLimits { records: 1 + self.random.index(8), bytes: usize::MAX };
        let catalog = self.catalog.clone();
        self.outbox.get_or_insert_with(|| {
            let shelf = Fragile { catalog: catalog.clone(), ends_in };
            Outbox::new(shelf, catalog.kept(), limits, Patience::DAY)
        })
    }

    fn dead(&self) -> Vec<u64> {
        let kept = self.catalog.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.1.values().filter(|delivery| delivery.state == DeliveryState::Dead).map(|delivery| delivery.number).collect()
    }
}

impl World {
    /// Delivers records of a pipeline for a while.
    pub(super) fn deliver(&mut self) -> Result<(), Stop> {
        let Some(number) = self.some_slot() else { return Ok(()) };
        self.note("delivered");
        self.alone(number, |world| world.deliver_slot(number))
    }

    fn record_log(&self, number: usize) -> Result<RecordLog, Stop> {
        let plan = plan_of(self.slots[number].document, 1).map_err(stop)?;
        let disk: Arc<dyn Disk> = Arc::new(self.disk.clone());
        Ok(RecordLog::new(disk, &records_folder(&folder_of(plan.id)), false))
    }

    fn deliver_slot(&mut self, number: usize) -> Result<(), Stop> {
        let mut records = self.record_log(number)?;
        let now = Timestamp::from_nanos(self.now);
        let slot = &mut self.slots[number];
        let Some(live) = &slot.live else { return Ok(()) };
        let end = live.outlet().records().written();
        let delivering = &mut slot.delivering;
        delivering.target.pass(now.nanos());
        for _ in 0..delivering.random.below(12) {
            delivering.open(false);
            let Some(outbox) = &mut delivering.outbox else { return Ok(()) };
            match outbox.step(&mut delivering.target, &mut records, end, now) {
                Ok(Progress::Worked) => {}
                Ok(_) => break,
                // A failure of disk or catalog: the program ends, or continues from the stored
                // state.
                Err(why) => {
                    if delivering.random.chance(500) {
                        delivering.end();
                    }
                    return Err(stop(why)).or_else(|stopped| match stopped {
                        Stop::Disk => Ok(()),
                        wrong => Err(wrong),
                    });
                }
            }
        }
        // Sometimes a person handles dead deliveries.
        if delivering.random.chance(200) {
            for dead in delivering.dead() {
                if delivering.open(false).resend(&[dead], now).is_err() {
                    delivering.end();
                }
            }
        }
        Ok(())
    }

    /// Delivers everything to the target, which is honest at the end: every record is there, once.
    pub(super) fn deliver_all(&mut self, number: usize) -> Result<(), Stop> {
        let mut records = self.record_log(number)?;
        let mut now = self.now;
        let slot = &mut self.slots[number];
        let Some(live) = &slot.live else { return Ok(()) };
        let end = live.outlet().records().written();
        let delivering = &mut slot.delivering;
        delivering.end();
        delivering.target.is_honest = true;
        delivering.target.pass(now);
        for round in 0.. {
            for dead in delivering.dead() {
                delivering.open(true).resend(&[dead], Timestamp::from_nanos(now)).map_err(wrong)?;
            }
            loop {
                delivering.open(true);
                let Some(outbox) = &mut delivering.outbox else { return Ok(()) };
                match outbox.step(&mut delivering.target, &mut records, end, Timestamp::from_nanos(now)).map_err(wrong)? {
                    Progress::Worked => {}
                    Progress::Until(at) => now = at.nanos(),
                    Progress::Idle => break,
                    Progress::Halted => return Err(Stop::Wrong("delivery halted".to_owned())),
                }
            }
            // Records that the target lost are found and sent again.
            let Some(outbox) = &mut delivering.outbox else { return Ok(()) };
            let part = Part { first: 0, until: end, ends_from: Timestamp::MIN, ends_before: Timestamp::MAX };
            let report = outbox.compare(&mut delivering.target, &mut records, part).map_err(wrong)?;
            if report.agrees() {
                break;
            }
            if round > 2 {
                return Err(Stop::Wrong(format!("the target is not to be mended: {:?}", report.differences.first())));
            }
            outbox.mend(&report, &mut records, Timestamp::from_nanos(now)).map_err(wrong)?;
            now += HOUR;
        }
        let records = slot.seen.records.iter().enumerate();
        let whole =
            records.filter_map(|(number, item)| Some((number as u64, record_item(item).filter(|item| !item.is_threshold)?.json)));
        delivering.target.audit(whole).map_err(Stop::Wrong)
    }
}

/// Converts an error: without disk faults nothing may fail.
#[allow(clippy::needless_pass_by_value)] // it is what errors are mapped with
fn wrong(why: Error) -> Stop {
    Stop::Wrong(format!("records do not leave: {:?}: {why}", why.kind))
}
