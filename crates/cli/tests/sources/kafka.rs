//! Topics of a real Kafka, which is killed too.

use std::time::Duration;

use serde_json::{Value, json};

use crate::services::kafka::Kafka;
use crate::support::chance::Chance;
use crate::support::server::{Server, eventually, items};
use crate::{completed, create, document, expected, kills, line, start, sums};

fn source(kafka: &Kafka, more: &str) -> String {
    let options = "options: { session.timeout.ms: '6000', heartbeat.interval.ms: '500' }";
    format!("source:\n  kafka: {{ brokers: '{}', topic: usage, group: meters, {options}{more} }}", kafka.brokers())
}

/// Returns messages of a range of events, with a header, by their user.
fn messages(numbers: std::ops::Range<u64>) -> String {
    numbers.map(|n| format!("h:1\tu{}\t{}\n", n % 3, line(n))).collect()
}

fn counted(server: &Server, id: &str, wanted: u64) -> Value {
    eventually("the messages are counted", || {
        let session = server.get(&format!("/api/v1/sessions/{id}"));
        (session["counts"]["events"]["received"].as_u64().unwrap() >= wanted).then_some(session)
    })
}

fn finish(server: &Server, id: &str) {
    let finished = server.post(&format!("/api/v1/sessions/{id}/finish"), &json!({}));
    assert_eq!(finished.status, 200, "{}", finished.text());
    completed(server, id);
}

#[test]
fn messages_of_each_form_are_events_and_poison_is_parked_with_its_place() {
    let Some(kafka) = Kafka::start("messages_of_each_form_are_events") else { return };
    kafka.create("usage", 1);
    let binary = "ce_specversion:1.0,ce_id:b1,ce_source:s,ce_type:use,content-type:application/json,trace:t7";
    let data = json!({"user": "u0", "at": "2026-01-15T10:00:00Z", "n": 4});
    let structured = json!({"specversion": "1.0", "id": "c1", "source": "s", "type": "use", "user": "u0",
        "at": "2026-01-15T10:00:00Z", "n": 5});
    kafka.send("usage", &format!("{binary}\tkey\t{data}\nh:1\tkey\t{structured}\nh:1\tkey\tnot json\nh:1\tkey\tNULL\n"));
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(&folder.path().join("data"), &[]);
    create(&server, &document(&source(&kafka, ""), ""));
    let id = start(&server, &json!({}));
    counted(&server, &id, 4);
    let events = items(&server.get("/api/v1/events?pipeline=usage"));
    let first = &events[0]["event"];
    assert_eq!((&first["id"], &first["data"]["n"]), (&json!("b1"), &json!(4)), "{first}");
    assert_eq!((&first["kafka"]["key"], &first["kafka"]["headers"]["trace"]), (&json!("key"), &json!("t7")), "{first}");
    assert!(first["kafka"]["timestamp"].is_number(), "{first}");
    let places: Vec<_> = events.iter().map(|event| (event["origin"]["name"].clone(), event["origin"]["line"].clone())).collect();
    assert_eq!(places, (0..4).map(|offset| (json!("usage/0"), json!(offset))).collect::<Vec<_>>());
    let verdicts: Vec<_> = events.iter().map(|event| event["reason"].as_str().unwrap_or("counted").to_owned()).collect();
    assert_eq!(verdicts[1..], ["counted", "unreadable", "unreadable"], "{events:?}");
}

#[test]
fn server_and_broker_are_killed_in_turn_and_every_message_counts_once() {
    let Some(kafka) = Kafka::start("server_and_broker_are_killed_in_turn") else { return };
    kafka.create("usage", 4);
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let mut server = Server::start(&data, &[]);
    let source = format!("dedupe: off\n{}", source(&kafka, ""));
    create(&server, &document(&source, ""));
    let id = start(&server, &json!({}));
    let mut chance = Chance(7);
    let mut sent = 0;
    for turn in 0..kills(4) {
        kafka.send("usage", &messages(sent..sent + 5_000));
        sent += 5_000;
        std::thread::park_timeout(Duration::from_millis(chance.below(600)));
        match turn % 2 {
            0 => {
                server.crash();
                server = Server::start(&data, &[]);
            }
            _ => {
                kafka.kill();
                kafka.go();
            }
        }
    }
    counted(&server, &id, sent);
    finish(&server, &id);
    assert_eq!(sums(&server), expected(0..sent));
}

#[test]
fn two_servers_of_one_group_share_a_topic_and_hand_it_over() {
    let Some(kafka) = Kafka::start("two_servers_of_one_group_share_a_topic") else { return };
    kafka.create("usage", 4);
    let folder = tempfile::tempdir().unwrap();
    let source = format!("dedupe: off\n{}", source(&kafka, ""));
    let first = Server::start(&folder.path().join("first"), &[]);
    create(&first, &document(&source, ""));
    let of_first = start(&first, &json!({}));
    kafka.send("usage", &messages(0..6_000));
    counted(&first, &of_first, 6_000);
    // The second takes some partitions over while messages come, and the first gives the rest up.
    let second = Server::start(&folder.path().join("second"), &[]);
    create(&second, &document(&source, ""));
    let of_second = start(&second, &json!({}));
    kafka.send("usage", &messages(6_000..12_000));
    let received = |server: &Server, id: &str| {
        server.get(&format!("/api/v1/sessions/{id}"))["counts"]["events"]["received"].as_u64().unwrap()
    };
    eventually("both have taken everything", || {
        (received(&first, &of_first) + received(&second, &of_second) == 12_000).then_some(())
    });
    finish(&first, &of_first);
    kafka.send("usage", &messages(12_000..15_000));
    eventually("the second has the rest", || {
        (received(&first, &of_first) + received(&second, &of_second) == 15_000).then_some(())
    });
    finish(&second, &of_second);
    let sum = |server: &Server| sums(server).iter().map(|(_, _, value)| value.parse::<u64>().unwrap()).sum::<u64>();
    assert_eq!(sum(&first) + sum(&second), (0..15_000).sum::<u64>());
}
