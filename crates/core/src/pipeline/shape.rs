//! The forms that values of a document take.

/// The form of a value.
#[derive(Clone, Copy, Debug)]
pub enum Form {
    /// Any text.
    Text,
    /// An exact decimal.
    Number,
    /// A whole number from … to ….
    Integer(i64, i64),
    /// `true` or `false`.
    Boolean,
    /// A span: `5m`, `32d`.
    Duration,
    /// A dotted path into the event.
    Path,
    /// A dotted path, or a CEL expression.
    Value,
    /// A CEL expression.
    Expression,
    /// An IANA zone or an offset.
    Zone,
    /// A UUID.
    Uuid,
    /// An RFC 3339 instant.
    Instant,
    /// One of these words.
    Word(&'static [&'static str]),
    /// One character.
    Character,
    /// Anything: a literal of a condition, a JSON Schema.
    Any,
    /// An object of this shape.
    Object(&'static Shape),
    /// A list.
    List(&'static Form),
    /// An object of arbitrary names to values of a form.
    Map(&'static Form),
    /// The first of these that fits by kind (scalar, list, object).
    Either(&'static [Form]),
}

/// An object with known fields.
#[derive(Debug)]
pub struct Shape {
    /// What it is, in messages: "unknown *operator* `fliter`".
    pub noun: &'static str,
    /// For people and editors.
    pub help: &'static str,
    /// Its fields.
    pub fields: &'static [Field],
}

/// A field of an object.
#[derive(Debug)]
pub struct Field {
    /// Its name.
    pub name: &'static str,
    /// The form of its value.
    pub form: Form,
    /// Whether it may be left out, and what that means.
    pub presence: Presence,
    /// For people and editors.
    pub help: &'static str,
}

/// Whether a field may be left out, and what that means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Presence {
    /// It may not.
    Required,
    /// Then there is none.
    Optional,
    /// Then it is as if this stood there.
    Default(&'static str),
}

pub(super) const fn required(name: &'static str, form: Form, help: &'static str) -> Field {
    Field { name, form, presence: Presence::Required, help }
}

pub(super) const fn optional(name: &'static str, form: Form, help: &'static str) -> Field {
    Field { name, form, presence: Presence::Optional, help }
}

pub(super) const fn default(name: &'static str, form: Form, value: &'static str, help: &'static str) -> Field {
    Field { name, form, presence: Presence::Default(value), help }
}
