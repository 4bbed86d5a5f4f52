//! The fields that a document names: which are read, and which are made by the document itself.
//!
//! A file whose columns are known is checked against the names that are read before its first row
//! is. A field that an operator makes need not be a column for what comes behind it. Names that
//! stand in the document by default (`subject`, `timestamp`) are not checked: events without them
//! are parked, or take the time of their receipt, and are counted as such.

use flowmeter_core::event::Path;
use flowmeter_core::plan::{Read, Reader};

/// Where in a document a field occurs: the part (0 for sources, then the operators), and which
/// occurrence.
type Place = (usize, usize);

/// How occurrences are meant while a part of a document is compiled.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Mode {
    /// The document reads the field.
    Read,
    /// The document makes the field, or it is not known which.
    #[default]
    Make,
    /// The document does not name the field.
    Default,
}

/// The occurrences of fields in a document.
#[derive(Debug, Default)]
pub(super) struct Names {
    pub(super) mode: Mode,
    part: usize,
    source: usize,
    count: usize,
    reads: Vec<(Place, u16, usize)>,
    makes: Vec<(Place, u16)>,
    /// Where fields are made whose names are not known.
    makes_any: Vec<Place>,
}

impl Names {
    /// From now on occurrences are of a source.
    pub(super) fn begin_source(&mut self, source: usize) {
        (self.part, self.source) = (0, source);
    }

    /// From now on occurrences are of an operator, by its place in the document.
    pub(super) fn begin_operator(&mut self, operator: usize) {
        self.part = operator + 1;
    }

    /// Notes an occurrence of a name.
    pub(super) fn note(&mut self, slot: u16) {
        self.count += 1;
        let place = (self.part, self.count);
        match self.mode {
            Mode::Read => self.reads.push((place, slot, self.source)),
            Mode::Make => self.makes.push((place, slot)),
            Mode::Default => {}
        }
    }

    /// Notes that the operator may make any field.
    pub(super) fn make_any(&mut self) {
        self.count += 1;
        self.makes_any.push((self.part, self.count));
    }

    /// How many reads there are, to ask later for those since.
    pub(super) fn read_count(&self) -> usize {
        self.reads.len()
    }

    /// The fields that were read since there were so many reads.
    pub(super) fn reads_since(&self, count: usize) -> Vec<u16> {
        self.reads[count.min(self.reads.len())..].iter().map(|(_, slot, _)| *slot).collect()
    }

    /// Forgets the fields whose slots were taken back.
    pub(super) fn forget_from(&mut self, slots: usize) {
        self.reads.retain(|(_, slot, _)| usize::from(*slot) < slots);
        self.makes.retain(|(_, slot)| usize::from(*slot) < slots);
    }

    /// The fields that events must bring. `nodes` gives the node of an operator by its place in the
    /// document.
    pub(super) fn reads(&self, paths: &[Path], nodes: &[u16]) -> Vec<Read> {
        let mut found: Vec<Read> = Vec::new();
        // Nodes stand behind all they read, wherever they stand in the document.
        let order = |(part, count): Place| match part.checked_sub(1) {
            None => (0, count),
            Some(operator) => (nodes.get(operator).map_or(0, |node| usize::from(*node) + 1), count),
        };
        for &(place, slot, source) in &self.reads {
            let path = &paths[usize::from(slot)];
            let is_made_somehow = self.makes_any.iter().any(|made| order(*made) < order(place));
            let is_made = is_made_somehow
                || self.makes.iter().any(|(made, makes)| {
                    let makes = &paths[usize::from(*makes)];
                    order(*made) < order(place) && (makes.covers(path) || path.covers(makes))
                });
            let by = match place.0.checked_sub(1) {
                None => Reader::Source(source),
                Some(operator) => Reader::Node(nodes.get(operator).copied().unwrap_or_default()),
            };
            let read = Read { slot, by };
            if !is_made && !path.is_computed() && !found.contains(&read) {
                found.push(read);
            }
        }
        found
    }
}
