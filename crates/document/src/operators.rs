//! The operators of a document, each on its own; [`super::graph`] connects them.

use std::sync::Arc;

use flowmeter_core::decimal;
use flowmeter_core::event::Path;
use flowmeter_core::expression::condition::Literal;
use flowmeter_core::expression::{Fields, Program};
use flowmeter_core::meter_type::MeterType;
use flowmeter_core::operator::{Operator, Step as Change, Validate};
use flowmeter_core::source::SourcePlan;

use super::compile::{Compiler, dedupe};
use super::graph::Step;
use super::meter::{self, Processors};
use super::names::Mode;
use super::tree::Node as Tree;
use super::{http, keyed, lookup, prices, script, source};

const KINDS: [&str; 15] = [
    "filter",
    "map",
    "validate",
    "dedupe",
    "branch",
    "meter",
    "split",
    "enrich",
    "currency",
    "rate",
    "aggregate",
    "accumulate",
    "correlate",
    "script",
    "http",
];

pub(super) fn compile_all(
    tree: &Tree,
    compiler: &mut Compiler<'_>,
    meter_types: &[MeterType],
    sources: &[SourcePlan],
    processors: &mut Processors,
) -> Vec<Step> {
    let items = tree.get("operators").map(Tree::items).unwrap_or_default();
    let mut steps: Vec<Option<Step>> = items.iter().map(|_| None).collect();
    let mut changed = Vec::new();
    // Meter operators first: what an event's time is, is theirs to say.
    for meters in [true, false] {
        for (i, item) in items.iter().enumerate() {
            let field = format!("operators[{i}]");
            let Some(kind) = kind_of(item, &field, meters, compiler) else { continue };
            if (kind == "meter") != meters {
                continue;
            }
            compiler.names.begin_operator(i);
            let body = item.get(kind).unwrap_or(item);
            let field = format!("{field}.{kind}");
            let id = item.text("id").unwrap_or(kind);
            let mut routes = Vec::new();
            let operator = match kind {
                "filter" => filter(body, &field, compiler),
                "map" => map(body, &field, compiler, &mut changed),
                "validate" => validate(body, &field, compiler, &changed),
                "dedupe" => Operator::Dedupe(dedupe(body, &field, id, compiler, processors)),
                "branch" => branch(body, &field, compiler, &mut routes),
                "split" => lookup::split(body, compiler),
                "enrich" => lookup::enrich(body, &field, compiler, processors, &mut routes),
                "currency" => lookup::currency(body, &field, compiler, sources, processors),
                "rate" => prices::rate(body, &field, compiler, sources, processors),
                "aggregate" => keyed::aggregate(body, &field, compiler, sources, processors),
                "accumulate" => keyed::accumulate(body, &field, compiler, sources, processors),
                "http" => http::http(body, &field, compiler),
                "script" => script::script(body, &field, id, compiler),
                "correlate" => keyed::correlate(body, &field, compiler, processors),
                _ => Operator::Meter(meter::compile(body, &field, compiler, meter_types, sources, processors)),
            };
            steps[i] = Some(Step { id: id.to_owned(), operator, routes });
        }
    }
    steps.into_iter().flatten().collect()
}

/// Returns the id of an operator: the given one, or its kind.
pub(super) fn id_of(item: &Tree) -> Option<&str> {
    let kind = || KINDS.into_iter().find(|kind| item.members().any(|(name, _)| name == *kind));
    item.text("id").or_else(kind)
}

/// Which operator an item is; it must be exactly one.
fn kind_of(item: &Tree, field: &str, report: bool, compiler: &mut Compiler<'_>) -> Option<&'static str> {
    let present: Vec<&'static str> = KINDS.into_iter().filter(|kind| item.members().any(|(name, _)| name == *kind)).collect();
    match present.as_slice() {
        [kind] => return Some(kind),
        _ if !report => {}
        [] => compiler.problems.add(item, field, format!("no operator; write one of {}", KINDS.join(", "))),
        several => {
            let message = format!("{} in one step; make each a step of its own", several.join(" and "));
            compiler.problems.add(item, field, message);
        }
    }
    None
}

fn filter(body: &Tree, field: &str, compiler: &mut Compiler<'_>) -> Operator {
    let before = compiler.problems.0.len();
    let condition = conditions(body, field, compiler);
    if condition.is_none() && compiler.problems.0.len() == before {
        compiler.problems.add(body, field, "a filter needs `when: 'an expression'` or `conditions`");
    }
    Operator::Filter(condition.unwrap_or_else(|| Program::all(Vec::new())))
}

/// `when` and `conditions` of an object, joined; `None` when it has neither.
pub(super) fn conditions(node: &Tree, field: &str, compiler: &mut Compiler<'_>) -> Option<Program> {
    let mut programs = Vec::new();
    if let Some(when) = node.get("when") {
        programs.extend(compiler.program(when, &format!("{field}.when")));
    }
    if let Some(group) = node.get("conditions") {
        programs.extend(group_of(group, &format!("{field}.conditions"), compiler));
    }
    (!programs.is_empty()).then(|| Program::all(programs))
}

/// `all` and `any` of an object.
fn group_of(node: &Tree, field: &str, compiler: &mut Compiler<'_>) -> Option<Program> {
    let mut groups = Vec::new();
    for (name, join) in [("all", Program::all as fn(Vec<Program>) -> Program), ("any", Program::any)] {
        let Some(list) = node.get(name) else { continue };
        let items = list.items().iter().enumerate();
        let tests = items.filter_map(|(i, item)| condition(item, &format!("{field}.{name}[{i}]"), compiler));
        groups.push(join(tests.collect()));
    }
    (!groups.is_empty()).then(|| Program::all(groups))
}

fn condition(node: &Tree, field: &str, compiler: &mut Compiler<'_>) -> Option<Program> {
    if let Some(expression) = node.get("expression") {
        return compiler.program(expression, &format!("{field}.expression"));
    }
    if node.get("all").is_some() || node.get("any").is_some() {
        return group_of(node, field, compiler);
    }
    let (Some(path), Some(op)) = (node.text("field").and_then(|path| Path::parse(path).ok()), node.text("op")) else {
        compiler.problems.add(node, field, "a condition needs `field`, `op` and `value`, or an `expression`");
        return None;
    };
    let value = node.members().find(|(name, _)| *name == "value").map_or(Literal::Null, |(_, value)| literal(value));
    let compiled = compiler.in_mode(Mode::Read, |compiler| Program::condition(&path, op, &value, compiler));
    compiled.map_err(|why| compiler.problems.add(node, field, why.to_string())).ok()
}

/// A literal with the type that YAML gives it.
fn literal(node: &Tree) -> Literal {
    use super::tree::Kind;
    match &node.kind {
        Kind::Scalar(text, true) => Literal::Text(text.clone()),
        Kind::Scalar(text, false) => match text.as_str() {
            "" | "~" | "null" => Literal::Null,
            "true" => Literal::Bool(true),
            "false" => Literal::Bool(false),
            plain => decimal::parse(plain.as_bytes()).map_or_else(|_| Literal::Text(plain.to_owned()), Literal::Number),
        },
        Kind::List(items) => Literal::List(items.iter().map(literal).collect()),
        Kind::Map(_) => Literal::Null,
    }
}

fn map(body: &Tree, field: &str, compiler: &mut Compiler<'_>, changed: &mut Vec<Path>) -> Operator {
    let mut steps = Vec::new();
    let mut note = |written: &str, compiler: &mut Compiler<'_>| {
        if let Ok(path) = Path::parse(written) {
            changed.push(path);
        }
        compiler.path(written)
    };
    let check = |written: &str, node: &Tree, part: &str, compiler: &mut Compiler<'_>| {
        if let Err(why) = Path::parse(written) {
            compiler.problems.add(node, &format!("{field}.{part}"), format!("`{written}` is not a path: {why}"));
        }
    };
    for (from, to) in body.get("rename").into_iter().flat_map(Tree::members) {
        check(from, to, "rename", compiler);
        compiler.read(from);
        steps.push(Change::Rename(note(from, compiler), note(to.scalar().unwrap_or_default(), compiler)));
    }
    for (path, to) in body.get("convert").into_iter().flat_map(Tree::members) {
        check(path, to, "convert", compiler);
        compiler.read(path);
        let to = source::column_type(to, &format!("{field}.convert.{path}"), compiler);
        steps.push(Change::Convert(note(path, compiler), to));
    }
    for (path, expression) in body.get("set").into_iter().flat_map(Tree::members) {
        check(path, expression, "set", compiler);
        // It is read before it is made: `n: 'n * 2'` needs the field `n`.
        let program = compiler.program(expression, &format!("{field}.set.{path}"));
        let slot = note(path, compiler);
        steps.extend(program.map(|program| Change::Set(slot, program)));
    }
    for path in body.get("remove").map(Tree::items).unwrap_or_default() {
        steps.push(Change::Remove(note(path.scalar().unwrap_or_default(), compiler)));
    }
    if steps.is_empty() && compiler.problems.0.is_empty() {
        compiler.problems.add(body, field, "a map changes nothing; write rename, convert, set or remove");
    }
    Operator::Map(steps)
}

fn validate(body: &Tree, field: &str, compiler: &mut Compiler<'_>, changed: &[Path]) -> Operator {
    let schema = body.get("schema").map(Tree::to_json).unwrap_or_default();
    let validator = jsonschema::validator_for(&schema).unwrap_or_else(|why| {
        compiler.problems.add(
            body.get("schema").unwrap_or(body),
            &format!("{field}.schema"),
            format!("not a JSON Schema: {why}"),
        );
        everything()
    });
    let mut named = Vec::new();
    names_in(&schema, &mut Vec::new(), &mut named);
    let with_slot = |path: &Path, compiler: &mut Compiler<'_>| {
        (path.clone(), compiler.in_mode(Mode::Default, |compiler| compiler.slot(path)))
    };
    Operator::Validate(Arc::new(Validate {
        validator,
        changed: changed.iter().map(|path| with_slot(path, compiler)).collect(),
        named: named.iter().map(|path| with_slot(path, compiler)).collect(),
    }))
}

/// The schema that accepts everything, in place of one that is broken.
fn everything() -> jsonschema::Validator {
    match jsonschema::validator_for(&serde_json::Value::Bool(true)) {
        Ok(validator) => validator,
        Err(_) => unreachable!("`true` is a JSON Schema"),
    }
}

/// The fields a schema names, to show it the fields of a row.
fn names_in(schema: &serde_json::Value, at: &mut Vec<String>, found: &mut Vec<Path>) {
    for (name, inner) in schema.get("properties").and_then(|p| p.as_object()).into_iter().flatten() {
        at.push(name.clone());
        match inner.get("properties") {
            Some(_) => names_in(inner, at, found),
            None => found.push(Path::of(at)),
        }
        at.pop();
    }
    for name in schema.get("required").and_then(|names| names.as_array()).into_iter().flatten().filter_map(|name| name.as_str()) {
        at.push(name.to_owned());
        let path = Path::of(at);
        if !found.iter().any(|known| path.covers(known)) {
            found.push(path);
        }
        at.pop();
    }
}

fn branch(body: &Tree, field: &str, compiler: &mut Compiler<'_>, routes: &mut Vec<String>) -> Operator {
    let mut programs = Vec::new();
    for (i, route) in body.get("routes").map(Tree::items).unwrap_or_default().iter().enumerate() {
        let field = format!("{field}.routes[{i}]");
        let name = route.text("name").unwrap_or_default();
        if name == "default" || routes.iter().any(|known| known == name) {
            compiler.problems.add(
                route,
                &format!("{field}.name"),
                format!("a second route `{name}` (`default` is there by itself)"),
            );
        }
        routes.push(name.to_owned());
        let before = compiler.problems.0.len();
        let condition = conditions(route, &field, compiler);
        if condition.is_none() && compiler.problems.0.len() == before {
            compiler.problems.add(route, &field, "a route needs `when` or `conditions`");
        }
        programs.push(condition.unwrap_or_else(|| Program::all(Vec::new())));
    }
    routes.push("default".to_owned());
    Operator::Branch(programs)
}
