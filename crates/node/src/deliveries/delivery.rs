//! Delivery of a pipeline's records: one thread for each target, independent of the pipeline.
//!
//! The pipeline publishes the number of its records and continues; a slow or unreachable target
//! blocks no other. Targets exist as long as the pipeline is loaded, with or without a session:
//! flushed records are delivered.

mod courier;
mod rounds;
mod shelf;
mod stories;
mod timed;

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use flowmeter_connectors::Abandon;
use flowmeter_connectors::targets::Around;
use flowmeter_document::{TargetKind, TargetPlan};
use flowmeter_engine::Error;
use flowmeter_engine::node::Clock;
use flowmeter_engine::outbox::{Outbox, Patience, ReadAhead, RecordLog, Report, Target, WindowLimits};
use flowmeter_store::catalog::Catalog;
use flowmeter_store::disk::Disk;
use uuid::Uuid;

use crate::background::wait_until;
use crate::installation::{Installation, OpenTarget};
pub(crate) use courier::Courier;
pub(crate) use rounds::Board;
use rounds::{Hands, Rounds};
pub(crate) use shelf::CatalogShelf;
use timed::Timed;

/// Records of a window to targets that take one at a time: so few that a restart repeats little.
const REQUEST_WINDOW: WindowLimits = WindowLimits { records: 2_000, bytes: 8 << 20 };

/// Records of a window to people: a file of them fits into a letter.
const LETTER_WINDOW: WindowLimits = WindowLimits { records: 50_000, bytes: 8 << 20 };

/// Time for which a request to a target may continue once its pipeline is changed or deleted: the
/// caller waits for that, and all other changes wait behind it.
pub(crate) const CHANGE_GRACE: Duration = Duration::from_secs(1);
/// Time in which a thread must end after its request was canceled. Only a thread that writes to a
/// disk that does not answer takes longer; it is left behind, and can store nothing more.
const END_GRACE: Duration = Duration::from_secs(1);

/// Ends couriers, all at once. Each finishes its current request; requests that take longer than
/// `patience` are canceled.
pub(crate) fn end(couriers: &[Arc<Courier>], patience: Duration) {
    let have_ended = || couriers.iter().all(|courier| courier.has_ended());
    couriers.iter().for_each(|courier| courier.ask_to_end());
    if wait_until(patience, have_ended) {
        return;
    }
    couriers.iter().for_each(|courier| courier.abandon());
    wait_until(END_GRACE, have_ended);
    for courier in couriers.iter().filter(|courier| !courier.has_ended()) {
        tracing::error!(target = courier.id(), "the target's thread does not end; it is left behind");
        courier.seal();
    }
}

/// The resources that targets need.
#[derive(Clone)]
pub(crate) struct Depot {
    pub(crate) catalog: Arc<dyn Catalog>,
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) pipeline: Uuid,
    /// The name of the pipeline.
    pub(crate) name: String,
    /// The folder of the log of records.
    pub(crate) records: String,
    /// The installation, which reports dead deliveries.
    pub(crate) installation: Weak<Installation>,
    pub(crate) open_target: OpenTarget,
    /// Whether each target has a thread of its own.
    pub(crate) has_threads: bool,
}

/// The targets of a pipeline.
pub(crate) struct Delivery {
    depot: Depot,
    /// The number after the last record.
    end: Arc<AtomicU64>,
    couriers: Mutex<Vec<Arc<Courier>>>,
}

/// The progress of all targets of a pipeline together.
pub(crate) enum Standing {
    /// Every target has accepted everything.
    Accepted,
    /// Records remain to be delivered.
    Underway,
    /// A record is dead.
    Dead(String),
}

impl Delivery {
    /// Creates a delivery without targets; [`Delivery::aim`] adds them.
    pub(crate) fn new(depot: Depot, end: u64) -> Delivery {
        Delivery { depot, end: Arc::new(AtomicU64::new(end)), couriers: Mutex::default() }
    }

    /// Notes that the pipeline has made records up to a number.
    pub(crate) fn reach(&self, end: u64) {
        if self.end.fetch_max(end, Ordering::AcqRel) < end {
            self.couriers().iter().for_each(|courier| courier.wake());
        }
    }

    /// Returns the number after the last record.
    pub(crate) fn end(&self) -> u64 {
        self.end.load(Ordering::Acquire)
    }

    /// Returns the couriers of all targets.
    pub(crate) fn couriers(&self) -> Vec<Arc<Courier>> {
        self.couriers.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Delivers to these targets from now on, each from its position. A known target keeps its
    /// state, whatever options changed.
    pub(crate) fn aim(&self, plans: &[TargetPlan], folder: &Path) -> Result<(), Error> {
        let mut couriers = self.couriers.lock().unwrap_or_else(PoisonError::into_inner);
        // The old ones end first: two couriers must not use one target.
        end(&couriers, CHANGE_GRACE);
        couriers.clear();
        for plan in plans {
            if let Some(courier) = self.courier(plan, folder)? {
                couriers.push(Arc::new(courier));
            }
        }
        Ok(())
    }

    /// Ends all deliveries. Callers that wait for an answer of a target get an error.
    pub(crate) fn stop(&self) {
        end(&self.couriers(), CHANGE_GRACE);
    }

    /// Checks whether targets can be opened, before anything is changed for them.
    pub(crate) fn check(&self, plans: &[TargetPlan], folder: &Path) -> Result<(), Error> {
        let open = |plan| self.target(plan, folder, &serde_json::Value::Null, &Abandon::default());
        plans.iter().try_for_each(|plan| open(plan).map(drop))
    }

    fn target(
        &self,
        plan: &TargetPlan,
        folder: &Path,
        memory: &serde_json::Value,
        abandon: &Abandon,
    ) -> Result<Option<Box<dyn Target>>, Error> {
        let depot = &self.depot;
        let owner = format!("{}/{}", depot.pipeline, plan.id);
        let (clock, abandon) = (Arc::clone(&depot.clock), abandon.clone());
        let around = Around { folder, owner, pipeline: &depot.name, memory: Some(memory), clock, abandon };
        (depot.open_target)(plan, &around).map_err(|why| Error::new(why.kind, format!("target `{}`: {why}", plan.id)))
    }

    fn courier(&self, plan: &TargetPlan, folder: &Path) -> Result<Option<Courier>, Error> {
        if matches!(plan.kind, TargetKind::Nowhere | TargetKind::Stdout(_)) {
            return Ok(None);
        }
        let depot = &self.depot;
        let mut shelf = CatalogShelf::new(Arc::clone(&depot.catalog), depot.pipeline, &plan.id);
        shelf.tell_by(Weak::clone(&depot.installation));
        let kept = shelf.open(if plan.history { 0 } else { self.end() })?;
        let abandon = Abandon::default();
        let Some(target) = self.target(plan, folder, &kept.marks.memory, &abandon)? else { return Ok(None) };
        let limits = match plan.kind {
            TargetKind::Http(_) => REQUEST_WINDOW,
            TargetKind::Email(_) => LETTER_WINDOW,
            _ => WindowLimits::default(),
        };
        let outbox = Outbox::new(shelf, kept, limits, Patience { total: plan.retry_for }).gathering(plan.gather);
        let records = ReadAhead::new(RecordLog::new(Arc::clone(&depot.disk), &depot.records, plan.thresholds));
        let target = Box::new(Timed::new(target, Arc::clone(&depot.clock)));
        let hands = Hands { outbox, target, records, clock: Arc::clone(&depot.clock) };
        let rounds = Rounds::new(&plan.id, hands, Arc::clone(&self.end));
        match depot.has_threads {
            true => Courier::start(plan, rounds, abandon).map(Some),
            false => Ok(Some(Courier::by_hand(plan, rounds, abandon))),
        }
    }

    /// Returns every target, and the reason why it does not take records, if there is one.
    pub(crate) fn troubles(&self) -> Vec<(String, Option<String>)> {
        self.couriers().iter().map(|courier| (courier.id().to_owned(), courier.trouble())).collect()
    }

    /// Whether a working target still has records to take.
    pub(crate) fn is_busy(&self) -> bool {
        let end = self.end();
        self.couriers().iter().any(|courier| courier.board().marks.next < end && courier.trouble().is_none())
    }

    /// Returns the progress of all targets with the present records.
    pub(crate) fn standing(&self) -> Standing {
        let (end, mut standing) = (self.end(), Standing::Accepted);
        for courier in self.couriers() {
            let board = courier.board();
            if board.marks.dead > 0 {
                let count = board.marks.dead;
                let deliveries = if count == 1 { "delivery" } else { "deliveries" };
                return Standing::Dead(format!(
                    "target `{}`: {count} {deliveries} dead for good; see /api/v1/deliveries?state=dead, then resend or skip",
                    courier.id()
                ));
            }
            if board.marks.next < end || board.retrying > 0 {
                standing = Standing::Underway;
            }
        }
        standing
    }

    /// Asks every target to confirm that it holds the records it accepted. Returns the first that
    /// does not; its missing records are sent again if `mend` is set.
    pub(crate) fn confirm(&self, mend: bool) -> Result<Option<(String, Report)>, Error> {
        for courier in self.couriers() {
            let report = courier.confirm(mend)?;
            if !report.agrees() {
                return Ok(Some((courier.id().to_owned(), report)));
            }
        }
        Ok(None)
    }
}

impl Drop for Delivery {
    fn drop(&mut self) {
        end(&self.couriers(), CHANGE_GRACE);
    }
}
