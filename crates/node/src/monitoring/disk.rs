//! The bytes of the data folder, by kind of file.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::Path;

/// Returns the bytes of the files of a data folder by what they hold: `log`, `events`, `meters`,
/// `records`, `verdicts`, `tables`, `runs`, `catalog` and `other`.
///
/// # Errors
/// A folder cannot be listed.
pub fn bytes_by_kind(data: &Path) -> io::Result<BTreeMap<&'static str, u64>> {
    let mut bytes = BTreeMap::new();
    add(data, &mut Vec::new(), &mut bytes)?;
    Ok(bytes)
}

fn add(folder: &Path, path: &mut Vec<String>, bytes: &mut BTreeMap<&'static str, u64>) -> io::Result<()> {
    let entries = match fs::read_dir(folder) {
        // It was removed meanwhile.
        Err(why) if why.kind() == io::ErrorKind::NotFound => return Ok(()),
        entries => entries?,
    };
    for entry in entries {
        let entry = entry?;
        path.push(entry.file_name().to_string_lossy().into_owned());
        match entry.metadata() {
            Ok(found) if found.is_dir() => add(&entry.path(), path, bytes)?,
            Ok(found) => *bytes.entry(kind_of(path)).or_default() += found.len(),
            Err(why) if why.kind() == io::ErrorKind::NotFound => {}
            Err(why) => return Err(why),
        }
        path.pop();
    }
    Ok(())
}

/// Returns the kind of a file by its path in the data folder.
fn kind_of(path: &[String]) -> &'static str {
    let part = |at: usize| path.get(at).map_or("", String::as_str);
    match (part(0), part(2)) {
        ("log", _) => "log",
        ("events", _) | ("pipelines", "derived") => "events",
        ("tables", _) => "tables",
        ("runs", _) => "runs",
        ("catalog.redb", _) => "catalog",
        ("pipelines", "checkpoints" | "identities" | "rollups") => "meters",
        ("pipelines", "records" | "records-index" | "settled" | "notes") => "records",
        ("pipelines", "verdicts" | "parked") => "verdicts",
        _ => "other",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_file_counts_under_one_kind() {
        let folder = tempfile::tempdir().unwrap();
        let files = [
            ("log/0.seg", 7),
            ("events/a/0.parquet", 5),
            ("events/b/0.parquet", 6),
            ("pipelines/a/checkpoints/1.ckpt", 3),
            ("pipelines/a/identities/0-0.run", 4),
            ("pipelines/a/verdicts/0.seg", 2),
            ("catalog.redb", 9),
            ("LOCK", 1),
        ];
        for (name, length) in files {
            let path = folder.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, vec![0; length]).unwrap();
        }
        let expected = [("catalog", 9), ("events", 11), ("log", 7), ("meters", 7), ("other", 1), ("verdicts", 2)];
        assert_eq!(bytes_by_kind(folder.path()).unwrap(), BTreeMap::from(expected));
    }
}
