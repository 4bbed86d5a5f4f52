//! An event of which a script sees the fields that it names.

use rquickjs::{Ctx, Function, Object, Value};

use crate::fields::Names;
use crate::host::decimals;
use crate::numbers::{binary, shortest};
use crate::read::Reader;
use crate::survey::{Written, survey};
use crate::write::bare;

/// The value of a field that a script names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Given<'a> {
    /// The event has no such field.
    Missing,
    /// The value is `null`.
    Null,
    /// The value is `true` or `false`.
    Truth(bool),
    /// A number, as it is written.
    Number(&'a str),
    /// A text without escapes.
    Text(&'a str),
    /// Any value as JSON.
    Json(&'a [u8]),
}

/// The fields that a script names, as members of objects.
#[derive(Clone, Debug)]
pub(crate) struct Projection {
    pub(crate) fields: Vec<Names>,
    members: Vec<Member>,
    /// Of each object around fields: the fields inside it.
    inside: Vec<Vec<usize>>,
}

#[derive(Clone, Debug)]
enum Member {
    /// A field, by its number.
    Field(String, usize),
    Object(String, Vec<Member>),
}

/// A field on its way through a script: the object it is in, and its value before.
pub(crate) struct Placed<'js> {
    object: Object<'js>,
    before: Value<'js>,
}

impl Projection {
    pub(crate) fn new(fields: Vec<Names>) -> Projection {
        let mut inside = Vec::new();
        let all: Vec<usize> = (0..fields.len()).collect();
        let members = members_of(&fields, &all, 0, &mut inside);
        Projection { fields, members, inside }
    }

    /// Whether these values show every object around a field to be one: it has a field. If not, it may
    /// be missing, or a list, or a text.
    pub(crate) fn fits(&self, given: &[Given<'_>]) -> bool {
        self.inside.iter().all(|fields| fields.iter().any(|field| given[*field] != Given::Missing))
    }

    /// Makes the object that the script sees, and the places of its fields.
    pub(crate) fn make<'js>(&self, ctx: &Ctx<'js>, given: &[Given<'_>]) -> rquickjs::Result<(Object<'js>, Vec<Placed<'js>>)> {
        let mut placed = Vec::with_capacity(self.fields.len());
        let event = make_object(ctx, &self.members, given, &mut placed)?;
        Ok((event, placed))
    }

    /// Numbers that JavaScript would write otherwise, by the ways to them.
    pub(crate) fn written(&self, given: &[Given<'_>]) -> Written {
        let mut written = Written::new();
        for (names, given) in self.fields.iter().zip(given) {
            let way: Names = names.iter().map(|name| bare(name)).collect();
            match given {
                Given::Number(text) => {
                    let value = binary(text).filter(|value| shortest(*value) != *text);
                    written.extend(value.map(|value| (way, (value, (*text).to_owned()))));
                }
                Given::Json(json) => {
                    let inner = survey(json).written.into_iter();
                    written.extend(inner.map(|(behind, number)| ([way.clone(), behind].concat(), number)));
                }
                Given::Missing | Given::Null | Given::Truth(_) | Given::Text(_) => {}
            }
        }
        written
    }
}

/// Groups fields by the name at a depth. Fields of one object follow each other.
fn members_of(fields: &[Names], of: &[usize], depth: usize, inside: &mut Vec<Vec<usize>>) -> Vec<Member> {
    let by_name = of.chunk_by(|one, other| fields[*one][depth] == fields[*other][depth]);
    let member = |group: &[usize]| match group {
        [field] if fields[*field].len() == depth + 1 => Member::Field(fields[*field][depth].clone(), *field),
        _ => {
            inside.push(group.to_vec());
            Member::Object(fields[group[0]][depth].clone(), members_of(fields, group, depth + 1, inside))
        }
    };
    by_name.map(member).collect()
}

fn make_object<'js>(
    ctx: &Ctx<'js>,
    members: &[Member],
    given: &[Given<'_>],
    placed: &mut Vec<Placed<'js>>,
) -> rquickjs::Result<Object<'js>> {
    let object = Object::new(ctx.clone())?;
    for member in members {
        match member {
            Member::Field(name, field) => {
                let before = value_of(ctx, given[*field])?;
                if given[*field] != Given::Missing {
                    object.set(name.as_str(), before.clone())?;
                }
                placed.push(Placed { object: object.clone(), before });
            }
            Member::Object(name, members) => object.set(name.as_str(), make_object(ctx, members, given, placed)?)?,
        }
    }
    Ok(object)
}

fn value_of<'js>(ctx: &Ctx<'js>, given: Given<'_>) -> rquickjs::Result<Value<'js>> {
    Ok(match given {
        Given::Missing => Value::new_undefined(ctx.clone()),
        Given::Null => Value::new_null(ctx.clone()),
        Given::Truth(truth) => Value::new_bool(ctx.clone(), truth),
        Given::Text(text) => rquickjs::String::from_str(ctx.clone(), text)?.into_value(),
        Given::Number(text) => match binary(text) {
            Some(number) => Value::new_number(ctx.clone(), number),
            None => make_decimal(ctx)?.call((text,))?,
        },
        Given::Json(json) => match survey(json).has_decimals {
            true => Reader::new(ctx.clone(), json, make_decimal(ctx)?).read()?,
            false => ctx.json_parse(json)?,
        },
    })
}

fn make_decimal<'js>(ctx: &Ctx<'js>) -> rquickjs::Result<Function<'js>> {
    decimals(ctx)?.make.restore(ctx)
}

impl<'js> Placed<'js> {
    /// The value of a field after the run; nothing if it is as it was.
    pub(crate) fn changed(&self, name: &str, given: Given<'_>) -> rquickjs::Result<Option<Value<'js>>> {
        let value: Value<'js> = self.object.get(name)?;
        let is_same = match given {
            Given::Number(_) if self.before.is_number() => {
                value.as_number().is_some_and(|now| Some(now) == self.before.as_number())
            }
            // A script may have changed what is inside.
            Given::Json(_) => false,
            Given::Missing | Given::Null | Given::Truth(_) | Given::Text(_) | Given::Number(_) => value == self.before,
        };
        Ok((!is_same).then_some(value))
    }
}
