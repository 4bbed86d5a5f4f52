//! Events of single meters: a month end with conditions, thresholds, restarts at any moment, and an
//! installation without subscriptions.

use std::collections::BTreeSet;
use std::sync::Arc;

use flowmeter_core::session::Trigger;
use flowmeter_node::installation::Installation;
use flowmeter_node::sessions::{SessionEvent, StartOptions};
use serde_json::{Value, json};

use super::support::{Hands, MINUTE, Receiver, SECRET, Server, here, secret, send, settings, told, who};

const HOUR: i64 = 60 * MINUTE;

/// Sums by the hour, with a threshold at 50.
const DOCUMENT: &str = "
pipeline: usage
source: {http: {}}
operators:
  - meter:
      key: 00000000-0000-4000-8000-000000000001
      rules: [{ value: n }]
meterTypes:
  - name: bytes
    aggregation: sum
    unit: B
    resetSchedule: hourly
    late: { policy: amend }
    thresholds: [{ name: half, value: 50 }]
";

fn event(user: &str, id: u64, n: i64, time: &str) -> String {
    format!(
        r#"{{"specversion":"1.0","id":"{id}","source":"s","type":"t","subject":"{user}","time":"2023-07-01T{time}Z","n":{n}}}"#
    ) + "\n"
}

struct Site {
    folder: tempfile::TempDir,
    clock: Arc<Hands>,
    installation: Arc<Installation>,
}

impl Site {
    fn open() -> Site {
        let (folder, clock) = (tempfile::tempdir().unwrap(), Hands::new());
        // At half past twelve, events of ten past are not in the future.
        clock.forward(HOUR / 2);
        let installation = Installation::open(settings(folder.path(), &[]), Arc::<Hands>::clone(&clock)).unwrap().0;
        Site { folder, clock, installation }
    }

    fn run(&self, document: &str) -> String {
        let pipeline = self.installation.create_pipeline(&who(), document, false).unwrap();
        self.installation.start(&who(), &pipeline, StartOptions::default()).unwrap().session_id
    }

    /// Stops and starts again with the stored data.
    fn restart(self) -> Site {
        let Site { folder, clock, installation } = self;
        installation.close();
        drop(installation);
        let installation = Installation::open(settings(folder.path(), &[]), Arc::<Hands>::clone(&clock)).unwrap().0;
        Site { folder, clock, installation }
    }

    fn notify(&self, name: &str, event_type: &str, conditions: &Value) {
        let fields = json!({"name": name, "eventType": event_type, "conditions": conditions, "channels": [{"type": "log"}]});
        self.installation.create_notification(&who(), fields.as_object().unwrap()).unwrap();
    }

    /// Advances the clock to the end of an hour and waits for its records.
    fn hour_ends(&self, records: u64) {
        self.clock.forward(HOUR);
        let served = &self.installation.served()[0];
        for _ in 0..60_000 {
            if served.board().records() >= records {
                return;
            }
            std::thread::park_timeout(std::time::Duration::from_millis(1));
        }
        panic!("{} records, {:?}", served.board().records(), served.board().tally());
    }

    fn tell(&self) {
        self.installation.tell_of_meters().unwrap();
    }

    fn told(&self, event_type: &str) -> Vec<SessionEvent> {
        told(&self.installation, event_type)
    }

    fn users(&self, event_type: &str) -> Vec<String> {
        let user = |event: &SessionEvent| event.payload["userId"].as_str().unwrap().to_owned();
        self.told(event_type).iter().map(user).collect()
    }
}

#[test]
fn of_a_thousand_flushed_meters_those_are_told_that_somebody_asks_for() {
    let site = Site::open();
    let session = site.run(DOCUMENT);
    site.notify("large", "meter.flushed", &json!({"field": "value", "op": ">=", "value": 997}));
    let lines: String = (0..1000).map(|n| event(&format!("user-{n:04}"), n, n as i64, "12:10:00")).collect();
    send(&site.installation, &lines);
    // Events of thresholds need no subscription: 950 meters are at 50 or above.
    site.tell();
    assert_eq!(site.told("meter.threshold.reached").len(), 950);
    let site = site.restart();
    site.hour_ends(950 + 1000);
    site.tell();
    site.tell();
    let site = site.restart();
    site.tell();
    assert_eq!(site.users("meter.flushed"), ["user-0997", "user-0998", "user-0999"]);
    let payload = site.told("meter.flushed").pop().unwrap().payload;
    assert_eq!(
        (&payload["value"], &payload["eventCount"], &payload["revision"]),
        (&json!("999"), &json!(1), &json!(0)),
        "{payload}"
    );
    assert_eq!((&payload["meterName"], &payload["sessionId"], &payload["unit"]), (&json!("usage"), &json!(session), &json!("B")));
    assert_eq!(payload["periodEnd"], "2023-07-01T13:00:00.000Z");
    // No other events were created, and every threshold once.
    let records: BTreeSet<String> =
        site.told("meter.threshold.reached").iter().map(|event| event.payload["recordId"].to_string()).collect();
    assert_eq!((records.len(), site.told("meter.threshold.reached").len()), (950, 950));
    for nothing in ["meter.opened", "meter.reset", "meter.amended", "meter.deleted"] {
        assert!(site.told(nothing).is_empty(), "{nothing}");
    }
    site.installation.close();
}

#[test]
fn the_life_of_a_meter_is_told_in_its_order() {
    let site = Site::open();
    for kind in ["opened", "reset", "flushed", "amended", "deleted"] {
        site.notify(kind, &format!("meter.{kind}"), &Value::Null);
    }
    let session = site.run(DOCUMENT);
    send(&site.installation, &event("ann", 1, 60, "12:10:00"));
    send(&site.installation, &event("ann", 2, -20, "12:11:00"));
    site.hour_ends(3);
    // A late event changes a record that was delivered already.
    send(&site.installation, &event("ann", 3, 5, "12:12:00"));
    site.hour_ends(4);
    let site = site.restart();
    let meter = site.installation.served()[0].meters(flowmeter_node::meters::MeterFilter::default(), 1).unwrap();
    site.installation.delete_meter(&who(), &meter[0].id.to_string()).unwrap();
    site.tell();
    let of_ann: Vec<SessionEvent> = site
        .installation
        .session_events("default", 0, usize::MAX)
        .unwrap()
        .into_iter()
        .filter(|event| event.payload["userId"] == "ann")
        .collect();
    let kinds: Vec<&str> = of_ann.iter().map(|event| event.event_type.as_str()).collect();
    let expected = [
        "meter.opened",
        "meter.threshold.reached",
        "meter.threshold.recovered",
        "meter.flushed",
        "meter.reset",
        "meter.amended",
        "meter.deleted",
    ];
    assert_eq!(kinds[..6], expected[..6], "{of_ann:#?}");
    assert_eq!(kinds.last(), Some(&"meter.deleted"));
    assert!(of_ann.iter().all(|event| event.payload["sessionId"] == json!(session)));
    let amended = &of_ann[5].payload;
    assert_eq!((&amended["value"], &amended["delta"], &amended["revision"]), (&json!("45"), &json!("5"), &json!(1)), "{amended}");
    let reached = &of_ann[1].payload;
    assert_eq!((&reached["threshold"], &reached["thresholdValue"]), (&json!("half"), &json!("50")));
    // The events have the instants at which they happened.
    assert_eq!((of_ann[0].at.as_str(), of_ann[3].at.as_str()), ("2023-07-01T12:30:00.000Z", "2023-07-01T13:30:00.000Z"));
    site.installation.close();
}

#[test]
fn a_session_over_files_tells_of_its_meters_before_it_ends() {
    let site = Site::open();
    for kind in ["opened", "flushed"] {
        site.notify(kind, &format!("meter.{kind}"), &json!({"all": [{"field": "userId", "op": "=", "value": "ann"}]}));
    }
    let file = site.folder.path().join("events.ndjson");
    let events = [("ann", 1, 60), ("bob", 2, 70), ("ann", 3, -20)].map(|(user, id, n)| event(user, id, n, "11:10:00"));
    std::fs::write(&file, events.concat()).unwrap();
    let document =
        DOCUMENT.replace("{http: {}}", &format!("{{file: {{path: '{}'}}}}\ntargets: [{{none: {{}}}}]", file.display()));
    let session = site.run(&document);
    let events = || site.installation.session_events("default", 0, usize::MAX).unwrap();
    for _ in 0..60_000 {
        if events().iter().any(|event| event.payload["sessionStatus"] == "COMPLETED") {
            break;
        }
        std::thread::park_timeout(std::time::Duration::from_millis(1));
    }
    let of_meters: Vec<SessionEvent> = events().into_iter().filter(|event| !event.payload["userId"].is_null()).collect();
    let told: Vec<(&str, &str)> =
        of_meters.iter().map(|event| (event.event_type.as_str(), event.payload["userId"].as_str().unwrap())).collect();
    // Events of thresholds need no subscription.
    let crossed = [("meter.threshold.reached", "ann"), ("meter.threshold.reached", "bob"), ("meter.threshold.recovered", "ann")];
    assert_eq!(told, [&[("meter.opened", "ann")], &crossed[..], &[("meter.flushed", "ann")]].concat(), "{of_meters:#?}");
    assert!(of_meters.iter().all(|event| event.payload["sessionId"] == json!(session)));
    assert_eq!(of_meters.last().unwrap().payload["value"], "40");
    assert_eq!(events().last().unwrap().payload["sessionStatus"], "COMPLETED");
    site.installation.close();
}

#[test]
fn a_later_subscription_receives_later_events() {
    let site = Site::open();
    let session = site.run(DOCUMENT);
    send(&site.installation, &event("ann", 1, 1, "12:10:00"));
    site.hour_ends(1);
    site.notify("flushed", "meter.flushed", &Value::Null);
    site.notify("opened", "meter.opened", &Value::Null);
    site.tell();
    assert!(site.users("meter.flushed").is_empty() && site.users("meter.opened").is_empty());
    send(&site.installation, &(event("ann", 2, 1, "13:10:00") + &event("bea", 3, 1, "13:11:00")));
    // Disabled again: earlier notes become events, later ones are not made.
    site.tell();
    let known = site.installation.notification("default", "opened").unwrap();
    site.installation.delete_notification(&who(), &known).unwrap();
    send(&site.installation, &event("cid", 4, 1, "13:12:00"));
    // A session that ends has sent all events before its last status.
    site.clock.forward(HOUR);
    site.installation.act(&who(), &session, Trigger::Finish).unwrap();
    assert_eq!(site.users("meter.opened"), ["bea"]);
    assert_eq!(site.users("meter.flushed"), ["ann", "bea", "cid"]);
    let all = site.installation.session_events("default", 0, usize::MAX).unwrap();
    assert_eq!(all.last().unwrap().payload["sessionStatus"], "COMPLETED");
    site.installation.close();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn questions_and_thresholds_reach_a_receiver() {
    let (folder, clock) = (tempfile::tempdir().unwrap(), Hands::new());
    clock.forward(HOUR / 2);
    let mut receiver = Receiver::start().await;
    let server = Server::start(here(&folder.path().join("data")), Arc::clone(&clock)).await;
    let secrets = [secret(folder.path(), "secret", SECRET)];
    let channel = json!({"type": "webhook", "url": format!("http://{}/", receiver.address), "secrets": secrets});
    let notify = async |name: &str, event_type: &str, conditions: Value| {
        let fields = json!({"name": name, "eventType": event_type, "conditions": conditions, "channels": [channel.clone()]});
        server.made("/api/v1/notifications", &fields).await
    };
    notify("threshold", "meter.threshold.reached", json!({"field": "value", "op": ">", "value": 1.5})).await;
    notify("asked", "event_store.query.finished", json!({"field": "query", "op": "=", "value": "search"})).await;
    let (status, made) = server.call("POST", "/api/v1/pipelines", DOCUMENT).await;
    assert_eq!(status, 201, "{made}");
    server.made("/api/v1/pipelines/usage/run", &json!({})).await;
    let (status, answered) = server.call("POST", "/api/v1/events", &event("ann", 1, 70, "12:10:00")).await;
    assert!(status == 204 || status == 200, "{answered}");
    let told = receiver.next().await.json();
    assert_eq!((&told["type"], &told["data"]["value"]), (&json!("meter.threshold.reached"), &json!("70")), "{told}");
    let (status, _) = server.call("GET", "/api/v1/events?pipeline=usage&subject=ann", "").await;
    assert_eq!(status, 200);
    let told = receiver.next().await.json();
    assert_eq!((&told["type"], &told["data"]["query"]), (&json!("event_store.query.finished"), &json!("search")), "{told}");
    assert_eq!((&told["data"]["rowCount"], &told["data"]["outcome"]), (&json!(1), &json!("answered")));
    assert_eq!(told["data"]["parameters"], "pipeline=usage&subject=ann");
    // No one subscribed to traces.
    let (status, _) = server.call("GET", "/api/v1/events/1/trace", "").await;
    assert_eq!(status, 200);
    server.stop().await;
    assert!(receiver.all().is_empty());
}
