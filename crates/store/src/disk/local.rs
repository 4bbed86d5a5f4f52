//! A folder of the operating system as a `Disk`.

use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use super::{Claims, Disk, File};

/// A data directory in the file system.
#[derive(Clone, Debug)]
pub struct LocalDisk {
    root: PathBuf,
    claims: Claims,
}

impl LocalDisk {
    /// Opens a data directory, and creates it if it does not exist.
    pub fn new(root: &Path) -> io::Result<LocalDisk> {
        fs::create_dir_all(root)?;
        Ok(LocalDisk { root: root.to_owned(), claims: Claims::default() })
    }

    pub fn root(&self) -> &Path {
        &self.root
    }

    fn path(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }
}

impl Disk for LocalDisk {
    fn create(&self, name: &str) -> io::Result<Box<dyn File>> {
        let options = fs::OpenOptions::new().read(true).append(true).create(true).open(self.path(name))?;
        options.set_len(0)?;
        Ok(Box::new(LocalFile(options)))
    }

    fn open(&self, name: &str) -> io::Result<Box<dyn File>> {
        Ok(Box::new(LocalFile(fs::OpenOptions::new().read(true).append(true).open(self.path(name))?)))
    }

    fn list(&self, folder: &str) -> io::Result<Vec<String>> {
        let entries = match fs::read_dir(self.path(folder)) {
            Err(why) if why.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries?,
        };
        let mut names = Vec::new();
        for entry in entries {
            let entry = entry?;
            if entry.file_type()?.is_file() {
                names.push(entry.file_name().to_string_lossy().into_owned());
            }
        }
        names.sort_unstable();
        Ok(names)
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        fs::rename(self.path(from), self.path(to))
    }

    fn rename_durably(&self, from: &str, to: &str, folder: &str) -> io::Result<()> {
        let folder = fs::File::open(self.path(folder))?;
        self.rename(from, to)?;
        folder.sync_all()
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        fs::remove_file(self.path(name))
    }

    fn create_folder(&self, folder: &str) -> io::Result<()> {
        fs::create_dir_all(self.path(folder))?;
        // Each folder's name is in its parent, and each may be new.
        let mut above = Path::new(folder).ancestors().skip(1);
        above.try_for_each(|above| fs::File::open(self.root.join(above))?.sync_all())
    }

    fn sync_folder(&self, folder: &str) -> io::Result<()> {
        fs::File::open(self.path(folder))?.sync_all()
    }

    fn free_bytes(&self) -> io::Result<u64> {
        let stat = rustix::fs::statvfs(&self.root)?;
        Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
    }

    fn claims(&self) -> Claims {
        self.claims.clone()
    }
}

struct LocalFile(fs::File);

impl File for LocalFile {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.0.write_all(bytes)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.0.sync_data()
    }

    fn read_at(&self, bytes: &mut [u8], at: u64) -> io::Result<usize> {
        let mut read = 0;
        while read < bytes.len() {
            match self.0.read_at(&mut bytes[read..], at + read as u64) {
                Ok(0) => break,
                Ok(more) => read += more,
                Err(why) if why.kind() == io::ErrorKind::Interrupted => {}
                Err(why) => return Err(why),
            }
        }
        Ok(read)
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }

    fn truncate(&mut self, length: u64) -> io::Result<()> {
        self.0.set_len(length)?;
        self.0.sync_all()
    }
}
