//! The one random source of the project: keys must not be guessable.

use std::fmt;

use data_encoding::HEXLOWER;

use crate::keys::Error;

/// A text that may be shown once. `Debug` does not print it.
pub struct ShownOnce(String);

impl ShownOnce {
    pub(crate) fn new(text: String) -> ShownOnce {
        ShownOnce(text)
    }

    /// Returns the text, for the answer. Keep no copy.
    pub fn into_text(self) -> String {
        self.0
    }
}

impl fmt::Debug for ShownOnce {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ShownOnce(…)")
    }
}

/// Returns random bytes of the operating system.
#[allow(clippy::disallowed_methods)] // the only module with a random source
fn bytes<const N: usize>() -> Result<[u8; N], Error> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(|why| Error::NoRandom(why.to_string()))?;
    Ok(bytes)
}

/// Returns a new id.
pub(crate) fn id() -> Result<u64, Error> {
    bytes().map(u64::from_be_bytes)
}

/// Returns a new salt, 128 bits in hexadecimal digits.
pub(crate) fn salt() -> Result<String, Error> {
    bytes::<16>().map(|bytes| HEXLOWER.encode(&bytes))
}

/// Returns a new secret, 256 bits in hexadecimal digits.
pub(crate) fn secret() -> Result<String, Error> {
    bytes::<32>().map(|bytes| HEXLOWER.encode(&bytes))
}
