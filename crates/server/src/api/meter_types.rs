//! Meter types of the installation.

use axum::body::Body;
use axum::extract::{Path, RawQuery, State};
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get, post, put};
use axum::{Extension, Json};
use flowmeter_node::keys::Scope;
use flowmeter_node::meter_types::KeptMeterType;
use flowmeter_node::meter_types::declared::DeclaredMeterType;
use flowmeter_node::refusal::RefusalKind;

use super::paging::whole;
use super::request::{Query, check_etag, object};
use super::{App, Asked, Endpoint, answer, off};
use crate::problem::{Refused, problem_of};

pub(super) fn endpoints() -> Vec<Endpoint> {
    let one = "/api/v1/meter-types/{idOrName}";
    let endpoint = Endpoint::of;
    vec![
        endpoint(
            Method::GET,
            "/api/v1/meter-types",
            Scope::Read,
            "List the meter types of the installation and those that pipelines declare",
            None,
            (200, "Meter types: the installation's by name, then each pipeline's with its `pipeline`"),
            get(list),
        )
        .paged(),
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
    format!("\"{}\"", kind.tag())
}

fn shown(status: StatusCode, kind: &KeptMeterType) -> Response {
    (status, [(header::ETAG, etag(kind))], Json(kind.shown())).into_response()
}

async fn list(
    State(app): State<App>,
    Extension(asked): Extension<Asked>,
    RawQuery(query): RawQuery,
) -> Result<Response, Refused> {
    off(move || {
        let namespace = &asked.who.namespace;
        let own = app.installation.meter_types(namespace).map_err(|why| problem_of(&why))?;
        let declared = app.installation.declared_meter_types(namespace).map_err(|why| problem_of(&why))?;
        let own = own.iter().map(KeptMeterType::shown);
        let all = own.chain(declared.iter().map(DeclaredMeterType::shown));
        whole(&Query::of(query.as_deref()), all)
    })
    .await
}

/// A meter type of the installation, to be changed.
fn own(app: &App, namespace: &str, name: &str) -> Result<KeptMeterType, Refused> {
    app.installation.meter_type(namespace, name).map_err(|refused| match refused.kind {
        RefusalKind::NotFound => app.installation.not_of_the_installation(namespace, name).into(),
        _ => refused.into(),
    })
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
    off(move || {
        let namespace = &asked.who.namespace;
        match app.installation.meter_type(namespace, &name) {
            Ok(own) => Ok(shown(StatusCode::OK, &own)),
            Err(refused) if refused.kind == RefusalKind::NotFound => {
                Ok(answer(StatusCode::OK, &app.installation.declared_meter_type(namespace, &name)?.shown()))
            }
            Err(refused) => Err(refused.into()),
        }
    })
    .await
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
        let known = own(&app, &asked.who.namespace, &name)?;
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
        let known = own(&app, &asked.who.namespace, &name)?;
        check_etag(&headers, &etag(&known))?;
        app.installation.delete_meter_type(&asked.who, &known)?;
        Ok(StatusCode::NO_CONTENT.into_response())
    })
    .await
}
