//! Records as messages of Kafka.

use flowmeter_core::service::KafkaCluster;
use flowmeter_core::template::Template;
use flowmeter_core::time::parse_duration;

use super::Compiling;
use crate::service;
use crate::tree::Node as Tree;

/// Messages of topics, one for each record.
#[derive(Clone, Debug)]
pub struct KafkaPlan {
    /// The cluster, and how it is reached.
    pub cluster: KafkaCluster,
    /// The topic of a record.
    pub topic: Template,
    /// The topic, if all records go to one.
    pub fixed_topic: Option<String>,
    /// The key of a record's message.
    pub key: Template,
    /// Names and values of headers.
    pub headers: Vec<(String, Template)>,
    /// Whether messages are CloudEvents, with the attributes in headers.
    pub is_cloud_event: bool,
    /// Nanoseconds after which a message without an answer is in doubt.
    pub timeout: i64,
}

/// The key of messages, unless another one is given.
const KEY: &str = "{{meterMetaData.recordId}}";
/// Time in which brokers take a message by default: a new leader of a partition may take as long.
const TIMEOUT: i64 = 60_000_000_000;

pub(super) fn kafka(node: &Tree, part: &mut Compiling<'_>) -> KafkaPlan {
    let topic = node.text("topic").unwrap_or_default();
    let at = |name: &str| node.get(name).unwrap_or(node);
    let is_template = topic.contains("{{");
    let is_letter = |letter: char| letter.is_ascii_alphanumeric() || "._-".contains(letter);
    if !is_template && (topic.is_empty() || topic.len() > 249 || !topic.chars().all(is_letter)) {
        let message = format!("`{topic}` is no name of a topic: write 1 to 249 letters, digits, `.`, `_` and `-`");
        part.wrong(at("topic"), "topic", message);
    }
    // With these, a message that is acknowledged could be lost, or there twice.
    const OURS: [&str; 5] = ["acks", "enable.idempotence", "request.required.acks", "retries", "message.send.max.retries"];
    let options = node.get("options").into_iter().flat_map(Tree::members);
    for (name, value) in options.filter(|(name, _)| OURS.contains(name)) {
        part.wrong(value, "options", format!("`{name}` is set by Flowmeter, so that each record is there once; leave it out"));
    }
    let headers = node.get("headers").into_iter().flat_map(Tree::members);
    let header = |(name, value): (&str, &Tree)| {
        let text = value.scalar().unwrap_or_default();
        (name.to_owned(), part.template(value, &format!("headers.{name}"), text))
    };
    KafkaPlan {
        headers: headers.map(header).collect(),
        cluster: service::kafka(node),
        topic: part.template(at("topic"), "topic", topic),
        fixed_topic: (!is_template).then(|| topic.to_owned()),
        key: part.template(at("key"), "key", node.text("key").unwrap_or(KEY)),
        is_cloud_event: node.text("format") == Some("cloudevents"),
        timeout: node.text("timeout").and_then(parse_duration).unwrap_or(TIMEOUT),
    }
}
