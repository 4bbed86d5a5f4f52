//! The command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;

use crate::client::Server;

/// Usage metering and mediation: events in, exact metered records out.
#[derive(Debug, Parser)]
#[command(name = "flowmeter", version, about, propagate_version = true)]
#[command(
    after_help = "Exit codes: 0 ok; 1 something was parked or warned of (with --strict), or a test failed; 2 wrong input; 3 failure.\n\nMessages go to standard error, results to standard output."
)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run one session over bounded input, here and now
    Run(Run),
    /// Try a pipeline: what each operator takes and gives, and the records it would flush
    Test(Test),
    /// Validate pipelines and print what they mean, with every default written out
    Check(Check),
    /// Serve: take events over HTTP, durably, and run pipelines for as long as it lives
    Serve(Serve),
    #[command(flatten)]
    Client(crate::client::Commands),
    /// Send load to a server and measure it
    #[command(subcommand)]
    Bench(Bench),
    /// Explain a metered record (the events that made it) or an event (what became of it)
    Explain(Explain),
    /// Count everything again and compare with what is stored
    Verify(Verify),
    /// Copy everything a server keeps to a new folder
    Backup(Backup),
    /// Make a data directory of a backup
    Restore(Restore),
    /// Print metering periods, one JSON object a line
    Periods(Periods),
    /// Print the JSON Schema of pipeline documents, for editors
    Schema,
    /// Print a completion script for a shell
    Completions {
        /// The shell
        shell: Shell,
    },
    /// Print the manual page (roff)
    Man,
}

/// Serve: take events over HTTP, durably, and run pipelines for as long as it lives.
///
/// Needs nothing but a folder. Every setting may stand in a file, in the environment
/// (FLOWMETER_LOG_RETENTION for log.retention) or on the command line (--set); see
/// docs/settings.md. SIGTERM lets those inside finish, writes everything and ends with 0.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  flowmeter serve\n  flowmeter serve --data /var/lib/flowmeter --pipeline llm-usage.yaml\n  flowmeter serve --config flowmeter.yaml --set checkpoint.interval=10s --print-config"
)]
pub(crate) struct Serve {
    /// The folder of everything durable (setting `data`)
    #[arg(long, value_name = "DIR")]
    pub(crate) data: Option<PathBuf>,
    /// Address and port (setting `listen`)
    #[arg(long, value_name = "ADDR")]
    pub(crate) listen: Option<String>,
    /// The settings file
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// A pipeline to run; made or changed if need be, and started
    #[arg(long, value_name = "FILE")]
    pub(crate) pipeline: Vec<PathBuf>,
    /// Any setting
    #[arg(long, value_name = "NAME=VALUE")]
    pub(crate) set: Vec<String>,
    /// Print the effective settings and where each came from, and end
    #[arg(long)]
    pub(crate) print_config: bool,
}

/// Send load to a server and measure it.
#[derive(Debug, Subcommand)]
pub(crate) enum Bench {
    /// Send events as fast as the server answers; prints the figures as JSON
    Ingest(BenchIngest),
}

/// Send events as fast as the server answers; prints the figures as JSON.
#[derive(Debug, Args)]
pub(crate) struct BenchIngest {
    /// Where the server listens
    #[arg(long, default_value = "http://127.0.0.1:8888")]
    pub(crate) url: String,
    /// An API key, where the server wants one
    #[arg(long, env = "FLOWMETER_KEY", hide_env_values = true)]
    pub(crate) key: Option<String>,
    /// Events in all
    #[arg(long, default_value_t = 10_000_000)]
    pub(crate) events: u64,
    /// The number of the first: ids go by it, so that a second run is no repetition
    #[arg(long, default_value_t = 0)]
    pub(crate) first: u64,
    /// Events of a request
    #[arg(long, default_value_t = 500)]
    pub(crate) batch: u32,
    /// Connections, each with one request under way
    #[arg(long, default_value_t = 64)]
    pub(crate) connections: u32,
    /// Threads that send
    #[arg(long, default_value_t = 1)]
    pub(crate) threads: usize,
    /// Users
    #[arg(long, default_value_t = 10_000)]
    pub(crate) users: u64,
    /// Types of events, at most 10
    #[arg(long, default_value_t = 5)]
    pub(crate) types: u64,
    /// Events in a hundred that belong to a period forty days ago
    #[arg(long, default_value_t = 0)]
    pub(crate) late_percent: u64,
}

/// Run one session over bounded input, here and now.
///
/// Every event gets one verdict: counted, duplicate, filtered, parked, split or absorbed.
/// Nothing closes before the end of the input; then every period that ended by --as-of is
/// flushed.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  flowmeter run examples/llm-usage.yaml\n  flowmeter run billing.yaml --input 'usage/*.ndjson.gz' --output july.ndjson --as-of 2023-08-01T00:00:00Z\n  flowmeter run billing.yaml --data meters --input usage/2023-07-31.ndjson\n  zcat log.gz | flowmeter run billing.yaml --input - --flush-open --output json"
)]
pub(crate) struct Run {
    /// The pipeline document (YAML or JSON)
    pub(crate) pipeline: PathBuf,
    #[command(flatten)]
    pub(crate) input: Input,
    /// Flush periods that have not ended as well; their end stays as scheduled
    #[arg(long)]
    pub(crate) flush_open: bool,
    /// A folder for meters and identities: the run goes on where the one before ended
    /// [default: in memory, for this run alone]
    #[arg(long, value_name = "DIR")]
    pub(crate) data: Option<PathBuf>,
    /// A file for the records instead of the pipeline's targets (`-`: standard output);
    /// or `table` or `json`: the form of the summary
    #[arg(long, short, value_name = "FILE|table|json")]
    pub(crate) output: Vec<String>,
    /// Write every status change of the session to a file, one JSON object a line
    #[arg(long, value_name = "FILE")]
    pub(crate) events: Option<PathBuf>,
    /// Write every parked event to a file, one JSON object a line
    #[arg(long, value_name = "FILE")]
    pub(crate) parked: Option<PathBuf>,
    /// Write every event that operators made to a file, one a line, by id and source
    #[arg(long, value_name = "FILE")]
    pub(crate) derived: Option<PathBuf>,
    /// Exit with 1 if anything was parked
    #[arg(long)]
    pub(crate) strict: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Input {
    /// Files, glob patterns or `-` instead of the paths of the pipeline's first source
    #[arg(long, short, value_name = "FILE")]
    pub(crate) input: Vec<String>,
    /// The engine's clock, RFC 3339 [default: now]
    #[arg(long, value_name = "TIME")]
    pub(crate) as_of: Option<String>,
    /// Threads that work [default: one for each core]; no answer depends on it
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=512))]
    pub(crate) threads: Option<u16>,
    /// Partitions of users [default: one for each thread]; no answer depends on it
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=512))]
    pub(crate) partitions: Option<u16>,
}

/// Try a pipeline on sample data. Nothing is pushed anywhere.
#[derive(Debug, Args)]
pub(crate) struct Test {
    /// The pipeline document (YAML or JSON)
    pub(crate) pipeline: PathBuf,
    #[command(flatten)]
    pub(crate) input: Input,
    /// Events of each operator to show
    #[arg(long, default_value_t = 3, value_name = "N")]
    pub(crate) samples: usize,
    /// The form of the report
    #[arg(long, short, default_value = "table", value_name = "table|json")]
    pub(crate) output: Form,
    /// Write every status change of the session to a file, one JSON object a line
    #[arg(long, value_name = "FILE")]
    pub(crate) events: Option<PathBuf>,
    /// Fail the test if anything was parked
    #[arg(long)]
    pub(crate) strict: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Form {
    /// For people
    #[default]
    Table,
    /// For programs
    Json,
}

#[derive(Debug, Args)]
pub(crate) struct Check {
    /// The pipeline documents (YAML or JSON)
    #[arg(required = true)]
    pub(crate) pipelines: Vec<PathBuf>,
    /// Print nothing but problems and warnings
    #[arg(long, short)]
    pub(crate) quiet: bool,
    /// Exit with 1 if there is a warning
    #[arg(long)]
    pub(crate) strict: bool,
}

/// Print metering periods, one JSON object a line.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  flowmeter periods --schedule monthly --timezone Europe/Oslo --at 2024-03-31T12:00:00Z\n  flowmeter periods --schedule '{\"every\":\"month\",\"anchor\":{\"day\":31}}' --from 2024-01-01T00:00:00Z --to 2024-07-01T00:00:00Z"
)]
pub(crate) struct Periods {
    /// hourly, daily, weekly, monthly, quarterly, yearly, never, or the JSON of a reset schedule
    #[arg(long, value_name = "SCHEDULE")]
    pub(crate) schedule: String,
    /// IANA name or offset
    #[arg(long, default_value = "Etc/UTC", value_name = "ZONE")]
    pub(crate) timezone: String,
    /// The period that holds this instant
    #[arg(long, value_name = "TIME", conflicts_with_all = ["from", "to"])]
    pub(crate) at: Option<String>,
    /// Periods from the one that holds this instant …
    #[arg(long, value_name = "TIME", requires = "to")]
    pub(crate) from: Option<String>,
    /// … to the one that begins before this instant
    #[arg(long, value_name = "TIME", requires = "from")]
    pub(crate) to: Option<String>,
}

/// Explain a metered record or an event, as a server knows it.
///
/// Of a record: the events that made it, and whether they add up to it again. Of an event:
/// every step it took in each pipeline, ending in its verdict.
#[derive(Debug, Args)]
#[command(
    after_help = "Exit codes: 3 when a record does not add up again.\n\nExamples:\n  flowmeter explain 7d0c2f0e-60a1-5d0e-9a3f-1b1c0a1e2f3d\n  flowmeter explain call-4711 --url http://meter:8888 --output json"
)]
pub(crate) struct Explain {
    /// The `recordId` of a record, or the id of an event
    #[arg(value_name = "RECORD_ID|EVENT_ID")]
    pub(crate) id: String,
    #[command(flatten)]
    pub(crate) server: Server,
}

/// Count everything again and compare with what is stored.
///
/// Reads every file whole and compares it with its checksums. Then counts the log again, and
/// the event store where the log no longer reaches back, with an empty engine,
/// and compares meters and records. Changes nothing. Stop the server first.
#[derive(Debug, Args)]
#[command(after_help = "Exit codes: 0 everything was read and is equal; 3 something is not, is damaged, or was not read.")]
pub(crate) struct Verify {
    /// The data directory
    #[arg(long, value_name = "DIR")]
    pub(crate) data: PathBuf,
    /// Where the recount may write, removed afterwards [default: a new folder beside DIR]
    #[arg(long, value_name = "DIR")]
    pub(crate) scratch: Option<PathBuf>,
    /// Threads that work [default: one for each core]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=512))]
    pub(crate) threads: Option<u16>,
}

/// Copy everything a server keeps to a new folder.
///
/// A server that runs is asked for it, with a key of an admin; the folder is then on its
/// machine. With --data the folder of a server that does not run is copied.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  flowmeter backup --data /var/lib/flowmeter --to /backup/monday\n  flowmeter backup --url https://meter:8888 --ca ca.pem --to /backup/monday"
)]
pub(crate) struct Backup {
    /// The data directory of a server that does not run
    #[arg(long, value_name = "DIR")]
    pub(crate) data: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) server: Server,
    /// A folder that is empty or not there
    #[arg(long, value_name = "DIR")]
    pub(crate) to: PathBuf,
}

/// Make a data directory of a backup.
#[derive(Debug, Args)]
pub(crate) struct Restore {
    /// The backup
    #[arg(long, value_name = "DIR")]
    pub(crate) from: PathBuf,
    /// The data directory to make: empty, or not there
    #[arg(long, value_name = "DIR")]
    pub(crate) data: PathBuf,
}
