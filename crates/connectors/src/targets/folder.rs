//! A folder of files that are written once: beside their place first, then put there whole.

use std::fs::{self, File};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use flowmeter_engine::{Error, Kind};

use super::windowed::{Blobs, Put};
use crate::answer::{OBJECT_BYTES_MAX, read_blocking};

/// Files on this machine, by their paths.
pub(super) struct Folder;

/// Returns the folder of a file.
pub(super) fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// The kind of thing that a path names.
pub(super) enum Named {
    /// A regular file, which may not exist yet. A link leads to the file that is meant.
    File(PathBuf),
    /// A device or pipe. It cannot be replaced, synced or read back.
    Stream,
}

/// Names of open streams. They stay open in this process, even if they lead to a file.
const STREAMS: [&str; 4] = ["/dev/stdout", "/dev/stderr", "/dev/fd", "/proc"];

/// Links that may lead to one another.
const LINKS_MAX: usize = 40;

/// Returns the kind of thing that a path names.
///
/// # Errors
/// It is a folder, or cannot be looked at.
pub(super) fn named(path: &Path) -> Result<Named, Error> {
    let at = |why: &std::io::Error| Error::io(path.display(), why);
    match fs::metadata(path) {
        Ok(meta) if meta.is_dir() => {
            let message = format!("{}: a folder; name a file in it", path.display());
            Err(Error::new(Kind::Invalid, message))
        }
        Ok(meta) if !meta.is_file() || STREAMS.iter().any(|stream| path.starts_with(stream)) => Ok(Named::Stream),
        Ok(_) => fs::canonicalize(path).map(Named::File).map_err(|why| at(&why)),
        Err(why) if matches!(why.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
            let mut followed = path.to_path_buf();
            for _ in 0..LINKS_MAX {
                match fs::read_link(&followed) {
                    Ok(to) => followed = folder_of(&followed).join(to),
                    Err(_) => return Ok(Named::File(followed)),
                }
            }
            let message = format!("{}: more than {LINKS_MAX} links lead to each other", path.display());
            Err(Error::new(Kind::Invalid, message))
        }
        Err(why) => Err(at(&why)),
    }
}

/// A name beside the file, of this process alone.
pub(super) fn beside(path: &Path) -> PathBuf {
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    path.with_file_name(format!(".{name}.{}.partial", std::process::id()))
}

fn write(path: &Path, bytes: &[u8]) -> std::io::Result<Put> {
    let folder = folder_of(path);
    fs::create_dir_all(folder)?;
    let beside = beside(path);
    let mut file = File::create(&beside)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    // A link, unlike a rename, does not take the place of what is there.
    let linked = fs::hard_link(&beside, path);
    fs::remove_file(&beside)?;
    match linked {
        Ok(()) => File::open(folder)?.sync_all().map(|()| Put::New),
        Err(why) if why.kind() == ErrorKind::AlreadyExists => Ok(Put::Taken),
        Err(why) => Err(why),
    }
}

/// A number for each probe: targets of one folder are probed at the same time.
static PROBES: AtomicU64 = AtomicU64::new(0);

/// Whether files whose paths begin like this can be written: their folder is there, or can
/// be made, and takes a file.
pub(super) fn probe(beginning: &str) -> Result<(), Error> {
    // The text after the last slash is the beginning of a file or folder name.
    let folder = beginning.rfind('/').map_or(Path::new("."), |slash| Path::new(&beginning[..=slash]));
    let wrong = |why: &std::io::Error| {
        let message = format!("{}: {why}; make the folder, or let this user write there", folder.display());
        Error::new(Kind::Invalid, message)
    };
    fs::create_dir_all(folder).map_err(|why| wrong(&why))?;
    let number = PROBES.fetch_add(1, Ordering::Relaxed);
    let file = beside(&folder.join(format!("probe-{number}")));
    File::create(&file).and_then(|_| fs::remove_file(&file)).map_err(|why| wrong(&why))
}

impl Blobs for Folder {
    fn probe(&mut self, beginning: &str) -> Result<(), Error> {
        probe(beginning)
    }

    fn put(&mut self, name: &str, bytes: Vec<u8>) -> Result<Put, Error> {
        write(Path::new(name), &bytes).map_err(|why| Error::io(name, &why))
    }

    fn get(&mut self, name: &str) -> Result<Option<Vec<u8>>, Error> {
        match File::open(name).and_then(|file| read_blocking(file, OBJECT_BYTES_MAX)) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(why) if why.kind() == ErrorKind::NotFound => Ok(None),
            Err(why) => Err(Error::io(name, &why)),
        }
    }

    fn names(&mut self, beginning: &str) -> Result<Vec<String>, Error> {
        let folder = match beginning.rfind('/') {
            Some(slash) => &beginning[..=slash],
            None => "",
        };
        let entries = match fs::read_dir(if folder.is_empty() { "." } else { folder }) {
            Ok(entries) => entries,
            Err(why) if why.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
            Err(why) => return Err(Error::io(folder, &why)),
        };
        let names = entries.flatten().map(|entry| format!("{folder}{}", entry.file_name().to_string_lossy()));
        Ok(names.filter(|name| name.starts_with(beginning)).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_of_one_folder_are_probed_at_the_same_time() {
        let folder = tempfile::tempdir().unwrap();
        let beginning = format!("{}/records/", folder.path().display());
        let probes = || (0..200).try_for_each(|_| probe(&beginning));
        std::thread::scope(|scope| {
            let all: Vec<_> = (0..8).map(|_| scope.spawn(probes)).collect();
            all.into_iter().for_each(|one| one.join().unwrap().unwrap());
        });
        assert_eq!(fs::read_dir(&beginning).unwrap().count(), 0);
    }
}
