//! A user's name beside the meter's other fields: most fit into the meter itself, so that
//! telling whose it is costs no further look into memory.

use std::ops::Deref;

/// Bytes of a name that are kept inline: with them a name is 24 bytes, as a pointer, a
/// length and a capacity would be.
const INLINE_MAX: usize = 22;

/// A user's name, in bytes.
#[derive(Clone, Debug)]
pub struct Name(Held);

#[derive(Clone, Debug)]
enum Held {
    Short(u8, [u8; INLINE_MAX]),
    Long(Box<[u8]>),
}

impl Name {
    /// Bytes it holds elsewhere.
    pub(super) fn heap_bytes(&self) -> usize {
        match &self.0 {
            Held::Short(..) => 0,
            Held::Long(name) => name.len(),
        }
    }
}

impl From<&[u8]> for Name {
    fn from(name: &[u8]) -> Name {
        if name.len() > INLINE_MAX {
            return Name(Held::Long(name.into()));
        }
        let mut short = [0; INLINE_MAX];
        short[..name.len()].copy_from_slice(name);
        Name(Held::Short(name.len() as u8, short))
    }
}

impl Deref for Name {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        match &self.0 {
            Held::Short(length, name) => &name[..usize::from(*length).min(INLINE_MAX)],
            Held::Long(name) => name,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_any_length_come_back() {
        for length in [0, 1, 21, 22, 23, 300] {
            let name = vec![b'x'; length];
            assert_eq!(*Name::from(name.as_slice()), *name);
        }
        assert_eq!(size_of::<Name>(), 24);
    }
}
