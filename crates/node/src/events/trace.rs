//! The way of an event: what each operator made of it, and where it counted.
//!
//! Received when, and what became of it, is what was noted then. The way between is found
//! by leading the event through the plan of that time once more, without what the pipeline
//! knew (other events, meters beyond those that were created): so it shows what the
//! operators do, while the verdict is the one it had.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::Arc;

use flowmeter_core::event::Place;
use flowmeter_core::mediation::Stayed;
use flowmeter_core::meter_type::derived;
use flowmeter_core::operator::Operator;
use flowmeter_core::partition::Birth;
use flowmeter_core::plan::{DeclaredMeter, Plan};
use flowmeter_core::schedule::Calendar;
use flowmeter_core::time::Timestamp;
use flowmeter_core::verdict::Verdict;
use flowmeter_engine::live::{PastAnswers, read_origin};
use flowmeter_engine::{Arrival, Counted, Error, Recount, Steps};
use flowmeter_store::archive::{self, ArchivedEvent, Filter, Row};
use serde_json::value::RawValue;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::events::derived::MadeEvent;
use crate::events::flushed::{Flushed, carries, is_carried};
use crate::events::rows::events_folder;
use crate::installation::Installation;
use crate::meters::declared_name;
use crate::pipelines::KeptPipeline;
use crate::refusal::{Refused, not_found, refusal_of};
use crate::rows::shown;
use crate::verbatim::{self, Object};

/// Events of one id that are traced at most: ids repeat only with other sources, or when
/// senders send again.
const TRACED_MAX: usize = 100;
/// Events of a pipeline, from the newest back, among which a search looks for an id. Files whose
/// filters rule the id out are skipped; events that are not in files yet are read.
const SEARCHED_MAX: u64 = 1_000_000;

impl Installation {
    /// Every step of the events with an id (and source), in each pipeline of a namespace;
    /// and how many events those are.
    pub fn trace(&self, namespace: &str, id: &str, source: Option<&str>) -> Result<(Box<RawValue>, usize), Refused> {
        let at = |why: Error| refusal_of(&why);
        let mut traced = Vec::new();
        for pipeline in self.pipelines(namespace).map_err(at)?.iter() {
            let filter = Filter { id: Some(id.to_owned()), source: source.map(str::to_owned), ..Filter::default() };
            for row in self.rows(pipeline, &filter, TRACED_MAX - traced.len()).map_err(at)? {
                traced.push(self.way(pipeline, &row).map_err(at)?);
            }
        }
        match traced.is_empty() {
            true => Err(not_found("event", id)),
            false => Ok((Object::of(&json!({"id": id})).with_list("events", &traced).finish(), traced.len())),
        }
    }

    /// Whether one of the newest events of a namespace has an id.
    pub fn has_event(&self, namespace: &str, id: &str) -> Result<bool, Error> {
        for pipeline in self.pipelines(namespace)?.iter() {
            let end = match self.served_of(pipeline.id) {
                Some(served) => served.worker().ask(|live| live.outlet().arrivals())?,
                None => archive::extent(&**self.disk(), &events_folder(pipeline.id))?.unwrap_or(0),
            };
            let filter = Filter { id: Some(id.to_owned()), ..Filter::default() };
            let mut is_found = false;
            let mut from = Some(end.saturating_sub(SEARCHED_MAX));
            while let Some(next) = from.filter(|_| !is_found) {
                from = self.walk_events(pipeline, &filter, next, &mut |_| {
                    is_found = true;
                    ControlFlow::Break(())
                })?;
            }
            if is_found {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// All rows that are wanted, up to so many.
    fn rows(&self, pipeline: &KeptPipeline, filter: &Filter, limit: usize) -> Result<Vec<Row>, Error> {
        let mut rows = Vec::new();
        let mut from = Some(0);
        while let Some(next) = from.filter(|_| rows.len() < limit) {
            from = self.walk_events(pipeline, filter, next, &mut |row| {
                rows.push(row);
                if rows.len() < limit { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
            })?;
        }
        Ok(rows)
    }

    fn way(&self, pipeline: &KeptPipeline, row: &Row) -> Result<Box<RawValue>, Error> {
        let received_at = Timestamp::from_nanos(row.received_at);
        let plan = self.plan_at(pipeline, received_at)?;
        let declared = self.declared(pipeline, &plan, None)?;
        let tables = self.table_history(&pipeline.namespace, &plan)?.at(received_at)?;
        let answers = self.past_answers(pipeline, &plan, received_at)?.map(|mut past| past.at(received_at)).transpose()?;
        let take = |calendars: Vec<(u16, Calendar)>, flushed: &[Flushed]| {
            let mut recount = Recount::new(Arc::clone(&plan), &[]);
            calendars.into_iter().for_each(|(kind, calendar)| recount.begin_with(kind, calendar));
            recount.note_steps();
            recount.open(&declared);
            for Flushed { meter, last } in flushed {
                recount.open(std::slice::from_ref(meter));
                // A run over files has one instant for all events; periods are flushed at its end.
                recount.come_to(if plan.is_bounded() { *last } else { received_at });
            }
            recount.use_tables(tables.clone());
            if let Some(answers) = &answers {
                recount.use_answers(Arc::clone(answers));
            }
            let number = row.position;
            recount.take(Arrival { raw: &row.raw, at: received_at, number, origin: &row.origin, line: row.line }, None)
        };
        let steps = take(Vec::new(), &[]);
        // The zone of a meter is that of the event which opened it, not of this one.
        let calendars = self.own_calendars(pipeline, &plan, &steps)?;
        let ids = self.meter_ids(pipeline, &plan, &steps)?;
        let zone_then = |calendar: &Calendar| calendar.era_at(received_at).zone.name().to_owned();
        let own_zones: BTreeMap<u16, String> = calendars.iter().map(|(kind, calendar)| (*kind, zone_then(calendar))).collect();
        let zone_of = |counted: &Counted| {
            let of_type = || plan.meter_types[usize::from(counted.meter_type)].zone.name().to_owned();
            own_zones.get(&counted.meter_type).cloned().unwrap_or_else(of_type)
        };
        // An event may have been late for the period in which it counts when it is alone.
        let flushed = match row.verdict == "counted" {
            true => self.flushed_meters(pipeline, &plan, (&steps, &ids), received_at)?,
            false => Vec::new(),
        };
        let steps = if calendars.is_empty() && flushed.is_empty() { steps } else { take(calendars, &flushed) };
        let counted = if row.verdict == "counted" { steps.counted.as_slice() } else { &[] };
        let shown =
            |counted: &Counted| counted_shown(&plan, counted, id_in(&ids, &plan, counted), json!({"timezone": zone_of(counted)}));
        let counted: Vec<_> = counted.iter().map(shown).collect();
        let shown = event_object(row).with_list("steps", &steps_shown(&plan, row, &steps));
        Ok(shown.with_list("counted", &counted).finish())
    }

    /// The recorded answers of the services that a plan asks, for events that were received at an
    /// instant or later; `None` if it asks none.
    pub(crate) fn past_answers(
        &self,
        pipeline: &KeptPipeline,
        plan: &Plan,
        since: Timestamp,
    ) -> Result<Option<PastAnswers>, Error> {
        let asks = plan.nodes.iter().any(|node| matches!(node.operator, Operator::Http(_)));
        match self.served_of(pipeline.id).filter(|_| asks) {
            Some(served) => served.worker.ask(move |live| live.answers_since(since))?.map(Some),
            None => Ok(None),
        }
    }

    /// The plan that was in force at an instant.
    pub(crate) fn plan_at(&self, pipeline: &KeptPipeline, at: Timestamp) -> Result<Arc<Plan>, Error> {
        let versions = self.versions(pipeline.id)?;
        let made_at = |text: &str| Timestamp::parse_rfc3339(text.as_bytes()).unwrap_or_default();
        let held = versions.iter().rev().find(|version| made_at(&version.created_at) <= at).or(versions.first());
        let version = held.map_or(pipeline.version, |version| version.version);
        crate::pipelines::plan_of(&self.catalog, pipeline.id)(version)
    }

    /// The meters of a loaded pipeline (of a user) that were not opened by events, in the terms of a
    /// plan, which may be that of another version.
    pub(crate) fn declared(&self, pipeline: &KeptPipeline, plan: &Plan, user: Option<&str>) -> Result<Vec<DeclaredMeter>, Error> {
        let Some(served) = self.served_of(pipeline.id) else { return Ok(Vec::new()) };
        let user = user.map(|user| user.as_bytes().to_vec());
        let names = served.worker().ask(move |live| {
            let meters = user.as_ref().map_or_else(|| live.meters().collect(), |user| live.meters_of(user));
            let declared = meters.into_iter().map(|(_, meter)| meter).filter(|meter| meter.birth == Birth::Declared);
            declared.map(|meter| declared_name(live, meter)).collect::<Vec<_>>()
        })?;
        Ok(names.iter().filter_map(|name| name.declared(plan)).collect())
    }

    /// Returns the ids of the meters in which an event counted; those that are gone have none.
    fn meter_ids(&self, pipeline: &KeptPipeline, plan: &Plan, steps: &Steps) -> Result<MeterIds, Error> {
        let Some(served) = self.served_of(pipeline.id) else { return Ok(Vec::new()) };
        let mut users: Vec<String> = steps.counted.iter().map(|counted| counted.user.clone()).collect();
        users.sort();
        users.dedup();
        if users.is_empty() {
            return Ok(Vec::new());
        }
        let found = served.worker().ask(move |live| {
            let plan = live.plan();
            let of = |user: &String| {
                let meters = live.meters_of(user.as_bytes()).into_iter().map(|(_, meter)| {
                    let key = plan.processors[usize::from(meter.processor)].key;
                    ((user.clone(), key, plan.meter_types[usize::from(meter.meter_type)].id), meter.id(plan))
                });
                meters.collect::<Vec<_>>()
            };
            users.iter().flat_map(of).collect::<MeterIds>()
        })?;
        let is_wanted = |(user, key, kind): &MeterKey| {
            steps.counted.iter().any(|counted| key_of(plan, counted) == (user.as_str(), *key, *kind))
        };
        Ok(found.into_iter().filter(|(key, _)| is_wanted(key)).collect())
    }

    /// Returns the meters in which an event counted whose types carry late events, with the periods
    /// that they had flushed before.
    fn flushed_meters(
        &self,
        pipeline: &KeptPipeline,
        plan: &Plan,
        (steps, ids): (&Steps, &[(MeterKey, Uuid)]),
        received_at: Timestamp,
    ) -> Result<Vec<Flushed>, Error> {
        let Some(served) = self.served_of(pipeline.id) else { return Ok(Vec::new()) };
        let mut flushed = Vec::new();
        for counted in steps.counted.iter().filter(|counted| carries(&plan.meter_types[usize::from(counted.meter_type)])) {
            let of = (counted.user.as_str(), counted.processor, counted.meter_type);
            // The clock of a server closes periods before it counts an event of the same instant.
            let until = if plan.is_bounded() { received_at } else { received_at.saturating_add(1) };
            flushed.extend(served.flushed_before(id_in(ids, plan, counted), of, until)?);
        }
        Ok(flushed)
    }

    /// The calendars of meters in which an event counted and that have a zone of their own, by their
    /// meter type.
    fn own_calendars(&self, pipeline: &KeptPipeline, plan: &Plan, steps: &Steps) -> Result<Vec<(u16, Calendar)>, Error> {
        let Some(served) = self.served_of(pipeline.id) else { return Ok(Vec::new()) };
        let own = steps.counted.iter().filter_map(|counted| {
            let kind = &plan.meter_types[usize::from(counted.meter_type)];
            kind.zone_from.as_ref()?;
            let key = plan.processors[usize::from(counted.processor)].key;
            Some((counted.meter_type, counted.user.clone(), key, kind.id))
        });
        let own: Vec<_> = own.collect();
        if own.is_empty() {
            return Ok(Vec::new());
        }
        served.worker().ask(move |live| {
            let found = own.iter().filter_map(|(at, user, key, kind)| Some((*at, live.calendar_of(user, *key, *kind)?)));
            found.collect()
        })
    }
}

/// The user, the key of the processor and the type of a meter.
type MeterKey = (String, Uuid, Uuid);
/// The ids of meters, by their keys.
type MeterIds = Vec<(MeterKey, Uuid)>;

fn key_of<'c>(plan: &Plan, counted: &'c Counted) -> (&'c str, Uuid, Uuid) {
    let kind = plan.meter_types[usize::from(counted.meter_type)].id;
    (counted.user.as_str(), plan.processors[usize::from(counted.processor)].key, kind)
}

/// Returns the id of the meter in which an event counted: the given one, or the one derived from its
/// key.
fn id_in(ids: &[(MeterKey, Uuid)], plan: &Plan, counted: &Counted) -> Uuid {
    let (user, key, kind) = key_of(plan, counted);
    let known = ids.iter().find(|((of, by, in_kind), _)| (of.as_str(), *by, *in_kind) == (user, key, kind));
    known.map_or_else(|| derived::meter(key, kind, user.as_bytes()), |(_, id)| *id)
}

/// An event with its verdict, as the API shows it: the event itself as it was sent.
pub fn event_shown(row: &Row) -> Box<RawValue> {
    event_object(row).finish()
}

/// An event that an operator made, as the API shows it.
pub fn derived_shown(made: &MadeEvent<'_>) -> Box<RawValue> {
    let origin = json!({"source": "operator", "name": made.made_by, "parent": made.parent});
    shown_with(&made.row, &origin).finish()
}

fn event_object(row: &Row) -> Object {
    shown_with(&row.event(), &origin_shown(row))
}

fn shown_with(row: &ArchivedEvent<'_>, origin: &Value) -> Object {
    let head = json!({
        "pipeline": row.pipeline, "position": row.position, "receivedAt": shown(Timestamp::from_nanos(row.received_at)),
        "id": row.id, "source": row.source, "type": row.event_type, "subject": row.subject,
        "time": row.event_at.map(|at| shown(Timestamp::from_nanos(at))),
        "origin": origin,
        "verdict": row.verdict, "reason": row.reason, "detail": row.detail, "operator": row.operator,
    });
    Object::of(&head).with("event", &verbatim::sent(row.raw))
}

/// Returns where an event came from: the source of the pipeline, the file, object, table or service,
/// and the line there.
fn origin_shown(row: &Row) -> Value {
    match read_origin(&row.origin) {
        (None, name) => json!({"source": name}),
        (Some(source), name) => json!({"source": source, "name": name, "line": Place::of(row.line).line}),
    }
}

fn steps_shown(plan: &Plan, row: &Row, steps: &Steps) -> Vec<Box<RawValue>> {
    let raw = |step: Value| verbatim::raw(&step);
    let mut shown = vec![raw(json!({
        "step": "received", "position": row.position, "receivedAt": crate::rows::shown(Timestamp::from_nanos(row.received_at)),
    }))];
    let node = |at: u16| &plan.nodes[usize::from(at)];
    for tap in &steps.taps {
        let operator = node(tap.operator);
        let seen_before = row.verdict == "duplicate" && matches!(operator.operator, Operator::Dedupe(_));
        let outcome = if seen_before { "duplicate" } else { "passed" };
        let step = json!({
            "step": operator.operator.name(), "operator": operator.id, "outcome": outcome,
        });
        shown.push(Object::of(&step).with("fields", &verbatim::sent(tap.fields.as_bytes())).finish());
        if seen_before {
            return shown;
        }
    }
    match row.verdict.as_str() {
        "counted" => {
            let mut operators: Vec<u16> = steps.counted.iter().map(|counted| counted.operator).collect();
            operators.dedup();
            let counted = |at| json!({"step": "meter", "operator": node(at).id, "outcome": "counted"});
            shown.extend(operators.into_iter().map(|at| raw(counted(at))));
        }
        "parked" => shown.push(raw(json!({
            "step": "parked", "operator": row.operator, "outcome": "parked", "reason": row.reason, "detail": row.detail,
        }))),
        verdict => {
            let is_same = matches!(
                (verdict, steps.verdict),
                ("filtered", Verdict::Filtered) | ("split", Verdict::Split) | ("absorbed", Verdict::Absorbed)
            );
            let own = |stayed: &&Stayed| stayed.part == 0 && is_same;
            let at = steps.stayed.iter().find(own).map(|stayed| node(stayed.operator));
            let (step, operator) = at.map_or((verdict, None), |at| (at.operator.name(), Some(&at.id)));
            shown.push(raw(json!({"step": step, "operator": operator, "outcome": verdict})));
        }
    }
    shown
}

/// Where an event counted, besides other members; the value as it was sent.
pub(crate) fn counted_shown(plan: &Plan, counted: &Counted, meter_id: Uuid, mut head: Value) -> Box<RawValue> {
    let kind = &plan.meter_types[usize::from(counted.meter_type)];
    let processor = &plan.processors[usize::from(counted.processor)];
    let more = json!({
        "meterId": meter_id,
        "userId": counted.user, "meterType": kind.name, "meterTypeId": kind.id, "meterKey": processor.key,
        "rule": counted.rule.map(|rule| processor.rules[usize::from(rule)].name.clone()),
        "operator": plan.nodes[usize::from(counted.operator)].id, "eventAt": shown(counted.event_at),
        "periodStart": shown(counted.period.start), "periodEnd": shown(counted.period.end),
        "late": is_carried(plan, counted).then_some("carried"),
    });
    if let (Some(members), Value::Object(more)) = (head.as_object_mut(), more) {
        members.extend(more);
    }
    let value = verbatim::sent(counted.value.as_deref().unwrap_or("null").as_bytes());
    Object::of(&head).with("value", &value).finish()
}
