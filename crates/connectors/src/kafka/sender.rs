//! Sends messages and waits until each has an outcome.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use flowmeter_core::service::KafkaCluster;
use flowmeter_engine::Error;
use rdkafka::ClientContext;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{Header, Message, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, DeliveryResult, Producer, ProducerContext};

use super::{away, config, lasting, unreachable};
use crate::calls::Abandon;

/// How long the brokers may take to describe themselves.
const ANSWER: Duration = Duration::from_secs(5);
/// How long a look at outcomes takes.
const LOOK: Duration = Duration::from_millis(50);
/// How long the library may take, beyond the time of a message, to say that it is over.
const GRACE: Duration = Duration::from_secs(10);

/// A message before it is sent.
#[derive(Clone, Debug)]
pub(crate) struct Post {
    pub(crate) topic: String,
    pub(crate) key: String,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) value: Vec<u8>,
}

/// The end of an attempt to send a message.
pub(crate) enum Outcome {
    There { partition: i32, offset: i64 },
    Failed(RDKafkaErrorCode, String),
}

/// A producer that is made when it is needed.
pub(crate) struct Sender {
    cluster: KafkaCluster,
    timeout: Duration,
    abandon: Abandon,
    producer: Option<BaseProducer<Delivered>>,
}

impl Sender {
    pub(crate) fn new(cluster: &KafkaCluster, timeout: Duration, abandon: &Abandon) -> Result<Sender, Error> {
        let mut sender = Sender { cluster: cluster.clone(), timeout, abandon: abandon.clone(), producer: None };
        // A setting that is wrong shows before anything is sent.
        sender.producer()?;
        Ok(sender)
    }

    fn producer(&mut self) -> Result<&BaseProducer<Delivered>, Error> {
        if self.producer.is_none() {
            let mut config = config(&self.cluster)?;
            let defaults = [
                ("enable.idempotence", "true".to_owned()),
                ("message.timeout.ms", self.timeout.as_millis().to_string()),
                // The topic says how large a message may be.
                ("message.max.bytes", (64 << 20).to_string()),
                ("queue.buffering.max.messages", "1000000".to_owned()),
                // Records of one meter wait for each other.
                ("linger.ms", "1".to_owned()),
            ];
            for (name, value) in defaults {
                if config.get(name).is_none() {
                    config.set(name, value);
                }
            }
            self.producer = Some(config.create_with_context(Delivered::default()).map_err(|why| lasting(&why))?);
        }
        self.producer.as_ref().ok_or_else(|| lasting(&"no producer"))
    }

    /// Checks that the brokers answer, and that a topic is there.
    pub(crate) fn look_at(&mut self, topic: Option<&str>) -> Result<(), Error> {
        let brokers = self.cluster.brokers.join(",");
        let client = self.producer()?.client();
        let found = client.fetch_metadata(topic.or(Some("")).filter(|topic| !topic.is_empty()), ANSWER);
        let found = found.map_err(|why| unreachable(&brokers, &why))?;
        let missing = found.topics().iter().find_map(|topic| Some((topic.name(), topic.error()?)));
        match (topic, missing) {
            (Some(topic), Some((name, why))) if name == topic => {
                let code = RDKafkaErrorCode::from(why);
                match code {
                    RDKafkaErrorCode::UnknownTopic
                    | RDKafkaErrorCode::UnknownTopicOrPartition
                    | RDKafkaErrorCode::InvalidTopic => {
                        Err(lasting(&format!("topic `{topic}`: {code}; create the topic, or correct its name")))
                    }
                    RDKafkaErrorCode::TopicAuthorizationFailed => Err(lasting(&format!("topic `{topic}`: {code}"))),
                    // A topic that is being made has no leader for a moment.
                    _ => Err(away(&format!("topic `{topic}`: {code}"))),
                }
            }
            _ => Ok(()),
        }
    }

    /// Sends messages and returns the outcome of each.
    #[allow(clippy::disallowed_methods)] // a deadline of the real world
    pub(crate) fn send(&mut self, posts: &[&Post]) -> Vec<Outcome> {
        let unsure = |why: &str| Outcome::Failed(RDKafkaErrorCode::MessageTimedOut, why.to_owned());
        let (deadline, abandon) = (Instant::now() + self.timeout + GRACE, self.abandon.clone());
        let producer = match self.producer() {
            Ok(producer) => producer,
            Err(why) => return posts.iter().map(|_| unsure(&why.to_string())).collect(),
        };
        producer.context().outcomes().clear();
        let mut outcomes: Vec<Option<Outcome>> = posts.iter().map(|_| None).collect();
        let mut open = 0;
        let may_wait = || Instant::now() < deadline && !abandon.is_asked();
        for (at, post) in posts.iter().enumerate() {
            let mut message = record(post, at);
            loop {
                match producer.send(message) {
                    Ok(()) => {
                        open += 1;
                        break;
                    }
                    Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), given)) if may_wait() => {
                        message = given;
                        producer.poll(LOOK);
                    }
                    Err((why, _)) => {
                        let code = why.rdkafka_error_code().unwrap_or(RDKafkaErrorCode::Unknown);
                        outcomes[at] = Some(Outcome::Failed(code, why.to_string()));
                        break;
                    }
                }
            }
        }
        while producer.context().outcomes().len() < open && may_wait() {
            producer.poll(LOOK);
        }
        for (at, outcome) in producer.context().outcomes().drain(..) {
            outcomes[at] = Some(outcome);
            open -= 1;
        }
        let is_fatal = producer.client().fatal_error().is_some();
        if open > 0 || is_fatal {
            // Its messages must not arrive behind those that are sent again.
            self.producer = None;
        }
        let why = if abandon.is_asked() { "the server stops, or the pipeline was changed" } else { "no answer in time" };
        outcomes.into_iter().map(|outcome| outcome.unwrap_or_else(|| unsure(why))).collect()
    }
}

fn record(post: &Post, at: usize) -> BaseRecord<'_, [u8], [u8], Box<usize>> {
    let headers = post.headers.iter().fold(OwnedHeaders::new_with_capacity(post.headers.len()), |headers, (key, value)| {
        headers.insert(Header { key, value: Some(value) })
    });
    let record = BaseRecord::with_opaque_to(&post.topic, Box::new(at));
    record.key(post.key.as_bytes()).payload(post.value.as_slice()).headers(headers)
}

/// Receives the outcomes of messages.
#[derive(Default)]
struct Delivered(Mutex<Vec<(usize, Outcome)>>);

impl Delivered {
    fn outcomes(&self) -> MutexGuard<'_, Vec<(usize, Outcome)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ClientContext for Delivered {
    fn log(&self, _: rdkafka::config::RDKafkaLogLevel, _: &str, _: &str) {
        // Errors come back from calls; lines of the library would be without the target.
    }

    fn error(&self, _: KafkaError, _: &str) {}
}

impl ProducerContext for Delivered {
    type DeliveryOpaque = Box<usize>;

    fn delivery(&self, result: &DeliveryResult<'_>, at: Box<usize>) {
        let outcome = match result {
            Ok(message) => Outcome::There { partition: message.partition(), offset: message.offset() },
            Err((why, _)) => Outcome::Failed(why.rdkafka_error_code().unwrap_or(RDKafkaErrorCode::Unknown), why.to_string()),
        };
        self.outcomes().push((*at, outcome));
    }
}
