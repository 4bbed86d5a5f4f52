//! The client's commands.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::connection::Server;

/// What a server keeps.
#[derive(Debug, Subcommand)]
pub(crate) enum Commands {
    /// Meters of a server: users' buckets as they are now
    Meters(Asked<Meters>),
    /// Meter types of a server
    MeterTypes(Asked<MeterTypes>),
    /// Sessions of a server: watch, pause, resume, cancel, finish
    Sessions(Asked<Sessions>),
    /// Pipelines of a server: make, change, run
    Pipelines(Asked<Pipelines>),
    /// Send events to a server
    Events(Asked<Events>),
    /// The correction queue of a server
    Corrections(Asked<Corrections>),
    /// Metered records of a server
    Records(Asked<Records>),
    /// Deliveries of a server: records at their targets
    Deliveries(Asked<Deliveries>),
    /// Notifications of a server: make, try, look at what was sent
    Notifications(Asked<Notifications>),
    /// API keys of a server
    Keys(Asked<Keys>),
    /// Who changed what on a server, the newest first
    Audit(Asked<Audit>),
}

/// An act, and the server that is asked for it.
#[derive(Debug, Args)]
#[command(
    after_help = "The server is http://127.0.0.1:8888 unless --url or FLOWMETER_URL says otherwise; its key is FLOWMETER_KEY.\nExit codes: 0 ok; 2 the server refused the request; 3 it failed, or gave no answer."
)]
pub(crate) struct Asked<A: Subcommand> {
    #[command(flatten)]
    pub(crate) server: Server,
    #[command(subcommand)]
    pub(crate) act: A,
}

#[derive(Debug, Args)]
pub(crate) struct Paging {
    /// Items at most
    #[arg(long, default_value_t = 100, value_name = "N")]
    pub(crate) limit: usize,
    /// All items, however many there are
    #[arg(long, conflicts_with = "limit")]
    pub(crate) all: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Meters {
    /// List meters, by user
    List {
        /// Of this user
        #[arg(long)]
        user: Option<String>,
        /// Of the meter type of this name or id
        #[arg(long = "type", value_name = "TYPE")]
        meter_type: Option<String>,
        /// Of this pipeline
        #[arg(long)]
        pipeline: Option<String>,
        #[command(flatten)]
        list: Paging,
    },
    /// Show a meter: the record its ongoing period would make
    Show { id: String },
    /// Open a meter
    Create {
        /// The user it belongs to
        #[arg(long)]
        user: String,
        /// The name or id of its meter type
        #[arg(long = "type", value_name = "TYPE")]
        meter_type: String,
        /// The pipeline, where several count in the type
        #[arg(long)]
        pipeline: Option<String>,
        #[command(flatten)]
        fields: MeterFields,
    },
    /// Change a meter
    Set {
        id: String,
        #[command(flatten)]
        fields: MeterFields,
    },
    /// Take a meter away, without a record
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
    /// Make a meter type from a JSON file
    Create { file: PathBuf },
    /// Change a meter type to what a JSON file says
    Update { name: String, file: PathBuf },
    /// Take a meter type away
    Delete { name: String },
}

#[derive(Debug, Subcommand)]
pub(crate) enum Sessions {
    /// List sessions, the newest first
    List {
        /// Of this pipeline
        #[arg(long)]
        pipeline: Option<String>,
        /// In this status
        #[arg(long)]
        status: Option<String>,
        #[command(flatten)]
        list: Paging,
    },
    /// Show a session with its counts
    Show { id: String },
    /// The events of a session, in order
    Events { id: String },
    /// Follow status changes and operators' counts as they happen; of one session, from its
    /// beginning to its end
    Watch {
        /// This session; without it all, from now on
        id: Option<String>,
    },
    /// Suspend a session; its position is kept
    Pause { id: String },
    /// Let a session go on
    Resume { id: String },
    /// End a session before it is done
    Cancel { id: String },
    /// End a session: count what came, deliver what is due
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
    /// Make a pipeline from a document
    Create { file: PathBuf },
    /// Give a pipeline a new version
    Update { name: String, file: PathBuf },
    /// Take a pipeline away
    Delete { name: String },
    /// The versions of a pipeline
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
    /// Wait until they are counted, and tell the verdicts
    #[arg(long)]
    pub(crate) wait: bool,
    /// Exit with 1 if anything was parked
    #[arg(long, requires = "wait")]
    pub(crate) strict: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Corrections {
    /// List parked events
    List {
        /// Of this pipeline
        #[arg(long)]
        pipeline: Option<String>,
        /// open, corrected, reprocessed, discarded or all
        #[arg(long)]
        state: Option<String>,
        /// Parked for this reason
        #[arg(long)]
        reason: Option<String>,
        #[command(flatten)]
        list: Paging,
    },
    /// Show a parked event
    Show { id: String },
    /// Send an event in again as a JSON file has it
    Correct { id: String, file: PathBuf },
    /// Give an event up
    Discard { id: String },
    /// Send an event in again as it was
    Reprocess { id: String },
    /// Send all open events of a pipeline in again
    ReprocessAll {
        #[arg(long)]
        pipeline: String,
        /// Only those parked for this reason
        #[arg(long)]
        reason: Option<String>,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum Records {
    /// List metered records, in the order of flushing
    List {
        /// Of this pipeline
        #[arg(long)]
        pipeline: Option<String>,
        /// Of this user
        #[arg(long)]
        user: Option<String>,
        /// Of the meter type of this name or id
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
        /// Of this pipeline
        #[arg(long)]
        pipeline: Option<String>,
        /// To this target
        #[arg(long)]
        target: Option<String>,
        /// pending, sent, accepted, confirmed, retrying, dead or skipped
        #[arg(long)]
        state: Option<String>,
        /// Of this record
        #[arg(long, value_name = "ID")]
        record: Option<String>,
        #[command(flatten)]
        list: Paging,
    },
    /// How far each target has come
    Targets {
        /// Of this pipeline
        #[arg(long)]
        pipeline: Option<String>,
    },
    /// Show a delivery with its record
    Show { id: String },
    /// Send a record again, under the same key
    Resend { id: String },
    /// Leave a record out
    Skip {
        id: String,
        /// Why it need not go; kept with the delivery
        #[arg(long)]
        reason: String,
    },
    /// Send everything again that is dead or waits for its next attempt
    ResendAll {
        #[arg(long)]
        pipeline: String,
        /// Only to this target
        #[arg(long)]
        target: Option<String>,
    },
    /// Compare what was flushed with what targets hold
    Reconcile {
        #[arg(long)]
        pipeline: String,
        /// Only this target
        #[arg(long)]
        target: Option<String>,
        /// Only periods that end at this time or later, RFC 3339
        #[arg(long, value_name = "TIME")]
        from: Option<String>,
        /// Only periods that end before this time, RFC 3339
        #[arg(long, value_name = "TIME")]
        to: Option<String>,
        /// Send again what is missing
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
    /// Show a notification
    Show { name: String },
    /// Make a notification from a JSON file
    Create { file: PathBuf },
    /// Change a notification to what a JSON file says
    Update { name: String, file: PathBuf },
    /// Take a notification away; its history stays
    Delete { name: String },
    /// Show which past events a notification would have told of; nothing is sent
    Test { name: String },
    /// List deliveries, the newest first; or show one with every attempt
    History {
        /// This delivery
        id: Option<String>,
        /// Of this notification
        #[arg(long)]
        notification: Option<String>,
        /// Over this channel
        #[arg(long)]
        channel: Option<String>,
        /// waiting, delivered or dead
        #[arg(long)]
        state: Option<String>,
        /// Of this session
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
    /// Make a key; its secret is shown this once
    Create(CreateKey),
    /// Give a key a new secret
    Rotate {
        id: String,
        /// How long the old secret still works
        #[arg(long, value_name = "DURATION")]
        grace: Option<String>,
    },
    /// Revoke a key
    Revoke { id: String },
}

#[derive(Debug, Args)]
pub(crate) struct CreateKey {
    /// Which program uses it
    #[arg(long)]
    pub(crate) name: String,
    /// What it may do: ingest, read, operate, admin; may be repeated
    #[arg(long, required = true, value_name = "SCOPE")]
    pub(crate) scope: Vec<String>,
    /// When it ends, RFC 3339
    #[arg(long, value_name = "TIME")]
    pub(crate) expires_at: Option<String>,
    /// Make it in this folder, while no server runs: the first key
    #[arg(long, value_name = "DIR")]
    pub(crate) data: Option<PathBuf>,
    /// Its namespace; only with --data
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
