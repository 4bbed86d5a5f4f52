//! The groups of one period of one meter.
//!
//! A few groups are searched linearly; beyond that number they have an index. Beyond the limit, new
//! groups count in `…other` only.

use std::collections::HashMap;
use std::hash::BuildHasherDefault;

use thin_vec::ThinVec;

use crate::aggregation::{Aggregate, Aggregation, Contribution, Fingerprint};
use crate::image::{Glass, Pen, Seen};

/// Maximum of groups that are searched without an index.
const UNINDEXED_MAX: usize = 24;

/// The groups of one period of one meter.
///
/// A thin vector stores its length with its elements: a period without groups takes one word, not
/// three.
#[derive(Clone, Debug, Default)]
pub struct Groups {
    cells: ThinVec<Group>,
    many: Option<Box<Many>>,
}

#[derive(Clone, Debug)]
struct Group {
    symbol: u32,
    aggregate: Aggregate,
}

#[derive(Clone, Debug, Default)]
struct Many {
    index: HashMap<u32, u32, BuildHasherDefault<Fingerprint>>,
    other: Option<Aggregate>,
}

impl Groups {
    /// Adds a contribution to a group. Beyond the limit of groups it returns false and adds
    /// nothing.
    #[inline]
    pub(super) fn add(&mut self, symbol: u32, limit: u32, aggregation: Aggregation, contribution: &Contribution) -> bool {
        match self.cell(symbol, limit, aggregation) {
            Some(aggregate) => {
                aggregate.add(aggregation, contribution);
                true
            }
            None => false,
        }
    }

    /// Adds a contribution to the group of values beyond the limit.
    #[cold]
    pub(super) fn add_other(&mut self, aggregation: Aggregation, contribution: &Contribution) {
        let many = self.many.get_or_insert_default();
        let other = many.other.get_or_insert_with(|| Aggregate::initial(aggregation));
        other.add(aggregation, contribution);
    }

    /// Reads one word of every cache line of a few groups.
    #[inline]
    pub(super) fn touch(&self) -> i64 {
        let few = self.cells.len().min(UNINDEXED_MAX);
        self.cells[..few].iter().step_by(2).fold(0, |near, group| near ^ i64::from(group.symbol))
    }

    /// Returns the aggregate of a group, which is created if there is room for it.
    #[inline]
    fn cell(&mut self, symbol: u32, limit: u32, aggregation: Aggregation) -> Option<&mut Aggregate> {
        let found = match &self.many {
            Some(many) if !many.index.is_empty() => many.index.get(&symbol).map(|at| *at as usize),
            _ => self.cells.iter().position(|group| group.symbol == symbol),
        };
        let at = match found {
            Some(at) => at,
            None if self.cells.len() >= limit as usize => return None,
            None => self.push(symbol, aggregation),
        };
        Some(&mut self.cells[at].aggregate)
    }

    fn push(&mut self, symbol: u32, aggregation: Aggregation) -> usize {
        let at = self.cells.len();
        if at == self.cells.capacity() {
            // Grows by less than double: there are as many of these vectors as there are meters.
            self.cells.reserve_exact(at / 2 + 1);
        }
        self.cells.push(Group { symbol, aggregate: Aggregate::initial(aggregation) });
        if self.cells.len() > UNINDEXED_MAX {
            let many = self.many.get_or_insert_default();
            if many.index.is_empty() {
                many.index.extend(self.cells.iter().enumerate().map(|(at, group)| (group.symbol, at as u32)));
            } else {
                many.index.insert(symbol, at as u32);
            }
        }
        at
    }

    /// Returns the groups and their aggregates, in no order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (u32, &Aggregate)> {
        self.cells.iter().map(|group| (group.symbol, &group.aggregate))
    }

    /// Returns the aggregate of values beyond the limit, if there is one.
    pub(crate) fn other(&self) -> Option<&Aggregate> {
        self.many.as_ref()?.other.as_ref()
    }

    /// Returns the bytes of the cells and their index, without the heap of the aggregates.
    pub(super) fn table_bytes(&self) -> usize {
        let index = self.many.as_deref().map_or(0, |many| size_of::<Many>() + many.index.capacity() * 10);
        self.cells.capacity() * size_of::<Group>() + index
    }

    /// Appends the groups to an image.
    pub(super) fn write_to(&self, pen: &mut Pen) {
        pen.count(self.cells.len() as u64);
        for group in &self.cells {
            pen.count(u64::from(group.symbol));
            group.aggregate.write_to(pen);
        }
        pen.byte(u8::from(self.other().is_some()));
        if let Some(other) = self.other() {
            other.write_to(pen);
        }
    }

    /// Reads groups; `symbols` translates the numbers of the image to the present ones.
    pub(super) fn read(aggregation: Aggregation, symbols: &[u32], glass: &mut Glass<'_>) -> Seen<Groups> {
        let mut groups = Groups::default();
        for _ in 0..glass.length()? {
            let symbol = symbols.get(glass.count()? as usize).copied();
            let aggregate = Aggregate::read(aggregation, glass)?;
            let Some(symbol) = symbol else { return glass.damaged() };
            let at = groups.push(symbol, aggregation);
            groups.cells[at].aggregate = aggregate;
        }
        if glass.byte()? != 0 {
            groups.many.get_or_insert_default().other = Some(Aggregate::read(aggregation, glass)?);
        }
        Ok(groups)
    }

    /// Opens every group with its closing value of the previous period. Returns whether that
    /// changed anything.
    pub(super) fn open_with(&mut self, before: &Groups, aggregation: Aggregation, limit: u32) -> bool {
        let mut news = false;
        for (symbol, aggregate) in before.iter() {
            let closing = aggregate.closing(aggregation);
            if let Some(cell) = self.cell(symbol, limit, aggregation) {
                news |= cell.open_with(&closing);
            }
        }
        news
    }
}
