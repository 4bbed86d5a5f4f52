//! Subjects: whose usage events are of, with names for people.
//!
//! An event needs no subject to be known; a subject that is kept has a display name and metadata.

use axum::Extension;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, Method, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get, post};
use flowmeter_node::keys::Scope;
use flowmeter_node::openmeter::subjects::KeptSubject;
use serde_json::Value;

use super::{ALL_SUBJECTS, SUBJECT, endpoint};
use crate::api::{App, Asked, Endpoint, answer, off, request};
use crate::problem::{Code, Problem, Refused, not_found, problem_of};

/// Subjects of one request.
const SUBJECTS_MAX: usize = 1_000;

pub(super) fn endpoints() -> Vec<Endpoint> {
    vec![
        Endpoint {
            body: Some("A list of subjects: key; displayName, metadata"),
            ..endpoint(
                Method::POST,
                ALL_SUBJECTS,
                Scope::Operate,
                "OpenMeter: make or change subjects",
                (200, "The subjects"),
                post(upsert),
            )
        },
        endpoint(Method::GET, ALL_SUBJECTS, Scope::Read, "OpenMeter: list subjects", (200, "Subjects, by key"), get(list)),
        endpoint(Method::GET, SUBJECT, Scope::Read, "OpenMeter: a subject", (200, "The subject"), get(show)),
        endpoint(
            Method::DELETE,
            SUBJECT,
            Scope::Operate,
            "OpenMeter: forget a subject; its usage stays",
            (204, "It is forgotten"),
            delete(remove),
        ),
    ]
}

fn shown(subjects: &[KeptSubject]) -> Vec<Value> {
    subjects.iter().map(KeptSubject::shown).collect()
}

async fn upsert(
    State(app): State<App>,
    Extension(asked): Extension<Asked>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Refused> {
    // Some clients send one subject without a list.
    let given = match request::json::<Value>(&app, &headers, body).await? {
        Value::Array(given) if given.len() <= SUBJECTS_MAX => given,
        Value::Array(given) => {
            let detail = format!("{} subjects; the limit of a request is {SUBJECTS_MAX}", given.len());
            return Err(Box::new(Problem::new(Code::TooMany, detail)));
        }
        one @ Value::Object(_) => vec![one],
        _ => return Err(Box::new(Problem::new(Code::Invalid, "the body is to be a list of subjects"))),
    };
    off(move || {
        let subjects = app.installation.put_subjects(&asked.who, &given)?;
        Ok(answer(StatusCode::OK, &shown(&subjects)))
    })
    .await
}

async fn list(State(app): State<App>, Extension(asked): Extension<Asked>) -> Result<Response, Refused> {
    off(move || {
        let subjects = app.installation.subjects(&asked.who.namespace).map_err(|why| problem_of(&why))?;
        Ok(answer(StatusCode::OK, &shown(&subjects)))
    })
    .await
}

async fn show(State(app): State<App>, Extension(asked): Extension<Asked>, Path(key): Path<String>) -> Result<Response, Refused> {
    off(move || {
        let found = app.installation.subject(&asked.who.namespace, &key).map_err(|why| problem_of(&why))?;
        Ok(answer(StatusCode::OK, &found.ok_or_else(|| not_found("subject", &key))?.shown()))
    })
    .await
}

async fn remove(
    State(app): State<App>,
    Extension(asked): Extension<Asked>,
    Path(key): Path<String>,
) -> Result<Response, Refused> {
    off(move || {
        app.installation.delete_subject(&asked.who, &key)?;
        Ok(StatusCode::NO_CONTENT.into_response())
    })
    .await
}
