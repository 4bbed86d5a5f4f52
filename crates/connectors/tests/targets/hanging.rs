//! Targets that accept a connection and never answer.

use std::net::TcpListener;
use std::path::Path;

use flowmeter_connectors::Abandon;
use flowmeter_engine::outbox::Answer;
use serde_json::Value;

use super::contract::{send, with_switch};
use super::support::receiver::{Receiver, Reply};

/// Sends until the switch is asked, which is once `arrived` says that a request hangs.
fn abandoned(yaml: &str, arrived: impl FnOnce() + Send + 'static) -> Vec<Answer> {
    let abandon = Abandon::default();
    let mut target = with_switch(yaml, Path::new("."), &Value::Null, &abandon);
    let asking = std::thread::spawn(move || {
        arrived();
        abandon.ask();
    });
    let answers = send(target.as_mut(), 0..3);
    asking.join().unwrap();
    // Nothing is asked of it any more.
    assert!(!send(target.as_mut(), 3..4).contains(&Answer::Accepted));
    answers
}

#[test]
fn a_request_that_is_given_up_leaves_its_record_in_doubt_and_the_rest_untried() {
    let receiver = Receiver::start();
    let hangs = receiver.hangs();
    receiver.reply(&[Reply::Taken, Reply::Hung]);
    let yaml = format!("  - webhook: {{ url: '{}', timeout: 10m, parallel: 1 }}", receiver.url("/usage"));
    let answers = abandoned(&yaml, move || hangs.recv().unwrap());
    let [Answer::Accepted, Answer::InDoubt(why), Answer::NotTried] = &answers[..] else { panic!("{answers:?}") };
    assert!(why.contains("given up"), "{why}");
    assert_eq!(receiver.requests().len(), 2);
}

#[test]
fn tokens_and_databases_and_stores_that_hang_are_given_up() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = silent.local_addr().unwrap().port();
    for yaml in [
        format!(
            "  - webhook: {{ url: 'http://127.0.0.1:9', timeout: 10m, auth: {{ oauth2: {{ tokenUrl: 'http://127.0.0.1:{port}/', clientId: a, clientSecret: b }} }} }}"
        ),
        format!("  - postgres: {{ url: 'postgres://me@127.0.0.1:{port}/db?connect_timeout=600' }}"),
        format!(
            "  - objectStorage: {{ url: 's3://b', path: '{{window}}.ndjson', options: {{ endpoint: 'http://127.0.0.1:{port}', region: r, access_key_id: a, secret_access_key: b, allow_http: 'true' }} }}"
        ),
    ] {
        let listening = silent.try_clone().unwrap();
        let answers = abandoned(&yaml, move || std::mem::forget(listening.accept().unwrap()));
        let [Answer::Unavailable { why, .. }, ..] = &answers[..] else { panic!("{yaml}: {answers:?}") };
        assert!(why.contains("given up"), "{yaml}: {why}");
    }
}
