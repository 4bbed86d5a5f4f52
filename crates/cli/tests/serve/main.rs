//! The server, started as a user starts it and asked over HTTP: a table of requests and
//! answers for every statement of its interface.

#![allow(clippy::unwrap_used)] // a test that cannot continue stops

#[path = "../support/mod.rs"]
mod support;

mod audit;
mod corrections;
mod dashboard;
mod derived;
mod described;
mod descriptors;
mod documents;
mod door;
mod durability;
mod idempotency;
mod ids;
mod jobs;
mod kept_jobs;
mod kinds;
mod looks;
mod manual;
mod memory;
mod metrics;
mod numbers;
mod other_settings;
mod periods;
mod reads;
mod security;
mod services;
mod sessions;
mod start;
mod stories;
mod stream;
mod tables;
mod trial;
mod unreadable;
mod usage;
mod versions;
mod wire;
