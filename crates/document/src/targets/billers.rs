//! Billers with a known HTTP API: how records are sent, repeated without double counting, and read
//! back.

use flowmeter_core::service::{Auth, TlsPlan};
use flowmeter_core::template::{Draft, Piece};

use super::Compiling;
use super::http::{Body, Dialect, HttpPlan, ReadBack, TIMEOUT, Told, check_url};
use crate::tree::Node as Tree;

/// The value of the first record of a period, and the delta of a revision, for billers that sum the
/// events of a period.
const VALUE_OR_DELTA: &str = "{{has(meterMetaData.delta) ? meterMetaData.delta : value}}";
const RECORD_ID: &str = "{{meterMetaData.recordId}}";
/// The last second of the period, in seconds since 1970, since a boundary belongs to the next
/// period. A period without an end uses the last change.
const LAST_SECOND: &str = "{{timestamp(coalesce(periodEnd, updatedAt)) - timestamp('1970-01-01T00:00:01Z')}}";

fn plan(dialect: Dialect, url: String, auth: Auth, body: Body, node: &Tree) -> HttpPlan {
    HttpPlan {
        dialect,
        url,
        method: "POST".to_owned(),
        headers: Vec::new(),
        auth,
        tls: TlsPlan::default(),
        signing_secrets: Vec::new(),
        body,
        batch: 1,
        parallel: node.text("parallel").and_then(|text| text.parse().ok()).unwrap_or(4),
        timeout: TIMEOUT,
        key_header: "Idempotency-Key".to_owned(),
        accepted: Vec::new(),
        read_back: None,
        scale: None,
    }
}

fn address(node: &Tree, otherwise: &str, part: &mut Compiling<'_>) -> String {
    let url = node.text("url").unwrap_or(otherwise);
    check_url(node, url, "url", part);
    url.trim_end_matches('/').to_owned()
}

fn object(members: impl IntoIterator<Item = (&'static str, Piece)>) -> Piece {
    Piece::Object(members.into_iter().map(|(name, piece)| (name.to_owned(), piece)).collect())
}

/// Stripe meter events: `POST /v1/billing/meter_events`. Stripe deduplicates identifiers for 24
/// hours, and accepts timestamps of the last 35 days and whole numbers.
pub(super) fn stripe(node: &Tree, mut part: Compiling<'_>) -> HttpPlan {
    let base = address(node, "https://api.stripe.com", &mut part);
    let customer_key = node.text("customerKey").unwrap_or("stripe_customer_id").to_owned();
    let value_key = node.text("valueKey").unwrap_or("value").to_owned();
    let payload = vec![
        (customer_key, part.text_or(node, "customer", "{{userId}}")),
        (value_key, part.text_or(node, "value", VALUE_OR_DELTA)),
    ];
    let body = object([
        ("event_name", part.text_or(node, "eventName", "")),
        ("identifier", part.text(node, "identifier", RECORD_ID)),
        ("timestamp", part.text(node, "timestamp", LAST_SECOND)),
        ("payload", Piece::Object(payload)),
    ]);
    let auth = Auth::Bearer(node.text("secretKey").unwrap_or_default().to_owned());
    let body = Body::Form(part.draft.finish(body));
    let scale = node.text("scale").and_then(|text| text.parse().ok()).unwrap_or(1);
    HttpPlan { scale: Some(scale), ..plan(Dialect::Stripe, format!("{base}/v1/billing/meter_events"), auth, body, node) }
}

/// Zuora usage: `POST /v1/usage`. Zuora does not deduplicate records: a record is searched for by a
/// field that holds its id.
pub(super) fn zuora(node: &Tree, mut part: Compiling<'_>) -> HttpPlan {
    let base = address(node, "", &mut part);
    let record_field = node.text("recordField").unwrap_or("Description").to_owned();
    let mut members = vec![
        ("AccountNumber".to_owned(), part.text_or(node, "accountNumber", "{{userId}}")),
        ("UOM".to_owned(), part.text_or(node, "unit", "{{unit}}")),
        ("Quantity".to_owned(), part.text_or(node, "quantity", VALUE_OR_DELTA)),
        ("StartDateTime".to_owned(), part.text_or(node, "start", "{{periodStart}}")),
        (record_field.clone(), part.text(node, "recordField", RECORD_ID)),
    ];
    for (name, known) in [("subscriptionNumber", "SubscriptionNumber"), ("chargeNumber", "ChargeNumber")] {
        if let Some(at) = node.get(name) {
            members.push((known.to_owned(), part.piece(at, name)));
        }
    }
    let query = format!("select Id from Usage where {record_field} = '{RECORD_ID}'");
    let mut asking = Draft::default();
    let question = asking.text(&query).map(|text| object([("queryString", text)]));
    let question = question.unwrap_or_else(|why| {
        part.wrong(node, "recordField", why);
        Piece::Fixed("null".to_owned())
    });
    let mut at = Draft::default();
    let url = at.text(&format!("{base}/v1/action/query")).unwrap_or_else(|why| {
        part.wrong(node, "url", why);
        Piece::Fixed("null".to_owned())
    });
    let auth = Auth::OAuth2 {
        token_url: format!("{base}/oauth/token"),
        client_id: node.text("clientId").unwrap_or_default().to_owned(),
        client_secret: node.text("clientSecret").unwrap_or_default().to_owned(),
        scope: None,
    };
    let body = Body::Json(part.draft.finish(Piece::Object(members)));
    let read_back = ReadBack { url: at.finish(url), body: Some(asking.finish(question)), is_record: false };
    HttpPlan { read_back: Some(read_back), ..plan(Dialect::Zuora, format!("{base}/v1/usage"), auth, body, node) }
}

/// Lago events: `POST /api/v1/events`. Lago deduplicates transaction ids for ever, and refuses a
/// repetition.
pub(super) fn lago(node: &Tree, mut part: Compiling<'_>) -> HttpPlan {
    let base = address(node, "https://api.getlago.com", &mut part);
    let properties = match node.get("properties") {
        Some(at) => part.piece(at, "properties"),
        None => object([("value", part.text(node, "properties", VALUE_OR_DELTA))]),
    };
    let event = object([
        ("transaction_id", part.text(node, "transactionId", RECORD_ID)),
        ("external_subscription_id", part.text_or(node, "subscription", "{{userId}}")),
        ("code", part.text_or(node, "code", "")),
        ("timestamp", part.text(node, "timestamp", LAST_SECOND)),
        ("properties", properties),
    ]);
    let mut at = Draft::default();
    let url = at.text(&format!("{base}/api/v1/events/{RECORD_ID}")).unwrap_or_else(|why| {
        part.wrong(node, "url", why);
        Piece::Fixed("null".to_owned())
    });
    let auth = Auth::Bearer(node.text("apiKey").unwrap_or_default().to_owned());
    let body = Body::Json(part.draft.finish(object([("event", event)])));
    HttpPlan {
        accepted: vec![Told { status: 422, contains: "value_already_exist".to_owned() }],
        read_back: Some(ReadBack { url: at.finish(url), body: None, is_record: false }),
        ..plan(Dialect::Lago, format!("{base}/api/v1/events"), auth, body, node)
    }
}
