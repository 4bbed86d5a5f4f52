//! The vault: checkpoints of pipelines, and which server may write them.
//!
//! A server claims a pipeline before it reads or writes its checkpoints. While it holds the claim,
//! no other server's checkpoint is kept. One machine keeps checkpoints in its data folder
//! ([`LocalVault`]).

mod local;

use flowmeter_store::disk::Claim;

pub use local::LocalVault;

use crate::Error;

/// The right to write the checkpoints of a pipeline. It ends when the value is dropped.
#[derive(Debug)]
pub struct Tenure {
    /// The folder of the pipeline.
    pub pipeline: String,
    /// Counts up with each owner: what an earlier one still writes is recognised by it.
    pub epoch: u64,
    /// Keeps other owners in this program away.
    claim: Option<Claim>,
}

/// The outcome of keeping a checkpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Keeping {
    /// The checkpoint is durable.
    Kept,
    /// Another server has claimed the pipeline since; this one must stop.
    Fenced,
}

/// A store of checkpoints.
pub trait Vault: Send + Sync {
    /// Claims a pipeline by its folder.
    ///
    /// # Errors
    /// Another owner has it.
    fn claim(&self, pipeline: &str) -> Result<Tenure, Error>;

    /// Returns the positions of all checkpoints of a pipeline, in order.
    ///
    /// # Errors
    /// They cannot be listed.
    fn positions(&self, pipeline: &str) -> Result<Vec<u64>, Error>;

    /// Makes the last write of an earlier owner durable, or discards it.
    ///
    /// # Errors
    /// The vault cannot be written.
    fn settle(&self, tenure: &Tenure) -> Result<(), Error>;

    /// Reads a checkpoint.
    ///
    /// # Errors
    /// It cannot be read.
    fn fetch(&self, tenure: &Tenure, position: u64) -> Result<Vec<u8>, Error>;

    /// Writes a checkpoint, durably, whole or not at all.
    ///
    /// # Errors
    /// It cannot be written.
    fn keep(&self, tenure: &Tenure, position: u64, checkpoint: &[u8]) -> Result<Keeping, Error>;

    /// Sets a damaged checkpoint aside. It must not be used again once others have taken its place.
    ///
    /// # Errors
    /// It cannot be moved.
    fn set_aside(&self, tenure: &Tenure, position: u64) -> Result<(), Error>;

    /// Removes the checkpoints before a position.
    ///
    /// # Errors
    /// One cannot be removed.
    fn sweep(&self, tenure: &Tenure, before: u64) -> Result<(), Error>;
}
