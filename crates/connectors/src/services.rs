//! The HTTP services that operators ask about events.
//!
//! Requests of one block are made beside each other, up to the operator's limit. An answer serves
//! equal requests for as long as the operator says, counted by the instants at which events were
//! received. After twenty requests in a row without an answer, no request is made for thirty
//! seconds, then one.

mod kept;

use std::collections::HashMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use flowmeter_core::event::json::write_on_one_line;
use flowmeter_core::mediation::{Asked, PastAnswer, Services};
use flowmeter_core::operator::{Http, HttpAnswer, HttpMeaning, HttpRequest, OnUnavailable, Operator};
use flowmeter_core::plan::Plan;
use flowmeter_core::time::Timestamp;
use flowmeter_engine::live::request_hash;
use flowmeter_engine::node::Clock;
use flowmeter_engine::{Error, Kind};
use futures_util::stream::{StreamExt, iter};
use reqwest::{Client, Method};
use tokio::runtime::Runtime;

use crate::answer;
use crate::calls::Abandon;
use crate::retry_after::retry_after;
use crate::targets::http::answers::chain;
use crate::targets::http::token::Token;
use kept::Kept;

const SECOND: i64 = 1_000_000_000;
/// Requests in a row without an answer after which an operator stops asking.
const FAILURES_MAX: u32 = 20;
/// Nanoseconds for which it does.
const REST: i64 = 30 * SECOND;
/// Longest pause between attempts.
const PAUSE_MAX: i64 = 60 * SECOND;
/// Pause between two attempts to get a token that is waited for.
const TOKEN_PAUSE: Duration = Duration::from_secs(5);
/// Longest pause that a service may ask for.
const RETRY_AFTER_MAX: i64 = 3_600 * SECOND;

/// A request, by the SHA-256 of its method, address, body and headers.
type Hash = [u8; 32];

/// How the services of a plan are waited for.
#[derive(Clone, Debug)]
pub struct Waits {
    /// Ends the requests under way.
    pub abandon: Abandon,
    /// With `wait`, the longest time in which an event waits for its answer; then its owner takes
    /// it again. `None`: for ever.
    pub patience: Option<Duration>,
    /// Reports what is waited for.
    pub report: fn(&str),
}

impl Default for Waits {
    fn default() -> Waits {
        Waits { abandon: Abandon::default(), patience: None, report: |text| eprintln!("{text}") }
    }
}

/// The services of a plan.
pub struct HttpServices {
    state: Mutex<State>,
    clock: Arc<dyn Clock>,
    waits: Waits,
}

impl fmt::Debug for HttpServices {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("HttpServices")
    }
}

struct State {
    runtime: Runtime,
    /// By the id of the operator.
    services: HashMap<String, Service>,
    kept: Kept,
}

/// The service of one operator.
struct Service {
    client: Client,
    token: Option<Token>,
    /// Requests in a row without an answer.
    failures: u32,
    /// The instant until which no request is made.
    rests_until: Timestamp,
}

/// Replaces references such as `${env:NAME}` in the requests of a plan.
///
/// # Errors
/// A reference has no value.
pub fn resolve(plan: &mut Plan) -> Result<(), Error> {
    for node in &mut plan.nodes {
        if let Operator::Http(http) = &mut node.operator {
            let pieces = http.headers.iter_mut().map(|(_, value)| value).chain(&mut http.body);
            std::iter::once(&mut http.url).chain(pieces).try_for_each(|piece| piece.map_texts(&crate::expand))?;
        }
    }
    Ok(())
}

/// Returns a plan with the secrets of its requests filled in.
///
/// # Errors
/// A reference has no value.
pub fn resolved(plan: Arc<Plan>) -> Result<Arc<Plan>, Error> {
    if !plan.nodes.iter().any(|node| matches!(node.operator, Operator::Http(_))) {
        return Ok(plan);
    }
    let mut plan = (*plan).clone();
    resolve(&mut plan)?;
    Ok(Arc::new(plan))
}

impl HttpServices {
    /// Opens the services that a DEBUG session asks; others are skipped.
    ///
    /// # Errors
    /// As for [`HttpServices::open`].
    pub fn open_for_debug(plan: &Plan, clock: Arc<dyn Clock>, waits: Waits) -> Result<Option<Arc<HttpServices>>, Error> {
        let mut asked = plan.clone();
        asked.nodes.retain(|node| matches!(&node.operator, Operator::Http(http) if http.calls_in_debug));
        HttpServices::open(&asked, None, clock, waits)
    }

    /// Opens the services of a plan; `None` if it asks none. Answers that serve later requests are
    /// kept in `file`, if one is given.
    ///
    /// # Errors
    /// A secret or a certificate is invalid, or the file cannot be read.
    pub fn open(
        plan: &Plan,
        file: Option<PathBuf>,
        clock: Arc<dyn Clock>,
        waits: Waits,
    ) -> Result<Option<Arc<HttpServices>>, Error> {
        let mut services = HashMap::new();
        for node in &plan.nodes {
            if let Operator::Http(http) = &node.operator {
                services.insert(node.id.clone(), Service::open(http)?);
            }
        }
        if services.is_empty() {
            return Ok(None);
        }
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|why| Error::new(Kind::Unavailable, format!("no runtime: {why}")))?;
        let state = State { runtime, services, kept: Kept::open(file)? };
        Ok(Some(Arc::new(HttpServices { state: Mutex::new(state), clock, waits })))
    }
}

impl Service {
    fn open(http: &Http) -> Result<Service, Error> {
        let timeout = Duration::from_nanos(u64::try_from(http.timeout).unwrap_or_default());
        let client = crate::client::bounded(Client::builder(), timeout)
            .use_preconfigured_tls(crate::tls::of(&http.tls)?)
            .build()
            .map_err(|why| Error::new(Kind::Invalid, format!("the client: {why}")))?;
        Ok(Service { client, token: Token::new(&http.auth)?, failures: 0, rests_until: Timestamp::MIN })
    }
}

impl Services for HttpServices {
    fn ask(&self, asked: &[Asked<'_>]) -> Vec<HttpAnswer> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let State { runtime, services, kept } = &mut *state;
        let mut answers: Vec<Option<HttpAnswer>> = Vec::with_capacity(asked.len());
        // By operator: the requests that are made, and the places of the events that they are for.
        let mut made: Vec<(&Asked<'_>, Hash, Vec<usize>)> = Vec::new();
        for (place, one) in asked.iter().enumerate() {
            let hash = request_hash(one.http, one.request);
            let known = kept.find(one, &hash);
            answers.push(known.clone());
            if known.is_some() {
                continue;
            }
            let is_same = |(other, other_hash, _): &&mut (&Asked<'_>, Hash, Vec<usize>)| {
                one.http.cache > 0 && other.operator == one.operator && *other_hash == hash
            };
            match made.iter_mut().find(is_same) {
                Some((_, _, places)) => places.push(place),
                None => made.push((one, hash, vec![place])),
            }
        }
        let mut from = 0;
        while from < made.len() {
            let operator = made[from].0.operator;
            let until = made[from..].iter().position(|(one, ..)| one.operator != operator).map_or(made.len(), |at| from + at);
            let group = &made[from..until];
            let said = match services.get_mut(operator) {
                Some(service) => {
                    let said = runtime.block_on(self.waits.abandon.or(service.ask(group, &*self.clock, &self.waits)));
                    said.unwrap_or_else(|cut| vec![HttpAnswer::Later(cut.to_string()); group.len()])
                }
                None => vec![HttpAnswer::Skipped; group.len()],
            };
            for ((one, hash, places), answer) in group.iter().zip(said) {
                kept.note(one, hash, &answer);
                places.iter().for_each(|place| answers[*place] = Some(answer.clone()));
            }
            from = until;
        }
        if let Err(why) = kept.write() {
            // An answer that is not kept could be another one next time.
            let why = format!("its answer cannot be kept: {why}");
            return vec![HttpAnswer::Unavailable(why); asked.len()];
        }
        answers.into_iter().map(|answer| answer.unwrap_or_else(|| HttpAnswer::Unavailable(String::new()))).collect()
    }

    fn remember(&self, past: PastAnswer) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.services.contains_key(&past.operator) {
            state.kept.remember(past);
        }
    }
}

impl Service {
    /// Makes requests beside each other. The answers are in their order.
    async fn ask(&mut self, requests: &[(&Asked<'_>, Hash, Vec<usize>)], clock: &dyn Clock, waits: &Waits) -> Vec<HttpAnswer> {
        let Some((first, ..)) = requests.first() else { return Vec::new() };
        let http = first.http;
        let mut answers = Vec::with_capacity(requests.len());
        let mut rest = requests;
        while !rest.is_empty() {
            let now = clock.now();
            if self.failures >= FAILURES_MAX && now < self.rests_until && http.on_unavailable != OnUnavailable::Wait {
                let why = format!("{FAILURES_MAX} requests in a row had no answer; the next one is made at {}", self.rests_until);
                answers.extend(rest.iter().map(|_| HttpAnswer::Unavailable(why.clone())));
                break;
            }
            // One request shows whether the service is there again.
            let many = if self.failures >= FAILURES_MAX { 1 } else { http.concurrency };
            let (these, later) = rest.split_at(many.min(rest.len()));
            let mut authorization = self.authorization(now).await;
            // A request without its token would fail: with `wait`, the token is waited for.
            let mut waited = Duration::ZERO;
            while let (Err(why), OnUnavailable::Wait) = (&authorization, http.on_unavailable) {
                let said = format!("{why}; the pipeline waits for it");
                if waits.patience.is_some_and(|patience| waited >= patience) {
                    answers.extend(rest.iter().map(|_| HttpAnswer::Later(said.clone())));
                    return answers;
                }
                (waits.report)(&said);
                tokio::time::sleep(TOKEN_PAUSE).await;
                waited += TOKEN_PAUSE;
                authorization = self.authorization(clock.now()).await;
            }
            let client = &self.client;
            let sent = these.iter().enumerate().map(|(at, (one, ..))| {
                let authorization = &authorization;
                async move { (at, persist(client, http, one.request, authorization, clock, waits).await) }
            });
            let mut said: Vec<(usize, HttpAnswer)> = iter(sent).buffer_unordered(many).collect().await;
            said.sort_by_key(|(at, _)| *at);
            let mut outstanding = None;
            for (_, answer) in said {
                self.note(&answer, clock.now());
                if let HttpAnswer::Later(why) = &answer {
                    outstanding = Some(why.clone());
                }
                answers.push(answer);
            }
            rest = later;
            if let Some(why) = outstanding {
                answers.extend(rest.iter().map(|_| HttpAnswer::Later(why.clone())));
                break;
            }
        }
        answers
    }

    fn note(&mut self, answer: &HttpAnswer, now: Timestamp) {
        match answer {
            HttpAnswer::Answered(_) | HttpAnswer::Skipped => self.failures = 0,
            HttpAnswer::Refused(why) => {
                self.failures = 0;
                if let Some(token) = self.token.as_mut().filter(|_| why.starts_with("401")) {
                    token.forget();
                }
            }
            HttpAnswer::Unavailable(_) | HttpAnswer::Later(_) => {
                self.failures += 1;
                self.rests_until = now.saturating_add(REST);
            }
        }
    }

    async fn authorization(&mut self, now: Timestamp) -> Result<Option<String>, String> {
        match &mut self.token {
            None => Ok(None),
            Some(token) => token.get(&self.client, now).await.map(Some).map_err(|why| format!("getting a token: {why}")),
        }
    }
}

/// Tries a request as often as its operator says; with `wait`, until there is an answer.
async fn persist(
    client: &Client,
    http: &Http,
    request: &HttpRequest,
    authorization: &Result<Option<String>, String>,
    clock: &dyn Clock,
    waits: &Waits,
) -> HttpAnswer {
    let (mut pause, mut waited) = (SECOND, Duration::ZERO);
    for attempt in 1u32.. {
        let (answer, asked_for) = match authorization {
            Ok(authorization) => exchange(client, http, request, authorization.as_deref(), clock).await,
            Err(why) => (HttpAnswer::Unavailable(why.clone()), None),
        };
        let HttpAnswer::Unavailable(why) = &answer else { return answer };
        let is_waiting = http.on_unavailable == OnUnavailable::Wait;
        if !is_waiting && attempt >= http.attempts {
            return answer;
        }
        if is_waiting && attempt >= http.attempts {
            let said = format!("{}: {why}; the pipeline waits for an answer", without_query(&request.url));
            if waits.patience.is_some_and(|patience| waited >= patience) {
                return HttpAnswer::Later(said);
            }
            if attempt == http.attempts {
                (waits.report)(&said);
            }
        }
        let nanos = asked_for.unwrap_or(pause).clamp(0, RETRY_AFTER_MAX);
        let nanos = Duration::from_nanos(u64::try_from(nanos).unwrap_or_default());
        tokio::time::sleep(nanos).await;
        waited += nanos;
        pause = pause.saturating_mul(2).min(PAUSE_MAX);
    }
    HttpAnswer::Unavailable(String::new())
}

/// Returns an address without its query, which may hold a secret.
fn without_query(url: &str) -> &str {
    url.split('?').next().unwrap_or(url)
}

/// Makes one request. Returns the answer and how long the service asks to wait.
async fn exchange(
    client: &Client,
    http: &Http,
    request: &HttpRequest,
    authorization: Option<&str>,
    clock: &dyn Clock,
) -> (HttpAnswer, Option<i64>) {
    let method = if http.is_post { Method::POST } else { Method::GET };
    let mut sent = client.request(method, &request.url);
    for (name, value) in &request.headers {
        sent = sent.header(name, value);
    }
    if let Some(authorization) = authorization {
        sent = sent.header("authorization", authorization);
    }
    if let Some(body) = &request.body {
        sent = sent.header("content-type", "application/json").body(body.clone());
    }
    let response = match sent.send().await {
        Ok(response) => response,
        Err(why) if why.is_builder() => return (HttpAnswer::Refused(format!("the request: {}", chain(&why))), None),
        Err(why) => return (HttpAnswer::Unavailable(chain(&why)), None),
    };
    let status = response.status().as_u16();
    let header = |name: &str| response.headers().get(name).and_then(|value| value.to_str().ok());
    let wait = header("retry-after").and_then(|text| retry_after(text, clock.now()));
    let headers = response.headers().clone();
    let said = |what: &str| format!("{status} {}: {what}", response.status().canonical_reason().unwrap_or_default());
    let (refused, unavailable) = (said("refused"), said("no answer"));
    match http.meaning(status) {
        HttpMeaning::Refusal => (HttpAnswer::Refused(refused), None),
        HttpMeaning::Unavailable => (HttpAnswer::Unavailable(unavailable), wait),
        HttpMeaning::Answer => {
            let body = answer::read(reqwest::Body::from(response), http.answer_bytes_max).await;
            let is_long = matches!(body.end, answer::End::TooLong(_));
            match body.whole() {
                Ok(bytes) => (HttpAnswer::Answered(answer_json(status, &headers, &bytes)), None),
                Err(why) if is_long => (HttpAnswer::Refused(format!("{status}: {why}; `answerBytesMax` bounds it")), None),
                Err(why) => (HttpAnswer::Unavailable(format!("{status}: {why}")), None),
            }
        }
    }
}

/// An answer as the operator's expressions see it. A body that is no JSON is a text.
fn answer_json(status: u16, headers: &reqwest::header::HeaderMap, body: &[u8]) -> Vec<u8> {
    let mut json = format!("{{\"status\":{status},\"headers\":{{").into_bytes();
    let mut is_first = true;
    for name in headers.keys() {
        let Some(value) = headers.get(name).and_then(|value| value.to_str().ok()) else { continue };
        if !std::mem::take(&mut is_first) {
            json.push(b',');
        }
        json.extend_from_slice(format!("{}:{}", quoted(name.as_str()), quoted(value)).as_bytes());
    }
    json.extend_from_slice(b"},\"body\":");
    match serde_json::from_slice::<&serde_json::value::RawValue>(body) {
        // On one line, as records are. No text of valid JSON has a line break.
        Ok(raw) => drop(write_on_one_line(raw.get().as_bytes(), &mut json)),
        Err(_) if body.is_empty() => json.extend_from_slice(b"null"),
        Err(_) => json.extend_from_slice(quoted(&String::from_utf8_lossy(body)).as_bytes()),
    }
    json.push(b'}');
    json
}

fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}
