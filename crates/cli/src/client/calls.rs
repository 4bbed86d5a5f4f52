//! The request of each command.

use serde_json::{Map, Value, json};

use super::commands::{
    Audit, Commands, Corrections, Deliveries, Keys, MeterFields, MeterTypes, Meters, Notifications, OnServer, Paging, Pipelines,
    Records, Sessions, Tables,
};
use super::connection::Server;
use super::{Call, part};
use crate::failure::Wrong;

impl Commands {
    /// Returns the server and the request.
    pub(super) fn call(self) -> anyhow::Result<(Server, Call)> {
        Ok(match self {
            Commands::Meters(OnServer { server, act }) => (server, act.call()?),
            Commands::MeterTypes(OnServer { server, act }) => (server, act.call()?),
            Commands::Tables(OnServer { server, act }) => (server, act.call()?),
            Commands::Sessions(OnServer { server, act }) => (server, act.call()?),
            Commands::Pipelines(OnServer { server, act }) => (server, act.call()?),
            Commands::Corrections(OnServer { server, act }) => (server, act.call()?),
            Commands::Records(OnServer { server, act }) => (server, act.call()),
            Commands::Deliveries(OnServer { server, act }) => (server, act.call()),
            Commands::Notifications(OnServer { server, act }) => (server, act.call()?),
            Commands::Keys(OnServer { server, act }) => (server, act.call()),
            Commands::Audit(OnServer { server, act: Audit::List { list } }) => {
                let columns = &[("AT", "at"), ("WHO", "who"), ("ACTION", "action"), ("OBJECT", "object")];
                (server, Call::list("/api/v1/audit", &list, columns))
            }
            Commands::Events(_) => anyhow::bail!("the events command sends files and has no single request"),
        })
    }
}

impl Meters {
    fn call(&self) -> anyhow::Result<Call> {
        let one = |id: &str| format!("/api/v1/meters/{}", part(id));
        Ok(match self {
            Meters::List { user, meter_type, pipeline, list } => {
                let columns = &[
                    ("USER", "userId"),
                    ("TYPE", "meterTypeName"),
                    ("VALUE", "value"),
                    ("UNIT", "unit"),
                    ("PERIOD FROM", "periodStart"),
                    ("TO", "periodEnd"),
                    ("PIPELINE", "pipeline"),
                    ("ID", "id"),
                ];
                let call = Call::list("/api/v1/meters", list, columns);
                call.with("userId", user).with("meterType", meter_type).with("pipeline", pipeline)
            }
            Meters::Show { id } => Call::get(one(id)),
            Meters::Create { user, meter_type, pipeline, timezone, fields } => {
                let mut body = Map::new();
                body.insert("userId".to_owned(), json!(user));
                body.insert("meterType".to_owned(), json!(meter_type));
                body.extend(pipeline.iter().map(|pipeline| ("pipeline".to_owned(), json!(pipeline))));
                body.extend(timezone.iter().map(|zone| ("timezone".to_owned(), json!(zone))));
                fields.put(&mut body)?;
                Call::post("/api/v1/meters").json(&Value::Object(body))
            }
            Meters::Set { id, fields } => {
                let mut body = Map::new();
                fields.put(&mut body)?;
                Call::new("PATCH", one(id)).json(&Value::Object(body))
            }
            Meters::Delete { id } => Call::new("DELETE", one(id)),
        })
    }
}

impl MeterTypes {
    fn call(&self) -> anyhow::Result<Call> {
        let one = |name: &str| format!("/api/v1/meter-types/{}", part(name));
        Ok(match self {
            MeterTypes::List { list } => {
                let columns = &[
                    ("NAME", "name"),
                    ("CATEGORY", "category"),
                    ("AGGREGATION", "aggregation"),
                    ("UNIT", "unit"),
                    ("RESET", "resetSchedule"),
                    ("ZONE", "timezone"),
                    ("PIPELINE", "pipeline"),
                    ("ID", "id"),
                ];
                Call::list("/api/v1/meter-types", list, columns)
            }
            MeterTypes::Show { name } => Call::get(one(name)),
            MeterTypes::Create { file } => Call::post("/api/v1/meter-types").document(file)?,
            MeterTypes::Update { name, file } => Call::new("PUT", one(name)).document(file)?,
            MeterTypes::Delete { name } => Call::new("DELETE", one(name)),
        })
    }
}

impl Tables {
    fn call(&self) -> anyhow::Result<Call> {
        let one = |name: &str, what: &str| format!("/api/v1/tables/{}{what}", part(name));
        Ok(match self {
            Tables::List { list } => {
                let columns = &[
                    ("NAME", "name"),
                    ("ORIGIN", "origin"),
                    ("VERSION", "version"),
                    ("ROWS", "rows"),
                    ("SINCE", "since"),
                    ("ERROR", "error.detail"),
                ];
                Call::list("/api/v1/tables", list, columns)
            }
            Tables::Show { name } => Call::get(one(name, "")),
            Tables::Versions { name, list } => {
                let columns = &[("VERSION", "version"), ("ROWS", "rows"), ("SINCE", "since"), ("HASH", "hash")];
                Call::list(one(name, "/versions"), list, columns)
            }
            Tables::Put { name, file } => Call::new("PUT", one(name, "/rows")).rows(file)?,
            Tables::Refresh { name } => Call::post(one(name, "/refresh")),
        })
    }
}

impl Sessions {
    fn call(&self) -> anyhow::Result<Call> {
        let one = |id: &str, what: &str| format!("/api/v1/sessions/{}{what}", part(id));
        Ok(match self {
            Sessions::List { pipeline, status, list } => {
                let columns = &[
                    ("SESSION", "sessionId"),
                    ("PIPELINE", "pipeline"),
                    ("TYPE", "sessionRunType"),
                    ("STATUS", "sessionStatus"),
                    ("FROM", "sessionStartTime"),
                    ("TO", "sessionEndTime"),
                    ("ERROR", "error"),
                ];
                Call::list("/api/v1/sessions", list, columns).with("pipeline", pipeline).with("status", status)
            }
            Sessions::Show { id } => Call::get(one(id, "")),
            Sessions::Events { id } => {
                let columns = &[
                    ("NUMBER", "number"),
                    ("AT", "at"),
                    ("TYPE", "eventType"),
                    ("FROM", "payload.sessionPreviousStatus"),
                    ("TO", "payload.sessionStatus"),
                    ("OPERATOR", "payload.operatorId"),
                ];
                Call::list(one(id, "/events"), &Paging { limit: usize::MAX, all: true }, columns)
            }
            Sessions::Watch { .. } => anyhow::bail!("sessions watch follows a stream and has no single request"),
            Sessions::Pause { id } => Call::post(one(id, "/pause")),
            Sessions::Resume { id } => Call::post(one(id, "/resume")),
            Sessions::Cancel { id } => Call::post(one(id, "/cancel")),
            Sessions::Finish { id } => Call::post(one(id, "/finish")),
        })
    }
}

impl Notifications {
    fn call(&self) -> anyhow::Result<Call> {
        let one = |name: &str, what: &str| format!("/api/v1/notifications/{}{what}", part(name));
        Ok(match self {
            Notifications::List { list } => {
                let columns = &[
                    ("NAME", "name"),
                    ("EVENT", "eventType"),
                    ("ON", "enabled"),
                    ("DECLARED", "declared"),
                    ("CHANGED", "updatedAt"),
                    ("ID", "id"),
                ];
                Call::list("/api/v1/notifications", list, columns)
            }
            Notifications::Show { name } => Call::get(one(name, "")),
            Notifications::Create { file } => Call::post("/api/v1/notifications").document(file)?,
            Notifications::Update { name, file } => Call::new("PUT", one(name, "")).document(file)?,
            Notifications::Delete { name } => Call::new("DELETE", one(name, "")),
            Notifications::Test { name } => Call { text: Some(super::preview::text), ..Call::post(one(name, "/try")) },
            Notifications::History { id: Some(id), .. } => Call::get(one("deliveries", &format!("/{}", part(id)))),
            Notifications::History { id: None, notification, channel, state, session, list } => {
                let columns = &[
                    ("CREATED", "createdAt"),
                    ("NOTIFICATION", "notification"),
                    ("CHANNEL", "channel"),
                    ("EVENT", "eventType"),
                    ("SESSION", "sessionId"),
                    ("STATE", "state"),
                    ("TRIED", "attemptCount"),
                    ("ID", "id"),
                ];
                let call = Call::list("/api/v1/notifications/deliveries", list, columns);
                call.with("notification", notification).with("channel", channel).with("state", state).with("session", session)
            }
            Notifications::Resend { id } => Call::post(one("deliveries", &format!("/{}/resend", part(id)))),
        })
    }
}

impl Pipelines {
    fn call(&self) -> anyhow::Result<Call> {
        let one = |name: &str, what: &str| format!("/api/v1/pipelines/{}{what}", part(name));
        Ok(match self {
            Pipelines::List { list } => {
                let columns = &[
                    ("NAME", "name"),
                    ("VERSION", "version"),
                    ("SESSION", "session.sessionId"),
                    ("STATUS", "session.sessionStatus"),
                    ("CHANGED", "updatedAt"),
                    ("ID", "id"),
                ];
                Call::list("/api/v1/pipelines", list, columns)
            }
            Pipelines::Show { name } => Call::get(one(name, "")),
            Pipelines::Create { file } => Call::post("/api/v1/pipelines").pipeline(file)?,
            Pipelines::Update { name, file, state } => Call::new("PUT", one(name, "")).pipeline(file)?.with_state(state)?,
            Pipelines::Delete { name } => Call::new("DELETE", one(name, "")),
            Pipelines::Versions { name } => {
                let columns = &[("VERSION", "version"), ("AT", "createdAt"), ("BY", "createdBy")];
                Call::list(one(name, "/versions"), &Paging { limit: usize::MAX, all: true }, columns)
            }
            Pipelines::Run { name, unique_key } => {
                let key = unique_key.iter().map(|key| ("uniqueKey".to_owned(), json!(key)));
                Call::post(one(name, "/run")).json(&Value::Object(key.collect()))
            }
        })
    }
}

impl Corrections {
    fn call(&self) -> anyhow::Result<Call> {
        let one = |id: &str, what: &str| format!("/api/v1/corrections/{}{what}", part(id));
        Ok(match self {
            Corrections::List { pipeline, state, reason, list } => {
                let columns = &[
                    ("ID", "id"),
                    ("STATE", "state"),
                    ("REASON", "reason"),
                    ("OPERATOR", "operator"),
                    ("DETAIL", "detail"),
                    ("EVENT", "event.id"),
                ];
                let call = Call::list("/api/v1/corrections", list, columns);
                call.with("pipeline", pipeline).with("state", state).with("reason", reason)
            }
            Corrections::Show { id } => Call::get(one(id, "")),
            Corrections::Correct { id, file } => {
                // The event as it was written, with every digit.
                let event = super::read(file)?;
                let body = [b"{\"event\":".as_slice(), &event, b"}"].concat();
                Call { body: Some(("application/json", body)), ..Call::post(one(id, "/correct")) }
            }
            Corrections::Discard { id } => Call::post(one(id, "/discard")),
            Corrections::Reprocess { id } => Call::post(one(id, "/reprocess")),
            Corrections::ReprocessAll { pipeline, reason } => {
                Call::post("/api/v1/corrections/reprocess").json(&json!({"pipeline": pipeline, "reason": reason}))
            }
        })
    }
}

impl Records {
    fn call(&self) -> Call {
        match self {
            Records::List { pipeline, user, meter_type, list } => {
                let columns = &[
                    ("USER", "userId"),
                    ("TYPE", "meterTypeName"),
                    ("VALUE", "value"),
                    ("UNIT", "unit"),
                    ("PERIOD FROM", "periodStart"),
                    ("TO", "periodEnd"),
                    ("REVISION", "meterMetaData.revision"),
                    ("RECORD", "meterMetaData.recordId"),
                ];
                let call = Call::list("/api/v1/records", list, columns);
                call.with("pipeline", pipeline).with("userId", user).with("meterType", meter_type)
            }
            Records::Show { id } => Call::get(format!("/api/v1/records/{}", part(id))),
        }
    }
}

impl Deliveries {
    fn call(&self) -> Call {
        let one = |id: &str, what: &str| format!("/api/v1/deliveries/{}{what}", part(id));
        match self {
            Deliveries::List { pipeline, target, state, record, list } => {
                let columns = &[
                    ("STATE", "state"),
                    ("TARGET", "target"),
                    ("RECORD", "recordId"),
                    ("ATTEMPTS", "attempts"),
                    ("ANSWER", "answer"),
                    ("PIPELINE", "pipeline"),
                    ("ID", "id"),
                ];
                let call = Call::list("/api/v1/deliveries", list, columns).with("pipeline", pipeline).with("target", target);
                call.with("state", state).with("recordId", record)
            }
            Deliveries::Targets { pipeline } => {
                let columns = &[
                    ("PIPELINE", "pipeline"),
                    ("TARGET", "target"),
                    ("KIND", "kind"),
                    ("RECORDS", "records"),
                    ("ACCEPTED", "accepted"),
                    ("PENDING", "pending"),
                    ("RETRYING", "retrying"),
                    ("DEAD", "dead"),
                    ("SKIPPED", "skipped"),
                    ("ANSWER", "answer"),
                ];
                let all = Paging { limit: usize::MAX, all: true };
                Call::list("/api/v1/deliveries/targets", &all, columns).with("pipeline", pipeline)
            }
            Deliveries::Show { id } => Call::get(one(id, "")),
            Deliveries::Resend { id } => Call::post(one(id, "/resend")),
            Deliveries::Skip { id, reason } => Call::post(one(id, "/skip")).json(&json!({"reason": reason})),
            Deliveries::ResendAll { pipeline, target } => {
                Call::post("/api/v1/deliveries/resend").json(&json!({"pipeline": pipeline, "target": target}))
            }
            Deliveries::Reconcile { pipeline, target, from, to, mend } => {
                let body = json!({"pipeline": pipeline, "target": target, "from": from, "to": to, "mend": mend});
                let call = Call::post("/api/v1/deliveries/reconcile").json(&body);
                Call { text: Some(super::reconciled::text), ..call }
            }
        }
    }
}

impl Keys {
    fn call(&self) -> Call {
        let one = |id: &str, what: &str| format!("/api/v1/keys/{}{what}", part(id));
        match self {
            Keys::List { list } => {
                let columns = &[
                    ("ID", "id"),
                    ("NAME", "name"),
                    ("SCOPES", "scopes"),
                    ("CREATED", "createdAt"),
                    ("EXPIRES", "expiresAt"),
                    ("REVOKED", "revokedAt"),
                ];
                Call::list("/api/v1/keys", list, columns)
            }
            Keys::Create(create) => {
                let mut body = json!({"name": create.name, "scopes": create.scope});
                if let Some(end) = &create.expires_at {
                    body["expiresAt"] = json!(end);
                }
                Call::post("/api/v1/keys").json(&body)
            }
            Keys::Rotate { id, grace } => {
                let grace = grace.iter().map(|grace| ("grace".to_owned(), json!(grace)));
                Call::post(one(id, "/rotate")).json(&Value::Object(grace.collect()))
            }
            Keys::Revoke { id } => Call::new("DELETE", one(id, "")),
        }
    }
}

impl MeterFields {
    fn put(&self, body: &mut Map<String, Value>) -> anyhow::Result<()> {
        body.extend(self.delete_on_reset.map(|on| ("deleteOnReset".to_owned(), json!(on))));
        let json = [
            ("--custom-fields", "customFields", &self.custom_fields),
            ("--capacity", "capacity", &self.capacity),
            ("--thresholds", "thresholds", &self.thresholds),
        ];
        for (option, field, text) in json {
            let Some(text) = text else { continue };
            let wrong = |why: serde_json::Error| Wrong(format!("{option}: {why}"));
            body.insert(field.to_owned(), serde_json::from_str(text).map_err(wrong)?);
        }
        Ok(())
    }
}
