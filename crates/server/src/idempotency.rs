//! `Idempotency-Key`: a repeated request is answered again, not executed again.
//!
//! Every POST except that of events may have one (events have identities of their own, and
//! deduplication for them). The answer is stored for a day under namespace and key, with a hash of
//! the request. The same request gets the same answer; a different one under the same key is
//! refused; one that arrives while the first is in progress is refused as well, with an error that
//! says so.
//!
//! Limits: the answer is stored after the change, not in the same commit. After a crash in between,
//! a repetition is executed; if a name or a `uniqueKey` is taken then, the error says so. Temporary
//! errors (408, 429, 5xx) are not stored, since the key exists for repeating those requests.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

use axum::body::{Body, to_bytes};
use axum::extract::Request;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use flowmeter_core::time::Timestamp;
use flowmeter_node::answers::StoredAnswer;
use flowmeter_store::catalog::{Catalog, Change, Table};
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

use crate::api::{App, off};
use crate::problem::{Code, Problem, Refused, problem_of};

/// The header of the key.
const KEY: &str = "idempotency-key";
/// Marks an answer that was given before.
const REPLAYED: HeaderName = HeaderName::from_static("idempotency-replayed");
/// Characters of a key: a UUID has 36.
pub(crate) const KEY_CHARS_MAX: usize = 255;
/// Time for which an answer is stored: long enough for a repetition after a night's outage.
const KEPT_NS: i64 = 24 * 3_600 * 1_000_000_000;
/// Interval of the removal of old answers, and the number that is read at once.
const SWEEP_NS: i64 = 3_600 * 1_000_000_000;
const SWEEP_PAGE: usize = 100;
/// Headers that are part of a stored answer.
const HEADERS: [HeaderName; 3] = [header::CONTENT_TYPE, header::ETAG, header::LOCATION];

/// Requests with a key that are in progress.
#[derive(Debug, Default)]
pub struct Answers {
    working: Mutex<BTreeSet<Vec<u8>>>,
    swept_at: Mutex<Timestamp>,
}

/// Executes a request, unless it was executed before.
pub(crate) async fn around(app: &App, namespace: &str, request: Request, next: Next) -> Response {
    let is_kept = request.method() == Method::POST && !request.uri().path().ends_with("/events");
    if !is_kept || !request.headers().contains_key(KEY) {
        return next.run(request).await;
    }
    // A separate task: a caller that disconnects and repeats finds the answer stored.
    let (app, namespace) = (app.clone(), namespace.to_owned());
    match tokio::spawn(async move { keyed(&app, &namespace, request, next).await }).await {
        Ok(Ok(answer)) => answer,
        Ok(Err(refused)) => refused.into_response(),
        Err(why) => Problem::new(Code::Internal, format!("an endpoint failed: {why}")).into_response(),
    }
}

async fn keyed(app: &App, namespace: &str, request: Request, next: Next) -> Result<Response, Refused> {
    let key = key_of(namespace, request.headers())?;
    let (head, body) = request.into_parts();
    // The bytes as sent: the endpoint handles the compression.
    let body = crate::body::read(&HeaderMap::new(), body, &app.installation.settings().limits).await?;
    let path = head.uri.path_and_query().map_or("", |path| path.as_str());
    let asked = hash(&[head.method.as_str().as_bytes(), path.as_bytes(), &body]);
    let Some(_working) = Working::begin(app, key.clone()) else {
        let detail = "a request with this Idempotency-Key is being worked on";
        return Err(Box::new(Problem::new(Code::InProgress, detail).field("Idempotency-Key").retry_after(1)));
    };
    let now = app.installation.wall();
    if let Some(known) = known(app, &key, now).await? {
        if known.asked != asked {
            let detail = "the Idempotency-Key belongs to a request with another method, path or body";
            return Err(Box::new(Problem::new(Code::IdempotencyKeyReused, detail).field("Idempotency-Key")));
        }
        return Ok(replayed(known));
    }
    let hides = head.uri.path().starts_with("/api/v1/keys");
    let answer = next.run(Request::from_parts(head, Body::from(body))).await;
    if is_passing(answer.status()) {
        return Ok(answer);
    }
    let (head, body) = answer.into_parts();
    let bytes = to_bytes(body, usize::MAX).await.unwrap_or_default();
    let text = |name: &HeaderName| Some((name.to_string(), head.headers.get(name)?.to_str().ok()?.to_owned()));
    let kept = StoredAnswer {
        at_ns: now.nanos(),
        asked,
        status: head.status.as_u16(),
        headers: HEADERS.iter().filter_map(text).collect(),
        body: shown_again(&bytes, hides),
    };
    keep(app, key, kept, now).await?;
    Ok(Response::from_parts(head, Body::from(bytes)))
}

fn key_of(namespace: &str, headers: &HeaderMap) -> Result<Vec<u8>, Refused> {
    let text = headers.get(KEY).and_then(|value| value.to_str().ok()).unwrap_or_default().trim();
    if text.is_empty() || text.len() > KEY_CHARS_MAX || headers.get_all(KEY).iter().count() > 1 {
        let detail = format!("an Idempotency-Key is one text of 1 to {KEY_CHARS_MAX} printable characters, such as a UUID");
        return Err(Box::new(Problem::new(Code::Invalid, detail).field("Idempotency-Key")));
    }
    Ok([namespace.as_bytes(), &[0], text.as_bytes()].concat())
}

/// Hashes each part after its length, so that no two lists of parts have the same bytes.
fn hash(parts: &[&[u8]]) -> String {
    let mut hasher = Sha256::new();
    for part in parts {
        hasher.update((part.len() as u64).to_be_bytes());
        hasher.update(part);
    }
    data_encoding::HEXLOWER.encode(&hasher.finalize())
}

/// Whether a repetition may get another answer.
fn is_passing(status: StatusCode) -> bool {
    status.is_server_error() || matches!(status, StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_MANY_REQUESTS)
}

/// Returns the body for storage: the secret of a new key is shown once and never stored.
fn shown_again(body: &[u8], hides: bool) -> String {
    let text = String::from_utf8_lossy(body).into_owned();
    match serde_json::from_str::<Map<String, Value>>(&text) {
        Ok(mut members) if hides => {
            members.remove("secret");
            Value::Object(members).to_string()
        }
        _ => text,
    }
}

fn replayed(known: StoredAnswer) -> Response {
    let status = StatusCode::from_u16(known.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut answer = (status, known.body).into_response();
    answer.headers_mut().remove(header::CONTENT_TYPE);
    for (name, value) in known.headers {
        if let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::try_from(value)) {
            answer.headers_mut().insert(name, value);
        }
    }
    answer.headers_mut().insert(REPLAYED, HeaderValue::from_static("true"));
    answer
}

async fn known(app: &App, key: &[u8], now: Timestamp) -> Result<Option<StoredAnswer>, Refused> {
    let (app, key) = (app.clone(), key.to_vec());
    off(move || {
        let found = app.installation.catalog().get(Table::Answers, &key).map_err(|why| problem_of(&why.into()))?;
        let answer = found.and_then(|bytes| serde_json::from_slice::<StoredAnswer>(&bytes).ok());
        Ok(answer.filter(|answer| !is_over(answer, now)))
    })
    .await
}

fn is_over(answer: &StoredAnswer, now: Timestamp) -> bool {
    now.nanos().saturating_sub(answer.at_ns) >= KEPT_NS
}

async fn keep(app: &App, key: Vec<u8>, answer: StoredAnswer, now: Timestamp) -> Result<(), Refused> {
    let app = app.clone();
    off(move || {
        let catalog = app.installation.catalog();
        let value = serde_json::to_vec(&answer).unwrap_or_default();
        let kept = catalog.commit(&[Change::Put(Table::Answers, key, value)]);
        kept.and_then(|()| app.answers.sweep(catalog, now)).map_err(|why| problem_of(&why.into()))
    })
    .await
}

impl Answers {
    /// Removes answers older than a day, at intervals.
    fn sweep(&self, catalog: &dyn Catalog, now: Timestamp) -> Result<(), flowmeter_store::Error> {
        {
            let mut swept_at = self.swept_at.lock().unwrap_or_else(PoisonError::into_inner);
            if now.nanos().saturating_sub(swept_at.nanos()) < SWEEP_NS {
                return Ok(());
            }
            *swept_at = now;
        }
        let mut after: Option<Vec<u8>> = None;
        loop {
            let page = catalog.scan(Table::Answers, b"", after.as_deref(), SWEEP_PAGE)?;
            let Some((last, _)) = page.last() else { return Ok(()) };
            after = Some(last.clone());
            let is_old = |value: &[u8]| serde_json::from_slice(value).map_or(true, |answer| is_over(&answer, now));
            let old = page.iter().filter(|(_, value)| is_old(value));
            let changes: Vec<Change> = old.map(|(key, _)| Change::Remove(Table::Answers, key.clone())).collect();
            if !changes.is_empty() {
                catalog.commit(&changes)?;
            }
        }
    }
}

/// A request in progress, until this is dropped.
struct Working<'a> {
    app: &'a App,
    key: Vec<u8>,
}

impl Working<'_> {
    fn begin(app: &App, key: Vec<u8>) -> Option<Working<'_>> {
        let is_first = app.answers.working.lock().unwrap_or_else(PoisonError::into_inner).insert(key.clone());
        // Created only for the first request, since dropping it admits the next one.
        is_first.then(|| Working { app, key })
    }
}

impl Drop for Working<'_> {
    fn drop(&mut self) {
        self.app.answers.working.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.key);
    }
}

#[cfg(test)]
mod tests {
    use flowmeter_store::catalog::LocalCatalog;

    use super::*;

    fn answer(at_ns: i64) -> StoredAnswer {
        StoredAnswer { at_ns, asked: hash(&[b"POST"]), status: 201, headers: Vec::new(), body: "{}".to_owned() }
    }

    #[test]
    fn parts_of_a_request_cannot_pass_for_each_other() {
        assert_eq!(hash(&[b"a", b"b"]), hash(&[b"a", b"b"]));
        assert_ne!(hash(&[b"ab", b""]), hash(&[b"a", b"b"]));
    }

    #[test]
    fn a_secret_is_not_kept() {
        assert_eq!(shown_again(br#"{"id":"1","secret":"fm_x"}"#, true), r#"{"id":"1"}"#);
        assert_eq!(shown_again(br#"{"secret":"of a pipeline"}"#, false), r#"{"secret":"of a pipeline"}"#);
    }

    #[test]
    fn answers_are_forgotten_after_a_day() {
        let catalog = LocalCatalog::in_memory().unwrap();
        let now = Timestamp::from_nanos(3 * KEPT_NS);
        for (key, age_ns) in [("fresh", KEPT_NS - 1), ("old", KEPT_NS)] {
            let value = serde_json::to_vec(&answer(now.nanos() - age_ns)).unwrap();
            catalog.commit(&[Change::Put(Table::Answers, key.into(), value)]).unwrap();
        }
        let answers = Answers::default();
        answers.sweep(&catalog, now).unwrap();
        assert!(catalog.get(Table::Answers, b"fresh").unwrap().is_some());
        assert!(catalog.get(Table::Answers, b"old").unwrap().is_none());
    }
}
