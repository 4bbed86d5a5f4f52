//! A courier: the thread that delivers to one target.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, TryRecvError, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use flowmeter_connectors::Abandon;
use flowmeter_core::pipeline::TargetPlan;
use flowmeter_engine::node::Clock;
use flowmeter_engine::outbox::{Delivery, Marks, Outbox, Part, Progress, ReadAhead, Report, Target};
use flowmeter_engine::{Error, Kind};
use flowmeter_store::catalog::Change;

use super::CatalogShelf;
use super::shelf::Seal;
use crate::background::{self, Yields};
use crate::traces;

/// Time after which a courier that could not store outcomes tries again.
const TROUBLED: Duration = Duration::from_secs(1);

/// The published state of a courier.
#[derive(Clone, Debug, Default)]
pub(crate) struct Board {
    /// The progress of its target.
    pub(crate) marks: Marks,
    /// Number of deliveries that are tried again separately.
    pub(crate) retrying: usize,
    /// The local reason why it has stopped, if it has.
    pub(crate) trouble: Option<String>,
    /// Whether it waits for a person because too many records were refused.
    pub(crate) is_halted: bool,
    /// The instant until which it does not use its target, in nanoseconds.
    pub(crate) quiet_until: i64,
}

type Order = Box<dyn FnOnce(&mut Hands) + Send>;

/// The thread that delivers to one target.
pub(crate) struct Courier {
    plan: TargetPlan,
    /// Records that its target had accepted when it started. Marks are stored at intervals, so
    /// after a crash they begin lower than they were shown before.
    accepted_before: u64,
    board: Arc<Mutex<Board>>,
    orders: Mutex<Sender<Order>>,
    thread: Mutex<Option<JoinHandle<()>>>,
    stopped: Arc<AtomicBool>,
    abandon: Abandon,
    seal: Seal,
}

/// The resources of a courier's thread.
pub(crate) struct Hands {
    pub(super) outbox: Outbox<CatalogShelf>,
    pub(super) target: Box<dyn Target>,
    pub(super) records: ReadAhead,
    pub(super) clock: Arc<dyn Clock>,
}

impl Courier {
    pub(super) fn start(plan: &TargetPlan, hands: Hands, end: Arc<AtomicU64>, abandon: Abandon) -> Result<Courier, Error> {
        let outbox = &hands.outbox;
        let board =
            Arc::new(Mutex::new(Board { marks: outbox.marks().shown(), retrying: outbox.retrying(), ..Board::default() }));
        let accepted_before = outbox.marks().accepted;
        let (orders, inbox) = channel();
        let (stopped, seal) = (Arc::new(AtomicBool::new(false)), outbox.shelf().seal());
        let (showing, stopping) = (Arc::clone(&board), Arc::clone(&stopped));
        let owner = plan.id.clone();
        let running = move || run(&owner, hands, &inbox, &end, &showing, &stopping);
        let thread = background::spawn("delivery", Yields::Somewhat, running)?;
        let (orders, thread) = (Mutex::new(orders), Mutex::new(Some(thread)));
        Ok(Courier { plan: plan.clone(), accepted_before, board, orders, thread, stopped, abandon, seal })
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
    pub(super) fn wake(&self) {
        if let Some(thread) = &*self.thread.lock().unwrap_or_else(PoisonError::into_inner) {
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
    pub(super) fn has_ended(&self) -> bool {
        self.thread.lock().unwrap_or_else(PoisonError::into_inner).as_ref().is_none_or(JoinHandle::is_finished)
    }

    /// Prevents its thread, if it still runs, from storing anything.
    pub(super) fn seal(&self) {
        self.seal.close();
    }

    /// Runs `order` between two requests, and waits for its result.
    fn ask<T: Send + 'static>(&self, order: impl FnOnce(&mut Hands) -> T + Send + 'static) -> Result<T, Error> {
        let gone = || Error::new(Kind::Unavailable, "the target is not at work; its pipeline was changed or is not loaded");
        let (answer, answered) = channel();
        let order: Order = Box::new(move |hands| drop(answer.send(order(hands))));
        self.orders.lock().unwrap_or_else(PoisonError::into_inner).send(order).map_err(|_| gone())?;
        self.wake();
        answered.recv().map_err(|_| gone())
    }

    /// Runs an action of a person; its entry of the audit is committed with it, or not at all.
    fn act<T: Send + 'static>(
        &self,
        audit: Vec<Change>,
        act: impl FnOnce(&mut Hands) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        self.ask(move |hands| {
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

    /// Skips a record, for a reason.
    pub(crate) fn skip(&self, number: u64, reason: String, audit: Vec<Change>) -> Result<Delivery, Error> {
        self.act(audit, move |hands| hands.outbox.skip(number, &reason, hands.clock.now()))
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
    pub(super) fn confirm(&self, mend: bool) -> Result<Report, Error> {
        self.ask(move |hands| {
            let report = hands.outbox.confirm(hands.target.as_mut(), &mut hands.records)?;
            if mend && !report.agrees() {
                hands.outbox.mend(&report, &mut hands.records, hands.clock.now())?;
            }
            Ok(report)
        })?
    }
}

fn run(owner: &str, mut hands: Hands, inbox: &Receiver<Order>, end: &AtomicU64, board: &Mutex<Board>, stopped: &AtomicBool) {
    loop {
        while !stopped.load(Ordering::Acquire) {
            match inbox.try_recv() {
                Ok(order) => order(&mut hands),
                Err(TryRecvError::Empty) => break,
                Err(TryRecvError::Disconnected) => return,
            }
        }
        if stopped.load(Ordering::Acquire) {
            return;
        }
        let now = hands.clock.now();
        let (begin, end) = (hands.outbox.marks().next, end.load(Ordering::Acquire));
        let span = if begin < end { traces::deliver(owner) } else { tracing::Span::none() };
        let step = || hands.outbox.step(hands.target.as_mut(), &mut hands.records, end, now);
        let stepped = span.in_scope(step);
        span.record("flowmeter.records", hands.outbox.marks().next.saturating_sub(begin) as i64);
        if hands.outbox.marks().failing_since.is_some() || stepped.is_err() {
            traces::failed(&span);
        }
        show(owner, &hands, &stepped, board);
        match stepped {
            Ok(Progress::Worked) => {}
            Ok(Progress::Idle | Progress::Halted) => std::thread::park(),
            Ok(Progress::Until(at)) => {
                let left = at.since(hands.clock.now());
                std::thread::park_timeout(Duration::from_nanos(u64::try_from(left).unwrap_or_default()));
            }
            Err(_) => std::thread::park_timeout(TROUBLED),
        }
    }
}

fn show(owner: &str, hands: &Hands, stepped: &Result<Progress, Error>, board: &Mutex<Board>) {
    let mut shown = board.lock().unwrap_or_else(PoisonError::into_inner);
    let trouble = stepped.as_ref().err().map(ToString::to_string);
    if let Some(why) = trouble.as_ref().filter(|why| Some(*why) != shown.trouble.as_ref()) {
        tracing::error!("delivery to target `{owner}` stopped: {why}");
    }
    *shown = Board {
        marks: hands.outbox.marks().shown(),
        retrying: hands.outbox.retrying(),
        trouble,
        is_halted: matches!(stepped, Ok(Progress::Halted)),
        quiet_until: hands.outbox.quiet_until().nanos(),
    };
}
