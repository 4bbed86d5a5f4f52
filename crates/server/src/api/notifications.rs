//! Notifications: created, changed, previewed; their deliveries and their channels.

use axum::body::Body;
use axum::extract::{Path, RawQuery, State};
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get, post, put};
use axum::{Extension, Json};
use flowmeter_node::keys::Scope;
use flowmeter_node::notifications::condition::Condition;
use flowmeter_node::notifications::definitions::{NoticeFilter, Tried};
use flowmeter_node::notifications::notice::{Notice, NoticeState};
use flowmeter_node::notifications::vocabulary::EVENT_KINDS;
use flowmeter_node::notifications::{Draft, Notification, meant, wrong};
use serde_json::{Value, json};

use super::paging::whole;
use super::request::{Query, check_etag, object};
use super::{App, Asked, Endpoint, answer, off, page};
use crate::problem::{Refused, problem_of};

/// The fields of a notification, for the description of the API.
const BODY: &str = "name, eventType, conditions, channels, enabled";

pub(super) fn endpoints() -> Vec<Endpoint> {
    let one = "/api/v1/notifications/{idOrName}";
    let endpoint = Endpoint::of;
    let (read, admin) = (Scope::Read, Scope::Admin);
    let known = (200, "The notification");
    let tried = (200, "The newest events that it would have sent");
    let mut deliveries = endpoint(
        Method::GET,
        "/api/v1/notifications/deliveries",
        read,
        "List deliveries, the newest first",
        None,
        (200, "Deliveries with their last attempt"),
        get(list_deliveries),
    );
    deliveries.query = &[
        ("notification", "of this notification, by name or id"),
        ("channel", "over this channel"),
        ("state", "waiting, delivered or dead"),
        ("session", "of this session"),
        ("limit", "items of a page"),
        ("cursor", "`nextCursor` of the page before"),
    ];
    vec![
        endpoint(Method::GET, "/api/v1/notifications", read, "List notifications", None, (200, "By name"), get(list)).paged(),
        endpoint(
            Method::POST,
            "/api/v1/notifications",
            admin,
            "Make a notification",
            Some(BODY),
            (201, "The notification"),
            post(create),
        ),
        endpoint(Method::GET, one, read, "A notification", None, known, get(show)),
        endpoint(Method::PUT, one, admin, "Change a notification", Some(BODY), known, put(update)),
        endpoint(Method::DELETE, one, admin, "Take a notification away", None, (204, "It is gone"), delete(remove)),
        endpoint(
            Method::POST,
            "/api/v1/notifications/try",
            read,
            "Past events that a notification would have sent; nothing is sent now",
            Some("eventType, conditions"),
            tried,
            post(try_draft),
        ),
        endpoint(
            Method::POST,
            "/api/v1/notifications/{idOrName}/try",
            read,
            "Past events that this notification would have sent; nothing is sent now",
            None,
            tried,
            post(try_kept),
        ),
        endpoint(
            Method::POST,
            "/api/v1/notifications/{idOrName}/send-sample",
            Scope::Operate,
            "Send a real message that says that it is a sample",
            Some("channel: only over this one, if wanted"),
            (200, "The attempt of each channel: what was sent, what came back, how long it took"),
            post(send_sample),
        ),
        endpoint(
            Method::GET,
            "/api/v1/notifications/event-types",
            read,
            "The events there are, with their fields",
            None,
            (200, "Events"),
            get(event_types),
        )
        .paged(),
        endpoint(
            Method::GET,
            "/api/v1/notifications/channels",
            read,
            "How each channel is: well or failing, what waits, what was given up",
            None,
            (200, "Channels"),
            get(channels),
        )
        .paged(),
        deliveries,
        endpoint(
            Method::GET,
            "/api/v1/notifications/deliveries/{id}",
            read,
            "A delivery with every attempt: what was sent, what came back, how long it took",
            None,
            (200, "The delivery"),
            get(show_delivery),
        ),
        endpoint(
            Method::POST,
            "/api/v1/notifications/deliveries/{id}/resend",
            Scope::Operate,
            "Send it again: a dead one under its id, an accepted one under a new one",
            None,
            (200, "The delivery"),
            post(resend),
        ),
    ]
}

fn etag(notification: &Notification) -> String {
    format!("\"{}\"", notification.tag())
}

fn shown(status: StatusCode, notification: &Notification) -> Response {
    (status, [(header::ETAG, etag(notification))], Json(notification.shown())).into_response()
}

async fn list(
    State(app): State<App>,
    Extension(asked): Extension<Asked>,
    RawQuery(query): RawQuery,
) -> Result<Response, Refused> {
    off(move || {
        let all = app.installation.notifications(&asked.who.namespace).map_err(|why| problem_of(&why))?;
        whole(&Query::of(query.as_deref()), all.iter().map(Notification::shown))
    })
    .await
}

async fn create(
    State(app): State<App>,
    Extension(asked): Extension<Asked>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Refused> {
    let fields = object(&app, &headers, body).await?;
    off(move || Ok(shown(StatusCode::CREATED, &app.installation.create_notification(&asked.who, &fields)?))).await
}

async fn show(State(app): State<App>, Extension(asked): Extension<Asked>, Path(name): Path<String>) -> Result<Response, Refused> {
    off(move || Ok(shown(StatusCode::OK, &app.installation.notification(&asked.who.namespace, &name)?))).await
}

async fn update(
    State(app): State<App>,
    Extension(asked): Extension<Asked>,
    Path(name): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Refused> {
    let fields = object(&app, &headers, body).await?;
    off(move || {
        let known = app.installation.notification(&asked.who.namespace, &name)?;
        check_etag(&headers, &etag(&known))?;
        Ok(shown(StatusCode::OK, &app.installation.update_notification(&asked.who, &known, &fields)?))
    })
    .await
}

async fn remove(
    State(app): State<App>,
    Extension(asked): Extension<Asked>,
    Path(name): Path<String>,
) -> Result<Response, Refused> {
    off(move || {
        let known = app.installation.notification(&asked.who.namespace, &name)?;
        app.installation.delete_notification(&asked.who, &known)?;
        Ok(StatusCode::NO_CONTENT.into_response())
    })
    .await
}

/// Events that a preview shows.
const TRIED_SHOWN: usize = 100;

fn tried(tried: &Tried) -> Response {
    let matched: Vec<Value> = tried.matched.iter().map(|event| serde_json::to_value(event).unwrap_or_default()).collect();
    let body = json!({"lookedAt": tried.looked_at, "matchedCount": tried.matched_count, "items": matched});
    answer(StatusCode::OK, &body)
}

async fn try_draft(
    State(app): State<App>,
    Extension(asked): Extension<Asked>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Refused> {
    let fields = object(&app, &headers, body).await?;
    off(move || {
        let (kind, conditions) = Draft::what(&fields)?;
        try_out(&app, &asked, kind.name, conditions.as_ref())
    })
    .await
}

async fn try_kept(
    State(app): State<App>,
    Extension(asked): Extension<Asked>,
    Path(name): Path<String>,
) -> Result<Response, Refused> {
    off(move || {
        let known = app.installation.notification(&asked.who.namespace, &name)?;
        try_out(&app, &asked, &known.event_type, known.conditions.as_ref())
    })
    .await
}

fn try_out(app: &App, asked: &Asked, event_type: &str, conditions: Option<&Condition>) -> Result<Response, Refused> {
    let found = app.installation.try_notification(&asked.who.namespace, event_type, conditions, TRIED_SHOWN);
    Ok(tried(&found.map_err(|why| problem_of(&why))?))
}

async fn send_sample(
    State(app): State<App>,
    Extension(asked): Extension<Asked>,
    Path(name): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Refused> {
    let fields = object(&app, &headers, body).await?;
    let only = match fields.get("channel") {
        None | Some(Value::Null) => None,
        Some(Value::String(channel)) => Some(channel.clone()),
        Some(other) => return Err(wrong("channel", format!("channel: expected the name of a channel, found {other}")).into()),
    };
    if let Some(other) = fields.keys().find(|name| *name != "channel") {
        return Err(wrong(other.as_str(), format!("unknown field `{other}`; there is channel")).into());
    }
    let (installation, namespace) = (app.installation.clone(), asked.who.namespace.clone());
    let known = off(move || Ok(installation.notification(&namespace, &name)?)).await?;
    let attempts = app.courier.clone().send_sample(asked.who, known, only).await?;
    Ok(page(attempts, None))
}

async fn event_types(RawQuery(query): RawQuery) -> Result<Response, Refused> {
    let shown = EVENT_KINDS.iter().map(|kind| {
        let fields = kind.fields().map(|(name, kind)| {
            let mut field = json!({"name": name, "type": kind.noun()});
            if let Some(names) = kind.names() {
                field["values"] = json!(names);
            }
            field
        });
        json!({"eventType": kind.name, "meaning": kind.help, "fields": fields.collect::<Vec<_>>()})
    });
    whole(&Query::of(query.as_deref()), shown)
}

async fn channels(
    State(app): State<App>,
    Extension(asked): Extension<Asked>,
    RawQuery(query): RawQuery,
) -> Result<Response, Refused> {
    off(move || {
        let states = app.installation.channel_states(&asked.who.namespace);
        whole(&Query::of(query.as_deref()), states.map_err(|why| problem_of(&why))?)
    })
    .await
}

async fn list_deliveries(
    State(app): State<App>,
    Extension(asked): Extension<Asked>,
    RawQuery(query): RawQuery,
) -> Result<Response, Refused> {
    let query = Query::of(query.as_deref());
    let (limit, before) = (query.limit()?, query.cursor()?);
    let state = match query.get("state") {
        None => None,
        Some("waiting") => Some(NoticeState::Waiting),
        Some("delivered") => Some(NoticeState::Delivered),
        Some("dead") => Some(NoticeState::Dead),
        Some(other) => {
            let meant = meant(other, ["waiting", "delivered", "dead"]);
            return Err(wrong("state", format!("`{other}` is no state{meant}; there are waiting, delivered, dead")).into());
        }
    };
    let text = |name: &str| query.get(name).map(str::to_owned);
    let filter = NoticeFilter { notification: text("notification"), channel: text("channel"), state, session: text("session") };
    off(move || {
        let found = app.installation.notices(&asked.who.namespace, &filter, before, limit + 1);
        let mut found = found.map_err(|why| problem_of(&why))?;
        let next = (found.len() > limit).then(|| found[limit - 1].number.to_string());
        found.truncate(limit);
        Ok(page(found.iter().map(Notice::listed).collect(), next))
    })
    .await
}

async fn show_delivery(
    State(app): State<App>,
    Extension(asked): Extension<Asked>,
    Path(id): Path<String>,
) -> Result<Response, Refused> {
    off(move || Ok(answer(StatusCode::OK, &app.installation.notice(&asked.who.namespace, &id)?.shown()))).await
}

async fn resend(State(app): State<App>, Extension(asked): Extension<Asked>, Path(id): Path<String>) -> Result<Response, Refused> {
    off(move || Ok(answer(StatusCode::OK, &app.courier.resend(&asked.who, &asked.who.namespace, &id)?.shown()))).await
}
