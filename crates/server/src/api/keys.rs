//! API keys: made, listed, rotated, revoked. A secret is shown once.

use axum::Extension;
use axum::body::Body;
use axum::extract::{Path, RawQuery, State};
use axum::http::{HeaderMap, Method, StatusCode};
use axum::response::Response;
use axum::routing::{delete, get, post};
use flowmeter_core::time::{Timestamp, parse_duration};
use flowmeter_node::keys;
use flowmeter_node::keys::{KeyId, NewKey, Scope, Scopes, StoredKey};
use serde_json::{Map, Value, json};

use super::paging::whole;
use super::request::{Query, must_be_known, object};
use super::{App, Asked, Endpoint, answer, off};
use crate::problem::{Code, Problem, Refused};

/// How long the old secret of a rotated key still works, unless asked otherwise.
const GRACE: i64 = 24 * 3_600 * 1_000_000_000;

pub(super) fn endpoints() -> Vec<Endpoint> {
    let endpoint = |method, path, summary, body, answer, route| Endpoint {
        method,
        path,
        scope: Some(Scope::Admin),
        summary,
        query: &[],
        body,
        answer,
        route,
    };
    vec![
        endpoint(Method::GET, "/api/v1/keys", "List keys, without their secrets", None, (200, "Keys"), get(list)).paged(),
        endpoint(
            Method::POST,
            "/api/v1/keys",
            "Make a key; its secret is shown this once",
            Some("name, scopes; expiresAt if wanted"),
            (201, "The key with its secret"),
            post(create),
        ),
        endpoint(
            Method::POST,
            "/api/v1/keys/{id}/rotate",
            "Give a key a new secret; the old one works for a while",
            Some("grace: a duration, 24h when left out"),
            (201, "The new key with its secret"),
            post(rotate),
        ),
        endpoint(Method::DELETE, "/api/v1/keys/{id}", "Revoke a key", None, (200, "The key"), delete(revoke)),
    ]
}

fn refused(why: &keys::Error) -> Refused {
    match why {
        keys::Error::Invalid(detail) => Box::new(Problem::new(Code::Invalid, detail.clone())),
        other => {
            let problem = Problem::new(Code::NotFound, other.to_string());
            Box::new(problem.remedy("GET /api/v1/keys lists what there is."))
        }
    }
}

async fn list(
    State(app): State<App>,
    Extension(asked): Extension<Asked>,
    RawQuery(query): RawQuery,
) -> Result<Response, Refused> {
    let own = app.keys.list().into_iter().filter(|key| key.namespace == asked.who.namespace);
    let own = own.map(|key| {
        let mut shown = serde_json::to_value(&key).unwrap_or_default();
        if let Some(at) = app.keys.last_used(key.id) {
            shown["lastUsedAt"] = json!(at.to_string());
        }
        shown
    });
    whole(&Query::of(query.as_deref()), own)
}

/// The key that a request asks for.
struct Wish {
    name: String,
    scopes: Scopes,
    expires_at: Option<Timestamp>,
}

impl Wish {
    fn read(fields: &Map<String, Value>, now: Timestamp) -> Result<Wish, Refused> {
        must_be_known(fields, &["name", "scopes", "expiresAt"])?;
        let invalid = |field: &'static str, detail: String| Box::new(Problem::new(Code::Invalid, detail).field(field));
        let name = fields.get("name").and_then(Value::as_str).filter(|name| !name.trim().is_empty());
        let name = name.ok_or_else(|| invalid("name", "say which program uses the key: a text".to_owned()))?.to_owned();
        const ALL: [Scope; 4] = [Scope::Ingest, Scope::Read, Scope::Operate, Scope::Admin];
        let given = fields.get("scopes").and_then(Value::as_array).filter(|scopes| !scopes.is_empty());
        let given = given.ok_or_else(|| invalid("scopes", "write a list of ingest, read, operate and admin".to_owned()))?;
        let mut scopes = Vec::new();
        for scope in given {
            let found = ALL.into_iter().find(|known| scope.as_str() == Some(known.name()));
            let detail = || format!("{scope} is no scope; there are ingest, read, operate and admin");
            scopes.push(found.ok_or_else(|| invalid("scopes", detail()))?);
        }
        let expires_at = match fields.get("expiresAt") {
            None | Some(Value::Null) => None,
            Some(given) => {
                let read = given.as_str().and_then(|text| Timestamp::parse_rfc3339(text.as_bytes()));
                Some(read.ok_or_else(|| invalid("expiresAt", format!("{given} is no time; write RFC 3339")))?)
            }
        };
        if let Some(end) = expires_at.filter(|end| *end <= now) {
            return Err(invalid("expiresAt", format!("{end} is over already; choose a later end")));
        }
        Ok(Wish { name, scopes: Scopes::of(&scopes), expires_at })
    }
}

async fn create(
    State(app): State<App>,
    Extension(asked): Extension<Asked>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Refused> {
    let fields = object(&app, &headers, body).await?;
    let wish = Wish::read(&fields, app.installation.wall())?;
    off(move || {
        let namespace = asked.who.namespace.clone();
        let Wish { name, scopes, expires_at } = wish;
        let issued = keys::issue(NewKey { name, namespace, scopes, expires_at }, app.installation.wall());
        // All but the length of the name was checked before.
        let issued = issued.map_err(|why| Box::new(refused(&why).field("name")))?;
        keep(&app, &asked, &[("key.create", &issued.stored)])?;
        let mut shown = serde_json::to_value(&issued.stored.key).unwrap_or_default();
        shown["secret"] = json!(issued.text.into_text());
        Ok(answer(StatusCode::CREATED, &shown))
    })
    .await
}

/// Stores keys, then lets requests use them.
fn keep(app: &App, asked: &Asked, keys: &[(&str, &StoredKey)]) -> Result<(), Refused> {
    app.installation.store_keys(&asked.who, keys)?;
    keys.iter().for_each(|(_, key)| app.keys.put((*key).clone()));
    Ok(())
}

/// The key of an id, in the namespace of who asks.
fn own(app: &App, asked: &Asked, id: &str) -> Result<KeyId, Refused> {
    let found = app.keys.list().into_iter().find(|key| key.id.to_string() == id && key.namespace == asked.who.namespace);
    found.map(|key| key.id).ok_or_else(|| crate::problem::not_found("key", id))
}

async fn rotate(
    State(app): State<App>,
    Extension(asked): Extension<Asked>,
    Path(id): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Refused> {
    let fields = object(&app, &headers, body).await?;
    must_be_known(&fields, &["grace"])?;
    let grace = match fields.get("grace") {
        None | Some(Value::Null) => GRACE,
        Some(given) => {
            let read = given.as_str().and_then(parse_duration).filter(|grace| *grace >= 0);
            read.ok_or_else(|| {
                Box::new(Problem::new(Code::Invalid, format!("{given} is no duration; write 24h")).field("grace"))
            })?
        }
    };
    off(move || {
        let id = own(&app, &asked, &id)?;
        let (old, issued) = app.keys.rotated(id, grace, None, app.installation.wall()).map_err(|why| refused(&why))?;
        keep(&app, &asked, &[("key.rotate", &issued.stored), ("key.retire", &old)])?;
        let mut shown = serde_json::to_value(&issued.stored.key).unwrap_or_default();
        shown["secret"] = json!(issued.text.into_text());
        Ok(answer(StatusCode::CREATED, &shown))
    })
    .await
}

async fn revoke(State(app): State<App>, Extension(asked): Extension<Asked>, Path(id): Path<String>) -> Result<Response, Refused> {
    off(move || {
        let id = own(&app, &asked, &id)?;
        let revoked = app.keys.revoked(id, app.installation.wall()).map_err(|why| refused(&why))?;
        keep(&app, &asked, &[("key.revoke", &revoked)])?;
        Ok(answer(StatusCode::OK, &revoked.key))
    })
    .await
}
