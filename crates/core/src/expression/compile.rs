//! CEL's syntax tree to ours.

use std::fmt;

use cel::common::ast::{ComprehensionExpr, Expr as Cel, IdedExpr, LiteralValue, operators as op};
use cel::parser::Parser;

use super::functions::Function;
use super::lists::Loop;
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
    check_literals(text)?;
    let parsed = Parser::new().max_recursion_depth(48).parse(text).map_err(|errors| {
        let first = errors.errors.first();
        let message = first.map_or_else(String::new, |e| format!("at {}:{}: {}", e.pos.0, e.pos.1, e.msg));
        let advice = if message.contains("has()") { "; write has(event.name) or has(data.name)" } else { "" };
        BadExpression(format!("not an expression: {message}{advice}"))
    })?;
    Compiler { fields, elements: Vec::new() }.expr(&parsed.expr)
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
    /// Names of the elements of the loops around, the innermost last.
    elements: Vec<String>,
}

impl Compiler<'_> {
    fn expr(&mut self, cel: &Cel) -> Compiled<Expr> {
        if let Some(depth) = self.element(cel) {
            return Ok(Expr::Element(depth));
        }
        if let Some(path) = path_of(cel).filter(|_| !self.is_of_element(cel)) {
            return Ok(Expr::Field(self.fields.slot(&path)));
        }
        match cel {
            Cel::Literal(literal) => constant(literal).map(Expr::Constant),
            Cel::Select(select) if select.test => {
                match path_of_names(&select.operand.expr, &select.field).filter(|_| !self.is_of_element(&select.operand.expr)) {
                    Some(path) => Ok(Expr::Has(self.fields.slot(&path))),
                    None => Ok(Expr::HasMember(Box::new(self.expr(&select.operand.expr)?), select.field.as_str().into())),
                }
            }
            Cel::List(list) => self.all(list.elements.iter().map(|item| &item.expr)).map(Expr::List),
            Cel::Call(call) => {
                let target = call.target.as_deref();
                let operands: Vec<&Cel> = target.into_iter().chain(&call.args).map(|item| &item.expr).collect();
                self.call(&call.func_name, &operands)
            }
            Cel::Comprehension(comprehension) => self.comprehension(comprehension),
            Cel::Map(_) | Cel::Struct(_) => bad("an expression makes one value, not an object; set each field on its own"),
            Cel::Select(select) => Ok(Expr::Member(Box::new(self.expr(&select.operand.expr)?), select.field.as_str().into())),
            Cel::Ident(_) | Cel::Unspecified => bad("not an expression"),
        }
    }

    /// The element of a loop that a name refers to.
    fn element(&self, cel: &Cel) -> Option<usize> {
        let Cel::Ident(name) = cel else { return None };
        self.elements.iter().rev().position(|known| known == name)
    }

    /// Whether a path begins with the element of a loop.
    fn is_of_element(&self, cel: &Cel) -> bool {
        match cel {
            Cel::Ident(_) => self.element(cel).is_some(),
            Cel::Select(select) => self.is_of_element(&select.operand.expr),
            Cel::Call(call) if call.func_name == op::INDEX => {
                call.args.first().is_some_and(|operand| self.is_of_element(&operand.expr))
            }
            _ => false,
        }
    }

    /// A loop, as the parser writes it out: its kind follows from its start value and its step.
    fn comprehension(&mut self, cel: &ComprehensionExpr) -> Compiled<Expr> {
        let list = self.expr(&cel.iter_range.expr)?;
        let Cel::Call(step) = &cel.loop_step.expr else { return bad(LOOPS) };
        let (how, bodies) = loop_of(&cel.accu_init.expr, &step.func_name, &step.args)?;
        if self.elements.len() >= LOOPS_MAX {
            return bad(format!("more than {LOOPS_MAX} loops inside each other"));
        }
        self.elements.push(cel.iter_var.clone());
        let compiled = self.all(bodies.iter().copied());
        self.elements.pop();
        let mut bodies = compiled?.into_iter();
        let mut next = || Box::new(bodies.next().unwrap_or(Expr::Constant(Constant::Null)));
        Ok(match how {
            None => {
                let kept = Expr::Loop(Loop::Filter, Box::new(list), next());
                Expr::Loop(Loop::Map, Box::new(kept), next())
            }
            Some(how) => Expr::Loop(how, Box::new(list), next()),
        })
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
            op::INDEX => &Expr::At,
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

const LOOPS: &str = "a loop is one of all, exists, exists_one, map and filter: data.items.exists(i, i.price > 0)";

/// Loops inside each other.
const LOOPS_MAX: usize = 8;

/// The kind of a loop and its bodies; without a kind, a filter and a map.
fn loop_of<'c>(begins: &Cel, step: &str, parts: &'c [IdedExpr]) -> Compiled<(Option<Loop>, Vec<&'c Cel>)> {
    let part = |at: usize| parts.get(at).map(|part| &part.expr);
    // The list that a step adds: of one element.
    let added = |cel: Option<&'c Cel>| match cel {
        Some(Cel::List(list)) => list.elements.first().map(|element| &element.expr),
        _ => None,
    };
    let both = |cel: Option<&'c Cel>| match cel {
        Some(Cel::Call(call)) if call.func_name == op::ADD => added(call.args.get(1).map(|added| &added.expr)),
        _ => None,
    };
    let found = match (begins, step) {
        (Cel::Literal(LiteralValue::Boolean(_)), op::LOGICAL_AND) => (Some(Loop::All), vec![part(1)]),
        (Cel::Literal(LiteralValue::Boolean(_)), op::LOGICAL_OR) => (Some(Loop::Exists), vec![part(1)]),
        (Cel::Literal(LiteralValue::Int(_)), op::CONDITIONAL) => (Some(Loop::ExistsOne), vec![part(0)]),
        (Cel::List(_), op::ADD) => (Some(Loop::Map), vec![added(part(1))]),
        (Cel::List(_), op::CONDITIONAL) => (None, vec![part(0), both(part(1))]),
        _ => return bad(LOOPS),
    };
    let bodies: Option<Vec<&Cel>> = found.1.into_iter().collect();
    bodies.map(|bodies| (found.0, bodies)).ok_or_else(|| BadExpression(LOOPS.to_owned()))
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
