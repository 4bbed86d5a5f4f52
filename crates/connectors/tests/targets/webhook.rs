//! Webhooks, at a receiver with configured responses.

use std::collections::BTreeMap;

use flowmeter_engine::outbox::Answer;
use serde_json::Value;

use super::contract::{held, keeps_to_it, record, send, target};
use super::support::receiver::{Receiver, Reply};

fn open(receiver: &Receiver, more: &str) -> Box<dyn flowmeter_engine::outbox::Target> {
    let yaml = format!("  - webhook:\n      url: {}\n      timeout: 2s\n{more}", receiver.url("/usage"));
    target(&yaml, std::path::Path::new("."), &Value::Null)
}

#[test]
fn a_webhook_keeps_to_the_contract() {
    for read_back in [String::new(), "      readBack: { url: 'URL/{{meterMetaData.recordId}}', isRecord: true }\n".to_owned()] {
        let receiver = Receiver::start();
        let more = read_back.replace("URL", &receiver.url("/usage"));
        let lose = || receiver.lose("10000000-0000-4000-8000-000000000001");
        let lose: Option<&dyn Fn()> = if more.is_empty() { None } else { Some(&lose) };
        keeps_to_it(&|_: &Value| open(&receiver, &more), lose, &|| receiver.taken().len());
    }
}

#[test]
fn a_record_arrives_byte_for_byte_under_its_key_in_the_order_of_its_meter() {
    let receiver = Receiver::start();
    let mut target = open(&receiver, "      headers: { x-tenant: acme }\n      auth: { basic: { user: u, password: p } }\n");
    assert_eq!(send(target.as_mut(), 0..30), vec![Answer::Accepted; 30]);
    let expected: BTreeMap<String, Vec<u8>> =
        (0..30).map(|n| (format!("10000000-0000-4000-8000-{n:012}"), record(n % 3, n).into_bytes())).collect();
    assert_eq!(receiver.taken(), expected);
    let numbers: Vec<u64> = receiver.order().iter().map(|key| key[24..].parse().unwrap()).collect();
    for meter in 0..3 {
        assert!(numbers.iter().filter(|number| **number % 3 == meter).is_sorted(), "{numbers:?}");
    }
    let request = &receiver.requests()[0];
    assert_eq!(request.headers["x-tenant"], "acme");
    assert_eq!(request.headers["authorization"], "Basic dTpw");
    assert_eq!(request.headers["content-type"], "application/json");
}

#[test]
fn answers_mean_what_they_should() {
    let one = |reply: Reply| {
        let receiver = Receiver::start();
        let mut target = open(&receiver, "      accepted: [{ status: 409, contains: duplicate }]\n");
        receiver.reply(&[reply]);
        send(target.as_mut(), 0..1).pop().unwrap()
    };
    let status = |status, body| one(Reply::Status(status, body, &[]));
    assert_eq!(one(Reply::Taken), Answer::Accepted);
    assert_eq!(status(204, ""), Answer::Accepted);
    assert_eq!(status(400, "no such account"), Answer::Refused("400: no such account".to_owned()));
    assert_eq!(status(422, ""), Answer::Refused("422".to_owned()));
    assert_eq!(status(409, "it is a duplicate"), Answer::Accepted);
    assert!(matches!(status(409, "busy"), Answer::Later(_)));
    assert!(matches!(status(500, "oops"), Answer::InDoubt(_)));
    for away in [301, 401, 403, 404, 503] {
        assert!(matches!(status(away, ""), Answer::Unavailable { after: None, .. }), "{away}");
    }
    let busy = one(Reply::Status(429, "slow down", &[("retry-after", "7")]));
    assert_eq!(busy, Answer::Unavailable { why: "429: slow down".to_owned(), after: Some(7_000_000_000) });
    assert!(matches!(one(Reply::TakenInSilence), Answer::InDoubt(_)));
    assert_eq!(one(Reply::BrokenOff), Answer::Accepted);
    // No receiver listens there.
    let mut target = target("  - webhook: { url: 'http://127.0.0.1:9' }", std::path::Path::new("."), &Value::Null);
    assert!(matches!(send(target.as_mut(), 0..1)[..], [Answer::Unavailable { .. }]));
}

#[test]
fn requests_of_many_records_are_lists_and_a_refused_one_is_found() {
    let receiver = Receiver::start();
    let mut target =
        open(&receiver, "      batch: 4\n      parallel: 1\n      body: { user: '{{userId}}', amount: '{{value}}', fixed: 1 }\n");
    receiver.reply(&[
        Reply::Status(400, "one of them", &[]),
        Reply::Taken,
        Reply::Status(400, "this one", &[]),
        Reply::Taken,
        Reply::Taken,
    ]);
    let answers = send(target.as_mut(), 0..6);
    let refused = Answer::Refused("400: this one".to_owned());
    assert_eq!(answers[1], refused);
    assert_eq!(answers.iter().filter(|answer| **answer == Answer::Accepted).count(), 5);
    let bodies: Vec<String> = receiver.requests().iter().map(super::support::receiver::Request::text).collect();
    let expected = r#"{"user":"user0@example.com","amount":12345678901234567890.123456789012345678,"fixed":1}"#;
    assert_eq!(bodies[1], format!("[{expected}]"));
    assert_eq!(bodies.len(), 6, "four together, four one by one, two together");
    assert_eq!(serde_json::from_str::<Vec<Value>>(&bodies[5]).unwrap().len(), 2);
}

#[test]
fn behind_one_that_does_not_go_its_meter_waits() {
    let receiver = Receiver::start();
    let mut target = open(&receiver, "      parallel: 1\n");
    receiver.reply(&[Reply::Status(500, "", &[])]);
    let answers = send(target.as_mut(), 0..6);
    assert!(matches!(answers[0], Answer::InDoubt(_)));
    assert_eq!(answers[3], Answer::NotTried, "it is of the same meter");
    assert_eq!([&answers[1], &answers[2], &answers[4], &answers[5]], [&Answer::Accepted; 4]);
}

#[test]
fn requests_are_signed_and_tokens_are_got_and_got_again() {
    let receiver = Receiver::start();
    receiver.answer("/token", 200, r#"{"access_token":"t1","expires_in":3600}"#);
    let more = format!(
        "      auth: {{ oauth2: {{ tokenUrl: '{}', clientId: me, clientSecret: s, scope: usage }} }}\n      signingSecrets: [whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw]\n",
        receiver.url("/token")
    );
    let mut target = open(&receiver, &more);
    assert_eq!(send(target.as_mut(), 0..2), vec![Answer::Accepted; 2]);
    let requests = receiver.requests();
    assert_eq!(requests[0].text(), "grant_type=client_credentials&client_id=me&client_secret=s&scope=usage");
    assert_eq!(requests.iter().filter(|request| request.path == "/token").count(), 1);
    let sent = &requests[1];
    assert_eq!(sent.headers["authorization"], "Bearer t1");
    let signer = flowmeter_connectors::signature::Signer::new("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
    let at = flowmeter_core::time::Timestamp::parse_rfc3339(b"2026-02-03T00:00:00Z").unwrap();
    assert_eq!(sent.headers["webhook-signature"], signer.sign(&sent.headers["webhook-id"], at, &sent.body));
    assert_eq!(sent.headers["webhook-id"], sent.headers["idempotency-key"]);
    // A refused token is renewed.
    receiver.reply(&[Reply::Status(401, "", &[])]);
    assert!(matches!(send(target.as_mut(), 2..3)[..], [Answer::Unavailable { .. }]));
    receiver.answer("/token", 200, r#"{"access_token":"t2"}"#);
    assert_eq!(send(target.as_mut(), 2..3), vec![Answer::Accepted]);
    assert_eq!(receiver.requests().last().unwrap().headers["authorization"], "Bearer t2");
}

#[test]
fn headers_may_be_secrets_and_go_with_questions_too() {
    let receiver = Receiver::start();
    let folder = tempfile::tempdir().unwrap();
    let secret = folder.path().join("key");
    std::fs::write(&secret, "s3cret\n").unwrap();
    let more = format!(
        "      headers: {{ x-api-key: '${{file:{}}}' }}\n      readBack: {{ url: '{}/{{{{meterMetaData.recordId}}}}' }}\n",
        secret.display(),
        receiver.url("/usage")
    );
    let mut target = open(&receiver, &more);
    assert_eq!(send(target.as_mut(), 0..1), vec![Answer::Accepted]);
    assert!(held(target.as_mut(), 0..1).is_some());
    let requests = receiver.requests();
    assert_eq!(requests.len(), 2);
    assert!(requests.iter().all(|request| request.headers["x-api-key"] == "s3cret"), "{requests:?}");
}

#[test]
fn a_receiver_that_cannot_be_asked_is_not_asked() {
    let receiver = Receiver::start();
    assert_eq!(held(open(&receiver, "").as_mut(), 0..2), None);
}

#[test]
fn an_answer_without_end_is_read_up_to_its_bound() {
    let one = |reply: Reply| {
        let receiver = Receiver::start();
        receiver.reply(&[reply]);
        let mut target = open(&receiver, "");
        send(target.as_mut(), 0..1).pop().unwrap()
    };
    // The status decides about the record.
    assert_eq!(one(Reply::Endless(200)), Answer::Accepted);
    let Answer::Refused(why) = one(Reply::Endless(400)) else { panic!("a refusal") };
    assert!(why.ends_with("more than 1048576 bytes, which is the bound; the rest was not read)"), "{why}");
    assert!(why.len() < 5000, "{}", why.len());
    assert!(matches!(one(Reply::EndlessHead), Answer::InDoubt(_)));
}

#[test]
fn tokens_and_questions_without_an_end_are_errors_that_name_the_bound() {
    let receiver = Receiver::start();
    receiver.answer_without_end("/token");
    receiver.answer_without_end("/asked");
    let read_back =
        format!("      readBack: {{ url: '{}/{{{{meterMetaData.recordId}}}}', isRecord: true }}\n", receiver.url("/asked"));
    let mut target = open(&receiver, &read_back);
    assert_eq!(send(target.as_mut(), 0..1), [Answer::Accepted]);
    let record = record(0, 0);
    let outgoing = flowmeter_engine::outbox::Outgoing { number: 0, json: record.as_bytes() };
    let why = target.read_back(&[outgoing]).unwrap_err().to_string();
    assert!(why.contains("more than 33554432 bytes, which is the bound"), "{why}");
    let auth = "      auth: { oauth2: { tokenUrl: 'URL', clientId: me, clientSecret: s } }\n";
    let mut target = open(&receiver, &auth.replace("URL", &receiver.url("/token")));
    let answers = send(target.as_mut(), 0..1);
    let [Answer::Unavailable { why, .. }] = &answers[..] else { panic!("{answers:?}") };
    assert!(why.starts_with("getting a token: ") && why.contains("more than 1048576 bytes"), "{why}");
}
