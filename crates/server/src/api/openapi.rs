//! The description of the API (OpenAPI 3.1), made from the same table as its router and from the
//! schemas beside it ([`super::contract`]).

use axum::http::{Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use serde_json::{Map, Value, json};

use super::contract::{self, Forms, Operation};
use super::{Endpoint, REASON_CHARS_MAX, reference};

/// Characters of an idempotency key at most.
const KEY_CHARS_MAX: usize = crate::idempotency::KEY_CHARS_MAX;

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
        endpoint("/api/v1/docs", "This description, as a page", (200, "A page"), get(reference::docs)),
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
        let Some((operation, tag)) = endpoint.operation() else { continue };
        let item = paths.entry(endpoint.path).or_insert_with(|| json!({}));
        item[endpoint.method.as_str().to_ascii_lowercase()] = described(&endpoint, operation, &tag.name);
    }
    let tags = contract::tags().map(|tag| json!({"name": tag.name, "description": tag.description}));
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Flowmeter",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "Usage metering and mediation. Errors are problem details (RFC 9457) with a stable `code`. Numbers \
                            of the format `decimal` are exact and have up to 38 digits.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/", "description": "This server"}],
        "tags": tags.collect::<Vec<_>>(),
        "paths": paths,
        "components": {
            "securitySchemes": {"key": {"type": "http", "scheme": "bearer", "description": "An API key: fm_…"}},
            "responses": responses(),
            "schemas": contract::schemas(),
        },
    })
}

/// Returns the refusals that operations share: one without headers, one with the time of a retry,
/// and one of requests without a valid key.
fn responses() -> Value {
    let problem = |description: &str, headers: Value| {
        let content = json!({"application/problem+json": {"schema": reference_to("Problem")}});
        json!({"description": description, "headers": headers, "content": content})
    };
    let retry = json!({"Retry-After": {"description": "Seconds to wait", "schema": {"type": "integer"}}});
    let scheme = json!({"WWW-Authenticate": {"description": "How to authenticate", "schema": {"type": "string"}}});
    json!({
        "Refused": problem("The problem and its remedy", json!({})),
        "Busy": problem("Nothing was taken; `Retry-After` may say when to try again", retry),
        "Unauthenticated": problem("The request has no valid key", scheme),
    })
}

fn reference_to(component: &str) -> Value {
    json!({"$ref": format!("#/components/schemas/{component}")})
}

/// Returns the content of a body in each of its forms.
fn content(forms: &Forms) -> Map<String, Value> {
    forms.iter().map(|(kind, name)| (kind.to_owned(), json!({"schema": reference_to(name)}))).collect()
}

fn described(endpoint: &Endpoint, operation: &Operation, tag: &str) -> Value {
    let mut described = json!({
        "summary": endpoint.summary,
        "operationId": operation.id,
        "tags": [tag],
        "parameters": parameters(endpoint, operation),
        "responses": answers(endpoint, operation),
    });
    if let Some(scope) = endpoint.scope {
        described["security"] = json!([{"key": []}]);
        described["description"] = json!(format!("Needs the scope `{}`.", scope.name()));
        described["x-scope"] = json!(scope.name());
    } else if operation.optional_key {
        described["security"] = json!([{}, {"key": []}]);
    }
    if let (Some(forms), Some(text)) = (&operation.body, endpoint.body) {
        described["requestBody"] = json!({"description": text, "required": !operation.optional_body, "content": content(forms)});
    }
    described
}

/// Returns a parameter; a description moves from its schema to it.
fn parameter(name: &str, place: &str, meaning: Option<&str>, mut schema: Value) -> Value {
    let own = schema.as_object_mut().and_then(|members| members.remove("description"));
    let meaning = meaning.map_or(own, |meaning| Some(json!(meaning)));
    let mut parameter = json!({"name": name, "in": place, "required": place == "path", "schema": schema});
    if let Some(meaning) = meaning {
        parameter["description"] = meaning;
    }
    parameter
}

/// Returns a header of an answer; a description moves from its schema to it.
fn header_of(mut schema: Value) -> Value {
    let meaning = schema.as_object_mut().and_then(|members| members.remove("description")).unwrap_or_default();
    json!({"description": meaning, "schema": schema})
}

fn parameters(endpoint: &Endpoint, operation: &Operation) -> Vec<Value> {
    let in_path = endpoint.names_in_path().map(|name| parameter(name, "path", None, operation.of_path(name)));
    let in_query = endpoint.query.iter().map(|(name, meaning)| {
        let schema = operation.of_query(name);
        let Some(map) = name.strip_suffix("[x]") else { return parameter(name, "query", Some(meaning), schema) };
        let mut parameter = parameter(map, "query", Some(meaning), schema);
        parameter["style"] = json!("deepObject");
        parameter["explode"] = json!(true);
        parameter
    });
    let mut all: Vec<Value> = in_path.chain(in_query).collect();
    all.extend(operation.headers.iter().map(|(name, schema)| parameter(name, "header", None, schema.clone())));
    if operation.if_match {
        let meaning = "The `ETag` on which the change is based";
        all.push(parameter("If-Match", "header", Some(meaning), json!({"type": "string"})));
    }
    if endpoint.takes_reason() {
        let meaning = format!("The reason for the change, as percent-encoded UTF-8 of at most {REASON_CHARS_MAX} characters");
        all.push(parameter("X-Flowmeter-Reason", "header", Some(&meaning), json!({"type": "string"})));
    }
    if endpoint.is_idempotent_by_key() {
        let meaning = "The same request under one key gets the same answer for 24 hours";
        let schema = json!({"type": "string", "minLength": 1, "maxLength": KEY_CHARS_MAX});
        all.push(parameter("Idempotency-Key", "header", Some(meaning), schema));
    }
    all
}

fn answers(endpoint: &Endpoint, operation: &Operation) -> Map<String, Value> {
    let mut answers = Map::new();
    for (status, forms) in &operation.answers {
        let mut answer = json!({"description": endpoint.answer.1});
        if let Some(forms) = forms {
            answer["content"] = Value::Object(content(forms));
        }
        let mut headers = operation.answer_headers.clone();
        if operation.etag {
            headers.insert("ETag".to_owned(), json!({"type": "string", "description": "The version of the object"}));
        }
        if !headers.is_empty() {
            answer["headers"] = headers.into_iter().map(|(name, schema)| (name, header_of(schema))).collect();
        }
        answers.insert(status.to_string(), answer);
    }
    let refused = |component: &str| match &operation.refused {
        None => json!({"$ref": format!("#/components/responses/{component}")}),
        Some(forms) => {
            let mut content = content(forms);
            content.insert("application/problem+json".to_owned(), json!({"schema": reference_to("Problem")}));
            json!({"description": "The problem", "content": content})
        }
    };
    for status in operation.refusals(endpoint) {
        let component = match status {
            401 => "Unauthenticated",
            429 | 503 => "Busy",
            _ => "Refused",
        };
        answers.insert(status.to_string(), refused(component));
    }
    answers.insert("default".to_owned(), refused("Refused"));
    answers
}
