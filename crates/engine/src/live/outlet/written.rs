//! The items of a stream that were written before a restart, to compare with those made again.

use std::collections::VecDeque;

use flowmeter_store::log::Reader;

use super::items;
use crate::{Error, Kind};

/// The items of a stream that were written before a restart, in order.
pub(super) struct Written {
    reader: Reader,
    /// The rest of the entry that was read last.
    items: VecDeque<Box<[u8]>>,
}

impl Written {
    /// Reads from the entry of an item on; the next item is that one.
    pub(super) fn from(mut reader: Reader, number: u64) -> Result<Written, Error> {
        let entry = reader.read()?;
        let items = entry.iter().flat_map(items).filter(|(known, _)| *known >= number);
        Ok(Written { items: items.map(|(_, item)| item.into()).collect(), reader })
    }

    /// Returns the next item.
    pub(super) fn next(&mut self) -> Result<Option<Box<[u8]>>, Error> {
        while self.items.is_empty() {
            let Some(entry) = self.reader.read()? else { return Ok(None) };
            self.items = items(&entry).map(|(_, item)| item.into()).collect();
        }
        Ok(self.items.pop_front())
    }
}

/// Returns the error of an item that is another one than before.
pub(super) fn another(number: u64) -> Error {
    let message = format!("item {number} was made of entries of the log that are lost; restore the data folder from a backup");
    Error::new(Kind::Corrupt, message)
}
