//! Contents that earlier runs took, by their digests, so that each counts once where events have no
//! identity.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::path::Path;

use flowmeter_engine::Error;
use flowmeter_engine::live::Taken;
use sha2::{Digest, Sha256};

use crate::sources::CONTENT;

/// The contents that each source has taken, by its id: those of earlier runs, and of this one.
#[derive(Debug, Default)]
pub(super) struct Contents(BTreeMap<String, Taken>);

impl Contents {
    pub(super) fn of(taken: BTreeMap<String, Taken>) -> Contents {
        Contents(taken)
    }

    pub(super) fn into_taken(self) -> BTreeMap<String, Taken> {
        self.0
    }

    /// Notes that a source takes the content of a file. Returns the name under which it took that
    /// content before, if it did.
    ///
    /// # Errors
    /// The file cannot be read.
    pub(super) fn take(&mut self, source: &str, path: &str) -> Result<Option<String>, Error> {
        let digest = digest_of(Path::new(path), &|| Ok(()))?;
        let taken = self.0.entry(source.to_owned()).or_default();
        let key = format!("{CONTENT}{digest}");
        let before = taken.get(&key).cloned();
        if before.is_none() {
            taken.insert(key, path.to_owned());
        }
        Ok(before)
    }
}

/// Returns the SHA-256 of a file, in hexadecimal digits. `may_continue` fails to abandon it.
///
/// # Errors
/// The file cannot be read, or is abandoned.
pub(crate) fn digest_of(path: &Path, may_continue: &dyn Fn() -> Result<(), Error>) -> Result<String, Error> {
    let name = || path.display().to_string();
    let mut file = File::open(path).map_err(|why| Error::io(name(), &why))?;
    let (mut digest, mut buffer) = (Sha256::new(), vec![0; 256 << 10]);
    loop {
        may_continue()?;
        match file.read(&mut buffer).map_err(|why| Error::io(name(), &why))? {
            0 => return Ok(data_encoding::HEXLOWER.encode(&digest.finalize())),
            read => digest.update(&buffer[..read]),
        }
    }
}
