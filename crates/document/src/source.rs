//! The sources of a document.

mod forms;
mod kind;

use flowmeter_core::event::csv::{ColumnType, Dialect, NumberForm};
use flowmeter_core::event::{Path, log_pattern};
use flowmeter_core::limits::QUOTED_LINES_MAX;
use flowmeter_core::source::{Format, IdRule, SourcePlan, ending};

use crate::compile::Compiler;
use crate::names::Mode;
use crate::tree::Node as Tree;

pub(super) use forms::{FILE, SASL, SOURCE};

pub(super) fn compile_all(tree: &Tree, compiler: &mut Compiler<'_>) -> Vec<SourcePlan> {
    let several = tree.get("sources").map(Tree::items).unwrap_or_default();
    let mut sources = Vec::new();
    if let Some(source) = tree.get("source") {
        sources.push(compile(source, "source", 0, compiler));
    }
    for (i, source) in several.iter().enumerate() {
        let field = format!("sources[{i}]");
        let compiled = compile(source, &field, sources.len(), compiler);
        if sources.iter().any(|known: &SourcePlan| known.id == compiled.id) {
            compiler.problems.add(source, &format!("{field}.id"), format!("a second source `{}`; give each an id", compiled.id));
        }
        sources.push(compiled);
    }
    if sources.is_empty() {
        let message = "no source; write source: {file: {path: events.ndjson}}, or path: \"-\" for standard input";
        compiler.problems.add(tree, "source", message);
    }
    sources
}

pub(super) fn compile(node: &Tree, field: &str, place: usize, compiler: &mut Compiler<'_>) -> SourcePlan {
    let default_id = || if place == 0 { "source".to_owned() } else { format!("source{}", place + 1) };
    let (kind, file) = kind::compile(node, field, compiler);
    let path = file.get("path");
    let paths = match path.and_then(Tree::scalar) {
        Some(one) => vec![one.to_owned()],
        None => path.map(Tree::items).unwrap_or_default().iter().filter_map(Tree::scalar).map(str::to_owned).collect(),
    };
    let byte = |name: &str, default: Option<u8>| match file.text(name) {
        Some("\\t") => Some(b'\t'),
        Some("none") => None,
        Some(text) => text.bytes().next(),
        None => default,
    };
    let lines = |name: &str, default| file.text(name).and_then(|text| text.parse().ok()).unwrap_or(default);
    let tabs = paths.iter().all(|path| ending(path) == "tsv") && !paths.is_empty();
    let quotes = file.text("quotes");
    let dialect = Dialect {
        delimiter: byte("delimiter", None).unwrap_or(if tabs { b'\t' } else { b',' }),
        quote: byte("quote", Some(b'"')).filter(|_| quotes != Some("none")),
        comment: byte("comment", None),
        lenient: quotes == Some("lenient"),
        trim: file.text("trim") == Some("true"),
        quoted_lines_max: lines("quotedLinesMax", QUOTED_LINES_MAX),
    };
    let mut types = Vec::new();
    for (name, of) in file.get("types").into_iter().flat_map(Tree::members) {
        types.push((name.to_owned(), column_type(of, &format!("{field}.file.types.{name}"), compiler)));
    }
    compiler.names.begin_source(place);
    let time = file.get("time").map(|time| {
        let found = compiler.time(time, &format!("{field}.file.time"));
        (found, compiler.path("time"))
    });
    let names = |name: &str| -> Vec<String> {
        file.get(name).map(Tree::items).unwrap_or_default().iter().filter_map(Tree::scalar).map(str::to_owned).collect()
    };
    let skipped = |name: &str| {
        let skip = file.get("skip").and_then(|skip| skip.text(name));
        skip.and_then(|text| text.parse::<usize>().ok()).unwrap_or_default()
    };
    let header = match file.text("header") {
        Some("false") => 0,
        None | Some("true") => 1,
        Some(row) => row.parse().unwrap_or(1),
    };
    let units = usize::from(file.text("units") == Some("true"));
    let extra = file.text("extra") == Some("ignore");
    let pattern = match file.text("format") {
        Some("vhost_combined") => Some(log_pattern::VHOST_COMBINED),
        _ => file.text("pattern"),
    };
    let pattern = pattern.and_then(|pattern| {
        let read = log_pattern::Pattern::read(pattern, extra);
        read.map_err(|why| compiler.problems.add(file, &format!("{field}.file.pattern"), why)).ok()
    });
    let plan = SourcePlan {
        id: node.text("id").map_or_else(default_id, str::to_owned),
        kind,
        // A pattern implies an access log, whatever the file's name.
        format: file.text("format").and_then(Format::named).or(pattern.is_some().then_some(Format::AccessLog)),
        paths,
        compression: file.text("compression").unwrap_or("auto").to_owned(),
        encoding: file.text("encoding").map(str::to_owned),
        header,
        skip: (skipped("before"), skipped("after") + units),
        footer: lines("footer", 0) as usize,
        numbers: file.get("numbers").map(|numbers| number_form(numbers, compiler)),
        sheet: file.text("sheet").map(str::to_owned),
        items: file.text("items").and_then(|path| Path::parse(path).ok()),
        pattern,
        extra,
        fixed: fixed_columns(file, field, &mut types, compiler),
        short_lines: file.text("shortLines") == Some("allow"),
        optional: names("optional"),
        columns: names("columns"),
        dialect,
        types,
        time,
        id_rule: file.get("id").map(|rule| id_rule(rule, compiler)),
    };
    check_options(file, field, &plan, compiler);
    plan
}

/// Reports options that have no effect for a format: users would expect them to work.
fn check_options(file: &Tree, field: &str, plan: &SourcePlan, compiler: &mut Compiler<'_>) {
    let by_name = || plan.paths.first().map_or(Format::Ndjson, |path| Format::of_file(path));
    if !plan.has_format() {
        return;
    }
    let format = plan.format.unwrap_or_else(by_name);
    let rows: &[Format] = &[Format::Csv, Format::Xlsx];
    let quotes: &[Format] = &[Format::Csv];
    let sheets: &[Format] = &[Format::Xlsx];
    let logs: &[Format] = &[Format::AccessLog];
    let fixed: &[Format] = &[Format::Fixed];
    let documents: &[Format] = &[Format::Json, Format::Ndjson];
    for (option, formats, of) in [
        ("skip", rows, "csv"),
        ("units", rows, "csv"),
        ("footer", rows, "csv"),
        ("trim", rows, "csv"),
        ("numbers", rows, "csv"),
        ("quotes", quotes, "csv"),
        ("sheet", sheets, "xlsx"),
        ("pattern", logs, "access_log"),
        ("extra", logs, "access_log"),
        ("shortLines", fixed, "fixed"),
        ("items", documents, "json"),
    ] {
        if let Some(node) = file.get(option).filter(|_| !formats.contains(&format)) {
            let remedy = if plan.format.is_none() { format!("; write `format: {of}` if it is one") } else { String::new() };
            let message = format!("`{option}` is for files of `format: {of}`; this source is not read as one{remedy}");
            compiler.problems.add(node, &format!("{field}.file.{option}"), message);
        }
    }
    check_characters(file, field, &plan.dialect, compiler);
    if format == Format::Fixed && plan.fixed.is_empty() {
        let message = "a file of fixed width needs `columns: [{name: user, from: 1, to: 8}, …]`";
        compiler.problems.add(file, &format!("{field}.file.columns"), message);
    }
    if let Some((encoding, node)) = plan.encoding.as_ref().zip(file.get("encoding"))
        && encoding_rs::Encoding::for_label(encoding.as_bytes()).is_none()
    {
        let message = format!(
            "unknown encoding `{encoding}`; write utf-8, utf-16le, utf-16be, latin1, windows-1252, shift_jis or another name of the web"
        );
        compiler.problems.add(node, &format!("{field}.file.encoding"), message);
    } else if let Some(encoding) = &plan.encoding
        && matches!(format, Format::Parquet | Format::Avro | Format::Xlsx)
    {
        let message = format!("such a file says itself how its text is written; leave `encoding: {encoding}` out");
        compiler.problems.add(file, &format!("{field}.file.encoding"), message);
    }
}

/// Reports characters of CSV that have two meanings.
fn check_characters(file: &Tree, field: &str, dialect: &Dialect, compiler: &mut Compiler<'_>) {
    let Dialect { delimiter, quote, comment, .. } = *dialect;
    let named = [("quote", quote), ("comment", comment)];
    for (i, (name, character)) in named.into_iter().enumerate() {
        let others = [("delimiter", Some(delimiter))].into_iter().chain(named.into_iter().take(i));
        let Some((other, _)) = others.into_iter().find(|(_, other)| character.is_some() && *other == character) else { continue };
        // One of the two is declared: their defaults differ.
        let declared = [name, other].into_iter().find_map(|name| Some((name, file.get(name)?)));
        let (at, node) = declared.unwrap_or((name, file));
        let message = format!("`{name}` and `{other}` are the same character; write two different ones");
        compiler.problems.add(node, &format!("{field}.file.{at}"), message);
    }
}

/// Returns the columns of a file of fixed width, with their types.
fn fixed_columns(
    file: &Tree,
    field: &str,
    types: &mut Vec<(String, ColumnType)>,
    compiler: &mut Compiler<'_>,
) -> Vec<(String, usize, usize)> {
    let mut columns: Vec<(String, usize, usize)> = Vec::new();
    for (i, node) in file.get("columns").map(Tree::items).unwrap_or_default().iter().enumerate() {
        let Some(name) = node.text("name") else { continue };
        let place = |name: &str| node.text(name).and_then(|text| text.parse::<usize>().ok()).unwrap_or_default();
        let (from, to) = (place("from"), place("to"));
        if from == 0 || to < from {
            let message = "`from` and `to` are the first and the last character of the column, counted from 1";
            compiler.problems.add(node, &format!("{field}.file.columns[{i}]"), message);
            continue;
        }
        if let Some((other, first, last)) = columns.iter().find(|(_, first, last)| from <= *last && *first <= to) {
            let message = format!(
                "the column `{name}` ({from} to {to}) overlaps `{other}` ({first} to {last}): these characters are read twice"
            );
            compiler.warnings.add(node, &format!("{field}.file.columns[{i}]"), message);
        }
        if let Some(of) = node.get("type") {
            types.push((name.to_owned(), column_type(of, &format!("{field}.file.columns[{i}].type"), compiler)));
        }
        columns.push((name.to_owned(), from, to));
    }
    columns
}

/// Returns the type of a column, or the type to which a field is converted.
pub(super) fn column_type(node: &Tree, field: &str, compiler: &mut Compiler<'_>) -> ColumnType {
    if let Some(name) = node.scalar() {
        return ColumnType::named(name).unwrap_or(ColumnType::Text);
    }
    match node.get("number") {
        Some(number) => ColumnType::Form(number_form(number, compiler)),
        None => {
            compiler.problems.add(node, field, "a type is text, number, boolean, or {number: {decimal: ','}}");
            ColumnType::Text
        }
    }
}

fn number_form(node: &Tree, compiler: &mut Compiler<'_>) -> NumberForm {
    let byte = |name: &str| node.text(name).and_then(|text| text.bytes().next());
    let is_on = |name: &str| node.text(name) == Some("true");
    let decimal = byte("decimal").unwrap_or(b'.');
    let group = byte("group");
    if group == Some(decimal) {
        compiler.problems.add(node, "numbers.group", "`group` and `decimal` are the same character");
    }
    NumberForm { decimal, group, percent: is_on("percent"), currency: is_on("currency"), round: compiler.round(node) }
}

fn id_rule(rule: &Tree, compiler: &mut Compiler<'_>) -> (IdRule, u16, u16) {
    let found = match rule.scalar() {
        Some("line") => IdRule::Line,
        Some(_) => IdRule::Content,
        None => IdRule::Fields(compiler.in_mode(Mode::Read, |compiler| compiler.paths(Some(rule)))),
    };
    (found, compiler.path("id"), compiler.path("source"))
}
