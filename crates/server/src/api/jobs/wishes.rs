//! Bodies of requests that begin jobs.

use flowmeter_core::event::csv::{ColumnType, NumberForm};
use flowmeter_core::time::Timestamp;
use flowmeter_engine::outbox::DeliveryState;
use flowmeter_node::deliveries::reconciling::ReconcileWish;
use flowmeter_node::jobs::{
    CorrectionChange, CorrectionWish, DeliveryAction, DeliverySelector, DeliveryWish, EventSelector, ExportFormat, ExportWish,
    FieldChanges,
};
use flowmeter_node::records::RecordFilter;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::super::corrections::filter_of;
use crate::problem::{Code, Problem, Refused};

/// The fields of a filter of each kind of job.
const OF_EVENTS: &[&str] = &["pipeline", "reason", "operator", "source", "subject", "user", "text", "id", "from", "to"];
const OF_DELIVERIES: &[&str] = &["pipeline", "target", "state", "from", "to"];
const OF_RECONCILING: &[&str] = &["pipeline", "target", "from", "to"];
const OF_RECORDS: &[&str] = &["pipeline", "meterType", "userId", "meterId", "from", "to", "threshold"];

/// The body of a request that begins a job.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Wish {
    action: Option<String>,
    format: Option<String>,
    #[serde(default)]
    selector: Selector,
    #[serde(default)]
    set: Map<String, Value>,
    #[serde(default)]
    convert: Map<String, Value>,
    #[serde(default)]
    rename: Map<String, Value>,
    #[serde(default)]
    remove: Vec<String>,
    #[serde(default)]
    pub(super) reason: String,
    #[serde(default)]
    dry_run: bool,
    mend: Option<bool>,
}

/// A job over deliveries that is asked for.
pub(super) enum OfDeliveries {
    Act(DeliveryWish),
    /// The comparison, and its selector as the request wrote it.
    Reconcile(ReconcileWish, Value),
}

#[derive(Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Selector {
    #[serde(skip_serializing_if = "Option::is_none")]
    group_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ids: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    filter: Option<Map<String, Value>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    up_to: Option<String>,
}

fn invalid(field: impl Into<String>, detail: impl Into<String>) -> Refused {
    Box::new(Problem::new(Code::Invalid, detail).field(field))
}

impl Wish {
    /// Reads a job over parked events.
    pub(super) fn of_corrections(self) -> Result<CorrectionWish, Refused> {
        self.must_have_no("format", self.format.is_some())?;
        self.must_have_no("mend", self.mend.is_some())?;
        let change = match self.action.as_deref() {
            Some("reprocess") => CorrectionChange::Reprocess(self.changes()?),
            Some("discard") => CorrectionChange::Discard,
            other => return Err(wrong_action(other, "reprocess and discard")),
        };
        if matches!(change, CorrectionChange::Discard) {
            self.must_change_nothing()?;
        }
        let selector = &self.selector;
        let chosen = match (&selector.group_id, &selector.ids, &selector.filter) {
            (Some(group), None, None) => EventSelector::Group(group.clone()),
            (None, Some(ids), None) => EventSelector::Ids(ids.clone()),
            (None, None, Some(filter)) => {
                let text = texts(filter, OF_EVENTS)?;
                let pipeline = text("pipeline").ok_or_else(no_pipeline)?;
                EventSelector::Filter(pipeline, Box::new(filter_of(&text)?))
            }
            _ => return Err(invalid("selector", "give one of groupId, ids and filter")),
        };
        let (up_to, written) = (selector.up_to()?, selector.written());
        Ok(CorrectionWish { change, selector: chosen, up_to, written, is_dry_run: self.dry_run })
    }

    /// Reads a job over deliveries.
    pub(super) fn of_deliveries(self) -> Result<OfDeliveries, Refused> {
        self.must_have_no("format", self.format.is_some())?;
        self.must_change_nothing()?;
        let action = match self.action.as_deref() {
            Some("resend") => DeliveryAction::Resend,
            Some("skip") => DeliveryAction::Skip,
            Some("reconcile") => return self.of_reconciling(),
            other => return Err(wrong_action(other, "resend, skip and reconcile")),
        };
        self.must_have_no("mend", self.mend.is_some())?;
        let selector = &self.selector;
        let chosen = match (&selector.group_id, &selector.ids, &selector.filter) {
            (None, Some(ids), None) => DeliverySelector::Ids(ids.clone()),
            (None, None, Some(filter)) => {
                let text = texts(filter, OF_DELIVERIES)?;
                DeliverySelector::Filter {
                    pipeline: text("pipeline").ok_or_else(no_pipeline)?,
                    target: text("target"),
                    state: text("state").map(|name| state(&name)).transpose()?,
                    from: instant(&text, "from")?,
                    to: instant(&text, "to")?,
                }
            }
            _ => return Err(invalid("selector", "give one of ids and filter")),
        };
        let (up_to, written) = (selector.up_to()?, selector.written());
        Ok(OfDeliveries::Act(DeliveryWish { action, selector: chosen, up_to, written, is_dry_run: self.dry_run }))
    }

    /// Reads a comparison of targets. It is up to now, and without `mend` it changes nothing.
    fn of_reconciling(self) -> Result<OfDeliveries, Refused> {
        self.must_have_no("dryRun", self.dry_run)?;
        self.must_have_no("selector.upTo", self.selector.up_to.is_some())?;
        let (None, None, Some(filter)) = (&self.selector.group_id, &self.selector.ids, &self.selector.filter) else {
            return Err(invalid("selector", "give a filter"));
        };
        let text = texts(filter, OF_RECONCILING)?;
        let wish = ReconcileWish {
            pipeline: text("pipeline").ok_or_else(no_pipeline)?,
            target: text("target"),
            from: instant(&text, "from")?.unwrap_or(Timestamp::MIN),
            to: instant(&text, "to")?.unwrap_or(Timestamp::MAX),
            mends: self.mend.unwrap_or(false),
        };
        Ok(OfDeliveries::Reconcile(wish, self.selector.written()))
    }

    /// Reads an export of records.
    pub(super) fn of_export(self) -> Result<ExportWish, Refused> {
        self.must_have_no("action", self.action.is_some())?;
        self.must_have_no("mend", self.mend.is_some())?;
        self.must_change_nothing()?;
        let names = || ExportFormat::ALL.map(ExportFormat::name).join(", ");
        let given = self.format.as_deref().unwrap_or("csv");
        let format = ExportFormat::ALL.into_iter().find(|format| format.name() == given);
        let format = format.ok_or_else(|| invalid("format", format!("`{given}` is no format; there are {}", names())))?;
        let selector = &self.selector;
        if selector.ids.is_some() || selector.group_id.is_some() {
            return Err(invalid("selector", "an export takes a filter"));
        }
        let filter = selector.filter.clone().unwrap_or_default();
        let text = texts(&filter, OF_RECORDS)?;
        let are_thresholds = match text("threshold").as_deref() {
            None | Some("false") => false,
            Some("true") => true,
            Some(other) => return Err(invalid("selector.filter.threshold", format!("`{other}` is neither true nor false"))),
        };
        let filter = RecordFilter {
            user: text("userId"),
            meter_type: text("meterType"),
            meter: text("meterId"),
            from: instant(&text, "from")?,
            to: instant(&text, "to")?,
            are_thresholds,
        };
        let (up_to, written) = (selector.up_to()?, selector.written());
        Ok(ExportWish { format, pipeline: text("pipeline"), filter, up_to, written, is_dry_run: self.dry_run })
    }

    /// Reads the changes of fields.
    fn changes(&self) -> Result<FieldChanges, Refused> {
        let mut changes = FieldChanges { set: self.set.clone(), remove: self.remove.clone(), ..FieldChanges::default() };
        for (path, to) in &self.convert {
            let known = r#"a type is text, number, boolean, or {"number": {"decimal": ","}} with group, percent and currency"#;
            let to = column_type(to).ok_or_else(|| invalid(format!("convert.{path}"), known))?;
            changes.convert.push((path.clone(), to));
        }
        for (from, to) in &self.rename {
            let to = to.as_str().filter(|to| !to.is_empty());
            let to = to.ok_or_else(|| invalid(format!("rename.{from}"), "expected the new path of the field"))?;
            changes.rename.push((from.clone(), to.to_owned()));
        }
        are_paths("set", changes.set.keys())?;
        are_paths("convert", changes.convert.iter().map(|(path, _)| path))?;
        are_paths("rename", changes.rename.iter().flat_map(|(from, to)| [from, to]))?;
        are_paths("remove", changes.remove.iter())?;
        Ok(changes)
    }

    fn must_change_nothing(&self) -> Result<(), Refused> {
        self.must_have_no("set", !self.set.is_empty())?;
        self.must_have_no("convert", !self.convert.is_empty())?;
        self.must_have_no("rename", !self.rename.is_empty())?;
        self.must_have_no("remove", !self.remove.is_empty())
    }

    /// Refuses a field that a job of this kind does not take.
    fn must_have_no(&self, field: &'static str, is_there: bool) -> Result<(), Refused> {
        if is_there { Err(invalid(field, format!("this job does not take `{field}`"))) } else { Ok(()) }
    }
}

impl Selector {
    fn up_to(&self) -> Result<Option<Timestamp>, Refused> {
        let Some(text) = &self.up_to else { return Ok(None) };
        let wrong = || invalid("selector.upTo", format!("`{text}` is no time; write RFC 3339"));
        Timestamp::parse_rfc3339(text.as_bytes()).map(Some).ok_or_else(wrong)
    }

    /// Returns the selector for the audit; of many ids their number.
    fn written(&self) -> Value {
        let mut written = serde_json::to_value(self).unwrap_or_default();
        if let Some(ids) = self.ids.as_ref().filter(|ids| ids.len() > 100) {
            written["ids"] = Value::from(ids.len());
        }
        written
    }
}

fn are_paths<'p>(field: &str, mut paths: impl Iterator<Item = &'p String>) -> Result<(), Refused> {
    match paths.find(|path| path.split('.').any(str::is_empty)) {
        Some(path) => Err(invalid(field, format!("`{path}` is no path; write names with dots between them"))),
        None => Ok(()),
    }
}

/// Reads a type as documents write it: a word, or the form of a number.
fn column_type(written: &Value) -> Option<ColumnType> {
    if let Some(name) = written.as_str() {
        return ColumnType::named(name);
    }
    let form = written.as_object().filter(|whole| whole.len() == 1)?.get("number")?.as_object()?;
    let mut number = NumberForm::default();
    for (name, value) in form {
        let sign = || {
            let sign = value.as_str().filter(|text| text.len() == 1).and_then(|text| text.bytes().next());
            sign.filter(|sign| !sign.is_ascii_alphanumeric() && !b"+-".contains(sign))
        };
        match name.as_str() {
            "decimal" => number.decimal = sign()?,
            "group" => number.group = Some(sign()?),
            "percent" => number.percent = value.as_bool()?,
            "currency" => number.currency = value.as_bool()?,
            _ => return None,
        }
    }
    (number.group != Some(number.decimal)).then_some(ColumnType::Form(number))
}

fn no_pipeline() -> Refused {
    invalid("selector.filter.pipeline", "name the pipeline")
}

fn wrong_action(given: Option<&str>, known: &str) -> Refused {
    invalid("action", format!("`{}` is no action; there are {known}", given.unwrap_or_default()))
}

fn state(name: &str) -> Result<DeliveryState, Refused> {
    let known = [DeliveryState::Dead, DeliveryState::Retrying, DeliveryState::Skipped];
    known.into_iter().find(|state| state.name() == name).ok_or_else(|| {
        let detail = format!("`{name}` is no state that waits for a person; there are dead, retrying and skipped");
        invalid("selector.filter.state", detail)
    })
}

fn instant(text: &dyn Fn(&str) -> Option<String>, name: &str) -> Result<Option<Timestamp>, Refused> {
    let Some(given) = text(name) else { return Ok(None) };
    let wrong = || invalid(format!("selector.filter.{name}"), format!("`{given}` is no time; write RFC 3339"));
    Timestamp::parse_rfc3339(given.as_bytes()).map(Some).ok_or_else(wrong)
}

/// Returns the fields of a filter by name. Others than the known ones are refused.
fn texts<'f>(
    filter: &'f Map<String, Value>,
    known: &'static [&'static str],
) -> Result<impl Fn(&str) -> Option<String> + 'f, Refused> {
    for (name, value) in filter {
        let field = || format!("selector.filter.{name}");
        if !known.contains(&name.as_str()) {
            return Err(invalid(field(), format!("unknown field `{name}`; there are {}", known.join(", "))));
        }
        if !matches!(value, Value::String(_) | Value::Bool(_) | Value::Null) {
            return Err(invalid(field(), format!("{name}: expected text, found {value}")));
        }
    }
    Ok(|name: &str| match filter.get(name)? {
        Value::String(text) if !text.is_empty() => Some(text.clone()),
        Value::Bool(is_on) => Some(is_on.to_string()),
        _ => None,
    })
}
