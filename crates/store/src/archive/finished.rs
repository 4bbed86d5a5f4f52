//! Finished files: their names describe their content.
//!
//! `00000000000000000001-00000000000000004096-1c291ca3.parquet` holds the positions 1 to 4096. The
//! zeros make names sort like positions. The last part is the checksum of everything after the row
//! groups, which cannot contain its own. A name that ends in `.new` is that of an unfinished file.

use std::io::ErrorKind;

use crate::Error;
use crate::disk::Disk;

const ENDING: &str = ".parquet";
const UNFINISHED: &str = ".new";
const DIGITS: usize = 20;

/// A file of the archive that is complete.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Finished {
    /// The position of its first row.
    pub(super) first: u64,
    /// The position of its last row.
    pub(super) last: u64,
    /// The CRC-32C of the part after the last row group.
    pub(super) checksum: u32,
    pub(super) bytes: u64,
}

impl Finished {
    pub(super) fn name(&self) -> String {
        format!("{:0DIGITS$}-{:0DIGITS$}-{:08x}{ENDING}", self.first, self.last, self.checksum)
    }

    pub(super) fn rows(&self) -> u64 {
        self.last - self.first + 1
    }
}

/// Returns the name of an unfinished file.
pub(super) fn unfinished(first: u64) -> String {
    format!("{first:0DIGITS$}{UNFINISHED}")
}

/// Returns the finished files of a folder, in order. Other files there are ignored.
pub(super) fn list(disk: &dyn Disk, folder: &str) -> Result<Vec<Finished>, Error> {
    let names = disk.list(folder).map_err(|why| Error::io(folder, &why))?;
    let mut files: Vec<Finished> = Vec::new();
    for mut file in names.iter().filter_map(|name| parse(name)) {
        let path = format!("{folder}/{}", file.name());
        file.bytes = match disk.open(&path).and_then(|open| open.len()) {
            // Retention removed it; a reader may run at the same time.
            Err(why) if why.kind() == ErrorKind::NotFound => continue,
            bytes => bytes.map_err(|why| Error::io(&path, &why))?,
        };
        if files.last().is_some_and(|before| before.last >= file.first) {
            return Err(Error::corrupt(path, "holds positions that the file before it holds too"));
        }
        files.push(file);
    }
    Ok(files)
}

/// Removes files that were unfinished when the program ended.
pub(super) fn remove_unfinished(disk: &dyn Disk, folder: &str) -> Result<(), Error> {
    let names = disk.list(folder).map_err(|why| Error::io(folder, &why))?;
    for name in names.iter().filter(|name| name.ends_with(UNFINISHED)) {
        let path = format!("{folder}/{name}");
        disk.remove(&path).map_err(|why| Error::io(&path, &why))?;
    }
    Ok(())
}

/// Reads a name; `None` if it is not that of a finished file.
fn parse(name: &str) -> Option<Finished> {
    let (first, rest) = name.strip_suffix(ENDING)?.split_once('-')?;
    let (last, checksum) = rest.split_once('-')?;
    let number = |digits: &str| match digits.len() == DIGITS && digits.bytes().all(|b| b.is_ascii_digit()) {
        true => digits.parse::<u64>().ok(),
        false => None,
    };
    // Positions fit the signed column that they stand in; so one more never overflows.
    let (first, last) = (number(first)?, number(last).filter(|last| i64::try_from(*last).is_ok())?);
    let file = Finished { first, last, checksum: u32::from_str_radix(checksum, 16).ok()?, bytes: 0 };
    (first <= last && file.name() == name).then_some(file)
}
