//! A block of cells: some thousand cells of one meter type, sorted, in columns.
//!
//! A block has its own dictionaries, so that it can be read alone: a query or a merge has one block
//! of each file in memory, never a dictionary of all users. Values are in columns because similar
//! numbers compress best.

use flowmeter_core::image::{Glass, Pen, Seen};
use flowmeter_core::time::Timestamp;
use uuid::Uuid;

use super::amount::{Amount, Form, read_span, write_span};
use super::words::{Texts, Words};

pub(super) const MINUTE: i64 = 60_000_000_000;

/// The length of time of a cell.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Grain {
    Minute,
    Hour,
}

impl Grain {
    pub(super) fn minutes(self) -> i32 {
        if self == Grain::Minute { 1 } else { 60 }
    }
}

/// The key of a cell, in the order of files.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Key<'a> {
    pub(super) meter_type: Uuid,
    pub(super) form: Form,
    /// Minutes since the epoch.
    pub(super) start: i32,
    pub(super) grain: Grain,
    pub(super) user: &'a [u8],
    pub(super) tuple: &'a [u8],
}

/// Returns the instant at which a minute begins.
pub(super) fn instant(minute: i32) -> Timestamp {
    Timestamp::from_nanos(i64::from(minute).saturating_mul(MINUTE))
}

/// Returns the minute of an instant.
#[inline]
pub(super) fn minute(at: Timestamp) -> i32 {
    at.nanos().div_euclid(MINUTE) as i32
}

/// A block under construction.
#[derive(Debug, Default)]
pub(super) struct Builder {
    cells: u64,
    first: i32,
    last: i32,
    users: Words,
    tuples: Words,
    columns: [Pen; COLUMNS],
}

const COLUMNS: usize = 7;

impl Builder {
    pub(super) fn push(&mut self, key: &Key<'_>, amount: &Amount) {
        if self.cells == 0 {
            (self.first, self.last) = (key.start, key.start);
        }
        let [starts, users, tuples, events, offsets, spans, states] = &mut self.columns;
        let step = (i64::from(key.start) - i64::from(self.last)) as u64;
        starts.count(step << 1 | u64::from(key.grain == Grain::Hour));
        users.count(u64::from(self.users.intern(key.user)));
        tuples.count(u64::from(self.tuples.intern(key.tuple)));
        events.count(amount.events);
        // A minute that begins before the first possible instant counts from there.
        write_span(amount.first.since(instant(key.start)) as u64, offsets);
        write_span(amount.last.since(amount.first) as u64, spans);
        amount.write_state(key.form, states);
        self.cells += 1;
        self.last = key.start;
    }

    pub(super) fn cells(&self) -> u64 {
        self.cells
    }

    /// Returns the first and the last start.
    pub(super) fn starts(&self) -> (i32, i32) {
        (self.first, self.last)
    }

    /// Returns the approximate bytes so far.
    pub(super) fn bytes(&self) -> usize {
        self.columns.iter().map(|column| column.bytes.len()).sum::<usize>() + self.users.text_bytes() + self.tuples.text_bytes()
    }

    /// Returns the bytes of the block and empties the builder.
    pub(super) fn take(&mut self) -> Vec<u8> {
        let mut pen = Pen::default();
        pen.count(self.cells);
        for words in [&self.users, &self.tuples] {
            pen.count(words.texts().len() as u64);
            words.texts().iter().for_each(|text| pen.text(text));
        }
        for column in &mut self.columns {
            pen.text(&column.bytes);
            column.bytes.clear();
        }
        self.cells = 0;
        self.users.clear();
        self.tuples.clear();
        pen.bytes
    }
}

#[derive(Debug)]
pub(super) struct Cell {
    pub(super) start: i32,
    pub(super) grain: Grain,
    pub(super) user: u32,
    pub(super) tuple: u32,
    pub(super) amount: Amount,
}

#[derive(Debug, Default)]
pub(super) struct Block {
    pub(super) users: Texts,
    pub(super) tuples: Texts,
    pub(super) cells: Vec<Cell>,
}

impl Block {
    /// Decodes a block; the index has its first start.
    pub(super) fn read(form: Form, first: i32, raw: &[u8]) -> Seen<Block> {
        let mut glass = Glass::new(raw);
        let count = glass.length()?;
        let (users, tuples) = (texts(&mut glass)?, texts(&mut glass)?);
        let mut columns = [Glass::new(&[]); COLUMNS];
        for column in &mut columns {
            *column = Glass::new(glass.text()?);
        }
        let [starts, user_column, tuple_column, event_column, offsets, spans, states] = &mut columns;
        let mut cells = Vec::with_capacity(count);
        let mut start = first;
        for _ in 0..count {
            let step = starts.count()?;
            start = match i32::try_from(step >> 1).ok().and_then(|step| start.checked_add(step)) {
                Some(start) => start,
                None => return starts.damaged(),
            };
            let grain = if step & 1 == 0 { Grain::Minute } else { Grain::Hour };
            let user = number_of(&users, user_column)?;
            let tuple = number_of(&tuples, tuple_column)?;
            let events = event_column.count()?;
            let first = instant(start).saturating_add(read_span(offsets)? as i64);
            let last = first.saturating_add(read_span(spans)? as i64);
            let amount = Amount::read_state(form, events, first, last, states)?;
            cells.push(Cell { start, grain, user, tuple, amount });
        }
        match glass.is_at_end() && columns.iter().all(Glass::is_at_end) {
            true => Ok(Block { users, tuples, cells }),
            false => glass.damaged(),
        }
    }
}

fn texts(glass: &mut Glass<'_>) -> Seen<Texts> {
    let mut texts = Texts::default();
    for _ in 0..glass.length()? {
        texts.push(glass.text()?);
    }
    Ok(texts)
}

fn number_of(texts: &Texts, column: &mut Glass<'_>) -> Seen<u32> {
    match column.count()? {
        ix if ix < texts.len() as u64 => Ok(ix as u32),
        _ => column.damaged(),
    }
}
