//! The form of output: for people, or for programs.

use clap::ValueEnum;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Form {
    /// A table for people
    #[default]
    Table,
    /// A JSON form for programs
    Json,
}
