//! Checks every exchange of a test against the description that the server serves: the status, the
//! content type and the body of an answer; the parameters and the body of an accepted request.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};

use jsonschema::Validator;
use serde_json::{Value, json};

/// A request with its answer.
pub struct Exchange<'e> {
    pub method: &'e str,
    /// The path and the query.
    pub target: &'e str,
    /// Headers of the request, with names in lower case.
    pub headers: &'e [(String, String)],
    /// The body of the request, if it has one.
    pub request: Option<&'e [u8]>,
    pub status: u16,
    /// The content type of the answer; empty if it has none.
    pub content_type: &'e str,
    /// The body of the answer; none if it was not read.
    pub answer: Option<&'e [u8]>,
}

/// The description, with the schemas that were used so far.
pub struct Description {
    document: Value,
    validators: Mutex<BTreeMap<String, Arc<Validator>>>,
    /// Endpoints with a checked answer of success, as `GET /api/v1/records`.
    checked: Mutex<BTreeSet<String>>,
}

/// The description of the binary under test, which is the same for all servers of a process.
static DESCRIPTION: Mutex<Option<Arc<Description>>> = Mutex::new(None);

/// Returns the description; `fetch` reads it from a server once.
pub fn description(fetch: impl FnOnce() -> Option<Vec<u8>>) -> Option<Arc<Description>> {
    let mut known = DESCRIPTION.lock().unwrap_or_else(PoisonError::into_inner);
    if known.is_none() {
        let document = serde_json::from_slice(&fetch()?).ok()?;
        *known = Some(Arc::new(Description { document, validators: Mutex::default(), checked: Mutex::default() }));
    }
    known.clone()
}

/// Returns a content type without its parameters.
fn essence(content_type: &str) -> &str {
    content_type.split(';').next().unwrap_or_default().trim()
}

fn is_json(essence: &str) -> bool {
    essence == "application/json" || essence.ends_with("+json")
}

impl Description {
    /// Returns the whole document.
    pub fn document(&self) -> &Value {
        &self.document
    }

    /// Returns the endpoints that had a checked answer of success.
    pub fn checked(&self) -> BTreeSet<String> {
        self.checked.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Fails the test if an exchange is not as described.
    pub fn check(&self, exchange: &Exchange<'_>) {
        if let Err(why) = self.verdict(exchange) {
            panic!("{why}");
        }
    }

    /// Returns how an exchange differs from its description, with endpoint, place and value. Paths
    /// that are no endpoint are skipped.
    pub fn verdict(&self, exchange: &Exchange<'_>) -> Result<(), String> {
        let path = exchange.target.split('?').next().unwrap_or_default();
        let Some((endpoint, operation)) = self.operation(exchange.method, path) else { return Ok(()) };
        let judged = self.judge(operation, exchange);
        judged.map_err(|why| format!("{endpoint} is not as /api/v1/openapi.json describes it: {why}"))?;
        if (200..300).contains(&exchange.status) {
            self.checked.lock().unwrap_or_else(PoisonError::into_inner).insert(endpoint);
        }
        Ok(())
    }

    /// Fails the test if a message of a stream is not as a component describes it.
    pub fn check_message(&self, component: &str, message: &str) {
        let schema = json!({"$ref": format!("#/components/schemas/{component}")});
        assert_eq!(self.validate(&schema, message.as_bytes()), Ok(()), "{component}");
    }

    /// Returns the endpoint of a request; of several paths that fit, that with the fewest
    /// parameters.
    fn operation(&self, method: &str, path: &str) -> Option<(String, &Value)> {
        let segments: Vec<&str> = path.split('/').collect();
        let fits = |template: &str| {
            let parts: Vec<&str> = template.split('/').collect();
            parts.len() == segments.len()
                && parts
                    .iter()
                    .zip(&segments)
                    .all(|(part, segment)| part == segment || part.starts_with('{') && !segment.is_empty())
        };
        let paths = self.document["paths"].as_object()?.iter().filter(|(template, _)| fits(template));
        let (template, item) = paths.min_by_key(|(template, _)| template.matches('{').count())?;
        Some((format!("{method} {template}"), item.get(method.to_ascii_lowercase())?))
    }

    fn judge(&self, operation: &Value, exchange: &Exchange<'_>) -> Result<(), String> {
        let described = &operation["responses"][exchange.status.to_string()];
        if described.is_null() {
            return Err(format!("it has no status {}: {}", exchange.status, shown(exchange.answer.unwrap_or_default())));
        }
        let described = self.resolved(described);
        if let Some(content) = described["content"].as_object() {
            let kind = essence(exchange.content_type);
            let Some(form) = content.get(kind) else { return Err(format!("the content type of the answer is `{kind}`")) };
            if let Some(answer) = exchange.answer.filter(|_| is_json(kind)) {
                self.validate(&form["schema"], answer).map_err(|why| format!("answer {}: {why}", exchange.status))?;
            }
        } else if exchange.answer.is_some_and(|answer| !answer.is_empty()) {
            return Err(format!("status {} has a body", exchange.status));
        }
        if !(200..300).contains(&exchange.status) {
            return Ok(());
        }
        self.judge_query(operation, exchange.target)?;
        self.judge_body(operation, exchange)
    }

    /// Checks the parameters of an accepted request.
    fn judge_query(&self, operation: &Value, target: &str) -> Result<(), String> {
        let Some((_, query)) = target.split_once('?') else { return Ok(()) };
        let parameters = operation["parameters"].as_array().map(Vec::as_slice).unwrap_or_default();
        for pair in query.split('&') {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let (name, value) = (decoded(name), decoded(value));
            let found = parameters.iter().find(|known| {
                let is_map = known["style"] == "deepObject" && name.starts_with(&format!("{}[", text(&known["name"])));
                known["in"] == "query" && (known["name"] == name.as_str() || is_map)
            });
            // OpenMeter's API ignores parameters that it does not know, and an empty one is none.
            let Some(found) = found.filter(|_| !value.is_empty()) else { continue };
            let schema = match (&found["schema"]["type"], &found["schema"]["items"], &found["schema"]["additionalProperties"]) {
                (Value::String(kind), items, _) if kind == "array" => items,
                (Value::String(kind), _, values) if kind == "object" => values,
                _ => &found["schema"],
            };
            let is_text = !matches!(schema["type"].as_str(), Some("integer" | "boolean"));
            let value = if is_text { json!(value).to_string() } else { value };
            self.validate(schema, value.as_bytes()).map_err(|why| format!("parameter `{name}`: {why}"))?;
        }
        Ok(())
    }

    /// Checks the body of an accepted request, unless it is compressed.
    fn judge_body(&self, operation: &Value, exchange: &Exchange<'_>) -> Result<(), String> {
        let header = |name: &str| exchange.headers.iter().rev().find(|(known, _)| known == name).map(|(_, value)| value.as_str());
        let Some(body) = exchange.request.filter(|body| !body.is_empty() && header("content-encoding").is_none()) else {
            return Ok(());
        };
        let is_binary_event = header("ce-specversion").is_some();
        let Some(content) = operation["requestBody"]["content"].as_object().filter(|_| !is_binary_event) else { return Ok(()) };
        // Without a content type a body is JSON or YAML, as the endpoint has it.
        let kind = essence(header("content-type").unwrap_or_default()).to_ascii_lowercase();
        match content.get(&kind).filter(|_| is_json(&kind)) {
            Some(form) => self.validate(&form["schema"], body).map_err(|why| format!("the accepted body: {why}")),
            None => Ok(()),
        }
    }

    fn resolved<'d>(&'d self, value: &'d Value) -> &'d Value {
        let target = value["$ref"].as_str().and_then(|reference| self.document.pointer(reference.trim_start_matches('#')));
        target.unwrap_or(value)
    }

    fn validate(&self, schema: &Value, body: &[u8]) -> Result<(), String> {
        let value: Value = serde_json::from_slice(body).map_err(|why| format!("{why}: {}", shown(body)))?;
        let errors: Vec<String> = self
            .validator(schema)
            .iter_errors(&value)
            .take(5)
            .map(|error| format!("at `{}`: {error} (schema: {})", error.instance_path(), error.schema_path()))
            .collect();
        if errors.is_empty() { Ok(()) } else { Err(format!("{}\n{}", errors.join("\n"), shown(body))) }
    }

    fn validator(&self, schema: &Value) -> Arc<Validator> {
        let mut known = self.validators.lock().unwrap_or_else(PoisonError::into_inner);
        let build = || {
            let mut whole = schema.clone();
            whole["components"] = json!({"schemas": self.document["components"]["schemas"]});
            let options = jsonschema::options().with_draft(jsonschema::Draft::Draft202012).should_validate_formats(true);
            Arc::new(options.build(&whole).unwrap_or_else(|why| panic!("{schema}: {why}")))
        };
        Arc::clone(known.entry(schema.to_string()).or_insert_with(build))
    }
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

/// Returns the beginning of a body as text.
fn shown(body: &[u8]) -> String {
    String::from_utf8_lossy(&body[..body.len().min(2_000)]).into_owned()
}

/// Decodes `+` and `%XX`.
fn decoded(text: &str) -> String {
    let mut bytes = text.bytes();
    let mut out = Vec::new();
    while let Some(byte) = bytes.next() {
        match byte {
            b'+' => out.push(b' '),
            b'%' => {
                let digits: Vec<u8> = bytes.by_ref().take(2).collect();
                let digits = String::from_utf8_lossy(&digits).into_owned();
                out.push(u8::from_str_radix(&digits, 16).unwrap_or(b'?'));
            }
            other => out.push(other),
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}
