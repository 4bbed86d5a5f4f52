//! Meters of loaded pipelines: read, opened, changed, deleted.

pub mod closings;
pub mod events;
pub(crate) mod index;
mod listing;
pub mod memory;
pub mod periods;

use flowmeter_core::meter_type::{MeterType, OwnLimits, derived};
use flowmeter_core::plan::Plan;
use flowmeter_core::time::Zone;
use flowmeter_document::{Pipeline, Problems};
use flowmeter_engine::Error;
use flowmeter_engine::live::{Live, LogCommand, MeterName};
use serde_json::{Map, Value, json};
use uuid::Uuid;

pub use listing::{MeterFilter, MeterView, is_cursor};

use crate::audit::Who;
use crate::change::ChangeSet;
use crate::installation::{Installation, Served};
use crate::refusal::{Refusal, RefusalKind, Refused, not_found, refusal_of};

impl Served {
    /// Refuses a command while the pipeline is paused, since it would be executed only when the
    /// pipeline resumes.
    pub(crate) fn must_move(&self) -> Result<(), Refused> {
        if !self.board().is_paused() {
            return Ok(());
        }
        let detail = format!("the session of `{}` is PAUSED; resume it first", self.kept.name);
        Err(Box::new(Refusal::new(RefusalKind::Conflict, detail)))
    }
}

fn name_of(plan: &Plan, meter: &flowmeter_core::partition::Meter) -> MeterName {
    let rare = meter.rare.as_deref();
    let custom_fields = rare.map(|rare| rare.custom_fields.as_slice()).unwrap_or_default().iter();
    MeterName {
        user_id: String::from_utf8_lossy(&meter.user).into_owned(),
        meter_type_id: plan.meter_types[usize::from(meter.meter_type)].id,
        meter_key: plan.processors[usize::from(meter.processor)].key,
        id: rare.and_then(|rare| rare.id),
        delete_on_reset: meter.delete_on_reset,
        custom_fields: custom_fields.map(|(name, json)| (name.clone(), serde_json::from_str(json).unwrap_or_default())).collect(),
        limits: meter.limits().map(OwnLimits::settings).unwrap_or_default(),
        timezone: None,
        created_at: None,
    }
}

/// Returns a meter as a command would open it as it is.
pub(crate) fn declared_name(live: &Live, meter: &flowmeter_core::partition::Meter) -> MeterName {
    let mut name = name_of(live.plan(), meter);
    (name.timezone, name.created_at) = (own_zone(live, meter), Some(meter.created_at.nanos()));
    name
}

/// Returns the time zone that a meter has of its own.
fn own_zone(live: &Live, meter: &flowmeter_core::partition::Meter) -> Option<String> {
    let kind = &live.plan().meter_types[usize::from(meter.meter_type)];
    kind.zone_from.as_ref()?;
    let key = live.plan().processors[usize::from(meter.processor)].key;
    let calendar = live.calendar_of(&String::from_utf8_lossy(&meter.user), key, kind.id)?;
    Some(calendar.last_era().zone.name().to_owned())
}

/// Fields of a meter that are set when it is opened.
const OPENING: [&str; 11] = [
    "userId",
    "meterType",
    "meterTypeId",
    "pipeline",
    "meterKey",
    "id",
    "timezone",
    "deleteOnReset",
    "customFields",
    "capacity",
    "thresholds",
];
/// Those of them that can be changed.
const CHANGEABLE: [&str; 4] = ["deleteOnReset", "customFields", "capacity", "thresholds"];

/// Reads the fields of a meter that a request sets.
fn set_fields(name: &mut MeterName, fields: &Map<String, Value>, kind: &MeterType) -> Result<(), Refused> {
    let invalid = |field: &str, detail: &str| Box::new(Refusal::new(RefusalKind::Invalid, detail).field(field));
    if let Some(value) = fields.get("deleteOnReset") {
        let wrong = || invalid("deleteOnReset", "deleteOnReset is true or false");
        name.delete_on_reset = value.as_bool().ok_or_else(wrong)?;
    }
    if let Some(value) = fields.get("customFields") {
        let wrong = || invalid("customFields", "customFields is an object");
        name.custom_fields = value.as_object().cloned().ok_or_else(wrong)?;
    }
    for setting in ["capacity", "thresholds"] {
        match fields.get(setting) {
            None => continue,
            // The meter has that of its type again.
            Some(Value::Null) => name.limits.remove(setting),
            Some(value) => name.limits.insert(setting.to_owned(), value.clone()),
        };
    }
    let has_capacity = kind.capacity.is_some() || kind.capacity_from.is_some();
    let limits = Pipeline::read_own_limits(&name.limits, has_capacity).map_err(|why| wrong_limit(&why))?;
    name.limits = limits.settings();
    Ok(())
}

fn wrong_limit(problems: &Problems) -> Refused {
    let detail: Vec<&str> = problems.0.iter().map(|problem| problem.message.as_str()).collect();
    let field = problems.0.first().map(|problem| problem.field.as_str()).unwrap_or_default();
    Box::new(Refusal::new(RefusalKind::Invalid, detail.join("; ")).field(field.trim_start_matches('.')))
}

/// Returns the refusal of an id that another meter has.
fn taken(id: Uuid) -> Refusal {
    let detail = format!("another meter of this installation has the id `{id}`");
    Refusal::new(RefusalKind::AlreadyExists, detail).remedy("Give another id, or leave `id` out.")
}

/// Refuses fields that a request does not take.
fn must_be_one_of(known: &[&str], fields: &Map<String, Value>, what: &str) -> Result<(), Refused> {
    let other = fields.keys().find(|name| !known.contains(&name.as_str()));
    other.map_or(Ok(()), |other| {
        let detail = format!("`{other}` {what}; write any of {}", known.join(", "));
        Err(Box::new(Refusal::new(RefusalKind::Invalid, detail).field(other.as_str())))
    })
}

impl Installation {
    /// Returns a meter by id.
    pub fn meter(&self, namespace: &str, id: &str) -> Result<(std::sync::Arc<Served>, MeterView), Refused> {
        let wanted = Uuid::try_parse(id).map_err(|_| not_found("meter", id))?;
        for served in self.served_in(namespace) {
            if let Some(view) = served.meter_of_id(wanted).map_err(|why| refusal_of(&why))? {
                return Ok((served, view));
            }
        }
        Err(not_found("meter", id))
    }

    /// Opens a meter. The fields are `userId`, `meterType` (name or id) and, where they are ambiguous,
    /// `pipeline` and `meterKey`; `id`, `deleteOnReset` and `customFields` are optional. An id that
    /// another meter of the installation has is refused.
    pub fn create_meter(&self, who: &Who, fields: &Map<String, Value>) -> Result<MeterView, Refused> {
        self.meters_have_room()?;
        let invalid = |field: &str, detail: String| Box::new(Refusal::new(RefusalKind::Invalid, detail).field(field));
        must_be_one_of(&OPENING, fields, "is no field of a new meter")?;
        let text = |name: &str| fields.get(name).and_then(Value::as_str);
        let user = text("userId").filter(|user| !user.is_empty());
        let user = user.ok_or_else(|| invalid("userId", "a meter needs the user it belongs to".to_owned()))?.to_owned();
        let wanted = text("meterType").or(text("meterTypeId"));
        let wanted = wanted.ok_or_else(|| invalid("meterType", "name the meter type, or give its id".to_owned()))?.to_owned();
        let (served, kind, keys) = self.home_of(&who.namespace, text("pipeline"), &wanted)?;
        let meter_type_id = kind.id;
        let timezone = match fields.get("timezone") {
            None | Some(Value::Null) => None,
            Some(zone) => {
                let zone = zone.as_str().filter(|zone| Zone::named(zone).is_some());
                let wrong = || invalid("timezone", "write an IANA name like Europe/Oslo".to_owned());
                Some(zone.ok_or_else(wrong)?.to_owned())
            }
        };
        if timezone.is_some() && kind.zone_from.is_none() {
            let detail = format!("meters of the type `{wanted}` are all in the zone of their type");
            let problem = Refusal::new(RefusalKind::Invalid, detail).field("timezone");
            return Err(Box::new(problem.remedy("Leave it out, or give the meter type `timezone: {field: …}`.")));
        }
        let meter_key = match text("meterKey").map(Uuid::try_parse) {
            Some(Ok(key)) if keys.contains(&key) => key,
            Some(_) => return Err(invalid("meterKey", "no meter operator of the pipeline has this key".to_owned())),
            None if keys.len() == 1 => keys[0],
            None => return Err(invalid("meterKey", "the pipeline has several meter operators; give the key of one".to_owned())),
        };
        let id = match text("id").map(Uuid::try_parse) {
            None => None,
            Some(Ok(id)) => Some(id),
            Some(Err(_)) => return Err(invalid("id", "the id of a meter is a UUID".to_owned())),
        };
        // An id is free until the meter is in the log, so no other change may come in between.
        let _change = self.begin_change()?;
        let filter =
            MeterFilter { user: Some(user.clone()), meter_type: Some(meter_type_id.to_string()), ..MeterFilter::default() };
        let there = served.meters(filter, usize::MAX).map_err(|why| refusal_of(&why))?;
        if there.iter().any(|view| view.name.meter_key == meter_key) {
            let detail = format!("`{user}` has a meter of the type `{wanted}` here already");
            return Err(Box::new(Refusal::new(RefusalKind::AlreadyExists, detail)));
        }
        let own_id = id.unwrap_or_else(|| derived::meter(meter_key, meter_type_id, user.as_bytes()));
        if self.meter_anywhere(&who.namespace, own_id).map_err(|why| refusal_of(&why))?.is_some() {
            return Err(Box::new(taken(own_id).field("id")));
        }
        let mut name = MeterName {
            user_id: user,
            meter_type_id,
            meter_key,
            id,
            delete_on_reset: false,
            custom_fields: Map::new(),
            limits: Map::new(),
            timezone,
            created_at: None,
        };
        set_fields(&mut name, fields, &kind)?;
        let pipeline = served.kept.id;
        self.command_locked(who, &served, "meter.create", &LogCommand::Open { pipeline, meter: name.clone() }, &name)?;
        self.look_up(&served, &name)
    }

    /// Returns the meter with an id in any loaded pipeline of the installation, with its pipeline.
    fn meter_anywhere(&self, namespace: &str, id: Uuid) -> Result<Option<(Uuid, MeterName)>, Error> {
        for served in self.served() {
            // A worker may be waiting for a service of its pipeline: one of another namespace is asked
            // only where its index names a place.
            let is_asked = served.kept.namespace == namespace || !served.meters_index.places(id).is_empty();
            if is_asked && let Some(view) = served.meter_of_id(id)? {
                return Ok(Some((served.kept.id, view.name)));
            }
        }
        Ok(None)
    }

    /// Refuses a plan that declares a meter with the id of another meter: records are identified by
    /// the id of their meter, so two meters never share one.
    pub(crate) fn check_meter_ids(&self, namespace: &str, pipeline: Uuid, plan: &Plan) -> Result<(), Refused> {
        for (at, meter) in plan.meters.iter().enumerate() {
            let Some(id) = meter.id else { continue };
            let kind = plan.meter_types[usize::from(meter.meter_type)].id;
            let key = plan.processors[usize::from(meter.processor)].key;
            let own = self.served_of(pipeline).map(|served| served.meter_of_id(id)).transpose();
            let own = own.map_err(|why| refusal_of(&why))?.flatten();
            // An id that the meter has already stays, even if an earlier version gave it out twice.
            if own.is_some_and(|own| {
                (own.name.user_id.as_str(), own.name.meter_type_id, own.name.meter_key) == (meter.user.as_str(), kind, key)
            }) {
                continue;
            }
            if self.meter_anywhere(namespace, id).map_err(|why| refusal_of(&why))?.is_some() {
                return Err(Box::new(taken(id).field(format!("meters[{at}].id"))));
            }
        }
        Ok(())
    }

    /// Returns the loaded pipeline that counts in a meter type, with its meter keys.
    fn home_of(
        &self,
        namespace: &str,
        pipeline: Option<&str>,
        wanted: &str,
    ) -> Result<(std::sync::Arc<Served>, MeterType, Vec<Uuid>), Refused> {
        for served in self.served_in(namespace) {
            if pipeline.is_some_and(|name| name != served.kept.name && name != served.kept.id.to_string()) {
                continue;
            }
            let plan = served.worker().ask(|live| std::sync::Arc::clone(live.plan())).map_err(|why| refusal_of(&why))?;
            let kind = plan.meter_types.iter().position(|kind| kind.name == wanted || kind.id.to_string() == wanted);
            let Some(at) = kind else { continue };
            let counts = |processor: &&flowmeter_core::plan::Processor| {
                processor.rules.iter().any(|rule| rule.meter_types.contains(&(at as u16)))
            };
            let keys: Vec<Uuid> = plan.processors.iter().filter(counts).map(|processor| processor.key).collect();
            if !keys.is_empty() {
                return Ok((served, plan.meter_types[at].clone(), keys));
            }
        }
        let detail = format!("no pipeline at work counts in a meter type `{wanted}`");
        Err(Box::new(Refusal::new(RefusalKind::NotFound, detail).field("meterType")))
    }

    /// Changes settings of a meter.
    pub fn edit_meter(&self, who: &Who, id: &str, fields: &Map<String, Value>) -> Result<MeterView, Refused> {
        // The settings that are not named stay, so no other change may come in between.
        let _change = self.begin_change()?;
        let (served, view) = self.meter(&who.namespace, id)?;
        must_be_one_of(&CHANGEABLE, fields, "of a meter cannot be set")?;
        let mut name = view.name;
        let plan = served.worker().ask(|live| std::sync::Arc::clone(live.plan())).map_err(|why| refusal_of(&why))?;
        let kind = plan.meter_types.iter().find(|kind| kind.id == name.meter_type_id);
        set_fields(&mut name, fields, kind.ok_or_else(|| not_found("meter", id))?)?;
        let pipeline = served.kept.id;
        self.command_locked(who, &served, "meter.update", &LogCommand::Edit { pipeline, meter: name.clone() }, &name)?;
        self.look_up(&served, &name)
    }

    /// Deletes a meter with the data of its ongoing period.
    pub fn delete_meter(&self, who: &Who, id: &str) -> Result<(), Refused> {
        let (served, view) = self.meter(&who.namespace, id)?;
        let pipeline = served.kept.id;
        self.command_meter(who, &served, "meter.delete", &LogCommand::Delete { pipeline, meter: view.name.clone() }, &view.name)
    }

    fn command_meter(
        &self,
        who: &Who,
        served: &Served,
        action: &str,
        command: &LogCommand,
        name: &MeterName,
    ) -> Result<(), Refused> {
        let _change = self.begin_change()?;
        self.command_locked(who, served, action, command, name)
    }

    /// Makes a change of a meter; the lock for changes is held.
    fn command_locked(
        &self,
        who: &Who,
        served: &Served,
        action: &str,
        command: &LogCommand,
        name: &MeterName,
    ) -> Result<(), Refused> {
        served.must_move()?;
        let after = json!({"userId": name.user_id, "meterTypeId": name.meter_type_id, "deleteOnReset": name.delete_on_reset, "customFields": name.custom_fields, "limits": name.limits});
        let at = |why: Error| refusal_of(&why);
        let mut set = ChangeSet { commands: vec![command.clone()], ..ChangeSet::default() };
        self.audit_in(&mut set, who, action, &name.user_id, (Value::Null, after)).map_err(at)?;
        match self.make_change(set)? {
            Some(position) => served.worker().wait_for(position).map_err(at),
            None => Ok(()),
        }
    }

    fn look_up(&self, served: &Served, name: &MeterName) -> Result<MeterView, Refused> {
        let filter = MeterFilter {
            user: Some(name.user_id.clone()),
            meter_type: Some(name.meter_type_id.to_string()),
            ..MeterFilter::default()
        };
        let found = served.meters(filter, usize::MAX).map_err(|why| refusal_of(&why))?;
        found.into_iter().find(|view| view.name.meter_key == name.meter_key).ok_or_else(|| not_found("meter", &name.user_id))
    }
}
