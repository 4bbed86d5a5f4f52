//! Test data: events that are kept by name, for DEBUG sessions.

use axum::Extension;
use axum::body::Body;
use axum::extract::{Path, RawQuery, State};
use axum::http::{HeaderMap, Method, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get, post};
use flowmeter_node::keys::Scope;
use flowmeter_node::trials::test_data::TestData;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::paging::whole;
use super::request::{Query, json};
use super::trial::written;
use super::{App, Asked, Endpoint, answer, off};
use crate::problem::{Code, Problem, Refused, problem_of};

pub(super) fn endpoints() -> Vec<Endpoint> {
    let one = "/api/v1/test-data/{name}";
    let endpoint = Endpoint::of;
    vec![
        endpoint(
            Method::GET,
            "/api/v1/test-data",
            Scope::Read,
            "List test data",
            None,
            (200, "By name, without the events"),
            get(list),
        )
        .paged(),
        endpoint(
            Method::POST,
            "/api/v1/test-data",
            Scope::Operate,
            "Keep events under a name, for DEBUG sessions",
            Some("name; events: a list of events, or of lines of an access log"),
            (201, "The test data"),
            post(create),
        ),
        endpoint(
            Method::GET,
            one,
            Scope::Read,
            "Test data, with its events a line each",
            None,
            (200, "The test data"),
            get(show),
        ),
        endpoint(Method::DELETE, one, Scope::Operate, "Take test data away", None, (204, "It is gone"), delete(remove)),
    ]
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Wish {
    name: String,
    /// As they were written: their numbers keep their digits.
    events: Vec<Box<RawValue>>,
}

async fn list(
    State(app): State<App>,
    Extension(asked): Extension<Asked>,
    RawQuery(query): RawQuery,
) -> Result<Response, Refused> {
    off(move || {
        let all = app.installation.all_test_data(&asked.who.namespace).map_err(|why| problem_of(&why))?;
        whole(&Query::of(query.as_deref()), all.iter().map(TestData::listed))
    })
    .await
}

async fn create(
    State(app): State<App>,
    Extension(asked): Extension<Asked>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Refused> {
    let wish: Wish = json(&app, &headers, body).await?;
    if wish.events.is_empty() {
        return Err(Box::new(Problem::new(Code::Invalid, "give one event at least").field("events")));
    }
    let (lines, raw) = written(&wish.events, app.installation.settings().limits.batch_events_max)?;
    off(move || {
        let made = app.installation.create_test_data(&asked.who, &wish.name, lines, raw)?;
        Ok(answer(StatusCode::CREATED, &made.listed()))
    })
    .await
}

async fn show(State(app): State<App>, Extension(asked): Extension<Asked>, Path(name): Path<String>) -> Result<Response, Refused> {
    off(move || {
        let known = app.installation.test_data(&asked.who.namespace, &name)?;
        Ok(answer(StatusCode::OK, &serde_json::to_value(&known).unwrap_or_default()))
    })
    .await
}

async fn remove(
    State(app): State<App>,
    Extension(asked): Extension<Asked>,
    Path(name): Path<String>,
) -> Result<Response, Refused> {
    off(move || {
        app.installation.delete_test_data(&asked.who, &name)?;
        Ok(StatusCode::NO_CONTENT.into_response())
    })
    .await
}
