//! Subjects: whose usage events are of, with names for people.
//!
//! An event needs no subject to be known; a subject that is kept has a display name and metadata.

use axum::Extension;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, Method, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get, post};
use flowmeter_core::meter_type::derived;
use flowmeter_engine::Error;
use flowmeter_store::catalog::{Change, Table};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::{ALL_SUBJECTS, SUBJECT, endpoint};
use crate::api::{App, Asked, Endpoint, answer, off, request};
use crate::installation::{Installation, Refused, Who, not_found, problem_of};
use crate::keys::Scope;
use crate::problem::{Code, Problem};

/// Bytes of a key or a display name.
const TEXT_MAX: usize = 256;
/// Subjects of one request.
const SUBJECTS_MAX: usize = 1_000;

/// A subject as the catalog keeps it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct KeptSubject {
    /// The `subject` of events.
    key: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    display_name: Option<String>,
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    metadata: Map<String, Value>,
    created_at: String,
    updated_at: String,
}

pub(super) fn endpoints() -> Vec<Endpoint> {
    vec![
        Endpoint {
            body: Some("A list of subjects: key; displayName, metadata"),
            ..endpoint(
                Method::POST,
                ALL_SUBJECTS,
                Scope::Operate,
                "OpenMeter: make or change subjects",
                (200, "The subjects"),
                post(upsert),
            )
        },
        endpoint(Method::GET, ALL_SUBJECTS, Scope::Read, "OpenMeter: list subjects", (200, "Subjects, by key"), get(list)),
        endpoint(Method::GET, SUBJECT, Scope::Read, "OpenMeter: a subject", (200, "The subject"), get(show)),
        endpoint(
            Method::DELETE,
            SUBJECT,
            Scope::Operate,
            "OpenMeter: forget a subject; its usage stays",
            (204, "It is forgotten"),
            delete(remove),
        ),
    ]
}

impl KeptSubject {
    fn shown(&self) -> Value {
        let mut shown = json!({
            "id": derived::named(&uuid::Uuid::NAMESPACE_OID, self.key.as_bytes()),
            "key": self.key, "createdAt": self.created_at, "updatedAt": self.updated_at,
        });
        if let Some(name) = &self.display_name {
            shown["displayName"] = json!(name);
        }
        if !self.metadata.is_empty() {
            shown["metadata"] = json!(self.metadata);
        }
        shown
    }

    /// Reads a subject of a request. Fields that are left out stay as they are.
    fn read(at: usize, given: &Value, known: Option<KeptSubject>, now: String) -> Result<KeptSubject, Refused> {
        let invalid = |field: &str, detail: &str| Box::new(Problem::new(Code::Invalid, detail).field(format!("[{at}].{field}")));
        let key = given["key"].as_str().filter(|key| !key.is_empty() && key.len() <= TEXT_MAX);
        let key = key.ok_or_else(|| invalid("key", "a subject needs a `key` of 1 to 256 bytes"))?;
        let known = known.unwrap_or(KeptSubject {
            key: key.to_owned(),
            display_name: None,
            metadata: Map::new(),
            created_at: now.clone(),
            updated_at: String::new(),
        });
        let display_name = match given.get("displayName") {
            None => known.display_name,
            Some(Value::Null) => None,
            Some(Value::String(name)) if name.len() <= TEXT_MAX => Some(name.clone()),
            Some(_) => return Err(invalid("displayName", "`displayName` is text of at most 256 bytes")),
        };
        let metadata = match given.get("metadata") {
            None => known.metadata,
            Some(Value::Null) => Map::new(),
            Some(Value::Object(metadata)) => metadata.clone(),
            Some(_) => return Err(invalid("metadata", "`metadata` is an object")),
        };
        Ok(KeptSubject { display_name, metadata, updated_at: now, key: known.key, created_at: known.created_at })
    }
}

/// Whether a row of the catalog is a subject.
pub(crate) fn read_kept(value: &[u8]) -> Result<(), String> {
    serde_json::from_slice::<KeptSubject>(value).map(drop).map_err(|why| why.to_string())
}

fn key_of(namespace: &str, key: &str) -> Vec<u8> {
    [namespace.as_bytes(), &[0], key.as_bytes()].concat()
}

fn failed(why: flowmeter_store::Error) -> Refused {
    problem_of(&Error::from(why))
}

fn kept(value: &[u8]) -> Result<KeptSubject, Refused> {
    serde_json::from_slice(value).map_err(|why| Box::new(Problem::new(Code::Internal, format!("the catalog: {why}"))))
}

fn find(installation: &Installation, namespace: &str, key: &str) -> Result<Option<KeptSubject>, Refused> {
    let found = installation.catalog().get(Table::Subjects, &key_of(namespace, key)).map_err(failed)?;
    found.as_deref().map(kept).transpose()
}

fn keep(installation: &Installation, who: &Who, given: &[Value]) -> Result<Vec<Value>, Refused> {
    let _change = installation.change_openmeter();
    let (mut changes, mut shown) = (Vec::new(), Vec::new());
    for (at, given) in given.iter().enumerate() {
        let key = given["key"].as_str().unwrap_or_default();
        let known = find(installation, &who.namespace, key)?;
        let subject = KeptSubject::read(at, given, known, installation.now().to_string())?;
        let value = serde_json::to_vec(&subject).unwrap_or_default();
        changes.push(Change::Put(Table::Subjects, key_of(&who.namespace, &subject.key), value));
        shown.push(subject.shown());
    }
    installation.catalog().commit(&changes).map_err(failed)?;
    let noted = installation.note_audit(who, "openmeter.subject.upsert", "subjects", Value::Null, json!(shown));
    noted.map_err(|why| problem_of(&why))?;
    Ok(shown)
}

async fn upsert(
    State(app): State<App>,
    Extension(asked): Extension<Asked>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Refused> {
    // Some clients send one subject without a list.
    let given = match request::json::<Value>(&app, &headers, body).await? {
        Value::Array(given) if given.len() <= SUBJECTS_MAX => given,
        Value::Array(given) => {
            let detail = format!("{} subjects; the limit of a request is {SUBJECTS_MAX}", given.len());
            return Err(Box::new(Problem::new(Code::TooMany, detail)));
        }
        one @ Value::Object(_) => vec![one],
        _ => return Err(Box::new(Problem::new(Code::Invalid, "the body is to be a list of subjects"))),
    };
    off(move || Ok(answer(StatusCode::OK, &keep(&app.installation, &asked.who, &given)?))).await
}

async fn list(State(app): State<App>, Extension(asked): Extension<Asked>) -> Result<Response, Refused> {
    off(move || {
        let all = app.installation.catalog().scan(Table::Subjects, &key_of(&asked.who.namespace, ""), None, usize::MAX);
        let all = all.map_err(failed)?;
        let shown: Vec<Value> = all.iter().map(|(_, value)| Ok(kept(value)?.shown())).collect::<Result<_, Refused>>()?;
        Ok(answer(StatusCode::OK, &shown))
    })
    .await
}

async fn show(State(app): State<App>, Extension(asked): Extension<Asked>, Path(key): Path<String>) -> Result<Response, Refused> {
    off(move || {
        let found = find(&app.installation, &asked.who.namespace, &key)?;
        Ok(answer(StatusCode::OK, &found.ok_or_else(|| not_found("subject", &key))?.shown()))
    })
    .await
}

async fn remove(
    State(app): State<App>,
    Extension(asked): Extension<Asked>,
    Path(key): Path<String>,
) -> Result<Response, Refused> {
    off(move || {
        let _change = app.installation.change_openmeter();
        let namespace = &asked.who.namespace;
        let known = find(&app.installation, namespace, &key)?.ok_or_else(|| not_found("subject", &key))?;
        app.installation.catalog().commit(&[Change::Remove(Table::Subjects, key_of(namespace, &key))]).map_err(failed)?;
        let noted = app.installation.note_audit(&asked.who, "openmeter.subject.delete", &key, known.shown(), Value::Null);
        noted.map_err(|why| problem_of(&why))?;
        Ok(StatusCode::NO_CONTENT.into_response())
    })
    .await
}
