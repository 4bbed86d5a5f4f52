//! The work of a courier: requests of people, and one step of delivery after the other.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, TryRecvError, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use flowmeter_engine::Error;
use flowmeter_engine::node::Clock;
use flowmeter_engine::outbox::{DeliveryState, Marks, Outbox, Progress, ReadAhead, Span, Target};

use crate::deliveries::delivery::CatalogShelf;
use crate::spans;

/// Time after which a courier that could not store outcomes tries again.
const TROUBLED: Duration = Duration::from_secs(1);

/// The published state of a courier.
#[derive(Clone, Debug, Default)]
pub(crate) struct Board {
    /// The progress of its target.
    pub(crate) marks: Marks,
    /// Number of deliveries that are tried again separately.
    pub(crate) retrying: usize,
    /// Numbers of the records that the window which is being sent still has to send.
    left: Vec<Span>,
    /// The local reason why it has stopped, if it has.
    pub(crate) trouble: Option<String>,
    /// Whether it waits for a person because too many records were refused.
    pub(crate) is_halted: bool,
    /// The instant until which it does not use its target, in nanoseconds.
    pub(crate) quiet_until: i64,
}

impl Board {
    fn of(outbox: &Outbox<CatalogShelf>) -> Board {
        Board { marks: outbox.marks().shown(), retrying: outbox.retrying(), left: outbox.left(), ..Board::default() }
    }

    /// Returns the state of a record that has no delivery of its own.
    pub(crate) fn state_of(&self, number: u64) -> DeliveryState {
        let marks = &self.marks;
        match number {
            n if n < marks.confirmed => DeliveryState::Confirmed,
            n if n < marks.next => DeliveryState::Accepted,
            n if n >= marks.sent => DeliveryState::Pending,
            n if !self.is_left(n) => DeliveryState::Accepted,
            _ if marks.failing_since.is_some() => DeliveryState::Retrying,
            _ => DeliveryState::Sent,
        }
    }

    fn is_left(&self, number: u64) -> bool {
        let at = self.left.partition_point(|span| span.until <= number);
        self.left.get(at).is_some_and(|span| span.first <= number)
    }

    /// Returns the numbers of the records of a window that its target does not take.
    pub(crate) fn failing(&self) -> impl Iterator<Item = u64> + '_ {
        let failing = self.marks.failing_since.is_some();
        self.left.iter().filter(move |_| failing).flat_map(|span| span.first..span.until)
    }

    /// Returns the number of records that were sent, without an answer so far, and of those that
    /// are tried again, alone or with their window.
    pub(crate) fn sent_and_retrying(&self) -> (u64, u64) {
        let left = self.left.iter().map(|span| span.until - span.first).sum();
        let alone = self.retrying as u64;
        if self.marks.failing_since.is_some() { (0, alone + left) } else { (left, alone) }
    }
}

/// Work that a caller gives a courier to do between two requests.
pub(crate) type Order = Box<dyn FnOnce(&mut Hands) + Send>;

/// The resources of a courier.
pub(crate) struct Hands {
    pub(crate) outbox: Outbox<CatalogShelf>,
    pub(crate) target: Box<dyn Target>,
    pub(crate) records: ReadAhead,
    pub(crate) clock: Arc<dyn Clock>,
}

/// A courier's work, on a thread of its own or, in the simulation, on the caller's.
pub(crate) struct Rounds {
    /// The id of its target.
    owner: String,
    hands: Hands,
    /// The number after the last record.
    end: Arc<AtomicU64>,
    orders: Receiver<Order>,
    pub(crate) board: Arc<Mutex<Board>>,
    /// Whether it must end.
    pub(crate) stopped: Arc<AtomicBool>,
}

/// The wait until the next step.
enum Wait {
    None,
    For(Duration),
    /// Until it is woken.
    Open,
    /// Forever: it has ended.
    Ended,
}

impl Rounds {
    /// Creates the work, and the way to give it orders.
    pub(crate) fn new(owner: &str, hands: Hands, end: Arc<AtomicU64>) -> (Rounds, Sender<Order>) {
        let outbox = &hands.outbox;
        let board = Board::of(outbox);
        let (sender, orders) = channel();
        let (owner, board, stopped) = (owner.to_owned(), Arc::new(Mutex::new(board)), Arc::default());
        (Rounds { owner, hands, end, orders, board, stopped }, sender)
    }

    /// Returns what its target needs.
    pub(crate) fn hands(&self) -> &Hands {
        &self.hands
    }

    /// Works on a thread until it must end.
    pub(crate) fn run(mut self) {
        loop {
            match self.step() {
                Wait::None => {}
                Wait::For(time) => std::thread::park_timeout(time),
                Wait::Open => std::thread::park(),
                Wait::Ended => return,
            }
        }
    }

    /// Takes one step on the caller's thread. Returns whether there may be another.
    pub(crate) fn turn(&mut self) -> bool {
        !matches!(self.step(), Wait::Ended)
    }

    fn step(&mut self) -> Wait {
        while !self.stopped.load(Ordering::Acquire) {
            match self.orders.try_recv() {
                Ok(order) => order(&mut self.hands),
                Err(TryRecvError::Empty) => break,
                Err(TryRecvError::Disconnected) => return Wait::Ended,
            }
        }
        if self.stopped.load(Ordering::Acquire) {
            return Wait::Ended;
        }
        let hands = &mut self.hands;
        let now = hands.clock.now();
        let (begin, end) = (hands.outbox.marks().next, self.end.load(Ordering::Acquire));
        let span = if begin < end { spans::deliver(&self.owner) } else { tracing::Span::none() };
        let step = || hands.outbox.step(hands.target.as_mut(), &mut hands.records, end, now);
        let stepped = span.in_scope(step);
        span.record("flowmeter.records", hands.outbox.marks().next.saturating_sub(begin) as i64);
        if hands.outbox.marks().failing_since.is_some() || stepped.is_err() {
            spans::failed(&span);
        }
        self.show(&stepped);
        match stepped {
            Ok(Progress::Worked) => Wait::None,
            Ok(Progress::Idle | Progress::Halted) => Wait::Open,
            Ok(Progress::Until(at)) => {
                let left = at.since(self.hands.clock.now());
                Wait::For(Duration::from_nanos(u64::try_from(left).unwrap_or_default()))
            }
            Err(_) => Wait::For(TROUBLED),
        }
    }

    fn show(&self, stepped: &Result<Progress, Error>) {
        let (hands, owner) = (&self.hands, &self.owner);
        let mut shown = self.board.lock().unwrap_or_else(PoisonError::into_inner);
        let trouble = stepped.as_ref().err().map(ToString::to_string);
        if let Some(why) = trouble.as_ref().filter(|why| Some(*why) != shown.trouble.as_ref()) {
            tracing::error!("delivery to target `{owner}` stopped: {why}");
        }
        *shown = Board {
            trouble,
            is_halted: matches!(stepped, Ok(Progress::Halted)),
            quiet_until: hands.outbox.quiet_until().nanos(),
            ..Board::of(&hands.outbox)
        };
    }
}
