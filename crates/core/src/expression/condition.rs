//! Structured conditions, compiled to the same tree as expressions.

use super::compile::{BadExpression, Compare, Constant, Expr, pattern_of};
use super::functions::Function;
use super::{Fields, Program};
use crate::decimal::Decimal;
use crate::event::Path;

/// The operators of a condition.
pub const OPERATORS: [&str; 13] =
    ["eq", "ne", "lt", "le", "gt", "ge", "in", "notIn", "contains", "startsWith", "endsWith", "exists", "matches"];

/// A value with which a condition compares.
#[derive(Clone, Debug, PartialEq)]
pub enum Literal {
    /// The JSON value null.
    Null,
    /// The JSON value true or false.
    Bool(bool),
    /// A number as an exact decimal.
    Number(Decimal),
    /// A text without escapes.
    Text(String),
    /// Several values, for `in` and `notIn`.
    List(Vec<Literal>),
}

impl Program {
    /// Joins conditions, of which all must hold. Without conditions, the result is true.
    pub fn all(programs: Vec<Program>) -> Program {
        Program::join(programs, Expr::And, true)
    }

    /// Joins conditions, of which one must hold. Without conditions, the result is false.
    pub fn any(programs: Vec<Program>) -> Program {
        Program::join(programs, Expr::Or, false)
    }

    fn join(programs: Vec<Program>, join: fn(Box<Expr>, Box<Expr>) -> Expr, none: bool) -> Program {
        let joined = programs.into_iter().map(|program| program.root).reduce(|a, b| join(Box::new(a), Box::new(b)));
        Program { root: joined.unwrap_or(Expr::Constant(Constant::Bool(none))) }
    }

    /// Compiles `field op value`. Values of different types are unequal and have no order.
    pub fn condition(field: &Path, op: &str, value: &Literal, fields: &mut dyn Fields) -> Result<Program, BadExpression> {
        let slot = fields.slot(field);
        let compare = |compare| Ok(Expr::Test(compare, slot, constant(value, op)?));
        let root = match op {
            "eq" => compare(Compare::Eq)?,
            "ne" => compare(Compare::Ne)?,
            "lt" => compare(Compare::Lt)?,
            "le" => compare(Compare::Le)?,
            "gt" => compare(Compare::Gt)?,
            "ge" => compare(Compare::Ge)?,
            "in" => any_of(slot, value, op)?,
            "notIn" => Expr::Not(Box::new(any_of(slot, value, op)?)),
            "contains" => text_test(Function::Contains, slot, value, op)?,
            "startsWith" => text_test(Function::StartsWith, slot, value, op)?,
            "endsWith" => text_test(Function::EndsWith, slot, value, op)?,
            "exists" => match value {
                Literal::Bool(false) => Expr::Not(Box::new(Expr::Has(slot))),
                Literal::Bool(true) | Literal::Null => Expr::Has(slot),
                _ => return Err(BadExpression("`exists` takes true or false".to_owned())),
            },
            "matches" => match value {
                Literal::Text(pattern) => Expr::Matches(Box::new(as_text(slot)), Box::new(pattern_of(pattern)?)),
                _ => return Err(BadExpression("`matches` takes a regular expression as text".to_owned())),
            },
            other => return Err(BadExpression(format!("unknown operator `{other}`"))),
        };
        Ok(Program { root })
    }
}

/// Reads a field that is text; any other value becomes null, for which every test of text is false.
fn as_text(slot: u16) -> Expr {
    Expr::Call(Function::OnlyText, vec![Expr::Field(slot)])
}

fn text_test(function: Function, slot: u16, value: &Literal, op: &str) -> Result<Expr, BadExpression> {
    match value {
        Literal::Text(_) => Ok(Expr::Call(function, vec![as_text(slot), Expr::Constant(constant(value, op)?)])),
        _ => Err(BadExpression(format!("`{op}` takes text"))),
    }
}

fn any_of(slot: u16, value: &Literal, op: &str) -> Result<Expr, BadExpression> {
    let Literal::List(items) = value else {
        return Err(BadExpression(format!("`{op}` takes a list")));
    };
    let tests = items.iter().map(|item| Ok(Expr::Test(Compare::Eq, slot, constant(item, op)?)));
    let tests = tests.collect::<Result<Vec<_>, BadExpression>>()?;
    let any = tests.into_iter().reduce(|a, b| Expr::Or(Box::new(a), Box::new(b)));
    Ok(any.unwrap_or(Expr::Constant(Constant::Bool(false))))
}

fn constant(value: &Literal, op: &str) -> Result<Constant, BadExpression> {
    Ok(match value {
        Literal::Null => Constant::Null,
        Literal::Bool(b) => Constant::Bool(*b),
        Literal::Number(n) => Constant::Number(*n),
        Literal::Text(text) => Constant::Text(text.as_bytes().into()),
        Literal::List(_) => return Err(BadExpression(format!("`{op}` takes one value, not a list"))),
    })
}
