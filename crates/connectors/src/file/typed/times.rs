//! Whether the times of a file can be read as the pipeline says.
//!
//! A column of times without a zone is no instant until the pipeline names the clock it
//! was read from. Found when the file is opened, that is one message; found event by
//! event, it would be as many parked events as the file has rows.

use flowmeter_core::event::Path;
use flowmeter_core::operator::{Operator, Step};
use flowmeter_core::plan::{Plan, TimeField};
use flowmeter_core::time::{Clue, TimeFormat};
use flowmeter_engine::{Error, Kind as ErrorKind};

use super::Kind;

/// Checks every column that the pipeline reads a time from.
///
/// # Errors
/// No value of a column's type could be read: which column, and what to write instead.
pub(in crate::file) fn check(
    file: &str,
    column: &dyn Fn(&Path) -> Option<Kind>,
    plan: &Plan,
    source: usize,
) -> Result<(), Error> {
    let stamped = plan.sources[source].time.as_ref();
    let asked = stamped.map(|(field, _)| field).into_iter().chain(times_of_operators(plan));
    for (slot, format) in asked.flat_map(|field| field.slots.iter().map(|slot| (*slot, &field.format))) {
        // The source puts an instant there itself, or an operator does.
        let is_from_file = stamped.is_some_and(|(field, to)| *to != slot || field.slots.contains(&slot));
        if (stamped.is_some() && !is_from_file) || is_changed(plan, slot) {
            continue;
        }
        let path = &plan.paths[usize::from(slot)];
        let Some(column) = column(path) else { continue };
        let Some((samples, clue)) = samples(column) else { continue };
        if !samples.iter().any(|sample| format.parse(sample.as_bytes(), clue).is_some()) {
            let message = format!("{file}: the time `{path}` is a column of {}", advice(column, path, format));
            return Err(Error::new(ErrorKind::Invalid, message));
        }
    }
    Ok(())
}

fn times_of_operators(plan: &Plan) -> impl Iterator<Item = &TimeField> {
    let dedupes = plan.nodes.iter().filter_map(|node| match &node.operator {
        Operator::Dedupe(dedupe) => Some(&dedupe.time),
        Operator::Rate(rate) => rate.running.as_ref().map(|running| &running.time),
        Operator::Aggregate(aggregate) => Some(&aggregate.running.time),
        Operator::Accumulate(accumulate) => Some(&accumulate.time),
        Operator::Correlate(correlate) => Some(&correlate.time),
        Operator::Currency(currency) => Some(&currency.time),
        Operator::Enrich(enrich) => enrich.at.as_ref(),
        Operator::Filter(_)
        | Operator::Map(_)
        | Operator::Validate(_)
        | Operator::Branch(_)
        | Operator::Meter(_)
        | Operator::Split(_)
        | Operator::Script(_)
        | Operator::Http(_) => None,
    });
    plan.processors.iter().map(|processor| &processor.time).chain(dedupes)
}

fn is_changed(plan: &Plan, slot: u16) -> bool {
    let changes = |step: &Step| match step {
        Step::Set(to, _) | Step::Remove(to) | Step::Convert(to, _) => *to == slot,
        Step::Rename(from, to) => *from == slot || *to == slot,
    };
    plan.nodes.iter().any(|node| match &node.operator {
        Operator::Map(steps) => steps.iter().any(changes),
        Operator::Enrich(enrich) => enrich.set.iter().any(|(set, _)| *set == slot),
        Operator::Split(split) => split.into == slot || split.key == Some(slot),
        Operator::Currency(currency) => {
            let more = [currency.set_rate, currency.set_date];
            currency.set == slot || more.contains(&Some(slot))
        }
        Operator::Rate(rate) => rate.set == slot,
        Operator::Http(http) => http.set.iter().any(|(set, _)| *set == slot),
        Operator::Aggregate(aggregate) => aggregate.fields.iter().any(|fold| fold.set == slot),
        // A script may change any field.
        Operator::Script(_) => true,
        // The events these make have a time of their own.
        Operator::Accumulate(_) | Operator::Correlate(_) => false,
        Operator::Filter(_) | Operator::Validate(_) | Operator::Dedupe(_) | Operator::Branch(_) | Operator::Meter(_) => false,
    })
}

/// Returns example values of a kind; `None` if it holds any text.
fn samples(column: Kind) -> Option<(&'static [&'static str], Clue)> {
    Some(match column {
        Kind::Instant { has_zone: true, .. } => (&["2020-02-29T01:02:03Z", "2020-02-29T01:02:03.004Z"], Clue::Text),
        Kind::Instant { has_zone: false, .. } => (&["2020-02-29T01:02:03", "2020-02-29T01:02:03.004"], Clue::Text),
        Kind::Date => (&["2020-02-29"], Clue::Text),
        Kind::Clock { .. } => (&["01:02:03", "01:02:03.004"], Clue::Text),
        Kind::Flag => (&["true"], Clue::Text),
        Kind::Signed | Kind::Unsigned | Kind::Float | Kind::Half | Kind::Decimal { .. } => {
            (&["1", "1700000000000"], Clue::Number)
        }
        Kind::Text | Kind::Bytes | Kind::Uuid | Kind::Duration { .. } | Kind::Null => return None,
    })
}

fn advice(column: Kind, path: &Path, format: &TimeFormat) -> String {
    match column {
        Kind::Instant { has_zone: true, .. } => "instants (UTC), which read by themselves: leave `format` out".to_owned(),
        Kind::Instant { .. } => format!(
            "times without a zone; write `time: {{ field: {path}, format: \"%Y-%m-%dT%H:%M:%S%.f\", timezone: ZONE }}` \
             with the zone their clock was in (Etc/UTC, Europe/Oslo, +02:00)"
        ),
        Kind::Date => format!("dates; write `time: {{ field: {path}, format: \"%Y-%m-%d\", timezone: ZONE }}`"),
        other => format!("{}, which {} does not read; see `time` in docs/pipelines.md", other.describe(), shown(format)),
    }
}

fn shown(format: &TimeFormat) -> String {
    match format {
        TimeFormat::Default => "RFC 3339".to_owned(),
        TimeFormat::Unix { .. } => "a count since 1970".to_owned(),
        TimeFormat::Pattern { pattern, .. } => format!("the pattern `{pattern}`"),
    }
}
