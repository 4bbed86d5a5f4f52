//! The fields of a pipeline document: the one table.

use flowmeter_core::aggregation::Aggregation;
use flowmeter_core::decimal::Rounding;
use flowmeter_core::expression::condition::OPERATORS;
use flowmeter_core::schedule::SHORT_NAMES;

use super::shape::Form::{
    Any, Boolean, Character, Duration, Either, Expression, Instant, Integer, List, Map, Number, Object, Path, Text, Uuid, Value,
    Word, Zone,
};
use super::shape::{Field, Form, Shape, default, filled, optional, required};
use super::source::SOURCE;

pub(super) const PIPELINE: Form = Object(&Shape {
    noun: "field of a pipeline",
    help: "A pipeline: sources, operators, meter types, targets",
    fields: &[
        required("pipeline", Text, "Unique name, at most 80 characters"),
        optional("description", Text, "For people"),
        optional("source", SOURCE, "Where events come from"),
        optional("sources", List(&SOURCE), "Several sources, each with an id"),
        optional("schedule", RUN_SCHEDULE, "When sessions of a server start by themselves"),
        required("operators", List(&OPERATOR), "The steps; a list is a chain, `from` makes it a graph"),
        optional("tables", List(&super::operator_forms::TABLE), "Tables that operators look things up in"),
        optional("meterTypes", List(&METER_TYPE), "Templates of meters"),
        optional("meters", List(&METER), "Meters that exist from the beginning"),
        optional("targets", List(&super::targets::forms::TARGET), "Where records go"),
        optional(
            "dedupe",
            Either(&[Word(&["off"]), DEDUPE]),
            "Deduplication where events come in, if no operator does it; `off` for none",
        ),
        default("futureTolerance", Duration, "5m", "How far ahead of the clock an event may be"),
        optional(
            "pastTolerance",
            Either(&[Word(&["none"]), Duration]),
            "How far behind the clock an event may be; any time in a run, 400 days in a server (or as long as types may be amended)",
        ),
        default("eventBytesMax", Integer(1, 64 << 20), "1048576", "Bytes of one event"),
        optional("maxErrorPercent", Number, "Share of parked events that fails a session"),
        optional("statusInterval", Duration, "The time between periodic updates of a session's operators"),
        optional("tests", List(&TEST), "Events and the records they must make, for `flowmeter test`; no effect on a session"),
    ],
});

const RUN_SCHEDULE: Form = Object(&Shape {
    noun: "field of a schedule",
    help: "When sessions of a server start by themselves",
    fields: &[
        optional("cron", Either(&[Text, SCHEDULE]), "Minute, hour, day of the month, month, day of the week: '0 2 * * *'"),
        optional("every", Word(&["hour", "day", "week", "month", "quarter", "year"]), "The unit, instead of cron"),
        optional("count", Integer(1, 1000), "How many units; 1 when left out"),
        optional("anchor", ANCHOR, "Where in its unit a run is due"),
        default("timezone", Zone, "Etc/UTC", "Zone of the clock"),
        default("overlap", Word(&["skip", "queue"]), "skip", "Handling of a run that is due while one is running"),
        default(
            "catchUp",
            Word(&["latest", "all", "none"]),
            "latest",
            "Runs made up for that were due while the server was down",
        ),
        optional("retry", RETRY, "How a run that failed is tried again; not at all when left out"),
    ],
});

const RETRY: Form = Object(&Shape {
    noun: "field of a retry",
    help: "How a run that failed is tried again",
    fields: &[required("times", Integer(0, 100), "How often"), default("pause", Duration, "5m", "How long after the failure")],
});

const TEST: Form = Object(&Shape {
    noun: "field of a test",
    help: "Events and the records they must make",
    fields: &[
        required("name", Text, "Unique in the document"),
        required("input", Either(&[Text, List(&Map(&Any))]), "The events, or a file with them in the format of the first source"),
        optional("asOf", Instant, "The clock of the test; the present time when left out"),
        required(
            "expect",
            Either(&[Text, List(&Map(&Any))]),
            "All records, or a file with them, one a line; only the fields that are named are compared",
        ),
    ],
});

const ROUND: Form = Object(&Shape {
    noun: "field of a rounding",
    help: "How a number is rounded where it is read",
    fields: &[
        required("places", Integer(-20, 18), "Digits behind the decimal point"),
        default("mode", Word(&Rounding::NAMES), "half_even", "Which way a number between two steps goes"),
    ],
});

pub(super) const NUMBER: Form = Object(&Shape {
    noun: "field of a number",
    help: "How a number is written",
    fields: &[
        default("decimal", Character, ".", "Between whole and fraction"),
        optional("group", Character, "Between groups of digits"),
        default("percent", Boolean, "false", "Whether a percent sign divides by a hundred"),
        default("currency", Boolean, "false", "Whether signs and codes of currencies are cut, and parentheses are a minus"),
        optional("round", ROUND, "How it is rounded"),
    ],
});

pub(super) const COLUMN_TYPE: Form = Either(&[
    Word(&["text", "number", "boolean"]),
    Object(&Shape {
        noun: "field of a type",
        help: "A number and how it is written",
        fields: &[required("number", NUMBER, "How it is written")],
    }),
]);

pub(super) const TIME: Form = Either(&[
    Path,
    Object(&Shape {
        noun: "field of a time",
        help: "Where a time is and how it is written",
        fields: &[
            optional("field", Path, "Where it is"),
            optional("fields", List(&Path), "Fields that are joined"),
            optional("join", Text, "The text between joined fields; a blank when left out"),
            default("format", Text, "rfc3339", "rfc3339, unix_s, unix_ms, unix_us, unix_ns, or a strptime pattern"),
            default("timezone", Zone, "Etc/UTC", "Zone of times that have no offset"),
            optional("ignoreZoneName", Boolean, "Whether `%Z` of a pattern that also has an offset is skipped"),
            optional(
                "missing",
                Word(&["park", "received"]),
                "Handling of an event without it: parked (when left out), or given the time of receipt",
            ),
        ],
    }),
]);

const OPERATOR: Form = Object(&Shape {
    noun: "operator",
    help: "One step",
    fields: &[
        optional("id", Text, "For `from` and for counters; the operator's name when left out"),
        optional(
            "from",
            Either(&[Text, List(&Text)]),
            "The operators, routes (`id.route`) or sources it reads; the one before when left out",
        ),
        optional("filter", FILTER, "Keeps the events for which a condition holds"),
        optional("map", MAP, "Changes fields"),
        optional("validate", VALIDATE, "Parks events that a JSON Schema refuses"),
        optional("dedupe", DEDUPE, "Drops what has been seen before"),
        optional("branch", BRANCH, "Sends events different ways"),
        optional("meter", METER_PROCESSOR, "Guides events to meters"),
        optional("split", super::operator_forms::SPLIT, "Makes an event of each element of a list"),
        optional("enrich", super::operator_forms::ENRICH, "Sets fields from the row of a table"),
        optional("currency", super::operator_forms::CURRENCY, "Converts an amount by an exchange rate"),
        optional("rate", super::operator_forms::RATE, "Prices a quantity"),
        optional("aggregate", super::operator_forms::AGGREGATE, "Sets fields to running aggregates of a key"),
        optional("accumulate", super::operator_forms::ACCUMULATE, "Gathers the events of a window into one"),
        optional("correlate", super::operator_forms::CORRELATE, "Pairs starts with stops"),
        optional("script", super::operator_forms::SCRIPT, "Runs JavaScript on events"),
        optional("http", super::operator_forms::HTTP, "Asks an HTTP service"),
    ],
});

const CONDITIONS: Form = Object(&Shape {
    noun: "field of conditions",
    help: "Conditions, all or any of which must hold",
    fields: &[optional("all", List(&CONDITION), "All must hold"), optional("any", List(&CONDITION), "One must hold")],
});

const CONDITION: Form = Object(&Shape {
    noun: "field of a condition",
    help: "A comparison, an expression, or a group of conditions",
    fields: &[
        optional("field", Path, "The field that is compared"),
        optional("op", Word(&OPERATORS), "How"),
        optional("value", Any, "With what"),
        optional("expression", Expression, "Any condition in CEL"),
        optional("all", List(&NESTED), "All must hold"),
        optional("any", List(&NESTED), "One must hold"),
    ],
});

/// One more level; deeper conditions are written as an expression.
const NESTED: Form = Object(&Shape {
    noun: "field of a condition",
    help: "A comparison or an expression",
    fields: &[
        optional("field", Path, "The field that is compared"),
        optional("op", Word(&OPERATORS), "How"),
        optional("value", Any, "With what"),
        optional("expression", Expression, "Any condition in CEL"),
    ],
});

const FILTER: Form = Object(&Shape {
    noun: "field of a filter",
    help: "Keeps the events for which a condition holds",
    fields: &[
        optional("when", Expression, "The condition in CEL"),
        optional("conditions", CONDITIONS, "The condition, structured"),
    ],
});

const MAP: Form = Object(&Shape {
    noun: "field of a map",
    help: "Changes fields, in this order: rename, convert, set, remove",
    fields: &[
        optional("rename", Map(&Path), "Old path: new path"),
        optional("convert", Map(&COLUMN_TYPE), "Path: type"),
        optional("set", Map(&Expression), "Path: expression"),
        optional("remove", List(&Path), "Paths"),
    ],
});

const VALIDATE: Form = Object(&Shape {
    noun: "field of a validation",
    help: "Parks events that a JSON Schema refuses",
    fields: &[required("schema", Any, "The JSON Schema")],
});

const DEDUPE: Form = Object(&Shape {
    noun: "field of a deduplication",
    help: "Drops what has been seen before; the first arrival wins",
    fields: &[
        default("key", List(&Path), "[source, id]", "The fields that identify an event"),
        default("window", Text, "32d", "A duration, `forever`, or a calendar period: hour, day, week, month, quarter, year"),
        default("timezone", Zone, "Etc/UTC", "Zone of a calendar period"),
        default("by", Word(&["event", "arrival"]), "event", "Whose time the window is of"),
        optional("time", TIME, "The event's time; that of the first meter operator when left out"),
    ],
});

const BRANCH: Form = Object(&Shape {
    noun: "field of a branch",
    help: "Sends each event the first way whose condition holds, or the way `default`",
    fields: &[required("routes", List(&ROUTE), "In order")],
});

const ROUTE: Form = Object(&Shape {
    noun: "field of a route",
    help: "A way and its condition",
    fields: &[
        required("name", Text, "Operators read it with `from: branch.name`"),
        optional("when", Expression, "The condition in CEL"),
        optional("conditions", CONDITIONS, "The condition, structured"),
    ],
});

const METER_PROCESSOR: Form = Object(&Shape {
    noun: "field of a meter operator",
    help: "The meter processor: guides events to meters",
    fields: &[
        required("key", Uuid, "The meter key: a UUID of your own, the same for ever"),
        optional("user", Path, "Where the user is; `subject`, else `userId`, when left out"),
        optional("time", TIME, "Where the time is; `time`, else `timestamp`, when left out"),
        default("value", Value, "value", "Where the value is, or an expression, for rules that do not say"),
        required("rules", List(&RULE), "Guiding rules, in order"),
        default("match", Word(&["first", "all"]), "first", "Whether the first rule that applies counts, or all"),
        default("unmatched", Word(&["park", "drop"]), "park", "Handling of events that no rule applies to"),
        optional(
            "textNumbers",
            Boolean,
            "Whether values may be numbers written as text; true for formats without numbers, such as CSV, and where the names of files leave the format open",
        ),
    ],
});

const FIELDS: Form = Either(&[Path, List(&Path)]);

const RULE: Form = Object(&Shape {
    noun: "field of a rule",
    help: "A guiding rule",
    fields: &[
        optional("name", Text, "For the audit"),
        optional("conditions", CONDITIONS, "When it applies; always, without"),
        optional("when", Expression, "When it applies, in CEL"),
        default("category", Text, "DEFAULT", "The category of the meter types it counts in"),
        optional("value", Value, "Where the value is, or an expression"),
        optional("round", ROUND, "How the value is rounded where it is read"),
        optional("series", List(&Path), "For `delta` and levels: the fields that tell the counters of one user apart"),
        optional("groupBy", List(&FIELDS), "Breakdowns, each over one field or several"),
        optional("carryFirst", List(&Path), "Fields whose first occurrence goes into the record"),
        optional("carryLast", List(&Path), "Fields whose last occurrence goes into the record"),
    ],
});

pub(super) const METER_TYPE: Form = Object(&Shape {
    noun: "field of a meter type",
    help: "A meter type: the template of a meter",
    fields: &[
        optional("id", Uuid, "Derived from the name when left out"),
        required("name", Text, "Unique, at most 80 characters"),
        optional("description", Text, "For people"),
        optional("externalRef", Text, "The biller's name for it; unique"),
        default("category", Text, "DEFAULT", "The category that guiding rules address"),
        default("unit", Text, "", "The unit of values"),
        default("aggregation", Either(&[Word(&Aggregation::NAMES), AGGREGATION]), "sum", "How values are aggregated"),
        optional("p", Number, "For `percentile`: above 0, at most 100"),
        optional("timeUnit", TIME_UNIT, "For `weighted`"),
        optional("input", LEVEL_INPUT, "For `weighted`"),
        default("resetSchedule", Either(&[Word(&SHORT_NAMES), SCHEDULE]), "monthly", "When its meters reset"),
        default("timezone", Either(&[Zone, OWN_ZONE]), "Etc/UTC", "The zone of its reset schedule"),
        optional("activeFrom", Instant, "Events before are parked"),
        optional("activeTo", Instant, "Events at or after are parked"),
        optional("capacity", Number, "The amount a user may use in a period"),
        optional("capacityFrom", Path, "Field of events with the capacity of their meter, if users differ"),
        optional("thresholds", List(&THRESHOLD), "Partial records on the way"),
        default("autoCreate", Boolean, "true", "Whether an event may open a meter"),
        default("flushEmpty", Boolean, "true", "Whether a period without events is flushed"),
        default("emptyPeriodsMax", Integer(1, 10_000_000), "1000", "Periods without events that one event may open"),
        filled("late", LATE, "Handling of events for flushed periods"),
        default("groupLimit", Integer(1, 1_000_000), "10000", "Group values a meter keeps apart"),
    ],
});

const OWN_ZONE: Form = Object(&Shape {
    noun: "field of a time zone",
    help: "The zone of each meter, taken from the event that opens it",
    fields: &[
        required("field", Path, "Field of the event with an IANA name, like data.tz"),
        default("default", Zone, "Etc/UTC", "The zone of a meter whose event names none"),
    ],
});

const TIME_UNIT: Form = Word(&["second", "minute", "hour", "day", "period"]);
const LEVEL_INPUT: Form = Word(&["level", "change"]);

const RESTART: Form = Either(&[
    Object(&Shape {
        noun: "field of a restart",
        help: "Which drop of a counter is a restart",
        fields: &[required("below", Number, "Share of the last reading, like 0.5; a smaller drop is a dip")],
    }),
    Word(&["any", "none"]),
]);

const AGGREGATION: Form = Object(&Shape {
    noun: "field of an aggregation",
    help: "An aggregation with its parameters",
    fields: &[
        required("type", Word(&Aggregation::NAMES), "Which"),
        optional("p", Number, "For `percentile`: above 0, at most 100"),
        optional("timeUnit", TIME_UNIT, "For `weighted`: the value is level times this unit; hour when left out"),
        optional("input", LEVEL_INPUT, "For `weighted`: whether events state the level or change it; level when left out"),
        optional("restart", RESTART, "For `delta`: what a drop is; any when left out"),
        optional("wrapAt", Number, "For `delta`: where the counter begins at 0 again; a drop is that"),
        optional(
            "begin",
            Word(&["reading", "zero"]),
            "For `delta`: whether the first reading is only a beginning or counts from 0",
        ),
        optional("ignoreZero", Boolean, "For `delta`: whether a single 0 between two higher readings is a glitch"),
    ],
});

/// Also the form of `flowmeter periods --schedule`.
pub(super) const SCHEDULE: Form = Object(&Shape {
    noun: "field of a reset schedule",
    help: "Cron (minute, hour, day, month, weekday) or every (every, count, anchor)",
    fields: &[
        optional("minute", Text, "Cron minute"),
        optional("hour", Text, "Cron hour"),
        optional("day", Text, "Cron day of the month; L for the last"),
        optional("month", Text, "Cron month"),
        optional("weekday", Text, "Cron day of the week"),
        optional("every", Word(&["hour", "day", "week", "month", "quarter", "year"]), "The unit"),
        optional("count", Integer(1, 1000), "How many units; 1 when left out"),
        optional("anchor", ANCHOR, "Where in its unit a period begins"),
    ],
});

const ANCHOR: Form = Object(&Shape {
    noun: "field of an anchor",
    help: "Where in its unit a period begins",
    fields: &[
        optional("month", Integer(1, 12), "For quarters and years"),
        optional("day", Integer(1, 31), "For months, quarters and years; a month without it begins on its last day"),
        optional("weekday", Word(&["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"]), "For weeks"),
        optional("time", Text, "HH:MM"),
    ],
});

const THRESHOLD: Form = Object(&Shape {
    noun: "field of a threshold",
    help: "A value that is worth a partial record",
    fields: &[
        required("name", Text, "Unique in the meter type"),
        optional("percentOfCapacity", Number, "Share of the capacity"),
        optional("value", Number, "The value itself"),
        optional("customFields", Map(&Any), "Sent along"),
    ],
});

const LATE: Form = Object(&Shape {
    noun: "field of a late policy",
    help: "Handling of events for flushed periods",
    fields: &[
        default(
            "policy",
            Word(&["amend", "carry", "park"]),
            "amend",
            "amend: a new revision; carry: into the current period; park: the correction queue",
        ),
        default("grace", Duration, "0", "How long a period stays open after its end"),
        default("amendWithin", Duration, "62d", "How long after its end a period may be amended"),
    ],
});

const METER: Form = Object(&Shape {
    noun: "field of a meter",
    help: "A meter that exists from the beginning",
    fields: &[
        optional("id", Uuid, "Derived when left out"),
        required("userId", Text, "Whose it is"),
        required("meterType", Text, "Name or id of its meter type"),
        optional("meterKey", Uuid, "Key of its meter operator; needed if there are several"),
        optional("createdAt", Instant, "Start of its first period; the session's start when left out"),
        default("deleteOnReset", Boolean, "false", "Whether it goes at its next reset"),
        optional("customFields", Map(&Any), "Copied to its records"),
        optional("timezone", Zone, "Its zone, if the meter type has `timezone: {field: …}`"),
        OWN_CAPACITY,
        OWN_THRESHOLDS,
    ],
});

const OWN_CAPACITY: Field = optional("capacity", Number, "The amount its user may use in a period, in place of that of its type");
const OWN_THRESHOLDS: Field = optional("thresholds", List(&THRESHOLD), "In place of those of its type");

/// The limits that one meter may have of its own, as the API takes them.
pub(super) const OWN: Form =
    Object(&Shape { noun: "setting of a meter", help: "Limits of one meter", fields: &[OWN_CAPACITY, OWN_THRESHOLDS] });
