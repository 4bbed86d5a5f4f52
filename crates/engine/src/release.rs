//! Ticks of operators that hold events: what is due is released and passes on.

use std::collections::VecDeque;
use std::sync::Arc;

use flowmeter_core::event::{Block, Origin};
use flowmeter_core::mediation::Decoder;
use flowmeter_core::operator::{Operator, Release};
use flowmeter_core::partition::{Identities, Rejudged, ReleaseExtent, Released};
use flowmeter_core::time::Timestamp;
use flowmeter_core::verdict::Verdict;
use rayon::prelude::*;

use crate::lane::Releasing;
use crate::merge::RecordSink;
use crate::round::Engine;
use crate::source::{Received, Source};
use crate::{Error, Observer, ParkedEvent};

/// Bytes of derived events that travel together.
const BLOCK_BYTES: usize = 256 << 10;

/// Derived events on their way into a pipeline.
struct Made {
    node: u16,
    origin: Origin,
    events: VecDeque<Released>,
    decoder: Arc<Decoder>,
    /// How many were given.
    given: u64,
}

impl Source for Made {
    fn receive(&mut self, block: &mut Block) -> Result<Received, Error> {
        if self.events.is_empty() {
            return Ok(Received::End);
        }
        let mut ends = Vec::new();
        let bytes = block.open();
        while let Some(event) = self.events.pop_front_if(|_| bytes.len() < BLOCK_BYTES) {
            bytes.extend_from_slice(&event.json);
            bytes.push(b'\n');
            ends.push((bytes.len() as u32, ends.len() as u32));
        }
        block.seal();
        block.first_line = self.given + 1;
        self.given += ends.len() as u64;
        block.ends = ends;
        block.origin = self.origin.clone();
        block.derived_by = Some(self.node);
        Ok(Received::Block(Arc::clone(&self.decoder)))
    }

    fn progress(&self) -> (u64, Option<u64>) {
        (0, None)
    }
}

impl<I: Identities + Send + Sync> Engine<I> {
    /// Processes a tick for the operators that keep state by key, in the order of the pipeline.
    /// An event that one operator releases may be due at the next operator in the same tick.
    pub(crate) fn release(
        &mut self,
        extent: ReleaseExtent,
        at: Timestamp,
        sink: &mut dyn RecordSink,
        observer: &mut dyn Observer,
    ) -> Result<(), Error> {
        let plan = Arc::clone(&self.plan);
        for (node, operator) in (0u16..).zip(&plan.nodes) {
            if operator.operator.is_keyed() {
                self.release_of(node, extent, at, sink, observer)?;
            }
        }
        Ok(())
    }

    /// Releases the state of one operator.
    pub(crate) fn release_of(
        &mut self,
        node: u16,
        extent: ReleaseExtent,
        at: Timestamp,
        sink: &mut dyn RecordSink,
        observer: &mut dyn Observer,
    ) -> Result<(), Error> {
        let until = self.watermark(node, at);
        let Engine { lanes, pool, .. } = self;
        let release = || lanes.par_iter_mut().map(|lane| lane.release(node, at, until, extent)).collect();
        let all = Releasing::joined(pool.install(release));
        self.rejudge(node, all.rejudged, observer)?;
        self.pass_on(node, all.released, at, sink, observer)
    }

    /// Empties one operator: the events that it holds are parked.
    pub(crate) fn give_up(&mut self, node: u16, at: Timestamp, observer: &mut dyn Observer) -> Result<(), Error> {
        let Engine { lanes, pool, .. } = self;
        let give_up = || lanes.par_iter_mut().map(|lane| lane.give_up(node, at)).collect();
        let all = Releasing::joined(pool.install(give_up));
        self.rejudge(node, all.rejudged, observer)
    }

    /// How far the watermark of an operator has come at a tick.
    fn watermark(&self, node: u16, at: Timestamp) -> Timestamp {
        let Operator::Accumulate(accumulate) = &self.plan.nodes[usize::from(node)].operator else { return at };
        let Release::Watermark(idle) = accumulate.release else { return at };
        if !self.follows_watermarks {
            return at;
        }
        match self.seen(node) {
            Some((greatest, last)) if at.since(last) < i128::from(idle) => greatest,
            Some(_) | None => at,
        }
    }

    /// The greatest event time that an operator took, and when it took the last event.
    fn seen(&self, node: u16) -> Option<(Timestamp, Timestamp)> {
        let seen = self.lanes.iter().filter_map(|lane| lane.partition.seen(node));
        seen.reduce(|(greatest, last), (other, later)| (greatest.max(other), last.max(later)))
    }

    /// When an operator may have something to release.
    pub(crate) fn next_release(&self) -> Option<Timestamp> {
        let keyed = (0u16..).zip(&self.plan.nodes).filter(|(_, node)| node.operator.releases());
        let due = |(node, operator): (u16, &flowmeter_core::operator::Node)| {
            let first = self.lanes.iter().filter_map(|lane| lane.partition.next_release(node)).min()?;
            let Operator::Accumulate(accumulate) = &operator.operator else { return Some(first) };
            match (accumulate.release, self.seen(node)) {
                // The clock holds once no event came for so long.
                (Release::Watermark(idle), Some((greatest, last))) if self.follows_watermarks => {
                    Some(if greatest >= first { last } else { first.max(last.saturating_add(idle)) })
                }
                (Release::Clock | Release::Watermark(_), _) => Some(first),
            }
        };
        keyed.filter_map(due).min()
    }

    /// Events that an operator held have another verdict.
    fn rejudge(&mut self, node: u16, mut rejudged: Vec<Rejudged>, observer: &mut dyn Observer) -> Result<(), Error> {
        rejudged.sort();
        let plan = Arc::clone(&self.plan);
        let operator = plan.nodes[usize::from(node)].id.as_str();
        let origin = Origin { name: format!("{}/{operator}", plan.name).into(), source: 0, columns: None };
        for Rejudged { order, verdict, detail, json, events, arrival: held } in rejudged {
            let count = &mut self.totals.operators[usize::from(node)];
            // Of windows that overlap, each has the same events.
            let events = events.min(count.held());
            let is_of_earlier_run = order.0 < self.order_base;
            match is_of_earlier_run {
                true => self.totals.rejudged.change(Verdict::Absorbed, verdict, events),
                false => {
                    // Several operators may hold an event, which has one verdict: the first that gives
                    // it up decides.
                    let tally = &mut self.totals.tally;
                    tally.change(Verdict::Absorbed, verdict, events.min(tally.absorbed));
                }
            }
            count.absorbed -= events;
            if let Verdict::Parked(reason) = verdict {
                count.errors += events;
                let (origin, operator, detail) = (&origin, Some(operator), detail.as_str());
                let line = order.0 + 1;
                let (is_derived, is_released, raw) = (true, true, json.as_slice());
                let parked = ParkedEvent { origin, line, operator, reason, detail, raw, is_derived, held, is_released };
                observer.parked(&parked)?;
            }
        }
        Ok(())
    }

    /// Leads derived events to the operators behind the one that made them.
    fn pass_on(
        &mut self,
        node: u16,
        mut released: Vec<Released>,
        at: Timestamp,
        sink: &mut dyn RecordSink,
        observer: &mut dyn Observer,
    ) -> Result<(), Error> {
        released.sort();
        let count = &mut self.totals.operators[usize::from(node)];
        count.derived += released.len() as u64;
        count.passed += released.len() as u64;
        count.released += released.iter().map(|released| released.settles).sum::<u64>();
        let operator = self.plan.nodes[usize::from(node)].id.as_str();
        let mut made = Made {
            node,
            origin: Origin { name: format!("{}/{operator}", self.plan.name).into(), source: 0, columns: None },
            events: released.into(),
            decoder: Arc::new(Decoder::json(&self.plan.paths)),
            given: 0,
        };
        match made.events.is_empty() {
            true => Ok(()),
            false => self.ingest(&mut made, at, sink, observer),
        }
    }
}
