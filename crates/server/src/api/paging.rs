//! Pages of lists.
//!
//! Of a list that goes through the pipelines of a namespace one after the other, a cursor is
//! a pipeline's name and a number in it; of a list that is in memory, the number of items
//! before the page.

use axum::response::Response;
use flowmeter_engine::Error;
use serde_json::Value;
use serde_json::value::RawValue;

use super::request::Query;
use super::{App, page, raw_page};
use crate::installation::{Refused, Served, problem_of};
use crate::problem::{Code, Problem};

/// The parameters of every list that has no others.
pub(super) const PAGED: &[(&str, &str)] = &[("limit", "items of a page"), ("cursor", "`nextCursor` of the page before")];

/// Returns a page of a list that is in memory as a whole.
pub(super) fn whole(query: &Query, mut items: Vec<Value>) -> Result<Response, Refused> {
    let (limit, from) = (query.limit()?, query.cursor()?.unwrap_or(0));
    let from = usize::try_from(from).unwrap_or(usize::MAX).min(items.len());
    let end = items.len().min(from.saturating_add(limit));
    let next = (end < items.len()).then(|| end.to_string());
    items.truncate(end);
    Ok(page(items.split_off(from), next))
}

/// A page of a list over pipelines. `read` gives items of a pipeline from a number on, at
/// most so many, and the number to go on from.
pub(super) fn over_pipelines(
    app: &App,
    namespace: &str,
    query: &Query,
    read: impl Fn(&Served, u64, usize) -> Result<(Vec<Box<RawValue>>, u64), Error>,
) -> Result<Response, Refused> {
    let limit = query.limit()?;
    app.installation.all_loaded(namespace, query.get("pipeline"))?;
    let mut served = app.installation.served_in(namespace);
    served.retain(|one| query.get("pipeline").is_none_or(|wanted| one.kept.name == wanted || one.kept.id.to_string() == wanted));
    let (first, mut from) = match query.get("cursor") {
        None => (0, 0),
        Some(cursor) => begin(cursor, &served)?,
    };
    let mut found = Vec::new();
    for one in &served[first..] {
        let (items, next) = read(one, from, limit - found.len()).map_err(|why| problem_of(&why))?;
        found.extend(items);
        if found.len() >= limit {
            return Ok(raw_page(&found, Some(&format!("{}:{next}", one.kept.name))));
        }
        from = 0;
    }
    Ok(raw_page(&found, None))
}

/// Which pipeline a cursor names, and the number in it.
fn begin(cursor: &str, served: &[std::sync::Arc<Served>]) -> Result<(usize, u64), Refused> {
    let begin = || {
        let (pipeline, number) = cursor.rsplit_once(':')?;
        Some((served.iter().position(|one| one.kept.name == pipeline)?, number.parse().ok()?))
    };
    begin().ok_or_else(|| Box::new(Problem::new(Code::BadCursor, "the cursor is not one of this list").field("cursor")))
}
