//! A compiled source: where its events are, and how its records are read.

mod kind;
mod overrides;

use crate::event::csv::{ColumnType, Columns, Dialect, NumberForm};
use crate::event::{Path, access_log, fixed, json, log_pattern};
use crate::mediation::{Decoder, Form};
use crate::plan::{Plan, TimeField};

pub use kind::{
    After, Following, KafkaFormat, KafkaSource, KafkaStart, NextPage, ObjectsSource, Output, OutputSource, PagesSource,
    ReceivedSource, RowsFrom, RowsSource, SourceKind, Taking,
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

    /// Returns the format that a file's name suggests, compression aside. Capitals make no difference.
    pub fn of_file(name: &str) -> Format {
        match ending(name).as_str() {
            "json" => Format::Json,
            "csv" | "tsv" => Format::Csv,
            "parquet" => Format::Parquet,
            "avro" => Format::Avro,
            "xlsx" => Format::Xlsx,
            "log" => Format::AccessLog,
            _ => Format::Ndjson,
        }
    }

    /// Whether numbers of its records can only be text.
    fn is_text_only(self) -> bool {
        matches!(self, Format::Csv | Format::AccessLog | Format::Fixed | Format::Xlsx)
    }
}

/// Characters of patterns and references, for which a file's name has others.
const OPEN: [char; 4] = ['*', '?', '[', '$'];

/// Returns the ending of a file's name in small letters, compression aside; empty if it has none.
pub fn ending(name: &str) -> String {
    let name = name.rsplit('/').next().unwrap_or_default().to_ascii_lowercase();
    let bare = name.strip_suffix(".gz").or(name.strip_suffix(".zst")).unwrap_or(&name);
    bare.rsplit_once('.').map_or("", |(_, ending)| ending).to_owned()
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
    pub fn is_text_only(&self) -> bool {
        if !self.has_format() {
            return false;
        }
        let by_name = || self.paths.first().map_or(Format::Ndjson, |path| Format::of_file(path));
        self.format.unwrap_or_else(by_name).is_text_only()
    }

    /// Whether numbers of this source may be text if nothing is declared: a file may be of a format
    /// without numbers. Where a pattern leaves the ending open, each file has its own format.
    pub fn may_have_text_numbers(&self) -> bool {
        let is_open = |name: &str| match ending(name).as_str() {
            "" => name.rsplit('/').next().is_some_and(|name| name.contains(OPEN)),
            ending => ending.contains(OPEN),
        };
        let may = |name: &str| Format::of_file(name).is_text_only() || is_open(name);
        match (&self.kind, self.format) {
            (SourceKind::Files(_) | SourceKind::Objects(_), Some(format)) => format.is_text_only(),
            (SourceKind::Files(_), None) => self.paths.iter().any(|path| may(path)),
            (SourceKind::Objects(objects), None) => objects.glob.as_deref().is_none_or(may),
            _ => false,
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ending_of_a_name_tells_its_format() {
        for (name, expected, format) in [
            ("in/a.csv", "csv", Format::Csv),
            ("in/A.CSV.GZ", "csv", Format::Csv),
            ("a.tsv.zst", "tsv", Format::Csv),
            ("in.csv/a", "", Format::Ndjson),
            ("csv", "", Format::Ndjson),
            ("-", "", Format::Ndjson),
            ("in/*", "", Format::Ndjson),
            ("a.Log", "log", Format::AccessLog),
        ] {
            assert_eq!((ending(name).as_str(), Format::of_file(name)), (expected, format), "{name}");
        }
    }
}
