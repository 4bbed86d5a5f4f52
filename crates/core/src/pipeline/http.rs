//! `http` of a document.

use super::compile::Compiler;
use super::targets;
use super::tree::Node as Tree;
use crate::event::Path;
use crate::operator::{Http, OnRefused, OnUnavailable, Operator};
use crate::template::{Draft, Piece, Template};
use crate::time::parse_duration;

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
    let set = body.get("set").into_iter().flat_map(Tree::members);
    let set: Vec<(u16, Template)> = set
        .map(|(path, node)| {
            let at = format!("{field}.set.{path}");
            if let Err(why) = Path::parse(path) {
                compiler.problems.add(node, &at, format!("`{path}` is not a path: {why}"));
            }
            let template = template(node, &at, &format!("{{{{{}}}}}", node.scalar().unwrap_or_default()), compiler);
            (compiler.path(path), template)
        })
        .collect();
    if set.is_empty() || set.len() > 100 {
        compiler.problems.add(body, &format!("{field}.set"), "expected 1 to 100 fields, like data.tier: body.tier");
    }
    let headers = body.get("headers").into_iter().flat_map(Tree::members);
    let headers = headers.map(|(name, node)| {
        let at = format!("{field}.headers.{name}");
        (name.to_owned(), template(node, &at, node.scalar().unwrap_or_default(), compiler))
    });
    let headers = headers.collect();
    let mut part = targets::Compiling::of(field, compiler.problems);
    let (auth, tls) = (targets::auth(body, &mut part), targets::tls(body));
    let sent = body.get("body").filter(|_| is_post).map(|node| {
        let root = part.piece(node, "body");
        part.finish(root)
    });
    let accepted = body.get("accepted").map(Tree::items).unwrap_or_default();
    Operator::Http(Box::new(Http {
        is_post,
        url: template(body.get("url").unwrap_or(body), &format!("{field}.url"), url, compiler),
        headers,
        body: sent,
        auth,
        tls,
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

/// A text that may hold expressions, over an event or an answer.
fn template(node: &Tree, field: &str, text: &str, compiler: &mut Compiler<'_>) -> Template {
    let mut draft = Draft::default();
    let root = draft.text(text).unwrap_or_else(|why| {
        compiler.problems.add(node, field, why);
        Piece::Fixed("null".to_owned())
    });
    draft.finish(root)
}
