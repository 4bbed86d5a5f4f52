//! The forms that values of a document take.

/// The form of a value.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Form {
    /// Text of any content.
    Text,
    /// A number that is an exact decimal.
    Number,
    /// A whole number with its least and greatest value.
    Integer(i64, i64),
    /// The value `true` or `false`.
    Boolean,
    /// A duration: `5m`, `32d`.
    Duration,
    /// A dotted path into the event.
    Path,
    /// A dotted path, or a CEL expression.
    Value,
    /// An expression in CEL.
    Expression,
    /// An IANA zone or an offset.
    Zone,
    /// A UUID as text.
    Uuid,
    /// An RFC 3339 instant.
    Instant,
    /// One of these words.
    Word(&'static [&'static str]),
    /// A text of one character.
    Character,
    /// Any value: a literal of a condition, a JSON Schema.
    Any,
    /// An object of this shape.
    Object(&'static Shape),
    /// A list of values of a form.
    List(&'static Form),
    /// An object of arbitrary names to values of a form.
    Map(&'static Form),
    /// The first of these that fits by kind (scalar, list, object).
    Either(&'static [Form]),
}

/// An object with known fields.
#[derive(Debug)]
pub(crate) struct Shape {
    /// Its noun in messages: "unknown *operator* `fliter`".
    pub noun: &'static str,
    /// Help for people and editors.
    pub help: &'static str,
    /// The fields of the object.
    pub fields: &'static [Field],
}

/// A field of an object.
#[derive(Debug)]
pub(crate) struct Field {
    /// The name of the field.
    pub name: &'static str,
    /// The form of its value.
    pub form: Form,
    /// Whether it may be omitted, and its value then.
    pub presence: Presence,
    /// Help for people and editors.
    pub help: &'static str,
}

/// Whether a field may be omitted, and its value then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Presence {
    /// The field must be present.
    Required,
    /// Without the field, there is no value.
    Optional,
    /// Without the field, it has this value.
    Default(&'static str),
    /// Without the field, its own fields have their defaults.
    Filled,
}

pub(super) const fn required(name: &'static str, form: Form, help: &'static str) -> Field {
    Field { name, form, presence: Presence::Required, help }
}

pub(super) const fn filled(name: &'static str, form: Form, help: &'static str) -> Field {
    Field { name, form, presence: Presence::Filled, help }
}

pub(super) const fn optional(name: &'static str, form: Form, help: &'static str) -> Field {
    Field { name, form, presence: Presence::Optional, help }
}

pub(super) const fn default(name: &'static str, form: Form, value: &'static str, help: &'static str) -> Field {
    Field { name, form, presence: Presence::Default(value), help }
}
