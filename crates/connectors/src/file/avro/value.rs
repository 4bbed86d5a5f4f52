//! Values of Avro's binary encoding as JSON.

use flowmeter_core::event::quote_into;

use super::schema::{Schema, Type};
use crate::file::typed::{Kind, key, value};

/// Values nested deeper are refused: a schema that contains itself could nest for ever.
const DEPTH_MAX: usize = 64;

/// The rest of the bytes of a block.
pub(crate) struct Input<'b>(&'b [u8]);

impl<'b> Input<'b> {
    pub(crate) fn new(bytes: &'b [u8]) -> Input<'b> {
        Input(bytes)
    }

    /// Returns the number of bytes that were not read.
    pub(crate) fn left(&self) -> usize {
        self.0.len()
    }

    fn take(&mut self, length: usize) -> Result<&'b [u8], String> {
        let (taken, rest) = self.0.split_at_checked(length).ok_or("a value is cut short")?;
        self.0 = rest;
        Ok(taken)
    }

    /// Reads a number: seven bits a byte, the lowest first, the sign in the lowest bit.
    pub(super) fn long(&mut self) -> Result<i64, String> {
        let mut bits = 0u64;
        for shift in (0..64).step_by(7) {
            let byte = self.take(1)?[0];
            bits |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok((bits >> 1).cast_signed() ^ -(bits & 1).cast_signed());
            }
        }
        Err("a number of more than ten bytes".to_owned())
    }

    fn length(&mut self) -> Result<usize, String> {
        usize::try_from(self.long()?).map_err(|_| "a negative length".to_owned())
    }

    /// Reads how many items of a list come next; 0 at its end. A negative count is followed by
    /// their bytes.
    fn items(&mut self) -> Result<u64, String> {
        let count = self.long()?;
        if count < 0 {
            self.long()?;
        }
        Ok(count.unsigned_abs())
    }
}

/// Appends an item of a list or a map.
type Item<'i> = dyn FnMut(&mut Input<'_>, &mut Vec<u8>) -> Result<(), String> + 'i;

impl Schema {
    /// Appends a value of a type.
    pub(crate) fn append(&self, kind: usize, input: &mut Input<'_>, out: &mut Vec<u8>, depth: usize) -> Result<(), String> {
        if depth > DEPTH_MAX {
            return Err(format!("a value is nested deeper than {DEPTH_MAX}"));
        }
        match &self.types[kind] {
            Type::Null => out.extend_from_slice(b"null"),
            Type::Boolean => out.extend_from_slice(if input.take(1)?[0] == 0 { b"false" } else { b"true" }),
            Type::Long(kind) => value::integer(input.long()?.into(), *kind, out),
            Type::Float => value::float(f32::from_le_bytes(array(input.take(4)?)?), out),
            Type::Double => value::float(f64::from_le_bytes(array(input.take(8)?)?), out),
            Type::Bytes(kind) => {
                let length = input.length()?;
                let bytes = input.take(length)?;
                if *kind == Kind::Text && std::str::from_utf8(bytes).is_err() {
                    return Err("a text that is not UTF-8".to_owned());
                }
                value::bytes(bytes, *kind, out);
            }
            Type::Fixed(size, kind) => value::bytes(input.take(*size)?, *kind, out),
            Type::Enum(symbols) => {
                let symbol = symbols.get(input.length()?).ok_or("a symbol that its enum does not have")?;
                quote_into(symbol.as_bytes(), out);
            }
            Type::Union(branches) => {
                let branch = branches.get(input.length()?).ok_or("a branch that its union does not have")?;
                self.append(*branch, input, out, depth + 1)?;
            }
            Type::Record(fields) => {
                out.push(b'{');
                for (place, (name, kind)) in fields.iter().enumerate() {
                    if place > 0 {
                        out.push(b',');
                    }
                    out.extend_from_slice(&key(name));
                    self.append(*kind, input, out, depth + 1)?;
                }
                out.push(b'}');
            }
            Type::Array(items) => self.list(b"[]", input, out, &mut |input, out| self.append(*items, input, out, depth + 1))?,
            Type::Map(values) => self.list(b"{}", input, out, &mut |input, out| {
                let length = input.length()?;
                let name = std::str::from_utf8(input.take(length)?).map_err(|_| "a key that is not UTF-8")?;
                out.extend_from_slice(&key(name));
                self.append(*values, input, out, depth + 1)
            })?,
        }
        Ok(())
    }

    fn list(&self, [open, close]: &[u8; 2], input: &mut Input<'_>, out: &mut Vec<u8>, item: &mut Item<'_>) -> Result<(), String> {
        out.push(*open);
        let mut is_first = true;
        loop {
            let items = input.items()?;
            if items == 0 {
                out.push(*close);
                return Ok(());
            }
            for _ in 0..items {
                if !is_first {
                    out.push(b',');
                }
                is_first = false;
                let before = input.left();
                item(input, out)?;
                // Items of no bytes could be as many as a damaged count says.
                if input.left() == before && items > ITEMS_OF_NOTHING_MAX {
                    return Err(format!("a list of {items} items of no bytes"));
                }
            }
        }
    }
}

/// Items of a list that take no bytes (nulls): more come of a damaged count.
const ITEMS_OF_NOTHING_MAX: u64 = 1_000_000;

fn array<const N: usize>(bytes: &[u8]) -> Result<[u8; N], String> {
    bytes.try_into().map_err(|_| "a value is cut short".to_owned())
}
