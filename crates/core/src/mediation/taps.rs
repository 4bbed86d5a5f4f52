//! Notes about single events at operators, for people who test a pipeline.

use super::flow::{Flow, Token};
use crate::verdict::Verdict;

/// An event as it left an operator, for people who test a pipeline.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tap {
    /// The operator that the event passed.
    pub operator: u16,
    /// The event in its batch.
    pub event: u32,
    /// The derived event, as in [`Token`].
    pub part: u32,
    /// The fields as the event entered the operator, if the flow notes every step.
    pub before: Option<String>,
    /// The fields the pipeline reads, as JSON.
    pub fields: String,
}

/// An event that entered an operator and did not leave it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stayed {
    /// The operator at which the event stayed.
    pub operator: u16,
    /// The event in its batch.
    pub event: u32,
    /// The derived event, as in [`Token`].
    pub part: u32,
    /// The fields the pipeline reads, as JSON.
    pub before: String,
    /// The verdict of the event.
    pub verdict: Verdict,
}

/// A value of [`Flow::taps_max`] that notes every step of the first events of a block.
pub const ALL_STEPS: usize = usize::MAX;
/// The number of these events.
const STEPPED_MAX: u32 = 1_000;

impl Flow {
    /// Whether the steps of an event are noted.
    pub(super) fn is_stepped(&self, token: Token) -> bool {
        self.taps_max == ALL_STEPS && token.event < STEPPED_MAX
    }

    /// Returns the fields of an event as it entered an operator that it leaves; of a derived event,
    /// those of the event that it was made of.
    pub(super) fn fields_before(&mut self, operator: u16, token: Token) -> Option<String> {
        if !self.is_stepped(token) {
            return None;
        }
        let own = self.entered.remove(&(operator, token.event, token.part));
        own.or_else(|| {
            let parent = self.derived.get((token.part as usize).checked_sub(1)?)?.parent;
            self.entered.get(&(operator, parent.event, parent.part)).cloned()
        })
    }

    /// Returns the events that stayed at an operator, if every step is noted, after the last stage.
    pub fn stayed(&self) -> impl Iterator<Item = Stayed> + '_ {
        self.entered.iter().map(|(&(operator, event, part), before)| {
            let verdict = match part {
                0 => self.verdict(event),
                part => self.derived[part as usize - 1].verdict,
            };
            Stayed { operator, event, part, before: before.clone(), verdict }
        })
    }
}
