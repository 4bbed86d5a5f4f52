//! The sources of a document.

use super::compile::Compiler;
use super::tree::Node as Tree;
use crate::event::csv::{ColumnType, Columns, Dialect};
use crate::event::{Path, access_log, json};
use crate::mediation::Decoder;
use crate::plan::{Plan, TimeField};

/// A source, compiled: what to open and how to read it.
#[derive(Clone, Debug)]
pub struct SourcePlan {
    /// Given, or `source`.
    pub id: String,
    /// Whether events come in over the server's event API; otherwise, from files.
    pub http: bool,
    /// Paths and patterns; `-` is standard input.
    pub paths: Vec<String>,
    /// How records are written; `None`: by the file's name.
    pub format: Option<Format>,
    /// `auto`, `none`, `gzip` or `zstd`.
    pub compression: String,
    /// Whether a CSV file begins with its columns' names.
    pub header: bool,
    /// The names of a CSV file's columns, if they are given.
    pub columns: Vec<String>,
    /// How a CSV file is written.
    pub dialect: Dialect,
    /// Types of columns, by name.
    pub types: Vec<(String, ColumnType)>,
    /// Becomes the event's `time`: where to find it and where to put it.
    pub time: Option<(TimeField, u16)>,
    /// Becomes the event's `id` and `source`: by what, and the slots of both.
    pub id_rule: Option<(IdRule, u16, u16)>,
}

/// How the records of a file are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// One JSON object a line.
    Ndjson,
    /// One JSON document: an object, several, or arrays of them.
    Json,
    /// Delimited rows.
    Csv,
    /// Apache Parquet.
    Parquet,
    /// Common or combined log format.
    AccessLog,
}

impl Format {
    /// The format of a name.
    pub fn named(name: &str) -> Option<Format> {
        Some(match name {
            "ndjson" => Format::Ndjson,
            "json" => Format::Json,
            "csv" => Format::Csv,
            "parquet" => Format::Parquet,
            "access_log" => Format::AccessLog,
            _ => return None,
        })
    }

    /// The format a file's name suggests, compression aside.
    pub fn of_file(name: &str) -> Format {
        let bare = name.strip_suffix(".gz").or(name.strip_suffix(".zst")).unwrap_or(name);
        match bare.rsplit_once('.').map(|(_, ending)| ending) {
            Some("json") => Format::Json,
            Some("csv" | "tsv") => Format::Csv,
            Some("parquet") => Format::Parquet,
            Some("log") => Format::AccessLog,
            _ => Format::Ndjson,
        }
    }
}

/// What identifies an event that brings no id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum IdRule {
    /// The file and the line.
    Line,
    /// The record as it is written.
    Content,
    /// These fields.
    Fields(Vec<u16>),
}

impl SourcePlan {
    /// Whether numbers of this source can only be text, as far as the format is known.
    pub(super) fn is_text_only(&self) -> bool {
        if self.http {
            return false;
        }
        let by_name = || self.paths.first().map_or(Format::Ndjson, |path| Format::of_file(path));
        matches!(self.format.unwrap_or_else(by_name), Format::Csv | Format::AccessLog)
    }

    /// How the records of an opened file are read; a CSV file's columns are known then.
    pub fn decoder(&self, plan: &Plan, format: Format, columns: &[Box<str>]) -> Decoder {
        match format {
            Format::Ndjson | Format::Json | Format::Parquet => Decoder::Json(json::Projection::new(&plan.paths)),
            Format::AccessLog => Decoder::AccessLog(Box::new(access_log::Columns::new(&plan.paths))),
            Format::Csv => {
                let target = |name: &str| {
                    let path = Path::of(&[name]);
                    let slot = plan.paths.iter().position(|known| known.names() == path.names())?;
                    let of_type = self.types.iter().find(|(column, _)| *column == *name);
                    Some((slot as u16, of_type.map_or(ColumnType::Text, |(_, column_type)| *column_type)))
                };
                let targets = columns.iter().map(|name| target(name)).collect();
                Decoder::Csv(self.dialect, Columns { targets, width: plan.paths.len() })
            }
        }
    }
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
    let http = node.get("http");
    let file = node.get("file").or(http).unwrap_or(node);
    if node.get("file").is_some() == http.is_some() {
        compiler.problems.add(node, field, "a source is one of file: {path: events.ndjson} and http: {}");
    }
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
    let dialect =
        Dialect {
            delimiter: byte("delimiter", None)
                .unwrap_or(if paths.iter().all(|path| path.ends_with(".tsv")) && !paths.is_empty() { b'\t' } else { b',' }),
            quote: byte("quote", Some(b'"')),
            comment: byte("comment", None),
        };
    let types = file.get("types").into_iter().flat_map(Tree::members);
    let types = types.filter_map(|(name, of)| Some((name.to_owned(), ColumnType::named(of.scalar()?)?))).collect();
    let time = file.get("time").map(|time| {
        let found = compiler.time(time, &format!("{field}.file.time"));
        (found, compiler.path("time"))
    });
    SourcePlan {
        id: node.text("id").map_or_else(default_id, str::to_owned),
        http: http.is_some(),
        paths,
        format: file.text("format").and_then(Format::named),
        compression: file.text("compression").unwrap_or("auto").to_owned(),
        header: file.text("header") != Some("false"),
        columns: file
            .get("columns")
            .map(Tree::items)
            .unwrap_or_default()
            .iter()
            .filter_map(Tree::scalar)
            .map(str::to_owned)
            .collect(),
        dialect,
        types,
        time,
        id_rule: file.get("id").map(|rule| id_rule(rule, compiler)),
    }
}

fn id_rule(rule: &Tree, compiler: &mut Compiler<'_>) -> (IdRule, u16, u16) {
    let found = match rule.scalar() {
        Some("line") => IdRule::Line,
        Some(_) => IdRule::Content,
        None => IdRule::Fields(compiler.paths(Some(rule))),
    };
    (found, compiler.path("id"), compiler.path("source"))
}
