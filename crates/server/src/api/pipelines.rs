//! Pipelines and their versions; checked, tested, run.

use std::collections::BTreeMap;

use axum::body::Body;
use axum::extract::{Path, RawQuery, State};
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get, post, put};
use axum::{Extension, Json};
use flowmeter_core::time::Timestamp;
use flowmeter_engine::StateChoices;
use flowmeter_node::keys::Scope;
use flowmeter_node::pipelines::state::read_choices;
use flowmeter_node::pipelines::{KeptPipeline, KeptVersion, lines};
use flowmeter_node::sessions::{SessionFilter, StartOptions};
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};

use super::paging::whole as page_of;
use super::request::{Query, check_etag, object, text};
use super::{App, Asked, Endpoint, answer, off};
use crate::problem::{Code, Problem, Refused, problem_of};

pub(super) fn endpoints() -> Vec<Endpoint> {
    let one = "/api/v1/pipelines/{idOrName}";
    let endpoint = Endpoint::of;
    let document = Some("A pipeline document, YAML or JSON");
    vec![
        endpoint(Method::GET, "/api/v1/pipelines", Scope::Read, "List pipelines", None, (200, "Pipelines, by name"), get(list))
            .paged(),
        endpoint(
            Method::POST,
            "/api/v1/pipelines",
            Scope::Admin,
            "Make a pipeline",
            document,
            (201, "The pipeline"),
            post(create),
        ),
        endpoint(
            Method::POST,
            "/api/v1/pipelines/check",
            Scope::Read,
            "Check a document without keeping it",
            document,
            (200, "The effective document"),
            post(check),
        ),
        endpoint(Method::GET, one, Scope::Read, "A pipeline with its document", None, (200, "The pipeline"), get(show)),
        Endpoint {
            query: &[("dryRun", "true: say whether the pipeline would accept the version, and keep nothing")],
            ..endpoint(
                Method::PUT,
                one,
                Scope::Admin,
                "Give a pipeline a new version",
                Some(
                    "A pipeline document, YAML or JSON; or a JSON object with it as `document`, and `state`: by the id of an operator \
                     whose state has no place in the version, `release` or `forget`. A document in JSON may have `state` itself",
                ),
                (200, "The pipeline"),
                put(update),
            )
        },
        endpoint(Method::DELETE, one, Scope::Admin, "Take a pipeline away", None, (204, "It is gone"), delete(remove)),
        endpoint(
            Method::GET,
            "/api/v1/pipelines/{idOrName}/versions",
            Scope::Read,
            "The versions of a pipeline",
            None,
            (200, "Versions, the first first"),
            get(versions),
        )
        .paged(),
        endpoint(
            Method::GET,
            "/api/v1/pipelines/{idOrName}/versions/{version}",
            Scope::Read,
            "A version of a pipeline with its document",
            None,
            (200, "The version"),
            get(version),
        ),
        endpoint(
            Method::POST,
            "/api/v1/pipelines/{idOrName}/run",
            Scope::Operate,
            "Start a NORMAL session",
            Some("uniqueKey, if two starts are to be one session; asOf; options of sources for this run"),
            (201, "The session"),
            post(run),
        ),
    ]
}

fn etag(pipeline: &KeptPipeline) -> String {
    format!("\"{}\"", pipeline.version)
}

fn shown(app: &App, pipeline: &KeptPipeline, document: bool) -> Result<Value, Refused> {
    let mut value = json!({
        "id": pipeline.id, "name": pipeline.name, "namespace": pipeline.namespace, "version": pipeline.version,
        "createdAt": pipeline.created_at, "updatedAt": pipeline.updated_at, "builtIn": pipeline.built_in,
    });
    let sessions = app.installation.sessions(&pipeline.namespace, &SessionFilter::of(pipeline.id), None, 1);
    if let Some(session) = sessions.map_err(|why| problem_of(&why))?.first() {
        value["session"] = json!({"sessionId": session.session_id, "sessionStatus": session.session_status.name()});
    }
    if let Some(next) = app.installation.next_run(pipeline).map_err(|why| problem_of(&why))? {
        value["nextRun"] = json!(next.to_string());
    }
    if document {
        let version = app.installation.version(pipeline, pipeline.version)?;
        value["document"] = json!(version.document);
        let compiled = match version.compile() {
            Ok(compiled) => compiled,
            // An earlier program took it. It can be looked at all the same.
            Err(why) => {
                value["effective"] = json!("");
                let message = format!("this program refuses the document: {why}");
                value["warnings"] = json!([{"line": 1, "column": 1, "field": "", "message": message}]);
                value["operators"] = json!([]);
                return Ok(value);
            }
        };
        value["effective"] = json!(compiled.effective());
        value["warnings"] = json!(lines(&compiled.warnings));
        let nodes = compiled.plan.nodes.iter();
        let names = |to: &Vec<u16>| to.iter().map(|at| compiled.plan.nodes[usize::from(*at)].id.clone()).collect::<Vec<_>>();
        value["operators"] = nodes
            .map(|node| json!({"id": node.id, "operator": node.operator.name(), "outputs": node.outputs.iter().map(names).collect::<Vec<_>>()}))
            .collect();
    }
    Ok(value)
}

fn whole(app: &App, status: StatusCode, pipeline: &KeptPipeline) -> Result<Response, Refused> {
    Ok((status, [(header::ETAG, etag(pipeline))], Json(shown(app, pipeline, true)?)).into_response())
}

async fn list(
    State(app): State<App>,
    Extension(asked): Extension<Asked>,
    RawQuery(query): RawQuery,
) -> Result<Response, Refused> {
    off(move || {
        let all = app.installation.pipelines(&asked.who.namespace).map_err(|why| problem_of(&why))?;
        let all = all.iter().map(|pipeline| shown(&app, pipeline, false)).collect::<Result<Vec<_>, _>>()?;
        page_of(&Query::of(query.as_deref()), all)
    })
    .await
}

async fn create(
    State(app): State<App>,
    Extension(asked): Extension<Asked>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Refused> {
    let document = text(&app, &headers, body).await?;
    off(move || {
        let pipeline = app.installation.create_pipeline(&asked.who, &document, false)?;
        whole(&app, StatusCode::CREATED, &pipeline)
    })
    .await
}

async fn check(
    State(app): State<App>,
    Extension(asked): Extension<Asked>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Refused> {
    let document = text(&app, &headers, body).await?;
    off(move || {
        let compiled = app.installation.check_document(&asked.who.namespace, &document)?;
        Ok(answer(StatusCode::OK, &json!({"valid": true, "name": compiled.plan.name, "effective": compiled.effective(), "warnings": lines(&compiled.warnings)})))
    })
    .await
}

async fn show(State(app): State<App>, Extension(asked): Extension<Asked>, Path(name): Path<String>) -> Result<Response, Refused> {
    off(move || {
        let pipeline = app.installation.pipeline(&asked.who.namespace, &name)?;
        whole(&app, StatusCode::OK, &pipeline)
    })
    .await
}

/// A new version: the document, and decisions about state that has no place in it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NewVersion {
    document: Box<RawValue>,
    #[serde(default)]
    state: Map<String, Value>,
}

/// Reads the body of a new version: a document alone, an object with the document, or a document in
/// JSON with the decisions as one more member.
fn new_version(text: String) -> Result<(String, StateChoices), Refused> {
    if !text.trim_start().starts_with('{') {
        return Ok((text, StateChoices::new()));
    }
    let Ok(members) = serde_json::from_str::<BTreeMap<String, &RawValue>>(&text) else {
        return Ok((text, StateChoices::new()));
    };
    if !members.contains_key("document") {
        let Some(state) = members.get("state") else { return Ok((text, StateChoices::new())) };
        let wrong = |why: serde_json::Error| Box::new(Problem::new(Code::Invalid, format!("state: {why}")).field("state"));
        let choices: Map<String, Value> = serde_json::from_str(state.get()).map_err(wrong)?;
        return Ok((without(&text, state.get()), read_choices(&choices)?));
    }
    let version: NewVersion =
        serde_json::from_str(&text).map_err(|why| Box::new(Problem::new(Code::Invalid, why.to_string())))?;
    let document = match serde_json::from_str::<String>(version.document.get()) {
        Ok(document) => document,
        // A document in JSON stays as it was written.
        Err(_) => version.document.get().to_owned(),
    };
    Ok((document, read_choices(&version.state)?))
}

/// Returns an object in JSON without a member, given its value, which is a part of the text. Everything
/// else stays as it was written.
fn without(text: &str, value: &str) -> String {
    let start = value.as_ptr() as usize - text.as_ptr() as usize;
    let (before, after) = (&text[..start], &text[start + value.len()..]);
    let before = before.rfind('"').and_then(|end| before[..end].rfind('"')).map_or(before, |key| &before[..key]);
    match after.trim_start().strip_prefix(',') {
        Some(after) => format!("{before}{after}"),
        None => format!("{}{after}", before.trim_end().strip_suffix(',').unwrap_or(before)),
    }
}

async fn update(
    State(app): State<App>,
    Extension(asked): Extension<Asked>,
    Path(name): Path<String>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Refused> {
    let body = text(&app, &headers, body).await?;
    let (document, state) = new_version(body)?;
    off(move || {
        let pipeline = app.installation.pipeline(&asked.who.namespace, &name)?;
        if pipeline.built_in {
            return Err(Box::new(Problem::new(
                Code::Conflict,
                format!("`{name}` is made by the server; make a pipeline of your own"),
            )));
        }
        check_etag(&headers, &etag(&pipeline))?;
        if Query::of(query.as_deref()).is_on("dryRun") {
            let rehearsed = app.installation.rehearse_update(&asked.who, &pipeline, &document, &state)?;
            return Ok(answer(StatusCode::OK, &rehearsed));
        }
        let newer = app.installation.update_pipeline(&asked.who, &pipeline, &document, &state)?;
        whole(&app, StatusCode::OK, &newer)
    })
    .await
}

async fn remove(
    State(app): State<App>,
    Extension(asked): Extension<Asked>,
    Path(name): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Refused> {
    off(move || {
        let pipeline = app.installation.pipeline(&asked.who.namespace, &name)?;
        check_etag(&headers, &etag(&pipeline))?;
        app.installation.delete_pipeline(&asked.who, &pipeline)?;
        Ok(StatusCode::NO_CONTENT.into_response())
    })
    .await
}

async fn versions(
    State(app): State<App>,
    Extension(asked): Extension<Asked>,
    Path(name): Path<String>,
    RawQuery(query): RawQuery,
) -> Result<Response, Refused> {
    off(move || {
        let pipeline = app.installation.pipeline(&asked.who.namespace, &name)?;
        let all = app.installation.versions(pipeline.id).map_err(|why| problem_of(&why))?;
        page_of(&Query::of(query.as_deref()), all.iter().map(version_shown))
    })
    .await
}

async fn version(
    State(app): State<App>,
    Extension(asked): Extension<Asked>,
    Path((name, number)): Path<(String, String)>,
) -> Result<Response, Refused> {
    off(move || {
        let pipeline = app.installation.pipeline(&asked.who.namespace, &name)?;
        let missing = || crate::problem::not_found("version", &format!("{number} of {}", pipeline.name));
        let version = number.parse().map_err(|_| missing())?;
        Ok(answer(StatusCode::OK, &version_shown(&app.installation.version(&pipeline, version)?)))
    })
    .await
}

fn version_shown(version: &KeptVersion) -> Value {
    json!({
        "version": version.version, "createdAt": version.created_at, "createdBy": version.created_by,
        "document": version.document,
    })
}

/// Reads the options of a run.
fn start_options(given: &Map<String, Value>) -> Result<StartOptions, Refused> {
    let wrong = |field: &str, detail: String| Box::new(Problem::new(Code::Invalid, detail).field(field));
    let mut options = StartOptions::default();
    for (name, value) in given {
        match (name.as_str(), value) {
            ("uniqueKey", Value::String(key)) => options.unique_key = Some(key.clone()),
            ("asOf", Value::String(text)) => {
                let at = Timestamp::parse_rfc3339(text.as_bytes());
                let detail = || format!("asOf: `{text}` is no time; write RFC 3339, as 2026-10-01T00:00:00Z");
                options.as_of = Some(at.ok_or_else(|| wrong("asOf", detail()))?);
            }
            ("sources", Value::Object(sources)) => options.sources = sources.clone(),
            ("uniqueKey" | "asOf", _) => return Err(wrong(name, format!("{name}: expected text, found {value}"))),
            ("sources", _) => return Err(wrong(name, "sources: expected options by the id of a source".to_owned())),
            _ => {
                let detail = format!("unknown option `{name}`; there are uniqueKey, asOf and sources");
                return Err(wrong(name, detail));
            }
        }
    }
    Ok(options)
}

async fn run(
    State(app): State<App>,
    Extension(asked): Extension<Asked>,
    Path(name): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Refused> {
    let options = object(&app, &headers, body).await?;
    let given = start_options(&options)?;
    off(move || {
        let pipeline = app.installation.pipeline(&asked.who.namespace, &name)?;
        let session = app.installation.start(&asked.who, &pipeline, given)?;
        Ok(answer(StatusCode::CREATED, &super::sessions::shown(&session)))
    })
    .await
}
