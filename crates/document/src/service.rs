//! The address of an HTTP service that is asked for events or rows, with credentials.

use flowmeter_core::service::{KafkaCluster, KafkaLogin, ServiceAddress};
use flowmeter_core::time::parse_duration;

use crate::problem::Problems;
use crate::targets::{self, Compiling};
use crate::tree::Node as Tree;

const SECOND: i64 = 1_000_000_000;

/// Returns the texts of a list, or those between the commas of one text.
pub(crate) fn texts(node: &Tree) -> Vec<String> {
    match node.scalar() {
        Some(text) => text.split(',').map(|one| one.trim().to_owned()).collect(),
        None => node.items().iter().filter_map(Tree::scalar).map(str::to_owned).collect(),
    }
}

/// Compiles `brokers`, `tls`, `sasl` and `options` of an object.
pub(crate) fn kafka(body: &Tree) -> KafkaCluster {
    let login = |sasl: &Tree| {
        let text = |name: &str| sasl.text(name).unwrap_or_default().to_owned();
        KafkaLogin { mechanism: text("mechanism"), user: text("user"), password: text("password") }
    };
    let options = body.get("options").into_iter().flat_map(Tree::members);
    KafkaCluster {
        brokers: body.get("brokers").map(texts).unwrap_or_default(),
        tls: body.get("tls").map(|_| targets::tls(body)),
        sasl: body.get("sasl").map(login),
        options: options.map(|(name, value)| (name.to_owned(), value.scalar().unwrap_or_default().to_owned())).collect(),
    }
}

/// Compiles `url`, `headers`, `auth`, `tls` and `timeout` of an object.
pub(crate) fn compile(body: &Tree, field: &str, problems: &mut Problems) -> ServiceAddress {
    let url = body.text("url").unwrap_or_default().to_owned();
    let node = |name: &str| body.get(name).unwrap_or(body);
    if !["http://", "https://", "${"].iter().any(|start| url.starts_with(start)) {
        problems.add(node("url"), &format!("{field}.url"), format!("`{url}` does not begin with http:// or https://"));
    }
    let timeout = body.text("timeout").and_then(parse_duration).unwrap_or(30 * SECOND);
    if !(SECOND / 10..=600 * SECOND).contains(&timeout) {
        problems.add(node("timeout"), &format!("{field}.timeout"), "expected a duration of 100ms to 600000ms");
    }
    let headers = body.get("headers").into_iter().flat_map(Tree::members);
    ServiceAddress {
        headers: headers.map(|(name, value)| (name.to_owned(), value.scalar().unwrap_or_default().to_owned())).collect(),
        auth: targets::auth(body, &mut Compiling::of(field, problems)),
        tls: targets::tls(body),
        timeout,
        url,
    }
}
