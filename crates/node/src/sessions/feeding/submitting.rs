//! Batches of a source on their way into the log. The next one is read while the last one is being
//! written, and given only once that is durable: were it refused, for lack of room on the disk, the
//! events behind it would hide that it is missing.

use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex, PoisonError};

use flowmeter_connectors::sources::Batch;
use flowmeter_engine::live::Letter;
use flowmeter_engine::node::{Placed, Submission};
use flowmeter_engine::{Error, Kind};
use uuid::Uuid;

use crate::installation::Installation;

/// The batch of a source that is being written.
#[derive(Clone, Default)]
pub(crate) struct UnderWay(Arc<Mutex<State>>);

#[derive(Default)]
enum State {
    #[default]
    Nothing,
    Written(Receiver<Result<Placed, Error>>),
    /// It was not written: the source must be opened again.
    Failed(Error),
}

impl UnderWay {
    /// Waits until everything that was given is durable.
    ///
    /// # Errors
    /// A batch was not written, now or earlier.
    pub(crate) fn wait(&self) -> Result<(), Error> {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let State::Written(receiver) = &*state {
            let gone = || Err(Error::new(Kind::Unavailable, "the server is stopping"));
            *state = match receiver.recv().unwrap_or_else(|_| gone()) {
                Ok(_) => State::Nothing,
                Err(why) => State::Failed(why),
            };
        }
        match &*state {
            State::Failed(why) => Err(why.clone()),
            State::Nothing | State::Written(_) => Ok(()),
        }
    }

    fn begin(&self, receiver: Receiver<Result<Placed, Error>>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = State::Written(receiver);
    }
}

/// Gives the batches of one source to the log.
pub(crate) struct Submitting<'i> {
    installation: &'i Arc<Installation>,
    pipeline: Uuid,
    namespace: &'i str,
    under_way: UnderWay,
}

impl<'i> Submitting<'i> {
    pub(crate) fn new(
        installation: &'i Arc<Installation>,
        pipeline: Uuid,
        namespace: &'i str,
        under_way: UnderWay,
    ) -> Submitting<'i> {
        Submitting { installation, pipeline, namespace, under_way }
    }

    /// Gives a batch to the log once the one before is durable.
    ///
    /// # Errors
    /// The one before was not written. The source must be opened again.
    pub(crate) fn put(&mut self, batch: Batch) -> Result<(), Error> {
        self.under_way.wait()?;
        let items = u32::try_from(batch.fed.events());
        let items = items.map_err(|_| Error::new(Kind::Bug, "a batch of a source has too many events"))?;
        let letter = Letter { fed: Some(batch.fed), pipeline: Some(self.pipeline), ..Letter::open(self.namespace, &batch.lines) };
        let mut bytes = Vec::with_capacity(batch.lines.len() + 256);
        letter.write_head(&mut bytes);
        let head = bytes.len();
        bytes.extend_from_slice(&batch.lines);
        let (sender, receiver) = channel();
        let reply = Box::new(move |placed| drop(sender.send(placed)));
        let submission = Submission::events(head, bytes, items, &**self.installation.clock(), reply).alone();
        self.installation.put(submission);
        self.under_way.begin(receiver);
        Ok(())
    }

    /// Waits until everything that was given is durable.
    pub(crate) fn wait_for_all(&mut self) -> Result<(), Error> {
        self.under_way.wait()
    }
}

impl Drop for Submitting<'_> {
    /// Waits, so that a source that is opened again sees the last batch in the log, or sees it refused.
    fn drop(&mut self) {
        drop(self.wait_for_all());
    }
}
