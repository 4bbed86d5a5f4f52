//! Targets with an HTTP API.

use flowmeter_core::service::{Auth, TlsPlan};
use flowmeter_core::template::Template;
use flowmeter_core::time::parse_duration;

use super::Compiling;
use crate::tree::Node as Tree;

/// Requests that carry records.
#[derive(Clone, Debug)]
pub struct HttpPlan {
    /// The kind of receiver, which decides how responses are interpreted.
    pub dialect: Dialect,
    /// The address of requests.
    pub url: String,
    /// The method, `POST` or `PUT`.
    pub method: String,
    /// Headers: name and value.
    pub headers: Vec<(String, String)>,
    /// How requests are authorized.
    pub auth: Auth,
    /// The trusted authorities and the client certificate.
    pub tls: TlsPlan,
    /// Secrets with which requests are signed, by Standard Webhooks.
    pub signing_secrets: Vec<String>,
    /// The body of a request.
    pub body: Body,
    /// Records in one request; with more than one, the body is a list.
    pub batch: usize,
    /// Maximum of concurrent requests.
    pub parallel: usize,
    /// Nanoseconds until a request times out.
    pub timeout: i64,
    /// The header that carries the key of the request.
    pub key_header: String,
    /// Responses besides 2xx that mean that the target has the record.
    pub accepted: Vec<Told>,
    /// The request that reads a record back.
    pub read_back: Option<ReadBack>,
    /// The factor by which values are multiplied, where the target accepts whole numbers only.
    pub scale: Option<u64>,
}

/// The kind of receiver.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// Any receiver of webhooks.
    Webhook,
    /// Meter events of Stripe.
    Stripe,
    /// The usage API of Zuora.
    Zuora,
    /// The events API of Lago.
    Lago,
}

impl Dialect {
    /// Returns its name in documents.
    pub const fn name(self) -> &'static str {
        match self {
            Dialect::Webhook => "webhook",
            Dialect::Stripe => "stripe",
            Dialect::Zuora => "zuora",
            Dialect::Lago => "lago",
        }
    }
}

/// The body of a request.
#[derive(Clone, Debug)]
pub enum Body {
    /// The record as it was made.
    Record,
    /// JSON from a template.
    Json(Template),
    /// A form from a template.
    Form(Template),
}

/// A response with a special meaning.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Told {
    /// The status of the response.
    pub status: u16,
    /// A text that its body contains.
    pub contains: String,
}

/// The request that reads a record back.
#[derive(Clone, Debug)]
pub struct ReadBack {
    /// The address; status 404 means that the record does not exist.
    pub url: Template,
    /// The body to POST; without it, the request is a GET.
    pub body: Option<Template>,
    /// Whether the response is the record itself.
    pub is_record: bool,
}

pub(super) fn webhook(node: &Tree, mut part: Compiling<'_>) -> HttpPlan {
    let text = |name: &str| node.text(name).map(str::to_owned);
    let number = |name: &str, otherwise: usize| node.text(name).and_then(|text| text.parse().ok()).unwrap_or(otherwise);
    let url = text("url").unwrap_or_default();
    check_url(node, &url, "url", &mut part);
    let read_back = node.get("readBack").map(|read| {
        let at = read.get("url").unwrap_or(read);
        let mut draft = std::mem::take(&mut part.draft);
        let url = draft.text(read.text("url").unwrap_or_default());
        let url = url.unwrap_or_else(|why| {
            part.wrong(at, "readBack.url", why);
            flowmeter_core::template::Piece::Fixed("null".to_owned())
        });
        ReadBack { url: draft.finish(url), body: None, is_record: read.text("isRecord") == Some("true") }
    });
    let body = node.get("body").map(|body| part.piece(body, "body"));
    let is_form = node.text("form") == Some("true");
    let batch = number("batch", 1);
    if is_form && (body.is_none() || batch > 1) {
        part.wrong(node, "form", "a form needs a `body` of fields, and carries one record: leave `batch` out");
    }
    let template = body.map(|body| std::mem::take(&mut part.draft).finish(body));
    let list = |name: &str| node.get(name).map(Tree::items).unwrap_or_default();
    HttpPlan {
        dialect: Dialect::Webhook,
        url,
        method: text("method").unwrap_or_else(|| "POST".to_owned()),
        headers: members(node.get("headers")),
        auth: auth(node, &mut part),
        tls: tls(node),
        signing_secrets: list("signingSecrets").iter().filter_map(Tree::scalar).map(str::to_owned).collect(),
        body: match template {
            None => Body::Record,
            Some(template) if is_form => Body::Form(template),
            Some(template) => Body::Json(template),
        },
        batch,
        parallel: number("parallel", 4),
        timeout: node.text("timeout").and_then(parse_duration).unwrap_or(TIMEOUT),
        key_header: text("keyHeader").unwrap_or_else(|| "Idempotency-Key".to_owned()),
        accepted: list("accepted").iter().map(told).collect(),
        read_back,
        scale: None,
    }
}

/// Default timeout of requests.
pub(super) const TIMEOUT: i64 = 30_000_000_000;

fn told(node: &Tree) -> Told {
    Told {
        status: node.text("status").and_then(|text| text.parse().ok()).unwrap_or_default(),
        contains: node.text("contains").unwrap_or_default().to_owned(),
    }
}

fn members(node: Option<&Tree>) -> Vec<(String, String)> {
    let members = node.into_iter().flat_map(Tree::members);
    members.map(|(name, value)| (name.to_owned(), value.scalar().unwrap_or_default().to_owned())).collect()
}

/// Checks an address as far as possible without a request.
pub(super) fn check_url(node: &Tree, url: &str, name: &str, part: &mut Compiling<'_>) {
    if !["https://", "http://", "${"].iter().any(|scheme| url.starts_with(scheme)) {
        part.wrong(node.get(name).unwrap_or(node), name, format!("`{url}` is no address; write https://HOST/PATH"));
    }
}

pub(crate) fn auth(node: &Tree, part: &mut Compiling<'_>) -> Auth {
    let Some(auth) = node.get("auth") else { return Auth::None };
    let text = |node: &Tree, name: &str| node.text(name).unwrap_or_default().to_owned();
    let kinds: Vec<(&str, &Tree)> = auth.members().collect();
    match kinds.as_slice() {
        [("bearer", token)] => Auth::Bearer(token.scalar().unwrap_or_default().to_owned()),
        [("basic", basic)] => Auth::Basic { user: text(basic, "user"), password: text(basic, "password") },
        [("oauth2", oauth)] => {
            check_url(oauth, oauth.text("tokenUrl").unwrap_or_default(), "tokenUrl", part);
            Auth::OAuth2 {
                token_url: text(oauth, "tokenUrl"),
                client_id: text(oauth, "clientId"),
                client_secret: text(oauth, "clientSecret"),
                scope: oauth.text("scope").map(str::to_owned),
            }
        }
        _ => {
            part.wrong(auth, "auth", "write one of bearer, basic, oauth2");
            Auth::None
        }
    }
}

pub(crate) fn tls(node: &Tree) -> TlsPlan {
    let text = |name: &str| node.get("tls").and_then(|tls| tls.text(name)).map(str::to_owned);
    TlsPlan { ca: text("ca"), certificate: text("certificate"), key: text("key") }
}
