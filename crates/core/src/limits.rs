//! Every bound in one place, with its reason. A bound that users may change is a setting of
//! the pipeline and has its default here.

/// Bytes of one event. Real usage events are below 10 KiB; a megabyte leaves room for
/// embedded documents and still bounds what one sender can make us hold.
pub const EVENT_BYTES_MAX: usize = 1 << 20;

/// Group values a meter keeps apart before the rest go to `…other`: the default of
/// `groupLimit`. At about 100 bytes each, a meter stays below a megabyte.
pub const GROUPS_MAX: u32 = 10_000;

/// Guiding rules of one meter processor: which of them hold for an event is one word.
pub const RULES_MAX: usize = 64;

/// Operators of one pipeline.
pub const OPERATORS_MAX: usize = 1_000;

/// Fields a pipeline reads: the width of a row.
pub const PATHS_MAX: usize = 1_000;

/// How far ahead of the clock an event's time may be, in nanoseconds, before it is
/// parked as `in_future`: clocks of senders differ by minutes, not more.
pub const FUTURE_TOLERANCE: i64 = 300 * SECOND;

/// How far behind the clock an event's time may be in a server, in nanoseconds, before it is
/// parked as `too_old`: an event is corrected within a year, a history is loaded on purpose. It is
/// longer where a meter type may be amended for longer.
pub const PAST_TOLERANCE: i64 = 400 * DAY;

/// Periods without events that one event may open: the default of `emptyPeriodsMax`. Six weeks of
/// hours, or three years of days; one wrong time would otherwise make half a million records.
pub const EMPTY_PERIODS_MAX: u32 = 1_000;

/// Lines that a quoted CSV field may span: the default of `quotedLinesMax`. Beyond, a quote that
/// was never closed would swallow good rows.
pub const QUOTED_LINES_MAX: u32 = 100;

/// Counters or levels that one meter keeps apart by `series`. At about 100 bytes each, a meter
/// stays near a megabyte.
pub const SERIES_MAX: usize = 10_000;

/// How long after a period's end late events still amend it, in nanoseconds: the
/// default of `late.amendWithin`, two months, so that last month can be corrected
/// throughout this one.
pub const AMEND_WITHIN: i64 = 62 * DAY;

/// How long a correction waits for others of the same period, in nanoseconds, so that
/// a burst of late events makes one revision.
pub const AMEND_SETTLE: i64 = 2 * SECOND;

/// How long an identity is remembered, in nanoseconds of event time: the default of
/// `dedupe.window`.
pub const DEDUPE_WINDOW: i64 = 32 * DAY;

/// Identities that room is made for ahead of time, when the size of the input shows how
/// many to expect: about half a gigabyte. Beyond it the table grows as it fills.
pub const IDENTITIES_EXPECTED_MAX: usize = 16 << 20;

/// Bytes of a pipeline document, and values in it. The largest seen in the field have
/// some hundred operators.
pub const DOCUMENT_BYTES_MAX: usize = 4 << 20;
/// Values in a pipeline document; see [`DOCUMENT_BYTES_MAX`].
pub const DOCUMENT_NODES_MAX: usize = 200_000;

/// Characters of an expression: enough for a page of conditions.
pub const EXPRESSION_CHARS_MAX: usize = 10_000;

/// Levels of an expression, parentheses and operators in a row: what a thread's stack holds
/// many times over. Alternatives (`||`, `&&`) in a row count as few.
pub const EXPRESSION_DEPTH_MAX: usize = 200;

const SECOND: i64 = 1_000_000_000;
const DAY: i64 = 86_400 * SECOND;
