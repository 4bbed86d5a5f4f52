//! Names every request and, at level debug, logs a line for it.
//!
//! The name is the caller's `X-Request-Id`, or one made here. It is part of the answer, of a
//! problem and of the log, so that each of them leads to the others. Names made here count up from
//! the start of the server: they must be distinct, but not hard to guess.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::Request;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse, Response};
use flowmeter_engine::node::Clock;
use flowmeter_node::audit::Who;
use serde_json::{Map, Value};

use crate::problem::{Code, Problem};

/// The header of the name.
pub const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// The name of a request, stored in its extensions.
#[derive(Clone, Debug)]
pub(crate) struct Name(String);

impl Name {
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

/// Bytes of an error of the framework that are shown: it is one line.
const BARE_BYTES_MAX: usize = 4 << 10;

/// Characters of a caller's name.
const CHARS_MAX: usize = 128;

/// Adds a name and a line of the log to each request of the routes.
pub fn apply(routes: Router, clock: Arc<dyn Clock>) -> Router {
    let names = Arc::new(Names { began: clock.now().nanos(), count: AtomicU64::new(0) });
    routes.layer(from_fn(move |request: Request, next: Next| {
        let (clock, names) = (Arc::clone(&clock), Arc::clone(&names));
        async move { tell(request, next, &*clock, &names).await }
    }))
}

struct Names {
    began: i64,
    count: AtomicU64,
}

impl Names {
    fn next(&self) -> String {
        format!("{:x}-{:x}", self.began, self.count.fetch_add(1, Ordering::Relaxed))
    }
}

async fn tell(mut request: Request, next: Next, clock: &dyn Clock, names: &Names) -> Response {
    let name = given(request.headers()).unwrap_or_else(|| names.next());
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    request.extensions_mut().insert(Name(name.clone()));
    let began = clock.now();
    let mut answer = as_problem(next.run(request).await).await;
    if answer.headers().get(header::CONTENT_TYPE).is_some_and(|kind| kind == "application/problem+json") {
        answer = placed(answer, &path, &name).await;
    }
    if let Ok(value) = HeaderValue::from_str(&name) {
        answer.headers_mut().insert(REQUEST_ID, value);
    }
    let who = answer.extensions().get::<Who>();
    tracing::debug!(
        request = %name,
        %method,
        path,
        status = answer.status().as_u16(),
        micros = clock.now().since(began) / 1_000,
        key = who.map_or("", |who| who.name.as_str()),
        namespace = who.map_or("", |who| who.namespace.as_str()),
        "answered"
    );
    answer
}

/// Returns the caller's name, if it is suitable for a log.
fn given(headers: &HeaderMap) -> Option<String> {
    let text = headers.get(REQUEST_ID)?.to_str().ok()?;
    let fits = (1..=CHARS_MAX).contains(&text.len()) && text.bytes().all(|c| c.is_ascii_graphic());
    fits.then(|| text.to_owned())
}

/// Turns an error of the framework, which is plain text, into a problem like all others.
async fn as_problem(answer: Response) -> Response {
    let status = answer.status();
    let content_type = answer.headers().get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    if !status.is_client_error() && !status.is_server_error() || content_type.is_some_and(|kind| kind.starts_with("application/"))
    {
        return answer;
    }
    let (mut head, body) = answer.into_parts();
    let text = to_bytes(body, BARE_BYTES_MAX).await.unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let detail = match text.trim() {
        "" => status.canonical_reason().unwrap_or("the request was refused"),
        text => text,
    };
    let problem = Problem::new(code_of(status), detail).into_response();
    head.headers.remove(header::CONTENT_LENGTH);
    head.status = problem.status();
    let (of_problem, body) = problem.into_parts();
    // `Allow` and other headers of the framework stay.
    head.headers.extend(of_problem.headers);
    Response::from_parts(head, body)
}

/// Returns the code that corresponds to a status.
fn code_of(status: StatusCode) -> Code {
    match status {
        StatusCode::NOT_FOUND => Code::NotFound,
        StatusCode::METHOD_NOT_ALLOWED => Code::MethodNotAllowed,
        StatusCode::NOT_ACCEPTABLE => Code::NotAcceptable,
        StatusCode::REQUEST_TIMEOUT => Code::Timeout,
        StatusCode::PAYLOAD_TOO_LARGE => Code::TooLarge,
        StatusCode::UNSUPPORTED_MEDIA_TYPE => Code::UnsupportedMediaType,
        StatusCode::TOO_MANY_REQUESTS => Code::RateLimited,
        StatusCode::SERVICE_UNAVAILABLE => Code::Overloaded,
        status if status.is_client_error() => Code::Invalid,
        _ => Code::Internal,
    }
}

/// Adds path and name of the request to a problem.
async fn placed(answer: Response, path: &str, name: &str) -> Response {
    let (mut head, body) = answer.into_parts();
    // Problems are in memory as a whole.
    let bytes = to_bytes(body, usize::MAX).await.unwrap_or_default();
    let body = match serde_json::from_slice::<Map<String, Value>>(&bytes) {
        Ok(mut members) => {
            members.entry("instance").or_insert_with(|| path.into());
            members.insert("requestId".to_owned(), name.into());
            head.headers.remove(header::CONTENT_LENGTH);
            Body::from(Value::Object(members).to_string())
        }
        Err(_) => Body::from(bytes),
    };
    Response::from_parts(head, body)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn refusals_of_the_framework_become_problems() {
        let cases = [
            (StatusCode::BAD_REQUEST, "Invalid URL", 400, "invalid", "Invalid URL"),
            (StatusCode::METHOD_NOT_ALLOWED, "", 405, "method_not_allowed", "Method Not Allowed"),
            (StatusCode::PAYLOAD_TOO_LARGE, "length limit exceeded", 413, "too_large", "length limit exceeded"),
            (StatusCode::URI_TOO_LONG, "", 400, "invalid", "URI Too Long"),
            (StatusCode::INTERNAL_SERVER_ERROR, "Missing request extension", 500, "internal", "Missing request extension"),
        ];
        for (status, text, told, code, detail) in cases {
            let bare = (status, [(header::ALLOW, "GET")], text).into_response();
            let answer = as_problem(bare).await;
            assert_eq!((answer.status().as_u16(), answer.headers()["allow"].as_bytes()), (told, &b"GET"[..]), "{status}");
            assert_eq!(answer.headers()["content-type"], "application/problem+json");
            let body = to_bytes(answer.into_body(), usize::MAX).await.unwrap();
            let body: Value = serde_json::from_slice(&body).unwrap();
            assert_eq!((&body["code"], &body["detail"]), (&code.into(), &detail.into()), "{status}");
        }
        let good = as_problem((StatusCode::OK, "fine").into_response()).await;
        assert_eq!(to_bytes(good.into_body(), usize::MAX).await.unwrap(), "fine");
    }

    #[test]
    fn names_that_can_stand_in_a_log_are_taken_over() {
        let long = "x".repeat(CHARS_MAX + 1);
        let cases = [("a-1", Some("a-1")), ("", None), ("two words", None), (long.as_str(), None)];
        for (text, expected) in cases {
            let mut headers = HeaderMap::new();
            headers.insert(REQUEST_ID, text.parse().unwrap());
            assert_eq!(given(&headers).as_deref(), expected, "{text}");
        }
        assert_eq!(given(&HeaderMap::new()), None);
    }
}
