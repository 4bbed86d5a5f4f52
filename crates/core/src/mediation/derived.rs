//! The events that operators made of those of a block.

use super::flow::{Flow, Token};
use crate::verdict::Verdict;

/// An event that an operator made of another one of the flow.
#[derive(Clone, Copy, Debug)]
pub(super) struct Derived {
    /// The received event it descends from, and the derived one; see [`Token`].
    pub(super) parent: Token,
    /// The operator that made it.
    pub(super) node: u16,
    /// Its number among its siblings.
    pub(super) index: u32,
    /// A row that stays as the operator made it.
    pub(super) row: u32,
    pub(super) verdict: Verdict,
}

impl Flow {
    /// Returns how many derived events there are.
    pub fn derived_len(&self) -> u32 {
        self.derived.len() as u32
    }

    /// Returns the event of the batch that a derived event, numbered from 1, descends from.
    pub fn parent_of(&self, part: u32) -> u32 {
        self.derived[part as usize - 1].parent.event
    }

    /// Returns the operator that made a derived event, numbered from 1.
    pub fn maker_of(&self, part: u32) -> u16 {
        self.derived[part as usize - 1].node
    }

    /// Returns the verdict of a derived event, numbered from 1.
    pub fn derived_verdict(&self, part: u32) -> Verdict {
        self.derived[part as usize - 1].verdict
    }
}
