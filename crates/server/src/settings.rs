//! Settings of the server, and the origin of each value.
//!
//! Every setting stands in one table (`settings/table.rs`) with its unit, default, range
//! and reason; `docs/settings.md` is written from it. A flag outweighs the environment,
//! the environment the file, the file the default. A name that does not exist or a value
//! out of its range stops the start: a misspelt bound that is silently ignored is no
//! bound. All problems are told at once, each with its place.
//!
//! Secrets are never values here, only references (`${env:NAME}`, `${file:PATH}`), so
//! that the effective settings can be printed and sent to whoever helps.

mod declared;
mod file;
mod layers;
mod list;
mod page;
mod secret;
mod table;
#[cfg(test)]
mod tests;
mod typed;
mod value;

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use crate::limits::{Limits, Rates};
use crate::loopback::is_loopback;

pub use declared::Declared;
pub use layers::{Flag, Layers};
pub use secret::Secret;
pub use table::{Kind, Setting, TABLE};

/// Whether only this machine can reach the address.
pub fn listen_is_loopback(listen: SocketAddr) -> bool {
    is_loopback(listen)
}

/// The settings in force.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where the server listens.
    pub listen: SocketAddr,
    /// The folder of everything durable.
    pub data: PathBuf,
    /// Certificate and key: both, or neither.
    pub tls: Option<TlsFiles>,
    /// How long those inside may take to finish when the server stops.
    pub drain: Duration,
    /// How requests are authenticated.
    pub auth: Auth,
    /// Whether and how the dashboard is served.
    pub dashboard: Dashboard,
    /// Bounds of requests and connections.
    pub limits: Limits,
    /// How fast one key may send.
    pub rates: Rates,
    /// The segments of the log on disk.
    pub log: Log,
    /// When a batch of events is made durable.
    pub commit: Commit,
    /// When the state is written down.
    pub checkpoint: Checkpoint,
    /// How far the machine's clock may jump; `None`: any jump is followed.
    pub clock_jump_max: Option<Duration>,
    /// The events, kept for questions.
    pub event_store: EventStore,
    /// Bytes of identities remembered in memory; more spill to disk.
    pub identities_bytes: u64,
    /// Bytes of meters in memory; beyond them nothing is taken. `None`: a third of what the
    /// machine has.
    pub meters_bytes: Option<u64>,
    /// Bytes of rollups in memory, of each pipeline; more spill to disk. `None`: usage is
    /// not rolled up.
    pub rollups_bytes: Option<u64>,
    /// Threads that work; `None`: one for each core.
    pub threads: Option<u16>,
    /// Partitions of users; `None`: one for each thread.
    pub partitions: Option<u16>,
    /// The tenant of requests that name none.
    pub namespace: String,
    /// Where traces go; `None`: nowhere.
    pub otlp: Option<Otlp>,
    /// What is told of sessions, and when.
    pub sessions: Sessions,
    /// How notifications leave.
    pub notifications: Notifications,
    /// Those that the settings file declares.
    pub declared: Vec<Declared>,
    /// The messages of the program: their level and form.
    pub tracing: Tracing,
    values: layers::Values,
}

/// The files of the certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFiles {
    /// The file of `tls.cert`.
    pub cert: PathBuf,
    /// The file of `tls.key`.
    pub key: PathBuf,
}

/// How requests are authenticated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Auth {
    /// Whether a key is asked for.
    pub required: bool,
    /// The key to make the first others with.
    pub bootstrap_key: Option<Secret>,
}

/// The settings of the dashboard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dashboard {
    /// The value of `dashboard.enabled`.
    pub enabled: bool,
    /// `dashboard.https`: a proxy speaks TLS to browsers.
    pub https: bool,
    /// `dashboard.dir`: files served instead of the embedded ones.
    pub dir: Option<PathBuf>,
}

/// The collector that traces are sent to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Otlp {
    /// `otlp.endpoint`: the collector, without the path of traces.
    pub endpoint: String,
    /// `otlp.one_in`: one of so many traces that begin here.
    pub one_in: u64,
}

/// The log on disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Log {
    /// Bytes of a segment.
    pub segment_bytes: u64,
    /// How long segments stay after a checkpoint no longer needs them; `None`: for ever.
    pub retention: Option<Duration>,
}

/// The settings of group commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Commit {
    /// How long an event waits for others before it is made durable.
    pub delay_max: Duration,
    /// Bytes that are made durable without waiting.
    pub bytes: u64,
}

/// When checkpoints are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    /// The time between two.
    pub interval: Duration,
    /// Bytes of log after which one is made earlier.
    pub bytes: u64,
}

/// The settings of the event store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EventStore {
    /// Whether events are kept at all.
    pub enabled: bool,
    /// How long; `None`: for ever.
    pub retention_age: Option<Duration>,
    /// How many bytes; `None`: as many as come.
    pub retention_bytes: Option<u64>,
}

/// What is told of sessions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sessions {
    /// The time between periodic updates of a session's operators.
    pub status_interval: Duration,
    /// No input for that long is told; `None`: never.
    pub silence: Option<Duration>,
    /// More parked events than that are told; `None`: never.
    pub corrections_bound: Option<u64>,
    /// How long a flush may be overdue before a warning; `None`: no warning.
    pub flush_overdue: Option<Duration>,
    /// The folder whose files DEBUG sessions may read; `None`: no files.
    pub test_files: Option<PathBuf>,
    /// Events of one DEBUG session that are not in its request.
    pub test_events_max: u64,
}

/// How notifications leave.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Notifications {
    /// Whether webhooks may go to this machine and private networks, and without TLS.
    pub allow_private: bool,
    /// Certificates that are trusted besides the well-known ones, PEM.
    pub ca: Option<PathBuf>,
    /// Where e-mail is handed over.
    pub smtp: Option<Smtp>,
    /// How long events and deliveries are kept; `None`: for ever.
    pub retention: Option<Duration>,
}

/// The mail server that sends notifications.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Smtp {
    /// The name of its host.
    pub host: String,
    /// The TCP port of the server.
    pub port: u16,
    /// Whether TLS comes first (`smtps://`) or is asked for (`smtp://`, STARTTLS).
    pub implicit_tls: bool,
    /// The user name at the mail server.
    pub username: Option<String>,
    /// And how it proves it.
    pub password: Option<Secret>,
    /// The sender of every message.
    pub from: String,
}

/// Logging.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tracing {
    /// `error`, `warn`, `info`, `debug` or `trace`.
    pub level: String,
    /// Whether each line is a JSON object.
    pub json: bool,
}

/// Everything that is wrong with the settings, a line each.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problems(pub Vec<String>);

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join("\n"))
    }
}

impl std::error::Error for Problems {}

impl Settings {
    /// The effective settings of these layers.
    ///
    /// # Errors
    /// Unknown names, values out of range, a file that cannot be understood: all of them.
    pub fn read(layers: &Layers<'_>) -> Result<Settings, Problems> {
        let mut problems = Vec::new();
        let values = layers.merge(&mut problems);
        match typed::build(values, &mut problems) {
            Some(settings) if problems.is_empty() => Ok(settings),
            _ => Err(Problems(problems)),
        }
    }

    /// The effective settings as a settings file, each with where it came from.
    pub fn print(&self) -> String {
        page::print(&self.values)
    }

    /// Every setting as JSON, for the dashboard.
    pub fn list(&self) -> Vec<serde_json::Value> {
        page::list(&self.values)
    }

    /// Whether the server may start like this. `has_keys`: whether any stored key could
    /// come in now.
    ///
    /// # Errors
    /// What is missing, and what to do.
    pub fn check(&self, has_keys: bool) -> Result<(), String> {
        let listen = self.listen;
        if !self.auth.required {
            return match is_loopback(listen) {
                true => Ok(()),
                false => Err(format!(
                    "listen is {listen}, which other machines can reach, but auth.required is false, so anybody could read and write \
                     everything. Set auth.required: true and make a key with `flowmeter keys create`; or listen on 127.0.0.1:{}",
                    listen.port()
                )),
            };
        }
        if has_keys || self.auth.bootstrap_key.is_some() {
            return Ok(());
        }
        Err("auth.required is true, but there is no key, so nobody could come in. Make one with `flowmeter keys create --data DIR`, or \
             set auth.bootstrap_key to ${env:NAME} or ${file:PATH} of a key"
            .to_owned())
    }

    /// Returns warnings for the operator that do not prevent the start.
    pub fn warnings(&self) -> Vec<String> {
        let mut warnings = Vec::new();
        if !is_loopback(self.listen) && self.tls.is_none() {
            warnings.push(format!(
                "listen is {} and there is no tls.cert: keys cross the network in the clear unless a proxy in front speaks TLS",
                self.listen
            ));
        }
        warnings
    }
}
