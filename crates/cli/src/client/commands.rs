//! The client's commands.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use flowmeter_engine::StateChoice;

use super::connection::Server;
use crate::args::state_choice;

/// Commands on the data of a server.
#[derive(Debug, Subcommand)]
pub(crate) enum Commands {
    /// Meters of a server: their current values by user
    Meters(OnServer<Meters>),
    /// Meter types of a server
    MeterTypes(OnServer<MeterTypes>),
    /// Tables of a server that operators look things up in: list, put rows, refresh
    Tables(OnServer<Tables>),
    /// Sessions of a server: watch, pause, resume, cancel, finish
    Sessions(OnServer<Sessions>),
    /// Pipelines of a server: create, change, run
    Pipelines(OnServer<Pipelines>),
    /// Send events to a server
    Events(OnServer<Events>),
    /// The correction queue of a server
    Corrections(OnServer<Corrections>),
    /// Metered records of a server
    Records(OnServer<Records>),
    /// Deliveries of a server: records at their targets
    Deliveries(OnServer<Deliveries>),
    /// Notifications of a server: create, preview, history
    Notifications(OnServer<Notifications>),
    /// API keys of a server
    Keys(OnServer<Keys>),
    /// Changes on a server, with author and time
    Audit(OnServer<Audit>),
}

/// A command, and the server it is sent to.
#[derive(Debug, Args)]
#[command(
    after_help = "The server is http://127.0.0.1:8888 unless --url or FLOWMETER_URL is set; the key is FLOWMETER_KEY.\nExit codes: 0 good; 2 the server refused the request; 3 failure or no answer."
)]
pub(crate) struct OnServer<A: Subcommand> {
    #[command(flatten)]
    pub(crate) server: Server,
    #[command(subcommand)]
    pub(crate) act: A,
}

#[derive(Debug, Args)]
pub(crate) struct Paging {
    /// Maximum number of items
    #[arg(long, default_value_t = 100, value_name = "N")]
    pub(crate) limit: usize,
    /// Show all items without a limit
    #[arg(long, conflicts_with = "limit")]
    pub(crate) all: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Meters {
    /// List meters, by user
    List {
        /// Only meters of this user
        #[arg(long)]
        user: Option<String>,
        /// Only meters of the meter type with this name or id
        #[arg(long = "type", value_name = "TYPE")]
        meter_type: Option<String>,
        /// Only meters of this pipeline
        #[arg(long)]
        pipeline: Option<String>,
        #[command(flatten)]
        list: Paging,
    },
    /// Show a meter: the record its current period would make
    Show { id: String },
    /// Create a meter of a user
    Create {
        /// The user it belongs to
        #[arg(long)]
        user: String,
        /// The name or id of its meter type
        #[arg(long = "type", value_name = "TYPE")]
        meter_type: String,
        /// The pipeline, if several count in the meter type
        #[arg(long)]
        pipeline: Option<String>,
        /// Its time zone, if the meter type leaves it to its meters
        #[arg(long, value_name = "ZONE")]
        timezone: Option<String>,
        #[command(flatten)]
        fields: MeterFields,
    },
    /// Change the settings of a meter
    Set {
        id: String,
        #[command(flatten)]
        fields: MeterFields,
    },
    /// Delete a meter without a record
    Delete { id: String },
}

#[derive(Debug, Args)]
pub(crate) struct MeterFields {
    /// Whether it is deleted after its next record
    #[arg(long, value_name = "true|false")]
    pub(crate) delete_on_reset: Option<bool>,
    /// Its custom fields, a JSON object
    #[arg(long, value_name = "JSON")]
    pub(crate) custom_fields: Option<String>,
    /// The amount its user may use in a period, or `null` for that of its type
    #[arg(long, value_name = "NUMBER")]
    pub(crate) capacity: Option<String>,
    /// Its own thresholds, a JSON list, or `null` for those of its type
    #[arg(long, value_name = "JSON")]
    pub(crate) thresholds: Option<String>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum MeterTypes {
    /// List meter types, by name
    List {
        #[command(flatten)]
        list: Paging,
    },
    /// Show a meter type
    Show { name: String },
    /// Create a meter type from a JSON file
    Create { file: PathBuf },
    /// Replace a meter type by a JSON file
    Update { name: String, file: PathBuf },
    /// Delete a meter type
    Delete { name: String },
}

#[derive(Debug, Subcommand)]
pub(crate) enum Tables {
    /// List tables, by name
    List {
        #[command(flatten)]
        list: Paging,
    },
    /// Show a table with the version in force
    Show { name: String },
    /// List the versions of a table, the newest first
    Versions {
        name: String,
        #[command(flatten)]
        list: Paging,
    },
    /// Replace the rows of a table by those of a file: NDJSON, or CSV with a header
    Put { name: String, file: PathBuf },
    /// Read the file of a table again
    Refresh { name: String },
}

#[derive(Debug, Subcommand)]
pub(crate) enum Sessions {
    /// List sessions, the newest first
    List {
        /// Only sessions of this pipeline
        #[arg(long)]
        pipeline: Option<String>,
        /// Only sessions in this status
        #[arg(long)]
        status: Option<String>,
        #[command(flatten)]
        list: Paging,
    },
    /// Show a session with its counts
    Show { id: String },
    /// List the events of a session, in order
    Events { id: String },
    /// Follow status changes and counts as they happen; a single session from its beginning to its
    /// end
    Watch {
        /// Only this session; without it all sessions, from now on
        id: Option<String>,
    },
    /// Pause a session; its position is kept
    Pause { id: String },
    /// Resume a paused session
    Resume { id: String },
    /// End a session before everything is counted
    Cancel { id: String },
    /// End a session: count the received events, deliver what is due
    Finish { id: String },
}

#[derive(Debug, Subcommand)]
pub(crate) enum Pipelines {
    /// List pipelines, by name
    List {
        #[command(flatten)]
        list: Paging,
    },
    /// Show a pipeline with its document
    Show { name: String },
    /// Create a pipeline from a document
    Create { file: PathBuf },
    /// Make a new version of a pipeline
    Update {
        name: String,
        file: PathBuf,
        /// Release or forget the state of an operator whose fields change or that is gone:
        /// `release` counts it as it is, `forget` parks it; may be repeated
        #[arg(long, value_name = "OPERATOR=release|forget", value_parser = state_choice)]
        state: Vec<(String, StateChoice)>,
    },
    /// Delete a pipeline by name
    Delete { name: String },
    /// List the versions of a pipeline
    Versions { name: String },
    /// Start a NORMAL session
    Run {
        name: String,
        /// Two starts with the same key are one session
        #[arg(long, value_name = "KEY")]
        unique_key: Option<String>,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum Events {
    /// Send files of events, one JSON object a line
    Send(SendEvents),
}

#[derive(Debug, Args)]
pub(crate) struct SendEvents {
    /// Files, or `-` for standard input
    #[arg(required = true)]
    pub(crate) files: Vec<PathBuf>,
    /// Wait until the events are counted, and print the verdicts
    #[arg(long)]
    pub(crate) wait: bool,
    /// Exit with 1 if anything was parked
    #[arg(long, requires = "wait")]
    pub(crate) strict: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Corrections {
    /// List parked events of a server
    List {
        /// Only events of this pipeline
        #[arg(long)]
        pipeline: Option<String>,
        /// Only this state: open, corrected, reprocessed, superseded, discarded, or all
        #[arg(long)]
        state: Option<String>,
        /// Only events that were parked for this reason
        #[arg(long)]
        reason: Option<String>,
        #[command(flatten)]
        list: Paging,
    },
    /// Show a parked event
    Show { id: String },
    /// Count a corrected event, from a JSON file, in place of a parked one
    Correct { id: String, file: PathBuf },
    /// Give a parked event up
    Discard { id: String },
    /// Count a parked event again as it was
    Reprocess { id: String },
    /// Count all open parked events of a pipeline again
    ReprocessAll {
        #[arg(long)]
        pipeline: String,
        /// Only events that were parked for this reason
        #[arg(long)]
        reason: Option<String>,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum Records {
    /// List metered records, in the order of flushing
    List {
        /// Only records of this pipeline
        #[arg(long)]
        pipeline: Option<String>,
        /// Only records of this user
        #[arg(long)]
        user: Option<String>,
        /// Only records of the meter type with this name or id
        #[arg(long = "type", value_name = "TYPE")]
        meter_type: Option<String>,
        #[command(flatten)]
        list: Paging,
    },
    /// Show a metered record
    Show { id: String },
}

#[derive(Debug, Subcommand)]
pub(crate) enum Deliveries {
    /// List deliveries, by record and target
    List {
        /// Only deliveries of this pipeline
        #[arg(long)]
        pipeline: Option<String>,
        /// Only deliveries to this target
        #[arg(long)]
        target: Option<String>,
        /// Only this state: pending, sent, accepted, confirmed, retrying, dead or skipped
        #[arg(long)]
        state: Option<String>,
        /// Only deliveries of this record
        #[arg(long, value_name = "ID")]
        record: Option<String>,
        #[command(flatten)]
        list: Paging,
    },
    /// Show the progress of each target
    Targets {
        /// Only targets of this pipeline
        #[arg(long)]
        pipeline: Option<String>,
    },
    /// Show a delivery with its record
    Show { id: String },
    /// Send a record again, under the same key
    Resend { id: String },
    /// Skip a record: do not send it
    Skip {
        id: String,
        /// The reason, stored with the delivery
        #[arg(long)]
        reason: String,
    },
    /// Send all dead and waiting deliveries of a pipeline again
    ResendAll {
        #[arg(long)]
        pipeline: String,
        /// Only to this target
        #[arg(long)]
        target: Option<String>,
    },
    /// Compare flushed records with those at the targets
    Reconcile {
        #[arg(long)]
        pipeline: String,
        /// Only records of this target
        #[arg(long)]
        target: Option<String>,
        /// Only periods that end at this time or later, RFC 3339
        #[arg(long, value_name = "TIME")]
        from: Option<String>,
        /// Only periods that end before this time, RFC 3339
        #[arg(long, value_name = "TIME")]
        to: Option<String>,
        /// Send missing records again
        #[arg(long)]
        mend: bool,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum Notifications {
    /// List notifications, by name
    List {
        #[command(flatten)]
        list: Paging,
    },
    /// Show a notification by name
    Show { name: String },
    /// Create a notification from a JSON file
    Create { file: PathBuf },
    /// Replace a notification by a JSON file
    Update { name: String, file: PathBuf },
    /// Delete a notification; its history stays
    Delete { name: String },
    /// Preview: show the past events that a notification would have sent
    Test { name: String },
    /// List deliveries, the newest first; or show one with every attempt
    History {
        /// Show only this delivery
        id: Option<String>,
        /// Only deliveries of this notification
        #[arg(long)]
        notification: Option<String>,
        /// Only deliveries over this channel
        #[arg(long)]
        channel: Option<String>,
        /// Only this state: waiting, delivered or dead
        #[arg(long)]
        state: Option<String>,
        /// Only deliveries of this session
        #[arg(long)]
        session: Option<String>,
        #[command(flatten)]
        list: Paging,
    },
    /// Send a delivery again
    Resend { id: String },
}

#[derive(Debug, Subcommand)]
pub(crate) enum Keys {
    /// List keys, without their secrets
    List {
        #[command(flatten)]
        list: Paging,
    },
    /// Create a key and show its secret, once
    Create(CreateKey),
    /// Give a key a new secret
    Rotate {
        id: String,
        /// How long the old secret keeps working
        #[arg(long, value_name = "DURATION")]
        grace: Option<String>,
    },
    /// Revoke a key by id
    Revoke { id: String },
}

#[derive(Debug, Args)]
pub(crate) struct CreateKey {
    /// The program that uses it
    #[arg(long)]
    pub(crate) name: String,
    /// Scope: ingest, read, operate or admin; may be repeated
    #[arg(long, required = true, value_name = "SCOPE")]
    pub(crate) scope: Vec<String>,
    /// Time of expiry, RFC 3339
    #[arg(long, value_name = "TIME")]
    pub(crate) expires_at: Option<String>,
    /// Create the key in this data directory while no server uses it: for the first key
    #[arg(long, value_name = "DIR")]
    pub(crate) data: Option<PathBuf>,
    /// The namespace of the key; only with --data
    #[arg(long, default_value = "default", requires = "data")]
    pub(crate) namespace: String,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Audit {
    /// List changes, the newest first
    List {
        #[command(flatten)]
        list: Paging,
    },
}
