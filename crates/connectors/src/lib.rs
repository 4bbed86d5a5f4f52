//! Sources and targets: the outside of Flowmeter, each in a file or folder of its own.
//!
//! | sources | |
//! |---|---|
//! | [`file`] | NDJSON, JSON, CSV, Parquet, access logs; gzip, zstd; globs; standard input |
//!
//! | targets | |
//! |---|---|
//! | [`target::files`] | NDJSON and CSV files, written whole or not at all |
//! | [`target::stdout`] | standard output |

pub mod file;
mod secret;
pub mod target;

pub use secret::expand;
