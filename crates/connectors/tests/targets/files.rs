//! Files.

use std::fs;

use flowmeter_engine::outbox::{Answer, Held, Outgoing, Span};
use serde_json::Value;

use super::contract::{keeps_to_it, record, target};

#[test]
fn files_that_grow_keep_to_the_contract() {
    for (format, head) in [("ndjson", 0), ("csv", 1)] {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(format!("2026-02-01T00:00:00.000Z.{format}"));
        let yaml = format!("  - file: {{ path: '{{periodEnd}}.{format}' }}");
        let count = || fs::read_to_string(&path).map_or(0, |text| text.lines().count() - head);
        keeps_to_it(&|memory: &Value| target(&yaml, folder.path(), memory), None, &count);
    }
}

#[test]
fn files_of_windows_keep_to_the_contract() {
    for format in ["ndjson", "csv", "parquet"] {
        let folder = tempfile::tempdir().unwrap();
        let yaml = format!("  - file: {{ path: 'out/{{periodEnd}}-{{window}}.{format}' }}");
        let first = folder.path().join(format!("out/2026-02-01T00:00:00.000Z-000000000000.{format}"));
        let names = || fs::read_dir(folder.path().join("out")).map_or(0, Iterator::count);
        // Windows of 10, 5 and 1 records; the record that is sent by itself finds its window.
        let count = || match names() {
            0 => 0,
            1 => 10,
            2 => 15,
            3 => 16,
            _ => 16,
        };
        let lose = || fs::remove_file(&first).unwrap();
        keeps_to_it(&|memory: &Value| target(&yaml, folder.path(), memory), Some(&lose), &count);
        assert!(
            fs::read_dir(folder.path().join("out"))
                .unwrap()
                .flatten()
                .all(|entry| !entry.file_name().to_string_lossy().starts_with('.'))
        );
    }
}

#[test]
fn a_parquet_file_does_not_grow() {
    let folder = tempfile::tempdir().unwrap();
    let open = || target("  - file: { path: all.parquet }", folder.path(), &Value::Null);
    assert!(std::panic::catch_unwind(std::panic::AssertUnwindSafe(open)).is_err());
}

/// The first record of a window was skipped, and is resent after the window went without it.
#[test]
fn a_record_that_its_window_was_written_without_goes_into_a_file_of_its_own() {
    let folder = tempfile::tempdir().unwrap();
    let yaml = "  - file: { path: 'out/{window}.ndjson' }";
    let mut target = target(yaml, folder.path(), &Value::Null);
    let texts: Vec<String> = (0..4).map(|number| record(1, number)).collect();
    let records: Vec<Outgoing<'_>> =
        texts.iter().enumerate().map(|(at, text)| Outgoing { number: at as u64, json: text.as_bytes() }).collect();
    let window = |until: u64| Span { first: 0, until };
    assert_eq!(target.send(window(4), &records[1..]), vec![Answer::Accepted; 3]);
    assert_eq!(target.send(window(1), &records[..1]), vec![Answer::Accepted]);
    assert_eq!(target.send(window(1), &records[..1]), vec![Answer::Accepted], "again");
    let names: Vec<String> = {
        let files = fs::read_dir(folder.path().join("out")).unwrap();
        let mut names: Vec<String> = files.map(|file| file.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    };
    assert_eq!(names, ["000000000000-alone.ndjson", "000000000000.ndjson"]);
    target.look_afresh();
    assert_eq!(target.read_back(&records).unwrap(), vec![Held::Same; 4]);
}
