//! Single messages to Kafka, of programs that are no target: nothing is looked for, so a message
//! whose end is not known may be there twice, under one id.

use std::time::Duration;

use flowmeter_core::service::KafkaCluster;
use flowmeter_engine::Error;

/// A message to a topic.
#[derive(Clone, Debug)]
pub struct TopicMessage {
    /// The name of the topic.
    pub topic: String,
    /// Messages with the same key keep their order.
    pub key: String,
    /// Names and values of headers.
    pub headers: Vec<(String, String)>,
    /// The content of the message.
    pub value: Vec<u8>,
}

/// A cluster that takes messages. All senders of a program share it.
pub struct Messages {
    #[cfg(feature = "kafka")]
    sender: std::sync::Mutex<crate::kafka::sender::Sender>,
    #[cfg(feature = "kafka")]
    timeout: Duration,
}

/// Pause between two looks whether another message is sent.
#[cfg(feature = "kafka")]
const TURN: Duration = Duration::from_millis(5);

#[cfg(feature = "kafka")]
impl Messages {
    /// Creates a producer, which connects by itself.
    ///
    /// # Errors
    /// A setting is invalid, or a secret is missing.
    pub fn new(cluster: &KafkaCluster, timeout: Duration) -> Result<Messages, Error> {
        let sender = crate::kafka::sender::Sender::new(cluster, timeout, &crate::Abandon::default())?;
        Ok(Messages { sender: std::sync::Mutex::new(sender), timeout })
    }

    /// Waits for its turn, as long as a message may take.
    fn turn(&self) -> Option<std::sync::MutexGuard<'_, crate::kafka::sender::Sender>> {
        for _ in 0..self.timeout.as_millis() / TURN.as_millis() {
            match self.sender.try_lock() {
                Ok(sender) => return Some(sender),
                Err(std::sync::TryLockError::Poisoned(sender)) => return Some(sender.into_inner()),
                Err(std::sync::TryLockError::WouldBlock) => std::thread::park_timeout(TURN),
            }
        }
        None
    }

    /// Sends a message and waits for its place: partition and offset.
    ///
    /// # Errors
    /// The brokers refuse it, or do not answer in time; the message is for people.
    pub fn send(&self, message: TopicMessage) -> Result<(i32, i64), String> {
        use crate::kafka::sender::{Outcome, Post};
        let TopicMessage { topic, key, headers, value } = message;
        let mut sender = self.turn().ok_or("other messages wait for the brokers, which do not answer")?;
        match sender.send(&[&Post { topic, key, headers, value }]).pop() {
            Some(Outcome::There { partition, offset }) => Ok((partition, offset)),
            Some(Outcome::Failed(_, why)) => Err(why),
            None => Err("no answer".to_owned()),
        }
    }
}

#[cfg(not(feature = "kafka"))]
impl Messages {
    /// Reports that this program has no client of Kafka.
    ///
    /// # Errors
    /// Always.
    pub fn new(_: &KafkaCluster, _: Duration) -> Result<Messages, Error> {
        Err(crate::no_kafka())
    }

    /// Reports that this program has no client of Kafka.
    ///
    /// # Errors
    /// Always.
    pub fn send(&self, _: TopicMessage) -> Result<(i32, i64), String> {
        Err(crate::no_kafka().to_string())
    }
}
