//! Where a field of an event is, and the kind of its value.

use std::borrow::Cow;

use super::text;

/// The kind of value at a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Kind {
    /// The event has no such field.
    Missing = 0,
    /// JSON `null`.
    Null,
    /// `false`.
    False,
    /// `true`.
    True,
    /// A number, as it was written.
    Number,
    /// Text without escapes.
    Text,
    /// Text as JSON wrote it, with escapes still in it.
    EscapedText,
    /// An object or an array, as it was written.
    Json,
}

const KINDS: [Kind; 8] =
    [Kind::Missing, Kind::Null, Kind::False, Kind::True, Kind::Number, Kind::Text, Kind::EscapedText, Kind::Json];

/// Eight bytes: kind, place and length of a field, in the block or in the arena of
/// what operators made. Text excludes its quotes.
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
    /// The field that is not there.
    pub const MISSING: Slot = Slot { start: 0, packed: 0 };

    /// A field in the block. Blocks are far smaller than the 4 GiB a `u32` reaches and
    /// events than the 256 MiB of a length (see `limits.rs`).
    #[inline]
    pub fn in_block(kind: Kind, start: usize, end: usize) -> Slot {
        let length = (end - start) as u32 & LENGTH_MASK;
        Slot { start: start as u32, packed: (kind as u32) << (LENGTH_BITS + 1) | length }
    }

    /// A field that an operator made.
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
    /// As written; text without its quotes.
    pub bytes: &'a [u8],
}

impl<'a> Leaf<'a> {
    /// The leaf of a field that is not there.
    pub const MISSING: Leaf<'static> = Leaf { kind: Kind::Missing, bytes: b"" };

    /// Text that came without escapes.
    pub fn of_text(text: &'a str) -> Leaf<'a> {
        Leaf { kind: Kind::Text, bytes: text.as_bytes() }
    }

    /// Whether there is nothing: no field, or `null`.
    pub fn is_absent(self) -> bool {
        matches!(self.kind, Kind::Missing | Kind::Null)
    }

    /// The value as text: text unescaped, numbers and booleans as written. `None` for
    /// nothing, objects and arrays.
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
