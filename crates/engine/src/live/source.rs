//! Entries of the log as a source: blocks of lines, each with its time of receipt.

use std::borrow::Cow;
use std::collections::VecDeque;
use std::sync::Arc;

use flowmeter_core::event::{Block, Origin};
use flowmeter_core::mediation::Decoder;
use flowmeter_core::plan::Plan;
use flowmeter_core::time::Timestamp;
use flowmeter_store::log::Entry;

use super::Letter;
use crate::{Error, Received, Source};

/// Bytes of a block: large bodies are cut, so that all threads get a share.
const BLOCK_BYTES: usize = 256 << 10;

/// Entries that are to be applied.
pub(super) struct Entries<'e> {
    pieces: VecDeque<Piece<'e>>,
    decoder: &'e Arc<Decoder>,
    origin: Origin,
    /// Number of events that arrived before.
    arrivals: u64,
    /// The instant of the last entry, whether it is applied or not.
    pub(super) clock: Timestamp,
}

struct Piece<'e> {
    lines: &'e [u8],
    at: Timestamp,
    again: bool,
    position: u64,
}

impl<'e> Entries<'e> {
    /// Makes a source of entries. Entries have increasing instants: an entry that was prepared
    /// earlier than the one before it gets the instant of that one. `clock` is the current instant.
    pub(super) fn new(
        entries: &'e [Arc<Entry>],
        namespace: &str,
        plan: &Plan,
        decoder: &'e Arc<Decoder>,
        arrivals: u64,
        clock: Timestamp,
    ) -> Result<Entries<'e>, Error> {
        let mut pieces = VecDeque::new();
        let mut at = clock;
        for entry in entries {
            at = at.max(Timestamp::from_nanos(entry.at));
            let letter = Letter::read(&entry.bytes)?;
            if !letter.is_for(namespace, plan.id, true) {
                continue;
            }
            let mut lines = letter.lines;
            while !lines.is_empty() {
                let cut = cut(lines);
                pieces.push_back(Piece { lines: &lines[..cut], at, again: letter.again, position: entry.position });
                lines = &lines[cut..];
            }
        }
        let source = plan.sources.iter().position(|source| source.http).unwrap_or_default();
        let origin = Origin { name: "http".into(), source, columns: None };
        Ok(Entries { pieces, decoder, origin, arrivals, clock: at })
    }
}

/// Returns the end of the last line within a block's size; a longer line stays whole.
fn cut(lines: &[u8]) -> usize {
    if lines.len() <= BLOCK_BYTES {
        return lines.len();
    }
    match memchr::memrchr(b'\n', &lines[..BLOCK_BYTES]) {
        Some(end) => end + 1,
        None => memchr::memchr(b'\n', &lines[BLOCK_BYTES..]).map_or(lines.len(), |end| BLOCK_BYTES + end + 1),
    }
}

/// Removes blank lines, which are no events, so that the line of an event gives its number in the
/// order of arrival.
fn without_blanks(lines: &[u8]) -> Cow<'_, [u8]> {
    let split = || lines.split_inclusive(|byte| *byte == b'\n');
    let is_blank = |line: &[u8]| line.iter().all(u8::is_ascii_whitespace);
    match split().any(is_blank) {
        false => Cow::Borrowed(lines),
        true => Cow::Owned(split().filter(|line| !is_blank(line)).flatten().copied().collect()),
    }
}

impl Source for Entries<'_> {
    fn receive(&mut self, block: &mut Block) -> Result<Received, Error> {
        let Some(piece) = self.pieces.pop_front() else { return Ok(Received::End) };
        let lines = without_blanks(piece.lines);
        let room = block.room(lines.len());
        room.copy_from_slice(&lines);
        block.seal_at(lines.len());
        block.received_at = Some(piece.at);
        block.again = piece.again;
        block.position = piece.position;
        block.first_line = self.arrivals + 1;
        block.origin = self.origin.clone();
        let ends = memchr::memchr_iter(b'\n', &lines).count();
        let unended = usize::from(lines.last().is_some_and(|last| *last != b'\n'));
        self.arrivals += (ends + unended) as u64;
        Ok(Received::Block(Arc::clone(self.decoder)))
    }

    fn progress(&self) -> (u64, Option<u64>) {
        (0, None)
    }
}
