//! Billers: the form of their records, the handling of repetitions, and checks before sending.

use flowmeter_engine::outbox::{Answer, Held, Outgoing, Repeat, Span, Target};
use serde_json::Value;

use super::contract::{held, record, send, target};
use super::support::receiver::{Receiver, Reply};

fn open(yaml: &str) -> Box<dyn Target> {
    target(yaml, std::path::Path::new("."), &Value::Null)
}

fn one(target: &mut dyn Target, json: &str) -> Answer {
    let records = [Outgoing { number: 0, json: json.as_bytes() }];
    target.send(Span { first: 0, until: 1 }, &records).pop().unwrap()
}

#[test]
fn stripe_gets_meter_events() {
    let receiver = Receiver::start();
    let mut target = open(&format!(
        "  - stripe: {{ url: '{}', secretKey: sk_test, eventName: tokens, scale: 100, customer: '{{{{userId}}}}' }}",
        receiver.url("")
    ));
    let whole = record(1, 1).replace("12345678901234567890.123456789012345678", "12.5");
    assert_eq!(one(target.as_mut(), &whole), Answer::Accepted);
    let request = receiver.requests().pop().unwrap();
    assert_eq!((request.method.as_str(), request.path.as_str()), ("POST", "/v1/billing/meter_events"));
    assert_eq!(request.headers["authorization"], "Bearer sk_test");
    assert_eq!(
        request.text(),
        "event_name=tokens&identifier=10000000-0000-4000-8000-000000000001&timestamp=1769903999&payload%5Bstripe_customer_id%5D=user1%40example.com&payload%5Bvalue%5D=1250"
    );
    // A revision sends its delta.
    let revised = whole.replace(r#""eventCount""#, r#""delta":-2,"eventCount""#);
    assert_eq!(one(target.as_mut(), &revised), Answer::Accepted);
    assert!(receiver.requests().pop().unwrap().text().ends_with("value%5D=-200"));
    // Values that Stripe would refuse are reported before sending, with a remedy.
    let refused = |answer| match answer {
        Answer::Refused(why) => why,
        other => panic!("{other:?}"),
    };
    let count = receiver.requests().len();
    assert!(refused(one(target.as_mut(), &whole.replace("12.5", "0.001"))).contains("raise `scale`"));
    let old = whole.replace("2026-02-01T", "2025-12-01T");
    assert!(refused(one(target.as_mut(), &old)).contains("35 days"));
    let ahead = whole.replace("\"periodEnd\":\"2026-02-01T", "\"periodEnd\":\"2026-03-01T");
    assert!(refused(one(target.as_mut(), &ahead)).contains("not ended"));
    assert_eq!(receiver.requests().len(), count);
    // An identifier that Stripe already has.
    receiver.reply(&[Reply::Status(400, r#"{"error":{"message":"An event already exists with identifier x"}}"#, &[])]);
    assert_eq!(one(target.as_mut(), &whole), Answer::Accepted);
    assert!(matches!(target.repeat(), Repeat::HarmlessFor(_)));
}

#[test]
fn lago_gets_events_and_is_asked_for_them() {
    let receiver = Receiver::start();
    let mut target = open(&format!("  - lago: {{ url: '{}', apiKey: k, code: tokens }}", receiver.url("")));
    let whole = record(1, 1);
    assert_eq!(one(target.as_mut(), &whole), Answer::Accepted);
    let request = receiver.requests().pop().unwrap();
    assert_eq!(request.path, "/api/v1/events");
    assert_eq!(
        request.text(),
        r#"{"event":{"transaction_id":"10000000-0000-4000-8000-000000000001","external_subscription_id":"user1@example.com","code":"tokens","timestamp":1769903999,"properties":{"value":12345678901234567890.123456789012345678}}}"#
    );
    receiver.reply(&[Reply::Status(422, r#"{"error_details":{"transaction_id":["value_already_exist"]}}"#, &[])]);
    assert_eq!(one(target.as_mut(), &whole), Answer::Accepted);
    assert_eq!(held(target.as_mut(), 1..3), Some(vec![Held::Same, Held::Missing]));
    // They are requested concurrently, in no order.
    let mut asked: Vec<_> = receiver.requests().into_iter().rev().take(2).map(|request| request.path).collect();
    asked.sort();
    assert_eq!(asked, [1, 2].map(|n| format!("/api/v1/events/10000000-0000-4000-8000-{n:012}")));
}

#[test]
fn zuora_gets_usage_and_is_looked_at_before_a_repeat() {
    let receiver = Receiver::start();
    receiver.answer("/oauth/token", 200, r#"{"access_token":"z","expires_in":3600}"#);
    receiver.answer("/v1/usage", 200, r#"{"success":true,"id":"u1"}"#);
    receiver.answer("/v1/action/query", 200, r#"{"size":1,"records":[{"Id":"u1"}],"done":true}"#);
    let mut target = open(&format!(
        "  - zuora: {{ url: '{}', clientId: c, clientSecret: s, accountNumber: 'A-{{{{userId}}}}', recordField: RecordId__c }}",
        receiver.url("")
    ));
    assert_eq!(send(target.as_mut(), 1..2), [Answer::Accepted]);
    let request = receiver.requests().pop().unwrap();
    assert_eq!(
        request.text(),
        r#"{"AccountNumber":"A-user1@example.com","UOM":"tokens","Quantity":12345678901234567890.123456789012345678,"StartDateTime":"2026-01-01T00:00:00.000Z","RecordId__c":"10000000-0000-4000-8000-000000000001"}"#
    );
    assert_eq!(target.repeat(), Repeat::ReadFirst);
    assert_eq!(held(target.as_mut(), 1..2), Some(vec![Held::Same]));
    let asked = receiver.requests().pop().unwrap().text();
    assert_eq!(asked, r#"{"queryString":"select Id from Usage where RecordId__c = '10000000-0000-4000-8000-000000000001'"}"#);
    receiver.answer("/v1/action/query", 200, r#"{"size":0,"done":true}"#);
    assert_eq!(held(target.as_mut(), 1..2), Some(vec![Held::Missing]));
    // Zuora reports an error with status 200.
    receiver.answer("/v1/usage", 200, r#"{"success":false,"reasons":[{"message":"no such account"}]}"#);
    assert!(matches!(&send(target.as_mut(), 1..2)[..], [Answer::Refused(why)] if why.contains("no such account")));
}
