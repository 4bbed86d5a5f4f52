//! Tables of runs that resume where the one before ended: their versions are in the folder.
//!
//! Each table has a file with its version and hash, and each content one under its hash. A file
//! of rows that is refused leaves the version before in force; without one the run ends.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use flowmeter_connectors::tables;
use flowmeter_core::partition::Identities;
use flowmeter_core::plan::Plan;
use flowmeter_core::table::{Content, Row, Table, TableOrigin};
use flowmeter_engine::{Engine, Error, Kind};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The version of a table that is in force.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Version {
    version: u64,
    hash: String,
    rows: usize,
    bytes: usize,
}

/// Gives every table of a plan its newest content.
pub(super) fn load<I: Identities + Send + Sync>(plan: &Plan, data: &Path, engine: &mut Engine<I>) -> Result<(), Error> {
    for (at, table) in plan.tables.iter().enumerate() {
        let folder = data.join("runs").join(plan.id.to_string()).join("tables");
        if let Some(content) = newest(table, &folder)? {
            engine.set_table(at, Some(Arc::new(content)));
        }
    }
    Ok(())
}

/// Gives every table of the plan of the previous run the content that was in force there.
pub(super) fn load_kept<I: Identities + Send + Sync>(plan: &Plan, data: &Path, engine: &mut Engine<I>) -> Result<(), Error> {
    let folder = data.join("runs").join(plan.id.to_string()).join("tables");
    for (at, table) in plan.tables.iter().enumerate().filter(|(_, table)| !matches!(table.origin, TableOrigin::Document(_))) {
        if let Some((_, content)) = known(table, &folder)? {
            engine.set_table(at, Some(Arc::new(content)));
        }
    }
    Ok(())
}

fn newest(table: &Table, folder: &Path) -> Result<Option<Content>, Error> {
    if let TableOrigin::Document(_) = table.origin {
        return Ok(None);
    }
    let known = known(table, folder)?;
    match (tables::read(table, crate::clock::now()), known) {
        (Ok(Some(content)), known) => {
            keep(table, folder, &content, known.map(|(version, _)| version))?;
            Ok(Some(content))
        }
        (Err(why), Some((version, content))) => {
            let (name, version) = (&table.name, version.version);
            eprintln!("{why}; version {version} of table `{name}` stays in force");
            Ok(Some(content))
        }
        (Ok(None), Some((_, content))) => Ok(Some(content)),
        (Err(why), None) => Err(why),
        (Ok(None), None) => {
            let message = format!("the table `{}` has no rows; give it a `file` or `rows` in the document", table.name);
            Err(Error::new(Kind::Invalid, message))
        }
    }
}

fn version_file(table: &Table, folder: &Path) -> PathBuf {
    folder.join(format!("{}.json", table.name))
}

fn content_file(folder: &Path, hash: &str) -> PathBuf {
    folder.join(format!("{hash}.zst"))
}

/// The version in force and its content.
fn known(table: &Table, folder: &Path) -> Result<Option<(Version, Content)>, Error> {
    let file = version_file(table, folder);
    if !file.exists() {
        return Ok(None);
    }
    let corrupt = |file: &Path, why: &dyn std::fmt::Display| Error::new(Kind::Corrupt, format!("{}: {why}", file.display()));
    let bytes = std::fs::read(&file).map_err(|why| Error::io(file.display(), &why))?;
    let version: Version = serde_json::from_slice(&bytes).map_err(|why| corrupt(&file, &why))?;
    let file = content_file(folder, &version.hash);
    let packed = std::fs::read(&file).map_err(|why| Error::io(file.display(), &why))?;
    let rows = zstd::decode_all(packed.as_slice()).map_err(|why| corrupt(&file, &why))?;
    let row = |(line, text): (u64, &[u8])| Row {
        line,
        columns: match serde_json::from_slice(text) {
            Ok(Value::Object(columns)) => Ok(columns),
            _ => Err("not a JSON object".to_owned()),
        },
    };
    let rows = (1..).zip(rows.split(|c| *c == b'\n').filter(|line| !line.is_empty())).map(row).collect();
    // Another version of the document may ask for more than the rows have.
    Ok(Content::new(table, rows).ok().map(|content| (version, content)))
}

/// Keeps a content, if it is another than before.
fn keep(table: &Table, folder: &Path, content: &Content, before: Option<Version>) -> Result<(), Error> {
    let hash = flowmeter_engine::live::hash_of(content.canonical());
    if before.as_ref().is_some_and(|before| before.hash == hash) {
        return Ok(());
    }
    let write = |file: PathBuf, bytes: &[u8]| {
        let beside = file.with_extension("new");
        let written = std::fs::write(&beside, bytes).and_then(|()| std::fs::rename(&beside, &file));
        written.map_err(|why| Error::io(file.display(), &why))
    };
    std::fs::create_dir_all(folder).map_err(|why| Error::io(folder.display(), &why))?;
    let packed = zstd::encode_all(content.canonical(), 3).map_err(|why| Error::io(folder.display(), &why))?;
    write(content_file(folder, &hash), &packed)?;
    let (rows, bytes) = (content.row_count(), content.canonical().len());
    let version = Version { version: before.map_or(1, |before| before.version + 1), hash, rows, bytes };
    let text = serde_json::to_vec(&version).map_err(|why| Error::new(Kind::Bug, why.to_string()))?;
    write(version_file(table, folder), &text)
}
