//! Targets: where records go.
//!
//! | target | a repeat is harmless because | it confirms by |
//! |---|---|---|
//! | files of a run | a file is written beside its place and renamed, under a name its records make | reading the files back |
//! | growing files | the length that is right is kept with the place in the records | reading the files back |
//! | windowed files, objects | a window makes the same bytes under the same name, and names are taken once | reading them back |
//! | files of an SFTP server | as windowed files; a file is written beside its place and linked or renamed | reading them back |
//! | Postgres | `record_id` is the key, and rows and cursor are one transaction | comparing the rows |
//! | ClickHouse | it is not: rows in doubt are looked for first | comparing the rows |
//! | Kafka | it is not: messages in doubt are looked for first | reading the topic back |
//! | e-mail | a window makes the same letter under the same `Message-ID`, and rows have the `recordId` | its acceptance |
//! | webhook | the receiver recognizes the `Idempotency-Key` | `readBack`, where there is one |
//! | Stripe | the identifier, for 24 hours | its acceptance |
//! | Lago | the transaction id, for ever | asking for the event |
//! | Zuora | it is not: records in doubt are looked for first | asking for the usage |
//! | standard output | it is not; a run is one piece | its acceptance |
//!
//! The contract of a target is documented at [`flowmeter_engine::outbox::Target`].

mod clickhouse;
pub(crate) mod columns;
mod email;
pub mod files;
mod folder;
pub(crate) mod format;
pub mod growing;
pub(crate) mod http;
#[cfg(feature = "kafka")]
mod kafka;
mod manifest;
mod objects;
mod place;
mod postgres;
mod rows;
#[cfg(feature = "sftp")]
mod sftp;
pub mod stdout;
mod windowed;

use std::path::Path;
use std::sync::Arc;

use flowmeter_document::{FilePlan, TargetFormat, TargetKind, TargetPlan};
use flowmeter_engine::Error;
use flowmeter_engine::node::Clock;
use flowmeter_engine::outbox::{Answer, Target};
use serde_json::Value;

use crate::calls::Abandon;

/// The environment of a target.
pub struct Around<'a> {
    /// The folder of relative paths.
    pub folder: &'a Path,
    /// The pipeline and the target; it never changes.
    pub owner: String,
    /// The name of the pipeline.
    pub pipeline: &'a str,
    /// The state of the target; `None` for a run, whose files are complete or absent.
    pub memory: Option<&'a Value>,
    /// The clock of the engine.
    pub clock: Arc<dyn Clock>,
    /// Cancels requests in progress.
    pub abandon: Abandon,
}

/// Opens the target of a plan; `None` for `none`.
///
/// # Errors
/// A setting is invalid, or a secret is missing.
pub fn open(plan: &TargetPlan, around: &Around<'_>) -> Result<Option<Box<dyn Target>>, Error> {
    Ok(Some(match &plan.kind {
        TargetKind::Nowhere => return Ok(None),
        TargetKind::Stdout(format) => Box::new(stdout::Stdout::new(*format)),
        TargetKind::File(plan) => file(plan, around)?,
        TargetKind::Objects(plan) => {
            let objects = objects::Objects::new(plan, &around.abandon)?;
            let manifests = manifest::Manifests::of(plan, &around.owner)?;
            Box::new(windowed::Windowed::new(objects, &plan.path, plan.format)?.with_manifests(manifests))
        }
        #[cfg(feature = "sftp")]
        TargetKind::Sftp(plan) => {
            let files = sftp::Sftp::new(plan, &around.abandon)?;
            Box::new(windowed::Windowed::new(files, &crate::expand(&plan.path)?, plan.format)?)
        }
        #[cfg(not(feature = "sftp"))]
        TargetKind::Sftp(_) => return Err(crate::no_sftp()),
        TargetKind::Postgres(plan) => Box::new(postgres::Table::new(plan, &around.owner, &around.abandon)?),
        TargetKind::ClickHouse(plan) => Box::new(clickhouse::Table::new(plan, around)?),
        #[cfg(feature = "kafka")]
        TargetKind::Kafka(plan) => Box::new(kafka::Topics::new(plan, around.memory.unwrap_or(&Value::Null), &around.abandon)?),
        #[cfg(not(feature = "kafka"))]
        TargetKind::Kafka(_) => return Err(crate::no_kafka()),
        TargetKind::Email(plan) => Box::new(email::Letters::new(plan, around)?),
        TargetKind::Http(plan) => Box::new(http::Http::new(plan, Arc::clone(&around.clock), &around.abandon)?),
    }))
}

fn file(plan: &FilePlan, around: &Around<'_>) -> Result<Box<dyn Target>, Error> {
    let path = crate::expand(&plan.path)?;
    let Some(memory) = around.memory else { return Ok(Box::new(files::Files::new(&path, plan.format)?)) };
    let path = around.folder.join(path).to_string_lossy().into_owned();
    Ok(match path.contains(place::WINDOW) {
        true => Box::new(windowed::Windowed::new(folder::Folder, &path, plan.format)?),
        false => Box::new(growing::Growing::new(&path, plan.format, memory)?),
    })
}

/// Opens the target of a path given on a command line.
///
/// # Errors
/// It cannot be created.
pub fn of_path(path: &str) -> Result<Box<dyn Target>, Error> {
    let format = TargetFormat::of_path(path);
    Ok(match path {
        "-" => Box::new(stdout::Stdout::new(format)),
        path => Box::new(files::Files::new(path, format)?),
    })
}

/// Reports that no record was sent, for a reason that does not depend on the records.
fn all_unavailable(why: &Error, records: usize) -> Vec<Answer> {
    vec![Answer::Unavailable { why: why.to_string(), after: None }; records]
}
