//! Fields of a Parquet schema, with any nesting, and the JSON of a row.
//!
//! Parquet stores nested values as columns of leaves. Each leaf has levels beside its values: the
//! definition level gives the depth to which a value is present, the repetition level gives the
//! list that the value continues. A field has the levels at which it is null, empty or repeated,
//! and writes itself by the levels of its first leaf.

use std::ops::Range;

use parquet::basic::{ConvertedType, LogicalType, Repetition};
use parquet::schema::types::Type;

use flowmeter_core::event::quote_into;

use super::kind::kind_of;
use super::leaf::Leaf;
use crate::file::typed::{Kind, key};

/// A field with the indexes of its leaves.
pub(super) struct Field {
    pub(super) name: String,
    form: Form,
    /// The definition level from which on the field is not null.
    defined: i16,
    leaves: Range<usize>,
}

enum Form {
    Leaf,
    Object(Vec<(Vec<u8>, Field)>),
    List(Repeated, Box<Field>),
    /// A map with its keys and values.
    Map(Repeated, Box<[Field; 2]>),
}

/// The levels of a repeated field: the definition level from which it has an element, and the
/// repetition level of a further element.
#[derive(Clone, Copy)]
struct Repeated {
    defined: i16,
    level: i16,
}

/// Levels above a field.
#[derive(Clone, Copy, Default)]
struct Levels {
    defined: i16,
    repeated: i16,
}

/// Builds fields and collects their leaves, in the order of Parquet's columns.
pub(super) struct Builder<'h> {
    pub(super) leaves: Vec<Leaf>,
    /// Durations among the leaves: Parquet has no such type, but Arrow has.
    durations: &'h [Option<i64>],
}

impl<'h> Builder<'h> {
    pub(super) fn new(durations: &'h [Option<i64>]) -> Builder<'h> {
        Builder { leaves: Vec::new(), durations }
    }

    /// Adds a field of the root.
    ///
    /// # Errors
    /// A type without a JSON form: the type. The leaves of the field keep their places.
    pub(super) fn root(&mut self, field: &Type) -> Result<Field, String> {
        let first = self.leaves.len();
        self.field(field, Levels::default()).inspect_err(|_| {
            self.leaves.truncate(first);
            self.leaves.extend((0..leaves_of(field)).map(|_| Leaf::new(Kind::Null, 0)));
        })
    }

    fn field(&mut self, field: &Type, above: Levels) -> Result<Field, String> {
        let optional = Levels { defined: above.defined + 1, ..above };
        match repetition(field) {
            Repetition::REQUIRED => self.plain(field, above),
            Repetition::OPTIONAL => self.plain(field, optional),
            // Without an annotation: a list that is never null, of elements that are never null.
            Repetition::REPEATED => {
                let first = self.leaves.len();
                let inside = Levels { defined: above.defined + 1, repeated: above.repeated + 1 };
                let element = self.plain(field, inside)?;
                let repeated = Repeated { defined: inside.defined, level: inside.repeated };
                Ok(self.made(field, Form::List(repeated, Box::new(element)), above, first))
            }
        }
    }

    /// A field whose own repetition is in the levels.
    fn plain(&mut self, field: &Type, levels: Levels) -> Result<Field, String> {
        let first = self.leaves.len();
        if field.is_primitive() {
            let duration = self.durations.get(self.leaves.len()).copied().flatten();
            let kind = match (kind_of(field)?, duration) {
                (Kind::Signed, Some(per_second)) => Kind::Duration { per_second },
                (kind, _) => kind,
            };
            self.leaves.push(Leaf::new(kind, levels.defined));
            return Ok(self.made(field, Form::Leaf, levels, first));
        }
        let form = match (annotation(field), field.get_fields()) {
            (Annotation::List, [items]) if repetition(items) == Repetition::REPEATED => self.list(field, items, levels)?,
            (Annotation::Map, [entries]) if repetition(entries) == Repetition::REPEATED => self.map(entries, levels)?,
            (_, []) => return Err("a group without members".to_owned()),
            (_, members) => {
                let member = |member: &std::sync::Arc<Type>| Ok((key(member.name()), self.field(member, levels)?));
                Form::Object(members.iter().map(member).collect::<Result<_, String>>()?)
            }
        };
        Ok(self.made(field, form, levels, first))
    }

    fn list(&mut self, field: &Type, items: &Type, above: Levels) -> Result<Form, String> {
        let inside = Levels { defined: above.defined + 1, repeated: above.repeated + 1 };
        let repeated = Repeated { defined: inside.defined, level: inside.repeated };
        let element = match is_element(field, items) {
            true => self.plain(items, inside),
            false => self.field(&items.get_fields()[0], inside),
        };
        Ok(Form::List(repeated, Box::new(element?)))
    }

    fn map(&mut self, entries: &Type, above: Levels) -> Result<Form, String> {
        let inside = Levels { defined: above.defined + 1, repeated: above.repeated + 1 };
        let repeated = Repeated { defined: inside.defined, level: inside.repeated };
        let pair = match entries.get_fields() {
            [key, value] => self.field(key, inside).and_then(|key| Ok([key, self.field(value, inside)?])),
            _ => Err("a map without values".to_owned()),
        };
        Ok(Form::Map(repeated, Box::new(pair?)))
    }

    fn made(&self, field: &Type, form: Form, levels: Levels, first: usize) -> Field {
        let name = field.name().to_owned();
        Field { name, form, defined: levels.defined, leaves: first..self.leaves.len() }
    }
}

fn leaves_of(field: &Type) -> usize {
    match field.is_primitive() {
        true => 1,
        false => field.get_fields().iter().map(|member| leaves_of(member)).sum(),
    }
}

fn repetition(field: &Type) -> Repetition {
    let info = field.get_basic_info();
    if info.has_repetition() { info.repetition() } else { Repetition::REQUIRED }
}

enum Annotation {
    List,
    Map,
    None,
}

fn annotation(field: &Type) -> Annotation {
    let info = field.get_basic_info();
    match (info.logical_type_ref(), info.converted_type()) {
        (Some(LogicalType::List), _) | (None, ConvertedType::LIST) => Annotation::List,
        (Some(LogicalType::Map), _) | (None, ConvertedType::MAP | ConvertedType::MAP_KEY_VALUE) => Annotation::Map,
        _ => Annotation::None,
    }
}

/// Whether the repeated field of a list is its element, as in files from before lists had three
/// levels. The rules are those of the Parquet format (LogicalTypes.md, "Lists").
fn is_element(list: &Type, items: &Type) -> bool {
    items.is_primitive()
        || items.get_fields().len() != 1
        || repetition(&items.get_fields()[0]) == Repetition::REPEATED
        || items.name() == "array"
        || items.name() == format!("{}_tuple", list.name())
}

impl Field {
    /// Returns the field that a path below this one leads to, if the path is of objects only.
    pub(super) fn at<'f, N: AsRef<str>>(&'f self, path: &[N]) -> Option<&'f Field> {
        let Some((name, rest)) = path.split_first() else { return Some(self) };
        let Form::Object(members) = &self.form else { return None };
        members.iter().find(|(_, member)| member.name == name.as_ref())?.1.at(rest)
    }

    /// Returns the indexes of the field's leaves.
    pub(super) fn leaves(&self) -> Range<usize> {
        self.leaves.clone()
    }

    /// Returns the kind of a field that is a column.
    pub(super) fn kind(&self, leaves: &[Leaf]) -> Option<Kind> {
        match self.form {
            Form::Leaf => leaves.get(self.leaves.start).map(|leaf| leaf.kind),
            Form::Object(_) | Form::List(..) | Form::Map(..) => None,
        }
    }

    /// Appends the field's value of the next row, or of the next element.
    pub(super) fn append(&self, leaves: &mut [Leaf], out: &mut Vec<u8>) {
        // An object without members has no levels; it is present.
        let definition = leaves.get(self.leaves.start).map_or(self.defined, Leaf::definition);
        if definition < self.defined {
            out.extend_from_slice(b"null");
            return self.skip(leaves);
        }
        match &self.form {
            Form::Leaf => leaves[self.leaves.start].append(out),
            Form::Object(members) => {
                out.push(b'{');
                for (place, (key, member)) in members.iter().enumerate() {
                    if place > 0 {
                        out.push(b',');
                    }
                    out.extend_from_slice(key);
                    member.append(leaves, out);
                }
                out.push(b'}');
            }
            Form::List(repeated, element) => {
                out.push(b'[');
                self.elements(*repeated, leaves, out, &mut |leaves, out| element.append(leaves, out));
                out.push(b']');
            }
            Form::Map(repeated, pair) => {
                out.push(b'{');
                self.elements(*repeated, leaves, out, &mut |leaves, out| entry(pair, leaves, out));
                out.push(b'}');
            }
        }
    }

    fn elements(
        &self,
        repeated: Repeated,
        leaves: &mut [Leaf],
        out: &mut Vec<u8>,
        element: &mut dyn FnMut(&mut [Leaf], &mut Vec<u8>),
    ) {
        let first = self.leaves.start;
        if leaves[first].definition() < repeated.defined {
            return self.skip(leaves);
        }
        element(leaves, out);
        while leaves[first].repetition() == Some(repeated.level) {
            out.push(b',');
            element(leaves, out);
        }
    }

    fn skip(&self, leaves: &mut [Leaf]) {
        leaves[self.leaves.clone()].iter_mut().for_each(Leaf::skip);
    }
}

/// Appends a member of a map. A key that is not text is written as JSON and becomes text.
fn entry([key, value]: &[Field; 2], leaves: &mut [Leaf], out: &mut Vec<u8>) {
    let from = out.len();
    key.append(leaves, out);
    if out[from] != b'"' {
        let bare = out.split_off(from);
        quote_into(&bare, out);
    }
    out.push(b':');
    value.append(leaves, out);
}
