//! Sources of events.

use std::sync::Arc;

use flowmeter_core::event::Block;
use flowmeter_core::mediation::Decoder;

use crate::Error;

/// Where events come from.
///
/// The contract:
/// - blocks are given in the order of arrival, and no record spans two of them;
/// - a block is filled as far as it goes, but a source never waits to fill one further
///   once it has something;
/// - after the end, and after an error, [`Received::End`] is given for ever;
/// - what cannot be read as a record is given all the same, for the decoder to refuse:
///   a source loses nothing.
pub trait Source: Send {
    /// Fills a cleared block.
    fn receive(&mut self, block: &mut Block) -> Result<Received, Error>;

    /// Bytes received so far, as they lie on disk, and how many there are in all, where
    /// that is known.
    fn progress(&self) -> (u64, Option<u64>);
}

/// The result of reading from a source.
#[derive(Debug)]
pub enum Received {
    /// A block, and how its records are read.
    Block(Arc<Decoder>),
    /// There is nothing more.
    End,
}
