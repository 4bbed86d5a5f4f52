//! The bounds of one request, of one key and of the whole server.
//!
//! Every bound is a setting; its default and the reason for it are here, in one place.

use std::time::Duration;

/// Bytes of a body as it was sent. In batches of a quarter of a megabyte HTTP was measured
/// at 0.05 µs an event, of 1.5 µs in all, so that larger ones gain little; this leaves room
/// for those who have them anyway.
pub const BODY_BYTES_MAX: u64 = 16 << 20;

/// Bytes of a body after decompression: four times a body as sent. Events were measured to compress
/// six times, but a sender of 16 MiB compressed should send less at a time.
pub const DECOMPRESSED_BYTES_MAX: u64 = 64 << 20;

/// Maximal ratio of decompressed to compressed bytes. Our sample events compress six times; gzip
/// can make 1,000 of 1, and zstd far more. The bound is a choice between these.
pub const DECOMPRESSED_RATIO_MAX: u64 = 200;

/// Below this many bytes the ratio is not checked: short bodies of equal events compress extremely
/// well and do no harm.
pub const RATIO_FREE_BYTES: u64 = 1 << 20;

/// Events of one request: at a few hundred bytes each, about what fits in a body.
pub const BATCH_EVENTS_MAX: u64 = 100_000;

/// Nesting of lists and objects: the same bound as that of the core's reader of events.
pub const JSON_DEPTH_MAX: u64 = 128;

/// Requests in progress at once. With the size of a body it bounds memory (at the defaults to 64
/// GiB in the worst case: lower one of them if senders are not trusted). Beyond it, waiting in line
/// would only delay all requests.
pub const REQUESTS_IN_FLIGHT: u64 = 1_024;

/// Connections at once: each needs buffers and a file descriptor.
pub const CONNECTIONS: u64 = 4_096;

/// Time for which a sender may pause in the middle of a body.
pub const BODY_IDLE: Duration = Duration::from_secs(30);

/// Time for a whole body, so that a byte now and then does not occupy a place for hours: the
/// largest body needs 60 kB/s.
pub const BODY_TIMEOUT: Duration = Duration::from_secs(300);

/// Time for which a client may leave an answer unread: longer than a network needs to recover from
/// a change, short enough that buffers are not occupied for ever.
pub const WRITE_IDLE: Duration = Duration::from_secs(60);

/// Time for the head of a request, or for the handshake before it.
pub const HEADER_TIMEOUT: Duration = Duration::from_secs(15);

/// Bytes of all headers of a request: tokens of identity providers take several kilobytes; hyper
/// requires room for at least 8 KiB.
pub const HEADER_BYTES_MAX: u64 = 64 << 10;

/// Bounds of one request, of connections and of all together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Its default is [`BODY_BYTES_MAX`].
    pub body_bytes_max: u64,
    /// Its default is [`DECOMPRESSED_BYTES_MAX`].
    pub decompressed_bytes_max: u64,
    /// Its default is [`DECOMPRESSED_RATIO_MAX`].
    pub decompressed_ratio_max: u64,
    /// Its default is [`BATCH_EVENTS_MAX`].
    pub batch_events_max: u64,
    /// Its default is [`JSON_DEPTH_MAX`].
    pub json_depth_max: u64,
    /// Its default is [`REQUESTS_IN_FLIGHT`].
    pub requests_in_flight: u64,
    /// Its default is [`CONNECTIONS`].
    pub connections: u64,
    /// Its default is [`BODY_IDLE`].
    pub body_idle: Duration,
    /// Its default is [`BODY_TIMEOUT`].
    pub body_timeout: Duration,
    /// Its default is [`WRITE_IDLE`].
    pub write_idle: Duration,
    /// Its default is [`HEADER_TIMEOUT`].
    pub header_timeout: Duration,
    /// Its default is [`HEADER_BYTES_MAX`].
    pub header_bytes_max: u64,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            body_bytes_max: BODY_BYTES_MAX,
            decompressed_bytes_max: DECOMPRESSED_BYTES_MAX,
            decompressed_ratio_max: DECOMPRESSED_RATIO_MAX,
            batch_events_max: BATCH_EVENTS_MAX,
            json_depth_max: JSON_DEPTH_MAX,
            requests_in_flight: REQUESTS_IN_FLIGHT,
            connections: CONNECTIONS,
            body_idle: BODY_IDLE,
            body_timeout: BODY_TIMEOUT,
            write_idle: WRITE_IDLE,
            header_timeout: HEADER_TIMEOUT,
            header_bytes_max: HEADER_BYTES_MAX,
        }
    }
}

/// The rates of one key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rates {
    /// Requests per second; 0 is no bound.
    pub requests_per_second: u64,
    /// Events per second; 0 is no bound.
    pub events_per_second: u64,
    /// Seconds of the rate that may be saved and spent at once.
    pub burst_s: u64,
}
