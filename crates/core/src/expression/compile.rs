//! Syntax trees to programs over the slots of a row.

use std::fmt;

use super::functions::Function;
use super::lists::Loop;
use super::parse::parse;
use super::syntax::{Binary, Syntax, Unary};
use super::{Fields, Value};
use crate::decimal::Decimal;
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
    /// The element of a loop, counted outwards from the innermost.
    Element(usize),
    /// A member of an object that is no field of the event.
    Member(Box<Expr>, Box<str>),
    HasMember(Box<Expr>, Box<str>),
    /// An element of a list.
    At(Box<Expr>, Box<Expr>),
    Loop(Loop, Box<Expr>, Box<Expr>),
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
    let syntax = parse(text).map_err(|why| BadExpression(format!("not an expression: {why}")))?;
    Compiler { fields, elements: Vec::new() }.expr(&syntax)
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
    /// Names of the elements of the loops around, the innermost last.
    elements: Vec<String>,
}

impl Compiler<'_> {
    fn expr(&mut self, syntax: &Syntax) -> Compiled<Expr> {
        if let Some(depth) = self.element(syntax) {
            return Ok(Expr::Element(depth));
        }
        if let Some(path) = path_of(syntax).filter(|_| !self.is_of_element(syntax)) {
            return Ok(Expr::Field(self.fields.slot(&path)));
        }
        match syntax {
            Syntax::Null => Ok(Expr::Constant(Constant::Null)),
            Syntax::Bool(holds) => Ok(Expr::Constant(Constant::Bool(*holds))),
            Syntax::Number(number) => Ok(Expr::Constant(Constant::Number(*number))),
            Syntax::Text(text) => Ok(Expr::Constant(Constant::Text(text.as_bytes().into()))),
            Syntax::List(items) => self.all(items.iter()).map(Expr::List),
            Syntax::Unary(Unary::Not, operand) => Ok(Expr::Not(Box::new(self.expr(operand)?))),
            Syntax::Unary(Unary::Negate, operand) => Ok(Expr::Negate(Box::new(self.expr(operand)?))),
            Syntax::Binary(operator, left, right) => {
                let (left, right) = (self.expr(left)?, self.expr(right)?);
                Ok(binary(*operator, left, right))
            }
            Syntax::If(parts) => {
                let [condition, then, otherwise] = &**parts;
                Ok(Expr::If(Box::new([self.expr(condition)?, self.expr(then)?, self.expr(otherwise)?])))
            }
            Syntax::Call { target, name, arguments } => self.call(target.as_deref(), name, arguments),
            Syntax::Index(operand, index) => {
                let (operand, index) = (self.expr(operand)?, self.expr(index)?);
                Ok(Expr::At(Box::new(operand), Box::new(index)))
            }
            Syntax::Member(operand, name) => Ok(Expr::Member(Box::new(self.expr(operand)?), name.as_str().into())),
            Syntax::Name(name) => bad(format!("`{name}` is no field")),
        }
    }

    fn call(&mut self, target: Option<&Syntax>, name: &str, arguments: &[Syntax]) -> Compiled<Expr> {
        let operands: Vec<&Syntax> = target.into_iter().chain(arguments).collect();
        match (name, target) {
            ("has", None) => self.has(&operands),
            ("matches", _) => self.matches(&operands),
            ("all" | "exists" | "exists_one" | "map" | "filter", Some(list)) => self.looped(name, list, arguments),
            _ => function(name, self.all(operands.into_iter())?),
        }
    }

    /// Returns the loop whose element a name means, counted from the innermost.
    fn element(&self, syntax: &Syntax) -> Option<usize> {
        let Syntax::Name(name) = syntax else { return None };
        self.elements.iter().rev().position(|known| known == name)
    }

    /// Whether a path begins with the element of a loop.
    fn is_of_element(&self, syntax: &Syntax) -> bool {
        match syntax {
            Syntax::Name(_) => self.element(syntax).is_some(),
            Syntax::Member(operand, _) | Syntax::Index(operand, _) => self.is_of_element(operand),
            Syntax::Null
            | Syntax::Bool(_)
            | Syntax::Number(_)
            | Syntax::Text(_)
            | Syntax::Call { .. }
            | Syntax::Unary(..)
            | Syntax::Binary(..)
            | Syntax::If(_)
            | Syntax::List(_) => false,
        }
    }

    /// Compiles a loop over a list: `list.exists(item, condition)`.
    fn looped(&mut self, name: &str, list: &Syntax, arguments: &[Syntax]) -> Compiled<Expr> {
        let list = self.expr(list)?;
        let (element, how, bodies) = match (name, arguments) {
            ("all", [Syntax::Name(element), bodies @ ..]) => (element, Loop::All, bodies),
            ("exists", [Syntax::Name(element), bodies @ ..]) => (element, Loop::Exists, bodies),
            ("exists_one", [Syntax::Name(element), bodies @ ..]) => (element, Loop::ExistsOne, bodies),
            ("filter", [Syntax::Name(element), bodies @ ..]) => (element, Loop::Filter, bodies),
            ("map", [Syntax::Name(element), bodies @ ..]) => (element, Loop::Map, bodies),
            _ => return bad(LOOPS),
        };
        if self.elements.len() >= LOOPS_MAX {
            return bad(format!("more than {LOOPS_MAX} loops inside each other"));
        }
        self.elements.push(element.clone());
        let compiled = self.all(bodies.iter());
        self.elements.pop();
        let mut bodies = compiled?.into_iter();
        let looped = |how, list, body| Expr::Loop(how, Box::new(list), Box::new(body));
        match (how, bodies.next(), bodies.next(), bodies.next()) {
            (how, Some(body), None, None) => Ok(looped(how, list, body)),
            // A condition before what is made of the elements.
            (Loop::Map, Some(condition), Some(body), None) => Ok(looped(Loop::Map, looped(Loop::Filter, list, condition), body)),
            _ => bad(LOOPS),
        }
    }

    fn all<'s>(&mut self, items: impl Iterator<Item = &'s Syntax>) -> Compiled<Vec<Expr>> {
        items.map(|item| self.expr(item)).collect()
    }

    fn has(&mut self, operands: &[&Syntax]) -> Compiled<Expr> {
        let [member] = operands else { return bad(HAS) };
        if let (Some(path), Syntax::Member(..) | Syntax::Index(..)) = (path_of(member), member)
            && !self.is_of_element(member)
        {
            return Ok(Expr::Has(self.fields.slot(&path)));
        }
        match member {
            Syntax::Member(operand, name) => Ok(Expr::HasMember(Box::new(self.expr(operand)?), name.as_str().into())),
            _ => bad(HAS),
        }
    }

    fn matches(&mut self, operands: &[&Syntax]) -> Compiled<Expr> {
        let [text, Syntax::Text(pattern)] = operands else {
            return bad("matches takes a pattern in quotes: data.path.matches(\"^/api/\")");
        };
        let pattern = pattern_of(pattern)?;
        Ok(Expr::Matches(Box::new(self.expr(text)?), Box::new(pattern)))
    }
}

const LOOPS: &str = "a loop is one of all, exists, exists_one, map and filter: data.items.exists(i, i.price > 0)";

/// Loops inside each other.
const LOOPS_MAX: usize = 8;

const HAS: &str = "has() takes a field: has(event.name) or has(data.tokens)";

fn binary(operator: Binary, left: Expr, right: Expr) -> Expr {
    let arithmetic = |how, left, right| Expr::Arithmetic(how, Box::new(left), Box::new(right));
    match operator {
        Binary::And => Expr::And(Box::new(left), Box::new(right)),
        Binary::Or => Expr::Or(Box::new(left), Box::new(right)),
        Binary::In => Expr::In(Box::new(left), Box::new(right)),
        Binary::Eq => comparison(Compare::Eq, left, right),
        Binary::Ne => comparison(Compare::Ne, left, right),
        Binary::Lt => comparison(Compare::Lt, left, right),
        Binary::Le => comparison(Compare::Le, left, right),
        Binary::Gt => comparison(Compare::Gt, left, right),
        Binary::Ge => comparison(Compare::Ge, left, right),
        Binary::Add => arithmetic(Arithmetic::Add, left, right),
        Binary::Subtract => arithmetic(Arithmetic::Subtract, left, right),
        Binary::Multiply => arithmetic(Arithmetic::Multiply, left, right),
        Binary::Divide => arithmetic(Arithmetic::Divide, left, right),
        Binary::Remainder => arithmetic(Arithmetic::Remainder, left, right),
    }
}

/// A regular expression, bounded in size.
pub(super) fn pattern_of(pattern: &str) -> Compiled<regex::bytes::Regex> {
    let built = regex::bytes::RegexBuilder::new(pattern).size_limit(1 << 20).build();
    built.map_err(|why| BadExpression(format!("not a regular expression: {why}")))
}

fn function(name: &str, arguments: Vec<Expr>) -> Compiled<Expr> {
    let Some(function) = Function::named(name) else {
        let known = Function::NAMES.iter().map(|(name, ..)| *name);
        let near = crate::suggest::nearest(name, known).map_or(String::new(), |near| format!("; did you mean `{near}`?"));
        return bad(format!("unknown function `{name}`{near}"));
    };
    let (count, (least, most)) = (arguments.len(), function.arity());
    if count < least || count > most {
        return bad(format!("`{name}` takes {least} to {most} values, not {count}"));
    }
    Ok(Expr::Call(function, arguments))
}

/// `a.b`, `event["a b"].c`: a path of the event. The whole event has the name `event`.
fn path_of(syntax: &Syntax) -> Option<Path> {
    let mut names = Vec::new();
    names_of(syntax, &mut names)?;
    if names.len() > 1 && names[0] == "event" {
        names.remove(0);
    }
    Some(Path::of(&names))
}

fn names_of(syntax: &Syntax, names: &mut Vec<String>) -> Option<()> {
    match syntax {
        Syntax::Name(name) => names.push(name.clone()),
        Syntax::Member(operand, name) => {
            names_of(operand, names)?;
            names.push(name.clone());
        }
        Syntax::Index(operand, index) => {
            let Syntax::Text(name) = &**index else { return None };
            names_of(operand, names)?;
            names.push(Some(name).filter(|name| !name.is_empty())?.clone());
        }
        Syntax::Null
        | Syntax::Bool(_)
        | Syntax::Number(_)
        | Syntax::Text(_)
        | Syntax::Call { .. }
        | Syntax::Unary(..)
        | Syntax::Binary(..)
        | Syntax::If(_)
        | Syntax::List(_) => return None,
    }
    Some(())
}
