//! The forms of sources.

use super::super::forms::{COLUMN_TYPE, NUMBER, TIME};
use super::super::shape::Form::{Boolean, Character, Duration, Either, Instant, Integer, List, Map, Object, Path, Text, Word};
use super::super::shape::{Form, Shape, default, optional, required};
use super::super::targets::{AUTH, TLS};

pub(crate) const SOURCE: Form = Object(&Shape {
    noun: "source",
    help: "Where events come from",
    fields: &[
        optional("id", Text, "For `from` and for several sources"),
        optional("file", FILE_SOURCE, "Files, or `-` for standard input"),
        optional("http", HTTP_SOURCE, "The server's event API, or with `url` a service that is asked for events"),
        optional("objectStorage", OBJECTS_SOURCE, "Objects of S3 and compatible stores, Google Cloud Storage, Azure"),
        optional("postgres", ROWS_SOURCE, "Rows of a table or a query"),
        optional("kafka", KAFKA_SOURCE, "Messages of Kafka"),
        optional("eventStore", RECEIVED_SOURCE, "Events that another pipeline received"),
        optional("pipeline", OUTPUT_SOURCE, "Records, parked events or counted events of another pipeline"),
    ],
});

/// The options of records in files and objects, behind those of a source.
macro_rules! records_in {
    ($noun:literal, $help:literal, [$($own:expr),* $(,)?]) => {
        Object(&Shape {
            noun: $noun,
            help: $help,
            fields: &[
                $($own,)*
                optional(
                    "format",
                    Word(&["ndjson", "json", "csv", "parquet", "access_log", "vhost_combined", "fixed", "avro", "xlsx"]),
                    "By the file's name when left out",
                ),
                default("compression", Word(&["auto", "none", "gzip", "zstd"]), "auto", "`auto` looks at the first bytes"),
                optional("encoding", Text, "Encoding of text: utf-8, utf-16, utf-16le, utf-16be, latin1, windows-1252, shift_jis …"),
                default(
                    "header",
                    Either(&[Boolean, Integer(1, 1000)]),
                    "true",
                    "Whether a CSV file begins with the names of its columns, or which of its rows has them",
                ),
                optional(
                    "columns",
                    List(&Either(&[Text, FIXED_COLUMN])),
                    "Names of a CSV file's columns; c1, c2 … without. Columns of a file of fixed width",
                ),
                optional(
                    "shortLines",
                    Word(&["refuse", "allow"]),
                    "Lines of fixed width that do not reach the end of a column the pipeline reads: refuse (when left out) parks them, \
                     allow reads the characters they lack as blanks",
                ),
                optional("optional", List(&Text), "Columns or fields that the pipeline names and that may be missing"),
                optional("skip", SKIP, "Rows of a CSV file around the header that are no events"),
                optional("units", Boolean, "Whether the row after the header names units or types"),
                optional("footer", Integer(0, 1000), "Rows at the end of a CSV file that are no events"),
                optional("trim", Boolean, "Whether blanks around the fields of a CSV file are cut"),
                optional(
                    "quotes",
                    Word(&["strict", "lenient", "none"]),
                    "strict (when left out): RFC 4180; lenient: what spreadsheets read; none: quotes are text",
                ),
                optional("quotedLinesMax", Integer(1, 100_000), "Lines that a quoted CSV field may span; 100 when left out"),
                optional("numbers", NUMBER, "How a CSV file writes numbers: values, and columns of type number"),
                optional("sheet", Text, "Sheet of a workbook; the first when left out"),
                optional("items", Path, "Where in a JSON document the list of events is"),
                optional("pattern", Text, "Pattern of an access log: Apache's LogFormat or nginx's log_format"),
                optional("extra", Word(&["refuse", "ignore"]), "Handling of fields after an access log's pattern; refuse when left out"),
                default("delimiter", Character, ",", "Between the fields of a CSV file; `\\t` for a tab"),
                default("quote", Either(&[Word(&["none"]), Character]), "\"", "Around fields of a CSV file"),
                optional("comment", Character, "A CSV line beginning with it is no row"),
                optional("types", Map(&COLUMN_TYPE), "Types of a CSV file's columns; text when left out"),
                optional("time", TIME, "Where the event's time is and how it is written: becomes `time`"),
                optional(
                    "id",
                    Either(&[Word(&["line", "content"]), List(&Path)]),
                    "The identity of an event: becomes `id` (and `source` the file)",
                ),
            ],
        })
    };
}

/// The files of a table.
pub(crate) const FILE: Form = records_in!(
    "field of a file",
    "Files",
    [required("path", Either(&[Text, List(&Text)]), "Path, glob pattern, several of them, or `-`")]
);

const MODE: Form = Word(&["once", "follow"]);
const ON_FAILURE: Form = Word(&["continue", "stop"]);
const ON_FAILURE_HELP: &str =
    "continue (when left out): when one cannot be read, the others are taken all the same; stop: they are not";

const FILE_SOURCE: Form = records_in!(
    "field of a file source",
    "Files",
    [
        required("path", Either(&[Text, List(&Text)]), "Path, glob pattern, several of them, or `-`"),
        optional("mode", MODE, "once (when left out): a session ends with what is there; follow: it waits for more"),
        optional("interval", Duration, "How often a source that follows looks for files; 5s when left out"),
        optional("settle", Duration, "How long a followed file must have had its size before it is taken; 5s when left out"),
        optional("order", Word(&["name", "modified"]), "The order in which files are taken; name when left out"),
        optional(
            "after",
            Either(&[Word(&["keep", "delete"]), MOVE]),
            "Handling of a file that a server has taken: keep (when left out), delete, or {move: FOLDER}",
        ),
        optional("onFailure", ON_FAILURE, ON_FAILURE_HELP),
    ]
);

const MOVE: Form = Object(&Shape {
    noun: "field of a file that was taken",
    help: "Where it goes",
    fields: &[required("move", Text, "Folder, or prefix of objects")],
});

const OBJECTS_SOURCE: Form = records_in!(
    "field of object storage",
    "Objects that hold events",
    [
        required("url", Text, "s3://BUCKET/PREFIX, gs://BUCKET/PREFIX or az://CONTAINER/PREFIX"),
        optional("glob", Text, "Pattern of keys under the prefix, as `**/*.csv.gz`; all when left out"),
        optional("prefix", Text, "Beginning of keys under that of `url`"),
        optional("from", Text, "The key after which objects are taken, in the order of keys"),
        optional("to", Text, "The last key that is taken"),
        optional(
            "options",
            Map(&Text),
            "Settings of the store, as `endpoint`, `region`, `access_key_id`, `secret_access_key`, `allow_http`",
        ),
        optional("mode", MODE, "once (when left out): a session ends with what is there; follow: it waits for more"),
        optional("interval", Duration, "How often a source that follows lists the objects; 30s when left out"),
        optional("order", Word(&["name", "modified"]), "The order in which objects are taken; name when left out"),
        optional(
            "content",
            Word(&["each", "once"]),
            "each (when left out): an object is known by key, version and size; once: the same content under another key counts once",
        ),
        optional(
            "after",
            Either(&[Word(&["keep", "delete"]), MOVE]),
            "Handling of an object that was taken: keep (when left out), delete, or {move: PREFIX}",
        ),
        optional("onFailure", ON_FAILURE, ON_FAILURE_HELP),
    ]
);

const KAFKA_SOURCE: Form = Object(&Shape {
    noun: "field of a Kafka source",
    help: "Messages of topics",
    fields: &[
        required("brokers", Either(&[Text, List(&Text)]), "HOST:PORT of some brokers"),
        optional("topic", Text, "The topic"),
        optional("topics", List(&Text), "Several topics"),
        optional("pattern", Text, "Regular expression of topics"),
        required("group", Text, "The consumer group; servers of one group share the partitions"),
        optional(
            "format",
            Word(&["json", "avro"]),
            "json (when left out): JSON, or CloudEvents of both modes; avro: with `registry`",
        ),
        optional("registry", Either(&[Text, REGISTRY]), "Address of the schema registry"),
        optional(
            "start",
            Either(&[Word(&["earliest", "latest", "committed"]), START]),
            "Where a partition begins of which nothing was taken; earliest when left out",
        ),
        optional("tls", TLS, "Trusted authorities and the client certificate; with it, TLS is used"),
        optional("sasl", SASL, "How the server logs in"),
        optional("options", Map(&Text), "Settings of librdkafka, as `group.instance.id` or `group.protocol`"),
        optional("time", TIME, "Where the event's time is and how it is written: becomes `time`"),
        optional(
            "id",
            Either(&[Word(&["line", "content"]), List(&Path)]),
            "The identity of an event: becomes `id`; line: partition and offset",
        ),
    ],
});

const RECEIVED_SOURCE: Form = Object(&Shape {
    noun: "field of an event store source",
    help: "Events that another pipeline of the server received, as they came",
    fields: &[
        required("pipeline", Text, "The name of the pipeline"),
        optional("from", Instant, "Events received from this time on"),
        optional("to", Instant, "Events received before this time"),
        optional("where", Text, "Expression over the event; the others are left out"),
        optional("time", TIME, "Where the event's time is and how it is written: becomes `time`"),
        optional("id", Either(&[Word(&["line", "content"]), List(&Path)]), "The identity of an event: becomes `id`"),
    ],
});

const OUTPUT_SOURCE: Form = Object(&Shape {
    noun: "field of a pipeline source",
    help: "Records or events that another pipeline of the server makes",
    fields: &[
        required("pipeline", Text, "The name of the pipeline"),
        default(
            "output",
            Word(&["records", "parked", "events"]),
            "records",
            "records, the events that it parked, or events: those that it counted, as they came",
        ),
        default("mode", Word(&["once", "follow"]), "follow", "Whether the source waits for more"),
        optional("interval", Duration, "Time between two looks; 1s when left out"),
        optional("time", TIME, "Where the event's time is and how it is written: becomes `time`"),
        optional("id", Either(&[Word(&["line", "content"]), List(&Path)]), "The identity of an event: becomes `id`"),
    ],
});

const REGISTRY: Form = Object(&Shape {
    noun: "field of a schema registry",
    help: "Schemas of Avro",
    fields: &[
        required("url", Text, "https://HOST"),
        optional("user", Text, "User, for basic authentication"),
        optional("password", Text, "Password"),
    ],
});

const START: Form = Object(&Shape {
    noun: "field of a start",
    help: "With the first message of a time",
    fields: &[required("time", Instant, "RFC 3339")],
});

pub(crate) const SASL: Form = Object(&Shape {
    noun: "field of a login",
    help: "How the server logs in",
    fields: &[
        required("mechanism", Word(&["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"]), "The mechanism"),
        required("user", Text, "User"),
        required("password", Text, "Password"),
    ],
});

const ROWS_SOURCE: Form = Object(&Shape {
    noun: "field of a Postgres source",
    help: "Rows, in the order of a cursor",
    fields: &[
        required("url", Text, "postgres://USER:PASSWORD@HOST/DATABASE; add ?sslmode=require for TLS"),
        optional("table", Text, "NAME or SCHEMA.NAME; or `query`"),
        optional("query", Text, "A SELECT whose rows are events; or `table`"),
        required("cursor", Text, "Column whose value grows: rows with a greater one than the last are read"),
        optional("tie", Text, "Column that is unique among rows of one cursor value, as the primary key"),
        optional("batch", Integer(1, 100_000), "Rows that are read at once; 5000 when left out"),
        optional("mode", MODE, "follow (when left out): a session waits for more; once: it ends with what is there"),
        optional("interval", Duration, "How often a source that follows asks for more rows; 10s when left out"),
        optional("lag", Duration, "How far behind the clock the cursor stays, for a cursor of times that transactions fill late"),
        optional("tls", TLS, "Trusted authorities and the client certificate"),
        optional("time", TIME, "Where the event's time is and how it is written: becomes `time`"),
        optional("id", Either(&[Word(&["content"]), List(&Path)]), "The identity of an event: becomes `id`"),
    ],
});

const HTTP_SOURCE: Form = Object(&Shape {
    noun: "field of an HTTP source",
    help: "Events that come in at POST /api/v1/events, or that a service has",
    fields: &[
        optional(
            "url",
            Text,
            "https://HOST/PATH of a service that is asked for events; without it, events come in at the server",
        ),
        optional("items", Path, "Where in an answer the list of events is; the answer itself when left out"),
        optional("next", NEXT, "How the next page of answers is found; one page when left out"),
        optional("cursor", Path, "Field of an event whose last value goes into `{cursor}` of `url`"),
        optional("start", Text, "The value of `{cursor}` before the first event"),
        optional("headers", Map(&Text), "Name: value"),
        optional("auth", AUTH, "How requests are authorized"),
        optional("tls", TLS, "Trusted authorities and the client certificate"),
        optional("timeout", Duration, "How long an answer is waited for; 30s when left out"),
        optional("mode", MODE, "follow (when left out): a session waits for more; once: it ends with what is there"),
        optional("interval", Duration, "How often a source that follows asks again; 1m when left out"),
        optional("time", TIME, "Where the event's time is and how it is written: becomes `time`"),
        optional("id", Either(&[Word(&["content"]), List(&Path)]), "The identity of an event without an id: becomes `id`"),
    ],
});

const NEXT: Form = Either(&[
    Word(&["link"]),
    Object(&Shape {
        noun: "field of the next page",
        help: "Where the token of the next page is",
        fields: &[
            required("field", Path, "Where in an answer the token or the address of the next page is"),
            optional("parameter", Text, "Query parameter that takes the token; without it, the field is an address"),
        ],
    }),
]);

const SKIP: Form = Object(&Shape {
    noun: "field of skipped rows",
    help: "Rows around the header of a CSV file",
    fields: &[
        default("before", Integer(0, 1000), "0", "Rows before the header"),
        default("after", Integer(0, 1000), "0", "Rows after the header"),
    ],
});

const FIXED_COLUMN: Form = Object(&Shape {
    noun: "field of a column",
    help: "A column of a file of fixed width",
    fields: &[
        required("name", Text, "Its name"),
        required("from", Integer(1, 1_000_000), "Its first character, counted from 1"),
        required("to", Integer(1, 1_000_000), "Its last character"),
        optional("type", COLUMN_TYPE, "Its type; text when left out"),
    ],
});
