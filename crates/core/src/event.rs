//! Events on the hot path: a block of bytes, and for each event a row of [`Slot`]s.
//!
//! Nobody builds a tree of an event. A pipeline knows which fields it reads; a decoder
//! finds those in the bytes and notes where they are. A slot is eight bytes, a row is
//! as wide as the pipeline's list of paths, and a [`Batch`] holds the rows of one block.
//! Numbers stay text until someone counts with them, so no digit is ever lost.

pub mod access_log;
mod batch;
pub mod csv;
pub mod json;
mod path;
mod slot;
mod text;

pub use batch::{Batch, Block, Fault, Origin, Record};
pub use path::{BadPath, Path};
pub use slot::{Kind, Leaf, Slot};
pub use text::{quote_into, unescape};
