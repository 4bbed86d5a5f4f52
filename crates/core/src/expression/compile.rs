//! CEL's syntax tree to ours.

use std::fmt;

use cel::common::ast::{Expr as Cel, LiteralValue, operators as op};
use cel::parser::Parser;

use super::functions::Function;
use super::{Fields, Value};
use crate::decimal::{self, Decimal};
use crate::event::Path;
use crate::limits::EXPRESSION_CHARS_MAX;

/// An expression over the slots of a row.
#[derive(Clone, Debug)]
pub(super) enum Expr {
    Constant(Constant),
    Field(u16),
    Has(u16),
    Not(Box<Expr>),
    And(Box<Expr>, Box<Expr>),
    Or(Box<Expr>, Box<Expr>),
    If(Box<[Expr; 3]>),
    Compare(Compare, Box<Expr>, Box<Expr>),
    /// A structured condition's comparison: of different types it is false.
    Test(Compare, u16, Constant),
    In(Box<Expr>, Box<Expr>),
    Arithmetic(Arithmetic, Box<Expr>, Box<Expr>),
    Negate(Box<Expr>),
    List(Vec<Expr>),
    Matches(Box<Expr>, Box<regex::bytes::Regex>),
    Call(Function, Vec<Expr>),
}

/// A value that does not depend on the event.
#[derive(Clone, Debug)]
pub(super) enum Constant {
    Null,
    Bool(bool),
    Number(Decimal),
    Text(Box<[u8]>),
}

impl Constant {
    pub(super) fn value(&self) -> Value<'_> {
        match self {
            Constant::Null => Value::Null,
            Constant::Bool(b) => Value::Bool(*b),
            Constant::Number(n) => Value::Number(*n),
            Constant::Text(text) => Value::Text(std::borrow::Cow::Borrowed(text)),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Compare {
    Eq,
    Ne,
    Lt,
    Le,
    Gt,
    Ge,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Arithmetic {
    Add,
    Subtract,
    Multiply,
    Divide,
    Remainder,
}

/// Why an expression does not compile, and what to write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadExpression(pub String);

impl fmt::Display for BadExpression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

type Compiled<T> = Result<T, BadExpression>;

fn bad<T>(what: impl Into<String>) -> Compiled<T> {
    Err(BadExpression(what.into()))
}

pub(super) fn compile(text: &str, fields: &mut dyn Fields) -> Compiled<Expr> {
    if text.len() > EXPRESSION_CHARS_MAX {
        return bad(format!("longer than {EXPRESSION_CHARS_MAX} characters; split it over several operators"));
    }
    check_literals(text)?;
    let parsed = Parser::new().max_recursion_depth(48).parse(text).map_err(|errors| {
        let first = errors.errors.first();
        let message = first.map_or_else(String::new, |e| format!("at {}:{}: {}", e.pos.0, e.pos.1, e.msg));
        let advice = if message.contains("has()") { "; write has(event.name) or has(data.name)" } else { "" };
        BadExpression(format!("not an expression: {message}{advice}"))
    })?;
    Compiler { fields }.expr(&parsed.expr)
}

/// The parser reads a literal with a point as a binary float, which holds 15 digits for
/// certain. A longer one would be changed in silence: refuse it.
fn check_literals(text: &str) -> Compiled<()> {
    let mut quote = None;
    let mut number = String::new();
    for c in text.chars().chain([' ']) {
        match quote {
            Some(open) if c == open => quote = None,
            Some(_) => continue,
            None if c == '"' || c == '\'' => quote = Some(c),
            None => {}
        }
        if c.is_ascii_digit() || (c == '.' && !number.is_empty()) {
            number.push(c);
            continue;
        }
        let digits = number.trim_start_matches(['0', '.']).chars().filter(char::is_ascii_digit).count();
        if number.contains('.') && digits > 15 {
            return bad(format!("`{number}` has more than 15 digits; write decimal(\"{number}\")"));
        }
        number.clear();
    }
    Ok(())
}

/// Comparing a field with a constant for equality is a structured condition's test, which
/// is evaluated without building values.
fn comparison(how: Compare, a: Expr, b: Expr) -> Expr {
    match (a, b, how) {
        (Expr::Field(slot), Expr::Constant(constant), Compare::Eq | Compare::Ne)
        | (Expr::Constant(constant), Expr::Field(slot), Compare::Eq | Compare::Ne) => Expr::Test(how, slot, constant),
        (a, b, _) => Expr::Compare(how, Box::new(a), Box::new(b)),
    }
}

struct Compiler<'f> {
    fields: &'f mut dyn Fields,
}

impl Compiler<'_> {
    fn expr(&mut self, cel: &Cel) -> Compiled<Expr> {
        if let Some(path) = path_of(cel) {
            return Ok(Expr::Field(self.fields.slot(&path)));
        }
        match cel {
            Cel::Literal(literal) => constant(literal).map(Expr::Constant),
            Cel::Select(select) if select.test => match path_of_names(&select.operand.expr, &select.field) {
                Some(path) => Ok(Expr::Has(self.fields.slot(&path))),
                None => bad("has() takes a field: has(data.tokens)"),
            },
            Cel::List(list) => self.all(list.elements.iter().map(|item| &item.expr)).map(Expr::List),
            Cel::Call(call) => {
                let target = call.target.as_deref();
                let operands: Vec<&Cel> = target.into_iter().chain(&call.args).map(|item| &item.expr).collect();
                self.call(&call.func_name, &operands)
            }
            Cel::Comprehension(_) => {
                bad("all, exists, map and filter over lists are not available; an expression reads one value of a path")
            }
            Cel::Map(_) | Cel::Struct(_) => bad("an expression makes one value, not an object; set each field on its own"),
            Cel::Select(_) => bad("a field can be taken of the event only: data.user.plan"),
            Cel::Ident(_) | Cel::Unspecified => bad("not an expression"),
        }
    }

    fn all<'c>(&mut self, items: impl Iterator<Item = &'c Cel>) -> Compiled<Vec<Expr>> {
        items.map(|item| self.expr(item)).collect()
    }

    fn call(&mut self, name: &str, operands: &[&Cel]) -> Compiled<Expr> {
        if name == "matches" {
            return self.matches(operands);
        }
        let mut compiled = self.all(operands.iter().copied())?;
        let count = compiled.len();
        let mut next = || Box::new(if compiled.is_empty() { Expr::Constant(Constant::Null) } else { compiled.remove(0) });
        let compare = |compare| move |a: Box<Expr>, b: Box<Expr>| comparison(compare, *a, *b);
        let arithmetic = |arithmetic| move |a, b| Expr::Arithmetic(arithmetic, a, b);
        let binary: &dyn Fn(Box<Expr>, Box<Expr>) -> Expr = match name {
            op::LOGICAL_AND => &Expr::And,
            op::LOGICAL_OR => &Expr::Or,
            op::IN => &Expr::In,
            op::EQUALS => &compare(Compare::Eq),
            op::NOT_EQUALS => &compare(Compare::Ne),
            op::LESS => &compare(Compare::Lt),
            op::LESS_EQUALS => &compare(Compare::Le),
            op::GREATER => &compare(Compare::Gt),
            op::GREATER_EQUALS => &compare(Compare::Ge),
            op::ADD => &arithmetic(Arithmetic::Add),
            op::SUBSTRACT => &arithmetic(Arithmetic::Subtract),
            op::MULTIPLY => &arithmetic(Arithmetic::Multiply),
            op::DIVIDE => &arithmetic(Arithmetic::Divide),
            op::MODULO => &arithmetic(Arithmetic::Remainder),
            op::LOGICAL_NOT => return Ok(Expr::Not(next())),
            op::NEGATE => return Ok(Expr::Negate(next())),
            op::CONDITIONAL => return Ok(Expr::If(Box::new([*next(), *next(), *next()]))),
            op::INDEX => return bad("an index takes a name in quotes: event[\"API name\"]"),
            _ => return function(name, count, compiled),
        };
        Ok(binary(next(), next()))
    }

    fn matches(&mut self, operands: &[&Cel]) -> Compiled<Expr> {
        let [text, Cel::Literal(LiteralValue::String(pattern))] = operands else {
            return bad("matches takes a pattern in quotes: data.path.matches(\"^/api/\")");
        };
        let pattern = pattern_of(pattern.inner())?;
        Ok(Expr::Matches(Box::new(self.expr(text)?), Box::new(pattern)))
    }
}

/// A regular expression, bounded in size.
pub(super) fn pattern_of(pattern: &str) -> Compiled<regex::bytes::Regex> {
    let built = regex::bytes::RegexBuilder::new(pattern).size_limit(1 << 20).build();
    built.map_err(|why| BadExpression(format!("not a regular expression: {why}")))
}

fn function(name: &str, count: usize, arguments: Vec<Expr>) -> Compiled<Expr> {
    let Some(function) = Function::named(name) else {
        let known = Function::NAMES.iter().map(|(name, ..)| *name);
        let near = crate::suggest::nearest(name, known).map_or(String::new(), |near| format!("; did you mean `{near}`?"));
        return bad(format!("unknown function `{name}`{near}"));
    };
    let (least, most) = function.arity();
    if count < least || count > most {
        return bad(format!("`{name}` takes {least} to {most} values, not {count}"));
    }
    Ok(Expr::Call(function, arguments))
}

fn constant(literal: &LiteralValue) -> Compiled<Constant> {
    Ok(match literal {
        LiteralValue::Boolean(b) => Constant::Bool(*b.inner()),
        LiteralValue::Null => Constant::Null,
        LiteralValue::String(text) => Constant::Text(text.inner().as_bytes().into()),
        LiteralValue::Int(n) => Constant::Number(Decimal::from_int(*n.inner())),
        LiteralValue::UInt(n) => number(&n.inner().to_string())?,
        // The shortest text of the float is the literal again, up to 15 digits.
        LiteralValue::Double(n) => number(&n.inner().to_string())?,
        LiteralValue::Bytes(_) => return bad("bytes are not available"),
    })
}

fn number(text: &str) -> Compiled<Constant> {
    decimal::parse(text.as_bytes()).map(Constant::Number).map_err(|why| BadExpression(format!("{text}: {why}")))
}

/// `a.b`, `event["a b"].c`: a path of the event.
fn path_of(cel: &Cel) -> Option<Path> {
    let mut names = Vec::new();
    names_of(cel, &mut names)?;
    finish(names)
}

fn path_of_names(operand: &Cel, field: &str) -> Option<Path> {
    let mut names = Vec::new();
    names_of(operand, &mut names)?;
    names.push(field.to_owned());
    finish(names)
}

/// The whole event goes by the name `event`.
fn finish(mut names: Vec<String>) -> Option<Path> {
    if names.len() > 1 && names[0] == "event" {
        names.remove(0);
    }
    Some(Path::of(&names))
}

fn names_of(cel: &Cel, names: &mut Vec<String>) -> Option<()> {
    match cel {
        Cel::Ident(name) => names.push(name.clone()),
        Cel::Select(select) if !select.test => {
            names_of(&select.operand.expr, names)?;
            names.push(select.field.clone());
        }
        Cel::Call(call) if call.func_name == op::INDEX => {
            let [operand, index] = call.args.as_slice() else { return None };
            names_of(&operand.expr, names)?;
            match &index.expr {
                Cel::Literal(LiteralValue::String(name)) if !name.inner().is_empty() => {
                    names.push(name.inner().to_owned());
                }
                _ => return None,
            }
        }
        _ => return None,
    }
    Some(())
}
