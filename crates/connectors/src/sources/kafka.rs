//! Topics of Kafka.
//!
//! The position in each partition is in the log entry of its messages. Offsets are committed to Kafka
//! as well, for monitors, and for another server of the same group that gets a partition: it continues at
//! the greater of both. Before a partition is given back, everything of it that was taken is durable and
//! committed, and nothing that was only fetched is used.

mod message;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, UNIX_EPOCH};

use flowmeter_core::source::{KafkaSource, KafkaStart};
use flowmeter_engine::Error;
use message::Lines;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer, ConsumerContext, RebalanceProtocol};
use rdkafka::error::KafkaError;
use rdkafka::message::Message;
use rdkafka::{ClientContext, Offset, Statistics, TopicPartitionList};

use super::{Behind, Reading, Step, Surroundings};
use crate::kafka::{Place, away, config, judged, lasting};

/// Bytes of lines after which a batch is given: each one waits for the disk.
const BATCH_BYTES: usize = 4 << 20;
/// How long a batch waits for more messages once it has one.
const GATHER: Duration = Duration::from_millis(20);
/// How long a look without messages takes.
const PATIENCE: Duration = Duration::from_millis(200);
/// How long the broker may take for an answer.
const ANSWER: Duration = Duration::from_secs(10);

/// The key of the name of this reader in the log.
const READER: &str = "reader";

/// Messages of topics, as a source.
pub(super) struct Topics {
    around: Surroundings,
    consumer: BaseConsumer<Assigned>,
    lines: Lines,
    /// The names of partitions, as they are shown.
    origins: BTreeMap<Place, Arc<str>>,
    /// The positions behind the batch that [`Reading::next`] returned last.
    read: BTreeMap<Place, i64>,
}

impl Topics {
    pub(super) fn new(plan: &KafkaSource, around: Surroundings) -> Result<Topics, Error> {
        let mut config = config(&plan.cluster)?;
        config.set("group.id", crate::expand(&plan.group)?);
        // Positions are ours; what librdkafka believes is never committed.
        let defaults = [
            ("enable.auto.commit", "false"),
            ("enable.auto.offset.store", "false"),
            ("auto.offset.reset", if plan.start == KafkaStart::Latest { "latest" } else { "earliest" }),
            ("statistics.interval.ms", "5000"),
            // With its queue full, librdkafka would fetch nothing for a second, in which the queue runs dry.
            ("fetch.queue.backoff.ms", "10"),
        ];
        for (name, value) in defaults {
            if config.get(name).is_none() {
                config.set(name, value);
            }
        }
        if config.get("group.protocol").is_none() && config.get("partition.assignment.strategy").is_none() {
            config.set("partition.assignment.strategy", "range,roundrobin");
        }
        let taken = around.taken.iter().filter_map(|(key, value)| {
            let (topic, partition) = key.rsplit_once('/')?;
            Some(((topic.to_owned(), partition.parse().ok()?), value.parse().ok()?))
        });
        let now = (around.wall)().duration_since(UNIX_EPOCH).map(|since| since.as_nanos()).unwrap_or_default();
        let reader = around.taken.get(READER).cloned().unwrap_or_else(|| format!("{}-{now}", std::process::id()));
        let assigned = Assigned {
            start: plan.start,
            reader,
            durable: Arc::clone(&around.durable),
            taken: Mutex::new(taken.collect()),
            under_way: Mutex::default(),
            lost: Mutex::default(),
            failure: Mutex::default(),
            lag: AtomicU64::new(0),
        };
        let consumer: BaseConsumer<Assigned> = config.create_with_context(assigned).map_err(|why| lasting(&why))?;
        let topics: Vec<&str> = plan.topics.iter().map(String::as_str).collect();
        consumer.subscribe(&topics).map_err(|why| lasting(&why))?;
        let lines = Lines::new(plan)?;
        Ok(Topics { around, consumer, lines, origins: BTreeMap::new(), read: BTreeMap::new() })
    }

    /// Gathers messages by partition, until there are enough or none come for a moment.
    fn gather(&mut self) -> Result<Vec<Gathered>, Error> {
        let mut gathered: Vec<Gathered> = Vec::new();
        let (mut bytes, mut patience) = (0, PATIENCE);
        while bytes < BATCH_BYTES {
            let polled = self.consumer.poll(patience);
            let context = self.consumer.context();
            if let Some(why) = context.failure().take() {
                return Err(why);
            }
            // Messages of partitions that were given back are another server's now.
            for place in std::mem::take(&mut *context.lost()) {
                gathered.retain(|known| known.place != place);
            }
            let Some(polled) = polled else { break };
            let message = polled.map_err(|why| judged(&why))?;
            let (topic, partition) = (message.topic(), message.partition());
            let known = gathered.iter().position(|known| known.place.1 == partition && known.place.0 == topic);
            let at = known.unwrap_or_else(|| {
                gathered.push(Gathered { place: (topic.to_owned(), partition), lines: Vec::new(), offsets: Vec::new() });
                gathered.len() - 1
            });
            let of = &mut gathered[at];
            let before = of.lines.len();
            self.lines.write(&message, &mut of.lines)?;
            bytes += of.lines.len() - before;
            of.offsets.push(message.offset());
            patience = GATHER;
        }
        Ok(gathered)
    }
}

/// Messages of one partition.
struct Gathered {
    place: Place,
    lines: Vec<u8>,
    offsets: Vec<i64>,
}

impl Reading for Topics {
    fn next(&mut self) -> Result<Step, Error> {
        let gathered = self.gather()?;
        if gathered.is_empty() {
            return Ok(Step::Wait(Duration::ZERO));
        }
        let mut batch = self.around.batch();
        for Gathered { place, lines, offsets } in gathered {
            let name = || format!("{}/{}", place.0, place.1);
            let origin = Arc::clone(self.origins.entry(place.clone()).or_insert_with(|| name().into()));
            for offset in &offsets {
                batch.fed.add(&origin, offset.unsigned_abs());
            }
            batch.lines.extend_from_slice(&lines);
            let next = offsets.last().map_or(0, |last| last + 1);
            batch.fed.taken.push((origin.to_string(), Some(next.to_string())));
            self.read.insert(place, next);
        }
        if !self.around.taken.contains_key(READER) {
            batch.fed.taken.push((READER.to_owned(), Some(self.consumer.context().reader.clone())));
        }
        batch.fed.take(&mut self.around.taken);
        Ok(Step::Taken(batch))
    }

    fn gave(&mut self) -> Result<(), Error> {
        self.settle()?;
        *self.consumer.context().under_way() = std::mem::take(&mut self.read);
        Ok(())
    }

    fn settle(&mut self) -> Result<(), Error> {
        let context = self.consumer.context();
        let places = context.keep_under_way();
        if !places.is_empty() {
            // Kafka's copy of the positions is for others; an error of it loses nothing.
            drop(context.positions(&places).and_then(|offsets| self.consumer.commit(&offsets, CommitMode::Async)));
        }
        Ok(())
    }

    fn behind(&self) -> Behind {
        Behind { items: self.consumer.context().lag.load(Ordering::Relaxed), ..Behind::default() }
    }
}

/// The state of the consumer's callbacks.
struct Assigned {
    start: KafkaStart,
    /// The name of this reader in positions that it commits: other servers of the group have others.
    reader: String,
    /// Waits until everything that was given is durable.
    durable: Arc<dyn Fn() -> Result<(), Error> + Send + Sync>,
    /// The next offset of each partition that was taken of, durably.
    taken: Mutex<BTreeMap<Place, i64>>,
    /// The same for the batch that is being written.
    under_way: Mutex<BTreeMap<Place, i64>>,
    /// Partitions that were given back since the last look.
    lost: Mutex<Vec<Place>>,
    /// Why the positions of partitions are unknown.
    failure: Mutex<Option<Error>>,
    /// Messages that are not taken, by Kafka's figures.
    lag: AtomicU64,
}

impl Assigned {
    fn taken(&self) -> MutexGuard<'_, BTreeMap<Place, i64>> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lost(&self) -> MutexGuard<'_, Vec<Place>> {
        self.lost.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn failure(&self) -> MutexGuard<'_, Option<Error>> {
        self.failure.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn under_way(&self) -> MutexGuard<'_, BTreeMap<Place, i64>> {
        self.under_way.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes that the batch that was being written is durable. Returns its partitions.
    fn keep_under_way(&self) -> Vec<Place> {
        let durable = std::mem::take(&mut *self.under_way());
        let places = durable.keys().cloned().collect();
        self.taken().extend(durable);
        places
    }

    /// Returns partitions with the offsets at which to begin.
    fn placed(&self, consumer: &BaseConsumer<Assigned>, given: &TopicPartitionList) -> Result<TopicPartitionList, KafkaError> {
        let committed = consumer.committed_offsets(given.clone(), ANSWER)?;
        let mut placed = TopicPartitionList::new();
        let mut fresh = TopicPartitionList::new();
        for element in committed.elements() {
            let place = (element.topic().to_owned(), element.partition());
            // Its own positions are in the log: one that was restored from a backup takes messages again.
            let committed = match element.offset() {
                Offset::Offset(offset) if element.metadata() != self.reader => Some(offset),
                _ => None,
            };
            match self.taken().get(&place).copied().max(committed) {
                Some(offset) => placed.add_partition_offset(&place.0, place.1, Offset::Offset(offset))?,
                None => match self.start {
                    KafkaStart::Earliest | KafkaStart::Committed => {
                        placed.add_partition_offset(&place.0, place.1, Offset::Beginning)?;
                    }
                    KafkaStart::Latest => placed.add_partition_offset(&place.0, place.1, Offset::End)?,
                    KafkaStart::Time(millis) => fresh.add_partition_offset(&place.0, place.1, Offset::Offset(millis))?,
                },
            }
        }
        if fresh.count() > 0 {
            for element in consumer.offsets_for_times(fresh, ANSWER)?.elements() {
                placed.add_partition_offset(element.topic(), element.partition(), element.offset())?;
            }
        }
        Ok(placed)
    }
}

impl ClientContext for Assigned {
    fn stats(&self, statistics: Statistics) {
        let partitions = statistics.topics.values().flat_map(|topic| topic.partitions.values());
        let lag: i64 = partitions.map(|partition| partition.consumer_lag.max(0)).sum();
        self.lag.store(lag.unsigned_abs(), Ordering::Relaxed);
    }

    fn log(&self, level: rdkafka::config::RDKafkaLogLevel, _: &str, message: &str) {
        // Errors come back from calls; lines of the library would be without the session.
        let _ = (level, message);
    }

    fn error(&self, _: KafkaError, _: &str) {}
}

impl ConsumerContext for Assigned {
    fn rebalance(
        &self,
        consumer: &BaseConsumer<Assigned>,
        event: rdkafka::types::RDKafkaRespErr,
        partitions: &mut TopicPartitionList,
    ) {
        let done: Result<(), Error> = match event {
            rdkafka::types::RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS => {
                let placed = self.placed(consumer, partitions).and_then(|placed| match consumer.rebalance_protocol() {
                    RebalanceProtocol::Cooperative => consumer.incremental_assign(&placed),
                    _ => consumer.assign(&placed),
                });
                placed.map_err(|why| away(&why))
            }
            _ => {
                let places =
                    partitions.elements().iter().map(|element| (element.topic().to_owned(), element.partition())).collect();
                self.give_back(consumer, places).and_then(|()| {
                    let unassigned = match consumer.rebalance_protocol() {
                        RebalanceProtocol::Cooperative => consumer.incremental_unassign(partitions),
                        _ => consumer.unassign(),
                    };
                    unassigned.map_err(|why| away(&why))
                })
            }
        };
        if let Err(why) = done {
            // The source is opened again, and joins the group as a new member.
            *self.failure() = Some(why);
            drop(consumer.unassign());
        }
    }
}

impl Assigned {
    /// Returns the positions of partitions that something was taken of, as they are committed.
    fn positions(&self, places: &[Place]) -> Result<TopicPartitionList, KafkaError> {
        let mut offsets = TopicPartitionList::new();
        for (topic, partition) in places {
            if let Some(next) = self.taken().get(&(topic.clone(), *partition)) {
                let mut element = offsets.add_partition(topic, *partition);
                element.set_offset(Offset::Offset(*next))?;
                element.set_metadata(&self.reader);
            }
        }
        Ok(offsets)
    }

    /// Commits what was taken of partitions, for the server that gets them, once it is durable.
    fn give_back(&self, consumer: &BaseConsumer<Assigned>, places: Vec<Place>) -> Result<(), Error> {
        (self.durable)()?;
        // Those of other partitions are committed with them: nothing else would commit them.
        let mut all = self.keep_under_way();
        all.extend(places.iter().filter(|place| !all.contains(place)).cloned().collect::<Vec<Place>>());
        let offsets = self.positions(&all).map_err(|why| away(&why))?;
        self.lost().extend(places);
        match offsets.count() {
            0 => Ok(()),
            _ => consumer.commit(&offsets, CommitMode::Sync).map_err(|why| away(&why)),
        }
    }
}
