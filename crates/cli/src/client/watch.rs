//! `flowmeter sessions watch`: shows status changes and counts as they happen.
//!
//! On a terminal it updates one table; elsewhere it prints a line for each event, as JSON if
//! requested. A single session is followed from its beginning to its end. A broken stream is
//! resumed where it was.

use std::collections::BTreeMap;
use std::io::{IsTerminal, Write};
use std::process::ExitCode;
use std::time::Duration;

use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::connection::{Connection, Server};
use super::table::{self, Columns};
use crate::failure::Wrong;
use crate::form::Form;

/// Attempts to resume a broken stream.
const TRIES_MAX: u32 = 5;
const TRY_AGAIN: Duration = Duration::from_secs(1);
const FINAL: [&str; 5] = ["TESTING_PASSED", "TESTING_FAILED", "COMPLETED", "FAILED", "CANCELED"];
const COLUMNS: Columns = &[
    ("SESSION", "session"),
    ("PIPELINE", "pipeline"),
    ("TYPE", "type"),
    ("STATUS", "status"),
    ("OPERATOR", "operator"),
    ("TOOK", "took"),
    ("GAVE", "gave"),
    ("ERRORS", "errors"),
    ("%", "percentage"),
    ("AT", "at"),
];

pub(super) fn watch(server: &Server, id: Option<&str>) -> anyhow::Result<ExitCode> {
    if let Some(id) = id {
        // The stream would never have events of a session that does not exist.
        let path = format!("/api/v1/sessions/{}", super::part(id));
        let answer = Connection::new(&server.address)?.ask("GET", &path, None)?;
        if !(200..300).contains(&answer.status) {
            return Err(super::connection::refusal(&answer));
        }
    }
    let connection = Connection::patient(&server.address)?;
    let mut watching = Watching { id, form: server.output, rows: BTreeMap::new(), drawn: 0, after: id.map(|_| 0) };
    let mut tries = 0;
    loop {
        match watching.follow(&connection) {
            Ok(true) => return Ok(ExitCode::SUCCESS),
            Ok(false) => tries = 0,
            Err(why) if why.is::<Wrong>() || why.is::<Output>() || tries >= TRIES_MAX => return Err(why),
            Err(why) => eprintln!("{why:#}; again in {} s", TRY_AGAIN.as_secs()),
        }
        tries += 1;
        std::thread::park_timeout(TRY_AGAIN);
    }
}

/// The reader of the output has closed it.
#[derive(Debug)]
struct Output(std::io::Error);

impl std::fmt::Display for Output {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

impl std::error::Error for Output {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.0)
    }
}

struct Watching<'w> {
    id: Option<&'w str>,
    form: Form,
    /// By session and operator; the session's own row has no operator.
    rows: BTreeMap<(String, String), Value>,
    /// Lines of the table on the terminal.
    drawn: usize,
    /// The last event, after which to resume.
    after: Option<u64>,
}

impl Watching<'_> {
    /// Follows until the session has ended (true) or the stream has (false).
    fn follow(&mut self, connection: &Connection) -> anyhow::Result<bool> {
        let types = "type=meter.session.status&type=meter.session.operators";
        let after = self.after.map(|after| format!("&after={after}")).unwrap_or_default();
        for line in connection.lines(&format!("/api/v1/stream?{types}{after}"))? {
            let Ok(line) = line else { return Ok(false) };
            let Some(data) = line.strip_prefix("data: ") else { continue };
            let event: Value = serde_json::from_str(data)?;
            self.after = event["number"].as_u64().or(self.after);
            let payload = &event["payload"];
            if self.id.is_some_and(|id| payload["sessionId"] != id) {
                continue;
            }
            self.show(&event, data).map_err(Output)?;
            let status = payload["sessionStatus"].as_str().unwrap_or_default();
            if self.id.is_some() && FINAL.contains(&status) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn show(&mut self, event: &Value, data: &str) -> std::io::Result<()> {
        let mut out = std::io::stdout().lock();
        if self.form == Form::Json {
            writeln!(out, "{data}")?;
            return out.flush();
        }
        let payload = &event["payload"];
        if !out.is_terminal() {
            writeln!(out, "{}", line(event))?;
            return out.flush();
        }
        let text = |name: &str| payload[name].as_str().unwrap_or_default().to_owned();
        self.rows.insert((text("sessionId"), text("operatorId")), row(event));
        let items: Vec<Box<RawValue>> =
            self.rows.values().filter_map(|row| RawValue::from_string(row.to_string()).ok()).collect();
        let drawn = table::list(&items, COLUMNS, Form::Table);
        if self.drawn > 0 {
            // Up to the beginning of the table, and clear everything below.
            write!(out, "\x1b[{}A\x1b[J", self.drawn)?;
        }
        self.drawn = drawn.lines().count();
        write!(out, "{drawn}")?;
        out.flush()
    }
}

fn row(event: &Value) -> Value {
    let payload = &event["payload"];
    json!({
        "session": payload["sessionId"], "pipeline": payload["meterName"], "type": payload["sessionRunType"],
        "status": payload["sessionStatus"], "operator": payload["operatorId"], "took": payload["operatorTotalCount"],
        "gave": payload["operatorOutputCount"], "errors": payload["operatorErrorCount"],
        "percentage": payload["operatorErrorPercentage"], "at": event["at"],
    })
}

/// Formats an event for people who keep the output.
fn line(event: &Value) -> String {
    let payload = &event["payload"];
    let text = |name: &str| payload[name].as_str().unwrap_or("-").to_owned();
    let number = |name: &str| payload[name].to_string();
    let what = match payload.get("operatorId") {
        Some(_) => format!(
            "{} took {}, gave {}, errors {} ({} %)",
            text("operatorId"),
            number("operatorTotalCount"),
            number("operatorOutputCount"),
            number("operatorErrorCount"),
            number("operatorErrorPercentage"),
        ),
        None => format!("{} -> {}", text("sessionPreviousStatus"), text("sessionStatus")),
    };
    let at = event["at"].as_str().unwrap_or_default();
    format!("{at}  {}  {}  {}  {what}", text("sessionId"), text("meterName"), text("sessionRunType"))
}
