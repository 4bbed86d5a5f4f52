//! Access to a server without keys.

use axum::http::header::ORIGIN;
use axum::http::{HeaderMap, HeaderValue, Uri};
use flowmeter_node::settings::is_loopback;

use super::check;
use crate::security_headers::Transport;

#[test]
fn hosts_and_origins() {
    let cases = [
        ("localhost", "", true),
        ("LocalHost:8888", "", true),
        ("127.0.0.1:8888", "http://127.0.0.1:8888", true),
        ("127.1.2.3:8888", "http://127.1.2.3:8888", true),
        ("localhost", "http://localhost", true),
        ("localhost:80", "http://localhost", true),
        ("LOCALHOST:8888", "http://localhost:8888", true),
        // Other programs of this machine.
        ("127.0.0.1:8888", "http://127.0.0.1:5173", false),
        ("127.0.0.1:8888", "http://127.0.0.1", false),
        ("127.0.0.1:8888", "http://localhost:8888", false),
        ("127.0.0.1:8888", "https://127.0.0.1:8888", false),
        ("127.0.0.1:8888", "http://127.0.0.1:8888.evil.example", false),
        ("127.0.0.1:8888", "127.0.0.1:8888", false),
        ("", "http://127.0.0.1:8888", false),
        ("[::1]:8888", "http://[::1]:8888", true),
        ("[::ffff:127.0.0.1]", "", true),
        ("", "", true),
        ("evil.example:8888", "", false),
        ("localhost.evil.example", "", false),
        ("127.0.0.1.evil.example", "", false),
        ("10.0.0.7", "", false),
        ("localhost:80:80", "", false),
        ("localhost:8888", "https://evil.example", false),
        ("localhost:8888", "null", false),
    ];
    for (host, origin, expected) in cases {
        let mut headers = HeaderMap::new();
        for (name, value) in [("host", host), ("origin", origin)] {
            if !value.is_empty() {
                headers.insert(name, HeaderValue::from_static(value));
            }
        }
        assert_eq!(check(&headers, &Uri::from_static("/"), Transport::Plain).is_ok(), expected, "{host:?} {origin:?}");
    }
    let named = Uri::from_static("http://evil.example/api");
    let over = |uri: &Uri, origin, transport| {
        let headers = HeaderMap::from_iter([(ORIGIN, HeaderValue::from_static(origin))]);
        check(&headers, uri, transport).is_ok()
    };
    assert!(!over(&named, "http://evil.example", Transport::Plain), "HTTP/2 names the host in the address");
    let own = Uri::from_static("https://localhost:8443/api");
    assert!(over(&own, "https://localhost:8443", Transport::Tls));
    assert!(!over(&own, "http://localhost:8443", Transport::Tls));
}

#[test]
fn addresses() {
    let cases = [
        ("127.0.0.1:1", true),
        ("127.9.9.9:1", true),
        ("[::1]:1", true),
        ("[::ffff:127.0.0.1]:1", true),
        ("0.0.0.0:1", false),
        ("[::]:1", false),
        ("192.168.1.2:1", false),
    ];
    for (address, expected) in cases {
        assert_eq!(is_loopback(address.parse().unwrap()), expected, "{address}");
    }
}
