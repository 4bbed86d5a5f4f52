//! The forms of tables and of operators that look up, split, gather, pair and price.

use flowmeter_core::schedule::SHORT_NAMES;

use super::forms::{SCHEDULE, TIME};
use super::shape::Form::{
    Any, Boolean, Duration, Either, Expression, Integer, List, Map, Number, Object, Path, Text, Word, Zone,
};
use super::shape::{Form, Shape, default, filled, optional, required};
use super::source::FILE;
use super::targets::{AUTH, TLS};

const AMEND_WITHIN: &str = "How long after its end a period's state is kept";
const RESET: Form = Either(&[Word(&SHORT_NAMES), SCHEDULE]);
const ROUNDING: Form = Word(&["half_even", "half_up", "down", "up", "floor", "ceil"]);

pub(super) const TABLE: Form = Object(&Shape {
    noun: "field of a table",
    help: "A table that operators look things up in",
    fields: &[
        required("name", Text, "Unique; small letters, digits, `_` and `-`, at most 80"),
        required("key", List(&Text), "The columns that identify a row; with validity, at each instant"),
        optional("file", FILE, "Its rows are in a file"),
        optional("rows", List(&Map(&Any)), "Its rows are here"),
        optional("http", HTTP_TABLE, "Its rows are the answer of a service"),
        optional("postgres", POSTGRES_TABLE, "Its rows are those of a query"),
        optional("validFrom", Text, "The column with the instant from which a row holds; missing: from ever"),
        optional("validTo", Text, "The column with the instant until which a row holds; missing: for ever"),
        default("timezone", Zone, "Etc/UTC", "Zone of times and dates without an offset"),
        default(
            "refresh",
            Duration,
            "0",
            "How often a server reads its rows again, at least 10s; 0: at the start of a session and on demand",
        ),
        default("rowsMax", Integer(1, 10_000_000), "1000000", "Rows it may have"),
        default("bytesMax", Integer(1, 4 << 30), "268435456", "Bytes its rows may have"),
    ],
});

const HTTP_TABLE: Form = Object(&Shape {
    noun: "field of an HTTP table",
    help: "The answer of a service: one object a line, a list of objects, or delimited text with a header",
    fields: &[
        required("url", Text, "https://HOST/PATH"),
        optional("format", Word(&["ndjson", "json", "csv"]), "How the answer is written; by its type when left out"),
        optional("headers", Map(&Text), "Name: value"),
        optional("auth", AUTH, "How requests are authorized"),
        optional("tls", TLS, "Trusted authorities and the client certificate"),
        optional("timeout", Duration, "How long an answer is waited for; 30s when left out"),
    ],
});

const POSTGRES_TABLE: Form = Object(&Shape {
    noun: "field of a Postgres table",
    help: "The rows of a query",
    fields: &[
        required("url", Text, "postgres://USER:PASSWORD@HOST/DATABASE; add ?sslmode=require for TLS"),
        required("query", Text, "A SELECT whose columns are those of the table"),
        optional("tls", TLS, "Trusted authorities and the client certificate"),
    ],
});

pub(super) const SPLIT: Form = Object(&Shape {
    noun: "field of a split",
    help: "Makes an event of each element of a list or member of an object",
    fields: &[
        required("path", Path, "Where the list or object is"),
        optional("into", Path, "Where the element goes; `path` when left out"),
        optional("key", Path, "Where its number goes, counted from 0; of an object, its name"),
        default("empty", Word(&["filter", "park"]), "filter", "Handling of an event whose list is empty"),
        default("childrenMax", Integer(1, 100_000), "10000", "Elements an event may have; more parks it"),
    ],
});

pub(super) const ENRICH: Form = Object(&Shape {
    noun: "field of an enrichment",
    help: "Sets fields from the row of a table",
    fields: &[
        required("table", Text, "The name of the table"),
        required("on", Map(&Path), "Key column: path; every key column"),
        required("set", Map(&Text), "Path: column"),
        optional("at", TIME, "When the row must hold; the event's time when left out"),
        default("match", Word(&["exact", "longestPrefix"]), "exact", "Whether the text must be the key or begin with it"),
        default(
            "unmatched",
            Word(&["park", "pass", "route"]),
            "park",
            "park; pass: the fields become null; route: the way `id.unmatched`",
        ),
    ],
});

const FIXED_CODE: Form = Either(&[
    Path,
    Object(&Shape {
        noun: "field of a currency",
        help: "The same currency for every event",
        fields: &[required("value", Text, "The currency, like EUR")],
    }),
]);

pub(super) const CURRENCY: Form = Object(&Shape {
    noun: "field of a currency conversion",
    help: "Converts an amount by an exchange rate of a table",
    fields: &[
        required("table", Text, "The name of the table of rates"),
        required("amount", Path, "Where the amount is"),
        required("from", FIXED_CODE, "The currency it is in: a path, or {value: USD}"),
        required("to", FIXED_CODE, "The currency it is converted to: a path, or {value: EUR}"),
        optional("base", Text, "The currency that all rates are from; then the key is currency, date, else from, to, date"),
        default("timezone", Zone, "Etc/UTC", "Zone of the event's day"),
        default("daysBack", Integer(0, 366), "7", "How many days a rate may be old"),
        required("set", Path, "Where the result goes"),
        optional("setRate", Path, "Where the rate goes"),
        optional("setRateDate", Path, "Where the date of the rate goes"),
        default("scale", Integer(0, 18), "18", "Digits of the result after the point"),
        default("rounding", ROUNDING, "half_even", "How it is rounded to them"),
        optional(
            "textNumbers",
            Boolean,
            "Whether the amount may be text; true for formats without numbers, such as CSV, and where the names of files leave the format open",
        ),
    ],
});

const TIER: Form = Object(&Shape {
    noun: "field of a tier",
    help: "A tier: from the bound of the tier before it to its own",
    fields: &[
        optional("upTo", Number, "Where it ends; exactly this quantity is in it"),
        optional("below", Number, "Where it ends; exactly this quantity is in the next"),
        default("unit", Number, "0", "Price of a unit"),
        default("flat", Number, "0", "Price of entering the tier"),
    ],
});

const PRICE: Form = Object(&Shape {
    noun: "field of a price",
    help: "The price of a quantity",
    fields: &[
        optional("model", Word(&["unit", "graduated", "volume", "package"]), "How it is priced"),
        optional("table", Text, "Instead: the table with a price in each row, in columns of these names"),
        optional("on", Map(&Path), "With `table`: key column: path; every key column"),
        optional("unit", Number, "For `unit`: price of a unit"),
        optional("tiers", List(&TIER), "For `graduated` and `volume`: in rising order, the last without a bound"),
        optional("size", Number, "For `package`: quantity in a package"),
        optional("packagePrice", Number, "For `package`: price of each started package"),
        optional("free", Number, "For `package`: quantity that costs nothing"),
        optional("minimum", Number, "The least that a quantity above 0 costs"),
        optional("maximum", Number, "The most that a quantity costs"),
    ],
});

pub(super) const RATE: Form = Object(&Shape {
    noun: "field of a rating",
    help: "Prices a quantity",
    fields: &[
        required("quantity", Path, "Where the quantity is"),
        required("set", Path, "Where the price goes"),
        optional("key", List(&Path), "With `schedule`: whose quantities add up"),
        optional("schedule", RESET, "The periods over which quantities add up; each event by itself when left out"),
        default("timezone", Zone, "Etc/UTC", "Zone of the schedule"),
        optional("time", TIME, "When the event was; that of the first meter operator when left out"),
        required("price", PRICE, "The price"),
        default("negative", Word(&["credit", "clamp", "park"]), "credit", "Handling of a quantity below 0"),
        default("scale", Integer(0, 18), "18", "Digits of the price after the point"),
        default("rounding", ROUNDING, "half_even", "How it is rounded to them"),
        default("amendWithin", Duration, "62d", AMEND_WITHIN),
        optional(
            "textNumbers",
            Boolean,
            "Whether the quantity may be text; true for formats without numbers, such as CSV, and where the names of files leave the format open",
        ),
    ],
});

const FOLD: Form = Object(&Shape {
    noun: "function",
    help: "One function",
    fields: &[
        optional("sum", Path, "The sum of a field"),
        optional("count", Boolean, "`true`: how many events"),
        optional("min", Path, "The least number"),
        optional("max", Path, "The greatest number"),
        optional("avg", Path, "The average"),
        optional("first", Path, "The first value"),
        optional("last", Path, "The last value"),
        optional("unique", Path, "How many different values"),
        optional("delta", Path, "The number less the one before (`aggregate`)"),
    ],
});

pub(super) const AGGREGATE: Form = Object(&Shape {
    noun: "field of an aggregation",
    help: "Sets fields to running aggregates of a key, in the order of arrival",
    fields: &[
        required("key", List(&Path), "The fields of the key; [] for one key"),
        required("fields", Map(&FOLD), "Path: {function: path}"),
        optional("schedule", RESET, "The periods in each of which it starts again"),
        default("timezone", Zone, "Etc/UTC", "Zone of the schedule"),
        optional("time", TIME, "When the event was; that of the first meter operator when left out"),
        default("missing", Word(&["park", "skip"]), "park", "Handling of an event without a value"),
        default("amendWithin", Duration, "62d", AMEND_WITHIN),
        optional(
            "textNumbers",
            Boolean,
            "Whether numbers may be text; true for formats without numbers, such as CSV, and where the names of files leave the format open",
        ),
    ],
});

const WINDOW: Form = Object(&Shape {
    noun: "field of a window",
    help: "One of size, schedule and gap",
    fields: &[
        optional("size", Duration, "How long a window is"),
        optional("step", Duration, "How often one begins; `size` when left out"),
        optional("offset", Duration, "Time from 1970-01-01T00:00:00Z to the first beginning; 0 when left out"),
        optional("schedule", RESET, "The periods of a schedule"),
        optional("gap", Duration, "Sessions: events less than this apart belong together"),
        optional("max", Duration, "Sessions: the longest there may be; 24h when left out"),
    ],
});

const LATE_INPUTS: Form = Object(&Shape {
    noun: "field of a late policy",
    help: "Handling of events for released windows",
    fields: &[
        default("policy", Word(&["amend", "carry", "park"]), "amend", "amend; carry: into the window of its receipt; park"),
        default("grace", Duration, "0", "How long a window waits after its end"),
        default("amendWithin", Duration, "7d", "How long after that it is remembered"),
    ],
});

pub(super) const ACCUMULATE: Form = Object(&Shape {
    noun: "field of an accumulation",
    help: "Gathers the events of a window into one",
    fields: &[
        required("key", List(&Path), "The fields of the key; [] for one key"),
        required("window", WINDOW, "The windows"),
        default("timezone", Zone, "Etc/UTC", "Zone of the schedule"),
        optional("time", TIME, "When the event was; that of the first meter operator when left out"),
        optional("fields", Map(&FOLD), "Path: {function: path}"),
        optional("keep", List(&Path), "Fields of the window's last event"),
        default("missing", Word(&["park", "skip"]), "park", "Handling of an event without a value"),
        default("stamp", Word(&["start", "last", "end"]), "start", "The time of the derived event"),
        default("release", Word(&["clock", "watermark"]), "clock", "By which clock windows end"),
        default("idle", Duration, "10m", "watermark: after so long without an event the clock holds"),
        filled("late", LATE_INPUTS, "Handling of events for released windows"),
        default("eventsMax", Integer(1, 100_000_000), "1000000", "Events of one window of one key"),
        optional(
            "textNumbers",
            Boolean,
            "Whether numbers may be text; true for formats without numbers, such as CSV, and where the names of files leave the format open",
        ),
    ],
});

const CUT: Form = Object(&Shape {
    noun: "field of a cut",
    help: "The boundaries at which open pairs are cut",
    fields: &[required("schedule", RESET, "The schedule"), default("timezone", Zone, "Etc/UTC", "Zone of the schedule")],
});

pub(super) const CORRELATE: Form = Object(&Shape {
    noun: "field of a correlation",
    help: "Pairs starts with stops",
    fields: &[
        required("key", List(&Path), "The fields of the key; [] for one key"),
        required("start", Expression, "Whether an event is a start"),
        required("stop", Expression, "Whether an event is a stop"),
        optional("time", TIME, "When the event was; that of the first meter operator when left out"),
        required("duration", Path, "Where the length goes"),
        default("unit", Word(&["second", "millisecond", "minute", "hour"]), "second", "The unit of the length"),
        optional("stopFields", List(&Path), "Fields that are copied from the stop"),
        optional("cut", CUT, "The boundaries at which open pairs are cut"),
        default("grace", Duration, "0", "How long a boundary or a stop waits"),
        default("repeat", Word(&["first", "last"]), "first", "Which start counts, if another one is within a pair"),
        default("timeout", Either(&[Word(&["none"]), Duration]), "24h", "How long a start waits for its stop"),
        default("onTimeout", Word(&["park", "close"]), "park", "Handling of a start that has timed out"),
        default("wait", Duration, "1h", "How long a stop waits for its start"),
        default("amendWithin", Duration, "7d", "How long after its end a pair is remembered"),
        default("eventsMax", Integer(1, 1_000_000), "10000", "Events of one key that are held"),
    ],
});

pub(super) const SCRIPT: Form = Object(&Shape {
    noun: "field of a script",
    help: "Runs JavaScript on events: `function step(event, context)` returns the event, a list of events, or null",
    fields: &[
        optional("code", Text, "The code"),
        optional("file", Text, "The file with the code, beside the document; its content is part of the version"),
        optional("key", List(&Path), "The fields by which it keeps state; no state when left out"),
        default("steps", Integer(1_000, 100_000_000), "1000000", "Turns of loops and calls of functions for one event"),
        default("memory", Integer(1 << 20, 256 << 20), "16777216", "Bytes of memory"),
        default("stack", Integer(64 << 10, 4 << 20), "262144", "Bytes of stack"),
        default("stateBytes", Integer(1, 1 << 20), "65536", "Bytes of a key's state as JSON"),
        default("childrenMax", Integer(1, 100_000), "1000", "Events that one event may become; more parks it"),
        default("stateVersion", Integer(0, 1_000_000_000), "0", "Another number begins with empty state"),
        default("amendWithin", Duration, "7d", "How long a key's inputs are kept for corrections"),
    ],
});

pub(super) const HTTP: Form = Object(&Shape {
    noun: "field of a call",
    help: "Asks an HTTP service about an event and sets fields to what it answers",
    fields: &[
        required("url", Text, "The address; values of {{ expressions }} over the event are encoded"),
        default("method", Word(&["GET", "POST"]), "GET", "The method"),
        optional("headers", Map(&Text), "Name: value; values may hold {{ expressions }}"),
        optional("body", Any, "The JSON of a POST; texts may hold {{ expressions }}"),
        optional("auth", AUTH, "How requests are authorized"),
        optional("tls", TLS, "Trusted authorities and the client certificate"),
        required("set", Map(&Text), "Path: an expression over `status`, `headers` and `body`"),
        optional("accepted", List(&Integer(100, 599)), "Statuses that are answers; 200 to 299 when left out"),
        default("timeout", Duration, "10s", "How long one attempt may take"),
        default("attempts", Integer(1, 10), "3", "How often a request is tried"),
        default("onRefused", Word(&["park", "pass"]), "park", "park (`http_refused`); pass: the fields become null"),
        default(
            "onUnavailable",
            Word(&["park", "pass", "wait"]),
            "park",
            "park (`http_unavailable`); pass: the fields become null; wait: the pipeline waits for an answer",
        ),
        default("cache", Duration, "0", "How long an answer serves equal requests"),
        default("concurrency", Integer(1, 256), "8", "Requests at a time"),
        default("answerBytesMax", Integer(1, 1 << 20), "65536", "Bytes that the body of an answer may have"),
        default("debug", Word(&["skip", "call"]), "skip", "In a DEBUG session: skip: the fields become null"),
    ],
});
