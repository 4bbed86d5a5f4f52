//! Files.

use std::fs;

use serde_json::Value;

use super::contract::{keeps_to_it, target};

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
