//! Records as requests.

use flowmeter_core::decimal::{self, Decimal};
use flowmeter_core::meter_type::derived;
use flowmeter_core::template::Filler;
use flowmeter_core::time::Timestamp;
use flowmeter_document::{Body, Dialect, HttpPlan};
use flowmeter_engine::Error;
use flowmeter_engine::outbox::Outgoing;
use uuid::Uuid;

/// Maximal age of a meter event for Stripe: 35 days.
const STRIPE_AGE_SECONDS: i64 = 35 * 86_400;
/// Maximum by which it may be ahead of Stripe's clock: 5 minutes.
const STRIPE_AHEAD_SECONDS: i64 = 300;

/// A record as a request, ready to be sent.
pub(super) struct Letter {
    pub(super) place: usize,
    pub(super) meter: Uuid,
    record_id: Uuid,
    body: Vec<u8>,
}

/// Makes requests of records.
pub(super) struct Writer {
    shape: Shape,
    dialect: Dialect,
    scale: Decimal,
}

enum Shape {
    Record,
    Json(Filler),
    Form(Filler),
}

impl Writer {
    pub(super) fn new(plan: &HttpPlan) -> Result<Writer, Error> {
        let shape = match &plan.body {
            Body::Record => Shape::Record,
            Body::Json(template) => Shape::Json(Filler::new(template.clone())),
            Body::Form(template) => Shape::Form(Filler::new(template.clone())),
        };
        Ok(Writer { shape, dialect: plan.dialect, scale: Decimal::from_count(plan.scale.unwrap_or(1)) })
    }

    /// Makes the request of a record.
    ///
    /// # Errors
    /// The record can never become a request; the message says why.
    pub(super) fn write(&mut self, place: usize, record: &Outgoing<'_>, now: Timestamp) -> Result<Letter, String> {
        let names = record.names().map_err(|why| why.to_string())?;
        let body = match &mut self.shape {
            Shape::Record => record.json.to_vec(),
            Shape::Json(filler) => {
                let mut body = Vec::with_capacity(record.json.len());
                filler.json(record.json, &mut body).map_err(|why| format!("the template: {why}"))?;
                body
            }
            Shape::Form(filler) => {
                let mut fields = filler.form(record.json).map_err(|why| format!("the template: {why}"))?;
                if self.dialect == Dialect::Stripe {
                    for_stripe(&mut fields, self.scale, now)?;
                }
                form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish().into_bytes()
            }
        };
        Ok(Letter { place, meter: names.meter, record_id: names.record_id, body })
    }
}

/// Checks the limits of Stripe before sending, since Stripe's own errors say less.
fn for_stripe(fields: &mut [(String, String)], scale: Decimal, now: Timestamp) -> Result<(), String> {
    let now = now.nanos().div_euclid(1_000_000_000);
    if let Some((_, text)) = fields.iter().find(|(name, _)| name == "timestamp") {
        let at: i64 = text.parse().map_err(|_| format!("the timestamp is `{text}`, which are no seconds"))?;
        if at < now - STRIPE_AGE_SECONDS {
            return Err("the period ended more than 35 days ago; Stripe takes no such meter event: bill it by hand and skip it"
                .to_owned());
        }
        if at > now + STRIPE_AHEAD_SECONDS {
            return Err(
                "the period has not ended yet; Stripe takes meter events up to 5 minutes ahead: send it again then".to_owned()
            );
        }
    }
    let value = fields.iter_mut().rev().find(|(name, _)| name.starts_with("payload["));
    if let Some((_, text)) = value {
        let number = decimal::parse(text.as_bytes()).map_err(|_| format!("the value is `{text}`; Stripe takes whole numbers"))?;
        let scaled = number.times(scale).filter(|scaled| scaled.units() % Decimal::from_int(1).units() == 0);
        let scaled = scaled.ok_or_else(|| {
            format!("{text} times {scale} is no whole number, and Stripe takes no other; raise `scale`, and let the price in Stripe be for that unit")
        })?;
        *text = scaled.to_string();
    }
    Ok(())
}

/// Returns the key and the body of a request.
pub(super) fn sealed(letters: &[&Letter], batch: usize) -> (String, Vec<u8>) {
    if batch == 1
        && let [letter] = letters
    {
        return (letter.record_id.to_string(), letter.body.clone());
    }
    // A list, even of one: a receiver of lists always gets lists.
    let mut body = vec![b'['];
    for (at, letter) in letters.iter().enumerate() {
        if at > 0 {
            body.push(b',');
        }
        body.extend_from_slice(&letter.body);
    }
    body.push(b']');
    let key = match letters {
        [letter] => letter.record_id,
        // The same records make the same key.
        several => {
            let ids: Vec<u8> = several.iter().flat_map(|letter| *letter.record_id.as_bytes()).collect();
            derived::named(&Uuid::NAMESPACE_OID, &ids)
        }
    };
    (key.to_string(), body)
}

pub(super) fn content_type(body: &Body) -> &'static str {
    match body {
        Body::Form(_) => "application/x-www-form-urlencoded",
        Body::Record | Body::Json(_) => "application/json",
    }
}
