//! How much of the archive is kept: by size and by age.

use parquet::file::statistics::Statistics;

use super::Settings;
use super::columns;
use super::filter::chunk;
use super::finished::Finished;
use super::scan::Open;
use crate::Error;
use crate::disk::{self, Disk};

/// Holds the position behind the last archived one while no file's name can.
const NEXT: &str = "next";

/// How many of the oldest files are to go. Arrival is in order, so the first file that
/// is young enough ends the search by age, and only one footer too many is read.
pub(super) fn surplus(disk: &dyn Disk, folder: &str, files: &[Finished], settings: &Settings, now: i64) -> Result<usize, Error> {
    let mut surplus = 0;
    if let Some(bytes_max) = settings.retention_bytes {
        let mut bytes: u64 = files.iter().map(|file| file.bytes).sum();
        while bytes > bytes_max && surplus < files.len() {
            bytes -= files[surplus].bytes;
            surplus += 1;
        }
    }
    if let Some(age) = settings.retention_age {
        let oldest = now.saturating_sub_unsigned(age);
        while surplus < files.len() && newest_received_at(disk, folder, &files[surplus])? < oldest {
            surplus += 1;
        }
    }
    Ok(surplus)
}

/// When the file's last event came in.
fn newest_received_at(disk: &dyn Disk, folder: &str, file: &Finished) -> Result<i64, Error> {
    let path = format!("{folder}/{}", file.name());
    let open = Open::new(disk, &path, file)?;
    let newest = open.groups().map(|group| match chunk(group, columns::RECEIVED_AT)?.statistics()? {
        Statistics::Int64(bounds) => bounds.max_opt().copied(),
        _ => None,
    });
    let newest: Option<Vec<i64>> = newest.collect();
    newest.and_then(|all| all.into_iter().max()).ok_or_else(|| Error::corrupt(path, "does not say when its events came in"))
}

/// Writes down the position that comes next.
pub(super) fn remember(disk: &dyn Disk, folder: &str, next: u64) -> Result<(), Error> {
    disk::write_whole(disk, folder, NEXT, format!("{next}\n").as_bytes())
        .map_err(|why| Error::io(format_args!("{folder}/{NEXT}"), &why))
}

/// The file that holds the position written down, if there is one.
pub(super) fn file_of_next(disk: &dyn Disk, folder: &str) -> Result<Option<String>, Error> {
    let names = disk.list(folder).map_err(|why| Error::io(folder, &why))?;
    Ok(names.iter().any(|name| name == NEXT).then(|| format!("{folder}/{NEXT}")))
}

/// The position written down.
pub(super) fn remembered(disk: &dyn Disk, folder: &str) -> Result<Option<u64>, Error> {
    let path = format!("{folder}/{NEXT}");
    let bytes = match disk::read_all(disk, &path) {
        Err(why) if why.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        bytes => bytes.map_err(|why| Error::io(&path, &why))?,
    };
    let next = std::str::from_utf8(&bytes).ok().and_then(|text| text.strip_suffix('\n')?.parse().ok());
    next.map(Some).ok_or_else(|| Error::corrupt(path, "is not a position"))
}
