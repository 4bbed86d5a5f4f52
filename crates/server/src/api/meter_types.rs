//! Meter types of the installation.

use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get, post, put};
use axum::{Extension, Json};

use super::request::{check_etag, object};
use super::{App, Asked, Endpoint, off, page};
use crate::installation::{KeptMeterType, Refused, problem_of};
use crate::keys::Scope;

pub(super) fn endpoints() -> Vec<Endpoint> {
    let one = "/api/v1/meter-types/{idOrName}";
    let endpoint = |method, path, scope, summary, body, answer, route| Endpoint {
        method,
        path,
        scope: Some(scope),
        summary,
        query: &[],
        body,
        answer,
        route,
    };
    vec![
        endpoint(
            Method::GET,
            "/api/v1/meter-types",
            Scope::Read,
            "List meter types",
            None,
            (200, "Meter types, by name"),
            get(list),
        ),
        endpoint(
            Method::POST,
            "/api/v1/meter-types",
            Scope::Admin,
            "Make a meter type",
            Some("A meter type, as under `meterTypes` of a pipeline"),
            (201, "The meter type"),
            post(create),
        ),
        endpoint(Method::GET, one, Scope::Read, "A meter type", None, (200, "The meter type"), get(show)),
        endpoint(
            Method::PUT,
            one,
            Scope::Admin,
            "Change a meter type",
            Some("A meter type"),
            (200, "The meter type"),
            put(update),
        ),
        endpoint(Method::DELETE, one, Scope::Admin, "Take a meter type away", None, (204, "It is gone"), delete(remove)),
    ]
}

fn etag(kind: &KeptMeterType) -> String {
    format!("\"{}\"", kind.updated_at)
}

fn shown(status: StatusCode, kind: &KeptMeterType) -> Response {
    (status, [(header::ETAG, etag(kind))], Json(kind.shown())).into_response()
}

async fn list(State(app): State<App>, Extension(asked): Extension<Asked>) -> Result<Response, Refused> {
    off(move || {
        let all = app.installation.meter_types(&asked.who.namespace).map_err(|why| problem_of(&why))?;
        Ok(page(all.iter().map(KeptMeterType::shown).collect(), None))
    })
    .await
}

async fn create(
    State(app): State<App>,
    Extension(asked): Extension<Asked>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Refused> {
    let fields = object(&app, &headers, body).await?;
    off(move || Ok(shown(StatusCode::CREATED, &app.installation.create_meter_type(&asked.who, fields)?))).await
}

async fn show(State(app): State<App>, Extension(asked): Extension<Asked>, Path(name): Path<String>) -> Result<Response, Refused> {
    off(move || Ok(shown(StatusCode::OK, &app.installation.meter_type(&asked.who.namespace, &name)?))).await
}

async fn update(
    State(app): State<App>,
    Extension(asked): Extension<Asked>,
    Path(name): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Refused> {
    let fields = object(&app, &headers, body).await?;
    off(move || {
        let known = app.installation.meter_type(&asked.who.namespace, &name)?;
        check_etag(&headers, &etag(&known))?;
        Ok(shown(StatusCode::OK, &app.installation.update_meter_type(&asked.who, &known, fields)?))
    })
    .await
}

async fn remove(
    State(app): State<App>,
    Extension(asked): Extension<Asked>,
    Path(name): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Refused> {
    off(move || {
        let known = app.installation.meter_type(&asked.who.namespace, &name)?;
        check_etag(&headers, &etag(&known))?;
        app.installation.delete_meter_type(&asked.who, &known)?;
        Ok(StatusCode::NO_CONTENT.into_response())
    })
    .await
}
