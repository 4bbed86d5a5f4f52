//! What goes wrong with a request, as RFC 9457 problem details.
//!
//! A problem has a `code` from a closed list ([`Code`]). Programs branch on the code,
//! which never changes its meaning; people read `detail` and `remedy`, which may. The
//! status and the title follow from the code, so that they cannot disagree with it.
//! Every code has a page in `docs/errors/`, and a test that it has.

mod code;
#[cfg(test)]
mod tests;

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Map, Value, json};

pub use code::Code;

/// Where this server has the pages of the codes: a relative reference, resolved against the
/// address of the request.
pub(crate) const PAGES: &str = "/api/v1/errors/";

/// What is wrong with a request, and what to do about it.
#[derive(Clone, Debug, PartialEq)]
pub struct Problem {
    /// What it is, for programs.
    pub code: Code,
    /// What it is this time, for a person.
    pub detail: String,
    /// The field, header or parameter it is about.
    pub field: Option<String>,
    /// What to do; the code's own advice if there is nothing better to say.
    pub remedy: Option<String>,
    /// The path of the request, or whatever else names this occurrence.
    pub instance: Option<String>,
    /// Seconds after which it is worth to try again.
    pub retry_after_s: Option<u64>,
    /// Members beyond those of every problem (verdicts of a batch, lines of a document).
    pub extra: Map<String, Value>,
}

impl Problem {
    /// A problem of this code.
    pub fn new(code: Code, detail: impl Into<String>) -> Problem {
        Problem { code, detail: detail.into(), field: None, remedy: None, instance: None, retry_after_s: None, extra: Map::new() }
    }

    /// The field, header or parameter it is about.
    pub fn field(self, field: impl Into<String>) -> Problem {
        Problem { field: Some(field.into()), ..self }
    }

    /// What to do, where more can be said than the code says.
    pub fn remedy(self, remedy: impl Into<String>) -> Problem {
        Problem { remedy: Some(remedy.into()), ..self }
    }

    /// The path of the request.
    pub fn instance(self, instance: impl Into<String>) -> Problem {
        Problem { instance: Some(instance.into()), ..self }
    }

    /// Seconds after which it is worth to try again.
    pub fn retry_after(self, seconds: u64) -> Problem {
        Problem { retry_after_s: Some(seconds), ..self }
    }

    /// One more member. Those every problem has cannot be replaced by it.
    pub fn extra(mut self, name: impl Into<String>, value: impl Into<Value>) -> Problem {
        self.extra.insert(name.into(), value.into());
        self
    }

    /// The HTTP status.
    pub fn status(&self) -> StatusCode {
        StatusCode::from_u16(self.code.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }

    /// The document, as it is sent.
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
        // An answer to one caller at one moment: no cache may give it to another.
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if let Some(seconds) = self.retry_after_s {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        if matches!(self.code, Code::TooLarge | Code::BadEncoding | Code::UnsupportedEncoding | Code::Timeout) {
            // The rest of the body is not read: who kept the connection would find it closed.
            headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        match self.code.status() {
            // RFC 9110 wants both: how to authenticate, and which encodings are understood.
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

/// Problems travel boxed: they are rare, and results that may hold one stay small.
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
