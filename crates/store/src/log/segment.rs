//! Segments, the files of a log, and the recovery of the last one after a crash.

use super::frame::{HEADER_BYTES, Header};
use std::ops::Range;

use crate::disk::{Disk, File, write_whole};
use crate::{Error, Kind};

/// Bytes before the first frame: mark, format, first position, first item.
pub(super) const HEAD_BYTES: u64 = 32;
const MARK: &[u8; 8] = b"FLOWLOG\n";
const FORMAT: u32 = 1;
/// Bytes read at a time while a segment is scanned.
const CHUNK_BYTES: usize = 4 << 20;

/// A file of a log.
#[derive(Clone, Copy, Debug)]
pub(super) struct Segment {
    /// Position of its first entry.
    pub(super) first: u64,
    /// Number of its first item.
    pub(super) first_item: u64,
}

impl Segment {
    pub(super) fn named(name: &str) -> Option<Segment> {
        let first = name.strip_suffix(".seg")?.parse().ok()?;
        Some(Segment { first, first_item: 0 })
    }
}

pub(super) fn segment_name(first: u64) -> String {
    format!("{first:020}.seg")
}

/// Creates a segment and makes it and its name durable. An error of the kinds `Full` and
/// `Descriptors` means that the segment does not have its name, so the previous segment may still
/// be used.
pub(super) fn create(disk: &dyn Disk, folder: &str, first: u64, first_item: u64) -> Result<Box<dyn File>, Error> {
    let name = format!("{folder}/{}", segment_name(first));
    let fresh = format!("{name}.new");
    let mut head = Vec::with_capacity(HEAD_BYTES as usize);
    head.extend_from_slice(MARK);
    head.extend_from_slice(&FORMAT.to_le_bytes());
    head.extend_from_slice(&first.to_le_bytes());
    head.extend_from_slice(&first_item.to_le_bytes());
    head.extend_from_slice(&crc32c::crc32c(&head).to_le_bytes());
    let make = || {
        let mut file = disk.create(&fresh)?;
        file.append(&head)?;
        file.sync()?;
        Ok(file)
    };
    let file = make().map_err(|why| Error::io(&name, &why))?;
    // The file is not opened again under its name: without a descriptor that would fail when it is
    // too late to go back.
    match disk.rename_durably(&fresh, &name, folder).map_err(|why| Error::io(&name, &why)) {
        Ok(()) => Ok(file),
        Err(why) if why.kind == Kind::Descriptors => Err(why),
        // It may have its name already, so the previous segment must not be used any more.
        Err(why) => Err(Error::new(Kind::Unavailable, why.to_string())),
    }
}

/// Reads the head of a segment and returns the number of its first item.
pub(super) fn read_head(file: &dyn File, name: &str, first: u64) -> Result<u64, Error> {
    let mut head = [0; HEAD_BYTES as usize];
    let read = file.read_at(&mut head, 0).map_err(|why| Error::io(name, &why))?;
    let word = |at: usize| u32::from_le_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]);
    let long = |at: usize| u64::from(word(at)) | u64::from(word(at + 4)) << 32;
    if read < head.len() || head[..8] != *MARK || word(28) != crc32c::crc32c(&head[..28]) {
        return Err(Error::corrupt(name, "the head of the segment is damaged"));
    }
    if word(8) != FORMAT {
        return Err(Error::new(Kind::Format, format!("{name}: format {} of the log is newer than this program", word(8))));
    }
    if long(12) != first {
        return Err(Error::corrupt(name, "the segment has the name of another one"));
    }
    Ok(long(20))
}

/// The last segment, ready for appending.
pub(super) struct Last {
    pub(super) next: u64,
    pub(super) items: u64,
    pub(super) length: u64,
    /// Time of receipt of its last entry, in nanoseconds.
    pub(super) at: i64,
    pub(super) file: Box<dyn File>,
    pub(super) torn_bytes: u64,
}

/// Reads the heads of all segments and scans the last one. Its torn end is cut off; a hole before
/// its end is damage.
///
/// Entries before `known` were durable: if they are in the part that is cut off, that part is kept
/// beside the segment.
pub(super) fn recover_last(disk: &dyn Disk, folder: &str, segments: &mut [Segment], known: u64) -> Result<Option<Last>, Error> {
    for segment in segments.iter_mut() {
        let name = format!("{folder}/{}", segment_name(segment.first));
        let file = disk.open(&name).map_err(|why| Error::io(&name, &why))?;
        segment.first_item = read_head(&*file, &name, segment.first)?;
    }
    let Some(last) = segments.last() else { return Ok(None) };
    let name = format!("{folder}/{}", segment_name(last.first));
    let at = |why: std::io::Error| Error::io(&name, &why);
    let mut file = disk.open(&name).map_err(at)?;
    let whole = file.len().map_err(at)?;
    let sound = look_through(&*file, &name, last.first, last.first_item, whole)?;
    if sound.length < whole {
        if let Some(entry) = claims_durable(&*file, &name, sound.length, whole, sound.next)? {
            let message = format!(
                "entry {} is damaged at byte {}, although entry {entry} was written after it was durable; restore from a backup",
                sound.next, sound.length
            );
            return Err(Error::corrupt(&name, message));
        }
        if sound.next < known {
            keep_aside(disk, folder, &name, &*file, sound.length..whole)?;
        }
        file.truncate(sound.length).map_err(at)?;
    }
    let torn_bytes = whole - sound.length;
    let Sound { length, next, items, at } = sound;
    Ok(Some(Last { next, items, length, at, file, torn_bytes }))
}

/// Copies damaged bytes of a segment, so that the readable part of them is not lost.
fn keep_aside(disk: &dyn Disk, folder: &str, name: &str, file: &dyn File, damaged: Range<u64>) -> Result<(), Error> {
    let at = |why: std::io::Error| Error::io(name, &why);
    let mut bytes = vec![0; (damaged.end - damaged.start) as usize];
    let read = file.read_at(&mut bytes, damaged.start).map_err(at)?;
    let aside = format!("{}.{}.lost", name.strip_prefix(&format!("{folder}/")).unwrap_or(name), damaged.start);
    write_whole(disk, folder, &aside, &bytes[..read]).map_err(at)
}

/// The intact part of a segment.
struct Sound {
    length: u64,
    next: u64,
    items: u64,
    at: i64,
}

fn look_through(file: &dyn File, name: &str, first: u64, first_item: u64, whole: u64) -> Result<Sound, Error> {
    let mut sound = Sound { length: HEAD_BYTES, next: first, items: first_item, at: i64::MIN };
    let mut chunk = Vec::new();
    let mut payload = Vec::new();
    loop {
        let want = (whole - sound.length).min(CHUNK_BYTES as u64) as usize;
        chunk.resize(want, 0);
        let read = file.read_at(&mut chunk, sound.length).map_err(|why| Error::io(name, &why))?;
        let mut used = 0;
        while let Some(header) = Header::read(&chunk[used..read]) {
            let frame = HEADER_BYTES + header.payload_bytes as usize;
            let expected = header.is_sound() && header.position == sound.next && header.first_item == sound.items;
            if !expected || sound.length + frame as u64 > whole {
                return Ok(sound);
            }
            match chunk[..read].get(used + HEADER_BYTES..used + frame) {
                Some(bytes) if header.fits(bytes) => {}
                Some(_) => return Ok(sound),
                None if used > 0 => break,
                None => {
                    payload.resize(frame - HEADER_BYTES, 0);
                    let at = sound.length + HEADER_BYTES as u64;
                    file.read_at(&mut payload, at).map_err(|why| Error::io(name, &why))?;
                    if !header.fits(&payload) {
                        return Ok(sound);
                    }
                }
            }
            used += frame;
            sound.length += frame as u64;
            sound.next += 1;
            sound.items += u64::from(header.items);
            sound.at = sound.at.max(header.at);
            if used >= read {
                break;
            }
        }
        // No frame at the very beginning of the bytes: the segment ends here, or is torn.
        if used == 0 {
            return Ok(sound);
        }
    }
}

/// Looks after a hole for an entry that was written when the hole was already durable.
fn claims_durable(file: &dyn File, name: &str, from: u64, whole: u64, hole: u64) -> Result<Option<u64>, Error> {
    let mut bytes = vec![0; (whole - from) as usize];
    let read = file.read_at(&mut bytes, from).map_err(|why| Error::io(name, &why))?;
    let headers = (0..read).filter_map(|at| Header::read(&bytes[at..read]));
    Ok(headers.filter(|header| header.durable > hole).map(|header| header.position).next())
}
