//! Answers the dashboard's first pages: overview, closings, history, the graph of a pipeline.

use axum::Extension;
use axum::extract::{Path, RawQuery, State};
use axum::http::{Method, StatusCode};
use axum::response::Response;
use axum::routing::{MethodRouter, get};
use flowmeter_core::operator::Operator;
use flowmeter_core::session::{RunType, Status};
use flowmeter_core::time::{Timestamp, Zone};
use flowmeter_document::Pipeline;
use flowmeter_node::keys::Scope;
use flowmeter_node::meters::closings::counts_in;
use flowmeter_node::monitoring::history::{VALUES, door_series, gained, operator_series, pipeline_series, target_series};
use flowmeter_node::monitoring::overview::encoded;
use flowmeter_node::pipelines::KeptPipeline;
use flowmeter_node::sessions::SessionFilter;
use serde_json::{Value, json};

use super::request::Query;
use super::{App, Asked, Endpoint, answer, off, page};
use crate::problem::{Code, Problem, Refused, problem_of};

/// Steps of a history at most: a chart has no more pixels.
const STEPS_MAX: i64 = 1_000;
/// The finest step that is kept.
const STEP_MIN: i64 = 10_000_000_000;
/// A day, the span without `from`.
const DAY: i64 = 86_400_000_000_000;
/// Sessions that are looked at for marks.
const SESSIONS_MARKED: usize = 100;
/// Events of sessions among which pauses are looked for.
const EVENTS_LOOKED: usize = 1_000;

pub(super) fn endpoints() -> Vec<Endpoint> {
    let read = |path, summary, query, answer, route: MethodRouter<App>| Endpoint {
        method: Method::GET,
        path,
        scope: Some(Scope::Read),
        summary,
        query,
        body: None,
        answer: (200, answer),
        route,
    };
    vec![
        read(
            "/api/v1/overview",
            "Every pipeline and target at one instant, and what needs attention",
            &[("from", "counts since this instant; default: midnight in `zone`, or 24 hours ago"), ("zone", "a time zone")],
            "Totals, pipelines, targets, closings, needs",
            get(overview),
        ),
        read("/api/v1/closings", "The next periods to close", &[("limit", "at most so many")], "Closings", get(closings)),
        read(
            "/api/v1/history",
            "Counts over time, by step",
            &[
                ("of", "namespace, pipeline, operator or target"),
                ("name", "the pipeline; `pipeline/operator`, `pipeline/target`"),
                ("from", "the first step begins at this instant"),
                ("to", "the last step ends at this instant; default: now"),
                ("step", "seconds of a step; default: 60, or as many as 1,000 steps need"),
            ],
            "Series of what was counted in each step, and marks",
            get(history),
        ),
        read(
            "/api/v1/pipelines/{idOrName}/graph",
            "Sources, operators, targets and meter types of a pipeline, as a graph",
            &[],
            "Nodes and edges with the number of events since the pipeline was made",
            get(graph),
        ),
    ]
}

async fn overview(
    State(app): State<App>,
    Extension(asked): Extension<Asked>,
    RawQuery(query): RawQuery,
) -> Result<Response, Refused> {
    let query = Query::of(query.as_deref());
    let from = since(&app, &query)?;
    off(move || {
        let shown = app.installation.overview(&asked.who.namespace, from, &app.expiring(&asked.who.namespace));
        Ok(answer(StatusCode::OK, &shown.map_err(|why| problem_of(&why))?))
    })
    .await
}

/// The instant since which counts are asked for.
pub(super) fn since(app: &App, query: &Query) -> Result<Timestamp, Refused> {
    if let Some(from) = query.time("from")? {
        return Ok(from);
    }
    let now = app.installation.now();
    let Some(name) = query.get("zone").filter(|name| !name.is_empty()) else { return Ok(now.saturating_sub(DAY)) };
    let zone =
        Zone::named(name).ok_or_else(|| invalid("zone", format!("`{name}` is no time zone; write one like Europe/Oslo")))?;
    Ok(zone.day_of(now))
}

async fn closings(
    State(app): State<App>,
    Extension(asked): Extension<Asked>,
    RawQuery(query): RawQuery,
) -> Result<Response, Refused> {
    let limit = Query::of(query.as_deref()).limit()?;
    off(move || {
        let found = app.installation.closings(&asked.who.namespace, limit).map_err(|why| problem_of(&why))?;
        Ok(page(found, None))
    })
    .await
}

fn invalid(field: &'static str, detail: impl Into<String>) -> Refused {
    Box::new(Problem::new(Code::Invalid, detail).field(field))
}

/// The steps of a history.
struct Steps {
    from: i64,
    step: i64,
    count: i64,
}

impl Steps {
    fn of(app: &App, query: &Query) -> Result<Steps, Refused> {
        let now = app.installation.now();
        let to = query.time("to")?.unwrap_or(now).nanos().min(now.nanos() + STEP_MIN);
        let from = query.time("from")?.map_or(to.saturating_sub(DAY), Timestamp::nanos);
        let span = to.saturating_sub(from);
        let seconds = match query.get("step").map(str::parse::<i64>) {
            // A minute, or the minutes that `STEPS_MAX` steps need for the whole time.
            None => 60 * (1 + (span.max(1) - 1) / (60 * STEPS_MAX * 1_000_000_000)),
            Some(Ok(seconds @ 1..=31_536_000)) => seconds,
            Some(_) => return Err(invalid("step", "step is a number of seconds, from 10 on")),
        };
        let step = (seconds * 1_000_000_000).max(STEP_MIN);
        if from >= to {
            return Err(invalid("from", "from is not before to"));
        }
        let count = span.div_euclid(step) + i64::from(span.rem_euclid(step) > 0);
        if count > STEPS_MAX {
            return Err(invalid("step", format!("{count} steps; at most {STEPS_MAX}: choose a longer step or a shorter time")));
        }
        Ok(Steps { from, step, count })
    }

    fn bounds(&self) -> Vec<i64> {
        (0..=self.count).map(|at| self.from + at * self.step).collect()
    }
}

async fn history(
    State(app): State<App>,
    Extension(asked): Extension<Asked>,
    RawQuery(query): RawQuery,
) -> Result<Response, Refused> {
    let query = Query::of(query.as_deref());
    let steps = Steps::of(&app, &query)?;
    off(move || {
        let namespace = asked.who.namespace.as_str();
        const EVENTS: &[&str] = &[
            "received",
            "counted",
            "late",
            "duplicate",
            "filtered",
            "parked",
            "records",
            "settled",
            "derived",
            "split",
            "absorbed",
            "cancelled",
        ];
        let of = query.get("of").unwrap_or("namespace");
        let (series, fields): (Vec<String>, &[&str]) = match of {
            "namespace" => (app.installation.history.names(&pipeline_series(namespace, "")), EVENTS),
            "pipeline" => (vec![one_series(&app, namespace, of, &query)?], EVENTS),
            "operator" => (vec![one_series(&app, namespace, of, &query)?], &["in", "out", "errors"]),
            "target" => (vec![one_series(&app, namespace, of, &query)?], &["accepted"]),
            other => return Err(invalid("of", format!("`{other}`; there are namespace, pipeline, operator and target"))),
        };
        let name = query.get("name").unwrap_or_default();
        let pipeline = name.split('/').next().filter(|name| !name.is_empty());
        let sums = sums(&app, &series, &steps);
        let values = |sums: &[Option<[u64; VALUES]>], at: usize| sums.iter().map(|sum| sum.map(|sum| sum[at])).collect();
        let shown = |name: &str, values: Vec<Option<u64>>| json!({"name": name, "values": values});
        let mut all: Vec<Value> = fields.iter().enumerate().map(|(at, name)| shown(name, values(&sums, at))).collect();
        if of == "namespace" {
            // The door rejects events before they have a pipeline.
            let rejected = self::sums(&app, &[door_series(namespace)], &steps);
            all.push(shown("rejected", values(&rejected, 0)));
        }
        let body = json!({
            "from": Timestamp::from_nanos(steps.from).to_string(), "step": steps.step / 1_000_000_000,
            "series": all, "marks": marks(&app, namespace, pipeline, &steps)?,
        });
        Ok(answer(StatusCode::OK, &body))
    })
    .await
}

/// Returns the series that a query names.
///
/// # Errors
/// `invalid` without a name, `not_found` if there is no such pipeline, operator or target, and
/// never was.
fn one_series(app: &App, namespace: &str, of: &str, query: &Query) -> Result<String, Refused> {
    let missing = || invalid("name", "name the pipeline, or write `pipeline/operator` or `pipeline/target`");
    let name = query.get("name").filter(|name| !name.is_empty()).ok_or_else(missing)?;
    let (pipeline, part) = match of {
        "pipeline" => (name, ""),
        _ => name.split_once('/').ok_or_else(|| invalid("name", "write `pipeline/operator` or `pipeline/target`"))?,
    };
    let series_of = |pipeline: &str| match of {
        "pipeline" => pipeline_series(namespace, pipeline),
        "operator" => operator_series(namespace, pipeline, part),
        _ => target_series(namespace, pipeline, part),
    };
    if app.installation.history.has(&series_of(pipeline)) {
        return Ok(series_of(pipeline));
    }
    let kept = app.installation.pipeline(namespace, pipeline)?;
    let compiled = app.installation.compiled(&kept);
    let is_part = |compiled: &Pipeline| match of {
        "pipeline" => true,
        "operator" => compiled.plan.nodes.iter().any(|node| node.id == part),
        _ => compiled.targets.iter().any(|target| target.id == part),
    };
    match of == "pipeline" || compiled.is_some_and(|compiled| is_part(&compiled)) {
        true => Ok(series_of(&kept.name)),
        false => Err(flowmeter_node::refusal::not_found(if of == "operator" { "operator" } else { "target" }, name).into()),
    }
}

/// Returns the gain of all series together in each step; none where nothing is known.
fn sums(app: &App, series: &[String], steps: &Steps) -> Vec<Option<[u64; VALUES]>> {
    let bounds = steps.bounds();
    let now = app.installation.now().nanos();
    let mut sums: Vec<Option<[u64; VALUES]>> = vec![None; bounds.len() - 1];
    for name in series {
        let at = app.installation.history.at(name, &bounds);
        for (step, pair) in at.windows(2).enumerate() {
            if let [Some(before), Some(after)] = pair
                && bounds[step] <= now
            {
                let gained = gained(before, after);
                let sum = sums[step].get_or_insert([0; VALUES]);
                sum.iter_mut().zip(gained).for_each(|(sum, gained)| *sum += gained);
            }
        }
    }
    sums
}

/// Versions, changes of settings, closings, and starts, pauses and ends of sessions within a history.
fn marks(app: &App, namespace: &str, pipeline: Option<&str>, steps: &Steps) -> Result<Vec<Value>, Refused> {
    let (from, to) = (steps.from, steps.from + steps.count * steps.step);
    let is_in = |at: Timestamp| (from..to).contains(&at.nanos());
    let instant = |text: &str| Timestamp::parse_rfc3339(text.as_bytes()).filter(|at| is_in(*at));
    let mut marks = Vec::new();
    for kept in app.installation.pipelines(namespace).map_err(|why| problem_of(&why))? {
        if pipeline.is_some_and(|wanted| wanted != kept.name) {
            continue;
        }
        let versions = app.installation.versions(kept.id).map_err(|why| problem_of(&why))?;
        for version in versions.iter().filter(|version| version.version > 1 && instant(&version.created_at).is_some()) {
            marks.push(json!({
                "at": version.created_at, "kind": "version", "text": format!("{} version {}", kept.name, version.version),
                "href": format!("/pipelines/{}/versions", encoded(&kept.name)),
            }));
        }
    }
    for change in app.installation.setting_changes().iter().filter(|change| is_in(change.at)) {
        let text = format!("started with other settings: {}", change.names());
        marks.push(json!({"at": change.at.to_string(), "kind": "settings", "text": text, "href": "/settings"}));
    }
    let span = Timestamp::from_nanos(from)..Timestamp::from_nanos(to);
    for (at, types) in app.installation.closed(namespace, pipeline, span) {
        let names: Vec<&str> = types.iter().map(String::as_str).collect();
        let (text, href) = match names.as_slice() {
            [name] => (format!("{name} closed"), format!("/meter-types/{}/periods", encoded(name))),
            _ => (format!("{} meter types closed: {}", names.len(), names.join(", ")), "/meter-types".to_owned()),
        };
        marks.push(json!({"at": at.to_string(), "kind": "closing", "text": text, "href": href}));
    }
    let sessions = app.installation.sessions(namespace, &SessionFilter::default(), None, SESSIONS_MARKED);
    let sessions = sessions.map_err(|why| problem_of(&why))?;
    for session in sessions.iter().filter(|one| one.session_run_type == RunType::Normal) {
        if pipeline.is_some_and(|wanted| wanted != session.pipeline) {
            continue;
        }
        let href = format!("/sessions/{}", session.session_id);
        let ends = session.session_end_time.map(|at| (at, session.session_status.name().to_lowercase()));
        let start = (session.session_start_time, "started".to_owned());
        for (at, word) in std::iter::once(start).chain(ends).filter(|(at, _)| is_in(*at)) {
            marks.push(
                json!({"at": at.to_string(), "kind": "status", "text": format!("{} {word}", session.pipeline), "href": href}),
            );
        }
    }
    let pauses =
        app.installation.pauses(namespace, Timestamp::from_nanos(from), EVENTS_LOOKED).map_err(|why| problem_of(&why))?;
    for event in pauses.iter().filter(|event| instant(&event.at).is_some()) {
        let payload = |name: &str| event.payload[name].as_str().unwrap_or_default();
        if pipeline.is_some_and(|wanted| wanted != payload("meterName")) {
            continue;
        }
        let word = if payload("sessionStatus") == Status::Paused.name() { "paused" } else { "resumed" };
        let (text, href) = (format!("{} {word}", payload("meterName")), format!("/sessions/{}", payload("sessionId")));
        marks.push(json!({"at": event.at, "kind": "status", "text": text, "href": href}));
    }
    marks.sort_by(|one, other| one["at"].as_str().cmp(&other["at"].as_str()));
    Ok(marks)
}

async fn graph(
    State(app): State<App>,
    Extension(asked): Extension<Asked>,
    Path(name): Path<String>,
) -> Result<Response, Refused> {
    off(move || {
        let kept = app.installation.pipeline(&asked.who.namespace, &name)?;
        let version = app.installation.version(&kept, kept.version)?;
        let compiled = version.compile().map_err(|why| problem_of(&why))?;
        let counts = app.installation.pipeline_counts(&kept).map_err(|why| problem_of(&why))?;
        Ok(answer(StatusCode::OK, &drawn(&kept, &version.document, &compiled, &counts)))
    })
    .await
}

/// Draws a pipeline. Edges and operators have the counts since the pipeline was made; null if it
/// is not loaded or an operator is new.
fn drawn(kept: &KeptPipeline, document: &str, compiled: &Pipeline, counts: &Value) -> Value {
    let known = counts["operators"].as_array().map(Vec::as_slice).unwrap_or_default();
    let count_of = |id: &str| known.iter().find(|one| one["id"] == id).cloned().unwrap_or_default();
    let plan = &compiled.plan;
    let id = |at: u16| format!("operator:{}", plan.nodes[usize::from(at)].id);
    let lines = Pipeline::operator_lines(document);
    let mut nodes = Vec::new();
    let mut edges = Vec::new();
    for (at, source) in plan.sources.iter().enumerate() {
        let kind = source.kind.name();
        let from = format!("source:{}", source.id);
        nodes.push(
            json!({"id": from, "kind": "source", "name": source.id, "what": kind, "line": line_of(document, "source", "")}),
        );
        for entry in plan.entries.get(at).into_iter().flatten() {
            let received = if plan.sources.len() == 1 { counts["events"]["received"].clone() } else { Value::Null };
            edges.push(json!({"from": from, "to": id(*entry), "count": received}));
        }
    }
    for (at, node) in plan.nodes.iter().enumerate() {
        let mut shown = json!({
            "id": id(at as u16), "kind": "operator", "name": node.id, "what": node.operator.name(),
            "line": lines.get(&node.id),
        });
        let count = count_of(&node.id);
        for name in ["in", "out", "errors"] {
            shown[name] = count[name].clone();
        }
        if let Operator::Meter(processor) = &node.operator {
            let rules = &plan.processors[usize::from(*processor)].rules;
            let mut types: Vec<&str> = rules
                .iter()
                .flat_map(|rule| &rule.meter_types)
                .map(|kind| plan.meter_types[usize::from(*kind)].name.as_str())
                .collect();
            types.sort_unstable();
            types.dedup();
            shown["meterTypes"] = json!(types);
            for target in &compiled.targets {
                edges.push(json!({"from": id(at as u16), "to": format!("target:{}", target.id)}));
            }
        }
        nodes.push(shown);
        for (port, to) in node.outputs.iter().enumerate() {
            let output = (node.outputs.len() > 1).then(|| node.output_name(port));
            let passed = output.map_or(&count["out"], |output| &count["outputs"][output]);
            for to in to {
                edges.push(json!({"from": id(at as u16), "to": id(*to), "output": output, "count": passed}));
            }
        }
    }
    for target in &compiled.targets {
        let kind = target.kind.name();
        let line = line_of(document, "name", &target.id).or_else(|| line_of(document, kind, ""));
        nodes.push(
            json!({"id": format!("target:{}", target.id), "kind": "target", "name": target.id, "what": kind, "line": line}),
        );
    }
    let types: Vec<Value> = (0..)
        .zip(&plan.meter_types)
        .filter(|(at, _)| counts_in(plan, *at))
        .map(|(_, kind)| json!({"name": kind.name, "line": line_of(document, "name", &kind.name)}))
        .collect();
    json!({"pipeline": kept.name, "version": kept.version, "nodes": nodes, "edges": edges, "meterTypes": types})
}

/// The line of a document that has `key: value`.
fn line_of(document: &str, key: &str, value: &str) -> Option<usize> {
    let is_it = |line: &str| {
        let found = line.match_indices(key).any(|(at, _)| {
            let before = line[..at].chars().next_back();
            let rest = line[at + key.len()..].trim_start();
            let is_key = before.is_none_or(|c| !c.is_alphanumeric() && c != '_') && rest.starts_with(':');
            let given = rest.trim_start_matches(':').trim_start().trim_start_matches(['\'', '"']);
            let follows = given.strip_prefix(value).map(|rest| rest.chars().next());
            is_key
                && (value.is_empty() || follows.is_some_and(|c| c.is_none_or(|c| !c.is_alphanumeric() && c != '-' && c != '_')))
        });
        found && !line.trim_start().starts_with('#')
    };
    document.lines().position(is_it).map(|at| at + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_of_an_operator_is_found_by_its_id() {
        let document = "# id: once\npipeline: p\nsource: { http: {} }\noperators:\n  - id: once-more\n    dedupe: {}\n  - { id: \"once\", filter: {} }\n";
        assert_eq!(line_of(document, "id", "once"), Some(7));
        assert_eq!(line_of(document, "id", "once-more"), Some(5));
        assert_eq!(line_of(document, "source", ""), Some(3));
        assert_eq!(line_of(document, "id", "none"), None);
    }
}
