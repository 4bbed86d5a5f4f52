//! Sign-in of browsers: a key is checked once and not stored; a cookie represents it.
//!
//! A request with the cookie and without `Authorization` acts with the key's rights. A request that
//! changes something must come from a page of this server (`Sec-Fetch-Site` or `Origin`) and repeat
//! a value that only such a page can read.

use std::net::SocketAddr;

use axum::Extension;
use axum::body::Body;
use axum::extract::{ConnectInfo, Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get, post, put};
use flowmeter_core::time::Timestamp;
use flowmeter_engine::Error;
use flowmeter_node::audit::{Via, Who};
use flowmeter_node::keys::browsers::{BrowserSession, csrf, hash};
use flowmeter_node::keys::{KeyId, Principal, Scope, Unauthenticated};
use flowmeter_store::catalog::Change;
use serde_json::{Value, json};

use crate::access::Name;
use crate::api::request::object;
use crate::api::{App, Endpoint, answer, off};
use crate::loopback::{is_here, is_origin_of};
use crate::problem::{Code, Problem, Refused, problem_of};
use crate::security_headers::Transport;

/// The header in which a page repeats the value that belongs to its cookie.
const CSRF: &str = "x-flowmeter-csrf";
/// The header with which the page for a first event may send one.
const START: &str = "x-flowmeter-start";
/// Seconds a cookie is kept by a browser: as long as a session may live.
const COOKIE_SECONDS: u64 = 7 * 86_400;

/// Maximum of other namespaces to which a browser is signed in.
const OTHERS_MAX: usize = 16;

/// The endpoints of the sign-in.
pub(crate) fn endpoints() -> Vec<Endpoint> {
    let endpoint = |method, summary, body, answer, route| Endpoint {
        method,
        path: "/ui/session",
        scope: None,
        summary,
        query: &[],
        body,
        answer,
        route,
    };
    vec![
        endpoint(
            Method::GET,
            "Show the key that is signed in to the dashboard",
            None,
            (200, "Name, namespace, scopes"),
            get(show),
        ),
        endpoint(
            Method::POST,
            "Sign a browser in with a key; the key is checked and forgotten",
            Some("key"),
            (200, "Name, namespace, scopes; a cookie"),
            post(sign_in),
        ),
        endpoint(
            Method::PUT,
            "Act in another namespace that the browser is signed in to",
            Some("namespace"),
            (200, "Name, namespace, scopes"),
            put(switch),
        ),
        endpoint(Method::DELETE, "Sign a browser out", None, (204, "It is signed out"), delete(sign_out)),
    ]
}

/// How the browser reaches this server, as far as cookies are concerned.
struct Reached {
    cookie: String,
    is_secure: bool,
}

fn transport(app: &App) -> Transport {
    let settings = app.installation.settings();
    if settings.tls.is_some() || settings.dashboard.https { Transport::Tls } else { Transport::Plain }
}

fn host<'r>(headers: &'r HeaderMap, uri: &'r Uri) -> &'r str {
    let named = headers.get(header::HOST).and_then(|value| value.to_str().ok());
    named.or(uri.authority().map(axum::http::uri::Authority::as_str)).unwrap_or_default()
}

/// Chooses the cookie. Cookies are not separated by port, so on this machine the name has it.
fn reached(app: &App, headers: &HeaderMap, uri: &Uri) -> Result<Reached, Refused> {
    if transport(app) == Transport::Tls {
        return Ok(Reached { cookie: "__Host-flowmeter".to_owned(), is_secure: true });
    }
    let host = host(headers, uri);
    if is_here(host) {
        let port = host.rsplit_once(':').map(|(_, port)| port).filter(|port| port.parse::<u16>().is_ok());
        return Ok(Reached { cookie: format!("flowmeter-{}", port.unwrap_or("80")), is_secure: false });
    }
    let detail = "keys are not accepted over plain HTTP from another machine";
    let remedy = "Set tls.cert and tls.key, or dashboard.https if a proxy terminates TLS for browsers.";
    Err(Box::new(Problem::new(Code::HostRefused, detail).remedy(remedy)))
}

/// The value of a cookie.
fn cookie<'r>(headers: &'r HeaderMap, name: &str) -> Option<&'r str> {
    let all = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
    all.flat_map(|line| line.split(';')).find_map(|pair| {
        let (known, value) = pair.trim().split_once('=')?;
        (known == name && !value.is_empty()).then_some(value)
    })
}

/// Checks that a request comes from a page of this server.
fn same_origin(app: &App, headers: &HeaderMap, uri: &Uri) -> Result<(), Refused> {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let is_same = match (text("sec-fetch-site"), text("origin")) {
        (Some(site), _) => site == "same-origin",
        (None, Some(origin)) => is_origin_of(origin, host(headers, uri), transport(app)),
        (None, None) => false,
    };
    if is_same {
        return Ok(());
    }
    let detail = "a signed-in browser may change things only from a page of this server";
    let remedy = "Open the dashboard at this server's own address, or send an API key in Authorization.";
    Err(Box::new(Problem::new(Code::HostRefused, detail).remedy(remedy)))
}

/// Checks that a request repeats the value that belongs to its cookie.
fn is_of_session(headers: &HeaderMap, token: &str) -> Result<(), Refused> {
    let given = headers.get(CSRF).map(HeaderValue::as_bytes).unwrap_or_default();
    if bool::from(subtle::ConstantTimeEq::ct_eq(given, csrf(token).as_bytes())) {
        return Ok(());
    }
    let detail = format!("the request lacks the header {CSRF} of this session");
    Err(Box::new(Problem::new(Code::HostRefused, detail).remedy("Reload the page and try again.")))
}

/// Returns the principal of a request with a cookie, and the name of the browser's session; none if
/// it has none that is valid.
///
/// # Errors
/// A change that does not come from a page of this server; a key that was revoked or has expired.
pub(crate) fn principal(
    app: &App,
    request: &Request,
    scope: Scope,
    now: Timestamp,
) -> Result<Option<(Principal, String)>, Refused> {
    let (headers, uri) = (request.headers(), request.uri());
    if !headers.contains_key(header::COOKIE) {
        return Ok(None);
    }
    let Ok(reached) = reached(app, headers, uri) else { return Ok(None) };
    let Some(token) = cookie(headers, &reached.cookie) else { return Ok(None) };
    let Some(session) = app.browsers.find(app.installation.catalog(), token, now) else { return Ok(None) };
    let principal = app.keys.principal(session.key, now).map_err(|refusal| Box::new(Problem::from(refusal)))?;
    if !request.method().is_safe() {
        same_origin(app, headers, uri)?;
        is_of_session(headers, token)?;
    }
    if scope == Scope::Ingest && !headers.contains_key(START) {
        let detail = "a signed-in browser sends events only from the page for a first event";
        return Err(Box::new(
            Problem::new(Code::ScopeMissing, detail).remedy("Send events with a key that has the scope `ingest`."),
        ));
    }
    Ok(Some((principal, hash(token))))
}

fn told(app: &App, principal: &Principal, more: &Value) -> Value {
    let scopes: Vec<&str> = Scope::ALL.into_iter().filter(|scope| principal.allows(*scope)).map(Scope::name).collect();
    let mut told = json!({
        "signedIn": true, "name": &*principal.name, "namespace": &*principal.namespace, "scopes": scopes,
        "authRequired": app.installation.settings().auth.required, "others": [], "version": env!("CARGO_PKG_VERSION"),
        "at": app.installation.now().to_string(),
    });
    if let (Some(told), Value::Object(more)) = (told.as_object_mut(), more.clone()) {
        told.extend(more);
    }
    told
}

async fn show(State(app): State<App>, request: Request) -> Response {
    let settings = app.installation.settings();
    if !settings.auth.required {
        let local = Principal::local(&settings.namespace);
        return private(answer(StatusCode::OK, &told(&app, &local, &json!({"csrf": null, "expiresAt": null}))));
    }
    let now = app.installation.wall();
    let (headers, uri) = (request.headers(), request.uri());
    let session = reached(&app, headers, uri).ok().and_then(|reached| {
        let token = cookie(headers, &reached.cookie)?;
        let session = app.browsers.find(app.installation.catalog(), token, now)?;
        let principal = app.keys.principal(session.key, now).ok()?;
        Some((principal, of_session(&app, &session, token, now)))
    });
    let body = match session {
        Some((principal, more)) => told(&app, &principal, &more),
        None => {
            json!({"signedIn": false, "authRequired": true, "scopes": [], "others": [], "version": env!("CARGO_PKG_VERSION")})
        }
    };
    private(answer(StatusCode::OK, &body))
}

/// The members of an answer that tell of the session itself.
fn of_session(app: &App, session: &BrowserSession, token: &str, now: Timestamp) -> Value {
    let others = session.others.iter().filter_map(|key| app.keys.principal(*key, now).ok());
    let others: Vec<Value> = others.map(|other| json!({"namespace": &*other.namespace, "name": &*other.name})).collect();
    json!({"csrf": csrf(token), "expiresAt": session.expires().to_string(), "others": others})
}

async fn switch(
    State(app): State<App>,
    name: Option<Extension<Name>>,
    uri: Uri,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Refused> {
    let reached = reached(&app, &headers, &uri)?;
    same_origin(&app, &headers, &uri)?;
    let token = cookie(&headers, &reached.cookie).unwrap_or_default().to_owned();
    is_of_session(&headers, &token)?;
    let fields = object(&app, &headers, body).await?;
    let wanted = fields.get("namespace").and_then(Value::as_str).unwrap_or_default().to_owned();
    off(move || {
        let (now, catalog) = (app.installation.wall(), app.installation.catalog());
        let session = app.browsers.find(catalog, &token, now);
        let session = session.ok_or_else(|| Box::new(Problem::new(Code::KeyMissing, "the browser is not signed in")))?;
        let keys = std::iter::once(&session.key).chain(&session.others);
        let mut principals = keys.filter_map(|key| Some((*key, app.keys.principal(*key, now).ok()?)));
        let (key, principal) = principals.find(|(_, principal)| *principal.namespace == *wanted).ok_or_else(|| {
            let detail = format!("the browser is not signed in to the namespace `{wanted}`");
            Box::new(Problem::new(Code::NamespaceForbidden, detail).field("namespace").remedy("Sign in with a key of it."))
        })?;
        let at = |why: Error| problem_of(&why);
        let entry = entry(&app, &principal, "browser.switch", name.as_ref().map(|name| &name.0)).map_err(at)?;
        app.browsers.switch(catalog, &token, key, entry).map_err(at)?;
        let session = app.browsers.find(catalog, &token, now).unwrap_or(session);
        Ok(private(answer(StatusCode::OK, &told(&app, &principal, &of_session(&app, &session, &token, now)))))
    })
    .await
}

async fn sign_in(
    State(app): State<App>,
    name: Option<Extension<Name>>,
    peer: Option<Extension<ConnectInfo<SocketAddr>>>,
    uri: Uri,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Refused> {
    let reached = reached(&app, &headers, &uri)?;
    same_origin(&app, &headers, &uri)?;
    let now = app.installation.wall();
    let from = peer.map_or(std::net::IpAddr::from([0, 0, 0, 0]), |Extension(ConnectInfo(peer))| peer.ip());
    if !app.browsers.may_try(from, now, false) {
        let detail = "too many wrong keys from this address";
        return Err(Box::new(Problem::new(Code::RateLimited, detail).remedy("Wait a minute.").retry_after(60)));
    }
    let fields = object(&app, &headers, body).await?;
    let key = fields.get("key").and_then(Value::as_str).map(str::trim).unwrap_or_default().to_owned();
    let before = cookie(&headers, &reached.cookie).map(str::to_owned);
    off(move || {
        let principal = app.keys.authenticate(Some(&key), now).map_err(|refusal| {
            app.browsers.may_try(from, now, true);
            Box::new(match refusal {
                Unauthenticated::Missing => Problem::new(Code::KeyMissing, "no key was given").field("key"),
                other => Problem::from(other).field("key"),
            })
        })?;
        let Some(id) = principal.key else { return Err(Box::new(Problem::new(Code::KeyUnknown, "no such key"))) };
        let at = |why: Error| problem_of(&why);
        let entry = entry(&app, &principal, "browser.sign_in", name.as_ref().map(|name| &name.0)).map_err(at)?;
        let catalog = app.installation.catalog();
        let session = before.as_ref().and_then(|token| app.browsers.find(catalog, token, now));
        let known = session.iter().flat_map(|session| std::iter::once(&session.key).chain(&session.others));
        // A browser has one key of each namespace.
        let is_other = |key: &&KeyId| app.keys.principal(**key, now).is_ok_and(|other| other.namespace != principal.namespace);
        let others: Vec<KeyId> = known.filter(is_other).take(OTHERS_MAX).copied().collect();
        let token = app.browsers.begin(catalog, id, (before.as_deref(), others), now, entry).map_err(at)?;
        let session = app.browsers.find(catalog, &token, now);
        let more = session.map_or(Value::Null, |session| of_session(&app, &session, &token, now));
        let told = told(&app, &principal, &more);
        let mut answer = answer(StatusCode::OK, &told);
        set_cookie(&mut answer, &reached, &token, COOKIE_SECONDS);
        Ok(private(answer))
    })
    .await
}

async fn sign_out(
    State(app): State<App>,
    name: Option<Extension<Name>>,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response, Refused> {
    let reached = reached(&app, &headers, &uri)?;
    same_origin(&app, &headers, &uri)?;
    let token = cookie(&headers, &reached.cookie).unwrap_or_default().to_owned();
    off(move || {
        let (now, catalog) = (app.installation.wall(), app.installation.catalog());
        let session = app.browsers.find(catalog, &token, now);
        if session.is_some() {
            is_of_session(&headers, &token)?;
        }
        let entry = match session.map(|session| app.keys.principal(session.key, now)) {
            Some(Ok(principal)) => entry(&app, &principal, "browser.sign_out", name.as_ref().map(|name| &name.0)),
            // A session without a valid key has ended already.
            Some(Err(_)) | None => Ok(Vec::new()),
        };
        let ended = entry.and_then(|entry| app.browsers.end(catalog, &token, entry));
        ended.map_err(|why| problem_of(&why))?;
        let mut answer = StatusCode::NO_CONTENT.into_response();
        set_cookie(&mut answer, &reached, "", 0);
        Ok(private(answer))
    })
    .await
}

/// The entry of the audit about a browser.
fn entry(app: &App, principal: &Principal, action: &str, request: Option<&Name>) -> Result<Vec<Change>, Error> {
    let mut who = Who::named(&*principal.name, &*principal.namespace);
    who.request.id = request.map(|name| name.as_str().to_owned());
    who.request.via = Some(Via::Browser);
    app.installation.audited(&who, action, &principal.name, Value::Null, Value::Null)
}

fn set_cookie(answer: &mut Response, reached: &Reached, value: &str, seconds: u64) {
    let secure = if reached.is_secure { "; Secure" } else { "" };
    let text = format!("{}={value}; HttpOnly; SameSite=Strict; Path=/; Max-Age={seconds}{secure}", reached.cookie);
    if let Ok(value) = HeaderValue::from_str(&text) {
        answer.headers_mut().insert(header::SET_COOKIE, value);
    }
}

/// Marks an answer as private: caches must not keep it.
fn private(mut answer: Response) -> Response {
    answer.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    answer
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cookies_are_found_by_their_whole_name() {
        let mut headers = HeaderMap::new();
        headers.insert(header::COOKIE, HeaderValue::from_static("a=1; flowmeter-80=; flowmeter-8888=abc;x"));
        assert_eq!(cookie(&headers, "flowmeter-8888"), Some("abc"));
        assert_eq!(cookie(&headers, "flowmeter-888"), None);
        assert_eq!(cookie(&headers, "flowmeter-80"), None, "empty");
        assert_eq!(cookie(&headers, "x"), None);
    }
}
