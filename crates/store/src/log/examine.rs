//! Reads a log whole, for verification.

use std::sync::Arc;

use super::read::Reader;
use super::segment::{Segment, recover_last, segment_name};
use crate::disk::{Disk, Overlay};
use crate::examine::Examined;
use crate::{Error, Kind};

type Shared = Arc<dyn Disk>;

/// Reads every segment of a log whole: heads, and each entry against its checksums. Bytes at its
/// end that are no entry are reported too: a torn write and damage look alike there.
///
/// Writes of the recovery go to `scratch`.
///
/// # Errors
/// The folder cannot be listed.
pub fn examine(disk: &Shared, scratch: &Shared, folder: &str) -> Result<Vec<Examined>, Error> {
    let names = disk.list(folder).map_err(|why| Error::io(folder, &why))?;
    let mut segments: Vec<Segment> = names.iter().filter_map(|name| Segment::named(name)).collect();
    let path = |segment: &Segment| format!("{folder}/{}", segment_name(segment.first));
    let Some(last) = segments.last().map(path) else { return Ok(Vec::new()) };
    let over = Overlay::new(Arc::clone(disk), Arc::clone(scratch));
    let end = match recover_last(&over, folder, &mut segments, 0) {
        Ok(Some(end)) if end.torn_bytes == 0 => Ok(end.next),
        Ok(Some(end)) => {
            let torn = end.torn_bytes;
            let what = format!("its last {torn} bytes are no entry: damage, or a torn write");
            Err(Error::corrupt(&last, what))
        }
        Ok(None) => Ok(0),
        Err(why) => Err(why),
    };
    let mut examined = Vec::new();
    for (at, segment) in segments.iter().enumerate() {
        let until = segments.get(at + 1).map(|next| next.first).or(end.as_ref().ok().copied());
        let outcome = match until {
            Some(until) => whole(disk, folder, *segment, until),
            // The end of the last one is unknown; recovery has read it all.
            None => Ok(()),
        };
        examined.push(Examined::new(path(segment), outcome));
    }
    if let Err(why) = end {
        examined.push(Examined::new(last, Err(why)));
    }
    Ok(examined)
}

/// Reads the entries of a segment up to a position.
fn whole(disk: &Shared, folder: &str, segment: Segment, until: u64) -> Result<(), Error> {
    let mut reader = Reader::open(Arc::clone(disk), folder, &[segment], segment.first, until)?;
    while reader.read()?.is_some() {}
    if reader.position() < until {
        let (name, at) = (segment_name(segment.first), reader.position());
        let what = format!("{folder}/{name} ends with entry {at}, before {until}");
        return Err(Error::new(Kind::Corrupt, what));
    }
    reader.at_end()
}
