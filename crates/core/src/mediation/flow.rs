//! A block of events on its way through a pipeline.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use super::derived::Derived;
use super::http::{AskingEvent, Services};
use super::taps::{Entered, Stopwatch, Tap};
use crate::event::{Batch, Kind, Slot};
use crate::operator::Scripted;
use crate::partition::{Identity, Input, Usage};
use crate::plan::Plan;
use crate::table::Tables;
use crate::time::Timestamp;
use crate::verdict::{Reason, Tally, Verdict};

/// An event at an operator: the event, and the row that holds its fields now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Token {
    /// The event in its batch; of a derived event, the one it descends from.
    pub event: u32,
    /// 0 for the event itself; otherwise the number of a derived event of the flow, from 1.
    pub part: u32,
    /// Its row: the event's own, or a copy after the event took several ways.
    pub row: u32,
}

/// An event in the correction queue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parked {
    /// The event in its batch; of a derived event, the one it descends from.
    pub event: u32,
    /// The derived event, as in [`Token`].
    pub part: u32,
    /// The operator it was parked at; `None`: it could not be read.
    pub operator: Option<u16>,
    /// The reason of the refusal.
    pub reason: Reason,
    /// Details of the reason, for a person; may be empty.
    pub detail: String,
}

/// The counts of one operator.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OperatorCount {
    /// Events that came in.
    pub received: u64,
    /// Events that passed (of a meter operator: that counted).
    pub passed: u64,
    /// Events that were parked.
    pub errors: u64,
    /// Events that it made.
    pub derived: u64,
    /// Events that it added to its state.
    pub absorbed: u64,
    /// Absorbed events that were released.
    pub released: u64,
    /// Events that came for a window that had been released.
    pub late: u64,
    /// Events for which a table has no row.
    pub unmatched: u64,
}

impl OperatorCount {
    /// Returns the number of events that are held in its state.
    pub fn held(&self) -> u64 {
        self.absorbed.saturating_sub(self.released)
    }

    /// Adds the counts of another one.
    pub fn add(&mut self, other: &OperatorCount) {
        self.received += other.received;
        self.passed += other.passed;
        self.errors += other.errors;
        self.derived += other.derived;
        self.absorbed += other.absorbed;
        self.released += other.released;
        self.late += other.late;
        self.unmatched += other.unmatched;
    }
}

/// The answers of a partition about the events of one flow at one stage.
#[derive(Clone, Debug, Default)]
pub struct Answers {
    /// Duplicates: operator and place among the waiting.
    pub duplicates: Vec<(u16, u32)>,
    /// Corrected events whose identity another event has; they continue nevertheless.
    pub known: Vec<(u16, u32)>,
    /// Repetitions of an event of the same round that is not decided yet: operator and place. They
    /// are held until it is.
    pub held: Vec<(u16, u32)>,
    /// Events that no rule applied to and that are dropped: operator and place.
    pub unmatched: Vec<(u16, u32)>,
    /// Parked events: operator, place, reason, detail.
    pub parked: Vec<(u16, u32, Reason, String)>,
    /// The number of events that counted late.
    pub late: u64,
    /// Events that an operator took into its state: operator and place.
    pub absorbed: Vec<(u16, u32)>,
    /// Absorbed events that came for a released window: the operator of each.
    pub late_inputs: Vec<u16>,
    /// Fields that an operator sets. Those of a place follow each other, places in order.
    pub set: SetFields,
    /// Results of scripts: operator, place, result.
    pub scripted: Vec<(u16, u32, Scripted)>,
    /// A script that did not end: operator and place.
    pub stalled: Option<(u16, u32)>,
}

/// Fields of events that operators set, with their values in one piece of memory.
#[derive(Clone, Debug, Default)]
pub struct SetFields {
    /// Operator, place, slot, kind, and where the value ends.
    fields: Vec<(u16, u32, u16, Kind, u32)>,
    bytes: Vec<u8>,
}

impl SetFields {
    /// Adds a field of an event at an operator.
    pub fn push(&mut self, operator: u16, place: u32, slot: u16, kind: Kind, value: &[u8]) {
        self.bytes.extend_from_slice(value);
        self.fields.push((operator, place, slot, kind, self.bytes.len() as u32));
    }

    /// Returns operator, place, slot, kind and value of each.
    pub fn iter(&self) -> impl Iterator<Item = (u16, u32, u16, Kind, &[u8])> {
        let mut from = 0;
        self.fields.iter().map(move |&(operator, place, slot, kind, end)| {
            let value = &self.bytes[from..end as usize];
            from = end as usize;
            (operator, place, slot, kind, value)
        })
    }
}

/// Events that wait at a stateful operator.
#[derive(Clone, Debug, Default)]
pub(super) struct Waiting {
    pub(super) tokens: Vec<Token>,
    /// Identities to admit, by partition.
    pub(super) identities: Vec<Vec<Identity>>,
    /// Usages to count, by partition.
    pub(super) usages: Vec<Vec<Usage>>,
    /// Inputs of keyed operators, by partition.
    pub(super) inputs: Vec<Vec<Input>>,
    /// The number of tokens in the order of the events; the tokens after them were held before.
    pub(super) in_order: usize,
    /// Places whose answer was not yes.
    pub(super) refused: Vec<bool>,
    /// Places whose identity is not recorded for them: duplicates and withdrawn ones.
    pub(super) unrecorded: Vec<bool>,
}

impl Waiting {
    /// Removes everything but keeps the memory.
    fn clear(&mut self) {
        self.tokens.clear();
        self.in_order = 0;
        self.refused.clear();
        self.unrecorded.clear();
        self.identities.iter_mut().for_each(Vec::clear);
        self.usages.iter_mut().for_each(Vec::clear);
        self.inputs.iter_mut().for_each(Vec::clear);
    }

    /// Removes repetitions of an event, which arise where ways part and meet again. Of the tokens
    /// that one event has added since a place, at most one stays, and none if the event was here
    /// before.
    pub(super) fn keep_first(&mut self, event: u32, from: usize) {
        let (before, new) = self.tokens.split_at_mut(from);
        new.sort_unstable();
        let in_order = &before[..self.in_order.min(from)];
        let first = in_order.partition_point(|token| token.event < event);
        let same = in_order[first..].iter().take_while(|token| token.event == event);
        let held = before[in_order.len()..].iter().filter(|token| token.event == event);
        let known: Vec<u32> = same.chain(held).map(|token| token.part).collect();
        let mut kept = self.tokens.split_off(from);
        kept.dedup_by_key(|token| token.part);
        kept.retain(|token| !known.contains(&token.part));
        self.tokens.append(&mut kept);
    }
}

/// A block of events on its way through the stages.
#[derive(Clone, Debug, Default)]
pub struct Flow {
    /// The batch of the events.
    pub batch: Batch,
    /// The engine's clock when they were received.
    pub at: Timestamp,
    /// The number of the first event in the order of arrival.
    pub first_arrival: u64,
    /// Events for the correction queue.
    pub parked: Vec<Parked>,
    /// The counts by operator.
    pub counts: Vec<OperatorCount>,
    /// The number of events of each operator to note when they leave it; 0 in production.
    pub taps_max: usize,
    /// Events that were noted when they left an operator.
    pub taps: Vec<Tap>,
    /// Events at the operators that they entered and have not left, if every step is noted:
    /// by operator, event and part.
    pub(super) entered: BTreeMap<(u16, u32, u32), Entered>,
    /// The clock for the time of steps.
    pub stopwatch: Option<Stopwatch>,
    /// The number of events by operator and output; none for operators with one output.
    pub outputs: Vec<Vec<u64>>,
    /// Events that were late.
    pub late: u64,
    /// Counters of scripts, by operator and name.
    pub counters: BTreeMap<(u16, String), i64>,
    /// A script that did not end: its operator and event. No verdict of the block may be kept then.
    pub stalled: Option<(u16, u32)>,
    /// Events that had no time and were given that of their receipt; in order. An event that
    /// several meter operators read occurs more than once.
    pub(super) timed_by_receipt: Vec<u32>,
    /// By row: the text of a time that has been read, and the time.
    pub(super) times: Vec<(Slot, Timestamp)>,
    /// Number of the first event in the order of all events, derived ones included: ties of
    /// event time are decided by it.
    pub first_order: u64,
    /// The operator that made the events of the block, if they did not come from outside.
    pub derived_by: Option<u16>,
    /// Tables, in the order of the plan, as they are for this block.
    pub tables: Tables,
    /// The services that operators ask; `None`: the fields of an `http` operator become null.
    pub services: Option<Arc<dyn Services>>,
    /// Events that wait for the answer of a service, each with its operator.
    pub(super) asking: Vec<(u16, Token)>,
    partitions: usize,
    verdicts: Vec<Verdict>,
    pub(super) derived: Vec<Derived>,
    /// Tokens that wait for their span, by operator.
    deferred: Vec<Vec<Token>>,
    /// The number of parked events before the last span was brought.
    parked_before: usize,
    pub(super) waiting: Vec<Waiting>,
}

impl Flow {
    /// Creates an empty flow. Its memory is used again for block after block.
    pub fn new(partitions: usize, taps_max: usize) -> Flow {
        Flow { partitions, taps_max, ..Flow::default() }
    }

    /// Begins with the events of the batch.
    pub(super) fn start(&mut self, plan: &Plan) {
        self.parked.clear();
        self.taps.clear();
        self.entered.clear();
        self.outputs.resize_with(plan.nodes.len(), Vec::new);
        for (outputs, node) in self.outputs.iter_mut().zip(&plan.nodes) {
            outputs.clear();
            outputs.resize(if node.outputs.len() > 1 { node.outputs.len() } else { 0 }, 0);
        }
        self.late = 0;
        self.counters.clear();
        self.stalled = None;
        self.timed_by_receipt.clear();
        self.counts.clear();
        self.counts.resize(plan.nodes.len(), OperatorCount::default());
        self.verdicts.clear();
        self.verdicts.resize(self.batch.len(), Verdict::Open);
        self.asking.clear();
        self.derived.clear();
        self.times.clear();
        self.times.resize(self.batch.len(), (Slot::MISSING, Timestamp::MIN));
        self.waiting.resize_with(plan.nodes.len(), Waiting::default);
        for waiting in &mut self.waiting {
            waiting.identities.resize_with(self.partitions, Vec::new);
            waiting.usages.resize_with(self.partitions, Vec::new);
            waiting.inputs.resize_with(self.partitions, Vec::new);
            waiting.clear();
        }
        for fault in std::mem::take(&mut self.batch.faults) {
            let event = fault.event;
            self.note(Token { event, part: 0, row: event }, Verdict::Parked(Reason::Unreadable));
            let reason = Reason::Unreadable;
            self.parked.push(Parked { event, part: 0, operator: None, reason, detail: fault.detail });
        }
    }

    /// Notes the verdict of an event on one of its ways.
    #[inline]
    pub(super) fn note(&mut self, token: Token, verdict: Verdict) {
        let known = match token.part {
            0 => &mut self.verdicts[token.event as usize],
            part => &mut self.derived[part as usize - 1].verdict,
        };
        *known = (*known).max(verdict);
    }

    /// Parks an event at an operator.
    pub(super) fn park(&mut self, operator: u16, token: Token, reason: Reason, detail: String) {
        self.counts[usize::from(operator)].errors += 1;
        self.note(token, Verdict::Parked(reason));
        self.end_step(operator, token);
        let Token { event, part, .. } = token;
        self.parked.push(Parked { event, part, operator: Some(operator), reason, detail });
    }

    /// Defers all waiting tokens until their span is brought.
    pub(super) fn defer(&mut self) {
        self.deferred.clear();
        for waiting in &mut self.waiting {
            self.deferred.push(std::mem::take(&mut waiting.tokens));
        }
        self.parked_before = self.parked.len();
    }

    /// Brings the events of a span to where they wait. With `again`, the results of the previous
    /// span are taken back.
    pub(super) fn bring(&mut self, events: &Range<u32>, again: bool) {
        if again {
            for parked in self.parked.drain(self.parked_before..) {
                if let Some(node) = parked.operator {
                    self.counts[usize::from(node)].errors -= 1;
                }
            }
        }
        self.parked_before = self.parked.len();
        for (tokens, waiting) in self.deferred.iter().zip(&mut self.waiting) {
            let first = tokens.partition_point(|token| token.event < events.start);
            let end = tokens.partition_point(|token| token.event < events.end).max(first);
            waiting.clear();
            waiting.tokens.extend_from_slice(&tokens[first..end]);
        }
    }

    /// Compares two events by their places in the order of arrival: a derived event follows
    /// its parent, siblings follow each other by their numbers.
    pub(super) fn order(&self, a: &Token, b: &Token) -> Ordering {
        let by_part = || match a.part == b.part {
            true => Ordering::Equal,
            false => self.descent(a.part).cmp(&self.descent(b.part)),
        };
        a.event.cmp(&b.event).then_with(by_part).then(a.row.cmp(&b.row))
    }

    /// Returns the operators and numbers by which a derived event descends from a received one.
    fn descent(&self, mut part: u32) -> Vec<(u16, u32)> {
        let mut way = Vec::new();
        while part > 0 {
            let derived = &self.derived[part as usize - 1];
            way.push((derived.node, derived.index));
            part = derived.parent.part;
        }
        way.reverse();
        way
    }

    /// Returns the event that a request of a token is made for.
    pub(super) fn asking_event(&self, token: Token) -> AskingEvent {
        let line = self.batch.line(token.event as usize);
        AskingEvent { derived_by: self.derived_by, line, descent: self.descent(token.part) }
    }

    /// Returns the number of partitions by which events are sorted.
    pub(super) fn partitions(&self) -> usize {
        self.partitions
    }

    /// Returns the identities that a partition is to admit at an operator.
    pub fn identities(&self, operator: u16, partition: usize) -> &[Identity] {
        &self.waiting[usize::from(operator)].identities[partition]
    }

    /// Returns the usages that a partition is to count at an operator.
    pub fn usages(&self, operator: u16, partition: usize) -> &[Usage] {
        &self.waiting[usize::from(operator)].usages[partition]
    }

    /// Returns the usages of a range of events that a partition is to count at an operator.
    pub fn usages_of(&self, operator: u16, partition: usize, events: Range<u32>) -> &[Usage] {
        let usages = self.usages(operator, partition);
        let from = usages.partition_point(|usage| usage.event < events.start);
        let until = usages.partition_point(|usage| usage.event < events.end);
        &usages[from..until.max(from)]
    }

    /// Notes that usages of a range of events have counted, unless they were refused.
    pub(super) fn conclude(&mut self, operator: u16, events: &Range<u32>) {
        let waiting = std::mem::take(&mut self.waiting[usize::from(operator)]);
        for usages in &waiting.usages {
            let from = usages.partition_point(|usage| usage.event < events.start);
            for usage in usages[from..].iter().take_while(|usage| usage.event < events.end) {
                if !waiting.refused[usage.place as usize] {
                    self.counts[usize::from(operator)].passed += 1;
                    self.note(waiting.tokens[usage.place as usize], Verdict::Counted);
                    self.end_step(operator, waiting.tokens[usage.place as usize]);
                }
            }
        }
        self.waiting[usize::from(operator)] = waiting;
    }

    /// Returns the event at a place of an operator.
    pub fn event_of(&self, operator: u16, place: u32) -> u32 {
        self.waiting[usize::from(operator)].tokens[place as usize].event
    }

    /// Whether the event at a place of an operator is a derived one.
    pub fn is_derived(&self, operator: u16, place: u32) -> bool {
        self.derived_by.is_some() || self.waiting[usize::from(operator)].tokens[place as usize].part > 0
    }

    /// Returns the events that a partition is to take at an operator that keeps state by key.
    pub fn inputs(&self, operator: u16, partition: usize) -> &[Input] {
        &self.waiting[usize::from(operator)].inputs[partition]
    }

    /// Whether the identity that was shown at a place is recorded for it.
    pub fn is_recorded(&self, operator: u16, place: u32) -> bool {
        let unrecorded = &self.waiting[usize::from(operator)].unrecorded;
        !unrecorded.get(place as usize).copied().unwrap_or(false)
    }

    /// Notes that the identity at a place is recorded for it, or is not any more.
    pub fn record(&mut self, operator: u16, place: u32, recorded: bool) {
        let Waiting { tokens, unrecorded, .. } = &mut self.waiting[usize::from(operator)];
        unrecorded.resize(tokens.len(), false);
        unrecorded[place as usize] = !recorded;
    }

    /// Returns the verdict of a received event so far.
    pub fn verdict(&self, event: u32) -> Verdict {
        self.verdicts[event as usize]
    }

    /// Returns the verdict so far of the event at a place of an operator.
    pub fn verdict_at(&self, operator: u16, place: u32) -> Verdict {
        let token = self.waiting[usize::from(operator)].tokens[place as usize];
        match token.part {
            0 => self.verdicts[token.event as usize],
            part => self.derived[part as usize - 1].verdict,
        }
    }

    /// Notes that a held event is a duplicate.
    pub fn note_duplicate(&mut self, operator: u16, place: u32) {
        let token = self.waiting[usize::from(operator)].tokens[place as usize];
        self.note(token, Verdict::Duplicate);
    }

    /// Returns the verdict of each event, after the last stage.
    pub fn verdicts(&self) -> &[Verdict] {
        &self.verdicts
    }

    /// Returns the number of events that were counted or parked by their time of receipt, since
    /// they had none.
    pub fn timed_by_receipt(&self) -> u64 {
        let mut events = self.timed_by_receipt.clone();
        events.sort_unstable();
        events.dedup();
        events.len() as u64
    }

    /// Adds up the verdicts, after the last stage.
    pub fn tally(&self) -> Tally {
        let mut tally = Tally::default();
        match self.derived_by {
            None => self.verdicts.iter().for_each(|verdict| tally.note(*verdict)),
            Some(_) => self.verdicts.iter().for_each(|verdict| tally.note_derived(*verdict)),
        }
        self.derived.iter().for_each(|derived| tally.note_derived(derived.verdict));
        tally.late = self.late;
        tally
    }
}
