//! Events that operators made, searched like received ones: `GET /api/v1/events?derived=true`.

use std::ops::ControlFlow;

use axum::response::Response;
use flowmeter_engine::Error;
use flowmeter_engine::journal::Place;
use flowmeter_node::events::trace::derived_shown;
use flowmeter_node::installation::Served;
use flowmeter_store::archive::Filter;

use super::paging::{Dated, WINDOW_MAX, backwards, newest_first};
use super::request::Query;
use super::{App, raw_page};
use crate::problem::{Refused, problem_of};

/// A page with the newest events first.
pub(super) fn newest_derived(app: &App, namespace: &str, query: &Query, filter: &Filter) -> Result<Response, Refused> {
    newest_first(app, namespace, query, |served, before, limit| {
        let kept = app.installation.derived_extent(served)?;
        backwards((kept.start, kept.end), before, (limit, WINDOW_MAX), &|| app.installation.wall(), |from, until| {
            let mut found: Vec<Dated> = Vec::new();
            read(app, served, query, filter, from..until, &mut |dated| {
                found.push(dated);
                ControlFlow::Continue(())
            })?;
            Ok(found)
        })
    })
}

/// A page in the order in which operators made the events, pipeline by pipeline, and the number of its
/// events. It begins in the pipeline and at the number of `cursor`.
pub(super) fn derived(
    app: &App,
    namespace: &str,
    query: &Query,
    filter: &Filter,
    mut cursor: Option<(String, u64)>,
) -> Result<(Response, usize), Refused> {
    let limit = query.limit()?;
    let mut found = Vec::new();
    app.installation.all_loaded(namespace, query.get("pipeline"))?;
    for served in app.installation.served_in(namespace) {
        let name = &served.kept.name;
        if query.get("pipeline").is_some_and(|wanted| wanted != name && wanted != served.kept.id.to_string()) {
            continue;
        }
        if found.len() >= limit {
            let rows = found.len();
            return Ok((raw_page(&found, Some(&format!("{name}:{}", Place::first(0)))), rows));
        }
        let from = match &cursor {
            Some((at, from)) if at == name => *from,
            Some(_) => continue,
            None => 0,
        };
        cursor = None;
        let page = app.installation.derived_extent(&served).and_then(|kept| {
            read(app, &served, query, filter, kept.start.max(from)..kept.end, &mut |(_, _, shown)| {
                found.push(shown);
                if found.len() < limit { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
            })
        });
        if let Some(next) = page.map_err(|why| problem_of(&why))? {
            let rows = found.len();
            return Ok((raw_page(&found, Some(&format!("{name}:{}", Place::first(next)))), rows));
        }
    }
    let rows = found.len();
    Ok((raw_page(&found, None), rows))
}

/// Reads derived events with numbers of a range; returns the number to continue with.
fn read(
    app: &App,
    served: &Served,
    query: &Query,
    filter: &Filter,
    numbers: std::ops::Range<u64>,
    take: &mut dyn FnMut(Dated) -> ControlFlow<()>,
) -> Result<Option<u64>, Error> {
    let reason = query.get("reason");
    app.installation.walk_derived(served, filter, numbers, &mut |made| match reason.is_none() || reason == made.row.reason {
        true => take((made.row.received_at, made.row.position, derived_shown(made))),
        false => ControlFlow::Continue(()),
    })
}
