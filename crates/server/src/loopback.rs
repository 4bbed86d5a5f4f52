//! Without keys, only this machine is answered, and of this machine not every program.
//!
//! A server on the loopback address is out of reach of the network, but not of the
//! browser on the same machine: any web page may send requests to it (request forgery),
//! and may even read the answers if its own name is made to point to 127.0.0.1 (DNS
//! rebinding). Browsers tell both by `Origin` and `Host`, which a page cannot change. So
//! where no key is required, `Host` must name this machine, and `Origin` must be this server
//! itself: scheme, host and port. A page of another port of this machine is another program,
//! with no more rights than a page of another machine. Requests without `Origin` (curl,
//! SDKs) do not come from pages.

#[cfg(test)]
mod tests;

use std::net::IpAddr;

use axum::Router;
use axum::extract::Request;
use axum::http::{HeaderMap, Uri, header};
use axum::middleware::{Next, from_fn};
use axum::response::IntoResponse;

use crate::problem::{Code, Problem};
use crate::security_headers::Transport;

/// The routes, for this machine only. Use it where `auth.required` is off.
pub fn apply<S: Clone + Send + Sync + 'static>(routes: Router<S>, transport: Transport) -> Router<S> {
    routes.layer(from_fn(move |request: Request, next: Next| async move {
        match check(request.headers(), request.uri(), transport) {
            Ok(()) => next.run(request).await,
            Err(problem) => problem.into_response(),
        }
    }))
}

/// Whether the request is meant for this machine, by this machine.
///
/// # Errors
/// `host_refused`.
pub fn check(headers: &HeaderMap, uri: &Uri, transport: Transport) -> Result<(), Box<Problem>> {
    let text = |name| headers.get(name).map(|value| value.to_str().unwrap_or("?"));
    // HTTP/2 has the host in the address (`:authority`).
    let host = text(header::HOST).or(uri.authority().map(axum::http::uri::Authority::as_str));
    let refuse = |field: &str, value: &str| {
        let shown: String = value.chars().take(100).collect();
        let detail = format!(
            "no key is required here, so only this server's own pages and programs of this machine are answered; {field} is `{shown}`"
        );
        Err(Box::new(Problem::new(Code::HostRefused, detail).field(field)))
    };
    match host {
        Some(host) if !is_here(host) => return refuse("Host", host),
        _ => {}
    }
    match text(header::ORIGIN) {
        Some(origin) if !host.is_some_and(|host| is_origin_of(origin, host, transport)) => refuse("Origin", origin),
        _ => Ok(()),
    }
}

/// Whether a page of this origin came from the server that the request was sent to.
pub(crate) fn is_origin_of(origin: &str, host: &str, transport: Transport) -> bool {
    let (scheme, port) = match transport {
        Transport::Plain => ("http", ":80"),
        Transport::Tls => ("https", ":443"),
    };
    let Some((given, origin_host)) = origin.split_once("://") else { return false };
    // Browsers leave the scheme's own port out.
    let bare = |host: &str| host.strip_suffix(port).unwrap_or(host).to_ascii_lowercase();
    given == scheme && bare(origin_host) == bare(host)
}

/// Whether `host[:port]` is this machine by name or number.
pub(crate) fn is_here(host: &str) -> bool {
    let is_port = |port: &str| port.bytes().all(|c| c.is_ascii_digit());
    let name = match host.rsplit_once(':') {
        Some((name, port)) if is_port(port) => name,
        _ => host,
    };
    let bare = name.strip_prefix('[').and_then(|name| name.strip_suffix(']')).unwrap_or(name);
    let is_number = || bare.parse::<IpAddr>().is_ok_and(|ip| ip.to_canonical().is_loopback());
    name.eq_ignore_ascii_case("localhost") || is_number()
}
