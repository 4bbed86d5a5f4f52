//! Evaluation: total, without loops and without I/O. Every failure is a text for a
//! person and parks the event.

use std::cell::Cell;
use std::cmp::Ordering;

use super::compile::{Arithmetic, Compare, Constant, Expr};
use super::{Value, lists};
use crate::decimal::{Decimal, Quotient};
use crate::event::{Batch, Kind};

/// The most common condition, `field == "text"` or its opposite, without building values.
/// `None` where the way round is needed.
#[inline]
pub(super) fn quickly(expr: &Expr, batch: &Batch, row: usize) -> Option<bool> {
    let Expr::Test(how @ (Compare::Eq | Compare::Ne), slot, Constant::Text(text)) = expr else { return None };
    let leaf = batch.leaf(row, *slot);
    let equal = match leaf.kind {
        Kind::Text => *leaf.bytes == **text,
        Kind::Missing | Kind::Null | Kind::True | Kind::False => false,
        _ => return None,
    };
    Some(equal == (*how == Compare::Eq))
}

pub(super) type Evaluated<'a> = Result<Value<'a>, String>;

/// Steps of loops of one evaluation: enough for every list of an event, few enough that lists
/// within lists do not take seconds.
const STEPS_MAX: u32 = 1_000_000;

/// Where an expression is evaluated: the event, and the elements of the lists around.
#[derive(Clone, Copy)]
pub(super) struct Place<'s, 'a> {
    batch: &'a Batch,
    row: usize,
    scope: Option<&'s Scope<'s, 'a>>,
    steps: &'s Cell<u32>,
}

/// The element of the innermost loop, and those of the loops around.
struct Scope<'s, 'a> {
    element: Value<'a>,
    outer: Option<&'s Scope<'s, 'a>>,
}

impl<'a> Place<'_, 'a> {
    /// Evaluates an expression for an element of a list.
    pub(super) fn with(&self, element: Value<'a>, expr: &'a Expr) -> Evaluated<'a> {
        self.steps.set(self.steps.get() + 1);
        if self.steps.get() > STEPS_MAX {
            return Err(format!("the expression takes more than {STEPS_MAX} steps; split the list over events"));
        }
        let scope = Scope { element, outer: self.scope };
        within(expr, &Place { scope: Some(&scope), ..*self })
    }

    /// The element of a loop, counted outwards from the innermost.
    fn element(&self, depth: usize) -> Value<'a> {
        let mut scope = self.scope;
        for _ in 0..depth {
            scope = scope.and_then(|scope| scope.outer);
        }
        scope.map_or(Value::Null, |scope| scope.element.clone())
    }
}

#[inline]
pub(super) fn evaluate<'a>(expr: &'a Expr, batch: &'a Batch, row: usize) -> Evaluated<'a> {
    within(expr, &Place { batch, row, scope: None, steps: &Cell::new(0) })
}

#[inline]
pub(super) fn within<'a>(expr: &'a Expr, place: &Place<'_, 'a>) -> Evaluated<'a> {
    let truth = |expr: &'a Expr| match within(expr, place)? {
        Value::Bool(truth) => Ok(truth),
        other => Err(format!("{} where true or false is needed", other.describe())),
    };
    let leaf = |slot: u16| place.batch.leaf(place.row, slot);
    Ok(match expr {
        Expr::Constant(constant) => constant.value(),
        Expr::Field(slot) => return Value::of(leaf(*slot)),
        Expr::Test(compare, slot, constant) => Value::Bool(test(*compare, &Value::of(leaf(*slot))?, &constant.value())),
        Expr::Has(slot) => Value::Bool(leaf(*slot).kind != Kind::Missing),
        Expr::Not(inner) => Value::Bool(!truth(inner)?),
        // As in CEL, one side that decides excuses an error of the other.
        Expr::And(a, b) => Value::Bool(either(truth(a), || truth(b), false)?),
        Expr::Or(a, b) => Value::Bool(either(truth(a), || truth(b), true)?),
        Expr::If(parts) => {
            let [condition, then, otherwise] = &**parts;
            return within(if truth(condition)? { then } else { otherwise }, place);
        }
        Expr::Compare(how, a, b) => compare(*how, &within(a, place)?, &within(b, place)?)?,
        Expr::In(item, list) => {
            let item = within(item, place)?;
            match within(list, place)? {
                Value::Null => Value::Bool(false),
                list => Value::Bool(lists::elements(list)?.iter().any(|known| known.equals(&item))),
            }
        }
        Expr::Arithmetic(how, a, b) => return arithmetic(*how, within(a, place)?, within(b, place)?),
        Expr::Negate(inner) => match within(inner, place)? {
            Value::Number(number) => Value::Number(number.neg()),
            Value::Span(span) => Value::Span(-span),
            other => return Err(format!("cannot negate {}", other.describe())),
        },
        Expr::List(items) => Value::List(items.iter().map(|item| within(item, place)).collect::<Result<_, _>>()?),
        Expr::Matches(text, pattern) => match within(text, place)? {
            Value::Text(text) => Value::Bool(pattern.is_match(&text)),
            Value::Null => Value::Bool(false),
            other => return Err(format!("`matches` needs text, not {}", other.describe())),
        },
        Expr::Call(function, arguments) => {
            let values = arguments.iter().map(|argument| within(argument, place));
            return function.call(values.collect::<Result<Vec<_>, _>>()?);
        }
        Expr::Element(depth) => place.element(*depth),
        Expr::Member(object, name) => {
            return lists::member(within(object, place)?, name).map(|found| found.unwrap_or(Value::Null));
        }
        Expr::HasMember(object, name) => Value::Bool(lists::member(within(object, place)?, name)?.is_some()),
        Expr::At(list, index) => return lists::at(within(list, place)?, within(index, place)?),
        Expr::Loop(how, list, body) => return lists::run(*how, within(list, place)?, body, place),
    })
}

fn either(first: Result<bool, String>, second: impl FnOnce() -> Result<bool, String>, decides: bool) -> Result<bool, String> {
    match first {
        Ok(value) if value == decides => Ok(decides),
        Ok(_) => second(),
        Err(why) => match second() {
            Ok(value) if value == decides => Ok(decides),
            _ => Err(why),
        },
    }
}

/// A structured condition: values of different types differ, and have no order.
fn test(how: Compare, a: &Value<'_>, b: &Value<'_>) -> bool {
    match how {
        Compare::Eq => a.equals(b),
        Compare::Ne => !a.equals(b),
        _ => a.order(b).is_some_and(|order| holds(how, order)),
    }
}

fn compare(how: Compare, a: &Value<'_>, b: &Value<'_>) -> Result<Value<'static>, String> {
    Ok(Value::Bool(match how {
        Compare::Eq => a.equals(b),
        Compare::Ne => !a.equals(b),
        _ => match a.order(b) {
            Some(order) => holds(how, order),
            None => return Err(format!("{} and {} have no order", a.describe(), b.describe())),
        },
    }))
}

fn holds(how: Compare, order: Ordering) -> bool {
    match how {
        Compare::Eq => order.is_eq(),
        Compare::Ne => order.is_ne(),
        Compare::Lt => order.is_lt(),
        Compare::Le => order.is_le(),
        Compare::Gt => order.is_gt(),
        Compare::Ge => order.is_ge(),
    }
}

fn arithmetic<'a>(how: Arithmetic, a: Value<'a>, b: Value<'a>) -> Evaluated<'a> {
    use Arithmetic::{Add, Divide, Multiply, Remainder, Subtract};
    let number = |result: Option<Decimal>| match result {
        Some(number) => Ok(Value::Number(number)),
        None => Err("the result is no exact decimal of 38 digits, 18 after the point".to_owned()),
    };
    let span = |result: Option<i64>| result.map(Value::Span).ok_or_else(|| "the duration is out of range".to_owned());
    match (how, a, b) {
        (Add, Value::Number(a), Value::Number(b)) => number(a.add(b)),
        (Subtract, Value::Number(a), Value::Number(b)) => number(a.sub(b)),
        (Multiply, Value::Number(a), Value::Number(b)) => number(a.times(b)),
        (Divide, Value::Number(a), Value::Number(b)) => divide(a, b),
        (Remainder, Value::Number(_), Value::Number(Decimal::ZERO)) => Err("division by zero".to_owned()),
        (Remainder, Value::Number(a), Value::Number(b)) => number(Decimal::from_units(a.units() % b.units())),
        (Add, Value::Text(a), Value::Text(b)) => Ok(Value::Text([a, b].concat().into())),
        (Add, Value::Time(at), Value::Span(span)) | (Add, Value::Span(span), Value::Time(at)) => {
            Ok(Value::Time(at.saturating_add(span)))
        }
        (Subtract, Value::Time(at), Value::Span(span)) => Ok(Value::Time(at.saturating_sub(span))),
        (Subtract, Value::Time(a), Value::Time(b)) => span(i64::try_from(a.since(b)).ok()),
        (Add, Value::Span(a), Value::Span(b)) => span(a.checked_add(b)),
        (Subtract, Value::Span(a), Value::Span(b)) => span(a.checked_sub(b)),
        // Beside a number a duration is its seconds.
        (how, Value::Span(a), b @ Value::Number(_)) => arithmetic(how, Value::Number(Decimal::of_nanos(a)), b),
        (how, a @ Value::Number(_), Value::Span(b)) => arithmetic(how, a, Value::Number(Decimal::of_nanos(b))),
        (_, a, b) => {
            let verb = match how {
                Add => "add",
                Subtract => "subtract",
                Multiply => "multiply",
                Divide | Remainder => "divide",
            };
            Err(format!("cannot {verb} {} and {}", a.describe(), b.describe()))
        }
    }
}

fn divide<'a>(a: Decimal, b: Decimal) -> Evaluated<'a> {
    match Quotient::of_decimals(a, b) {
        None => Err("division by zero".to_owned()),
        Some(quotient) => Ok(quotient.to_decimal().map_or(Value::Ratio(quotient), Value::Number)),
    }
}
