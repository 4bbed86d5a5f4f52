//! `http` of a document.

use flowmeter_core::event::Path;
use flowmeter_core::operator::{Http, OnRefused, OnUnavailable, Operator};
use flowmeter_core::template::{self, Draft, Piece};
use flowmeter_core::time::parse_duration;

use super::compile::Compiler;
use super::names::Mode;
use super::targets;
use super::tree::Node as Tree;

const MILLISECOND: i64 = 1_000_000;
const SECOND: i64 = 1_000 * MILLISECOND;
const DAY: i64 = 86_400 * SECOND;

pub(super) fn http(body: &Tree, field: &str, compiler: &mut Compiler<'_>) -> Operator {
    let mut span = |name: &str, default: i64, (least, most): (i64, i64), shown: &str| {
        let found = body.text(name).and_then(parse_duration).unwrap_or(default);
        if !(least..=most).contains(&found) {
            compiler.problems.add(body, &format!("{field}.{name}"), format!("expected a duration of {shown}"));
        }
        found
    };
    let timeout = span("timeout", 10 * SECOND, (100 * MILLISECOND, 180 * SECOND), "100ms to 180s");
    let cache = span("cache", 0, (0, 30 * DAY), "0 to 30d");
    let number = |name: &str, default: u64| body.text(name).and_then(|text| text.parse().ok()).unwrap_or(default);
    let is_post = body.text("method") == Some("POST");
    if body.get("body").is_some() && !is_post {
        compiler.problems.add(body, &format!("{field}.body"), "a GET has no body; write method: POST");
    }
    let url = body.text("url").unwrap_or_default();
    if !(url.starts_with("http://") || url.starts_with("https://") || url.starts_with("${")) {
        compiler.problems.add(body, &format!("{field}.url"), format!("`{url}` does not begin with http:// or https://"));
    }
    // Read before anything is set: what the request needs, the event must bring.
    let at = body.get("url").unwrap_or(body);
    let url = text(at, &format!("{field}.url"), url, compiler);
    let headers = body.get("headers").into_iter().flat_map(Tree::members).map(|(name, node)| {
        let value = text(node, &format!("{field}.headers.{name}"), node.scalar().unwrap_or_default(), compiler);
        (name.to_owned(), value)
    });
    let headers = headers.collect();
    let sent = body.get("body").filter(|_| is_post).map(|node| {
        targets::piece(node, &format!("{field}.body"), &mut |node, field, written| text(node, field, written, compiler))
    });
    let mut answer = Draft::default();
    let mut set = Vec::new();
    for (path, node) in body.get("set").into_iter().flat_map(Tree::members) {
        let at = format!("{field}.set.{path}");
        if let Err(why) = Path::parse(path) {
            compiler.problems.add(node, &at, format!("`{path}` is not a path: {why}"));
        }
        match template::compiled(node.scalar().unwrap_or_default(), &mut answer) {
            Ok(program) => set.push((compiler.path(path), program)),
            Err(why) => compiler.problems.add(node, &at, why),
        }
    }
    if body.get("set").is_none_or(|set| !(1..=100).contains(&set.members().count())) {
        compiler.problems.add(body, &format!("{field}.set"), "expected 1 to 100 fields, like data.tier: body.tier");
    }
    let mut part = targets::Compiling::of(field, compiler.problems);
    let (auth, tls) = (targets::auth(body, &mut part), targets::tls(body));
    let accepted = body.get("accepted").map(Tree::items).unwrap_or_default();
    Operator::Http(Box::new(Http {
        is_post,
        url,
        headers,
        body: sent,
        auth,
        tls,
        answer_paths: answer.into_paths(),
        set,
        accepted: accepted.iter().filter_map(|status| status.scalar()?.parse().ok()).collect(),
        timeout,
        attempts: u32::try_from(number("attempts", 3)).unwrap_or(3),
        on_refused: if body.text("onRefused") == Some("pass") { OnRefused::Pass } else { OnRefused::Park },
        on_unavailable: match body.text("onUnavailable") {
            Some("pass") => OnUnavailable::Pass,
            Some("wait") => OnUnavailable::Wait,
            _ => OnUnavailable::Park,
        },
        cache,
        concurrency: usize::try_from(number("concurrency", 8)).unwrap_or(8),
        calls_in_debug: body.text("debug") == Some("call"),
        answer_bytes_max: usize::try_from(number("answerBytesMax", 65_536)).unwrap_or(65_536),
    }))
}

/// Compiles a text that may hold expressions over the event.
fn text(node: &Tree, field: &str, text: &str, compiler: &mut Compiler<'_>) -> Piece {
    let compiled = compiler.in_mode(Mode::Read, |compiler| Piece::of_text(text, compiler));
    compiled.unwrap_or_else(|why| {
        compiler.problems.add(node, field, why);
        Piece::Fixed("null".to_owned())
    })
}
