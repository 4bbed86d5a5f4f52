//! Which starts and stops of a key belong together: a function of the events sorted by time and
//! arrival, whatever the order in which they came.

use std::collections::VecDeque;

use super::fold::Rank;
use crate::operator::Repeat;

/// The role of an event among the events of its key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    /// A start and the stop that closes it.
    Pair(Rank, Rank),
    /// A start that no stop has closed yet.
    Open(Rank),
    /// A start within an open pair, and the start of that pair.
    Within(Rank, Rank),
    /// A start that a later one took the place of.
    Replaced(Rank),
    /// A stop with nothing open.
    Lone(Rank),
}

/// Sorts out the events of a key, given in the order of time and arrival, each with whether it
/// is a stop. With nothing open the next start opens; with a pair open the next stop closes it.
/// Among equal times a stop goes first if a pair is open, else a start.
pub(super) fn sort_out(events: impl Iterator<Item = (Rank, bool)>, repeat: Repeat) -> Vec<Part> {
    let mut parts = Vec::new();
    let mut open: Option<Rank> = None;
    let mut within: Vec<Rank> = Vec::new();
    let mut events = events.peekable();
    while let Some((first, is_stop)) = events.next() {
        let (mut starts, mut stops) = (VecDeque::new(), VecDeque::new());
        if is_stop {
            stops.push_back(first);
        } else {
            starts.push_back(first);
        }
        while let Some((rank, is_stop)) = events.next_if(|(rank, _)| rank.0 == first.0) {
            if is_stop { stops.push_back(rank) } else { starts.push_back(rank) }
        }
        loop {
            let takes_stop = if open.is_some() { !stops.is_empty() } else { starts.is_empty() };
            let next = if takes_stop { stops.pop_front() } else { starts.pop_front() };
            match (next, open) {
                (None, _) => break,
                (Some(stop), Some(start)) if takes_stop => {
                    parts.push(Part::Pair(start, stop));
                    parts.extend(within.drain(..).map(|inner| Part::Within(inner, start)));
                    open = None;
                }
                (Some(stop), None) if takes_stop => parts.push(Part::Lone(stop)),
                (Some(start), None) => open = Some(start),
                (Some(start), Some(before)) => match repeat {
                    Repeat::First => within.push(start),
                    Repeat::Last => {
                        parts.push(Part::Replaced(before));
                        open = Some(start);
                    }
                },
            }
        }
    }
    if let Some(start) = open {
        parts.push(Part::Open(start));
        parts.extend(within.drain(..).map(|inner| Part::Within(inner, start)));
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::Timestamp;

    /// `+5 -7`: a start at 5, a stop at 7; the arrival is the place in the text.
    fn sorted_out(text: &str, repeat: Repeat) -> String {
        let event = |(place, word): (usize, &str)| {
            let at: i64 = word[1..].parse().unwrap();
            ((Timestamp::from_nanos(at), (place as u64, 0)), word.starts_with('-'))
        };
        let mut events: Vec<_> = text.split(' ').enumerate().map(event).collect();
        events.sort();
        let shown = |part: &Part| match part {
            Part::Pair(start, stop) => format!("{}-{}", start.0.nanos(), stop.0.nanos()),
            Part::Open(start) => format!("{}-", start.0.nanos()),
            Part::Within(start, of) => format!("{} in {}", start.0.nanos(), of.0.nanos()),
            Part::Replaced(start) => format!("{} replaced", start.0.nanos()),
            Part::Lone(stop) => format!("-{}", stop.0.nanos()),
        };
        sort_out(events.into_iter(), repeat).iter().map(shown).collect::<Vec<_>>().join(", ")
    }

    #[test]
    fn pairs_do_not_depend_on_the_order_of_arrival() {
        let cases = [
            ("+1 -3 +5", "1-3, 5-"),
            ("-3 +1", "1-3"),
            ("+1 +2 -3", "1-3, 2 in 1"),
            ("-1 +2", "-1, 2-"),
            ("+1 -1", "1-1"),
            ("-1 +1", "1-1"),
            ("+1 -2 +2 -4", "1-2, 2-4"),
            ("+1 +2 -2 -4", "1-2, 2-4"),
            ("+1 -2 -3", "1-2, -3"),
            ("+1 +2", "1-, 2 in 1"),
        ];
        for (events, expected) in cases {
            assert_eq!(sorted_out(events, Repeat::First), expected, "{events}");
        }
        assert_eq!(sorted_out("+1 +2 -3 +4", Repeat::Last), "1 replaced, 2-3, 4-");
    }
}
