//! Sources and targets: the outside of Flowmeter, each in a file or folder of its own.
//!
//! | sources | |
//! |---|---|
//! | [`file`] | NDJSON, JSON, CSV, Parquet, access logs; gzip, zstd; globs; standard input |
//!
//! | targets | |
//! |---|---|
//! | [`target::files`] | NDJSON and CSV files, written whole or not at all |
//! | [`target::growing`] | the same, growing while a server runs |
//! | [`target::stdout`] | standard output |

pub mod bounded;
pub mod file;
pub mod push;
mod secret;
pub mod signature;
pub mod target;

pub use secret::expand;
