//! The content of event entries in the log: the address and the events.

use flowmeter_core::image::{Glass, Pen, Seen};
use uuid::Uuid;

use super::fed::Fed;
use super::settlement::How;
use crate::{Error, Kind};

const ADDRESSED: u8 = 1;
const AGAIN: u8 = 2;
const SETTLES: u8 = 4;
const FED: u8 = 8;

/// The parked event that a letter settles.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settles<'a> {
    /// Its number in the order of arrival.
    pub arrival: u64,
    /// Its number in the correction queue.
    pub number: u64,
    /// A letter that discards an event has no lines.
    pub how: How,
    /// The name of the API key that settled it.
    pub who: &'a str,
}

/// Events with their address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Letter<'a> {
    pub namespace: &'a str,
    /// The one pipeline that counts them; `None`: all with a source for them.
    pub pipeline: Option<Uuid>,
    /// Whether they were admitted before and are corrected now.
    pub again: bool,
    /// The parked event that they replace, if any.
    pub settles: Option<Settles<'a>>,
    /// Where they come from, if a source of the pipeline read them.
    pub fed: Option<Fed>,
    /// One JSON object a line.
    pub lines: &'a [u8],
}

impl<'a> Letter<'a> {
    /// Returns the letter of events that are sent to all pipelines of a namespace.
    pub fn open(namespace: &'a str, lines: &'a [u8]) -> Letter<'a> {
        Letter { namespace, pipeline: None, again: false, settles: None, fed: None, lines }
    }

    pub fn write_to(&self, out: &mut Vec<u8>) {
        self.write_head(out);
        out.extend_from_slice(self.lines);
    }

    /// Appends everything before the lines.
    pub fn write_head(&self, out: &mut Vec<u8>) {
        let mut pen = Pen { bytes: std::mem::take(out) };
        let flag = |is_on: bool, flag: u8| if is_on { flag } else { 0 };
        let (addressed, settles) = (flag(self.pipeline.is_some(), ADDRESSED), flag(self.settles.is_some(), SETTLES));
        pen.byte(addressed | flag(self.again, AGAIN) | settles | flag(self.fed.is_some(), FED));
        pen.text(self.namespace.as_bytes());
        if let Some(pipeline) = self.pipeline {
            pen.wide(pipeline.as_u128());
        }
        if let Some(Settles { arrival, number, how, who }) = self.settles {
            pen.count(arrival);
            pen.count(number);
            pen.byte(how as u8);
            pen.text(who.as_bytes());
        }
        if let Some(fed) = &self.fed {
            fed.write_to(&mut pen);
        }
        *out = pen.bytes;
    }

    pub fn read(bytes: &'a [u8]) -> Result<Letter<'a>, Error> {
        let read = || {
            let mut glass = Glass::new(bytes);
            let flags = glass.byte()?;
            let namespace = std::str::from_utf8(glass.text()?).unwrap_or_default();
            let pipeline = if flags & ADDRESSED == 0 { None } else { Some(Uuid::from_u128(glass.wide()?)) };
            let settles = if flags & SETTLES == 0 { None } else { Some(read_settles(&mut glass)?) };
            let fed = if flags & FED == 0 { None } else { Some(Fed::read(&mut glass)?) };
            let (again, lines) = (flags & AGAIN != 0, glass.rest());
            Ok::<_, flowmeter_core::image::BadImage>(Letter { namespace, pipeline, again, settles, fed, lines })
        };
        read().map_err(|why| Error::new(Kind::Corrupt, format!("an entry of events: {why}")))
    }

    /// Returns whether the bytes of a letter settle a parked event.
    pub(super) fn is_settling(bytes: &[u8]) -> bool {
        bytes.first().is_some_and(|flags| flags & SETTLES != 0)
    }

    /// Returns whether a pipeline counts it. `listens` says whether the pipeline takes events of the
    /// event API.
    pub fn is_for(&self, namespace: &str, pipeline: Uuid, listens: bool) -> bool {
        match self.pipeline {
            Some(addressed) => addressed == pipeline,
            None => listens && self.namespace == namespace,
        }
    }
}

fn read_settles<'a>(glass: &mut Glass<'a>) -> Seen<Settles<'a>> {
    let (arrival, number) = (glass.count()?, glass.count()?);
    let Some(how) = How::read(glass.byte()?) else { return glass.damaged() };
    let who = std::str::from_utf8(glass.text()?).unwrap_or_default();
    Ok(Settles { arrival, number, how, who })
}
