//! `POST /pipelines/{idOrName}/test`: a DEBUG session over events in the request, a file of
//! the server, what was received last, or test data that was kept.

use axum::Extension;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, Method, StatusCode};
use axum::response::Response;
use axum::routing::post;
use flowmeter_core::time::Timestamp;
use flowmeter_node::keys::Scope;
use flowmeter_node::trials::source::Given;
use flowmeter_node::trials::trial::Trial;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::request::json;
use super::{App, Asked, Endpoint, answer, off};
use crate::problem::{Code, Problem, Refused};

/// Events of each operator that are shown, unless asked otherwise, and at most.
const SAMPLES: usize = 3;
const SAMPLES_MAX: usize = 100;

pub(super) fn endpoints() -> Vec<Endpoint> {
    vec![Endpoint {
        method: Method::POST,
        path: "/api/v1/pipelines/{idOrName}/test",
        scope: Some(Scope::Operate),
        summary: "Run a DEBUG session over sample events; nothing is counted or pushed",
        query: &[],
        body: Some(
            "one of events (a list of events, or of lines of an access log), file (in the folder of sessions.test_files), last (so many \
             received events) and testData (its name); asOf, samples, strict, document, steps (what each operator made of each event), \
             against (a version to compare the records with) if wanted",
        ),
        answer: (200, "TESTING_PASSED or TESTING_FAILED; what each operator took and gave; records that would be flushed"),
        route: post(test),
    }]
}

/// Events stay as they were written: their numbers keep their digits.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Wish {
    events: Option<Vec<Box<RawValue>>>,
    file: Option<String>,
    last: Option<u64>,
    test_data: Option<String>,
    as_of: Option<String>,
    samples: Option<usize>,
    #[serde(default)]
    strict: bool,
    document: Option<String>,
    #[serde(default)]
    steps: bool,
    against: Option<u32>,
}

async fn test(
    State(app): State<App>,
    Extension(asked): Extension<Asked>,
    Path(name): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Refused> {
    let wish: Wish = json(&app, &headers, body).await?;
    let invalid = |field: &str, detail: String| Box::new(Problem::new(Code::Invalid, detail).field(field));
    let sources = [wish.events.is_some(), wish.file.is_some(), wish.last.is_some(), wish.test_data.is_some()];
    if sources.iter().filter(|is_given| **is_given).count() != 1 {
        let detail = "give the events to try: one of `events` (a list), `file`, `last` (a number) or `testData` (a name)";
        return Err(invalid("events", detail.to_owned()));
    }
    let samples = wish.samples.unwrap_or(SAMPLES);
    if samples > SAMPLES_MAX {
        return Err(invalid("samples", format!("samples is a number up to {SAMPLES_MAX}")));
    }
    let as_of = match &wish.as_of {
        None => None,
        Some(text) => {
            let wrong = || invalid("asOf", format!("`{text}` is no time; write RFC 3339"));
            Some(Timestamp::parse_rfc3339(text.as_bytes()).ok_or_else(wrong)?)
        }
    };
    let events_max = app.installation.settings().limits.batch_events_max;
    let written = wish.events.map(|events| written(&events, events_max)).transpose()?;
    off(move || {
        let pipeline = app.installation.pipeline(&asked.who.namespace, &name)?;
        let given = match (written, &wish.file, wish.last, &wish.test_data) {
            (Some((lines, is_raw)), ..) => Given::Lines { lines: lines.into_bytes(), is_raw },
            (_, Some(file), ..) => app.installation.test_file(file)?,
            (_, _, Some(count), _) => app.installation.last_events(&pipeline, count)?,
            (.., name) => {
                let kept = app.installation.test_data(&asked.who.namespace, name.as_deref().unwrap_or_default())?;
                Given::Lines { lines: kept.lines.into_bytes(), is_raw: kept.raw }
            }
        };
        let (document, is_strict) = (wish.document, wish.strict);
        let trial = Trial { document, given, as_of, samples, is_strict, steps: wish.steps, against: wish.against };
        Ok(answer(StatusCode::OK, &app.installation.try_out(&asked.who, &pipeline, trial)?))
    })
    .await
}

/// The events, a line each, and whether they are lines of an access log.
pub(super) fn written(events: &[Box<RawValue>], events_max: u64) -> Result<(String, bool), Refused> {
    if events.len() as u64 > events_max {
        let detail = format!("{} events; limits.batch_events_max is {events_max}", events.len());
        return Err(Box::new(Problem::new(Code::TooMany, detail).field("events")));
    }
    let is_raw = events.first().is_some_and(|event| event.get().starts_with('"'));
    let mut lines = String::new();
    for (at, event) in events.iter().enumerate() {
        let text = match is_raw {
            false => event.get().to_owned(),
            true => serde_json::from_str::<String>(event.get()).map_err(|_| {
                let detail = "the first event is a line of text, and this one is not";
                Box::new(Problem::new(Code::Invalid, detail).field(format!("events[{at}]")))
            })?,
        };
        // Between the parts of JSON a line end is a blank like others.
        lines.extend(text.chars().map(|c| if c == '\n' || c == '\r' { ' ' } else { c }));
        lines.push('\n');
    }
    Ok((lines, is_raw))
}
