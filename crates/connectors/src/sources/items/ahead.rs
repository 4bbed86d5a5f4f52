//! Items that are examined before their turn: fetched, hashed, and read to their end.
//!
//! A network gives the next object while the events of the one before are being counted. Each item has
//! a thread of its own; few run at once, and their bytes are bounded, except that one item may have any
//! size. So at most the item that is being taken, the next one, or several small ones are in the spool.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::{Builder, JoinHandle};

use flowmeter_core::event::Block;
use flowmeter_core::plan::Plan;
use flowmeter_engine::{Error, Kind, Received, Source};

use super::{Fetching, Item};
use crate::calls::Abandon;
use crate::file::{Files, digest_of};
use crate::sources::Surroundings;

/// Items that are examined at once: enough that small objects do not wait for each other's first byte.
const ITEMS_MAX: usize = 4;
/// Their bytes, if there is more than one: each is in the spool, and a part of it in memory.
const BYTES_MAX: u64 = 64 << 20;

/// An item that was fetched and read to its end.
pub(super) struct Examined {
    /// The file with its content.
    pub(super) file: PathBuf,
    /// The SHA-256 of its content, in hexadecimal digits.
    pub(super) digest: String,
    /// Why its records cannot be read.
    pub(super) fault: Option<Error>,
}

/// Examines an item, unless it is abandoned.
pub(super) type Work = Box<dyn FnOnce(&Abandon) -> Result<Examined, Error> + Send>;

/// Returns the work that examines an item of a source.
pub(super) fn work(fetching: Fetching, around: &Surroundings) -> Work {
    let (plan, source, outer) = (Arc::clone(&around.plan), around.source, around.abandon.clone());
    Box::new(move |abandon| {
        let may_continue = || match abandon.is_asked() || outer.is_asked() {
            true => Err(Error::new(Kind::Unavailable, "reading was given up: the server stops, or the pipeline was changed")),
            false => Ok(()),
        };
        let fetched = fetching(abandon)?;
        let digest = fetched.digest.map_or_else(|| digest_of(&fetched.file, &may_continue), Ok)?;
        let fault = match check(&plan, source, &fetched.file, &may_continue) {
            Err(why) if !matches!(why.kind, Kind::Invalid | Kind::Corrupt) => return Err(why),
            checked => checked.err(),
        };
        Ok(Examined { file: fetched.file, digest, fault })
    })
}

/// The items that are being examined, in their order.
#[derive(Default)]
pub(super) struct Ahead {
    running: VecDeque<Running>,
}

struct Running {
    item: Item,
    abandon: Abandon,
    thread: Option<JoinHandle<Result<Examined, Error>>>,
}

impl Ahead {
    /// Starts to examine the first items of a queue, as far as there is room.
    ///
    /// # Errors
    /// The system has no thread for it.
    pub(super) fn fill(&mut self, waiting: &VecDeque<Item>, mut work: impl FnMut(&Item) -> Work) -> Result<(), Error> {
        for item in waiting.iter().skip(self.running.len()) {
            let bytes: u64 = self.running.iter().map(|running| running.item.size).sum();
            let has_room = self.running.len() < ITEMS_MAX && bytes.saturating_add(item.size) <= BYTES_MAX;
            if !(has_room || self.running.is_empty()) {
                break;
            }
            let (work, abandon) = (work(item), Abandon::default());
            let own = abandon.clone();
            let thread = Builder::new().name("examines ahead".to_owned()).spawn(move || work(&own));
            let thread = thread.map_err(|why| Error::new(Kind::Unavailable, format!("no thread: {why}")))?;
            self.running.push_back(Running { item: item.clone(), abandon, thread: Some(thread) });
        }
        Ok(())
    }

    /// Waits for the first item, which must be this one.
    ///
    /// # Errors
    /// The item cannot be fetched or read at present, or never.
    pub(super) fn wait_for(&mut self, item: &Item) -> Result<Examined, Error> {
        let first = self.running.pop_front().filter(|running| running.item == *item);
        let thread = first.and_then(|mut running| running.thread.take());
        let thread = thread.ok_or_else(|| Error::new(Kind::Bug, "an item is not being examined"))?;
        let failed = |_| Err(Error::new(Kind::Bug, "the thread that examines an item failed"));
        thread.join().unwrap_or_else(failed)
    }
}

impl Drop for Running {
    /// Ends the work: the spool belongs to the source when it is opened again.
    fn drop(&mut self) {
        if let Some(thread) = self.thread.take() {
            self.abandon.ask();
            drop(thread.join());
        }
    }
}

/// Reads a file to its end, so that damage is found before any of its events is taken.
fn check(plan: &Arc<Plan>, source: usize, path: &Path, may_continue: &dyn Fn() -> Result<(), Error>) -> Result<(), Error> {
    let mut files = Files::one(Arc::clone(plan), source, path)?;
    let mut block = Block::default();
    loop {
        may_continue()?;
        block.clear();
        if let Received::End = files.receive(&mut block)? {
            return Ok(());
        }
    }
}
