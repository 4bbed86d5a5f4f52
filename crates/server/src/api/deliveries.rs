//! Deliveries: every record at every target, listed, resent, left out, reconciled.

use axum::Extension;
use axum::body::Body;
use axum::extract::{Path, RawQuery, State};
use axum::http::{HeaderMap, Method, StatusCode};
use axum::response::Response;
use axum::routing::{MethodRouter, get, post};
use flowmeter_core::time::Timestamp;
use flowmeter_engine::Error;
use flowmeter_engine::outbox::DeliveryState;
use flowmeter_node::deliveries::reconciling::ReconcileWish;
use flowmeter_node::deliveries::{DeliveryFilter, DeliveryView, targets as delivery_targets};
use flowmeter_node::installation::Served;
use flowmeter_node::keys::Scope;
use serde::Deserialize;
use serde_json::json;

use super::paging::{WINDOW_MAX, backwards, is_newest_first, newest_first, over_pipelines, whole};
use super::request::{Query, json as json_body};
use super::{App, Asked, Endpoint, answer, off};
use crate::problem::{Code, Problem, Refused};

pub(super) fn endpoints() -> Vec<Endpoint> {
    let act = |path, summary, body, answer, route: MethodRouter<App>| Endpoint {
        method: Method::POST,
        path,
        scope: Some(Scope::Operate),
        summary,
        query: &[],
        body,
        answer: (200, answer),
        route,
    };
    let read = |path, summary, query, answer, route: MethodRouter<App>| Endpoint {
        method: Method::GET,
        path,
        scope: Some(Scope::Read),
        summary,
        query,
        body: None,
        answer: (200, answer),
        route,
    };
    let filters: &[(&str, &str)] = &[
        ("pipeline", "of this pipeline"),
        ("target", "to this target"),
        ("state", "pending, sent, accepted, confirmed, retrying, dead or skipped"),
        ("recordId", "of this record"),
        ("from", "of records flushed at this instant or later"),
        ("to", "of records flushed before this instant"),
        ("order", "asc (the oldest first) or desc"),
        ("limit", "items of a page"),
        ("cursor", "`nextCursor` of the page before"),
    ];
    let of_pipeline: &[(&str, &str)] =
        &[("pipeline", "of this pipeline"), ("limit", "items of a page"), ("cursor", "`nextCursor` of the page before")];
    vec![
        read("/api/v1/deliveries", "List deliveries, by record and target", filters, "Deliveries", get(list)),
        read("/api/v1/deliveries/targets", "How far each target has come", of_pipeline, "Targets", get(targets)),
        read("/api/v1/deliveries/{id}", "A delivery with its record", &[], "The delivery", get(show)),
        act("/api/v1/deliveries/{id}/resend", "Send a record again, under the same key", None, "The delivery", post(resend)),
        act("/api/v1/deliveries/{id}/skip", "Leave a record out", Some("reason"), "The delivery", post(skip)),
        act(
            "/api/v1/deliveries/resend",
            "Send everything again that is dead or waits for its next attempt",
            Some("pipeline; target if wanted"),
            "How many",
            post(resend_all),
        ),
        act(
            "/api/v1/deliveries/reconcile",
            "Compare what was flushed with what targets hold, by meter type and period",
            Some("pipeline; target, from and to (of periodEnd), mend: true to send again what is missing, if wanted"),
            "A report for each target",
            post(reconcile),
        ),
    ]
}

fn invalid(field: &'static str, detail: String) -> Refused {
    Box::new(Problem::new(Code::Invalid, detail).field(field))
}

async fn list(
    State(app): State<App>,
    Extension(asked): Extension<Asked>,
    RawQuery(query): RawQuery,
) -> Result<Response, Refused> {
    let query = Query::of(query.as_deref());
    let state = query.get("state").map(|name| {
        DeliveryState::named(name).ok_or_else(|| {
            let names = DeliveryState::ALL.map(DeliveryState::name).join(", ");
            invalid("state", format!("`{name}` is no state of a delivery; there are {names}"))
        })
    });
    let record = query
        .get("recordId")
        .map(|id| uuid::Uuid::try_parse(id).map_err(|_| invalid("recordId", format!("`{id}` is no record's id; it is a UUID"))));
    let filter = DeliveryFilter {
        target: query.get("target").map(str::to_owned),
        state: state.transpose()?,
        record: record.transpose()?,
        first: 0,
        before: None,
    };
    let is_reversed = is_newest_first(&query)?;
    let (flushed_from, flushed_to) = (query.time("from")?, query.time("to")?);
    off(move || {
        let numbers = |served: &Served| {
            let at = |instant: Option<Timestamp>, otherwise| instant.map_or(Ok(otherwise), |at| served.record_flushed_at(at));
            Ok::<_, Error>((at(flushed_from, 0)?, at(flushed_to, served.delivery_end())?))
        };
        if is_reversed {
            return newest_first(&app, &asked.who.namespace, &query, |served, before, limit| {
                backwards(numbers(served)?, before, (limit, WINDOW_MAX), &|| app.installation.wall(), |from, until| {
                    let window = DeliveryFilter { before: Some(until), ..filter.clone() };
                    let found = app.installation.deliveries_from(served, from, &window)?;
                    Ok(found.into_iter().map(|(number, view)| (0, number, view.shown())).collect())
                })
            });
        }
        over_pipelines(&app, &asked.who.namespace, &query, |served, from, limit| {
            let (first, end) = numbers(served)?;
            let filter = DeliveryFilter { first, before: flushed_to.map(|_| end), ..filter.clone() };
            let (found, next) = app.installation.deliveries(served, from, limit, &filter)?;
            Ok((found.iter().map(DeliveryView::shown).collect(), next))
        })
    })
    .await
}

async fn targets(
    State(app): State<App>,
    Extension(asked): Extension<Asked>,
    RawQuery(query): RawQuery,
) -> Result<Response, Refused> {
    let query = Query::of(query.as_deref());
    off(move || {
        let mut served = app.installation.served_in(&asked.who.namespace);
        served.retain(|one| {
            query.get("pipeline").is_none_or(|wanted| one.kept.name == wanted || one.kept.id.to_string() == wanted)
        });
        whole(&query, served.iter().flat_map(|one| delivery_targets(one)))
    })
    .await
}

async fn show(State(app): State<App>, Extension(asked): Extension<Asked>, Path(id): Path<String>) -> Result<Response, Refused> {
    off(move || Ok(answer(StatusCode::OK, &app.installation.delivery(&asked.who.namespace, &id)?))).await
}

async fn resend(State(app): State<App>, Extension(asked): Extension<Asked>, Path(id): Path<String>) -> Result<Response, Refused> {
    off(move || Ok(answer(StatusCode::OK, &app.installation.resend_delivery(&asked.who, &id)?.shown()))).await
}

#[derive(Deserialize)]
struct Skip {
    reason: Option<String>,
}

async fn skip(
    State(app): State<App>,
    Extension(asked): Extension<Asked>,
    Path(id): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Refused> {
    let skip: Skip = json_body(&app, &headers, body).await?;
    let reason = skip.reason.filter(|reason| !reason.trim().is_empty());
    let reason =
        reason.ok_or_else(|| invalid("reason", "say why the record need not go: it is kept with the delivery".to_owned()))?;
    off(move || Ok(answer(StatusCode::OK, &app.installation.skip_delivery(&asked.who, &id, &reason)?.shown()))).await
}

#[derive(Deserialize)]
struct Chosen {
    pipeline: Option<String>,
    target: Option<String>,
    from: Option<String>,
    to: Option<String>,
    #[serde(default)]
    mend: bool,
}

impl Chosen {
    fn pipeline(&self) -> Result<String, Refused> {
        self.pipeline.clone().ok_or_else(|| invalid("pipeline", "name the pipeline".to_owned()))
    }
}

async fn resend_all(
    State(app): State<App>,
    Extension(asked): Extension<Asked>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Refused> {
    let chosen: Chosen = json_body(&app, &headers, body).await?;
    let pipeline = chosen.pipeline()?;
    off(move || {
        let count = app.installation.resend_deliveries(&asked.who, &pipeline, chosen.target.as_deref())?;
        Ok(answer(StatusCode::OK, &json!({"resent": count})))
    })
    .await
}

async fn reconcile(
    State(app): State<App>,
    Extension(asked): Extension<Asked>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Refused> {
    let chosen: Chosen = json_body(&app, &headers, body).await?;
    let pipeline = chosen.pipeline()?;
    let instant = |name: &'static str, text: &Option<String>, otherwise: Timestamp| match text {
        None => Ok(otherwise),
        Some(text) => Timestamp::parse_rfc3339(text.as_bytes())
            .ok_or_else(|| invalid(name, format!("`{text}` is no time; write RFC 3339, like 2026-02-01T00:00:00Z"))),
    };
    let ends = (instant("from", &chosen.from, Timestamp::MIN)?, instant("to", &chosen.to, Timestamp::MAX)?);
    let (target, mends) = (chosen.target, chosen.mend);
    let wish = ReconcileWish { pipeline, target, from: ends.0, to: ends.1, mends };
    off(move || Ok(answer(StatusCode::OK, &app.installation.reconcile(&asked.who, &wish)?.shown()))).await
}
