//! Meters as they are now, listed by user and type, or found by id.

use std::ops::{Bound, ControlFlow};
use std::sync::Arc;

use flowmeter_core::decimal::Decimal;
use flowmeter_core::meter_type::Threshold;
use flowmeter_core::plan::Plan;
use flowmeter_engine::Error;
use flowmeter_engine::live::{Live, LiveMeter, MeterName};
use serde_json::Value;
use serde_json::value::RawValue;
use uuid::Uuid;

use super::index::MeterIndex;
use super::{name_of, own_zone};
use crate::installation::Served;

/// Users whose meters are looked up at a time: about a millisecond of the worker.
const USERS_AT_ONCE: usize = 1000;

/// The present state of a meter: the record its ongoing period would make.
#[derive(Clone, Debug)]
pub struct MeterView {
    /// Id of the meter.
    pub id: Uuid,
    /// Name of its pipeline.
    pub pipeline: String,
    /// Name of its type.
    pub meter_type: String,
    /// Its name in commands.
    pub name: MeterName,
    /// The record so far.
    pub json: Box<RawValue>,
    /// The amount its user may use in a period, if there is one.
    pub capacity: Option<Decimal>,
    /// Its thresholds, as a document writes them.
    pub thresholds: Value,
}

/// The order of meters: user, type, key of the processor.
type Order<'m> = (&'m str, &'m str, Uuid);

impl MeterView {
    /// Returns its place in the order of meters.
    pub fn order(&self) -> Order<'_> {
        (&self.name.user_id, &self.meter_type, self.name.meter_key)
    }

    /// Returns the cursor of a page that begins after it.
    pub fn cursor(&self) -> String {
        let (user, kind, key) = self.order();
        format!("{user}\0{kind}\0{key}")
    }

    fn of(live: &Live, pipeline: &str, (partition, meter): LiveMeter<'_>) -> MeterView {
        let plan = live.plan();
        let mut json = Vec::new();
        partition.show(meter, live.clock(), &mut json);
        let mut name = name_of(plan, meter);
        name.timezone = own_zone(live, meter);
        let kind = &plan.meter_types[usize::from(meter.meter_type)];
        MeterView {
            id: meter.id(plan),
            pipeline: pipeline.to_owned(),
            meter_type: kind.name.clone(),
            name,
            json: serde_json::from_slice(&json).unwrap_or_default(),
            capacity: meter.capacity(kind),
            thresholds: meter.thresholds(kind).iter().map(Threshold::shown).collect(),
        }
    }
}

/// A filter of meters.
#[derive(Clone, Debug, Default)]
pub struct MeterFilter {
    /// Meters of this user.
    pub user: Option<String>,
    /// Meters of the type with this name or id.
    pub meter_type: Option<String>,
    /// Meters after the one with this cursor.
    pub after: Option<String>,
    /// Meters of users whose id begins with this.
    pub prefix: Option<String>,
    /// Whether the list goes backwards: `after` is then the meter before which it continues.
    pub is_backward: bool,
}

impl MeterFilter {
    /// Returns the wanted types, by their index in a plan.
    fn kinds(&self, plan: &Plan) -> Vec<bool> {
        let wanted = |name: &str, id: Uuid| self.meter_type.as_ref().is_none_or(|of| of == name || *of == id.to_string());
        plan.meter_types.iter().map(|kind| wanted(&kind.name, kind.id)).collect()
    }

    fn after(&self) -> Option<Order<'_>> {
        order_of(self.after.as_ref()?)
    }

    /// Returns the bounds between which users may have a wanted meter.
    fn users(&self) -> (Bound<&[u8]>, Bound<&[u8]>) {
        let of_cursor = self.after().map(|(user, ..)| user.as_bytes());
        let prefix = self.prefix.as_ref().map(String::as_bytes);
        match self.is_backward {
            false => (of_cursor.max(prefix).map_or(Bound::Unbounded, Bound::Included), Bound::Unbounded),
            true => (prefix.map_or(Bound::Unbounded, Bound::Included), of_cursor.map_or(Bound::Unbounded, Bound::Included)),
        }
    }
}

/// Reads a cursor of meters.
fn order_of(cursor: &str) -> Option<Order<'_>> {
    let mut parts = cursor.rsplitn(3, '\0');
    let (key, kind, user) = (parts.next()?, parts.next()?, parts.next()?);
    Some((user, kind, Uuid::try_parse(key).ok()?))
}

/// Whether a text is a cursor of meters.
pub fn is_cursor(text: &str) -> bool {
    order_of(text).is_some()
}

/// A page of meters in the making.
struct Page {
    filter: MeterFilter,
    limit: usize,
    found: Vec<MeterView>,
    /// The last user whose meters were looked up.
    reached: Option<Vec<u8>>,
}

/// How far a step of a page came.
enum Step {
    /// The page is whole.
    Whole,
    /// There are more users to look up.
    More,
    /// The index does not have all meters yet.
    Behind,
}

impl Page {
    /// Adds the wanted meters of a user. Breaks when there are enough.
    fn add(&mut self, live: &Live, pipeline: &str, kinds: &[bool], user: &[u8]) -> ControlFlow<()> {
        let plan = live.plan();
        let order = |meter: &LiveMeter<'_>| {
            let kind = &plan.meter_types[usize::from(meter.1.meter_type)];
            (kind.name.as_str(), plan.processors[usize::from(meter.1.processor)].key)
        };
        let mut meters = live.meters_of(user);
        meters.retain(|(_, meter)| kinds[usize::from(meter.meter_type)]);
        if let Some((of, kind, key)) = self.filter.after()
            && of.as_bytes() == user
        {
            meters.retain(|meter| match self.filter.is_backward {
                false => order(meter) > (kind, key),
                true => order(meter) < (kind, key),
            });
        }
        meters.sort_by(|one, other| order(one).cmp(&order(other)));
        if self.filter.is_backward {
            meters.reverse();
        }
        let room = self.limit - self.found.len();
        self.found.extend(meters.into_iter().take(room).map(|meter| MeterView::of(live, pipeline, meter)));
        if self.found.len() >= self.limit { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }

    /// Looks up the next users.
    fn step(&mut self, live: &mut Live, pipeline: &str, index: &MeterIndex) -> Step {
        if !index.take(live) {
            return Step::Behind;
        }
        let kinds = self.filter.kinds(live.plan());
        let ids = live.plan().meter_types.iter().zip(&kinds).filter(|(_, wanted)| **wanted).map(|(kind, _)| kind.id);
        let wanted: Vec<Uuid> = ids.collect();
        let reached = self.reached.take();
        let (mut from, mut until) = self.filter.users();
        let prefix = self.filter.prefix.as_ref().map_or(&[][..], String::as_bytes);
        let behind = behind(prefix);
        if let (Bound::Unbounded, Some(behind)) = (until, &behind) {
            until = Bound::Excluded(behind);
        }
        if let Some(reached) = reached.as_deref().map(Bound::Excluded) {
            *(if self.filter.is_backward { &mut until } else { &mut from }) = reached;
        }
        let mut users = Vec::new();
        index.visit((from, until), self.filter.is_backward, &wanted, |user| {
            if user.starts_with(prefix) {
                users.push(user.to_vec());
            }
            users.len() < USERS_AT_ONCE
        });
        for user in &users {
            if self.add(live, pipeline, &kinds, user).is_break() {
                return Step::Whole;
            }
        }
        let is_last = users.len() < USERS_AT_ONCE;
        self.reached = users.pop();
        if is_last { Step::Whole } else { Step::More }
    }
}

/// Returns the first name after all that begin with a prefix, if there is one.
fn behind(prefix: &[u8]) -> Option<Vec<u8>> {
    let last = prefix.iter().rposition(|byte| *byte != u8::MAX)?;
    let mut behind = prefix[..=last].to_vec();
    behind[last] += 1;
    Some(behind)
}

impl Served {
    /// Returns the wanted meters, by user, type and key; at most `limit`.
    pub fn meters(&self, filter: MeterFilter, limit: usize) -> Result<Vec<MeterView>, Error> {
        let mut page = Page { filter, limit, found: Vec::new(), reached: None };
        let pipeline = self.kept.name.clone();
        if let Some(user) = page.filter.user.clone() {
            return self.worker().ask(move |live| {
                let kinds = page.filter.kinds(live.plan());
                let is_backward = page.filter.is_backward;
                let is_past = page.filter.after().is_some_and(|(of, ..)| of != user && (of > user.as_str()) != is_backward);
                if !is_past && page.filter.prefix.as_ref().is_none_or(|prefix| user.starts_with(prefix)) {
                    let _is_full = page.add(live, &pipeline, &kinds, user.as_bytes());
                }
                page.found
            });
        }
        loop {
            let (index, name) = (Arc::clone(&self.meters_index), pipeline.clone());
            let asked = self.worker().ask(move |live| {
                let step = page.step(live, &name, &index);
                (page, step)
            });
            let step;
            (page, step) = asked?;
            match step {
                Step::Whole => return Ok(page.found),
                Step::More => {}
                Step::Behind => self.meters_index.catch_up(self.worker())?,
            }
        }
    }

    /// Returns the meter with an id.
    pub fn meter_of_id(&self, id: Uuid) -> Result<Option<MeterView>, Error> {
        loop {
            let (index, pipeline) = (Arc::clone(&self.meters_index), self.kept.name.clone());
            let asked = self.worker().ask(move |live| {
                if !index.take(live) {
                    return None;
                }
                let mut places = index.places(id).into_iter();
                Some(places.find_map(|place| {
                    let found = live.meter_at(place).filter(|(_, meter)| meter.id(live.plan()) == id)?;
                    Some(MeterView::of(live, &pipeline, found))
                }))
            });
            match asked? {
                Some(found) => return Ok(found),
                None => self.meters_index.catch_up(self.worker())?,
            }
        }
    }
}
