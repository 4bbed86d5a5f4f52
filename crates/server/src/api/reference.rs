//! The description of the API as a page without scripts: every endpoint with its parameters, body
//! and answers, and every schema with its fields. Its style sheet is a file of the dashboard.

use axum::response::Html;
use serde_json::Value;

use super::Endpoint;
use super::contract::{self, Forms, Operation};

/// Returns the page of all endpoints and schemas.
pub(super) async fn docs() -> Html<String> {
    let endpoints = super::endpoints();
    let (mut groups, mut rows) = (String::new(), String::new());
    for tag in contract::tags() {
        let name = &tag.name;
        let anchor = name.to_lowercase().replace(' ', "-");
        groups.push_str(&format!("<a href=\"#{anchor}\">{name}</a> "));
        rows.push_str(&format!("<h2 id=\"{anchor}\">{name}</h2><p>{}</p>", escaped(&tag.description)));
        for endpoint in &endpoints {
            if let Some((operation, _)) = endpoint.operation().filter(|(_, of)| of.name == tag.name) {
                rows.push_str(&section(endpoint, operation));
            }
        }
    }
    let schemas: String = contract::schemas().iter().map(|(name, schema)| schema_section(name, schema)).collect();
    Html(format!(
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width\">\
         <title>Flowmeter API</title><link rel=\"icon\" href=\"/favicon.svg\"><link rel=\"stylesheet\" href=\"/reference.css\"></head>\
         <body><main><h1>Flowmeter API</h1><p>For programs: <a href=\"/api/v1/openapi.json\">OpenAPI 3.1</a>, \
         <a href=\"/api/v1/schemas/pipeline.json\">JSON Schema of a pipeline</a>. <a href=\"/\">Dashboard</a></p>\
         <nav aria-label=\"Groups\">{groups}<a href=\"#schemas\">Schemas</a></nav>{rows}\
         <h2 id=\"schemas\">Schemas</h2>{schemas}</main></body></html>"
    ))
}

/// Returns an endpoint as HTML of the page.
fn section(endpoint: &Endpoint, operation: &Operation) -> String {
    let scope = endpoint.scope.map_or("everybody", flowmeter_node::keys::Scope::name);
    let query = endpoint.query.iter().map(|(name, meaning)| {
        let kind = type_of(&operation.of_query(name));
        format!("<dt><code>?{name}=</code></dt><dd>{} ({kind})</dd>", escaped(meaning))
    });
    let body = endpoint.body.map(|body| {
        let forms = operation.body.as_ref().map(links).unwrap_or_default();
        format!("<dt>Body</dt><dd>{}{forms}</dd>", escaped(body))
    });
    let answers = operation.answers.iter().map(|(status, forms)| {
        let forms = forms.as_ref().map(links).unwrap_or_default();
        format!("<dt>{status}</dt><dd>{}{forms}</dd>", escaped(endpoint.answer.1))
    });
    let (method, path, summary) = (&endpoint.method, endpoint.path, endpoint.summary);
    format!(
        "<section id=\"{id}\"><h3><span class=\"method {class}\">{method}</span><code>{path}</code><span class=\"scope\">{scope}</span></h3>\
         <p>{summary}.</p><dl>{query}{body}{answers}</dl></section>",
        id = operation.id,
        class = method.as_str().to_ascii_lowercase(),
        summary = escaped(summary),
        query = query.collect::<String>(),
        body = body.unwrap_or_default(),
        answers = answers.collect::<String>(),
    )
}

/// Returns links to the schemas of a body, with content types other than JSON.
fn links(forms: &Forms) -> String {
    let link = |(kind, name): (&str, &str)| {
        let kind = if kind == "application/json" { String::new() } else { format!(" as <code>{kind}</code>") };
        format!("<br>{}{kind}", link_to(name))
    };
    forms.iter().map(link).collect()
}

fn link_to(schema: &str) -> String {
    format!("<a href=\"#schema-{schema}\"><code>{schema}</code></a>")
}

fn schema_section(name: &str, schema: &Value) -> String {
    let description = schema["description"].as_str().map(|text| format!("<p>{}</p>", escaped(text))).unwrap_or_default();
    let is_required = |field: &str| schema["required"].as_array().is_some_and(|names| names.iter().any(|name| name == field));
    let fields = schema["properties"].as_object().into_iter().flatten().map(|(field, of)| {
        let optional = if is_required(field) { "" } else { "optional " };
        let meaning = of["description"].as_str().map(|text| format!(". {}", escaped(text))).unwrap_or_default();
        format!("<dt><code>{field}</code></dt><dd>{optional}{}{meaning}</dd>", type_of(of))
    });
    let fields: String = fields.collect();
    let own = if fields.is_empty() { format!("<p>{}</p>", type_of(schema)) } else { String::new() };
    format!("<section id=\"schema-{name}\"><h3><code>{name}</code></h3>{description}{own}<dl>{fields}</dl></section>")
}

/// Returns the type of a schema in words, with links.
fn type_of(schema: &Value) -> String {
    let list = |of: &Value, by: &str| of.as_array().into_iter().flatten().map(type_of).collect::<Vec<_>>().join(by);
    if let Some(name) = schema["$ref"].as_str().and_then(|text| text.rsplit('/').next()) {
        return link_to(name);
    }
    if let Some(words) = schema["enum"].as_array() {
        let word = |word: &Value| format!("<code>{}</code>", escaped(word.as_str().unwrap_or("null")));
        return words.iter().map(word).collect::<Vec<_>>().join(", ");
    }
    for several in ["oneOf", "anyOf"] {
        if schema[several].is_array() {
            return list(&schema[several], " or ");
        }
    }
    let names: Vec<&str> = match &schema["type"] {
        Value::String(name) => vec![name],
        Value::Array(names) => names.iter().filter_map(Value::as_str).collect(),
        _ => return "any JSON".to_owned(),
    };
    let name = |name: &&str| match (*name, schema["format"].as_str()) {
        ("array", _) => format!("list of {}", type_of(&schema["items"])),
        ("object", _) if schema["additionalProperties"].is_object() => {
            format!("object with values of {}", type_of(&schema["additionalProperties"]))
        }
        ("string" | "number", Some(format)) => format!("{name}, {format}"),
        _ => (*name).to_owned(),
    };
    names.iter().map(name).collect::<Vec<_>>().join(" or ")
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn types_are_written_in_words() {
        let cases = [
            (json!({"type": "string", "format": "date-time"}), "string, date-time"),
            (json!({"type": ["number", "null"], "format": "decimal"}), "number, decimal or null"),
            (json!({"type": "array", "items": {"type": "integer"}}), "list of integer"),
            (json!({"enum": ["<", "in"]}), "<code>&lt;</code>, <code>in</code>"),
            (json!({"type": "object", "additionalProperties": {"type": "string"}}), "object with values of string"),
            (json!({}), "any JSON"),
        ];
        for (schema, words) in cases {
            assert_eq!(type_of(&schema), words, "{schema}");
        }
        assert!(type_of(&json!({"$ref": "#/components/schemas/Meter"})).contains("#schema-Meter"));
    }

    #[tokio::test]
    async fn every_link_to_a_schema_has_a_section() {
        let page = docs().await.0;
        for link in page.split("href=\"#").skip(1).filter_map(|rest| rest.split('"').next()) {
            assert!(page.contains(&format!("id=\"{link}\"")), "{link}");
        }
        assert!(page.contains("id=\"schema-MeteredRecord\"") && page.contains("id=\"listRecords\""));
    }
}
