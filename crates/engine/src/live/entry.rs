//! What is in the log's entries of events: to whom they are addressed, and the events.

use flowmeter_core::image::{Glass, Pen};
use uuid::Uuid;

use crate::{Error, Kind};

const ADDRESSED: u8 = 1;
const AGAIN: u8 = 2;

/// Events with their address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Letter<'a> {
    /// Whose they are.
    pub namespace: &'a str,
    /// The one pipeline that takes them; `None`: all that listen for events.
    pub pipeline: Option<Uuid>,
    /// Whether they were admitted before and come again, corrected.
    pub again: bool,
    /// One JSON object a line.
    pub lines: &'a [u8],
}

impl<'a> Letter<'a> {
    /// Appends the letter.
    pub fn write_to(&self, out: &mut Vec<u8>) {
        self.write_head(out);
        out.extend_from_slice(self.lines);
    }

    /// Appends what stands before the lines.
    pub fn write_head(&self, out: &mut Vec<u8>) {
        let mut pen = Pen { bytes: std::mem::take(out) };
        let flags = if self.pipeline.is_some() { ADDRESSED } else { 0 } | if self.again { AGAIN } else { 0 };
        pen.byte(flags);
        pen.text(self.namespace.as_bytes());
        if let Some(pipeline) = self.pipeline {
            pen.wide(pipeline.as_u128());
        }
        *out = pen.bytes;
    }

    /// Reads a letter.
    pub fn read(bytes: &'a [u8]) -> Result<Letter<'a>, Error> {
        let read = || {
            let mut glass = Glass::new(bytes);
            let flags = glass.byte()?;
            let namespace = std::str::from_utf8(glass.text()?).unwrap_or_default();
            let pipeline = if flags & ADDRESSED == 0 { None } else { Some(Uuid::from_u128(glass.wide()?)) };
            Ok::<_, flowmeter_core::image::BadImage>(Letter {
                namespace,
                pipeline,
                again: flags & AGAIN != 0,
                lines: glass.rest(),
            })
        };
        read().map_err(|why| Error::new(Kind::Corrupt, format!("an entry of events: {why}")))
    }

    /// Whether a pipeline takes it.
    pub fn is_for(&self, namespace: &str, pipeline: Uuid, listens: bool) -> bool {
        match self.pipeline {
            Some(addressed) => addressed == pipeline,
            None => listens && self.namespace == namespace,
        }
    }
}
