//! Backups: a copy of the data directory that opens to a state at least as new as the start of the
//! backup, made with or without a running server.
//!
//! Consistency follows from the order. A pipeline's checkpoints and the files that they name are
//! fixed between two of its rounds; then come files that only grow; last, the end of the log and
//! the catalog are taken together while no change is made. So every position that a checkpoint
//! names is in the copied log, and every version that the log names is in the catalog. Nothing is
//! removed in the meantime. Records, parked events and verdicts made after the checkpoint are made
//! again when the copy is opened, with the same numbers.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::PoisonError;

use flowmeter_core::time::Timestamp;
use flowmeter_engine::outbox::INDEX_FOLDER;
use flowmeter_engine::{Error, Kind};
use flowmeter_store::archive;
use flowmeter_store::catalog::{Catalog, LocalCatalog};
use flowmeter_store::disk::Lock;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::installation::{CATALOG_FILE, Installation, LOG_FOLDER};

/// The list of the files of a backup. It is written last: a backup without it is invalid.
const LIST_FILE: &str = "backup.json";
const FORMAT: u32 = 1;
const CHUNK_BYTES: usize = 1 << 20;
/// Suffix of a file that is being written; a copy ignores it.
const UNFINISHED: &str = ".new";

/// The list of a backup's content.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Backup {
    /// Format of this description.
    pub format: u32,
    /// The time of its start.
    pub at: String,
    /// The end of the log at its start: earlier entries were durable, and so are in it.
    pub log_end: u64,
    /// Every file, with its length and checksum.
    pub files: Vec<BackedUp>,
}

/// A file of a backup.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BackedUp {
    /// Its name in the data directory.
    pub name: String,
    /// Length of the file.
    pub bytes: u64,
    /// The CRC-32C of its bytes.
    pub checksum: u32,
}

impl Backup {
    /// Returns the bytes of all files.
    pub fn bytes(&self) -> u64 {
        self.files.iter().map(|file| file.bytes).sum()
    }
}

/// A file to be copied, as it is now. It is open, so that it can be read even if it is removed, and
/// it is copied only up to its present length.
struct Pinned {
    name: String,
    file: File,
    bytes: u64,
}

impl Installation {
    /// Copies all data to a new folder while the server works.
    pub fn back_up(&self, to: &Path) -> Result<Backup, Error> {
        let _kept = self.keeping.lock().unwrap_or_else(PoisonError::into_inner);
        let data = self.settings.data.clone();
        let mut copy = Copy::begin(&data, to, self.now(), self.log_end())?;
        for pipeline in folders(&data.join("pipelines"))? {
            let folder = format!("pipelines/{pipeline}");
            let served = Uuid::try_parse(&pipeline).ok().and_then(|id| self.served_of(id));
            let pinned = match served {
                None => pin(&data, &folder)?,
                Some(served) => {
                    let data = data.clone();
                    served.worker().ask(move |live| live.commit().and_then(|()| pin(&data, &folder)))??
                }
            };
            copy.take(pinned)?;
        }
        copy.others(&data)?;
        let mut change = Some(self.change()?);
        let log = pin(&data, LOG_FOLDER)?;
        self.catalog.copy_to(&to.join(CATALOG_FILE), &mut || drop(change.take()))?;
        copy.take(log)?;
        copy.finish()
    }
}

/// Copies a data directory that is not in use to a new folder.
pub fn back_up(data: &Path, to: &Path, now: Timestamp) -> Result<Backup, Error> {
    let _lock = lock_of(data)?;
    let mut copy = Copy::begin(data, to, now, 0)?;
    copy.take(pin(data, "pipelines")?)?;
    copy.others(data)?;
    let log = pin(data, LOG_FOLDER)?;
    LocalCatalog::open(&data.join(CATALOG_FILE))?.copy_to(&to.join(CATALOG_FILE), &mut || ())?;
    copy.take(log)?;
    copy.finish()
}

/// Creates a data directory from a backup. Every byte is compared with its checksum.
///
/// # Errors
/// `Invalid` if the directory is not empty or there is no backup; `Corrupt` if the backup was
/// changed.
pub fn restore(from: &Path, data: &Path) -> Result<Backup, Error> {
    let list = from.join(LIST_FILE);
    let text = fs::read(&list).map_err(|why| match why.kind() {
        io::ErrorKind::NotFound => invalid(format!("{} is no backup: it has no {LIST_FILE}", from.display())),
        _ => Error::io(list.display(), &why),
    })?;
    let backup: Backup =
        serde_json::from_slice(&text).map_err(|why| Error::new(Kind::Corrupt, format!("{}: {why}", list.display())))?;
    if backup.format != FORMAT {
        return Err(invalid(format!("{}: format {} is newer than this program", list.display(), backup.format)));
    }
    make_empty(data)?;
    let _lock = Lock::take(data)?;
    for known in &backup.files {
        if known.name.split('/').any(|part| part.is_empty() || part == "..") || known.name.starts_with('/') {
            return Err(Error::new(Kind::Corrupt, format!("{}: `{}` is no name of ours", list.display(), known.name)));
        }
        let path = from.join(&known.name);
        let file = File::open(&path).map_err(|why| Error::io(path.display(), &why))?;
        let pinned = Pinned { name: known.name.clone(), file, bytes: known.bytes };
        if copy_file(pinned, data)? != *known {
            return Err(Error::new(Kind::Corrupt, format!("{} is not what was backed up", path.display())));
        }
    }
    sync_folders(data).map_err(|why| Error::io(data.display(), &why))?;
    Ok(backup)
}

/// Takes the lock of an existing data directory.
pub(crate) fn lock_of(data: &Path) -> Result<Lock, Error> {
    if !data.join(CATALOG_FILE).exists() {
        return Err(invalid(format!("{} is no data directory: it has no {CATALOG_FILE}", data.display())));
    }
    Ok(Lock::take(data)?)
}

fn invalid(message: String) -> Error {
    Error::new(Kind::Invalid, message)
}

/// A copy that is being made.
struct Copy {
    to: PathBuf,
    backup: Backup,
}

impl Copy {
    fn begin(data: &Path, to: &Path, now: Timestamp, log_end: u64) -> Result<Copy, Error> {
        make_empty(to)?;
        let real = |path: &Path| path.canonicalize().map_err(|why| Error::io(path.display(), &why));
        if real(to)?.starts_with(real(data)?) {
            return Err(invalid(format!("{} is inside the data directory; put the backup elsewhere", to.display())));
        }
        let backup = Backup { format: FORMAT, at: now.to_string(), log_end, files: Vec::new() };
        Ok(Copy { to: to.to_owned(), backup })
    }

    fn take(&mut self, files: Vec<Pinned>) -> Result<(), Error> {
        for pinned in files {
            self.backup.files.push(copy_file(pinned, &self.to)?);
        }
        Ok(())
    }

    /// Copies everything except pipelines, log and catalog: the events and any other folder.
    fn others(&mut self, data: &Path) -> Result<(), Error> {
        for folder in folders(data)? {
            if folder != "pipelines" && folder != LOG_FOLDER {
                self.take(pin(data, &folder)?)?;
            }
        }
        Ok(())
    }

    fn finish(mut self) -> Result<Backup, Error> {
        let catalog = self.to.join(CATALOG_FILE);
        let at = |why: &io::Error| Error::io(catalog.display(), why);
        let mut file = File::open(&catalog).map_err(|why| at(&why))?;
        let (bytes, checksum) = pass(&mut file, u64::MAX, &mut io::sink()).map_err(|why| at(&why))?;
        self.backup.files.push(BackedUp { name: CATALOG_FILE.to_owned(), bytes, checksum });
        let sync = || -> io::Result<()> {
            sync_folders(&self.to)?;
            let mut list = File::create(self.to.join(LIST_FILE))?;
            list.write_all(&serde_json::to_vec_pretty(&self.backup).unwrap_or_default())?;
            list.sync_all()?;
            File::open(&self.to)?.sync_all()
        };
        sync().map_err(|why| Error::io(self.to.display(), &why))?;
        Ok(self.backup)
    }
}

/// Creates an empty folder, or checks that an existing one is empty.
fn make_empty(folder: &Path) -> Result<(), Error> {
    fs::create_dir_all(folder).map_err(|why| Error::io(folder.display(), &why))?;
    let mut names = fs::read_dir(folder).map_err(|why| Error::io(folder.display(), &why))?;
    match names.next() {
        None => Ok(()),
        Some(_) => Err(invalid(format!("{} is not empty; nothing is overwritten", folder.display()))),
    }
}

fn folders(above: &Path) -> Result<Vec<String>, Error> {
    let entries = match fs::read_dir(above) {
        Err(why) if why.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(|why| Error::io(above.display(), &why))?,
    };
    let names = entries.filter_map(Result::ok).filter(|entry| entry.path().is_dir());
    let mut names: Vec<String> = names.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    Ok(names)
}

/// Opens every file below a folder, as it is now.
fn pin(data: &Path, folder: &str) -> Result<Vec<Pinned>, Error> {
    let above = data.join(folder);
    let mut pinned = Vec::new();
    let entries = match fs::read_dir(&above) {
        Err(why) if why.kind() == io::ErrorKind::NotFound => return Ok(pinned),
        entries => entries.map_err(|why| Error::io(above.display(), &why))?,
    };
    for entry in entries.filter_map(Result::ok) {
        let name = format!("{folder}/{}", entry.file_name().to_string_lossy());
        if entry.path().is_dir() {
            if entry.file_name() == INDEX_FOLDER || entry.file_name() == archive::INDEX_FOLDER {
                continue;
            }
            pinned.extend(pin(data, &name)?);
            continue;
        }
        if name.ends_with(UNFINISHED) {
            continue;
        }
        match File::open(entry.path()) {
            // The file was replaced just now by a newer one.
            Err(why) if why.kind() == io::ErrorKind::NotFound => {}
            file => {
                let file = file.map_err(|why| Error::io(&name, &why))?;
                let bytes = file.metadata().map_err(|why| Error::io(&name, &why))?.len();
                pinned.push(Pinned { name, file, bytes });
            }
        }
    }
    pinned.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(pinned)
}

/// Copies a file, durably.
fn copy_file(mut pinned: Pinned, to: &Path) -> Result<BackedUp, Error> {
    let path = to.join(&pinned.name);
    let mut copy = || -> io::Result<(u64, u32)> {
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder)?;
        }
        let mut file = File::create(&path)?;
        let passed = pass(&mut pinned.file, pinned.bytes, &mut file)?;
        file.sync_all()?;
        Ok(passed)
    };
    let (bytes, checksum) = copy().map_err(|why| Error::io(path.display(), &why))?;
    Ok(BackedUp { name: pinned.name, bytes, checksum })
}

/// Copies bytes and computes their checksum.
fn pass(from: &mut impl Read, bytes: u64, to: &mut impl Write) -> io::Result<(u64, u32)> {
    let mut chunk = vec![0; CHUNK_BYTES];
    let (mut passed, mut sum) = (0, 0);
    let mut from = from.take(bytes);
    loop {
        let read = from.read(&mut chunk)?;
        if read == 0 {
            return Ok((passed, sum));
        }
        to.write_all(&chunk[..read])?;
        passed += read as u64;
        sum = flowmeter_store::checksum_on(sum, &chunk[..read]);
    }
}

fn sync_folders(folder: &Path) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.path().is_dir() {
            sync_folders(&entry.path())?;
        }
    }
    File::open(folder)?.sync_all()
}
