//! The position of a field in an event, and the kind of its value.

use std::borrow::Cow;

use super::text;

/// The kind of value at a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Kind {
    /// The event has no such field.
    Missing = 0,
    /// The value is JSON `null`.
    Null,
    /// The value is `false`.
    False,
    /// The value is `true`.
    True,
    /// A number, as it was written.
    Number,
    /// Text without escapes in it.
    Text,
    /// Text as JSON wrote it, with escapes still in it.
    EscapedText,
    /// An object or an array, as it was written.
    Json,
}

const KINDS: [Kind; 8] =
    [Kind::Missing, Kind::Null, Kind::False, Kind::True, Kind::Number, Kind::Text, Kind::EscapedText, Kind::Json];

/// Eight bytes: kind, position and length of a field, in the block or in the arena of values that
/// operators made. Text excludes its quotes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Slot {
    start: u32,
    /// 3 bits kind, 1 bit arena, 28 bits length.
    packed: u32,
}

const LENGTH_BITS: u32 = 28;
const LENGTH_MASK: u32 = (1 << LENGTH_BITS) - 1;
const ARENA: u32 = 1 << LENGTH_BITS;

impl Slot {
    /// The slot of a missing field.
    pub const MISSING: Slot = Slot { start: 0, packed: 0 };

    /// Returns the slot of a field in the block. Blocks are far smaller than the 4 GiB that a `u32`
    /// reaches and events smaller than the 256 MiB of a length (see `limits.rs`).
    #[inline]
    pub fn in_block(kind: Kind, start: usize, end: usize) -> Slot {
        let length = (end - start) as u32 & LENGTH_MASK;
        Slot { start: start as u32, packed: (kind as u32) << (LENGTH_BITS + 1) | length }
    }

    /// Returns the slot of a value that an operator made.
    #[inline]
    pub fn in_arena(kind: Kind, start: usize, end: usize) -> Slot {
        let slot = Slot::in_block(kind, start, end);
        Slot { packed: slot.packed | ARENA, ..slot }
    }

    /// Returns the kind of value at the field.
    #[inline]
    pub fn kind(self) -> Kind {
        KINDS[(self.packed >> (LENGTH_BITS + 1)) as usize]
    }

    #[inline]
    pub(super) fn resolve<'a>(self, block: &'a [u8], arena: &'a [u8]) -> Leaf<'a> {
        let home = if self.packed & ARENA == 0 { block } else { arena };
        let start = self.start as usize;
        let end = start + (self.packed & LENGTH_MASK) as usize;
        Leaf { kind: self.kind(), bytes: home.get(start..end).unwrap_or_default() }
    }
}

/// A field's value: its kind and its bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Leaf<'a> {
    /// The kind of value at the field.
    pub kind: Kind,
    /// The bytes as written; text without its quotes.
    pub bytes: &'a [u8],
}

impl<'a> Leaf<'a> {
    /// The leaf of a missing field.
    pub const MISSING: Leaf<'static> = Leaf { kind: Kind::Missing, bytes: b"" };

    /// Returns a leaf of a text without escapes.
    pub fn of_text(text: &'a str) -> Leaf<'a> {
        Leaf { kind: Kind::Text, bytes: text.as_bytes() }
    }

    /// Whether the field is missing or `null`.
    pub fn is_absent(self) -> bool {
        matches!(self.kind, Kind::Missing | Kind::Null)
    }

    /// Whether the field identifies nothing: it is missing, `null` or an empty text.
    pub fn is_empty(self) -> bool {
        // Missing fields and empty texts have no bytes.
        self.kind == Kind::Null || self.bytes.is_empty()
    }

    /// Returns the value as text: text unescaped, numbers and booleans as written. `None` for a
    /// missing field, `null`, objects and arrays.
    #[inline]
    pub fn as_text(self) -> Option<Cow<'a, [u8]>> {
        match self.kind {
            Kind::Text | Kind::Number | Kind::True | Kind::False => Some(Cow::Borrowed(self.bytes)),
            Kind::EscapedText => Some(Cow::Owned(text::unescape(self.bytes))),
            Kind::Missing | Kind::Null | Kind::Json => None,
        }
    }

    /// Appends the value as JSON; a missing field is `null`.
    pub fn write_json(self, out: &mut Vec<u8>) {
        match self.kind {
            Kind::Missing | Kind::Null => out.extend_from_slice(b"null"),
            Kind::Text => text::quote_into(self.bytes, out),
            Kind::EscapedText => {
                out.push(b'"');
                out.extend_from_slice(self.bytes);
                out.push(b'"');
            }
            Kind::False | Kind::True | Kind::Number | Kind::Json => out.extend_from_slice(self.bytes),
        }
    }
}
