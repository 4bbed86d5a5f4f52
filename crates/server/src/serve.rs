//! Connections: accepted, bounded, and ended in order.
//!
//! `axum::serve` sets no limits, so this module has its own loop: a bound on connections, on the
//! time and size of a request's head, HTTP/1 and HTTP/2 on one port, and an end in three steps. No
//! new connection is accepted; open ones finish their requests; after `drain` the rest is closed.

mod connection;
pub mod descriptors;
#[cfg(test)]
mod tests;
mod unread;

use std::future::Future;
use std::io;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use axum::Router;
use flowmeter_node::settings::Limits;
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

use crate::tls::Tls;

/// Bounds of the connections of one listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// The bound of connections, [`limits::CONNECTIONS`](crate::limits::CONNECTIONS).
    pub connections: usize,
    /// The bound [`limits::HEADER_TIMEOUT`](crate::limits::HEADER_TIMEOUT), which also applies to
    /// the TLS handshake and to the pause between two requests.
    pub header_timeout: Duration,
    /// The bound of headers, [`limits::HEADER_BYTES_MAX`](crate::limits::HEADER_BYTES_MAX).
    pub header_bytes_max: usize,
    /// The bound of unread answers, [`limits::WRITE_IDLE`](crate::limits::WRITE_IDLE).
    pub write_idle: Duration,
    /// Time in which open connections must finish when the server stops.
    pub drain: Duration,
}

impl Bounds {
    /// Creates the bounds from the settings, limited by the descriptors of the process.
    pub fn new(limits: &Limits, drain: Duration, descriptors: Option<u64>) -> Bounds {
        let fit = |number: u64| usize::try_from(number).unwrap_or(usize::MAX);
        let connections = limits.connections.min(descriptors::room(descriptors)).max(1);
        Bounds {
            connections: fit(connections).min(Semaphore::MAX_PERMITS),
            header_timeout: limits.header_timeout,
            header_bytes_max: fit(limits.header_bytes_max),
            write_idle: limits.write_idle,
            drain,
        }
    }
}

/// Serves over plain TCP until `stop` completes and open connections have finished. Handlers find
/// the address of the client in `ConnectInfo<SocketAddr>`.
pub async fn plain(listener: TcpListener, app: Served, stop: impl Future<Output = ()>) {
    run(listener, None, app, stop).await;
}

/// Serves over TLS, otherwise like [`plain`].
pub async fn tls(listener: TcpListener, tls: &Tls, app: Served, stop: impl Future<Output = ()>) {
    run(listener, Some(TlsAcceptor::from(tls.config())), app, stop).await;
}

/// The application and limits of every connection of a listener.
#[derive(Clone)]
pub struct Served {
    /// The router of requests.
    pub router: Router,
    /// The bounds of each connection.
    pub bounds: Bounds,
    /// Counts the connections that were closed because their answers were not read.
    pub unread: Arc<AtomicU64>,
}

impl Served {
    /// Creates a server of these routes with these bounds.
    pub fn new(router: Router, bounds: Bounds) -> Served {
        Served { router, bounds, unread: Arc::default() }
    }
}

async fn run(listener: TcpListener, tls: Option<TlsAcceptor>, app: Served, stop: impl Future<Output = ()>) {
    let bounds = app.bounds;
    let room = Arc::new(Semaphore::new(bounds.connections));
    let (told, stopping) = watch::channel(false);
    let mut inside = JoinSet::new();
    let mut full = Full::default();
    let mut stop = std::pin::pin!(stop);
    loop {
        full.look(room.available_permits(), bounds.connections);
        // A place comes first: without one, connections wait in the kernel's queue, at no cost.
        let place = tokio::select! {
            biased;
            () = &mut stop => break,
            place = Arc::clone(&room).acquire_owned() => place,
        };
        let accepted = tokio::select! {
            biased;
            () = &mut stop => break,
            accepted = listener.accept() => accepted,
        };
        while inside.try_join_next().is_some() {}
        match accepted {
            Ok((stream, peer)) => {
                let (tls, app, stopping) = (tls.clone(), app.clone(), stopping.clone());
                inside.spawn(async move {
                    let _place = place;
                    connection::accept(stream, peer, tls, app, stopping).await;
                });
            }
            Err(why) if is_of_one_connection(&why) => {}
            // Most likely there are no free descriptors; there are some again when a connection
            // ends.
            Err(why) => {
                full.refused(&why);
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
    drop(listener);
    told.send_replace(true);
    // Connections that are still open after that are closed: dropping the set ends their tasks.
    let _ = tokio::time::timeout(bounds.drain, async { while inside.join_next().await.is_some() {} }).await;
}

/// Logs once that there is no room for connections, and again only after there was room for a
/// quarter of them.
#[derive(Default)]
struct Full {
    is_logged: bool,
}

impl Full {
    fn look(&mut self, free: usize, connections: usize) {
        if free == 0 && !self.is_logged {
            self.is_logged = true;
            tracing::warn!(
                connections,
                "there are as many connections as the server may have; more wait until one ends. \
                 Raise limits.connections and the limit of open files (ulimit -n)"
            );
        }
        if free > connections / 4 {
            self.is_logged = false;
        }
    }

    fn refused(&mut self, why: &io::Error) {
        if !std::mem::replace(&mut self.is_logged, true) {
            tracing::warn!("a connection could not be accepted: {why}; it waits until one ends");
        }
    }
}

/// Whether the client disconnected before it was accepted.
fn is_of_one_connection(why: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted};
    matches!(why.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset | Interrupted)
}
