//! The door: converts a body in any of the five forms to events, one JSON object per line, and
//! checks each of them.
//!
//! Text that is not JSON is rejected here with its position, and so is a CloudEvent that breaks the
//! rules of its format ([`cloudevent`]). Pipelines judge everything else about an event.

mod binary;
mod cloudevent;
mod cut;
#[cfg(test)]
mod tests;

use std::cell::RefCell;

use axum::http::HeaderMap;
use cloudevent::Outcome;
use flowmeter_core::event::Batch;
use flowmeter_core::event::json::{Projection, Scanner};
use flowmeter_node::settings::limits::JSON_DEPTH_MAX;

use crate::limits::check_depth;
use crate::problem::{Code, Problem, Refused};

/// The form of a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// A CloudEvent with its attributes.
    Structured,
    /// A list of several CloudEvents.
    Batched,
    /// Attributes in `ce-*` headers, data in the body.
    Binary,
    /// One JSON object, or a list of them, which may be CloudEvents.
    Plain,
    /// One JSON object per line, which may be a CloudEvent.
    Lines,
}

/// The required form of an event.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Needs {
    /// Any JSON object is allowed.
    #[default]
    Nothing,
    /// A CloudEvent is required.
    CloudEvent,
    /// A CloudEvent with a subject.
    Subject,
}

/// The events of a body after the checks of the door.
#[derive(Debug, Default)]
pub(crate) struct Knocking {
    /// The head of the letter, followed by one JSON object per line: the admitted events.
    pub(crate) letter: Vec<u8>,
    /// The number of events that were admitted.
    pub(crate) admitted: u32,
    /// The index in the body of each admitted event.
    pub(crate) places: Vec<u32>,
    /// The events that were rejected.
    pub(crate) rejected: Vec<Rejected>,
}

/// An event that was rejected.
#[derive(Debug)]
pub(crate) struct Rejected {
    /// Its place in the body, from 0.
    pub(crate) index: u32,
    /// Its id, if it has one.
    pub(crate) id: Option<String>,
    /// One of `not_json`, `not_cloudevent`, `too_large`, `too_deep`.
    pub(crate) reason: &'static str,
    /// The exact error, for people.
    pub(crate) detail: String,
}

impl Form {
    /// Returns the form for a content type.
    pub(crate) fn of(headers: &HeaderMap) -> Result<Form, Refused> {
        let essence = content_type(headers)?.split(';').next().unwrap_or_default();
        let essence = essence.trim().to_ascii_lowercase();
        // A CloudEvent in the body may repeat its attributes in headers; the body takes precedence.
        if !essence.starts_with("application/cloudevents") && binary::is_meant(headers)? {
            return Ok(Form::Binary);
        }
        match essence.as_str() {
            "application/cloudevents+json" => Ok(Form::Structured),
            "application/cloudevents-batch+json" => Ok(Form::Batched),
            "application/json" | "" => Ok(Form::Plain),
            "application/x-ndjson" | "application/ndjson" | "application/jsonl" => Ok(Form::Lines),
            other => {
                let detail = format!(
                    "`{other}` is not read here; send application/cloudevents+json, application/cloudevents-batch+json, application/json or application/x-ndjson, or ce-* headers"
                );
                Err(Box::new(Problem::new(Code::UnsupportedMediaType, detail).field("content-type")))
            }
        }
    }

    /// Returns the required form of its events.
    fn needs(self) -> Needs {
        match self {
            Form::Structured | Form::Batched | Form::Binary => Needs::CloudEvent,
            Form::Plain | Form::Lines => Needs::Nothing,
        }
    }
}

thread_local! {
    /// Buffers and caches of a thread; they change no result.
    static DOOR: RefCell<(Scanner, Batch, Projection)> =
        RefCell::new((Scanner::new(), Batch::default(), cloudevent::projection()));
}

/// Reads the events of a body. `head` is the head of the letter that they become part of.
pub(crate) fn read(
    form: Form,
    needs: Needs,
    headers: &HeaderMap,
    body: Vec<u8>,
    head: Vec<u8>,
    bounds: Bounds,
) -> Result<Knocking, Refused> {
    let lines = match form {
        Form::Lines => body,
        Form::Structured => cut::one_line(body)?,
        Form::Batched => cut::list(body, true)?,
        Form::Plain => cut::list(body, false)?,
        Form::Binary => binary::event(headers, &body)?,
    };
    DOOR.with_borrow_mut(|(scanner, batch, projection)| {
        batch.block.clear();
        *batch.block.open() = lines;
        batch.block.seal();
        scanner.decode(projection, batch, bounds.event_bytes_max);
        let needs = needs.max(form.needs());
        judge(batch, needs, form == Form::Binary, head, bounds)
    })
}

/// The bounds of one body.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    /// Maximal bytes of an event.
    pub(crate) event_bytes_max: usize,
    /// Maximum of events in a body.
    pub(crate) events_max: usize,
    /// Maximum of lists and objects inside each other.
    pub(crate) depth_max: u64,
}

fn judge(batch: &Batch, needs: Needs, is_binary: bool, head: Vec<u8>, bounds: Bounds) -> Result<Knocking, Refused> {
    let Bounds { events_max, depth_max, .. } = bounds;
    if batch.len() > events_max {
        let detail = format!("the batch has {} events; limits.batch_events_max is {events_max}", batch.len());
        return Err(Box::new(Problem::new(Code::TooMany, detail)));
    }
    let mut knocking = Knocking { letter: head, ..Knocking::default() };
    knocking.letter.reserve(batch.block.bytes().len() + 1);
    let outcome = |event| cloudevent::judge(batch, event, needs, is_binary);
    if are_lines(batch)
        && (0..batch.len()).all(|event| outcome(event) == Outcome::Taken && too_deep(batch.raw(event), depth_max).is_none())
    {
        knocking.letter.extend_from_slice(batch.block.bytes());
        if batch.block.bytes().last() != Some(&b'\n') {
            knocking.letter.push(b'\n');
        }
        knocking.admitted = batch.len() as u32;
        knocking.places = (0..batch.len() as u32).collect();
        return Ok(knocking);
    }
    knocking.places.reserve(batch.len());
    let mut faults = batch.faults.iter().peekable();
    for event in 0..batch.len() {
        let index = event as u32;
        if let Some(fault) = faults.next_if(|fault| fault.event == index) {
            let reason = match &fault.detail {
                detail if detail.contains("the limit is") => "too_large",
                detail if detail.contains("nested too deeply") => "too_deep",
                _ => "not_json",
            };
            knocking.rejected.push(Rejected { index, id: None, reason, detail: fault.detail.clone() });
            continue;
        }
        if let Some(detail) = too_deep(batch.raw(event), depth_max) {
            knocking.rejected.push(Rejected { index, id: id_of(batch, event), reason: "too_deep", detail });
            continue;
        }
        match outcome(event) {
            Outcome::Taken => {
                let raw = batch.raw(event);
                knocking.letter.extend_from_slice(raw.strip_suffix(b"\r").unwrap_or(raw));
            }
            Outcome::Rewritten(line) => knocking.letter.extend_from_slice(&line),
            Outcome::Rejected(detail) => {
                knocking.rejected.push(Rejected { index, id: id_of(batch, event), reason: "not_cloudevent", detail });
                continue;
            }
        }
        knocking.letter.push(b'\n');
        knocking.admitted += 1;
        knocking.places.push(index);
    }
    Ok(knocking)
}

fn id_of(batch: &Batch, event: usize) -> Option<String> {
    let id = batch.leaf(event, cloudevent::ID).as_text();
    id.map(|id| String::from_utf8_lossy(&id).into_owned())
}

/// Returns why an event is nested too deep. The reader of events has a bound of its own, so only a
/// lower one is looked at, and only of events with more brackets than that.
fn too_deep(event: &[u8], depth_max: u64) -> Option<String> {
    let max = usize::try_from(depth_max).unwrap_or(usize::MAX);
    let mut openings = event.iter().filter(|byte| matches!(byte, b'{' | b'['));
    if depth_max >= JSON_DEPTH_MAX || openings.nth(max).is_none() {
        return None;
    }
    check_depth(event, depth_max).err().map(|problem| problem.detail)
}

/// Whether every line is an event and there is nothing else between them; then the body is taken
/// unchanged.
fn are_lines(batch: &Batch) -> bool {
    let next = |end: u32, event: usize| {
        let record = batch.record(event);
        let ends_well = record.end == 0 || batch.block.bytes()[record.end as usize - 1] != b'\r';
        (record.start == end && ends_well).then_some(record.end + 1)
    };
    let end = (0..batch.len()).try_fold(0, next);
    batch.faults.is_empty() && end.is_some_and(|end| end as usize >= batch.block.bytes().len() && !batch.is_empty())
}

/// Returns the `Content-Type` of a request; empty if there is none.
pub(crate) fn content_type(headers: &HeaderMap) -> Result<&str, Refused> {
    let Some(value) = headers.get("content-type") else { return Ok("") };
    value.to_str().map(str::trim).map_err(|_| {
        let detail = "`Content-Type` has a byte that is not printable ASCII";
        Box::new(Problem::new(Code::UnsupportedMediaType, detail).field("content-type"))
    })
}

/// Whether a media type is JSON: `*/json` or `*/*+json`, whatever its parameters.
fn is_json(media_type: &str) -> bool {
    let essence = media_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    essence.split_once('/').is_some_and(|(_, subtype)| subtype == "json" || subtype.ends_with("+json"))
}
