//! Where a source takes its events from, and how.

use super::super::compile::Compiler;
use super::super::service::ServiceAddress;
use super::super::targets::{self, TlsPlan};
use super::super::tree::Node as Tree;
use crate::event::Path;
use crate::time::{Timestamp, parse_duration};

const SECOND: i64 = 1_000_000_000;
/// The bounds of an interval between two looks, in nanoseconds.
const INTERVAL: (i64, i64) = (SECOND / 10, 86_400 * SECOND);

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

/// Returns the kind of a source and the node with the options of its records.
pub(super) fn compile<'t>(node: &'t Tree, field: &str, compiler: &mut Compiler<'_>) -> (SourceKind, &'t Tree) {
    const KINDS: [&str; 5] = ["file", "http", "objectStorage", "postgres", "kafka"];
    let present: Vec<&str> = KINDS.into_iter().filter(|kind| node.get(kind).is_some()).collect();
    let [kind] = present.as_slice() else {
        let message = match present.as_slice() {
            [] => {
                "a source is one of file: {path: events.ndjson}, http: {}, objectStorage: {url: s3://…}, postgres: {url: …}, kafka: {…}"
            }
            _ => "one source takes from one place; make each a source of its own, with an id",
        };
        compiler.problems.add(node, field, message);
        return (SourceKind::Http, node);
    };
    let body = node.get(kind).unwrap_or(node);
    let mut reading = Reading { body, field: format!("{field}.{kind}"), compiler };
    let compiled = match *kind {
        // A file that is taken twice counts once.
        "file" => SourceKind::Files(Taking { content_once: true, ..reading.taking(5 * SECOND) }),
        "objectStorage" => SourceKind::Objects(Box::new(reading.objects())),
        "postgres" => SourceKind::Rows(Box::new(reading.rows())),
        "kafka" => SourceKind::Kafka(Box::new(reading.kafka())),
        _ if body.get("url").is_some() => SourceKind::Pages(Box::new(reading.pages())),
        _ => {
            reading.refuse_without_url();
            SourceKind::Http
        }
    };
    (compiled, body)
}

/// The options of a source that are being read.
struct Reading<'r, 'c> {
    body: &'r Tree,
    field: String,
    compiler: &'r mut Compiler<'c>,
}

impl Reading<'_, '_> {
    fn wrong(&mut self, name: &str, message: impl Into<String>) {
        let node = self.body.get(name).unwrap_or(self.body);
        self.compiler.problems.add(node, &format!("{}.{name}", self.field), message);
    }

    fn text(&self, name: &str) -> String {
        self.body.text(name).unwrap_or_default().to_owned()
    }

    fn pairs(&self, name: &str) -> Vec<(String, String)> {
        let members = self.body.get(name).into_iter().flat_map(Tree::members);
        members.map(|(name, value)| (name.to_owned(), value.scalar().unwrap_or_default().to_owned())).collect()
    }

    fn path(&self, name: &str) -> Option<Path> {
        self.body.text(name).and_then(|text| Path::parse(text).ok())
    }

    fn span(&mut self, name: &str, default: i64, (least, most): (i64, i64)) -> i64 {
        let found = self.body.text(name).and_then(parse_duration).unwrap_or(default);
        if !(least..=most).contains(&found) {
            let millis = |nanos: i64| nanos / (SECOND / 1_000);
            self.wrong(name, format!("expected a duration of {}ms to {}ms", millis(least), millis(most)));
        }
        found
    }

    fn following(&mut self, interval: i64, by_default: bool) -> Following {
        let follows = self.body.text("mode").map_or(by_default, |mode| mode == "follow");
        if !follows && self.body.get("interval").is_some() {
            self.wrong("interval", "`interval` is for `mode: follow`; a source with `mode: once` looks once a session");
        }
        Following { follows, interval: self.span("interval", interval, INTERVAL) }
    }

    fn taking(&mut self, interval: i64) -> Taking {
        let following = self.following(interval, false);
        let after = match self.body.get("after") {
            None => After::Keep,
            Some(node) => match node.text("move") {
                Some(to) => After::Move(to.to_owned()),
                None if node.scalar() == Some("delete") => After::Delete,
                None => After::Keep,
            },
        };
        if following.follows && self.body.text("path") == Some("-") {
            self.wrong("mode", "standard input cannot be followed; write the path of files");
        }
        Taking {
            following,
            settle: if following.follows { self.span("settle", 5 * SECOND, (0, 86_400 * SECOND)) } else { 0 },
            by_time: self.body.text("order") == Some("modified"),
            content_once: self.body.text("content") == Some("once"),
            after,
            stops_on_failure: self.body.text("onFailure") == Some("stop"),
        }
    }

    fn objects(&mut self) -> ObjectsSource {
        let url = self.text("url");
        if !["s3://", "gs://", "az://", "http://", "https://", "${"].iter().any(|start| url.starts_with(start)) {
            self.wrong("url", format!("`{url}` is no address of a store; write s3://BUCKET/PREFIX, gs:// or az://"));
        }
        ObjectsSource {
            url,
            options: self.pairs("options"),
            glob: self.body.text("glob").map(str::to_owned),
            prefix: self.body.text("prefix").map(str::to_owned),
            from: self.body.text("from").map(str::to_owned),
            to: self.body.text("to").map(str::to_owned),
            taking: self.taking(30 * SECOND),
        }
    }

    fn rows(&mut self) -> RowsSource {
        let from = match (self.body.text("table"), self.body.text("query")) {
            (Some(table), None) => RowsFrom::Table(table.to_owned()),
            (None, Some(query)) => RowsFrom::Query(query.trim().trim_end_matches(';').to_owned()),
            _ => {
                self.wrong("table", "write either `table`, or `query` with a SELECT");
                RowsFrom::Table(String::new())
            }
        };
        RowsSource {
            url: self.text("url"),
            tls: targets::tls(self.body),
            from,
            cursor: self.text("cursor"),
            tie: self.body.text("tie").map(str::to_owned),
            batch: self.body.text("batch").and_then(|text| text.parse().ok()).unwrap_or(5_000),
            lag: self.span("lag", 0, (0, 86_400 * SECOND)),
            following: self.following(10 * SECOND, true),
        }
    }

    fn kafka(&mut self) -> KafkaSource {
        let texts = |node: &Tree| match node.scalar() {
            Some(text) => text.split(',').map(|one| one.trim().to_owned()).collect::<Vec<_>>(),
            None => node.items().iter().filter_map(Tree::scalar).map(str::to_owned).collect(),
        };
        let list = |name: &str| self.body.get(name).map(texts).unwrap_or_default();
        let pattern = self.body.text("pattern").map(|pattern| format!("^{}", pattern.trim_start_matches('^')));
        let topics: Vec<String> = list("topic").into_iter().chain(list("topics")).chain(pattern).collect();
        let brokers = list("brokers");
        if topics.is_empty() {
            self.wrong("topic", "write `topic`, `topics` or `pattern`");
        }
        let registry = self.body.get("registry");
        let pair = |node: &Tree| Some((node.text("user")?.to_owned(), node.text("password").unwrap_or_default().to_owned()));
        let format = match (self.body.text("format"), registry) {
            (Some("avro"), Some(registry)) => KafkaFormat::Avro {
                registry: registry.text("url").or(registry.scalar()).unwrap_or_default().to_owned(),
                user: pair(registry),
            },
            (Some("avro"), None) => {
                self.wrong("registry", "Avro needs `registry`: the address of the schema registry");
                KafkaFormat::Json
            }
            (_, Some(_)) => {
                self.wrong("registry", "`registry` is for `format: avro`");
                KafkaFormat::Json
            }
            (_, None) => KafkaFormat::Json,
        };
        let at = self
            .body
            .get("start")
            .and_then(|start| start.text("time"))
            .and_then(|text| Timestamp::parse_rfc3339(text.as_bytes()));
        let start = match (self.body.text("start"), at) {
            (_, Some(at)) => KafkaStart::Time(at.nanos() / 1_000_000),
            (Some("latest"), _) => KafkaStart::Latest,
            (Some("committed"), _) => KafkaStart::Committed,
            _ => KafkaStart::Earliest,
        };
        let sasl = self.body.get("sasl").map(|sasl| {
            let text = |name: &str| sasl.text(name).unwrap_or_default().to_owned();
            KafkaLogin { mechanism: text("mechanism"), user: text("user"), password: text("password") }
        });
        KafkaSource {
            brokers,
            topics,
            group: self.text("group"),
            format,
            start,
            tls: self.body.get("tls").map(|_| targets::tls(self.body)),
            sasl,
            options: self.pairs("options"),
        }
    }

    fn pages(&mut self) -> PagesSource {
        let service = ServiceAddress::compile(self.body, &self.field, self.compiler.problems);
        let cursor = self.path("cursor");
        if service.url.contains("{cursor}") != cursor.is_some() {
            self.wrong("cursor", "`cursor` names the field of events whose last value `{cursor}` in `url` takes: write both");
        }
        let next = self.body.get("next").and_then(|next| match next.text("field").and_then(|field| Path::parse(field).ok()) {
            None => (next.scalar() == Some("link")).then_some(NextPage::Link),
            Some(field) => Some(match next.text("parameter") {
                Some(parameter) => NextPage::Token(field, parameter.to_owned()),
                None => NextPage::Address(field),
            }),
        });
        PagesSource {
            service,
            items: self.path("items"),
            next,
            cursor,
            start: self.text("start"),
            following: self.following(60 * SECOND, true),
        }
    }

    /// Reports options that need a service to ask.
    fn refuse_without_url(&mut self) {
        for name in ["items", "next", "cursor", "start", "headers", "auth", "tls", "timeout", "mode", "interval"] {
            if self.body.get(name).is_some() {
                self.wrong(name, format!("`{name}` is for a service that is asked for events; write its `url`"));
            }
        }
    }
}
