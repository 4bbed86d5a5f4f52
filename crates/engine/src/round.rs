//! Rounds: blocks are read, processed and settled.

use std::sync::{Arc, Mutex};

use flowmeter_core::image::{BadImage, Glass};
use flowmeter_core::limits::IDENTITIES_EXPECTED_MAX;
use flowmeter_core::mediation::{Flow, Mediator, OperatorCount, Services, Stopwatch};
use flowmeter_core::operator::{Operator, STALLED};
use flowmeter_core::partition::{Command, Identities, IdentityTable, Memory, Partition, ReleaseExtent};
use flowmeter_core::plan::{DeclaredMeter, Plan};
use flowmeter_core::table::Tables;
use flowmeter_core::time::Timestamp;
use flowmeter_store::rollups::Rollups;
use rayon::prelude::*;

use crate::checkpoint::Packed;
use crate::derived;
use crate::in_order::InOrder;
use crate::lane::Lane;
use crate::merge::{Extent, Order, RecordSink, close};
use crate::noted::{Noted, Noting};
use crate::observer::{Observer, ParkedEvent, Totals};
use crate::repeats::{Careful, Group};
use crate::roll::{Fields, Roll};
use crate::slot::{Intake, Slot};
use crate::source::Source;
use crate::{Error, Kind};

/// The layout of an engine. Threads and partitions change no result.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// Number of working threads.
    pub threads: usize,
    /// Number of partitions of users and identities.
    pub partitions: usize,
    /// Events of each operator to show; 0 for none.
    pub taps_max: usize,
}

/// Blocks of a round for each thread: enough to even out blocks of unequal work, few
/// enough to stay in the cache.
const BLOCKS_PER_THREAD: usize = 4;

/// The partitions of a plan and the loop that feeds them.
pub struct Engine<I = IdentityTable> {
    pub(crate) plan: Arc<Plan>,
    slots: Vec<Slot>,
    pub(crate) lanes: Vec<Lane<I>>,
    pub(crate) pool: rayon::ThreadPool,
    pub(crate) totals: Totals,
    listens: bool,
    /// The tables for the blocks that follow.
    pub(crate) tables: Tables,
    /// The services that operators ask.
    services: Option<Arc<dyn Services>>,
    /// Whether watermarks follow the events; otherwise, every tick is at the end of input.
    pub(crate) follows_watermarks: bool,
    /// The number of events before those of its totals.
    pub(crate) order_base: u64,
}

impl Engine {
    /// Creates an engine without meters, whose identities are in memory.
    pub fn new(plan: &Arc<Plan>, settings: Settings) -> Result<Engine, Error> {
        let identities = (0..settings.partitions.max(1)).map(|_| IdentityTable::default()).collect();
        Engine::with_identities(plan, settings, identities)
    }
}

impl<I: Identities + Send + Sync> Engine<I> {
    /// Creates an engine without meters, with one partition for each of the identities.
    pub fn with_identities(plan: &Arc<Plan>, settings: Settings, identities: Vec<I>) -> Result<Engine<I>, Error> {
        let partitions = identities.into_iter().map(|known| Partition::with_identities(Arc::clone(plan), known));
        Ok(Engine::with_partitions(Arc::clone(plan), settings, pool(settings)?, partitions.collect()))
    }

    /// Restores an engine from images of its partitions.
    pub fn read(plan: Arc<Plan>, settings: Settings, images: &[Vec<u8>], identities: Vec<I>) -> Result<Engine<I>, Error> {
        let pool = pool(settings)?;
        let read = |(image, known): (&Vec<u8>, I)| Partition::read(&plan, known, &mut Glass::new(image));
        let both = || images.par_iter().zip(identities).map(read).collect::<Result<Vec<_>, _>>();
        let partitions = pool.install(both);
        let partitions = partitions.map_err(|why| {
            let kind = if matches!(why, BadImage::Unknown(_) | BadImage::State(_)) { Kind::Invalid } else { Kind::Corrupt };
            Error::new(kind, why.to_string())
        })?;
        Ok(Engine::with_partitions(plan, settings, pool, partitions))
    }

    fn with_partitions(
        plan: Arc<Plan>,
        settings: Settings,
        pool: rayon::ThreadPool,
        partitions: Vec<Partition<Memory, I>>,
    ) -> Engine<I> {
        let slot = |_| Slot {
            flow: Flow::new(partitions.len(), settings.taps_max),
            mediator: Mediator::new(Arc::clone(&plan)),
            decoder: None,
        };
        Engine {
            slots: (0..settings.threads.max(1) * BLOCKS_PER_THREAD).map(slot).collect(),
            lanes: partitions.into_iter().enumerate().map(|(number, partition)| Lane::new(partition, number)).collect(),
            totals: Totals { operators: vec![OperatorCount::default(); plan.nodes.len()], ..Totals::default() },
            pool,
            tables: crate::tables::tables_of(&plan),
            services: None,
            plan,
            listens: false,
            follows_watermarks: false,
            order_base: 0,
        }
    }

    /// Takes over meters, identities, state and totals under another plan, which has a place for all
    /// of them. If this fails, the engine is of no more use.
    pub(crate) fn exchange(&mut self, plan: &Arc<Plan>) -> Result<(), Error> {
        let settings = Settings { threads: self.pool.current_num_threads(), partitions: self.lanes.len(), taps_max: 0 };
        let (images, totals) = (self.images(), self.totals());
        let (rollups, listens, services) = (self.take_rollups(), self.listens, self.services.take());
        // The engine is taken apart for its identities; an empty one takes its place meanwhile.
        let stand_in = Engine::with_identities(&self.plan, settings, Vec::new())?;
        let before = std::mem::replace(self, stand_in);
        let (old, order_base, follows) = (Arc::clone(&before.plan), before.order_base, before.follows_watermarks);
        *self = Engine::read(Arc::clone(plan), settings, &images, before.into_identities())?;
        self.set_totals(totals.under(&old, plan));
        self.roll_up(rollups);
        self.listen(listens);
        self.follow_watermarks(follows);
        (self.services, self.order_base) = (services, order_base);
        Ok(())
    }

    /// Returns the images of all partitions, without their identities.
    pub fn images(&self) -> Vec<Vec<u8>> {
        self.pool.install(|| self.lanes.par_iter().map(|lane| lane.partition.image()).collect())
    }

    /// Returns the same images, compressed while they are made.
    pub(crate) fn packed_images(&self) -> Result<Vec<Packed>, Error> {
        let pack = |lane: &Lane<I>| Packed::new(|give| lane.partition.write_pages(give));
        let packed: std::io::Result<_> = self.pool.install(|| self.lanes.par_iter().map(pack).collect());
        packed.map_err(|why| Error::new(Kind::Unavailable, format!("an image of the meters: {why}")))
    }

    /// Returns the plan of the engine.
    pub fn plan(&self) -> &Arc<Plan> {
        &self.plan
    }

    /// Returns the approximate bytes of meters. It visits all of them.
    pub fn meter_bytes(&self) -> usize {
        self.pool.install(|| self.lanes.par_iter().map(|lane| lane.partition.meter_bytes()).sum())
    }

    /// Returns the partitions, in order.
    pub fn partitions(&self) -> impl Iterator<Item = &Partition<Memory, I>> {
        self.lanes.iter().map(|lane| &lane.partition)
    }

    /// Returns the partitions, in order, to change them.
    pub(crate) fn partitions_mut(&mut self) -> impl Iterator<Item = &mut Partition<Memory, I>> {
        self.lanes.iter_mut().map(|lane| &mut lane.partition)
    }

    /// Returns the identities of each partition, in order.
    pub fn identities_mut(&mut self) -> impl Iterator<Item = &mut I> {
        self.lanes.iter_mut().map(|lane| lane.partition.identities_mut())
    }

    /// Starts to roll up usage; `rollups` has one for each partition, in order.
    pub fn roll_up(&mut self, rollups: Vec<Rollups>) {
        let fields = Arc::new(Fields::of(&self.plan));
        for (lane, rollups) in self.lanes.iter_mut().zip(rollups) {
            lane.roll = Some(Roll::new(rollups, Arc::clone(&fields)));
        }
    }

    /// Removes and returns the rollups of the partitions, in order; none if usage is not rolled up.
    pub fn take_rollups(&mut self) -> Vec<Rollups> {
        self.lanes.iter_mut().filter_map(|lane| lane.roll.take()).map(Roll::into_rollups).collect()
    }

    /// Returns the rollups of each partition, in order; none if usage is not rolled up.
    pub fn rollups_mut(&mut self) -> impl Iterator<Item = &mut Rollups> {
        self.lanes.iter_mut().filter_map(|lane| lane.roll.as_mut()).map(Roll::rollups_mut)
    }

    /// Returns the error of writing rollups, if there was one.
    pub fn rollups_failure(&self) -> Option<&flowmeter_store::Error> {
        self.lanes.iter().filter_map(|lane| lane.roll.as_ref()).find_map(Roll::failure)
    }

    /// Removes the identities of parked events that need no successor any more.
    pub fn forget_parked(&mut self, is_settled: &(dyn Fn(u64) -> bool + Sync)) {
        let Engine { lanes, pool, .. } = self;
        pool.install(|| {
            lanes.par_iter_mut().for_each(|lane| lane.partition.forget_parked(&|arrival| is_settled(arrival)));
        });
    }

    /// Returns the identities; the rest of the engine is dropped.
    pub fn into_identities(self) -> Vec<I> {
        self.lanes.into_iter().map(|lane| lane.partition.into_identities()).collect()
    }

    /// Sets the totals of earlier runs.
    pub fn set_totals(&mut self, mut totals: Totals) {
        totals.operators.resize(self.totals.operators.len(), OperatorCount::default());
        self.totals = totals;
    }

    /// Asks these services from now on.
    pub fn use_services(&mut self, services: Arc<dyn Services>) {
        self.services = Some(services);
    }

    /// Measures the steps that are noted.
    pub fn use_stopwatch(&mut self, stopwatch: &Stopwatch) {
        self.slots.iter_mut().for_each(|slot| slot.flow.stopwatch = Some(stopwatch.clone()));
    }

    /// Returns the earliest instant at which something may be due.
    pub fn next_due(&self) -> Option<Timestamp> {
        let meters = self.lanes.iter().filter_map(|lane| lane.partition.next_due()).min();
        meters.into_iter().chain(self.next_release()).min()
    }

    /// Continues earlier runs, whose totals are not part of its own: the events that operators
    /// hold, and the order of arrival.
    pub fn go_on(&mut self, before: &Totals) {
        self.order_base = before.tally.received + before.tally.derived;
        for (mine, theirs) in self.totals.operators.iter_mut().zip(&before.operators) {
            mine.absorbed = theirs.held();
        }
    }

    /// Sets whether windows that end by watermark wait for later events, as in a server. By default
    /// every tick is at the end of input.
    pub fn follow_watermarks(&mut self, follows: bool) {
        self.follows_watermarks = follows;
    }

    /// Opens the meters that the plan declares; returns the new ones.
    pub fn open_declared(&mut self, at: Timestamp) -> Vec<Noted> {
        let plan = Arc::clone(&self.plan);
        let open = |declared: &DeclaredMeter| self.apply(declared.user.as_bytes(), Command::Open(declared), at);
        plan.meters.iter().flat_map(open).collect()
    }

    /// Makes meters follow the plan's reset schedules from their next period on.
    pub fn reschedule(&mut self, at: Timestamp) {
        let Engine { lanes, pool, .. } = self;
        pool.install(|| {
            lanes.par_iter_mut().for_each(|lane| lane.partition.apply(Command::Reschedule, at, &mut Noting::default()));
        });
    }

    /// Applies a command about a user's meters; returns their events.
    pub fn apply(&mut self, user: &[u8], command: Command<'_>, at: Timestamp) -> Vec<Noted> {
        let partition = Plan::partition_of(Plan::user_hash(user), self.lanes.len());
        let mut noting = Noting::default();
        if let Some(lane) = self.lanes.get_mut(partition) {
            lane.partition.apply(command, at, &mut noting);
        }
        noting.0
    }

    /// Sets whether sinks receive the events of single meters.
    pub fn listen(&mut self, listens: bool) {
        self.listens = listens;
        self.lanes.iter_mut().for_each(|lane| lane.listens = listens);
    }

    /// Whether sinks receive the events of single meters.
    pub fn listens(&self) -> bool {
        self.listens
    }

    /// Processes everything that a source has.
    pub fn ingest(
        &mut self,
        source: &mut dyn Source,
        at: Timestamp,
        sink: &mut dyn RecordSink,
        observer: &mut dyn Observer,
    ) -> Result<(), Error> {
        let mut intake = Intake { source, sequence: 0, failure: None };
        let before = self.totals.tally.received;
        loop {
            let first = intake.sequence == 0;
            let received = self.round(&mut intake, at);
            if received > 0 {
                self.settle(received, sink, observer)?;
                observer.counted(&self.totals.operators);
                observer.progress(&self.totals.tally, intake.source.progress());
                if first {
                    self.expect(self.totals.tally.received - before, intake.source.progress());
                }
            }
            if let Some(failure) = intake.failure {
                return Err(failure);
            }
            if received == 0 {
                return Ok(());
            }
        }
    }

    /// Estimates the number of events of a source of known size from its first round.
    fn expect(&mut self, events: u64, (bytes, total): (u64, Option<u64>)) {
        let deduplicates = self.plan.nodes.iter().any(|node| matches!(node.operator, Operator::Dedupe(_)));
        let Some(total) = total.filter(|total| deduplicates && bytes > 0 && *total > bytes) else { return };
        let known = self.totals.tally.received.saturating_sub(events);
        let expected = u128::from(events) * u128::from(total) / u128::from(bytes) + u128::from(known);
        let expected = (expected as usize).min(IDENTITIES_EXPECTED_MAX).div_ceil(self.lanes.len());
        let Engine { lanes, pool, .. } = self;
        pool.install(|| lanes.par_iter_mut().for_each(|lane| lane.partition.expect_identities(expected)));
    }

    /// Processes one round; returns the number of filled slots, in the order of arrival.
    fn round(&mut self, intake: &mut Intake<'_>, at: Timestamp) -> usize {
        let first_arrival = self.totals.tally.received;
        let first_order = self.order_base + first_arrival + self.totals.tally.derived;
        let Engine { plan, slots, lanes, pool, tables, services, .. } = self;
        pool.install(|| {
            let intake = Mutex::new(intake);
            let (tables, services) = (&*tables, &*services);
            slots.par_iter_mut().for_each(|slot| slot.fill(&intake, at, tables, services));
            slots.sort_by_key(|slot| (slot.decoder.is_none(), slot.flow.batch.block.sequence));
            let received = slots.iter().filter(|slot| slot.decoder.is_some()).count();
            let filled = &mut slots[..received];
            let mut next = first_arrival;
            for slot in filled.iter_mut() {
                slot.flow.first_arrival = next;
                slot.flow.first_order = next - first_arrival + first_order;
                next += slot.flow.batch.len() as u64;
            }
            if plan.is_ordered() {
                InOrder::new(plan, filled, lanes).take();
                return received;
            }
            let last = plan.stages.len() - 1;
            for stage in 0..=last {
                let repeats: Vec<Group> = match stage == last {
                    true => lanes.iter_mut().flat_map(|lane| lane.repeats.drain(..)).collect(),
                    false => Vec::new(),
                };
                if !repeats.is_empty() {
                    Careful::new(plan, filled, lanes).count(repeats);
                    break;
                }
                let flows: Vec<&Flow> = filled.iter().map(|slot| &slot.flow).collect();
                lanes.par_iter_mut().for_each(|lane| lane.answer(plan, stage, &flows));
                filled.par_iter_mut().enumerate().for_each(|(i, slot)| {
                    let answers = lanes.iter().map(|lane| &lane.answers[i]);
                    slot.mediator.resume(&mut slot.flow, stage, answers);
                });
            }
            let flows: Vec<&Flow> = filled.iter().map(|slot| &slot.flow).collect();
            let is_parked = flows.iter().any(|flow| !flow.parked.is_empty());
            let is_multistage = last > 1;
            lanes.par_iter_mut().for_each(|lane| {
                if is_parked || is_multistage || lane.has_parked() {
                    lane.spend(plan, &flows);
                }
                lane.partition.settle_identities();
            });
            received
        })
    }

    /// Adds up a round and reports its results.
    fn settle(&mut self, received: usize, sink: &mut dyn RecordSink, observer: &mut dyn Observer) -> Result<(), Error> {
        self.slots[..received].iter().try_for_each(|slot| ended(&self.plan, &slot.flow))?;
        for slot in &self.slots[..received] {
            let flow = &slot.flow;
            self.totals.tally.absorb(&flow.tally());
            self.totals.timed_by_receipt += flow.timed_by_receipt();
            self.totals.count(&flow.counters);
            self.totals.count_outputs(&self.plan.nodes, &flow.outputs);
            for (total, count) in self.totals.operators.iter_mut().zip(&flow.counts) {
                total.add(count);
            }
            if observer.wants_derived() {
                derived::report(&self.plan, slot, observer)?;
            }
            for parked in &flow.parked {
                let event = parked.event as usize;
                let made = (parked.part > 0).then(|| slot.mediator.derived_json(flow, parked.part));
                observer.parked(&ParkedEvent {
                    origin: &flow.batch.block.origin,
                    line: flow.batch.line(event),
                    operator: parked.operator.map(|node| self.plan.nodes[usize::from(node)].id.as_str()),
                    reason: parked.reason,
                    detail: &parked.detail,
                    raw: made.as_deref().unwrap_or_else(|| flow.batch.raw(event)),
                    is_derived: made.is_some() || flow.derived_by.is_some(),
                    held: None,
                    is_released: flow.derived_by.is_some(),
                })?;
            }
            if flow.derived_by.is_none() {
                observer.judged(&flow.batch, flow.verdicts());
            }
            for tap in &flow.taps {
                observer.tapped(tap, flow.batch.line(tap.event as usize));
            }
            for stayed in flow.stayed() {
                observer.stayed(&stayed, flow.batch.line(stayed.event as usize));
            }
        }
        let lanes = self.lanes.iter_mut();
        let mut superseded: Vec<_> = lanes.flat_map(|lane| lane.superseded.drain(..)).collect();
        superseded.sort_unstable();
        superseded.into_iter().try_for_each(|superseded| observer.superseded(superseded))?;
        let mut noted: Vec<_> = self.lanes.iter_mut().flat_map(|lane| std::mem::take(&mut lane.noted)).collect();
        noted.sort();
        let mut noted = noted.iter().peekable();
        let mut crossed: Vec<_> = self.lanes.iter_mut().flat_map(|lane| std::mem::take(&mut lane.thresholds)).collect();
        crossed.sort_by_key(|crossed| crossed.arrival);
        for crossed in crossed {
            // Block by block, so that the result does not depend on the number of blocks in a
            // round.
            while let Some((_, noted)) = noted.next_if(|(flow, _)| *flow <= crossed.arrival.0) {
                sink.noted(noted)?;
            }
            sink.threshold(crossed.key.get(), &crossed.json)?;
        }
        noted.try_for_each(|(_, noted)| sink.noted(noted))
    }

    /// Processes a tick at `at`: operators release what is due, then every period that ended is
    /// flushed, in order.
    pub fn tick(&mut self, at: Timestamp, sink: &mut dyn RecordSink, observer: &mut dyn Observer) -> Result<(), Error> {
        self.release(ReleaseExtent::Due, at, sink, observer)?;
        self.close(Extent::Due, at, sink)
    }

    /// Releases held events and flushes open periods; their ends stay as scheduled.
    pub fn flush_open(&mut self, at: Timestamp, sink: &mut dyn RecordSink, observer: &mut dyn Observer) -> Result<(), Error> {
        self.release(ReleaseExtent::All, at, sink, observer)?;
        self.close(Extent::Open, at, sink)
    }

    /// Sends the revisions of all corrections, without waiting for more of them.
    pub fn revise(&mut self, at: Timestamp, sink: &mut dyn RecordSink) -> Result<(), Error> {
        self.close(Extent::Revisions, at, sink)
    }

    fn close(&mut self, extent: Extent, at: Timestamp, sink: &mut dyn RecordSink) -> Result<(), Error> {
        let order = Order { extent, listens: self.listens, at };
        close(self.lanes.iter_mut().map(|lane| &mut lane.partition).collect(), order, sink)
    }

    /// Returns the fields that the plan names and that no event of a file has had: a sentence for
    /// each, with the name that was probably meant.
    pub fn unseen(&self) -> Vec<String> {
        let mediators = self.slots.iter().map(|slot| slot.mediator.unseen()).collect::<Vec<_>>();
        crate::unseen::sentences(&self.plan, &mediators, self.totals.tally.received)
    }

    /// Returns the totals so far.
    pub fn totals(&self) -> Totals {
        let opened: u64 = self.lanes.iter().map(|lane| lane.opened).sum();
        Totals { meters_opened: self.totals.meters_opened + opened, ..self.totals.clone() }
    }
}

/// Returns an error if a script did not end for an event: a verdict must not depend on how fast a
/// machine is.
fn ended(plan: &Plan, flow: &Flow) -> Result<(), Error> {
    let Some((node, event)) = flow.stalled else { return Ok(()) };
    let (operator, batch) = (&plan.nodes[usize::from(node)].id, &flow.batch);
    let place = format!("{}:{}", batch.block.origin.name, batch.line(event as usize));
    Err(Error::new(Kind::Invalid, format!("{place}: `{operator}`: {STALLED}")))
}

fn pool(settings: Settings) -> Result<rayon::ThreadPool, Error> {
    let named = rayon::ThreadPoolBuilder::new().thread_name(|number| format!("counting {number}"));
    let pool = named.num_threads(settings.threads.max(1)).build();
    pool.map_err(|why| Error::new(Kind::Unavailable, format!("no threads: {why}")))
}
