//! The deterministic core of Flowmeter: events, meters, periods, records.
//!
//! Nothing here does I/O, reads the clock or draws a random number; there is no float and no unsafe
//! code. Every input is an argument, and every effect is a value. That is why a recorded history
//! can be replayed to the same result, on one partition or on many.
//!
//! The path of an event: [`event`] finds its fields in the bytes, [`mediation`] leads it through
//! the operators of a [`plan`], [`partition`] admits and counts it, closes periods and makes
//! [`record`]s. [`session`] computes the status of a run. Documents are compiled to plans by
//! `flowmeter_document`.
#![forbid(unsafe_code)]

pub mod aggregation;
pub mod decimal;
pub mod event;
pub mod expression;
pub mod image;
pub mod json;
pub mod keyed;
pub mod limits;
pub mod mediation;
pub mod meter_type;
pub mod mutant;
pub mod operator;
pub mod partition;
pub mod plan;
pub mod price;
pub mod record;
pub mod schedule;
pub mod service;
pub mod session;
pub mod source;
pub mod suggest;
pub mod table;
pub mod template;
pub mod time;
pub mod verdict;
