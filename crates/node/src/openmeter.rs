//! The meters of the OpenMeter API: their pipeline, and their rows in the catalog.

pub mod document;
pub mod meter;
pub mod slugs;
pub mod subjects;
