//! Counting: guided events into periods of meters.
//!
//! An event counts in all its targets or in none. First every rule is tried and every reason to
//! park the event is checked; only then are meters opened and values added.

use super::ahead::{AHEAD, Ahead};
use super::refused::{bad_value, passed_on};
use super::{
    Birth, Carry, Counted, Effects, Identities, Meter, MeterIx, MeterKey, Meters, OpenPeriod, Partition, Periods, Standing, Usage,
};
use crate::aggregation::{Aggregate, Aggregation, Contribution};
use crate::decimal::{self, Decimal, Round};
use crate::event::{Batch, Leaf};
use crate::plan::{Plan, Processor, Rule};
use crate::schedule::Period;
use crate::time::Timestamp;
use crate::verdict::Reason;

/// Memory that is reused for every event.
#[derive(Debug, Default)]
pub(super) struct Scratch {
    targets: Vec<Target>,
    ahead: Ahead,
    /// The last symbol of the current event, with its breakdown: the meters of a rule share it.
    symbol: Option<(u16, u32)>,
}

/// The meter and the period in which an event will count.
#[derive(Clone, Copy, Debug)]
struct Target {
    meter: Option<MeterIx>,
    hash: u64,
    meter_type: u16,
    /// The calendar of the meter, if the event opens it.
    calendar: u16,
    rule: u16,
    period: Period,
    number: Decimal,
    late: bool,
}

/// The reason why a rule does not count an event.
pub(super) enum Refusal {
    /// The next rule is tried.
    PassOn(Reason),
    /// The event is parked.
    Park(Reason, String),
}

impl<M: Meters, I: Identities> Partition<M, I> {
    pub(super) fn count(&mut self, processor: u16, batch: &Batch, usages: &[Usage], at: Timestamp, effects: &mut impl Effects) {
        let plan = std::sync::Arc::clone(&self.plan);
        for chunk in usages.chunks(AHEAD) {
            self.scratch.ahead.fetch(&self.meters, &plan, processor, batch, chunk);
            for usage in chunk {
                self.scratch.ahead.next_usage();
                self.count_one(&plan, processor, batch, usage, at, effects);
            }
        }
    }

    fn count_one(
        &mut self,
        plan: &Plan,
        processor_ix: u16,
        batch: &Batch,
        usage: &Usage,
        at: Timestamp,
        effects: &mut impl Effects,
    ) {
        let processor = &plan.processors[usize::from(processor_ix)];
        let user = batch.resolve(usage.user).as_text().unwrap_or_default();
        let mut targets = std::mem::take(&mut self.scratch.targets);
        targets.clear();
        self.scratch.symbol = None;
        match self.guide(plan, processor_ix, processor, batch, usage, &user, at, &mut targets) {
            Ok(()) => {
                if targets.iter().any(|target| target.late) {
                    effects.late(usage);
                }
                for target in &targets {
                    self.add(plan, processor_ix, batch, usage, &user, target, at, effects);
                }
            }
            Err(Refusal::PassOn(Reason::NoRule)) if processor.drop_unmatched => effects.unmatched(usage),
            Err(Refusal::PassOn(reason)) => effects.parked(usage, reason, passed_on(plan, processor, usage, &user, reason)),
            Err(Refusal::Park(reason, detail)) => effects.parked(usage, reason, detail),
        }
        self.scratch.targets = targets;
    }

    /// Tries the rules in order and collects the targets of those that apply.
    #[allow(clippy::too_many_arguments)] // one call, kept flat for the hot path
    fn guide(
        &mut self,
        plan: &Plan,
        processor_ix: u16,
        processor: &Processor,
        batch: &Batch,
        usage: &Usage,
        user: &[u8],
        at: Timestamp,
        targets: &mut Vec<Target>,
    ) -> Result<(), Refusal> {
        let mut held = usage.rules;
        let mut passed_on = Reason::NoRule;
        let mut first = true;
        while held != 0 {
            let rule_ix = held.trailing_zeros() as u16;
            held &= held - 1;
            let rule = &processor.rules[usize::from(rule_ix)];
            let before = targets.len();
            match self.targets_of(plan, processor_ix, rule_ix, batch, usage, user, at, targets) {
                Ok(()) => {}
                Err(Refusal::PassOn(reason)) => {
                    passed_on = reason;
                    first = false;
                    continue;
                }
                Err(park) => return Err(park),
            }
            let found = &mut targets[before..];
            self.bring_values(plan, processor, rule, batch, usage, first, found)?;
            first = false;
            if !processor.match_all {
                break;
            }
        }
        if targets.is_empty() { Err(Refusal::PassOn(passed_on)) } else { Ok(()) }
    }

    /// Returns the meters of a rule's category that take the event.
    #[allow(clippy::too_many_arguments)]
    fn targets_of(
        &mut self,
        plan: &Plan,
        processor: u16,
        rule_ix: u16,
        batch: &Batch,
        usage: &Usage,
        user: &[u8],
        at: Timestamp,
        targets: &mut Vec<Target>,
    ) -> Result<(), Refusal> {
        let before = targets.len();
        let mut reason = Reason::NoMeter;
        let rule = &plan.processors[usize::from(processor)].rules[usize::from(rule_ix)];
        for (place, &meter_type) in rule.meter_types.iter().enumerate() {
            let kind = &plan.meter_types[usize::from(meter_type)];
            let guess = self.scratch.ahead.next_meter();
            if usage.at < kind.active_from {
                reason = Reason::BeforeActive;
                continue;
            }
            if usage.at >= kind.active_to {
                reason = Reason::AfterActive;
                continue;
            }
            let key = MeterKey::new(user, usage.user_hash, processor, meter_type);
            let meter = match guess {
                Some(guess) if self.meters.is(guess, &key) => Some(guess),
                _ => self.find_or_remember(&key),
            };
            let mut calendar = meter_type;
            if let Some(own) = rule.own.get(place)
                && (meter.is_some() || kind.auto_create)
            {
                self.check_capacity(plan, own, batch, usage)?;
                if own.zone.is_some() && meter.is_none_or(|ix| self.takes_zone(ix)) {
                    calendar = self.calendar_of_event(plan, meter_type, own, batch, usage)?;
                    if let Some(ix) = meter {
                        self.meters.get_mut(ix).calendar = calendar;
                    }
                }
            }
            let placed = match meter {
                None if !kind.auto_create => Err(Refusal::PassOn(Reason::NoMeter)),
                None => self.place_new((meter_type, calendar), kind, usage.at, at),
                Some(ix) => self.place(ix, kind, usage.at, at),
            };
            let (period, late) = match placed {
                Ok(placed) => placed,
                Err(Refusal::PassOn(why)) => {
                    reason = why;
                    continue;
                }
                Err(park) => return Err(park),
            };
            let hash = key.hash;
            targets.push(Target { meter, hash, meter_type, calendar, rule: rule_ix, period, number: Decimal::ZERO, late });
        }
        if targets.len() == before { Err(Refusal::PassOn(reason)) } else { Ok(()) }
    }

    /// Reads the rule's value and checks that it fits in every target.
    #[allow(clippy::too_many_arguments)]
    fn bring_values(
        &self,
        plan: &Plan,
        processor: &Processor,
        rule: &Rule,
        batch: &Batch,
        usage: &Usage,
        first: bool,
        targets: &mut [Target],
    ) -> Result<(), Refusal> {
        let aggregation = |target: &Target| plan.meter_types[usize::from(target.meter_type)].aggregation;
        if !targets.iter().any(|target| aggregation(target).needs_value()) {
            return Ok(());
        }
        let leaf = batch.leaf(usage.row as usize, rule.value);
        let numeric = targets.iter().any(|target| aggregation(target).needs_number());
        let number = match (first, usage.flaw) {
            (true, None) if numeric => usage.number,
            _ => match read_value(leaf, rule.round, numeric, processor.text_numbers) {
                Ok(number) => number,
                Err(reason) => return Err(Refusal::Park(reason, bad_value(plan, processor, rule, batch, usage.row as usize))),
            },
        };
        let series = series(batch, usage, rule);
        for target in targets {
            target.number = number;
            let Some(ix) = target.meter else { continue };
            let fingerprint = if aggregation(target).has_series() { series } else { 0 };
            let contribution = Contribution { number, fingerprint, at: usage.at };
            let meter = self.meters.get(ix);
            if let Ok(place) = meter.periods.place(target.period.start)
                && !meter.periods[place].amount.total.has_room(&contribution)
            {
                let detail = match aggregation(target).has_series() {
                    true => format!("the meter has {} series already, as many as one keeps apart", crate::limits::SERIES_MAX),
                    false => "the meter's value would leave the range of 38 digits".to_owned(),
                };
                return Err(Refusal::Park(Reason::BadValue, detail));
            }
        }
        Ok(())
    }

    /// Adds an event to a target and opens the meter and its period if needed.
    #[allow(clippy::too_many_arguments)]
    fn add(
        &mut self,
        plan: &Plan,
        processor: u16,
        batch: &Batch,
        usage: &Usage,
        user: &[u8],
        target: &Target,
        at: Timestamp,
        effects: &mut impl Effects,
    ) {
        let ix = match target.meter {
            Some(ix) => ix,
            // Two rules of one event may lead to the same new meter.
            None => match self.meters.find(&MeterKey { hash: target.hash, user, processor, meter_type: target.meter_type }) {
                Some(ix) => ix,
                None => self.open_by_event(processor, user, target, usage, at, effects),
            },
        };
        if !self.meters.get(ix).is_alive() && !self.meters.get(ix).has_flushed(target.period.start) {
            let start = target.period.start;
            self.reopen_by_event(ix, start, created_by_event(start, usage.at, at), effects);
        }
        let kind = &plan.meter_types[usize::from(target.meter_type)];
        let rule = &plan.processors[usize::from(processor)].rules[usize::from(target.rule)];
        self.grow_backwards(ix, target.period, usage.at, at);
        if !rule.own.is_empty() {
            self.note_capacity(ix, rule, target.meter_type, batch, usage);
        }
        let contribution =
            Contribution { number: target.number, fingerprint: fingerprint(kind.aggregation, batch, usage, rule), at: usage.at };
        let horizon = self.horizons[usize::from(target.meter_type)];
        let meter = self.meters.get_mut(ix);
        let (place, news) = match meter.periods.place(target.period.start) {
            Ok(place) => (place, false),
            Err(place) => {
                let mut fresh = OpenPeriod::new(target.period, Aggregate::initial(kind.aggregation));
                fresh.set_sent(horizon.sent_empty(meter, kind, target.period));
                meter.periods.insert(place, fresh);
                (place, true)
            }
        };
        let period = &mut meter.periods[place];
        period.events += 1;
        period.first_at = period.first_at.min(usage.at);
        period.last_at = period.last_at.max(usage.at);
        period.amount.total.add(kind.aggregation, &contribution);
        let (rule_ix, meter_type, contribution) = (target.rule, kind, &contribution);
        effects.counted(&Counted { batch, usage, user, processor, rule: rule_ix, meter_type, contribution });
        let mut beyond = false;
        for (breakdown, slots) in &rule.group_by {
            let names = &plan.breakdowns[usize::from(*breakdown)];
            let values = slots.iter().map(|&slot| batch.leaf(usage.row as usize, slot));
            let symbol = match self.scratch.symbol {
                Some((known, symbol)) if known == *breakdown => symbol,
                _ => self.symbols.intern(*breakdown, names, values),
            };
            self.scratch.symbol = Some((*breakdown, symbol));
            beyond |= !period.amount.groups.add(symbol, kind.group_limit, kind.aggregation, contribution);
        }
        if beyond {
            period.amount.groups.add_other(kind.aggregation, contribution);
        }
        if !(rule.carry_first.is_empty() && rule.carry_last.is_empty()) {
            carry(period, rule, batch, usage);
        }
        if period.sent().is_some() {
            self.amend_later(ix, place, at, kind.aggregation);
        } else if news && kind.aggregation.carries_over() {
            self.open_from_before(ix, place, kind);
        }
        if news && !kind.flush_empty {
            self.schedule_next(ix);
        }
        if !self.meters.get(ix).thresholds(kind).is_empty() {
            self.check_thresholds(ix, target.period.start, usage.event, at, effects);
        }
    }

    fn open_by_event(
        &mut self,
        processor: u16,
        user: &[u8],
        target: &Target,
        usage: &Usage,
        at: Timestamp,
        effects: &mut impl Effects,
    ) -> MeterIx {
        let start = target.period.start;
        let meter = Meter {
            user: user.into(),
            processor,
            meter_type: target.meter_type,
            calendar: target.calendar,
            birth: Birth::ByEvent,
            delete_on_reset: false,
            created_at: created_by_event(start, usage.at, at),
            flushed: Period { start, end: start },
            due: Timestamp::MAX,
            changed_at: Timestamp::MIN,
            periods: Periods::default(),
            rare: None,
        };
        effects.opened(&meter);
        let ix = self.meters.insert(target.hash, meter);
        self.opened.note(ix);
        self.schedule_next(ix);
        ix
    }

    /// Moves the first period of a meter that was opened by an event to an earlier one, if an
    /// earlier event arrives later: the meter begins with the earliest period of its events,
    /// whatever their order of arrival.
    fn grow_backwards(&mut self, ix: MeterIx, period: Period, event_at: Timestamp, at: Timestamp) {
        let meter = self.meters.get_mut(ix);
        let formers = meter.stretch_at(period.start).is_some_and(|beside| beside.standing != Standing::Own);
        if meter.birth != Birth::ByEvent || formers {
            return;
        }
        meter.created_at = meter.created_at.min(created_by_event(period.start, event_at, at));
        if period.start < meter.next() && !meter.has_flushed(period.start) {
            meter.begin_at(period.start);
            self.schedule_next(ix);
        }
    }
}

/// Returns the boundary, or the present instant if it is earlier; without a boundary, the event's
/// time.
fn created_by_event(boundary: Timestamp, event_at: Timestamp, at: Timestamp) -> Timestamp {
    if boundary == Timestamp::MIN { event_at } else { boundary.min(at) }
}

/// Returns the value of a leaf as a number, where one is needed.
#[inline]
pub(crate) fn read_value(leaf: Leaf<'_>, round: Option<Round>, numeric: bool, text_numbers: bool) -> Result<Decimal, Reason> {
    use crate::event::Kind;
    let parse = |text: &[u8]| match round {
        None => decimal::parse(text),
        Some(round) => decimal::parse_rounded(text, round.places, round.mode),
    };
    match leaf.kind {
        Kind::Missing | Kind::Null => Err(Reason::NoValue),
        Kind::Json => Err(Reason::BadValue),
        _ if !numeric => Ok(Decimal::ZERO),
        Kind::Number => parse(leaf.bytes).map_err(|_| Reason::BadValue),
        Kind::Text if text_numbers => parse(leaf.bytes).map_err(|_| Reason::BadValue),
        _ => Err(Reason::BadValue),
    }
}

fn fingerprint(aggregation: Aggregation, batch: &Batch, usage: &Usage, rule: &Rule) -> u128 {
    if aggregation.has_series() {
        return series(batch, usage, rule);
    }
    if aggregation != Aggregation::Unique {
        return 0;
    }
    let text = batch.leaf(usage.row as usize, rule.value).as_text().unwrap_or_default();
    xxhash_rust::xxh3::xxh3_128(&text)
}

/// Returns the identity of the counter or level that an event reads; 0 if a user has only one.
fn series(batch: &Batch, usage: &Usage, rule: &Rule) -> u128 {
    if rule.series.is_empty() {
        return 0;
    }
    let mut identity = Vec::with_capacity(64);
    for &slot in &rule.series {
        batch.leaf(usage.row as usize, slot).write_json(&mut identity);
        identity.push(b',');
    }
    xxhash_rust::xxh3::xxh3_128(&identity)
}

/// Keeps first and last occurrences, by event time. Of equal times, the first arrival is the first
/// and the last arrival is the last.
fn carry(period: &mut OpenPeriod, rule: &Rule, batch: &Batch, usage: &Usage) {
    let kept = &mut period.extra.get_or_insert_default().carry;
    let fields = rule.carry_first.iter().map(|field| (field, false)).chain(rule.carry_last.iter().map(|field| (field, true)));
    for (&(field, slot), last) in fields {
        let leaf = batch.leaf(usage.row as usize, slot);
        if leaf.kind == crate::event::Kind::Missing {
            continue;
        }
        match kept.iter_mut().find(|known| known.field == field && known.last == last) {
            Some(known) => {
                if if last { usage.at >= known.at } else { usage.at < known.at } {
                    known.at = usage.at;
                    known.json.clear();
                    leaf.write_json(&mut known.json);
                }
            }
            None => {
                let mut json = Vec::new();
                leaf.write_json(&mut json);
                kept.push(Carry { field, last, at: usage.at, json });
            }
        }
    }
}
