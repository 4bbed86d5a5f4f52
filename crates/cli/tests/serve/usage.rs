//! Usage of a meter type over HTTP: the greatest groups, totals, CSV, and lists of names.

use serde_json::json;

use crate::support::server::{Server, event, items};

/// A number of 38 digits, which a float cannot hold.
const DIGITS: &str = "12345678901234567890.123456789012345678";

const DOCUMENT: &str = "pipeline: models
source: { http: {} }
operators:
  - meter:
      key: 0b9d9a5e-57b1-4f0d-8a0e-2f3f5c1d7a12
      rules: [{ category: use, value: data.value, groupBy: [[data.model]] }]
meterTypes:
  - { name: Use, category: use, resetSchedule: monthly }
";

fn sent(id: &str, user: &str, model: &str, value: &str) -> String {
    let mut one = event(id, user, json!("V"));
    one["data"]["model"] = json!(model);
    one["time"] = json!("2026-03-04T10:00:00Z");
    one.to_string().replace("\"V\"", value)
}

fn serving(folder: &std::path::Path) -> Server {
    let document = folder.join("models.yaml");
    std::fs::write(&document, DOCUMENT).unwrap();
    let more = ["--test-clock", "2026-03-04T12:00:00Z", "--pipeline", document.to_str().unwrap()];
    let server = Server::start(&folder.join("data"), &more);
    let lines: Vec<String> = vec![
        sent("1", "anna", "large", DIGITS),
        sent("2", "bo", "small", "3"),
        sent("3", "=cmd", "tiny", "2"),
        sent("4", "-5", "tiny", "1"),
    ];
    let ask = server.ask("POST", "/api/v1/events?wait=counted&partial=true").header("content-type", "application/x-ndjson");
    assert_eq!(ask.body(lines.join("\n")).send().status, 207);
    server
}

const QUERY: &str = "/api/v1/meter-types/Use/query";

#[test]
fn the_greatest_groups_come_with_the_rest_and_the_total() {
    let folder = tempfile::tempdir().unwrap();
    let server = serving(folder.path());
    let answer = server.ask("GET", &format!("{QUERY}?groupBy=subject&top=1&windowSize=DAY")).send();
    assert!(answer.text().contains(&format!("\"value\":{DIGITS}")), "{}", answer.text());
    let answer = answer.ok();
    assert_eq!((answer["data"].as_array().unwrap().len(), &answer["data"][0]["subject"]), (1, &json!("anna")));
    assert_eq!((&answer["other"][0]["value"], &answer["other"][0]["eventCount"]), (&json!(6), &json!(3)), "{answer}");
    let total = server.ask("GET", &format!("{QUERY}?groupBy=model&total=true")).send();
    let sum = DIGITS.replace("890.1", "896.1");
    assert!(total.text().contains(&format!("\"total\":{{\"value\":{sum}")), "{}", total.text());
    assert_eq!(total.ok().get("other"), None);
    assert_eq!(server.get(QUERY).get("total"), None);
    for (query, field) in [("top=0", "top"), ("top=many", "top"), ("top=1001", "top"), ("tpo=1", "tpo")] {
        let told = server.ask("GET", &format!("{QUERY}?{query}")).send().problem();
        assert_eq!((told.0, told.2.as_deref()), (400, Some(field)), "{query}");
    }
}

#[test]
fn usage_as_csv_has_every_digit_and_no_formula() {
    let folder = tempfile::tempdir().unwrap();
    let server = serving(folder.path());
    let ask = |query: &str| server.ask("GET", &format!("{QUERY}?{query}")).header("accept", "text/csv").send();
    let table = ask("groupBy=subject&groupBy=data.model&windowSize=DAY");
    assert_eq!((table.status, table.header("content-type")), (200, Some("text/csv; charset=utf-8")));
    let text = table.text();
    let day = "2026-03-04T00:00:00.000Z,2026-03-05T00:00:00.000Z";
    let expected = [
        "windowStart,windowEnd,subject,data.model,value,eventCount,group".to_owned(),
        format!("{day},-5,tiny,1,1,"),
        format!("{day},'=cmd,tiny,2,1,"),
        format!("{day},anna,large,{DIGITS},1,"),
        format!("{day},bo,small,3,1,"),
    ];
    assert_eq!(text.lines().collect::<Vec<_>>(), expected);
    let rest = ask("groupBy=data.model&top=1&windowSize=DAY").text();
    assert!(rest.ends_with(&format!("{day},,6,3,other\r\n")), "{rest}");
}

#[test]
fn fields_values_and_users_are_listed_by_prefix() {
    let folder = tempfile::tempdir().unwrap();
    let server = serving(folder.path());
    let names = |path: &str| {
        let list = server.get(&format!("/api/v1/meter-types/Use/{path}"));
        let found: Vec<String> = items(&list).iter().map(|one| one.as_str().unwrap().to_owned()).collect();
        (found, list["nextCursor"].as_str().map(str::to_owned))
    };
    let all = |of: &[&str]| of.iter().map(|one| (*one).to_owned()).collect::<Vec<_>>();
    assert_eq!(names("fields"), (all(&["data.model"]), None));
    assert_eq!(names("fields/data.model/values"), (all(&["large", "small", "tiny"]), None));
    assert_eq!(names("fields/model/values?prefix=s"), (all(&["small"]), None));
    assert_eq!(names("subjects"), (all(&["-5", "=cmd", "anna", "bo"]), None));
    let first = names("subjects?limit=2");
    assert_eq!(first, (all(&["-5", "=cmd"]), Some("=cmd".to_owned())));
    assert_eq!(names("subjects?limit=2&cursor=%3Dcmd"), (all(&["anna", "bo"]), None));
    assert_eq!(names("subjects?prefix=an"), (all(&["anna"]), None));
    for path in ["fields/colour/values", "../None/subjects"] {
        let told = server.ask("GET", &format!("/api/v1/meter-types/Use/{path}").replace("Use/../", "")).send().problem();
        assert_eq!(told.0, 404, "{path}");
    }
}
