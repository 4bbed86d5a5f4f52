//! Rows of a real Postgres, which is stopped and killed too.

use std::time::Duration;

use serde_json::json;

use crate::services::postgres::Postgres;
use crate::support::chance::Chance;
use crate::support::server::{Server, eventually};
use crate::{completed, create, document, events, expected, kills, start, sums};

const TABLE: &str =
    "CREATE TABLE usage (id bigserial PRIMARY KEY, \"user\" text, at timestamptz, n numeric, changed timestamptz)";

fn insert(numbers: std::ops::Range<u64>) -> String {
    let (from, until) = (numbers.start, numbers.end - 1);
    format!(
        "INSERT INTO usage (\"user\", at, n, changed) SELECT 'u' || g % 3, '2026-01-15T10:00:00Z', g, \
         timestamptz '2026-01-15T10:00:00Z' + (g / 10) * interval '1 second' FROM generate_series({from}, {until}) g"
    )
}

fn source(postgres: &Postgres, more: &str) -> String {
    format!("dedupe: off\nsource:\n  postgres: {{ url: '{}', {more} }}", postgres.url())
}

#[test]
fn rows_come_once_in_the_order_of_a_cursor_with_every_digit() {
    let Some(postgres) = Postgres::start("rows_come_once_in_the_order_of_a_cursor") else { return };
    postgres.ask(TABLE);
    postgres.ask(&insert(0..1_000));
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(&folder.path().join("data"), &[]);
    // Ten rows share a cursor value, and the second column distinguishes them.
    create(&server, &document(&source(&postgres, "table: usage, cursor: changed, tie: id, batch: 7, mode: once"), ""));
    assert_eq!(events(&completed(&server, &start(&server, &json!({"asOf": "2026-01-31T00:00:00Z"})))), [1_000, 1_000, 0, 0]);
    postgres.ask(&insert(1_000..1_100));
    assert_eq!(events(&completed(&server, &start(&server, &json!({"asOf": "2026-01-31T00:00:00Z"})))), [100, 100, 0, 0]);
    postgres.ask(
        "INSERT INTO usage (\"user\", at, n, changed) VALUES ('u9', '2026-01-15T10:00:00.123456Z', 0.123456789012345678, now())",
    );
    completed(&server, &start(&server, &json!({"asOf": "2026-02-01T00:00:00Z"})));
    let mut wanted = expected(0..1_100);
    wanted.push(("u9".to_owned(), "2026-01".to_owned(), "0.123456789012345678".to_owned()));
    assert_eq!(sums(&server), wanted);
}

#[test]
fn a_query_is_followed_while_server_and_database_are_killed() {
    let Some(postgres) = Postgres::start("a_query_is_followed_while_both_are_killed") else { return };
    postgres.ask(TABLE);
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let mut server = Server::start(&data, &[]);
    let query = "query: 'SELECT id, \"user\", at, n FROM usage WHERE n >= 0', cursor: id, batch: 500, interval: 100ms";
    create(&server, &document(&source(&postgres, query), ""));
    let id = start(&server, &json!({}));
    let mut chance = Chance(5);
    let mut sent = 0;
    for turn in 0..kills(4) {
        postgres.ask(&insert(sent..sent + 5_000));
        sent += 5_000;
        std::thread::park_timeout(Duration::from_millis(chance.below(300)));
        if turn % 2 == 0 {
            server.crash();
            server = Server::start(&data, &[]);
        } else {
            postgres.stop("immediate");
            postgres.go();
        }
    }
    eventually("all rows are counted", || {
        let session = server.get(&format!("/api/v1/sessions/{id}"));
        (session["counts"]["events"]["received"] == sent).then_some(())
    });
    let finished = server.post(&format!("/api/v1/sessions/{id}/finish"), &json!({}));
    assert_eq!(finished.status, 200, "{}", finished.text());
    completed(&server, &id);
    assert_eq!(sums(&server), expected(0..sent));
}

#[test]
fn a_wrong_column_fails_the_session_and_says_which() {
    let Some(postgres) = Postgres::start("a_wrong_column_fails_the_session") else { return };
    postgres.ask(TABLE);
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(&folder.path().join("data"), &[]);
    create(&server, &document(&source(&postgres, "table: usage, cursor: changd"), ""));
    let session = crate::ended(&server, &start(&server, &json!({})));
    assert_eq!(session["sessionStatus"], "FAILED");
    assert!(session["error"].as_str().unwrap().contains("changd"), "{session}");
}
