//! The parts of a JSON text: the elements of an array, the members of an object, the value at
//! a path.
//!
//! Texts come from the scanner or from operators, so they are sound JSON. A text that is not
//! sound has no parts.

use std::borrow::Cow;
use std::collections::BTreeMap;

use super::Document;
use super::scan;
use crate::event::slot::{Kind, Leaf};
use crate::event::text;

/// A member of an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member<'a> {
    /// Its name, without escapes.
    pub name: Cow<'a, [u8]>,
    /// The text of its value.
    pub value: &'a [u8],
}

/// Returns the leaf of the text of one JSON value.
pub fn leaf_of(value: &[u8]) -> Leaf<'_> {
    let (kind, bytes) = match value.first() {
        None => (Kind::Missing, value),
        Some(b'"') => {
            let inner = value.get(1..value.len().saturating_sub(1)).unwrap_or_default();
            let kind = if inner.contains(&b'\\') { Kind::EscapedText } else { Kind::Text };
            (kind, inner)
        }
        Some(b'n') => (Kind::Null, value),
        Some(b't') => (Kind::True, value),
        Some(b'f') => (Kind::False, value),
        Some(b'{' | b'[') => (Kind::Json, value),
        Some(_) => (Kind::Number, value),
    };
    Leaf { kind, bytes }
}

impl Document {
    /// Returns the text of each element of an array; `None` for anything else.
    pub fn elements(&self) -> Option<Vec<&[u8]>> {
        let mut at = scan::skip_blanks(&self.padded, 0);
        if self.padded[at] != b'[' {
            return None;
        }
        let mut found = Vec::new();
        at = scan::skip_blanks(&self.padded, at + 1);
        if self.padded[at] == b']' {
            return Some(found);
        }
        loop {
            let end = self.value_end(at)?;
            found.push(&self.padded[at..end]);
            at = scan::skip_blanks(&self.padded, end);
            match self.padded[at] {
                b',' => at = scan::skip_blanks(&self.padded, at + 1),
                b']' => return Some(found),
                _ => return None,
            }
        }
    }

    /// Returns the members of an object in their order; `None` for anything else. Of repeated
    /// names the last counts, at the place of the first.
    pub fn members(&self) -> Option<Vec<Member<'_>>> {
        let mut at = scan::skip_blanks(&self.padded, 0);
        if self.padded[at] != b'{' {
            return None;
        }
        let mut found: Vec<Member<'_>> = Vec::new();
        at = scan::skip_blanks(&self.padded, at + 1);
        if self.padded[at] == b'}' {
            return Some(found);
        }
        loop {
            let name_end = self.value_end(at)?;
            let quoted = leaf_of(&self.padded[at..name_end]);
            let name = match quoted.kind {
                Kind::Text => Cow::Borrowed(quoted.bytes),
                Kind::EscapedText => Cow::Owned(text::unescape(quoted.bytes)),
                _ => return None,
            };
            at = scan::skip_blanks(&self.padded, name_end);
            if self.padded[at] != b':' {
                return None;
            }
            at = scan::skip_blanks(&self.padded, at + 1);
            let end = self.value_end(at)?;
            found.push(Member { name, value: &self.padded[at..end] });
            at = scan::skip_blanks(&self.padded, end);
            match self.padded[at] {
                b',' => at = scan::skip_blanks(&self.padded, at + 1),
                b'}' => return Some(last_of_each(found)),
                _ => return None,
            }
        }
    }
}

/// Drops repeated names: the last value counts, at the place of the first.
fn last_of_each(members: Vec<Member<'_>>) -> Vec<Member<'_>> {
    /// Up to so many names are compared with each other: that is faster than a map.
    const FEW: usize = 24;
    let is_repeated = |at: usize| members[..at].iter().any(|before| before.name == members[at].name);
    if members.len() <= FEW && !(1..members.len()).any(is_repeated) {
        return members;
    }
    let mut places = BTreeMap::new();
    let mut kept: Vec<Member<'_>> = Vec::with_capacity(members.len());
    for member in members {
        match places.get(&member.name) {
            Some(&at) => kept[at] = member,
            None => {
                places.insert(member.name.clone(), kept.len());
                kept.push(member);
            }
        }
    }
    kept
}

/// A JSON value that is being changed. Only the objects on the way to a change are taken
/// apart; everything else stays as it was written, digit for digit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Tree {
    /// A value as it is written.
    Raw(Vec<u8>),
    /// The members of an object: names without escapes, and values.
    Object(Vec<(Vec<u8>, Tree)>),
}

impl Tree {
    /// Returns an empty object.
    pub fn object() -> Tree {
        Tree::Object(Vec::new())
    }

    /// Sets the value at a path, or removes it. Objects on the way are made; a value on the
    /// way that is no object is replaced by one.
    pub fn set(&mut self, names: &[Box<str>], value: Option<&[u8]>) {
        let [name, rest @ ..] = names else { return };
        self.open(value.is_some());
        let Tree::Object(members) = self else { return };
        let at = members.iter().position(|(known, _)| **known == *name.as_bytes());
        match (at, value, rest.is_empty()) {
            (Some(at), Some(value), true) => members[at].1 = Tree::Raw(value.to_vec()),
            (Some(at), None, true) => drop(members.remove(at)),
            (Some(at), _, false) => members[at].1.set(rest, value),
            (None, None, _) => {}
            (None, Some(value), _) => {
                let mut inner = Tree::Raw(value.to_vec());
                if !rest.is_empty() {
                    inner = Tree::object();
                    inner.set(rest, Some(value));
                }
                members.push((name.as_bytes().to_vec(), inner));
            }
        }
    }

    /// Takes an object apart. With `always`, anything else becomes an empty object.
    fn open(&mut self, always: bool) {
        let Tree::Raw(raw) = self else { return };
        let document = Document::new(std::mem::take(raw));
        *self = match document.members() {
            Some(members) => {
                let members = members.into_iter();
                Tree::Object(members.map(|member| (member.name.into_owned(), Tree::Raw(member.value.to_vec()))).collect())
            }
            None if always => Tree::object(),
            None => Tree::Raw(document.bytes().to_vec()),
        };
    }

    /// Appends it as JSON.
    pub fn write_to(&self, out: &mut Vec<u8>) {
        match self {
            Tree::Raw(raw) => out.extend_from_slice(raw),
            Tree::Object(members) => {
                out.push(b'{');
                for (i, (name, value)) in members.iter().enumerate() {
                    if i > 0 {
                        out.push(b',');
                    }
                    text::quote_into(name, out);
                    out.push(b':');
                    value.write_to(out);
                }
                out.push(b'}');
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Path;

    fn document(text: &str) -> Document {
        Document::new(text.as_bytes().to_vec())
    }

    #[test]
    fn arrays_have_elements_and_objects_members() {
        let shown = |text: &str| {
            let elements = document(text);
            let elements = elements.elements()?;
            Some(elements.iter().map(|element| String::from_utf8_lossy(element).into_owned()).collect::<Vec<_>>().join("|"))
        };
        assert_eq!(shown(r#" [1 , "a,]", {"b":[2]} ,null]"#).as_deref(), Some(r#"1|"a,]"|{"b":[2]}|null"#));
        assert_eq!(shown("[]").as_deref(), Some(""));
        for other in ["{}", "7", "[1", "[1 2]", "", "null"] {
            assert_eq!(shown(other), None, "{other}");
        }
        let object = document(r#"{ "a" : 1 , "b\n":[0.10] ,"a":2}"#);
        let members = object.members().unwrap();
        assert_eq!(members.len(), 2);
        assert_eq!((&*members[0].name, members[0].value), (&b"a"[..], &b"2"[..]));
        assert_eq!((&*members[1].name, members[1].value), (&b"b\n"[..], &b"[0.10]"[..]));
        assert_eq!(document("[]").members(), None);
    }

    #[test]
    fn a_tree_changes_only_what_is_set() {
        let cases = [
            ("items", Some("7"), r#"{"a":{"b": 1.50},"items":7}"#),
            ("items", None, r#"{"a":{"b": 1.50}}"#),
            ("a.c", Some("2"), r#"{"a":{"b":1.50,"c":2},"items":[1]}"#),
            ("a.b", None, r#"{"a":{},"items":[1]}"#),
            ("items.x", Some("1"), r#"{"a":{"b": 1.50},"items":{"x":1}}"#),
            ("items.x", None, r#"{"a":{"b": 1.50},"items":[1]}"#),
            ("n.m", Some("null"), r#"{"a":{"b": 1.50},"items":[1],"n":{"m":null}}"#),
        ];
        for (path, value, expected) in cases {
            let mut tree = Tree::Raw(br#"{"a":{"b": 1.50},"items":[1]}"#.to_vec());
            tree.set(Path::parse(path).unwrap().names(), value.map(str::as_bytes));
            let mut out = Vec::new();
            tree.write_to(&mut out);
            assert_eq!(String::from_utf8(out).unwrap(), expected, "{path} {value:?}");
        }
    }
}
