//! Processes events again with a plan, apart from the running pipeline: to show the path of an
//! event, and to compute a record again from its events.
//!
//! It has one partition and takes one event at a time, so it is meant for few events. It does not
//! deduplicate: the caller decides which events counted, and when the clock reached an instant.

use std::sync::Arc;

use flowmeter_core::event::Origin;
use flowmeter_core::mediation::{ALL_STEPS, Answers, Decoder, Flow, Mediator, Parked, Stayed, Tap};
use flowmeter_core::operator::Operator;
use flowmeter_core::partition::{Command, Effects, IdentityTable, Memory, Meter, Partition, RecordKey, Usage};
use flowmeter_core::plan::{DeclaredMeter, Plan};
use flowmeter_core::record::Record;
use flowmeter_core::schedule::{Calendar, Period};
use flowmeter_core::source::SourcePlan;
use flowmeter_core::table::Tables;
use flowmeter_core::time::Timestamp;
use flowmeter_core::verdict::{Reason, Verdict};

use crate::lane::Keeping;
use crate::live::RecordedAnswers;

/// Events of each operator to note: one event may reach an operator on several ways.
const TAPS_MAX: usize = 16;

/// A plan that counts events again.
pub struct Recount {
    plan: Arc<Plan>,
    /// How events of each source are read.
    decoders: Vec<Arc<Decoder>>,
    mediator: Mediator,
    flow: Flow,
    partition: Partition<Memory, IdentityTable>,
    records: Made,
}

/// An event as a pipeline received it.
#[derive(Clone, Copy, Debug)]
pub struct Arrival<'a> {
    /// The event as JSON.
    pub raw: &'a [u8],
    /// The time of receipt.
    pub at: Timestamp,
    /// Its number in the order of arrival.
    pub number: u64,
    /// Its origin, as [`crate::live::shown_origin`] writes it.
    pub origin: &'a str,
    /// Its line in the origin.
    pub line: u64,
}

/// The path of one event.
#[derive(Clone, Debug, Default)]
pub struct Steps {
    /// The event as it left operators, with its fields at that point.
    pub taps: Vec<Tap>,
    /// The operators at which it stayed, if every step is noted.
    pub stayed: Vec<Stayed>,
    /// The operators and reasons by which it was parked.
    pub parked: Vec<Parked>,
    /// The periods in which it counted.
    pub counted: Vec<Counted>,
    /// The verdict as if the event were new.
    pub verdict: Verdict,
}

/// An event counted in a period of a meter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Counted {
    /// Index of the operator.
    pub operator: u16,
    /// The user of the meter.
    pub user: String,
    /// Index of the meter type.
    pub meter_type: u16,
    /// Index of the processor.
    pub processor: u16,
    /// The rule that guided it there.
    pub rule: Option<u16>,
    /// The value that the rule read, as it was written.
    pub value: Option<String>,
    /// The time of the event.
    pub event_at: Timestamp,
    /// The period of the meter.
    pub period: Period,
}

impl Recount {
    /// Creates a recount without meters except those that were not opened by events.
    pub fn new(plan: Arc<Plan>, declared: &[DeclaredMeter]) -> Recount {
        let partition = Partition::with_identities(Arc::clone(&plan), IdentityTable::default());
        let mut flow = Flow::new(1, TAPS_MAX);
        flow.tables = crate::tables::tables_of(&plan);
        let mut recount = Recount {
            decoders: crate::live::decoders(&plan),
            mediator: Mediator::new(Arc::clone(&plan)),
            flow,
            partition,
            records: Made::default(),
            plan,
        };
        recount.open(declared);
        recount
    }

    /// Notes every step of the events that follow, also of those that stay at an operator.
    pub fn note_steps(&mut self) {
        self.flow.taps_max = ALL_STEPS;
    }

    /// Uses these tables from now on.
    pub fn use_tables(&mut self, tables: Tables) {
        self.flow.tables = tables;
    }

    /// Takes the answers of services from these.
    pub fn use_answers(&mut self, answers: Arc<RecordedAnswers>) {
        self.flow.services = Some(answers);
    }

    /// Opens meters that were not opened by events.
    pub fn open(&mut self, declared: &[DeclaredMeter]) {
        for meter in declared {
            let at = meter.created_at.unwrap_or(Timestamp::MIN);
            self.partition.apply(Command::Open(meter), at, &mut self.records);
        }
    }

    /// Uses this calendar for the periods of a type, not the plan's schedule.
    pub fn begin_with(&mut self, meter_type: u16, calendar: Calendar) {
        self.partition.begin_with(meter_type, calendar);
    }

    /// Takes an event; counts it only for `user`, if one is given.
    pub fn take(&mut self, arrival: Arrival<'_>, user: Option<&[u8]>) -> Steps {
        let Arrival { raw, at, number, origin, line } = arrival;
        let Recount { plan, decoders, mediator, flow, partition, records } = self;
        let (source, name) = crate::live::read_origin(origin);
        let source = source.and_then(|id| plan.source_of(id));
        let is_bounded = source.is_some() && plan.is_bounded();
        let block = &mut flow.batch.block;
        block.clear();
        block.open().extend_from_slice(raw);
        block.seal();
        block.received_at = (!is_bounded).then_some(at);
        (block.first_line, block.origin_line) = (number + 1, source.is_some().then_some(line));
        let at_http = || plan.sources.iter().position(SourcePlan::is_http).unwrap_or_default();
        let source = source.unwrap_or_else(at_http);
        block.origin = Origin { name: name.into(), source, columns: None };
        flow.at = at;
        mediator.begin(flow, &decoders[source]);
        if plan.is_ordered() {
            mediator.enter_span(flow, &(0..u32::MAX), false);
        }
        let mut steps = Steps::default();
        for stage in 0..plan.stages.len() {
            let mut answers = Answers::default();
            for &node in &plan.stages[stage] {
                if plan.nodes[usize::from(node)].operator.is_keyed() {
                    let command = Command::Keep { node, batch: &flow.batch, tables: &flow.tables, inputs: flow.inputs(node, 0) };
                    partition.apply(command, at, &mut Keeping { answers: &mut answers, node });
                }
                let Operator::Meter(processor) = plan.nodes[usize::from(node)].operator else { continue };
                let user_of = |usage: &Usage| flow.batch.resolve(usage.user).as_text().unwrap_or_default().into_owned();
                let usages = flow.usages(node, 0).iter().filter(|usage| user.is_none_or(|user| user == user_of(usage)));
                for usage in usages {
                    let before = counts(partition);
                    let mut effects = Counting { answers: &mut answers, node, records };
                    let usages = &[*usage];
                    // An event that is counted again was in time, whatever the rule is now.
                    let by_receipt = user.is_none() && !is_bounded;
                    let command = Command::Count { processor, batch: &flow.batch, usages, by_receipt };
                    partition.apply(command, at, &mut effects);
                    for (meter_type, period) in grown(&before, &counts(partition)) {
                        steps.counted.push(counted(plan, flow, node, processor, usage, meter_type, period, &user_of(usage)));
                    }
                }
            }
            mediator.resume(flow, stage, std::iter::once(&answers));
        }
        steps.taps = std::mem::take(&mut flow.taps);
        let mut noted = vec![0; plan.nodes.len()];
        steps.taps.retain(|tap| {
            let count: &mut usize = &mut noted[usize::from(tap.operator)];
            *count += 1;
            *count <= TAPS_MAX
        });
        steps.stayed = flow.stayed().collect();
        steps.parked = std::mem::take(&mut flow.parked);
        steps.verdict = flow.verdicts().first().copied().unwrap_or_default();
        steps
    }

    /// Advances the clock to an instant: periods that are due are flushed.
    pub fn come_to(&mut self, at: Timestamp) {
        self.partition.apply(Command::Tick, at, &mut self.records);
    }

    /// Flushes the open periods.
    pub fn flush(&mut self, at: Timestamp) {
        self.partition.apply(Command::Flush, at, &mut self.records);
    }

    /// Returns the last record of a period of a meter of this type, as JSON.
    pub fn record(&self, processor: u16, meter_type: u16, start: Timestamp) -> Option<&[u8]> {
        let of = |made: &&(RecordKey<'static>, Vec<u8>)| {
            let key = &made.0;
            key.processor == processor && key.meter_type == meter_type && millis(key.period.start) == millis(start)
        };
        self.records.0.iter().rev().find(of).map(|(_, json)| json.as_slice())
    }
}

/// Records have times in milliseconds.
fn millis(at: Timestamp) -> i64 {
    at.nanos().div_euclid(1_000_000)
}

#[allow(clippy::too_many_arguments)] // one call
fn counted(
    plan: &Plan,
    flow: &Flow,
    operator: u16,
    processor: u16,
    usage: &Usage,
    meter_type: u16,
    period: Period,
    user: &[u8],
) -> Counted {
    let rules = &plan.processors[usize::from(processor)].rules;
    let held = (0..rules.len() as u16).filter(|rule| usage.rules >> rule & 1 == 1);
    let rule = held.clone().find(|rule| rules[usize::from(*rule)].meter_types.contains(&meter_type));
    let value = rule.map(|rule| {
        let mut json = Vec::new();
        flow.batch.leaf(usage.row as usize, rules[usize::from(rule)].value).write_json(&mut json);
        String::from_utf8_lossy(&json).into_owned()
    });
    let user = String::from_utf8_lossy(user).into_owned();
    Counted { operator, user, meter_type, processor, rule, value, event_at: usage.at, period }
}

/// The number of events by user, processor, type and period.
type Counts = Vec<(Box<[u8]>, u16, u16, Period, u64)>;

fn counts(partition: &Partition<Memory, IdentityTable>) -> Counts {
    let of = |meter: &Meter| {
        let key: (Box<[u8]>, u16, u16) = ((*meter.user).into(), meter.processor, meter.meter_type);
        let periods: Vec<(Period, u64)> = meter.periods.iter().map(|held| (held.period, held.events)).collect();
        periods.into_iter().map(move |(period, events)| (key.0.clone(), key.1, key.2, period, events))
    };
    partition.meters().flat_map(of).collect()
}

fn grown(before: &Counts, after: &Counts) -> Vec<(u16, Period)> {
    let was = |(user, processor, kind, period, _): &(Box<[u8]>, u16, u16, Period, u64)| {
        let same = |b: &&(Box<[u8]>, u16, u16, Period, u64)| {
            b.0 == *user && b.1 == *processor && b.2 == *kind && b.3.start == period.start
        };
        before.iter().find(same).map_or(0, |known| known.4)
    };
    after.iter().filter(|one| one.4 > was(one)).map(|one| (one.2, one.3)).collect()
}

/// Records as they are made.
#[derive(Default)]
struct Made(Vec<(RecordKey<'static>, Vec<u8>)>);

impl Effects for Made {
    fn unmatched(&mut self, _: &Usage) {}
    fn record(&mut self, key: RecordKey<'_>, record: &Record<'_>) {
        let mut json = Vec::new();
        record.write_to(&mut json);
        self.0.push((RecordKey { user: b"", ..key }, json));
    }
}

/// Collects the effects of counting one event.
struct Counting<'l> {
    answers: &'l mut Answers,
    node: u16,
    records: &'l mut Made,
}

impl Effects for Counting<'_> {
    fn late(&mut self, _: &Usage) {
        self.answers.late += 1;
    }
    fn parked(&mut self, usage: &Usage, reason: Reason, detail: String) {
        self.answers.parked.push((self.node, usage.place, reason, detail));
    }
    fn unmatched(&mut self, usage: &Usage) {
        self.answers.unmatched.push((self.node, usage.place));
    }
    fn record(&mut self, key: RecordKey<'_>, record: &Record<'_>) {
        self.records.record(key, record);
    }
}
