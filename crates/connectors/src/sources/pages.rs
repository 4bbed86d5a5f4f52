//! Events that a service is asked for: page after page, from a cursor on.
//!
//! Each page is a batch. The address of the next page and the cursor are in the log entry of its
//! events, so a restart asks for the next page, not for the first.

use std::collections::BTreeMap;
use std::io::Read;
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use data_encoding::BASE64;
use flowmeter_core::event::Path;
use flowmeter_core::event::json::{Document, list_elements};
use flowmeter_core::pipeline::{Auth, NextPage, PagesSource};
use flowmeter_core::time::Timestamp;
use flowmeter_engine::{Error, Kind};
use reqwest::StatusCode;
use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderName, HeaderValue, LINK, RETRY_AFTER};
use serde_json::value::RawValue;

use super::{Behind, Reading, Step, Surroundings};

/// Bytes of an answer.
const ANSWER_BYTES_MAX: u64 = 64 << 20;
/// The longest pause that a service may ask for.
const PAUSE_MAX: Duration = Duration::from_secs(3600);
/// Keys of what is taken.
const CURSOR: &str = "cursor";
const NEXT: &str = "next";
const EVENTS: &str = "events";

/// Pages of a service, as a source.
pub(super) struct Pages {
    plan: PagesSource,
    around: Surroundings,
    client: reqwest::blocking::Client,
    headers: HeaderMap,
    origin: Arc<str>,
    /// Whether a whole round of pages was read in this session.
    is_done: bool,
}

impl Pages {
    pub(super) fn new(plan: &PagesSource, around: Surroundings) -> Result<Pages, Error> {
        let wrong = |what: &str, why: &dyn std::fmt::Display| Error::new(Kind::Invalid, format!("http: {what}: {why}"));
        let mut headers = HeaderMap::new();
        for (name, value) in &plan.headers {
            let value = crate::expand(value)?;
            let key = HeaderName::try_from(name.as_str()).map_err(|why| wrong(name, &why))?;
            headers.insert(key, HeaderValue::try_from(value).map_err(|why| wrong(name, &why))?);
        }
        let authorization = match &plan.auth {
            Auth::None => None,
            Auth::Bearer(token) => Some(format!("Bearer {}", crate::expand(token)?)),
            Auth::Basic { user, password } => {
                let pair = format!("{}:{}", crate::expand(user)?, crate::expand(password)?);
                Some(format!("Basic {}", BASE64.encode(pair.as_bytes())))
            }
            Auth::OAuth2 { .. } => return Err(wrong("auth", &"a source takes bearer or basic; fetch the token elsewhere")),
        };
        if let Some(text) = authorization {
            let mut value = HeaderValue::try_from(text).map_err(|why| wrong("auth", &why))?;
            value.set_sensitive(true);
            headers.insert(AUTHORIZATION, value);
        }
        crate::targets::prefer_ring();
        let client = reqwest::blocking::Client::builder()
            .use_preconfigured_tls(crate::targets::tls_of(&plan.tls)?)
            .redirect(reqwest::redirect::Policy::none())
            .timeout(Duration::from_nanos(plan.timeout.unsigned_abs()))
            .user_agent(concat!("flowmeter/", env!("CARGO_PKG_VERSION")))
            .build();
        let client = client.map_err(|why| wrong("client", &why))?;
        let url = crate::expand(&plan.url)?;
        // A query may hold secrets.
        let origin = url.split('?').next().unwrap_or_default().into();
        Ok(Pages { plan: PagesSource { url, ..plan.clone() }, around, client, headers, origin, is_done: false })
    }

    fn known(&self, key: &str) -> Option<&String> {
        self.around.taken.get(key)
    }

    /// Returns the address of the first page.
    fn first_page(&self) -> String {
        let cursor = self.known(CURSOR).unwrap_or(&self.plan.start);
        let encoded: String = form_urlencoded::byte_serialize(cursor.as_bytes()).collect();
        self.plan.url.replace("{cursor}", &encoded)
    }

    /// Returns the address of the page behind one, if there is one.
    fn next_page(&self, url: &str, headers: &HeaderMap, page: &[u8]) -> Result<Option<String>, Error> {
        let lasting = |why: String| Error::new(Kind::Invalid, format!("http: {}: {why}", self.origin));
        let joined = |to: &str| {
            let to = url::Url::parse(url).and_then(|from| from.join(to)).map_err(|why| lasting(format!("next page: {why}")))?;
            let from = url::Url::parse(url).map_err(|why| lasting(why.to_string()))?;
            // The credentials are for this service alone.
            match to.origin() == from.origin() {
                true => Ok(Some(to.to_string())),
                false => Err(lasting(format!("the next page is at another service, {}", to.host_str().unwrap_or_default()))),
            }
        };
        match &self.plan.next {
            None => Ok(None),
            Some(NextPage::Link) => {
                let links = headers.get_all(LINK).iter().filter_map(|value| value.to_str().ok());
                links.flat_map(|value| value.split(',')).find_map(next_link).map_or(Ok(None), |to| joined(&to))
            }
            Some(NextPage::Address(field)) => text_at(page, field).map_or(Ok(None), |to| joined(&to)),
            Some(NextPage::Token(field, parameter)) => {
                let Some(token) = text_at(page, field) else { return Ok(None) };
                let mut next = url::Url::parse(&self.first_page()).map_err(|why| lasting(why.to_string()))?;
                let others: Vec<(String, String)> =
                    next.query_pairs().filter(|(name, _)| name != parameter).map(|(a, b)| (a.into(), b.into())).collect();
                next.query_pairs_mut().clear().extend_pairs(others).append_pair(parameter, &token);
                Ok(Some(next.to_string()))
            }
        }
    }

    /// Returns the pause that a service asks for.
    fn pause(&self, headers: &HeaderMap) -> Option<Duration> {
        let text = headers.get(RETRY_AFTER)?.to_str().ok()?;
        let now = (self.around.wall)().duration_since(UNIX_EPOCH).ok()?;
        let now = Timestamp::from_nanos(i64::try_from(now.as_nanos()).ok()?);
        let pause = crate::retry_after::retry_after(text, now)?;
        Some(Duration::from_nanos(pause.unsigned_abs()).min(PAUSE_MAX))
    }
}

impl Reading for Pages {
    fn next(&mut self) -> Result<Step, Error> {
        if self.is_done {
            self.is_done = false;
            return Ok(match self.plan.following.follows {
                true => Step::Wait(Duration::from_nanos(self.plan.following.interval.unsigned_abs())),
                false => Step::End,
            });
        }
        let url = self.known(NEXT).cloned().unwrap_or_else(|| self.first_page());
        let away = |why: &dyn std::fmt::Display| Error::new(Kind::Unavailable, format!("http: {}: {why}", self.origin));
        let answer = self.client.get(&url).headers(self.headers.clone()).send();
        let mut answer = answer.map_err(|why| away(&why.without_url()))?;
        let (status, headers) = (answer.status(), answer.headers().clone());
        if status == StatusCode::TOO_MANY_REQUESTS || status == StatusCode::SERVICE_UNAVAILABLE {
            if let Some(pause) = self.pause(&headers) {
                return Ok(Step::Wait(pause));
            }
            return Err(away(&status));
        }
        if !status.is_success() {
            let is_lasting = status.is_client_error() && status != StatusCode::REQUEST_TIMEOUT;
            let kind = if is_lasting { Kind::Invalid } else { Kind::Unavailable };
            return Err(Error::new(kind, format!("http: {} answers {status}; check `url`, `auth` and `headers`", self.origin)));
        }
        let mut page = Vec::new();
        let read = answer.by_ref().take(ANSWER_BYTES_MAX + 1).read_to_end(&mut page);
        read.map_err(|why| away(&why))?;
        if page.len() as u64 > ANSWER_BYTES_MAX {
            let message =
                format!("http: {}: an answer has more than {ANSWER_BYTES_MAX} bytes; ask for smaller pages", self.origin);
            return Err(Error::new(Kind::Invalid, message));
        }
        let events = self.events(&page)?;
        let mut batch = self.around.batch();
        let mut line: u64 = self.known(EVENTS).and_then(|text| text.parse().ok()).unwrap_or_default();
        for event in &events {
            line += 1;
            batch.lines.extend(event.iter().map(|byte| if matches!(byte, b'\n' | b'\r') { b' ' } else { *byte }));
            batch.lines.push(b'\n');
            batch.fed.add(&self.origin, line);
        }
        let mut keep = |key: &str, value: Option<String>| batch.fed.taken.push((key.to_owned(), value));
        if let Some(cursor) = self.plan.cursor.as_ref().and_then(|field| text_at(events.last()?, field)) {
            // The pages of a round belong to the cursor with which it began.
            keep("newCursor", Some(cursor));
        }
        let next = self.next_page(&url, &headers, &page)?.filter(|next| *next != url);
        keep(EVENTS, Some(line.to_string()));
        self.is_done = next.is_none();
        if self.is_done {
            let newest = batch.fed.taken.iter().find(|(key, _)| key == "newCursor").and_then(|(_, value)| value.clone());
            let newest = newest.or_else(|| self.known("newCursor").cloned());
            batch.fed.taken.retain(|(key, _)| key != "newCursor");
            batch.fed.taken.push(("newCursor".to_owned(), None));
            if newest.is_some() {
                batch.fed.taken.push((CURSOR.to_owned(), newest));
            }
        }
        batch.fed.taken.push((NEXT.to_owned(), next));
        batch.fed.take(&mut self.around.taken);
        Ok(Step::Taken(batch))
    }

    fn behind(&self) -> Behind {
        Behind::default()
    }
}

impl Pages {
    /// Returns the events of a page.
    fn events(&self, page: &[u8]) -> Result<Vec<Vec<u8>>, Error> {
        let wrong = |why: String| Error::new(Kind::Invalid, format!("http: {}: {why}", self.origin));
        let whole: &RawValue =
            serde_json::from_slice(page).map_err(|why| wrong(format!("the answer is no JSON document: {why}")))?;
        let list = match &self.plan.items {
            None => Some(whole.get().as_bytes().to_vec()),
            Some(path) => value_at(page, path),
        };
        let list = list.ok_or_else(|| wrong("`items` names a field that the answer does not have".to_owned()))?;
        list_elements(&list).ok_or_else(|| wrong("there is no list of events at `items` in the answer".to_owned()))
    }
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
