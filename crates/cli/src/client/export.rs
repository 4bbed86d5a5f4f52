//! `flowmeter export`: the records of a month as a file for people and their tools.
//!
//! Records are read page by page, pipeline by pipeline, and written as they come. Only with
//! --latest are those of one pipeline held in memory, because a later page may have a later
//! revision.

mod period;
mod record;
mod totals;

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, ValueEnum};
use flowmeter_connectors::export::{Export, Format, Groups};
use flowmeter_engine::{Error, Kind};
use serde_json::value::RawValue;

use super::connection::Address;
use super::table::{member, plain};
use super::{Call, Connection, Paging, pages};
use crate::failure::Wrong;
use period::Range;
use record::{Key, Record};
use totals::Totals;

/// Write the records of a month to a file: CSV, XLSX, Parquet or NDJSON.
///
/// A record belongs to the month, day or range in which its period begins, by the clock of its own
/// time zone. Numbers keep every digit. Totals by meter type are printed to standard error.
#[derive(Debug, Args)]
#[command(
    after_help = "The server is http://127.0.0.1:8888 unless --url or FLOWMETER_URL is set; the key is FLOWMETER_KEY.\nExit codes: 0 good; 2 wrong input or the server refused the request; 3 failure or no answer.\n\nExamples:\n  flowmeter export --period 2026-10 --latest -o october.xlsx\n  flowmeter export --period 2026-10-05 --pipeline billing -o day.csv\n  flowmeter export --period 2026-10-01..2026-11-01 --groups rows -o october.parquet\n  flowmeter export --period 2026 --format ndjson -o -"
)]
pub(crate) struct Exported {
    #[command(flatten)]
    address: Address,
    /// A month (2026-10), a day (2026-10-05), a year (2026), or FROM..TO of days, months or RFC 3339
    /// times, without TO itself
    #[arg(long, value_name = "PERIOD")]
    period: String,
    /// Format of the file [default: by its ending]
    #[arg(long, value_name = "csv|xlsx|parquet|ndjson")]
    format: Option<Form>,
    /// Only the latest revision of each record; without it all of them
    #[arg(long)]
    latest: bool,
    /// Groups as a column of the record, or as rows of their own
    #[arg(long, value_name = "column|rows", default_value = "column")]
    groups: GroupForm,
    /// Only records of this pipeline
    #[arg(long)]
    pipeline: Option<String>,
    /// Only records of this user
    #[arg(long)]
    user: Option<String>,
    /// Only records of the meter type with this name or id
    #[arg(long = "type", value_name = "TYPE")]
    meter_type: Option<String>,
    /// The file to write, or `-` for standard output
    #[arg(long, short, value_name = "FILE")]
    output: PathBuf,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Form {
    /// Rows with every digit as text
    Csv,
    /// A workbook; numbers that a double does not hold are text
    Xlsx,
    /// Typed columns, numbers as decimal(38, 18)
    Parquet,
    /// One JSON object a line
    Ndjson,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum GroupForm {
    /// A column of the record
    Column,
    /// Rows behind the record's row
    Rows,
}

pub(crate) fn export(exported: &Exported) -> anyhow::Result<ExitCode> {
    let range = Range::read(&exported.period)?;
    let format = format_of(exported)?;
    let groups = match exported.groups {
        GroupForm::Column => Groups::Column,
        GroupForm::Rows => Groups::Rows,
    };
    let connection = Connection::new(&exported.address)?;
    let pipelines = pipelines(&connection, exported.pipeline.as_deref())?;
    let output = Output::open(&exported.output)?;
    let mut export = Export::new(format, groups, output.sink()?)?;
    let mut totals = Totals::new(&connection)?;
    for pipeline in &pipelines {
        totals.row_count += of_pipeline(&connection, exported, pipeline, &range, &mut export, &mut totals)?;
    }
    export.finish()?;
    output.keep()?;
    eprint!("{}", totals.text(&exported.period, &exported.output.display().to_string()));
    Ok(ExitCode::SUCCESS)
}

/// Writes the records of a pipeline. Returns the number of rows.
fn of_pipeline(
    connection: &Connection,
    exported: &Exported,
    pipeline: &str,
    range: &Range,
    export: &mut Export,
    totals: &mut Totals,
) -> anyhow::Result<usize> {
    let call = Call::get("/api/v1/records").with("pipeline", &Some(pipeline.to_owned()));
    let call = call.with("userId", &exported.user).with("meterType", &exported.meter_type).with("from", &range.ends_from());
    let mut latest: BTreeMap<Key, (u64, Box<RawValue>)> = BTreeMap::new();
    let mut rows = 0;
    pages(connection, &call, usize::MAX, &mut |items| {
        for item in items {
            let record = Record::read(&item)?;
            if !record.period.as_ref().is_some_and(|period| range.contains(period)) {
                totals.without_period += usize::from(record.period.is_none());
                continue;
            }
            totals.add(pipeline, &record);
            let (key, revision) = (record.key(), record.revision);
            if !exported.latest {
                rows += export.push(item.get().as_bytes(), &record.labels(pipeline))?;
            } else if latest.get(&key).is_none_or(|(known, _)| revision >= *known) {
                latest.insert(key, (revision, item));
            }
        }
        Ok(())
    })?;
    for (_, item) in latest.into_values() {
        rows += export.push(item.get().as_bytes(), &Record::read(&item)?.labels(pipeline))?;
    }
    Ok(rows)
}

/// Returns the names of the pipelines of the server, or the one that is asked for.
fn pipelines(connection: &Connection, only: Option<&str>) -> anyhow::Result<Vec<String>> {
    let mut names = Vec::new();
    let call = Call::list("/api/v1/pipelines", &Paging { limit: usize::MAX, all: true }, &[]);
    pages(connection, &call, usize::MAX, &mut |items| {
        names.extend(items.iter().filter_map(|item| member(item, "name").map(|name| plain(&name))));
        Ok(())
    })?;
    match only {
        None => Ok(names),
        Some(only) if names.iter().any(|name| name == only) => Ok(vec![only.to_owned()]),
        Some(only) => {
            let near = flowmeter_core::suggest::nearest(only, names.iter().map(String::as_str));
            let advice = near.map_or_else(|| format!("there are: {}", names.join(", ")), |near| format!("did you mean {near}?"));
            Err(Wrong(format!("--pipeline {only}: the server has no such pipeline; {advice}")).into())
        }
    }
}

fn format_of(exported: &Exported) -> anyhow::Result<Format> {
    let file = &exported.output;
    let form = match exported.format {
        Some(form) => form,
        None => match file.extension().and_then(|ending| ending.to_str()) {
            Some("csv") => Form::Csv,
            Some("xlsx") => Form::Xlsx,
            Some("parquet") => Form::Parquet,
            Some("ndjson") => Form::Ndjson,
            _ => {
                let message =
                    format!("-o {}: no format has this ending; add --format csv, xlsx, parquet or ndjson", file.display());
                return Err(Wrong(message).into());
            }
        },
    };
    Ok(match form {
        Form::Csv => Format::Csv,
        Form::Xlsx => Format::Xlsx,
        Form::Parquet => Format::Parquet,
        Form::Ndjson => Format::Ndjson,
    })
}

/// The file of an export. It appears under its name once it is complete.
struct Output {
    /// The file, and the one that is written beside it unless the file is a device or pipe; none for
    /// standard output.
    files: Option<(PathBuf, Option<PathBuf>)>,
}

impl Output {
    fn open(file: &Path) -> anyhow::Result<Output> {
        if file == Path::new("-") {
            return Ok(Output { files: None });
        }
        let Some(name) = file.file_name().filter(|_| !file.is_dir()) else {
            return Err(Wrong(format!("-o {}: is a folder; name a file", file.display())).into());
        };
        // A device or pipe is written in place.
        // So is an open stream, even if it leads to a file.
        let is_stream = ["/dev/stdout", "/dev/stderr", "/dev/fd", "/proc"].iter().any(|stream| file.starts_with(stream));
        if is_stream || std::fs::metadata(file).is_ok_and(|meta| !meta.is_file()) {
            return Ok(Output { files: Some((file.to_owned(), None)) });
        }
        let mut beside = name.to_owned();
        beside.push(".part");
        // A link is followed, so that it is not replaced by a file.
        let file = std::fs::canonicalize(file).unwrap_or_else(|_| file.to_owned());
        let beside = file.with_file_name(beside);
        Ok(Output { files: Some((file, Some(beside))) })
    }

    fn sink(&self) -> anyhow::Result<Box<dyn Write + Send>> {
        Ok(match &self.files {
            None => Box::new(std::io::stdout()),
            Some((file, beside)) => {
                let made = match beside {
                    Some(beside) => File::create(beside),
                    None => File::options().append(true).open(file),
                };
                let made = made.map_err(|why| Wrong(format!("-o {}: {why}", file.display())))?;
                Box::new(BufWriter::new(made))
            }
        })
    }

    fn keep(self) -> anyhow::Result<()> {
        if let Some((file, Some(beside))) = &self.files {
            std::fs::rename(beside, file).map_err(|why| Error::io(file.display(), &why))?;
        }
        Ok(())
    }
}

impl Drop for Output {
    /// Removes the part of a file that was not completed; after `keep` there is none.
    fn drop(&mut self) {
        if let Some((_, Some(beside))) = &self.files {
            drop(std::fs::remove_file(beside));
        }
    }
}

/// Returns the error for an answer that is not as expected.
fn unexpected(what: &str) -> Error {
    Error::new(Kind::Unavailable, format!("the server's answer is not as expected: {what}"))
}
