//! A filter of parked events: what they are, when they were parked, how they were settled.

use flowmeter_core::time::Timestamp;
use flowmeter_core::verdict::Reason;
use flowmeter_engine::live::{How, ParkedItem, Settlement};

use super::CorrectionState;
use super::groups::{Attributes, GroupKey};

/// A filter of parked events.
#[derive(Clone, Debug, Default)]
pub struct CorrectionFilter {
    /// Events in this state.
    pub state: Option<CorrectionState>,
    /// Events with this reason.
    pub reason: Option<Reason>,
    /// Events of this operator.
    pub operator: Option<String>,
    /// Events of this group.
    pub group: Option<GroupKey>,
    /// Events with a smaller number.
    pub before: Option<u64>,
    /// Events with this `source`.
    pub source: Option<String>,
    /// Events with this `subject`.
    pub subject: Option<String>,
    /// Events whose detail has this text.
    pub text: Option<String>,
    /// Events with this `id`.
    pub event_id: Option<String>,
    /// Events parked at this instant or later.
    pub from: Option<Timestamp>,
    /// Events parked before this instant.
    pub to: Option<Timestamp>,
    /// Events that this key settled.
    pub settled_by: Option<String>,
    /// Events settled at this instant or later.
    pub settled_from: Option<Timestamp>,
    /// Events settled before this instant.
    pub settled_to: Option<Timestamp>,
}

impl CorrectionFilter {
    pub(super) fn takes(&self, parked: &ParkedItem<'_>) -> bool {
        self.reason.is_none_or(|reason| reason == parked.reason)
            && self.operator.as_ref().is_none_or(|operator| operator == parked.operator)
            && self.group.as_ref().is_none_or(|group| group.holds(parked.operator, parked.reason, parked.detail, parked.raw))
            && self.text.as_ref().is_none_or(|text| parked.detail.contains(text.as_str()))
            && self.takes_attributes(parked.raw)
    }

    fn takes_attributes(&self, raw: &[u8]) -> bool {
        if self.source.is_none() && self.subject.is_none() && self.event_id.is_none() {
            return true;
        }
        let event = Attributes::of(raw);
        let is = |wanted: &Option<String>, found: &str| wanted.as_ref().is_none_or(|wanted| wanted == found);
        is(&self.source, &event.source) && is(&self.subject, &event.subject) && is(&self.event_id, &event.id)
    }

    /// Whether events that were parked at an instant are wanted.
    pub(super) fn takes_time(&self, parked_at: i64) -> bool {
        self.from.is_none_or(|from| parked_at >= from.nanos()) && self.to.is_none_or(|to| parked_at < to.nanos())
    }

    /// Whether events in a state, with a settlement, are wanted.
    pub(super) fn takes_outcome(&self, state: CorrectionState, settlement: Option<&Settlement>) -> bool {
        let is_by = |author: &String| settlement.is_some_and(|one| one.how != How::Superseded && one.who == *author);
        self.state.is_none_or(|wanted| wanted == state)
            && self.settled_by.as_ref().is_none_or(is_by)
            && self.settled_from.is_none_or(|from| settlement.is_some_and(|one| one.at >= from))
            && self.settled_to.is_none_or(|to| settlement.is_some_and(|one| one.at < to))
    }
}
