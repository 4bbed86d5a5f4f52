//! Conditions and expressions: one compiled form for both.
//!
//! The text of an expression is CEL (Common Expression Language). It is compiled once per pipeline
//! version to a tree over the slots of a row and evaluated with exact decimals. A structured
//! condition (`field`, `op`, `value`) compiles to the same tree.
//!
//! Differences from CEL over JSON:
//! - every number is a decimal: there is no `int`, `uint`, `double`; `7 / 2` is 3.5;
//! - a result that is not an exact decimal is an error, unless it is an argument of `round`,
//!   `ceil`, `floor` or `trunc`: `round(a / b, 2)`;
//! - a field that the event does not have is null; `has(event.f)` returns whether the event has it;
//! - ordering two values of different types is an error; comparing them for equality is false.

mod compile;
pub mod condition;
mod evaluate;
mod functions;
mod lexer;
mod lists;
mod named;
mod parse;
mod syntax;
#[cfg(test)]
mod tests;
mod value;

use crate::event::{Batch, Path};
use crate::time::Timestamp;

pub use compile::BadExpression;
pub use value::Value;

/// Assigns slots to paths.
pub trait Fields {
    /// The slot of a path; the same for the same path.
    fn slot(&mut self, path: &Path) -> u16;
}

/// A compiled expression or condition.
#[derive(Clone, Debug)]
pub struct Program {
    root: compile::Expr,
}

impl Program {
    /// Compiles CEL. The error names the problem and the correct form.
    pub fn compile(text: &str, fields: &mut dyn Fields) -> Result<Program, BadExpression> {
        compile::compile(text, fields).map(|root| Program { root })
    }

    /// Returns its text with the fields by name, which does not depend on their slots.
    pub(crate) fn named(&self, name: &dyn Fn(u16) -> String) -> String {
        let mut text = String::new();
        named::write(&self.root, name, &mut text);
        text
    }

    /// Evaluates the expression for an event. The error is a message for people.
    #[inline]
    pub fn evaluate<'a>(&'a self, batch: &'a Batch, row: usize) -> Result<Value<'a>, String> {
        evaluate::evaluate(&self.root, batch, row)
    }

    /// Whether the condition holds. A value that is neither true nor false is an error.
    #[inline]
    pub fn holds(&self, batch: &Batch, row: usize) -> Result<bool, String> {
        if let Some(holds) = evaluate::quickly(&self.root, batch, row) {
            return Ok(holds);
        }
        match self.evaluate(batch, row)? {
            Value::Bool(holds) => Ok(holds),
            other => Err(format!("the condition is {}, neither true nor false", other.describe())),
        }
    }
}

/// Returns the text form of an instant, as in records.
fn instant_text(at: Timestamp) -> String {
    at.to_string()
}
