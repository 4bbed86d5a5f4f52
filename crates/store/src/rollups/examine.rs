//! Reads files of rollups whole, for verification.

use super::run::{Run, named_in};
use crate::Error;
use crate::disk::Disk;
use crate::examine::Examined;

/// Reads every run of a folder whole: head, index, foot, and each block against its checksum.
/// Opening checks whether it is the run that a manifest names.
///
/// # Errors
/// The folder cannot be listed.
pub fn examine(disk: &dyn Disk, folder: &str) -> Result<Vec<Examined>, Error> {
    let names = disk.list(folder).map_err(|why| Error::io(folder, &why))?;
    let runs = names.iter().filter(|name| name.ends_with(".rollup"));
    let one = |name: &String| Examined::new(format!("{folder}/{name}"), whole(disk, folder, name));
    Ok(runs.map(one).collect())
}

fn whole(disk: &dyn Disk, folder: &str, name: &str) -> Result<(), Error> {
    let run = Run::open(disk, folder, named_in(disk, folder, name)?)?;
    run.places.iter().try_for_each(|place| run.block(place).map(drop))
}
