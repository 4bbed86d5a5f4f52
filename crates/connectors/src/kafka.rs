//! Clusters of Kafka: how they are reached, and what their errors mean.

pub(crate) mod sender;

use flowmeter_core::service::KafkaCluster;
use flowmeter_engine::{Error, Kind};
use rdkafka::config::ClientConfig;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};

/// A topic and a partition.
pub(crate) type Place = (String, i32);

/// Returns the settings of a client, with references resolved.
///
/// # Errors
/// A secret is missing.
pub(crate) fn config(cluster: &KafkaCluster) -> Result<ClientConfig, Error> {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", crate::expand(&cluster.brokers.join(","))?);
    config.set("client.id", concat!("flowmeter/", env!("CARGO_PKG_VERSION")));
    for (name, value) in security(cluster).iter().chain(&cluster.options) {
        config.set(name, crate::expand(value)?);
    }
    Ok(config)
}

fn security(cluster: &KafkaCluster) -> Vec<(String, String)> {
    let mut set = Vec::new();
    let mut put = |name: &str, value: &str| set.push((name.to_owned(), value.to_owned()));
    let protocol = match (&cluster.tls, &cluster.sasl) {
        (None, None) => return set,
        (Some(_), None) => "ssl",
        (None, Some(_)) => "sasl_plaintext",
        (Some(_), Some(_)) => "sasl_ssl",
    };
    put("security.protocol", protocol);
    if let Some(tls) = &cluster.tls {
        let pem = [("ssl.ca.pem", &tls.ca), ("ssl.certificate.pem", &tls.certificate), ("ssl.key.pem", &tls.key)];
        pem.into_iter().for_each(|(name, value)| {
            if let Some(value) = value {
                put(name, value);
            }
        });
    }
    if let Some(sasl) = &cluster.sasl {
        put("sasl.mechanisms", &sasl.mechanism);
        put("sasl.username", &sasl.user);
        put("sasl.password", &sasl.password);
    }
    set
}

pub(crate) fn away(why: &dyn std::fmt::Display) -> Error {
    Error::new(Kind::Unavailable, format!("kafka: {why}"))
}

pub(crate) fn lasting(why: &dyn std::fmt::Display) -> Error {
    Error::new(Kind::Invalid, format!("kafka: {why}"))
}

/// Returns the error of a call: some of them only a person can mend.
pub(crate) fn judged(why: &KafkaError) -> Error {
    use RDKafkaErrorCode::{
        GroupAuthorizationFailed, InvalidTopic, SaslAuthenticationFailed, TopicAuthorizationFailed, UnknownTopic,
        UnknownTopicOrPartition,
    };
    match why.rdkafka_error_code() {
        Some(UnknownTopicOrPartition | UnknownTopic) => lasting(&format!("{why}; create the topic, or correct its name")),
        Some(GroupAuthorizationFailed | InvalidTopic | SaslAuthenticationFailed | TopicAuthorizationFailed) => lasting(why),
        _ => away(why),
    }
}

/// Returns the error of a broker that does not answer.
pub(crate) fn unreachable(brokers: &str, why: &dyn std::fmt::Display) -> Error {
    away(&format!("no connection to {brokers}: {why}; check `brokers`, `tls` and `sasl`"))
}
