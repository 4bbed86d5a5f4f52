//! The contract of each endpoint: the schemas of its parameters, bodies and answers.
//!
//! The files under `schemas/` hold them, one for each group of endpoints: its operations by method
//! and path, and its components as JSON Schema. An operation names components only; a test finds an
//! endpoint without an operation, a name without a component, and a component without a use. Lists
//! of words that exist as types in Rust are components made from those types.

#[cfg(test)]
mod tests;
mod words;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

use axum::http::Method;
use flowmeter_node::keys::Scope;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::Endpoint;

/// The files of the groups, in the order of their tags.
const FILES: &[(&str, &str)] = &[
    ("events", include_str!("schemas/events.json")),
    ("records", include_str!("schemas/records.json")),
    ("meters", include_str!("schemas/meters.json")),
    ("meter_types", include_str!("schemas/meter_types.json")),
    ("pipelines", include_str!("schemas/pipelines.json")),
    ("tables", include_str!("schemas/tables.json")),
    ("sessions", include_str!("schemas/sessions.json")),
    ("corrections", include_str!("schemas/corrections.json")),
    ("deliveries", include_str!("schemas/deliveries.json")),
    ("jobs", include_str!("schemas/jobs.json")),
    ("notifications", include_str!("schemas/notifications.json")),
    ("keys", include_str!("schemas/keys.json")),
    ("server", include_str!("schemas/server.json")),
    ("dashboard", include_str!("schemas/dashboard.json")),
    ("openmeter", include_str!("schemas/openmeter.json")),
    ("protocols", include_str!("schemas/protocols.json")),
    ("reference", include_str!("schemas/reference.json")),
    ("problems", include_str!("schemas/problems.json")),
];

static GROUPS: LazyLock<Vec<Group>> = LazyLock::new(|| {
    // A test reads every file, so none is skipped here.
    FILES.iter().filter_map(|(_, text)| serde_json::from_str(text).ok()).collect()
});

/// The endpoints and schemas of one file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Group {
    tag: Option<Tag>,
    /// By method and path, as `GET /api/v1/records`.
    operations: BTreeMap<String, Operation>,
    schemas: Map<String, Value>,
}

/// The tag of a group of endpoints.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Tag {
    pub(super) name: String,
    pub(super) description: String,
}

/// The types of an endpoint's request and answers.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Operation {
    /// A name that is unique and makes a good name of a function.
    pub(super) id: String,
    /// Schemas of parameters in the query, where the usual one does not fit.
    #[serde(default)]
    query: Map<String, Value>,
    /// Schemas of parameters in the path, where the usual one does not fit.
    #[serde(default)]
    path: Map<String, Value>,
    /// Schemas of headers that the endpoint reads.
    #[serde(default)]
    pub(super) headers: Map<String, Value>,
    pub(super) body: Option<Forms>,
    /// Whether the body may be left out.
    #[serde(default)]
    pub(super) optional_body: bool,
    /// The statuses of success, with the forms of the answer; null: no body.
    pub(super) answers: BTreeMap<u16, Option<Forms>>,
    /// Statuses of refusals beyond those that follow from the endpoint's parts.
    #[serde(default)]
    refusals: Vec<u16>,
    /// Forms of refusals beside problem details.
    pub(super) refused: Option<Forms>,
    /// Schemas of headers of an answer of success.
    #[serde(default)]
    pub(super) answer_headers: Map<String, Value>,
    /// Whether a setting makes the endpoint need a key.
    #[serde(default)]
    pub(super) optional_key: bool,
    /// Whether an answer has an `ETag`.
    #[serde(default)]
    pub(super) etag: bool,
    /// Whether the endpoint reads `If-Match`.
    #[serde(default)]
    pub(super) if_match: bool,
}

/// The components of a body by content type; in a file, a name alone is that of JSON.
#[derive(Debug, Deserialize)]
#[serde(try_from = "Value")]
pub(super) struct Forms(BTreeMap<String, String>);

impl TryFrom<Value> for Forms {
    type Error = serde_json::Error;

    fn try_from(value: Value) -> Result<Forms, serde_json::Error> {
        match value {
            Value::String(name) => Ok(Forms(BTreeMap::from([("application/json".to_owned(), name)]))),
            forms => serde_json::from_value(forms).map(Forms),
        }
    }
}

impl Forms {
    /// Returns content types and names of components.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(kind, name)| (kind.as_str(), name.as_str()))
    }
}

impl Endpoint {
    /// Returns the types of the endpoint, and its group.
    pub(super) fn operation(&self) -> Option<(&'static Operation, &'static Tag)> {
        let key = format!("{} {}", self.method, self.path);
        GROUPS.iter().find_map(|group| Some((group.operations.get(&key)?, group.tag.as_ref()?)))
    }

    /// Whether a POST may carry an `Idempotency-Key`.
    pub(super) fn is_idempotent_by_key(&self) -> bool {
        self.method == Method::POST && self.scope.is_some() && !self.path.ends_with("/events")
    }

    /// Whether the audit keeps the reason of a request to the endpoint.
    pub(super) fn takes_reason(&self) -> bool {
        self.method != Method::GET && self.scope.is_some_and(|scope| scope != Scope::Ingest)
    }

    /// Returns the names of the parameters in the path.
    pub(super) fn names_in_path(&self) -> impl Iterator<Item = &'static str> {
        self.path.split('{').skip(1).filter_map(|part| part.split('}').next())
    }
}

impl Operation {
    /// Returns the schema of a parameter of the query.
    pub(super) fn of_query(&self, name: &str) -> Value {
        self.query.get(name).cloned().unwrap_or_else(|| match name {
            "limit" => json!({"type": "integer", "minimum": 1, "maximum": 1_000, "default": 100}),
            "from" | "to" => json!({"type": "string", "format": "date-time"}),
            _ => json!({"type": "string"}),
        })
    }

    /// Returns the schema of a parameter of the path.
    pub(super) fn of_path(&self, name: &str) -> Value {
        self.path.get(name).cloned().unwrap_or_else(|| match name {
            "recordId" => json!({"type": "string", "format": "uuid", "description": "The id of the record"}),
            "idOrName" => json!({"type": "string", "description": "The name, or the id"}),
            _ => json!({"type": "string", "description": "The id"}),
        })
    }

    /// Returns the statuses of refusals: those that follow from the parts of the endpoint, and its
    /// own.
    pub(super) fn refusals(&self, endpoint: &Endpoint) -> BTreeSet<u16> {
        // The server refuses hosts, and reports its own failures, everywhere.
        let mut all = BTreeSet::from([403, 500]);
        if endpoint.scope.is_some() {
            all.extend([400, 401, 429, 503]);
        }
        if endpoint.path.starts_with("/api/v1/") {
            all.insert(400);
        }
        if endpoint.names_in_path().next().is_some() {
            all.insert(404);
        }
        if self.body.is_some() {
            all.extend([400, 408, 413, 415]);
        }
        if endpoint.is_idempotent_by_key() {
            all.extend([409, 422]);
        }
        if self.if_match {
            all.insert(412);
        }
        all.extend(&self.refusals);
        all
    }
}

/// Returns the tags of all groups.
pub(super) fn tags() -> impl Iterator<Item = &'static Tag> {
    GROUPS.iter().filter_map(|group| group.tag.as_ref())
}

/// Returns the components by name.
pub(super) fn schemas() -> Map<String, Value> {
    let of_files = GROUPS.iter().flat_map(|group| group.schemas.clone());
    of_files.chain(words::schemas()).collect()
}
