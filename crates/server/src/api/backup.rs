//! `POST /api/v1/backup`: a copy of all data, made while the server works.

use std::path::PathBuf;

use axum::Extension;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, Method, StatusCode};
use axum::response::Response;
use axum::routing::post;
use flowmeter_node::keys::Scope;
use serde_json::{Value, json};

use super::request::object;
use super::{App, Asked, Endpoint, answer, off};
use crate::problem::{Code, Problem, Refused, problem_of};

pub(super) fn endpoints() -> Vec<Endpoint> {
    vec![Endpoint {
        method: Method::POST,
        path: "/api/v1/backup",
        scope: Some(Scope::Admin),
        summary: "Copy everything to a new folder on the server's machine, beside the work",
        query: &[],
        body: Some("to: an absolute path of a folder that is empty or not there"),
        answer: (200, "The list of copied files"),
        route: post(back_up),
    }]
}

async fn back_up(
    State(app): State<App>,
    Extension(asked): Extension<Asked>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Refused> {
    asked.must_be_operator(&app)?;
    let fields = object(&app, &headers, body).await?;
    let to = fields.get("to").and_then(Value::as_str).map(PathBuf::from).filter(|to| to.is_absolute());
    let Some(to) = to else {
        let detail = "say where to with `to`: the absolute path of a folder on the server's machine";
        return Err(Box::new(Problem::new(Code::Invalid, detail).field("to")));
    };
    off(move || {
        let at = |why| problem_of(&why);
        // Before the files are written: no backup is without an entry.
        let entry = json!({"to": to});
        app.installation.note_audit(&asked.who, "backup", &to.to_string_lossy(), Value::Null, entry).map_err(at)?;
        let backup = app.installation.back_up(&to).map_err(at)?;
        let told = json!({
            "to": to, "at": backup.at, "logEnd": backup.log_end, "files": backup.files.len(), "bytes": backup.bytes(),
        });
        Ok(answer(StatusCode::OK, &told))
    })
    .await
}
