//! An event as it is archived: borrowed when it is written, owned when it is read.

/// An event with its verdict, to be archived. Times are in nanoseconds since 1970, UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ArchivedEvent<'a> {
    /// Its place in the order of arrival: unique, one more than the one before.
    pub position: u64,
    /// When it came in.
    pub received_at: i64,
    /// The pipeline that it came in for.
    pub pipeline: &'a str,
    /// The pipeline's namespace.
    pub namespace: &'a str,
    /// Where it came from: a file's name, or `http`.
    pub origin: &'a str,
    /// Its line or row there, from 1.
    pub line: u64,
    /// The event's id.
    pub id: Option<&'a str>,
    /// The event's source.
    pub source: Option<&'a str>,
    /// The event's type.
    pub event_type: Option<&'a str>,
    /// The event's subject.
    pub subject: Option<&'a str>,
    /// When it happened, as far as it says.
    pub event_at: Option<i64>,
    /// What became of it: `counted`, `duplicate`, `late`, `filtered`, `parked`, `rejected`.
    pub verdict: &'a str,
    /// Why it was parked or rejected: a code.
    pub reason: Option<&'a str>,
    /// The same for a person.
    pub detail: Option<&'a str>,
    /// The operator that decided.
    pub operator: Option<&'a str>,
    /// The event as it came in. Nearly always JSON text; what is not even text is kept too.
    pub raw: &'a [u8],
}

/// An archived event, read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// See [`ArchivedEvent::position`].
    pub position: u64,
    /// See [`ArchivedEvent::received_at`].
    pub received_at: i64,
    /// See [`ArchivedEvent::pipeline`].
    pub pipeline: String,
    /// See [`ArchivedEvent::namespace`].
    pub namespace: String,
    /// See [`ArchivedEvent::origin`].
    pub origin: String,
    /// See [`ArchivedEvent::line`].
    pub line: u64,
    /// See [`ArchivedEvent::id`].
    pub id: Option<String>,
    /// See [`ArchivedEvent::source`].
    pub source: Option<String>,
    /// See [`ArchivedEvent::event_type`].
    pub event_type: Option<String>,
    /// See [`ArchivedEvent::subject`].
    pub subject: Option<String>,
    /// See [`ArchivedEvent::event_at`].
    pub event_at: Option<i64>,
    /// See [`ArchivedEvent::verdict`].
    pub verdict: String,
    /// See [`ArchivedEvent::reason`].
    pub reason: Option<String>,
    /// See [`ArchivedEvent::detail`].
    pub detail: Option<String>,
    /// See [`ArchivedEvent::operator`].
    pub operator: Option<String>,
    /// See [`ArchivedEvent::raw`].
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
