//! The audit: changes with author and time.

use axum::Extension;
use axum::extract::{RawQuery, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use flowmeter_node::audit::{AuditEntry, AuditFilter, Image, Via};
use flowmeter_node::csv::Table;
use flowmeter_node::keys::Scope;
use serde_json::value::to_raw_value;

use super::request::{Query, wants_csv};
use super::{App, Asked, Endpoint, off, raw_page};
use crate::problem::{Refused, problem_of};

/// Entries of one answer as CSV, unless `limit` asks for fewer.
const CSV_ENTRIES: usize = 10_000;
/// The header with the cursor of the entries that follow a table.
const NEXT: HeaderName = HeaderName::from_static("x-next-cursor");

pub(super) fn endpoints() -> Vec<Endpoint> {
    vec![Endpoint {
        method: Method::GET,
        path: "/api/v1/audit",
        scope: Some(Scope::Admin),
        summary: "Changes with author and time, the newest first",
        query: &[
            ("object", "of this object"),
            ("action", "whose action begins so"),
            ("who", "by this key"),
            ("from", "at this instant or later"),
            ("to", "before this instant"),
            ("limit", "items of a page; default of a table: 10,000"),
            ("cursor", "`nextCursor` of the page before; of a table, the header `X-Next-Cursor`"),
        ],
        body: None,
        answer: (200, "Entries; as CSV if `Accept` asks for text/csv"),
        route: get(list),
    }]
}

async fn list(
    State(app): State<App>,
    Extension(asked): Extension<Asked>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<Response, Refused> {
    let query = Query::of(query.as_deref());
    let is_table = wants_csv(&headers);
    let limit = if is_table && query.get("limit").is_none() { CSV_ENTRIES } else { query.limit()? };
    let before = query.cursor()?;
    let text = |name: &str| query.get(name).map(str::to_owned);
    let instant = |name: &str| Ok::<_, Refused>(query.time(name)?.map(|at| at.to_string()));
    let filter = AuditFilter {
        object: text("object"),
        action: text("action"),
        who: text("who"),
        from: instant("from")?,
        to: instant("to")?,
    };
    off(move || {
        let found = app.installation.audit_of(&asked.who.namespace, &filter, before, limit + 1);
        let mut found = found.map_err(|why| problem_of(&why))?;
        let next = (found.len() > limit).then(|| found[limit - 1].number.to_string());
        found.truncate(limit);
        if is_table {
            return Ok(table(&found, next.as_deref()));
        }
        // As text, so that the event of a correction stays as it was sent.
        let shown = found.iter().map(|entry| to_raw_value(entry).unwrap_or_default()).collect::<Vec<_>>();
        Ok(raw_page(&shown, next.as_deref()))
    })
    .await
}

/// Returns entries as CSV.
fn table(entries: &[AuditEntry], next: Option<&str>) -> Response {
    const COLUMNS: [&str; 10] = ["number", "at", "who", "via", "action", "object", "reason", "requestId", "before", "after"];
    let mut table = Table::with_columns(COLUMNS);
    for entry in entries {
        let number = entry.number.to_string();
        let (via, text) = (entry.via.map(Via::name), |text: &Option<String>| text.clone().unwrap_or_default());
        let (reason, request) = (text(&entry.reason), text(&entry.request_id));
        let [before, after] = [&entry.before, &entry.after].map(Image::text);
        let about = [&number, &entry.at, &entry.who, via.unwrap_or_default(), &entry.action, &entry.object];
        about.into_iter().chain([reason.as_str(), &request, before, after]).for_each(|text| table.cell(text));
        table.end_row();
    }
    let disposition = "attachment; filename=\"audit.csv\"";
    let headers = [(header::CONTENT_TYPE, "text/csv; charset=utf-8"), (header::CONTENT_DISPOSITION, disposition)];
    let mut answer = (headers, table.finish()).into_response();
    if let Some(next) = next.and_then(|next| HeaderValue::from_str(next).ok()) {
        answer.headers_mut().insert(NEXT, next);
    }
    answer
}
