//! The tables of a document.

use std::sync::Arc;

use flowmeter_core::source::Format;
use flowmeter_core::table::{Content, HttpTable, PostgresTable, Row, Table, TableOrigin};
use flowmeter_core::time::Zone;
use serde_json::Value;

use super::compile::Compiler;
use super::tree::Node as Tree;
use super::{service, source, targets};

/// Tables without their content: the compiled operators determine which columns are read.
pub(super) fn compile_all(tree: &Tree, compiler: &mut Compiler<'_>) {
    for (i, node) in tree.get("tables").map(Tree::items).unwrap_or_default().iter().enumerate() {
        let field = format!("tables[{i}]");
        let table = compile(node, &field, compiler);
        if compiler.tables.iter().any(|known| known.name == table.name) {
            compiler.problems.add(node, &format!("{field}.name"), format!("a second table `{}`; names are unique", table.name));
        }
        compiler.tables.push(table);
    }
}

fn compile(node: &Tree, field: &str, compiler: &mut Compiler<'_>) -> Table {
    let name = node.text("name").unwrap_or_default().to_owned();
    let is_plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_' || c == '-';
    if name.is_empty() || name.len() > 80 || !name.chars().all(is_plain) {
        let message = format!("`{name}` is no name of a table; write 1 to 80 small letters, digits, `_` and `-`");
        compiler.problems.add(node, &format!("{field}.name"), message);
    }
    let key: Vec<String> =
        node.get("key").map(Tree::items).unwrap_or_default().iter().filter_map(Tree::scalar).map(str::to_owned).collect();
    if key.is_empty() || key.len() > 16 {
        compiler.problems.add(node, &format!("{field}.key"), "a key has 1 to 16 columns; name those that identify a row");
    }
    let origins: Vec<&str> = ["file", "rows", "http", "postgres"].into_iter().filter(|name| node.get(name).is_some()).collect();
    if origins.len() > 1 {
        let message = format!("rows come from one place; leave one of {} and remove the others", origins.join(", "));
        compiler.problems.add(node, field, message);
    }
    let refresh = node.text("refresh").and_then(flowmeter_core::time::parse_duration).unwrap_or(0);
    if refresh != 0 && refresh < 10_000_000_000 {
        compiler.problems.add(node, &format!("{field}.refresh"), "write 0, or at least 10s");
    }
    if refresh != 0 && !origins.iter().any(|origin| *origin != "rows") {
        let message = "`refresh` is for rows that are read: from `file`, `http` or `postgres`";
        compiler.problems.add(node.get("refresh").unwrap_or(node), &format!("{field}.refresh"), message);
    }
    let origin = match (node.get("file"), node.get("http"), node.get("postgres")) {
        (Some(_), ..) => TableOrigin::File(Box::new(source::compile(node, field, 0, compiler))),
        (_, Some(http), _) => TableOrigin::Http(Box::new(HttpTable {
            service: service::compile(http, &format!("{field}.http"), compiler.problems),
            format: http.text("format").map(|name| match name {
                "csv" => Format::Csv,
                "json" => Format::Json,
                _ => Format::Ndjson,
            }),
        })),
        (.., Some(postgres)) => TableOrigin::Postgres(Box::new(PostgresTable {
            url: postgres.text("url").unwrap_or_default().to_owned(),
            query: postgres.text("query").unwrap_or_default().trim().trim_end_matches(';').to_owned(),
            tls: targets::tls(postgres),
        })),
        _ => TableOrigin::Put,
    };
    let whole = |name: &str, default: usize| node.text(name).and_then(|text| text.parse().ok()).unwrap_or(default);
    Table {
        key,
        valid_from: node.text("validFrom").map(str::to_owned),
        valid_to: node.text("validTo").map(str::to_owned),
        zone: node.text("timezone").and_then(Zone::named).unwrap_or_else(Zone::utc),
        rows_max: whole("rowsMax", 1_000_000),
        bytes_max: whole("bytesMax", 256 << 20),
        read: Vec::new(),
        has_rates: false,
        has_prices: false,
        origin,
        refresh,
        name,
    }
}

/// Gives tables whose rows are in the document their content.
pub(super) fn fill(tree: &Tree, compiler: &mut Compiler<'_>) {
    for (i, node) in tree.get("tables").map(Tree::items).unwrap_or_default().iter().enumerate() {
        let (Some(rows), Some(table)) = (node.get("rows"), compiler.tables.get_mut(i)) else { continue };
        let row = |node: &Tree| Row {
            line: node.line as u64,
            columns: match node.to_json() {
                Value::Object(columns) => Ok(columns),
                other => Err(format!("{other} is no row")),
            },
        };
        match Content::new(table, rows.items().iter().map(row).collect()) {
            Ok(content) => table.origin = TableOrigin::Document(Arc::new(content)),
            Err(refused) => {
                let place = rows.items().iter().find(|item| item.line as u64 == refused.line).unwrap_or(rows);
                let key = if refused.key.is_empty() { String::new() } else { format!("key {}: ", refused.key) };
                compiler.problems.add(place, &format!("tables[{i}].rows"), format!("{key}{}", refused.why));
            }
        }
    }
}

/// The place of a table, by its name.
pub(super) fn named(node: &Tree, field: &str, compiler: &mut Compiler<'_>) -> Option<u16> {
    let name = node.text("table").unwrap_or_default();
    let found = compiler.tables.iter().position(|table| table.name == name);
    if found.is_none() {
        let near = flowmeter_core::suggest::nearest(name, compiler.tables.iter().map(|table| table.name.as_str()));
        let advice = match near {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("declare it: tables: [{{name: {name}, key: […], file: {{path: …}}}}]"),
        };
        let place = node.get("table").unwrap_or(node);
        compiler.problems.add(place, &format!("{field}.table"), format!("no table `{name}`; {advice}"));
    }
    found.map(|found| found as u16)
}
