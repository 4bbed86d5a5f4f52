//! The syntax tree of an expression, as it is written.

use crate::decimal::Decimal;

/// A part of an expression.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Syntax {
    Null,
    Bool(bool),
    Number(Decimal),
    Text(String),
    /// A bare name: `data`.
    Name(String),
    /// A member by name: `data.tokens`.
    Member(Box<Syntax>, String),
    /// A member by an expression: `data["API name"]`.
    Index(Box<Syntax>, Box<Syntax>),
    /// A function: `size(data.name)`, or with a target `data.name.size()`.
    Call {
        target: Option<Box<Syntax>>,
        name: String,
        arguments: Vec<Syntax>,
    },
    Unary(Unary, Box<Syntax>),
    Binary(Binary, Box<Syntax>, Box<Syntax>),
    /// `condition ? value : value`
    If(Box<[Syntax; 3]>),
    List(Vec<Syntax>),
}

/// An operator before its operand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unary {
    Not,
    Negate,
}

/// An operator between two operands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Binary {
    And,
    Or,
    In,
    Eq,
    Ne,
    Lt,
    Le,
    Gt,
    Ge,
    Add,
    Subtract,
    Multiply,
    Divide,
    Remainder,
}
