//! Headers of every answer for browsers.
//!
//! The dashboard loads nothing from other servers, may not be framed, and its address (which may
//! contain the name of a customer) is not sent to other servers. An answer that sets one of these
//! headers itself keeps its own.

#[cfg(test)]
mod tests;

use axum::Router;
use axum::http::{HeaderMap, HeaderName, HeaderValue, header};
use axum::middleware::map_response;
use axum::response::Response;

/// The transport between browser and server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// Without TLS, or behind a proxy that terminates TLS and sets HSTS itself.
    Plain,
    /// With TLS: browsers shall not connect without it again.
    Tls,
}

const HEADERS: [(HeaderName, &str); 6] = [
    (
        header::CONTENT_SECURITY_POLICY,
        "default-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'; object-src 'none'",
    ),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::REFERRER_POLICY, "no-referrer"),
    (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
    (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    (HeaderName::from_static("permissions-policy"), "camera=(), geolocation=(), microphone=()"),
];

/// A year, without subdomains, which may belong to others.
const HSTS: &str = "max-age=31536000";

/// Adds the headers to every answer of the routes.
pub fn apply<S: Clone + Send + Sync + 'static>(routes: Router<S>, transport: Transport) -> Router<S> {
    routes.layer(map_response(move |mut response: Response| async move {
        add(response.headers_mut(), transport);
        response
    }))
}

fn add(headers: &mut HeaderMap, transport: Transport) {
    for (name, value) in HEADERS {
        headers.entry(name).or_insert(HeaderValue::from_static(value));
    }
    if transport == Transport::Tls {
        headers.entry(header::STRICT_TRANSPORT_SECURITY).or_insert(HeaderValue::from_static(HSTS));
    }
}
