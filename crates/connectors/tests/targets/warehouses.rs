//! Objects with manifests for warehouses, at a real S3-compatible server. The warehouses themselves
//! are not there: the statements are compared as text.

use flowmeter_engine::outbox::{Answer, Held};
use serde_json::Value;

use super::contract::{held, keeps_to_it, send, target};
use super::support::moto::Moto;

fn snowflake(moto: &Moto, path: &str) -> String {
    format!(
        "  - snowflake:\n      url: s3://loads/flow/\n      stage: usage.flowmeter\n      table: BILLING.METERED_RECORDS\n      path: '{path}'\n      options: {{ endpoint: '{}', region: us-east-1, access_key_id: a, secret_access_key: b, allow_http: 'true' }}",
        moto.url()
    )
}

/// Returns the manifest of the first window.
fn manifest_of(moto: &Moto) -> String {
    let answer = moto.get("/loads/flow/manifests/000000000000.json").unwrap();
    answer.split_once("\r\n\r\n").unwrap().1.to_owned()
}

#[test]
fn objects_for_snowflake_keep_to_the_contract() {
    let Some(moto) = Moto::start("objects_for_snowflake_keep_to_the_contract", "loads") else { return };
    let folder = tempfile::tempdir().unwrap();
    let yaml = snowflake(&moto, "{meterType}/{window}.ndjson");
    let reopen = |memory: &Value| target(&yaml, folder.path(), memory);
    let count = || {
        let mut target = reopen(&Value::Null);
        held(target.as_mut(), 0..20).unwrap().iter().filter(|held| **held == Held::Same).count()
    };
    keeps_to_it(&reopen, None, &count);
}

#[test]
fn a_window_has_one_manifest_with_the_statement_that_loads_it() {
    let Some(moto) = Moto::start("a_window_has_one_manifest_with_the_statement_that_loads_it", "loads") else { return };
    let folder = tempfile::tempdir().unwrap();
    let yaml = snowflake(&moto, "{userId}/{window}.parquet");
    let mut first = target(&yaml, folder.path(), &Value::Null);
    assert!(send(first.as_mut(), 0..6).iter().all(|answer| *answer == Answer::Accepted));
    let text = manifest_of(&moto);
    let manifest: Value = serde_json::from_str(&text).unwrap();
    let files = manifest["files"].as_array().unwrap();
    assert!(files.len() > 1, "{manifest}");
    assert_eq!(files.iter().map(|file| file["records"].as_u64().unwrap()).sum::<u64>(), 6);
    assert_eq!(manifest["records"], 6);
    let (name, url) = (files[0]["name"].as_str().unwrap(), files[0]["url"].as_str().unwrap());
    assert_eq!(url, format!("s3://loads/flow/{name}"));
    let load = manifest["load"].as_str().unwrap();
    assert!(load.starts_with("COPY INTO BILLING.METERED_RECORDS FROM @usage.flowmeter FILES = ('"), "{load}");
    assert!(load.contains(&format!("'{name}'")) && load.contains("TYPE = PARQUET"), "{load}");

    // The same window again, as after a crash, changes nothing; a manifest of others is not replaced.
    let mut again = target(&yaml, folder.path(), &Value::Null);
    assert!(send(again.as_mut(), 0..6).iter().all(|answer| *answer == Answer::Accepted));
    assert_eq!(manifest_of(&moto), text);
    moto.delete("/loads/flow/manifests/000000000000.json");
    moto.put("/loads/flow/manifests/000000000000.json", b"{}");
    let refused = send(target(&yaml, folder.path(), &Value::Null).as_mut(), 0..6);
    assert!(
        refused.iter().all(|answer| matches!(answer, Answer::Refused(why) if why.contains("names other objects"))),
        "{refused:?}"
    );
}

#[test]
fn names_that_would_end_a_statement_are_refused() {
    for (target, wrong) in [
        ("snowflake: { url: s3://b, table: 'x; drop table y' }", "no name of a table"),
        ("snowflake: { url: s3://b, stage: '@s' }", "no name of a stage"),
        ("bigquery: { url: s3://b, table: a.b }", "write gs://"),
        ("bigquery: { url: gs://b, table: records }", "DATASET.TABLE"),
    ] {
        let document = format!(
            "pipeline: p\nsource: {{ http: {{}} }}\noperators:\n  - meter: {{ key: a1f8797b-c827-4483-b6cf-6d3d3baa18a7, rules: [{{ category: c }}] }}\nmeterTypes: [{{ name: c, category: c }}]\ntargets:\n  - {target}\n"
        );
        let problems = flowmeter_document::Pipeline::read(&document).unwrap_err().to_string();
        assert!(problems.contains(wrong), "{target}: {problems}");
    }
}
