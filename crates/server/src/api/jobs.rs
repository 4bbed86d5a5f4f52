//! Jobs over many parked events, deliveries or records: begun, listed, canceled.

mod file;
mod wishes;

use axum::Extension;
use axum::body::Body;
use axum::extract::{Path, RawQuery, State};
use axum::http::{HeaderMap, Method, StatusCode};
use axum::response::Response;
use axum::routing::{get, post};
use flowmeter_node::jobs::{Job, JobState};
use flowmeter_node::keys::Scope;

use super::corrections::because;
use super::paging::whole;
use super::request::{Query, json};
use super::{App, Asked, Endpoint, answer, off};
use crate::problem::Refused;
use wishes::{OfDeliveries, Wish};

pub(super) fn endpoints() -> Vec<Endpoint> {
    let endpoint = Endpoint::of;
    let begun = (202, "The job; with dryRun, the number of things that it would take");
    vec![
        endpoint(
            Method::POST,
            "/api/v1/corrections/jobs",
            Scope::Operate,
            "Send many parked events again, or discard them",
            Some(
                "action (reprocess or discard); selector: ids, or groupId, or filter (pipeline and the parameters of the list), and upTo; \
                 reason; set (field: value) and dryRun if wanted",
            ),
            begun,
            post(corrections),
        ),
        endpoint(
            Method::POST,
            "/api/v1/deliveries/jobs",
            Scope::Operate,
            "Send many deliveries again, skip them, or compare what targets hold",
            Some(
                "action (resend or skip); selector: ids, or filter (pipeline; target, state, from and to of the last attempt), and upTo; \
                 reason; dryRun if wanted. Or action reconcile; selector: filter (pipeline; target, from and to of the period's end); \
                 mend: true to send again what is missing",
            ),
            begun,
            post(deliveries),
        ),
        endpoint(
            Method::POST,
            "/api/v1/exports",
            Scope::Operate,
            "Write records to a file that can be fetched",
            Some(
                "format (csv, ndjson, parquet or xlsx); selector: filter (pipeline, meterType, userId, meterId, from and to of the \
                 period's end), and upTo; reason and dryRun if wanted",
            ),
            begun,
            post(exports),
        ),
        endpoint(Method::GET, "/api/v1/jobs", Scope::Read, "Jobs, the newest first", None, (200, "Jobs"), get(list)).paged(),
        endpoint(Method::GET, "/api/v1/jobs/{id}", Scope::Read, "A job", None, (200, "The job, with what it found"), get(show)),
        endpoint(
            Method::GET,
            "/api/v1/jobs/{id}/file",
            Scope::Read,
            "The file of an export that is done",
            None,
            (200, "The file"),
            get(file::fetch),
        ),
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

/// Returns the answer to a request that begins a job.
fn begun(job: &Job) -> Response {
    let status = if job.state == JobState::DryRun { StatusCode::OK } else { StatusCode::ACCEPTED };
    answer(status, &job.shown())
}

async fn corrections(
    State(app): State<App>,
    Extension(asked): Extension<Asked>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Refused> {
    let wish: Wish = json(&app, &headers, body).await?;
    let asked = because(asked, &wish.reason)?;
    let wish = wish.of_corrections()?;
    off(move || Ok(begun(&app.installation.begin_correction_job(&asked.who, wish)?))).await
}

async fn deliveries(
    State(app): State<App>,
    Extension(asked): Extension<Asked>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Refused> {
    let wish: Wish = json(&app, &headers, body).await?;
    let asked = because(asked, &wish.reason)?;
    let wish = wish.of_deliveries()?;
    off(move || {
        let job = match wish {
            OfDeliveries::Act(wish) => app.installation.begin_delivery_job(&asked.who, &wish)?,
            OfDeliveries::Reconcile(wish, written) => app.installation.begin_reconcile_job(&asked.who, &wish, &written)?,
        };
        Ok(begun(&job))
    })
    .await
}

async fn exports(
    State(app): State<App>,
    Extension(asked): Extension<Asked>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Refused> {
    let wish: Wish = json(&app, &headers, body).await?;
    let asked = because(asked, &wish.reason)?;
    let wish = wish.of_export()?;
    off(move || Ok(begun(&app.installation.begin_export(&asked.who, wish)?))).await
}

async fn list(
    State(app): State<App>,
    Extension(asked): Extension<Asked>,
    RawQuery(query): RawQuery,
) -> Result<Response, Refused> {
    let jobs = app.installation.jobs.of(&asked.who.namespace);
    whole(&Query::of(query.as_deref()), jobs.iter().map(Job::shown))
}

async fn show(State(app): State<App>, Extension(asked): Extension<Asked>, Path(id): Path<String>) -> Result<Response, Refused> {
    Ok(answer(StatusCode::OK, &app.installation.jobs.find(&asked.who.namespace, &id)?.shown_whole()))
}

async fn cancel(State(app): State<App>, Extension(asked): Extension<Asked>, Path(id): Path<String>) -> Result<Response, Refused> {
    off(move || Ok(answer(StatusCode::OK, &app.installation.cancel_job(&asked.who, &id)?.shown()))).await
}
