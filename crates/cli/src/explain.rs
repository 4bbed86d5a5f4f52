//! `flowmeter explain`: a record or an event, as a server knows it.

use std::fmt::Write as _;
use std::process::ExitCode;

use serde_json::Value;

use crate::args::{Explain, Form};
use crate::asking::{ask, escaped};
use crate::failure::{self, FAILED};

pub(crate) fn explain(explain: &Explain) -> anyhow::Result<ExitCode> {
    let id = escaped(&explain.id);
    let asked = |path: &str| ask(&explain.server.url, explain.server.key.as_deref(), path, None);
    let record = asked(&format!("/api/v1/records/{id}/explain"))?;
    let is_record = record.status != 404;
    let told = if is_record { record.good()? } else { asked(&format!("/api/v1/events/{id}/trace"))?.good()? };
    let text = match (explain.output, is_record) {
        (Form::Json, _) => format!("{told:#}\n"),
        (Form::Table, true) => of_record(&told),
        (Form::Table, false) => of_event(&told),
    };
    failure::print(&text)?;
    let differs = told["recount"]["equal"] == Value::Bool(false);
    Ok(if differs { ExitCode::from(FAILED) } else { ExitCode::SUCCESS })
}

fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| if value.is_null() { "-".to_owned() } else { value.to_string() }, str::to_owned)
}

fn of_record(told: &Value) -> String {
    let record = &told["record"];
    let mut out = String::new();
    let count = &record["meterMetaData"]["eventCount"];
    for (name, value) in [
        ("pipeline", &told["pipeline"]),
        ("user", &record["userId"]),
        ("meter type", &record["meterTypeName"]),
        ("period", &record["periodStart"]),
        ("until", &record["periodEnd"]),
        ("made at", &told["madeAt"]),
        ("value", &record["value"]),
        ("events", count),
    ] {
        let _ = writeln!(out, "{name:<11}{}", text(value));
    }
    let recount = &told["recount"];
    let added = match recount["equal"].as_bool() {
        Some(true) => "equal".to_owned(),
        Some(false) => format!("DIFFERENT: {} of {} events", text(&recount["value"]), text(&recount["eventCount"])),
        None => "too many events to add up here; `flowmeter verify` does".to_owned(),
    };
    let _ = writeln!(out, "added up   {added}\n");
    for event in told["events"].as_array().into_iter().flatten() {
        let (at, id, value, rule) = (text(&event["eventAt"]), text(&event["id"]), text(&event["value"]), text(&event["rule"]));
        let _ = writeln!(out, "{at:<28} {id:<40} {value:>14}  {rule}");
    }
    if !told["nextCursor"].is_null() {
        let _ = writeln!(out, "… of {} events; the API has them all, page by page", text(&told["eventsFound"]));
    }
    out
}

fn of_event(told: &Value) -> String {
    let mut out = String::new();
    for event in told["events"].as_array().into_iter().flatten() {
        let [pipeline, id, source, subject] = ["pipeline", "id", "source", "subject"].map(|name| text(&event[name]));
        let _ = writeln!(out, "{pipeline}: {id} from {source}, subject {subject}");
        for step in event["steps"].as_array().into_iter().flatten() {
            let at = if step["operator"].is_null() { &step["receivedAt"] } else { &step["operator"] };
            let (name, at, outcome) = (text(&step["step"]), text(at), text(&step["outcome"]));
            let fields = if step["fields"].is_null() { String::new() } else { step["fields"].to_string() };
            let _ = writeln!(out, "  {name:<10} {at:<28} {outcome:<10} {fields}");
        }
        for counted in event["counted"].as_array().into_iter().flatten() {
            let [user, kind, rule, start, end] =
                ["userId", "meterType", "rule", "periodStart", "periodEnd"].map(|name| text(&counted[name]));
            let value = text(&counted["value"]);
            let _ = writeln!(out, "  counted    {value} for {user} in {kind}, {start} to {end}, by the rule {rule}");
        }
        let reason = if event["reason"].is_null() { String::new() } else { format!(" ({})", text(&event["reason"])) };
        let _ = writeln!(out, "  verdict    {}{reason} {}", text(&event["verdict"]), text(&event["detail"]).trim_matches('-'));
    }
    out
}
