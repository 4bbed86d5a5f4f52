//! `aggregate`, `accumulate` and `correlate` of a document.

use std::sync::Arc;

use flowmeter_core::event::Path;
use flowmeter_core::expression::Program;
use flowmeter_core::operator::{
    Accumulate, Aggregate, Correlate, Cut, Fold, Function, LateInputs, LateInputsPolicy, Missing, OnTimeout, Operator, Release,
    Repeat, Running, Stamp, Windows,
};
use flowmeter_core::plan::TimeField;
use flowmeter_core::schedule::Schedule;
use flowmeter_core::source::SourcePlan;
use flowmeter_core::time::{Zone, parse_duration};

use super::compile::Compiler;
use super::meter::Processors;
use super::meter_type::schedule_of;
use super::tree::Node as Tree;

const SECOND: i64 = 1_000_000_000;
const DAY: i64 = 86_400 * SECOND;
/// Longest duration of an operator that is no window: 400 days.
const DURATION_MAX: i64 = 400 * DAY;
/// Longest window: 366 days.
const WINDOW_MAX: i64 = 366 * DAY;
/// Hopping windows that may hold an event.
const HOPS_MAX: i64 = 1_000;

/// Whether numbers may be text: as in a meter operator.
pub(super) fn text_numbers(body: &Tree, sources: &[SourcePlan]) -> bool {
    let may = || sources.iter().all(SourcePlan::may_have_text_numbers);
    body.text("textNumbers").map_or_else(may, |text| text == "true")
}

fn zone(node: &Tree) -> Zone {
    node.text("timezone").and_then(Zone::named).unwrap_or_else(Zone::utc)
}

/// Fields that an operator sets or keeps.
const FIELDS_MAX: usize = 100;

fn schedule(node: &Tree, field: &str, compiler: &mut Compiler<'_>) -> Option<Arc<Schedule>> {
    let written = node.get("schedule")?;
    let read = schedule_of(written).unwrap_or_else(|why| {
        let part = if why.part.is_empty() { String::new() } else { format!(".{}", why.part) };
        compiler.problems.add(written, &format!("{field}.schedule{part}"), why.reason);
        Schedule::Never
    });
    Some(Arc::new(read))
}

fn time(body: &Tree, field: &str, compiler: &mut Compiler<'_>, processors: &Processors) -> TimeField {
    match body.get("time") {
        Some(time) => compiler.time(time, &format!("{field}.time")),
        None => processors.first_time(compiler),
    }
}

/// A duration of an operator, at most 400 days.
pub(super) fn span(node: &Tree, field: &str, name: &str, default: i64, compiler: &mut Compiler<'_>) -> i64 {
    let found = node.text(name).and_then(parse_duration).unwrap_or(default);
    if !(0..=DURATION_MAX).contains(&found) {
        compiler.problems.add(node, &format!("{field}.{name}"), "the duration is more than 400d; write a shorter one");
    }
    found
}

pub(super) fn key(body: &Tree, field: &str, compiler: &mut Compiler<'_>) -> Vec<u16> {
    let key = compiler.reads(body.get("key"));
    if key.len() > 16 {
        compiler.problems.add(body, &format!("{field}.key"), format!("{} paths; a key has at most 16", key.len()));
    }
    key
}

/// The fields of events that a derived event has, too.
fn kept(body: &Tree, field: &str, name: &str, compiler: &mut Compiler<'_>) -> Vec<u16> {
    let kept = compiler.reads(body.get(name));
    if kept.len() > FIELDS_MAX {
        compiler.problems.add(body, &format!("{field}.{name}"), format!("{} fields; at most {FIELDS_MAX}", kept.len()));
    }
    kept
}

/// Key, schedule and time of an operator that runs.
pub(super) fn running(body: &Tree, field: &str, compiler: &mut Compiler<'_>, processors: &Processors) -> Running {
    Running {
        key: key(body, field, compiler),
        schedule: schedule(body, field, compiler).map(|schedule| (schedule, zone(body))),
        time: time(body, field, compiler, processors),
        amend_within: span(body, field, "amendWithin", 62 * DAY, compiler),
    }
}

fn missing(body: &Tree) -> Missing {
    if body.text("missing") == Some("skip") { Missing::Skip } else { Missing::Park }
}

fn folds(body: &Tree, field: &str, kind: &str, compiler: &mut Compiler<'_>) -> Vec<Fold> {
    let mut folds: Vec<Fold> = Vec::new();
    for (path, node) in body.get("fields").into_iter().flat_map(Tree::members) {
        let field = format!("{field}.fields.{path}");
        if let Err(why) = Path::parse(path) {
            compiler.problems.add(node, &field, format!("`{path}` is not a path: {why}"));
            continue;
        }
        let named = |(name, function): &(&'static str, Function)| node.get(name).map(|value| (*name, *function, value));
        let found: Vec<_> = Function::NAMES.iter().filter_map(named).collect();
        let [(name, function, value)] = found.as_slice() else {
            compiler.problems.add(node, &field, "a field has one function, like {sum: data.tokens}");
            continue;
        };
        if *function == Function::Delta && kind == "accumulate" {
            compiler.problems.add(value, &format!("{field}.{name}"), "`delta` is of `aggregate`; a window has none");
        }
        if *function == Function::Count && value.scalar() != Some("true") {
            compiler.problems.add(value, &format!("{field}.{name}"), "`count` counts events: write count: true");
        }
        // A fold may set the field that it reads.
        let counts = *function == Function::Count;
        let read = (!counts).then(|| compiler.read(value.scalar().unwrap_or_default()));
        let set = compiler.path(path);
        folds.push(Fold { set, function: *function, value: read.unwrap_or(set) });
    }
    if folds.len() > FIELDS_MAX {
        compiler.problems.add(body, &format!("{field}.fields"), format!("{} fields; at most {FIELDS_MAX}", folds.len()));
    }
    folds
}

pub(super) fn aggregate(
    body: &Tree,
    field: &str,
    compiler: &mut Compiler<'_>,
    sources: &[SourcePlan],
    processors: &Processors,
) -> Operator {
    let running = running(body, field, compiler, processors);
    let fields = folds(body, field, "aggregate", compiler);
    if fields.is_empty() && compiler.problems.0.is_empty() {
        compiler.problems.add(
            body,
            &format!("{field}.fields"),
            "no fields; write at least one, like data.total: {sum: data.tokens}",
        );
    }
    Operator::Aggregate(Box::new(Aggregate {
        key: running.key.clone(),
        fields,
        running,
        missing: missing(body),
        text_numbers: text_numbers(body, sources),
    }))
}

pub(super) fn accumulate(
    body: &Tree,
    field: &str,
    compiler: &mut Compiler<'_>,
    sources: &[SourcePlan],
    processors: &Processors,
) -> Operator {
    let late = body.get("late").unwrap_or(body);
    let late_field = format!("{field}.late");
    let fields = folds(body, field, "accumulate", compiler);
    let keep = kept(body, field, "keep", compiler);
    let key = key(body, field, compiler);
    let time = time(body, field, compiler, processors);
    differ(body, field, (&key, &fields, &keep), &time, compiler);
    let windows = windows(body, field, compiler);
    let policy = match body.get("late").and_then(|late| late.text("policy")) {
        Some("carry") => LateInputsPolicy::Carry,
        Some("park") => LateInputsPolicy::Park,
        _ => LateInputsPolicy::Amend,
    };
    if policy == LateInputsPolicy::Carry && matches!(windows, Windows::Sessions { .. }) {
        compiler.problems.add(late, &format!("{late_field}.policy"), "`carry` is not for sessions; write amend or park");
    }
    let idle = span(body, field, "idle", 600 * SECOND, compiler);
    if idle > 30 * DAY {
        compiler.problems.add(body, &format!("{field}.idle"), "the duration is more than 30d; write a shorter one");
    }
    Operator::Accumulate(Box::new(Accumulate {
        key,
        time,
        windows,
        zone: zone(body),
        fields,
        keep,
        missing: missing(body),
        stamp: match body.text("stamp") {
            Some("last") => Stamp::Last,
            Some("end") => Stamp::End,
            _ => Stamp::Start,
        },
        release: if body.text("release") == Some("watermark") { Release::Watermark(idle) } else { Release::Clock },
        late: LateInputs {
            policy,
            grace: span(late, &late_field, "grace", 0, compiler),
            amend_within: span(late, &late_field, "amendWithin", 7 * DAY, compiler),
        },
        events_max: body.text("eventsMax").and_then(|most| most.parse().ok()).unwrap_or(1_000_000),
        text_numbers: text_numbers(body, sources),
    }))
}

/// The fields of a derived event must not contain each other, nor be what it is given anyway.
fn differ(
    body: &Tree,
    field: &str,
    (key, fields, keep): (&[u16], &[Fold], &[u16]),
    time: &TimeField,
    compiler: &mut Compiler<'_>,
) {
    const GIVEN: [&str; 6] = ["id", "source", "type", "time", "window", "inputs"];
    let written = time.slots.first().map(|slot| compiler.paths[usize::from(*slot)].clone());
    let slots: Vec<u16> = key.iter().copied().chain(fields.iter().map(|fold| fold.set)).chain(keep.iter().copied()).collect();
    for (i, &slot) in slots.iter().enumerate() {
        let path = compiler.paths[usize::from(slot)].clone();
        let given = GIVEN.iter().find(|name| path.names()[0].as_ref() == **name);
        if let Some(time) = written.as_ref().filter(|time| given.is_none() && (time.covers(&path) || path.covers(time))) {
            let message = format!("`{path}` is lost: a derived event has its time at `{time}`; choose another path");
            compiler.warnings.add(body, field, message);
        }
        let other = slots[..i].iter().map(|other| &compiler.paths[usize::from(*other)]);
        let clash = other.into_iter().find(|other| other.covers(&path) || path.covers(other)).map(ToString::to_string);
        if let Some(name) = given {
            let message = format!("`{path}` cannot be set: a derived event has `{name}` of its own; choose another path");
            compiler.problems.add(body, field, message);
        } else if let Some(other) = clash {
            compiler.problems.add(
                body,
                field,
                format!("`{path}` and `{other}` overlap: one contains the other; choose other paths"),
            );
        }
    }
}

fn windows(body: &Tree, field: &str, compiler: &mut Compiler<'_>) -> Windows {
    let node = body.get("window").unwrap_or(body);
    let field = format!("{field}.window");
    let kinds: Vec<&str> = ["size", "schedule", "gap"].into_iter().filter(|name| node.get(name).is_some()).collect();
    let [kind] = kinds.as_slice() else {
        compiler.problems.add(node, &field, "a window is one of {size: 1h}, {schedule: daily} and {gap: 30m}");
        return Windows::Sessions { gap: SECOND, max: SECOND };
    };
    let allowed: &[&str] = match *kind {
        "size" => &["size", "step", "offset"],
        "gap" => &["gap", "max"],
        _ => &["schedule"],
    };
    for (name, value) in node.members().filter(|(name, _)| !allowed.contains(name)) {
        compiler.problems.add(value, &format!("{field}.{name}"), format!("`{name}` does not go with `{kind}`; remove it"));
    }
    let mut window = |name: &str, default: i64| {
        let found = node.text(name).and_then(parse_duration).unwrap_or(default);
        if !(SECOND..=WINDOW_MAX).contains(&found) {
            compiler.problems.add(node, &format!("{field}.{name}"), "write a duration from 1s to 366d");
        }
        found.clamp(SECOND, WINDOW_MAX)
    };
    match *kind {
        "size" => {
            let size = window("size", SECOND);
            let step = window("step", size);
            let offset = node.text("offset").and_then(parse_duration).unwrap_or(0);
            if size % step != 0 || size / step > HOPS_MAX {
                let message = format!("`size` must be a multiple of `step`, at most {HOPS_MAX} of them");
                compiler.problems.add(node, &format!("{field}.step"), message);
            }
            if !(0..step).contains(&offset) {
                compiler.problems.add(node, &format!("{field}.offset"), "`offset` must be at least 0 and below the step");
            }
            Windows::Size { size, step, offset }
        }
        "gap" => {
            let gap = window("gap", SECOND);
            Windows::Sessions { gap, max: window("max", DAY) }
        }
        _ => Windows::Schedule(schedule(node, &field, compiler).unwrap_or_else(|| Arc::new(Schedule::Never))),
    }
}

pub(super) fn correlate(body: &Tree, field: &str, compiler: &mut Compiler<'_>, processors: &Processors) -> Operator {
    let program = |name: &str, compiler: &mut Compiler<'_>| {
        let found = body.get(name).and_then(|node| compiler.program(node, &format!("{field}.{name}")));
        found.unwrap_or_else(|| Program::all(Vec::new()))
    };
    let cut = body.get("cut").map(|node| Cut {
        schedule: schedule(node, &format!("{field}.cut"), compiler).unwrap_or_else(|| Arc::new(Schedule::Never)),
        zone: zone(node),
    });
    let on_timeout = if body.text("onTimeout") == Some("close") { OnTimeout::Close } else { OnTimeout::Park };
    let waits_forever = body.text("timeout") == Some("none");
    if cut.is_some() && on_timeout == OnTimeout::Park && !waits_forever {
        let message =
            "with `cut`, a start that is parked would take back what was counted; write onTimeout: close or timeout: none";
        compiler.problems.add(body, &format!("{field}.onTimeout"), message);
    }
    let timeout = if waits_forever { None } else { Some(span(body, field, "timeout", DAY, compiler)) };
    let operator = Operator::Correlate(Box::new(Correlate {
        key: key(body, field, compiler),
        time: time(body, field, compiler, processors),
        start: program("start", compiler),
        stop: program("stop", compiler),
        duration: compiler.path(body.text("duration").unwrap_or_default()),
        unit: match body.text("unit") {
            Some("millisecond") => SECOND / 1_000,
            Some("minute") => 60 * SECOND,
            Some("hour") => 3_600 * SECOND,
            _ => SECOND,
        },
        stop_fields: kept(body, field, "stopFields", compiler),
        cut,
        grace: span(body, field, "grace", 0, compiler),
        repeat: if body.text("repeat") == Some("last") { Repeat::Last } else { Repeat::First },
        timeout,
        on_timeout,
        wait: span(body, field, "wait", 3_600 * SECOND, compiler),
        amend_within: span(body, field, "amendWithin", 7 * DAY, compiler),
        events_max: body.text("eventsMax").and_then(|most| most.parse().ok()).unwrap_or(10_000),
    }));
    for name in ["id", "source", "time"] {
        compiler.path(name);
    }
    if let Operator::Correlate(correlate) = &operator {
        differ_from_segment(body, field, correlate, compiler);
    }
    operator
}

/// The length of a pair and the fields of its stop must not be what a segment is given anyway, nor contain
/// each other.
fn differ_from_segment(body: &Tree, field: &str, of: &Correlate, compiler: &mut Compiler<'_>) {
    const GIVEN: [&str; 5] = ["id", "source", "time", "segment", "inputs"];
    let duration = compiler.paths[usize::from(of.duration)].clone();
    for slot in std::iter::once(&of.duration).chain(&of.stop_fields) {
        let path = compiler.paths[usize::from(*slot)].clone();
        let message = match GIVEN.iter().find(|name| path.names()[0].as_ref() == **name) {
            Some(name) => format!("`{path}` is lost: a derived event has `{name}` of its own; choose another path"),
            None if *slot != of.duration && (path.covers(&duration) || duration.covers(&path)) => {
                format!("`{path}` and `{duration}` overlap: one contains the other; choose other paths")
            }
            None => continue,
        };
        compiler.warnings.add(body, field, message);
    }
}
