//! `POST /pipelines/{idOrName}/test`: a DEBUG session over events in the request.

use axum::Extension;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, Method, StatusCode};
use axum::response::Response;
use axum::routing::post;
use flowmeter_core::time::Timestamp;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::request::json;
use super::{App, Asked, Endpoint, answer, off};
use crate::installation::{Refused, Trial};
use crate::keys::Scope;
use crate::problem::{Code, Problem};

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
        body: Some("events: a list of events (or of lines of an access log); asOf, samples, strict, document if wanted"),
        answer: (200, "TESTING_PASSED or TESTING_FAILED; what each operator took and gave; records that would be flushed"),
        route: post(test),
    }]
}

/// Events stay as they were written: their numbers keep their digits.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Wish {
    events: Option<Vec<Box<RawValue>>>,
    as_of: Option<String>,
    samples: Option<usize>,
    #[serde(default)]
    strict: bool,
    document: Option<String>,
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
    let events = wish.events.ok_or_else(|| invalid("events", "give the events to try, as a list".to_owned()))?;
    let limit = app.installation.settings().limits.batch_events_max;
    if events.len() as u64 > limit {
        let detail = format!("{} events; limits.batch_events_max is {limit}", events.len());
        return Err(Box::new(Problem::new(Code::TooMany, detail).field("events")));
    }
    let is_raw = events.first().is_some_and(|event| event.get().starts_with('"'));
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
    let lines = lines(&events, is_raw)?;
    let trial = Trial { document: wish.document, lines, is_raw, as_of, samples, is_strict: wish.strict };
    off(move || {
        let pipeline = app.installation.pipeline(&asked.who.namespace, &name)?;
        Ok(answer(StatusCode::OK, &app.installation.try_out(&asked.who, &pipeline, trial)?))
    })
    .await
}

/// The events, a line each.
fn lines(events: &[Box<RawValue>], is_raw: bool) -> Result<Vec<u8>, Refused> {
    let mut lines = Vec::new();
    for (at, event) in events.iter().enumerate() {
        let text = match is_raw {
            false => event.get().to_owned(),
            true => serde_json::from_str::<String>(event.get()).map_err(|_| {
                let detail = "the first event is a line of text, and this one is not";
                Box::new(Problem::new(Code::Invalid, detail).field(format!("events[{at}]")))
            })?,
        };
        // Between the parts of JSON a line end is a blank like others.
        lines.extend(text.bytes().map(|c| if c == b'\n' || c == b'\r' { b' ' } else { c }));
        lines.push(b'\n');
    }
    Ok(lines)
}
