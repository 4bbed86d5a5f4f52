//! The source of the events of a DEBUG session: given lines, received events, or a file of the
//! server.
//!
//! Only files in the folder of `sessions.test_files` can be read. Lines that are not events are
//! shown, so without that limit a tester could read any file of the server.

use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;

use flowmeter_connectors::file::Files;
use flowmeter_connectors::given;
use flowmeter_core::event::Block;
use flowmeter_core::plan::Plan;
use flowmeter_engine::{Error, Received, Source};
use flowmeter_store::archive::Filter;

use crate::installation::Installation;
use crate::pipelines::KeptPipeline;
use crate::refusal::{Refusal, RefusalKind, Refused, refusal_of};

/// The events that a DEBUG session reads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Given {
    /// Events, one per line.
    Lines {
        /// The bytes of the lines.
        lines: Vec<u8>,
        /// Whether they are lines of an access log instead of JSON.
        is_raw: bool,
    },
    /// A file of the server, by its absolute path.
    File(String),
}

impl Given {
    /// Returns the events as a source. A file gives about `events_max` events at most.
    pub(crate) fn source(self, plan: &Arc<Plan>, events_max: u64) -> Result<Box<dyn Source + Send>, Error> {
        Ok(match self {
            Given::Lines { lines, is_raw } => Box::new(given::Given::new(plan, lines, is_raw)),
            Given::File(path) => Box::new(Beginning { files: Files::new(Arc::clone(plan), &[path])?, left: events_max }),
        })
    }
}

impl Installation {
    /// Returns a file that a DEBUG session may read.
    pub fn test_file(&self, name: &str) -> Result<Given, Refused> {
        let wrong = |detail: String| Box::new(Refusal::new(RefusalKind::Invalid, detail).field("file"));
        let Some(folder) = &self.settings.sessions.test_files else {
            return Err(wrong(
                "DEBUG sessions read no files here; sessions.test_files names the folder they may read".to_owned(),
            ));
        };
        // The source would interpret these characters as patterns and variables.
        if name.contains(['*', '?', '[', '$', '~']) {
            return Err(wrong(format!("`{name}` is to be the name of one file")));
        }
        let missing = || wrong(format!("there is no file `{name}` in the folder of sessions.test_files"));
        let folder = folder.canonicalize().map_err(|_| missing())?;
        let file = folder.join(Path::new(name)).canonicalize().map_err(|_| missing())?;
        // A file outside the folder is reported as missing, also if a link leads to it.
        if !file.starts_with(&folder) || !file.is_file() {
            return Err(missing());
        }
        Ok(Given::File(file.to_string_lossy().into_owned()))
    }

    /// Returns the last events that a pipeline received, in the order of arrival.
    pub fn last_events(&self, pipeline: &KeptPipeline, count: u64) -> Result<Given, Refused> {
        let events_max = self.settings.sessions.test_events_max;
        if count == 0 || count > events_max {
            let detail = format!("`last` is a number from 1 to {events_max} (sessions.test_events_max)");
            return Err(Box::new(Refusal::new(RefusalKind::Invalid, detail).field("last")));
        }
        let received = self.served_of(pipeline.id).map_or(0, |served| served.board().tally().received);
        let mut lines = Vec::new();
        let mut from = Some(received.saturating_sub(count));
        while let Some(at) = from {
            let walked = self.walk_events(pipeline, &Filter::default(), at, &mut |row| {
                // Each event becomes one line, however it was written.
                lines.extend(row.raw.iter().map(|c| if matches!(c, b'\n' | b'\r') { b' ' } else { *c }));
                lines.push(b'\n');
                ControlFlow::Continue(())
            });
            from = walked.map_err(|why| refusal_of(&why))?;
        }
        if lines.is_empty() {
            let detail = format!("`{}` has received nothing that is still kept", pipeline.name);
            return Err(Box::new(Refusal::new(RefusalKind::Conflict, detail).field("last")));
        }
        Ok(Given::Lines { lines, is_raw: false })
    }
}

/// The beginning of a file: whole blocks, until the number of lines is reached.
struct Beginning {
    files: Files,
    left: u64,
}

impl Source for Beginning {
    fn receive(&mut self, block: &mut Block) -> Result<Received, Error> {
        if self.left == 0 {
            return Ok(Received::End);
        }
        let received = self.files.receive(block)?;
        let lines = memchr::memchr_iter(b'\n', block.bytes()).count() as u64;
        self.left = self.left.saturating_sub(lines.max(1));
        Ok(received)
    }

    fn progress(&self) -> (u64, Option<u64>) {
        self.files.progress()
    }
}
