//! Messages to a real Kafka.

use flowmeter_node::settings::Settings;
use serde_json::{Value, json};

use super::services::kafka::Kafka;
use super::support::{Hands, MINUTE, Server, settings, stream_document};

fn chosen(folder: &std::path::Path, brokers: &str) -> Settings {
    settings(&folder.join("data"), &[&format!("notifications.kafka={brokers}")])
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn events_are_messages_of_a_topic_even_if_the_broker_was_away() {
    let Some(kafka) = Kafka::start("events_are_messages_of_a_topic_even_if_the_broker_was_away") else { return };
    let kafka = std::sync::Arc::new(kafka);
    kafka.create("ops", 3);
    let folder = tempfile::tempdir().unwrap();
    let hands = Hands::new();
    let server = Server::start(chosen(folder.path(), &kafka.brokers()), std::sync::Arc::clone(&hands)).await;
    let channel = json!({"type": "kafka", "topic": "ops"});
    let wrong = json!({"name": "n", "eventType": "meter.session.status", "channels": [{"type": "kafka", "topic": "a b"}]});
    let (status, refused) = server.call("POST", "/api/v1/notifications", &wrong.to_string()).await;
    assert!(status == 400 && refused.to_string().contains("a topic has 1 to 249 letters"), "{refused}");
    server.made("/api/v1/notifications", &json!({"name": "n", "eventType": "meter.session.status", "channels": [channel]})).await;
    kafka.kill();
    let (status, _) = server.call("POST", "/api/v1/pipelines", &stream_document("p", 1)).await;
    assert_eq!(status, 201);
    server.made("/api/v1/pipelines/p/run", &json!({})).await;
    let mut failed = false;
    for _ in 0..600 {
        let (_, listed) = server.call("GET", "/api/v1/notifications/deliveries?limit=10", "").await;
        failed = listed["items"].as_array().unwrap().iter().any(|one| one["lastAttempt"]["answer"]["error"].is_string());
        if failed {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    assert!(failed, "the broker is away");
    kafka.go();
    let mut events = Vec::new();
    for _ in 0..20 {
        hands.forward(10 * MINUTE);
        let reader = std::sync::Arc::clone(&kafka);
        let values = tokio::task::spawn_blocking(move || reader.values("ops")).await.unwrap();
        events = values.iter().map(|value| serde_json::from_str::<Value>(value).unwrap()).collect();
        if events.iter().any(|event| event["data"]["sessionStatus"] == "RUNNING") {
            break;
        }
    }
    let states: std::collections::BTreeSet<&str> =
        events.iter().map(|event| event["data"]["sessionStatus"].as_str().unwrap()).collect();
    assert!(states.contains("INITIALIZING") && states.contains("RUNNING"), "{events:?}");
    let first = &events[0];
    assert_eq!((&first["specversion"], &first["type"]), (&json!("1.0"), &json!("meter.session.status")), "{first}");
    server.stop().await;
}
