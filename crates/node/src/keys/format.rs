//! The text form of a key: `fm_<16 hexadecimal digits>_<64 hexadecimal digits>`.
//!
//! The prefix lets scanners of source code find keys that were committed by mistake. The id may be
//! shown and logged, since it gives no access.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

const PREFIX: &str = "fm_";
const ID_DIGITS: usize = 16;
/// Digits of the secret: 256 bits.
pub(crate) const SECRET_DIGITS: usize = 64;

/// The id of a key; not secret.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyId(pub(crate) u64);

impl KeyId {
    /// Returns the id as a number, for tables and hashes.
    pub fn as_u64(self) -> u64 {
        self.0
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl fmt::Debug for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for KeyId {
    type Err = String;

    fn from_str(text: &str) -> Result<KeyId, String> {
        let is_id = text.len() == ID_DIGITS && text.bytes().all(is_digit);
        let number = is_id.then(|| u64::from_str_radix(text, 16).ok()).flatten();
        number.map(KeyId).ok_or_else(|| format!("the id of a key is {ID_DIGITS} hexadecimal digits, as `keys list` shows it"))
    }
}

impl Serialize for KeyId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for KeyId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<KeyId, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// Small letters only, so that a key has one text form.
fn is_digit(c: u8) -> bool {
    matches!(c, b'0'..=b'9' | b'a'..=b'f')
}

/// Returns the id and the digits of the secret, if the text is a key.
pub(crate) fn parse(text: &str) -> Option<(KeyId, &str)> {
    let (id, secret) = text.strip_prefix(PREFIX)?.split_once('_')?;
    let is_secret = secret.len() == SECRET_DIGITS && secret.bytes().all(is_digit);
    is_secret.then_some((id.parse().ok()?, secret))
}

/// Returns the text of a key.
pub(crate) fn write(id: KeyId, secret: &str) -> String {
    format!("{PREFIX}{id}_{secret}")
}

/// Returns the part after `Bearer` of an Authorization header. The scheme is not case-sensitive
/// (RFC 9110, 11.1). A key without a scheme is accepted as well, since many HTTP clients send a
/// token that way.
pub(crate) fn bearer(header: &str) -> &str {
    let header = header.trim();
    match header.split_once(' ') {
        Some((scheme, rest)) if scheme.eq_ignore_ascii_case("bearer") => rest.trim(),
        _ => header,
    }
}
