//! The sources of a document.

mod forms;
mod kind;
mod overrides;

use super::compile::Compiler;
use super::names::Mode;
use super::tree::Node as Tree;
use crate::event::csv::{ColumnType, Columns, Dialect, NumberForm};
use crate::event::{Path, access_log, fixed, json, log_pattern};
use crate::limits::QUOTED_LINES_MAX;
use crate::mediation::{Decoder, Form};
use crate::plan::{Plan, TimeField};

pub(super) use forms::{FILE, SOURCE};
pub use kind::{
    After, Following, KafkaFormat, KafkaLogin, KafkaSource, KafkaStart, NextPage, ObjectsSource, PagesSource, RowsFrom,
    RowsSource, SourceKind, Taking,
};

/// A compiled source: its files and how to read them.
#[derive(Clone, Debug)]
pub struct SourcePlan {
    /// The given id, or `source`.
    pub id: String,
    /// Where its events are.
    pub kind: SourceKind,
    /// Paths and patterns; `-` is standard input.
    pub paths: Vec<String>,
    /// The format of the records; `None`: by the file's name.
    pub format: Option<Format>,
    /// `auto`, `none`, `gzip` or `zstd`.
    pub compression: String,
    /// The name of the encoding of text, if it is given.
    pub encoding: Option<String>,
    /// The row of a CSV file that names its columns, counted from 1; 0 for none.
    pub header: usize,
    /// Rows of a CSV file that are skipped before and after the header.
    pub skip: (usize, usize),
    /// Rows at the end of a CSV file that are not events.
    pub footer: usize,
    /// The number format of a CSV file, if one is declared for all columns.
    pub numbers: Option<NumberForm>,
    /// The sheet of a workbook; the first one if none is named.
    pub sheet: Option<String>,
    /// The path of the list of events in a JSON document.
    pub items: Option<Path>,
    /// The pattern of an access log, unless it has a common format.
    pub pattern: Option<log_pattern::Pattern>,
    /// Whether a line of an access log may have more than its pattern.
    pub extra: bool,
    /// The columns of a file of fixed width: name, first and last character.
    pub fixed: Vec<(String, usize, usize)>,
    /// Whether the characters that a line of fixed width lacks are blanks.
    pub short_lines: bool,
    /// Columns and fields that may be missing.
    pub optional: Vec<String>,
    /// The names of a CSV file's columns, if they are given.
    pub columns: Vec<String>,
    /// How a CSV file is written.
    pub dialect: Dialect,
    /// Types of columns, by name.
    pub types: Vec<(String, ColumnType)>,
    /// Sets the event's `time`: the field to read and the slot to write.
    pub time: Option<(TimeField, u16)>,
    /// Sets the event's `id` and `source`: the rule, and the slots of both.
    pub id_rule: Option<(IdRule, u16, u16)>,
}

/// The format of the records of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// One JSON object per line.
    Ndjson,
    /// One JSON document: an object, several, or arrays of them.
    Json,
    /// Rows of delimited fields.
    Csv,
    /// An Apache Parquet file.
    Parquet,
    /// Common or combined log format, or one defined by a pattern.
    AccessLog,
    /// Lines of fixed width.
    Fixed,
    /// Avro object container files.
    Avro,
    /// A sheet of an XLSX workbook.
    Xlsx,
}

impl Format {
    /// Returns the format with this name.
    pub fn named(name: &str) -> Option<Format> {
        Some(match name {
            "ndjson" => Format::Ndjson,
            "json" => Format::Json,
            "csv" => Format::Csv,
            "parquet" => Format::Parquet,
            "access_log" | "vhost_combined" => Format::AccessLog,
            "fixed" => Format::Fixed,
            "avro" => Format::Avro,
            "xlsx" => Format::Xlsx,
            _ => return None,
        })
    }

    /// Returns the format that a file's name suggests, compression aside.
    pub fn of_file(name: &str) -> Format {
        let bare = name.strip_suffix(".gz").or(name.strip_suffix(".zst")).unwrap_or(name);
        match bare.rsplit_once('.').map(|(_, ending)| ending) {
            Some("json") => Format::Json,
            Some("csv" | "tsv") => Format::Csv,
            Some("parquet") => Format::Parquet,
            Some("avro") => Format::Avro,
            Some("xlsx") => Format::Xlsx,
            Some("log") => Format::AccessLog,
            _ => Format::Ndjson,
        }
    }
}

/// The rule that identifies an event without an id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum IdRule {
    /// By the file and the line.
    Line,
    /// By the record as it is written.
    Content,
    /// By the values of these fields.
    Fields(Vec<u16>),
}

impl SourcePlan {
    /// Whether events arrive over the server's event API.
    pub fn is_http(&self) -> bool {
        matches!(self.kind, SourceKind::Http)
    }

    /// Whether its records are in files or objects, in one of the formats.
    pub fn has_format(&self) -> bool {
        matches!(self.kind, SourceKind::Files(_) | SourceKind::Objects(_))
    }

    /// Whether numbers of this source can only be text, if the format is known.
    pub(crate) fn is_text_only(&self) -> bool {
        if !self.has_format() {
            return false;
        }
        let by_name = || self.paths.first().map_or(Format::Ndjson, |path| Format::of_file(path));
        matches!(self.format.unwrap_or_else(by_name), Format::Csv | Format::AccessLog | Format::Fixed | Format::Xlsx)
    }

    /// Returns the decoder of an opened file, whose columns are known.
    pub fn decoder(&self, plan: &Plan, format: Format, columns: &[Box<str>]) -> Decoder {
        let mut paths = plan.paths.clone();
        if plan.needs_whole_events() {
            let names = match format {
                Format::Csv | Format::Xlsx => columns.iter().map(AsRef::as_ref).collect(),
                _ => self.known_names(format).unwrap_or_default(),
            };
            for name in names {
                if !paths.iter().any(|path| path.is_named(name)) && paths.len() < usize::from(u16::MAX) {
                    paths.push(Path::of_column(name));
                }
            }
        }
        Decoder::of(self.form(plan, &paths, format, columns), &paths[plan.paths.len()..])
    }

    fn form(&self, plan: &Plan, paths: &[Path], format: Format, columns: &[Box<str>]) -> Form {
        match format {
            Format::Ndjson | Format::Json => Form::Json(json::Projection::new(paths)),
            // `a.b` is the column `a.b` if there is one.
            Format::Parquet | Format::Avro => {
                let named = |path: &Path| match columns.iter().find(|column| path.is_named(column)) {
                    Some(column) => Path::of(&[column]),
                    None => path.clone(),
                };
                Form::Json(json::Projection::new(&paths.iter().map(named).collect::<Vec<_>>()))
            }
            Format::AccessLog => match &self.pattern {
                Some(pattern) => Form::LogPattern(Box::new(log_pattern::Columns::new(pattern, paths))),
                None => Form::AccessLog(Box::new(access_log::Columns::new(paths, self.extra))),
            },
            Format::Fixed => {
                let target = |(name, first, last): &(String, usize, usize)| {
                    let (slot, column_type) = *self.targets(plan, paths, name).first()?;
                    let is_number = matches!(column_type, ColumnType::Number | ColumnType::Form(_)) || is_value(plan, slot);
                    let (name, first, last) = (name.as_str().into(), *first, *last);
                    Some(fixed::Column { name, first, last, slot, column_type, is_number })
                };
                let targets = self.fixed.iter().filter_map(target).collect();
                Form::Fixed(fixed::Columns { targets, width: paths.len(), short_lines: self.short_lines })
            }
            Format::Csv | Format::Xlsx => {
                let mut found = Columns { width: paths.len(), ..Columns::default() };
                for name in columns {
                    let targets = self.targets(plan, paths, name);
                    found.targets.push(targets.first().copied());
                    let copies = targets.iter().skip(1).map(|(to, _)| (targets[0].0, *to));
                    found.copies.extend(copies);
                }
                Form::Csv(if format == Format::Xlsx { self.sheet_dialect() } else { self.dialect }, found)
            }
        }
    }

    /// Returns the dialect in which the rows of a sheet are written for their decoder.
    pub fn sheet_dialect(&self) -> Dialect {
        Dialect { trim: self.dialect.trim, quoted_lines_max: u32::MAX, ..Dialect::default() }
    }

    /// Returns the slots of a column and the type of its text.
    fn targets(&self, plan: &Plan, paths: &[Path], name: &str) -> Vec<(u16, ColumnType)> {
        let slots = (0u16..).zip(paths).filter(|(_, path)| path.is_named(name)).map(|(slot, _)| slot);
        let slots: Vec<u16> = slots.collect();
        let of_type = self.types.iter().find(|(column, _)| column == name).map(|(_, column_type)| *column_type);
        let column_type = match (of_type, self.numbers) {
            (Some(ColumnType::Number), Some(form)) => ColumnType::Form(form),
            (Some(column_type), _) => column_type,
            // A value that is not read by the declared form would become another number.
            (None, Some(form)) if slots.iter().any(|slot| is_value(plan, *slot)) => ColumnType::Form(form),
            (None, _) => ColumnType::Text,
        };
        slots.into_iter().map(|slot| (slot, column_type)).collect()
    }

    /// Returns the names that the records of a format have before the first one is read.
    pub fn known_names(&self, format: Format) -> Option<Vec<&str>> {
        match format {
            Format::AccessLog => Some(match &self.pattern {
                Some(pattern) => pattern.names(),
                None => access_log::FIELDS.to_vec(),
            }),
            Format::Fixed => Some(self.fixed.iter().map(|(name, ..)| name.as_str()).collect()),
            Format::Ndjson | Format::Json | Format::Csv | Format::Parquet | Format::Avro | Format::Xlsx => None,
        }
    }
}

/// Whether a rule reads or computes its value from a slot.
fn is_value(plan: &Plan, slot: u16) -> bool {
    let mut rules = plan.processors.iter().flat_map(|processor| &processor.rules);
    rules.any(|rule| rule.value_from.contains(&slot))
}

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
    let tabs = paths.iter().all(|path| path.ends_with(".tsv")) && !paths.is_empty();
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
            let message = format!("`{option}` is for files of `format: {of}`; this source is not read as one");
            compiler.problems.add(node, &format!("{field}.file.{option}"), message);
        }
    }
    if format == Format::Fixed && plan.fixed.is_empty() {
        let message = "a file of fixed width needs `columns: [{name: user, from: 1, to: 8}, …]`";
        compiler.problems.add(file, &format!("{field}.file.columns"), message);
    }
    if let Some(encoding) = &plan.encoding
        && matches!(format, Format::Parquet | Format::Avro | Format::Xlsx)
    {
        let message = format!("such a file says itself how its text is written; leave `encoding: {encoding}` out");
        compiler.problems.add(file, &format!("{field}.file.encoding"), message);
    }
}

/// Returns the columns of a file of fixed width, with their types.
fn fixed_columns(
    file: &Tree,
    field: &str,
    types: &mut Vec<(String, ColumnType)>,
    compiler: &mut Compiler<'_>,
) -> Vec<(String, usize, usize)> {
    let mut columns = Vec::new();
    for (i, node) in file.get("columns").map(Tree::items).unwrap_or_default().iter().enumerate() {
        let Some(name) = node.text("name") else { continue };
        let place = |name: &str| node.text(name).and_then(|text| text.parse::<usize>().ok()).unwrap_or_default();
        let (from, to) = (place("from"), place("to"));
        if from == 0 || to < from {
            let message = "`from` and `to` are the first and the last character of the column, counted from 1";
            compiler.problems.add(node, &format!("{field}.file.columns[{i}]"), message);
            continue;
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
