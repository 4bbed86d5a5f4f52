//! The Postgres target, with a real server.

use flowmeter_engine::outbox::Answer;
use serde_json::Value;

use super::contract::{keeps_to_it, send, target};
use super::support::postgres::Postgres;

#[test]
fn rows_keep_to_the_contract_through_a_restart_and_tell_what_is_wrong() {
    let Some(postgres) = Postgres::start("rows_keep_to_the_contract") else { return };
    let folder = tempfile::tempdir().unwrap();
    let yaml = format!("  - postgres: {{ url: '{}' }}", postgres.url());
    let reopen = |memory: &Value| target(&yaml, folder.path(), memory);
    let count = || match postgres.ask("select to_regclass('metered_records')").as_str() {
        "" => 0,
        _ => postgres.ask("select count(*) from metered_records").parse().unwrap(),
    };
    let lose = || drop(postgres.ask("delete from metered_records where record_id = '10000000-0000-4000-8000-000000000001'"));
    keeps_to_it(&reopen, Some(&lose), &count);
    // Every digit is stored, and values that are not numbers are unchanged.
    let row = "select value, groups -> 0 -> 'value', carry_last ->> 'a', period_end, user_id, delta is null from metered_records order by record_id limit 1";
    assert_eq!(
        postgres.ask(&format!("set timezone = 'UTC'; {row}")).lines().last().unwrap(),
        "12345678901234567890.123456789012345678|0.10|tab\there|2026-02-01 00:00:00+00|user0@example.com|t"
    );
    // A row that was changed is reported, and repaired by sending it again.
    let mut target = reopen(&Value::Null);
    postgres.ask("update metered_records set value = 1, unit = 'x' where record_id::text like '%000004'");
    let held = super::contract::held(target.as_mut(), 3..6).unwrap();
    assert_eq!(format!("{held:?}"), r#"[Same, Different("unit, value"), Same]"#);
    assert_eq!(send(target.as_mut(), 4..5), [Answer::Accepted]);
    assert_eq!(format!("{:?}", super::contract::held(target.as_mut(), 3..6).unwrap()), "[Same, Same, Same]");
    // A record that the table refuses does not block the others.
    postgres.ask("alter table metered_records add check (record_id::text not like '%000021')");
    let answers = send(target.as_mut(), 20..24);
    assert!(
        matches!(&answers[..], [Answer::Accepted, Answer::Refused(why), Answer::Accepted, Answer::Accepted] if why.contains("check constraint")),
        "{answers:?}"
    );
    // The power fails and returns.
    postgres.stop("immediate");
    assert!(matches!(send(target.as_mut(), 24..26)[..], [Answer::Unavailable { .. }, Answer::NotTried]));
    postgres.go();
    assert_eq!(send(target.as_mut(), 24..26), [Answer::Accepted, Answer::Accepted]);
    assert_eq!(postgres.ask("select next from metered_records_cursor"), "26");
}
