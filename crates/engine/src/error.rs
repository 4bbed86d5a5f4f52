//! Errors of the engine: what the reader must do is their kind.

use std::fmt;

/// The remedy that the reader needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Correct what was asked for.
    Invalid,
    /// Try again later; something outside does not answer.
    Unavailable,
    /// Make room: the disk is full.
    Full,
    /// Look at the data: it is not what it was.
    Corrupt,
    /// Report it: this should not happen.
    Bug,
}

/// An error with its kind and a sentence for a person.
#[derive(Clone, Debug)]
pub struct Error {
    /// The remedy that the reader needs.
    pub kind: Kind,
    message: String,
}

impl Error {
    /// An error of a kind.
    pub fn new(kind: Kind, message: impl Into<String>) -> Error {
        Error { kind, message: message.into() }
    }

    /// An error of the operating system, about something.
    pub fn io(what: impl fmt::Display, why: &std::io::Error) -> Error {
        let kind = match why.kind() {
            std::io::ErrorKind::NotFound
            | std::io::ErrorKind::PermissionDenied
            | std::io::ErrorKind::IsADirectory
            | std::io::ErrorKind::NotADirectory
            | std::io::ErrorKind::InvalidFilename => Kind::Invalid,
            std::io::ErrorKind::InvalidData | std::io::ErrorKind::UnexpectedEof => Kind::Corrupt,
            _ => Kind::Unavailable,
        };
        Error::new(kind, format!("{what}: {why}"))
    }
}

impl From<flowmeter_store::Error> for Error {
    fn from(why: flowmeter_store::Error) -> Error {
        use flowmeter_store::Kind as Stored;
        let kind = match why.kind {
            Stored::Full => Kind::Full,
            Stored::Unavailable | Stored::Descriptors | Stored::Poisoned => Kind::Unavailable,
            Stored::Corrupt => Kind::Corrupt,
            Stored::Format | Stored::Invalid => Kind::Invalid,
            Stored::Bug => Kind::Bug,
        };
        Error::new(kind, why.to_string())
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Error {}
