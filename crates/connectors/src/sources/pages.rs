//! Events that a service is asked for: page after page, from a cursor on.
//!
//! Each page is a batch. The next page and the cursor are in the log entry of its events, so a restart
//! asks for the next page, not for the first.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use flowmeter_core::event::Path;
use flowmeter_core::event::json::{Document, list_elements, write_on_one_line};
use flowmeter_core::source::{NextPage, PagesSource};
use flowmeter_engine::{Error, Kind};
use reqwest::header::{HeaderMap, LINK};
use serde_json::value::RawValue;
use url::Url;

use super::{Behind, Reading, Step, Surroundings};
use crate::service::{Answer, Service, shown_address};

/// Bytes of an answer.
const ANSWER_BYTES_MAX: usize = 64 << 20;
/// The byte order mark of UTF-8.
const MARK: &[u8] = b"\xef\xbb\xbf";
/// Key of the cursor with which a round of pages begins.
const CURSOR: &str = "cursor";
/// Key of the cursor of the newest page; it is that of the next round.
const NEWEST: &str = "newest";
/// Key of the next page of a round: its address, or its token.
const NEXT: &str = "next";
/// Key of the number of events.
const EVENTS: &str = "events";

/// Pages of a service, as a source.
pub(super) struct Pages {
    plan: PagesSource,
    /// The address, without references to secrets.
    url: String,
    around: Surroundings,
    service: Service,
    origin: Arc<str>,
    /// Whether the last page of a round was read.
    is_done: bool,
}

impl Pages {
    pub(super) fn new(plan: &PagesSource, around: Surroundings) -> Result<Pages, Error> {
        let url = crate::expand(&plan.service.url)?;
        // A query may hold secrets.
        let origin: Arc<str> = shown_address(&url).into();
        let service = Service::new(&plan.service, &origin, ANSWER_BYTES_MAX, &around.abandon, Arc::clone(&around.wall))?;
        Ok(Pages { plan: plan.clone(), url, around, service, origin, is_done: false })
    }

    fn known(&self, key: &str) -> Option<&String> {
        self.around.taken.get(key)
    }

    fn lasting(&self, why: &dyn std::fmt::Display) -> Error {
        Error::new(Kind::Invalid, format!("http: {}: {why}", self.origin))
    }

    /// Returns the address of the page that is read next.
    fn address(&self) -> Result<String, Error> {
        let cursor = self.known(CURSOR).unwrap_or(&self.plan.start);
        let encoded: String = form_urlencoded::byte_serialize(cursor.as_bytes()).collect();
        let first = self.url.replace("{cursor}", &encoded);
        match (self.known(NEXT), &self.plan.next) {
            (None, _) => Ok(first),
            (Some(token), Some(NextPage::Token(_, parameter))) => {
                let mut url = Url::parse(&first).map_err(|why| self.lasting(&why))?;
                let pairs: Vec<(String, String)> = url.query_pairs().into_owned().filter(|(name, _)| name != parameter).collect();
                url.query_pairs_mut().clear().extend_pairs(pairs).append_pair(parameter, token);
                Ok(url.to_string())
            }
            (Some(next), _) => Ok(next.clone()),
        }
    }

    /// Returns the page behind one, if there is one: its address or its token.
    fn next_page(&self, url: &str, headers: &HeaderMap, page: &[u8]) -> Result<Option<String>, Error> {
        let next = match &self.plan.next {
            None => return Ok(None),
            Some(NextPage::Token(field, _)) => return Ok(text_at(page, field)),
            Some(NextPage::Address(field)) => text_at(page, field),
            Some(NextPage::Link) => {
                let links = headers.get_all(LINK).iter().filter_map(|value| value.to_str().ok());
                links.flat_map(|value| value.split(',')).find_map(next_link)
            }
        };
        let Some(next) = next else { return Ok(None) };
        let from = Url::parse(url).map_err(|why| self.lasting(&why))?;
        let to = from.join(&next).map_err(|why| self.lasting(&format!("next page: {why}")))?;
        // The credentials are for this service alone.
        match to.origin() == from.origin() {
            true => Ok(Some(to.to_string())),
            false => Err(self.lasting(&format!("the next page is at another service, {}", to.host_str().unwrap_or_default()))),
        }
    }

    /// Returns the events of a page.
    ///
    /// # Errors
    /// The answer is not JSON: a gateway in front of a service answers with a page of its own, so asking
    /// again may help. JSON without the list is that of another address, which does not change.
    fn events(&self, page: &[u8]) -> Result<Vec<Vec<u8>>, Error> {
        let whole: &RawValue = serde_json::from_slice(page).map_err(|why| {
            let message = format!("http: {}: the answer is not JSON but begins with `{}`: {why}", self.origin, beginning(page));
            Error::new(Kind::Unavailable, message)
        })?;
        let list = match &self.plan.items {
            None => Some(whole.get().as_bytes().to_vec()),
            Some(path) => value_at(page, path),
        };
        let list = list.ok_or_else(|| self.lasting(&"`items` names a field that the answer does not have"))?;
        list_elements(&list).ok_or_else(|| self.lasting(&"there is no list of events at `items` in the answer"))
    }
}

impl Pages {
    /// Returns the cursor behind the events of a page, if there are events and a cursor is declared. An
    /// event without the field does not move it.
    fn newest(&self, events: &[Vec<u8>]) -> Result<Option<String>, Error> {
        let Some(field) = self.plan.cursor.as_ref().filter(|_| !events.is_empty()) else { return Ok(None) };
        match events.iter().rev().find_map(|event| text_at(event, field)) {
            Some(newest) => Ok(Some(newest)),
            // The same page would be read for ever.
            None => Err(self.lasting(&format!(
                "no event of the page has a text or number at `{field}`, the `cursor` of the source; name a field that \
                 every event has"
            ))),
        }
    }
}

impl Reading for Pages {
    fn next(&mut self) -> Result<Step, Error> {
        if std::mem::take(&mut self.is_done) {
            return Ok(match self.plan.following.follows {
                true => Step::Wait(Duration::from_nanos(self.plan.following.interval.unsigned_abs())),
                false => Step::End,
            });
        }
        let url = self.address()?;
        let (headers, page) = match self.service.ask(&url)? {
            Answer::Later(pause) => return Ok(Step::Wait(pause)),
            Answer::Page(headers, page) => (headers, page),
        };
        let page = page.strip_prefix(MARK).unwrap_or(&page);
        let events = self.events(page)?;
        let mut batch = self.around.batch();
        let mut line: u64 = self.known(EVENTS).and_then(|text| text.parse().ok()).unwrap_or_default();
        for event in &events {
            line += 1;
            // The page is valid JSON, so this cannot be refused.
            write_on_one_line(event, &mut batch.lines);
            batch.lines.push(b'\n');
            batch.fed.add(&self.origin, line);
        }
        // A page that names itself as the next one would be read for ever.
        let next = self.next_page(&url, &headers, page)?.filter(|next| *next != url && Some(next) != self.known(NEXT));
        let known = self.known(NEWEST).cloned();
        let newest = match self.newest(&events) {
            Ok(newest) => newest.or(known),
            // There is another page, or one of the round has a cursor.
            Err(_) if next.is_some() || known.is_some() => known,
            Err(why) => return Err(why),
        };
        self.is_done = next.is_none();
        // The pages of a round belong to the cursor with which it began.
        let before = self.known(CURSOR).cloned();
        let (cursor, newest) = if self.is_done { (newest.or(before), None) } else { (before, newest) };
        let taken = [(CURSOR, cursor), (NEWEST, newest), (NEXT, next), (EVENTS, Some(line.to_string()))];
        batch.fed.taken = taken.map(|(key, value)| (key.to_owned(), value)).to_vec();
        batch.fed.take(&mut self.around.taken);
        Ok(Step::Taken(batch))
    }

    fn behind(&self) -> Behind {
        Behind::default()
    }
}

/// Returns the beginning of an answer, for people.
fn beginning(page: &[u8]) -> String {
    String::from_utf8_lossy(page).trim_start().chars().take(40).map(|c| if c.is_control() { ' ' } else { c }).collect()
}

/// Returns the text of a value in a JSON document.
fn value_at(document: &[u8], path: &Path) -> Option<Vec<u8>> {
    let mut value = document.trim_ascii().to_vec();
    for name in path.names() {
        let holder = Document::new(value);
        let member = holder.members()?.into_iter().find(|member| *member.name == *name.as_bytes())?.value.to_vec();
        value = member;
    }
    Some(value)
}

/// Returns a text or a number in a JSON document; none if it is missing, null or empty.
fn text_at(document: &[u8], path: &Path) -> Option<String> {
    let value = value_at(document, path)?;
    let text = match serde_json::from_slice(&value).ok()? {
        serde_json::Value::String(text) => text,
        serde_json::Value::Number(number) => number.to_string(),
        _ => return None,
    };
    (!text.is_empty()).then_some(text)
}

/// Returns the address of a `Link` header with `rel="next"`.
fn next_link(link: &str) -> Option<String> {
    let mut parts = link.split(';');
    let address = parts.next()?.trim().strip_prefix('<')?.strip_suffix('>')?;
    let parameters: BTreeMap<&str, &str> = parts.filter_map(|part| part.trim().split_once('=')).collect();
    let is_next = parameters.get("rel").is_some_and(|rel| rel.trim_matches('"').split(' ').any(|one| one == "next"));
    is_next.then(|| address.to_owned())
}
