//! Every setting of the server.

use super::limits;

/// The kind of a setting's value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A socket address, `IP:PORT`.
    Address,
    /// A path, relative to the working directory at the start.
    Path,
    /// Text that is not empty.
    Text,
    /// An address that begins with `http://` or `https://`.
    Url,
    /// A reference, `${env:NAME}` or `${file:PATH}`.
    Secret,
    /// The value `true` or `false`.
    Switch,
    /// One of these words.
    Choice(&'static [&'static str]),
    /// A number with its unit, least and greatest value.
    Count(&'static str, u64, u64),
    /// Bytes with least and greatest value; written `64MiB`.
    Bytes(u64, u64),
    /// Seconds with least and greatest value; written `30s`, `32d`.
    Seconds(u64, u64),
}

/// A setting of the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Setting {
    /// Its name; the environment has it in capitals, prefixed by `FLOWMETER_`.
    pub name: &'static str,
    /// The kind of its value.
    pub kind: Kind,
    /// Its default; `none` where it may be left out.
    pub default: &'static str,
    /// Its purpose and the reason for its default.
    pub reason: &'static str,
    /// Whether `none` is a value.
    pub may_be_none: bool,
}

impl Setting {
    /// Returns the variable that sets it.
    pub fn variable(&self) -> String {
        format!("FLOWMETER_{}", self.name.replace('.', "_").to_uppercase())
    }

    const fn or_none(self) -> Setting {
        Setting { may_be_none: true, ..self }
    }
}

const fn row(name: &'static str, kind: Kind, default: &'static str, reason: &'static str) -> Setting {
    Setting { name, kind, default, reason, may_be_none: false }
}

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;
const TIB: u64 = 1 << 40;
const HOUR: u64 = 3_600;
const YEARS: u64 = 100 * 366 * 86_400;

/// The table, in the order of the page and of `--print-config`. The bounds of requests have their
/// defaults, with longer reasons, in `limits.rs`; a test compares the two.
pub const TABLE: &[Setting] = &[
    row(
        "listen",
        Kind::Address,
        "127.0.0.1:8888",
        "Where the server listens. Off this machine it starts only with auth.required and a key",
    ),
    row("data", Kind::Path, "flowmeter-data", "The folder of everything durable; back it up, and let one server use it"),
    row("threads", Kind::Count("", 1, 512), "none", "Threads that work; none: one for each core. No answer depends on it")
        .or_none(),
    row("partitions", Kind::Count("", 1, 512), "none", "Partitions of users; none: one for each thread. No answer depends on it")
        .or_none(),
    row("namespace.default", Kind::Text, "default", "The tenant of requests without a key, and of the bootstrap key"),
    row("tls.cert", Kind::Path, "none", "Certificate and those between it and the root, PEM; with tls.key the server uses TLS")
        .or_none(),
    row("tls.key", Kind::Path, "none", "The certificate's private key, PEM, without a passphrase").or_none(),
    row("auth.required", Kind::Switch, "false", "Whether requests need a key. Without it only this machine is answered"),
    row("auth.bootstrap_key", Kind::Secret, "none", "A key with all scopes, to make the first others with; remove it afterwards")
        .or_none(),
    row(
        "auth.metrics",
        Kind::Switch,
        "false",
        "Whether /metrics needs a key of the default namespace with the scope read; it names every namespace and pipeline",
    ),
    row("dashboard.enabled", Kind::Switch, "true", "Whether the server serves the dashboard at /"),
    row(
        "dashboard.https",
        Kind::Switch,
        "false",
        "Whether browsers reach the server over HTTPS at a proxy; without TLS, sign-in works from this machine only",
    ),
    row("dashboard.dir", Kind::Path, "none", "A folder with a built dashboard, served instead of the embedded one; for its developers")
        .or_none(),
    row(
        "shutdown.drain",
        Kind::Seconds(0, HOUR),
        "30s",
        "How long requests may take to finish when the server stops; Kubernetes kills after 30 s by default",
    ),
    row(
        "limits.body_bytes_max",
        Kind::Bytes(KIB, GIB),
        "16MiB",
        "Bytes of one body as sent; beyond a quarter of a megabyte larger batches gain little",
    ),
    row(
        "limits.decompressed_bytes_max",
        Kind::Bytes(KIB, 4 * GIB),
        "64MiB",
        "Bytes of one body after decompression; bounds memory",
    ),
    row(
        "limits.decompressed_ratio_max",
        Kind::Count("", 1, 100_000),
        "200",
        "How many times larger a body of more than 1 MiB may become; our sample events compress six times, bombs 1,000 times and more",
    ),
    row(
        "limits.batch_events_max",
        Kind::Count("events", 1, 10_000_000),
        "100_000",
        "Events of one request; about what a body holds",
    ),
    row(
        "limits.json_depth_max",
        Kind::Count("", 1, limits::JSON_DEPTH_MAX),
        "128",
        "Lists and objects inside each other; events cannot be deeper than 128",
    ),
    row(
        "limits.requests_in_flight",
        Kind::Count("requests", 1, 1_000_000),
        "1_024",
        "Requests worked on at once; more are refused with 503",
    ),
    row(
        "limits.connections",
        Kind::Count("connections", 1, 1_000_000),
        "4_096",
        "Connections at once; more wait. Never more than the limit of open files leaves (ulimit -n, less 512 for files)",
    ),
    row("limits.body_idle", Kind::Seconds(1, HOUR), "30s", "How long a sender may be silent in the middle of a body"),
    row(
        "limits.write_idle",
        Kind::Seconds(1, HOUR),
        "1m",
        "How long a caller may leave an answer unread; then the connection is closed",
    ),
    row(
        "limits.body_timeout",
        Kind::Seconds(1, 24 * HOUR),
        "5m",
        "How long a body may take in all; a byte now and then shall not hold a place for hours",
    ),
    row(
        "limits.header_timeout",
        Kind::Seconds(1, HOUR),
        "15s",
        "How long the head of a request, a handshake, or the silence between requests may last",
    ),
    row(
        "limits.header_bytes_max",
        Kind::Bytes(8 * KIB, 16 * MIB),
        "64KiB",
        "Bytes of the headers of a request; tokens of identity providers are long",
    ),
    row(
        "rate.requests_per_second",
        Kind::Count("requests/s", 0, 1_000_000_000),
        "0",
        "Requests of one key a second; 0: as many as come",
    ),
    row(
        "rate.events_per_second",
        Kind::Count("events/s", 0, 1_000_000_000),
        "0",
        "Events of one key a second; 0: as many as come",
    ),
    row(
        "rate.burst",
        Kind::Seconds(1, HOUR),
        "2s",
        "How much of its rate a key may save up and spend at once; senders' timers are not even",
    ),
    row(
        "commit.delay_ms_max",
        Kind::Count("ms", 0, 1_000),
        "0",
        "How long an event waits for others before it is made durable; while one commit is under way the next gather anyway",
    ),
    row("commit.bytes", Kind::Bytes(4 * KIB, 64 * MIB), "1MiB", "Bytes that are made durable without waiting for more"),
    row("log.segment_bytes", Kind::Bytes(MIB, 4 * GIB), "64MiB", "Bytes of one file of the log; the unit in which it is deleted"),
    row(
        "log.retention",
        Kind::Seconds(0, YEARS),
        "7d",
        "How long the log is kept after checkpoints no longer need it; none: for ever",
    )
    .or_none(),
    row(
        "clock.jump_max",
        Kind::Seconds(1, 365 * 24 * HOUR),
        "1h",
        "How far the machine's clock may jump while the server runs. After a larger jump the server ignores the clock and uses the time since boot, so that no period closes early, until the clock is right again or the server is restarted; none: follow every jump",
    )
    .or_none(),
    row(
        "test_clock.allow_remote",
        Kind::Switch,
        "false",
        "Whether a server with a test clock may listen on an address that other machines reach",
    ),
    row(
        "checkpoint.interval",
        Kind::Seconds(1, 24 * HOUR),
        "30s",
        "The time between checkpoints; bounds how much is read again at a start. One that takes long is made more seldom; one that is due while records are delivered waits for them, as long again at most",
    ),
    row("checkpoint.bytes", Kind::Bytes(MIB, TIB), "256MiB", "Bytes of log after which a checkpoint is made earlier"),
    row(
        "memory.identities_bytes",
        Kind::Bytes(16 * MIB, TIB),
        "1GiB",
        "Identities remembered in memory, for deduplication; more spill to disk",
    ),
    row(
        "memory.meters_bytes",
        Kind::Bytes(16 * MIB, TIB),
        "none",
        "Memory of meters; when it is full new events are refused (503) and nothing else; none: a third of what the machine or its \
         container has",
    )
    .or_none(),
    row(
        "memory.rollups_bytes",
        Kind::Bytes(MIB, TIB),
        "64MiB",
        "Usage by minute held in memory by each pipeline; more is written away, sooner and in more files",
    ),
    row(
        "rollups.enabled",
        Kind::Switch,
        "true",
        "Whether usage is rolled up by minute, for usage queries and the OpenMeter API; usage counted meanwhile is not in them",
    ),
    row("event_store.enabled", Kind::Switch, "true", "Whether events are kept for explanations, corrections and recounts"),
    row(
        "event_store.derived",
        Kind::Switch,
        "true",
        "Whether events that operators make are kept, too; off saves the time and the disk of writing them",
    ),
    row(
        "event_store.retention_age",
        Kind::Seconds(HOUR, YEARS),
        "400d",
        "How long events are kept; none: for ever. A year and a month, for questions about last year's bill",
    )
    .or_none(),
    row(
        "event_store.retention_bytes",
        Kind::Bytes(MIB, 1024 * TIB),
        "none",
        "Bytes of events kept, oldest go first; none: as many as come",
    )
    .or_none(),
    row(
        "sessions.status_interval",
        Kind::Seconds(1, 366 * 24 * HOUR),
        "30m",
        "The time between updates of every operator of a running session; a pipeline may have its own, statusInterval",
    ),
    row("sessions.silence", Kind::Seconds(1, YEARS), "none", "A session without input for that long is reported; none: never")
        .or_none(),
    row(
        "sessions.corrections_bound",
        Kind::Count("events", 1, 1_000_000_000_000),
        "10_000",
        "More parked events of a pipeline that wait for a correction are reported; none: never",
    )
    .or_none(),
    row(
        "sessions.flush_overdue",
        Kind::Seconds(1, YEARS),
        "1m",
        "A flush that is overdue for longer makes an event, and the server is not ready; none: never",
    )
    .or_none(),
    row(
        "sessions.test_files",
        Kind::Path,
        "none",
        "The folder whose files DEBUG sessions may read; none: no files. Lines that are not events are shown to the tester",
    )
    .or_none(),
    row(
        "sessions.test_events_max",
        Kind::Count("events", 1, 10_000_000),
        "100_000",
        "Events of a DEBUG session that come from a file or from what was received; one thread takes them while the request waits",
    ),
    row(
        "jobs.running_max",
        Kind::Count("jobs", 1, 64),
        "4",
        "Jobs of a namespace at the same time; each has a thread and reads beside the pipelines",
    ),
    row(
        "jobs.kept_max",
        Kind::Count("jobs", 1, 10_000),
        "200",
        "Jobs of a namespace that are remembered; of those that have ended the oldest are forgotten first",
    ),
    row(
        "jobs.outputs_max",
        Kind::Count("files", 1, 10_000),
        "20",
        "Files of exports that are kept for a namespace, and as many results of jobs; they take up disk",
    ),
    row(
        "notifications.allow_private",
        Kind::Switch,
        "false",
        "Whether webhooks may go to this machine and to private networks, and without TLS; anyone who may create a notification could \
         reach them",
    ),
    row("notifications.ca", Kind::Path, "none", "Certificates that webhooks and e-mail trust besides the well-known ones, PEM")
        .or_none(),
    row(
        "notifications.smtp",
        Kind::Text,
        "none",
        "Where e-mail is handed over: smtps://HOST:PORT (TLS first) or smtp://HOST:PORT (STARTTLS); never without TLS",
    )
    .or_none(),
    row("notifications.smtp_from", Kind::Text, "none", "The sender of e-mail, such as Flowmeter <flowmeter@example.com>")
        .or_none(),
    row("notifications.smtp_username", Kind::Text, "none", "The name at the mail server; none: it asks for none").or_none(),
    row(
        "notifications.retention",
        Kind::Seconds(3_600, YEARS),
        "90d",
        "How long events of sessions and deliveries are kept; none: for ever. A quarter, for who looks into one; what waits stays",
    )
    .or_none(),
    row("notifications.smtp_password", Kind::Secret, "none", "The password at the mail server").or_none(),
    row(
        "notifications.kafka",
        Kind::Text,
        "none",
        "Brokers that channels of Kafka send to: HOST:PORT, separated by commas; needs a build with the feature kafka",
    )
    .or_none(),
    row(
        "notifications.kafka_tls",
        Kind::Switch,
        "false",
        "Whether these brokers are reached over TLS; notifications.ca is trusted, if it is set",
    ),
    row("notifications.kafka_username", Kind::Text, "none", "The name at the brokers; none: they ask for none").or_none(),
    row("notifications.kafka_password", Kind::Secret, "none", "The password at the brokers").or_none(),
    row(
        "notifications.kafka_mechanism",
        Kind::Choice(&["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"]),
        "SCRAM-SHA-512",
        "How the password is given to the brokers",
    ),
    row(
        "otlp.endpoint",
        Kind::Url,
        "none",
        "The OpenTelemetry collector that gets traces, over OTLP/HTTP, at /v1/traces below this address; none: no traces are sent",
    )
    .or_none(),
    row(
        "otlp.one_in",
        Kind::Count("", 1, 1_000_000_000),
        "1",
        "One of so many traces that begin here is sent; the decision of a caller about its own trace takes precedence",
    ),
    row("tracing.level", Kind::Choice(&["error", "warn", "info", "debug", "trace"]), "info", "The least severe messages that are logged"),
    row("tracing.format", Kind::Choice(&["text", "json"]), "text", "How it is logged: for people, or one JSON object a line"),
];
