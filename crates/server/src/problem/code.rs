//! The closed list of codes. A code that was published keeps its name, its status and
//! its meaning; a new situation gets a new code.

/// Name, status, title and remedy of every code: the one list, used by [`Code`]'s methods, by the
/// tests and by the API's description.
const CODES: &[(Code, &str, u16, &str, &str)] = &[
    // 400: the request itself.
    (Code::Invalid, "invalid", 400, "The request is not valid", "Correct the field named in `field` and send it again."),
    (
        Code::BadJson,
        "bad_json",
        400,
        "The body is not JSON",
        "Send one JSON value, in UTF-8; the detail says where it ends to be one.",
    ),
    (Code::TooDeep, "too_deep", 400, "The JSON is nested too deep", "Flatten the value, or raise limits.json_depth_max."),
    (
        Code::BadEncoding,
        "bad_encoding",
        400,
        "The body cannot be decompressed",
        "Send what Content-Encoding says, whole; or send it uncompressed.",
    ),
    (Code::BadCursor, "bad_cursor", 400, "The cursor is not one of ours", "Start the list again without a cursor."),
    (
        Code::EventsRejected,
        "events_rejected",
        400,
        "Nothing of the batch was taken",
        "Correct the events in `verdicts`, or send the batch with ?partial=true.",
    ),
    // 401 and 403: who asks.
    (
        Code::KeyMissing,
        "key_missing",
        401,
        "No API key",
        "Send `Authorization: Bearer fm_…`; `flowmeter keys create` makes a key.",
    ),
    (
        Code::KeyMalformed,
        "key_malformed",
        401,
        "This is not an API key",
        "Send the whole key, `fm_`, its id, `_` and its secret, as it was shown when it was made.",
    ),
    (
        Code::KeyUnknown,
        "key_unknown",
        401,
        "No such API key",
        "Look whether the key is for this server and was copied whole; make a new one if its secret is lost.",
    ),
    (Code::KeyExpired, "key_expired", 401, "The API key has expired", "Rotate the key, and use the new secret."),
    (Code::KeyRevoked, "key_revoked", 401, "The API key was revoked", "Ask for a new key; this one will not work again."),
    (Code::ScopeMissing, "scope_missing", 403, "The key may not do this", "Use a key that has the scope named in `scope`."),
    (
        Code::NamespaceForbidden,
        "namespace_forbidden",
        403,
        "The key belongs to another namespace",
        "Use a key of the namespace you ask for.",
    ),
    (
        Code::HostRefused,
        "host_refused",
        403,
        "Requests from this host or page are refused",
        "Use http://127.0.0.1 or http://localhost; or set auth.required and make a key.",
    ),
    // 404 to 428: what is asked for, and its state.
    (Code::NotFound, "not_found", 404, "There is no such thing", "Look at the name or the id; the list shows what there is."),
    (Code::MethodNotAllowed, "method_not_allowed", 405, "Not with this method", "Use one of the methods in the Allow header."),
    (Code::NotAcceptable, "not_acceptable", 406, "Not in the form you accept", "Accept application/json, or leave Accept out."),
    (Code::Timeout, "timeout", 408, "The body came too slowly", "Send it again, in smaller parts or over a better line."),
    (
        Code::Conflict,
        "conflict",
        409,
        "Its state does not allow this",
        "Read it again; the detail says what state it is in and what is possible there.",
    ),
    (
        Code::DerivedEvent,
        "derived_event",
        409,
        "An operator made this event",
        "Correct the event it was made of, which the detail names.",
    ),
    (
        Code::StateIncompatible,
        "state_incompatible",
        409,
        "The new version has no place for the state of an operator",
        "Send `{\"document\": …, \"state\": {…}}` with `release` or `forget` for each operator in `operators`, or keep their fields.",
    ),
    (
        Code::ClockBackwards,
        "clock_backwards",
        409,
        "A test clock moves forward only",
        "Move it to a later instant, or start with a new data folder.",
    ),
    (
        Code::NoTestClock,
        "no_test_clock",
        409,
        "The server has no test clock",
        "Start it with --test-clock INSTANT and a data folder of its own.",
    ),
    (Code::AlreadyExists, "already_exists", 409, "There is one already", "Choose another name, or change the one there is."),
    (
        Code::TargetUnavailable,
        "target_unavailable",
        409,
        "A target could not take records",
        "Do what the detail says of each target, then start the session or save the pipeline again.",
    ),
    (
        Code::InProgress,
        "in_progress",
        409,
        "The same request is being worked on",
        "Wait for its answer; repeat with the same Idempotency-Key after that.",
    ),
    (Code::Stale, "stale", 412, "It was changed since you read it", "Read it again, and change that: If-Match takes its ETag."),
    (Code::EtagRequired, "etag_required", 428, "The change does not say of what", "Send If-Match with the ETag you read."),
    // 413 to 431: how much, and of what kind.
    (
        Code::TooLarge,
        "too_large",
        413,
        "The body is too large",
        "Split it; limits.body_bytes_max, limits.decompressed_bytes_max and limits.decompressed_ratio_max bound one request.",
    ),
    (Code::TooMany, "too_many", 413, "Too many events in one batch", "Split the batch; limits.batch_events_max bounds it."),
    (
        Code::UnsupportedMediaType,
        "unsupported_media_type",
        415,
        "Not a content type this endpoint reads",
        "Send one of the content types in the detail.",
    ),
    (
        Code::UnsupportedEncoding,
        "unsupported_encoding",
        415,
        "Not a content encoding this server reads",
        "Use gzip or zstd, once; or none.",
    ),
    (
        Code::InvalidDocument,
        "invalid_document",
        422,
        "The document has problems",
        "Correct every line in `problems`; `flowmeter check` finds the same ones.",
    ),
    (
        Code::TableRefused,
        "table_refused",
        422,
        "The rows do not fit the table",
        "Correct the row that the detail names and send all rows again; the version before stays in force.",
    ),
    (
        Code::IdempotencyKeyReused,
        "idempotency_key_reused",
        422,
        "This Idempotency-Key was used for another request",
        "Use a new key for a new request.",
    ),
    (
        Code::QueryTooLarge,
        "query_too_large",
        422,
        "The query would read or answer too much",
        "Narrow the time, or group by less.",
    ),
    // 429 and 5xx: not now, or our fault.
    (
        Code::RateLimited,
        "rate_limited",
        429,
        "Too fast for this key",
        "Wait as long as Retry-After says; send fewer, larger batches.",
    ),
    (Code::Internal, "internal", 500, "The server failed", "Report it, with the instance and the server's log of that moment."),
    (Code::Overloaded, "overloaded", 503, "Busy: nothing was taken", "Wait as long as Retry-After says and send it again."),
    (
        Code::Draining,
        "draining",
        503,
        "The server is stopping",
        "Send it again; another instance, or this one after its restart, will take it.",
    ),
    (
        Code::DiskFull,
        "disk_full",
        503,
        "The disk is full: nothing was taken",
        "Make room under the data folder, or shorten log.retention; senders need only repeat.",
    ),
    (
        Code::MetersFull,
        "meters_full",
        503,
        "Meters take all the memory they may: nothing was taken",
        "Raise memory.meters_bytes, delete unused meters, or shorten late.amendWithin; senders need only repeat.",
    ),
    (
        Code::Poisoned,
        "poisoned",
        503,
        "A durable write failed: nothing more is taken",
        "Look at the disk, then restart the server; it recovers from its log.",
    ),
    (
        Code::PipelineStopped,
        "pipeline_stopped",
        503,
        "A pipeline has stopped",
        "Mend what the detail names; if the pipeline has failed, start it again with POST /api/v1/pipelines/{name}/run.",
    ),
    (
        Code::ClockBehind,
        "clock_behind",
        503,
        "The machine's clock is behind the newest entry of the log",
        "Set the clock right. If it was ahead before, no period closes until it reaches the time of that entry; a backup from before continues at once.",
    ),
    (Code::NotReady, "not_ready", 503, "The server is still reading its log", "Wait until /health/ready says 200."),
];

/// The code of a problem, for programs.
#[allow(missing_docs)] // The table above documents each one; a second description would diverge.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Code {
    Invalid,
    BadJson,
    TooDeep,
    BadEncoding,
    BadCursor,
    EventsRejected,
    KeyMissing,
    KeyMalformed,
    KeyUnknown,
    KeyExpired,
    KeyRevoked,
    ScopeMissing,
    NamespaceForbidden,
    HostRefused,
    NotFound,
    MethodNotAllowed,
    NotAcceptable,
    Timeout,
    Conflict,
    DerivedEvent,
    StateIncompatible,
    ClockBackwards,
    NoTestClock,
    AlreadyExists,
    TargetUnavailable,
    InProgress,
    Stale,
    EtagRequired,
    TooLarge,
    TooMany,
    UnsupportedMediaType,
    UnsupportedEncoding,
    InvalidDocument,
    TableRefused,
    IdempotencyKeyReused,
    QueryTooLarge,
    RateLimited,
    Internal,
    Overloaded,
    Draining,
    DiskFull,
    MetersFull,
    Poisoned,
    PipelineStopped,
    ClockBehind,
    NotReady,
}

impl Code {
    /// Returns every code, in order.
    pub fn all() -> impl Iterator<Item = Code> {
        CODES.iter().map(|row| row.0)
    }

    /// Returns the name in JSON.
    pub fn name(self) -> &'static str {
        self.row().1
    }

    /// Returns the HTTP status.
    pub fn status(self) -> u16 {
        self.row().2
    }

    /// Returns the title, the same for every problem of the code.
    pub fn title(self) -> &'static str {
        self.row().3
    }

    /// Returns the remedy in one line.
    pub fn remedy(self) -> &'static str {
        self.row().4
    }

    fn row(self) -> &'static (Code, &'static str, u16, &'static str, &'static str) {
        // A test compares the list with the order of the enum, so the fallback is never used by
        // mistake.
        CODES.get(self as usize).unwrap_or(&CODES[0])
    }
}
