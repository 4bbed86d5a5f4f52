//! The Kafka target, with a real broker.

use std::time::Duration;

use flowmeter_engine::outbox::{Answer, Held, Outgoing, Span, Target};
use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::{Header, Headers, Message, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use serde_json::Value;

use super::contract::{held, keeps_to_it, record, send, target};
use super::support::free_port;
use super::support::kafka::Kafka;

fn yaml(brokers: &str, more: &str) -> String {
    format!("  - kafka: {{ brokers: '{brokers}', topic: records, timeout: 5s{more} }}")
}

fn open(yaml: &str, memory: &Value) -> Box<dyn Target> {
    target(yaml, std::path::Path::new("."), memory)
}

/// A message: its key, headers and value.
type Read = (String, Vec<(String, String)>, String);

fn all(kafka: &Kafka, topic: &str) -> Vec<Read> {
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", kafka.brokers())
        .set("group.id", "test")
        .set("auto.offset.reset", "earliest")
        .create()
        .unwrap();
    let metadata = consumer.fetch_metadata(Some(topic), Duration::from_secs(10)).unwrap();
    let mut assigned = rdkafka::TopicPartitionList::new();
    let mut left = 0;
    for partition in metadata.topics()[0].partitions() {
        let (low, high) = consumer.fetch_watermarks(topic, partition.id(), Duration::from_secs(10)).unwrap();
        assigned.add_partition_offset(topic, partition.id(), rdkafka::Offset::Offset(low)).unwrap();
        left += high - low;
    }
    consumer.assign(&assigned).unwrap();
    let text = |bytes: Option<&[u8]>| String::from_utf8(bytes.unwrap_or_default().to_vec()).unwrap();
    (0..left)
        .map(|_| {
            let message = consumer.poll(Duration::from_secs(20)).expect("a message").unwrap();
            let headers = message.headers().into_iter().flat_map(Headers::iter);
            let headers = headers.map(|header| (header.key.to_owned(), text(header.value))).collect();
            (text(message.key()), headers, text(message.payload()))
        })
        .collect()
}

/// Sends records until the broker, which has just started, has all of them.
fn insist(target: &mut dyn Target, span: std::ops::Range<u64>) {
    const TRIES: u32 = 30;
    let is_done = |answers: &[Answer]| answers.iter().all(|answer| *answer == Answer::Accepted);
    assert!((0..TRIES).any(|_| is_done(&send(target, span.clone()))), "{:?}", send(target, span.clone()));
}

#[test]
fn messages_keep_to_the_contract_through_a_broker_that_is_killed() {
    let Some(kafka) = Kafka::start("messages_keep_to_the_contract (Kafka)") else { return };
    kafka.create("records", 3);
    let yaml = yaml(&kafka.brokers(), "");
    keeps_to_it(&|memory| open(&yaml, memory), None, &|| all(&kafka, "records").len());
    let mut target = open(&yaml, &Value::Null);
    target.probe().unwrap();
    let messages = all(&kafka, "records");
    let (key, headers, value) = &messages[0];
    let found: Value = serde_json::from_str(value).unwrap();
    assert_eq!(found["meterMetaData"]["recordId"], key.as_str());
    assert_eq!(headers, &[("recordId".to_owned(), key.clone())]);
    assert_eq!(*value, record(key[30..].parse::<u64>().unwrap() % 3, key[30..].parse().unwrap()));
    // After a crash within a window, a record of an earlier one is tried again first.
    let memory = target.memory();
    let count = all(&kafka, "records").len();
    assert_eq!(send(target.as_mut(), 20..30), vec![Answer::Accepted; 10]);
    let mut target = open(&yaml, &memory);
    assert_eq!(send(target.as_mut(), 2..3), [Answer::Accepted]);
    assert_eq!(send(target.as_mut(), 20..30), vec![Answer::Accepted; 10]);
    assert_eq!(all(&kafka, "records").len(), count + 10);
    // Another program wrote a message under the id of a record.
    let producer: BaseProducer = ClientConfig::new().set("bootstrap.servers", kafka.brokers()).create().unwrap();
    let headers = OwnedHeaders::new().insert(Header { key: "recordId", value: Some(key) });
    producer.send(BaseRecord::to("records").key(key).payload("{}").headers(headers)).map_err(|(why, _)| why).unwrap();
    producer.flush(Duration::from_secs(10)).unwrap();
    let number: u64 = key[30..].parse().unwrap();
    assert!(matches!(held(target.as_mut(), number..number + 1).unwrap()[..], [Held::Different(_)]));
    // A broker that is away says nothing about records; when it comes again, each goes there once.
    let before = all(&kafka, "records").len();
    kafka.kill();
    let answers = send(target.as_mut(), 100..104);
    assert!(answers.iter().all(|answer| matches!(answer, Answer::Unavailable { .. })), "{answers:?}");
    kafka.go();
    insist(target.as_mut(), 100..104);
    // It is killed while records are under way.
    let mut first = 1_000;
    for _ in 0..4 {
        let window = first..first + 300;
        let killed = std::thread::scope(|scope| {
            let sending = scope.spawn(|| send(target.as_mut(), window.clone()));
            std::thread::park_timeout(Duration::from_millis(first % 97 + 20));
            kafka.kill();
            sending.join().unwrap()
        });
        assert_eq!(killed.len(), 300);
        kafka.go();
        if killed.iter().any(|answer| *answer != Answer::Accepted) {
            insist(target.as_mut(), window);
        }
        first += 300;
    }
    assert_eq!(all(&kafka, "records").len(), before + 4 + 1_200, "each is there once");
    assert_eq!(held(target.as_mut(), 1_000..2_200), Some(vec![Held::Same; 1_200]));
}

#[test]
fn messages_are_cloud_events_of_the_topic_and_key_of_their_record() {
    let Some(kafka) = Kafka::start("messages_are_cloud_events (Kafka)") else { return };
    for meter in 0..3 {
        kafka.create(&format!("of-user{meter}"), 1);
    }
    let yaml = format!(
        "  - kafka: {{ brokers: ['{}'], topic: \"of-{{{{substring(userId, 0, 5)}}}}\", key: '{{{{userId}}}}', format: cloudevents, \
         headers: {{ unit: 'in {{{{unit}}}}' }}, options: {{ compression.type: lz4, message.max.bytes: '2000000' }} }}",
        kafka.brokers()
    );
    let mut target = open(&yaml, &Value::Null);
    target.probe().unwrap();
    assert_eq!(send(target.as_mut(), 0..6), vec![Answer::Accepted; 6]);
    let messages = all(&kafka, "of-user1");
    assert_eq!(messages.len(), 2);
    let (key, headers, _) = &messages[0];
    let header = |name: &str| headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str());
    assert_eq!(key, "user1@example.com");
    let expected = [
        ("ce_specversion", "1.0"),
        ("ce_id", "10000000-0000-4000-8000-000000000001"),
        ("ce_type", "meteredRecord"),
        ("ce_source", "b1f8797b-c827-4483-b6cf-6d3d3baa18a7"),
        ("ce_subject", "00000000-0000-4000-8000-000000000001"),
        ("ce_time", "2026-01-03T00:00:00.000Z"),
        ("content-type", "application/json"),
        ("unit", "in tokens"),
    ];
    for (name, value) in expected {
        assert_eq!(header(name), Some(value), "{name}");
    }
    assert_eq!(held(target.as_mut(), 0..7).unwrap()[5..], [Held::Same, Held::Missing]);
    // A message that the topic does not take is refused alone.
    let large = record(2, 50).replace("\"unit\":\"tokens\"", &format!("\"unit\":\"{}\"", "x".repeat(1_500_000)));
    let (one, two) = (record(1, 51), record(2, 52));
    let records: Vec<Outgoing<'_>> = [(50, &large), (51, &one), (52, &two)]
        .into_iter()
        .map(|(number, json)| Outgoing { number, json: json.as_bytes() })
        .collect();
    let answers = target.send(Span { first: 50, until: 53 }, &records);
    let is_refused = |answer: &Answer| matches!(answer, Answer::Refused(why) if why.contains("max.message.bytes"));
    assert!(is_refused(&answers[0]) && answers[1..] == [Answer::Accepted, Answer::Accepted], "{answers:?}");
}

#[test]
fn a_topic_and_brokers_that_are_not_there_are_answers_before_a_session_starts() {
    let port = free_port();
    let mut away = open(&yaml(&format!("127.0.0.1:{port}"), ""), &Value::Null);
    let why = away.probe().unwrap_err().to_string();
    assert!(why.contains(&format!("no connection to 127.0.0.1:{port}")), "{why}");
    assert!(!away.needs_a_person());
    let Some(kafka) = Kafka::start("a_topic_that_is_not_there (Kafka)") else { return };
    let missing = yaml(&kafka.brokers(), ", options: { topic.metadata.refresh.interval.ms: '1000' }")
        .replace("topic: records", "topic: 'no.such'");
    let mut missing = open(&missing, &Value::Null);
    let why = missing.probe().unwrap_err().to_string();
    assert!(why.contains("create the topic") && missing.needs_a_person(), "{why}");
    let answers = send(missing.as_mut(), 0..2);
    assert!(answers.iter().all(|answer| matches!(answer, Answer::Unavailable { .. })), "{answers:?}");
}
