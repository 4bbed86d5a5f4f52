//! Probes of targets before records are sent.

use std::net::TcpListener;
use std::path::Path;

use flowmeter_engine::Kind;
use flowmeter_engine::outbox::Answer;
use serde_json::Value;

use super::contract::{send, target};
use super::support::moto::Moto;
use super::support::postgres::Postgres;
use super::support::receiver::Receiver;

fn told(yaml: &str, folder: &Path) -> Result<(), (Kind, String)> {
    target(yaml, folder, &Value::Null).probe().map_err(|why| (why.kind, why.to_string()))
}

/// A port without a listener.
fn closed() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

#[test]
fn a_receiver_that_is_there_is_not_sent_anything() {
    let receiver = Receiver::start();
    assert_eq!(told(&format!("  - webhook: {{ url: '{}' }}", receiver.url("/usage")), Path::new(".")), Ok(()));
    assert_eq!(receiver.requests().len(), 0);
}

#[test]
fn a_wrong_port_a_refused_token_and_a_wrong_certificate_are_told() {
    let port = closed();
    let (kind, why) = told(&format!("  - webhook: {{ url: 'http://127.0.0.1:{port}/x' }}"), Path::new(".")).unwrap_err();
    assert_eq!(kind, Kind::Unavailable);
    assert!(why.starts_with(&format!("no connection to 127.0.0.1:{port}: ")) && why.contains("check that it runs"), "{why}");
    let receiver = Receiver::start();
    receiver.answer("/token", 401, "no such client");
    let auth = format!("oauth2: {{ tokenUrl: '{}', clientId: a, clientSecret: b }}", receiver.url("/token"));
    let yaml = format!("  - webhook: {{ url: '{}', auth: {{ {auth} }} }}", receiver.url("/usage"));
    let (_, why) = told(&yaml, Path::new(".")).unwrap_err();
    assert!(why.contains("getting a token: 401") && why.contains("no such client; check `auth`"), "{why}");
    // A server without TLS.
    let (_, why) = told(&format!("  - webhook: {{ url: 'https://127.0.0.1:{}/x' }}", receiver.port), Path::new(".")).unwrap_err();
    assert!(why.contains("TLS: "), "{why}");
}

#[test]
fn a_folder_that_cannot_be_written_is_told() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("taken"), "a file").unwrap();
    for path in ["taken/{periodEnd}.ndjson", "taken/all.ndjson", "taken/{periodEnd}/{window}.parquet"] {
        let (kind, why) = told(&format!("  - file: {{ path: '{path}' }}"), folder.path()).unwrap_err();
        assert_eq!(kind, Kind::Invalid);
        assert!(why.contains("taken/: ") && why.contains("make the folder"), "{why}");
    }
    for path in ["new/{periodEnd}.ndjson", "all.ndjson", "deep/er/{periodEnd}/{window}.parquet"] {
        assert_eq!(told(&format!("  - file: {{ path: '{path}' }}"), folder.path()), Ok(()), "{path}");
    }
    assert_eq!(std::fs::read_dir(folder.path().join("new")).unwrap().count(), 0, "nothing is left behind");
}

#[test]
fn a_schema_is_made_and_a_login_or_a_database_that_is_refused_is_told() {
    let Some(postgres) = Postgres::start("a_schema_is_made") else { return };
    let folder = Path::new(".");
    let yaml = |url: &str, table: &str| format!("  - postgres: {{ url: '{url}', table: {table} }}");
    let url = postgres.url();
    assert_eq!(told(&yaml(&url, "billing.metered_records"), folder), Ok(()));
    assert_eq!(postgres.ask("select count(*) from billing.metered_records"), "0");
    for (url, expected) in [
        (url.replace("postgres@", "stranger@"), "role \"stranger\" does not exist (28000)"),
        (url.trim_end_matches("postgres").to_owned() + "nowhere", "(3D000)"),
    ] {
        let (kind, why) = told(&yaml(&url, "t"), folder).unwrap_err();
        assert_eq!(kind, Kind::Invalid, "{why}");
        assert!(why.contains(expected) && why.contains("check that it runs"), "{why}");
    }
    let (kind, why) = told(&yaml(&format!("postgres://me@127.0.0.1:{}/x", closed()), "t"), folder).unwrap_err();
    assert_eq!(kind, Kind::Unavailable);
    assert!(why.contains("postgres at 127.0.0.1:"), "{why}");
    // A role that may only write needs no right to create tables.
    postgres.ask("create role writer login; grant usage on schema billing to writer");
    postgres.ask("grant select, insert, update on billing.metered_records, billing.metered_records_cursor to writer");
    let writer = yaml(&url.replace("postgres@", "writer@"), "billing.metered_records");
    assert_eq!(told(&writer, folder), Ok(()));
    let mut open = target(&writer, folder, &Value::Null);
    assert_eq!(send(open.as_mut(), 0..2), [Answer::Accepted, Answer::Accepted]);
    assert!(!open.needs_a_person());
    // Waiting does not fix a revoked right.
    postgres.ask("revoke insert on billing.metered_records from writer");
    assert!(matches!(send(open.as_mut(), 2..3)[..], [Answer::Unavailable { .. }]));
    assert!(open.needs_a_person());
}

#[test]
fn a_missing_bucket_is_reported() {
    let Some(moto) = Moto::start("a_missing_bucket_is_reported", "usage") else { return };
    let yaml = |bucket: &str, url: &str| {
        format!(
            "  - objectStorage: {{ url: 's3://{bucket}/flow', path: '{{window}}.ndjson', options: {{ endpoint: '{url}', region: us-east-1, access_key_id: a, secret_access_key: b, allow_http: 'true' }} }}"
        )
    };
    assert_eq!(told(&yaml("usage", &moto.url()), Path::new(".")), Ok(()));
    let (kind, why) = told(&yaml("missing", &moto.url()), Path::new(".")).unwrap_err();
    assert_eq!(kind, Kind::Invalid, "{why}");
    assert!(why.contains("NoSuchBucket") && why.contains("check that the bucket is there"), "{why}");
}
