//! Standard output. It cannot be read back: its acceptance is the confirmation.

use std::io::Write;

use flowmeter_document::TargetFormat;
use flowmeter_engine::Error;
use flowmeter_engine::outbox::{Answer, Outgoing, Span, Target};

use super::{all_unavailable, format};

/// Records on standard output.
pub struct Stdout {
    format: TargetFormat,
    begun: bool,
}

impl Stdout {
    /// Records in a format.
    pub fn new(format: TargetFormat) -> Stdout {
        Stdout { format, begun: false }
    }

    fn write(&mut self, records: &[Outgoing<'_>]) -> Result<(), Error> {
        let mut bytes = if self.begun { Vec::new() } else { format::head(self.format)? };
        records.iter().try_for_each(|record| format::append(self.format, record.json, &mut bytes))?;
        let mut stdout = std::io::stdout().lock();
        let written = stdout.write_all(&bytes).and_then(|()| stdout.flush());
        written.map_err(|why| Error::io("standard output", &why))?;
        self.begun = true;
        Ok(())
    }
}

impl Target for Stdout {
    fn send(&mut self, _window: Span, records: &[Outgoing<'_>]) -> Vec<Answer> {
        match self.write(records) {
            Ok(()) => vec![Answer::Accepted; records.len()],
            Err(why) => all_unavailable(&why, records.len()),
        }
    }

    fn seal(&mut self) -> Result<(), Error> {
        if self.begun { Ok(()) } else { self.write(&[]) }
    }

    fn is_stdout(&self) -> bool {
        true
    }
}
