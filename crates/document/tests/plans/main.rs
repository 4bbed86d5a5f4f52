//! The core at work with plans that were compiled from documents.

#![allow(clippy::unwrap_used)]

mod footprint;
mod lines;
mod session;
