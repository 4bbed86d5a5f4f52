//! The explanations on the pages of `docs/errors/`, one for each code.

/// The text of one page beside title and remedy.
pub(super) struct Text {
    pub(super) code: &'static str,
    pub(super) meaning: &'static str,
    /// Follows the remedy; may be empty.
    pub(super) more: &'static str,
}

const fn text(code: &'static str, meaning: &'static str, more: &'static str) -> Text {
    Text { code, meaning, more }
}

pub(super) const TEXTS: &[Text] = &[
    text(
        "invalid",
        "A field, a header or a parameter is missing, has the wrong type, or is out of range. `field` names it; \
         `detail` says what was expected and what was sent. Nothing was changed.",
        "If several are wrong, `problems` lists all of them.",
    ),
    text(
        "bad_json",
        "The body is not one JSON value in UTF-8. `detail` gives the line and the column where reading stopped. \
         Nothing was taken.",
        "Typical causes: a missing comma, a value after the end, a body that was cut. For many events, send an array, \
         or NDJSON with `Content-Type: application/x-ndjson`.",
    ),
    text(
        "too_deep",
        "Lists and objects are nested deeper than `limits.json_depth_max`. Nothing was taken.",
        "Usage events are flat; usually something was wrapped by mistake.",
    ),
    text(
        "bad_encoding",
        "The body is not what `Content-Encoding` says, or it ends too early, or its zstd window is larger than 8 MiB \
         (the bound of RFC 9659). Nothing was taken.",
        "Check whether a proxy or a library compresses twice or not at all, and whether the body was cut. Compress \
         zstd without `--long` and below level 20.",
    ),
    text(
        "bad_cursor",
        "The cursor comes from another server, another list, or an incompatible version.",
        "Do not store cursors: use them only to read a list from its beginning to its end.",
    ),
    text(
        "events_rejected",
        "At least one event of the batch is not a valid event, so nothing of the batch was taken. `verdicts` names \
         each such event and the reason.",
        "Sending the corrected batch again counts nothing twice. With `?partial=true` the good events are taken, and \
         the answer lists the verdict of each.",
    ),
    text(
        "key_missing",
        "The server requires an API key and the request has none.",
        "Make a key for a program that sends events with `flowmeter keys create --name NAME --scope ingest`; the \
         secret is shown once.",
    ),
    text(
        "key_malformed",
        "The Authorization header is not `Bearer` and a key of the form `fm_<16 hexadecimal digits>_<64 hexadecimal \
         digits>`.",
        "Look for quotes, line ends and blanks around the key, and for a variable that was not expanded.",
    ),
    text(
        "key_unknown",
        "No key has this id, or its secret is a different one. The answer does not say which of the two.",
        "A lost secret cannot be shown again: rotate the key.",
    ),
    text(
        "key_expired",
        "The key was valid, but its time is over: it had an expiry, or it was rotated and its grace period has \
         passed.",
        "Rotate it with `flowmeter keys rotate ID`.",
    ),
    text(
        "key_revoked",
        "The key was valid, but it was revoked.",
        "If it was revoked because it leaked, the audit lists what it was used for.",
    ),
    text(
        "scope_missing",
        "The key is valid, but does not have the scope that this request needs; `scope` names it. `ingest` sends \
         events, `read` reads, `operate` acts on sessions, meters, corrections and deliveries, `admin` changes \
         pipelines, meter types, notifications and keys, and includes the other scopes. Backups, the settings and a \
         test clock concern every namespace: they need a key of the namespace in `namespace.default`.",
        "Give a key no more scopes than its program needs.",
    ),
    text(
        "namespace_forbidden",
        "The key belongs to one namespace and the request names another.",
        "If you leave the namespace out, the namespace of the key is used.",
    ),
    text(
        "host_refused",
        "The server runs without authentication and answers only its own machine. The request's `Host` names another \
         machine, or its `Origin` is not this server: scheme, host and port must all be equal. So a web page cannot \
         reach the server through a name of its own (DNS rebinding) or send requests to it (request forgery), and \
         neither can a page of another port of this machine. Requests without `Origin` (curl, SDKs) do not come from \
         pages.",
        "To serve other machines, set `auth.required: true`, make a key, and listen on their network \
         ([Secure a server](../security.md)).",
    ),
    text(
        "not_found",
        "Nothing exists at this path or under this id, or it belongs to another namespace.",
        "Names are case-sensitive. Ids of another server do not exist here.",
    ),
    text(
        "method_not_allowed",
        "The path exists, but does not support this method.",
        "A redirect may have turned a POST into a GET: check the address.",
    ),
    text("not_acceptable", "The answer does not exist in a form that `Accept` allows.", ""),
    text(
        "timeout",
        "No part of the body arrived for longer than `limits.body_idle`, or the whole body took longer than \
         `limits.body_timeout`. Nothing was taken.",
        "If it happens again, check for proxies that buffer.",
    ),
    text(
        "conflict",
        "The thing exists, but its state does not allow this request. For example, a finished session cannot be \
         paused.",
        "",
    ),
    text(
        "derived_event",
        "`split`, `accumulate` or `correlate` made this event from other events. It cannot be corrected or reprocessed on \
         its own, because the operator would make it again.",
        "To change it for good, change the pipeline.",
    ),
    text(
        "state_incompatible",
        "The new version was not saved: fields of an operator changed on which its state depends, or the operator is gone, \
         while it holds state. `operators` lists them: `change` is `fields` (then `fields` names them), `kind` or `gone`, and \
         `held` is the number of events that the operator holds.",
        "`release` counts what is held as it is, `forget` parks it; see \
         [change a pipeline that holds state](../operators.md#change-a-pipeline-that-holds-state).",
    ),
    text(
        "clock_backwards",
        "A test clock was to be moved to an instant before its own. Nothing was changed.",
        "See [Play months in a second](../test-clock.md).",
    ),
    text(
        "no_test_clock",
        "The clock of this server is the wall clock, which a request cannot move.",
        "See [Play months in a second](../test-clock.md).",
    ),
    text("already_exists", "Something of this kind already has this name or this id.", ""),
    text(
        "target_unavailable",
        "The session was not started, or the new version was not saved: a target of the pipeline cannot be reached, \
         does not accept the login, or has no such database, bucket or folder. Nothing was sent to it and nothing was \
         changed.",
        "`detail` names each such target, its answer and what to check.",
    ),
    text(
        "in_progress",
        "A request with the same `Idempotency-Key` has not been answered yet.",
        "Wait as long as `Retry-After` says; the repeated request gets the answer of the first one.",
    ),
    text(
        "stale",
        "`If-Match` names a version that is no longer the current one. Nothing was changed.",
        "Apply your change to the current version and send it with the new ETag.",
    ),
    text("etag_required", "This change replaces something, and does not say which version of it you read.", ""),
    text(
        "too_large",
        "The body is larger than one request may be, as sent or decompressed; or decompression makes it more than \
         `limits.decompressed_ratio_max` times larger, as in hostile data. Nothing was taken.",
        "Batches larger than a quarter of a megabyte are hardly faster.",
    ),
    text("too_many", "The batch has more events than `limits.batch_events_max`. Nothing was taken.", ""),
    text(
        "unsupported_media_type",
        "This endpoint does not read the `Content-Type` of the request; `detail` lists the ones it reads.",
        "Events: `application/cloudevents+json`, `application/cloudevents-batch+json`, `application/json`, \
         `application/x-ndjson`. Documents: JSON, or `application/yaml` for pipelines.",
    ),
    text(
        "unsupported_encoding",
        "`Content-Encoding` names something other than gzip or zstd, or more than one encoding.",
        "The `Accept-Encoding` header of the answer lists the supported ones.",
    ),
    text("invalid_document", "The document has mistakes. `problems` has line, column, field and message of each.", ""),
    text(
        "table_refused",
        "A row lacks a key column, two rows of a key hold at one instant, a row ends before it begins, or the content is \
         larger than the table may be. `line` and `key` name the row. Nothing was changed.",
        "See [Tables and `enrich`](../operators.md#tables-and-enrich).",
    ),
    text(
        "idempotency_key_reused",
        "The same `Idempotency-Key` was sent with a different request. Nothing was done, because one of the two is a \
         mistake.",
        "Make a new key (a UUID) for each new request, and repeat it only with the same request.",
    ),
    text(
        "query_too_large",
        "The query would read or answer more than one query may; `detail` says how much.",
        "Larger windows help too.",
    ),
    text(
        "rate_limited",
        "The key sent more requests or events than `rate.requests_per_second` or `rate.events_per_second` allow. \
         Nothing of this request was taken.",
        "If the rate is intended, raise the setting.",
    ),
    text(
        "internal",
        "An error in the server. It is not certain whether the request had an effect. You can repeat it with the same \
         `Idempotency-Key`, or with the same event ids: nothing is counted twice.",
        "Repeat it once before you report it.",
    ),
    text(
        "overloaded",
        "The server has as many requests in flight as it may have (`limits.requests_in_flight`), or its log cannot \
         keep up, or counting is so far behind that the waiting events could exceed `memory.meters_bytes`. Nothing \
         was taken.",
        "Add some random delay. If it lasts, compare the metrics of the stages: `flowmeter_receive_events_total`, \
         `flowmeter_count_lag_seconds`, `flowmeter_flush_overdue_seconds`, `flowmeter_deliver_lag_records` \
         ([Metrics](../metrics.md)).",
    ),
    text("draining", "The server is shutting down. It finishes what it has taken and takes nothing more.", ""),
    text(
        "disk_full",
        "The log cannot grow, so nothing is taken. Nothing is lost: senders wait and repeat.",
        "`event_store.retention_age` frees space too. The server continues by itself when there is space.",
    ),
    text(
        "meters_full",
        "All meters are in memory, and together they use `memory.meters_bytes` (a third of the machine's memory, \
         unless set). New events and new meters are refused, so that the system does not kill the server for lack of \
         memory. Nothing is lost: acknowledged events are counted, periods close and records are delivered.",
        "Or set `groupLimit`. [Operate a server](../operations.md#memory) says how much memory a meter uses.",
    ),
    text(
        "poisoned",
        "A durable write failed. Everything that was acknowledged before is safe. After a failed write it is unknown \
         what the disk has, so nothing more is taken until the files have been read again.",
        "Senders repeat what was not acknowledged.",
    ),
    text(
        "pipeline_stopped",
        "A pipeline that should run has stopped. If the disk was full or did not answer, the server loads the \
         pipeline again as soon as this succeeds, and its session stays `RUNNING`. If its files are damaged, its \
         session is `FAILED`. Events are still taken and made durable; they are counted when the pipeline runs again.",
        "`detail` names the pipeline and the cause. Make space on the disk, or restore the damaged file from a backup. \
         On the command line: `flowmeter pipelines run NAME`.",
    ),
    text(
        "clock_behind",
        "The newest entry of the log is of a time to which the machine's clock has yet to come: the clock was ahead while \
         that entry was written, or is behind now. Time does not go back, so no period closes before that time, and \
         events with right times may be too late.",
        "The setting `clock.jump_max` is the tolerance. See [Clock](../operations.md#clock).",
    ),
    text(
        "not_ready",
        "The server has started and is reading its log from the last checkpoint; or the flush of a period is overdue.",
        "Until then `/health/ready` says why.",
    ),
];
