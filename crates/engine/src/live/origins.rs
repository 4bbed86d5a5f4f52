//! Events by the place they come from: what a usage audit lists.

use std::collections::BTreeMap;

use flowmeter_core::image::{Glass, Pen, Seen};
use flowmeter_core::verdict::Verdict;

/// Events of each place: by the id of the source, and the name of the place.
pub type Origins = BTreeMap<(String, String), OriginCount>;

/// Numbers of events of a place, by their verdict when they arrived.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OriginCount {
    pub received: u64,
    pub counted: u64,
    pub duplicate: u64,
    pub filtered: u64,
    pub parked: u64,
    /// Split, absorbed or held by an operator.
    pub passed: u64,
}

impl OriginCount {
    pub(super) fn add(&mut self, verdicts: &[Verdict]) {
        self.received += verdicts.len() as u64;
        for verdict in verdicts {
            *match verdict {
                Verdict::Counted => &mut self.counted,
                Verdict::Duplicate => &mut self.duplicate,
                Verdict::Filtered => &mut self.filtered,
                Verdict::Parked(_) => &mut self.parked,
                Verdict::Split | Verdict::Absorbed | Verdict::Cancelled | Verdict::Open => &mut self.passed,
            } += 1;
        }
    }
}

pub(crate) fn write(origins: &Origins, pen: &mut Pen) {
    pen.count(origins.len() as u64);
    for ((source, name), count) in origins {
        pen.text(source.as_bytes());
        pen.text(name.as_bytes());
        let OriginCount { received, counted, duplicate, filtered, parked, passed } = *count;
        [received, counted, duplicate, filtered, parked, passed].into_iter().for_each(|count| pen.count(count));
    }
}

pub(crate) fn read(glass: &mut Glass<'_>) -> Seen<Origins> {
    let mut origins = Origins::new();
    for _ in 0..glass.length()? {
        let key = (glass.string()?, glass.string()?);
        let [received, counted, duplicate] = [glass.count()?, glass.count()?, glass.count()?];
        let [filtered, parked, passed] = [glass.count()?, glass.count()?, glass.count()?];
        origins.insert(key, OriginCount { received, counted, duplicate, filtered, parked, passed });
    }
    Ok(origins)
}
