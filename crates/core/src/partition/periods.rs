//! The periods of a meter that have data, by start.
//!
//! Nearly every event counts in the last of them, so that one is stored in the meter itself. The
//! earlier ones are few; they are kept in a vector until they may no longer be amended.

use std::ops::{Index, IndexMut};

use thin_vec::ThinVec;

use super::OpenPeriod;
use crate::time::Timestamp;

/// The periods of a meter that have data, by start.
#[derive(Clone, Debug)]
#[repr(C)]
pub struct Periods {
    last: Option<OpenPeriod>,
    /// Most meters have none, and pay eight bytes.
    earlier: ThinVec<OpenPeriod>,
    /// The number of earlier ones: counting in the last period does not read their memory.
    earlier_len: u32,
    /// The instant at which the first correction of a flushed period settles: most meters have
    /// none, and need not look at each period for that.
    amends_from: Timestamp,
}

impl Default for Periods {
    fn default() -> Periods {
        Periods { last: None, earlier: ThinVec::new(), earlier_len: 0, amends_from: Timestamp::MAX }
    }
}

impl Periods {
    /// Returns the number of periods.
    pub fn len(&self) -> usize {
        self.earlier_len() + usize::from(self.last.is_some())
    }

    /// Whether there are no periods.
    pub fn is_empty(&self) -> bool {
        self.last.is_none()
    }

    /// Returns the last period.
    #[inline]
    pub fn last(&self) -> Option<&OpenPeriod> {
        self.last.as_ref()
    }

    /// Returns all periods, by start.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = &OpenPeriod> {
        self.earlier().iter().chain(&self.last)
    }

    /// Returns the index of a period, or the index at which it would be inserted.
    #[inline]
    pub fn place(&self, start: Timestamp) -> Result<usize, usize> {
        match &self.last {
            None => Err(0),
            Some(last) if last.period.start == start => Ok(self.earlier_len()),
            Some(last) if last.period.start < start => Err(self.len()),
            Some(_) => self.earlier().binary_search_by_key(&start, |held| held.period.start),
        }
    }

    /// Returns the instant at which the first correction settles, if there is one.
    pub(super) fn amends_from(&self) -> Option<Timestamp> {
        (self.amends_from != Timestamp::MAX).then_some(self.amends_from)
    }

    /// Notes that the correction of a flushed period settles at an instant, unless one is noted
    /// already. Returns whether it did.
    pub(super) fn amend(&mut self, place: usize, at: Timestamp) -> bool {
        let Some(sent) = self[place].sent_mut().filter(|sent| sent.amend_at.is_none()) else { return false };
        sent.amend_at = Some(at);
        self.amends_from = self.amends_from.min(at);
        true
    }

    /// Updates the instant of the first correction after some were sent.
    pub(super) fn update_amends(&mut self) {
        let amends = self.iter().filter_map(|held| held.sent()?.amend_at);
        self.amends_from = amends.min().unwrap_or(Timestamp::MAX);
    }

    /// Returns the index of the first period, from an index on, for which `such` holds.
    pub(super) fn next_such(&self, from: usize, such: impl FnMut(&OpenPeriod) -> bool) -> Option<usize> {
        self.iter().skip(from).position(such).map(|at| at + from)
    }

    /// Inserts a period at the index from [`Periods::place`].
    pub(super) fn insert(&mut self, place: usize, held: OpenPeriod) {
        let (place, held) = match place < self.len() {
            true => (place, held),
            false => match self.last.replace(held) {
                Some(before) => (self.earlier_len(), before),
                None => return,
            },
        };
        let count = self.earlier.len();
        if count == self.earlier.capacity() {
            // Grows by less than double: there are as many of these vectors as there are meters.
            self.earlier.reserve_exact(count / 2 + 1);
        }
        self.earlier.insert(place, held);
        self.earlier_len += 1;
    }

    /// Keeps the periods for which `keep` holds.
    pub(super) fn retain(&mut self, mut keep: impl FnMut(&OpenPeriod) -> bool) {
        self.earlier.retain(&mut keep);
        if self.last.as_ref().is_some_and(|last| !keep(last)) {
            self.last = self.earlier.pop();
        }
        if self.earlier.is_empty() {
            self.earlier = ThinVec::new();
        }
        self.earlier_len = self.earlier().len() as u32;
    }

    /// Returns two periods to change, the first before the second.
    pub(super) fn pair_mut(&mut self, first: usize, second: usize) -> Option<(&mut OpenPeriod, &mut OpenPeriod)> {
        let earlier = self.earlier.as_mut_slice();
        if second == earlier.len() {
            return Some((earlier.get_mut(first)?, self.last.as_mut()?));
        }
        let (before, after) = earlier.split_at_mut_checked(second)?;
        Some((before.get_mut(first)?, after.first_mut()?))
    }

    #[inline]
    fn earlier_len(&self) -> usize {
        self.earlier_len as usize
    }

    fn earlier(&self) -> &[OpenPeriod] {
        &self.earlier
    }
}

impl FromIterator<OpenPeriod> for Periods {
    /// Collects periods that are in order.
    fn from_iter<T: IntoIterator<Item = OpenPeriod>>(held: T) -> Periods {
        let mut earlier: ThinVec<OpenPeriod> = held.into_iter().collect();
        let last = earlier.pop();
        let earlier_len = earlier.len() as u32;
        // Also gives the memory back, if that was the only one.
        earlier.shrink_to_fit();
        let mut periods = Periods { last, earlier, earlier_len, ..Periods::default() };
        periods.update_amends();
        periods
    }
}

impl Index<usize> for Periods {
    type Output = OpenPeriod;

    #[inline]
    fn index(&self, place: usize) -> &OpenPeriod {
        match &self.last {
            Some(last) if place == self.earlier_len() => last,
            _ => &self.earlier()[place],
        }
    }
}

impl IndexMut<usize> for Periods {
    #[inline]
    fn index_mut(&mut self, place: usize) -> &mut OpenPeriod {
        let count = self.earlier_len();
        match &mut self.last {
            Some(last) if place == count => last,
            _ => &mut self.earlier[place],
        }
    }
}
