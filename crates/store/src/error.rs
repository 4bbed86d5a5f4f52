//! Errors of the store: what the reader must do is their kind.

use std::fmt;

/// What the reader must do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Make room: the disk is full. Nothing was lost; try again when there is.
    Full,
    /// Try again later, or look at the disk: it did not do what it was asked.
    Unavailable,
    /// Raise the limit of open files, or close some: no file could be opened. Nothing was
    /// written; try again when there is room.
    Descriptors,
    /// Restore from a backup: what lies there is not what was written.
    Corrupt,
    /// Use another version of this program: the format is newer, or unknown.
    Format,
    /// Start again: a durable write failed before, and nothing may follow it.
    Poisoned,
    /// Ask otherwise: what was asked for cannot be answered.
    Invalid,
    /// Report it: this should not happen.
    Bug,
}

/// An error with its kind and a sentence for a person.
#[derive(Clone, Debug)]
pub struct Error {
    /// What the reader must do.
    pub kind: Kind,
    message: String,
}

impl Error {
    /// An error of a kind.
    pub fn new(kind: Kind, message: impl Into<String>) -> Error {
        Error { kind, message: message.into() }
    }

    /// An error of the operating system, about a file.
    pub fn io(file: impl fmt::Display, why: &std::io::Error) -> Error {
        let kind = match why.kind() {
            std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded => Kind::Full,
            std::io::ErrorKind::InvalidData | std::io::ErrorKind::UnexpectedEof => Kind::Corrupt,
            _ if is_without_descriptors(why) => Kind::Descriptors,
            _ => Kind::Unavailable,
        };
        Error::new(kind, format!("{file}: {why}"))
    }

    /// What lies in a file is not what was written.
    pub fn corrupt(file: impl fmt::Display, what: impl fmt::Display) -> Error {
        Error::new(Kind::Corrupt, format!("{file}: {what}"))
    }
}

/// Whether the process (EMFILE) or the machine (ENFILE) has no descriptor left.
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
