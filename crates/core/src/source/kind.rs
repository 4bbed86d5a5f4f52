//! Where a source takes its events from, and how.

use crate::event::Path;
use crate::service::{ServiceAddress, TlsPlan};

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
    /// Addresses of brokers, as `host:port`.
    pub brokers: Vec<String>,
    /// Topics; one that begins with `^` is a pattern.
    pub topics: Vec<String>,
    /// The group that shares the partitions.
    pub group: String,
    /// How messages are encoded.
    pub format: KafkaFormat,
    /// Where a partition begins of which nothing was taken.
    pub start: KafkaStart,
    /// The trusted authorities and the client certificate, for TLS.
    pub tls: Option<TlsPlan>,
    /// How the server logs in.
    pub sasl: Option<KafkaLogin>,
    /// Settings of librdkafka, by name.
    pub options: Vec<(String, String)>,
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

/// How a server logs in to Kafka.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KafkaLogin {
    /// The mechanism, as `SCRAM-SHA-512`.
    pub mechanism: String,
    /// The name of the user.
    pub user: String,
    /// The password of the user.
    pub password: String,
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
        }
    }

    /// Whether it ends with what is there when a session starts.
    pub fn is_bounded(&self) -> bool {
        match self {
            SourceKind::Http | SourceKind::Kafka(_) => false,
            SourceKind::Files(taking) => !taking.following.follows,
            SourceKind::Objects(objects) => !objects.taking.following.follows,
            SourceKind::Rows(rows) => !rows.following.follows,
            SourceKind::Pages(pages) => !pages.following.follows,
        }
    }
}
