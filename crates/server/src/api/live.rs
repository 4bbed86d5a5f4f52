//! Sends changes to the dashboard's pages as server-sent events.
//!
//! A topic is a JSON document that is made once a second. The first event has all of it; the next
//! ones have only the paths whose values changed. A reader that is slow gets a new snapshot instead
//! of a queue. Events of sessions come in the same stream.

use std::collections::BTreeMap;
use std::time::Duration;

use axum::Extension;
use axum::body::Body;
use axum::extract::{RawQuery, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use bytes::Bytes;
use flowmeter_core::time::Timestamp;
use flowmeter_node::keys::Scope;
use http_body_util::channel::{Channel, Sender};
use serde_json::{Value, json};

use super::request::Query;
use super::{App, Asked, Endpoint, off};
use crate::problem::{Code, Problem, Refused, problem_of};

/// How often a topic is looked at.
const EVERY: Duration = Duration::from_secs(1);
/// Topics of one stream.
const TOPICS_MAX: usize = 8;
/// Looks without a change after which a comment is sent.
const QUIET_MAX: u32 = 15;
/// Events of sessions read at once.
const EVENTS_AT_ONCE: usize = 100;

pub(super) fn endpoints() -> Vec<Endpoint> {
    vec![Endpoint {
        method: Method::GET,
        path: "/api/v1/live",
        scope: Some(Scope::Read),
        summary: "Counters of pages as they change (server-sent events)",
        query: &[
            ("topic", "overview, pipeline:NAME, session:ID, job:ID, deliveries or corrections; may be repeated"),
            ("from", "counts since this instant"),
            ("after", "events of sessions after this number, as the header Last-Event-ID does"),
        ],
        body: None,
        answer: (200, "text/event-stream: snapshot, counters, session"),
        route: get(live),
    }]
}

/// The topic of a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Topic {
    Overview,
    Deliveries,
    Corrections,
    Pipeline(String),
    Session(String),
    Job(String),
}

impl Topic {
    fn read(text: &str) -> Option<Topic> {
        match text.split_once(':') {
            None if text == "overview" => Some(Topic::Overview),
            None if text == "deliveries" => Some(Topic::Deliveries),
            None if text == "corrections" => Some(Topic::Corrections),
            Some(("pipeline", name)) if !name.is_empty() => Some(Topic::Pipeline(name.to_owned())),
            Some(("session", id)) if !id.is_empty() => Some(Topic::Session(id.to_owned())),
            Some(("job", id)) if !id.is_empty() => Some(Topic::Job(id.to_owned())),
            _ => None,
        }
    }

    fn name(&self) -> String {
        match self {
            Topic::Overview => "overview".to_owned(),
            Topic::Deliveries => "deliveries".to_owned(),
            Topic::Corrections => "corrections".to_owned(),
            Topic::Pipeline(name) => format!("pipeline:{name}"),
            Topic::Session(id) => format!("session:{id}"),
            Topic::Job(id) => format!("job:{id}"),
        }
    }

    /// The topic's document now.
    fn shown(&self, app: &App, namespace: &str, from: Timestamp) -> Result<Value, Refused> {
        let installation = &app.installation;
        match self {
            Topic::Overview => installation.overview(namespace, from, &app.expiring(namespace)).map_err(|why| problem_of(&why)),
            Topic::Deliveries => {
                let served = installation.served_in(namespace);
                Ok(json!({"targets": served.iter().flat_map(|one| installation.target_rows(one)).collect::<Vec<_>>()}))
            }
            Topic::Corrections => Ok(installation.parked_summary(namespace)),
            Topic::Pipeline(name) => Ok(installation.pipeline_live(namespace, name, from)?),
            Topic::Job(id) => Ok(installation.jobs.find(namespace, id)?.shown()),
            Topic::Session(id) => {
                let session = installation.session(namespace, id)?;
                let mut shown = super::sessions::shown(&session);
                shown["counts"] = installation.session_counts(&session).map_err(|why| problem_of(&why))?;
                Ok(shown)
            }
        }
    }
}

async fn live(
    State(app): State<App>,
    Extension(asked): Extension<Asked>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<Response, Refused> {
    let query = Query::of(query.as_deref());
    let from = super::overview::since(&app, &query)?;
    let after = super::stream::continues_after(&app, &headers, &query).await?;
    let wrong = |text: &str| {
        let detail =
            format!("`{text}` is no topic; there are overview, pipeline:NAME, session:ID, job:ID, deliveries and corrections");
        Box::new(Problem::new(Code::Invalid, detail).field("topic"))
    };
    let topics = query.all("topic").map(|text| Topic::read(text).ok_or_else(|| wrong(text))).collect::<Result<Vec<_>, _>>()?;
    if topics.is_empty() || topics.len() > TOPICS_MAX {
        return Err(Box::new(Problem::new(Code::Invalid, format!("name 1 to {TOPICS_MAX} topics")).field("topic")));
    }
    // A key that is revoked meanwhile, or a browser that signs out, ends the stream at the next look.
    let (sender, body) = Channel::<Bytes>::new(1);
    tokio::spawn(tell(app, asked, topics, (from, after), sender));
    Ok(stream(body))
}

/// An answer that is a stream of events.
pub(super) fn stream(body: Channel<Bytes>) -> Response {
    let mut answer = (StatusCode::OK, Body::new(body)).into_response();
    let headers = answer.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    // nginx would gather events until its buffer is full.
    headers.insert("x-accel-buffering", HeaderValue::from_static("no"));
    answer
}

/// Whether the key of a stream still works, and the browser is still signed in with it.
pub(super) fn may_go_on(app: &App, asked: &Asked) -> bool {
    let now = app.installation.wall();
    let Some(key) = asked.principal.key else { return true };
    let is_signed_in = asked.browser.as_ref().is_none_or(|browser| app.browsers.acts_with(browser, key, now));
    is_signed_in && app.keys.principal(key, now).is_ok()
}

async fn tell(app: App, asked: Asked, topics: Vec<Topic>, (from, mut after): (Timestamp, u64), mut reader: Sender<Bytes>) {
    let mut stopping = app.stopping.clone();
    let mut known: Vec<BTreeMap<String, Value>> = vec![BTreeMap::new(); topics.len()];
    let mut every = tokio::time::interval(EVERY);
    every.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut quiet = 0;
    loop {
        tokio::select! {
            _ = every.tick() => {}
            _ = stopping.wait_for(|is_stopping| *is_stopping) => return,
        }
        let (looking, of, wanted) = (app.clone(), asked.clone(), topics.clone());
        let looked = off(move || {
            let namespace = of.who.namespace.as_str();
            let shown: Vec<_> = wanted.iter().map(|topic| topic.shown(&looking, namespace, from)).collect();
            let events = looking.installation.session_events(namespace, after, EVENTS_AT_ONCE).unwrap_or_default();
            Ok((shown, events, may_go_on(&looking, &of)))
        });
        let Ok((shown, events, true)) = looked.await else { return };
        let at = app.installation.now().to_string();
        let mut text = String::new();
        for ((topic, shown), known) in topics.iter().zip(shown).zip(&mut known) {
            match shown {
                Ok(shown) => text.push_str(&change(&topic.name(), &at, &shown, known)),
                Err(refused) => {
                    let data = json!({"topic": topic.name(), "problem": refused.to_json()});
                    text.push_str(&format!("event: trouble\ndata: {data}\n\n"));
                    known.clear();
                }
            }
        }
        for event in &events {
            after = after.max(event.number);
            let data = serde_json::to_string(event).unwrap_or_default();
            text.push_str(&format!("id: {}\nevent: session\ndata: {data}\n\n", event.number));
        }
        quiet += 1;
        if text.is_empty() && quiet >= QUIET_MAX {
            text.push_str(": still here\n\n");
        }
        if text.is_empty() {
            continue;
        }
        quiet = 0;
        if reader.send_data(text.into()).await.is_err() {
            return;
        }
    }
}

/// The event that brings a reader up to date; empty if nothing changed.
fn change(topic: &str, at: &str, shown: &Value, known: &mut BTreeMap<String, Value>) -> String {
    let mut now = BTreeMap::new();
    leaves(shown, String::new(), &mut now);
    let same_shape = !known.is_empty() && known.len() == now.len() && known.keys().eq(now.keys());
    if !same_shape {
        *known = now;
        return format!("event: snapshot\ndata: {}\n\n", json!({"topic": topic, "at": at, "state": shown}));
    }
    let changed: serde_json::Map<String, Value> = now
        .iter()
        .filter(|(path, value)| path.as_str() != "/at" && known.get(*path) != Some(*value))
        .map(|(path, value)| (path.clone(), value.clone()))
        .collect();
    *known = now;
    match changed.is_empty() {
        true => String::new(),
        false => format!("event: counters\ndata: {}\n\n", json!({"topic": topic, "at": at, "set": changed})),
    }
}

/// Every leaf of a document by its JSON Pointer. Empty lists and objects are leaves.
fn leaves(value: &Value, path: String, into: &mut BTreeMap<String, Value>) {
    match value {
        Value::Object(members) if !members.is_empty() => {
            for (name, member) in members {
                let name = name.replace('~', "~0").replace('/', "~1");
                leaves(member, format!("{path}/{name}"), into);
            }
        }
        Value::Array(items) if !items.is_empty() => {
            for (at, item) in items.iter().enumerate() {
                leaves(item, format!("{path}/{at}"), into);
            }
        }
        leaf => {
            into.insert(path, leaf.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_snapshot_and_its_changes_say_the_same_as_a_later_snapshot() {
        let mut known = BTreeMap::new();
        let one = json!({"at": "1", "a": {"b/c": 1, "d": [1, 2]}, "e": []});
        assert!(change("t", "1", &one, &mut known).starts_with("event: snapshot"));
        assert_eq!(change("t", "2", &json!({"at": "2", "a": {"b/c": 1, "d": [1, 2]}, "e": []}), &mut known), "");
        let told = change("t", "3", &json!({"at": "3", "a": {"b/c": 5, "d": [1, 3]}, "e": []}), &mut known);
        assert!(told.starts_with("event: counters"), "{told}");
        assert!(told.contains(r#""/a/b~1c":5"#) && told.contains(r#""/a/d/1":3"#) && !told.contains("/a/d/0"), "{told}");
        let told = change("t", "4", &json!({"at": "4", "a": {"b/c": 5, "d": [1]}, "e": []}), &mut known);
        assert!(told.starts_with("event: snapshot"), "another shape: {told}");
    }

    #[test]
    fn topics_are_read_from_their_names() {
        for text in ["overview", "deliveries", "corrections", "pipeline:a:b", "session:R-00000001", "job:J-00000001"] {
            assert_eq!(Topic::read(text).map(|topic| topic.name()).as_deref(), Some(text));
        }
        for text in ["", "pipeline:", "job:", "overviews"] {
            assert_eq!(Topic::read(text), None, "{text}");
        }
    }
}
