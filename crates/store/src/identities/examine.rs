//! Reads files of identities whole, for verification.

use super::page::{PAGE_BYTES, Page};
use super::run::{Place, Run, Trailer};
use crate::Error;
use crate::disk::Disk;
use crate::examine::Examined;

use std::sync::Arc;

/// Pages read at a time.
const PAGES: usize = 256;

/// Reads every run of a folder whole: trailer, filter, fences, and each page against its checksum.
/// Opening checks whether it is the run that a manifest names.
///
/// # Errors
/// The folder cannot be listed.
pub fn examine(disk: &Arc<dyn Disk>, folder: &str) -> Result<Vec<Examined>, Error> {
    let names = disk.list(folder).map_err(|why| Error::io(folder, &why))?;
    let runs = names.iter().filter(|name| name.ends_with(".run"));
    let one = |name: &String| Examined::new(format!("{folder}/{name}"), whole(disk, folder, name));
    Ok(runs.map(one).collect())
}

fn whole(disk: &Arc<dyn Disk>, folder: &str, name: &str) -> Result<(), Error> {
    let path = format!("{folder}/{name}");
    let numbers = || {
        let (partition, number) = name.strip_suffix(".run")?.split_once('-')?;
        Some((partition.parse().ok()?, number.parse::<u64>().ok()?))
    };
    let unnamed = || Error::corrupt(&path, "does not have the name of a run");
    let (partition, number) = numbers().ok_or_else(unnamed)?;
    let outline = Trailer::of_file(&**disk, &path)?.outline;
    if outline.number != number {
        return Err(Error::corrupt(&path, format!("it is the run {}", outline.number)));
    }
    let place = Place { disk: Arc::clone(disk), folder: folder.into(), partition };
    let run = Run::open(&place, outline)?;
    let mut room = vec![0; PAGES * PAGE_BYTES];
    let mut number = 0;
    loop {
        let read = run.read_pages(number, &mut room)?;
        if read == 0 {
            return Ok(());
        }
        for (at, page) in (number..number + read).zip(room.chunks_exact(PAGE_BYTES)) {
            Page::read(at, page).ok_or_else(|| run.broken(at))?;
        }
        number += read;
    }
}
