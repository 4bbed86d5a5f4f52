//! Targets with an HTTP API: webhooks and billers.
//!
//! Each record is sent under its `recordId` as the key of the request, by which the receiver
//! deduplicates it. Records of one meter are sent in sequence; those of different meters are sent
//! concurrently, in lanes. A lane stops after three consecutive requests without a usable response;
//! its remaining records wait for the next attempt.

pub(crate) mod answers;
mod probe;
mod request;
pub(crate) mod token;

use std::sync::Arc;
use std::time::Duration;

use answers::Spoken;
use flowmeter_core::template::{Filler, percent_encoded};
use flowmeter_document::{Dialect, HttpPlan, ReadBack};
use flowmeter_engine::node::Clock;
use flowmeter_engine::outbox::{Answer, Exchange, Held, Outgoing, Repeat, Span, Target};
use flowmeter_engine::{Error, Kind};
use request::{Letter, Writer};
use reqwest::{Client, Method, RequestBuilder, Url};
use token::Token;

use crate::answer::{ANSWER_BYTES_MAX, RECORD_BYTES_MAX};
use crate::calls::{Abandon, Calls};
use crate::signature::{Signer, seconds};
use crate::tls;

/// Bytes of whole answers that are kept of the records of one window, which may be 50,000.
const ANSWERS_BYTES_MAX: usize = 8 << 20;
/// Consecutive requests of a lane that may fail.
const FAILURES_MAX: usize = 3;
/// Time for which Stripe deduplicates an identifier; an hour less, for clocks.
const STRIPE_MEMORY: i64 = 23 * 3_600_000_000_000;

/// A target with an HTTP API.
pub(super) struct Http {
    plan: HttpPlan,
    url: Url,
    client: Client,
    calls: Calls,
    clock: Arc<dyn Clock>,
    writer: Writer,
    /// Headers of every request to the target, with references resolved.
    headers: Vec<(String, String)>,
    token: Option<Token>,
    signers: Vec<Signer>,
    asking: Option<Asking>,
    /// The exchanges of the last records that were sent, by place.
    exchanges: Vec<Exchange>,
}

/// The request that reads a record back.
struct Asking {
    url: Filler,
    body: Option<Filler>,
    is_record: bool,
}

impl Http {
    /// Creates the target.
    ///
    /// # Errors
    /// An address, a secret or a certificate is invalid.
    pub(super) fn new(plan: &HttpPlan, clock: Arc<dyn Clock>, abandon: &Abandon) -> Result<Http, Error> {
        let invalid = |what: &str, why: &dyn std::fmt::Display| Error::new(Kind::Invalid, format!("{what}: {why}"));
        let text = crate::expand(&plan.url)?;
        let url = Url::parse(&text).map_err(|why| invalid(&text, &why))?;
        let timeout = Duration::from_nanos(u64::try_from(plan.timeout).unwrap_or_default());
        let client = crate::client::bounded(Client::builder(), timeout)
            .use_preconfigured_tls(tls::of(&plan.tls)?)
            .build()
            .map_err(|why| invalid("the client", &why))?;
        let signers = plan
            .signing_secrets
            .iter()
            .map(|secret| Signer::new(&crate::expand(secret)?).map_err(|why| invalid("signingSecrets", &why)));
        let headers = plan.headers.iter().map(|(name, value)| Ok((name.clone(), crate::expand(value)?)));
        let asking = plan.read_back.as_ref().map(|read: &ReadBack| Asking {
            url: Filler::new(read.url.clone()),
            body: read.body.clone().map(Filler::new),
            is_record: read.is_record,
        });
        Ok(Http {
            url,
            client,
            calls: Calls::new(abandon)?,
            clock,
            writer: Writer::new(plan)?,
            token: Token::new(&plan.auth)?,
            headers: headers.collect::<Result<_, Error>>()?,
            signers: signers.collect::<Result<_, Error>>()?,
            asking,
            plan: plan.clone(),
            exchanges: Vec::new(),
        })
    }

    /// Returns the authorization of a request. A token that has expired is renewed.
    fn authorization(&mut self) -> Result<Option<String>, String> {
        let now = self.clock.now();
        match &mut self.token {
            None => Ok(None),
            Some(token) => {
                let getting = async { self.calls.abandon().or(token.get(&self.client, now)).await };
                let got = self.calls.wait(getting).and_then(|got| got);
                got.map_err(|cut| format!("getting a token: {cut}"))?.map(Some)
            }
        }
    }

    /// Drops a token that was refused, so that the next request gets a new one.
    fn heard(&mut self, is_unauthorized: bool) {
        if is_unauthorized && let Some(token) = &mut self.token {
            token.forget();
        }
    }

    /// Distributes requests to lanes: by meter, each in the order of its records.
    fn lanes(&mut self, records: &[Outgoing<'_>], answers: &mut [Answer]) -> Vec<Vec<Letter>> {
        let mut lanes: Vec<Vec<Letter>> = (0..self.plan.parallel).map(|_| Vec::new()).collect();
        let now = self.clock.now();
        for (place, record) in records.iter().enumerate() {
            match self.writer.write(place, record, now) {
                Ok(letter) => {
                    let lane = usize::try_from(letter.meter.as_u128() % lanes.len() as u128).unwrap_or_default();
                    lanes[lane].push(letter);
                }
                Err(why) => answers[place] = Answer::Refused(why),
            }
        }
        lanes
    }
}

/// The state that all lanes of a window share.
struct Round<'h> {
    plan: &'h HttpPlan,
    url: &'h Url,
    client: &'h Client,
    clock: &'h dyn Clock,
    signers: &'h [Signer],
    headers: &'h [(String, String)],
    authorization: Option<&'h str>,
    abandon: &'h Abandon,
}

/// Adds headers and authorization to a request.
fn dressed(mut request: RequestBuilder, headers: &[(String, String)], authorization: Option<&str>) -> RequestBuilder {
    for (name, value) in headers {
        request = request.header(name, value);
    }
    match authorization {
        Some(authorization) => request.header("authorization", authorization),
        None => request,
    }
}

/// Whether an error is that of missing authorization.
fn is_unauthorized(why: &str) -> bool {
    why.starts_with("401")
}

impl Round<'_> {
    /// Sends the letters of a lane, one request after the other.
    async fn lane(&self, lane: Vec<Letter>) -> Vec<(usize, Answer, Exchange)> {
        let mut answers = Vec::with_capacity(lane.len());
        let mut held_up = Vec::new();
        let mut failures = 0;
        for letters in lane.chunks(self.plan.batch) {
            if failures >= FAILURES_MAX || self.abandon.is_asked() {
                answers.extend(letters.iter().map(|letter| (letter.place, Answer::NotTried, Exchange::default())));
                continue;
            }
            let (behind, going): (Vec<&Letter>, Vec<&Letter>) =
                letters.iter().partition(|letter| held_up.contains(&letter.meter));
            answers.extend(behind.iter().map(|letter| (letter.place, Answer::NotTried, Exchange::default())));
            if going.is_empty() {
                continue;
            }
            for (letter, (answer, exchange)) in self.post(&going).await {
                match &answer {
                    Answer::Accepted | Answer::Refused(_) => failures = 0,
                    Answer::Unavailable { .. } => failures = FAILURES_MAX,
                    _ => {
                        failures += 1;
                        held_up.push(letter.meter);
                    }
                }
                answers.push((letter.place, answer, exchange));
            }
        }
        answers
    }

    /// Sends one request. If it is refused, its records are sent one by one, since a single one may
    /// be the cause.
    async fn post<'l>(&self, letters: &[&'l Letter]) -> Vec<(&'l Letter, (Answer, Exchange))> {
        let answer = self.exchange(letters).await;
        if letters.len() == 1 || !matches!(answer.0, Answer::Refused(_)) {
            return letters.iter().map(|letter| (*letter, answer.clone())).collect();
        }
        let mut answers = Vec::with_capacity(letters.len());
        for letter in letters {
            let answer = self.exchange(&[letter]).await;
            let goes_on = matches!(answer.0, Answer::Accepted | Answer::Refused(_));
            answers.push((*letter, answer));
            if !goes_on {
                break;
            }
        }
        let rest = letters.iter().skip(answers.len()).map(|letter| (*letter, (Answer::NotTried, Exchange::default())));
        answers.extend(rest.collect::<Vec<_>>());
        answers
    }

    /// Sends one request. Returns the answer, and how long it took.
    async fn exchange(&self, letters: &[&Letter]) -> (Answer, Exchange) {
        let began = self.clock.now();
        let (key, body) = request::sealed(letters, self.plan.batch);
        let method = if self.plan.method == "PUT" { Method::PUT } else { Method::POST };
        let request =
            self.client.request(method, self.url.clone()).header("content-type", request::content_type(&self.plan.body));
        let mut request = dressed(request, self.headers, self.authorization).header(&self.plan.key_header, &key);
        if !self.signers.is_empty() {
            let at = self.clock.now();
            let signatures: Vec<String> = self.signers.iter().map(|signer| signer.sign(&key, at, &body)).collect();
            request = request
                .header("webhook-id", &key)
                .header("webhook-timestamp", seconds(at).to_string())
                .header("webhook-signature", signatures.join(" "));
        }
        let hearing = async { Spoken::hear(request.body(body).send().await, self.clock.now(), ANSWER_BYTES_MAX).await };
        let mut exchange = Exchange::default();
        let answer = match self.abandon.or(hearing).await {
            Ok(Ok(spoken)) => {
                let answer = spoken.judge(self.plan);
                exchange.status = Some(spoken.status());
                exchange.answer = (answer != Answer::Accepted).then(|| spoken.whole());
                answer
            }
            Ok(Err(answer)) => answer,
            // The request may have arrived.
            Err(cut) => Answer::InDoubt(cut.to_string()),
        };
        exchange.ms = u64::try_from(self.clock.now().since(began) / 1_000_000).ok();
        (answer, exchange)
    }
}

impl Target for Http {
    fn address(&self) -> String {
        let port = self.url.port_or_known_default().map(|port| format!(":{port}")).unwrap_or_default();
        format!("{}{port}", self.url.host_str().unwrap_or_default())
    }

    fn probe(&mut self) -> Result<(), Error> {
        self.reach()?;
        // Only a token endpoint allows a check of the login.
        match self.token.as_ref().is_some_and(Token::is_granted) {
            true => self.authorization().map(drop).map_err(|why| Error::new(Kind::Unavailable, format!("{why}; check `auth`"))),
            false => Ok(()),
        }
    }

    fn send(&mut self, _window: Span, records: &[Outgoing<'_>]) -> Vec<Answer> {
        let mut answers = vec![Answer::NotTried; records.len()];
        self.exchanges.clear();
        self.exchanges.resize(records.len(), Exchange::default());
        let authorization = match self.authorization() {
            Ok(authorization) => authorization,
            Err(why) => {
                if let Some(first) = answers.first_mut() {
                    *first = Answer::Unavailable { why, after: None };
                }
                return answers;
            }
        };
        let lanes = self.lanes(records, &mut answers);
        let round = Round {
            plan: &self.plan,
            url: &self.url,
            client: &self.client,
            clock: &*self.clock,
            signers: &self.signers,
            headers: &self.headers,
            authorization: authorization.as_deref(),
            abandon: self.calls.abandon(),
        };
        let spoken = futures_util::future::join_all(lanes.into_iter().map(|lane| round.lane(lane)));
        let mut left = ANSWERS_BYTES_MAX;
        for (place, answer, mut exchange) in self.calls.wait(spoken).unwrap_or_default().into_iter().flatten() {
            left = left.saturating_sub(exchange.answer.as_ref().map_or(0, String::len));
            if left == 0 {
                // The meaning of the answer is kept all the same.
                exchange.answer = None;
            }
            answers[place] = answer;
            self.exchanges[place] = exchange;
        }
        self.heard(answers.iter().any(|answer| matches!(answer, Answer::Unavailable { why, .. } if is_unauthorized(why))));
        answers
    }

    fn exchange(&self, place: usize) -> Exchange {
        self.exchanges.get(place).cloned().unwrap_or_default()
    }

    fn repeat(&self) -> Repeat {
        match self.plan.dialect {
            Dialect::Webhook | Dialect::Lago => Repeat::Harmless,
            Dialect::Stripe => Repeat::HarmlessFor(STRIPE_MEMORY),
            Dialect::Zuora => Repeat::ReadFirst,
        }
    }

    fn can_be_asked(&self) -> bool {
        self.asking.is_some()
    }

    fn read_back(&mut self, records: &[Outgoing<'_>]) -> Result<Vec<Held>, Error> {
        let away = |why: String| Error::new(Kind::Unavailable, why);
        let authorization = self.authorization().map_err(away)?;
        let Some(asking) = &mut self.asking else { return Err(Error::new(Kind::Bug, "there is no way to ask")) };
        let mut questions = Vec::with_capacity(records.len());
        for record in records {
            let url = asking.url.text(record.json, &|value| percent_encoded(value).into_bytes()).map_err(away)?;
            let mut body = None;
            if let Some(filler) = &mut asking.body {
                let mut json = Vec::new();
                filler.json(record.json, &mut json).map_err(away)?;
                body = Some(json);
            }
            questions.push((crate::expand(&url)?, body));
        }
        let (client, clock, dialect, is_record) = (&self.client, &*self.clock, self.plan.dialect, asking.is_record);
        let (headers, authorization) = (&self.headers, authorization.as_deref());
        let ask = |(record, (url, body)): (&Outgoing<'_>, (String, Option<Vec<u8>>))| {
            let request = match body {
                Some(body) => client.post(url).header("content-type", "application/json").body(body),
                None => client.get(url),
            };
            let request = dressed(request, headers, authorization);
            let json = record.json.to_vec();
            async move {
                let spoken = Spoken::hear(request.send().await, clock.now(), RECORD_BYTES_MAX).await;
                spoken.map_err(answers::why).and_then(|spoken| spoken.held(dialect, is_record.then_some(json.as_slice())))
            }
        };
        let mut answers: Vec<Result<Held, String>> = Vec::with_capacity(records.len());
        let mut questions = records.iter().zip(questions);
        while answers.last().is_none_or(Result::is_ok) {
            let some: Vec<_> = questions.by_ref().take(self.plan.parallel).map(ask).collect();
            if some.is_empty() {
                break;
            }
            let asked = async { self.calls.abandon().or(futures_util::future::join_all(some)).await };
            let asked = self.calls.wait(asked).and_then(|asked| asked);
            answers.extend(asked.map_err(|cut| away(cut.to_string()))?);
        }
        self.heard(answers.iter().any(|answer| answer.as_ref().is_err_and(|why| is_unauthorized(why))));
        answers.into_iter().map(|answer| answer.map_err(away)).collect()
    }
}
