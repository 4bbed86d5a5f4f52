//! Shards, and places in them.

use std::fmt;
use std::str::FromStr;

/// A part of a journal with an order of its own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Shard(pub u16);

impl Shard {
    /// The first shard, the only one of a machine that writes its own journal.
    pub const FIRST: Shard = Shard(0);
}

/// The shards that a command is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum To {
    /// The command is for this shard alone.
    Shard(Shard),
    /// The command is for every shard of the journal.
    All,
}

/// A change of the shards that a server may read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ShardChange {
    /// It may read the shard from now on.
    Granted(Shard),
    /// It must hand the shard over after its present work.
    Revoked(Shard),
    /// Another server reads the shard already.
    Lost(Shard),
}

/// A place in a journal or in a list of a pipeline: a shard, and a position or number in it.
///
/// In text it is the number alone in the first shard, and `shard-number` in others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    /// The shard of the place.
    pub shard: Shard,
    /// The position or number in it.
    pub number: u64,
}

impl Place {
    /// Returns a place in the first shard.
    pub fn first(number: u64) -> Place {
        Place { shard: Shard::FIRST, number }
    }

    /// Returns its number, if it is in the first shard.
    pub fn in_first(self) -> Option<u64> {
        (self.shard == Shard::FIRST).then_some(self.number)
    }

    /// Reads the number of a place in the first shard.
    pub fn read_in_first(text: &str) -> Option<u64> {
        text.parse::<Place>().ok()?.in_first()
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.shard {
            Shard::FIRST => write!(f, "{}", self.number),
            Shard(shard) => write!(f, "{shard}-{}", self.number),
        }
    }
}

/// A text is no place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoPlace;

impl FromStr for Place {
    type Err = NoPlace;

    fn from_str(text: &str) -> Result<Place, NoPlace> {
        let (shard, number) = text.split_once('-').unwrap_or(("0", text));
        let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        if !is_number(shard) || !is_number(number) {
            return Err(NoPlace);
        }
        let shard = Shard(shard.parse().map_err(|_| NoPlace)?);
        Ok(Place { shard, number: number.parse().map_err(|_| NoPlace)? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_read_as_they_are_written() {
        let cases = [("17", 0, 17), ("3-17", 3, 17), ("65535-18446744073709551615", u16::MAX, u64::MAX)];
        for (text, shard, number) in cases {
            let place = Place { shard: Shard(shard), number };
            assert_eq!((text.parse(), place.to_string()), (Ok(place), text.to_owned()));
        }
        assert_eq!("0-5".parse(), Ok(Place::first(5)));
        for text in ["", "-", "1-", "-1", "a", "+1", "1.5", "1-2-3", "65536-1", "18446744073709551616", " 1"] {
            assert_eq!(text.parse::<Place>(), Err(NoPlace), "{text}");
        }
    }
}
