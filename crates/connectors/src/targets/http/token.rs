//! Tokens that authorize requests.

use data_encoding::BASE64;
use flowmeter_core::service::Auth;
use flowmeter_core::time::Timestamp;
use flowmeter_engine::Error;
use serde::Deserialize;

use super::answers::chain;
use crate::answer::{self, ANSWER_BYTES_MAX};

/// Nanoseconds before its end at which a token is no longer used.
const MARGIN: i64 = 30_000_000_000;
/// Lifetime of a token whose endpoint does not state one.
const USUAL_SECONDS: i64 = 300;

/// The token that authorizes requests.
pub(crate) enum Token {
    /// A token that never changes.
    Fixed(String),
    /// A token from an endpoint, for a limited time.
    Granted(Box<Granted>),
}

pub(crate) struct Granted {
    url: String,
    fields: Vec<(&'static str, String)>,
    held: Option<(String, Timestamp)>,
}

#[derive(Deserialize)]
struct Grant {
    access_token: String,
    expires_in: Option<i64>,
}

impl Token {
    pub(crate) fn new(auth: &Auth) -> Result<Option<Token>, Error> {
        Ok(match auth {
            Auth::None => None,
            Auth::Bearer(token) => Some(Token::Fixed(format!("Bearer {}", crate::expand(token)?))),
            Auth::Basic { user, password } => {
                let pair = format!("{}:{}", crate::expand(user)?, crate::expand(password)?);
                Some(Token::Fixed(format!("Basic {}", BASE64.encode(pair.as_bytes()))))
            }
            Auth::OAuth2 { token_url, client_id, client_secret, scope } => {
                let mut fields = vec![
                    ("grant_type", "client_credentials".to_owned()),
                    ("client_id", crate::expand(client_id)?),
                    ("client_secret", crate::expand(client_secret)?),
                ];
                if let Some(scope) = scope {
                    fields.push(("scope", scope.clone()));
                }
                Some(Token::Granted(Box::new(Granted { url: crate::expand(token_url)?, fields, held: None })))
            }
        })
    }

    /// Returns the value of the header. The error is a message for people.
    pub(crate) async fn get(&mut self, client: &reqwest::Client, now: Timestamp) -> Result<String, String> {
        let granted = match self {
            Token::Fixed(value) => return Ok(value.clone()),
            Token::Granted(granted) => granted,
        };
        if let Some((value, until)) = &granted.held
            && now < *until
        {
            return Ok(value.clone());
        }
        let body = form_urlencoded::Serializer::new(String::new()).extend_pairs(&granted.fields).finish();
        let request = client.post(&granted.url).header("content-type", "application/x-www-form-urlencoded").body(body);
        let response = request.send().await.map_err(|why| format!("getting a token: {}", chain(&why)))?;
        let status = response.status();
        let body = answer::read(reqwest::Body::from(response), ANSWER_BYTES_MAX).await;
        if !status.is_success() {
            let said: String = body.text().chars().take(200).collect();
            return Err(format!("getting a token: {status}: {said}"));
        }
        let bytes = body.whole().map_err(|why| format!("getting a token: {why}"))?;
        let grant: Grant = serde_json::from_slice(&bytes).map_err(|why| format!("getting a token: the answer is none: {why}"))?;
        let seconds = grant.expires_in.unwrap_or(USUAL_SECONDS).clamp(0, 86_400);
        let value = format!("Bearer {}", grant.access_token);
        granted.held = Some((value.clone(), now.saturating_add(seconds * 1_000_000_000 - MARGIN)));
        Ok(value)
    }

    /// Whether it comes from a token endpoint, which may refuse it.
    pub(crate) fn is_granted(&self) -> bool {
        matches!(self, Token::Granted(_))
    }

    /// Drops a token that was refused, so that the next request gets a new one.
    pub(crate) fn forget(&mut self) {
        if let Token::Granted(granted) = self {
            granted.held = None;
        }
    }
}
