//! A server with few descriptors: connections never take those that files need.

#[path = "../support/http.rs"]
#[allow(dead_code, unreachable_pub)]
mod http;

use std::net::TcpStream;

use serde_json::{Value, json};

use crate::support::server::{Server, event};
use http::Client;

/// Half of them are for connections.
const DESCRIPTORS: u64 = 128;
/// More connections than there are descriptors.
const IDLE: u64 = 200;

#[test]
fn idle_connections_take_no_descriptor_from_the_log() {
    let folder = tempfile::tempdir().unwrap();
    let more = ["--set", "log.segment_bytes=1MiB"];
    let server = Server::start_with_descriptors(folder.path(), &more, DESCRIPTORS);
    let address = server.url.trim_start_matches("http://");
    // A connection that is kept alive: it has its place before the others come.
    let mut client = Client::connect(address).unwrap();
    let get = |client: &mut Client, path: &str| -> Value {
        let answer = client.get(path).unwrap();
        assert_eq!(answer.status, 200, "{path}: {}", String::from_utf8_lossy(&answer.body));
        serde_json::from_slice(&answer.body).unwrap()
    };
    get(&mut client, "/health/ready");
    let idle: Vec<TcpStream> = (0..IDLE).map(|_| TcpStream::connect(address).unwrap()).collect();
    // Enough for several segments: each needs a descriptor of its own.
    let segments = || std::fs::read_dir(folder.path().join("log")).unwrap().count();
    let mut sent = 0_u64;
    while segments() < 4 {
        let noise = |nth: u64| format!("{:032x}", u128::from(nth + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835));
        let one = |nth: u64| {
            let mut event = event(&format!("e{nth}"), "anna", json!(1));
            event["data"]["noise"] = json!((0..16).map(|part| noise(nth * 16 + part)).collect::<String>());
            format!("{event}\n")
        };
        let batch: String = (sent..sent + 500).map(one).collect();
        let answer = client.post("/api/v1/events?wait=counted", "application/x-ndjson", batch.as_bytes()).unwrap();
        assert_eq!(answer.status, 200, "{}", String::from_utf8_lossy(&answer.body));
        sent += 500;
    }
    let sessions = get(&mut client, "/api/v1/sessions");
    assert_eq!(sessions["items"][0]["sessionStatus"], "RUNNING", "{sessions}");
    assert_eq!(get(&mut client, "/health/ready")["status"], "ready");
    let meters = get(&mut client, "/api/v1/meters?userId=anna&meterType=Events");
    assert_eq!(meters["items"][0]["value"], sent);
    drop(idle);
}
