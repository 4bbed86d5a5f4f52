//! A page of metrics, in the text format of Prometheus or of OpenMetrics.
//!
//! OpenMetrics differs in three points: it names a family of counters without `_total`, has a type
//! for information, and marks the end of the page.

use std::fmt::{Display, Write};

/// The format of a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::api) enum Form {
    /// The text format 0.0.4.
    Prometheus,
    /// The format OpenMetrics 1.0.0.
    OpenMetrics,
}

impl Form {
    /// The format that a request accepts.
    pub(in crate::api) fn of_accept(accept: &str) -> Form {
        match accept.contains("application/openmetrics-text") {
            true => Form::OpenMetrics,
            false => Form::Prometheus,
        }
    }

    /// Returns the content type.
    pub(in crate::api) fn content_type(self) -> &'static str {
        match self {
            Form::Prometheus => "text/plain; version=0.0.4; charset=utf-8",
            Form::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }
}

/// The type of a family.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// A value that only increases. Its name ends in `_total`.
    Counter,
    /// A value that increases and decreases.
    Gauge,
    /// Labels with information; the value is 1.
    Info,
}

/// A page that is being written.
pub(super) struct Page {
    form: Form,
    text: String,
    name: &'static str,
}

impl Page {
    pub(super) fn new(form: Form) -> Page {
        Page { form, text: String::new(), name: "" }
    }

    /// Starts a family; its lines follow.
    pub(super) fn family(&mut self, name: &'static str, kind: Kind, help: &str) {
        debug_assert_eq!(name.ends_with("_total"), kind == Kind::Counter, "{name}");
        let (family, word) = match (self.form, kind) {
            (Form::Prometheus, Kind::Counter) => (name, "counter"),
            (Form::Prometheus, Kind::Gauge | Kind::Info) => (name, "gauge"),
            (Form::OpenMetrics, Kind::Gauge) => (name, "gauge"),
            (Form::OpenMetrics, Kind::Counter) => (name.trim_end_matches("_total"), "counter"),
            (Form::OpenMetrics, Kind::Info) => (name.trim_end_matches("_info"), "info"),
        };
        let _ = writeln!(self.text, "# HELP {family} {help}\n# TYPE {family} {word}");
        self.name = name;
    }

    /// Writes a line of the family.
    pub(super) fn line(&mut self, labels: &str, value: impl Display) {
        let name = self.name;
        let _ = match labels {
            "" => writeln!(self.text, "{name} {value}"),
            labels => writeln!(self.text, "{name}{{{labels}}} {value}"),
        };
    }

    /// Writes a family of one line.
    pub(super) fn one(&mut self, name: &'static str, kind: Kind, help: &str, value: impl Display) {
        self.family(name, kind, help);
        self.line("", value);
    }

    pub(super) fn finish(mut self) -> String {
        if self.form == Form::OpenMetrics {
            self.text.push_str("# EOF\n");
        }
        self.text
    }
}

/// Escapes text for a label.
pub(super) fn escape(text: &str) -> String {
    text.replace('\\', r"\\").replace('"', "\\\"").replace('\n', "\\n")
}

/// Returns nanoseconds as seconds with three places; negative values become 0.
pub(super) fn seconds(nanos: i128) -> String {
    let millis = nanos.max(0) / 1_000_000;
    format!("{}.{:03}", millis / 1_000, millis % 1_000)
}
