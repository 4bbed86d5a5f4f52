//! Sources that a server reads by itself: files, objects, rows of Postgres, answers of services.
//!
//! A source gives its events as lines of JSON, together with what it has taken by them. Both go into
//! one entry of the log, so a restart continues behind the last entry: it opens the source again at
//! the position that the log has. A source stores nothing in any other place.
//!
//! Each kind is a [`Reading`]; [`open`] makes it of a source of a pipeline.

mod folder;
mod items;
#[cfg(feature = "kafka")]
mod kafka;
mod objects;
mod pages;
mod rows;
mod value;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use flowmeter_core::plan::Plan;
use flowmeter_core::source::SourceKind;
use flowmeter_core::time::Timestamp;
use flowmeter_engine::Error;
use flowmeter_engine::live::{Fed, Taken};

use crate::calls::Abandon;
pub(crate) use value::CONTENT;
pub use value::{ItemState, ItemValue, items_of, key_of, shown_item};

/// Bytes of lines after which a batch is given.
const BATCH_BYTES: usize = 1 << 20;

/// A source that is being read.
pub trait Reading: Send {
    /// Returns the next events. It waits for the network or a disk, not for new events.
    ///
    /// # Errors
    /// The source cannot be read at present ([`flowmeter_engine::Kind::Unavailable`]), or never.
    /// After an error, the source must be opened again.
    fn next(&mut self) -> Result<Step, Error>;

    /// Called when the last batch was given to the log, and everything before it is durable.
    ///
    /// # Errors
    /// As for [`Reading::next`].
    fn gave(&mut self) -> Result<(), Error> {
        Ok(())
    }

    /// Called when all events given so far are durable.
    ///
    /// # Errors
    /// A file or object that was taken cannot be moved or deleted.
    fn settle(&mut self) -> Result<(), Error> {
        Ok(())
    }

    /// Returns how much there is that is not taken, as far as it is known.
    fn behind(&self) -> Behind;
}

/// The result of reading from a source.
#[derive(Debug)]
pub enum Step {
    /// Events, and what was taken with them. There may be no events, only something taken.
    Taken(Batch),
    /// There is nothing at present; look again after this time.
    Wait(Duration),
    /// There is nothing more.
    End,
}

/// Events of a source.
#[derive(Debug, Default)]
pub struct Batch {
    /// The events, one a line.
    pub lines: Vec<u8>,
    /// Where they come from, and what was taken with them.
    pub fed: Fed,
}

/// The items that a source has not taken yet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Behind {
    /// Number of files, objects or messages.
    pub items: u64,
    /// Their bytes, where they are known.
    pub bytes: u64,
    /// Number of those that cannot be read.
    pub failed: u64,
}

/// The surroundings of a source.
#[derive(Clone)]
pub struct Surroundings {
    /// The plan of the pipeline.
    pub plan: Arc<Plan>,
    /// The index of the source.
    pub source: usize,
    /// The session that reads it.
    pub session: u64,
    /// The clock of a session that ends with its input.
    pub as_of: Option<Timestamp>,
    /// Keys and values that the source has taken by now.
    pub taken: Taken,
    /// Ends what is under way.
    pub abandon: Abandon,
    /// A folder for objects while they are read.
    pub spool: PathBuf,
    /// Waits until all batches that were given are durable; an error if one was not written.
    pub durable: Arc<dyn Fn() -> Result<(), Error> + Send + Sync>,
    /// The time by which files change.
    pub wall: Arc<dyn Fn() -> SystemTime + Send + Sync>,
}

impl Surroundings {
    /// Returns an empty batch of the source.
    pub fn batch(&self) -> Batch {
        let source = self.plan.sources[self.source].id.clone();
        Batch { lines: Vec::new(), fed: Fed { source, as_of: self.as_of, ..Fed::default() } }
    }
}

/// Opens a source of a pipeline; `None` for events that arrive over the event API.
///
/// # Errors
/// An address or a setting is invalid.
pub fn open(around: Surroundings) -> Result<Option<Box<dyn Reading>>, Error> {
    let mut around = around;
    // The log keeps records whole: a later version of the document may read other columns.
    around.plan = Arc::new(Plan { all_columns: true, ..(*around.plan).clone() });
    let plan = Arc::clone(&around.plan);
    Ok(match &plan.sources[around.source].kind {
        SourceKind::Http => None,
        SourceKind::Files(taking) => Some(Box::new(items::Items::new(folder::Folder::new(&around, taking), taking, around))),
        SourceKind::Objects(plan) => {
            Some(Box::new(items::Items::new(objects::Bucket::new(plan, &around)?, &plan.taking, around)))
        }
        SourceKind::Rows(plan) => Some(Box::new(rows::Rows::new(plan, around)?)),
        #[cfg(feature = "kafka")]
        SourceKind::Kafka(plan) => Some(Box::new(kafka::Topics::new(plan, around)?)),
        #[cfg(not(feature = "kafka"))]
        SourceKind::Kafka(_) => return Err(crate::no_kafka()),
        SourceKind::Received(_) | SourceKind::Output(_) => {
            let message = "the events of another pipeline are read by the server that has it";
            return Err(Error::new(flowmeter_engine::Kind::Invalid, message));
        }
        SourceKind::Pages(plan) => Some(Box::new(pages::Pages::new(plan, around)?)),
    })
}
