//! The options on which the state of an operator depends. State is handed to another version of the
//! plan only if they are the same there.

use std::fmt;

use crate::expression::Program;
use crate::operator::{Fold, Keyed, Operator, Running, Windows};
use crate::plan::{Plan, TimeField};
use crate::schedule::Schedule;
use crate::time::Zone;

/// The options of an operator on which its state depends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Form {
    kind: &'static str,
    /// Each option by its name in a document, with its value as text.
    options: Vec<(&'static str, String)>,
}

/// Why the state of an operator has no place under another plan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// The plan has no operator of this id.
    Gone,
    /// The operator of this id is of another kind there.
    Kind(&'static str),
    /// These options of the operator are different there.
    Options(Vec<&'static str>),
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Change::Gone => f.write_str("it is gone"),
            Change::Kind(kind) => write!(f, "it is of the kind `{kind}` now"),
            Change::Options(names) => {
                let names: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
                write!(f, "its {} changed", names.join(", "))
            }
        }
    }
}

/// Returns why the state of an operator has no place under another plan, if it has none.
pub(crate) fn change(before: (&Plan, u16), plan: &Plan) -> Option<Change> {
    let (old, node) = before;
    let before = &old.nodes[usize::from(node)];
    let form = Form::of(old, &before.operator)?;
    let Some(now) = plan.nodes.iter().find(|now| now.id == before.id) else { return Some(Change::Gone) };
    match Form::of(plan, &now.operator) {
        Some(now) if now == form => None,
        Some(now) if now.kind == form.kind => Some(Change::Options(form.different(&now))),
        None if now.operator.name() == form.kind => {
            // Without this option it keeps no state.
            let option = if form.kind == "script" { "key" } else { "schedule" };
            Some(Change::Options(vec![option]))
        }
        Some(_) | None => Some(Change::Kind(now.operator.name())),
    }
}

impl Form {
    /// Returns the form of an operator's state; `None` for one that keeps no state by key.
    pub(crate) fn of(plan: &Plan, operator: &Operator) -> Option<Form> {
        let keyed = operator.keyed()?;
        let mut options = vec![("key", paths(plan, keyed.key()))];
        match keyed {
            Keyed::Rate(rate, running) => {
                options.extend(of_running(plan, running));
                options.push(("quantity", paths(plan, &[rate.quantity])));
            }
            Keyed::Aggregate(aggregate) => {
                options.extend(of_running(plan, &aggregate.running));
                options.push(("fields", folds(plan, &aggregate.fields)));
            }
            Keyed::Accumulate(accumulate) => {
                options.push(("time", time(plan, &accumulate.time)));
                options.push(("window", format!("{:?}", accumulate.windows)));
                if matches!(accumulate.windows, Windows::Schedule(_)) {
                    options.push(("timezone", accumulate.zone.name().to_owned()));
                }
                options.push(("fields", folds(plan, &accumulate.fields)));
            }
            Keyed::Correlate(correlate) => {
                let program = |program: &Program| program.named(&|slot| paths(plan, &[slot]));
                let cut = correlate.cut.as_ref().map(|cut| scheduled(&cut.schedule, &cut.zone));
                options.push(("time", time(plan, &correlate.time)));
                options.push(("start", program(&correlate.start)));
                options.push(("stop", program(&correlate.stop)));
                options.push(("cut", cut.unwrap_or_default()));
            }
            Keyed::Script(script) => options.push(("stateVersion", script.state_version.to_string())),
        }
        Some(Form { kind: operator.name(), options })
    }

    /// Returns its text in an image.
    pub(crate) fn text(&self) -> String {
        let options = self.options.iter().map(|(name, value)| format!(" {name}={value}"));
        format!("{}:{}", self.kind, options.collect::<String>())
    }

    /// Returns the names of the options that differ from those of another form of the same kind.
    fn different(&self, other: &Form) -> Vec<&'static str> {
        let names = self.options.iter().chain(&other.options).map(|(name, _)| *name);
        let value = |form: &Form, name: &str| form.options.iter().find(|(known, _)| *known == name).cloned();
        let mut different: Vec<&'static str> = Vec::new();
        for name in names.filter(|name| value(self, name) != value(other, name)) {
            if !different.contains(&name) {
                different.push(name);
            }
        }
        different
    }
}

fn paths(plan: &Plan, slots: &[u16]) -> String {
    slots.iter().map(|slot| plan.paths[usize::from(*slot)].as_str()).collect::<Vec<_>>().join(" ")
}

fn folds(plan: &Plan, folds: &[Fold]) -> String {
    let one = |fold: &Fold| format!("{} {} {}", paths(plan, &[fold.set]), fold.function.name(), paths(plan, &[fold.value]));
    folds.iter().map(one).collect::<Vec<_>>().join(", ")
}

fn time(plan: &Plan, time: &TimeField) -> String {
    format!("{} {:?}", paths(plan, &time.slots), time.format)
}

fn scheduled(schedule: &Schedule, zone: &Zone) -> String {
    format!("{schedule:?} {}", zone.name())
}

/// The options of a running value. Without a schedule it does not depend on the time.
fn of_running(plan: &Plan, running: &Running) -> Vec<(&'static str, String)> {
    let Some((schedule, zone)) = &running.schedule else { return Vec::new() };
    vec![("time", time(plan, &running.time)), ("schedule", format!("{schedule:?}")), ("timezone", zone.name().to_owned())]
}

/// Returns the text of a form in images of older programs. They wrote the slots of conditions into
/// it, and the zone of every window.
pub(crate) fn former_text(plan: &Plan, operator: &Operator) -> Option<String> {
    let running = |running: &Running| {
        let schedule = running.schedule.as_ref().map(|(schedule, zone)| scheduled(schedule, zone));
        format!("{} / {}", paths(plan, &running.key), schedule.unwrap_or_default())
    };
    let keyed = operator.keyed()?;
    let key = paths(plan, keyed.key());
    Some(match keyed {
        Keyed::Rate(rate, by) => format!("rate {} of {}", running(by), paths(plan, &[rate.quantity])),
        Keyed::Aggregate(aggregate) => {
            format!("aggregate {} of {}", running(&aggregate.running), folds(plan, &aggregate.fields))
        }
        Keyed::Accumulate(accumulate) => {
            let (time, zone) = (time(plan, &accumulate.time), accumulate.zone.name());
            let (windows, folds) = (&accumulate.windows, folds(plan, &accumulate.fields));
            format!("accumulate {key} / {time} / {windows:?} {zone} of {folds}")
        }
        Keyed::Script(script) => format!("script {key} / {}", script.state_version),
        Keyed::Correlate(correlate) => {
            let cut = correlate.cut.as_ref().map(|cut| scheduled(&cut.schedule, &cut.zone)).unwrap_or_default();
            let (start, stop, time) = (&correlate.start, &correlate.stop, time(plan, &correlate.time));
            format!("correlate {key} / {time} / {start:?} {stop:?} / {cut}")
        }
    })
}
