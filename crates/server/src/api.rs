//! The HTTP API: one table of endpoints, from which both the router and its description
//! (OpenAPI) are made.
//!
//! A request passes, in this order: the bound on requests in flight, who asks and whether
//! the key may, how fast it asks, and the endpoint. Whatever is refused is a problem with
//! a stable code.

mod audit;
mod backup;
mod correction_jobs;
mod corrections;
mod deliveries;
pub(crate) mod door;
mod errors;
mod event_search;
pub(crate) mod events;
#[cfg(test)]
mod guide;
mod health;
mod keys;
mod known_query;
mod live;
mod meter_types;
mod meters;
mod metrics;
mod notifications;
mod openapi;
mod overview;
mod paging;
mod pipelines;
mod records;
pub(crate) mod request;
mod search;
mod sessions;
mod stream;
mod system;
mod tail;
mod test_data;
mod trial;
pub(crate) mod usage;

use std::ops::Deref;
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{HeaderValue, Method, StatusCode, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::MethodRouter;
use axum::{Json, Router};
use serde::Serialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};
use tokio::sync::watch;
use tracing::Instrument;

use flowmeter_core::time::Timestamp;

use crate::dashboard::{self, Browsers};
use crate::idempotency::Answers;
use crate::installation::{Installation, Refused, Who};
use crate::keys::{KeyRing, Principal, Scope};
use crate::limits::{Gate, RateLimits};
use crate::notifications::courier::Courier;
use crate::problem::{Code, Problem};
use crate::traces;

pub use correction_jobs::Jobs;
pub(crate) use events::words as verdict_words;
pub use metrics::Metrics;

/// What every endpoint needs. A request hands it on several times, so it is one pointer.
#[derive(Clone)]
pub struct App(Arc<Parts>);

impl App {
    /// Puts the parts together.
    pub fn new(parts: Parts) -> App {
        App(Arc::new(parts))
    }
}

impl Deref for App {
    type Target = Parts;

    fn deref(&self) -> &Parts {
        &self.0
    }
}

/// The parts of what every endpoint needs.
pub struct Parts {
    /// Everything the server keeps.
    pub installation: Arc<Installation>,
    /// What delivers notifications.
    pub courier: Arc<Courier>,
    /// Who may come in.
    pub keys: Arc<KeyRing>,
    /// How fast.
    pub rates: Arc<RateLimits>,
    /// How many at once.
    pub gate: Arc<Gate>,
    /// What is counted.
    pub metrics: Arc<Metrics>,
    /// Jobs over many parked events.
    pub jobs: Jobs,
    /// Browsers that are signed in.
    pub browsers: Browsers,
    /// When the server started.
    pub started_at: Timestamp,
    /// What was answered under an idempotency key.
    pub answers: Arc<Answers>,
    /// Whether the server stops: answers without an end of their own end then.
    pub stopping: watch::Receiver<bool>,
}

/// An endpoint of the API.
pub struct Endpoint {
    /// The method.
    pub method: Method,
    /// The path, with parameters in braces.
    pub path: &'static str,
    /// What a key needs; `None`: everybody may.
    pub scope: Option<Scope>,
    /// What it does, in a line.
    pub summary: &'static str,
    /// Parameters in the query: name and meaning. Under `/api/v1` others are refused.
    pub query: &'static [(&'static str, &'static str)],
    /// What the body is, if there is one.
    pub body: Option<&'static str>,
    /// The status when it went well, and what is answered then.
    pub answer: (u16, &'static str),
    /// What answers.
    pub route: MethodRouter<App>,
}

impl Endpoint {
    /// The same, with the parameters of a list that has no others.
    fn paged(self) -> Endpoint {
        Endpoint { query: paging::PAGED, ..self }
    }
}

/// Every endpoint.
pub fn endpoints() -> Vec<Endpoint> {
    let mut all = Vec::new();
    all.extend(events::endpoints());
    all.extend(tail::endpoints());
    all.extend(overview::endpoints());
    all.extend(live::endpoints());
    all.extend(search::endpoints());
    all.extend(system::endpoints());
    all.extend(crate::dashboard::endpoints());
    all.extend(event_search::endpoints());
    all.extend(meter_types::endpoints());
    all.extend(usage::endpoints());
    all.extend(meters::endpoints());
    all.extend(pipelines::endpoints());
    all.extend(trial::endpoints());
    all.extend(test_data::endpoints());
    all.extend(sessions::endpoints());
    all.extend(stream::endpoints());
    all.extend(records::endpoints());
    all.extend(corrections::endpoints());
    all.extend(correction_jobs::endpoints());
    all.extend(deliveries::endpoints());
    all.extend(notifications::endpoints());
    all.extend(keys::endpoints());
    all.extend(audit::endpoints());
    all.extend(crate::openmeter::endpoints());
    all.extend(backup::endpoints());
    all.extend(health::endpoints());
    all.extend(openapi::endpoints());
    all.extend(errors::endpoints());
    all
}

/// The router of all endpoints.
pub fn router(app: App) -> Router {
    let mut router: Router<App> = Router::new();
    for endpoint in endpoints() {
        let scope = endpoint.scope;
        let guard = Guard { app: app.clone(), scope, route: endpoint.path, query: endpoint.query };
        router = router.route(endpoint.path, endpoint.route.route_layer(from_fn_with_state(guard, guarded)));
    }
    router
        .fallback(async |State(app): State<App>, request: Request| {
            if let Some(page) = dashboard::serve(&app, &request) {
                return page;
            }
            let detail = format!("there is nothing at {}", request.uri().path());
            let remedy = "GET /api/v1/openapi.json lists every path there is.";
            Problem::new(Code::NotFound, detail).remedy(remedy).into_response()
        })
        .method_not_allowed_fallback(async |request: Request| {
            problem(Code::MethodNotAllowed, format!("{} is not possible at {}", request.method(), request.uri().path()))
        })
        .with_state(app)
}

fn problem(code: Code, detail: String) -> Response {
    Problem::new(code, detail).into_response()
}

#[derive(Clone)]
struct Guard {
    app: App,
    scope: Option<Scope>,
    route: &'static str,
    query: &'static [(&'static str, &'static str)],
}

/// Who asks: found by the guard, asked for by endpoints.
#[derive(Clone, Debug)]
pub struct Asked {
    /// Who, for the audit.
    pub who: Who,
    /// The key.
    pub principal: Principal,
}

async fn guarded(State(guard): State<Guard>, request: Request, next: Next) -> Response {
    let Some(scope) = guard.scope else {
        return match known_query::check(guard.route, guard.query, request.uri().query()) {
            Ok(()) => next.run(request).await,
            Err(refused) => refused.into_response(),
        };
    };
    let span = traces::request(guard.route, &request);
    let answer = admitted(guard, scope, request, next).instrument(span.clone()).await;
    traces::answered(&span, answer.status(), answer.extensions().get::<Who>().map(|who| who.namespace.as_str()));
    answer
}

async fn admitted(guard: Guard, scope: Scope, mut request: Request, next: Next) -> Response {
    let Guard { app, route, query, .. } = guard;
    let _pass = match app.gate.enter() {
        Ok(pass) => pass,
        Err(refused) => return refused.into_response(),
    };
    let now = app.installation.now();
    let principal = match app.installation.settings().auth.required {
        false => Principal::local(&app.installation.settings().namespace),
        true => {
            let header = request.headers().get(header::AUTHORIZATION).map(|value| value.to_str().unwrap_or_default());
            let of_browser = match header {
                None => dashboard::principal(&app, &request, scope, now),
                Some(_) => Ok(None),
            };
            match of_browser.map(|principal| principal.map_or_else(|| app.keys.authenticate(header, now), Ok)) {
                Ok(Ok(principal)) => principal,
                Ok(Err(refusal)) => return Problem::from(refusal).into_response(),
                Err(refused) => return refused.into_response(),
            }
        }
    };
    if let Err(refused) = principal.require(scope) {
        return refused.into_response();
    }
    if let Err(refused) = app.rates.admit(principal.key, now) {
        return refused.into_response();
    }
    let path = request.uri().path();
    let is_well_formed = readable_path(path).and_then(|()| known_query::check(route, query, request.uri().query()));
    if let Err(refused) = is_well_formed {
        return refused.into_response();
    }
    let who = Who { name: principal.name.to_string(), namespace: principal.namespace.to_string() };
    request.extensions_mut().insert(Asked { who: who.clone(), principal });
    let path = request.uri().path().to_owned();
    let mut answer = crate::idempotency::around(&app, &who.namespace, request, next).await;
    // An answer to one key at one moment: no cache may give it to another.
    answer.headers_mut().entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    app.metrics.answered(&path, answer.status());
    // For the line in the log.
    answer.extensions_mut().insert(who);
    answer
}

/// Checks that the names in a path can be read as text.
fn readable_path(path: &str) -> Result<(), Refused> {
    if !path.contains('%') || percent_encoding::percent_decode_str(path).decode_utf8().is_ok() {
        return Ok(());
    }
    let detail = format!("the path `{path}` is not UTF-8 after percent-decoding");
    let remedy = "Encode the UTF-8 of each name in the path as %XX.";
    Err(Box::new(Problem::new(Code::Invalid, detail).field("path").remedy(remedy)))
}

/// Does something that waits for the disk or for a pipeline, beside the asynchronous
/// threads.
pub(crate) async fn off<T: Send + 'static>(work: impl FnOnce() -> Result<T, Refused> + Send + 'static) -> Result<T, Refused> {
    match tokio::task::spawn_blocking(work).await {
        Ok(outcome) => outcome,
        Err(why) => Err(Box::new(Problem::new(Code::Internal, format!("an endpoint failed: {why}")))),
    }
}

/// A JSON answer.
pub(crate) fn answer(status: StatusCode, body: &impl Serialize) -> Response {
    (status, Json(body)).into_response()
}

/// A page of a list whose items are JSON already: no number of theirs is read, so none
/// loses a digit.
pub(crate) fn raw_page(items: &[Box<RawValue>], next: Option<&str>) -> Response {
    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct Page<'a> {
        items: &'a [Box<RawValue>],
        next_cursor: Option<&'a str>,
    }
    answer(StatusCode::OK, &Page { items, next_cursor: next })
}

/// A page of a list: its items and where it goes on.
#[allow(clippy::needless_pass_by_value)] // a page is made to be given away
pub(crate) fn page(items: Vec<Value>, next: Option<String>) -> Response {
    answer(StatusCode::OK, &json!({"items": items, "nextCursor": next}))
}
