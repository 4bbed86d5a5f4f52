//! Where a source takes its events from, and how.

use crate::event::Path;
use crate::expression::Program;
use crate::service::{KafkaCluster, ServiceAddress, TlsPlan};
use crate::time::Timestamp;

/// Where a source takes its events from.
#[derive(Clone, Debug)]
pub enum SourceKind {
    /// The event API of the server.
    Http,
    /// Files of the machine.
    Files(Taking),
    /// Objects of a store.
    Objects(Box<ObjectsSource>),
    /// Rows of a Postgres database.
    Rows(Box<RowsSource>),
    /// Answers of an HTTP service.
    Pages(Box<PagesSource>),
    /// Messages of a Kafka cluster.
    Kafka(Box<KafkaSource>),
    /// Events that a pipeline of the same server received.
    Received(Box<ReceivedSource>),
    /// Records or events that a pipeline of the same server makes.
    Output(Box<OutputSource>),
}

/// Whether a source waits for more, and how often it looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Following {
    /// Whether it waits for more. Otherwise it ends with what is there.
    pub follows: bool,
    /// Nanoseconds between two looks.
    pub interval: i64,
}

/// How files or objects are taken.
#[derive(Clone, Debug)]
pub struct Taking {
    /// Whether the source waits for new ones.
    pub following: Following,
    /// Nanoseconds for which a followed file must have had its size.
    pub settle: i64,
    /// Whether they are taken in the order of their times, not of their names.
    pub by_time: bool,
    /// Whether the same content under another name counts once.
    pub content_once: bool,
    /// Handling of one that was taken.
    pub after: After,
    /// Whether the others are not taken when one cannot be read.
    pub stops_on_failure: bool,
}

/// Handling of a file or an object that was taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum After {
    /// It stays where it is.
    Keep,
    /// It is deleted there.
    Delete,
    /// It is moved to a folder or prefix.
    Move(String),
}

/// Objects that hold events.
#[derive(Clone, Debug)]
pub struct ObjectsSource {
    /// The address: `s3://bucket/prefix`, `gs://…`, `az://…`.
    pub url: String,
    /// Settings of the store, by name.
    pub options: Vec<(String, String)>,
    /// The pattern of keys under the prefix.
    pub glob: Option<String>,
    /// The beginning of keys under the prefix of the address.
    pub prefix: Option<String>,
    /// The key after which objects are taken.
    pub from: Option<String>,
    /// The last key that is taken.
    pub to: Option<String>,
    /// How they are taken.
    pub taking: Taking,
}

/// Rows in the order of a cursor.
#[derive(Clone, Debug)]
pub struct RowsSource {
    /// The address, as `postgres://user@host/database`.
    pub url: String,
    /// The trusted authorities and the client certificate.
    pub tls: TlsPlan,
    /// The query, or the table in parentheses' place.
    pub from: RowsFrom,
    /// The column whose value grows.
    pub cursor: String,
    /// A column that is unique among rows of one cursor value.
    pub tie: Option<String>,
    /// Rows that are read at once.
    pub batch: u32,
    /// Nanoseconds by which the cursor stays behind the clock.
    pub lag: i64,
    /// Whether the source waits for new rows.
    pub following: Following,
}

/// The table or query that rows are read from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RowsFrom {
    /// A table, with its schema or without.
    Table(String),
    /// A SELECT whose rows are events.
    Query(String),
}

/// Messages of one or more topics.
#[derive(Clone, Debug)]
pub struct KafkaSource {
    /// The cluster, and how it is reached.
    pub cluster: KafkaCluster,
    /// Topics; one that begins with `^` is a pattern.
    pub topics: Vec<String>,
    /// The group that shares the partitions.
    pub group: String,
    /// How messages are encoded.
    pub format: KafkaFormat,
    /// Where a partition begins of which nothing was taken.
    pub start: KafkaStart,
}

/// Events that a pipeline of the same server received.
#[derive(Clone, Debug)]
pub struct ReceivedSource {
    /// The name of the pipeline.
    pub pipeline: String,
    /// The receipt of the first event.
    pub from: Option<Timestamp>,
    /// The end of the receipts, which is not among them.
    pub to: Option<Timestamp>,
    /// The fields of a condition on events, and the condition.
    pub condition: Option<(Vec<Path>, Program)>,
}

/// Records or events that a pipeline of the same server makes.
#[derive(Clone, Debug)]
pub struct OutputSource {
    /// The name of the pipeline.
    pub pipeline: String,
    /// The things that are taken.
    pub output: Output,
    /// Whether the source waits for more.
    pub following: Following,
}

/// The things that a pipeline makes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Output {
    /// Its metered records, all revisions of them.
    Records,
    /// The events that it parked.
    Parked,
    /// The events that it counted, as they came.
    Events,
}

impl Output {
    /// The outputs by their names in documents.
    pub const NAMED: [(&str, Output); 3] = [("records", Output::Records), ("parked", Output::Parked), ("events", Output::Events)];

    /// Returns its name in documents.
    pub fn name(self) -> &'static str {
        match self {
            Output::Records => "records",
            Output::Parked => "parked",
            Output::Events => "events",
        }
    }
}

/// How messages are encoded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KafkaFormat {
    /// JSON, or CloudEvents in either mode.
    Json,
    /// Avro, with schemas in a registry.
    Avro {
        /// The address of the registry.
        registry: String,
        /// User and password of the registry.
        user: Option<(String, String)>,
    },
}

/// Where a partition begins of which nothing was taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KafkaStart {
    /// With its first message.
    Earliest,
    /// With the next message.
    Latest,
    /// At the position that its group has committed.
    Committed,
    /// With the first message of a time, in Unix milliseconds.
    Time(i64),
}

/// Answers of a service that is asked for events.
#[derive(Clone, Debug)]
pub struct PagesSource {
    /// The service; its address may hold `{cursor}`.
    pub service: ServiceAddress,
    /// Where in an answer the list of events is.
    pub items: Option<Path>,
    /// How the next page is found.
    pub next: Option<NextPage>,
    /// The field of an event whose last value is `{cursor}`.
    pub cursor: Option<Path>,
    /// The value of `{cursor}` before the first event.
    pub start: String,
    /// Whether the source asks again.
    pub following: Following,
}

/// How the next page of answers is found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NextPage {
    /// By the header `Link` with `rel="next"`.
    Link,
    /// By a field that holds its address.
    Address(Path),
    /// By a field that holds a token, which a query parameter takes.
    Token(Path, String),
}

impl SourceKind {
    /// Returns its name in documents.
    pub fn name(&self) -> &'static str {
        match self {
            SourceKind::Http | SourceKind::Pages(_) => "http",
            SourceKind::Files(_) => "file",
            SourceKind::Objects(_) => "objectStorage",
            SourceKind::Rows(_) => "postgres",
            SourceKind::Kafka(_) => "kafka",
            SourceKind::Received(_) => "eventStore",
            SourceKind::Output(_) => "pipeline",
        }
    }

    /// The pipeline of the same server that it reads.
    pub fn reads_from(&self) -> Option<&str> {
        match self {
            SourceKind::Received(received) => Some(&received.pipeline),
            SourceKind::Output(output) => Some(&output.pipeline),
            SourceKind::Http
            | SourceKind::Files(_)
            | SourceKind::Objects(_)
            | SourceKind::Rows(_)
            | SourceKind::Pages(_)
            | SourceKind::Kafka(_) => None,
        }
    }

    /// Whether it ends with what is there when a session starts.
    pub fn is_bounded(&self) -> bool {
        match self {
            SourceKind::Http | SourceKind::Kafka(_) => false,
            SourceKind::Received(_) => true,
            SourceKind::Output(output) => !output.following.follows,
            SourceKind::Files(taking) => !taking.following.follows,
            SourceKind::Objects(objects) => !objects.taking.following.follows,
            SourceKind::Rows(rows) => !rows.following.follows,
            SourceKind::Pages(pages) => !pages.following.follows,
        }
    }
}
