//! HTTP clients: those of targets, and one for requests that are not to targets.

use std::time::Duration;

use flowmeter_core::service::TlsPlan;
use flowmeter_engine::{Error, Kind};

use crate::answer::{HEAD_BYTES_MAX, HEADERS_MAX};

/// A client whose answers have bounded heads and a deadline, which follows no redirects
/// and unpacks nothing. Bodies are bounded where they are read.
pub(crate) fn bounded(client: reqwest::ClientBuilder, timeout: Duration) -> reqwest::ClientBuilder {
    client
        .redirect(reqwest::redirect::Policy::none())
        // Connecting, sending and the whole answer.
        .timeout(timeout)
        // Over HTTP/1 the buffer of a head is bounded by the library, some 400 KiB.
        .http1_max_headers(HEADERS_MAX)
        .http2_max_header_list_size(HEAD_BYTES_MAX)
        .no_gzip()
        .no_brotli()
        .no_zstd()
        .no_deflate()
        .user_agent(concat!("flowmeter/", env!("CARGO_PKG_VERSION")))
}

/// A client with the public authorities, for requests that are not to targets. Not to be
/// made on a thread of an asynchronous runtime.
///
/// # Errors
/// There are no certificates to trust.
pub fn blocking_client(timeout: Duration) -> Result<reqwest::blocking::Client, Error> {
    let client = reqwest::blocking::Client::builder()
        .use_preconfigured_tls(crate::tls::of(&TlsPlan::default())?)
        .redirect(reqwest::redirect::Policy::none())
        .timeout(timeout)
        .no_gzip()
        .no_brotli()
        .no_zstd()
        .no_deflate()
        .user_agent(concat!("flowmeter/", env!("CARGO_PKG_VERSION")))
        .build();
    client.map_err(|why| Error::new(Kind::Invalid, format!("no client: {why}")))
}
