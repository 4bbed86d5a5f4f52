//! Standard output. It cannot be read back: its acceptance is the confirmation.

use std::io::Write;

use flowmeter_core::pipeline::TargetFormat;
use flowmeter_engine::{Delivery, Error, Target};

use super::format;

/// Bytes gathered before they are written.
const BUFFER_BYTES: usize = 256 << 10;

/// Records on standard output.
pub struct Stdout {
    format: TargetFormat,
    buffer: Vec<u8>,
    begun: bool,
}

impl Stdout {
    /// Records in a format.
    pub fn new(format: TargetFormat) -> Stdout {
        Stdout { format, buffer: Vec::new(), begun: false }
    }

    fn flush(&mut self) -> Result<(), Error> {
        let mut stdout = std::io::stdout().lock();
        let written = stdout.write_all(&self.buffer).and_then(|()| stdout.flush());
        self.buffer.clear();
        written.map_err(|why| Error::io("standard output", &why))
    }
}

impl Target for Stdout {
    fn push(&mut self, delivery: &Delivery<'_>) -> Result<(), Error> {
        if !self.begun {
            self.buffer = format::head(self.format)?;
            self.begun = true;
        }
        format::append(self.format, delivery.json, &mut self.buffer)?;
        if self.buffer.len() >= BUFFER_BYTES { self.flush() } else { Ok(()) }
    }

    fn accept(&mut self) -> Result<(), Error> {
        self.flush()
    }

    fn confirm(&mut self) -> Result<(), Error> {
        Ok(())
    }

    fn is_stdout(&self) -> bool {
        true
    }
}
