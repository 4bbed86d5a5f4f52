//! Targets that store records unchanged: files, objects, rows.

use flowmeter_core::service::TlsPlan;
use flowmeter_core::time::parse_duration;

use super::{Compiling, TargetKind, tls};
use crate::tree::Node as Tree;

/// The format in which records are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TargetFormat {
    /// One JSON object per line.
    Ndjson,
    /// Rows; objects and arrays as JSON in their column.
    Csv,
    /// Apache Parquet: the columns of CSV, all of them text but for times and counts.
    Parquet,
}

impl TargetFormat {
    /// Returns the format of a file's name.
    pub fn of_path(path: &str) -> TargetFormat {
        let ends = |end: &str| path.ends_with(end);
        if ends(".csv") {
            TargetFormat::Csv
        } else if ends(".parquet") {
            TargetFormat::Parquet
        } else {
            TargetFormat::Ndjson
        }
    }
}

/// Files and their format.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FilePlan {
    /// A path that may hold placeholders.
    pub path: String,
    /// The format in which records are written.
    pub format: TargetFormat,
}

/// Objects of S3 or a compatible store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObjectsPlan {
    /// The address: `s3://bucket/prefix`, `gs://…`, `az://…`.
    pub url: String,
    /// The key of an object under the prefix; holds `{window}`.
    pub path: String,
    /// The format in which records are written.
    pub format: TargetFormat,
    /// Settings of the store, by name.
    pub options: Vec<(String, String)>,
    /// The warehouse that loads the objects, if each window has a manifest for it.
    pub warehouse: Option<Warehouse>,
}

/// A warehouse that loads objects by a manifest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Warehouse {
    /// Snowflake, through an external stage.
    Snowflake {
        /// The stage that points to the address.
        stage: String,
        /// The table, with its schema or without.
        table: String,
    },
    /// BigQuery, which reads the objects by their addresses.
    BigQuery {
        /// The table with its data set.
        table: String,
    },
}

/// Rows of a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PostgresPlan {
    /// The address, as `postgres://user@host/database`.
    pub url: String,
    /// The table, with its schema or without.
    pub table: String,
}

/// Rows of a table of ClickHouse.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClickHousePlan {
    /// The address of its HTTP interface.
    pub url: String,
    /// The table, with its database or without.
    pub table: String,
    /// The login; `None`: the one that needs no password.
    pub user: Option<String>,
    /// The password of the login.
    pub password: Option<String>,
    /// The trusted authorities and the client certificate.
    pub tls: TlsPlan,
    /// Nanoseconds until an answer must be there.
    pub timeout: i64,
}

/// The placeholders of a target's path.
const PLACEHOLDERS: [&str; 7] = ["period", "periodStart", "periodEnd", "meterType", "meterKey", "userId", WINDOW];
/// The placeholder of the number of the window's first record.
const WINDOW: &str = "window";

pub(super) fn format(node: &Tree, path: &str) -> TargetFormat {
    match node.text("format") {
        Some("csv") => TargetFormat::Csv,
        Some("parquet") => TargetFormat::Parquet,
        Some(_) => TargetFormat::Ndjson,
        None => TargetFormat::of_path(path),
    }
}

pub(super) fn file(node: &Tree, part: &mut Compiling<'_>) -> TargetKind {
    let path = node.text("path").unwrap_or_default();
    let format = format(node, path);
    if path == "-" {
        if format == TargetFormat::Parquet {
            part.wrong(node, "format", "standard output takes lines: write ndjson or csv");
        }
        return TargetKind::Stdout(format);
    }
    check_placeholders(node, "path", path, part);
    TargetKind::File(FilePlan { path: path.to_owned(), format })
}

/// Compiles objects that Snowflake loads.
pub(super) fn snowflake(node: &Tree, part: &mut Compiling<'_>) -> ObjectsPlan {
    let stage = node.text("stage").unwrap_or("flowmeter").to_owned();
    if !is_identifier(&stage) {
        part.wrong(node.get("stage").unwrap_or(node), "stage", format!("`{stage}` is no name of a stage: write it without @"));
    }
    let table = warehouse_table(node, "metered_records", 3, part);
    ObjectsPlan { warehouse: Some(Warehouse::Snowflake { stage, table }), ..objects_of(node, WAREHOUSE_PATH, part) }
}

/// Compiles objects that BigQuery loads.
pub(super) fn bigquery(node: &Tree, part: &mut Compiling<'_>) -> ObjectsPlan {
    let url = node.text("url").unwrap_or_default();
    if !["gs://", "${"].iter().any(|scheme| url.starts_with(scheme)) {
        part.wrong(node.get("url").unwrap_or(node), "url", "BigQuery loads from Google Cloud Storage: write gs://BUCKET/PREFIX");
    }
    let table = warehouse_table(node, "", 3, part);
    if !table.contains('.') {
        part.wrong(node.get("table").unwrap_or(node), "table", "write the table with its data set: DATASET.TABLE");
    }
    ObjectsPlan { warehouse: Some(Warehouse::BigQuery { table }), ..objects_of(node, WAREHOUSE_PATH, part) }
}

/// The path of objects for a warehouse, unless another one is given.
const WAREHOUSE_PATH: &str = "{meterType}/{window}.parquet";

fn is_identifier(name: &str) -> bool {
    let is_letter = |letter: char| letter.is_ascii_alphanumeric() || "_-$.".contains(letter);
    !name.is_empty() && name.len() <= 255 && name.chars().all(is_letter)
}

/// Returns the name of a warehouse's table: of letters, digits, `_`, `-` and `$`, with at most so
/// many parts.
fn warehouse_table(node: &Tree, otherwise: &str, parts_max: usize, part: &mut Compiling<'_>) -> String {
    let table = node.text("table").unwrap_or(otherwise);
    let parts: Vec<&str> = table.split('.').collect();
    if parts.len() > parts_max || !parts.iter().all(|name| is_identifier(name)) {
        let message = format!("`{table}` is no name of a table: write letters, digits, _, - and $, parts joined by points");
        part.wrong(node.get("table").unwrap_or(node), "table", message);
    }
    table.to_owned()
}

pub(super) fn objects(node: &Tree, part: &mut Compiling<'_>) -> ObjectsPlan {
    objects_of(node, "{periodEnd}/{window}.ndjson", part)
}

fn objects_of(node: &Tree, path: &str, part: &mut Compiling<'_>) -> ObjectsPlan {
    let url = node.text("url").unwrap_or_default();
    if !["s3://", "gs://", "az://", "${"].iter().any(|scheme| url.starts_with(scheme)) {
        part.wrong(
            node.get("url").unwrap_or(node),
            "url",
            "write s3://BUCKET/PREFIX, gs://BUCKET/PREFIX or az://CONTAINER/PREFIX",
        );
    }
    let path = node.text("path").unwrap_or(path);
    let at = node.get("path").unwrap_or(node);
    check_placeholders(node, "path", path, part);
    if !path.contains("{window}") {
        part.wrong(at, "path", "objects do not grow: the path must hold {window}, the number of the object's first record");
    }
    let options = node.get("options").into_iter().flat_map(Tree::members);
    let options = options.map(|(name, value)| (name.to_owned(), value.scalar().unwrap_or_default().to_owned())).collect();
    ObjectsPlan { url: url.to_owned(), path: path.to_owned(), format: format(node, path), options, warehouse: None }
}

pub(super) fn postgres(node: &Tree, part: &mut Compiling<'_>) -> PostgresPlan {
    PostgresPlan { url: node.text("url").unwrap_or_default().to_owned(), table: table(node, "SCHEMA", part) }
}

pub(super) fn clickhouse(node: &Tree, part: &mut Compiling<'_>) -> ClickHousePlan {
    let url = node.text("url").unwrap_or_default();
    if !["https://", "http://", "${"].iter().any(|scheme| url.starts_with(scheme)) {
        let message = "write the address of the HTTP interface: https://HOST:8443, or http://HOST:8123";
        part.wrong(node.get("url").unwrap_or(node), "url", message);
    }
    let text = |name: &str| node.text(name).map(str::to_owned);
    let timeout = node.text("timeout").and_then(parse_duration).unwrap_or(CLICKHOUSE_TIMEOUT);
    let table = table(node, "DATABASE", part);
    ClickHousePlan { url: url.to_owned(), table, user: text("user"), password: text("password"), tls: tls(node), timeout }
}

/// Time in which ClickHouse answers by default: merges may hold up an insert.
const CLICKHOUSE_TIMEOUT: i64 = 60_000_000_000;

/// Returns the name of the table, with its schema or database or without.
fn table(node: &Tree, above: &str, part: &mut Compiling<'_>) -> String {
    let table = node.text("table").unwrap_or("metered_records");
    let is_name = |name: &str| {
        let mut letters = name.chars();
        letters.next().is_some_and(|first| first.is_ascii_lowercase() || first == '_')
            && letters.all(|letter| letter.is_ascii_lowercase() || letter.is_ascii_digit() || letter == '_')
            && name.len() <= 48
    };
    let names: Vec<&str> = table.split('.').collect();
    if names.len() > 2 || !names.iter().all(|name| is_name(name)) {
        let message = format!("`{table}` is no table's name here; write NAME or {above}.NAME in small letters, digits and _");
        part.wrong(node.get("table").unwrap_or(node), "table", message);
    }
    table.to_owned()
}

/// Finds placeholders that there are not, and patterns of dates that cannot be filled.
pub(super) fn check_placeholders(node: &Tree, field: &str, text: &str, part: &mut Compiling<'_>) {
    let at = node.get(field).unwrap_or(node);
    for written in text.split('{').skip(1) {
        let whole = written.split('}').next().unwrap_or_default();
        if ["env:", "file:"].iter().any(|reference| whole.starts_with(reference)) {
            continue;
        }
        let (name, pattern) = whole.split_once(':').map_or((whole, None), |(name, pattern)| (name, Some(pattern)));
        if !PLACEHOLDERS.contains(&name) {
            let advice = match flowmeter_core::suggest::nearest(name, PLACEHOLDERS) {
                Some(near) => format!("did you mean {{{near}}}?"),
                None => format!("there are {}", PLACEHOLDERS.join(", ")),
            };
            part.wrong(at, field, format!("unknown placeholder {{{name}}}; {advice}"));
        } else if let Some(pattern) = pattern
            && (!["periodStart", "periodEnd"].contains(&name) || !is_date_pattern(pattern))
        {
            let message =
                format!("{{{whole}}}: write {{periodStart:%Y-%m-%d}}, of %Y, %m, %d, %H, %M and signs that are no letters");
            part.wrong(at, field, message);
        }
    }
}

/// Whether a text is made of parts of a date and signs between them.
fn is_date_pattern(pattern: &str) -> bool {
    let rest = ["%Y", "%m", "%d", "%H", "%M"].iter().fold(pattern.to_owned(), |rest, part| rest.replace(part, ""));
    rest.len() < pattern.len() && !rest.contains(|letter: char| letter.is_alphanumeric() || letter == '%')
}
