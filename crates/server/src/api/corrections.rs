//! The correction queue: searched, corrected, discarded, reprocessed.

use axum::Extension;
use axum::body::Body;
use axum::extract::{Path, RawQuery, State};
use axum::http::{HeaderMap, Method, StatusCode};
use axum::response::Response;
use axum::routing::{MethodRouter, get, post};
use flowmeter_core::time::Timestamp;
use flowmeter_core::verdict::Reason;
use flowmeter_engine::live::How;
use flowmeter_node::corrections::group_views::RankedGroup;
use flowmeter_node::corrections::{Correction, CorrectionFilter, CorrectionState};
use flowmeter_node::keys::Scope;
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::paging::{WINDOW_MAX, backwards, is_newest_first, newest_first, over_pipelines};
use super::request::{Query, json as json_body, object};
use super::{App, Asked, Endpoint, answer, off};
use crate::problem::{Code, Problem, Refused, problem_of};

pub(super) fn endpoints() -> Vec<Endpoint> {
    let act = |path, summary, body, route: MethodRouter<App>| Endpoint {
        method: Method::POST,
        path,
        scope: Some(Scope::Operate),
        summary,
        query: &[],
        body,
        answer: (200, "The parked event"),
        route,
    };
    let read = |path, summary, query, route: MethodRouter<App>| Endpoint {
        method: Method::GET,
        path,
        scope: Some(Scope::Read),
        summary,
        query,
        body: None,
        answer: (200, "Parked events"),
        route,
    };
    let filters: &[(&str, &str)] = &[
        ("pipeline", "of this pipeline"),
        ("state", "open, corrected, reprocessed or discarded; open when left out, `all` for all"),
        ("reason", "parked for this reason"),
        ("operator", "parked at this operator"),
        ("groupId", "of this group"),
        ("source", "events with this source"),
        ("subject", "events with this subject"),
        ("user", "the same as `subject`"),
        ("text", "events whose detail has this text"),
        ("id", "events with this id"),
        ("from", "parked at this instant or later"),
        ("to", "parked before this instant"),
        ("settledBy", "settled with this key"),
        ("settledFrom", "settled at this instant or later"),
        ("settledTo", "settled before this instant"),
        ("order", "asc (the oldest first) or desc"),
        ("limit", "items of a page"),
        ("cursor", "`nextCursor` of the page before"),
    ];
    vec![
        read("/api/v1/corrections", "Search the correction queue", filters, get(list)),
        read(
            "/api/v1/corrections/groups",
            "Parked events grouped by what is wrong with them",
            &[
                ("pipeline", "of this pipeline"),
                ("state", "open (without), or all: groups without open events too"),
                ("from", "with an event parked at this instant or later"),
                ("to", "with an event parked before this instant"),
                ("limit", "items of a page"),
                ("cursor", "`nextCursor` of the page before"),
            ],
            get(groups),
        ),
        read("/api/v1/corrections/groups/{id}", "A group of parked events", &[], get(group)),
        read("/api/v1/corrections/{id}", "A parked event", &[], get(show)),
        act(
            "/api/v1/corrections/{id}/correct",
            "Send an event in again with other content",
            Some("event: the whole event; reason if wanted"),
            post(correct),
        ),
        act("/api/v1/corrections/{id}/discard", "Give an event up", Some("reason if wanted"), post(discard)),
        act("/api/v1/corrections/{id}/reprocess", "Send an event in again as it was", Some("reason if wanted"), post(reprocess)),
        act(
            "/api/v1/corrections/reprocess",
            "Send all open events of a pipeline in again, or those of a reason",
            Some("pipeline; reason if wanted"),
            post(reprocess_all),
        ),
    ]
}

fn reason_of(name: Option<&str>) -> Result<Option<Reason>, Refused> {
    let Some(name) = name else { return Ok(None) };
    let found = Reason::ALL.into_iter().find(|reason| reason.code() == name);
    let wrong = || Box::new(Problem::new(Code::Invalid, format!("`{name}` is no reason for parking")).field("reason"));
    found.map(Some).ok_or_else(wrong)
}

/// Reads a filter of parked events, from a query or from the fields of a job.
pub(super) fn filter_of(text: &dyn Fn(&str) -> Option<String>) -> Result<CorrectionFilter, Refused> {
    let invalid = |field: &str, detail: String| Box::new(Problem::new(Code::Invalid, detail).field(field));
    let state = match text("state").as_deref().unwrap_or("open") {
        "open" => Some(CorrectionState::Open),
        "corrected" => Some(CorrectionState::Corrected),
        "reprocessed" => Some(CorrectionState::Reprocessed),
        "discarded" => Some(CorrectionState::Discarded),
        "superseded" => Some(CorrectionState::Superseded),
        "all" => None,
        other => {
            let detail = format!("`{other}` is no state; there are open, corrected, reprocessed, discarded, superseded and all");
            return Err(invalid("state", detail));
        }
    };
    let instant = |name: &str| {
        let read = |text: String| {
            let wrong = || invalid(name, format!("`{text}` is no time; write RFC 3339"));
            Timestamp::parse_rfc3339(text.as_bytes()).ok_or_else(wrong)
        };
        text(name).map(read).transpose()
    };
    Ok(CorrectionFilter {
        state,
        reason: reason_of(text("reason").as_deref())?,
        operator: text("operator"),
        source: text("source"),
        subject: text("subject").or_else(|| text("user")),
        text: text("text"),
        event_id: text("id"),
        from: instant("from")?,
        to: instant("to")?,
        settled_by: text("settledBy"),
        settled_from: instant("settledFrom")?,
        settled_to: instant("settledTo")?,
        ..CorrectionFilter::default()
    })
}

async fn list(
    State(app): State<App>,
    Extension(asked): Extension<Asked>,
    RawQuery(query): RawQuery,
) -> Result<Response, Refused> {
    let query = Query::of(query.as_deref());
    let filter = filter_of(&|name| query.get(name).map(str::to_owned))?;
    let is_reversed = is_newest_first(&query)?;
    off(move || {
        let mut filter = filter;
        let group = query.get("groupId").map(|id| app.installation.group(&asked.who.namespace, id)).transpose()?;
        let only = group.as_ref().map(|(served, _)| served.kept.id);
        filter.group = group.map(|(_, key)| key);
        let is_other = |served: &flowmeter_node::installation::Served| only.is_some_and(|only| only != served.kept.id);
        if is_reversed {
            return newest_first(&app, &asked.who.namespace, &query, |served, before, limit| {
                if is_other(served) {
                    return Ok((Vec::new(), 0));
                }
                let (first, end) = app.installation.parked_extent(served)?;
                backwards((first, end), before, (limit, WINDOW_MAX), &|| app.installation.wall(), |from, until| {
                    let window = CorrectionFilter { before: Some(until), ..filter.clone() };
                    let (found, _) = app.installation.corrections(served, from, usize::MAX, &window)?;
                    // Those beyond the page are shown with the next one.
                    let (beyond, page) = found.split_at(found.len().saturating_sub(limit));
                    let shown = app.installation.corrections_shown(served, page)?;
                    let shown = beyond.iter().map(Correction::shown).chain(shown);
                    Ok(found.iter().zip(shown).map(|(one, shown)| (one.parked_at, one.number, shown)).collect())
                })
            });
        }
        over_pipelines(&app, &asked.who.namespace, &query, |served, from, limit| {
            if is_other(served) {
                return Ok((Vec::new(), from));
            }
            let (parked, next) = app.installation.corrections(served, from, limit, &filter)?;
            Ok((app.installation.corrections_shown(served, &parked)?, next))
        })
    })
    .await
}

async fn groups(
    State(app): State<App>,
    Extension(asked): Extension<Asked>,
    RawQuery(query): RawQuery,
) -> Result<Response, Refused> {
    let query = Query::of(query.as_deref());
    let nanos = |name: &str, otherwise: i64| {
        Ok::<_, Refused>(query.time(name)?.map_or(otherwise, flowmeter_core::time::Timestamp::nanos))
    };
    let span = (nanos("from", i64::MIN)?, nanos("to", i64::MAX)?);
    let all = match query.get("state") {
        None | Some("open") => false,
        Some("all") => true,
        Some(other) => {
            let detail = format!("`{other}` is no state of groups; there are open and all");
            return Err(Box::new(Problem::new(Code::Invalid, detail).field("state")));
        }
    };
    let (by, limit) = (asked.who.namespace, query.limit()?);
    off(move || {
        let groups = app.installation.ranked_groups(&by, query.get("pipeline"), all, span);
        // Groups rise and sink all the time: a page begins below the rank that the last one had.
        let from = query.get("cursor").map(rank_of).transpose()?;
        let from = from.map_or(0, |last| groups.partition_point(|group| group.rank() >= last));
        let page = &groups[from..groups.len().min(from + limit)];
        let last = page.last().filter(|_| from + limit < groups.len()).map(RankedGroup::rank);
        let next = last.map(|(open, last, number)| format!("{open}.{last}.{number:016x}"));
        Ok(super::page(app.installation.groups_shown(page), next))
    })
    .await
}

/// Reads the cursor of a list of groups.
fn rank_of(cursor: &str) -> Result<(u64, i64, u64), Refused> {
    let read = || {
        let mut parts = cursor.splitn(3, '.');
        Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?, u64::from_str_radix(parts.next()?, 16).ok()?))
    };
    read().ok_or_else(|| Box::new(Problem::new(Code::BadCursor, "the cursor is not one of this list").field("cursor")))
}

async fn group(State(app): State<App>, Extension(asked): Extension<Asked>, Path(id): Path<String>) -> Result<Response, Refused> {
    off(move || Ok(answer(StatusCode::OK, &app.installation.group_shown(&asked.who.namespace, &id)?))).await
}

async fn show(State(app): State<App>, Extension(asked): Extension<Asked>, Path(id): Path<String>) -> Result<Response, Refused> {
    off(move || Ok(answer(StatusCode::OK, &app.installation.correction_shown(&asked.who.namespace, &id)?))).await
}

/// Returns the caller with the reason of an act.
pub(super) fn because(mut asked: Asked, reason: &str) -> Result<Asked, Refused> {
    let wrong = |detail| Box::new(Problem::new(Code::Invalid, detail).field("reason"));
    let reason = super::checked_reason(reason).map_err(wrong)?;
    asked.who = asked.who.because(reason.as_deref().unwrap_or_default());
    Ok(asked)
}

async fn settle(app: App, asked: Asked, id: String, how: How, event: Option<Vec<u8>>) -> Result<Response, Refused> {
    off(move || Ok(answer(StatusCode::OK, &app.installation.settle_correction(&asked.who, &id, how, event)?.shown()))).await
}

async fn correct(
    State(app): State<App>,
    Extension(asked): Extension<Asked>,
    Path(id): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Refused> {
    /// The event stays as it was written: its numbers keep their digits.
    #[derive(Deserialize)]
    struct Corrected {
        event: Option<Box<RawValue>>,
        #[serde(default)]
        reason: String,
    }
    let corrected: Corrected = json_body(&app, &headers, body).await?;
    let event = corrected.event.as_ref().filter(|event| event.get().starts_with('{'));
    let event =
        event.ok_or_else(|| Box::new(Problem::new(Code::Invalid, "the corrected event is to be an object").field("event")))?;
    let event = event.get().as_bytes().to_vec();
    settle(app, because(asked, &corrected.reason)?, id, How::Corrected, Some(event)).await
}

async fn discard(
    State(app): State<App>,
    Extension(asked): Extension<Asked>,
    Path(id): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Refused> {
    let fields = object(&app, &headers, body).await?;
    let asked = because(asked, fields.get("reason").and_then(Value::as_str).unwrap_or_default())?;
    settle(app, asked, id, How::Discarded, None).await
}

async fn reprocess(
    State(app): State<App>,
    Extension(asked): Extension<Asked>,
    Path(id): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Refused> {
    let fields = object(&app, &headers, body).await?;
    let asked = because(asked, fields.get("reason").and_then(Value::as_str).unwrap_or_default())?;
    settle(app, asked, id, How::Reprocessed, None).await
}

async fn reprocess_all(
    State(app): State<App>,
    Extension(asked): Extension<Asked>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Refused> {
    let fields = object(&app, &headers, body).await?;
    let text = |name: &str| fields.get(name).and_then(Value::as_str);
    let filter = CorrectionFilter {
        state: Some(CorrectionState::Open),
        reason: reason_of(text("reason"))?,
        ..CorrectionFilter::default()
    };
    let pipeline = text("pipeline").map(str::to_owned);
    let pipeline = pipeline.ok_or_else(|| Box::new(Problem::new(Code::Invalid, "name the pipeline").field("pipeline")))?;
    off(move || {
        let missing = || crate::problem::not_found("pipeline at work", &pipeline);
        let served = app.installation.served_in(&asked.who.namespace).into_iter().find(|served| served.kept.name == pipeline);
        let served = served.ok_or_else(missing)?;
        let (waiting, _) = app.installation.corrections(&served, 0, usize::MAX, &filter).map_err(|why| problem_of(&why))?;
        for correction in &waiting {
            app.installation.settle_correction(&asked.who, &correction.id(), How::Reprocessed, None)?;
        }
        Ok(answer(StatusCode::OK, &json!({"reprocessed": waiting.len()})))
    })
    .await
}
