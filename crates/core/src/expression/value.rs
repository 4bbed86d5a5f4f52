//! Values of expressions, their comparison and their text.

use std::borrow::Cow;
use std::cmp::Ordering;

use crate::decimal::{self, Decimal, Inexact, Quotient, Rounding};
use crate::event::{Kind, Leaf};
use crate::time::Timestamp;

/// A value of an expression.
#[derive(Clone, Debug)]
pub enum Value<'a> {
    /// Null, or a missing field.
    Null,
    /// The value true or false.
    Bool(bool),
    /// A number as an exact decimal.
    Number(Decimal),
    /// A quotient that is not a decimal. It must be rounded before it is stored.
    Ratio(Quotient),
    /// A number with more than 18 digits after the point, as written. It must be rounded before it
    /// is used in a computation.
    Long(Cow<'a, [u8]>),
    /// A text without escapes.
    Text(Cow<'a, [u8]>),
    /// An instant in time.
    Time(Timestamp),
    /// A duration, in nanoseconds.
    Span(i64),
    /// A list of values.
    List(Vec<Value<'a>>),
    /// An object or array of the event, as written.
    Json(Cow<'a, [u8]>),
}

impl<'a> Value<'a> {
    /// Returns the value of a leaf. A number beyond the range of decimals is an error.
    #[inline]
    pub fn of(leaf: Leaf<'a>) -> Result<Value<'a>, String> {
        Ok(match leaf.kind {
            Kind::Missing | Kind::Null => Value::Null,
            Kind::True => Value::Bool(true),
            Kind::False => Value::Bool(false),
            Kind::Text => Value::Text(Cow::Borrowed(leaf.bytes)),
            Kind::EscapedText => Value::Text(leaf.as_text().unwrap_or_default()),
            Kind::Json => Value::Json(Cow::Borrowed(leaf.bytes)),
            Kind::Number => match decimal::parse(leaf.bytes) {
                Ok(number) => Value::Number(number),
                Err(Inexact::TooFine) => Value::Long(Cow::Borrowed(leaf.bytes)),
                Err(why) => return Err(format!("{}: {why}", String::from_utf8_lossy(leaf.bytes))),
            },
        })
    }

    /// Whether two values are equal; values of different types are not.
    pub fn equals(&self, other: &Value<'_>) -> bool {
        match (self, other) {
            (Value::Null, Value::Null) => true,
            (Value::Json(a), Value::Json(b)) => a == b,
            (Value::List(a), Value::List(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a.equals(b)),
            (Value::Bool(a), Value::Bool(b)) => a == b,
            _ => self.order(other) == Some(Ordering::Equal),
        }
    }

    /// Returns the order of two values of one type that has an order.
    pub fn order(&self, other: &Value<'_>) -> Option<Ordering> {
        match (self, other) {
            (Value::Number(a), Value::Number(b)) => Some(a.cmp(b)),
            (Value::Ratio(a), Value::Number(b)) => Some(a.compare(*b)),
            (Value::Number(a), Value::Ratio(b)) => Some(b.compare(*a).reverse()),
            (Value::Ratio(a), Value::Ratio(b)) => Some(a.minus(*b).compare(Decimal::ZERO)),
            (Value::Span(a), Value::Number(b)) => Some(Decimal::of_nanos(*a).cmp(b)),
            (Value::Number(a), Value::Span(b)) => Some(a.cmp(&Decimal::of_nanos(*b))),
            (Value::Long(a), Value::Number(b)) => order_long(a, *b),
            (Value::Number(a), Value::Long(b)) => order_long(b, *a).map(Ordering::reverse),
            (Value::Text(a), Value::Text(b)) => Some(a.cmp(b)),
            (Value::Time(a), Value::Time(b)) => Some(a.cmp(b)),
            (Value::Span(a), Value::Span(b)) => Some(a.cmp(b)),
            (Value::Bool(a), Value::Bool(b)) => Some(a.cmp(b)),
            _ => None,
        }
    }

    /// Rounds a number that is not an exact decimal; returns any other value unchanged.
    pub fn rounded(self, round: decimal::Round) -> Value<'a> {
        let rounded = match &self {
            Value::Ratio(quotient) => quotient.round(round.places, round.mode),
            Value::Long(text) => decimal::parse_rounded(text, round.places, round.mode).ok(),
            _ => None,
        };
        rounded.map_or(self, Value::Number)
    }

    /// Describes the value, for people.
    pub fn describe(&self) -> String {
        match self {
            Value::Null => "null".to_owned(),
            Value::Bool(b) => b.to_string(),
            Value::Number(n) => format!("the number {n}"),
            Value::Ratio(_) => "a number that is no exact decimal; write round(…, places) around it".to_owned(),
            Value::Long(text) => {
                let text = String::from_utf8_lossy(&text[..text.len().min(60)]).into_owned();
                format!("the number {text}, which has more than 18 digits behind the point; write round(…, places) around it")
            }
            Value::Text(text) => format!("the text \"{}\"", String::from_utf8_lossy(&text[..text.len().min(60)])),
            Value::Time(at) => format!("the time {at}"),
            Value::Span(_) => "a duration".to_owned(),
            Value::List(_) => "a list".to_owned(),
            Value::Json(_) => "an object or array".to_owned(),
        }
    }

    /// Returns the value as a field of an event: its kind and its text. Times become RFC 3339,
    /// durations seconds.
    pub fn into_field(self) -> Result<(Kind, Cow<'a, [u8]>), String> {
        Ok(match self {
            Value::Null => (Kind::Null, Cow::Borrowed(&b"null"[..])),
            Value::Bool(true) => (Kind::True, Cow::Borrowed(&b"true"[..])),
            Value::Bool(false) => (Kind::False, Cow::Borrowed(&b"false"[..])),
            Value::Number(number) => (Kind::Number, Cow::Owned(number.to_string().into_bytes())),
            // It is kept as written; a meter rounds it or parks the event.
            Value::Long(text) => (Kind::Number, text),
            Value::Text(text) => (Kind::Text, text),
            Value::Json(json) => (Kind::Json, json),
            Value::Time(at) => (Kind::Text, Cow::Owned(super::instant_text(at).into_bytes())),
            Value::Span(nanos) => (Kind::Number, Cow::Owned(Decimal::of_nanos(nanos).to_string().into_bytes())),
            Value::List(items) => {
                let mut json = b"[".to_vec();
                for (i, item) in items.into_iter().enumerate() {
                    if i > 0 {
                        json.push(b',');
                    }
                    let (kind, bytes) = item.into_field()?;
                    Leaf { kind, bytes: &bytes }.write_json(&mut json);
                }
                json.push(b']');
                (Kind::Json, Cow::Owned(json))
            }
            ratio @ Value::Ratio(_) => return Err(format!("the result is {}", ratio.describe())),
        })
    }
}

/// Returns the order of a number of more than 18 digits and a decimal: it is strictly above its
/// floor.
fn order_long(text: &[u8], other: Decimal) -> Option<Ordering> {
    let floor = decimal::parse_rounded(text, decimal::FRACTION_DIGITS as i32, Rounding::Floor).ok()?;
    Some(if floor < other { Ordering::Less } else { Ordering::Greater })
}
