//! Channels: the ways in which a notice is sent. One file each, one contract.
//!
//! A channel sends one message and returns the result: whether it was accepted, the request and the
//! response. It keeps no state, repeats nothing and ensures no order; the courier does. It never
//! waits longer than [`TIMEOUT`]. The returned request contains no secret.

mod address;
mod email;
mod http;
mod kafka;
mod log;
mod pool;
mod slack;
mod webhook;

use std::sync::Arc;
use std::time::Duration;

use flowmeter_connectors::messages::Messages;
use flowmeter_core::service::{KafkaCluster, KafkaLogin, TlsPlan};
use flowmeter_core::time::Timestamp;
use pool::Pool;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::notifications::{meant, wrong};
use crate::refusal::Refused;
use crate::sessions::SessionEvent;
use crate::settings::{Kafka, Secret, Settings};

pub use flowmeter_connectors::signature::Signer;

/// Timeout of an attempt. Receivers that work longer should accept first.
pub(crate) const TIMEOUT: Duration = Duration::from_secs(15);

/// Time in which brokers take a message: a new leader of a partition may need some seconds.
const KAFKA_TIMEOUT: Duration = Duration::from_secs(10);

/// A channel of a notification.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Channel {
    /// A name that is unique in its notification.
    pub name: String,
    /// Kind of the channel.
    #[serde(flatten)]
    pub way: Way,
}

/// The kinds of channels.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "lowercase")]
pub enum Way {
    /// CloudEvents over HTTPS, signed.
    Webhook(webhook::Webhook),
    /// A message to people.
    Email(email::Email),
    /// A message in a room, in the format of Slack, Mattermost and others.
    Slack(slack::Slack),
    /// A message to a topic of Kafka.
    Kafka(kafka::Kafka),
    /// A line of the server's log.
    Log(log::LogLine),
}

const WAYS: [&str; 5] = ["webhook", "email", "slack", "kafka", "log"];

/// The message to send.
pub struct Message<'a> {
    /// Id of the message, the same for every attempt.
    pub id: &'a str,
    /// Id of the attempt.
    pub attempt: &'a str,
    /// Name of the notification.
    pub notification: &'a str,
    /// The time of sending.
    pub at: Timestamp,
    /// The event to send.
    pub event: &'a SessionEvent,
}

/// The result of an attempt.
#[derive(Clone, Debug, Default)]
pub struct Sent {
    /// Whether the receiver accepted it.
    pub accepted: bool,
    /// The request, without secrets.
    pub request: Value,
    /// The response or the error.
    pub answer: Value,
    /// The time for which the receiver asks to wait, in nanoseconds.
    pub retry_after: Option<i64>,
}

impl Sent {
    /// Returns the result of an attempt without a response.
    pub(crate) fn failed(request: Value, why: impl Into<String>) -> Sent {
        Sent { request, answer: json!({"error": why.into()}), ..Sent::default() }
    }
}

/// The shared resources of all channels.
pub struct Outside {
    settings: Settings,
    tls: Arc<rustls::ClientConfig>,
    /// PEM of the certificates that are trusted besides the public ones.
    ca: Option<Vec<u8>>,
    kafka: Option<Arc<Messages>>,
    pool: Pool,
}

impl Outside {
    /// Reads the certificates.
    ///
    /// # Errors
    /// A file of certificates that cannot be read.
    pub fn new(settings: &Settings) -> Result<Outside, String> {
        let mut roots = rustls::RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
        let ca = match &settings.notifications.ca {
            None => None,
            Some(path) => {
                let at = |why: String| format!("notifications.ca: {}: {why}", path.display());
                let pem = std::fs::read(path).map_err(|why| at(why.to_string()))?;
                for certificate in CertificateDer::pem_slice_iter(&pem) {
                    let certificate = certificate.map_err(|why| at(why.to_string()))?;
                    roots.add(certificate).map_err(|why| at(why.to_string()))?;
                }
                Some(pem)
            }
        };
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let builder = builder.map_err(|why| format!("TLS: {why}"))?;
        let tls = Arc::new(builder.with_root_certificates(roots).with_no_client_auth());
        let kafka = settings.notifications.kafka.as_ref().map(|kafka| cluster(kafka, ca.as_deref()));
        let kafka = kafka.transpose().map_err(|why| format!("notifications.kafka: {why}"))?.map(Arc::new);
        Ok(Outside { settings: settings.clone(), tls, ca, kafka, pool: Pool::default() })
    }

    /// Closes connections that have been unused for long.
    pub(crate) fn sweep(&self, now: Timestamp) {
        self.pool.sweep(now);
    }

    /// Whether this machine and private networks may be reached, and without TLS.
    fn allow_private(&self) -> bool {
        self.settings.notifications.allow_private
    }
}

/// Returns the producer of the cluster that the settings name.
fn cluster(kafka: &Kafka, ca: Option<&[u8]>) -> Result<Messages, String> {
    let ca = ca.map(|pem| String::from_utf8_lossy(pem).into_owned());
    let login = |(mechanism, user, password): &(String, String, Secret)| {
        Ok::<_, String>(KafkaLogin { mechanism: mechanism.clone(), user: user.clone(), password: password.reveal()? })
    };
    let cluster = KafkaCluster {
        brokers: kafka.brokers.clone(),
        tls: kafka.tls.then(|| TlsPlan { ca, ..TlsPlan::default() }),
        sasl: kafka.login.as_ref().map(login).transpose()?,
        options: Vec::new(),
    };
    Messages::new(&cluster, KAFKA_TIMEOUT).map_err(|why| why.to_string())
}

impl Channel {
    /// Reads a channel from its fields.
    pub(crate) fn read(written: &Value, place: &str) -> Result<Channel, Refused> {
        let members = written.as_object().ok_or_else(|| wrong(place, "a channel is an object with `type`"))?;
        let at = |name: &str| format!("{place}.{name}");
        let written_type = members.get("type").and_then(Value::as_str).unwrap_or_default();
        let known: &[&str] = match written_type {
            "webhook" => &webhook::FIELDS,
            "email" => &email::FIELDS,
            "slack" => &slack::FIELDS,
            "kafka" => &kafka::FIELDS,
            "log" => &log::FIELDS,
            other => {
                let meant = meant(other, WAYS);
                return Err(wrong(at("type"), format!("`{other}` is no channel{meant}; there are {}", WAYS.join(", "))));
            }
        };
        if let Some(other) =
            members.keys().find(|name| !["type", "name"].contains(&name.as_str()) && !known.contains(&name.as_str()))
        {
            let meant = meant(other, known.iter().copied());
            return Err(wrong(at(other), format!("a {written_type} channel has no `{other}`{meant}")));
        }
        let name = match members.get("name") {
            None => written_type,
            Some(name) => name
                .as_str()
                .filter(|name| is_word(name))
                .ok_or_else(|| wrong(at("name"), "the name of a channel is 1 to 40 letters, digits, `-` and `_`"))?,
        };
        let mut whole: Map<String, Value> = members.clone();
        whole.insert("name".to_owned(), json!(name));
        let channel: Channel = serde_json::from_value(Value::Object(whole))
            .map_err(|why| wrong(place, format!("a {written_type} channel has {}: {why}", known.join(", "))))?;
        let checked = match &channel.way {
            Way::Webhook(webhook) => webhook.check(),
            Way::Email(email) => email.check(),
            Way::Slack(slack) => slack.check(),
            Way::Kafka(kafka) => kafka.check(),
            Way::Log(_) => Ok(()),
        };
        checked.map_err(|(field, why)| wrong(at(field), why))?;
        Ok(channel)
    }

    /// Sends one message and returns the result.
    pub async fn send(&self, message: &Message<'_>, outside: &Outside) -> Sent {
        match &self.way {
            Way::Webhook(webhook) => webhook.send(message, outside).await,
            Way::Email(email) => email.send(message, outside).await,
            Way::Slack(slack) => slack.send(message, outside).await,
            Way::Kafka(kafka) => kafka.send(message, outside).await,
            Way::Log(log) => log.send(message, outside).await,
        }
    }
}

fn is_word(text: &str) -> bool {
    (1..=40).contains(&text.len()) && text.bytes().all(|c| c.is_ascii_alphanumeric() || c == b'-' || c == b'_')
}

/// Returns the headline of an event: `llm-usage R-00000007: FAILED (the disk is full)`.
pub(crate) fn headline(event: &SessionEvent) -> String {
    use crate::notifications::vocabulary::{
        AMENDED, CORRECTIONS_GROWN, DELETED, DELIVERY_DEAD, DELIVERY_FAILED, DELIVERY_RECOVERED, FLUSHED, INPUT_RESUMED,
        INPUT_SILENT, OPENED, OPERATORS, QUERY_FINISHED, RESET, STATUS, TABLE_REFUSED, THRESHOLD_REACHED, THRESHOLD_RECOVERED,
    };
    let payload = &event.payload;
    let text = |name: &str| match &payload[name] {
        Value::String(text) => text.clone(),
        Value::Null => String::new(),
        other => other.to_string(),
    };
    let meter = || format!("{} of {}", text("meterTypeName"), text("userId"));
    let what = match event.event_type.as_str() {
        STATUS => match payload["sessionError"].as_str() {
            Some(error) => format!("{} ({error})", text("sessionStatus")),
            None => text("sessionStatus"),
        },
        OPERATORS => format!(
            "operator {} took {}, gave {}, parked {}",
            text("operatorId"),
            text("operatorTotalCount"),
            text("operatorOutputCount"),
            text("operatorErrorCount")
        ),
        INPUT_SILENT => format!("no input since {}", text("lastInputTime")),
        INPUT_RESUMED => "input again".to_owned(),
        CORRECTIONS_GROWN => format!("{} events wait for a correction", text("waitingCount")),
        DELIVERY_FAILED => format!("a target takes no records ({})", text("error")),
        DELIVERY_RECOVERED => "targets take records again".to_owned(),
        DELIVERY_DEAD => format!("record {} was given up ({})", text("recordId"), text("answer")),
        OPENED => format!("meter {} was opened", meter()),
        RESET => format!("meter {} was reset", meter()),
        FLUSHED => format!("meter {} was flushed with {} {}", meter(), text("value"), text("unit")),
        AMENDED => format!("meter {} was amended to {} {}", meter(), text("value"), text("unit")),
        DELETED => format!("meter {} is gone", meter()),
        THRESHOLD_REACHED => format!("meter {} reached {} with {} {}", meter(), text("threshold"), text("value"), text("unit")),
        THRESHOLD_RECOVERED => {
            format!("meter {} is below {} with {} {}", meter(), text("threshold"), text("value"), text("unit"))
        }
        TABLE_REFUSED => text("detail"),
        QUERY_FINISHED => format!("a {} by {} gave {} rows", text("query"), text("askedBy"), text("rowCount")),
        other => other.to_owned(),
    };
    // One line: the subject of an e-mail, a title, or a line of the log.
    let whose = [text("meterName"), text("sessionId")].join(" ");
    let line = if whose.trim().is_empty() { what } else { format!("{}: {what}", whose.trim()) };
    let is_sample = payload[crate::notifications::sample::SAMPLE] == true;
    let line = if is_sample { format!("This is a sample. {line}") } else { line };
    line.chars().map(|c| if c.is_control() { ' ' } else { c }).take(200).collect()
}
