//! Mediation: events through the stateless part of a pipeline, up to the partitions.
//!
//! A [`Flow`] carries one block of events through the graph. Operators without state run here,
//! event by event, on any thread. Operators with state (`dedupe`, `meter`) belong to partitions:
//! events wait at them, are handed over sorted by partition, and continue when the partitions have
//! answered. The order of a pipeline's stateful operators is its stages:
//!
//! ```text
//! begin ─► [stage 0: hand over → partitions answer → resume] ─► [stage 1: …] ─► finish
//! ```
//!
//! A flow does not depend on the number of threads, and neither does the result.

mod derived;
mod fields;
mod flow;
mod http;
mod lines;
mod lookup;
mod prepare;
mod script;
mod split;
mod stamp;
mod taps;
mod times;
mod walk;

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

pub use flow::{Answers, Flow, OperatorCount, Parked, Token};
pub use http::{Asked, AskingEvent, PastAnswer, Services};
pub use lines::LineWriter;
pub use taps::{ALL_STEPS, Stayed, Stopwatch, Tap};

use walk::take_refusals;

use crate::event::{Batch, Kind, Path};
use crate::event::{access_log, csv, fixed, json, log_pattern};
use crate::partition::Identity;
use crate::plan::Plan;
use crate::schedule::Calendar;
use crate::template::Reader;

/// How the records of a source are read.
#[derive(Clone, Debug)]
pub struct Decoder {
    form: Form,
    /// The columns that the plan does not name, in the slots behind those of the plan. They are read
    /// for operators that need whole events.
    unnamed: Arc<[Path]>,
}

/// The form of records.
#[derive(Clone, Debug)]
pub(crate) enum Form {
    /// One JSON object each.
    Json(json::Projection),
    /// Rows of fields between delimiters.
    Csv(csv::Dialect, csv::Columns),
    /// Lines of an access log.
    AccessLog(Box<access_log::Columns>),
    /// Lines of an access log by a pattern.
    LogPattern(Box<log_pattern::Columns>),
    /// Lines of fixed width.
    Fixed(fixed::Columns),
}

impl Decoder {
    /// A decoder of JSON objects that have the paths of a plan.
    pub fn json(paths: &[Path]) -> Decoder {
        Decoder::of(Form::Json(json::Projection::new(paths)), &[])
    }

    pub(crate) fn of(form: Form, unnamed: &[Path]) -> Decoder {
        Decoder { form, unnamed: unnamed.into() }
    }

    /// Whether its records are JSON.
    fn is_json(&self) -> bool {
        matches!(self.form, Form::Json(_))
    }

    /// Reads the events of a batch's block.
    fn read(&self, scanner: &mut json::Scanner, batch: &mut Batch, event_bytes_max: usize) {
        batch.json = self.is_json();
        batch.unnamed = Arc::clone(&self.unnamed);
        match &self.form {
            Form::Json(projection) => scanner.decode(projection, batch, event_bytes_max),
            Form::Csv(dialect, columns) => csv::decode(dialect, columns, batch, event_bytes_max),
            Form::AccessLog(columns) => access_log::decode(columns, batch, event_bytes_max),
            Form::LogPattern(columns) => log_pattern::decode(columns, batch, event_bytes_max),
            Form::Fixed(columns) => fixed::decode(columns, batch, event_bytes_max),
        }
    }
}

/// Runs flows through a plan. Each thread has one; its caches change no result.
#[derive(Debug)]
pub struct Mediator {
    plan: Arc<Plan>,
    scanner: json::Scanner,
    /// The calendars of calendar windows, by node.
    calendars: Vec<Option<Calendar>>,
    /// The readers of the answers of services, by node.
    answers: BTreeMap<u16, Reader>,
    /// Which paths are inside which; empty where no operator needs it.
    kin: Arc<fields::Kin>,
    stack: Vec<(u16, Token)>,
    /// Fields that the document names and that no event has had.
    unseen: Vec<u16>,
    /// An event without these fields, as an example of the names that events have.
    sample: Option<Box<[u8]>>,
}

impl Mediator {
    /// Creates a mediator of a plan.
    pub fn new(plan: Arc<Plan>) -> Mediator {
        let calendar = |node: &crate::operator::Node| match &node.operator {
            crate::operator::Operator::Dedupe(dedupe) => match &dedupe.window {
                crate::operator::Window::Calendar(schedule, zone) => Some(Calendar::new(Arc::clone(schedule), zone.clone())),
                _ => None,
            },
            _ => None,
        };
        let mut unseen: Vec<u16> = (0..plan.sources.len()).flat_map(|source| plan.required_of(source)).collect();
        unseen.sort_unstable();
        unseen.dedup();
        Mediator {
            kin: fields::kin_of(&plan),
            calendars: plan.nodes.iter().map(calendar).collect(),
            answers: BTreeMap::new(),
            scanner: json::Scanner::new(),
            stack: Vec::new(),
            unseen,
            sample: None,
            plan,
        }
    }

    /// Removes the fields that events of a batch have from the unseen ones; soon none is left.
    fn look_for_unseen(&mut self, batch: &Batch) {
        let is_missing = |slot: &u16| (0..batch.len()).all(|row| batch.slot(row, *slot).kind() == Kind::Missing);
        self.unseen.retain(is_missing);
        if !self.unseen.is_empty() && self.sample.is_none() && batch.json && !batch.is_empty() {
            self.sample = Some(batch.raw(0).into());
        }
    }

    /// Returns the fields that the document names and no event has had, and an event that lacks
    /// them.
    pub fn unseen(&self) -> (&[u16], Option<&[u8]>) {
        (&self.unseen, self.sample.as_deref())
    }

    /// Reads the block of a flow and leads its events to the first stage.
    pub fn begin(&mut self, flow: &mut Flow, decoder: &Decoder) {
        let bytes_max = self.plan.event_bytes_max;
        let batch = &mut flow.batch;
        decoder.read(&mut self.scanner, batch, bytes_max);
        // A server judges events one by one; only a file as a whole may lack a field.
        if !self.unseen.is_empty() && batch.block.received_at.is_none() {
            self.look_for_unseen(batch);
        }
        flow.derived_by = flow.batch.block.derived_by;
        if flow.derived_by.is_none() {
            let source = &self.plan.sources[flow.batch.block.origin.source];
            stamp::stamp(source, &mut flow.batch);
        }
        flow.start(&self.plan);
        self.enter(flow);
        match self.plan.is_ordered() {
            true => {
                Mediator::sort_waiting(flow);
                flow.defer();
            }
            false => self.prepare(flow, 0),
        }
    }

    /// Puts the events that wait in order: those that waited for a service are behind the others.
    fn sort_waiting(flow: &mut Flow) {
        for node in 0..flow.waiting.len() {
            let mut tokens = std::mem::take(&mut flow.waiting[node].tokens);
            prepare::in_order(flow, &mut tokens);
            flow.waiting[node].tokens = tokens;
        }
    }

    /// Leads the events of a span to the first stage. Where a plan keeps state by key, events of a
    /// round pass all stages span by span. With `again`, the events replace those that were led
    /// there last, as long as none of them was resumed.
    pub fn enter_span(&mut self, flow: &mut Flow, events: &Range<u32>, again: bool) {
        flow.bring(events, again);
        self.prepare(flow, 0);
    }

    /// Returns a derived event of a flow, numbered from 1, as it was made: JSON.
    pub fn derived_json(&self, flow: &Flow, part: u32) -> Vec<u8> {
        flow.derived_json(&self.plan, &self.kin, part)
    }

    /// Takes the partitions' answers for a stage and leads the events to the next one.
    pub fn resume<'a>(&mut self, flow: &mut Flow, stage: usize, answers: impl Iterator<Item = &'a Answers> + Clone) {
        self.take_answers(flow, stage, answers);
        self.prepare(flow, stage + 1);
    }

    /// Takes the partitions' answers for some events of the last stage.
    pub fn conclude<'a>(&mut self, flow: &mut Flow, events: Range<u32>, answers: impl Iterator<Item = &'a Answers>) {
        take_refusals(&self.plan, &self.kin, flow, answers);
        for &node in self.plan.stages.last().map_or(&[][..], Vec::as_slice) {
            flow.conclude(node, &events);
        }
    }

    /// Sorts the parked events, after all stages.
    pub fn finish(&mut self, flow: &mut Flow) {
        flow.parked.sort_by_key(|parked| (parked.event, parked.part));
    }

    /// Leads an event that was held at a deduplicating operator to the next stage. Returns the
    /// places where it waits to be admitted; usages wait to be counted.
    pub fn release(&mut self, flow: &mut Flow, node: u16, place: u32) -> Vec<Asking> {
        let mut asking = Vec::new();
        for (node, from) in self.lead_on(flow, node, place) {
            self.prepare_node(flow, node, from);
            let waiting = &flow.waiting[usize::from(node)];
            let shown = (0..).zip(&waiting.identities).flat_map(|(partition, identities)| {
                let late = identities.iter().rev().take_while(|identity| identity.place as usize >= from);
                late.map(move |identity| Asking { node, partition, identity: *identity })
            });
            asking.extend(shown);
        }
        asking
    }
}

/// An event that waits to be admitted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Asking {
    /// The operator that asks.
    pub node: u16,
    /// The partition that answers.
    pub partition: usize,
    /// The fingerprint of the event's identity.
    pub identity: Identity,
}
