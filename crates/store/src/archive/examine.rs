//! Files of the event store, read whole.

use super::finished::{self, Finished};
use super::retention;
use super::scan::Open;
use crate::Error;
use crate::disk::Disk;
use crate::examine::Examined;

/// Reads every finished file of a folder whole: its footer, and each row group against its
/// checksum.
///
/// # Errors
/// The folder cannot be listed, or two files hold the same positions.
pub fn examine(disk: &dyn Disk, folder: &str) -> Result<Vec<Examined>, Error> {
    let one = |file: &Finished| {
        let path = format!("{folder}/{}", file.name());
        let outcome = Open::new(disk, &path, file).and_then(|open| open.verify_all());
        Examined::new(path, outcome)
    };
    let mut examined: Vec<Examined> = finished::list(disk, folder)?.iter().map(one).collect();
    if let Some(path) = retention::file_of_next(disk, folder)? {
        examined.push(Examined::new(path, retention::remembered(disk, folder).map(drop)));
    }
    Ok(examined)
}
