//! Events as they are judged: server-sent events, at most so many a second.

use std::collections::BTreeMap;
use std::time::Duration;

use axum::Extension;
use axum::extract::{RawQuery, State};
use axum::http::Method;
use axum::response::Response;
use axum::routing::get;
use bytes::Bytes;
use flowmeter_core::time::Timestamp;
use flowmeter_node::keys::Scope;
use flowmeter_store::archive::Filter;
use http_body_util::channel::{Channel, Sender};
use serde_json::{Value, json};

use super::request::Query;
use super::{App, Asked, Endpoint, event_search, live, off};
use crate::problem::{Code, Problem, Refused};

/// How often new events are looked for.
const EVERY: Duration = Duration::from_millis(500);
/// Looks in a second.
const LOOKS: usize = 2;
/// Events a second at most.
const RATE_MAX: usize = 50;
/// Events of a pipeline that are read at one look; more are skipped and counted.
const READ_MAX: u64 = 2_000;
/// Looks without an event after which a comment is sent.
const QUIET_MAX: u32 = 30;

pub(super) fn endpoints() -> Vec<Endpoint> {
    vec![Endpoint {
        method: Method::GET,
        path: "/api/v1/events/tail",
        scope: Some(Scope::Read),
        summary: "Events as they are judged, without their bodies (server-sent events)",
        query: &[
            ("pipeline", "received by this pipeline"),
            ("verdict", "counted, duplicate, filtered, parked, split, absorbed or cancelled"),
            ("source", "from this source"),
            ("subject", "with this subject"),
            ("id", "with this id"),
            ("reason", "parked for this reason"),
            ("rate", "events a second, at most 50"),
        ],
        body: None,
        answer: (200, "text/event-stream: events, with how many were not shown"),
        route: get(tail),
    }]
}

struct Wanted {
    pipeline: Option<String>,
    reason: Option<String>,
    filter: Filter,
    at_once: usize,
}

async fn tail(
    State(app): State<App>,
    Extension(asked): Extension<Asked>,
    RawQuery(query): RawQuery,
) -> Result<Response, Refused> {
    let query = Query::of(query.as_deref());
    let rate = match query.get("rate").map(str::parse) {
        None => RATE_MAX,
        Some(Ok(rate @ 1..=RATE_MAX)) => rate,
        Some(_) => return Err(Box::new(Problem::new(Code::Invalid, format!("rate is a number up to {RATE_MAX}")).field("rate"))),
    };
    let text = |name: &str| query.get(name).map(str::to_owned);
    let wanted = Wanted {
        pipeline: text("pipeline"),
        reason: text("reason"),
        filter: Filter {
            id: text("id"),
            source: text("source"),
            subject: text("subject"),
            verdict: event_search::verdict(&query)?,
            ..Filter::default()
        },
        at_once: rate.div_ceil(LOOKS),
    };
    let (sender, body) = Channel::<Bytes>::new(1);
    tokio::spawn(tell(app, asked, wanted, sender));
    Ok(live::stream(body))
}

async fn tell(app: App, asked: Asked, wanted: Wanted, mut reader: Sender<Bytes>) {
    let mut stopping = app.stopping.clone();
    let wanted = std::sync::Arc::new(wanted);
    let mut places: BTreeMap<uuid::Uuid, u64> = BTreeMap::new();
    let mut every = tokio::time::interval(EVERY);
    every.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut quiet = 0;
    if reader.send_data(Bytes::from_static(b": here\n\n")).await.is_err() {
        return;
    }
    loop {
        tokio::select! {
            _ = every.tick() => {}
            _ = stopping.wait_for(|is_stopping| *is_stopping) => return,
        }
        let (looking, of, by) = (app.clone(), asked.clone(), wanted.clone());
        let from = places.clone();
        let looked = off(move || Ok((look(&looking, &of, &by, from)?, live::may_go_on(&looking, &of))));
        let Ok(((events, not_shown, now), true)) = looked.await else { return };
        places = now;
        quiet += 1;
        let text = match (events.is_empty() && not_shown == 0, quiet >= QUIET_MAX) {
            (true, false) => continue,
            (true, true) => ": still here\n\n".to_owned(),
            (false, _) => format!("event: events\ndata: {}\n\n", json!({"events": events, "notShown": not_shown})),
        };
        quiet = 0;
        if reader.send_data(text.into()).await.is_err() {
            return;
        }
    }
}

type Found = (Vec<Value>, u64, BTreeMap<uuid::Uuid, u64>);

/// New events of every pipeline since the last look.
fn look(app: &App, asked: &Asked, wanted: &Wanted, mut places: BTreeMap<uuid::Uuid, u64>) -> Result<Found, Refused> {
    let mut rows: Vec<(i64, &'static str, Value)> = Vec::new();
    let mut not_shown = 0;
    for served in app.installation.served_in(&asked.who.namespace) {
        if wanted.pipeline.as_ref().is_some_and(|name| *name != served.kept.name && *name != served.kept.id.to_string()) {
            continue;
        }
        let Ok(end) = served.worker().ask(|live| live.outlet().arrivals()) else { continue };
        let place = places.entry(served.kept.id).or_insert(end);
        if *place >= end {
            continue;
        }
        let from = (*place).max(end.saturating_sub(READ_MAX));
        not_shown += from - *place;
        let mut next = from;
        let filter = Filter { positions: Some(from..end), ..wanted.filter.clone() };
        let walked = app.installation.walk_events(&served.kept, &filter, from, &mut |row| {
            next = row.position + 1;
            if wanted.reason.is_none() || wanted.reason == row.reason {
                rows.push((row.received_at, verdict_name(&row.verdict), shown(&row)));
            }
            std::ops::ControlFlow::Continue(())
        });
        // Events that are not durable yet come with the next look.
        *place = if walked.is_ok() { end } else { next };
    }
    let total = rows.len();
    let kept = fair(rows, wanted.at_once);
    not_shown += (total - kept.len()) as u64;
    Ok((kept, not_shown, places))
}

fn verdict_name(verdict: &str) -> &'static str {
    ["counted", "duplicate", "filtered", "parked"].into_iter().find(|name| *name == verdict).unwrap_or("counted")
}

fn shown(row: &flowmeter_store::archive::Row) -> Value {
    json!({
        "position": row.position, "receivedAt": Timestamp::from_nanos(row.received_at).to_string(), "pipeline": row.pipeline,
        "id": row.id, "source": row.source, "type": row.event_type, "subject": row.subject, "verdict": row.verdict,
        "reason": row.reason, "detail": row.detail, "operator": row.operator,
    })
}

/// At most so many rows, the newest of each verdict in turn, in the order of arrival.
fn fair(mut rows: Vec<(i64, &'static str, Value)>, at_most: usize) -> Vec<Value> {
    rows.sort_by_key(|(at, ..)| *at);
    if rows.len() > at_most {
        let mut by_verdict: BTreeMap<&str, Vec<(i64, &'static str, Value)>> = BTreeMap::new();
        for row in rows.drain(..) {
            by_verdict.entry(row.1).or_default().push(row);
        }
        while rows.len() < at_most {
            let before = rows.len();
            rows.extend(by_verdict.values_mut().filter_map(Vec::pop).take(at_most - before));
            if rows.len() == before {
                break;
            }
        }
        rows.sort_by_key(|(at, ..)| *at);
    }
    rows.into_iter().map(|(.., row)| row).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rare_verdicts_are_shown_beside_frequent_ones() {
        let mut rows: Vec<_> = (0..100).map(|at| (at, "counted", json!(at))).collect();
        rows.push((3, "parked", json!("p")));
        let shown = fair(rows, 4);
        assert_eq!(shown, [json!("p"), json!(97), json!(98), json!(99)]);
        assert_eq!(fair(vec![(2, "counted", json!(2)), (1, "parked", json!(1))], 4), [json!(1), json!(2)]);
    }
}
