//! The description of the API, made from the same table as its router, and a page that shows it.

use axum::http::{Method, StatusCode, header};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::get;
use serde_json::{Map, Value, json};

use super::Endpoint;

pub(super) fn endpoints() -> Vec<Endpoint> {
    let endpoint = |path, summary, answer, route| Endpoint {
        method: Method::GET,
        path,
        scope: None,
        summary,
        query: &[],
        body: None,
        answer,
        route,
    };
    vec![
        endpoint("/api/v1/openapi.json", "This description, OpenAPI 3.1", (200, "The description"), get(description)),
        endpoint("/api/v1/docs", "This description, as a page", (200, "A page"), get(docs)),
        endpoint("/api/v1/schemas/pipeline.json", "The JSON Schema of a pipeline document", (200, "The schema"), get(schema)),
    ]
}

async fn description() -> Response {
    (StatusCode::OK, [(header::CONTENT_TYPE, "application/json")], document().to_string()).into_response()
}

async fn schema() -> Response {
    let schema = flowmeter_document::json_schema();
    (StatusCode::OK, [(header::CONTENT_TYPE, "application/schema+json")], schema.to_string()).into_response()
}

/// Returns the description, OpenAPI 3.1.
pub(crate) fn document() -> Value {
    let mut paths: Map<String, Value> = Map::new();
    for endpoint in super::endpoints() {
        let item = paths.entry(endpoint.path).or_insert_with(|| json!({}));
        item[endpoint.method.as_str().to_ascii_lowercase()] = operation(&endpoint);
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Flowmeter",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "Usage metering and mediation. Errors are problem details (RFC 9457) with a stable `code`.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "paths": paths,
        "components": {
            "securitySchemes": {"key": {"type": "http", "scheme": "bearer", "description": "An API key: fm_…"}},
            "schemas": {"Problem": {
                "type": "object",
                "required": ["type", "title", "status", "detail", "code"],
                "properties": {
                    "type": {"type": "string", "format": "uri"}, "title": {"type": "string"}, "status": {"type": "integer"},
                    "detail": {"type": "string"}, "code": {"type": "string", "enum": codes()}, "field": {"type": "string"},
                    "remedy": {"type": "string"}, "instance": {"type": "string"},
                },
            }},
        },
    })
}

fn codes() -> Vec<&'static str> {
    crate::problem::Code::all().map(crate::problem::Code::name).collect()
}

fn operation(endpoint: &Endpoint) -> Value {
    let in_path = endpoint.path.split('{').skip(1).filter_map(|part| part.split('}').next());
    let mut parameters: Vec<Value> =
        in_path.map(|name| json!({"name": name, "in": "path", "required": true, "schema": {"type": "string"}})).collect();
    let of_query = |(name, meaning): &(&str, &str)| json!({"name": name, "in": "query", "description": meaning, "schema": {"type": "string"}});
    parameters.extend(endpoint.query.iter().map(of_query));
    let mut operation = json!({
        "summary": endpoint.summary,
        "operationId": operation_id(endpoint),
        "tags": [tag(endpoint.path)],
        "parameters": parameters,
        "responses": {
            endpoint.answer.0.to_string(): {"description": endpoint.answer.1},
            "default": {
                "description": "The problem and its remedy",
                "content": {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}},
            },
        },
    });
    if let Some(scope) = endpoint.scope {
        operation["security"] = json!([{"key": []}]);
        operation["description"] = json!(format!("Needs the scope `{}`.", scope.name()));
    }
    if let Some(body) = endpoint.body {
        operation["requestBody"] = json!({"description": body, "content": {"application/json": {"schema": {}}}});
    }
    operation
}

pub(super) fn tag(path: &str) -> &str {
    path.trim_start_matches("/api/v1/").trim_start_matches('/').split('/').next().unwrap_or_default()
}

fn operation_id(endpoint: &Endpoint) -> String {
    let words = endpoint.path.trim_start_matches("/api/v1").split(['/', '{', '}', '-', '.']).filter(|word| !word.is_empty());
    words.fold(endpoint.method.as_str().to_ascii_lowercase(), |id, word| {
        let (first, rest) = word.split_at(word.chars().next().map_or(0, char::len_utf8));
        format!("{id}{}{rest}", first.to_uppercase())
    })
}

/// A page without scripts: every endpoint with its parameters, body and answer. Its style sheet is
/// a file of the dashboard.
async fn docs() -> Html<String> {
    let (mut groups, mut rows, mut group) = (String::new(), String::new(), "");
    for endpoint in super::endpoints() {
        let tag = tag(endpoint.path);
        if tag != group {
            groups.push_str(&format!("<a href=\"#{tag}\">{tag}</a> "));
            rows.push_str(&format!("<h2 id=\"{tag}\">{tag}</h2>"));
            group = tag;
        }
        rows.push_str(&section(&endpoint));
    }
    Html(format!(
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width\">\
         <title>Flowmeter API</title><link rel=\"icon\" href=\"/favicon.svg\"><link rel=\"stylesheet\" href=\"/reference.css\"></head>\
         <body><main><h1>Flowmeter API</h1><p>For programs: <a href=\"/api/v1/openapi.json\">OpenAPI 3.1</a>, \
         <a href=\"/api/v1/schemas/pipeline.json\">JSON Schema of a pipeline</a>. <a href=\"/\">Dashboard</a></p>\
         <nav aria-label=\"Groups\">{groups}</nav>{rows}</main></body></html>"
    ))
}

/// Returns an endpoint as HTML of the page.
fn section(endpoint: &Endpoint) -> String {
    let scope = endpoint.scope.map_or("everybody", flowmeter_node::keys::Scope::name);
    let query = endpoint.query.iter().map(|(name, meaning)| format!("<dt><code>?{name}=</code></dt><dd>{meaning}</dd>"));
    let body = endpoint.body.map(|body| format!("<dt>Body</dt><dd>{body}</dd>"));
    let (method, path, summary) = (&endpoint.method, endpoint.path, endpoint.summary);
    let (status, answer) = endpoint.answer;
    format!(
        "<section><h3><span class=\"method {class}\">{method}</span><code>{path}</code><span class=\"scope\">{scope}</span></h3>\
         <p>{summary}.</p><dl>{query}{body}<dt>{status}</dt><dd>{answer}</dd></dl></section>",
        class = method.as_str().to_ascii_lowercase(),
        query = query.collect::<String>(),
        body = body.unwrap_or_default(),
    )
}
