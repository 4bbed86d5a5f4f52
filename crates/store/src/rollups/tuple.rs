//! All group values of an event, as bytes.
//!
//! A tuple names its fields, so that a later version of the pipeline can query any of them in any
//! order. Fields are sorted by name, and null or missing ones are left out. So rules that list the
//! same fields in another order make the same tuple, and a field that an event lacks is null
//! whether its rule has it or not. `docs/formats/rollups.md` describes the encoding.

use std::borrow::Cow;

use flowmeter_core::decimal;
use flowmeter_core::event::{Kind, Leaf, Path, unescape};
use flowmeter_core::image::{Glass, Pen, Seen};
use xxhash_rust::xxh3::xxh3_64;

use super::words::{Texts, Words};

/// A tuple of the hot tier, valid until the cells are written to disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TupleIx {
    pub(super) ix: u32,
    pub(super) generation: u32,
}

/// The tuples of the hot tier.
///
/// Events are compared as they were written. Only new texts are normalised (numbers canonical, text
/// unescaped, fields sorted).
#[derive(Debug, Default)]
pub(super) struct Tuples {
    /// Lists of fields. Few: one for each rule.
    lists: Vec<Box<[Box<str>]>>,
    /// Raw values with the number of their list, and the tuple of each.
    raw: Words,
    tuple_of: Vec<u32>,
    tuples: Words,
    scratch: Vec<u8>,
    last: (Vec<u8>, u32),
}

impl Tuples {
    #[inline]
    pub(super) fn intern<'a>(&mut self, names: &[Path], values: impl Iterator<Item = Leaf<'a>>) -> u32 {
        let list = self.list(names);
        self.scratch.clear();
        self.scratch.extend_from_slice(&list.to_le_bytes());
        for value in values {
            let [a, b, c, d] = (value.bytes.len() as u32).to_le_bytes();
            self.scratch.extend_from_slice(&[value.kind as u8, a, b, c, d]);
            self.scratch.extend_from_slice(value.bytes);
        }
        if self.scratch == self.last.0 {
            return self.last.1;
        }
        let raw = self.raw.intern_hashed(xxh3_64(&self.scratch), &self.scratch);
        let tuple = match self.tuple_of.get(raw as usize) {
            Some(tuple) => *tuple,
            None => self.add(list),
        };
        self.last.0.clone_from(&self.scratch);
        self.last.1 = tuple;
        tuple
    }

    #[inline]
    fn list(&mut self, names: &[Path]) -> u32 {
        let is_same = |list: &[Box<str>]| {
            list.len() == names.len() && list.iter().zip(names).all(|(known, name)| **known == *name.as_str())
        };
        match self.lists.iter().position(|list| is_same(list)) {
            Some(list) => list as u32,
            None => {
                self.lists.push(names.iter().map(|name| name.as_str().into()).collect());
                self.lists.len() as u32 - 1
            }
        }
    }

    #[cold]
    fn add(&mut self, list: u32) -> u32 {
        let names = &self.lists[list as usize];
        let mut values = Vec::new();
        let mut rest = &self.scratch[4..];
        while let [kind, a, b, c, d, after @ ..] = rest {
            let length = u32::from_le_bytes([*a, *b, *c, *d]) as usize;
            values.push(value(*kind, &after[..length]));
            rest = &after[length..];
        }
        let mut fields: Vec<_> = names.iter().zip(values).filter_map(|(name, value)| Some((&**name, value?))).collect();
        fields.sort_by_key(|(name, _)| *name);
        fields.dedup_by_key(|(name, _)| *name);
        let mut pen = Pen::default();
        for (name, (kind, text)) in fields {
            pen.text(name.as_bytes());
            pen.byte(kind);
            pen.text(&text);
        }
        let tuple = self.tuples.intern(&pen.bytes);
        self.tuple_of.push(tuple);
        tuple
    }

    pub(super) fn texts(&self) -> &Texts {
        self.tuples.texts()
    }

    pub(super) fn bytes(&self) -> usize {
        self.raw.bytes() + self.tuples.bytes() + self.tuple_of.len() * 4
    }

    pub(super) fn clear(&mut self) {
        self.lists.clear();
        self.raw.clear();
        self.tuple_of.clear();
        self.tuples.clear();
        self.last.0.clear();
    }
}

/// Returns the kind and the normalised text of a value; `None` for null. `1` and `1.0` are one
/// value, as in the groups of meters.
fn value(kind: u8, raw: &[u8]) -> Option<(u8, Cow<'_, [u8]>)> {
    const KINDS: [Kind; 6] = [Kind::False, Kind::True, Kind::Number, Kind::Text, Kind::EscapedText, Kind::Json];
    let kind = KINDS.into_iter().find(|known| *known as u8 == kind)?;
    Some(match kind {
        Kind::EscapedText => (Kind::Text as u8, Cow::Owned(unescape(raw))),
        Kind::Number => {
            let mut text = Vec::new();
            match decimal::parse(raw) {
                Ok(number) => number.write_to(&mut text),
                Err(_) => text.extend_from_slice(raw),
            }
            (kind as u8, Cow::Owned(text))
        }
        _ => (kind as u8, Cow::Borrowed(raw)),
    })
}

/// Returns the text of a field of a tuple; `None` is null.
pub(super) fn field<'t>(tuple: &'t [u8], name: &str) -> Seen<Option<&'t [u8]>> {
    let mut glass = Glass::new(tuple);
    while !glass.is_at_end() {
        let known = glass.text()?;
        glass.byte()?;
        let text = glass.text()?;
        if known == name.as_bytes() {
            return Ok(Some(text));
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_values_are_one_tuple_in_any_order() {
        let path = |name: &str| Path::parse(name).unwrap();
        let leaf = |kind, text: &'static str| Leaf { kind, bytes: text.as_bytes() };
        let (a, b) = (path("a"), path("data.b"));
        let (number, text, escaped) = (Kind::Number, Kind::Text, Kind::EscapedText);
        let mut tuples = Tuples::default();
        let mut ix = |names: &[&Path], values: &[Leaf<'static>]| {
            let names: Vec<Path> = names.iter().map(|name| (*name).clone()).collect();
            tuples.intern(&names, values.iter().copied())
        };
        let one = ix(&[&a, &b], &[leaf(number, "1.0"), leaf(text, "é")]);
        let table: [(&[&Path], &[Leaf<'_>], bool); 9] = [
            (&[&a, &b], &[leaf(number, "1"), leaf(text, "é")], true),
            (&[&b, &a], &[leaf(escaped, r"\u00e9"), leaf(number, "1e0")], true),
            (&[&b, &a, &path("c")], &[leaf(text, "é"), leaf(number, "1"), Leaf::MISSING], true),
            (&[&b, &a, &path("c")], &[leaf(text, "é"), leaf(number, "1"), leaf(Kind::Null, "null")], true),
            (&[&a, &b], &[leaf(text, "1"), leaf(text, "é")], false),
            (&[&b, &a], &[leaf(number, "1"), leaf(text, "é")], false),
            (&[&a, &b], &[leaf(number, "1"), Leaf::MISSING], false),
            (&[&a], &[leaf(number, "1")], false),
            (&[], &[], false),
        ];
        for (n, (names, values, same)) in table.into_iter().enumerate() {
            assert_eq!(ix(names, values) == one, same, "row {n}");
        }
        let tuple = tuples.texts().get(one).to_vec();
        assert_eq!(field(&tuple, "a"), Ok(Some(&b"1"[..])));
        assert_eq!(field(&tuple, "data.b"), Ok(Some("é".as_bytes())));
        assert_eq!(field(&tuple, "b"), Ok(None));
    }
}
