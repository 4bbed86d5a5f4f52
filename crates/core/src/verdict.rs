//! The outcome of an event: always one verdict, and the sums that prove it.

use std::fmt;

/// The reason why an event is in the correction queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Reason {
    /// The record could not be read: not JSON, a row with the wrong number of fields.
    Unreadable,
    /// Deduplication is on and the event has no identity.
    NoId,
    /// The event has no user.
    NoUser,
    /// The rule's value is missing or null.
    NoValue,
    /// The value is not a decimal number that fits, or would take the meter out of range.
    BadValue,
    /// The time cannot be read.
    BadTime,
    /// The time is ahead of the clock by more than is tolerated.
    InFuture,
    /// The time is before the start of the meter type or the meter.
    BeforeActive,
    /// The time is after the end of the meter type.
    AfterActive,
    /// The user has no meter and none may be created.
    NoMeter,
    /// No guiding rule applies.
    NoRule,
    /// Its period was flushed and may not be amended any more.
    TooLate,
    /// An operator failed on the event.
    OperatorError,
    /// A declared time is missing, null or empty.
    NoTime,
    /// The time is too far behind the clock to be correct, or the event would open more periods
    /// without events than allowed.
    TooOld,
    /// A table has no row for the event.
    NoMatch,
    /// A table has no exchange rate for its currency and day.
    NoRate,
    /// A split would make more children than are allowed.
    TooMany,
    /// A window or a key holds as many events as it may.
    StateFull,
    /// A start whose stop did not arrive in time.
    NoStop,
    /// A stop whose start did not arrive in time.
    NoStart,
    /// The event would make the total negative, and the price does not allow that.
    NegativeTotal,
    /// A script took more steps, memory or stack than it may.
    ScriptLimit,
    /// A service refused the request of an event.
    HttpRefused,
    /// A service did not answer the request of an event.
    HttpUnavailable,
    /// A new version of the pipeline began without the state that held it.
    StateForgotten,
}

impl Reason {
    /// All reasons, in order.
    pub const ALL: [Reason; 26] = [
        Reason::Unreadable,
        Reason::NoId,
        Reason::NoUser,
        Reason::NoValue,
        Reason::BadValue,
        Reason::BadTime,
        Reason::InFuture,
        Reason::BeforeActive,
        Reason::AfterActive,
        Reason::NoMeter,
        Reason::NoRule,
        Reason::TooLate,
        Reason::OperatorError,
        Reason::NoTime,
        Reason::TooOld,
        Reason::NoMatch,
        Reason::NoRate,
        Reason::TooMany,
        Reason::StateFull,
        Reason::NoStop,
        Reason::NoStart,
        Reason::NegativeTotal,
        Reason::ScriptLimit,
        Reason::HttpRefused,
        Reason::HttpUnavailable,
        Reason::StateForgotten,
    ];

    /// Returns the code in JSON.
    pub const fn code(self) -> &'static str {
        match self {
            Reason::Unreadable => "unreadable",
            Reason::NoId => "no_id",
            Reason::NoUser => "no_user",
            Reason::NoValue => "no_value",
            Reason::BadValue => "bad_value",
            Reason::BadTime => "bad_time",
            Reason::InFuture => "in_future",
            Reason::BeforeActive => "before_active",
            Reason::AfterActive => "after_active",
            Reason::NoMeter => "no_meter",
            Reason::NoRule => "no_rule",
            Reason::TooLate => "too_late",
            Reason::OperatorError => "operator_error",
            Reason::NoTime => "no_time",
            Reason::TooOld => "too_old",
            Reason::NoMatch => "no_match",
            Reason::NoRate => "no_rate",
            Reason::TooMany => "too_many",
            Reason::StateFull => "state_full",
            Reason::NoStop => "no_stop",
            Reason::NoStart => "no_start",
            Reason::NegativeTotal => "negative_total",
            Reason::ScriptLimit => "script_limit",
            Reason::HttpRefused => "http_refused",
            Reason::HttpUnavailable => "http_unavailable",
            Reason::StateForgotten => "state_forgotten",
        }
    }

    /// Returns the remedy, in one line.
    pub const fn remedy(self) -> &'static str {
        match self {
            Reason::Unreadable => "correct the record as the detail says and send it again",
            Reason::NoId => "send the fields that the detail names, give the source an `id`, or write `dedupe: off`",
            Reason::NoUser => "send the field that the detail names, or name another with `user:` in the meter operator",
            Reason::NoValue => {
                "send the field that the detail names, or name another where the operator names it (`value:` in a rule)"
            }
            Reason::BadValue => "send what the detail expects; a number has at most 38 digits, 18 of them behind the point",
            Reason::BadTime => "send the time as the detail expects it, or name its form with `time: {field, format, timezone}`",
            Reason::InFuture => "check the sender's clock, or set `futureTolerance`",
            Reason::BeforeActive => "check `activeFrom` of the meter type and `createdAt` of the meter",
            Reason::AfterActive => "check `activeTo` of the meter type",
            Reason::NoMeter => "create the meter, or set `autoCreate: true` on the meter type",
            Reason::NoRule => "add a rule without conditions, or write `unmatched: drop`",
            Reason::TooLate => "correct by hand, or change `late` of the meter type, or `late` or `amendWithin` of the operator",
            Reason::OperatorError => "see the detail",
            Reason::NoTime => "send the time, name another field with `time:`, or write `missing: received` in it",
            Reason::TooOld => "correct the time; for a history, raise the setting that the detail names",
            Reason::NoMatch => {
                "add the row to the table; `enrich` lets such events pass with `unmatched: pass` or `unmatched: route`"
            }
            Reason::NoRate => "add the rate to the table, or raise `daysBack`",
            Reason::TooMany => "make fewer events of one, or raise `childrenMax`",
            Reason::StateFull => "raise `eventsMax` or `stateBytes`, or use a key or window that gathers fewer events",
            Reason::NoStop => "check that the stop is sent with the same key, or raise `timeout`",
            Reason::NoStart => "check that the start is sent with the same key, or raise `wait`",
            Reason::NegativeTotal => "check the quantity, or set `negative: credit` or `negative: clamp`",
            Reason::ScriptLimit => "mend the script, or raise the limit that the detail names",
            Reason::HttpRefused => "correct the event, or set `onRefused: pass`",
            Reason::HttpUnavailable => "reprocess once the service answers, or set `onUnavailable: wait`",
            Reason::StateForgotten => "reprocess the event if it is to count; send those of a window again under other ids",
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

/// The outcome of an event. Where an event takes several ways through a pipeline, the greatest
/// outcome is its verdict: one count outweighs a park, a park a drop.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verdict {
    /// The event is still under way.
    #[default]
    Open,
    /// Dropped by a filter, or by no rule where the pipeline says so.
    Filtered,
    /// The identity was seen before.
    Duplicate,
    /// In the correction queue.
    Parked(Reason),
    /// Replaced by its children: an operator split it.
    Split,
    /// In the state of an operator that makes derived events of it.
    Absorbed,
    /// In one meter or more.
    Counted,
    /// Taken back by a correction; a derived event whose cause is gone.
    Cancelled,
}

impl Verdict {
    /// Returns its name in the API, and the reason's code if there is one.
    pub const fn words(self) -> (&'static str, Option<&'static str>) {
        match self {
            Verdict::Counted => ("counted", None),
            Verdict::Duplicate => ("duplicate", None),
            Verdict::Filtered | Verdict::Open => ("filtered", None),
            Verdict::Split => ("split", None),
            Verdict::Absorbed => ("absorbed", None),
            Verdict::Cancelled => ("cancelled", None),
            Verdict::Parked(reason) => ("parked", Some(reason.code())),
        }
    }
}

/// The number of events by verdict.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Events that came in.
    pub received: u64,
    /// Events that operators made.
    pub derived: u64,
    /// Counted, late ones included.
    pub counted: u64,
    /// Counted events that went into a flushed period or were carried into the current one.
    pub late: u64,
    /// Events that were seen before.
    pub duplicate: u64,
    /// Events that were dropped on purpose.
    pub filtered: u64,
    /// Replaced by their children.
    pub split: u64,
    /// In the state of operators, released or not.
    pub absorbed: u64,
    /// Events that were taken back.
    pub cancelled: u64,
    /// In the correction queue, by reason.
    pub parked: [u64; Reason::ALL.len()],
}

impl Tally {
    /// Notes the verdict of a received event.
    #[inline]
    pub fn note(&mut self, verdict: Verdict) {
        self.received += 1;
        *self.count_of(verdict) += 1;
    }

    /// Notes the verdict of a derived event.
    pub fn note_derived(&mut self, verdict: Verdict) {
        self.derived += 1;
        *self.count_of(verdict) += 1;
    }

    /// Notes that the verdict of events noted before has changed.
    pub fn change(&mut self, from: Verdict, to: Verdict, events: u64) {
        let before = self.count_of(from);
        *before = before.saturating_sub(events);
        *self.count_of(to) += events;
    }

    /// Notes the new verdicts of events that were absorbed.
    pub fn rejudge(&mut self, rejudged: &Tally) {
        let kept = rejudged.counted + rejudged.split + rejudged.cancelled;
        let events = kept + rejudged.duplicate + rejudged.filtered + rejudged.parked_total();
        self.absorbed = self.absorbed.saturating_sub(events);
        self.absorb(rejudged);
    }

    fn count_of(&mut self, verdict: Verdict) -> &mut u64 {
        match verdict {
            Verdict::Counted => &mut self.counted,
            Verdict::Duplicate => &mut self.duplicate,
            // An event without a next operator was dropped by the graph.
            Verdict::Filtered | Verdict::Open => &mut self.filtered,
            Verdict::Split => &mut self.split,
            Verdict::Absorbed => &mut self.absorbed,
            Verdict::Cancelled => &mut self.cancelled,
            Verdict::Parked(reason) => &mut self.parked[reason as usize],
        }
    }

    /// Returns the number of events in the correction queue.
    pub fn parked_total(&self) -> u64 {
        self.parked.iter().sum()
    }

    /// Returns the reasons that occurred, with their counts.
    pub fn parked_by_reason(&self) -> impl Iterator<Item = (Reason, u64)> + '_ {
        Reason::ALL.into_iter().map(|reason| (reason, self.parked[reason as usize])).filter(|(_, n)| *n > 0)
    }

    /// Returns whether received + derived = counted + duplicate + filtered + parked + split +
    /// absorbed + cancelled. Must hold at all times.
    pub fn is_complete(&self) -> bool {
        let kept = self.counted + self.split + self.absorbed + self.cancelled;
        self.received + self.derived == kept + self.duplicate + self.filtered + self.parked_total()
    }

    /// Adds the counts of another tally.
    pub fn absorb(&mut self, other: &Tally) {
        self.received += other.received;
        self.derived += other.derived;
        self.counted += other.counted;
        self.late += other.late;
        self.duplicate += other.duplicate;
        self.filtered += other.filtered;
        self.split += other.split;
        self.absorbed += other.absorbed;
        self.cancelled += other.cancelled;
        for (mine, theirs) in self.parked.iter_mut().zip(other.parked) {
            *mine += theirs;
        }
    }
}
