//! Parked events, grouped by what is wrong with them.
//!
//! The logs of parked events and of settlements are followed once a second; each event is read
//! once. A group is an operator, a reason, the detail with its values cut out, and a source. Groups
//! are in memory and built again from the logs after a restart.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use flowmeter_core::verdict::Reason;
use flowmeter_engine::Error;
use flowmeter_engine::live::{How, items, parked_item, settlement_item};
use serde::Deserialize;
use serde_json::Value;
use uuid::Uuid;
use xxhash_rust::xxh3::xxh3_64;

use crate::installation::{Installation, Served};
use crate::refusal::not_found;

/// Groups of a pipeline at most; beyond them events are grouped by reason alone.
const GROUPS_MAX: usize = 5_000;
/// Users of a group that are counted one by one; beyond them the count is a lower bound.
pub(super) const USERS_MAX: usize = 1_000;
/// Hours of the trend.
pub(super) const HOURS: usize = 24;
pub(super) const HOUR: i64 = 3_600_000_000_000;
/// Characters of a detail that tell groups apart.
const PATTERN_CHARS_MAX: usize = 160;

/// The properties that the events of a group share.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct GroupKey {
    pub(crate) operator: String,
    pub(crate) reason: Reason,
    pub(crate) pattern: String,
    pub(crate) source: String,
}

impl GroupKey {
    pub(super) fn id(&self, pipeline: Uuid) -> String {
        let text = format!("{pipeline}\0{}\0{}\0{}\0{}", self.operator, self.reason.code(), self.pattern, self.source);
        format!("{:016x}", xxh3_64(text.as_bytes()))
    }

    /// Whether a parked event belongs to the group.
    pub(crate) fn holds(&self, operator: &str, reason: Reason, detail: &str, raw: &[u8]) -> bool {
        self.reason == reason
            && self.operator == operator
            && pattern(detail) == self.pattern
            && Attributes::of(raw).source == self.source
    }
}

/// Attributes of an event that matter here.
#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct Attributes {
    #[serde(deserialize_with = "text")]
    pub(super) id: String,
    #[serde(deserialize_with = "text")]
    pub(super) source: String,
    #[serde(deserialize_with = "text")]
    pub(super) subject: String,
}

impl Attributes {
    pub(super) fn of(raw: &[u8]) -> Attributes {
        serde_json::from_slice(raw).unwrap_or_default()
    }
}

/// A text; anything else counts as none.
fn text<'de, D: serde::Deserializer<'de>>(from: D) -> Result<String, D::Error> {
    Ok(Value::deserialize(from)?.as_str().unwrap_or_default().to_owned())
}

/// A detail with its values cut out, so that events with the same flaw look alike.
pub(crate) fn pattern(detail: &str) -> String {
    let mut out = String::new();
    let mut quote = None;
    for c in detail.chars() {
        match quote {
            Some(open) if c == open => {
                quote = None;
                out.push('…');
                out.push(c);
            }
            Some(_) => {}
            None if matches!(c, '"' | '“') => {
                quote = Some(if c == '“' { '”' } else { c });
                out.push(c);
            }
            None if c.is_ascii_digit() => {
                if !out.ends_with('#') {
                    out.push('#');
                }
            }
            None => out.push(c),
        }
        if out.chars().count() >= PATTERN_CHARS_MAX {
            break;
        }
    }
    out
}

#[derive(Clone, Debug, Default)]
pub(super) struct Group {
    pub(super) count: u64,
    pub(super) states: [u64; 4],
    pub(super) first: i64,
    pub(super) last: i64,
    pub(super) sample: u64,
    pub(super) users: BTreeSet<u64>,
    pub(super) trend: BTreeMap<i64, u64>,
}

impl Group {
    pub(super) fn open(&self) -> u64 {
        self.count.saturating_sub(self.states.iter().sum())
    }
}

#[derive(Debug, Default)]
pub(super) struct OfPipeline {
    pub(super) groups: Vec<(GroupKey, Group)>,
    index: BTreeMap<GroupKey, usize>,
    /// Arrival and group of every event that was parked when it came, in the order of arrival.
    members: Vec<(u64, u32)>,
    /// The same of events that an operator had held.
    held: BTreeMap<u64, u32>,
    next: u64,
    settled_next: u64,
    /// Parked events that the pipeline had counted at the last look.
    parked_total: u64,
}

impl OfPipeline {
    fn add(&mut self, number: u64, at: i64, parked: &flowmeter_engine::live::ParkedItem<'_>) {
        let attributes = Attributes::of(parked.raw);
        let mut key = GroupKey {
            operator: parked.operator.to_owned(),
            reason: parked.reason,
            pattern: pattern(parked.detail),
            source: attributes.source,
        };
        if !self.index.contains_key(&key) && self.groups.len() >= GROUPS_MAX {
            key = GroupKey { pattern: "…".to_owned(), source: "…".to_owned(), ..key };
        }
        let at_index = *self.index.entry(key.clone()).or_insert_with(|| {
            self.groups.push((key, Group { first: at, ..Group::default() }));
            self.groups.len() - 1
        });
        let group = &mut self.groups[at_index].1;
        group.count += 1;
        group.last = at;
        group.sample = number;
        if group.users.len() < USERS_MAX {
            group.users.insert(xxh3_64(attributes.subject.as_bytes()));
        }
        *group.trend.entry(at.div_euclid(HOUR)).or_default() += 1;
        while group.trend.len() > HOURS {
            group.trend.pop_first();
        }
        match parked.held {
            Some(arrival) => drop(self.held.insert(arrival, at_index as u32)),
            None if parked.is_derived => {}
            None => self.members.push((parked.arrival, at_index as u32)),
        }
    }

    fn settle(&mut self, arrival: u64, how: How) {
        let own = self.members.binary_search_by_key(&arrival, |(arrival, _)| *arrival).map(|at| self.members[at].1);
        let Some(group) = own.ok().or_else(|| self.held.get(&arrival).copied()) else { return };
        let state = match how {
            How::Corrected => 0,
            How::Reprocessed => 1,
            How::Discarded => 2,
            How::Superseded => 3,
        };
        self.groups[group as usize].1.states[state] += 1;
    }

    fn open(&self) -> u64 {
        self.groups.iter().map(|(_, group)| group.open()).sum()
    }
}

/// The groups of all pipelines.
#[derive(Debug, Default)]
pub(crate) struct ParkedGroups(Mutex<BTreeMap<Uuid, OfPipeline>>);

impl ParkedGroups {
    pub(super) fn lock(&self) -> MutexGuard<'_, BTreeMap<Uuid, OfPipeline>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Installation {
    /// Follows the logs of parked events of all pipelines. Called once a second.
    pub fn follow_parked(&self) -> Result<(), Error> {
        for served in self.served() {
            self.follow_parked_of(&served)?;
        }
        Ok(())
    }

    fn follow_parked_of(&self, served: &Served) -> Result<(), Error> {
        let place = |known: &OfPipeline| (known.next, known.settled_next, known.parked_total);
        let (from, settled_from, total_before) = self.parked_groups.lock().get(&served.kept.id).map(place).unwrap_or_default();
        let total = served.board().tally().parked_total();
        if total == 0 && served.board().settled() == settled_from && from == 0 {
            return Ok(());
        }
        let (parked, settled) = served.worker().ask(move |live| {
            // A quiet pipeline writes its parked events only with the next checkpoint.
            if total != total_before {
                live.commit()?;
            }
            let outlet = live.outlet();
            let (parked, settled) = (outlet.parked(), outlet.settled());
            let from = from.max(parked.first());
            let parked = (from < parked.written()).then(|| parked.reader(from)).transpose();
            let settled_from = settled_from.max(settled.first());
            let settled = (settled_from < settled.written()).then(|| settled.reader(settled_from)).transpose();
            Ok::<_, Error>((parked, settled))
        })??;
        self.parked_groups.lock().entry(served.kept.id).or_default().parked_total = total;
        if let Some(mut reader) = parked? {
            while let Some(entry) = reader.read()? {
                let mut all = self.parked_groups.lock();
                let known = all.entry(served.kept.id).or_default();
                for (number, item) in items(&entry).filter(|(number, _)| *number >= from) {
                    known.next = number + 1;
                    if let Some(parked) = parked_item(item) {
                        known.add(number, entry.at, &parked);
                    }
                }
            }
        }
        if let Some(mut reader) = settled? {
            while let Some(entry) = reader.read()? {
                let mut all = self.parked_groups.lock();
                let known = all.entry(served.kept.id).or_default();
                for (number, item) in items(&entry).filter(|(number, _)| *number >= settled_from) {
                    known.settled_next = number + 1;
                    if let Some(item) = settlement_item(item) {
                        known.settle(item.arrival, item.settlement.how);
                    }
                }
            }
        }
        Ok(())
    }

    /// Open parked events of a pipeline.
    pub fn open_parked(&self, served: &Served) -> u64 {
        self.parked_groups.lock().get(&served.kept.id).map_or(0, OfPipeline::open)
    }

    /// The pipeline and the key of a group.
    pub fn group(&self, namespace: &str, id: &str) -> Result<(Arc<Served>, GroupKey), crate::refusal::Refused> {
        let known = self.parked_groups.lock();
        for served in self.served_in(namespace) {
            let groups = known.get(&served.kept.id).map(|known| known.groups.as_slice()).unwrap_or_default();
            if let Some((key, _)) = groups.iter().find(|(key, _)| key.id(served.kept.id) == id) {
                return Ok((Arc::clone(&served), key.clone()));
            }
        }
        Err(not_found("group of parked events", id))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn details_that_differ_in_values_have_one_pattern() {
        for (detail, expected) in [
            ("", ""),
            (r#""12,5" is no number"#, r#""…" is no number"#),
            (r#""x" is no number"#, r#""…" is no number"#),
            ("the event is 12345 bytes, 99 too many", "the event is # bytes, # too many"),
            (r#"data.tokens: "a" not "b""#, r#"data.tokens: "…" not "…""#),
        ] {
            assert_eq!(pattern(detail), expected, "{detail}");
        }
    }

    #[test]
    fn open_events_are_those_that_no_settlement_took() {
        let mut known = OfPipeline::default();
        let item = |arrival, raw| flowmeter_engine::live::ParkedItem {
            arrival,
            reason: Reason::ALL[0],
            operator: "usage",
            detail: "user is empty",
            raw,
            is_derived: false,
            held: None,
        };
        known.add(0, 5, &item(3, br#"{"source":"/a","subject":"anna"}"#));
        known.add(1, 6, &item(4, br#"{"source":"/a","subject":"bo"}"#));
        known.add(2, 7, &item(9, br#"{"source":"/b"}"#));
        known.settle(4, How::Discarded);
        known.settle(77, How::Discarded);
        let counts: Vec<(u64, u64)> = known.groups.iter().map(|(_, group)| (group.count, group.open())).collect();
        assert_eq!(counts, [(2, 1), (1, 1)]);
        assert_eq!(known.open(), 2);
    }
}
