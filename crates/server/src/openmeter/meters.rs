//! Meters: made, listed, shown, changed, taken away.

use axum::Extension;
use axum::body::Body;
use axum::extract::{Path, RawQuery, State};
use axum::http::{HeaderMap, Method, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get, post, put};
use flowmeter_node::keys::Scope;
use flowmeter_node::openmeter::meter::KeptMeter;
use flowmeter_node::openmeter::slugs;
use serde_json::Value;

use super::{METER, METERS, endpoint};
use crate::api::request::{Query, object};
use crate::api::{App, Asked, Endpoint, answer, off};
use crate::problem::{Code, Problem, Refused};

pub(super) fn endpoints() -> Vec<Endpoint> {
    let body = Some("slug, aggregation, eventType; name, description, valueProperty, groupBy, metadata");
    vec![
        Endpoint {
            query: &[
                ("page", "which page, from 1"),
                ("pageSize", "meters of a page"),
                ("orderBy", "key (the slug), name, aggregation, createdAt or updatedAt"),
                ("order", "ASC or DESC"),
            ],
            ..endpoint(Method::GET, METERS, Scope::Read, "OpenMeter: list meters", (200, "Meters, by slug"), get(list))
        },
        Endpoint {
            body,
            ..endpoint(Method::POST, METERS, Scope::Operate, "OpenMeter: make a meter", (201, "The meter"), post(create))
        },
        endpoint(Method::GET, METER, Scope::Read, "OpenMeter: a meter", (200, "The meter"), get(show)),
        Endpoint {
            body: Some("name, description, groupBy, metadata"),
            ..endpoint(Method::PUT, METER, Scope::Operate, "OpenMeter: change a meter", (200, "The meter"), put(update))
        },
        endpoint(
            Method::DELETE,
            METER,
            Scope::Operate,
            "OpenMeter: take a meter away, with its usage",
            (204, "It is gone"),
            delete(remove),
        ),
    ]
}

async fn list(
    State(app): State<App>,
    Extension(asked): Extension<Asked>,
    RawQuery(query): RawQuery,
) -> Result<Response, Refused> {
    let query = Query::of(query.as_deref());
    let number = |name: &'static str| match query.get(name).map(str::parse::<usize>) {
        None => Ok(None),
        Some(Ok(number)) if number > 0 => Ok(Some(number)),
        Some(_) => Err(Box::new(Problem::new(Code::Invalid, format!("{name} is a number from 1")).field(name))),
    };
    let (page, size) = (number("page")?, number("pageSize")?);
    let order = Order::read(&query)?;
    off(move || {
        let meters = slugs::list(&app.installation, &asked.who.namespace)?;
        let size = size.unwrap_or(if page.is_some() { 100 } else { usize::MAX });
        let skipped = size.saturating_mul(page.unwrap_or(1) - 1);
        let mut shown: Vec<Value> = meters.iter().map(KeptMeter::shown).collect();
        order.sort(&mut shown);
        let shown: Vec<Value> = shown.into_iter().skip(skipped).take(size).collect();
        Ok(answer(StatusCode::OK, &shown))
    })
    .await
}

/// In which order meters are listed.
struct Order {
    by: &'static str,
    falls: bool,
}

/// The orders in which meters may be listed, each with the field to sort by.
const ORDERS: [(&str, &str); 5] =
    [("key", "slug"), ("name", "name"), ("aggregation", "aggregation"), ("createdAt", "createdAt"), ("updatedAt", "updatedAt")];

impl Order {
    fn read(query: &Query) -> Result<Order, Refused> {
        let refused = |field: &'static str, detail: &str| Err(Box::new(Problem::new(Code::Invalid, detail).field(field)));
        let by = match query.get("orderBy") {
            None => "slug",
            Some(asked) => match ORDERS.iter().find(|(name, _)| *name == asked) {
                Some((_, field)) => *field,
                None => return refused("orderBy", "orderBy is one of key, name, aggregation, createdAt and updatedAt"),
            },
        };
        match query.get("order") {
            None | Some("ASC") => Ok(Order { by, falls: false }),
            Some("DESC") => Ok(Order { by, falls: true }),
            Some(_) => refused("order", "order is ASC or DESC"),
        }
    }

    /// Equal ones stay in the order of their slugs.
    fn sort(&self, meters: &mut [Value]) {
        let key = |meter: &Value| meter[self.by].as_str().unwrap_or_default().to_owned();
        meters.sort_by(|a, b| if self.falls { key(b).cmp(&key(a)) } else { key(a).cmp(&key(b)) });
    }
}

async fn create(
    State(app): State<App>,
    Extension(asked): Extension<Asked>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Refused> {
    let fields = object(&app, &headers, body).await?;
    off(move || {
        let meter = slugs::create(&app.installation, &asked.who, &fields)?;
        Ok(answer(StatusCode::CREATED, &meter.shown()))
    })
    .await
}

async fn show(State(app): State<App>, Extension(asked): Extension<Asked>, Path(name): Path<String>) -> Result<Response, Refused> {
    off(move || Ok(answer(StatusCode::OK, &slugs::find(&app.installation, &asked.who.namespace, &name)?.shown()))).await
}

async fn update(
    State(app): State<App>,
    Extension(asked): Extension<Asked>,
    Path(name): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Refused> {
    let fields = object(&app, &headers, body).await?;
    off(move || Ok(answer(StatusCode::OK, &slugs::update(&app.installation, &asked.who, &name, &fields)?.shown()))).await
}

async fn remove(
    State(app): State<App>,
    Extension(asked): Extension<Asked>,
    Path(name): Path<String>,
) -> Result<Response, Refused> {
    off(move || {
        slugs::delete(&app.installation, &asked.who, &name)?;
        Ok(StatusCode::NO_CONTENT.into_response())
    })
    .await
}
