//! A partition and its answers in a round.

use std::collections::BTreeSet;
use std::ops::Range;

use flowmeter_core::event::Kind;
use flowmeter_core::mediation::{Answers, Flow};
use flowmeter_core::operator::{Operator, Scripted};
use flowmeter_core::partition::{
    Command, Counted, Effects, Identities, Identity, Input, Memory, Meter, Partition, RecordKey, Rejudged, ReleaseExtent,
    Released, Usage,
};
use flowmeter_core::plan::Plan;
use flowmeter_core::record::Record;
use flowmeter_core::time::Timestamp;
use flowmeter_core::verdict::{Reason, Verdict};

use crate::noted::{Happening, Noted, Noting};
use crate::repeats::{self, Flagged, Group, window_of};
use crate::roll::Roll;

/// A partition with its answers.
pub(crate) struct Lane<I> {
    pub(crate) partition: Partition<Memory, I>,
    /// Answers by flow of the round.
    pub(crate) answers: Vec<Answers>,
    /// Partial records of the round: flow, event, key and JSON.
    pub(crate) thresholds: Vec<Crossed>,
    pub(crate) opened: u64,
    /// Whether a reader has subscribed to the events of single meters.
    pub(crate) listens: bool,
    /// Events of single meters in the round, by flow, if there is a reader.
    pub(crate) noted: Vec<(usize, Noted)>,
    /// The partition's usage by minute, if it is rolled up.
    pub(crate) roll: Option<Roll>,
    /// Repetitions within the round.
    pub(crate) repeats: Vec<Group>,
    /// Parked events that were superseded in the round.
    pub(crate) superseded: Vec<Superseded>,
    number: usize,
}

/// A parked event that another one has replaced; both by their number in the order of arrival.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Superseded {
    /// The event that came later.
    pub by: u64,
    /// The event that was replaced.
    pub parked: u64,
    /// The time of receipt of the later one.
    pub at: Timestamp,
    /// The entry of the log that contained it.
    pub position: u64,
}

/// A partial record and its event.
pub(crate) struct Crossed {
    /// Flow of the round and event in it: the order of arrival.
    pub(crate) arrival: (usize, u32),
    pub(crate) key: OwnedKey,
    pub(crate) json: Vec<u8>,
}

/// A [`RecordKey`] that owns its user.
pub(crate) struct OwnedKey {
    user: Box<[u8]>,
    key: RecordKey<'static>,
}

impl OwnedKey {
    fn of(key: RecordKey<'_>) -> OwnedKey {
        OwnedKey { user: key.user.into(), key: RecordKey { user: b"", ..key } }
    }

    pub(crate) fn get(&self) -> RecordKey<'_> {
        RecordKey { user: &self.user, ..self.key }
    }
}

impl<I: Identities> Lane<I> {
    pub(crate) fn new(partition: Partition<Memory, I>, number: usize) -> Lane<I> {
        Lane {
            partition,
            answers: Vec::new(),
            thresholds: Vec::new(),
            opened: 0,
            listens: false,
            noted: Vec::new(),
            roll: None,
            repeats: Vec::new(),
            superseded: Vec::new(),
            number,
        }
    }

    /// Removes the answers of the last stage.
    pub(crate) fn begin(&mut self, flows: usize) {
        self.answers.resize_with(flows, Answers::default);
        for answer in &mut self.answers {
            *answer = Answers::default();
        }
        if let Some(roll) = &mut self.roll {
            roll.make_room();
        }
    }

    /// Answers for this partition's share of every flow, in the order of arrival.
    pub(crate) fn answer(&mut self, plan: &Plan, stage: usize, flows: &[&Flow]) {
        self.begin(flows.len());
        if stage + 1 == plan.stages.len() {
            self.count(plan, flows.iter().copied().enumerate(), &|_| 0..u32::MAX);
        } else {
            self.admit(plan, &plan.stages[stage], flows);
            if plan.is_ordered() {
                self.keep(plan, &plan.stages[stage], flows);
            }
        }
    }

    /// Gives the events of a stage to the operators that keep state by key.
    fn keep(&mut self, plan: &Plan, nodes: &[u16], flows: &[&Flow]) {
        for &node in nodes.iter().filter(|node| plan.nodes[usize::from(**node)].operator.is_keyed()) {
            for (flow_ix, flow) in flows.iter().enumerate() {
                let inputs = flow.inputs(node, self.number);
                if !inputs.is_empty() {
                    let command = Command::Keep { node, batch: &flow.batch, tables: &flow.tables, inputs };
                    let mut effects = Keeping { answers: &mut self.answers[flow_ix], node };
                    self.partition.apply(command, flow.at, &mut effects);
                }
            }
        }
    }

    /// Withdraws the identities with which the events of the first stage were admitted.
    pub(crate) fn take_back(&mut self, plan: &Plan, flows: &[&Flow]) {
        self.repeats.clear();
        for (flow_ix, flow) in flows.iter().enumerate() {
            // Not every held event was refused: one that follows a repetition is held with it.
            let Answers { duplicates, known, .. } = &self.answers[flow_ix];
            let refused: BTreeSet<(u16, u32)> = duplicates.iter().chain(known).copied().collect();
            for &node in plan.stages.first().map_or(&[][..], Vec::as_slice) {
                for identity in flow.identities(node, self.number) {
                    if !refused.contains(&(node, identity.place)) {
                        self.partition.apply(Command::Withdraw { identity }, flow.at, &mut Noting::default());
                    }
                }
            }
        }
    }

    /// Marks the held events that were refused as duplicates: each repeats an event of the same
    /// round. The others were admitted and continue.
    pub(crate) fn tell_held(&mut self) {
        self.repeats.clear();
        for answers in &mut self.answers {
            let held = std::mem::take(&mut answers.held);
            let refused = answers.known.extract_if(.., |known| held.contains(known));
            answers.duplicates.extend(refused);
        }
    }

    /// Processes a tick for an operator that keeps state by key: returns what it released and the
    /// events whose verdicts changed.
    pub(crate) fn release(&mut self, node: u16, at: Timestamp, until: Timestamp, extent: ReleaseExtent) -> Releasing {
        let mut releasing = Releasing::default();
        self.partition.apply(Command::Release { node, until, extent }, at, &mut releasing);
        releasing
    }

    /// Empties an operator that keeps state by key; returns the events that it held.
    pub(crate) fn give_up(&mut self, node: u16, at: Timestamp) -> Releasing {
        let mut releasing = Releasing::default();
        self.partition.apply(Command::GiveUp { node }, at, &mut releasing);
        releasing
    }

    /// Admits the events of a deduplicating stage.
    fn admit(&mut self, plan: &Plan, nodes: &[u16], flows: &[&Flow]) {
        let (mut known, mut beside) = (Vec::new(), Vec::new());
        for (flow, batch) in flows.iter().enumerate() {
            for &node in nodes {
                let identities = batch.identities(node, self.number);
                let command = Command::Admit { identities, window: window_of(plan, node) };
                let mut effects = Admitting { known: &mut known, beside: &mut beside, flow, node };
                self.partition.apply(command, batch.at, &mut effects);
            }
        }
        if known.is_empty() && beside.is_empty() {
            return;
        }
        let repeats = repeats::find(nodes, self.number, flows, &known, &beside);
        let mut held: Vec<_> = repeats.iter().flat_map(Group::held).collect();
        held.sort_unstable();
        for (flow, node, place) in &held {
            self.answers[*flow].held.push((*node, *place));
        }
        for Flagged { flow, node, place, .. } in known {
            let is_held = held.binary_search(&(flow, node, place)).is_ok();
            let answers = &mut self.answers[flow];
            match is_held || flows[flow].batch.block.again {
                true => answers.known.push((node, place)),
                false => answers.duplicates.push((node, place)),
            }
        }
        self.repeats.extend(repeats);
    }

    /// Counts some events of flows, in the order of arrival.
    pub(crate) fn count<'f>(
        &mut self,
        plan: &Plan,
        flows: impl Iterator<Item = (usize, &'f Flow)>,
        events: &dyn Fn(usize) -> Range<u32>,
    ) {
        for (flow_ix, flow) in flows {
            for &node in plan.stages.last().map_or(&[][..], Vec::as_slice) {
                let Operator::Meter(processor) = plan.nodes[usize::from(node)].operator else { continue };
                let command = Command::Count {
                    processor,
                    batch: &flow.batch,
                    usages: flow.usages_of(node, self.number, events(flow_ix)),
                    by_receipt: flow.batch.block.received_at.is_some(),
                };
                let mut effects = Answering {
                    answers: &mut self.answers[flow_ix],
                    thresholds: &mut self.thresholds,
                    opened: &mut self.opened,
                    noted: self.listens.then_some(&mut self.noted),
                    node,
                    flow: flow_ix,
                };
                // Two `Effects` types, so that pipelines without rollups pay nothing for them.
                match &mut self.roll {
                    None => self.partition.apply(command, flow.at, &mut effects),
                    Some(roll) => self.partition.apply(command, flow.at, &mut Rolling { effects, roll }),
                }
            }
        }
    }

    /// Whether identities of the round must be checked once verdicts are known.
    pub(crate) fn has_parked(&self) -> bool {
        !self.partition.parked().is_empty()
    }

    /// Settles identities after the verdicts of a round: identities of parked events are withdrawn,
    /// and events that spent theirs replace parked ones.
    pub(crate) fn spend(&mut self, plan: &Plan, flows: &[&Flow]) {
        let admitting = plan.stages.iter().take(plan.stages.len().saturating_sub(1)).flatten();
        let nodes: Vec<u16> = admitting.copied().collect();
        for flow in flows {
            for &node in &nodes {
                let window = window_of(plan, node);
                for identity in flow.identities(node, self.number) {
                    if !flow.is_recorded(node, identity.place) {
                        continue;
                    }
                    let event = flow.event_of(node, identity.place);
                    let arrival = flow.first_arrival + u64::from(event);
                    let command = match flow.verdict_at(node, identity.place) {
                        // A derived event has no number of its own by which another event could
                        // replace it.
                        Verdict::Parked(_) if flow.is_derived(node, identity.place) => Command::Withdraw { identity },
                        Verdict::Parked(_) => Command::Park { identity, arrival },
                        Verdict::Duplicate | Verdict::Open => Command::Withdraw { identity },
                        Verdict::Counted | Verdict::Filtered | Verdict::Split | Verdict::Absorbed | Verdict::Cancelled => {
                            Command::Spend { identity, window, arrival }
                        }
                    };
                    let position = flow.batch.block.position;
                    let superseded = &mut self.superseded;
                    let mut effects = Spending { superseded, at: flow.at, position };
                    self.partition.apply(command, flow.at, &mut effects);
                }
            }
        }
    }
}

/// Receives the effects of admitting events.
struct Admitting<'l> {
    known: &'l mut Vec<Flagged>,
    beside: &'l mut Vec<Flagged>,
    flow: usize,
    node: u16,
}

impl Admitting<'_> {
    fn flagged(&self, identity: &Identity) -> Flagged {
        let Identity { fingerprint, place, .. } = *identity;
        Flagged { flow: self.flow, node: self.node, fingerprint, place }
    }
}

impl Effects for Admitting<'_> {
    fn duplicate(&mut self, identity: &Identity) {
        self.known.push(self.flagged(identity));
    }

    fn beside(&mut self, identity: &Identity) {
        self.beside.push(self.flagged(identity));
    }
}

/// Receives the effects of state by key.
pub(crate) struct Keeping<'l> {
    pub(crate) answers: &'l mut Answers,
    pub(crate) node: u16,
}

impl Effects for Keeping<'_> {
    fn set(&mut self, input: &Input, slot: u16, kind: Kind, bytes: &[u8]) {
        self.answers.set.push(self.node, input.place, slot, kind, bytes);
    }

    fn absorbed(&mut self, input: &Input, is_late: bool) {
        self.answers.absorbed.push((self.node, input.place));
        if is_late {
            self.answers.late_inputs.push(self.node);
        }
    }

    fn scripted(&mut self, input: &Input, scripted: Scripted) {
        self.answers.scripted.push((self.node, input.place, scripted));
    }

    fn stalled(&mut self, input: &Input) {
        self.answers.stalled = Some((self.node, input.place));
    }

    fn repeated(&mut self, input: &Input) {
        self.answers.duplicates.push((self.node, input.place));
    }

    fn refused(&mut self, input: &Input, reason: Reason, detail: String) {
        self.answers.parked.push((self.node, input.place, reason, detail));
    }
}

/// The results that an operator released at a tick.
#[derive(Debug, Default)]
pub(crate) struct Releasing {
    pub(crate) released: Vec<Released>,
    pub(crate) rejudged: Vec<Rejudged>,
}

impl Releasing {
    /// Joins the results of all partitions.
    pub(crate) fn joined(parts: Vec<Releasing>) -> Releasing {
        let mut all = Releasing::default();
        for Releasing { released, rejudged } in parts {
            all.released.extend(released);
            all.rejudged.extend(rejudged);
        }
        all
    }
}

impl Effects for Releasing {
    fn released(&mut self, released: Released) {
        self.released.push(released);
    }

    fn rejudged(&mut self, rejudged: Rejudged) {
        self.rejudged.push(rejudged);
    }
}

/// Receives the effects of spending identities.
struct Spending<'l> {
    superseded: &'l mut Vec<Superseded>,
    at: Timestamp,
    position: u64,
}

impl Effects for Spending<'_> {
    fn superseded(&mut self, parked: u64, by: u64) {
        let Spending { at, position, .. } = *self;
        self.superseded.push(Superseded { by, parked, at, position });
    }
}

/// Receives the effects of one command.
struct Answering<'l> {
    answers: &'l mut Answers,
    thresholds: &'l mut Vec<Crossed>,
    opened: &'l mut u64,
    noted: Option<&'l mut Vec<(usize, Noted)>>,
    node: u16,
    flow: usize,
}

impl Effects for Answering<'_> {
    fn late(&mut self, _usage: &Usage) {
        self.answers.late += 1;
    }

    fn parked(&mut self, usage: &Usage, reason: Reason, detail: String) {
        self.answers.parked.push((self.node, usage.place, reason, detail));
    }

    fn unmatched(&mut self, usage: &Usage) {
        self.answers.unmatched.push((self.node, usage.place));
    }

    fn opened(&mut self, meter: &Meter) {
        *self.opened += 1;
        if let Some(noted) = &mut self.noted {
            noted.push((self.flow, Noted::of(Happening::Opened, meter)));
        }
    }

    fn record(&mut self, _key: RecordKey<'_>, _record: &Record<'_>) {
        // Counting closes nothing; records come from ticks, which are handled by `merge`.
        debug_assert!(false, "a record out of counting");
    }

    fn threshold(&mut self, event: u32, key: RecordKey<'_>, json: &[u8]) {
        let key = OwnedKey::of(key);
        self.thresholds.push(Crossed { arrival: (self.flow, event), key, json: json.to_vec() });
    }
}

/// Receives the effects of one command and adds counted usage to the rollups.
struct Rolling<'l, 'r> {
    effects: Answering<'l>,
    roll: &'r mut Roll,
}

impl Effects for Rolling<'_, '_> {
    #[inline]
    fn counted(&mut self, counted: &Counted<'_>) {
        self.roll.add(counted);
    }

    fn late(&mut self, usage: &Usage) {
        self.effects.late(usage);
    }

    fn parked(&mut self, usage: &Usage, reason: Reason, detail: String) {
        self.effects.parked(usage, reason, detail);
    }

    fn unmatched(&mut self, usage: &Usage) {
        self.effects.unmatched(usage);
    }

    fn opened(&mut self, meter: &Meter) {
        self.effects.opened(meter);
    }

    fn record(&mut self, key: RecordKey<'_>, record: &Record<'_>) {
        self.effects.record(key, record);
    }

    fn threshold(&mut self, event: u32, key: RecordKey<'_>, json: &[u8]) {
        self.effects.threshold(event, key, json);
    }
}
