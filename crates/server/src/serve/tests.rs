//! Requests over TCP, over TLS, and clients that pause.

mod unread;

use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::ConnectInfo;
use axum::routing::get;
use flowmeter_node::settings::Limits;
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{oneshot, watch};

use super::{Bounds, Served, connection, plain, tls};
use crate::tls::Tls;

const PEER: SocketAddr = SocketAddr::V4(SocketAddrV4::new(Ipv4Addr::LOCALHOST, 1));

fn bounds() -> Bounds {
    Bounds::new(&Limits::default(), Duration::from_secs(5), None)
}

fn app() -> Router {
    Router::new().route("/who", get(|ConnectInfo(peer): ConnectInfo<SocketAddr>| async move { peer.ip().to_string() }))
}

fn served(router: Router) -> Served {
    Served::new(router, bounds())
}

const REQUEST: &[u8] = b"GET /who HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";

async fn ask(mut stream: impl AsyncRead + AsyncWrite + Unpin, request: &[u8]) -> String {
    stream.write_all(request).await.unwrap();
    let mut answer = Vec::new();
    // An end without a close_notify is an error of TLS; the bytes before it are valid.
    let _ = stream.read_to_end(&mut answer).await;
    String::from_utf8(answer).unwrap()
}

#[tokio::test]
async fn over_tcp_until_it_is_stopped() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (stop, stopped) = oneshot::channel::<()>();
    let server = tokio::spawn(plain(listener, served(app()), async { drop(stopped.await) }));
    let answer = ask(TcpStream::connect(address).await.unwrap(), REQUEST).await;
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n") && answer.ends_with("127.0.0.1"), "{answer}");
    // A connection that is kept alive does not keep the server from stopping.
    let mut idle = TcpStream::connect(address).await.unwrap();
    idle.write_all(b"GET /who HTTP/1.1\r\nHost: localhost\r\n\r\n").await.unwrap();
    assert!(idle.read(&mut [0; 1_000]).await.unwrap() > 0);
    stop.send(()).unwrap();
    server.await.unwrap();
    assert!(TcpStream::connect(address).await.is_err());
}

#[tokio::test]
async fn over_tls_in_both_versions_of_http() {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let (cert, key) = (folder.path().join("cert.pem"), folder.path().join("key.pem"));
    std::fs::write(&cert, made.cert.pem()).unwrap();
    std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
    let certificate = Tls::load(&cert, &key).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (stop, stopped) = oneshot::channel::<()>();
    let server = tokio::spawn(async move { tls(listener, &certificate, served(app()), async { drop(stopped.await) }).await });

    let mut roots = rustls::RootCertStore::empty();
    roots.add(made.cert.der().clone()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let client = rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let mut client = client.with_root_certificates(roots).with_no_client_auth();
    let connect = async |client: &rustls::ClientConfig| {
        let connector = tokio_rustls::TlsConnector::from(Arc::new(client.clone()));
        let stream = TcpStream::connect(address).await.unwrap();
        connector.connect(ServerName::try_from("localhost").unwrap(), stream).await.unwrap()
    };
    let answer = ask(connect(&client).await, REQUEST).await;
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n") && answer.ends_with("127.0.0.1"), "{answer}");
    client.alpn_protocols = vec![b"h2".to_vec()];
    let stream = connect(&client).await;
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
    // A client without TLS gets no answer.
    let answer = TcpStream::connect(address).await.unwrap();
    let mut bytes = Vec::new();
    let (mut from, mut to) = answer.into_split();
    to.write_all(REQUEST).await.unwrap();
    let _ = from.read_to_end(&mut bytes).await;
    assert!(!String::from_utf8_lossy(&bytes).contains("HTTP/1.1 200"));
    drop(stream);
    stop.send(()).unwrap();
    server.await.unwrap();
}

/// Returns the answer for a client that sends `request` and then pauses.
async fn silent_after(request: &[u8]) -> String {
    let (client, server) = tokio::io::duplex(1 << 20);
    let (_told, stopping) = watch::channel(false);
    let talking = connection::talk(TokioIo::new(server), PEER, served(app()), stopping);
    let (answer, ()) = tokio::join!(ask(client, request), talking);
    answer
}

#[tokio::test(start_paused = true)]
async fn silent_connections_are_closed() {
    let cases: [(&[u8], &str); 5] = [
        (b"", ""),
        (b"PRI * HT", ""),
        (b"GET /who HTTP/1.1\r\nHo", ""),
        // The wait for the next request after an answer is bounded too.
        (b"GET /who HTTP/1.1\r\nHost: localhost\r\n\r\n", "HTTP/1.1 200 OK"),
        (b"GET /who HTTP/1.1\r\nHost: localhost\r\n\r\nGET", "HTTP/1.1 200 OK"),
    ];
    for (request, expected) in cases {
        let answer = silent_after(request).await;
        assert_eq!(answer.lines().next().unwrap_or_default(), expected, "{}", String::from_utf8_lossy(request));
    }
}

#[tokio::test(start_paused = true)]
async fn a_connection_kept_alive_ends_when_the_server_stops() {
    let (mut client, server) = tokio::io::duplex(1 << 20);
    let (told, stopping) = watch::channel(false);
    let begin = tokio::time::Instant::now();
    let talking = connection::talk(TokioIo::new(server), PEER, served(app()), stopping);
    let stop_after_an_answer = async {
        client.write_all(b"GET /who HTTP/1.1\r\nHost: localhost\r\n\r\n").await.unwrap();
        assert!(client.read(&mut [0; 1_000]).await.unwrap() > 0);
        told.send_replace(true);
    };
    let ((), ()) = tokio::join!(talking, stop_after_an_answer);
    assert_eq!(begin.elapsed(), Duration::ZERO, "it ended by itself, not by a timeout");
}

#[tokio::test(start_paused = true)]
async fn headers_have_a_bound() {
    let request = format!("GET /who HTTP/1.1\r\nHost: localhost\r\nX: {}\r\n\r\n", "x".repeat(100_000));
    let answer = silent_after(request.as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 431"), "{answer}");
}

/// The clock is virtual: it jumps when nothing else can happen.
#[tokio::test(start_paused = true)]
async fn a_connection_that_sends_nothing_ends_and_makes_room() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (stop, stopped) = oneshot::channel::<()>();
    let mut served = served(app());
    served.bounds.connections = 2;
    let server = tokio::spawn(plain(listener, served, async { drop(stopped.await) }));
    let mut silent = Vec::new();
    for _ in 0..6 {
        silent.push(TcpStream::connect(address).await.unwrap());
    }
    let begin = tokio::time::Instant::now();
    let answer = ask(TcpStream::connect(address).await.unwrap(), REQUEST).await;
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    assert!(begin.elapsed() >= connection::FIRST_BYTE_TIMEOUT, "it had to wait for the others");
    assert_eq!(silent[0].read(&mut [0; 8]).await.unwrap(), 0, "the first of them was closed");
    stop.send(()).unwrap();
    server.await.unwrap();
}

#[test]
fn connections_stay_below_the_limit_of_descriptors() {
    let of = |connections, descriptors| {
        let limits = Limits { connections, ..Limits::default() };
        Bounds::new(&limits, Duration::ZERO, descriptors).connections
    };
    assert_eq!(of(100, None), 100);
    assert_eq!(of(4_096, Some(1_024)), 512);
    assert_eq!(of(4_096, Some(100_000)), 4_096);
    assert_eq!(of(10, Some(2)), 1);
}
