//! Tables of a running pipeline: which version of each is in force.
//!
//! A version comes into force by an entry of the log and holds for every event behind it. Its rows
//! are in a file that is named by their hash. The file is written before the entry and never
//! changed, so a replay reads the same rows.

use std::collections::BTreeMap;
use std::io::Read;
use std::sync::Arc;

use flowmeter_core::plan::Plan;
use flowmeter_core::table::{Content, Table, TableOrigin};
use flowmeter_store::Examined;
use flowmeter_store::disk::{Disk, read_all, write_whole};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::Live;
use crate::Error;

/// The folder with the contents of tables.
const FOLDER: &str = "tables";

/// A version of a table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TableVersion {
    /// A number that counts up from 1.
    pub version: u64,
    /// The SHA-256 of the canonical rows, in hexadecimal.
    pub hash: String,
}

/// The versions in force, by the name of the table.
pub(crate) type InForce = BTreeMap<String, TableVersion>;

/// Writes the rows of a content to its file, which may exist already.
///
/// # Errors
/// The file cannot be written.
pub fn keep_content(disk: &dyn Disk, hash: &str, canonical: &[u8]) -> Result<(), Error> {
    let name = format!("{hash}.zst");
    let at = |why: std::io::Error| Error::from(flowmeter_store::Error::io(format!("{FOLDER}/{name}"), &why));
    disk.create_folder(FOLDER).map_err(at)?;
    let packed = zstd::encode_all(canonical, 3).map_err(at)?;
    write_whole(disk, FOLDER, &name, &packed).map_err(at)
}

/// Reads the content of a table from the file of a version; `None` if its rows do not fit the
/// table as a document declares it.
///
/// # Errors
/// The file is missing or damaged.
pub fn read_content(disk: &dyn Disk, table: &Table, hash: &str) -> Result<Option<Content>, Error> {
    let rows = read_rows(disk, &format!("{FOLDER}/{hash}.zst"), table.bytes_max as u64)?;
    Ok(rows.and_then(|rows| Content::of_canonical(table, &rows).ok()))
}

/// Reads the rows of a file and compares them with the hash in its name; `None` if they have more
/// bytes than a table may have.
fn read_rows(disk: &dyn Disk, file: &str, bytes_max: u64) -> Result<Option<Vec<u8>>, Error> {
    let damaged = |why: &str| Error::from(flowmeter_store::Error::corrupt(file, why));
    let packed = read_all(disk, file).map_err(|why| Error::from(flowmeter_store::Error::io(file, &why)))?;
    let mut rows = Vec::new();
    let read = zstd::stream::read::Decoder::new(packed.as_slice())
        .and_then(|decoder| decoder.take(bytes_max.saturating_add(1)).read_to_end(&mut rows));
    match read.map_err(|why| damaged(&why.to_string()))? as u64 {
        length if length > bytes_max => Ok(None),
        _ if file == format!("{FOLDER}/{}.zst", hash_of(&rows)) => Ok(Some(rows)),
        _ => Err(damaged("its rows do not have the hash in its name")),
    }
}

/// Returns the SHA-256 of canonical rows, in hexadecimal.
pub fn hash_of(rows: &[u8]) -> String {
    use std::fmt::Write as _;
    Sha256::digest(rows).iter().fold(String::with_capacity(64), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// Reads the contents of all tables and compares each with the hash in its name.
///
/// # Errors
/// The folder cannot be read.
pub fn examine_contents(disk: &dyn Disk) -> Result<Vec<Examined>, Error> {
    let examine = |file: String| {
        let outcome = read_rows(disk, &file, u64::MAX - 1).map(drop);
        let outcome = outcome.map_err(|why| flowmeter_store::Error::corrupt(&file, why.to_string()));
        Examined::new(file, outcome)
    };
    Ok(content_files(disk)?.into_iter().map(examine).collect())
}

/// Returns the names of the files with contents of tables.
///
/// # Errors
/// The folder cannot be read.
fn content_files(disk: &dyn Disk) -> Result<Vec<String>, Error> {
    let names = disk.list(FOLDER).map_err(|why| Error::from(flowmeter_store::Error::io(FOLDER, &why)))?;
    Ok(names.iter().filter(|name| name.ends_with(".zst")).map(|name| format!("{FOLDER}/{name}")).collect())
}

/// Copies the contents of all tables to another disk.
///
/// # Errors
/// A file cannot be read or written.
pub fn copy_contents(from: &dyn Disk, to: &dyn Disk) -> Result<(), Error> {
    for file in content_files(from)? {
        let at = |why: std::io::Error| Error::from(flowmeter_store::Error::io(&file, &why));
        let bytes = read_all(from, &file).map_err(at)?;
        let name = file.strip_prefix("tables/").unwrap_or(&file);
        to.create_folder(FOLDER).and_then(|()| write_whole(to, FOLDER, name, &bytes)).map_err(at)?;
    }
    Ok(())
}

/// Whether the rows of a table come from outside of the document.
pub fn has_versions(table: &Table) -> bool {
    !matches!(table.origin, TableOrigin::Document(_))
}

impl Live {
    /// Returns the versions of tables that are in force.
    pub fn tables_in_force(&self) -> BTreeMap<String, TableVersion> {
        self.tables.clone()
    }

    /// Puts a version of a table in force.
    pub(super) fn put_table(&mut self, name: &str, version: &TableVersion) -> Result<(), Error> {
        self.tables.insert(name.to_owned(), version.clone());
        let plan = Arc::clone(&self.plan);
        self.fill_tables(&plan, Some(name))
    }

    /// Gives the engine the contents of a table, or of all tables.
    pub(super) fn fill_tables(&mut self, plan: &Plan, only: Option<&str>) -> Result<(), Error> {
        let tables = plan.tables.iter().enumerate().filter(|(_, table)| only.is_none_or(|name| name == table.name));
        for (at, table) in tables.filter(|(_, table)| has_versions(table)) {
            let Some(version) = self.tables.get(&table.name) else { continue };
            // A content that does not fit is none: an event that needs it is parked.
            let content = read_content(&*self.disk, table, &version.hash)?;
            self.engine.set_table(at, content.map(Arc::new));
        }
        Ok(())
    }
}
