//! Waiting events, sorted by the partition that answers for them.

use std::sync::Arc;

use xxhash_rust::xxh3::xxh3_128_with_seed;

use super::Mediator;
use super::fields::Kin;
use super::flow::{Flow, Token, Waiting};
use super::lookup;
use super::times::{self, Flaw};
use crate::event::{Batch, Kind, Leaf, Path, Slot};
use crate::keyed::key_id;
use crate::operator::{Clock, Dedupe, Keyed, Operator};
use crate::partition::{Identity, Input, Usage, read_value};
use crate::plan::{Plan, Processor, TimeField};
use crate::source::IdRule;
use crate::time::Timestamp;
use crate::verdict::Reason;

impl Mediator {
    /// Hands over what waits at the operators of a stage.
    pub(super) fn prepare(&mut self, flow: &mut Flow, stage: usize) {
        let plan = Arc::clone(&self.plan);
        let Some(nodes) = plan.stages.get(stage) else {
            self.finish(flow);
            return;
        };
        for &node in nodes {
            let mut tokens = std::mem::take(&mut flow.waiting[usize::from(node)].tokens);
            in_order(flow, &mut tokens);
            let waiting = &mut flow.waiting[usize::from(node)];
            waiting.in_order = tokens.len();
            waiting.tokens = tokens;
            self.prepare_node(flow, node, 0);
        }
    }

    /// Hands over what waits at an operator, from a place on.
    pub(super) fn prepare_node(&mut self, flow: &mut Flow, node: u16, from: usize) {
        let (at, plan) = (flow.at, Arc::clone(&self.plan));
        let mut waiting = std::mem::take(&mut flow.waiting[usize::from(node)]);
        waiting.refused.truncate(from);
        waiting.refused.resize(waiting.tokens.len(), false);
        let operator = &plan.nodes[usize::from(node)].operator;
        if let Operator::Dedupe(dedupe) = operator {
            self.identify(flow, &mut waiting, node, dedupe, at, from);
        } else if let Operator::Meter(processor) = operator {
            let processor = &plan.processors[usize::from(*processor)];
            let before: Vec<usize> = match from {
                0 => Vec::new(),
                _ => waiting.usages.iter().map(Vec::len).collect(),
            };
            guide(&plan, flow, &mut waiting, node, processor, at, from);
            for (usages, before) in waiting.usages.iter_mut().zip(before) {
                put_in_order(usages, before);
            }
        } else if let Some(keyed) = operator.keyed() {
            gather(&plan, &self.kin, flow, &mut waiting, node, keyed, from);
        }
        flow.waiting[usize::from(node)] = waiting;
    }

    fn identify(&mut self, flow: &mut Flow, waiting: &mut Waiting, node: u16, dedupe: &Dedupe, at: Timestamp, from: usize) {
        let partitions = flow.partitions();
        let mut text = Vec::with_capacity(128);
        for (place, token) in waiting.tokens.iter().enumerate().skip(from) {
            let row = token.row as usize;
            let known = |slot: &u16| !flow.batch.leaf(row, *slot).is_empty();
            if !dedupe.required.iter().any(known) {
                // One that was corrected needs no identity.
                if flow.batch.block.again {
                    continue;
                }
                flow.park(node, *token, Reason::NoId, no_identity(&self.plan, &flow.batch, dedupe));
                waiting.refused[place] = true;
                continue;
            }
            let event_at = match dedupe.by {
                Clock::Arrival => at,
                // A time that cannot be read parks the event at the meter, not here.
                Clock::Event => {
                    let read = times::read(&self.plan, &flow.batch, &mut flow.times, row, &dedupe.time);
                    read.ok().flatten().unwrap_or(at)
                }
            };
            text.clear();
            if let Some(calendar) = &mut self.calendars[usize::from(node)] {
                text.extend_from_slice(&calendar.period_at(event_at).start.nanos().to_le_bytes());
            }
            let fingerprint = fingerprint(&flow.batch, row, dedupe, &mut text);
            let partition = Plan::partition_of((fingerprint >> 64) as u64, partitions);
            let place = place as u32;
            waiting.identities[partition].push(Identity { fingerprint, at: event_at, place });
        }
    }
}

/// The fields that were looked at for an identity. If the source makes the id from fields, they are those.
#[cold]
fn no_identity(plan: &Plan, batch: &Batch, dedupe: &Dedupe) -> String {
    let id_rule = plan.sources.get(batch.block.origin.source).and_then(|source| source.id_rule.as_ref());
    let mut slots: Vec<u16> = Vec::new();
    for &slot in &dedupe.required {
        match id_rule {
            Some((IdRule::Fields(fields), id, _)) if *id == slot => slots.extend(fields),
            _ => slots.push(slot),
        }
    }
    let paths: Vec<String> = slots.iter().map(|slot| format!("`{}`", plan.paths[usize::from(*slot)])).collect();
    let are = if paths.len() == 1 { "is" } else { "are all" };
    format!("{} {are} missing, null or empty", paths.join(" and "))
}

/// By event, each once: ways that part and meet again bring an event twice.
pub(super) fn in_order(flow: &Flow, tokens: &mut Vec<Token>) {
    if flow.derived_len() > 0 {
        tokens.sort_unstable_by(|a, b| flow.order(a, b));
    } else if !tokens.is_sorted() {
        tokens.sort_unstable();
    }
    tokens.dedup_by_key(|token| (token.event, token.part));
}

/// Reads what an operator that keeps state by key needs of each event.
fn gather(plan: &Plan, kin: &Kin, flow: &mut Flow, waiting: &mut Waiting, node: u16, operator: Keyed<'_>, from: usize) {
    let partitions = flow.partitions();
    let mut key = Vec::with_capacity(64);
    let mut before = None;
    let mut part = 0;
    for (place, token) in waiting.tokens.iter().enumerate().skip(from) {
        part = if before == Some(token.event) { part + 1 } else { 0 };
        before = Some(token.event);
        let order = (flow.first_order + u64::from(token.event), part);
        match read_input(plan, kin, flow, operator, *token, place as u32, order, &mut key) {
            Ok(Some(input)) => {
                waiting.inputs[Plan::partition_of(input.hash, partitions)].push(input);
            }
            Ok(None) => {}
            Err((reason, detail)) => {
                flow.park(node, *token, reason, detail);
                waiting.refused[place] = true;
            }
        }
    }
}

/// Returns the input of an operator with state; none if the event passes unchanged.
#[allow(clippy::too_many_arguments)] // what an input is made of
fn read_input(
    plan: &Plan,
    kin: &Kin,
    flow: &mut Flow,
    operator: Keyed<'_>,
    token: Token,
    place: u32,
    order: (u64, u32),
    key: &mut Vec<u8>,
) -> Result<Option<Input>, Flaw> {
    let row = token.row as usize;
    let (mut is_stop, mut json) = (false, Slot::MISSING);
    let time = match operator {
        Keyed::Rate(_, running) => running.schedule.as_ref().map(|_| &running.time),
        Keyed::Aggregate(aggregate) => aggregate.running.schedule.as_ref().map(|_| &aggregate.running.time),
        Keyed::Accumulate(accumulate) => Some(&accumulate.time),
        Keyed::Correlate(correlate) => {
            let holds = |program: &crate::expression::Program| {
                program.holds(&flow.batch, row).map_err(|why| (Reason::OperatorError, why))
            };
            is_stop = match (holds(&correlate.start)?, holds(&correlate.stop)?) {
                (false, false) => return Ok(None),
                (true, true) => return Err((Reason::OperatorError, "both `start` and `stop` hold".to_owned())),
                (_, is_stop) => is_stop,
            };
            Some(&correlate.time)
        }
        Keyed::Script(_) => None,
    };
    let received = flow.at;
    let at = match time {
        Some(field) => event_time(plan, flow, row, field, received)?,
        None => received,
    };
    let horizon = flow.at.saturating_add(plan.future_tolerance);
    if at > horizon && flow.derived_by.is_none() && token.part == 0 {
        return Err((Reason::InFuture, format!("{at} is later than {horizon}")));
    }
    let mut key_list = Slot::MISSING;
    let needs_whole = match operator {
        Keyed::Correlate(_) => true,
        Keyed::Script(script) => script.given(&flow.batch, row).is_none(),
        Keyed::Rate(..) | Keyed::Aggregate(_) | Keyed::Accumulate(_) => false,
    };
    if needs_whole {
        let text = flow.json(plan, kin, token);
        json = flow.batch.store(Kind::Json, &text);
    }
    if let Keyed::Script(script) = operator {
        let list = super::script::key_list(&flow.batch, row, &script.key);
        key_list = flow.batch.store(Kind::Json, &list);
    }
    let tariff = match operator {
        Keyed::Rate(rate, _) => lookup::tariff_row(plan, flow, rate, row)?,
        Keyed::Aggregate(_) | Keyed::Accumulate(_) | Keyed::Correlate(_) | Keyed::Script(_) => None,
    };
    key.clear();
    key_id(&flow.batch, row, operator.key(), key);
    let hash = crate::keyed::hash_of(key);
    let key = flow.batch.store(Kind::Text, key);
    let is_received = flow.derived_by.is_none() && token.part == 0;
    let arrival = is_received.then(|| flow.first_arrival + u64::from(token.event));
    Ok(Some(Input { row: token.row, place, key, hash, at, order, arrival, is_stop, json, key_list, tariff }))
}

/// Puts usages of events that were held to their places among those before them.
fn put_in_order(usages: &mut [Usage], from: usize) {
    for new in from.max(1)..usages.len() {
        let event = usages[new].event;
        if usages[new - 1].event > event {
            let place = usages[..new].partition_point(|usage| usage.event <= event);
            usages[place..=new].rotate_right(1);
        }
    }
}

/// A fingerprint of the identifying fields, each with its length, so that no two lists
/// of fields read the same.
#[inline]
fn fingerprint(batch: &Batch, row: usize, dedupe: &Dedupe, text: &mut Vec<u8>) -> u128 {
    for &slot in &dedupe.key {
        let leaf = batch.leaf(row, slot);
        let length_at = text.len();
        text.extend_from_slice(&[0; 4]);
        match leaf.kind {
            Kind::EscapedText => text.extend_from_slice(&crate::event::unescape(leaf.bytes)),
            Kind::Missing | Kind::Null => text.push(0),
            // `1`, `1.0` and `"1"` are one id.
            Kind::Number => text.extend_from_slice(&crate::table::number(leaf.bytes)),
            _ => text.extend_from_slice(leaf.bytes),
        }
        let length = (text.len() - length_at - 4) as u32;
        text[length_at..length_at + 4].copy_from_slice(&length.to_le_bytes());
    }
    xxh3_128_with_seed(text, dedupe.salt)
}

/// Returns the event's time; without one, that of its arrival.
#[inline]
pub(super) fn event_time(plan: &Plan, flow: &mut Flow, row: usize, field: &TimeField, at: Timestamp) -> Result<Timestamp, Flaw> {
    Ok(times::read(plan, &flow.batch, &mut flow.times, row, field)?.unwrap_or(at))
}

/// Reads what a meter processor needs of each event and tries its rules' conditions.
fn guide(plan: &Plan, flow: &mut Flow, waiting: &mut Waiting, node: u16, processor: &Processor, at: Timestamp, from: usize) {
    let partitions = flow.partitions();
    let horizon = at.saturating_add(plan.future_tolerance);
    let is_served = flow.batch.block.received_at.is_some();
    let past = if is_served { plan.past_tolerance.serve } else { plan.past_tolerance.run };
    let oldest = past.map_or(Timestamp::MIN, |past| at.saturating_sub(past));
    for (place, token) in waiting.tokens.iter().enumerate().skip(from) {
        let read = read_usage(plan, flow, processor, *token, place as u32, at, (oldest, horizon));
        match read {
            Ok(usage) => waiting.usages[Plan::partition_of(usage.user_hash, partitions)].push(usage),
            Err((Reason::NoRule, _)) if processor.drop_unmatched => {
                flow.note(*token, crate::verdict::Verdict::Filtered);
                waiting.refused[place] = true;
            }
            Err((reason, detail)) => {
                flow.park(node, *token, reason, detail);
                waiting.refused[place] = true;
            }
        }
    }
}

#[inline]
fn read_usage(
    plan: &Plan,
    flow: &mut Flow,
    processor: &Processor,
    token: Token,
    place: u32,
    at: Timestamp,
    (oldest, horizon): (Timestamp, Timestamp),
) -> Result<Usage, Flaw> {
    let row = token.row as usize;
    let event_at = match times::read(plan, &flow.batch, &mut flow.times, row, &processor.time)? {
        Some(event_at) => event_at,
        None => {
            flow.timed_by_receipt.push(token.event);
            at
        }
    };
    let is_derived = flow.derived_by.is_some() || token.part > 0;
    let batch = &mut flow.batch;
    if event_at > horizon && !is_derived {
        return Err((Reason::InFuture, format!("{event_at} is later than {horizon}")));
    }
    if event_at < oldest && !is_derived {
        let detail = format!("{event_at} is earlier than {oldest}; `pastTolerance` says how old an event may be");
        return Err((Reason::TooOld, detail));
    }
    let (user, user_hash) = read_user(plan, batch, processor, row)?;
    let rules = rules_that_hold(batch, processor, row)?;
    if processor.computes {
        compute(batch, processor, row, rules);
    }
    let first = &processor.rules[rules.trailing_zeros() as usize];
    let number = match first.numeric {
        true => read_value(batch.leaf(row, first.value), first.round, true, processor.text_numbers),
        false => Ok(crate::decimal::Decimal::ZERO),
    };
    let flaw = number.err();
    let number = number.unwrap_or_default();
    Ok(Usage { event: token.event, row: token.row, place, user_hash, user, at: event_at, rules, number, flaw })
}

#[inline]
fn read_user(plan: &Plan, batch: &mut Batch, processor: &Processor, row: usize) -> Result<(Slot, u64), Flaw> {
    for &slot in &processor.user {
        let leaf = batch.leaf(row, slot);
        match leaf.kind {
            Kind::Missing | Kind::Null => {}
            Kind::Text | Kind::Number if !leaf.bytes.is_empty() => {
                return Ok((batch.slot(row, slot), Plan::user_hash(leaf.bytes)));
            }
            Kind::EscapedText => {
                let text = crate::event::unescape(leaf.bytes);
                return Ok((batch.store(Kind::Text, &text), Plan::user_hash(&text)));
            }
            _ => {
                return Err((Reason::NoUser, no_user(&plan.paths[usize::from(slot)], leaf)));
            }
        }
    }
    let paths: Vec<String> = processor.user.iter().map(|slot| format!("`{}`", plan.paths[usize::from(*slot)])).collect();
    let absent = match processor.user.as_slice() {
        [one] => plan.absence(batch, batch.leaf(row, *one)),
        _ => "missing",
    };
    Err((Reason::NoUser, format!("{} is {absent}", paths.join(" or "))))
}

/// Describes the leaf that was found in place of a user, for people.
#[cold]
fn no_user(path: &Path, leaf: Leaf<'_>) -> String {
    let mut shown = Vec::new();
    leaf.write_json(&mut shown);
    shown.truncate(100);
    match leaf.bytes.is_empty() {
        true => format!("`{path}` is empty"),
        false => format!("`{path}` is {}, neither text nor a number", String::from_utf8_lossy(&shown)),
    }
}

/// Computes the values of rules that hold. A failure is no value, and shows as such where the
/// rule counts: it parks the event as a bad value.
fn compute(batch: &mut Batch, processor: &Processor, row: usize, rules: u64) {
    for (bit, rule) in processor.rules.iter().enumerate() {
        let Some(program) = rule.computed.as_ref().filter(|_| rules >> bit & 1 == 1) else { continue };
        let value = program.evaluate(batch, row).and_then(|value| match rule.round {
            Some(round) => value.rounded(round).into_field(),
            None => value.into_field(),
        });
        let slot = match value.map(|(kind, bytes)| (kind, bytes.into_owned())) {
            Ok((kind, bytes)) => batch.store(kind, &bytes),
            Err(why) => {
                let mut shown = Vec::new();
                crate::event::quote_into(why.as_bytes(), &mut shown);
                batch.store(Kind::Json, &shown)
            }
        };
        batch.set_slot(row, rule.value, slot);
    }
}

/// The rules whose conditions hold, as bits.
#[inline]
fn rules_that_hold(batch: &Batch, processor: &Processor, row: usize) -> Result<u64, Flaw> {
    let mut held = 0u64;
    for (bit, rule) in processor.rules.iter().enumerate() {
        let holds = match &rule.condition {
            None => true,
            Some(condition) => match condition.holds(batch, row) {
                Ok(holds) => holds,
                // A rule before it applies: this one would not have been asked.
                Err(_) if held != 0 && !processor.match_all => break,
                Err(detail) => return Err((Reason::OperatorError, format!("rule `{}`: {detail}", rule.name))),
            },
        };
        if holds {
            held |= 1 << bit;
            // Nothing behind a rule that takes everything can have a say.
            if rule.final_say && !processor.match_all {
                break;
            }
        }
    }
    match held {
        0 => Err((Reason::NoRule, String::new())),
        held => Ok(held),
    }
}
