//! Pages of lists.
//!
//! Of a list that goes through the pipelines of a namespace one after the other, a cursor is
//! a pipeline's name and a number in it; of a list that is in memory, the number of items
//! before the page and the identity of the last of them, behind which the page begins even if items
//! came or went before it.

use axum::response::Response;
use flowmeter_core::time::Timestamp;
use flowmeter_engine::Error;
use flowmeter_engine::journal::Place;
use flowmeter_node::installation::Served;
use serde_json::Value;
use serde_json::value::RawValue;

use super::request::Query;
use super::{App, page, raw_page};
use crate::problem::{Code, Problem, Refused, problem_of};

/// The parameters of every list that has no others.
pub(super) const PAGED: &[(&str, &str)] = &[("limit", "items of a page"), ("cursor", "`nextCursor` of the page before")];

/// Returns a page of a list that is in memory as a whole.
pub(super) fn whole(query: &Query, items: impl IntoIterator<Item = Value>) -> Result<Response, Refused> {
    let mut items: Vec<Value> = items.into_iter().collect();
    let limit = query.limit()?;
    let from = query.get("cursor").map_or(Ok(0), |cursor| place_in(cursor, &items))?;
    let end = items.len().min(from.saturating_add(limit));
    let next = items.get(..end).filter(|_| end < items.len()).and_then(<[Value]>::last);
    let next = next.map(|last| format!("{end}.{:016x}", identity(last)));
    items.truncate(end);
    Ok(page(items.split_off(from), next))
}

/// Members by which an item of a list is recognised, whatever else changes.
const IDENTIFYING: [&str; 9] = ["jobId", "id", "name", "pipeline", "source", "target", "version", "origin", "subscriber"];

fn identity(item: &Value) -> u64 {
    let named: Vec<&Value> = IDENTIFYING.iter().filter_map(|name| item.get(name)).collect();
    let text = if named.is_empty() { item.to_string() } else { serde_json::to_string(&named).unwrap_or_default() };
    xxhash_rust::xxh3::xxh3_64(text.as_bytes())
}

/// Returns where a page begins: behind the last item of the page before, if that is still there.
fn place_in(cursor: &str, items: &[Value]) -> Result<usize, Refused> {
    let read = || {
        let (count, last) = cursor.split_once('.').unwrap_or((cursor, ""));
        let last = if last.is_empty() { None } else { Some(u64::from_str_radix(last, 16).ok()?) };
        Some((count.parse::<usize>().ok()?, last))
    };
    let wrong = || Box::new(Problem::new(Code::BadCursor, "the cursor is not one of this list").field("cursor"));
    let (count, last) = read().ok_or_else(wrong)?;
    let is_last = |item: &Value| Some(identity(item)) == last;
    let is_in_place = count.checked_sub(1).and_then(|at| items.get(at)).is_some_and(is_last);
    let found = if is_in_place { None } else { items.iter().position(is_last).map(|at| at + 1) };
    Ok(found.unwrap_or(count).min(items.len()))
}

/// A page of a list over pipelines. `read` gives items of a pipeline from a number on, at
/// most so many, and the number to continue from.
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
            return Ok(raw_page(&found, Some(&format!("{}:{}", one.kept.name, Place::first(next)))));
        }
        from = 0;
    }
    Ok(raw_page(&found, None))
}

/// An item of a list that goes backwards: when it was made, its number, and itself.
pub(super) type Dated = (i64, u64, Box<RawValue>);

/// Returns a page of a list over pipelines, the newest items first. `read` gives items of a
/// pipeline before a number, at most so many, the newest first, and the number to continue before;
/// 0 at the beginning. A cursor has that number for each pipeline.
pub(super) fn newest_first(
    app: &App,
    namespace: &str,
    query: &Query,
    read: impl Fn(&Served, u64, usize) -> Result<(Vec<Dated>, u64), Error>,
) -> Result<Response, Refused> {
    let limit = query.limit()?;
    app.installation.all_loaded(namespace, query.get("pipeline"))?;
    let mut served = app.installation.served_in(namespace);
    served.retain(|one| query.get("pipeline").is_none_or(|wanted| one.kept.name == wanted || one.kept.id.to_string() == wanted));
    let places = places(query.get("cursor"))?;
    let mut items: Vec<(i64, usize, u64, Box<RawValue>)> = Vec::new();
    let mut rests: Vec<u64> = Vec::new();
    for (at, one) in served.iter().enumerate() {
        let before = match &places {
            None => u64::MAX,
            Some(places) => places.get(&one.kept.name).copied().unwrap_or(0),
        };
        let (found, rest) =
            if before == 0 { (Vec::new(), 0) } else { read(one, before, limit).map_err(|why| problem_of(&why))? };
        rests.push(rest);
        items.extend(found.into_iter().map(|(when, number, item)| (when, at, number, item)));
    }
    items.sort_by_key(|(when, at, number, _)| std::cmp::Reverse((*when, *at, *number)));
    // Items that do not fit are read again with the next page.
    for (_, at, number, _) in items.iter().skip(limit) {
        rests[*at] = rests[*at].max(number + 1);
    }
    items.truncate(limit);
    let cursor: Vec<String> = served
        .iter()
        .zip(&rests)
        .filter(|(_, rest)| **rest > 0)
        .map(|(one, rest)| format!("{}:{}", flowmeter_node::monitoring::overview::encoded(&one.kept.name), Place::first(*rest)))
        .collect();
    let items: Vec<Box<RawValue>> = items.into_iter().map(|(.., item)| item).collect();
    Ok(raw_page(&items, (!cursor.is_empty()).then(|| cursor.join(",")).as_deref()))
}

/// Returns where a backward list continues, by pipeline.
fn places(cursor: Option<&str>) -> Result<Option<std::collections::BTreeMap<String, u64>>, Refused> {
    let Some(cursor) = cursor else { return Ok(None) };
    let place = |part: &str| {
        let (name, number) = part.rsplit_once(':')?;
        let name = percent_encoding::percent_decode_str(name).decode_utf8().ok()?;
        Some((name.into_owned(), Place::read_in_first(number)?))
    };
    let wrong = || Box::new(Problem::new(Code::BadCursor, "the cursor is not one of this list").field("cursor"));
    cursor.split(',').map(|part| place(part).ok_or_else(wrong)).collect::<Result<_, _>>().map(Some)
}

/// The order of a list.
pub(super) fn is_newest_first(query: &Query) -> Result<bool, Refused> {
    match query.get("order") {
        None | Some("asc") => Ok(false),
        Some("desc") => Ok(true),
        Some(other) => {
            let detail = format!("`{other}` is no order; there are asc (the oldest first) and desc");
            Err(Box::new(Problem::new(Code::Invalid, detail).field("order")))
        }
    }
}

/// Items of a window that goes backwards, at first and at most.
const WINDOW_MIN: u64 = 512;
pub(super) const WINDOW_MAX: u64 = 16_384;
/// Items that are looked at for one page; the next page continues there.
const LOOKED_AT_MAX: u64 = 400_000;
/// Items that are looked at for one page if that is quick.
const LOOKED_AT_MOST: u64 = 16_000_000;
/// Nanoseconds for which more than [`LOOKED_AT_MAX`] items are looked at.
const QUICK: i64 = 100_000_000;

/// Reads windows of a log backwards until enough items are found. `read` gives the wanted items of
/// a window from one number up to another, the oldest first: all, or the newest ones, more than `limit`.
/// Behind a window without a hit that took little, windows are up to `widest` items.
pub(super) fn backwards(
    (first, end): (u64, u64),
    before: u64,
    (limit, widest): (usize, u64),
    now: &dyn Fn() -> Timestamp,
    mut read: impl FnMut(u64, u64) -> Result<Vec<Dated>, Error>,
) -> Result<(Vec<Dated>, u64), Error> {
    let began = now();
    let since = |instant: Timestamp| now().nanos().saturating_sub(instant.nanos());
    let mut found: Vec<Dated> = Vec::new();
    let (mut until, mut window, mut looked) = (before.min(end), WINDOW_MIN, 0);
    while until > first && found.len() < limit && (looked < LOOKED_AT_MAX || looked < LOOKED_AT_MOST && since(began) < QUICK) {
        let from = until.saturating_sub(window).max(first);
        let asked = now();
        let mut items = read(from, until)?;
        let may_widen = items.is_empty() && since(asked) < QUICK / 4;
        items.reverse();
        found.extend(items);
        looked += until - from;
        until = from;
        window = (window * 2).min(if may_widen { widest } else { WINDOW_MAX });
    }
    if found.len() > limit {
        until = found[limit - 1].1;
        found.truncate(limit);
    }
    Ok((found, if until <= first { 0 } else { until }))
}

/// Which pipeline a cursor names, and the number in it.
fn begin(cursor: &str, served: &[std::sync::Arc<Served>]) -> Result<(usize, u64), Refused> {
    let begin = || {
        let (pipeline, number) = cursor.rsplit_once(':')?;
        Some((served.iter().position(|one| one.kept.name == pipeline)?, Place::read_in_first(number)?))
    };
    begin().ok_or_else(|| Box::new(Problem::new(Code::BadCursor, "the cursor is not one of this list").field("cursor")))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_page_begins_behind_the_last_item_of_the_page_before() {
        let items = |names: &str| names.chars().map(|name| json!({"name": name, "state": names})).collect::<Vec<Value>>();
        let cursor = format!("2.{:016x}", identity(&items("b")[0]));
        for (names, expected) in [("abc", 2), ("0abc", 3), ("bc", 1), ("ac", 2), ("a", 1)] {
            assert_eq!(place_in(&cursor, &items(names)).unwrap(), expected, "{names}");
        }
        assert_eq!(place_in("1", &items("abc")).unwrap(), 1);
        for wrong in ["x", "1.x", ".0", "-1"] {
            assert!(place_in(wrong, &items("abc")).is_err(), "{wrong}");
        }
    }

    #[test]
    fn windows_backwards_give_every_item_once() {
        let read = |from: u64, until: u64| {
            let wanted = (from..until).filter(|number| number % 7 == 0);
            Ok(wanted.map(|number| (number as i64, number, Box::<RawValue>::default())).collect())
        };
        let (mut before, mut seen) = (u64::MAX, Vec::new());
        loop {
            let (found, rest) = backwards((3, 5_000), before, (100, WINDOW_MAX), &Timestamp::default, read).unwrap();
            assert!(found.len() <= 100);
            seen.extend(found.iter().map(|(_, number, _)| *number));
            before = rest;
            if rest == 0 {
                break;
            }
        }
        let expected: Vec<u64> = (3..5_000).rev().filter(|number| number % 7 == 0).collect();
        assert_eq!(seen, expected);
    }

    #[test]
    fn cursors_name_a_place_in_each_pipeline() {
        let read = places(Some("a%3Ab:5,c:9")).unwrap().unwrap();
        assert_eq!(read.into_iter().collect::<Vec<_>>(), [("a:b".to_owned(), 5), ("c".to_owned(), 9)]);
        assert!(places(Some("a")).is_err());
        assert!(places(Some("a:x")).is_err());
    }
}
