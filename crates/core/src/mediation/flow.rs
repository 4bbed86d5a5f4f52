//! A block of events on its way through a pipeline.

use std::ops::Range;

use crate::event::{Batch, Slot};
use crate::partition::{Identity, Usage};
use crate::plan::Plan;
use crate::time::Timestamp;
use crate::verdict::{Reason, Tally, Verdict};

/// An event at an operator: which event, and which row holds its fields by now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Token {
    /// The event in its batch.
    pub event: u32,
    /// Its row; another than the event's own once ways have parted.
    pub row: u32,
}

/// An event in the correction queue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parked {
    /// The event in its batch.
    pub event: u32,
    /// The operator it was parked at; `None`: it could not be read.
    pub operator: Option<u16>,
    /// Why.
    pub reason: Reason,
    /// What exactly, for a person; may be empty.
    pub detail: String,
}

/// What passed through an operator.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OperatorCount {
    /// Events that came in.
    pub received: u64,
    /// Events that went on (of a meter operator: that counted).
    pub passed: u64,
    /// Events that were parked.
    pub errors: u64,
}

/// What a partition answered about the events of one flow at one stage.
#[derive(Clone, Debug, Default)]
pub struct Answers {
    /// Duplicates: operator and place among the waiting.
    pub duplicates: Vec<(u16, u32)>,
    /// Corrected events whose identity another event has; they continue nevertheless.
    pub known: Vec<(u16, u32)>,
    /// Repetitions of an event of the same round, whose fate is not known yet: operator and
    /// place. They are held until it is.
    pub held: Vec<(u16, u32)>,
    /// Events that no rule applied to and that are dropped: operator and place.
    pub unmatched: Vec<(u16, u32)>,
    /// Parked events: operator, place, reason, detail.
    pub parked: Vec<(u16, u32, Reason, String)>,
    /// How many counted late.
    pub late: u64,
}

/// An event seen leaving an operator, for people who test a pipeline.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tap {
    /// The operator.
    pub operator: u16,
    /// The event in its batch.
    pub event: u32,
    /// The fields the pipeline reads, as JSON.
    pub fields: String,
}

/// What waits at a stateful operator.
#[derive(Clone, Debug, Default)]
pub(super) struct Waiting {
    pub(super) tokens: Vec<Token>,
    /// By partition.
    pub(super) identities: Vec<Vec<Identity>>,
    /// By partition.
    pub(super) usages: Vec<Vec<Usage>>,
    /// How many tokens came in order of the events; those behind them were held before.
    pub(super) in_order: usize,
    /// Places that have been answered otherwise than with yes.
    pub(super) refused: Vec<bool>,
    /// Places whose identity is not recorded for them: duplicates, and what was withdrawn.
    pub(super) unrecorded: Vec<bool>,
}

impl Waiting {
    /// Ways that part and meet again bring an event twice: of those that one event has brought
    /// since a place, at most one stays, and none if the event was here before.
    pub(super) fn keep_first(&mut self, event: u32, from: usize) {
        let is_here = |tokens: &[Token]| tokens.last().is_some_and(|token| token.event == event);
        let earlier = &self.tokens[..self.in_order.min(from)];
        let until = earlier.partition_point(|token| token.event <= event);
        let was_here = is_here(&earlier[..until]) || is_here(&self.tokens[..from]);
        self.tokens[from..].sort_unstable();
        self.tokens.truncate(from + usize::from(!was_here));
    }
}

/// A block of events on its way.
#[derive(Clone, Debug, Default)]
pub struct Flow {
    /// The events.
    pub batch: Batch,
    /// The engine's clock when they were received.
    pub at: Timestamp,
    /// The number of the first event in the order of arrival.
    pub first_arrival: u64,
    /// What went to the correction queue.
    pub parked: Vec<Parked>,
    /// What passed where, by operator.
    pub counts: Vec<OperatorCount>,
    /// Events of each operator to note down when they leave it; 0 in production.
    pub taps_max: usize,
    /// What was noted down.
    pub taps: Vec<Tap>,
    /// Events that were late.
    pub late: u64,
    /// Events that had no time and were given that of their receipt; in order, an event that
    /// several meter operators read more than once.
    pub(super) timed_by_receipt: Vec<u32>,
    /// By row: the text of a time that has been read, and the time.
    pub(super) times: Vec<(Slot, Timestamp)>,
    partitions: usize,
    verdicts: Vec<Verdict>,
    pub(super) waiting: Vec<Waiting>,
}

impl Flow {
    /// An empty flow for so many partitions. Its memory is used again for block after
    /// block.
    pub fn new(partitions: usize, taps_max: usize) -> Flow {
        Flow { partitions, taps_max, ..Flow::default() }
    }

    /// Begins with the events of the batch.
    pub(super) fn start(&mut self, plan: &Plan) {
        self.parked.clear();
        self.taps.clear();
        self.late = 0;
        self.timed_by_receipt.clear();
        self.counts.clear();
        self.counts.resize(plan.nodes.len(), OperatorCount::default());
        self.verdicts.clear();
        self.verdicts.resize(self.batch.len(), Verdict::Open);
        self.times.clear();
        self.times.resize(self.batch.len(), (Slot::MISSING, Timestamp::MIN));
        self.waiting.resize_with(plan.nodes.len(), Waiting::default);
        for waiting in &mut self.waiting {
            waiting.tokens.clear();
            waiting.in_order = 0;
            waiting.refused.clear();
            waiting.unrecorded.clear();
            waiting.identities.resize_with(self.partitions, Vec::new);
            waiting.usages.resize_with(self.partitions, Vec::new);
            waiting.identities.iter_mut().for_each(Vec::clear);
            waiting.usages.iter_mut().for_each(Vec::clear);
        }
        for fault in std::mem::take(&mut self.batch.faults) {
            self.note(fault.event, Verdict::Parked(Reason::Unreadable));
            self.parked.push(Parked { event: fault.event, operator: None, reason: Reason::Unreadable, detail: fault.detail });
        }
    }

    /// Notes what became of an event on one of its ways.
    pub(super) fn note(&mut self, event: u32, verdict: Verdict) {
        let known = &mut self.verdicts[event as usize];
        *known = (*known).max(verdict);
    }

    /// Parks an event at an operator.
    pub(super) fn park(&mut self, operator: u16, event: u32, reason: Reason, detail: String) {
        self.counts[usize::from(operator)].errors += 1;
        self.note(event, Verdict::Parked(reason));
        self.parked.push(Parked { event, operator: Some(operator), reason, detail });
    }

    /// How many partitions events are sorted by.
    pub(super) fn partitions(&self) -> usize {
        self.partitions
    }

    /// The identities that a partition is to admit at an operator.
    pub fn identities(&self, operator: u16, partition: usize) -> &[Identity] {
        &self.waiting[usize::from(operator)].identities[partition]
    }

    /// The usages that a partition is to count at an operator.
    pub fn usages(&self, operator: u16, partition: usize) -> &[Usage] {
        &self.waiting[usize::from(operator)].usages[partition]
    }

    /// The usages of a range of events that a partition is to count at an operator.
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
                    self.note(usage.event, Verdict::Counted);
                }
            }
        }
        self.waiting[usize::from(operator)] = waiting;
    }

    /// The event at a place of an operator.
    pub fn event_of(&self, operator: u16, place: u32) -> u32 {
        self.waiting[usize::from(operator)].tokens[place as usize].event
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

    /// Returns the verdict of an event so far.
    pub fn verdict(&self, event: u32) -> Verdict {
        self.verdicts[event as usize]
    }

    /// Notes that a held event is a duplicate.
    pub fn note_duplicate(&mut self, event: u32) {
        self.note(event, Verdict::Duplicate);
    }

    /// What became of each event, after the last stage.
    pub fn verdicts(&self) -> &[Verdict] {
        &self.verdicts
    }

    /// How many events were counted or parked by their time of receipt, since they had none.
    pub fn timed_by_receipt(&self) -> u64 {
        let mut events = self.timed_by_receipt.clone();
        events.sort_unstable();
        events.dedup();
        events.len() as u64
    }

    /// Adds up the verdicts, after the last stage.
    pub fn tally(&self) -> Tally {
        let mut tally = Tally::default();
        for verdict in &self.verdicts {
            tally.note(*verdict);
        }
        tally.late = self.late;
        tally
    }
}
