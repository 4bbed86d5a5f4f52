//! Search for the palette: objects by what people have in hand.

use axum::Extension;
use axum::extract::{RawQuery, State};
use axum::http::{Method, StatusCode};
use axum::response::Response;
use axum::routing::get;
use flowmeter_node::keys::Scope;
use flowmeter_node::meters::MeterFilter;
use flowmeter_node::monitoring::overview::encoded as path;
use flowmeter_node::sessions::{KeptSession, SessionFilter};
use serde_json::{Value, json};
use uuid::Uuid;

use super::request::Query;
use super::{App, Asked, Endpoint, answer, off};
use crate::problem::{Refused, problem_of};

/// The maximum of hits.
const HITS_MAX: usize = 20;
/// Sessions whose ids begin with the text, at most, and the newest ones among which they are found.
const SESSIONS_MAX: usize = 6;
const SESSIONS_LOOKED: usize = 200;
/// The maximum of users.
const USERS_MAX: usize = 8;
/// Characters of a query.
const CHARS_MAX: usize = 200;

pub(super) fn endpoints() -> Vec<Endpoint> {
    vec![Endpoint {
        method: Method::GET,
        path: "/api/v1/search",
        scope: Some(Scope::Read),
        summary: "Objects by id or by the beginning of their name",
        query: &[("q", "an id, or the beginning of a name")],
        body: None,
        answer: (200, "At most 20 hits with their pages"),
        route: get(search),
    }]
}

/// Kinds of hits that an id leads to: the text is that of no event.
const OF_ONE_THING: [&str; 3] = ["session", "meter", "record"];

fn is_like_an_id(text: &str) -> bool {
    text.bytes().any(|byte| byte.is_ascii_digit()) && !text.contains(char::is_whitespace)
}

fn hit(kind: &str, title: impl Into<String>, detail: impl Into<String>, href: String) -> Value {
    json!({"kind": kind, "title": title.into(), "detail": detail.into(), "href": Value::String(href)})
}

async fn search(
    State(app): State<App>,
    Extension(asked): Extension<Asked>,
    RawQuery(query): RawQuery,
) -> Result<Response, Refused> {
    let query = Query::of(query.as_deref());
    let text: String = query.get("q").unwrap_or_default().trim().chars().take(CHARS_MAX).collect();
    off(move || {
        let mut hits = Vec::new();
        if !text.is_empty() {
            names(&app, &asked, &text, &mut hits)?;
            ids(&app, &asked, &text, &mut hits);
            users(&app, &asked, &text, &mut hits);
            // To look for an event, pipelines write out what they have; that is for texts that are nothing else. Any
            // other text with a digit may be an event's id all the same.
            let is_event = match hits.is_empty() {
                true => app.installation.has_event(&asked.who.namespace, &text).map_err(|why| problem_of(&why))?,
                false => is_like_an_id(&text) && !hits.iter().any(|hit| OF_ONE_THING.iter().any(|kind| hit["kind"] == *kind)),
            };
            if is_event {
                hits.push(hit("event", text.as_str(), "trace the event with this id", format!("/events/{}", path(&text))));
            }
        }
        hits.truncate(HITS_MAX);
        Ok(answer(StatusCode::OK, &json!({"items": hits})))
    })
    .await
}

/// Pipelines and meter types whose name begins so.
fn names(app: &App, asked: &Asked, text: &str, hits: &mut Vec<Value>) -> Result<(), Refused> {
    let namespace = asked.who.namespace.as_str();
    let small = text.to_lowercase();
    let begins = |name: &str| name.to_lowercase().starts_with(&small);
    let mut types = Vec::new();
    for pipeline in app.installation.pipelines(namespace).map_err(|why| problem_of(&why))? {
        if begins(&pipeline.name) || pipeline.id.to_string() == small {
            let detail = format!("pipeline, version {}", pipeline.version);
            hits.push(hit("pipeline", pipeline.name.as_str(), detail, format!("/pipelines/{}/live", path(&pipeline.name))));
        }
        if let Some(compiled) = app.installation.compiled(&pipeline) {
            let named = compiled.plan.meter_types.iter().filter(|kind| begins(&kind.name) || kind.id.to_string() == small);
            types.extend(named.map(|kind| (kind.name.clone(), kind.unit.clone())));
        }
    }
    types.sort();
    types.dedup();
    for (name, unit) in types {
        hits.push(hit("meter type", name.as_str(), unit, format!("/meter-types/{}/usage", path(&name))));
    }
    Ok(())
}

/// The session, meter or record of an id.
fn ids(app: &App, asked: &Asked, text: &str, hits: &mut Vec<Value>) {
    let namespace = asked.who.namespace.as_str();
    if text.starts_with("R-") {
        let exact = app.installation.session(namespace, text).into_iter();
        let newest =
            || app.installation.sessions(namespace, &SessionFilter::default(), None, SESSIONS_LOOKED).unwrap_or_default();
        let begins = |session: &KeptSession| session.session_id.starts_with(text);
        let found: Vec<KeptSession> =
            exact.chain(newest().into_iter().filter(|one| begins(one) && one.session_id != text)).collect();
        for session in found.into_iter().take(SESSIONS_MAX) {
            let detail = format!("{}, {}", session.pipeline, session.session_status.name());
            hits.push(hit("session", session.session_id.as_str(), detail, format!("/sessions/{}", session.session_id)));
        }
    }
    if Uuid::try_parse(text).is_err() {
        return;
    }
    if let Ok((_, meter)) = app.installation.meter(namespace, text) {
        hits.push(hit("meter", text, format!("of {}", meter.name.user_id), format!("/meters/{text}")));
    }
    for served in app.installation.served_in(namespace) {
        if let Ok(Some(record)) = served.record(text) {
            let detail = format!("record of {}", record.field("userId").unwrap_or_default());
            hits.push(hit("record", text, detail, format!("/records/{text}")));
            return;
        }
    }
}

/// Users whose id begins so.
fn users(app: &App, asked: &Asked, text: &str, hits: &mut Vec<Value>) {
    let mut found: Vec<(String, u64)> = Vec::new();
    for served in app.installation.served_in(&asked.who.namespace) {
        let filter = MeterFilter { prefix: Some(text.to_owned()), ..MeterFilter::default() };
        for meter in served.meters(filter, USERS_MAX * 4).unwrap_or_default() {
            match found.iter_mut().find(|(user, _)| *user == meter.name.user_id) {
                Some((_, count)) => *count += 1,
                None => found.push((meter.name.user_id, 1)),
            }
        }
    }
    found.sort();
    for (user, count) in found.into_iter().take(USERS_MAX) {
        let noun = if count == 1 { "meter" } else { "meters" };
        hits.push(hit("user", user.as_str(), format!("{count} {noun}"), format!("/meters?user={}", path(&user))));
    }
}
