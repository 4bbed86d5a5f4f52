//! Notifications of the settings file, over several starts.

use std::path::Path;
use std::sync::Arc;

use flowmeter_node::settings::{Flag, Layers, Settings};
use serde_json::{Value, json};

use super::support::{Hands, Server};

fn settings(data: &Path, file: &str) -> Result<Settings, String> {
    let flags = vec![
        Flag::named("--data", "data", data.to_string_lossy()),
        Flag::named("--listen", "listen", "127.0.0.1:0"),
        Flag::set("threads=1").unwrap(),
    ];
    let layers = Layers { flags, file: Some((Path::new("flowmeter.yaml"), file)), ..Layers::default() };
    Settings::read(&layers).map_err(|problems| problems.to_string())
}

const FIRST: &str = "
sessions.silence: 5m
notifications:
  declared:
    - name: failures
      eventType: meter.session.status
      conditions:
        all:
          - {field: sessionStatus, op: in, value: [FAILED, TESTING_FAILED]}
          - {field: sessionRunType, op: =, value: NORMAL}
      channels: [{type: log, level: warn}]
    - {name: thresholds, eventType: meter.threshold.reached, enabled: false, channels: [{type: log}]}
  allow_private: true
";

async fn names(server: &Server) -> Vec<(String, bool, String)> {
    let (_, listed) = server.call("GET", "/api/v1/notifications", "").await;
    let text = |item: &Value, name: &str| item[name].as_str().unwrap().to_owned();
    let items = listed["items"].as_array().unwrap().iter();
    items.map(|item| (text(item, "name"), item["declared"].as_bool().unwrap(), text(item, "id"))).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_installation_says_what_the_file_says() {
    let (folder, clock) = (tempfile::tempdir().unwrap(), Hands::new());
    let data = folder.path().join("data");
    let first = settings(&data, FIRST).unwrap();
    assert!(first.notifications.allow_private && first.sessions.silence.is_some(), "the settings around the list count");
    let server = Server::start(first, Arc::clone(&clock)).await;
    let by_hand = json!({"name": "mine", "eventType": "meter.session.status", "channels": [{"type": "log"}]});
    server.made("/api/v1/notifications", &by_hand).await;
    let before = names(&server).await;
    let flags: Vec<(&str, bool)> = before.iter().map(|(name, declared, _)| (name.as_str(), *declared)).collect();
    assert_eq!(flags, [("failures", true), ("mine", false), ("thresholds", true)]);
    let (_, shown) = server.call("GET", "/api/v1/notifications/failures", "").await;
    assert_eq!(shown["conditions"]["all"][0]["value"], json!(["FAILED", "TESTING_FAILED"]), "{shown}");
    assert_eq!((&shown["enabled"], &shown["channels"][0]["level"]), (&json!(true), &json!("warn")));
    for (method, body) in [("PUT", shown.to_string()), ("DELETE", String::new())] {
        let (status, refused) = server.call(method, "/api/v1/notifications/failures", &body).await;
        assert_eq!((status, &refused["code"]), (409, &json!("conflict")), "{refused}");
        assert!(refused["detail"].as_str().unwrap().contains("settings file"), "{refused}");
    }
    let (status, _) = server.call("POST", "/api/v1/notifications/failures/try", "").await;
    assert_eq!(status, 200, "it is tried like others");
    server.stop().await;

    // The same file changes nothing, not even an id.
    let server = Server::start(settings(&data, FIRST).unwrap(), Arc::clone(&clock)).await;
    assert_eq!(names(&server).await, before);
    let (_, audit) = server.call("GET", "/api/v1/audit", "").await;
    let by_settings = audit["items"].as_array().unwrap().iter().filter(|entry| entry["who"] == "settings");
    assert_eq!(by_settings.count(), 2, "each was made once");
    server.stop().await;

    // One is changed, one is removed, and one that was created over the API becomes the file's.
    let second = FIRST.replace("level: warn", "level: error").replace("name: thresholds", "name: mine");
    let server = Server::start(settings(&data, &second).unwrap(), clock).await;
    let after = names(&server).await;
    let flags: Vec<(&str, bool)> = after.iter().map(|(name, declared, _)| (name.as_str(), *declared)).collect();
    assert_eq!(flags, [("failures", true), ("mine", true)]);
    assert_eq!((&after[0].2, &after[1].2), (&before[0].2, &before[1].2), "they keep their history");
    let (_, shown) = server.call("GET", "/api/v1/notifications/failures", "").await;
    assert_eq!(shown["channels"][0]["level"], "error");
    server.stop().await;
}

#[test]
fn an_invalid_notification_stops_the_start_with_its_line() {
    let folder = tempfile::tempdir().unwrap();
    let cases = [
        (
            FIRST.replace("[FAILED,", "[FAILD,"),
            "flowmeter.yaml:5: notifications.declared[0].conditions.all[0]",
            "did you mean `FAILED`?",
        ),
        (FIRST.replace("name: thresholds", "name: failures"), "flowmeter.yaml:12: notifications.declared[1].name", "two"),
        (FIRST.replace("{type: log}", "{type: lag}"), "notifications.declared[1].channels[0].type", "did you mean `log`?"),
        ("notifications: {declared: [text]}".to_owned(), "notifications.declared[0]", "name, eventType"),
        ("notifications: {declared: [{name: &a b}, *a]}".to_owned(), "flowmeter.yaml:1", "aliases"),
        ("notifications: {channels: []}".to_owned(), "flowmeter.yaml:1", "is a list"),
    ];
    for (file, place, why) in cases {
        let told = settings(folder.path(), &file).err().unwrap_or_default();
        assert!(told.contains(place) && told.contains(why), "{told}\n{file}");
    }
}
