//! The greatest groups of an answer, the rest of it, and its total.
//!
//! The rest and the total are merged from the aggregates of rows and not from their values, so they
//! are exact for every aggregation: the maximum of maxima, the number of different values.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use flowmeter_core::decimal::{Decimal, Rounding};
use flowmeter_core::time::Timestamp;

use super::super::query::Row;
use super::{Partial, Query, Sum};
use crate::Error;

/// Places by which values are compared; decimals have no more.
const PLACES: i32 = 18;

/// A user and groups, in all windows.
type Group = (Option<String>, Vec<Option<String>>);

/// The rows of the greatest groups.
#[derive(Clone, Debug)]
pub struct Topped {
    /// Rows of the greatest groups, sorted as without a bound.
    pub rows: Vec<Row>,
    /// All other groups together, a row for each window that has any.
    pub other: Vec<Row>,
}

impl Partial {
    /// Returns the usage of all rows together; `None` if there are none.
    ///
    /// # Errors
    /// It would leave the range of 38 digits.
    pub fn total(&self) -> Result<Option<Row>, Error> {
        let sum = merged(&self.query, self.rows.values())?;
        let query = Query { window: None, ..self.query.clone() };
        Ok(sum.map(|sum| sum.into_row(&query, None, Vec::new())))
    }

    /// Returns the rows of the groups with the greatest values over all windows, at most `count`
    /// groups, and the sum of the others. Of equal groups the first by name is the greater.
    ///
    /// # Errors
    /// A sum would leave the range of 38 digits.
    pub fn into_top(self, count: usize) -> Result<Topped, Error> {
        let mut of_group: BTreeMap<Group, Vec<&Sum>> = BTreeMap::new();
        for ((_, subject, groups), sum) in &self.rows {
            of_group.entry((subject.clone(), groups.clone())).or_default().push(sum);
        }
        if of_group.len() <= count {
            return Ok(Topped { rows: self.into_rows(), other: Vec::new() });
        }
        let mut ranked = Vec::with_capacity(of_group.len());
        for (group, sums) in of_group {
            ranked.push((Reverse(rank(&self.query, sums)?), group));
        }
        ranked.sort();
        let top: BTreeSet<Group> = ranked.into_iter().take(count).map(|(_, group)| group).collect();
        let mut rest: BTreeMap<Timestamp, Vec<Sum>> = BTreeMap::new();
        let (query, mut rows) = (self.query, Vec::new());
        for ((at, subject, groups), sum) in self.rows {
            let group = (subject, groups);
            match top.contains(&group) {
                true => rows.push(sum.into_row(&query, group.0, group.1)),
                false => rest.entry(at).or_default().push(sum),
            }
        }
        let mut other = Vec::new();
        for sums in rest.values() {
            let sum = merged(&query, sums)?;
            other.extend(sum.map(|sum| sum.into_row(&query, None, Vec::new())));
        }
        Ok(Topped { rows, other })
    }
}

/// Returns the value of a group over all windows, for comparisons.
fn rank<'s>(query: &Query, sums: impl IntoIterator<Item = &'s Sum>) -> Result<Option<Decimal>, Error> {
    let row = merged(query, sums)?.map(|sum| sum.into_row(query, None, Vec::new()));
    Ok(row.and_then(|row| row.value?.round(PLACES, Rounding::HalfEven)))
}

/// Returns the sum of rows.
fn merged<'s>(query: &Query, sums: impl IntoIterator<Item = &'s Sum>) -> Result<Option<Sum>, Error> {
    let aggregation = query.aggregation.unwrap_or(flowmeter_core::aggregation::Aggregation::Increment);
    let mut all: Option<Sum> = None;
    for sum in sums {
        match &mut all {
            None => all = Some(sum.clone()),
            Some(all) => all.merge(aggregation, sum)?,
        }
    }
    Ok(all)
}
