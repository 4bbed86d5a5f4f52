//! Mutual TLS: a receiver with a certificate of its own authority, which accepts only known
//! clients.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::path::Path;
use std::sync::Arc;

use flowmeter_engine::outbox::Answer;
use rcgen::{CertifiedKey, KeyPair, generate_simple_self_signed};
use rustls::crypto::ring;
use rustls::pki_types::PrivateKeyDer;
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig, ServerConnection, StreamOwned};
use serde_json::Value;

use super::contract::{send, target};

fn certificate(name: &str) -> CertifiedKey<KeyPair> {
    generate_simple_self_signed([name.to_owned()]).unwrap()
}

/// Answers 200 to a client with the certificate of `friend`.
fn receiver(own: &CertifiedKey<KeyPair>, friend: &CertifiedKey<KeyPair>) -> u16 {
    let provider = Arc::new(ring::default_provider());
    let mut friends = RootCertStore::empty();
    friends.add(friend.cert.der().clone()).unwrap();
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(friends), Arc::clone(&provider)).build().unwrap();
    let key = PrivateKeyDer::try_from(own.signing_key.serialize_der()).unwrap();
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_client_cert_verifier(verifier)
        .with_single_cert(vec![own.cert.der().clone()], key)
        .unwrap();
    let (config, listener) = (Arc::new(config), TcpListener::bind("127.0.0.1:0").unwrap());
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let mut tls = StreamOwned::new(ServerConnection::new(Arc::clone(&config)).unwrap(), stream);
            let mut bytes = [0; 16 << 10];
            // A client that is not accepted gets an error from TLS.
            if tls.read(&mut bytes).is_ok_and(|read| read > 0) {
                drop(tls.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"));
                drop(tls.flush());
            }
        }
    });
    port
}

#[test]
fn only_who_is_known_is_let_in_and_only_who_is_trusted_is_told() {
    let (own, friend, stranger) = (certificate("localhost"), certificate("friend"), certificate("stranger"));
    let port = receiver(&own, &friend);
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, text: String| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        format!("${{file:{}}}", path.display())
    };
    let post = |ca: &CertifiedKey<KeyPair>, me: Option<&CertifiedKey<KeyPair>>| {
        let mut tls = format!("ca: '{}'", file("ca.pem", ca.cert.pem()));
        if let Some(me) = me {
            let (certificate, key) = (file("me.pem", me.cert.pem()), file("me.key", me.signing_key.serialize_pem()));
            tls = format!("{tls}, certificate: '{certificate}', key: '{key}'");
        }
        let yaml = format!("  - webhook: {{ url: 'https://localhost:{port}/u', timeout: 5s, tls: {{ {tls} }} }}");
        send(target(&yaml, Path::new("."), &Value::Null).as_mut(), 0..1).pop().unwrap()
    };
    assert_eq!(post(&own, Some(&friend)), Answer::Accepted);
    for (what, answer) in [
        ("an unknown certificate", post(&own, Some(&stranger))),
        ("no certificate", post(&own, None)),
        ("a receiver that is not trusted", post(&stranger, Some(&friend))),
    ] {
        assert!(matches!(answer, Answer::Unavailable { .. } | Answer::InDoubt(_)), "{what}: {answer:?}");
    }
}
