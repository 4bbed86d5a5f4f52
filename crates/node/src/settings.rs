//! Settings of the server, and the origin of each value.
//!
//! Every setting is a row of one table (`settings/table.rs`) with its unit, default, range and
//! reason; `docs/settings.md` is generated from it. A flag takes precedence over the environment,
//! the environment over the file, the file over the default. An unknown name or a value out of
//! range stops the start, since a misspelt bound that is silently ignored would have no effect. All
//! problems are reported at once, each with its place.
//!
//! Secrets are never values here, only references (`${env:NAME}`, `${file:PATH}`), so that the
//! effective settings can be printed and sent to others.

mod changes;
mod declared;
mod file;
mod layers;
pub mod limits;
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

pub(crate) use changes::InForce;
pub use changes::SettingChange;
pub use declared::Declared;
pub use layers::{Flag, Layers};
pub use limits::{Limits, Rates};
pub use secret::Secret;
pub use table::{Kind, Setting, TABLE};

/// Whether only this machine can reach the address.
pub fn is_loopback(listen: SocketAddr) -> bool {
    listen.ip().to_canonical().is_loopback()
}

/// The effective settings of the server.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The address on which the server listens.
    pub listen: SocketAddr,
    /// The folder of everything durable.
    pub data: PathBuf,
    /// Certificate and key: both, or neither.
    pub tls: Option<TlsFiles>,
    /// Time in which open connections must finish when the server stops.
    pub drain: Duration,
    /// How requests are authenticated.
    pub auth: Auth,
    /// Whether and how the dashboard is served.
    pub dashboard: Dashboard,
    /// Bounds of requests and connections.
    pub limits: Limits,
    /// The rates of one key.
    pub rates: Rates,
    /// The segments of the log on disk.
    pub log: Log,
    /// When a batch of events is made durable.
    pub commit: Commit,
    /// The time of checkpoints.
    pub checkpoint: Checkpoint,
    /// Maximal jump of the machine's clock; `None`: any jump is followed.
    pub clock_jump_max: Option<Duration>,
    /// Whether a test clock may be served to other machines.
    pub test_clock_allow_remote: bool,
    /// The stored events for queries.
    pub event_store: EventStore,
    /// Bytes of identities remembered in memory; more spill to disk.
    pub identities_bytes: u64,
    /// Bytes of meters in memory; beyond them no events are accepted. `None`: a third of the
    /// machine's memory.
    pub meters_bytes: Option<u64>,
    /// Bytes of rollups in memory, for each pipeline; more are written to disk. `None`: usage is
    /// not rolled up.
    pub rollups_bytes: Option<u64>,
    /// Number of worker threads; `None`: one for each core.
    pub threads: Option<u16>,
    /// Partitions of users; `None`: one for each thread.
    pub partitions: Option<u16>,
    /// The namespace of requests without a key.
    pub namespace: String,
    /// The collector of traces; `None`: no traces are sent.
    pub otlp: Option<Otlp>,
    /// The events of sessions and their intervals.
    pub sessions: Sessions,
    /// Bounds of the jobs of a namespace.
    pub jobs: Jobs,
    /// The delivery of notifications.
    pub notifications: Notifications,
    /// The notifications that the settings file declares.
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
    /// Whether a key is required.
    pub required: bool,
    /// The key with which the first others are created.
    pub bootstrap_key: Option<Secret>,
    /// Whether `/metrics` needs a key.
    pub metrics: bool,
}

/// The settings of the dashboard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dashboard {
    /// The value of `dashboard.enabled`.
    pub enabled: bool,
    /// `dashboard.https`: whether a proxy terminates TLS for browsers.
    pub https: bool,
    /// `dashboard.dir`: files served instead of the embedded ones.
    pub dir: Option<PathBuf>,
}

/// The collector that traces are sent to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Otlp {
    /// `otlp.endpoint`: the collector, without the path of traces.
    pub endpoint: String,
    /// `otlp.one_in`: one of this many traces that begin here is sent.
    pub one_in: u64,
}

/// The log on disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Log {
    /// Bytes of a segment.
    pub segment_bytes: u64,
    /// Time for which segments stay after no checkpoint needs them; `None`: for ever.
    pub retention: Option<Duration>,
}

/// The settings of group commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Commit {
    /// Time for which an event waits for others before it is made durable.
    pub delay_max: Duration,
    /// Bytes that are made durable without waiting.
    pub bytes: u64,
}

/// When checkpoints are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    /// The time between two checkpoints.
    pub interval: Duration,
    /// Bytes of log after which one is made earlier.
    pub bytes: u64,
}

/// The settings of the event store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EventStore {
    /// Whether events are stored at all.
    pub enabled: bool,
    /// Whether events that operators make are stored, too.
    pub derived: bool,
    /// Time for which they are kept; `None`: for ever.
    pub retention_age: Option<Duration>,
    /// Bytes that are kept; `None`: no bound.
    pub retention_bytes: Option<u64>,
}

/// The events of sessions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sessions {
    /// The time between periodic updates of a session's operators.
    pub status_interval: Duration,
    /// The time without input after which a warning is sent; `None`: never.
    pub silence: Option<Duration>,
    /// The number of parked events above which a warning is sent; `None`: never.
    pub corrections_bound: Option<u64>,
    /// The time for which a flush may be overdue before a warning; `None`: no warning.
    pub flush_overdue: Option<Duration>,
    /// The folder whose files DEBUG sessions may read; `None`: no files.
    pub test_files: Option<PathBuf>,
    /// Events of one DEBUG session that are not in its request.
    pub test_events_max: u64,
}

/// The bounds of the jobs of one namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Jobs {
    /// Jobs at the same time.
    pub running_max: usize,
    /// Jobs that are remembered.
    pub kept_max: usize,
    /// Files of exports that are kept, and as many results.
    pub outputs_max: usize,
}

/// The delivery of notifications.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Notifications {
    /// Whether webhooks may go to this machine and private networks, and without TLS.
    pub allow_private: bool,
    /// Certificates that are trusted besides the public ones, PEM.
    pub ca: Option<PathBuf>,
    /// The mail server for e-mail.
    pub smtp: Option<Smtp>,
    /// The cluster of Kafka that takes messages.
    pub kafka: Option<Kafka>,
    /// Time for which events and deliveries are kept; `None`: for ever.
    pub retention: Option<Duration>,
}

/// The mail server that sends notifications.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Smtp {
    /// The name of its host.
    pub host: String,
    /// The TCP port of the server.
    pub port: u16,
    /// Whether the connection begins with TLS (`smtps://`) or switches to it (`smtp://`, STARTTLS).
    pub implicit_tls: bool,
    /// The user name at the mail server.
    pub username: Option<String>,
    /// The password at the mail server.
    pub password: Option<Secret>,
    /// The sender of every message.
    pub from: String,
}

/// The cluster of Kafka that takes notifications.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kafka {
    /// Addresses of some brokers, as `host:port`.
    pub brokers: Vec<String>,
    /// Whether brokers are reached over TLS.
    pub tls: bool,
    /// The mechanism of SASL, the user and the password; `None`: the brokers ask for none.
    pub login: Option<(String, String, Secret)>,
}

/// The settings of logging.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tracing {
    /// One of `error`, `warn`, `info`, `debug` or `trace`.
    pub level: String,
    /// Whether each line is a JSON object.
    pub json: bool,
}

/// All errors of the settings, one per line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problems(pub Vec<String>);

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join("\n"))
    }
}

impl std::error::Error for Problems {}

impl Settings {
    /// Reads the effective settings of these layers.
    ///
    /// # Errors
    /// Unknown names, values out of range, a file that cannot be read: all of them.
    pub fn read(layers: &Layers<'_>) -> Result<Settings, Problems> {
        let mut problems = Vec::new();
        let values = layers.merge(&mut problems);
        match typed::build(values, &mut problems) {
            Some(settings) if problems.is_empty() => Ok(settings),
            _ => Err(Problems(problems)),
        }
    }

    /// Returns the effective settings as a settings file, each with its origin.
    pub fn print(&self) -> String {
        page::print(&self.values)
    }

    /// Returns every setting as JSON, for the dashboard.
    pub fn list(&self) -> Vec<serde_json::Value> {
        page::list(&self.values)
    }

    /// Returns every value by name. Secrets are shown as references.
    pub(crate) fn shown(&self) -> std::collections::BTreeMap<String, String> {
        self.values.0.iter().map(|(setting, value, _)| (setting.name.to_owned(), value::show(value))).collect()
    }

    /// Checks whether the server may start with these settings. `has_keys` is whether any stored
    /// key would be accepted now.
    ///
    /// # Errors
    /// The missing setting, and the remedy.
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
        Err("auth.required is true, but there is no key, so every request would be refused. Make one with `flowmeter keys create --data DIR`, or \
             set auth.bootstrap_key to ${env:NAME} or ${file:PATH} of a key"
            .to_owned())
    }

    /// Returns warnings for the operator that do not prevent the start.
    pub fn warnings(&self) -> Vec<String> {
        let mut warnings = Vec::new();
        if !is_loopback(self.listen) && self.tls.is_none() {
            warnings.push(format!(
                "listen is {} and there is no tls.cert: keys cross the network in the clear unless a proxy in front uses TLS",
                self.listen
            ));
        }
        warnings
    }
}
