//! Group values, each stored once: its identity and its written form.
//!
//! A meter's group is a number (a symbol) and an aggregate. The text of the group (its fields and
//! its key) is made once and shared by all meters.

use hashbrown::HashTable;
use xxhash_rust::xxh3::xxh3_64;

use crate::decimal;
use crate::event::{Kind, Leaf, Path, quote_into};

/// The group values of a partition.
#[derive(Clone, Debug, Default)]
pub struct Symbols {
    known: Vec<Symbol>,
    index: HashTable<u32>,
    /// Breakdowns that the plan no longer has, numbered after its own.
    retired: Vec<Vec<Path>>,
    scratch: Vec<u8>,
}

#[derive(Clone, Debug)]
struct Symbol {
    /// Breakdown, followed by kind, length and bytes of each value.
    identity: Box<[u8]>,
    /// The sort key of groups: `field:value,…`, escaped.
    key: Box<[u8]>,
    /// The start of its JSON: `{"fields":{…},"key":"…","value":`.
    opening: Box<[u8]>,
}

impl Symbols {
    /// Returns the number of bytes that it holds on the heap.
    pub(super) fn heap_bytes(&self) -> usize {
        let text = |symbol: &Symbol| symbol.identity.len() + symbol.key.len() + symbol.opening.len();
        self.known.capacity() * size_of::<Symbol>() + self.known.iter().map(text).sum::<usize>() + self.index.capacity() * 5
    }

    /// The key of the group of values beyond the limit of groups.
    pub const OTHER_KEY: &[u8] = "…other".as_bytes();
    /// The JSON of that group up to its value.
    pub const OTHER_OPENING: &[u8] = "{\"fields\":{},\"key\":\"…other\",\"value\":".as_bytes();

    /// Returns the symbol of a breakdown's values.
    #[inline]
    pub fn intern<'a>(&mut self, breakdown: u16, names: &[Path], values: impl Iterator<Item = Leaf<'a>>) -> u32 {
        self.scratch.clear();
        self.scratch.extend_from_slice(&breakdown.to_le_bytes());
        for value in values {
            encode(value, &mut self.scratch);
        }
        self.find_or_add(names)
    }

    /// Returns the symbol of values as an image holds them.
    pub(super) fn intern_identity(&mut self, breakdown: u16, names: &[Path], values: &[u8]) -> u32 {
        self.scratch.clear();
        self.scratch.extend_from_slice(&breakdown.to_le_bytes());
        self.scratch.extend_from_slice(values);
        self.find_or_add(names)
    }

    /// Returns the number of symbols.
    pub(super) fn len(&self) -> usize {
        self.known.len()
    }

    /// Returns the identity of each as an image holds it, by number.
    pub(super) fn identities(&self) -> impl Iterator<Item = &[u8]> {
        self.known.iter().map(|symbol| &*symbol.identity)
    }

    /// Returns the breakdowns that the plan no longer has.
    pub(super) fn retired(&self) -> &[Vec<Path>] {
        &self.retired
    }

    /// Returns the number of a breakdown among those that the plan no longer has.
    pub(super) fn retire(&mut self, names: &[Path]) -> u16 {
        let found = self.retired.iter().position(|known| known == names);
        let at = found.unwrap_or_else(|| {
            self.retired.push(names.to_vec());
            self.retired.len() - 1
        });
        at as u16
    }

    #[inline]
    fn find_or_add(&mut self, names: &[Path]) -> u32 {
        let hash = xxh3_64(&self.scratch);
        let found = self.index.find(hash, |&symbol| *self.known[symbol as usize].identity == *self.scratch);
        match found {
            Some(&symbol) => symbol,
            None => self.add(hash, names),
        }
    }

    #[cold]
    fn add(&mut self, hash: u64, names: &[Path]) -> u32 {
        let identity: Box<[u8]> = self.scratch.as_slice().into();
        let values = decode(&identity[2..]);
        let key = write_key(names, &values);
        let opening = write_opening(names, &values, &key);
        let symbol = self.known.len() as u32;
        self.known.push(Symbol { identity, key: key.into(), opening: opening.into() });
        let known = &self.known;
        self.index.insert_unique(hash, symbol, |&other| xxh3_64(&known[other as usize].identity));
        symbol
    }

    /// Returns the sort key of a group: the key, then the rest, which differs where a number and a
    /// text are written alike.
    pub fn sort_key(&self, symbol: u32) -> (&[u8], &[u8]) {
        let symbol = &self.known[symbol as usize];
        (&symbol.key, &symbol.opening)
    }

    /// Returns the JSON of a group up to its value.
    pub fn opening(&self, symbol: u32) -> &[u8] {
        &self.known[symbol as usize].opening
    }
}

/// A group value: its kind and its text.
type Value<'a> = (Kind, &'a [u8]);

/// Appends a value in canonical form. A missing field and null are the same; numbers are written so
/// that `1` and `1.0` are one group; text is unescaped.
fn encode(leaf: Leaf<'_>, out: &mut Vec<u8>) {
    let start = out.len();
    out.extend_from_slice(&[0; 5]);
    let kind = match leaf.kind {
        Kind::Missing | Kind::Null => Kind::Null,
        Kind::Number => {
            match decimal::parse(leaf.bytes) {
                Ok(number) => number.write_to(out),
                Err(_) => out.extend_from_slice(leaf.bytes),
            }
            Kind::Number
        }
        Kind::EscapedText => {
            out.extend_from_slice(&crate::event::unescape(leaf.bytes));
            Kind::Text
        }
        kind @ (Kind::Text | Kind::True | Kind::False | Kind::Json) => {
            out.extend_from_slice(leaf.bytes);
            kind
        }
    };
    let length = (out.len() - start - 5) as u32;
    out[start] = kind as u8;
    out[start + 1..start + 5].copy_from_slice(&length.to_le_bytes());
}

fn decode(mut identity: &[u8]) -> Vec<Value<'_>> {
    const KINDS: [Kind; 6] = [Kind::Null, Kind::False, Kind::True, Kind::Number, Kind::Text, Kind::Json];
    let mut values = Vec::new();
    while let [kind, a, b, c, d, rest @ ..] = identity {
        let length = u32::from_le_bytes([*a, *b, *c, *d]) as usize;
        let kind = KINDS.into_iter().find(|known| *known as u8 == *kind).unwrap_or(Kind::Null);
        // An image may be damaged: missing parts are omitted.
        let Some((text, behind)) = rest.split_at_checked(length) else { break };
        values.push((kind, text));
        identity = behind;
    }
    values
}

/// Returns `f1:v1,f2:v2` in the order of the group-by; `\`, `,` and `:` in values are escaped.
fn write_key(names: &[Path], values: &[Value<'_>]) -> Vec<u8> {
    let mut key = Vec::new();
    for (i, (name, (kind, text))) in names.iter().zip(values).enumerate() {
        if i > 0 {
            key.push(b',');
        }
        escape(name.as_str().as_bytes(), &mut key);
        key.push(b':');
        escape(if *kind == Kind::Null { b"null" } else { text }, &mut key);
    }
    key
}

fn escape(text: &[u8], out: &mut Vec<u8>) {
    for &c in text {
        if matches!(c, b'\\' | b',' | b':') {
            out.push(b'\\');
        }
        out.push(c);
    }
}

fn write_opening(names: &[Path], values: &[Value<'_>], key: &[u8]) -> Vec<u8> {
    let mut members: Vec<_> = names.iter().map(Path::as_str).zip(values).collect();
    members.sort_unstable_by_key(|(name, _)| *name);
    let mut out = b"{\"fields\":{".to_vec();
    for (i, (name, (kind, text))) in members.into_iter().enumerate() {
        if i > 0 {
            out.push(b',');
        }
        quote_into(name.as_bytes(), &mut out);
        out.push(b':');
        Leaf { kind: *kind, bytes: text }.write_json(&mut out);
    }
    out.extend_from_slice(b"},\"key\":");
    quote_into(key, &mut out);
    out.extend_from_slice(b",\"value\":");
    out
}
