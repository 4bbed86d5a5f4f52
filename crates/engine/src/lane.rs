//! A partition and what it answers in a round.

use flowmeter_core::mediation::{Answers, Flow};
use flowmeter_core::operator::{Operator, Window};
use flowmeter_core::partition::{Command, Counted, Effects, Identities, Identity, Memory, Meter, Partition, RecordKey, Usage};
use flowmeter_core::plan::Plan;
use flowmeter_core::verdict::Reason;

use crate::noted::{Happening, Noted};
use crate::roll::Roll;

/// A partition with its answers.
pub(crate) struct Lane<I> {
    pub(crate) partition: Partition<Memory, I>,
    /// By flow of the round.
    pub(crate) answers: Vec<Answers>,
    /// Partial records of the round: flow, event, key and JSON.
    pub(crate) thresholds: Vec<Crossed>,
    pub(crate) opened: u64,
    /// Whether anybody listens to what happens to single meters.
    pub(crate) listens: bool,
    /// If so, what happened in the round, by flow.
    pub(crate) noted: Vec<(usize, Noted)>,
    /// Its usage by minute, if that is wanted.
    pub(crate) roll: Option<Roll>,
    number: usize,
}

/// A partial record.
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
            number,
        }
    }

    /// Forgets the answers of the last stage.
    fn begin(&mut self, flows: usize) {
        self.answers.resize_with(flows, Answers::default);
        for answer in &mut self.answers {
            *answer = Answers::default();
        }
        if let Some(roll) = &mut self.roll {
            roll.make_room();
        }
    }

    /// Answers for this partition's part of every flow, in the order of arrival.
    pub(crate) fn answer<'f>(&mut self, plan: &Plan, stage: usize, flows: impl ExactSizeIterator<Item = &'f Flow>) {
        self.begin(flows.len());
        for (flow_ix, flow) in flows.enumerate() {
            for &node in &plan.stages[stage] {
                let command = match &plan.nodes[usize::from(node)].operator {
                    Operator::Dedupe(dedupe) => Command::Admit {
                        identities: flow.identities(node, self.number),
                        window: match dedupe.window {
                            Window::Rolling(span) => Some(span),
                            // A calendar window is part of the identity.
                            Window::Calendar(..) | Window::Forever => None,
                        },
                    },
                    Operator::Meter(processor) => {
                        Command::Count { processor: *processor, batch: &flow.batch, usages: flow.usages(node, self.number) }
                    }
                    _ => continue,
                };
                let mut effects = Answering {
                    answers: &mut self.answers[flow_ix],
                    thresholds: &mut self.thresholds,
                    opened: &mut self.opened,
                    noted: self.listens.then_some(&mut self.noted),
                    node,
                    flow: flow_ix,
                };
                // Two kinds of effects, so that who rolls nothing up does nothing for it.
                match &mut self.roll {
                    None => self.partition.apply(command, flow.at, &mut effects),
                    Some(roll) => self.partition.apply(command, flow.at, &mut Rolling { effects, roll }),
                }
            }
        }
    }
}

/// Takes the effects of one command.
struct Answering<'l> {
    answers: &'l mut Answers,
    thresholds: &'l mut Vec<Crossed>,
    opened: &'l mut u64,
    noted: Option<&'l mut Vec<(usize, Noted)>>,
    node: u16,
    flow: usize,
}

impl Effects for Answering<'_> {
    fn duplicate(&mut self, identity: &Identity) {
        self.answers.duplicates.push((self.node, identity.place));
    }

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

    fn deleted(&mut self, _meter: &Meter) {}

    fn record(&mut self, _key: RecordKey<'_>, _json: &[u8]) {
        // Counting closes nothing; records come of ticks, which go through `merge`.
        debug_assert!(false, "a record out of counting");
    }

    fn threshold(&mut self, event: u32, key: RecordKey<'_>, json: &[u8]) {
        let key = OwnedKey::of(key);
        self.thresholds.push(Crossed { arrival: (self.flow, event), key, json: json.to_vec() });
    }
}

/// Takes the effects of one command, and rolls up what counts.
struct Rolling<'l, 'r> {
    effects: Answering<'l>,
    roll: &'r mut Roll,
}

impl Effects for Rolling<'_, '_> {
    #[inline]
    fn counted(&mut self, counted: &Counted<'_>) {
        self.roll.add(counted);
    }

    fn duplicate(&mut self, identity: &Identity) {
        self.effects.duplicate(identity);
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

    fn deleted(&mut self, meter: &Meter) {
        self.effects.deleted(meter);
    }

    fn record(&mut self, key: RecordKey<'_>, json: &[u8]) {
        self.effects.record(key, json);
    }

    fn threshold(&mut self, event: u32, key: RecordKey<'_>, json: &[u8]) {
        self.effects.threshold(event, key, json);
    }
}
