//! A cron field: a set of small numbers, written as lists, ranges and steps.

/// The numbers and names that a field takes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Range {
    first: u32,
    last: u32,
    /// Names of the numbers from `first` on.
    names: &'static [&'static str],
}

pub(super) const MINUTES: Range = Range { first: 0, last: 59, names: &[] };
pub(super) const HOURS: Range = Range { first: 0, last: 23, names: &[] };
pub(super) const DAYS: Range = Range { first: 1, last: 31, names: &[] };
pub(super) const MONTHS: Range =
    Range { first: 1, last: 12, names: &["JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"] };
/// Sunday is 0 and 7.
pub(super) const WEEKDAYS: Range = Range { first: 0, last: 7, names: &["SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"] };

/// A set of numbers below 64.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Numbers(u64);

impl Numbers {
    pub(super) fn has(self, number: u32) -> bool {
        self.0 >> number & 1 == 1
    }

    pub(super) fn insert(&mut self, number: u32) {
        self.0 |= 1 << number;
    }

    /// Returns the smallest number of the set that is not below another.
    pub(super) fn at_least(self, number: u32) -> Option<u32> {
        let rest = self.0.checked_shr(number).unwrap_or(0);
        (rest != 0).then(|| number + rest.trailing_zeros())
    }

    /// Returns the largest number of the set that is not above another.
    pub(super) fn at_most(self, number: u32) -> Option<u32> {
        let rest = self.0 & (u64::MAX >> (63 - number.min(63)));
        (rest != 0).then(|| 63 - rest.leading_zeros())
    }
}

/// Reads a field: `*`, `1,15`, `9-17`, `*/15`, `MON-FRI`.
pub(super) fn parse(text: &str, range: Range) -> Option<Numbers> {
    let mut numbers = Numbers::default();
    for item in text.split(',') {
        let (span, step) = match item.split_once('/') {
            None => (item, None),
            Some((span, step)) => (span, Some(number(step).filter(|step| *step > 0)?)),
        };
        let (first, last) = match (span, span.split_once('-')) {
            ("*", _) => (range.first, range.last),
            (_, Some((first, last))) => (range.number(first)?, range.number(last)?),
            (alone, None) => {
                let first = range.number(alone)?;
                // `5/15` begins at 5 and runs to the end.
                (first, if step.is_some() { range.last } else { first })
            }
        };
        if first > last {
            return None;
        }
        let step = usize::try_from(step.unwrap_or(1)).ok()?;
        (first..=last).step_by(step).for_each(|number| numbers.insert(number));
    }
    Some(numbers)
}

impl Range {
    fn number(self, text: &str) -> Option<u32> {
        let named = self.names.iter().position(|name| name.eq_ignore_ascii_case(text));
        let found = match named {
            Some(place) => self.first + u32::try_from(place).ok()?,
            None => number(text)?,
        };
        (self.first..=self.last).contains(&found).then_some(found)
    }
}

/// Digits alone: no sign.
fn number(text: &str) -> Option<u32> {
    text.bytes().all(|c| c.is_ascii_digit()).then(|| text.parse().ok())?
}
