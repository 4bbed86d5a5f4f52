//! Events through operators that need no state.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;

use super::fields::{Kin, set, set_slot};
use super::flow::{Answers, Flow, Token};
use super::script::Became;
use super::taps::{ALL_STEPS, Tap};
use super::{Mediator, lookup, script, split};
use crate::event::csv::ColumnType;
use crate::event::{Kind, Leaf, Slot};
use crate::operator::{Operator, Script, ScriptFailure, Scripted, Step, Validate};
use crate::plan::Plan;
use crate::verdict::{Reason, Verdict};

impl Mediator {
    /// Leads every readable event into the graph.
    pub(super) fn enter(&mut self, flow: &mut Flow) {
        let plan = Arc::clone(&self.plan);
        let entries = match flow.derived_by {
            None => &plan.entries[flow.batch.block.origin.source],
            Some(node) => &plan.nodes[usize::from(node)].outputs[0],
        };
        let mut unreadable = flow.parked.iter().map(|parked| parked.event).collect::<Vec<_>>().into_iter().peekable();
        for event in 0..flow.batch.len() as u32 {
            if (event as usize).is_multiple_of(lookup::AHEAD) {
                lookup::look_ahead(&plan, flow, event as usize);
            }
            if unreadable.next_if_eq(&event).is_some() {
                continue;
            }
            self.lead(&plan, flow, entries, Token { event, part: 0, row: event });
        }
        self.ask(flow);
    }

    /// Leads an event to several operators, and on until it waits, is dropped or parked.
    pub(super) fn lead(&mut self, plan: &Plan, flow: &mut Flow, to: &[u16], token: Token) {
        self.spread(flow, to, token);
        while let Some((node, token)) = self.stack.pop() {
            flow.counts[usize::from(node)].received += 1;
            if flow.is_stepped(token) {
                let fields = fields_of(plan, flow, token);
                flow.enter_step(node, token, fields);
            }
            match self.step(plan, flow, node, token) {
                Ok(Some(port)) => self.leave(plan, flow, node, port, token),
                Ok(None) => flow.end_step(node, token),
                Err((reason, detail)) => flow.park(node, token, reason, detail),
            }
        }
    }

    pub(super) fn leave(&mut self, plan: &Plan, flow: &mut Flow, node: u16, port: usize, token: Token) {
        flow.counts[usize::from(node)].passed += 1;
        if let Some(count) = flow.outputs[usize::from(node)].get_mut(port) {
            *count += 1;
        }
        if flow.taps_max > 0 {
            tap(plan, flow, node, token);
        }
        match plan.nodes[usize::from(node)].outputs.get(port) {
            Some(next) if !next.is_empty() => self.spread(flow, next, token),
            // Nothing behind: the graph drops it.
            _ => flow.note(token, Verdict::Filtered),
        }
    }

    /// Where ways part every further one gets a row of its own.
    fn spread(&mut self, flow: &mut Flow, to: &[u16], token: Token) {
        for (i, &node) in to.iter().enumerate().rev() {
            let row = if i == 0 { token.row } else { flow.batch.copy_row(token.row as usize) as u32 };
            self.stack.push((node, Token { row, ..token }));
        }
    }

    /// Applies an operator to an event. Returns the port it leaves by, `None` when it stays
    /// (waits or is dropped).
    fn step(&mut self, plan: &Plan, flow: &mut Flow, node: u16, token: Token) -> Result<Option<usize>, (Reason, String)> {
        let row = token.row as usize;
        let failed = |detail| (Reason::OperatorError, detail);
        match &plan.nodes[usize::from(node)].operator {
            Operator::Filter(condition) => match condition.holds(&flow.batch, row).map_err(failed)? {
                true => Ok(Some(0)),
                false => {
                    flow.note(token, Verdict::Filtered);
                    Ok(None)
                }
            },
            Operator::Map(steps) => {
                for step in steps {
                    change(plan, &self.kin, flow, row, step).map_err(failed)?;
                }
                Ok(Some(0))
            }
            Operator::Validate(validate) => {
                let whole = (!self.kin.is_empty()).then(|| flow.json(plan, &self.kin, token));
                check(validate, flow, token, whole.as_deref()).map_err(failed)?;
                Ok(Some(0))
            }
            Operator::Branch(routes) => {
                for (port, condition) in routes.iter().enumerate() {
                    if condition.holds(&flow.batch, row).map_err(failed)? {
                        return Ok(Some(port));
                    }
                }
                Ok(Some(routes.len()))
            }
            Operator::Split(split) => {
                self.split(plan, flow, node, split, token)?;
                Ok(None)
            }
            Operator::Enrich(enrich) => lookup::enrich(plan, &self.kin, flow, node, enrich, token).map(Some),
            Operator::Currency(currency) => lookup::convert(plan, &self.kin, flow, currency, token).map(|()| Some(0)),
            Operator::Rate(rate) if rate.running.is_none() => lookup::price(plan, &self.kin, flow, rate, token).map(|()| Some(0)),
            // Nothing of the block is kept once a script did not end.
            Operator::Script(_) if flow.stalled.is_some() => Ok(None),
            Operator::Script(operator) if !operator.keeps_state => {
                let scripted = match script::run(plan, &self.kin, flow, operator, token) {
                    Ok(scripted) => scripted,
                    Err(ScriptFailure::Parked(reason, detail)) => return Err((reason, detail)),
                    Err(ScriptFailure::Stalled) => {
                        flow.stalled = Some((node, token.event));
                        return Ok(None);
                    }
                };
                self.became(plan, flow, node, operator, scripted, token)
            }
            Operator::Http(_) => {
                flow.asking.push((node, token));
                Ok(None)
            }
            Operator::Dedupe(_)
            | Operator::Script(_)
            | Operator::Meter(_)
            | Operator::Rate(_)
            | Operator::Aggregate(_)
            | Operator::Accumulate(_)
            | Operator::Correlate(_) => {
                flow.waiting[usize::from(node)].tokens.push(token);
                Ok(None)
            }
        }
    }

    /// Makes the children of an event and lets them leave.
    fn split(
        &mut self,
        plan: &Plan,
        flow: &mut Flow,
        node: u16,
        split: &crate::operator::Split,
        parent: Token,
    ) -> Result<(), (Reason, String)> {
        let children = split::split(plan, &self.kin, flow, node, split, parent)?;
        self.replace_by_children(plan, flow, node, parent, children);
        Ok(())
    }

    fn replace_by_children(&mut self, plan: &Plan, flow: &mut Flow, node: u16, parent: Token, children: Vec<Token>) {
        flow.note(parent, if children.is_empty() { Verdict::Filtered } else { Verdict::Split });
        flow.counts[usize::from(node)].derived += children.len() as u64;
        // The stack gives back what was put there last: the first child must be on top.
        for child in children.into_iter().rev() {
            self.leave(plan, flow, node, 0, child);
        }
    }

    /// Puts what a script returned in the place of an event. Returns the port by which the event
    /// leaves, if it does.
    fn became(
        &mut self,
        plan: &Plan,
        flow: &mut Flow,
        node: u16,
        operator: &Script,
        scripted: Scripted,
        token: Token,
    ) -> Result<Option<usize>, (Reason, String)> {
        Ok(match script::take(plan, &self.kin, flow, node, operator, scripted, token)? {
            Became::Event => Some(0),
            Became::Nothing => {
                flow.note(token, Verdict::Filtered);
                None
            }
            Became::Children(children) => {
                self.replace_by_children(plan, flow, node, token, children);
                None
            }
        })
    }

    /// Marks the events that partitions refused, and routes the others to the next operators.
    pub(super) fn take_answers<'a>(&mut self, flow: &mut Flow, stage: usize, answers: impl Iterator<Item = &'a Answers> + Clone) {
        let plan = Arc::clone(&self.plan);
        take_refusals(&plan, &self.kin, flow, answers.clone());
        for (node, place) in answers.clone().filter_map(|answers| answers.stalled) {
            let token = flow.waiting[usize::from(node)].tokens[place as usize];
            flow.stalled = Some((node, token.event));
        }
        let scripted = answers.flat_map(|answers| &answers.scripted);
        let mut scripted: HashMap<(u16, u32), &Scripted> =
            scripted.map(|(node, place, scripted)| ((*node, *place), scripted)).collect();
        for &node in &plan.stages[stage] {
            let counts = matches!(plan.nodes[usize::from(node)].operator, Operator::Meter(_));
            let tokens = std::mem::take(&mut flow.waiting[usize::from(node)].tokens);
            for (place, &token) in tokens.iter().enumerate() {
                if flow.waiting[usize::from(node)].refused[place] {
                    continue;
                }
                if counts {
                    flow.counts[usize::from(node)].passed += 1;
                    flow.note(token, Verdict::Counted);
                    flow.end_step(node, token);
                } else if let Operator::Script(operator) = &plan.nodes[usize::from(node)].operator {
                    let Some(scripted) = scripted.remove(&(node, place as u32)) else { continue };
                    match self.became(&plan, flow, node, operator, scripted.clone(), token) {
                        Ok(Some(port)) => self.leave(&plan, flow, node, port, token),
                        Ok(None) => flow.end_step(node, token),
                        Err((reason, detail)) => flow.park(node, token, reason, detail),
                    }
                    self.lead(&plan, flow, &[], token);
                } else {
                    self.leave(&plan, flow, node, 0, token);
                    self.lead(&plan, flow, &[], token);
                }
            }
            flow.waiting[usize::from(node)].tokens = tokens;
        }
        self.ask(flow);
    }

    /// Leads an event on that was held at an operator, up to where it waits next. Gives the
    /// operators where it does, with the first of its places there.
    pub(super) fn lead_on(&mut self, flow: &mut Flow, node: u16, place: u32) -> Vec<(u16, usize)> {
        let plan = Arc::clone(&self.plan);
        let token = flow.waiting[usize::from(node)].tokens[place as usize];
        let before: Vec<usize> = flow.waiting.iter().map(|waiting| waiting.tokens.len()).collect();
        self.leave(&plan, flow, node, 0, token);
        self.lead(&plan, flow, &[], token);
        self.ask(flow);
        let mut grown = Vec::new();
        for ((node, waiting), before) in (0..).zip(&mut flow.waiting).zip(before) {
            waiting.keep_first(token.event, before);
            if before < waiting.tokens.len() {
                grown.push((node, before));
            }
        }
        grown
    }
}

/// Marks the events that partitions refused.
pub(super) fn take_refusals<'a>(plan: &Plan, kin: &Kin, flow: &mut Flow, answers: impl Iterator<Item = &'a Answers>) {
    for answer in answers {
        flow.late += answer.late + answer.late_inputs.len() as u64;
        for &node in &answer.late_inputs {
            flow.counts[usize::from(node)].late += 1;
        }
        for (node, place, slot, kind, bytes) in answer.set.iter() {
            let row = flow.waiting[usize::from(node)].tokens[place as usize].row;
            set(plan, kin, &mut flow.batch, row as usize, slot, kind, bytes);
        }
        for &(node, place) in &answer.absorbed {
            refuse(flow, node, place, Verdict::Absorbed);
            flow.counts[usize::from(node)].absorbed += 1;
        }
        for &(node, place) in &answer.duplicates {
            refuse(flow, node, place, Verdict::Duplicate);
            flow.record(node, place, false);
        }
        for &(node, place) in &answer.known {
            flow.record(node, place, false);
        }
        for &(node, place) in &answer.held {
            refuse(flow, node, place, Verdict::Open);
        }
        for &(node, place) in &answer.unmatched {
            refuse(flow, node, place, Verdict::Filtered);
        }
        for (node, place, reason, detail) in &answer.parked {
            let token = refuse(flow, *node, *place, Verdict::Open);
            flow.park(*node, token, *reason, detail.clone());
        }
    }
}

fn refuse(flow: &mut Flow, node: u16, place: u32, verdict: Verdict) -> Token {
    let waiting = &mut flow.waiting[usize::from(node)];
    waiting.refused[place as usize] = true;
    let token = waiting.tokens[place as usize];
    flow.note(token, verdict);
    flow.end_step(node, token);
    token
}

/// One change of a row.
fn change(plan: &Plan, kin: &Kin, flow: &mut Flow, row: usize, step: &Step) -> Result<(), String> {
    match step {
        Step::Set(slot, program) => {
            let (kind, bytes) = program.evaluate(&flow.batch, row)?.into_field()?;
            let bytes = bytes.into_owned();
            set(plan, kin, &mut flow.batch, row, *slot, kind, &bytes);
        }
        Step::Rename(from, to) => {
            let value = flow.batch.slot(row, *from);
            set_slot(plan, kin, &mut flow.batch, row, *from, Slot::MISSING);
            set_slot(plan, kin, &mut flow.batch, row, *to, value);
        }
        Step::Remove(slot) => set_slot(plan, kin, &mut flow.batch, row, *slot, Slot::MISSING),
        Step::Convert(slot, to) => {
            let leaf = flow.batch.leaf(row, *slot);
            let path = &plan.paths[usize::from(*slot)];
            let (kind, bytes) = convert(leaf, *to).ok_or_else(|| misread(leaf, *to, path.as_str()))?;
            let bytes = bytes.into_owned();
            set(plan, kin, &mut flow.batch, row, *slot, kind, &bytes);
        }
    }
    Ok(())
}

/// Nothing stays nothing; everything else must read as the type.
fn convert<'a>(leaf: Leaf<'a>, to: ColumnType) -> Option<(Kind, Cow<'a, [u8]>)> {
    if leaf.is_absent() {
        return Some((leaf.kind, Cow::Borrowed(leaf.bytes)));
    }
    let text = leaf.as_text()?;
    if let ColumnType::Form(form) = to {
        let mut number = Vec::new();
        let kind = form.read_into(&text, &mut number);
        return (kind != Kind::Json).then_some((kind, Cow::Owned(number)));
    }
    let kind = to.kind(text.as_ref());
    let fits = matches!(
        (to, kind),
        (ColumnType::Text, Kind::Text) | (ColumnType::Number, Kind::Number) | (ColumnType::Boolean, Kind::True | Kind::False)
    );
    fits.then_some((kind, text))
}

fn misread(leaf: Leaf<'_>, to: ColumnType, path: &str) -> String {
    let mut shown = Vec::new();
    leaf.write_json(&mut shown);
    shown.truncate(100);
    let to = match to {
        ColumnType::Text => "text",
        ColumnType::Number | ColumnType::Form(_) => "a number",
        ColumnType::Boolean => "true or false",
    };
    format!("`{path}` is {}, which does not read as {to}", String::from_utf8_lossy(&shown))
}

/// Shows an event, as it is by now, to a JSON Schema.
/// Where operators set fields, `whole` is that event.
fn check(validate: &Validate, flow: &Flow, token: Token, whole: Option<&[u8]>) -> Result<(), String> {
    let batch = &flow.batch;
    let (mut event, fields) = match (whole, batch.json) {
        (Some(whole), _) => (serde_json::from_slice(whole).unwrap_or_default(), &Vec::new()),
        (None, true) => (serde_json::from_slice(batch.raw(token.event as usize)).unwrap_or_default(), &validate.changed),
        (None, false) => (serde_json::Value::Object(serde_json::Map::new()), &validate.named),
    };
    for (path, slot) in fields {
        let leaf = batch.leaf(token.row as usize, *slot);
        let mut json = Vec::new();
        leaf.write_json(&mut json);
        let value = (leaf.kind != Kind::Missing).then(|| serde_json::from_slice(&json).unwrap_or_default());
        place(&mut event, path.names(), value);
    }
    match validate.validator.iter_errors(&event).next() {
        None => Ok(()),
        Some(error) => Err(format!("{} (at `{}`)", error, error.instance_path())),
    }
}

/// Puts a value at a path, or takes it away.
fn place(event: &mut serde_json::Value, names: &[Box<str>], value: Option<serde_json::Value>) {
    let [name, rest @ ..] = names else { return };
    let Some(members) = event.as_object_mut() else { return };
    if !rest.is_empty() {
        if value.is_some() {
            members.entry(name.to_string()).or_insert_with(|| serde_json::Value::Object(serde_json::Map::new()));
        }
        if let Some(inner) = members.get_mut(&**name) {
            place(inner, rest, value);
        }
        return;
    }
    match value {
        Some(value) => drop(members.insert(name.to_string(), value)),
        None => drop(members.remove(&**name)),
    }
}

fn tap(plan: &Plan, flow: &mut Flow, node: u16, token: Token) {
    let (before, nanos) = flow.leave_step(node, token);
    let is_enough = || flow.taps.iter().filter(|tap| tap.operator == node).count() >= flow.taps_max;
    if if flow.taps_max == ALL_STEPS { !flow.is_stepped(token) } else { is_enough() } {
        return;
    }
    let fields = fields_of(plan, flow, token);
    flow.taps.push(Tap { operator: node, event: token.event, part: token.part, before, fields, nanos });
}

/// Returns the fields of an event that the pipeline reads, as JSON.
fn fields_of(plan: &Plan, flow: &Flow, token: Token) -> String {
    let mut fields = b"{".to_vec();
    for (slot, path) in plan.paths.iter().enumerate() {
        let leaf = flow.batch.leaf(token.row as usize, slot as u16);
        if leaf.kind == Kind::Missing {
            continue;
        }
        if fields.len() > 1 {
            fields.push(b',');
        }
        crate::event::quote_into(path.as_str().as_bytes(), &mut fields);
        fields.push(b':');
        leaf.write_json(&mut fields);
    }
    fields.push(b'}');
    String::from_utf8_lossy(&fields).into_owned()
}
