//! The `value` of a rule: where it is, or how it is computed.
//!
//! A plain path (`data.tokens`, `lineItem/UsageAmount`) is a path. Text with blanks or with
//! the signs of an expression is an expression if it compiles as one (`data.a * data.b`), and
//! so is a number (`1`). A path that would read as an expression is quoted (`"API name"`) or
//! escaped (`API\ name`).

use std::sync::Arc;

use flowmeter_core::event::Path;
use flowmeter_core::expression::{Fields, Program};

use super::compile::Compiler;
use super::names::Mode;
use super::tree::Node as Tree;

/// Characters that occur in expressions but not in plain paths; blanks are checked separately.
/// `/` and `-` are missing because column names contain them; as operators they need blanks.
const SIGNS: &[char] = &['*', '+', '%', '(', ')', '[', ']', '{', '}', '<', '>', '=', '!', '&', '|', '?', ',', '\'', '"'];

/// The kind of a text, as far as its form shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Written {
    /// A path, or an error about it.
    Path(Result<Path, String>),
    /// An expression, or else an unusual path.
    Unclear,
}

/// Reads the form of a text.
pub(super) fn written(text: &str) -> Written {
    let quoted = text.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
    if let Some(name) = quoted.filter(|name| !name.is_empty() && !name.contains('"')) {
        return Written::Path(Ok(Path::of(&[name])));
    }
    let is_number = flowmeter_core::decimal::parse(text.as_bytes()).is_ok();
    let is_plain = !text.contains(char::is_whitespace) && !text.contains(SIGNS) && !is_number;
    match is_plain || text.contains('\\') {
        true => Written::Path(Path::parse(text).map_err(|why| format!("`{text}` is not a path: {why}"))),
        false => Written::Unclear,
    }
}

/// The slot of a value, and the program that fills it if it is computed.
pub(super) fn compile(node: Option<&Tree>, text: &str, field: &str, compiler: &mut Compiler<'_>) -> (u16, Option<Arc<Program>>) {
    let mode = if node.is_some() { Mode::Read } else { Mode::Default };
    compiler.in_mode(mode, |compiler| compile_in_mode(node, text, field, compiler))
}

fn compile_in_mode(node: Option<&Tree>, text: &str, field: &str, compiler: &mut Compiler<'_>) -> (u16, Option<Arc<Program>>) {
    if let Written::Path(path) = written(text) {
        return (path.map_or(0, |path| compiler.path(path.as_str())), None);
    }
    let known = compiler.paths.len();
    match Program::compile(text, compiler) {
        // The value has a slot of its own, under a name that no field has.
        Ok(program) => (compiler.slot(&Path::computed(text)), Some(Arc::new(program))),
        Err(why) => {
            compiler.paths.truncate(known);
            compiler.names.forget_from(known);
            let is_path = !text.contains(char::is_whitespace) && Path::parse(text).is_ok();
            if let (false, Some(node)) = (is_path, node) {
                let message = format!(
                    "`{text}` is neither a path nor an expression ({why}); write an expression like \
                     `data.a * data.b`, or event[\"{text}\"] for a field of this name"
                );
                compiler.problems.add(node, field, message);
            }
            (compiler.path(text), None)
        }
    }
}
