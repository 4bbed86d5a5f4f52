//! Options of commands that read events: the files, the clock, the threads.

use clap::Args;

#[derive(Debug, Args)]
pub(crate) struct Input {
    /// Files, glob patterns or `-` instead of the paths of the pipeline's first source
    #[arg(long, short, value_name = "FILE")]
    pub(crate) input: Vec<String>,
    /// The clock of the run, RFC 3339 [default: now]
    #[arg(long, value_name = "TIME")]
    pub(crate) as_of: Option<String>,
    /// Threads [default: one for each core]; results do not depend on it
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=512))]
    pub(crate) threads: Option<u16>,
    /// Partitions of users [default: one for each thread]; results do not depend on it
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=512))]
    pub(crate) partitions: Option<u16>,
}
