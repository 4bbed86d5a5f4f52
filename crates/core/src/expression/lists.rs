//! Lists in expressions: loops over them, their elements, members of objects.
//!
//! A list of the event is taken apart when it is needed; its elements keep every digit.

use std::borrow::Cow;

use super::Value;
use super::compile::Expr;
use super::evaluate::{Evaluated, Place};
use crate::decimal::Decimal;
use crate::event::Leaf;
use crate::event::json::{Document, leaf_of};

/// The result of a loop over a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Loop {
    /// Whether the condition holds for every element.
    All,
    /// Whether it holds for one or more.
    Exists,
    /// Whether it holds for exactly one.
    ExistsOne,
    /// The elements for which it holds.
    Filter,
    /// The values of an expression for each element.
    Map,
}

/// The elements of a list; of an object, the names of its members.
pub(super) fn elements(list: Value<'_>) -> Result<Vec<Value<'_>>, String> {
    let json = match list {
        Value::List(items) => return Ok(items),
        Value::Json(json) => json,
        other => return Err(format!("a list is needed, not {}", other.describe())),
    };
    let document = Document::new(json.into_owned());
    if let Some(elements) = document.elements() {
        return elements.into_iter().map(owned).collect();
    }
    let members = document.members().unwrap_or_default().into_iter();
    Ok(members.map(|member| Value::Text(Cow::Owned(member.name.into_owned()))).collect())
}

/// The value of a JSON text, independent of it.
fn owned<'v>(json: &[u8]) -> Result<Value<'v>, String> {
    let Leaf { kind, bytes } = leaf_of(json);
    Ok(match Value::of(Leaf { kind, bytes })? {
        Value::Text(text) => Value::Text(Cow::Owned(text.into_owned())),
        Value::Json(json) => Value::Json(Cow::Owned(json.into_owned())),
        Value::Null => Value::Null,
        Value::Bool(truth) => Value::Bool(truth),
        Value::Number(number) => Value::Number(number),
        Value::Long(digits) => Value::Long(Cow::Owned(digits.into_owned())),
        Value::Ratio(_) | Value::Time(_) | Value::Span(_) | Value::List(_) => Value::Null,
    })
}

/// A member of an object; none if it has no such member. Nothing has no members.
pub(super) fn member<'v>(object: Value<'v>, name: &str) -> Result<Option<Value<'v>>, String> {
    match object {
        Value::Null => Ok(None),
        Value::Json(json) => {
            let document = Document::new(json.into_owned());
            let members =
                document.members().ok_or_else(|| format!("a list has no `{name}`; take an element first: list[0].{name}"))?;
            members.into_iter().find(|member| *member.name == *name.as_bytes()).map(|member| owned(member.value)).transpose()
        }
        other => Err(format!("{} has no `{name}`", other.describe())),
    }
}

/// An element of a list, counted from 0, or a member of an object; null if there is none.
pub(super) fn at<'v>(list: Value<'v>, index: Value<'v>) -> Evaluated<'v> {
    match (list, index) {
        (Value::Null, _) => Ok(Value::Null),
        (object @ Value::Json(_), Value::Text(name)) => {
            Ok(member(object, &String::from_utf8_lossy(&name))?.unwrap_or(Value::Null))
        }
        (list @ (Value::List(_) | Value::Json(_)), Value::Number(index)) => {
            let index = index.to_int().ok_or_else(|| format!("an index is a whole number, not {index}"))?;
            if let Value::Json(json) = &list
                && json.first() == Some(&b'{')
            {
                return Err("an object has names, not numbers".to_owned());
            }
            let index = usize::try_from(index).map_err(|_| format!("an index is at least 0, not {index}"))?;
            Ok(elements(list)?.into_iter().nth(index).unwrap_or(Value::Null))
        }
        (list, index) => Err(format!("cannot take {} of {}", index.describe(), list.describe())),
    }
}

/// Runs a loop over a list. Nothing is a list without elements.
pub(super) fn run<'a>(how: Loop, list: Value<'a>, body: &'a Expr, place: &Place<'_, 'a>) -> Evaluated<'a> {
    let items = match list {
        Value::Null => Vec::new(),
        list => elements(list)?,
    };
    let holds = |element: &Value<'a>| match place.with(element.clone(), body)? {
        Value::Bool(truth) => Ok(truth),
        other => Err(format!("{} where true or false is needed", other.describe())),
    };
    match how {
        Loop::All | Loop::Exists => {
            // As in CEL, an element that decides excuses an error of another.
            let decides = how == Loop::Exists;
            let mut error = None;
            for item in &items {
                match holds(item) {
                    Ok(truth) if truth == decides => return Ok(Value::Bool(decides)),
                    Ok(_) => {}
                    Err(why) => error = error.or(Some(why)),
                }
            }
            error.map_or(Ok(Value::Bool(!decides)), Err)
        }
        Loop::ExistsOne => {
            let mut count = 0;
            for item in &items {
                count += u32::from(holds(item)?);
            }
            Ok(Value::Bool(count == 1))
        }
        Loop::Filter => {
            let mut kept = Vec::new();
            for item in items {
                if holds(&item)? {
                    kept.push(item);
                }
            }
            Ok(Value::List(kept))
        }
        Loop::Map => Ok(Value::List(items.into_iter().map(|item| place.with(item, body)).collect::<Result<_, _>>()?)),
    }
}

/// The sum of a list of numbers; of nothing, 0.
pub(super) fn sum<'v>(list: Value<'v>) -> Evaluated<'v> {
    let mut sum = Decimal::ZERO;
    if let Value::Null = list {
        return Ok(Value::Number(sum));
    }
    for element in elements(list)? {
        let Value::Number(number) = element else {
            return Err(format!("`sum` needs numbers, not {}", element.describe()));
        };
        sum = sum.add(number).ok_or("the sum is no decimal of 38 digits, 18 after the point")?;
    }
    Ok(Value::Number(sum))
}
