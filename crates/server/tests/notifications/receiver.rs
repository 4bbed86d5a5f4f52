//! The receiver of `docs/notifications.md`, word for word, so that it compiles and does what
//! the page says.

use flowmeter_core::time::Timestamp;

use super::support::{Hands, Receiver, SECRET, Server, here, secret, stream_document};

// The page begins here.
use data_encoding::BASE64;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

/// `now` and the timestamp are seconds since 1970.
fn verify(secret: &str, id: &str, timestamp: &str, signatures: &str, body: &[u8], now: i64) -> bool {
    let is_fresh = timestamp.parse::<i64>().is_ok_and(|at| (now - at).abs() <= 300);
    let Ok(key) = BASE64.decode(secret.trim_start_matches("whsec_").as_bytes()) else { return false };
    // With an empty secret anybody could sign.
    is_fresh
        && key.len() >= 24
        && signatures.split(' ').filter_map(|one| one.strip_prefix("v1,")).any(|given| {
            let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(&key) else { return false };
            mac.update(format!("{id}.{timestamp}.").as_bytes());
            mac.update(body);
            BASE64.decode(given.as_bytes()).is_ok_and(|given| mac.verify_slice(&given).is_ok())
        })
}
// The page ends here.

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_receiver_of_the_page_tells_what_is_ours() {
    let page = include_str!("../../../../docs/notifications.md");
    let (_, here_on) = include_str!("receiver.rs").split_once("// The page begins here.\n").unwrap();
    let (code, _) = here_on.split_once("// The page ends here.\n").unwrap();
    assert!(page.contains(&format!("```rust\n{code}```")), "docs/notifications.md has another receiver than this file");

    let folder = tempfile::tempdir().unwrap();
    let mut receiver = Receiver::start().await;
    let server = Server::start(here(&folder.path().join("data")), Hands::new()).await;
    let secrets = [secret(folder.path(), "secret", SECRET)];
    let channel = serde_json::json!({"type": "webhook", "url": format!("http://{}/", receiver.address), "secrets": secrets});
    let notification = serde_json::json!({"name": "n", "eventType": "meter.session.status", "channels": [channel]});
    server.made("/api/v1/notifications", &notification).await;
    let (status, _) = server.call("POST", "/api/v1/pipelines", &stream_document("p", 1)).await;
    assert_eq!(status, 201);
    server.made("/api/v1/pipelines/p/run", &serde_json::json!({})).await;
    let got = receiver.next().await;
    server.stop().await;
    let now = Timestamp::parse_rfc3339(b"2023-07-01T12:00:00Z").unwrap().nanos() / 1_000_000_000;
    let (id, at, signatures) = (got.header("webhook-id"), got.header("webhook-timestamp"), got.header("webhook-signature"));
    let secret = SECRET.trim_start_matches("whsec_");
    assert!(verify(secret, id, at, signatures, &got.body, now));
    let other = [&got.body[..], b" "].concat();
    assert!(!verify(secret, id, at, signatures, &other, now), "another body");
    assert!(!verify(secret, "msg_1", at, signatures, &got.body, now), "another id");
    assert!(!verify(secret, id, at, signatures, &got.body, now + 301), "too old");
}
