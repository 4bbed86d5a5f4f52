//! Compression of answers for clients that accept it: zstd or gzip.
//!
//! Only answers that are complete in memory, are text and are large enough to benefit are
//! compressed. An answer that fits into one packet would only get slower, and a stream must not
//! wait for its end.

use std::io::Write;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::Request;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::middleware::{Next, from_fn};
use axum::response::Response;
use http_body::Body as _;

/// Answers below this fit into one packet as they are.
const BYTES_MIN: u64 = 1_024;

/// Adds compression to the answers of the routes, for clients that accept it.
pub fn apply(routes: Router) -> Router {
    routes.layer(from_fn(async |request: Request, next: Next| {
        let coding = accepted(request.headers());
        let mut answer = next.run(request).await;
        if !gains(&answer) {
            return answer;
        }
        answer.headers_mut().append(header::VARY, HeaderValue::from_static("accept-encoding"));
        match coding {
            Some(coding) => compress(answer, coding).await,
            None => answer,
        }
    }))
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Coding {
    Zstd,
    Gzip,
}

impl Coding {
    fn name(self) -> &'static str {
        match self {
            Coding::Zstd => "zstd",
            Coding::Gzip => "gzip",
        }
    }

    fn compress(self, bytes: &[u8]) -> std::io::Result<Vec<u8>> {
        match self {
            Coding::Zstd => zstd::encode_all(bytes, 1),
            Coding::Gzip => {
                let mut encoder = flate2::write::GzEncoder::new(Vec::with_capacity(bytes.len() / 4), flate2::Compression::fast());
                encoder.write_all(bytes)?;
                encoder.finish()
            }
        }
    }
}

/// Returns the coding that the client prefers among the available ones; of equal ones the faster.
fn accepted(headers: &HeaderMap) -> Option<Coding> {
    let mut best: Option<(u32, Coding)> = None;
    let values = headers.get_all(header::ACCEPT_ENCODING).iter().filter_map(|value| value.to_str().ok());
    for item in values.flat_map(|value| value.split(',')) {
        let (name, parameters) = item.split_once(';').unwrap_or((item, ""));
        let coding = match name.trim().to_ascii_lowercase().as_str() {
            "zstd" => Coding::Zstd,
            "gzip" | "x-gzip" => Coding::Gzip,
            _ => continue,
        };
        let weight = weight(parameters);
        if weight > 0 && best.is_none_or(|(known, other)| weight > known || weight == known && other == Coding::Gzip) {
            best = Some((weight, coding));
        }
    }
    best.map(|(_, coding)| coding)
}

/// Reads `q=0.5` in thousandths; a value that cannot be read is 0.
fn weight(parameters: &str) -> u32 {
    let Some(text) = parameters.split(';').find_map(|one| one.trim().strip_prefix("q=")) else { return 1_000 };
    let (whole, part) = text.trim().split_once('.').unwrap_or((text.trim(), ""));
    let digits = format!("{part:0<3}");
    match (whole, digits.get(..3).and_then(|digits| digits.parse::<u32>().ok())) {
        ("1", _) => 1_000,
        ("0", Some(thousandths)) => thousandths,
        _ => 0,
    }
}

fn gains(answer: &Response) -> bool {
    let headers = answer.headers();
    let kind = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    let essence = kind.split(';').next().unwrap_or_default().trim();
    let is_text = essence.starts_with("text/") && essence != "text/event-stream"
        || essence.ends_with("json")
        || matches!(essence, "application/openmetrics-text" | "text/javascript" | "application/javascript" | "image/svg+xml");
    is_text
        && !headers.contains_key(header::CONTENT_ENCODING)
        && answer.status() != StatusCode::PARTIAL_CONTENT
        && answer.body().size_hint().exact().is_some_and(|bytes| bytes >= BYTES_MIN)
}

async fn compress(answer: Response, coding: Coding) -> Response {
    let (mut head, body) = answer.into_parts();
    let bytes = to_bytes(body, usize::MAX).await.unwrap_or_default();
    let plain = bytes.clone();
    match tokio::task::spawn_blocking(move || coding.compress(&plain)).await {
        Ok(Ok(smaller)) => {
            head.headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static(coding.name()));
            head.headers.remove(header::CONTENT_LENGTH);
            weaken(&mut head.headers);
            Response::from_parts(head, Body::from(smaller))
        }
        _ => Response::from_parts(head, Body::from(bytes)),
    }
}

/// Weakens the ETag, since the compressed bytes differ from the uncompressed ones and only have the
/// same meaning (RFC 9110, 8.8.1). `If-Match` accepts it all the same.
fn weaken(headers: &mut HeaderMap) {
    let weak = headers.get(header::ETAG).and_then(|etag| etag.to_str().ok()).filter(|etag| !etag.starts_with("W/"));
    if let Some(weak) = weak.and_then(|etag| HeaderValue::from_str(&format!("W/{etag}")).ok()) {
        headers.insert(header::ETAG, weak);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_preferred_coding_is_chosen() {
        let cases = [
            ("", None),
            ("gzip", Some(Coding::Gzip)),
            ("gzip, deflate, br, zstd", Some(Coding::Zstd)),
            ("gzip;q=1.0, zstd;q=0.5", Some(Coding::Gzip)),
            ("gzip;q=0, zstd;q=0", None),
            ("zstd;q=0.001", Some(Coding::Zstd)),
            ("br, identity", None),
            ("gzip;q=nonsense", None),
        ];
        for (text, expected) in cases {
            let mut headers = HeaderMap::new();
            headers.insert(header::ACCEPT_ENCODING, text.parse().unwrap());
            assert_eq!(accepted(&headers), expected, "{text}");
        }
    }
}
