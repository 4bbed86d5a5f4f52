//! Removal of files that a crash left behind.

use std::collections::BTreeSet;

use super::Manifest;
use crate::Error;
use crate::disk::Disk;

/// Removes run files in a folder, complete or not, that none of these manifests names, and returns
/// their names. Other files stay.
///
/// Call it when the program starts, with the newest durable manifest of **every** partition with
/// runs in the folder, before any of them is opened.
pub fn sweep(disk: &dyn Disk, folder: &str, manifests: &[&Manifest]) -> Result<Vec<String>, Error> {
    let named: BTreeSet<String> = manifests.iter().flat_map(|manifest| manifest.files()).collect();
    let mut swept = disk.list(folder).map_err(|why| Error::io(folder, &why))?;
    swept.retain(|file| is_run(file) && !named.contains(file));
    for file in &swept {
        let name = format!("{folder}/{file}");
        disk.remove(&name).map_err(|why| Error::io(&name, &why))?;
    }
    if !swept.is_empty() {
        disk.sync_folder(folder).map_err(|why| Error::io(folder, &why))?;
    }
    Ok(swept)
}

/// Returns whether a name is `<partition>-<number>.run`, with or without `.new`.
fn is_run(file: &str) -> bool {
    let whole = file.strip_suffix(".new").unwrap_or(file);
    let numbers = whole.strip_suffix(".run").and_then(|stem| stem.split_once('-'));
    numbers.is_some_and(|(partition, number)| partition.parse::<u32>().is_ok() && number.parse::<u64>().is_ok())
}
