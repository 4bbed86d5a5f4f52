//! Entries of the log as a source: blocks of lines, each with its time of receipt and its origin.

use std::borrow::Cow;
use std::collections::VecDeque;
use std::sync::Arc;

use flowmeter_core::event::{Block, Origin};
use flowmeter_core::mediation::Decoder;
use flowmeter_core::plan::Plan;
use flowmeter_core::source::SourcePlan;
use flowmeter_core::time::Timestamp;
use flowmeter_store::log::Entry;

use super::{Fed, Letter};
use crate::{Error, Received, Source};

/// Bytes of a block: large bodies are cut, so that all threads get a share.
const BLOCK_BYTES: usize = 256 << 10;

/// Entries that are to be applied.
pub(super) struct Entries<'e> {
    pieces: VecDeque<Piece<'e>>,
    decoders: &'e [Arc<Decoder>],
    /// The source of events that come over the event API.
    http: Origin,
    /// Number of events that arrived before.
    arrivals: u64,
    /// The origins of the letters that sources of the pipeline brought.
    pub(super) fed: Vec<Fed>,
    /// The instant of the last entry, whether it is applied or not.
    pub(super) clock: Timestamp,
}

struct Piece<'e> {
    lines: &'e [u8],
    /// The time of receipt, unless the events are those of a session that ends with its input.
    at: Option<Timestamp>,
    /// The clock of such a session.
    as_of: Option<Timestamp>,
    again: bool,
    position: u64,
    /// The place of the first event and its line there, if a source of the pipeline read it.
    origin: Option<(Origin, u64)>,
}

impl<'e> Entries<'e> {
    /// Makes a source of entries. Entries have increasing instants: an entry that was prepared
    /// earlier than the one before it gets the instant of that one. `clock` is the current instant.
    pub(super) fn new(
        entries: &'e [Arc<Entry>],
        namespace: &str,
        plan: &Plan,
        decoders: &'e [Arc<Decoder>],
        arrivals: u64,
        clock: Timestamp,
    ) -> Result<Entries<'e>, Error> {
        let (mut pieces, mut brought) = (VecDeque::new(), Vec::new());
        let mut at = clock;
        for entry in entries {
            at = at.max(Timestamp::from_nanos(entry.at));
            let letter = Letter::read(&entry.bytes)?;
            if !letter.is_for(namespace, plan.id, plan.takes_http()) {
                continue;
            }
            // A corrected event of a session that ended with its input counts as its other events do.
            let as_of = letter.fed.as_ref().and_then(|fed| fed.as_of).or(plan.is_bounded().then_some(at));
            let received = as_of.is_none().then_some(at);
            let Letter { lines, again, .. } = letter;
            let piece = Piece { lines, at: received, as_of, again, position: entry.position, origin: None };
            match letter.fed {
                None => cut_into(piece, &mut pieces),
                Some(fed) => {
                    cut_by_origin(&fed, plan, &piece, &mut pieces);
                    brought.push(fed);
                }
            }
        }
        let http = plan.sources.iter().position(SourcePlan::is_http).unwrap_or_default();
        let http = Origin { name: "http".into(), source: http, columns: None };
        Ok(Entries { pieces, decoders, http, arrivals, fed: brought, clock: at })
    }
}

/// Cuts the lines of a piece to the size of blocks.
fn cut_into<'e>(piece: Piece<'e>, pieces: &mut VecDeque<Piece<'e>>) {
    let Piece { mut lines, mut origin, .. } = piece;
    while !lines.is_empty() {
        let cut = cut(lines);
        pieces.push_back(Piece { lines: &lines[..cut], origin: origin.clone(), ..piece });
        if let Some((_, line)) = &mut origin {
            *line += memchr::memchr_iter(b'\n', &lines[..cut]).count() as u64;
        }
        lines = &lines[cut..];
    }
}

/// Cuts the lines of a piece where they come from another place.
fn cut_by_origin<'e>(fed: &Fed, plan: &Plan, piece: &Piece<'e>, pieces: &mut VecDeque<Piece<'e>>) {
    // Its source may be gone in a newer version of the document.
    let source = plan.source_of(&fed.source).unwrap_or_default();
    let mut lines = piece.lines;
    for run in &fed.runs {
        let end = (run.events as usize).checked_sub(1).and_then(|last| memchr::memchr_iter(b'\n', lines).nth(last));
        let (own, rest) = lines.split_at(end.map_or(lines.len(), |end| end + 1));
        let origin = Origin { name: Arc::clone(&run.origin), source, columns: None };
        cut_into(Piece { lines: own, origin: Some((origin, run.line)), ..*piece }, pieces);
        lines = rest;
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
///
/// Returns the number of lines, too.
fn without_blanks(lines: &[u8]) -> (Cow<'_, [u8]>, u64) {
    let is_blank = |line: &[u8]| line.iter().all(u8::is_ascii_whitespace);
    let unended = (!lines.is_empty() && !lines.ends_with(b"\n")).then_some(lines.len());
    let (mut start, mut count, mut blanks) = (0, 0, 0);
    for end in memchr::memchr_iter(b'\n', lines).map(|end| end + 1).chain(unended) {
        // A line of an event begins with its brace, nearly always.
        blanks += u64::from(lines.get(start) != Some(&b'{') && is_blank(&lines[start..end]));
        (start, count) = (end, count + 1);
    }
    if blanks == 0 {
        return (Cow::Borrowed(lines), count);
    }
    let kept = lines.split_inclusive(|byte| *byte == b'\n').filter(|line| !is_blank(line)).flatten().copied();
    (Cow::Owned(kept.collect()), count - blanks)
}

impl Source for Entries<'_> {
    fn receive(&mut self, block: &mut Block) -> Result<Received, Error> {
        let Some(piece) = self.pieces.pop_front() else { return Ok(Received::End) };
        let (lines, count) = without_blanks(piece.lines);
        let room = block.room(lines.len());
        room.copy_from_slice(&lines);
        block.seal_at(lines.len());
        (block.received_at, block.as_of) = (piece.at, piece.as_of);
        block.again = piece.again;
        block.position = piece.position;
        block.first_line = self.arrivals + 1;
        (block.origin, block.origin_line) = match piece.origin {
            Some((origin, line)) => (origin, Some(line)),
            None => (self.http.clone(), None),
        };
        self.arrivals += count;
        Ok(Received::Block(Arc::clone(&self.decoders[block.origin.source])))
    }

    fn progress(&self) -> (u64, Option<u64>) {
        (0, None)
    }
}
