//! Files and objects, one after the other. Each is one transaction: it is read to its end before its
//! first event is taken, so one that is damaged counts with none of its events.
//!
//! The items behind the one that is being taken are fetched, hashed and checked meanwhile ([`ahead`]).
//! They are taken in their order all the same.
//!
//! The source remembers every item by its name ([`ItemValue`]), and every content that counted by its
//! digest. An item that is as it was is not opened again. One that has another content is taken, as a
//! new one. An item that changes while it is being taken fails, because a part of it counts already; it
//! is continued once it has its content again.

mod ahead;
#[cfg(test)]
mod tests;

use std::collections::{BTreeSet, VecDeque};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use flowmeter_core::event::Block;
use flowmeter_core::mediation::LineWriter;
use flowmeter_core::source::{After, Taking};
use flowmeter_engine::{Error, Kind, Received, Source};

use super::value::CONTENT;
use super::{BATCH_BYTES, Batch, Behind, ItemState, ItemValue, Reading, Step, Surroundings, key_of};
use crate::calls::Abandon;
use crate::file::Files;
use ahead::{Ahead, Examined};

/// A file or object that is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Item {
    /// The path of a file, the key of an object.
    pub(super) name: String,
    pub(super) size: u64,
    /// A text that changes when its content does.
    pub(super) stamp: String,
    /// The time of its last change, in nanoseconds.
    pub(super) changed: i128,
}

/// A place with items.
pub(super) trait Depot: Send {
    /// Returns the items that are there and complete.
    fn list(&mut self) -> Result<Vec<Item>, Error>;
    /// Returns the work that makes a file of the content of an item. It may run on any thread, and
    /// beside that of other items.
    fn fetching(&mut self, item: &Item) -> Fetching;
    /// Whether an item is as it was when it was listed.
    fn is_unchanged(&self, _item: &Item) -> bool {
        true
    }
    /// Returns how an item is shown to people.
    fn shown(&self, item: &Item) -> String;
    /// Removes a file that [`Depot::fetching`] made.
    fn release(&mut self, _file: &Path) {}
    /// Moves or deletes an item that was taken, if it is as it was.
    fn dispose(&mut self, item: &Item, after: &After) -> Result<(), Error>;
}

/// Makes a file of the content of an item, unless it is abandoned.
pub(super) type Fetching = Box<dyn FnOnce(&Abandon) -> Result<Fetched, Error> + Send>;

/// A file with the content of an item.
pub(super) struct Fetched {
    pub(super) file: PathBuf,
    /// The SHA-256 of the content in hexadecimal digits, if it is known already.
    pub(super) digest: Option<String>,
}

/// Items of a depot, as a source.
pub(super) struct Items<D> {
    depot: D,
    around: Surroundings,
    taking: Taking,
    waiting: VecDeque<Item>,
    /// The first of those that wait, as far as they are examined ahead.
    ahead: Ahead,
    current: Option<Open>,
    has_listed: bool,
    /// Items that failed in this session, as they were.
    failed: BTreeSet<(String, String)>,
    /// Why the source stops, once the failure of its item is given.
    stop: Option<Error>,
    /// Items to move or delete once their events are durable.
    done: Vec<Item>,
    writer: LineWriter,
    block: Block,
}

/// An item that is being taken.
struct Open {
    item: Item,
    origin: Arc<str>,
    digest: String,
    /// The file with its content.
    file: PathBuf,
    files: Files,
    /// Events that were taken before.
    skip: u64,
    events: u64,
}

impl<D: Depot> Items<D> {
    pub(super) fn new(depot: D, taking: &Taking, around: Surroundings) -> Items<D> {
        Items {
            depot,
            around,
            taking: taking.clone(),
            waiting: VecDeque::new(),
            ahead: Ahead::default(),
            current: None,
            has_listed: false,
            failed: BTreeSet::new(),
            stop: None,
            done: Vec::new(),
            writer: LineWriter::default(),
            block: Block::default(),
        }
    }

    fn known(&self, name: &str) -> Option<ItemValue> {
        self.around.taken.get(&key_of(name)).and_then(|text| ItemValue::read(text))
    }

    /// Lists the items that are not taken.
    fn list(&mut self) -> Result<(), Error> {
        let mut found = self.depot.list()?;
        match self.taking.by_time {
            true => found.sort_by(|a, b| (a.changed, &a.name).cmp(&(b.changed, &b.name))),
            false => found.sort_by(|a, b| a.name.cmp(&b.name)),
        }
        self.has_listed = true;
        for item in found {
            let is_as_it_was = |known: &ItemValue| known.size == item.size && known.stamp == item.stamp;
            let has_failed = self.failed.contains(&(item.name.clone(), item.stamp.clone()));
            match self.known(&item.name).filter(is_as_it_was).map(|known| known.state) {
                _ if has_failed => {}
                Some(ItemState::Taken) if self.taking.after != After::Keep => self.done.push(item),
                Some(ItemState::Taken | ItemState::Skipped) => {}
                Some(ItemState::Taking | ItemState::Failed) | None => self.waiting.push_back(item),
            }
        }
        Ok(())
    }

    /// Starts to examine waiting items, so that they are ready when their turn comes.
    fn look_ahead(&mut self) -> Result<(), Error> {
        let Items { depot, around, waiting, ahead, .. } = self;
        ahead.fill(waiting, |item| ahead::work(depot.fetching(item), around))
    }

    /// Decides about the next item. Returns a batch without events for one that is not taken.
    fn begin(&mut self, item: Item) -> Result<Option<Batch>, Error> {
        let Examined { file, digest, fault } = match self.ahead.wait_for(&item) {
            Ok(examined) => examined,
            Err(why) if why.kind == Kind::Invalid => return self.fail(&item, "", &why).map(Some),
            Err(why) => return Err(why),
        };
        let known = self.known(&item.name);
        let (state, events) = known.as_ref().map_or((None, 0), |known| (Some(known.state), known.events));
        let is_same = known.as_ref().is_some_and(|known| known.digest == digest);
        let is_done = matches!(state, Some(ItemState::Taken | ItemState::Skipped));
        // Some of its events count, and it may be continued only with the same content.
        let is_begun = !is_done && events > 0;
        if is_done && is_same {
            // It was touched, not changed.
            let state = state.unwrap_or(ItemState::Taken);
            return Ok(Some(self.leave(item, &file, state, &digest, events, None)));
        }
        if is_begun && !is_same {
            let message = format!("it changed while it was taken, and {events} of its events count: restore it, or skip it");
            self.depot.release(&file);
            return self.fail(&item, &digest, &Error::new(Kind::Invalid, message)).map(Some);
        }
        let content = self.around.taken.get(&format!("{CONTENT}{digest}"));
        if !is_begun
            && self.taking.content_once
            && let Some(other) = content.filter(|other| **other != item.name)
        {
            let why = format!("its content was taken as {other}");
            return Ok(Some(self.leave(item, &file, ItemState::Skipped, &digest, 0, Some(why))));
        }
        let plan = Arc::clone(&self.around.plan);
        let opened = fault.map_or_else(|| Files::one(plan, self.around.source, &file), Err);
        match opened {
            // Its digest may be that of the content before.
            Ok(_) if !self.depot.is_unchanged(&item) => Err(changed(&self.depot.shown(&item))),
            Ok(files) => {
                let origin = self.depot.shown(&item).into();
                let skip = if is_begun { events } else { 0 };
                self.current = Some(Open { item, origin, digest, file, files, skip, events: 0 });
                Ok(None)
            }
            Err(why) if matches!(why.kind, Kind::Invalid | Kind::Corrupt) => {
                // People know the item by its name, not by the file that holds its content.
                let message = why.to_string().replace(&file.display().to_string(), &self.depot.shown(&item));
                self.depot.release(&file);
                self.fail(&item, &digest, &Error::new(why.kind, message)).map(Some)
            }
            Err(why) => Err(why),
        }
    }

    /// Leaves an item that is not taken now, nor at the next look.
    fn leave(&mut self, item: Item, file: &Path, state: ItemState, digest: &str, events: u64, why: Option<String>) -> Batch {
        self.depot.release(file);
        let mut batch = self.around.batch();
        self.put(&mut batch, &item, state, digest, events, why);
        self.done.push(item);
        batch
    }

    /// Notes that an item cannot be taken. If some of its events count, the digest stays that of their
    /// content, so that it is continued only with that.
    fn fail(&mut self, item: &Item, digest: &str, why: &Error) -> Result<Batch, Error> {
        self.failed.insert((item.name.clone(), item.stamp.clone()));
        let shown = self.depot.shown(item);
        let why = why.to_string();
        // Errors of reading a file begin with its name.
        let named = if why.starts_with(&shown) { why.clone() } else { format!("{shown}: {why}") };
        if self.taking.stops_on_failure {
            self.stop = Some(Error::new(Kind::Invalid, format!("{named}; `onFailure: stop` leaves the others")));
        }
        let is_begun = |known: &ItemValue| known.events > 0 && matches!(known.state, ItemState::Taking | ItemState::Failed);
        let begun = self.known(&item.name).filter(is_begun);
        let (digest, events) = begun.map_or((digest.to_owned(), 0), |begun| (begun.digest, begun.events));
        let mut batch = self.around.batch();
        self.put(&mut batch, item, ItemState::Failed, &digest, events, Some(why));
        Ok(batch)
    }

    /// Adds to a batch how the source remembers an item from now on.
    fn put(&mut self, batch: &mut Batch, item: &Item, state: ItemState, digest: &str, events: u64, why: Option<String>) {
        let Item { name, size, stamp, .. } = item;
        let session = self.around.session;
        if state == ItemState::Taken && self.taking.content_once {
            batch.fed.taken.push((format!("{CONTENT}{digest}"), Some(name.clone())));
        }
        let (stamp, digest) = (stamp.clone(), digest.to_owned());
        let value = ItemValue { state, size: *size, stamp, digest, events, session, why };
        batch.fed.taken.push((key_of(name), Some(value.text())));
        batch.fed.take(&mut self.around.taken);
    }

    /// Reads the next events of the open item.
    fn take(&mut self, mut open: Open) -> Result<Batch, Error> {
        let mut batch = self.around.batch();
        let plan = Arc::clone(&self.around.plan);
        while batch.lines.len() < BATCH_BYTES {
            self.block.clear();
            let decoder = match open.files.receive(&mut self.block)? {
                Received::Block(decoder) => decoder,
                Received::End if !self.depot.is_unchanged(&open.item) => return Err(changed(&open.origin)),
                Received::End => {
                    self.depot.release(&open.file);
                    self.put(&mut batch, &open.item, ItemState::Taken, &open.digest, open.events, None);
                    self.done.push(open.item);
                    return Ok(batch);
                }
            };
            let before = batch.lines.len();
            let Open { origin, events, skip, .. } = &mut open;
            let mut skipped = 0;
            self.writer.write(&plan, &decoder, &mut self.block, &mut batch.lines, &mut |line| {
                *events += 1;
                match *events > *skip {
                    true => batch.fed.add(origin, line),
                    false => skipped += 1,
                }
            });
            drop_lines(&mut batch.lines, before, skipped);
        }
        self.put(&mut batch, &open.item, ItemState::Taking, &open.digest, open.events, None);
        self.current = Some(open);
        Ok(batch)
    }
}

impl<D: Depot> Reading for Items<D> {
    fn next(&mut self) -> Result<Step, Error> {
        if let Some(why) = &self.stop {
            // Its item must be listed as failed, so that it can be skipped.
            (self.around.durable)()?;
            return Err(why.clone());
        }
        loop {
            self.look_ahead()?;
            if let Some(open) = self.current.take() {
                return self.take(open).map(Step::Taken);
            }
            if let Some(item) = self.waiting.pop_front() {
                match self.begin(item)? {
                    Some(batch) => return Ok(Step::Taken(batch)),
                    None => continue,
                }
            }
            if self.has_listed && !self.taking.following.follows {
                return Ok(Step::End);
            }
            self.list()?;
            if self.waiting.is_empty() && self.taking.following.follows {
                return Ok(Step::Wait(Duration::from_nanos(self.taking.following.interval.unsigned_abs())));
            }
        }
    }

    fn settle(&mut self) -> Result<(), Error> {
        for item in std::mem::take(&mut self.done) {
            if self.taking.after != After::Keep {
                self.depot.dispose(&item, &self.taking.after)?;
            }
        }
        Ok(())
    }

    fn behind(&self) -> Behind {
        let open = self.current.iter().map(|open| &open.item);
        let (items, bytes) = open.chain(&self.waiting).fold((0, 0), |(items, bytes), item| (items + 1, bytes + item.size));
        Behind { items, bytes, failed: self.failed.len() as u64 }
    }
}

/// Returns the error of an item that is not as it was: it is looked at again.
fn changed(name: &str) -> Error {
    Error::new(Kind::Unavailable, format!("{name}: it changed while it was read"))
}

/// Removes the first lines behind an offset.
fn drop_lines(lines: &mut Vec<u8>, from: usize, count: usize) {
    if let Some(last) = count.checked_sub(1)
        && let Some(end) = memchr::memchr_iter(b'\n', &lines[from..]).nth(last)
    {
        lines.drain(from..=from + end);
    }
}
