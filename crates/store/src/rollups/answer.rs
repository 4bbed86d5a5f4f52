//! Filters cells and adds them up into the rows of a query.
//!
//! Rows keep their aggregates until the end, so that the answers of the hot tier, of the runs and
//! of other partitions add up exactly: a mean of means is not a mean.
//!
//! If several users or tuples share the greatest event time of a row, the one whose user and then
//! tuple sorts last has the latest value, whenever its cells were written: an answer must not
//! depend on that.

mod top;

use std::collections::{BTreeMap, BTreeSet};

use flowmeter_core::aggregation::{Aggregate, Aggregation};
use flowmeter_core::image::{Pen, Seen};
use flowmeter_core::schedule::Period;
use flowmeter_core::time::Timestamp;

use super::amount::{Amount, Form};
use super::block::{Grain, instant, minute};
use super::query::{First, Query, Row, SUBJECT};
use super::tuple;
use super::windows::Windows;
use super::words::Words;
use crate::{Error, Kind};

/// One row before it is complete.
#[derive(Clone, Debug)]
struct Sum {
    /// The window, or the time from the first to the last cell.
    window: Period,
    aggregate: Aggregate,
    events: u64,
    /// User and tuple of the latest value.
    latest: Vec<u8>,
}

/// Window, user and groups; without a window the first is the same for all.
type RowKey = (Timestamp, Option<String>, Vec<Option<String>>);

/// A part of the answer: that of some cells, runs or partitions.
#[derive(Clone, Debug)]
pub struct Partial {
    query: Query,
    rows: BTreeMap<RowKey, Sum>,
}

pub use top::Topped;

impl Partial {
    /// Adds the part of another partition, or of later cells.
    pub fn merge(&mut self, later: Partial) -> Result<(), Error> {
        let aggregation = self.query.aggregation.unwrap_or(Aggregation::Increment);
        for (key, theirs) in later.rows {
            match self.rows.get_mut(&key) {
                Some(mine) => mine.merge(aggregation, &theirs)?,
                None => {
                    self.rows.insert(key, theirs);
                }
            }
            check_rows(self.rows.len(), self.query.rows_max)?;
        }
        Ok(())
    }

    /// Returns the rows, sorted by window, user and groups.
    pub fn into_rows(self) -> Vec<Row> {
        let query = &self.query;
        self.rows.into_iter().map(|((_, subject, groups), sum)| sum.into_row(query, subject, groups)).collect()
    }

    /// Returns the users of the rows.
    pub(super) fn into_subjects(self) -> Vec<String> {
        self.rows.into_keys().filter_map(|(_, subject, _)| subject).collect()
    }

    /// Returns the values of the first group field, without null.
    pub(super) fn into_values(self) -> Vec<String> {
        self.rows.into_keys().filter_map(|(_, _, groups)| groups.into_iter().next()?).collect()
    }
}

impl Sum {
    /// Returns the row of a user and of groups.
    fn into_row(self, query: &Query, subject: Option<String>, groups: Vec<Option<String>>) -> Row {
        let Period { mut start, mut end } = self.window;
        if query.window.is_none() {
            start = query.from.map_or(start, |from| instant(minute(from)));
            end = query.to.map_or(end, |to| instant(minute(to)));
        }
        let value = query.aggregation.and_then(|aggregation| self.aggregate.value(aggregation, Period { start, end }));
        let groups = query.fields().map(str::to_owned).zip(groups).collect();
        Row { window_start: start, window_end: end, subject, groups, value, event_count: self.events }
    }

    fn merge(&mut self, aggregation: Aggregation, later: &Sum) -> Result<(), Error> {
        self.add(aggregation, &later.aggregate, &later.latest)?;
        self.events += later.events;
        self.window.start = self.window.start.min(later.window.start);
        self.window.end = self.window.end.max(later.window.end);
        Ok(())
    }

    fn add(&mut self, aggregation: Aggregation, later: &Aggregate, latest: &[u8]) -> Result<(), Error> {
        if let (Aggregate::Latest(Some(mine)), Aggregate::Latest(Some(theirs))) = (&mut self.aggregate, later) {
            if (theirs.0, latest) >= (mine.0, &*self.latest) {
                mine.clone_from(theirs);
                self.latest = latest.to_vec();
            }
            return Ok(());
        }
        match self.aggregate.merge(aggregation, later) {
            true => Ok(()),
            false => {
                Err(Error::new(Kind::Invalid, "the value of a row would leave the range of 38 digits; ask for less at once"))
            }
        }
    }
}

fn check_rows(rows: usize, rows_max: usize) -> Result<(), Error> {
    if rows <= rows_max {
        return Ok(());
    }
    let message = format!("the answer has more than {rows_max} rows; ask for less time, larger windows or fewer groups");
    Err(Error::new(Kind::Invalid, message))
}

/// Makes rows of cells.
pub(super) struct Sieve<'q> {
    query: &'q Query,
    windows: Option<Windows>,
    /// The requested users, sorted.
    wanted: Option<Vec<&'q str>>,
    groups_subjects: bool,
    smallest: Option<Smallest<'q>>,
    subjects: Words,
    groups: Words,
    rows: BTreeMap<(Timestamp, u32, u32), Sum>,
    last_window: Option<(i32, Period)>,
}

impl<'q> Sieve<'q> {
    pub(super) fn new(query: &'q Query) -> Sieve<'q> {
        let sorted = |subjects: &'q Vec<String>| {
            let mut wanted: Vec<&str> = subjects.iter().map(String::as_str).collect();
            wanted.sort_unstable();
            wanted
        };
        Sieve {
            query,
            wanted: query.subjects.as_ref().map(sorted),
            windows: query.window.as_ref().map(Windows::new),
            groups_subjects: query.groups_subjects(),
            smallest: query.first.as_ref().map(Smallest::new),
            subjects: Words::default(),
            groups: Words::default(),
            rows: BTreeMap::new(),
            last_window: None,
        }
    }

    /// Returns the number of a user in the rows, if its usage is requested.
    pub(super) fn user(&mut self, user: &[u8]) -> Option<u32> {
        if let Some(wanted) = &self.wanted
            && wanted.binary_search_by(|subject| subject.as_bytes().cmp(user)).is_err()
        {
            return None;
        }
        if let Some(smallest) = self.smallest.as_mut().filter(|_| self.query.group_by.first().is_some_and(|by| by == SUBJECT))
            && !smallest.takes(user)
        {
            return None;
        }
        Some(if self.groups_subjects { self.subjects.intern(user) } else { 0 })
    }

    /// Returns the number of a tuple in the rows, if it passes the filter.
    pub(super) fn tuple(&mut self, tuple: &[u8]) -> Seen<Option<u32>> {
        for (field, allowed) in &self.query.filter {
            match tuple::field(tuple, field)? {
                Some(text) if allowed.iter().any(|allowed| allowed.as_bytes() == text) => {}
                _ => return Ok(None),
            }
        }
        if let (Some(smallest), Some(field)) = (&mut self.smallest, self.query.group_by.first().filter(|by| *by != SUBJECT)) {
            match tuple::field(tuple, field)? {
                Some(text) if smallest.takes(text) => {}
                _ => return Ok(None),
            }
        }
        let mut pen = Pen::default();
        for field in self.query.fields() {
            match tuple::field(tuple, field)? {
                Some(text) => {
                    pen.byte(1);
                    pen.text(text);
                }
                None => pen.byte(0),
            }
        }
        Ok(Some(self.groups.intern(&pen.bytes)))
    }

    /// Adds a cell of a user and a tuple that passed.
    pub(super) fn take(&mut self, cell: &Sifted<'_>, amount: &Amount) -> Result<(), Error> {
        let span = Period { start: instant(cell.start), end: instant(cell.start.saturating_add(cell.grain.minutes())) };
        let (at, window) = match (&mut self.windows, self.last_window) {
            (None, _) => (Timestamp::MIN, span),
            (Some(_), Some((minute, window))) if minute == cell.start => (window.start, window),
            (Some(windows), _) => {
                let window = windows.at(cell.start);
                self.last_window = Some((cell.start, window));
                (window.start, window)
            }
        };
        let aggregation = self.query.aggregation.unwrap_or(Aggregation::Increment);
        let counted = Aggregate::Count(amount.events);
        let aggregate = if self.query.aggregation.is_some() { &amount.aggregate } else { &counted };
        let latest = match aggregation {
            Aggregation::Latest => [cell.user_text, &[0], cell.tuple_text].concat(),
            _ => Vec::new(),
        };
        let key = (at, cell.user, cell.tuple);
        if let Some(sum) = self.rows.get_mut(&key) {
            sum.add(aggregation, aggregate, &latest)?;
            sum.events += amount.events;
            sum.window.start = sum.window.start.min(window.start);
            sum.window.end = sum.window.end.max(window.end);
            return Ok(());
        }
        self.rows.insert(key, Sum { window, aggregate: aggregate.clone(), events: amount.events, latest });
        check_rows(self.rows.len(), self.query.rows_max)
    }

    /// Returns the part of the answer, with texts instead of numbers.
    pub(super) fn finish(self) -> Partial {
        let mut rows = BTreeMap::new();
        for ((at, subject, groups), sum) in self.rows {
            let subject = self.groups_subjects.then(|| lossy(self.subjects.texts().get(subject)));
            rows.insert((at, subject, read_groups(self.groups.texts().get(groups))), sum);
        }
        Partial { query: self.query.clone(), rows }
    }
}

/// The smallest texts so far: memory is bounded however many texts there are.
struct Smallest<'q> {
    first: &'q First,
    found: BTreeSet<Vec<u8>>,
}

impl<'q> Smallest<'q> {
    fn new(first: &'q First) -> Smallest<'q> {
        Smallest { first, found: BTreeSet::new() }
    }

    /// Returns whether a text may be one of the first.
    fn takes(&mut self, text: &[u8]) -> bool {
        let is_wanted = text.starts_with(self.first.prefix.as_bytes())
            && self.first.after.as_ref().is_none_or(|after| text > after.as_bytes());
        if !is_wanted || self.found.contains(text) {
            return is_wanted;
        }
        if self.found.len() >= self.first.count {
            match self.found.last() {
                Some(greatest) if text < greatest.as_slice() => drop(self.found.pop_last()),
                _ => return false,
            }
        }
        self.found.insert(text.to_vec())
    }
}

/// A cell as the sieve sees it.
pub(super) struct Sifted<'a> {
    pub(super) start: i32,
    pub(super) grain: Grain,
    pub(super) user: u32,
    pub(super) tuple: u32,
    pub(super) user_text: &'a [u8],
    pub(super) tuple_text: &'a [u8],
}

fn read_groups(written: &[u8]) -> Vec<Option<String>> {
    let mut glass = flowmeter_core::image::Glass::new(written);
    let mut groups = Vec::new();
    while let Ok(there) = glass.byte() {
        groups.push(if there == 0 { None } else { glass.text().ok().map(lossy) });
    }
    groups
}

/// Decodes a text; events were checked to be UTF-8 when they arrived.
fn lossy(text: &[u8]) -> String {
    String::from_utf8_lossy(text).into_owned()
}

/// Returns whether cells of a form answer a query.
pub(super) fn answers(query: &Query, form: Form) -> bool {
    query.aggregation.is_none_or(|aggregation| Form::of(aggregation) == form)
}
