//! An event as it is archived: borrowed when it is written, owned when it is read.

/// An event with its verdict, to be archived. Times are in nanoseconds since 1970, UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ArchivedEvent<'a> {
    /// Its place in the order of arrival: unique, one more than the previous one.
    pub position: u64,
    /// The time of receipt.
    pub received_at: i64,
    /// The pipeline that received it.
    pub pipeline: &'a str,
    /// The namespace of the pipeline.
    pub namespace: &'a str,
    /// Its origin: a file's name, or `http`.
    pub origin: &'a str,
    /// Its line or row in the origin, from 1.
    pub line: u64,
    /// The id of the event.
    pub id: Option<&'a str>,
    /// The source of the event.
    pub source: Option<&'a str>,
    /// The type of the event.
    pub event_type: Option<&'a str>,
    /// The subject of the event.
    pub subject: Option<&'a str>,
    /// The time of the event, if it has one.
    pub event_at: Option<i64>,
    /// The verdict: `counted`, `duplicate`, `late`, `filtered`, `parked`, `rejected`.
    pub verdict: &'a str,
    /// The code of the reason why it was parked or rejected.
    pub reason: Option<&'a str>,
    /// The reason as a message for people.
    pub detail: Option<&'a str>,
    /// The operator that decided.
    pub operator: Option<&'a str>,
    /// The event as received. Nearly always JSON text; bytes that are not text are kept too.
    pub raw: &'a [u8],
}

/// An archived event, read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// The same as [`ArchivedEvent::position`].
    pub position: u64,
    /// The same as [`ArchivedEvent::received_at`].
    pub received_at: i64,
    /// The same as [`ArchivedEvent::pipeline`].
    pub pipeline: String,
    /// The same as [`ArchivedEvent::namespace`].
    pub namespace: String,
    /// The same as [`ArchivedEvent::origin`].
    pub origin: String,
    /// The same as [`ArchivedEvent::line`].
    pub line: u64,
    /// The same as [`ArchivedEvent::id`].
    pub id: Option<String>,
    /// The same as [`ArchivedEvent::source`].
    pub source: Option<String>,
    /// The same as [`ArchivedEvent::event_type`].
    pub event_type: Option<String>,
    /// The same as [`ArchivedEvent::subject`].
    pub subject: Option<String>,
    /// The same as [`ArchivedEvent::event_at`].
    pub event_at: Option<i64>,
    /// The same as [`ArchivedEvent::verdict`].
    pub verdict: String,
    /// The same as [`ArchivedEvent::reason`].
    pub reason: Option<String>,
    /// The same as [`ArchivedEvent::detail`].
    pub detail: Option<String>,
    /// The same as [`ArchivedEvent::operator`].
    pub operator: Option<String>,
    /// The same as [`ArchivedEvent::raw`].
    pub raw: Vec<u8>,
}

impl Row {
    /// Returns the same event, borrowed.
    pub fn event(&self) -> ArchivedEvent<'_> {
        ArchivedEvent {
            position: self.position,
            received_at: self.received_at,
            pipeline: &self.pipeline,
            namespace: &self.namespace,
            origin: &self.origin,
            line: self.line,
            id: self.id.as_deref(),
            source: self.source.as_deref(),
            event_type: self.event_type.as_deref(),
            subject: self.subject.as_deref(),
            event_at: self.event_at,
            verdict: &self.verdict,
            reason: self.reason.as_deref(),
            detail: self.detail.as_deref(),
            operator: self.operator.as_deref(),
            raw: &self.raw,
        }
    }
}
