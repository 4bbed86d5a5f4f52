//! `POST /api/v1/events`: answers 204 once all events are durable.

use std::sync::Arc;

use axum::Extension;
use axum::body::Body;
use axum::extract::{RawQuery, State};
use axum::http::{HeaderMap, Method, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use flowmeter_connectors::lines::{self, Lines};
use flowmeter_core::verdict::Verdict;
use flowmeter_engine::Error;
use flowmeter_engine::live::Letter;
use flowmeter_engine::node::{Placed, Submission};
use flowmeter_node::installation::Served;
use flowmeter_node::keys::Scope;
use serde_json::{Value, json};
use tokio::sync::oneshot;
use tracing::Instrument;

use super::door::{self, Bounds, Form, Knocking, Needs};
use super::request::Query;
use super::{App, Asked, Endpoint, answer};
use crate::problem::{Code, Problem, Refused, problem_of};
use crate::traces;

pub(super) fn endpoints() -> Vec<Endpoint> {
    vec![Endpoint {
        method: Method::POST,
        path: "/api/v1/events",
        scope: Some(Scope::Ingest),
        summary: "Take events; answered once they are durable",
        query: &[
            ("partial", "true: take the good events of a batch and tell the verdict of each"),
            ("wait", "counted: answer with the verdicts after counting"),
        ],
        body: Some("CloudEvents (structured, batched, binary), JSON objects, or NDJSON"),
        answer: (204, "Everything is durable"),
        route: post(take),
    }]
}

async fn take(
    State(app): State<App>,
    Extension(asked): Extension<Asked>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Refused> {
    let query = Query::of(query.as_deref());
    let form = Form::of(&headers)?;
    let wait = match query.get("wait") {
        None => false,
        Some("counted") => true,
        Some(other) => {
            let detail = format!("`wait` is `counted` or left out, not `{other}`");
            return Err(Box::new(Problem::new(Code::Invalid, detail).field("wait")));
        }
    };
    let options = Options { partial: query.is_on("partial"), wait, needs: Needs::Nothing };
    admit(&app, &asked, form, &headers, body, options).await
}

/// The options of an answer to a sender.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Options {
    /// Whether valid events of a batch are taken although others are rejected.
    pub(crate) partial: bool,
    /// Whether the answer has verdicts.
    pub(crate) wait: bool,
    /// The required form of an event, whatever the form of the body.
    pub(crate) needs: Needs,
}

/// Takes a body of events.
pub(crate) async fn admit(
    app: &App,
    asked: &Asked,
    form: Form,
    headers: &HeaderMap,
    body: Body,
    options: Options,
) -> Result<Response, Refused> {
    let limits = &app.installation.settings().limits;
    let bytes = crate::body::read(headers, body, limits).await?;
    // A sender that is refused in the middle of its body may never read why.
    wait_for_room(app).await?;
    let received = bytes.len();
    let namespace = &asked.who.namespace;
    let head = letter_head(namespace, 0);
    let head_bytes = head.len();
    let lines::Bounds { event_bytes_max, events_max, .. } = bounds(app);
    let bounds = Bounds { event_bytes_max, events_max, depth_max: limits.json_depth_max };
    let mut knocking = door::read(form, options.needs, headers, bytes, head, bounds)?;
    note(app, asked, received, knocking.admitted, knocking.rejected.len());
    if !knocking.rejected.is_empty() && !options.partial {
        return Err(refuse(&knocking));
    }
    let placed = match knocking.admitted {
        0 => None,
        events => {
            let put = put(app, head_bytes, std::mem::take(&mut knocking.letter), events);
            Some(put.instrument(traces::part("commit", events)).await?)
        }
    };
    if !options.partial && !options.wait {
        return Ok(StatusCode::NO_CONTENT.into_response());
    }
    let verdicts = match placed {
        Some(placed) if options.wait => {
            let counted = counted(app, namespace, placed, knocking.admitted);
            counted.instrument(traces::part("count", knocking.admitted)).await?
        }
        _ => Vec::new(),
    };
    Ok(answer(if options.partial { StatusCode::MULTI_STATUS } else { StatusCode::OK }, &told(&knocking, &verdicts)))
}

/// Takes the events that a request in OTLP or remote write brings; returns once they are durable.
pub(crate) async fn admit_lines(app: &App, asked: &Asked, received: usize, lines: &Lines) -> Result<(), Refused> {
    wait_for_room(app).await?;
    note(app, asked, received, lines.count, lines.rejected as usize);
    if lines.count == 0 {
        return Ok(());
    }
    let mut letter = letter_head(&asked.who.namespace, lines.bytes.len());
    let head = letter.len();
    letter.extend_from_slice(&lines.bytes);
    put(app, head, letter, lines.count).instrument(traces::part("commit", lines.count)).await.map(drop)
}

/// Returns the bounds of the events of a request.
pub(crate) fn bounds(app: &App) -> lines::Bounds {
    let limits = &app.installation.settings().limits;
    let usize_of = |bound| usize::try_from(bound).unwrap_or(usize::MAX);
    lines::Bounds {
        event_bytes_max: flowmeter_core::limits::EVENT_BYTES_MAX,
        events_max: usize_of(limits.batch_events_max),
        bytes_max: usize_of(limits.decompressed_bytes_max),
    }
}

/// Refuses events if the log takes none; waits while meters are full.
async fn wait_for_room(app: &App) -> Result<(), Refused> {
    match app.installation.failure() {
        Some(why) => Err(Box::new(Problem::new(Code::Poisoned, why.to_string()))),
        None => Ok(app.installation.wait_for_meters().await?),
    }
}

/// Returns the head of a letter with room for so many bytes of events.
fn letter_head(namespace: &str, bytes: usize) -> Vec<u8> {
    let mut head = Vec::with_capacity(64 + bytes);
    Letter::open(namespace, &[]).write_head(&mut head);
    head
}

/// Adds a request to the metrics and to the rate of its key.
fn note(app: &App, asked: &Asked, bytes: usize, admitted: u32, rejected: usize) {
    app.metrics.received(&asked.who.namespace, bytes, admitted, rejected);
    app.rates.spend_events(asked.principal.key, u64::from(admitted), app.installation.wall());
}

/// Appends a letter to the log and waits until it is durable.
async fn put(app: &App, head: usize, letter: Vec<u8>, events: u32) -> Result<Placed, Refused> {
    let (sender, receiver) = oneshot::channel::<Result<Placed, Error>>();
    let reply = Box::new(move |placed| drop(sender.send(placed)));
    app.installation.put(Submission::events(head, letter, events, &**app.installation.clock(), reply));
    let placed = receiver.await.map_err(|_| Box::new(Problem::new(Code::Draining, "the server is stopping").retry_after(1)))?;
    placed.map_err(|why| match app.installation.failure() {
        Some(failure) => Box::new(Problem::new(Code::Poisoned, failure.to_string())),
        None => problem_of(&why),
    })
}

fn refuse(knocking: &Knocking) -> Refused {
    let list: Vec<Value> = knocking.rejected.iter().take(100).map(rejected).collect();
    let first = &knocking.rejected[0];
    let detail = format!("event {}: {}", first.index, first.detail);
    let code = if knocking.rejected.iter().any(|rejected| rejected.reason == "too_large") && knocking.admitted == 0 {
        Code::TooLarge
    } else {
        Code::EventsRejected
    };
    Box::new(Problem::new(code, detail).field(format!("[{}]", first.index)).extra("verdicts", list))
}

fn rejected(rejected: &door::Rejected) -> Value {
    json!({"index": rejected.index, "id": rejected.id, "verdict": "rejected", "reason": rejected.reason, "detail": rejected.detail})
}

/// Returns the verdicts of each pipeline that received the events.
async fn counted(app: &App, namespace: &str, placed: Placed, events: u32) -> Result<Vec<(Arc<Served>, Vec<Verdict>)>, Refused> {
    let mut all = Vec::new();
    for served in app.installation.served_in(namespace) {
        // A paused pipeline has no verdicts before it resumes; the events are durable.
        if served.board().is_paused() {
            continue;
        }
        let (sender, receiver) = oneshot::channel();
        served.worker().judge(placed.position, Box::new(move |verdicts| drop(sender.send(verdicts))));
        let verdicts = receiver.await.map_err(|_| Box::new(Problem::new(Code::Draining, "the server is stopping")))?;
        let verdicts = verdicts.map_err(|why| problem_of(&why))?;
        let from = placed.first as usize;
        let mine = verdicts.get(from..from + events as usize).unwrap_or_default().to_vec();
        all.push((served, mine));
    }
    Ok(all)
}

fn told(knocking: &Knocking, verdicts: &[(Arc<Served>, Vec<Verdict>)]) -> Value {
    let mut events: Vec<(u32, Value)> = knocking.rejected.iter().map(|one| (one.index, rejected(one))).collect();
    for (at, index) in knocking.places.iter().enumerate() {
        let by_pipeline: Vec<Value> = verdicts
            .iter()
            .filter_map(|(served, verdicts)| Some((served, *verdicts.get(at)?)))
            .map(|(served, verdict)| {
                let (word, reason) = verdict.words();
                json!({"pipeline": served.kept.name, "verdict": word, "reason": reason})
            })
            .collect();
        let word = match by_pipeline.as_slice() {
            [one] => one["verdict"].clone(),
            _ => json!("accepted"),
        };
        let mut event = json!({"index": index, "verdict": word});
        match by_pipeline.as_slice() {
            [] => {}
            [one] => {
                event["pipeline"] = one["pipeline"].clone();
                event["reason"] = one["reason"].clone();
            }
            _ => event["verdicts"] = Value::Array(by_pipeline),
        }
        events.push((*index, event));
    }
    events.sort_by_key(|(index, _)| *index);
    let events: Vec<Value> = events.into_iter().map(|(_, event)| event).collect();
    json!({"accepted": knocking.admitted, "rejected": knocking.rejected.len(), "events": events})
}
