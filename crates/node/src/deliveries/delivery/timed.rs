//! A target whose exchanges are measured with the server's clock.

use std::sync::Arc;

use flowmeter_core::time::Timestamp;
use flowmeter_engine::Error;
use flowmeter_engine::node::Clock;
use flowmeter_engine::outbox::{Answer, Exchange, Held, Outgoing, Repeat, Span, Target};
use serde_json::Value;

/// Nanoseconds of a millisecond.
const MS: i128 = 1_000_000;

/// A target and the duration of its last call of `send`, which counts for all of its records unless
/// the target measures each.
pub(super) struct Timed {
    target: Box<dyn Target>,
    clock: Arc<dyn Clock>,
    took_ms: u64,
}

impl Timed {
    pub(super) fn new(target: Box<dyn Target>, clock: Arc<dyn Clock>) -> Timed {
        Timed { target, clock, took_ms: 0 }
    }

    fn since(&self, began: Timestamp) -> u64 {
        u64::try_from(self.clock.now().since(began) / MS).unwrap_or_default()
    }
}

impl Target for Timed {
    fn send(&mut self, window: Span, records: &[Outgoing<'_>]) -> Vec<Answer> {
        let began = self.clock.now();
        let answers = self.target.send(window, records);
        self.took_ms = self.since(began);
        answers
    }

    fn exchange(&self, place: usize) -> Exchange {
        let exchange = self.target.exchange(place);
        Exchange { ms: exchange.ms.or(Some(self.took_ms)), ..exchange }
    }

    fn probe(&mut self) -> Result<(), Error> {
        self.target.probe()
    }

    fn address(&self) -> String {
        self.target.address()
    }

    fn needs_a_person(&self) -> bool {
        self.target.needs_a_person()
    }

    fn repeat(&self) -> Repeat {
        self.target.repeat()
    }

    fn memory(&self) -> Value {
        self.target.memory()
    }

    fn can_be_asked(&self) -> bool {
        self.target.can_be_asked()
    }

    fn look_afresh(&mut self) {
        self.target.look_afresh();
    }

    fn read_back(&mut self, records: &[Outgoing<'_>]) -> Result<Vec<Held>, Error> {
        self.target.read_back(records)
    }

    fn seal(&mut self) -> Result<(), Error> {
        self.target.seal()
    }

    fn confirm(&mut self) -> Result<(), Error> {
        self.target.confirm()
    }

    fn is_stdout(&self) -> bool {
        self.target.is_stdout()
    }
}
