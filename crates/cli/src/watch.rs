//! The observer of a run: progress bar, parked events, samples.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufWriter, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use flowmeter_connectors::push::Tell;
use flowmeter_core::event::quote_into;
use flowmeter_core::mediation::Tap;
use flowmeter_core::verdict::Tally;
use flowmeter_engine::{DerivedEvent, Error, Observer, ParkedEvent};
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::Value;

/// The maximum of parked events in the summary.
const SHOWN: usize = 10;

/// A parked event in the summary.
#[derive(Debug)]
pub(crate) struct Shown {
    pub(crate) file: String,
    pub(crate) line: u64,
    pub(crate) reason: &'static str,
    pub(crate) detail: String,
    pub(crate) remedy: &'static str,
}

/// The observer of a run.
pub(crate) struct Watch {
    /// The first parked events.
    pub(crate) shown: Vec<Shown>,
    /// Samples of events that left each operator: operator, line, fields.
    pub(crate) taps: Vec<(u16, u64, String)>,
    /// Fields that the pipeline names and that no event had.
    pub(crate) unseen: Vec<String>,
    /// Warnings about files that did not stop their reading.
    pub(crate) warnings: Vec<String>,
    taps_max: usize,
    file: Option<(BufWriter<File>, String)>,
    /// Events that operators made, where they are asked for.
    derived: Option<Derived>,
    bar: ProgressBar,
}

/// Events that operators made: written at the end, sorted.
struct Derived {
    path: PathBuf,
    /// By id and source; a later event of the same takes the place of the former.
    events: BTreeMap<(String, String, u64), Vec<u8>>,
    count: u64,
}

impl Watch {
    /// Creates an observer. Parked events go to a file, if one is named; progress goes to a
    /// terminal, if there is one.
    pub(crate) fn new(parked: Option<&Path>, taps_max: usize) -> Result<Watch, Error> {
        let open = |path: &Path| {
            let name = path.display().to_string();
            let file = File::create(path).map_err(|why| Error::io(&name, &why))?;
            Ok::<_, Error>((BufWriter::new(file), name))
        };
        let bar = if std::io::stderr().is_terminal() { ProgressBar::new(0) } else { ProgressBar::hidden() };
        let style = ProgressStyle::with_template("{bar:30} {bytes}/{total_bytes}  {msg}  {elapsed}, {eta} left");
        bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
        bar.enable_steady_tick(Duration::from_millis(200));
        Ok(Watch {
            shown: Vec::new(),
            taps: Vec::new(),
            unseen: Vec::new(),
            warnings: Vec::new(),
            taps_max,
            file: parked.map(open).transpose()?,
            derived: None,
            bar,
        })
    }

    /// Keeps the events that operators make, and writes them to a file at the end.
    pub(crate) fn keep_derived(&mut self, path: &Path) {
        self.derived = Some(Derived { path: path.to_owned(), events: BTreeMap::new(), count: 0 });
    }

    /// Returns a function that prints messages above the progress bar.
    pub(crate) fn printer(&self) -> Tell {
        let bar = self.bar.clone();
        Arc::new(move |line| bar.suspend(|| eprintln!("{line}")))
    }

    /// Removes the bar and finishes the file of parked events.
    pub(crate) fn finish(&mut self) -> Result<(), Error> {
        self.bar.finish_and_clear();
        self.derived.take().map_or(Ok(()), Derived::write)?;
        match &mut self.file {
            Some((file, name)) => file.flush().map_err(|why| Error::io(name, &why)),
            None => Ok(()),
        }
    }
}

impl Observer for Watch {
    fn parked(&mut self, event: &ParkedEvent<'_>) -> Result<(), Error> {
        if self.shown.len() < SHOWN {
            self.shown.push(Shown {
                file: event.origin.name.to_string(),
                line: event.line,
                reason: event.reason.code(),
                detail: event.detail.to_owned(),
                remedy: event.reason.remedy(),
            });
        }
        match &mut self.file {
            Some((file, name)) => file.write_all(&parked_json(event)).map_err(|why| Error::io(name, &why)),
            None => Ok(()),
        }
    }

    fn wants_derived(&self) -> bool {
        self.derived.is_some()
    }

    fn derived(&mut self, event: &DerivedEvent<'_>) -> Result<(), Error> {
        if let Some(derived) = &mut self.derived {
            derived.add(event.json);
        }
        Ok(())
    }

    fn tapped(&mut self, tap: &Tap, line: u64) {
        if self.taps.iter().filter(|(operator, ..)| *operator == tap.operator).count() < self.taps_max {
            self.taps.push((tap.operator, line, tap.fields.clone()));
        }
    }

    fn progress(&mut self, tally: &Tally, (bytes, total): (u64, Option<u64>)) {
        if self.bar.is_hidden() {
            return;
        }
        self.bar.set_length(total.unwrap_or(bytes));
        self.bar.set_position(bytes);
        self.bar.set_message(format!("{} events, {} parked", tally.received, tally.parked_total()));
    }
}

impl Derived {
    fn add(&mut self, json: &[u8]) {
        let event: Value = serde_json::from_slice(json).unwrap_or_default();
        let text = |name: &str| match &event[name] {
            Value::String(text) => Some(text.clone()),
            Value::Null => None,
            other => Some(other.to_string()),
        };
        self.count += 1;
        // Events without an id cannot be distinguished.
        let number = if text("id").is_some() { 0 } else { self.count };
        self.events.insert((text("id").unwrap_or_default(), text("source").unwrap_or_default(), number), json.to_vec());
    }

    fn write(self) -> Result<(), Error> {
        let name = self.path.display().to_string();
        let failed = |why: std::io::Error| Error::io(&name, &why);
        let mut file = BufWriter::new(File::create(&self.path).map_err(failed)?);
        for json in self.events.values() {
            // White space outside of texts may hold line feeds: a line is one event.
            let line: Vec<u8> = json.iter().copied().filter(|c| !matches!(c, b'\n' | b'\r')).collect();
            file.write_all(&line).and_then(|()| file.write_all(b"\n")).map_err(failed)?;
        }
        file.flush().map_err(failed)
    }
}

/// Formats a parked event as a line of JSON, with the event itself as text, byte for byte.
fn parked_json(event: &ParkedEvent<'_>) -> Vec<u8> {
    let mut out = b"{\"file\":".to_vec();
    quote_into(event.origin.name.as_bytes(), &mut out);
    out.extend_from_slice(format!(",\"line\":{}", event.line).as_bytes());
    let members = [
        ("operator", event.operator.unwrap_or_default()),
        ("reason", event.reason.code()),
        ("detail", event.detail),
        ("remedy", event.reason.remedy()),
    ];
    for (name, value) in members.iter().filter(|(_, value)| !value.is_empty()) {
        out.extend_from_slice(format!(",\"{name}\":").as_bytes());
        quote_into(value.as_bytes(), &mut out);
    }
    out.extend_from_slice(b",\"event\":");
    let text = String::from_utf8_lossy(event.raw);
    quote_into(text.trim_end_matches(['\r', '\n']).as_bytes(), &mut out);
    out.extend_from_slice(b"}\n");
    out
}
