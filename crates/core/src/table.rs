//! Tables: rows that operators look up by key.
//!
//! The content of a table is checked whole before it is used ([`check`]): then no key is
//! missing, and no two rows of a key hold at one instant. Rows are kept in their canonical form
//! ([`canonical`]) and order, so that equal content in another order is the same content.

mod canonical;
mod check;
mod records;
#[cfg(test)]
mod tests;

use std::sync::Arc;

pub use canonical::key_text;
pub(crate) use canonical::number;
pub use check::{Refused, Row};
use records::Records;

use crate::event::Leaf;
use crate::price::Tariff;
use crate::service::{ServiceAddress, TlsPlan};
use crate::source::{Format, SourcePlan};
use crate::time::{Timestamp, Zone};

/// A table of a pipeline.
#[derive(Clone, Debug)]
pub struct Table {
    /// Unique in the pipeline.
    pub name: String,
    /// The columns that identify a row; with validity, at each instant.
    pub key: Vec<String>,
    /// The column with the instant from which a row holds.
    pub valid_from: Option<String>,
    /// The column with the instant until which a row holds.
    pub valid_to: Option<String>,
    /// Zone of times and dates without an offset.
    pub zone: Zone,
    /// Rows it may have.
    pub rows_max: usize,
    /// Bytes its canonical rows may have.
    pub bytes_max: usize,
    /// The columns that operators read.
    pub read: Vec<String>,
    /// Whether it holds exchange rates: then `rate` is above 0 and `date` is a date.
    pub has_rates: bool,
    /// Whether each row is a tariff, with columns `model`, `unit`, `tiers` and so on.
    pub has_prices: bool,
    /// Where its rows come from.
    pub origin: TableOrigin,
    /// Nanoseconds after which its rows are read again; 0: at the start of a session and on demand.
    pub refresh: i64,
}

/// Where the rows of a table come from.
#[derive(Clone, Debug)]
pub enum TableOrigin {
    /// Rows in the document.
    Document(Arc<Content>),
    /// Rows of a file.
    File(Box<SourcePlan>),
    /// The answer of an HTTP service.
    Http(Box<HttpTable>),
    /// Rows of a query of Postgres.
    Postgres(Box<PostgresTable>),
    /// Rows that are put there over the API.
    Put,
}

/// A table whose rows are the answer of a service.
#[derive(Clone, Debug)]
pub struct HttpTable {
    /// The service that is asked.
    pub service: ServiceAddress,
    /// How the answer is written: delimited text, JSON, or JSON lines; `None`: as its type says.
    pub format: Option<Format>,
}

/// A table whose rows are those of a query.
#[derive(Clone, Debug)]
pub struct PostgresTable {
    /// The address, as `postgres://user@host/database`.
    pub url: String,
    /// The SELECT whose columns are those of the table.
    pub query: String,
    /// The trusted authorities and the client certificate.
    pub tls: TlsPlan,
}

impl TableOrigin {
    /// Returns its name in documents and answers.
    pub fn name(&self) -> &'static str {
        match self {
            TableOrigin::Document(_) => "document",
            TableOrigin::File(_) => "file",
            TableOrigin::Http(_) => "http",
            TableOrigin::Postgres(_) => "postgres",
            TableOrigin::Put => "put",
        }
    }

    /// Whether its rows are read from a source outside of the document.
    pub fn is_read(&self) -> bool {
        match self {
            TableOrigin::File(_) | TableOrigin::Http(_) | TableOrigin::Postgres(_) => true,
            TableOrigin::Document(_) | TableOrigin::Put => false,
        }
    }
}

/// The tables of a pipeline, in the order of the plan; `None` before the first content.
pub type Tables = Option<Arc<[Option<Arc<Content>>]>>;

/// The content of a table.
#[derive(Clone, Debug)]
pub struct Content {
    /// Canonical rows, joined by line feeds.
    canonical: Vec<u8>,
    /// By key: its rows, in the order of validity, with the columns that are read.
    records: Records,
    /// By row, where the table has validity.
    holds: Vec<(Timestamp, Timestamp)>,
    /// By row, where the table has prices.
    tariffs: Vec<Tariff>,
    /// Bytes of the longest key.
    longest: usize,
    rows: usize,
}

/// A row that was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RowIx {
    row: u32,
    /// Where its cells begin.
    cells: u32,
}

impl Content {
    /// Checks rows and makes a content of them.
    pub fn new(table: &Table, rows: Vec<Row>) -> Result<Content, Refused> {
        check::content(table, rows)
    }

    /// Makes a content of canonical rows, as [`Content::canonical`] gives them.
    ///
    /// # Errors
    /// The rows do not fit the table, which may be that of another version of the document.
    pub fn of_canonical(table: &Table, canonical: &[u8]) -> Result<Content, Refused> {
        let row = |(line, text): (u64, &[u8])| Row {
            line,
            columns: match serde_json::from_slice(text) {
                Ok(serde_json::Value::Object(columns)) => Ok(columns),
                Ok(_) | Err(_) => Err("not a JSON object".to_owned()),
            },
        };
        let lines = canonical.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
        Content::new(table, (1..).zip(lines).map(row).collect())
    }

    /// How many rows it has.
    pub fn row_count(&self) -> usize {
        self.rows
    }

    /// The canonical rows, joined by line feeds: what its hash is of.
    pub fn canonical(&self) -> &[u8] {
        &self.canonical
    }

    /// Finds the row of a key. With validity, the one that holds at the instant.
    pub fn find(&self, key: &[u8], at: Timestamp) -> Option<RowIx> {
        let found = self.records.find(key)?;
        if self.holds.is_empty() {
            return Some(RowIx { row: found.first, cells: found.cells });
        }
        let holds = &self.holds[found.first as usize..][..found.count as usize];
        let behind = holds.partition_point(|(from, _)| *from <= at);
        let place = behind.checked_sub(1)?;
        let row = found.first + place as u32;
        (at < holds[place].1).then_some(RowIx { row, cells: self.records.cells_of(row)? })
    }

    /// The hash by which a key is found.
    pub(crate) fn hash_of(key: &[u8]) -> u64 {
        Records::hash_of(key)
    }

    /// Reads the place of the index that a hash has.
    pub(crate) fn touch_index(&self, hash: u64) -> u64 {
        self.records.touch_index(hash)
    }

    /// Returns where the row of a hash most likely is.
    pub(crate) fn guess(&self, hash: u64) -> u32 {
        self.records.guess(hash)
    }

    /// Reads a byte at a place of a row.
    pub(crate) fn touch(&self, place: u32) -> u64 {
        self.records.touch(place)
    }

    /// Finds the row with the longest key that a text begins with.
    pub fn find_prefix(&self, text: &[u8], at: Timestamp) -> Option<RowIx> {
        let mut key = Vec::new();
        (0..=text.len().min(self.longest)).rev().find_map(|length| {
            key.clear();
            canonical::add_key(&text[..length], &mut key);
            self.find(&key, at)
        })
    }

    /// The tariff of a row, where the table has prices.
    pub fn tariff(&self, row: RowIx) -> Option<&Tariff> {
        self.tariffs.get(row.row as usize)
    }

    /// The value of a column that is read, by its place in [`Table::read`].
    pub fn cell(&self, row: RowIx, column: usize) -> Leaf<'_> {
        self.records.cell(row.cells, column)
    }
}

/// The key of some leaves, as rows are found by it; `None` if one is missing, null, or neither
/// text nor number nor truth.
pub fn key_of<'a>(leaves: impl Iterator<Item = Leaf<'a>>, key: &mut Vec<u8>) -> Option<()> {
    for leaf in leaves {
        canonical::add_key(&key_text(leaf)?, key);
    }
    Some(())
}
