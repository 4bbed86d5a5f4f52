//! One node: the data of a server and the work on it, without HTTP.
//!
//! [`installation::Installation`] holds the log, the catalog and the running pipelines. Each module
//! is one service on it: its rows in the catalog, its questions and its changes. Answers are typed;
//! what cannot be done is a [`refusal::Refusal`].
//!
//! Invariants: the time is an argument (`now`), as everywhere; the only random source of the
//! project is `keys::random`, because a key must not be guessable; no secret is shown, printed or
//! logged after the one answer that contains it.
#![allow(missing_docs)] // documentation says what names and types do not

pub mod answers;
pub mod audit;
pub mod background;
pub mod backup;
mod change;
mod clock;
pub mod corrections;
pub mod csv;
pub mod deliveries;
pub mod events;
pub mod indexing;
pub mod installation;
pub mod jobs;
pub mod keys;
pub mod meter_types;
pub mod meters;
pub mod monitoring;
pub mod notifications;
pub mod openmeter;
pub mod pipelines;
pub mod records;
pub mod refusal;
pub mod rows;
pub mod sessions;
pub mod settings;
pub mod spans;
pub mod tables;
pub mod trials;
pub mod usage;
pub mod verbatim;
pub mod verify;
