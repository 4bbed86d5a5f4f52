//! Events on the hot path: a block of bytes, and for each event a row of [`Slot`]s.
//!
//! No tree is built of an event. A pipeline has a list of the fields that it reads; a decoder finds
//! those in the bytes and notes where they are. A slot is eight bytes, a row is as wide as the
//! pipeline's list of paths, and a [`Batch`] holds the rows of one block. Numbers stay text until
//! an operator or a meter computes with them, so no digit is ever lost.

pub mod access_log;
mod batch;
pub mod csv;
pub mod fixed;
pub mod json;
pub mod log_pattern;
mod path;
mod place;
mod slot;
mod special;
mod text;
pub mod unread;

pub use batch::{Batch, Block, Fault, Origin, Record};
pub use path::{BadPath, Path};
pub use place::{Place, Places};
pub use slot::{Kind, Leaf, Slot};
pub use text::{quote_into, unescape};

/// Marks a byte that is not a character in the declared encoding: a source writes these two bytes
/// before it. No text in UTF-8 contains them.
pub const UNDECODABLE: [u8; 2] = [0xff, 0xfe];

/// Describes the error of a text that is not UTF-8, with its first wrong byte.
pub(crate) fn not_utf8(text: &[u8]) -> String {
    let at = std::str::from_utf8(text).err().map_or(0, |why| why.valid_up_to());
    match text[at..] {
        [a, b, byte, ..] if [a, b] == UNDECODABLE => {
            format!("byte {} of the line, 0x{byte:02X}, is no character in the declared encoding", at + 1)
        }
        [byte, ..] => format!(
            "byte {} of the line, 0x{byte:02X}, is not UTF-8; say how the file is written with `encoding:` \
             (windows-1252, utf-16le, shift_jis …)",
            at + 1
        ),
        [] => "not UTF-8".to_owned(),
    }
}
