//! Callers that do not read their answers.

use std::sync::atomic::{AtomicU64, Ordering};

use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use http_body_util::BodyExt;
use http_body_util::channel::Channel;
use hyper::Request;
use hyper::client::conn::http2;
use hyper_util::rt::TokioExecutor;

use super::*;

/// Bytes between the two ends of a connection.
const PIPE_BYTES: usize = 16 << 10;

/// A stream without end, an answer that is large and whole, and a stream without news.
fn routes() -> Router {
    Router::new()
        .route("/endless", get(endless))
        .route("/large", get(|| async { "x".repeat(16 << 20) }))
        .route("/quiet", get(quiet))
}

async fn endless() -> Response {
    let (mut sender, body) = Channel::<Bytes>::new(1);
    tokio::spawn(async move { while sender.send_data(Bytes::from_static(&[b'x'; 1_000])).await.is_ok() {} });
    Response::new(Body::new(body))
}

async fn quiet() -> Response {
    let (mut sender, body) = Channel::<Bytes>::new(1);
    tokio::spawn(async move {
        let _ = sender.send_data(Bytes::from_static(b": here\n\n")).await;
        std::future::pending::<()>().await;
    });
    Response::new(Body::new(body))
}

/// The server's end of a connection, the client's, and the count of unread answers.
fn connected() -> (impl Future<Output = ()>, tokio::io::DuplexStream, Arc<AtomicU64>) {
    let (client, server) = tokio::io::duplex(PIPE_BYTES);
    let served = served(routes());
    let unread = Arc::clone(&served.unread);
    let talking = async move {
        let (_told, stopping) = watch::channel(false);
        connection::talk(TokioIo::new(server), PEER, served, stopping).await;
    };
    (talking, client, unread)
}

#[tokio::test(start_paused = true)]
async fn an_unread_answer_ends_its_connection_over_http1() {
    for path in ["/endless", "/large"] {
        let (talking, mut client, unread) = connected();
        let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n");
        client.write_all(request.as_bytes()).await.unwrap();
        let begin = tokio::time::Instant::now();
        talking.await;
        assert_eq!((begin.elapsed(), unread.load(Ordering::Relaxed)), (bounds().write_idle, 1), "{path}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_unread_answer_ends_its_connection_over_http2() {
    for path in ["/endless", "/large"] {
        let (talking, client, unread) = connected();
        let begin = tokio::time::Instant::now();
        let talking = tokio::spawn(async move {
            talking.await;
            begin.elapsed()
        });
        // The client answers pings and reads other answers: only this one is left unread.
        let (mut sender, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(client)).await.unwrap();
        tokio::spawn(connection);
        let ask = |path: &str| Request::get(format!("http://localhost{path}")).body(Body::empty()).unwrap();
        let unread_answer = sender.send_request(ask(path)).await.unwrap();
        assert_eq!(sender.send_request(ask("/nothing")).await.unwrap().status(), 404);
        let took = talking.await.unwrap();
        assert!(took <= 2 * bounds().write_idle + Duration::from_secs(1), "{path}: {took:?}");
        assert_eq!(unread.load(Ordering::Relaxed), 1, "{path}");
        drop(unread_answer);
    }
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_is_read_or_has_no_news_stays() {
    let (talking, client, unread) = connected();
    tokio::spawn(talking);
    let (mut sender, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(client)).await.unwrap();
    tokio::spawn(connection);
    let ask = |path: &str| Request::get(format!("http://localhost{path}")).body(Body::empty()).unwrap();
    let mut quiet = sender.send_request(ask("/quiet")).await.unwrap();
    assert!(quiet.frame().await.unwrap().is_ok());
    let large = sender.send_request(ask("/large")).await.unwrap();
    let mut body = large.into_body();
    let mut read = 0;
    while let Some(frame) = body.frame().await {
        // Slow, but not idle.
        tokio::time::advance(Duration::from_millis(100)).await;
        read += frame.unwrap().into_data().map_or(0, |bytes| bytes.len());
    }
    assert_eq!(read, 16 << 20);
    tokio::time::advance(10 * bounds().write_idle).await;
    assert_eq!(sender.send_request(ask("/nothing")).await.unwrap().status(), 404);
    let (talking, mut client, of_http1) = connected();
    client.write_all(b"GET /quiet HTTP/1.1\r\nHost: localhost\r\n\r\n").await.unwrap();
    assert!(tokio::time::timeout(10 * bounds().write_idle, talking).await.is_err());
    assert_eq!((unread.load(Ordering::Relaxed), of_http1.load(Ordering::Relaxed)), (0, 0));
}
