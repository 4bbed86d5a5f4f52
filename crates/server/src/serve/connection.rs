//! One connection, from its first byte to its last.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::body::Body;
use axum::extract::{ConnectInfo, Request};
use axum::http::Version;
use hyper::body::Incoming;
use hyper::rt::{Read, Write};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;
use tower::Service;

use super::unread::{self, Answers, Impatient};
use super::{Bounds, Served};

/// Interval of pings on a silent HTTP/2 connection, and the time for their answer.
const HTTP2_PING: Duration = Duration::from_secs(20);

/// Time in which a connection must send its first byte. Connections that are only opened must not
/// keep other clients out.
pub(super) const FIRST_BYTE_TIMEOUT: Duration = Duration::from_secs(5);

/// Maximum of open requests of one HTTP/2 connection: enough for a proxy in front, but not all of
/// `limits.requests_in_flight`.
const HTTP2_STREAMS_MAX: u32 = 256;

/// The minimum that hyper accepts.
const HEADER_BYTES_MIN: usize = 8 << 10;

pub(super) async fn accept(
    stream: TcpStream,
    peer: SocketAddr,
    tls: Option<TlsAcceptor>,
    app: Served,
    mut stopping: watch::Receiver<bool>,
) {
    // Answers are written as a whole; waiting for more data would only delay them.
    let _ = stream.set_nodelay(true);
    let patience = FIRST_BYTE_TIMEOUT.min(app.bounds.header_timeout);
    let mut first = [0];
    let begun = tokio::select! {
        begun = tokio::time::timeout(patience, stream.peek(&mut first)) => matches!(begun, Ok(Ok(1..))),
        _ = stopping.wait_for(|is_stopping| *is_stopping) => false,
    };
    if !begun {
        return;
    }
    let Some(tls) = tls else {
        return talk(TokioIo::new(stream), peer, app, stopping).await;
    };
    // A failed handshake is ignored, since it is frequent on a public port.
    if let Ok(Ok(stream)) = tokio::time::timeout(app.bounds.header_timeout, tls.accept(stream)).await {
        talk(TokioIo::new(stream), peer, app, stopping).await;
    }
}

/// Answers requests until the client disconnects, pauses or leaves answers unread for too long, or
/// the server stops.
pub(super) async fn talk<I>(io: I, peer: SocketAddr, app: Served, mut stopping: watch::Receiver<bool>)
where
    I: Read + Write + Unpin + Send + 'static,
{
    let Served { router, bounds, unread } = app;
    let answers = Answers::default();
    let has_asked = Arc::new(AtomicBool::new(false));
    let asked = Arc::clone(&has_asked);
    let watched = answers.clone();
    let service = service_fn(move |request: Request<Incoming>| {
        asked.store(true, Ordering::Relaxed);
        let mut request = request.map(Body::new);
        request.extensions_mut().insert(ConnectInfo(peer));
        let is_http2 = request.version() == Version::HTTP_2;
        let (answer, answers) = (router.clone().call(request), watched.clone());
        async move {
            let answer = answer.await?;
            Ok::<_, Infallible>(if is_http2 { answer.map(|body| answers.watch(body)) } else { answer })
        }
    });
    let builder = builder(bounds);
    let io = Impatient::new(io, bounds.write_idle, Arc::clone(&unread));
    let mut connection = std::pin::pin!(builder.serve_connection(io, service));
    let mut reading = tokio::time::interval(bounds.write_idle);
    reading.reset();
    // hyper's own timeout begins when it has detected the version of HTTP; until the first request
    // arrives, this timeout applies.
    let mut silence = std::pin::pin!(tokio::time::sleep(bounds.header_timeout));
    let (mut is_watched, mut is_told) = (true, false);
    loop {
        tokio::select! {
            // The result does not matter here: the client has received the answer or not.
            _ = connection.as_mut() => return,
            () = silence.as_mut(), if is_watched => {
                if !has_asked.load(Ordering::Relaxed) {
                    return;
                }
                is_watched = false;
            }
            _ = reading.tick() => {
                if answers.are_unread() {
                    unread::count(&unread, bounds.write_idle);
                    return;
                }
            }
            _ = stopping.wait_for(|is_stopping| *is_stopping), if !is_told => {
                connection.as_mut().graceful_shutdown();
                is_told = true;
            }
        }
    }
}

fn builder(bounds: Bounds) -> auto::Builder<TokioExecutor> {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    let header_bytes_max = bounds.header_bytes_max.max(HEADER_BYTES_MIN);
    builder.http1().timer(TokioTimer::new()).header_read_timeout(bounds.header_timeout).max_buf_size(header_bytes_max);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_header_list_size(u32::try_from(header_bytes_max).unwrap_or(u32::MAX))
        .max_concurrent_streams(HTTP2_STREAMS_MAX)
        .keep_alive_interval(HTTP2_PING)
        .keep_alive_timeout(HTTP2_PING);
    builder
}
