//! The ClickHouse target, with the real engine.

use flowmeter_engine::outbox::{Answer, Held, Repeat};
use serde_json::Value;

use super::contract::{held, keeps_to_it, send, target};
use super::support::clickhouse::{ClickHouse, PASSWORD};
use super::support::free_port;

fn yaml(port: u16, password: &str) -> String {
    format!("  - clickhouse: {{ url: 'http://127.0.0.1:{port}', table: default.usage, user: default, password: {password} }}")
}

#[test]
fn rows_keep_to_the_contract_through_a_restart_and_name_differences() {
    let Some(mut clickhouse) = ClickHouse::start("rows_keep_to_the_contract (ClickHouse)") else { return };
    let folder = tempfile::tempdir().unwrap();
    let yaml = yaml(clickhouse.port, PASSWORD);
    let reopen = |memory: &Value| target(&yaml, folder.path(), memory);
    let exists = || clickhouse.ask("EXISTS TABLE default.usage") == "1";
    let count = || if exists() { clickhouse.ask("SELECT count() FROM default.usage FINAL").parse().unwrap() } else { 0 };
    let delete = "DELETE FROM default.usage WHERE record_id = '10000000-0000-4000-8000-000000000001'";
    keeps_to_it(&reopen, Some(&|| drop(clickhouse.ask(delete))), &count);
    // Every digit is stored, and texts are unchanged.
    let row = "SELECT value, JSONExtractRaw(groups, 1, 'value'), JSONExtractString(carry_last, 'a'), period_end, user_id, delta \
               FROM default.usage FINAL ORDER BY record_id LIMIT 1";
    assert_eq!(
        clickhouse.ask(row),
        "12345678901234567890.123456789012345678\t0.1\ttab\\there\t2026-02-01 00:00:00.000\tuser0@example.com\t\\N"
    );
    // A lost record can be lost and sent again more than once.
    let mut target = reopen(&Value::Null);
    for _ in 0..2 {
        clickhouse.ask(delete);
        assert_eq!(held(target.as_mut(), 1..2), Some(vec![Held::Missing]));
        assert_eq!(send(target.as_mut(), 1..2), [Answer::Accepted]);
        assert_eq!(held(target.as_mut(), 0..3), Some(vec![Held::Same; 3]));
    }
    // A row that was changed is reported.
    clickhouse.ask("ALTER TABLE default.usage UPDATE value = 1, unit = 'x' WHERE toString(record_id) LIKE '%000004' SETTINGS mutations_sync = 1");
    assert_eq!(held(target.as_mut(), 3..6), Some(vec![Held::Same, Held::Different("unit, value".to_owned()), Held::Same]));
    // A record that the table refuses does not block the others.
    clickhouse.ask("ALTER TABLE default.usage ADD CONSTRAINT known CHECK toString(record_id) NOT LIKE '%000021'");
    let answers = send(target.as_mut(), 20..24);
    assert!(
        matches!(&answers[..], [Answer::Accepted, Answer::Refused(why), Answer::Accepted, Answer::Accepted] if why.contains("known")),
        "{answers:?}"
    );
    // The server is killed and comes again.
    clickhouse.kill();
    let answers = send(target.as_mut(), 24..26);
    assert!(matches!(answers[..], [Answer::Unavailable { .. }, Answer::NotTried]), "{answers:?}");
    clickhouse.go();
    assert_eq!(send(target.as_mut(), 24..26), [Answer::Accepted, Answer::Accepted]);
    assert_eq!(clickhouse.ask("SELECT count() FROM default.usage FINAL"), "21");
    // A second table of the same records is made and filled without a person.
    clickhouse.ask("DROP TABLE default.usage");
    assert!(matches!(send(target.as_mut(), 0..2)[..], [Answer::Unavailable { .. }, Answer::NotTried]));
    assert_eq!(send(target.as_mut(), 0..2), [Answer::Accepted, Answer::Accepted]);
}

#[test]
fn a_wrong_password_is_an_answer_before_a_session_starts() {
    let Some(clickhouse) = ClickHouse::start("a_wrong_password (ClickHouse)") else { return };
    let folder = tempfile::tempdir().unwrap();
    let mut wrong = target(&yaml(clickhouse.port, "other"), folder.path(), &Value::Null);
    let why = wrong.probe().unwrap_err().to_string();
    assert!(why.contains("Authentication failed") && why.contains("`password`"), "{why}");
    assert!(wrong.needs_a_person());
    let mut right = target(&yaml(clickhouse.port, PASSWORD), folder.path(), &Value::Null);
    right.probe().unwrap();
    assert_eq!(right.repeat(), Repeat::ReadFirst);
}

#[test]
fn a_server_that_is_away_is_an_answer_before_a_session_starts() {
    let folder = tempfile::tempdir().unwrap();
    let port = free_port();
    let mut away = target(&yaml(port, PASSWORD), folder.path(), &Value::Null);
    let why = away.probe().unwrap_err().to_string();
    assert!(why.contains(&format!("127.0.0.1:{port}")) && why.contains("no connection"), "{why}");
}
