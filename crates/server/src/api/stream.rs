//! Session events as server-sent events.
//!
//! An event is sent after it was committed, in order, with its number as its id. A client that
//! reconnects with `Last-Event-ID` continues after that event and misses none, however long it was
//! disconnected; a new client receives events from now on. A commit of events rings a bell, and
//! then the catalog is read. So a slow client costs no memory and blocks no other.

use std::time::Duration;

use axum::Extension;
use axum::body::Body;
use axum::extract::{RawQuery, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use bytes::Bytes;
use flowmeter_node::keys::Scope;
use flowmeter_node::sessions::SessionEvent;
use http_body_util::channel::{Channel, Sender};

use super::request::Query;
use super::{App, Asked, Endpoint, live, off};
use crate::problem::{Code, Problem, Refused, problem_of};

/// After this time without an event a comment is sent, so that no proxy treats the silence as the
/// end of the connection.
const QUIET_MAX: Duration = Duration::from_secs(15);
/// How often the key of a client is looked at.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Events that are read at once.
const PAGE: usize = 100;
/// Pages that may wait for a client.
const PAGES_WAITING: usize = 4;

pub(super) fn endpoints() -> Vec<Endpoint> {
    vec![Endpoint {
        method: Method::GET,
        path: "/api/v1/stream",
        scope: Some(Scope::Read),
        summary: "Events of sessions as they happen (server-sent events)",
        query: &[
            ("type", "only events of this type; may be repeated"),
            ("pipeline", "only events of this pipeline, by name or id; may be repeated"),
            ("after", "continue after the event of this number, as the header Last-Event-ID does"),
        ],
        body: None,
        answer: (200, "text/event-stream: id, event (its type), data (the event)"),
        route: get(stream),
    }]
}

/// The filter of a client; empty: all events.
struct Wanted {
    event_types: Vec<String>,
    pipelines: Vec<String>,
}

impl Wanted {
    fn holds(&self, event: &SessionEvent) -> bool {
        let is_of = |wanted: &String| event.payload["meterName"] == **wanted || event.payload["meterId"] == **wanted;
        (self.event_types.is_empty() || self.event_types.contains(&event.event_type))
            && (self.pipelines.is_empty() || self.pipelines.iter().any(is_of))
    }
}

/// Returns the number of the event of a session after which a stream continues; the newest one if
/// the request names none.
pub(super) async fn continues_after(app: &App, headers: &HeaderMap, query: &Query) -> Result<u64, Refused> {
    match headers.get("last-event-id").map(|value| value.to_str().unwrap_or("?")).or(query.get("after")) {
        Some(text) => {
            let wrong = || Box::new(Problem::new(Code::BadCursor, format!("`{text}` is no event's id")).field("Last-Event-ID"));
            text.trim().parse().map_err(|_| wrong())
        }
        None => {
            let installation = app.installation.clone();
            off(move || installation.session_events_end().map_err(|why| problem_of(&why))).await
        }
    }
}

async fn stream(
    State(app): State<App>,
    Extension(asked): Extension<Asked>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<Response, Refused> {
    let query = Query::of(query.as_deref());
    let all = |name| query.all(name).map(str::to_owned).collect();
    let wanted = Wanted { event_types: all("type"), pipelines: all("pipeline") };
    let after = continues_after(&app, &headers, &query).await?;
    let (sender, body) = Channel::<Bytes>::new(PAGES_WAITING);
    tokio::spawn(tell(app, asked, wanted, after, sender));
    let mut answer = (StatusCode::OK, Body::new(body)).into_response();
    answer.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    answer.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    // nginx would buffer events until its buffer is full.
    answer.headers_mut().insert("x-accel-buffering", HeaderValue::from_static("no"));
    Ok(answer)
}

/// Sends events until the client disconnects, its key or sign-in ends, or the server stops.
async fn tell(app: App, asked: Asked, wanted: Wanted, mut after: u64, mut listener: Sender<Bytes>) {
    let mut stopping = app.stopping.clone();
    let mut bell = app.installation.listen();
    // The head is sent at once, so that the client sees that it is connected.
    if listener.send_data(Bytes::from_static(b": here\n\n")).await.is_err() {
        return;
    }
    let mut quiet = tokio::time::interval(QUIET_MAX);
    quiet.reset();
    let mut looks = tokio::time::interval(LOOK_EVERY);
    looks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        // A ring from here on causes another round.
        bell.borrow_and_update();
        let (installation, of) = (app.installation.clone(), asked.who.namespace.clone());
        let found = off(move || {
            // Numbers are shared by all namespaces: after the newest there is nothing to read.
            let end = installation.session_events_end().map_err(|why| problem_of(&why))?;
            let events = if end > after { installation.session_events(&of, after, PAGE) } else { Ok(Vec::new()) };
            Ok((end, events.map_err(|why| problem_of(&why))?))
        });
        let Ok((end, events)) = found.await else { return };
        if !live::may_go_on(&app, &asked) {
            return;
        }
        let is_full = events.len() >= PAGE;
        // A page that is not full contains everything up to the end.
        after = if is_full { events.last().map_or(after, |last| last.number) } else { after.max(end) };
        let text: String = events.iter().filter(|event| wanted.holds(event)).map(written).collect();
        if !text.is_empty() {
            quiet.reset();
            if listener.send_data(text.into()).await.is_err() {
                return;
            }
        }
        if is_full {
            continue;
        }
        let is_quiet = loop {
            tokio::select! {
                rung = bell.changed() => match rung {
                    Ok(()) => break false,
                    Err(_) => return,
                },
                _ = quiet.tick() => break true,
                _ = looks.tick() => if !live::may_go_on(&app, &asked) { return },
                _ = stopping.wait_for(|is_stopping| *is_stopping) => return,
            }
        };
        if is_quiet && listener.send_data(Bytes::from_static(b": still here\n\n")).await.is_err() {
            return;
        }
    }
}

fn written(event: &SessionEvent) -> String {
    let data = serde_json::to_string(event).unwrap_or_default();
    format!("id: {}\nevent: {}\ndata: {data}\n\n", event.number, event.event_type)
}
