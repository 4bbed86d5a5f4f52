//! Problems of requests, as RFC 9457 problem details.
//!
//! A problem has a `code` from a closed list ([`Code`]). Programs use the code, which never changes
//! its meaning; people read `detail` and `remedy`, which may change. Status and title follow from
//! the code, so that they cannot contradict it. Every code has a page in `docs/errors/`, which a
//! test checks.

mod code;
mod refused;
#[cfg(test)]
mod tests;

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Map, Value, json};

pub use code::Code;
pub use refused::{Refused, not_found, problem_of};

/// Where this server has the pages of the codes: a relative reference, resolved against the
/// address of the request.
pub(crate) const PAGES: &str = "/api/v1/errors/";

/// A problem of a request, with its remedy.
#[derive(Clone, Debug, PartialEq)]
pub struct Problem {
    /// The code, for programs.
    pub code: Code,
    /// The description of this occurrence, for people.
    pub detail: String,
    /// The field, header or parameter that caused it.
    pub field: Option<String>,
    /// The remedy; by default, that of the code.
    pub remedy: Option<String>,
    /// The path of the request, or another name of this occurrence.
    pub instance: Option<String>,
    /// Seconds after which a retry may succeed.
    pub retry_after_s: Option<u64>,
    /// Members beyond those of every problem (verdicts of a batch, lines of a document).
    pub extra: Map<String, Value>,
}

impl Problem {
    /// Creates a problem of this code.
    pub fn new(code: Code, detail: impl Into<String>) -> Problem {
        Problem { code, detail: detail.into(), field: None, remedy: None, instance: None, retry_after_s: None, extra: Map::new() }
    }

    /// Sets the field, header or parameter that caused it.
    pub fn field(self, field: impl Into<String>) -> Problem {
        Problem { field: Some(field.into()), ..self }
    }

    /// Sets a remedy that is more precise than that of the code.
    pub fn remedy(self, remedy: impl Into<String>) -> Problem {
        Problem { remedy: Some(remedy.into()), ..self }
    }

    /// Sets the path of the request.
    pub fn instance(self, instance: impl Into<String>) -> Problem {
        Problem { instance: Some(instance.into()), ..self }
    }

    /// Sets the seconds after which a retry may succeed.
    pub fn retry_after(self, seconds: u64) -> Problem {
        Problem { retry_after_s: Some(seconds), ..self }
    }

    /// Adds a member. It cannot replace those of every problem.
    pub fn extra(mut self, name: impl Into<String>, value: impl Into<Value>) -> Problem {
        self.extra.insert(name.into(), value.into());
        self
    }

    /// Returns the HTTP status.
    pub fn status(&self) -> StatusCode {
        StatusCode::from_u16(self.code.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }

    /// Returns the document as it is sent.
    pub fn to_json(&self) -> Value {
        let mut members = self.extra.clone();
        let mut put = |name: &str, value: Value| members.insert(name.to_owned(), value);
        put("type", json!(format!("{PAGES}{}", self.code.name())));
        put("title", json!(self.code.title()));
        put("status", json!(self.code.status()));
        put("detail", json!(self.detail));
        put("code", json!(self.code.name()));
        put("remedy", json!(self.remedy.as_deref().unwrap_or(self.code.remedy())));
        if let Some(field) = &self.field {
            put("field", json!(field));
        }
        if let Some(instance) = &self.instance {
            put("instance", json!(instance));
        }
        Value::Object(members)
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = (self.status(), self.to_json().to_string()).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        // The answer is for one caller at one moment: no cache may give it to another.
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if let Some(seconds) = self.retry_after_s {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        if matches!(self.code, Code::TooLarge | Code::BadEncoding | Code::UnsupportedEncoding | Code::Timeout | Code::HostRefused)
        {
            // The rest of the body is not read, so the connection cannot be reused.
            headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        match self.code.status() {
            // RFC 9110 requires both: the way to authenticate, and the supported encodings.
            401 => {
                headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"flowmeter\""));
            }
            415 if self.code == Code::UnsupportedEncoding => {
                headers.insert(header::ACCEPT_ENCODING, HeaderValue::from_static("gzip, zstd, identity"));
            }
            _ => {}
        }
        response
    }
}

/// Problems are boxed: they are rare, and results that may contain one stay small.
impl IntoResponse for Box<Problem> {
    fn into_response(self) -> Response {
        (*self).into_response()
    }
}

impl std::fmt::Display for Problem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.code.name(), self.detail)
    }
}

impl std::error::Error for Problem {}
