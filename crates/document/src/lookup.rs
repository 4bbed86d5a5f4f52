//! `split`, `enrich`, `currency` and `rate` of a document.

use flowmeter_core::decimal::{self, Decimal, Rounding, parse_rounding};
use flowmeter_core::event::Path;
use flowmeter_core::operator::{Currency, CurrencyCode, Empty, Enrich, Operator, Rate, Split, Unmatched};
use flowmeter_core::price::{Bound, Model, Negative, Price, Tier};
use flowmeter_core::source::SourcePlan;
use flowmeter_core::time::Zone;

use super::compile::{Compiler, index_of};
use super::keyed::{running, text_numbers};
use super::meter::Processors;
use super::tables;
use super::tree::Node as Tree;

pub(super) fn split(body: &Tree, compiler: &mut Compiler<'_>) -> Operator {
    let path = compiler.path(body.text("path").unwrap_or_default());
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

pub(super) fn enrich(
    body: &Tree,
    field: &str,
    compiler: &mut Compiler<'_>,
    processors: &Processors,
    routes: &mut Vec<String>,
) -> Operator {
    let found = tables::named(body, field, compiler);
    let table = found.unwrap_or(0);
    let set = set_paths(body, field, "set", compiler);
    let known = found.and_then(|table| compiler.tables.get(usize::from(table))).cloned();
    let key = known.as_ref().map(|table| table.key.clone()).unwrap_or_default();
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
            Some(path) => slots.push(compiler.path(path)),
            None => {
                let message = format!("key column `{column}` is missing; write {column}: and the path of its value");
                compiler.problems.add(on.unwrap_or(body), &format!("{field}.on"), message);
            }
        }
    }
    let is_prefix = body.text("match") == Some("longestPrefix");
    if is_prefix && key.len() > 1 {
        compiler.problems.add(body, &format!("{field}.match"), "longestPrefix needs a table whose key is one column");
    }
    let has_validity = known.as_ref().is_some_and(|table| table.valid_from.is_some() || table.valid_to.is_some());
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
        Some((Some(path), _)) => CurrencyCode::Field(compiler.path(path)),
        Some((None, Some(value))) => CurrencyCode::Fixed(value.to_owned()),
        _ => CurrencyCode::Fixed(String::new()),
    }
}

fn rounding(body: &Tree) -> Rounding {
    body.text("rounding").and_then(parse_rounding).unwrap_or(Rounding::HalfEven)
}

fn scale(body: &Tree) -> u32 {
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
    let mut slot = |name: &str| body.text(name).map(|path| compiler.path(path));
    let (amount, set, set_rate, set_date) = (slot("amount"), slot("set"), slot("setRate"), slot("setRateDate"));
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
    let number = |node: &Tree, name: &str| node.text(name).and_then(|text| decimal::parse(text.as_bytes()).ok());
    let model = model(price, &format!("{field}.price"), compiler);
    Operator::Rate(Box::new(Rate {
        quantity: compiler.path(body.text("quantity").unwrap_or_default()),
        set: compiler.path(body.text("set").unwrap_or_default()),
        price: Price {
            model,
            minimum: number(price, "minimum"),
            maximum: number(price, "maximum"),
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

fn model(node: &Tree, field: &str, compiler: &mut Compiler<'_>) -> Model {
    let name = node.text("model").unwrap_or_default();
    let allowed: &[&str] = match name {
        "unit" => &["unit"],
        "package" => &["size", "packagePrice", "free"],
        _ => &["tiers"],
    };
    for (other, value) in node.members() {
        if !["model", "minimum", "maximum"].contains(&other) && !allowed.contains(&other) {
            let message = format!("`{other}` is not of the model `{name}`, which has {}", allowed.join(", "));
            compiler.problems.add(value, &format!("{field}.{other}"), message);
        }
    }
    let mut number = |name: &str, default: Option<Decimal>| {
        let found = node.text(name).and_then(|text| decimal::parse(text.as_bytes()).ok()).or(default);
        if found.is_none() {
            compiler.problems.add(node, &format!("{field}.{name}"), format!("`{name}` is missing; write a number"));
        }
        found.unwrap_or_default()
    };
    match name {
        "unit" => Model::Unit(number("unit", None)),
        "package" => {
            let (size, price, free) = (number("size", None), number("packagePrice", None), number("free", Some(Decimal::ZERO)));
            if size <= Decimal::ZERO || free < Decimal::ZERO {
                compiler.problems.add(node, &format!("{field}.size"), "`size` must be above 0, and `free` at least 0");
            }
            Model::Package { size: if size > Decimal::ZERO { size } else { Decimal::ONE }, price, free }
        }
        "graduated" => Model::Graduated(tiers(node, field, compiler)),
        _ => Model::Volume(tiers(node, field, compiler)),
    }
}

fn tiers(node: &Tree, field: &str, compiler: &mut Compiler<'_>) -> Vec<Tier> {
    let items = node.get("tiers").map(Tree::items).unwrap_or_default();
    let mut tiers: Vec<Tier> = Vec::new();
    if items.is_empty() {
        compiler.problems.add(node, &format!("{field}.tiers"), "there are no tiers; write at least tiers: [{unit: '0.01'}]");
    }
    let mut before = Decimal::ZERO;
    for (i, item) in items.iter().enumerate() {
        let field = format!("{field}.tiers[{i}]");
        let number = |name: &str| item.text(name).and_then(|text| decimal::parse(text.as_bytes()).ok());
        let bound = match (number("upTo"), number("below")) {
            (Some(at), None) => Some(Bound { at, is_included: true }),
            (None, Some(at)) => Some(Bound { at, is_included: false }),
            (None, None) => None,
            (Some(_), Some(_)) => {
                compiler.problems.add(item, &field, "write `upTo` or `below`, not both");
                None
            }
        };
        let is_last = i + 1 == items.len();
        match bound {
            None if !is_last => compiler.problems.add(item, &field, "only the last tier has no bound; write `upTo` or `below`"),
            Some(_) if is_last => {
                compiler.problems.add(item, &field, "the last tier has no bound: remove it, or add a tier behind");
            }
            Some(Bound { at, .. }) if at <= before => {
                let message = format!("the bound {at} is not above {before}, where the tier begins; write tiers in rising order");
                compiler.problems.add(item, &field, message);
            }
            _ => {}
        }
        before = bound.map_or(before, |bound| bound.at);
        let (unit, flat) = (number("unit").unwrap_or_default(), number("flat").unwrap_or_default());
        tiers.push(Tier { bound, unit, flat });
    }
    tiers
}
