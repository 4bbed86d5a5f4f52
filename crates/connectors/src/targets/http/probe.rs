//! Whether a target over HTTP is there, without sending it anything.
//!
//! A request would do something at the other end; a connection does not. With TLS the
//! handshake shows whether both sides know each other's certificates.

use std::time::Duration;

use flowmeter_engine::{Error, Kind};
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::Http;
use crate::tls;

/// How long connecting may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// Variables that send requests through a proxy: then it is the proxy that is connected to.
const PROXIES: [&str; 6] = ["HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"];

impl Http {
    /// Connects to the target.
    pub(super) fn reach(&self) -> Result<(), Error> {
        if PROXIES.iter().any(|name| std::env::var_os(name).is_some_and(|value| !value.is_empty())) {
            return Ok(());
        }
        let (Some(host), Some(port)) = (self.url.host_str(), self.url.port_or_known_default()) else { return Ok(()) };
        let is_tls = self.url.scheme() == "https";
        let tls = tls::of(&self.plan.tls)?;
        let connecting = async {
            let bare = host.trim_start_matches('[').trim_end_matches(']');
            let stream = TcpStream::connect((bare, port)).await.map_err(|why| why.to_string())?;
            if is_tls {
                let name = ServerName::try_from(bare.to_owned()).map_err(|why| why.to_string())?;
                let connected = TlsConnector::from(std::sync::Arc::new(tls)).connect(name, stream).await;
                connected.map_err(|why| format!("TLS: {why}"))?;
            }
            Ok::<_, String>(())
        };
        let connected = self.calls.within(PATIENCE, connecting).map_err(|cut| cut.to_string()).and_then(|done| done);
        connected.map_err(|why| {
            let message =
                format!("no connection to {host}:{port}: {why}; check that it runs and that `url` names its host and port");
            Error::new(Kind::Unavailable, message)
        })
    }
}
