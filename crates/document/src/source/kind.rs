//! The kind of a source in a document, with its options.

use flowmeter_core::event::Path;
use flowmeter_core::source::{
    After, Following, KafkaFormat, KafkaSource, KafkaStart, NextPage, ObjectsSource, Output, OutputSource, PagesSource,
    ReceivedSource, RowsFrom, RowsSource, SourceKind, Taking,
};
use flowmeter_core::template::{Draft, compiled};
use flowmeter_core::time::{Timestamp, parse_duration};

use crate::compile::Compiler;
use crate::tree::Node as Tree;
use crate::{service, targets};

const SECOND: i64 = 1_000_000_000;
/// The bounds of an interval between two looks, in nanoseconds.
const INTERVAL: (i64, i64) = (SECOND / 10, 86_400 * SECOND);

/// Returns the kind of a source and the node with the options of its records.
pub(super) fn compile<'t>(node: &'t Tree, field: &str, compiler: &mut Compiler<'_>) -> (SourceKind, &'t Tree) {
    const KINDS: [&str; 7] = ["file", "http", "objectStorage", "postgres", "kafka", "eventStore", "pipeline"];
    let present: Vec<&str> = KINDS.into_iter().filter(|kind| node.get(kind).is_some()).collect();
    let [kind] = present.as_slice() else {
        let message = match present.as_slice() {
            [] => {
                "a source is one of file: {path: events.ndjson}, http: {}, objectStorage: {url: s3://…}, postgres: {url: …}, \
                 kafka: {…}, eventStore: {pipeline: NAME}, pipeline: {pipeline: NAME, output: records}"
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
        "eventStore" => SourceKind::Received(Box::new(reading.received())),
        "pipeline" => SourceKind::Output(Box::new(reading.output())),
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
        let list = |name: &str| self.body.get(name).map(service::texts).unwrap_or_default();
        let pattern = self.body.text("pattern").map(|pattern| format!("^{}", pattern.trim_start_matches('^')));
        let topics: Vec<String> = list("topic").into_iter().chain(list("topics")).chain(pattern).collect();
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
        KafkaSource { cluster: service::kafka(self.body), topics, group: self.text("group"), format, start }
    }

    fn received(&mut self) -> ReceivedSource {
        let mut draft = Draft::default();
        let condition = self.body.text("where").and_then(|written| match compiled(written, &mut draft) {
            Ok(program) => Some(program),
            Err(why) => {
                self.wrong("where", why);
                None
            }
        });
        let paths = draft.into_paths();
        let instant = |name: &str| self.body.text(name).and_then(|text| Timestamp::parse_rfc3339(text.as_bytes()));
        let (from, to) = (instant("from"), instant("to"));
        if from.zip(to).is_some_and(|(from, to)| from >= to) {
            self.wrong("to", "`to` is not later than `from`");
        }
        ReceivedSource { pipeline: self.text("pipeline"), from, to, condition: condition.map(|program| (paths, program)) }
    }

    fn output(&mut self) -> OutputSource {
        let output = self.body.text("output").and_then(|name| Output::NAMED.into_iter().find(|(known, _)| *known == name));
        OutputSource {
            pipeline: self.text("pipeline"),
            output: output.map_or(Output::Records, |(_, output)| output),
            following: self.following(SECOND, true),
        }
    }

    fn pages(&mut self) -> PagesSource {
        let service = service::compile(self.body, &self.field, self.compiler.problems);
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
