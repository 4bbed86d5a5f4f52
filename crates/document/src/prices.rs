//! `rate` of a document: a tariff of its own, or a table of them.

use flowmeter_core::operator::{Operator, PriceTable, Rate, Tariffs};
use flowmeter_core::price::{FIELDS, Model, Negative, Tariff, Terms};
use flowmeter_core::source::SourcePlan;

use super::compile::Compiler;
use super::keyed::{running, text_numbers};
use super::lookup::{has_validity, key_slots, rounding, scale};
use super::meter::Processors;
use super::tables;
use super::tree::Node as Tree;

pub(super) fn rate(
    body: &Tree,
    field: &str,
    compiler: &mut Compiler<'_>,
    sources: &[SourcePlan],
    processors: &Processors,
) -> Operator {
    let has_schedule = body.get("schedule").is_some();
    if has_schedule != body.get("key").is_some() {
        let message = "`key` and `schedule` belong together: whose quantities add up, and over which periods";
        compiler.problems.add(body, field, message);
    }
    let running = has_schedule.then(|| running(body, field, compiler, processors));
    let price = body.get("price").unwrap_or(body);
    let place = format!("{field}.price");
    let tariff = match price.get("table") {
        Some(_) => Tariffs::Table(table(price, &place, body, compiler, processors)),
        None => Tariffs::Fixed(tariff(price, &place, compiler)),
    };
    Operator::Rate(Box::new(Rate {
        quantity: compiler.read(body.text("quantity").unwrap_or_default()),
        set: compiler.path(body.text("set").unwrap_or_default()),
        tariff,
        terms: Terms {
            negative: match body.text("negative") {
                Some("clamp") => Negative::Clamp,
                Some("park") => Negative::Park,
                _ => Negative::Credit,
            },
            scale: scale(body),
            rounding: rounding(body),
        },
        text_numbers: text_numbers(body, sources),
        running,
    }))
}

/// A table with a tariff in each row.
fn table(price: &Tree, field: &str, body: &Tree, compiler: &mut Compiler<'_>, processors: &Processors) -> PriceTable {
    for (name, node) in price.members().filter(|(name, _)| FIELDS.contains(name)) {
        let message = format!("`{name}` is a column of the table here; remove it, or remove `table`");
        compiler.problems.add(node, &format!("{field}.{name}"), message);
    }
    let found = tables::named(price, field, compiler);
    let known = found.and_then(|table| compiler.tables.get_mut(usize::from(table)));
    let known = known.map(|table| {
        table.has_prices = true;
        table.clone()
    });
    let on = key_slots(price, field, known.as_ref(), compiler);
    let time = match body.get("time") {
        Some(time) => compiler.time(time, &format!("{field}.time")),
        None => processors.first_time(compiler),
    };
    PriceTable { table: found.unwrap_or(0), on, at: has_validity(known.as_ref()).then_some(time) }
}

/// The tariff that is written in the document.
fn tariff(price: &Tree, field: &str, compiler: &mut Compiler<'_>) -> Tariff {
    for (name, node) in price.members().filter(|(name, _)| *name == "on") {
        compiler.problems.add(node, &format!("{field}.{name}"), "`on` belongs to a table; write `table` too, or remove it");
    }
    let written = price.to_json();
    let nothing = serde_json::Map::new();
    Tariff::read(written.as_object().unwrap_or(&nothing)).unwrap_or_else(|flaws| {
        for (path, problem) in flaws {
            compiler.problems.add(node_at(price, &path), &format!("{field}.{path}"), problem);
        }
        Tariff { model: Model::Graduated(Vec::new()), minimum: None, maximum: None }
    })
}

/// The node of a path like `tiers[1].unit`; of one that is missing, the node around it.
fn node_at<'t>(price: &'t Tree, path: &str) -> &'t Tree {
    path.split('.').fold(price, |node, step| {
        let (name, index) = step.split_once('[').map_or((step, None), |(name, index)| (name, Some(index.trim_end_matches(']'))));
        let Some(found) = node.get(name) else { return node };
        let item = index.and_then(|index| found.items().get(index.parse::<usize>().ok()?));
        item.unwrap_or(found)
    })
}
