//! Tables that operators look things up in.

use axum::Extension;
use axum::body::Body;
use axum::extract::{Path, RawQuery, State};
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::response::Response;
use axum::routing::{get, post, put};
use flowmeter_connectors::tables::sent_rows;
use flowmeter_node::keys::Scope;
use flowmeter_node::tables::{KeptContent, TableView};
use serde_json::{Value, json};

use super::paging::whole;
use super::request::Query;
use super::{App, Asked, Endpoint, answer, off};
use crate::problem::{Code, Problem, Refused, problem_of};

pub(super) fn endpoints() -> Vec<Endpoint> {
    let one = "/api/v1/tables/{name}";
    let endpoint = Endpoint::of;
    vec![
        endpoint(
            Method::GET,
            "/api/v1/tables",
            Scope::Read,
            "List the tables that pipelines declare",
            None,
            (200, "Tables by name, each with the version in force"),
            get(list),
        )
        .paged(),
        endpoint(
            Method::GET,
            one,
            Scope::Read,
            "A table",
            None,
            (200, "version, hash, rows, since, and the error of a refused content"),
            get(show),
        ),
        endpoint(
            Method::GET,
            "/api/v1/tables/{name}/versions",
            Scope::Read,
            "List the versions of a table, the newest first",
            None,
            (200, "Versions"),
            get(versions),
        )
        .paged(),
        Endpoint {
            query: &[
                ("key", "Only rows whose key columns are these values, separated by commas"),
                ("at", "The rows that were in force at this instant"),
                ("limit", "Maximum number of items"),
                ("cursor", "Where the page begins, from `nextCursor`"),
            ],
            ..endpoint(
                Method::GET,
                "/api/v1/tables/{name}/rows",
                Scope::Read,
                "List the rows of a table",
                None,
                (200, "Rows"),
                get(rows),
            )
        },
        endpoint(
            Method::PUT,
            "/api/v1/tables/{name}/rows",
            Scope::Operate,
            "Replace the rows of a table",
            Some("All rows: NDJSON, or CSV with a header (Content-Type: text/csv)"),
            (200, "version, and whether it changed"),
            put(replace),
        ),
        endpoint(
            Method::POST,
            "/api/v1/tables/{name}/refresh",
            Scope::Operate,
            "Read the file of a table again",
            None,
            (200, "version, and whether it changed"),
            post(refresh),
        ),
    ]
}

async fn list(
    State(app): State<App>,
    Extension(asked): Extension<Asked>,
    RawQuery(query): RawQuery,
) -> Result<Response, Refused> {
    off(move || {
        let all = app.installation.tables(&asked.who.namespace).map_err(|why| problem_of(&why))?;
        whole(&Query::of(query.as_deref()), all.iter().map(TableView::shown))
    })
    .await
}

async fn show(State(app): State<App>, Extension(asked): Extension<Asked>, Path(name): Path<String>) -> Result<Response, Refused> {
    off(move || Ok(answer(StatusCode::OK, &app.installation.table(&asked.who.namespace, &name)?.shown()))).await
}

async fn versions(
    State(app): State<App>,
    Extension(asked): Extension<Asked>,
    Path(name): Path<String>,
    RawQuery(query): RawQuery,
) -> Result<Response, Refused> {
    off(move || {
        let table = app.installation.table(&asked.who.namespace, &name)?;
        let shown = table.kept.versions.iter().rev().map(KeptContent::shown);
        whole(&Query::of(query.as_deref()), shown)
    })
    .await
}

async fn rows(
    State(app): State<App>,
    Extension(asked): Extension<Asked>,
    Path(name): Path<String>,
    RawQuery(query): RawQuery,
) -> Result<Response, Refused> {
    off(move || {
        let query = Query::of(query.as_deref());
        let table = app.installation.table(&asked.who.namespace, &name)?;
        let mut rows = app.installation.table_rows(&table, query.time("at")?)?;
        if let Some(key) = query.get("key") {
            let columns = table.key_columns();
            let wanted: Vec<&str> = if columns.len() == 1 { vec![key] } else { key.split(',').collect() };
            if wanted.len() != columns.len() {
                let detail = format!("the key has {} columns ({}); give as many values", columns.len(), columns.join(", "));
                return Err(Box::new(Problem::new(Code::Invalid, detail).field("key")));
            }
            let has = |row: &Value| columns.iter().zip(&wanted).all(|(column, wanted)| text_of(&row[column]) == *wanted);
            rows.retain(has);
        }
        whole(&query, rows)
    })
    .await
}

/// The text by which a value is compared.
fn text_of(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

async fn replace(
    State(app): State<App>,
    Extension(asked): Extension<Asked>,
    Path(name): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Refused> {
    let bytes = crate::body::read(&headers, body, &app.installation.settings().limits).await?;
    let content_type = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let content_type = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    let is_delimited = match content_type.as_str() {
        "text/csv" => true,
        "" | "application/x-ndjson" | "application/ndjson" | "application/jsonl" | "application/json" | "text/plain" => false,
        other => {
            let detail = format!("`{other}`; send application/x-ndjson or text/csv");
            return Err(Box::new(Problem::new(Code::UnsupportedMediaType, detail)));
        }
    };
    off(move || {
        let rows = sent_rows(&bytes, is_delimited, usize::MAX).map_err(|why| Box::new(Problem::new(Code::TableRefused, why)))?;
        let (version, changed) = app.installation.put_table_rows(&asked.who, &name, &rows)?;
        Ok(answer(StatusCode::OK, &json!({"version": version, "changed": changed})))
    })
    .await
}

async fn refresh(
    State(app): State<App>,
    Extension(asked): Extension<Asked>,
    Path(name): Path<String>,
) -> Result<Response, Refused> {
    off(move || {
        let (version, changed) = app.installation.refresh_table(&asked.who, &name)?;
        Ok(answer(StatusCode::OK, &json!({"version": version, "changed": changed})))
    })
    .await
}
