//! The command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use clap_complete::Shell;
use flowmeter_engine::StateChoice;

use crate::client::Server;
use crate::form::Form;
use crate::input::Input;

/// Usage metering and mediation: events in, exact metered records out.
#[derive(Debug, Parser)]
#[command(name = "flowmeter", version, about, propagate_version = true)]
#[command(
    after_help = "Exit codes: 0 good; 1 an event was parked or there was a warning (with --strict), or a test failed; 2 wrong input; 3 failure.\n\nMessages go to standard error, results to standard output."
)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run one session over files and deliver the records
    Run(Run),
    /// Try a pipeline: show what each operator takes and passes on, and the records it would flush
    Test(Test),
    /// Check pipelines: print mistakes, or the pipelines with every default written out
    Check(Check),
    /// Print a pipeline for files, guessed from their first rows, to be corrected
    Infer {
        /// Files of one source: CSV, JSON, access logs; packed or not
        #[arg(required = true)]
        files: Vec<String>,
    },
    /// Run a server: take events over HTTP and run pipelines
    Serve(Serve),
    /// Look at the sources of a pipeline
    #[command(subcommand)]
    Sources(crate::sources::Sources),
    /// Serve sample pipelines with live sample events, to look around
    Demo(Demo),
    /// Make the pipelines of a server equal to documents in files
    Apply(crate::apply::Apply),
    /// Show how the pipelines of a server differ from documents in files
    Diff(crate::apply::Diff),
    /// Write the records of a month to a file: CSV, XLSX, Parquet or NDJSON
    Export(crate::client::export::Exported),
    #[command(flatten)]
    Client(crate::client::Commands),
    /// Send load to a server and measure it
    #[command(subcommand)]
    Bench(Bench),
    /// Explain a metered record (the events that made it) or an event (its verdict and its meters)
    Explain(Explain),
    /// Count everything again and compare with the stored results
    Verify(Verify),
    /// Copy all data of a server to a new folder
    Backup(Backup),
    /// Make a data directory from a backup
    Restore(Restore),
    /// Print metering periods, one JSON object a line
    Periods(Periods),
    /// Print the JSON Schema of pipeline documents, for editors
    Schema,
    /// Print a completion script for a shell
    Completions {
        /// The shell that gets completions
        shell: Shell,
    },
    /// Print the manual page (roff)
    Man {
        /// The command, such as `run` or `meters list` [default: the page of flowmeter itself]
        command: Vec<String>,
        /// Write the pages of all commands to this folder
        #[arg(long, value_name = "DIR", conflicts_with = "command")]
        all: Option<PathBuf>,
    },
}

/// Run a server: take events over HTTP and run pipelines.
///
/// Needs nothing but a folder. Every setting can be given in a file, in the environment
/// (FLOWMETER_LOG_RETENTION for log.retention) or on the command line (--set); see
/// docs/settings.md. On SIGTERM the server finishes running requests, writes everything to disk and
/// exits with 0.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  flowmeter serve\n  flowmeter serve --data /var/lib/flowmeter --pipeline llm-usage.yaml\n  flowmeter serve --config flowmeter.yaml --set checkpoint.interval=10s --print-config"
)]
pub(crate) struct Serve {
    /// The data directory (setting `data`)
    #[arg(long, value_name = "DIR")]
    pub(crate) data: Option<PathBuf>,
    /// Address and port (setting `listen`)
    #[arg(long, value_name = "ADDR")]
    pub(crate) listen: Option<String>,
    /// The file with the settings
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// A pipeline to run; created or changed if necessary, and started
    #[arg(long, value_name = "FILE")]
    pub(crate) pipeline: Vec<PathBuf>,
    /// Any setting; may be repeated
    #[arg(long, value_name = "NAME=VALUE")]
    pub(crate) set: Vec<String>,
    /// Start with a clock at this instant, which moves on demand only (POST /api/v1/clock)
    ///
    /// The data folder is marked: it can never be served without a test clock again.
    #[arg(long, value_name = "INSTANT")]
    pub(crate) test_clock: Option<String>,
    /// Print the effective settings with their origin, and exit
    #[arg(long)]
    pub(crate) print_config: bool,
}

/// Serve sample pipelines with live sample events, to look around.
///
/// Starts a server on this machine with three pipelines, a webhook that fails now and then, and
/// some hundred events a second. Prints the address of the dashboard. Nothing outside the data
/// folder is written.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  flowmeter demo\n  flowmeter demo --listen 127.0.0.1:9000 --data /tmp/demo")]
pub(crate) struct Demo {
    /// Address and port of the server
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8888")]
    pub(crate) listen: String,
    /// The folder of everything durable; default: a new one in the system's temporary folder
    #[arg(long, value_name = "DIR")]
    pub(crate) data: Option<PathBuf>,
    /// Events a second, about
    #[arg(long, default_value_t = 200)]
    pub(crate) rate: u32,
}

/// Send load to a server and measure it.
#[derive(Debug, Subcommand)]
pub(crate) enum Bench {
    /// Send events as fast as the server answers, and print the figures as JSON
    Ingest(BenchIngest),
}

/// Send events as fast as the server answers, and print the figures as JSON.
#[derive(Debug, Args)]
pub(crate) struct BenchIngest {
    /// The address of the server
    #[arg(long, default_value = "http://127.0.0.1:8888")]
    pub(crate) url: String,
    /// The API key, if the server requires one
    #[arg(long, env = "FLOWMETER_KEY", hide_env_values = true)]
    pub(crate) key: Option<String>,
    /// Number of events to send
    #[arg(long, default_value_t = 10_000_000)]
    pub(crate) events: u64,
    /// The number of the first event; ids depend on it, so that a second run sends new events
    #[arg(long, default_value_t = 0)]
    pub(crate) first: u64,
    /// Events in a request
    #[arg(long, default_value_t = 500)]
    pub(crate) batch: u32,
    /// Connections, each with one running request
    #[arg(long, default_value_t = 64)]
    pub(crate) connections: u32,
    /// Threads that send requests
    #[arg(long, default_value_t = 1)]
    pub(crate) threads: usize,
    /// Number of different users
    #[arg(long, default_value_t = 10_000)]
    pub(crate) users: u64,
    /// Number of event types, at most 10
    #[arg(long, default_value_t = 5)]
    pub(crate) types: u64,
    /// Percentage of events for a period that ended forty days ago
    #[arg(long, default_value_t = 0)]
    pub(crate) late_percent: u64,
}

/// Run one session over files and deliver the records.
///
/// Every event gets one verdict: counted, duplicate, filtered, parked, split or absorbed. No period
/// closes before the end of the input; then every period that ended by --as-of is flushed.
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
    /// A folder for meters and identities, from which the run continues [default: in memory, for
    /// this run alone]
    #[arg(long, value_name = "DIR")]
    pub(crate) data: Option<PathBuf>,
    /// Release or forget the state of an operator of the previous run whose fields changed or that
    /// is gone: `release` counts it as it is, `forget` parks it; may be repeated
    #[arg(long, value_name = "OPERATOR=release|forget", requires = "data", value_parser = state_choice)]
    pub(crate) state: Vec<(String, StateChoice)>,
    /// A file for the records instead of the pipeline's targets (`-`: standard output); or `table`
    /// or `json`: the form of the summary
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

/// Try a pipeline on sample data. Nothing is delivered.
///
/// If the document has `tests`, runs them, with a line for each. With --input, or without `tests`,
/// shows what each operator takes and passes on, and the records it would flush. With --expect,
/// compares these records with the expected ones instead.
#[derive(Debug, Args)]
#[command(
    after_help = "Exit codes: 0 good; 1 records differ, a test failed, or an event was parked (with --strict); 2 wrong input; 3 failure.\n\nExamples:\n  flowmeter test orders.yaml\n  flowmeter test orders.yaml --input orders.ndjson --as-of 2026-02-01T00:00:00Z\n  flowmeter test orders.yaml --input orders.ndjson --as-of 2026-02-01T00:00:00Z --expect expected.ndjson"
)]
pub(crate) struct Test {
    /// The pipeline document (YAML or JSON)
    pub(crate) pipeline: PathBuf,
    #[command(flatten)]
    pub(crate) input: Input,
    /// Compare the records with these, one JSON object a line, and print the differences; only the
    /// fields that an expected record names are compared
    #[arg(long, value_name = "FILE")]
    pub(crate) expect: Option<PathBuf>,
    /// Events to show for each operator
    #[arg(long, default_value_t = 3, value_name = "N")]
    pub(crate) samples: usize,
    /// Form of the report
    #[arg(long, short, default_value = "table", value_name = "table|json")]
    pub(crate) output: Form,
    /// Write every status change of the session to a file, one JSON object a line
    #[arg(long, value_name = "FILE")]
    pub(crate) events: Option<PathBuf>,
    /// Fail the test if anything was parked
    #[arg(long)]
    pub(crate) strict: bool,
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
    /// Time zone: an IANA name or an offset
    #[arg(long, default_value = "Etc/UTC", value_name = "ZONE")]
    pub(crate) timezone: String,
    /// Print the period that contains this instant
    #[arg(long, value_name = "TIME", conflicts_with_all = ["from", "to"])]
    pub(crate) at: Option<String>,
    /// Print periods from the one that contains this instant …
    #[arg(long, value_name = "TIME", requires = "to")]
    pub(crate) from: Option<String>,
    /// … to the one that begins before this instant
    #[arg(long, value_name = "TIME", requires = "from")]
    pub(crate) to: Option<String>,
}

/// Explain a metered record or an event of a server.
///
/// For a record: the events that made it, and whether they add up to it again. For an event: every
/// step in each pipeline, and its verdict.
#[derive(Debug, Args)]
#[command(
    after_help = "Exit codes: 3 if the events do not add up to the record.\n\nExamples:\n  flowmeter explain 7d0c2f0e-60a1-5d0e-9a3f-1b1c0a1e2f3d\n  flowmeter explain call-4711 --url http://meter:8888 --output json"
)]
pub(crate) struct Explain {
    /// The `recordId` of a record, or the id of an event
    #[arg(value_name = "RECORD_ID|EVENT_ID")]
    pub(crate) id: String,
    #[command(flatten)]
    pub(crate) server: Server,
}

/// Count everything again and compare with the stored results.
///
/// Reads every file whole and compares it with its checksums. Then counts the log again with an
/// empty engine (and the event store, if the log no longer has everything), and compares meters and
/// records. Changes nothing. Stop the server first.
#[derive(Debug, Args)]
#[command(after_help = "Exit codes: 0 everything was read and is equal; 3 something differs, is damaged or was not read.")]
pub(crate) struct Verify {
    /// The data directory to check
    #[arg(long, value_name = "DIR")]
    pub(crate) data: PathBuf,
    /// A folder for temporary files, removed afterwards [default: a new folder beside DIR]
    #[arg(long, value_name = "DIR")]
    pub(crate) scratch: Option<PathBuf>,
    /// Threads [default: one for each core]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=512))]
    pub(crate) threads: Option<u16>,
}

/// Copy all data of a server to a new folder.
///
/// A running server makes the backup itself, in a folder on its machine; this needs a key with the
/// scope admin. With --data, copies the folder of a server that is not running.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  flowmeter backup --data /var/lib/flowmeter --to /backup/monday\n  flowmeter backup --url https://meter:8888 --ca ca.pem --to /backup/monday"
)]
pub(crate) struct Backup {
    /// The data directory of a server that is not running
    #[arg(long, value_name = "DIR")]
    pub(crate) data: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) server: Server,
    /// A folder that is empty or does not exist
    #[arg(long, value_name = "DIR")]
    pub(crate) to: PathBuf,
}

/// Make a data directory from a backup.
#[derive(Debug, Args)]
pub(crate) struct Restore {
    /// The folder of the backup
    #[arg(long, value_name = "DIR")]
    pub(crate) from: PathBuf,
    /// The data directory to make; it must be empty or not exist
    #[arg(long, value_name = "DIR")]
    pub(crate) data: PathBuf,
}

/// Reads the decision about the state of an operator: `ID=release` or `ID=forget`.
pub(crate) fn state_choice(text: &str) -> Result<(String, StateChoice), String> {
    let read = |(operator, choice): (&str, &str)| Some((operator.to_owned(), StateChoice::named(choice)?));
    let expected = || format!("`{text}`: write the id of the operator with =release or =forget, as hours=release");
    text.rsplit_once('=').filter(|(operator, _)| !operator.is_empty()).and_then(read).ok_or_else(expected)
}
