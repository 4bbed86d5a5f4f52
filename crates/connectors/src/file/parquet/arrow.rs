//! Which columns are lengths of time.
//!
//! Parquet has no type for these: programs built on Arrow store a whole number and leave Arrow's
//! own schema in the file's metadata (`ARROW:schema`, Base64 of an IPC message, a flatbuffer). A
//! number of microseconds read as one of seconds would be a million times too much. Only what is
//! needed is read: fields in order, with their types. Anything unexpected ends the reading, and
//! the columns are plain numbers.

use data_encoding::BASE64;

/// The key of Arrow's schema in the metadata of a file.
pub(super) const KEY: &str = "ARROW:schema";

/// Numbers in the union of Arrow's types.
const DURATION: u8 = 18;
/// The union's number of a message that is a schema.
const SCHEMA: u8 = 1;
/// Fields nested deeper are none that a program writes.
const DEPTH_MAX: usize = 64;

/// Returns the units per second of each leaf that is a length of time, in the order of the
/// leaves; nothing if the text is no schema.
pub(super) fn durations(text: &str) -> Vec<Option<i64>> {
    let Ok(message) = BASE64.decode(text.as_bytes()) else { return Vec::new() };
    read(&message).unwrap_or_default()
}

fn read(message: &[u8]) -> Option<Vec<Option<i64>>> {
    // An encapsulated message begins with a mark and its length.
    let flat = match message.get(..4)? {
        [0xff, 0xff, 0xff, 0xff] => message.get(8..)?,
        _ => message.get(4..)?,
    };
    let root = Table::at(flat, offset(flat, 0)?)?;
    if root.byte(1)? != SCHEMA {
        return None;
    }
    let mut leaves = Vec::new();
    for field in root.table(2)?.tables(1)? {
        visit(&field, 0, &mut leaves)?;
    }
    Some(leaves)
}

/// Fields: name, nullable, type's number, type, dictionary, children.
fn visit(field: &Table<'_>, depth: usize, leaves: &mut Vec<Option<i64>>) -> Option<()> {
    let children = field.tables(5).unwrap_or_default();
    if depth > DEPTH_MAX {
        return None;
    }
    if children.is_empty() {
        let is_duration = field.byte(2) == Some(DURATION);
        leaves.push(if is_duration { per_second(field.table(3)?.short(0)) } else { None });
    }
    children.iter().try_for_each(|child| visit(child, depth + 1, leaves))
}

/// Milliseconds where nothing is said.
fn per_second(unit: Option<i16>) -> Option<i64> {
    match unit {
        Some(0) => Some(1),
        None | Some(1) => Some(1_000),
        Some(2) => Some(1_000_000),
        Some(3) => Some(1_000_000_000),
        Some(_) => None,
    }
}

/// A table of a flatbuffer: a position with the offsets of its fields.
struct Table<'b> {
    bytes: &'b [u8],
    at: usize,
    offsets: &'b [u8],
}

impl<'b> Table<'b> {
    fn at(bytes: &'b [u8], at: usize) -> Option<Table<'b>> {
        let back = i32::from_le_bytes(*bytes.get(at..)?.first_chunk()?);
        let start = usize::try_from(i64::try_from(at).ok()? - i64::from(back)).ok()?;
        let size = usize::from(u16::from_le_bytes(*bytes.get(start..)?.first_chunk()?));
        let offsets = bytes.get(start..start.checked_add(size)?)?.get(4..)?;
        Some(Table { bytes, at, offsets })
    }

    /// The place of a field; none if it has its default.
    fn field(&self, number: usize) -> Option<usize> {
        let offset = u16::from_le_bytes(*self.offsets.get(number * 2..)?.first_chunk()?);
        (offset > 0).then_some(self.at + usize::from(offset))
    }

    fn byte(&self, number: usize) -> Option<u8> {
        self.bytes.get(self.field(number)?).copied()
    }

    fn short(&self, number: usize) -> Option<i16> {
        Some(i16::from_le_bytes(*self.bytes.get(self.field(number)?..)?.first_chunk()?))
    }

    fn table(&self, number: usize) -> Option<Table<'b>> {
        Table::at(self.bytes, offset(self.bytes, self.field(number)?)?)
    }

    fn tables(&self, number: usize) -> Option<Vec<Table<'b>>> {
        let start = offset(self.bytes, self.field(number)?)?;
        let count = u32::from_le_bytes(*self.bytes.get(start..)?.first_chunk()?);
        let places = (0..usize::try_from(count).ok()?).map(|item| start + 4 + item * 4);
        places.map(|place| Table::at(self.bytes, offset(self.bytes, place)?)).collect()
    }
}

/// The place that a relative offset leads to.
fn offset(bytes: &[u8], at: usize) -> Option<usize> {
    let distance = u32::from_le_bytes(*bytes.get(at..)?.first_chunk()?);
    at.checked_add(usize::try_from(distance).ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_that_is_no_schema_has_no_durations() {
        for text in ["", "/////", "not base64!", "AAAAAAAAAAAAAAAA", "/////xAAAAD/////////////////////", "////fwAAAAA="] {
            assert!(durations(text).is_empty(), "{text}");
        }
    }
}
