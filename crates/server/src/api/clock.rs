//! The clock of the server, which a test clock lets people move.

use axum::Extension;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, Method, StatusCode};
use axum::response::Response;
use axum::routing::{get, post};
use flowmeter_core::time::{Timestamp, parse_duration};
use flowmeter_node::keys::Scope;
use serde::Deserialize;
use serde_json::json;

use super::request::json as body_of;
use super::{App, Asked, Endpoint, answer, off};
use crate::problem::{Code, Problem, Refused};

pub(super) fn endpoints() -> Vec<Endpoint> {
    let (endpoint, clock) = (Endpoint::of, "/api/v1/clock");
    vec![
        endpoint(
            Method::GET,
            clock,
            Scope::Read,
            "The engine's clock",
            None,
            (200, "now, and whether it is a test clock"),
            get(show),
        ),
        endpoint(
            Method::POST,
            clock,
            Scope::Admin,
            "Move a test clock forward",
            Some("to: an instant, or by: a duration like 1h; tick: false moves it and does nothing that is due"),
            (200, "now, ticks, records"),
            post(advance),
        ),
    ]
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Wish {
    to: Option<String>,
    by: Option<String>,
    #[serde(default = "yes")]
    tick: bool,
}

fn yes() -> bool {
    true
}

async fn show(State(app): State<App>) -> Result<Response, Refused> {
    let clock = app.installation.clock();
    Ok(answer(StatusCode::OK, &json!({"now": clock.now().to_string(), "test": clock.as_test().is_some()})))
}

async fn advance(
    State(app): State<App>,
    Extension(asked): Extension<Asked>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Refused> {
    asked.must_be_operator(&app)?;
    let Wish { to, by, tick } = body_of(&app, &headers, body).await?;
    let invalid = |field: &'static str, detail: String| Box::new(Problem::new(Code::Invalid, detail).field(field));
    off(move || {
        let to = match (to, by) {
            (Some(to), None) => {
                let read = Timestamp::parse_rfc3339(to.as_bytes());
                read.ok_or_else(|| invalid("to", format!("`{to}` is no instant; write it like 2026-02-01T00:00:00Z")))?
            }
            (None, Some(by)) => {
                let read = parse_duration(&by).filter(|by| *by >= 0);
                let by = read.ok_or_else(|| invalid("by", format!("`{by}` is no duration; write it like 1h or 30d")))?;
                app.installation.now().saturating_add(by)
            }
            (None, None) | (Some(_), Some(_)) => return Err(invalid("to", "give either `to` or `by`".to_owned())),
        };
        let moved = app.installation.move_clock(to, tick)?;
        let shown = json!({"now": moved.now.to_string(), "ticks": moved.ticks, "records": moved.records});
        Ok(answer(StatusCode::OK, &shown))
    })
    .await
}
