//! `flowmeter sources test`: connects to the sources of a pipeline and shows some of their events.
//! Nothing is counted, moved or committed.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use clap::{Args, Subcommand};
use flowmeter_connectors::Abandon;
use flowmeter_connectors::sources::{self, Batch, Reading, Step, Surroundings};
use flowmeter_core::event::Place;
use flowmeter_core::plan::Plan;
use flowmeter_core::source::SourceKind;
use flowmeter_engine::live::Taken;
use flowmeter_engine::{Error, Kind};
use serde_json::Value;

use crate::{failure, load};

/// Looks at a source that has nothing at present: a topic gets its partitions after some seconds.
const LOOKS_MAX: u32 = 50;
/// Characters of a value that are shown as an example.
const EXAMPLE: usize = 40;

#[derive(Debug, Subcommand)]
pub(crate) enum Sources {
    /// Connect to the sources of a pipeline and show some of their events
    Test(Test),
}

/// Connect to the sources of a pipeline and show some of their events and fields.
///
/// Nothing is counted, moved or committed: a consumer group of Kafka gets the suffix `-test`.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  flowmeter sources test usage.yaml\n  flowmeter sources test usage.yaml --source topic --events 20"
)]
pub(crate) struct Test {
    /// The pipeline: YAML or JSON
    pipeline: PathBuf,
    /// The only source to look at
    #[arg(long, value_name = "ID")]
    source: Option<String>,
    /// Number of events to show
    #[arg(long, default_value_t = 5)]
    events: usize,
}

pub(crate) fn sources(command: &Sources) -> anyhow::Result<ExitCode> {
    let Sources::Test(test) = command;
    let pipeline = match load::document(&test.pipeline) {
        Ok(pipeline) => pipeline,
        Err(why) => {
            failure::print_problems(&test.pipeline, &why);
            return Ok(ExitCode::from(failure::INVALID));
        }
    };
    let plan = for_test(pipeline.plan);
    let wanted = |id: &str| test.source.as_ref().is_none_or(|source| source == id);
    let chosen: Vec<usize> = (0..plan.sources.len()).filter(|at| wanted(&plan.sources[*at].id)).collect();
    if chosen.is_empty() {
        let ids: Vec<&str> = plan.sources.iter().map(|source| source.id.as_str()).collect();
        let message =
            format!("there is no source `{}`; there are {}", test.source.as_deref().unwrap_or_default(), ids.join(", "));
        return Err(Error::new(Kind::Invalid, message).into());
    }
    let folder = std::env::temp_dir().join(format!("flowmeter-sources-{}", std::process::id()));
    let tested = chosen.into_iter().try_for_each(|at| test_one(&plan, at, test.events, &folder));
    if folder.exists() {
        std::fs::remove_dir_all(&folder)?;
    }
    tested.map(|()| ExitCode::SUCCESS)
}

/// Returns the plan with groups of its own.
fn for_test(mut plan: Plan) -> Arc<Plan> {
    for source in &mut plan.sources {
        if let SourceKind::Kafka(kafka) = &mut source.kind {
            kafka.group.push_str("-test");
        }
    }
    Arc::new(plan)
}

fn test_one(plan: &Arc<Plan>, at: usize, events: usize, spool: &Path) -> anyhow::Result<()> {
    let source = &plan.sources[at];
    failure::print(&format!("source {} ({})\n", source.id, source.kind.name()))?;
    let around = Surroundings {
        plan: Arc::clone(plan),
        source: at,
        session: 0,
        as_of: None,
        taken: Taken::new(),
        abandon: Abandon::default(),
        spool: spool.to_owned(),
        durable: Arc::new(|| Ok(())),
        wall: Arc::new(wall),
    };
    let Some(mut reading) = sources::open(around)? else {
        failure::print("  events come in at POST /api/v1/events of a server\n")?;
        return Ok(());
    };
    match first_batch(&mut *reading)? {
        Some(batch) => show(&batch, events),
        None => {
            failure::print("  connected; there is nothing to take\n")?;
            Ok(())
        }
    }
}

/// Returns the first batch with events, or one that says why there are none.
fn first_batch(reading: &mut dyn Reading) -> Result<Option<Batch>, Error> {
    for _ in 0..LOOKS_MAX {
        match reading.next()? {
            Step::Taken(batch) if batch.fed.events() == 0 => {
                for (name, item) in
                    sources::items_of(&batch.fed.taken.iter().filter_map(|(k, v)| Some((k.clone(), v.clone()?))).collect())
                {
                    if let Some(why) = &item.why {
                        let named = if why.contains(name) { why.clone() } else { format!("{name}: {why}") };
                        return Err(Error::new(Kind::Invalid, named));
                    }
                }
            }
            Step::Taken(batch) => return Ok(Some(batch)),
            Step::Wait(pause) if pause.is_zero() => {}
            Step::Wait(_) | Step::End => return Ok(None),
        }
    }
    Ok(None)
}

fn show(batch: &Batch, events: usize) -> anyhow::Result<()> {
    let mut fields: BTreeMap<String, String> = BTreeMap::new();
    for (nth, line) in batch.lines.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).enumerate() {
        let text = String::from_utf8_lossy(line).replace('\0', " ");
        if let Ok(value) = serde_json::from_slice(line) {
            note(&value, "", &mut fields);
        }
        if nth < events {
            let (origin, number) = batch.fed.place_of(nth as u64).unwrap_or_default();
            failure::print(&format!("  {origin}:{}\n    {text}\n", Place::of(number)))?;
        }
    }
    failure::print(&format!("  {} events in the first batch; their fields:\n", batch.fed.events()))?;
    for (name, example) in fields {
        failure::print(&format!("    {name}  {example}\n"))?;
    }
    Ok(())
}

/// Notes the fields of an event with an example of each.
fn note(value: &Value, path: &str, fields: &mut BTreeMap<String, String>) {
    match value {
        Value::Object(members) => {
            for (name, value) in members {
                let name = name.replace('.', "\\.");
                let path = if path.is_empty() { name } else { format!("{path}.{name}") };
                note(value, &path, fields);
            }
        }
        value => {
            let text: String = value.to_string().chars().take(EXAMPLE).collect();
            fields.entry(path.to_owned()).or_insert(text);
        }
    }
}

fn wall() -> SystemTime {
    UNIX_EPOCH + Duration::from_nanos(crate::clock::now().nanos().max(0).unsigned_abs())
}
