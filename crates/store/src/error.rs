//! Errors of the store. Their kind says what the caller must do.

use std::fmt;

/// The action that an error requires.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Make room: the disk is full. Nothing was lost; try again afterwards.
    Full,
    /// Try again later, or check the disk: an operation failed.
    Unavailable,
    /// Raise the limit of open files, or close some: no file could be opened. Nothing was written;
    /// try again afterwards.
    Descriptors,
    /// Restore from a backup: the bytes are not those that were written.
    Corrupt,
    /// Use another version of this program: the format is newer, or unknown.
    Format,
    /// Restart: an earlier durable write failed, and nothing may follow it.
    Poisoned,
    /// Change the request: it cannot be answered.
    Invalid,
    /// Report it: this is a bug in the program.
    Bug,
}

/// An error with its kind and a message for people.
#[derive(Clone, Debug)]
pub struct Error {
    pub kind: Kind,
    message: String,
}

impl Error {
    pub fn new(kind: Kind, message: impl Into<String>) -> Error {
        Error { kind, message: message.into() }
    }

    /// Makes an error of an I/O error, about a file.
    pub fn io(file: impl fmt::Display, why: &std::io::Error) -> Error {
        let kind = match why.kind() {
            std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded => Kind::Full,
            std::io::ErrorKind::InvalidData | std::io::ErrorKind::UnexpectedEof => Kind::Corrupt,
            _ if is_without_descriptors(why) => Kind::Descriptors,
            _ => Kind::Unavailable,
        };
        Error::new(kind, format!("{file}: {why}"))
    }

    /// Makes the error of a damaged file.
    pub fn corrupt(file: impl fmt::Display, what: impl fmt::Display) -> Error {
        Error::new(Kind::Corrupt, format!("{file}: {what}"))
    }
}

/// Returns whether the process (EMFILE) or the machine (ENFILE) has no free descriptor.
fn is_without_descriptors(why: &std::io::Error) -> bool {
    use rustix::io::Errno;
    let known = [Errno::MFILE, Errno::NFILE].map(Errno::raw_os_error);
    why.raw_os_error().is_some_and(|errno| known.contains(&errno))
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Error {}
