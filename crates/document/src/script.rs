//! `script` of a document, and the files that scripts are in.

use std::sync::Arc;

use flowmeter_core::event::Path;
use flowmeter_core::expression::Fields as _;
use flowmeter_core::operator::{Operator, Script, compute};
use flowmeter_script::{Limits, Program};

use super::compile::Compiler;
use super::keyed::{key, span};
use super::problem::Problems;
use super::tree::Node as Tree;

const CODE_BYTES_MAX: usize = 256 << 10;
const DAY: i64 = 86_400_000_000_000;

pub(super) fn script(body: &Tree, field: &str, id: &str, compiler: &mut Compiler<'_>) -> Operator {
    let number = |name: &str, default: u64| body.text(name).and_then(|text| text.parse().ok()).unwrap_or(default);
    let size = |name: &str, default: u64| usize::try_from(number(name, default)).unwrap_or(usize::MAX);
    let limits = Limits {
        steps: number("steps", 1_000_000),
        memory: size("memory", 16 << 20),
        stack: size("stack", 256 << 10),
        state_bytes: size("stateBytes", 65_536),
        children_max: size("childrenMax", 1_000),
    };
    let program = program(body, field, id, limits, compiler);
    let fields = program.fields().map(|fields| fields.iter().map(|names| compiler.field(&Path::of(names))).collect());
    let script = Script {
        program,
        fields,
        key: key(body, field, compiler),
        keeps_state: body.get("key").is_some(),
        state_version: number("stateVersion", 0),
        amend_within: span(body, field, "amendWithin", 7 * DAY, compiler),
        whole: compiler.slot(&Path::computed("the event that a script returned")),
        id: compiler.path("id"),
        source: compiler.path("source"),
    };
    compiler.names.make_any();
    Operator::Script(Arc::new(script))
}

fn program(body: &Tree, field: &str, id: &str, limits: Limits, compiler: &mut Compiler<'_>) -> Program {
    let (node, code) = match (body.get("code"), body.get("file")) {
        (Some(node), None) => (node, node.scalar().unwrap_or_default()),
        (None, Some(file)) => {
            let message = "the file was not read; a document that is sent to a server has the code itself, under `code`";
            compiler.problems.add(file, &format!("{field}.file"), message);
            return idle(limits);
        }
        (Some(_), Some(file)) => {
            compiler.problems.add(file, &format!("{field}.file"), "`code` and `file` are both there; keep one");
            return idle(limits);
        }
        (None, None) => {
            compiler.problems.add(body, field, "a script needs `code` or `file`");
            return idle(limits);
        }
    };
    if code.len() > CODE_BYTES_MAX {
        let message = format!("{} bytes of code; at most {CODE_BYTES_MAX}", code.len());
        compiler.problems.add(node, &format!("{field}.code"), message);
        return idle(limits);
    }
    Program::compile(code, id, limits, compute).unwrap_or_else(|error| {
        let place = if error.line > 0 { format!("line {} of the code: ", error.line) } else { String::new() };
        compiler.problems.add(node, &format!("{field}.code"), format!("{place}{}", error.detail));
        idle(limits)
    })
}

/// A program in the place of one that has problems.
fn idle(limits: Limits) -> Program {
    Program::idle(limits, compute)
}

/// Puts the content of files in the place of their names. `read` returns the content of a file,
/// or why it cannot be read.
pub(super) fn put_in_code(tree: &mut Tree, read: &dyn Fn(&str) -> Result<String, String>, problems: &mut Problems) {
    let Some(operators) = tree.get_mut("operators") else { return };
    for (i, operator) in operators.items_mut().iter_mut().enumerate() {
        let Some(script) = operator.get_mut("script") else { continue };
        let Some(file) = script.text("file").map(str::to_owned).filter(|_| script.get("code").is_none()) else { continue };
        match read(&file) {
            Ok(code) => script.replace_by_text("file", "code", code),
            Err(why) => problems.add(script, &format!("operators[{i}].script.file"), format!("`{file}`: {why}")),
        }
    }
}
