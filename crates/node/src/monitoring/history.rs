//! Numbers over time: counters of pipelines, operators and targets, kept in three steps.
//!
//! Once a second the counters of every board are read. A sample holds the counters themselves, not
//! differences, so differences of any two samples add up to the totals exactly. A series begins
//! with a sample of zeros, so what was counted before its first sample is not lost. A ring keeps the
//! last sample of each of its steps, and only if something changed. The rings are in memory; once a
//! minute and at the end of the program new samples are written to the catalog, so history survives
//! a restart.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

use flowmeter_core::time::Timestamp;
use flowmeter_engine::Error;
use flowmeter_store::catalog::{Change, Table};

use crate::installation::Installation;

/// Counters of one sample.
pub const VALUES: usize = 12;
/// Bytes of a sample in the catalog: the counters, and the time of the sample.
const SAMPLE_BYTES: usize = OLD_SAMPLE_BYTES + 8;
/// Bytes of a sample that an earlier version wrote; the time is in its key only.
const OLD_SAMPLE_BYTES: usize = VALUES * 8;
/// Maximum of series: 2,000 pipelines, operators and targets take about 300 MB in the worst case;
/// further ones are not recorded.
const SERIES_MAX: usize = 2_000;
/// Samples of the last seconds, for rates.
const SECONDS: usize = 12;
/// Steps in nanoseconds, and how long their samples are kept: 10 s for 2 h, 1 min for 48 h,
/// 1 h for 400 d.
const TIERS: [(i64, i64); 3] =
    [(10 * SECOND, 2 * 3_600 * SECOND), (60 * SECOND, 48 * 3_600 * SECOND), (3_600 * SECOND, 400 * 86_400 * SECOND)];
const SECOND: i64 = 1_000_000_000;
/// How often new samples are written to the catalog.
const SAVE_EVERY: i64 = 60 * SECOND;

/// Counters at one instant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Sample {
    /// Time of the sample, in nanoseconds since 1970.
    pub(crate) at: i64,
    /// The counters; their meaning depends on the kind of series.
    pub(crate) values: [u64; VALUES],
}

/// A series of samples.
#[derive(Debug, Default)]
struct Series {
    seconds: VecDeque<Sample>,
    tiers: [VecDeque<Sample>; 3],
}

impl Series {
    /// Adds the zeros that the series begins with.
    fn begin(&mut self, at: i64) -> Sample {
        let zeros = Sample { at, values: [0; VALUES] };
        self.tiers.iter_mut().for_each(|ring| ring.push_back(zeros));
        zeros
    }

    /// Adds a sample to every tier, in place of an earlier one of the same step. Returns the tiers
    /// that took it.
    fn add(&mut self, sample: Sample) -> Vec<usize> {
        // A test clock may stay at one instant: the newest numbers of an instant hold.
        match self.seconds.back_mut().filter(|last| last.at == sample.at) {
            Some(last) => *last = sample,
            None => self.seconds.push_back(sample),
        }
        while self.seconds.len() > SECONDS {
            self.seconds.pop_front();
        }
        let mut taken = Vec::new();
        for (tier, (step, keep)) in TIERS.iter().enumerate() {
            let ring = &mut self.tiers[tier];
            let step_of = |sample: &Sample| sample.at.div_euclid(*step);
            match ring.back_mut() {
                Some(last) if last.values == sample.values => {}
                // The zeros that a series begins with stay.
                Some(last) if last.values != [0; VALUES] && step_of(last) >= step_of(&sample) => {
                    *last = sample;
                    taken.push(tier);
                }
                _ => {
                    ring.push_back(sample);
                    taken.push(tier);
                }
            }
            // One sample older than the bound stays: it is the value at the bound.
            while ring.get(1).is_some_and(|second| second.at < sample.at - keep) {
                ring.pop_front();
            }
        }
        taken
    }

    /// Returns the newest sample not later than an instant, from the finest tier that reaches back
    /// that far.
    fn at(&self, at: i64) -> Option<Sample> {
        let within = |ring: &VecDeque<Sample>| {
            let behind = ring.partition_point(|sample| sample.at <= at);
            behind.checked_sub(1).and_then(|index| ring.get(index).copied())
        };
        within(&self.seconds).or_else(|| self.tiers.iter().find_map(within))
    }

    /// Returns the oldest sample there is.
    fn first(&self) -> Option<Sample> {
        let fronts = self.tiers.iter().filter_map(|ring| ring.front().copied());
        fronts.min_by_key(|sample| sample.at)
    }

    /// Returns the newest sample there is, also of a pipeline that is not loaded any more.
    fn last(&self) -> Option<Sample> {
        let backs = self.tiers.iter().rev().chain([&self.seconds]).filter_map(|ring| ring.back().copied());
        backs.max_by_key(|sample| sample.at)
    }
}

/// New samples by series, tier and start of the step.
type Unsaved = BTreeMap<(String, usize, i64), Sample>;

/// The counters of a series now.
struct Counted {
    series: String,
    /// An instant at which they were zero, in nanoseconds since 1970.
    begins: i64,
    values: [u64; VALUES],
}

#[derive(Debug, Default)]
struct Kept {
    is_loaded: bool,
    series: BTreeMap<String, Series>,
    unsaved: Unsaved,
    saved_at: i64,
    /// Rejected events up to the start of the process, by namespace: the counter at the door starts
    /// at zero with each start.
    rejected_before: BTreeMap<String, u64>,
}

/// The samples of all series.
#[derive(Debug, Default)]
pub struct History(Mutex<Kept>);

/// Returns the name of a pipeline's series.
pub fn pipeline_series(namespace: &str, pipeline: &str) -> String {
    format!("p\0{namespace}\0{pipeline}")
}

pub fn operator_series(namespace: &str, pipeline: &str, operator: &str) -> String {
    format!("o\0{namespace}\0{pipeline}\0{operator}")
}

pub fn target_series(namespace: &str, pipeline: &str, target: &str) -> String {
    format!("t\0{namespace}\0{pipeline}\0{target}")
}

/// Returns the name of the series of events that are rejected at the door.
pub fn door_series(namespace: &str) -> String {
    format!("d\0{namespace}")
}

/// Counters since an instant.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Since {
    /// The instant from which they are known, if not from the start of the series.
    pub(crate) from: Option<i64>,
    pub(crate) values: [u64; VALUES],
}

impl History {
    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns what a series gained since an instant.
    pub fn since(&self, name: &str, from: i64) -> Since {
        let kept = self.lock();
        let Some(series) = kept.series.get(name) else { return Since::default() };
        let (Some(first), Some(last)) = (series.first(), series.last()) else { return Since::default() };
        match series.at(from) {
            Some(base) => Since { from: None, values: gained(&base.values, &last.values) },
            // A series that began at zero is known from its start.
            None if first.values == [0; VALUES] => Since { from: None, values: last.values },
            None => Since { from: Some(first.at), values: gained(&first.values, &last.values) },
        }
    }

    /// Returns the rate of a counter over the last seconds, per second.
    pub fn rate(&self, name: &str, value: usize) -> u64 {
        let kept = self.lock();
        let seconds = kept.series.get(name).map(|series| &series.seconds);
        let Some((first, last)) = seconds.and_then(|ring| Some((ring.front()?, ring.back()?))) else { return 0 };
        let span = u64::try_from(last.at - first.at).unwrap_or(0);
        let gained = last.values[value].saturating_sub(first.values[value]);
        if span == 0 { 0 } else { (u128::from(gained) * SECOND as u128 / u128::from(span)) as u64 }
    }

    /// Returns when a counter was seen to grow last.
    pub fn last_growth(&self, name: &str, value: usize) -> Option<i64> {
        let kept = self.lock();
        let series = kept.series.get(name)?;
        let newest = series.seconds.back()?.values[value];
        let rings = std::iter::once(&series.seconds).chain(&series.tiers);
        for ring in rings {
            let older = ring.iter().rposition(|sample| sample.values[value] < newest);
            if let Some(grown) = older.and_then(|at| ring.get(at + 1)) {
                return Some(grown.at);
            }
        }
        None
    }

    /// Whether a series has samples.
    pub fn has(&self, name: &str) -> bool {
        self.lock().series.contains_key(name)
    }

    /// Returns the names of series that begin with a prefix.
    pub fn names(&self, prefix: &str) -> Vec<String> {
        let kept = self.lock();
        let from = kept.series.range(prefix.to_owned()..);
        from.map(|(name, _)| name.clone()).take_while(|name| name.starts_with(prefix)).collect()
    }

    /// Returns the counters of a series at each instant; none before it began.
    pub fn at(&self, name: &str, instants: &[i64]) -> Vec<Option<[u64; VALUES]>> {
        let kept = self.lock();
        let Some(series) = kept.series.get(name) else { return vec![None; instants.len()] };
        let zero = series.first().filter(|first| first.values == [0; VALUES]).map(|first| first.values);
        instants.iter().map(|at| series.at(*at).map(|sample| sample.values).or(zero)).collect()
    }
}

/// Returns differences; a counter that decreased has restarted at zero.
pub fn gained(before: &[u64; VALUES], after: &[u64; VALUES]) -> [u64; VALUES] {
    std::array::from_fn(|at| if after[at] < before[at] { after[at] } else { after[at] - before[at] })
}

impl Installation {
    /// Reads every board and keeps what changed. Called once a second.
    pub fn sample_history(&self, rejected: &BTreeMap<String, u64>) -> Result<(), Error> {
        let at = self.now().nanos();
        self.load_history()?;
        let samples = self.samples(rejected);
        let mut kept = self.history.lock();
        for Counted { series, begins, values } in samples {
            let is_new = !kept.series.contains_key(&series);
            if is_new && kept.series.len() >= SERIES_MAX {
                continue;
            }
            let entry = kept.series.entry(series.clone()).or_default();
            let mut taken = Vec::new();
            if is_new {
                let zeros = entry.begin(begins.min(at - 1));
                taken.extend((0..TIERS.len()).map(|tier| (tier, zeros)));
            }
            let sample = Sample { at, values };
            taken.extend(entry.add(sample).into_iter().map(|tier| (tier, sample)));
            for (tier, sample) in taken {
                kept.unsaved.insert((series.clone(), tier, step_start(tier, &sample)), sample);
            }
        }
        if at - kept.saved_at < SAVE_EVERY {
            return Ok(());
        }
        kept.saved_at = at;
        drop(kept);
        self.save_history()
    }

    /// Writes new samples to the catalog.
    pub fn save_history(&self) -> Result<(), Error> {
        let at = self.now().nanos();
        let unsaved = std::mem::take(&mut self.history.lock().unsaved);
        let mut changes = Vec::with_capacity(unsaved.len() * 2);
        for ((name, tier, begin), sample) in &unsaved {
            changes.push(Change::Put(Table::History, row_key(name, *tier, *begin), row_of(sample)));
        }
        self.retire_history(at, &unsaved, &mut changes)?;
        Ok(self.catalog.commit(&changes)?)
    }

    /// Adds the removal of samples that are too old, a few of each series that grew.
    fn retire_history(&self, now: i64, grown: &Unsaved, changes: &mut Vec<Change>) -> Result<(), Error> {
        let mut counts: BTreeMap<(&String, usize), usize> = BTreeMap::new();
        grown.keys().for_each(|(name, tier, _)| *counts.entry((name, *tier)).or_default() += 1);
        for ((name, tier), count) in counts {
            let prefix = row_prefix(name, tier);
            let is_old = |key: &[u8]| instant_of(key).is_some_and(|at| at < now - TIERS[tier].1);
            // Two for each that is added, so that old samples are removed faster than new ones
            // arrive. The newest of the old ones stays: it is the value at the bound.
            let oldest = self.catalog.scan(Table::History, &prefix, None, 2 * count + 1)?;
            for pair in oldest.windows(2).filter(|pair| is_old(&pair[1].0)) {
                changes.push(Change::Remove(Table::History, pair[0].0.clone()));
            }
        }
        Ok(())
    }

    fn load_history(&self) -> Result<(), Error> {
        if self.history.lock().is_loaded {
            return Ok(());
        }
        let rows = self.catalog.scan(Table::History, b"", None, usize::MAX)?;
        let mut kept = self.history.lock();
        kept.is_loaded = true;
        for (key, value) in rows {
            let Some((name, tier, sample)) = read_row(&key, &value) else { continue };
            kept.series.entry(name).or_default().tiers[tier].push_back(sample);
        }
        for ring in kept.series.values_mut().flat_map(|series| &mut series.tiers) {
            ring.make_contiguous().sort_by_key(|sample| sample.at);
        }
        let doors = kept.series.iter().filter(|(name, _)| name.starts_with("d\0"));
        let last = |series: &Series| series.tiers.iter().filter_map(|ring| ring.back()).map(|last| last.values[0]).max();
        let before = doors.map(|(name, series)| (name[2..].to_owned(), last(series).unwrap_or(0))).collect();
        kept.rejected_before = before;
        Ok(())
    }

    /// Returns the counters of every board.
    fn samples(&self, rejected: &BTreeMap<String, u64>) -> Vec<Counted> {
        let mut samples = Vec::new();
        let before = self.history.lock().rejected_before.clone();
        for (namespace, count) in rejected {
            let total = before.get(namespace).copied().unwrap_or(0) + count;
            // The counter is read every second, and this namespace had none a second ago.
            let begins = self.now().nanos() - SECOND;
            samples.push(Counted { series: door_series(namespace), begins, values: values(&[total]) });
        }
        for served in self.served() {
            let (namespace, name) = (&served.kept.namespace, &served.kept.name);
            // Nothing while the pipeline replays the log after a crash: its counters are lower then.
            let Some(totals) = self.totals_shown(&served) else { continue };
            let begins = Timestamp::parse_rfc3339(served.kept.created_at.as_bytes()).map_or(i64::MAX, Timestamp::nanos);
            let mut push = |series, known: &[u64]| samples.push(Counted { series, begins, values: values(known) });
            let tally = &totals.tally;
            let known = [
                tally.received,
                tally.counted,
                tally.late,
                tally.duplicate,
                tally.filtered,
                tally.parked_total(),
                served.board().records(),
                served.board().settled(),
                tally.derived,
                tally.split,
                tally.absorbed,
                tally.cancelled,
            ];
            push(pipeline_series(namespace, name), &known);
            if let Some(compiled) = self.compiled(&served.kept) {
                for (node, count) in compiled.plan.nodes.iter().zip(&totals.operators) {
                    push(operator_series(namespace, name, &node.id), &[count.received, count.passed, count.errors]);
                }
            }
            for gauge in crate::deliveries::target_gauges(&served) {
                push(target_series(namespace, name, &gauge.target), &[gauge.accepted_ever, gauge.lag, gauge.dead]);
            }
        }
        samples
    }

    /// Returns the events rejected at the door since an instant.
    pub fn rejected_since(&self, namespace: &str, from: i64) -> u64 {
        self.history.since(&door_series(namespace), from).values[0]
    }
}

/// Returns the values of a sample; those that a series does not have are 0.
fn values(known: &[u64]) -> [u64; VALUES] {
    std::array::from_fn(|at| known.get(at).copied().unwrap_or(0))
}

fn row_prefix(name: &str, tier: usize) -> Vec<u8> {
    [name.as_bytes(), &[0, b'0' + tier as u8]].concat()
}

fn row_key(name: &str, tier: usize, at: i64) -> Vec<u8> {
    [row_prefix(name, tier).as_slice(), &at.to_be_bytes()].concat()
}

/// Returns the start of the step of a sample.
fn step_start(tier: usize, sample: &Sample) -> i64 {
    let step = TIERS[tier].0;
    match sample.values == [0; VALUES] {
        // The zeros that a series begins with stay beside the next sample of the step.
        true => sample.at,
        false => sample.at.div_euclid(step) * step,
    }
}

fn row_of(sample: &Sample) -> Vec<u8> {
    let values = sample.values.iter().flat_map(|value| value.to_be_bytes());
    values.chain(sample.at.to_be_bytes()).collect()
}

/// Whether a row of the catalog has the size of a sample.
pub(crate) fn is_sample(value: &[u8]) -> bool {
    matches!(value.len(), OLD_SAMPLE_BYTES | SAMPLE_BYTES)
}

fn instant_of(key: &[u8]) -> Option<i64> {
    Some(i64::from_be_bytes(*key.last_chunk::<8>()?))
}

fn read_row(key: &[u8], value: &[u8]) -> Option<(String, usize, Sample)> {
    let at = instant_of(key)?;
    let head = key.get(..key.len().checked_sub(8)?)?;
    let (tier, name) = head.split_last()?;
    let tier = usize::from(tier.checked_sub(b'0')?);
    let name = String::from_utf8(name.strip_suffix(&[0])?.to_vec()).ok()?;
    let mut values = [0; VALUES];
    for (value, bytes) in values.iter_mut().zip(value.chunks_exact(8)) {
        *value = u64::from_be_bytes(bytes.try_into().ok()?);
    }
    let at = if value.len() == SAMPLE_BYTES { instant_of(value)? } else { at };
    (tier < TIERS.len() && is_sample(value)).then_some((name, tier, Sample { at, values }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(second: i64, received: u64) -> Sample {
        Sample { at: second * SECOND, values: values(&[received]) }
    }

    #[test]
    fn differences_of_samples_add_up_to_the_totals() {
        let mut series = Series::default();
        for second in 0..20_000 {
            series.add(sample(second, (second as u64) * 7));
        }
        let at = |second: i64| series.at(second * SECOND).map(|sample| sample.values[0]);
        assert_eq!(at(19_999), Some(19_999 * 7));
        assert_eq!(at(19_009), Some(19_009 * 7), "10 s steps reach two hours back");
        assert_eq!(at(12_005), Some(11_999 * 7), "minutes before that");
        assert_eq!(at(3_600), Some(3_599 * 7), "hours before that");
        assert_eq!(at(0), Some(0));
        assert!(series.tiers[0].len() <= 722);
        let hours: u64 = (0..5).map(|hour| at((hour + 1) * 3_600).unwrap() - at(hour * 3_600).unwrap()).sum();
        assert_eq!(hours, at(18_000).unwrap());
    }

    #[test]
    fn a_series_gains_in_the_step_in_which_it_grew() {
        let mut series = Series::default();
        series.add(sample(36_000, 0));
        series.add(sample(36_005, 7));
        series.add(sample(36_006, 9));
        // Another hour, more than two days later: only the steps of hours reach back.
        series.add(sample(36_000 + 3 * 86_400, 10));
        let at = |second: i64| series.at(second * SECOND).map(|sample| sample.values[0]);
        assert_eq!([36_001, 39_600, 43_200].map(at), [Some(0), Some(9), Some(9)]);
        assert_eq!(series.first().map(|first| first.values[0]), Some(0));
        assert_eq!(series.last().map(|last| last.values[0]), Some(10));
    }

    #[test]
    fn of_one_instant_the_newest_numbers_hold() {
        let mut series = Series::default();
        for received in 0..1_000 {
            series.add(sample(5, received));
        }
        series.add(sample(6, 1_500));
        assert_eq!(series.seconds.iter().map(|sample| sample.values[0]).collect::<Vec<_>>(), [999, 1_500]);
    }

    #[test]
    fn an_idle_series_keeps_one_sample() {
        let mut series = Series::default();
        for second in 0..10_000 {
            series.add(sample(second, 3));
        }
        assert_eq!(series.tiers.each_ref().map(VecDeque::len), [1, 1, 1]);
        assert_eq!(series.at(9_999 * SECOND).map(|sample| sample.values[0]), Some(3));
    }

    #[test]
    fn rows_of_the_catalog_are_read_back() {
        let values = values(&[1, 2, 3, 4, 5, 6, 7, u64::MAX]);
        let name = operator_series("default", "a pipeline", "größe");
        let sample = Sample { at: 77, values };
        let read = read_row(&row_key(&name, 2, 70), &row_of(&sample));
        assert_eq!(read, Some((name.clone(), 2, sample)));
        let old = &row_of(&sample)[..OLD_SAMPLE_BYTES];
        assert_eq!(read_row(&row_key(&name, 2, 76), old), Some((name, 2, Sample { at: 76, values })));
        assert_eq!(read_row(b"short", b""), None);
    }

    #[test]
    fn counters_that_fell_began_again() {
        assert_eq!(gained(&[5; VALUES], &[7; VALUES]), [2; VALUES]);
        assert_eq!(gained(&[5; VALUES], &[3; VALUES]), [3; VALUES]);
    }
}
