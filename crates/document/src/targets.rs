//! The targets of a document.

mod billers;
mod email;
pub(super) mod forms;
pub(super) use forms::{AUTH, TLS};
pub(super) use http::{auth, tls};
mod http;
mod kafka;
mod sftp;
mod stored;

pub use email::{EmailPlan, FileFormat};
pub use http::{Body, Dialect, HttpPlan, ReadBack, Told};
pub use kafka::KafkaPlan;
pub use sftp::SftpPlan;
pub use stored::{ClickHousePlan, FilePlan, ObjectsPlan, PostgresPlan, TargetFormat, Warehouse};

use flowmeter_core::template::{Draft, Part, Piece, Template};
use flowmeter_core::time::parse_duration;
use serde_json::Value;

use super::problem::Problems;
use super::tree::{Kind, Node as Tree};

/// The name of targets that take partial records.
const THRESHOLD: &str = "threshold";
/// Time for which a record is retried by default: a person has a day to react.
const RETRY_FOR: i64 = 86_400_000_000_000;

/// Time for which records of an e-mail wait for others by default: meters of one schedule close
/// within seconds.
const GATHER_MAIL: i64 = 60_000_000_000;

/// The longest time for which records wait for others: a session ends when they are delivered.
const GATHER_MAX: i64 = 3_600_000_000_000;

/// A target, compiled from a document.
#[derive(Clone, Debug)]
pub struct TargetPlan {
    /// The id that it keeps when its options change: its name, or its kind if it has none; with a
    /// suffix `-2` and so on where that is not unique.
    pub id: String,
    /// Whether it takes partial records instead of metered records.
    pub thresholds: bool,
    /// Whether records from before it was added are sent there too.
    pub history: bool,
    /// Nanoseconds from a record's first attempt to its last.
    pub retry_for: i64,
    /// Nanoseconds for which a record waits for others before a window is sent.
    pub gather: i64,
    /// The kind of target, with its options.
    pub kind: TargetKind,
}

/// The kinds of targets.
#[derive(Clone, Debug)]
pub enum TargetKind {
    /// Records are not sent.
    Nowhere,
    /// Records go to standard output.
    Stdout(TargetFormat),
    /// Records go to files.
    File(FilePlan),
    /// Objects of S3 or a compatible store.
    Objects(ObjectsPlan),
    /// Files on an SFTP server.
    Sftp(Box<SftpPlan>),
    /// Rows of a table of Postgres.
    Postgres(PostgresPlan),
    /// Rows of a table of ClickHouse.
    ClickHouse(Box<ClickHousePlan>),
    /// Messages of topics of Kafka.
    Kafka(Box<KafkaPlan>),
    /// Files of records that are sent by e-mail.
    Email(Box<EmailPlan>),
    /// Records go out as requests.
    Http(Box<HttpPlan>),
}

impl TargetKind {
    /// Returns its name in documents.
    pub fn name(&self) -> &'static str {
        match self {
            TargetKind::Nowhere => "none",
            TargetKind::Stdout(_) => "stdout",
            TargetKind::File(_) => "file",
            TargetKind::Objects(plan) => match plan.warehouse {
                None => "objectStorage",
                Some(Warehouse::Snowflake { .. }) => "snowflake",
                Some(Warehouse::BigQuery { .. }) => "bigquery",
            },
            TargetKind::Sftp(_) => "sftp",
            TargetKind::Postgres(_) => "postgres",
            TargetKind::ClickHouse(_) => "clickhouse",
            TargetKind::Kafka(_) => "kafka",
            TargetKind::Email(_) => "email",
            TargetKind::Http(plan) => plan.dialect.name(),
        }
    }
}

const KINDS: [&str; 14] = [
    "file",
    "webhook",
    "postgres",
    "clickhouse",
    "kafka",
    "email",
    "objectStorage",
    "sftp",
    "snowflake",
    "bigquery",
    "stripe",
    "zuora",
    "lago",
    "none",
];

pub(super) fn compile_all(tree: &Tree, problems: &mut Problems) -> Vec<TargetPlan> {
    let items = tree.get("targets").map(Tree::items).unwrap_or_default();
    let mut plans: Vec<TargetPlan> = Vec::new();
    for (i, item) in items.iter().enumerate() {
        if let Some(mut plan) = compile(item, &format!("targets[{i}]"), problems) {
            plan.id = free(&plan.id, &plans);
            plans.push(plan);
        }
    }
    plans
}

/// Returns an id that no other target has.
fn free(wanted: &str, taken: &[TargetPlan]) -> String {
    let is_free = |id: &str| taken.iter().all(|plan| plan.id != id);
    let numbered = (2..).map(|number| format!("{wanted}-{number}"));
    std::iter::once(wanted.to_owned()).chain(numbered).find(|id| is_free(id)).unwrap_or_default()
}

fn compile(node: &Tree, field: &str, problems: &mut Problems) -> Option<TargetPlan> {
    let present: Vec<&str> = KINDS.into_iter().filter(|kind| node.members().any(|(name, _)| name == *kind)).collect();
    let [kind] = present.as_slice() else {
        let message = match present.as_slice() {
            [] => format!("a target needs one of {}", KINDS.join(", ")),
            several => format!("{} in one target; make each a target of its own", several.join(" and ")),
        };
        problems.add(node, field, message);
        return None;
    };
    let body = node.get(kind).unwrap_or(node);
    let mut part = Compiling { field: format!("{field}.{kind}"), draft: Draft::default(), problems };
    let before = part.problems.0.len();
    let compiled = match *kind {
        "none" => TargetKind::Nowhere,
        "file" => stored::file(body, &mut part),
        "objectStorage" => TargetKind::Objects(stored::objects(body, &mut part)),
        "snowflake" => TargetKind::Objects(stored::snowflake(body, &mut part)),
        "bigquery" => TargetKind::Objects(stored::bigquery(body, &mut part)),
        "sftp" => TargetKind::Sftp(Box::new(sftp::sftp(body, &mut part))),
        "postgres" => TargetKind::Postgres(stored::postgres(body, &mut part)),
        "clickhouse" => TargetKind::ClickHouse(Box::new(stored::clickhouse(body, &mut part))),
        "kafka" => TargetKind::Kafka(Box::new(kafka::kafka(body, &mut part))),
        "email" => TargetKind::Email(Box::new(email::email(body, &mut part))),
        "webhook" => TargetKind::Http(Box::new(http::webhook(body, part))),
        "stripe" => TargetKind::Http(Box::new(billers::stripe(body, part))),
        "zuora" => TargetKind::Http(Box::new(billers::zuora(body, part))),
        _ => TargetKind::Http(Box::new(billers::lago(body, part))),
    };
    if let Some(at) =
        node.get("gather").filter(|_| node.text("gather").and_then(parse_duration).is_some_and(|gather| gather > GATHER_MAX))
    {
        let message = "records wait for others for an hour at most: a session ends only when they are delivered";
        problems.add(at, &format!("{field}.gather"), message);
    }
    let name = node.text("name");
    let span = |name: &str| node.text(name).and_then(parse_duration);
    (problems.0.len() == before).then(|| TargetPlan {
        id: name.unwrap_or(kind).to_owned(),
        thresholds: name == Some(THRESHOLD),
        history: node.text("history") != Some("false"),
        retry_for: span("retryFor").unwrap_or(RETRY_FOR),
        gather: span("gather").unwrap_or(if *kind == "email" { GATHER_MAIL } else { 0 }),
        kind: compiled,
    })
}

/// A target that is being compiled.
pub(super) struct Compiling<'p> {
    field: String,
    draft: Draft,
    problems: &'p mut Problems,
}

impl<'p> Compiling<'p> {
    /// Compiles the options that an operator shares with targets.
    pub(super) fn of(field: &str, problems: &'p mut Problems) -> Compiling<'p> {
        Compiling { field: field.to_owned(), draft: Draft::default(), problems }
    }
}

impl Compiling<'_> {
    fn wrong(&mut self, node: &Tree, name: &str, message: impl Into<String>) {
        self.problems.add(node, &format!("{}.{name}", self.field), message);
    }

    /// Compiles a text that may hold expressions.
    fn text(&mut self, node: &Tree, name: &str, text: &str) -> Piece {
        self.draft.text(text).unwrap_or_else(|why| {
            self.wrong(node, name, why);
            Piece::Fixed("null".to_owned())
        })
    }

    /// Compiles a text of the document, or its default.
    fn text_or(&mut self, node: &Tree, name: &str, otherwise: &str) -> Piece {
        let at = node.get(name).unwrap_or(node);
        self.text(at, name, node.text(name).unwrap_or(otherwise))
    }

    /// Compiles a text that may hold expressions into a template of its own.
    fn template(&mut self, node: &Tree, name: &str, text: &str) -> Template {
        let piece = self.text(node, name, text);
        std::mem::take(&mut self.draft).finish(piece)
    }

    /// Compiles any value whose texts may hold expressions.
    fn piece(&mut self, node: &Tree, name: &str) -> Piece {
        piece(node, name, &mut |node, name, text| self.text(node, name, text))
    }
}

/// Compiles any value whose texts may hold expressions. `name` is its place, for problems; `text`
/// compiles a text at a place.
pub(super) fn piece(node: &Tree, name: &str, text: &mut dyn FnMut(&Tree, &str, &str) -> Piece) -> Piece {
    match &node.kind {
        Kind::Scalar(written, _) if written.contains("{{") => text(node, name, written),
        Kind::Scalar(..) => match node.to_json() {
            Value::String(text) => Piece::Text(vec![Part::Text(text)]),
            other => Piece::Fixed(other.to_string()),
        },
        Kind::List(items) => {
            let items = items.iter().enumerate().map(|(i, item)| piece(item, &format!("{name}[{i}]"), text));
            Piece::List(items.collect())
        }
        Kind::Map(_) => {
            let members = node.members().map(|(inner, value)| (inner.to_owned(), piece(value, &format!("{name}.{inner}"), text)));
            Piece::Object(members.collect())
        }
    }
}
