//! The HTTP API: one table of endpoints, from which both the router and its description (OpenAPI)
//! are made.
//!
//! A request passes these checks in order: requests in flight, authentication and scope, the rate,
//! and the endpoint's own. Every refusal is a problem with a stable code.

mod audit;
mod backup;
mod clock;
mod contract;
mod corrections;
mod deliveries;
mod derived_events;
pub(crate) mod door;
mod errors;
mod event_search;
pub(crate) mod events;
#[cfg(test)]
mod guide;
mod health;
mod jobs;
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
mod reference;
pub(crate) mod request;
mod search;
mod sessions;
mod stream;
mod system;
mod tables;
mod tail;
mod test_data;
mod trial;
pub(crate) mod usage;
mod usage_lists;

use std::ops::Deref;
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{HeaderValue, Method, StatusCode, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::MethodRouter;
use axum::{Json, Router};
use flowmeter_core::time::Timestamp;
use flowmeter_node::audit::{Asking, Via, Who};
use flowmeter_node::installation::Installation;
use flowmeter_node::keys::browsers::Browsers;
use flowmeter_node::keys::{Key, KeyRing, Principal, Scope};
use flowmeter_node::monitoring::needs::Expiring;
use flowmeter_node::notifications::courier::Courier;
use serde::Serialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};
use tokio::sync::watch;
use tracing::Instrument;

use crate::idempotency::Answers;
use crate::limits::{Gate, RateLimits};
use crate::problem::{Code, Problem, Refused};
use crate::tls::Tls;
use crate::{dashboard, traces};

pub use metrics::Metrics;

/// The shared state of all endpoints. A request passes it on several times, so it is one pointer.
#[derive(Clone)]
pub struct App(Arc<Parts>);

impl App {
    /// Creates the shared state of its parts.
    pub fn new(parts: Parts) -> App {
        App(Arc::new(parts))
    }
}

impl App {
    /// Returns what is in use in a namespace and valid for a limited time.
    fn expiring(&self, namespace: &str) -> Vec<Expiring> {
        let certificate = self.tls.as_ref().and_then(|tls| tls.expires_at()).map(Expiring::Certificate);
        let now = self.installation.wall();
        let of_key = |key: Key| {
            let at = key.expires_at.filter(|at| *at > now && key.revoked_at.is_none() && key.namespace == namespace)?;
            self.keys.last_used(key.id).map(|_| Expiring::Key(key.name, at))
        };
        certificate.into_iter().chain(self.keys.list().into_iter().filter_map(of_key)).collect()
    }
}

impl Deref for App {
    type Target = Parts;

    fn deref(&self) -> &Parts {
        &self.0
    }
}

/// The parts of the shared state.
pub struct Parts {
    /// The data of the server.
    pub installation: Arc<Installation>,
    /// The delivery of notifications.
    pub courier: Arc<Courier>,
    /// The API keys of callers.
    pub keys: Arc<KeyRing>,
    /// The rates of keys.
    pub rates: Arc<RateLimits>,
    /// The bound on requests in flight.
    pub gate: Arc<Gate>,
    /// Counters for the metrics.
    pub metrics: Arc<Metrics>,
    /// The sessions of signed-in browsers.
    pub browsers: Browsers,
    /// The time at which the server started.
    pub started_at: Timestamp,
    /// The certificate, if connections are encrypted.
    pub tls: Option<Arc<Tls>>,
    /// Stored answers to requests with an idempotency key.
    pub answers: Arc<Answers>,
    /// Whether the server is stopping; endless answers then end.
    pub stopping: watch::Receiver<bool>,
}

/// An endpoint of the API.
pub struct Endpoint {
    /// The method of the request.
    pub method: Method,
    /// The path, with parameters in braces.
    pub path: &'static str,
    /// The scope that a key needs; `None`: no key is needed.
    pub scope: Option<Scope>,
    /// The function of the endpoint, in one line.
    pub summary: &'static str,
    /// Parameters of the query: name and meaning. Under `/api/v1` others are refused. Their types, and
    /// those of body and answer, are in a file under `schemas/` ([`contract`]).
    pub query: &'static [(&'static str, &'static str)],
    /// A description of the body, if there is one.
    pub body: Option<&'static str>,
    /// The status of success, and a description of the answer.
    pub answer: (u16, &'static str),
    /// The handler of the endpoint.
    pub route: MethodRouter<App>,
}

impl Endpoint {
    /// Makes an endpoint that needs a scope and takes no parameters in its query.
    fn of(
        method: Method,
        path: &'static str,
        scope: Scope,
        summary: &'static str,
        body: Option<&'static str>,
        answer: (u16, &'static str),
        route: MethodRouter<App>,
    ) -> Endpoint {
        Endpoint { method, path, scope: Some(scope), summary, query: &[], body, answer, route }
    }

    /// Adds the parameters of a list that has no others.
    fn paged(self) -> Endpoint {
        Endpoint { query: paging::PAGED, ..self }
    }
}

/// Returns all endpoints, by group.
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
    all.extend(usage_lists::endpoints());
    all.extend(meters::endpoints());
    all.extend(pipelines::endpoints());
    all.extend(trial::endpoints());
    all.extend(clock::endpoints());
    all.extend(tables::endpoints());
    all.extend(test_data::endpoints());
    all.extend(sessions::endpoints());
    all.extend(stream::endpoints());
    all.extend(records::endpoints());
    all.extend(corrections::endpoints());
    all.extend(jobs::endpoints());
    all.extend(deliveries::endpoints());
    all.extend(notifications::endpoints());
    all.extend(keys::endpoints());
    all.extend(audit::endpoints());
    all.extend(crate::openmeter::endpoints());
    all.extend(crate::otlp::endpoints());
    all.extend(crate::remote_write::endpoints());
    all.extend(backup::endpoints());
    all.extend(health::endpoints());
    all.extend(openapi::endpoints());
    all.extend(errors::endpoints());
    all
}

/// Returns the router of all endpoints.
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

/// The caller of a request, as determined by the guard.
#[derive(Clone, Debug)]
pub struct Asked {
    /// The caller for the audit.
    pub who: Who,
    /// The rights of the caller.
    pub principal: Principal,
    /// The signed-in browser that asks, by the name of its session.
    pub browser: Option<String>,
}

impl Asked {
    /// Checks that the caller may see or act on the whole installation, not only on one namespace:
    /// its keys are those of the default namespace, which is that of the operator.
    ///
    /// # Errors
    /// `scope_missing`.
    pub(crate) fn must_be_operator(&self, app: &App) -> Result<(), Refused> {
        let namespace = &app.installation.settings().namespace;
        if *self.principal.namespace == **namespace {
            return Ok(());
        }
        let detail = format!("this concerns every namespace, and `{}` belongs to `{}`", self.who.name, self.who.namespace);
        let problem = Problem::new(Code::ScopeMissing, detail).extra("scope", Scope::Admin.name());
        Err(Box::new(problem.remedy(format!("Use a key of the namespace `{namespace}` with the scope admin."))))
    }
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
    let now = app.installation.wall();
    let (principal, via, browser) = match app.installation.settings().auth.required {
        false => (Principal::local(&app.installation.settings().namespace), None, None),
        true => {
            let header = request.headers().get(header::AUTHORIZATION).map(|value| value.to_str().unwrap_or_default());
            let of_browser = match header {
                None => dashboard::principal(&app, &request, scope, now),
                Some(_) => Ok(None),
            };
            match of_browser {
                Ok(Some((principal, browser))) => (principal, Some(Via::Browser), Some(browser)),
                Ok(None) => match app.keys.authenticate(header, now) {
                    Ok(principal) => (principal, Some(Via::Key), None),
                    Err(refusal) => return Problem::from(refusal).into_response(),
                },
                Err(refused) => return refused.into_response(),
            }
        }
    };
    if let Err(refused) = principal.require(scope) {
        return Problem::from(*refused).into_response();
    }
    if let Err(refused) = app.rates.admit(principal.key, now) {
        return refused.into_response();
    }
    let path = request.uri().path();
    let is_well_formed = readable_path(path).and_then(|()| known_query::check(route, query, request.uri().query()));
    if let Err(refused) = is_well_formed {
        return refused.into_response();
    }
    let asking = match asking(&request, via) {
        Ok(asking) => asking,
        Err(refused) => return refused.into_response(),
    };
    let who = Who { name: principal.name.to_string(), namespace: principal.namespace.to_string(), request: asking };
    request.extensions_mut().insert(Asked { who: who.clone(), principal, browser });
    let path = request.uri().path().to_owned();
    let mut answer = crate::idempotency::around(&app, &who.namespace, request, next).await;
    // The answer is for one key at one moment: no cache may give it to another.
    answer.headers_mut().entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    app.metrics.answered(&path, answer.status());
    // Used by the line of the log.
    answer.extensions_mut().insert(who);
    answer
}

/// The header with the reason for a change, percent-encoded UTF-8.
const REASON: &str = "x-flowmeter-reason";
/// Characters of a reason.
pub(crate) const REASON_CHARS_MAX: usize = 1_000;

/// Returns the facts about a request for the audit.
fn asking(request: &Request, via: Option<Via>) -> Result<Asking, Refused> {
    let id = request.extensions().get::<crate::access::Name>().map(|name| name.as_str().to_owned());
    let Some(given) = request.headers().get(REASON) else { return Ok(Asking { id, via, reason: None }) };
    let wrong = |detail: String| Box::new(Problem::new(Code::Invalid, detail).field(REASON));
    let text = percent_encoding::percent_decode(given.as_bytes()).decode_utf8();
    let text = text.map_err(|_| wrong(format!("{REASON} is not percent-encoded UTF-8")))?;
    let reason = checked_reason(&text).map_err(wrong)?;
    Ok(Asking { id, via, reason })
}

/// Checks the reason of a change; an empty one is none.
pub(crate) fn checked_reason(text: &str) -> Result<Option<String>, String> {
    let text = text.trim();
    match text.chars().count() {
        0 => Ok(None),
        1..=REASON_CHARS_MAX => Ok(Some(text.to_owned())),
        _ => Err(format!("the reason is longer than {REASON_CHARS_MAX} characters")),
    }
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

/// Runs work that waits for the disk or for a pipeline outside the asynchronous threads.
pub(crate) async fn off<T: Send + 'static>(work: impl FnOnce() -> Result<T, Refused> + Send + 'static) -> Result<T, Refused> {
    match tokio::task::spawn_blocking(work).await {
        Ok(outcome) => outcome,
        Err(why) => Err(Box::new(Problem::new(Code::Internal, format!("an endpoint failed: {why}")))),
    }
}

/// Returns an answer with a JSON body.
pub(crate) fn answer(status: StatusCode, body: &impl Serialize) -> Response {
    (status, Json(body)).into_response()
}

/// Returns a page of a list whose items are JSON texts: no number in them is parsed, so none loses
/// a digit.
pub(crate) fn raw_page(items: &[Box<RawValue>], next: Option<&str>) -> Response {
    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct Page<'a> {
        items: &'a [Box<RawValue>],
        next_cursor: Option<&'a str>,
    }
    answer(StatusCode::OK, &Page { items, next_cursor: next })
}

/// Returns a page of a list: its items and the cursor of the next page.
#[allow(clippy::needless_pass_by_value)] // a page is made to be given away
pub(crate) fn page(items: Vec<Value>, next: Option<String>) -> Response {
    answer(StatusCode::OK, &json!({"items": items, "nextCursor": next}))
}
