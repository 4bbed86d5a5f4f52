//! Evaluation: total, without loops and without I/O. Every failure is a text for a
//! person and parks the event.

use std::cmp::Ordering;

use super::Value;
use super::compile::{Arithmetic, Compare, Constant, Expr};
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

type Evaluated<'a> = Result<Value<'a>, String>;

#[inline]
pub(super) fn evaluate<'a>(expr: &'a Expr, batch: &'a Batch, row: usize) -> Evaluated<'a> {
    let truth = |expr: &'a Expr| match evaluate(expr, batch, row)? {
        Value::Bool(truth) => Ok(truth),
        other => Err(format!("{} where true or false is needed", other.describe())),
    };
    Ok(match expr {
        Expr::Constant(constant) => constant.value(),
        Expr::Field(slot) => return Value::of(batch.leaf(row, *slot)),
        Expr::Test(compare, slot, constant) => {
            Value::Bool(test(*compare, &Value::of(batch.leaf(row, *slot))?, &constant.value()))
        }
        Expr::Has(slot) => Value::Bool(batch.leaf(row, *slot).kind != Kind::Missing),
        Expr::Not(inner) => Value::Bool(!truth(inner)?),
        // As in CEL, one side that decides excuses an error of the other.
        Expr::And(a, b) => Value::Bool(either(truth(a), || truth(b), false)?),
        Expr::Or(a, b) => Value::Bool(either(truth(a), || truth(b), true)?),
        Expr::If(parts) => {
            let [condition, then, otherwise] = &**parts;
            return evaluate(if truth(condition)? { then } else { otherwise }, batch, row);
        }
        Expr::Compare(how, a, b) => compare(*how, &evaluate(a, batch, row)?, &evaluate(b, batch, row)?)?,
        Expr::In(item, list) => {
            let item = evaluate(item, batch, row)?;
            match evaluate(list, batch, row)? {
                Value::List(items) => Value::Bool(items.iter().any(|known| known.equals(&item))),
                other => return Err(format!("`in` needs a list, not {}", other.describe())),
            }
        }
        Expr::Arithmetic(how, a, b) => return arithmetic(*how, evaluate(a, batch, row)?, evaluate(b, batch, row)?),
        Expr::Negate(inner) => match evaluate(inner, batch, row)? {
            Value::Number(number) => Value::Number(number.neg()),
            Value::Span(span) => Value::Span(-span),
            other => return Err(format!("cannot negate {}", other.describe())),
        },
        Expr::List(items) => Value::List(items.iter().map(|item| evaluate(item, batch, row)).collect::<Result<_, _>>()?),
        Expr::Matches(text, pattern) => match evaluate(text, batch, row)? {
            Value::Text(text) => Value::Bool(pattern.is_match(&text)),
            Value::Null => Value::Bool(false),
            other => return Err(format!("`matches` needs text, not {}", other.describe())),
        },
        Expr::Call(function, arguments) => {
            let values = arguments.iter().map(|argument| evaluate(argument, batch, row));
            return function.call(values.collect::<Result<Vec<_>, _>>()?);
        }
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
