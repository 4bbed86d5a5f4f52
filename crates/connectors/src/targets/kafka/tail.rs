//! Reads messages of records back.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use flowmeter_core::service::KafkaCluster;
use flowmeter_engine::Error;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::message::{Headers, Message};
use rdkafka::metadata::{MetadataPartition, MetadataTopic};
use rdkafka::{Offset, TopicPartitionList};
use xxhash_rust::xxh3::xxh3_64;

use super::letter::{ID_HEADER, id_of};
use crate::calls::Abandon;
use crate::kafka::{Place, away, config, lasting};

/// How long the brokers may take for an answer.
const ANSWER: Duration = Duration::from_secs(10);
/// How long no message may come before the end of a partition.
const SILENCE: Duration = Duration::from_secs(30);
/// How long a look for messages takes.
const LOOK: Duration = Duration::from_millis(100);

/// A reader of topics.
pub(super) struct Tail {
    cluster: KafkaCluster,
    abandon: Abandon,
}

impl Tail {
    pub(super) fn new(cluster: &KafkaCluster, abandon: &Abandon) -> Result<Tail, Error> {
        Ok(Tail { cluster: cluster.clone(), abandon: abandon.clone() })
    }

    /// Gives the record and the fingerprint of every message of topics that are there now: of each partition
    /// from an offset on, or from its beginning. Messages of others are left out.
    ///
    /// # Errors
    /// The brokers do not answer, or refuse the reader.
    pub(super) fn read(
        &self,
        topics: &BTreeSet<String>,
        from: &dyn Fn(&Place) -> Option<i64>,
        give: &mut dyn FnMut(u128, u64),
    ) -> Result<(), Error> {
        let mut config = config(&self.cluster)?;
        let settings = [
            // A reader needs the name of a group; it joins none and commits nothing.
            ("group.id", "flowmeter-read-back"),
            ("enable.auto.commit", "false"),
            ("enable.partition.eof", "true"),
            // Transactions of other producers must not hide messages behind them.
            ("isolation.level", "read_uncommitted"),
            ("auto.offset.reset", "error"),
        ];
        for (name, value) in settings {
            config.set(name, value);
        }
        let consumer: BaseConsumer = config.create().map_err(|why| lasting(&why))?;
        topics.iter().try_for_each(|topic| self.read_one(&consumer, topic, from, give))
    }

    #[allow(clippy::disallowed_methods)] // a deadline of the real world
    fn read_one(
        &self,
        consumer: &BaseConsumer,
        topic: &str,
        from: &dyn Fn(&Place) -> Option<i64>,
        give: &mut dyn FnMut(u128, u64),
    ) -> Result<(), Error> {
        let mut ends = begin(consumer, topic, from).map_err(|why| away(&why))?;
        let mut heard = Instant::now();
        while !ends.is_empty() {
            if self.abandon.is_asked() {
                return Err(away(&"the server stops, or the pipeline was changed"));
            }
            match consumer.poll(LOOK) {
                None if heard.elapsed() > SILENCE => return Err(away(&"no message came while the topic was read back")),
                None => {}
                Some(Ok(message)) => {
                    heard = Instant::now();
                    let id = message.headers().and_then(|headers| {
                        let header = headers.iter().find(|header| header.key == ID_HEADER)?;
                        id_of(header.value?)
                    });
                    if let (Some(id), Some(value)) = (id, message.payload()) {
                        give(id, xxh3_64(value));
                    }
                    if ends.get(&message.partition()).is_some_and(|end| message.offset() + 1 >= *end) {
                        ends.remove(&message.partition());
                    }
                }
                // The last offsets of a partition may have no messages.
                Some(Err(KafkaError::PartitionEOF(partition))) => drop(ends.remove(&partition)),
                Some(Err(why)) => return Err(away(&why)),
            }
        }
        Ok(())
    }
}

/// Begins to read a topic, and returns the end of each partition that has something to read. A topic that
/// is not there has nothing.
fn begin(consumer: &BaseConsumer, topic: &str, from: &dyn Fn(&Place) -> Option<i64>) -> Result<BTreeMap<i32, i64>, KafkaError> {
    let (mut ends, mut assigned) = (BTreeMap::new(), TopicPartitionList::new());
    let found = consumer.fetch_metadata(Some(topic), ANSWER)?;
    let partitions = found.topics().iter().filter(|found| found.name() == topic).flat_map(MetadataTopic::partitions);
    for partition in partitions.map(MetadataPartition::id) {
        let (low, high) = consumer.fetch_watermarks(topic, partition, ANSWER)?;
        // An offset behind the end is one of a topic that was made again.
        let first = from(&(topic.to_owned(), partition)).filter(|first| *first <= high).unwrap_or(low).max(low);
        if first < high {
            assigned.add_partition_offset(topic, partition, Offset::Offset(first))?;
            ends.insert(partition, high);
        }
    }
    consumer.assign(&assigned)?;
    Ok(ends)
}
