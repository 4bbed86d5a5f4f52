//! Jobs over many parked events: sent again, changed and sent again, or discarded.
//!
//! A job takes the open events that match when it begins, up to a moment that the request names, so
//! that events parked later are not swept in. It outlives the request; its progress can be read.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::Extension;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, Method, StatusCode};
use axum::response::Response;
use axum::routing::{get, post};
use flowmeter_core::time::Timestamp;
use flowmeter_engine::live::How;
use flowmeter_node::corrections::{Correction, CorrectionFilter, CorrectionState};
use flowmeter_node::installation::Served;
use flowmeter_node::keys::Scope;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::request::json as json_body;
use super::{App, Asked, Endpoint, answer, off, page};
use crate::problem::{Code, Problem, Refused, not_found, problem_of};

/// Events that are committed together.
const BATCH: usize = 500;
/// Jobs that are remembered.
const KEPT_MAX: usize = 200;
/// Characters of a reason.
const REASON_CHARS_MAX: usize = 1_000;

pub(super) fn endpoints() -> Vec<Endpoint> {
    let endpoint = Endpoint::of;
    vec![
        endpoint(
            Method::POST,
            "/api/v1/corrections/jobs",
            Scope::Operate,
            "Send many parked events again, or discard them",
            Some("action (reprocess or discard), selector (groupId, or ids; upTo), reason; set (field: value), dryRun if wanted"),
            (202, "The job; with dryRun, what it would take"),
            post(begin),
        ),
        endpoint(Method::GET, "/api/v1/jobs", Scope::Read, "Jobs, the newest first", None, (200, "Jobs"), get(list)),
        endpoint(Method::GET, "/api/v1/jobs/{id}", Scope::Read, "A job", None, (200, "The job"), get(show)),
        endpoint(
            Method::POST,
            "/api/v1/jobs/{id}/cancel",
            Scope::Operate,
            "Stop a job; what is done stays done",
            None,
            (200, "The job"),
            post(cancel),
        ),
    ]
}

/// A job over many parked events.
#[derive(Clone, Debug)]
struct Job {
    /// `J-` and its number; empty until it is added.
    id: String,
    namespace: String,
    action: &'static str,
    pipeline: String,
    reason: String,
    by: String,
    started_at: String,
    ended_at: Option<String>,
    state: &'static str,
    matched: usize,
    done: usize,
    failed: usize,
    error: Option<String>,
}

impl Job {
    fn shown(&self) -> Value {
        json!({
            "jobId": self.id, "action": self.action, "pipeline": self.pipeline, "reason": self.reason, "by": self.by,
            "startedAt": self.started_at, "endedAt": self.ended_at, "state": self.state, "matched": self.matched,
            "done": self.done, "failed": self.failed, "error": self.error, "undo": Value::Null,
        })
    }
}

/// All jobs since the server started.
#[derive(Debug, Default)]
pub struct Jobs(Mutex<BTreeMap<u64, Job>>);

impl Jobs {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<u64, Job>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn add(&self, mut job: Job) -> (u64, Value) {
        let mut jobs = self.lock();
        let number = jobs.last_key_value().map_or(1, |(number, _)| number + 1);
        job.id = format!("J-{number:08}");
        let shown = job.shown();
        jobs.insert(number, job);
        while jobs.len() > KEPT_MAX {
            jobs.pop_first();
        }
        (number, shown)
    }

    fn change(&self, number: u64, change: impl FnOnce(&mut Job)) {
        if let Some(job) = self.lock().get_mut(&number) {
            change(job);
        }
    }

    fn is_canceled(&self, number: u64) -> bool {
        self.lock().get(&number).is_none_or(|job| job.state == "canceling")
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Wish {
    action: String,
    selector: Selector,
    #[serde(default)]
    set: Map<String, Value>,
    #[serde(default)]
    reason: String,
    #[serde(default)]
    dry_run: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Selector {
    group_id: Option<String>,
    ids: Option<Vec<String>>,
    up_to: Option<String>,
}

fn invalid(field: &'static str, detail: impl Into<String>) -> Refused {
    Box::new(Problem::new(Code::Invalid, detail).field(field))
}

async fn begin(
    State(app): State<App>,
    Extension(asked): Extension<Asked>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Refused> {
    let wish: Wish = json_body(&app, &headers, body).await?;
    let action = match wish.action.as_str() {
        "reprocess" => "reprocess",
        "discard" => "discard",
        other => return Err(invalid("action", format!("`{other}` is no action; there are reprocess and discard"))),
    };
    if wish.reason.chars().count() > REASON_CHARS_MAX {
        return Err(invalid("reason", format!("the reason is longer than {REASON_CHARS_MAX} characters")));
    }
    off(move || {
        let up_to = match &wish.selector.up_to {
            None => app.installation.now(),
            Some(text) => Timestamp::parse_rfc3339(text.as_bytes())
                .ok_or_else(|| invalid("selector.upTo", format!("`{text}` is no time; write RFC 3339")))?,
        };
        let (served, chosen) = chosen(&app, &asked, &wish.selector, up_to)?;
        let now = app.installation.now().to_string();
        let job = Job {
            id: String::new(),
            namespace: asked.who.namespace.clone(),
            action,
            pipeline: served.kept.name.clone(),
            reason: wish.reason.clone(),
            by: asked.who.name.clone(),
            started_at: now,
            ended_at: None,
            state: if wish.dry_run { "dry-run" } else { "running" },
            matched: chosen.len(),
            done: 0,
            failed: 0,
            error: None,
        };
        if wish.dry_run {
            return Ok(answer(StatusCode::OK, &job.shown()));
        }
        let after = json!({"action": action, "matched": chosen.len(), "reason": wish.reason, "set": wish.set});
        let noted = app.installation.note_audit(&asked.who, "correction.job", &served.kept.name, Value::Null, after);
        noted.map_err(|why| problem_of(&why))?;
        let (number, shown) = app.jobs.add(job);
        let working = app.clone();
        let work = move || run(&working, &asked, number, &served, chosen, action, &wish.set);
        flowmeter_node::background::spawn("job", flowmeter_node::background::Yields::Wholly, work)
            .map_err(|why| problem_of(&why))?;
        Ok(answer(StatusCode::ACCEPTED, &shown))
    })
    .await
}

/// The open events that a selector names, all of one pipeline.
fn chosen(app: &App, asked: &Asked, selector: &Selector, up_to: Timestamp) -> Result<(Arc<Served>, Vec<Correction>), Refused> {
    let namespace = asked.who.namespace.as_str();
    match (&selector.group_id, &selector.ids) {
        (Some(group), None) => {
            let (served, key) = app.installation.group(namespace, group)?;
            let filter = CorrectionFilter { state: Some(CorrectionState::Open), group: Some(key), ..CorrectionFilter::default() };
            let (mut found, _) = app.installation.corrections(&served, 0, usize::MAX, &filter).map_err(|why| problem_of(&why))?;
            found.retain(|one| one.parked_at <= up_to.nanos());
            Ok((served, found))
        }
        (None, Some(ids)) => {
            let mut found = Vec::new();
            let mut home: Option<Arc<Served>> = None;
            for id in ids {
                let (served, correction) = app.installation.correction(namespace, id)?;
                if home.as_ref().is_some_and(|home| home.kept.id != served.kept.id) {
                    return Err(invalid("selector.ids", "the events are of several pipelines; send a job for each"));
                }
                home = Some(served);
                if correction.state == CorrectionState::Open {
                    found.push(correction);
                }
            }
            let home = home.ok_or_else(|| invalid("selector.ids", "the list is empty"))?;
            Ok((home, found))
        }
        _ => Err(invalid("selector", "name a groupId or a list of ids")),
    }
}

fn run(
    app: &App,
    asked: &Asked,
    number: u64,
    served: &Served,
    chosen: Vec<Correction>,
    action: &'static str,
    set: &Map<String, Value>,
) {
    let mut rest = chosen.into_iter();
    loop {
        let batch: Vec<_> = rest.by_ref().take(BATCH).collect();
        if batch.is_empty() || app.jobs.is_canceled(number) {
            break;
        }
        let events = batch.into_iter().map(|correction| with_fields(correction, action, set)).collect();
        match app.installation.settle_many(&asked.who, served, events) {
            Ok(count) => app.jobs.change(number, |job| job.done += count),
            Err(refused) => {
                app.jobs.change(number, |job| {
                    job.error = Some(refused.detail.clone());
                    job.failed = job.matched - job.done;
                });
                break;
            }
        }
    }
    let now = app.installation.now().to_string();
    app.jobs.change(number, |job| {
        job.state = match (job.error.is_some(), job.state) {
            (true, _) => "failed",
            (false, "canceling") => "canceled",
            (false, _) => "done",
        };
        job.ended_at = Some(now);
    });
}

/// Applies a correction to an event: as it was, or with fields set.
fn with_fields(correction: Correction, action: &str, set: &Map<String, Value>) -> (Correction, How, Vec<u8>) {
    if action == "discard" {
        return (correction, How::Discarded, Vec::new());
    }
    let raw = correction.raw.clone();
    if set.is_empty() {
        return (correction, How::Reprocessed, raw);
    }
    let changed = serde_json::from_slice::<Value>(&raw).ok().map(|mut event| {
        for (path, value) in set {
            put(&mut event, path, value);
        }
        event.to_string().into_bytes()
    });
    (correction, How::Corrected, changed.unwrap_or(raw))
}

/// Sets a field by its path with dots; objects on the way are made.
fn put(event: &mut Value, path: &str, value: &Value) {
    let mut at = event;
    let mut names = path.split('.').peekable();
    while let Some(name) = names.next() {
        if !at.is_object() {
            *at = json!({});
        }
        let Some(members) = at.as_object_mut() else { return };
        if names.peek().is_none() {
            members.insert(name.to_owned(), value.clone());
            return;
        }
        at = members.entry(name).or_insert_with(|| json!({}));
    }
}

fn found(app: &App, asked: &Asked, id: &str) -> Result<(u64, Job), Refused> {
    let jobs = app.jobs.lock();
    let found = jobs.iter().find(|(_, job)| job.id == id && job.namespace == asked.who.namespace);
    found.map(|(number, job)| (*number, job.clone())).ok_or_else(|| not_found("job", id))
}

async fn list(State(app): State<App>, Extension(asked): Extension<Asked>) -> Response {
    let jobs = app.jobs.lock();
    let own = jobs.values().rev().filter(|job| job.namespace == asked.who.namespace);
    page(own.map(Job::shown).collect(), None)
}

async fn show(State(app): State<App>, Extension(asked): Extension<Asked>, Path(id): Path<String>) -> Result<Response, Refused> {
    Ok(answer(StatusCode::OK, &found(&app, &asked, &id)?.1.shown()))
}

async fn cancel(State(app): State<App>, Extension(asked): Extension<Asked>, Path(id): Path<String>) -> Result<Response, Refused> {
    let (number, _) = found(&app, &asked, &id)?;
    app.jobs.change(number, |job| {
        if job.state == "running" {
            job.state = "canceling";
        }
    });
    Ok(answer(StatusCode::OK, &found(&app, &asked, &id)?.1.shown()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_set_by_their_paths_and_other_digits_stay() {
        let mut event: Value = serde_json::from_str(r#"{"a":1842.00000000000000025,"b":{"c":1},"d":3}"#).unwrap();
        put(&mut event, "b.e", &json!("x"));
        put(&mut event, "d.f", &json!(2));
        put(&mut event, "subject", &json!("anna"));
        let expected = r#"{"a":1842.00000000000000025,"b":{"c":1,"e":"x"},"d":{"f":2},"subject":"anna"}"#;
        assert_eq!(event.to_string(), expected);
    }
}
