//! `split`, `enrich` and `currency` of a document.

use flowmeter_core::decimal::{Rounding, parse_rounding};
use flowmeter_core::event::Path;
use flowmeter_core::operator::{Currency, CurrencyCode, Empty, Enrich, Operator, Split, Unmatched};
use flowmeter_core::source::SourcePlan;
use flowmeter_core::table::Table;
use flowmeter_core::time::Zone;

use super::compile::{Compiler, index_of};
use super::keyed::text_numbers;
use super::meter::Processors;
use super::tables;
use super::tree::Node as Tree;

pub(super) fn split(body: &Tree, compiler: &mut Compiler<'_>) -> Operator {
    let path = compiler.read(body.text("path").unwrap_or_default());
    // Children of an event differ by their ids; the source is where it came from.
    compiler.path("source");
    Operator::Split(Split {
        path,
        into: body.text("into").map_or(path, |into| compiler.path(into)),
        key: body.text("key").map(|key| compiler.path(key)),
        empty: if body.text("empty") == Some("park") { Empty::Park } else { Empty::Filter },
        children_max: body.text("childrenMax").and_then(|most| most.parse().ok()).unwrap_or(10_000),
        id: compiler.path("id"),
    })
}

/// Slots of the paths that name the members of an object; what is no path is noted.
fn set_paths(body: &Tree, field: &str, name: &str, compiler: &mut Compiler<'_>) -> Vec<(u16, String)> {
    let mut found = Vec::new();
    for (path, column) in body.get(name).into_iter().flat_map(Tree::members) {
        if let Err(why) = Path::parse(path) {
            compiler.problems.add(column, &format!("{field}.{name}"), format!("`{path}` is not a path: {why}"));
        }
        found.push((compiler.path(path), column.scalar().unwrap_or_default().to_owned()));
    }
    if found.len() > 100 {
        compiler.problems.add(body, &format!("{field}.{name}"), format!("{} fields; at most 100", found.len()));
    }
    found
}

/// Slots of the fields by whose values a row of a table is found, in the order of its key.
pub(super) fn key_slots(body: &Tree, field: &str, known: Option<&Table>, compiler: &mut Compiler<'_>) -> Vec<u16> {
    let key = known.map(|table| table.key.clone()).unwrap_or_default();
    let on = body.get("on");
    for (column, node) in on.into_iter().flat_map(Tree::members) {
        if known.is_some() && !key.iter().any(|known| known == column) {
            let message = format!("`{column}` is no key column; the key of the table is {}", key.join(", "));
            compiler.problems.add(node, &format!("{field}.on.{column}"), message);
        }
    }
    let mut slots = Vec::new();
    for column in &key {
        match on.and_then(|on| on.text(column)) {
            Some(path) => slots.push(compiler.read(path)),
            None => {
                let message = format!("key column `{column}` is missing; write {column}: and the path of its value");
                compiler.problems.add(on.unwrap_or(body), &format!("{field}.on"), message);
            }
        }
    }
    slots
}

/// Whether the rows of a table hold for a time only.
pub(super) fn has_validity(table: Option<&Table>) -> bool {
    table.is_some_and(|table| table.valid_from.is_some() || table.valid_to.is_some())
}

pub(super) fn enrich(
    body: &Tree,
    field: &str,
    compiler: &mut Compiler<'_>,
    processors: &Processors,
    routes: &mut Vec<String>,
) -> Operator {
    let found = tables::named(body, field, compiler);
    let table = found.unwrap_or(0);
    let known = found.and_then(|table| compiler.tables.get(usize::from(table))).cloned();
    let slots = key_slots(body, field, known.as_ref(), compiler);
    let set = set_paths(body, field, "set", compiler);
    let key = known.as_ref().map(|table| table.key.clone()).unwrap_or_default();
    let is_prefix = body.text("match") == Some("longestPrefix");
    if is_prefix && key.len() > 1 {
        compiler.problems.add(body, &format!("{field}.match"), "longestPrefix needs a table whose key is one column");
    }
    let has_validity = has_validity(known.as_ref());
    let time = match body.get("at") {
        Some(at) => compiler.time(at, &format!("{field}.at")),
        None => processors.first_time(compiler),
    };
    let unmatched = match body.text("unmatched") {
        Some("pass") => Unmatched::Pass,
        Some("route") => Unmatched::Route,
        _ => Unmatched::Park,
    };
    if unmatched == Unmatched::Route {
        routes.extend([String::new(), "unmatched".to_owned()]);
    }
    let mut read = |column: &String| match compiler.tables.get_mut(usize::from(table)) {
        Some(table) => usize::from(index_of(&mut table.read, column)),
        None => 0,
    };
    let set = set.iter().map(|(slot, column)| (*slot, read(column))).collect();
    Operator::Enrich(Box::new(Enrich { table, on: slots, is_prefix, set, at: has_validity.then_some(time), unmatched }))
}

fn code(node: Option<&Tree>, compiler: &mut Compiler<'_>) -> CurrencyCode {
    match node.map(|node| (node.scalar(), node.text("value"))) {
        Some((Some(path), _)) => CurrencyCode::Field(compiler.read(path)),
        Some((None, Some(value))) => CurrencyCode::Fixed(value.to_owned()),
        _ => CurrencyCode::Fixed(String::new()),
    }
}

pub(super) fn rounding(body: &Tree) -> Rounding {
    body.text("rounding").and_then(parse_rounding).unwrap_or(Rounding::HalfEven)
}

pub(super) fn scale(body: &Tree) -> u32 {
    body.text("scale").and_then(|scale| scale.parse().ok()).unwrap_or(18)
}

pub(super) fn currency(
    body: &Tree,
    field: &str,
    compiler: &mut Compiler<'_>,
    sources: &[SourcePlan],
    processors: &Processors,
) -> Operator {
    let table = tables::named(body, field, compiler);
    let base = body.text("base").map(str::to_owned);
    let wanted: &[&str] = if base.is_some() { &["currency", "date"] } else { &["from", "to", "date"] };
    let mut rate = 0;
    if let Some(known) = table.and_then(|table| compiler.tables.get_mut(usize::from(table))) {
        known.has_rates = true;
        rate = usize::from(index_of(&mut known.read, &"rate".to_owned()));
        if known.key != wanted {
            let (name, key) = (known.name.clone(), known.key.join(", "));
            let message = format!("the key of table `{name}` is {key}; rates need key: [{}]", wanted.join(", "));
            compiler.problems.add(body, &format!("{field}.table"), message);
        }
    }
    let amount = body.text("amount").map(|path| compiler.read(path));
    let mut slot = |name: &str| body.text(name).map(|path| compiler.path(path));
    let (set, set_rate, set_date) = (slot("set"), slot("setRate"), slot("setRateDate"));
    Operator::Currency(Box::new(Currency {
        table: table.unwrap_or(0),
        rate,
        amount: amount.unwrap_or(0),
        from: code(body.get("from"), compiler),
        to: code(body.get("to"), compiler),
        base,
        time: processors.first_time(compiler),
        zone: body.text("timezone").and_then(Zone::named).unwrap_or_else(Zone::utc),
        days_back: body.text("daysBack").and_then(|days| days.parse().ok()).unwrap_or(7),
        set: set.unwrap_or(0),
        set_rate,
        set_date,
        scale: scale(body),
        rounding: rounding(body),
        text_numbers: text_numbers(body, sources),
    }))
}
