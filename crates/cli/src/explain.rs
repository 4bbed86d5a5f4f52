//! `flowmeter explain`: shows a record or an event of a server.
//!
//! Members are shown as the server wrote them, without parsing numbers.

use std::fmt::Write as _;
use std::process::ExitCode;

use serde_json::value::RawValue;

use crate::args::Explain;
use crate::client::table::{self, list_of, member, plain};
use crate::client::{Connection, part};
use crate::failure::{self, FAILED};
use crate::form::Form;

pub(crate) fn explain(explain: &Explain) -> anyhow::Result<ExitCode> {
    let id = part(&explain.id);
    let connection = Connection::new(&explain.server.address)?;
    let record = connection.ask("GET", &format!("/api/v1/records/{id}/explain"), None)?;
    let is_record = record.status != 404;
    let answer = match is_record {
        true => record.good()?,
        false => connection.ask("GET", &format!("/api/v1/events/{id}/trace"), None)?.good()?,
    };
    let told: Box<RawValue> = serde_json::from_slice(&answer)?;
    let text = match (explain.server.output, is_record) {
        (Form::Json, _) => table::one(&answer, Form::Json),
        (Form::Table, true) => of_record(&told),
        (Form::Table, false) => of_event(&told),
    };
    failure::print(&text)?;
    let equal = member(&told, "recount.equal");
    let differs = equal.is_some_and(|equal| equal.get() == "false");
    Ok(if differs { ExitCode::from(FAILED) } else { ExitCode::SUCCESS })
}

/// Returns a member for people; `-` if it is missing.
fn text(of: &RawValue, path: &str) -> String {
    let text = member(of, path).map(|value| plain(&value)).unwrap_or_default();
    if text.is_empty() { "-".to_owned() } else { text }
}

fn is_there(of: &RawValue, path: &str) -> bool {
    member(of, path).is_some_and(|value| value.get() != "null")
}

fn of_record(told: &RawValue) -> String {
    let mut out = String::new();
    for (name, path) in [
        ("pipeline", "pipeline"),
        ("user", "record.userId"),
        ("meter type", "record.meterTypeName"),
        ("period", "record.periodStart"),
        ("until", "record.periodEnd"),
        ("made at", "madeAt"),
        ("value", "record.value"),
        ("events", "record.meterMetaData.eventCount"),
    ] {
        let _ = writeln!(out, "{name:<11}{}", text(told, path));
    }
    let added = match member(told, "recount.equal").as_ref().map(|equal| equal.get()) {
        Some("true") => "equal".to_owned(),
        Some(_) => {
            let (value, events) = (text(told, "recount.value"), text(told, "recount.eventCount"));
            format!("DIFFERENT: {value} of {events} events")
        }
        None => "too many events to add up here; `flowmeter verify` has no such bound".to_owned(),
    };
    let _ = writeln!(out, "added up   {added}\n");
    for event in list_of(told, "events") {
        let names = ["eventAt", "id", "value", "rule"];
        let [at, id, value, rule] = names.map(|name| text(&event, name));
        let _ = writeln!(out, "{at:<28} {id:<40} {value:>14}  {rule}");
    }
    if is_there(told, "nextCursor") {
        let all = text(told, "eventsFound");
        let _ = writeln!(out, "… of {all} events; GET /api/v1/records/{{recordId}}/explain has all of them, page by page");
    }
    out
}

fn of_event(told: &RawValue) -> String {
    let mut out = String::new();
    for event in list_of(told, "events") {
        let head = ["pipeline", "id", "source", "subject"].map(|name| text(&event, name));
        let [pipeline, id, source, subject] = head;
        let _ = writeln!(out, "{pipeline}: {id} from {source}, subject {subject}");
        for step in list_of(&event, "steps") {
            let at = if is_there(&step, "operator") { "operator" } else { "receivedAt" };
            let [name, at, outcome] = ["step", at, "outcome"].map(|name| text(&step, name));
            let fields = member(&step, "fields").map(|fields| plain(&fields)).unwrap_or_default();
            let _ = writeln!(out, "  {name:<10} {at:<28} {outcome:<10} {fields}");
        }
        for counted in list_of(&event, "counted") {
            let names = ["value", "userId", "meterType", "periodStart", "periodEnd", "rule"];
            let [value, user, kind, start, end, rule] = names.map(|name| text(&counted, name));
            let place = format!("{user} in {kind}, {start} to {end}");
            let _ = writeln!(out, "  counted    {value} for {place}, by the rule {rule}");
        }
        let verdict = text(&event, "verdict");
        let reason = match is_there(&event, "reason") {
            true => format!(" ({})", text(&event, "reason")),
            false => String::new(),
        };
        let detail = member(&event, "detail").map(|detail| plain(&detail)).unwrap_or_default();
        let _ = writeln!(out, "  verdict    {verdict}{reason} {detail}");
    }
    out
}
