//! Requests to a service that has events, or the rows of a table.

use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use flowmeter_core::service::ServiceAddress;
use flowmeter_core::time::Timestamp;
use flowmeter_engine::{Error, Kind};
use reqwest::header::{AUTHORIZATION, HeaderMap, RETRY_AFTER};
use reqwest::{Client, StatusCode};

use crate::calls::{Abandon, Calls};
use crate::retry_after::retry_after;
use crate::targets::http::answers::chain;
use crate::targets::http::token::Token;
use crate::{answer, client};

/// The longest pause that a service may ask for.
const PAUSE_MAX: Duration = Duration::from_secs(3600);

/// The wall clock, by which tokens end.
pub(crate) type Wall = Arc<dyn Fn() -> std::time::SystemTime + Send + Sync>;

/// Returns an address for people: without its query and without a user, which may be secret.
pub(crate) fn shown_address(url: &str) -> String {
    let url = url.split('?').next().unwrap_or_default();
    let Some((scheme, rest)) = url.split_once("://") else { return url.to_owned() };
    let (host, path) = rest.find('/').map_or((rest, ""), |slash| rest.split_at(slash));
    let host = host.rsplit('@').next().unwrap_or_default();
    format!("{scheme}://{host}{path}")
}

/// A service with its credentials.
pub(crate) struct Service {
    client: Client,
    token: Option<Token>,
    headers: Vec<(String, String)>,
    calls: Calls,
    /// How long an answer may take, and the bytes that it may have.
    timeout: Duration,
    bytes_max: usize,
    /// The address without its query, for messages.
    shown: Arc<str>,
    wall: Wall,
}

/// The answer to a request.
pub(crate) enum Answer {
    /// A page with its headers.
    Page(HeaderMap, Vec<u8>),
    /// The service asks to come again after this time.
    Later(Duration),
}

impl Service {
    pub(crate) fn new(
        plan: &ServiceAddress,
        shown: &Arc<str>,
        bytes_max: usize,
        abandon: &Abandon,
        wall: Wall,
    ) -> Result<Service, Error> {
        let timeout = Duration::from_nanos(plan.timeout.unsigned_abs());
        crate::tls::prefer_ring();
        let client = client::bounded(Client::builder(), timeout)
            .use_preconfigured_tls(crate::tls::of(&plan.tls)?)
            .build()
            .map_err(|why| Error::new(Kind::Invalid, format!("http: the client: {}", chain(&why))))?;
        let headers = plan.headers.iter().map(|(name, value)| Ok((name.clone(), crate::expand(value)?)));
        Ok(Service {
            client,
            token: Token::new(&plan.auth)?,
            headers: headers.collect::<Result<_, Error>>()?,
            calls: Calls::new(abandon)?,
            timeout,
            bytes_max,
            shown: Arc::clone(shown),
            wall,
        })
    }

    fn now(&self) -> Timestamp {
        let since = (self.wall)().duration_since(UNIX_EPOCH).unwrap_or_default();
        Timestamp::from_nanos(i64::try_from(since.as_nanos()).unwrap_or(i64::MAX))
    }

    /// Asks for a page.
    ///
    /// # Errors
    /// The service does not answer, or refuses the request.
    pub(crate) fn ask(&mut self, url: &str) -> Result<Answer, Error> {
        let now = self.now();
        let Service { client, token, headers, calls, timeout, bytes_max, shown, .. } = self;
        let away = |why: &dyn std::fmt::Display| Error::new(Kind::Unavailable, format!("http: {shown}: {why}"));
        let asking = async {
            let mut request = client.get(url);
            for (name, value) in headers.iter() {
                request = request.header(name, value);
            }
            if let Some(token) = token.as_mut() {
                request = request.header(AUTHORIZATION, token.get(client, now).await?);
            }
            let answer = request.send().await.map_err(|why| chain(&why.without_url()))?;
            let (status, headers) = (answer.status(), answer.headers().clone());
            let body = match status.is_success() {
                true => answer::read(reqwest::Body::from(answer), *bytes_max).await,
                false => answer::Body { bytes: Vec::new(), end: answer::End::Whole },
            };
            Ok::<_, String>((status, headers, body))
        };
        // A token may have to be fetched first.
        let asked = calls.within(*timeout * 2, asking).map_err(|why| away(&why))?;
        let (status, headers, body) = asked.map_err(|why| away(&why))?;
        if status.is_success() {
            let is_long = matches!(body.end, answer::End::TooLong(_));
            return match body.whole() {
                Ok(page) => Ok(Answer::Page(headers, page)),
                Err(why) if is_long => Err(Error::new(Kind::Invalid, format!("http: {shown}: {why}; ask for less at once"))),
                Err(why) => Err(away(&why)),
            };
        }
        let refused = format!("http: {shown} answers {status}; check `url`, `auth` and `headers`");
        match status {
            StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => {
                let text = headers.get(RETRY_AFTER).and_then(|value| value.to_str().ok());
                let pause = text.and_then(|text| retry_after(text, now));
                let pause = pause.ok_or_else(|| away(&status))?;
                Ok(Answer::Later(Duration::from_nanos(pause.unsigned_abs()).min(PAUSE_MAX)))
            }
            StatusCode::UNAUTHORIZED if token.as_ref().is_some_and(Token::is_granted) => {
                // A token that ended early is fetched again.
                token.as_mut().into_iter().for_each(Token::forget);
                Err(away(&status))
            }
            StatusCode::REQUEST_TIMEOUT => Err(away(&status)),
            _ if status.is_client_error() => Err(Error::new(Kind::Invalid, refused)),
            _ => Err(Error::new(Kind::Unavailable, refused)),
        }
    }
}
