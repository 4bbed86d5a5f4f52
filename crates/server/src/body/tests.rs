//! Bodies come whole, or are refused for the right reason.

use std::io::Write;
use std::time::Duration;

use axum::body::Body;
use axum::http::{HeaderMap, HeaderValue, header};
use bytes::Bytes;
use flowmeter_node::settings::Limits;
use http_body_util::{BodyExt, Channel};
use proptest::prelude::*;

use super::read;
use crate::problem::{Code, Problem};

fn gzip(text: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(text).unwrap();
    encoder.finish().unwrap()
}

fn zstd(text: &[u8]) -> Vec<u8> {
    zstd::encode_all(text, 1).unwrap()
}

fn headers(encoding: &'static str) -> HeaderMap {
    let mut headers = HeaderMap::new();
    if !encoding.is_empty() {
        headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static(encoding));
    }
    headers
}

fn limits() -> Limits {
    Limits { body_bytes_max: 4 << 20, decompressed_bytes_max: 8 << 20, ..Limits::default() }
}

/// Sends the bytes in frames of seven bytes, and at once: both must give the same.
async fn outcome(encoding: &'static str, bytes: &[u8]) -> Result<Vec<u8>, Code> {
    let whole = read(&headers(encoding), Body::from(bytes.to_vec()), &limits()).await.map_err(|problem| problem.code);
    if bytes.len() < 100_000 {
        let (mut sender, body) = Channel::<Bytes, Problem>::new(4);
        let frames: Vec<Bytes> = bytes.chunks(7).map(Bytes::copy_from_slice).collect();
        let sending = async move {
            for frame in frames {
                if sender.send_data(frame).await.is_err() {
                    break;
                }
            }
        };
        let limits = limits();
        let headers = headers(encoding);
        let (torn, ()) = tokio::join!(read(&headers, Body::new(body), &limits), sending);
        assert_eq!(torn.map_err(|problem| problem.code), whole, "{encoding}, in frames");
    }
    whole
}

#[tokio::test]
async fn bodies_come_whole() {
    let text: Vec<u8> =
        (0..9_000u32).flat_map(|n| format!("{{\"id\":\"{}\"}}\n", n.wrapping_mul(2_654_435_761)).into_bytes()).collect();
    let two = |encode: fn(&[u8]) -> Vec<u8>| [encode(&text[..1_000]), encode(&text[1_000..])].concat();
    let cases = [
        ("", text.clone()),
        ("identity", text.clone()),
        ("gzip", gzip(&text)),
        ("X-GZIP", gzip(&text)),
        ("zstd", zstd(&text)),
        ("gzip", two(gzip)),
        ("zstd", two(zstd)),
    ];
    for (encoding, bytes) in cases {
        assert!(outcome(encoding, &bytes).await.as_ref() == Ok(&text), "{encoding}");
    }
    for (encoding, bytes) in [("", Vec::new()), ("gzip", gzip(b"")), ("zstd", zstd(b""))] {
        assert_eq!(outcome(encoding, &bytes).await, Ok(Vec::new()), "{encoding}, nothing");
    }
}

#[tokio::test]
async fn bodies_that_are_refused() {
    let text = b"{\"id\":1}".repeat(100);
    let cut = |bytes: Vec<u8>| bytes[..bytes.len() - 3].to_vec();
    let garbage = |bytes: Vec<u8>| [bytes, b"garbage".to_vec()].concat();
    let mut flipped = gzip(&text);
    let middle = flipped.len() - 6;
    flipped[middle] ^= 1;
    let cases = [
        ("br", text.clone(), Code::UnsupportedEncoding),
        ("gzip, zstd", text.clone(), Code::UnsupportedEncoding),
        ("gzip", text.clone(), Code::BadEncoding),
        ("zstd", text.clone(), Code::BadEncoding),
        ("gzip", Vec::new(), Code::BadEncoding),
        ("zstd", Vec::new(), Code::BadEncoding),
        ("gzip", cut(gzip(&text)), Code::BadEncoding),
        ("zstd", cut(zstd(&text)), Code::BadEncoding),
        ("gzip", garbage(gzip(&text)), Code::BadEncoding),
        ("zstd", garbage(zstd(&text)), Code::BadEncoding),
        ("gzip", flipped, Code::BadEncoding),
        // As sent, then decompressed, then by ratio.
        ("", vec![0; (4 << 20) + 1], Code::TooLarge),
        ("gzip", gzip(&vec![b'a'; 9 << 20]), Code::TooLarge),
        ("zstd", zstd(&vec![b'a'; 9 << 20]), Code::TooLarge),
        ("gzip", gzip(&vec![b'a'; 2 << 20]), Code::TooLarge),
        ("zstd", zstd(&vec![b'a'; 2 << 20]), Code::TooLarge),
    ];
    for (at, (encoding, bytes, expected)) in cases.into_iter().enumerate() {
        assert_eq!(outcome(encoding, &bytes).await.err(), Some(expected), "case {at}, {encoding}");
    }
}

#[tokio::test]
async fn short_bodies_may_grow_a_lot() {
    let same = vec![b'a'; 1 << 20];
    for (encoding, bytes) in [("gzip", gzip(&same)), ("zstd", zstd(&same))] {
        assert_eq!(outcome(encoding, &bytes).await.map(|body| body.len()), Ok(1 << 20), "{encoding}");
    }
}

#[tokio::test]
async fn a_window_larger_than_the_standard_is_refused() {
    let mut encoder = zstd::Encoder::new(Vec::new(), 1).unwrap();
    encoder.window_log(27).unwrap();
    encoder.write_all(&[7; 100]).unwrap();
    let bytes = encoder.finish().unwrap();
    assert_eq!(outcome("zstd", &bytes).await.err(), Some(Code::BadEncoding));
}

#[tokio::test(start_paused = true)]
async fn a_sender_that_stops_is_cut_off() {
    let (mut sender, body) = Channel::<Bytes, Problem>::new(4);
    sender.send_data(Bytes::from_static(b"{")).await.unwrap();
    let limits = Limits { body_idle: Duration::from_secs(3), ..limits() };
    let problem = read(&headers(""), Body::new(body), &limits).await.unwrap_err();
    assert_eq!(problem.code, Code::Timeout);
    drop(sender);
}

#[tokio::test(start_paused = true)]
async fn a_sender_that_drips_is_cut_off() {
    let (mut sender, body) = Channel::<Bytes, Problem>::new(1);
    let limits = Limits { body_idle: Duration::from_secs(3), body_timeout: Duration::from_secs(10), ..limits() };
    let mut dripping = tokio::time::interval(Duration::from_secs(2));
    let drip = async {
        loop {
            dripping.tick().await;
            if sender.send_data(Bytes::from_static(b"1")).await.is_err() {
                return;
            }
        }
    };
    let headers = headers("");
    let (answer, ()) = tokio::join!(read(&headers, Body::new(body), &limits), drip);
    let problem = answer.unwrap_err();
    assert!(problem.code == Code::Timeout && problem.detail.contains("limits.body_timeout"), "{problem}");
}

/// A body that is cut off behind a block which damage made the last one, and an empty one.
#[tokio::test]
async fn a_frame_of_zstd_that_gives_less_than_it_declares_is_refused() {
    let mut bytes = zstd(&b"{\"id\":1}".repeat(200));
    bytes[7] = 1;
    bytes.truncate(10);
    assert_eq!(outcome("zstd", &bytes).await, Err(Code::BadEncoding));
}

proptest! {
    /// Whatever comes, the answer is a body or a problem.
    #[test]
    fn damage_is_never_worse_than_refused(
        name in prop::sample::select(vec!["gzip", "zstd"]),
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
        length in any::<prop::sample::Index>(),
    ) {
        let text = b"{\"id\":1}".repeat(200);
        let mut bytes = if name == "gzip" { gzip(&text) } else { zstd(&text) };
        for (at, byte) in damage {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        bytes.truncate(length.index(bytes.len()) + 1);
        let _ = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(outcome(name, &bytes));
    }
}

#[tokio::test]
async fn a_promise_too_large_is_refused_unread() {
    struct Promise;
    impl http_body::Body for Promise {
        type Data = Bytes;
        type Error = Problem;

        fn poll_frame(
            self: std::pin::Pin<&mut Self>,
            _: &mut std::task::Context<'_>,
        ) -> std::task::Poll<Option<Result<http_body::Frame<Bytes>, Problem>>> {
            panic!("it was read")
        }

        fn size_hint(&self) -> http_body::SizeHint {
            http_body::SizeHint::with_exact(1 << 40)
        }
    }
    let problem = read(&headers(""), Body::new(Promise.boxed_unsync()), &limits()).await.unwrap_err();
    assert_eq!(problem.code, Code::TooLarge);
}
