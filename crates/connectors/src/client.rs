//! A client for requests that are not to targets.

use std::time::Duration;

use flowmeter_core::pipeline::TlsPlan;
use flowmeter_engine::{Error, Kind};
use reqwest::blocking::Client;

/// A client that trusts whom everybody trusts, and follows nobody elsewhere. Not to be made
/// on a thread of an asynchronous runtime.
///
/// # Errors
/// There are no certificates to trust.
pub fn blocking_client(timeout: Duration) -> Result<Client, Error> {
    let client = Client::builder()
        .use_preconfigured_tls(crate::target::tls_of(&TlsPlan::default())?)
        .redirect(reqwest::redirect::Policy::none())
        .timeout(timeout)
        .user_agent(concat!("flowmeter/", env!("CARGO_PKG_VERSION")))
        .build();
    client.map_err(|why| Error::new(Kind::Invalid, format!("no client: {why}")))
}
