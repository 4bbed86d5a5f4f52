//! Counts the steps of a script: every turn of a loop and every call of a function.
//!
//! QuickJS checks for interruption every 10,000 steps, and its counter runs on from one event to
//! the next. A limit by that counter would depend on earlier events. So the code itself counts:
//! a statement is inserted at the start of each loop body and each function body. Insertions
//! contain no line breaks, so lines in error messages are those of the author.

use tree_sitter::{Node, Parser, Tree};

/// The name of the counter, which a script must not use.
pub(crate) const COUNTER: &str = "__flowmeterSteps";
/// The name of the function that is called when no steps are left.
pub(crate) const EXHAUSTED: &str = "__flowmeterExhausted";

/// Code that cannot be used, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CodeError {
    /// The line, counted from 1; 0 where it is not known.
    pub line: usize,
    /// A description of the problem.
    pub detail: String,
}

/// Parses code, which must be JavaScript.
pub(crate) fn parse(code: &str) -> Result<Tree, CodeError> {
    let at = |line, detail: &str| CodeError { line, detail: detail.to_owned() };
    let mut parser = Parser::new();
    let language = tree_sitter_javascript::LANGUAGE.into();
    parser.set_language(&language).map_err(|error| at(0, &error.to_string()))?;
    let tree = parser.parse(code, None).ok_or_else(|| at(0, "the code cannot be parsed"))?;
    if tree.root_node().has_error() {
        let line = first_error(tree.root_node()).map_or(0, |node| node.start_position().row + 1);
        return Err(at(line, "the code is not valid JavaScript"));
    }
    Ok(tree)
}

/// Returns the code with a counter in each loop and function.
pub(crate) fn count_steps(tree: &Tree, code: &str) -> Result<String, CodeError> {
    if code.contains(COUNTER) || code.contains(EXHAUSTED) {
        return Err(CodeError { line: 0, detail: format!("the names `{COUNTER}` and `{EXHAUSTED}` are reserved") });
    }
    let mut insertions = Vec::new();
    visit(tree.root_node(), &mut insertions);
    // Where several meet at one place, an outer one opens first and closes last.
    insertions.sort_by_key(|insertion: &Insertion| (insertion.at, insertion.order));
    let mut counted = String::with_capacity(code.len() + insertions.len() * 64);
    let mut from = 0;
    for Insertion { at, text, .. } in insertions {
        counted.push_str(&code[from..at]);
        counted.push_str(&text);
        from = at;
    }
    counted.push_str(&code[from..]);
    Ok(counted)
}

struct Insertion {
    at: usize,
    /// Closing insertions of inner nodes come before those of outer ones, and both before
    /// whatever opens at the same place.
    order: i64,
    text: String,
}

fn visit(root: Node<'_>, insertions: &mut Vec<Insertion>) {
    // Without recursion: code may be nested more deeply than the stack allows.
    let mut nodes = vec![(root, 0i64)];
    while let Some((node, depth)) = nodes.pop() {
        match node.kind() {
            "for_statement" | "for_in_statement" | "while_statement" | "do_statement" => {
                count_in(node.child_by_field_name("body"), depth, Wrap::Statement, insertions);
            }
            "function_declaration"
            | "function_expression"
            | "generator_function"
            | "generator_function_declaration"
            | "method_definition" => {
                count_in(node.child_by_field_name("body"), depth, Wrap::Statement, insertions);
            }
            "arrow_function" => count_in(node.child_by_field_name("body"), depth, Wrap::Expression, insertions),
            _ => {}
        }
        let mut cursor = node.walk();
        nodes.extend(node.children(&mut cursor).map(|child| (child, depth + 1)));
    }
}

/// How a body that is no block is given room for the counter.
#[derive(Clone, Copy, PartialEq)]
enum Wrap {
    Statement,
    Expression,
}

fn count_in(body: Option<Node<'_>>, depth: i64, wrap: Wrap, insertions: &mut Vec<Insertion>) {
    let Some(body) = body else { return };
    let mut insert = |at, order, text| insertions.push(Insertion { at, order, text });
    match (body.kind(), wrap) {
        ("statement_block", _) => insert(body.start_byte() + 1, depth, format!("if(--{COUNTER}<0){EXHAUSTED}();")),
        (_, Wrap::Statement) => {
            insert(body.start_byte(), depth, format!("{{if(--{COUNTER}<0){EXHAUSTED}();"));
            insert(body.end_byte(), -depth - 1, "}".to_owned());
        }
        (_, Wrap::Expression) => {
            insert(body.start_byte(), depth, format!("(--{COUNTER}<0&&{EXHAUSTED}(),"));
            insert(body.end_byte(), -depth - 1, ")".to_owned());
        }
    }
}

fn first_error(root: Node<'_>) -> Option<Node<'_>> {
    let mut nodes = vec![root];
    while let Some(node) = nodes.pop() {
        if node.is_error() || node.is_missing() {
            return Some(node);
        }
        let mut cursor = node.walk();
        let mut children: Vec<_> = node.children(&mut cursor).filter(Node::has_error).collect();
        children.reverse();
        nodes.extend(children);
    }
    None
}
