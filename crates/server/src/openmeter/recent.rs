//! The latest events of a namespace, read from the end of the log, each with why it counts
//! in no meter, if it does not. They are listed by event time, the newest first.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use flowmeter_core::time::Timestamp;
use flowmeter_engine::live::Letter;
use flowmeter_engine::{Error, Kind};
use flowmeter_node::installation::Installation;
use flowmeter_node::openmeter::meter::KeptMeter;
use serde::Serialize;
use serde_json::Value;
use serde_json::value::RawValue;

use crate::api::request::Query;
use crate::problem::{Code, Problem, Refused, problem_of};

/// Events of an answer at most, as OpenMeter has it.
const LIMIT_MAX: usize = 100;
/// Entries of the log that are looked through for one answer: it is about the latest events.
const ENTRIES_MAX: u64 = 4_096;
/// Events that are looked at for one answer: each is parsed.
const EVENTS_MAX: usize = 100_000;
/// Entries that are read in one go at most.
const WINDOW_MAX: u64 = 256;

/// Which events are asked for.
#[derive(Debug, Default)]
pub(super) struct Filter {
    from: Option<Timestamp>,
    to: Option<Timestamp>,
    subject: Option<String>,
    id: Option<String>,
    has_error: Option<bool>,
    ingested: (Option<Timestamp>, Option<Timestamp>),
    limit: usize,
}

impl Filter {
    pub(super) fn read(query: &Query) -> Result<Filter, Refused> {
        let limit = match query.get("limit").map(str::parse) {
            None => LIMIT_MAX,
            Some(Ok(limit @ 1..=LIMIT_MAX)) => limit,
            Some(_) => {
                let detail = format!("limit is a number from 1 to {LIMIT_MAX}");
                return Err(Box::new(Problem::new(Code::Invalid, detail).field("limit")));
            }
        };
        if query.get("customerId").is_some() {
            let detail = "there are no customers here; filter by `subject`";
            return Err(Box::new(Problem::new(Code::Invalid, detail).field("customerId")));
        }
        Ok(Filter {
            from: query.time("from")?,
            to: query.time("to")?,
            subject: query.get("subject").map(str::to_owned),
            id: query.get("id").map(str::to_owned),
            has_error: query.get("hasError").map(|value| value == "true"),
            ingested: (query.time("ingestedAtFrom")?, query.time("ingestedAtTo")?),
            limit,
        })
    }

    fn wants(&self, event: &Value, at: Timestamp, has_error: bool) -> bool {
        let text = |name: &str| event.get(name).and_then(Value::as_str);
        self.from.is_none_or(|from| at >= from)
            && self.to.is_none_or(|to| at < to)
            && self.subject.as_deref().is_none_or(|subject| text("subject") == Some(subject))
            && self.id.as_deref().is_none_or(|id| text("id").is_some_and(|known| known.contains(id)))
            && self.has_error.is_none_or(|wanted| wanted == has_error)
    }
}

/// An event as it was taken.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Ingested {
    event: Box<RawValue>,
    ingested_at: String,
    stored_at: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    validation_error: Option<String>,
}

/// The latest events that are asked for, by event time, the newest first.
pub(super) fn recent(
    installation: &Installation,
    namespace: &str,
    meters: &[KeptMeter],
    filter: &Filter,
) -> Result<Vec<Ingested>, Refused> {
    // By event time, newest first; of equal times the later arrival is first.
    let mut found: BTreeMap<(Reverse<Timestamp>, usize), Ingested> = BTreeMap::new();
    let mut looked_at = 0;
    let mut end = installation.log_extent().1;
    let last = end.saturating_sub(ENTRIES_MAX);
    let mut window = 16;
    while end > last && looked_at < EVENTS_MAX {
        let from = end.saturating_sub(window).max(last);
        let entries = match read(installation, from, end) {
            Ok(entries) => entries,
            // The log begins in between.
            Err(why) if why.kind == Kind::Unavailable && end - from > 1 => {
                window = (end - from) / 2;
                continue;
            }
            Err(why) if why.kind == Kind::Unavailable => break,
            Err(why) => return Err(problem_of(&why)),
        };
        for (at, bytes) in entries.iter().rev() {
            let letter = Letter::read(bytes).map_err(|why| problem_of(&why))?;
            if letter.namespace != namespace || letter.again || letter.pipeline.is_some() {
                continue;
            }
            let (from, to) = filter.ingested;
            if from.is_some_and(|from| *at < from) || to.is_some_and(|to| *at >= to) {
                continue;
            }
            let lines: Vec<&[u8]> = letter.lines.split(|c| *c == b'\n').filter(|line| !line.is_empty()).collect();
            for line in lines.iter().rev() {
                looked_at += 1;
                let Some((event_at, event)) = ingested(line, *at, meters, filter) else { continue };
                found.insert((Reverse(event_at), looked_at), event);
                if found.len() > filter.limit {
                    found.pop_last();
                }
            }
        }
        end = from;
        window = (window * 2).min(WINDOW_MAX);
    }
    Ok(found.into_values().collect())
}

/// The entries of events of a stretch of the log: when they were taken, and what they hold.
fn read(installation: &Installation, from: u64, end: u64) -> Result<Vec<(Timestamp, Vec<u8>)>, Error> {
    let mut reader = installation.read_log(from, end)?;
    let mut entries = Vec::new();
    while let Some(entry) = reader.read()? {
        if entry.kind == flowmeter_store::log::EntryKind::Events {
            entries.push((Timestamp::from_nanos(entry.at), entry.bytes));
        }
    }
    Ok(entries)
}

fn ingested(line: &[u8], taken_at: Timestamp, meters: &[KeptMeter], filter: &Filter) -> Option<(Timestamp, Ingested)> {
    let event: Value = serde_json::from_slice(line).ok()?;
    let validation_error = flaw(&event, meters);
    let event_at = event.get("time").and_then(Value::as_str).and_then(|time| Timestamp::parse_rfc3339(time.as_bytes()));
    let event_at = event_at.unwrap_or(taken_at);
    filter.wants(&event, event_at, validation_error.is_some()).then(|| {
        let ingested = Ingested {
            event: serde_json::from_slice(line).unwrap_or_default(),
            ingested_at: taken_at.to_string(),
            stored_at: taken_at.to_string(),
            validation_error,
        };
        (event_at, ingested)
    })
}

/// Why an event counts in none of the meters, or not in one that is for its type.
pub(super) fn flaw(event: &Value, meters: &[KeptMeter]) -> Option<String> {
    let event_type = event.get("type").and_then(Value::as_str).unwrap_or_default();
    let mut of_type = meters.iter().filter(|meter| meter.event_type == event_type).peekable();
    if of_type.peek().is_none() {
        return Some(format!("no meter found for event type: {event_type}"));
    }
    of_type.find_map(|meter| {
        let path = flowmeter_core::event::Path::parse(&meter.value_path()?).ok()?;
        let value = path.names().iter().try_fold(event, |value, name| value.get(&**name));
        let property = meter.value_property.as_deref().unwrap_or_default();
        match value {
            None | Some(Value::Null) => Some(format!("event data is missing value property at \"{property}\"")),
            Some(Value::Number(_)) => None,
            Some(Value::String(_)) if meter.aggregation == "UNIQUE_COUNT" => None,
            Some(Value::String(text)) if flowmeter_core::decimal::parse(text.as_bytes()).is_ok() => None,
            Some(Value::String(text)) => Some(format!("event data value cannot be parsed as a number: {text}")),
            Some(Value::Bool(_)) if meter.aggregation == "UNIQUE_COUNT" => None,
            Some(_) => Some("event data value property cannot be parsed".to_owned()),
        }
    })
}
