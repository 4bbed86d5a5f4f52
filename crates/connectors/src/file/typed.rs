//! Files whose columns have types: what Parquet and Avro have in common.

mod kind;
mod text;
mod times;
pub(super) mod value;

use flowmeter_core::event::{Path, quote_into};
use flowmeter_core::plan::Plan;
use flowmeter_core::source::IdRule;
use flowmeter_engine::{Error, Kind as ErrorKind};

pub(super) use kind::Kind;

/// Checks the columns of a file against the pipeline: its names and the columns it reads times
/// from.
///
/// # Errors
/// A name that is no column, or a time that no value could give; what to write instead.
pub(super) fn check(
    file: &str,
    columns: &[&str],
    kind: &dyn Fn(&Path) -> Option<Kind>,
    plan: &Plan,
    source: usize,
) -> Result<(), Error> {
    let has = |path: &Path| columns.iter().any(|name| path.is_named(name)) || kind(path).is_some();
    let checked = plan.check_columns(source, columns, &has);
    checked.map_err(|why| Error::new(ErrorKind::Invalid, format!("{file}: {why}")))?;
    times::check(file, kind, plan, source)
}

/// Returns the error for a column that the pipeline names and that has no JSON form.
pub(super) fn unreadable(file: &str, column: &str, kind: &str) -> Error {
    let message = format!("{file}: the column `{column}` is of type {kind}, which cannot be read");
    Error::new(ErrorKind::Invalid, format!("{message}; write the file with another type, or do not name the column"))
}

/// Whether a column is read: the pipeline names it or needs whole events, or an event's identity is
/// its content.
pub(super) fn is_wanted(column: &str, plan: &Plan) -> bool {
    let by_content = plan.sources.iter().any(|source| matches!(source.id_rule, Some((IdRule::Content, ..))));
    by_content || plan.needs_whole_events() || plan.paths.iter().any(|path| &*path.names()[0] == column || path.is_named(column))
}

/// Returns a member's name as JSON, with the colon behind it.
pub(super) fn key(name: &str) -> Vec<u8> {
    let mut key = Vec::new();
    quote_into(name.as_bytes(), &mut key);
    key.push(b':');
    key
}
