//! Events: taken as OpenMeter takes them, and listed.

use axum::Extension;
use axum::body::Body;
use axum::extract::{RawQuery, State};
use axum::http::{HeaderMap, Method, StatusCode};
use axum::response::Response;
use axum::routing::{get, post};
use flowmeter_node::keys::Scope;
use flowmeter_node::openmeter::slugs;

use super::recent::{Filter, recent};
use super::{EVENTS, endpoint};
use crate::api::door::{Form, Needs};
use crate::api::events::{Options, admit};
use crate::api::request::Query;
use crate::api::{App, Asked, Endpoint, answer, off};
use crate::problem::{Code, Problem, Refused};

pub(super) fn endpoints() -> Vec<Endpoint> {
    vec![
        Endpoint {
            body: Some("One CloudEvent, or a list of them"),
            ..endpoint(Method::POST, EVENTS, Scope::Ingest, "OpenMeter: take events", (204, "Everything is durable"), post(take))
        },
        Endpoint {
            query: &[
                ("from", "events at or after this time"),
                ("to", "events before this time"),
                ("subject", "of this subject"),
                ("id", "with this text in their id"),
                ("hasError", "true: those that count in no meter; false: those that do"),
                ("ingestedAtFrom", "events received at or after this time"),
                ("ingestedAtTo", "events received before this time"),
                ("limit", "how many at most, from 1 to 100"),
            ],
            ..endpoint(
                Method::GET,
                EVENTS,
                Scope::Read,
                "OpenMeter: the latest events",
                (200, "Events, by event time, the newest first"),
                get(list),
            )
        },
    ]
}

async fn take(
    State(app): State<App>,
    Extension(asked): Extension<Asked>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Refused> {
    let form = match Form::of(&headers)? {
        form @ (Form::Structured | Form::Batched | Form::Plain) => form,
        _ => {
            let detail = "send application/cloudevents+json, application/cloudevents-batch+json or application/json";
            return Err(Box::new(Problem::new(Code::UnsupportedMediaType, detail).field("content-type")));
        }
    };
    let options = Options { needs: Needs::Subject, ..Options::default() };
    admit(&app, &asked, form, &headers, body, options).await
}

async fn list(State(app): State<App>, Extension(asked): Extension<Asked>, RawQuery(raw): RawQuery) -> Result<Response, Refused> {
    let filter = Filter::read(&Query::of(raw.as_deref()))?;
    off(move || {
        let meters = slugs::list(&app.installation, &asked.who.namespace)?;
        Ok(answer(StatusCode::OK, &recent(&app.installation, &asked.who.namespace, &meters, &filter)?))
    })
    .await
}
