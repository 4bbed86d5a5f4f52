//! Parts of requests that many endpoints read.

use axum::body::Body;
use axum::http::{HeaderMap, header};
use flowmeter_core::time::Timestamp;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::App;
use crate::limits::check_depth;
use crate::problem::{Code, Problem, Refused};

/// Default number of items of a page.
const LIMIT: usize = 100;
/// Maximum of items of a page: an answer stays within some megabytes.
const LIMIT_MAX: usize = 1_000;

/// The parameters of a query, in order, repeated ones included.
#[derive(Clone, Debug, Default)]
pub(crate) struct Query(Vec<(String, String)>);

impl Query {
    /// Reads the query of a request.
    pub(crate) fn of(raw: Option<&str>) -> Query {
        let pairs = form_urlencoded::parse(raw.unwrap_or_default().as_bytes());
        Query(pairs.map(|(name, value)| (name.into_owned(), value.into_owned())).collect())
    }

    /// Returns a parameter, if it is present and not empty.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str()).filter(|value| !value.is_empty())
    }

    /// Returns all values of a repeated parameter.
    pub(crate) fn all<'q>(&'q self, name: &'q str) -> impl Iterator<Item = &'q str> {
        self.0.iter().filter(move |(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// Returns every parameter, in order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// Whether a switch is on.
    pub(crate) fn is_on(&self, name: &str) -> bool {
        matches!(self.get(name), Some("true" | "1" | "yes"))
    }

    /// Returns the number of items of a page.
    pub(crate) fn limit(&self) -> Result<usize, Refused> {
        match self.get("limit").map(str::parse) {
            None => Ok(LIMIT),
            Some(Ok(limit @ 1..=LIMIT_MAX)) => Ok(limit),
            _ => Err(Box::new(Problem::new(Code::Invalid, format!("limit is a number from 1 to {LIMIT_MAX}")).field("limit"))),
        }
    }

    /// Returns the cursor of a list, as a number.
    pub(crate) fn cursor(&self) -> Result<Option<u64>, Refused> {
        match self.get("cursor").map(str::parse) {
            None => Ok(None),
            Some(Ok(number)) => Ok(Some(number)),
            Some(Err(_)) => Err(Box::new(Problem::new(Code::BadCursor, "the cursor is not one of this list").field("cursor"))),
        }
    }

    /// Returns a parameter that is an instant.
    pub(crate) fn time(&self, name: &str) -> Result<Option<Timestamp>, Refused> {
        let Some(text) = self.get(name) else { return Ok(None) };
        let read = Timestamp::parse_rfc3339(text.as_bytes());
        let wrong = || Box::new(Problem::new(Code::Invalid, format!("`{text}` is no time; write RFC 3339")).field(name));
        read.map(Some).ok_or_else(wrong)
    }
}

/// Reads the body as JSON.
pub(crate) async fn json<T: DeserializeOwned>(app: &App, headers: &HeaderMap, body: Body) -> Result<T, Refused> {
    let bytes = crate::body::read(headers, body, &app.installation.settings().limits).await?;
    check_depth(&bytes, app.installation.settings().limits.json_depth_max)?;
    serde_json::from_slice(&bytes).map_err(|why| {
        let detail = why.to_string();
        if !why.is_data() {
            return Box::new(Problem::new(Code::BadJson, detail));
        }
        // "unknown field `smaples`, expected one of …": the first name is the field.
        let field = detail.split('`').nth(1).filter(|_| detail.contains("field `")).map(str::to_owned);
        let problem = Problem::new(Code::Invalid, detail);
        Box::new(match field {
            Some(field) => problem.field(field),
            None => problem,
        })
    })
}

/// Reads the body as a JSON object; an empty body is an empty object.
pub(crate) async fn object(app: &App, headers: &HeaderMap, body: Body) -> Result<Map<String, Value>, Refused> {
    let bytes = crate::body::read(headers, body, &app.installation.settings().limits).await?;
    if bytes.iter().all(u8::is_ascii_whitespace) {
        return Ok(Map::new());
    }
    check_depth(&bytes, app.installation.settings().limits.json_depth_max)?;
    match serde_json::from_slice(&bytes) {
        Ok(Value::Object(members)) => Ok(members),
        Ok(_) => Err(Box::new(Problem::new(Code::Invalid, "the body is to be a JSON object"))),
        Err(why) => Err(Box::new(Problem::new(Code::BadJson, why.to_string()))),
    }
}

/// Refuses members of a body that it does not have.
pub(crate) fn must_be_known(fields: &Map<String, Value>, known: &[&str]) -> Result<(), Refused> {
    let Some(other) = fields.keys().find(|name| !known.contains(&name.as_str())) else { return Ok(()) };
    let detail = format!("`{other}` is unknown here; there are {}", known.join(", "));
    Err(Box::new(Problem::new(Code::Invalid, detail).field(other.as_str())))
}

/// Reads the body as text.
pub(crate) async fn text(app: &App, headers: &HeaderMap, body: Body) -> Result<String, Refused> {
    let bytes = crate::body::read(headers, body, &app.installation.settings().limits).await?;
    String::from_utf8(bytes).map_err(|_| Box::new(Problem::new(Code::Invalid, "the body is not UTF-8")))
}

/// Checks that the ETag on which a change is based is still current.
pub(crate) fn check_etag(headers: &HeaderMap, etag: &str) -> Result<(), Refused> {
    match headers.get(header::IF_MATCH).map(|value| value.to_str().unwrap_or_default()) {
        None | Some("*") => Ok(()),
        Some(given) if given.split(',').any(|one| one.trim().trim_start_matches("W/") == etag) => Ok(()),
        Some(given) => Err(Box::new(Problem::new(Code::Stale, format!("it has the ETag {etag} by now, not {given}")))),
    }
}

/// Whether a request prefers CSV to JSON.
pub(crate) fn wants_csv(headers: &HeaderMap) -> bool {
    let accept = headers.get(header::ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or_default();
    accept.split(',').next().is_some_and(|first| first.trim().starts_with("text/csv"))
}
