//! Reads every file of a data directory completely.
//!
//! A recount reads only what it needs. Damage in other data (rollups, unused pages of identities,
//! the checkpoint before the newest, files of events that the log still has) is found here. An
//! unknown file is reported as not read. A deleted pipeline leaves its records and events, which are
//! read like those of others.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use flowmeter_engine::live::{examine_contents, folder_of, records_folder};
use flowmeter_engine::outbox::INDEX_FOLDER;
use flowmeter_engine::{Error, examine_checkpoints};
use flowmeter_store::catalog::{Catalog, Table};
use flowmeter_store::disk::{Disk, LocalDisk, Lock};
use flowmeter_store::{Examined, archive, identities, log, rollups};
use uuid::Uuid;

use crate::events::rows::events_folder;
use crate::installation::{CATALOG_FILE, LOG_FOLDER};
use crate::jobs::EXPORTS_FOLDER;
use crate::pipelines::KeptPipeline;
use crate::rows::kept;

/// The mark of a data directory that has lived with a test clock.
const TEST_CLOCK_MARK: &str = "test_clock/mark";
/// Suffix of files without content: one that was being written when the program ended.
const UNFINISHED: &str = ".new";

/// The files that were read, and the damage in them.
#[derive(Default)]
pub(crate) struct Files {
    pub(crate) read: BTreeSet<String>,
    pub(crate) wrong: Vec<String>,
}

impl Files {
    fn add(&mut self, examined: Result<Vec<Examined>, Error>) {
        match examined {
            Err(why) => self.wrong.push(why.to_string()),
            Ok(all) => {
                for one in all {
                    if let Err(why) = one.outcome {
                        let why = why.to_string();
                        let is_named = why.contains(&one.file);
                        let named = if is_named { why } else { format!("{}: {why}", one.file) };
                        self.wrong.push(named);
                    }
                    self.read.insert(one.file);
                }
            }
        }
    }

    /// Reports the files of the directory that were not read.
    fn add_unread(&mut self, data: &Path) -> Result<(), Error> {
        for file in all_files(data)? {
            let is_index = |folder: &str| file.contains(&format!("/{folder}/"));
            let is_made_again = is_index(INDEX_FOLDER) || is_index(archive::INDEX_FOLDER) || file.starts_with(EXPORTS_FOLDER);
            let is_known = is_made_again
                || self.read.contains(&file)
                || file == Lock::FILE
                || file == CATALOG_FILE
                || file == TEST_CLOCK_MARK;
            if !is_known && !file.ends_with(UNFINISHED) {
                let why = "not read: it is no file of a kind that is known here";
                self.wrong.push(format!("{file}: {why}"));
            }
        }
        Ok(())
    }
}

/// Reads everything but the catalog. `scratch` creates a new empty folder for each call.
pub(crate) fn examine(
    data: &Path,
    catalog: &dyn Catalog,
    scratch: &mut dyn FnMut() -> Result<Arc<dyn Disk>, Error>,
) -> Result<Files, Error> {
    let mut files = Files::default();
    let disk = LocalDisk::new(data).map_err(|why| Error::io(data.display(), &why))?;
    let disk: Arc<dyn Disk> = Arc::new(disk);
    let mut of_log = |files: &mut Files, folder: &str| -> Result<(), Error> {
        files.add(log::examine(&disk, &scratch()?, folder).map_err(Error::from));
        Ok(())
    };
    of_log(&mut files, LOG_FOLDER)?;
    for id in pipelines(data, catalog)? {
        let folder = folder_of(id);
        of_log(&mut files, &records_folder(&folder))?;
        for stream in ["parked", "verdicts", "notes", "settled", "derived", "answers"] {
            of_log(&mut files, &format!("{folder}/{stream}"))?;
        }
        files.add(examine_checkpoints(&*disk, &folder));
        let identities = identities::examine(&disk, &format!("{folder}/identities"));
        files.add(identities.map_err(Error::from));
        for partition in folders_in(data, &format!("{folder}/rollups"))? {
            files.add(rollups::examine(&*disk, &partition).map_err(Error::from));
        }
        let events = archive::examine(&*disk, &events_folder(id));
        files.add(events.map_err(Error::from));
    }
    files.add(examine_contents(&*disk));
    files.add_unread(data)?;
    Ok(files)
}

/// Returns the ids of the pipelines with files: those of the catalog, and deleted ones, of which it
/// has the versions only.
fn pipelines(data: &Path, catalog: &dyn Catalog) -> Result<BTreeSet<Uuid>, Error> {
    let mut all = BTreeSet::new();
    for (_, value) in catalog.scan(Table::Pipelines, b"", None, usize::MAX)? {
        // A row that cannot be read as a pipeline is reported with the rows of the catalog.
        all.extend(kept::<KeptPipeline>(&value).map(|pipeline| pipeline.id));
    }
    let own = [folder_of(Uuid::nil()), events_folder(Uuid::nil())];
    for folder in own.iter().filter_map(|folder| folder.rsplit_once('/')) {
        for found in folders_in(data, folder.0)? {
            let id = found.rsplit_once('/').and_then(|(_, name)| Uuid::try_parse(name).ok());
            let Some(id) = id.filter(|id| !all.contains(id)) else { continue };
            if !catalog.scan(Table::Versions, id.as_bytes(), None, 1)?.is_empty() {
                all.insert(id);
            }
        }
    }
    Ok(all)
}

/// Returns the folders in a folder, relative to the directory; none if it does not exist.
fn folders_in(data: &Path, folder: &str) -> Result<Vec<String>, Error> {
    let path = data.join(folder);
    if !path.is_dir() {
        return Ok(Vec::new());
    }
    let at = |why: &std::io::Error| Error::io(path.display(), why);
    let mut folders = Vec::new();
    for entry in std::fs::read_dir(&path).map_err(|why| at(&why))? {
        let entry = entry.map_err(|why| at(&why))?;
        if entry.path().is_dir() {
            folders.push(format!("{folder}/{}", entry.file_name().to_string_lossy()));
        }
    }
    folders.sort_unstable();
    Ok(folders)
}

/// Returns the files of a directory and of its folders, relative to it.
fn all_files(data: &Path) -> Result<Vec<String>, Error> {
    let mut folders = vec![data.to_owned()];
    let mut files = Vec::new();
    while let Some(folder) = folders.pop() {
        let at = |why: &std::io::Error| Error::io(folder.display(), why);
        for entry in std::fs::read_dir(&folder).map_err(|why| at(&why))? {
            let path = entry.map_err(|why| at(&why))?.path();
            match path.is_dir() {
                true => folders.push(path),
                false => {
                    let name = path.strip_prefix(data).unwrap_or(&path);
                    files.push(name.to_string_lossy().into_owned());
                }
            }
        }
    }
    files.sort_unstable();
    Ok(files)
}
