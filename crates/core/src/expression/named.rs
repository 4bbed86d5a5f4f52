//! The text of a compiled program with the fields by name. Two plans give the same text for the same
//! program, wherever their fields are.

use std::fmt::Write;

use super::compile::Expr;

/// Appends an expression and its parts to a text.
pub(super) fn write(expr: &Expr, name: &dyn Fn(u16) -> String, out: &mut String) {
    let mut call = |what: &str, parts: &[&Expr]| {
        out.push_str(what);
        out.push('(');
        for part in parts {
            write(part, name, out);
            out.push(' ');
        }
        out.push(')');
    };
    match expr {
        Expr::Not(a) => call("not", &[a]),
        Expr::And(a, b) => call("and", &[a, b]),
        Expr::Or(a, b) => call("or", &[a, b]),
        Expr::If(parts) => call("if", &parts.each_ref()),
        Expr::Compare(how, a, b) => call(&format!("{how:?}"), &[a, b]),
        Expr::In(a, b) => call("in", &[a, b]),
        Expr::Arithmetic(how, a, b) => call(&format!("{how:?}"), &[a, b]),
        Expr::Negate(a) => call("negate", &[a]),
        Expr::List(parts) => call("list", &parts.iter().collect::<Vec<_>>()),
        Expr::Matches(a, pattern) => call(&format!("matches {:?}", pattern.as_str()), &[a]),
        Expr::Call(function, parts) => call(&format!("{function:?}"), &parts.iter().collect::<Vec<_>>()),
        Expr::Member(a, member) => call(&format!("member {member:?}"), &[a]),
        Expr::HasMember(a, member) => call(&format!("has member {member:?}"), &[a]),
        Expr::At(a, b) => call("at", &[a, b]),
        Expr::Loop(what, a, b) => call(&format!("{what:?}"), &[a, b]),
        Expr::Constant(constant) => drop(write!(out, "{constant:?}")),
        Expr::Field(slot) => drop(write!(out, "`{}`", name(*slot))),
        Expr::Has(slot) => drop(write!(out, "has(`{}`)", name(*slot))),
        Expr::Test(how, slot, constant) => drop(write!(out, "test {how:?} `{}` {constant:?}", name(*slot))),
        Expr::Element(at) => drop(write!(out, "element {at}")),
    }
}
