//! Requests in flight: as many as there is room for, and no line of those who wait.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::problem::{Code, Problem};

/// Counts the requests being worked on. Copies count together.
#[derive(Clone, Debug)]
pub struct Gate {
    room: Arc<Semaphore>,
    size: u64,
}

/// A request's place; it is free again when this is dropped.
#[derive(Debug)]
pub struct Pass {
    _place: OwnedSemaphorePermit,
}

impl Gate {
    /// Room for that many at once.
    pub fn new(size: u64) -> Gate {
        let places = usize::try_from(size).unwrap_or(usize::MAX).min(Semaphore::MAX_PERMITS);
        Gate { room: Arc::new(Semaphore::new(places)), size }
    }

    /// A place, if one is free. Nobody waits for one: who waits holds a connection and
    /// memory, and learns too late that he should have slowed down.
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

    /// Requests being worked on, for a gauge.
    pub fn inside(&self) -> u64 {
        self.size.saturating_sub(self.room.available_permits() as u64)
    }
}
