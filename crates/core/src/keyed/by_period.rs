//! Values by period: nearly always one, sometimes many.

use crate::schedule::Period;

/// Values by period. The first one needs no memory of its own.
#[derive(Clone, Debug)]
pub(super) struct ByPeriod<T> {
    /// The earliest period and its value.
    first: Option<(Period, T)>,
    /// The others, in order.
    more: Vec<(Period, T)>,
}

impl<T> Default for ByPeriod<T> {
    fn default() -> ByPeriod<T> {
        ByPeriod { first: None, more: Vec::new() }
    }
}

impl<T> ByPeriod<T> {
    pub(super) fn is_empty(&self) -> bool {
        self.first.is_none()
    }

    pub(super) fn len(&self) -> usize {
        usize::from(self.first.is_some()) + self.more.len()
    }

    /// The value of the earliest period.
    pub(super) fn first(&self) -> Option<&T> {
        self.first.as_ref().map(|(_, value)| value)
    }

    /// The value of a period.
    #[inline]
    pub(super) fn get(&self, period: &Period) -> Option<&T> {
        match &self.first {
            Some((first, value)) if first == period => Some(value),
            _ => self.more.binary_search_by_key(period, |(of, _)| *of).ok().map(|at| &self.more[at].1),
        }
    }

    /// The value of a period, which is made if there is none, and whether it was made.
    #[inline]
    pub(super) fn get_or_insert_with(&mut self, period: Period, make: impl FnOnce() -> T) -> (&mut T, bool) {
        let is_new = match &self.first {
            Some((first, _)) if *first == period => false,
            None => {
                self.first = Some((period, make()));
                true
            }
            Some(_) => return self.more_or_insert_with(period, make),
        };
        match &mut self.first {
            Some((_, value)) => (value, is_new),
            None => unreachable!("the first value was found or made"),
        }
    }

    fn more_or_insert_with(&mut self, period: Period, make: impl FnOnce() -> T) -> (&mut T, bool) {
        if let Some(first) = self.first.take_if(|(first, _)| period < *first) {
            self.more.insert(0, first);
            return (&mut self.first.insert((period, make())).1, true);
        }
        match self.more.binary_search_by_key(&period, |(of, _)| *of) {
            Ok(at) => (&mut self.more[at].1, false),
            Err(at) => {
                self.more.insert(at, (period, make()));
                (&mut self.more[at].1, true)
            }
        }
    }

    /// Removes a period; returns its value.
    pub(super) fn remove(&mut self, period: &Period) -> Option<T> {
        let removed = match self.first.take_if(|(first, _)| first == period) {
            Some(removed) => removed,
            None => {
                let at = self.more.binary_search_by_key(period, |(of, _)| *of).ok()?;
                self.more.remove(at)
            }
        };
        self.fill();
        Some(removed.1)
    }

    /// Removes the periods that are not to be kept.
    pub(super) fn retain(&mut self, is_kept: impl Fn(&Period) -> bool) {
        self.first.take_if(|(first, _)| !is_kept(first));
        self.more.retain(|(period, _)| is_kept(period));
        self.fill();
    }

    fn fill(&mut self) {
        if self.first.is_none() && !self.more.is_empty() {
            self.first = Some(self.more.remove(0));
        }
    }

    /// The values, the earliest first.
    pub(super) fn iter(&self) -> impl Iterator<Item = &(Period, T)> {
        self.first.iter().chain(&self.more)
    }
}

impl<T> FromIterator<(Period, T)> for ByPeriod<T> {
    fn from_iter<I: IntoIterator<Item = (Period, T)>>(values: I) -> ByPeriod<T> {
        let mut all = ByPeriod::default();
        for (period, value) in values {
            all.get_or_insert_with(period, || value);
        }
        all
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::time::Timestamp;

    #[test]
    fn periods_come_and_go_as_in_a_map() {
        let (mut found, mut expected) = (ByPeriod::default(), BTreeMap::new());
        let mut number = 1u64;
        for round in 0..5000 {
            number = number.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let at = |nanos: u64| Timestamp::from_nanos(nanos as i64);
            let period = Period { start: at((number >> 33) % 12), end: at((number >> 33) % 12 + 1) };
            match number >> 60 {
                0..8 => {
                    let is_new = !expected.contains_key(&period);
                    assert_eq!(found.get_or_insert_with(period, || round), (expected.entry(period).or_insert(round), is_new));
                }
                8..12 => assert_eq!(found.remove(&period), expected.remove(&period)),
                12 => {
                    found.retain(|kept| kept.start != period.start);
                    expected.remove(&period);
                }
                _ => assert_eq!(found.get(&period), expected.get(&period)),
            }
            let all: Vec<_> = expected.iter().map(|(period, value)| (*period, *value)).collect();
            assert_eq!(found.iter().copied().collect::<Vec<_>>(), all);
            assert_eq!((found.len(), found.is_empty()), (expected.len(), expected.is_empty()));
        }
    }
}
