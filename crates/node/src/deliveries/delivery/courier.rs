//! A courier: delivers to one target, on a thread of its own or, in the simulation, by hand.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use flowmeter_connectors::Abandon;
use flowmeter_document::TargetPlan;
use flowmeter_engine::outbox::{Delivery, DeliveryState, Part, Report};
use flowmeter_engine::{Error, Kind};
use flowmeter_store::catalog::Change;

use crate::background::{self, Yields};
use crate::deliveries::delivery::rounds::{Board, Hands, Order, Rounds};
use crate::deliveries::delivery::shelf::Seal;

/// Delivers to one target.
pub(crate) struct Courier {
    plan: TargetPlan,
    /// Records that its target had accepted when it started. Marks are stored at intervals, so
    /// after a crash they begin lower than they were shown before.
    accepted_before: u64,
    board: Arc<Mutex<Board>>,
    orders: Mutex<Sender<Order>>,
    driver: Driver,
    stopped: Arc<AtomicBool>,
    abandon: Abandon,
    seal: Seal,
}

/// The source of a courier's steps.
enum Driver {
    /// A thread of its own.
    Thread(Mutex<Option<JoinHandle<()>>>),
    /// Calls of [`Courier::turn`] and of functions that wait for the courier.
    Caller(Mutex<Option<Box<Rounds>>>),
}

impl Courier {
    /// Starts a courier with a thread.
    pub(crate) fn start(
        plan: &TargetPlan,
        (rounds, orders): (Rounds, Sender<Order>),
        abandon: Abandon,
    ) -> Result<Courier, Error> {
        let mut courier = Courier::new(plan, &rounds, orders, abandon);
        let thread = background::spawn("delivery", Yields::Somewhat, move || rounds.run())?;
        courier.driver = Driver::Thread(Mutex::new(Some(thread)));
        Ok(courier)
    }

    /// Creates a courier without a thread: it takes a step when [`Courier::turn`] is called, or
    /// when a caller waits for it. So the caller decides the order of events.
    pub(crate) fn by_hand(plan: &TargetPlan, (rounds, orders): (Rounds, Sender<Order>), abandon: Abandon) -> Courier {
        let mut courier = Courier::new(plan, &rounds, orders, abandon);
        courier.driver = Driver::Caller(Mutex::new(Some(Box::new(rounds))));
        courier
    }

    fn new(plan: &TargetPlan, rounds: &Rounds, orders: Sender<Order>, abandon: Abandon) -> Courier {
        let outbox = &rounds.hands().outbox;
        Courier {
            plan: plan.clone(),
            accepted_before: outbox.marks().accepted,
            board: Arc::clone(&rounds.board),
            orders: Mutex::new(orders),
            driver: Driver::Thread(Mutex::default()),
            stopped: Arc::clone(&rounds.stopped),
            abandon,
            seal: outbox.shelf().seal(),
        }
    }

    /// Takes one step, if it has no thread.
    pub(crate) fn turn(&self) {
        if let Driver::Caller(rounds) = &self.driver {
            let mut slot = rounds.lock().unwrap_or_else(PoisonError::into_inner);
            // Requests that one which has ended left unanswered get an error.
            if slot.as_mut().is_some_and(|rounds| !rounds.turn()) {
                *slot = None;
            }
        }
    }

    /// Returns the number of records that its target had accepted when it started.
    pub(crate) fn accepted_before(&self) -> u64 {
        self.accepted_before
    }

    /// Returns the id of its target.
    pub(crate) fn id(&self) -> &str {
        &self.plan.id
    }

    /// Returns the plan of its target.
    pub(crate) fn plan(&self) -> &TargetPlan {
        &self.plan
    }

    /// Returns its published state.
    pub(crate) fn board(&self) -> Board {
        self.board.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Returns the reason why its target does not take records, if there is one.
    pub(crate) fn trouble(&self) -> Option<String> {
        let board = self.board();
        let failing = board.marks.failing_since.map(|_| board.marks.answer);
        let halted = board.is_halted.then(|| format!("{} records were refused; check the target", board.marks.dead));
        board.trouble.or(failing).or(halted)
    }

    /// Wakes it, since there may be work.
    pub(crate) fn wake(&self) {
        if let Driver::Thread(thread) = &self.driver
            && let Some(thread) = &*thread.lock().unwrap_or_else(PoisonError::into_inner)
        {
            thread.thread().unpark();
        }
    }

    /// Ends it after its current work.
    pub(crate) fn ask_to_end(&self) {
        self.stopped.store(true, Ordering::Release);
        self.wake();
    }

    /// Cancels the current request. Its records are in doubt and are sent again, under the same
    /// keys, when the target works again.
    pub(crate) fn abandon(&self) {
        self.abandon.ask();
    }

    /// Whether its thread has ended.
    pub(crate) fn has_ended(&self) -> bool {
        match &self.driver {
            Driver::Thread(thread) => {
                thread.lock().unwrap_or_else(PoisonError::into_inner).as_ref().is_none_or(JoinHandle::is_finished)
            }
            Driver::Caller(_) => self.stopped.load(Ordering::Acquire),
        }
    }

    /// Prevents its thread, if it still runs, from storing anything.
    pub(crate) fn seal(&self) {
        self.seal.close();
    }

    /// Runs `order` between two requests, and waits for its result.
    fn ask<T: Send + 'static>(&self, order: impl FnOnce(&mut Hands) -> T + Send + 'static) -> Result<T, Error> {
        let gone = || Error::new(Kind::Unavailable, "the target is not at work; its pipeline was changed or is not loaded");
        let (answer, answered) = channel();
        let order: Order = Box::new(move |hands| drop(answer.send(order(hands))));
        self.orders.lock().unwrap_or_else(PoisonError::into_inner).send(order).map_err(|_| gone())?;
        self.wake();
        self.turn();
        answered.recv().map_err(|_| gone())
    }

    /// Runs an action of a person; its entry of the audit is committed with it, or not at all.
    fn act<T: Send + 'static>(
        &self,
        audit: Vec<Change>,
        act: impl FnOnce(&mut Hands) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        self.ask(move |hands| {
            hands.outbox.resume(&mut hands.records, hands.clock.now())?;
            hands.outbox.shelf_mut().commit_with(audit);
            let done = act(hands);
            hands.outbox.shelf_mut().commit_with(Vec::new());
            done
        })?
    }

    /// Sends some records again.
    pub(crate) fn resend(&self, numbers: Vec<u64>, audit: Vec<Change>) -> Result<Vec<Delivery>, Error> {
        self.act(audit, move |hands| hands.outbox.resend(&numbers, hands.clock.now()))
    }

    /// Sends the window that fails as a whole again, at once.
    pub(crate) fn resend_window(&self, audit: Vec<Change>) -> Result<u64, Error> {
        self.act(audit, |hands| hands.outbox.resend_window())
    }

    /// Sends records again if all of them are still in one of some states.
    pub(crate) fn resend_of(
        &self,
        numbers: Vec<u64>,
        states: Vec<DeliveryState>,
        audit: Vec<Change>,
    ) -> Result<Vec<Delivery>, Error> {
        self.act(audit, move |hands| {
            hands.outbox.must_be(&numbers, &states)?;
            hands.outbox.resend(&numbers, hands.clock.now())
        })
    }

    /// Skips some records, for a reason.
    pub(crate) fn skip(&self, numbers: Vec<u64>, reason: String, audit: Vec<Change>) -> Result<Vec<Delivery>, Error> {
        self.act(audit, move |hands| hands.outbox.skip(&numbers, &reason, hands.clock.now()))
    }

    /// Skips records, with a reason, if all of them are still in one of some states.
    pub(crate) fn skip_of(
        &self,
        numbers: Vec<u64>,
        states: Vec<DeliveryState>,
        reason: String,
        audit: Vec<Change>,
    ) -> Result<Vec<Delivery>, Error> {
        self.act(audit, move |hands| {
            hands.outbox.must_be(&numbers, &states)?;
            hands.outbox.skip(&numbers, &reason, hands.clock.now())
        })
    }

    /// Ends the wait before the next attempt.
    pub(crate) fn hurry(&self) -> Result<(), Error> {
        self.ask(|hands| hands.outbox.hurry())
    }

    /// Compares the records of a part with those that the target holds. With an entry for the
    /// audit, it sends the missing ones again.
    pub(crate) fn compare(&self, part: Part, mend: Option<Vec<Change>>) -> Result<(Report, u64), Error> {
        self.ask(move |hands| {
            let report = hands.outbox.compare(hands.target.as_mut(), &mut hands.records, part)?;
            let Some(audit) = mend else { return Ok((report, 0)) };
            hands.outbox.shelf_mut().commit_with(audit);
            let mended = hands.outbox.mend(&report, &mut hands.records, hands.clock.now());
            hands.outbox.shelf_mut().commit_with(Vec::new());
            Ok((report, mended?))
        })?
    }

    /// Compares the records that were not confirmed yet.
    pub(crate) fn confirm(&self, mend: bool) -> Result<Report, Error> {
        self.ask(move |hands| {
            let report = hands.outbox.confirm(hands.target.as_mut(), &mut hands.records)?;
            if mend && !report.agrees() {
                hands.outbox.mend(&report, &mut hands.records, hands.clock.now())?;
            }
            Ok(report)
        })?
    }
}
