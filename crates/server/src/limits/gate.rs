//! Requests in progress: a fixed number of places, and no queue.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::problem::{Code, Problem};

/// Counts the requests in progress. Copies share the count.
#[derive(Clone, Debug)]
pub struct Gate {
    room: Arc<Semaphore>,
    size: u64,
}

/// The place of a request; it is free again when this is dropped.
#[derive(Debug)]
pub struct Pass {
    _place: OwnedSemaphorePermit,
}

impl Gate {
    /// Creates a gate with this many places.
    pub fn new(size: u64) -> Gate {
        let places = usize::try_from(size).unwrap_or(usize::MAX).min(Semaphore::MAX_PERMITS);
        Gate { room: Arc::new(Semaphore::new(places)), size }
    }

    /// Takes a place, if one is free. Requests never wait for one: a waiting sender occupies a
    /// connection and memory, and learns too late that it should slow down.
    ///
    /// # Errors
    /// `overloaded`, to be tried again after a second.
    pub fn enter(&self) -> Result<Pass, Box<Problem>> {
        let place = Arc::clone(&self.room).try_acquire_owned();
        place.map(|place| Pass { _place: place }).map_err(|_| {
            let detail = format!("{} requests are being worked on (limits.requests_in_flight)", self.size);
            Box::new(Problem::new(Code::Overloaded, detail).retry_after(1))
        })
    }

    /// Returns the number of requests in progress, for a gauge.
    pub fn inside(&self) -> u64 {
        self.size.saturating_sub(self.room.available_permits() as u64)
    }
}
