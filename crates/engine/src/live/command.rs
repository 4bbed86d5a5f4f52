//! Commands in the log: everything that changes pipelines besides events. JSON, so that people can
//! read a log.

use std::sync::Arc;

use flowmeter_core::plan::{DeclaredMeter, Plan};
use flowmeter_core::time::{Timestamp, Zone};
use flowmeter_document::Pipeline;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::tables::TableVersion;
use crate::{Error, Kind, StateChoices};

/// A change of pipelines that is not an event.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "command", rename_all = "camelCase")]
pub enum LogCommand {
    /// The clock has advanced: all pipelines flush periods that have ended.
    Tick,
    /// A session ends: flushes periods that ended by an instant, in nanoseconds, and sends the revisions
    /// of all corrections.
    Close {
        pipeline: Uuid,
        at: i64,
    },
    /// Flushes open periods as they are.
    Flush {
        pipeline: Uuid,
    },
    Open {
        pipeline: Uuid,
        meter: MeterName,
    },
    /// Changes the settings of a meter.
    Edit {
        pipeline: Uuid,
        meter: MeterName,
    },
    /// Deletes a meter with its content.
    Delete {
        pipeline: Uuid,
        meter: MeterName,
    },
    /// Deletes all meters of a type with their content, and forgets its usage.
    Forget {
        pipeline: Uuid,
        #[serde(rename = "meterType")]
        meter_type: Uuid,
    },
    /// Starts or stops notes about single meters. Without listeners they cost nothing.
    Listen {
        pipeline: Uuid,
        /// Whether anything subscribes to these notes.
        listens: bool,
    },
    /// Puts a version of a table in force: its content is in a file of its own.
    Table {
        pipeline: Uuid,
        table: String,
        content: TableVersion,
    },
    /// Adopts another version of the pipeline's document.
    Adopt {
        pipeline: Uuid,
        version: u32,
        /// The document, so that the log alone is enough to count again. Entries of older programs
        /// lack it; for those it is read from the catalog.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        document: Option<AdoptedDocument>,
        /// Decisions about state that has no place in the version. An operator that is not named
        /// releases it.
        #[serde(default, skip_serializing_if = "StateChoices::is_empty")]
        state: StateChoices,
    },
    /// A change of the catalog together with its commands for pipelines. All of it takes effect
    /// from this entry on, or nothing.
    Change {
        commands: Vec<LogCommand>,
        /// The changed rows of the catalog.
        rows: Vec<CatalogRow>,
    },
}

/// A version of a pipeline's document.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AdoptedDocument {
    pub text: String,
    /// The meter types of the installation in which it counts too.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub meter_types: Vec<String>,
}

impl AdoptedDocument {
    /// Compiles it. It was compiled successfully before it entered the log.
    pub fn plan(&self, pipeline: Uuid) -> Result<Arc<Plan>, Error> {
        let shared: Vec<&str> = self.meter_types.iter().map(String::as_str).collect();
        let compiled = Pipeline::read_shared(&self.text, &shared)
            .map_err(|why| Error::new(Kind::Corrupt, format!("a document in the log: {why}")))?;
        let mut plan = compiled.plan;
        plan.id = pipeline;
        Ok(Arc::new(plan))
    }
}

/// A row of the catalog in the log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CatalogRow {
    pub table: String,
    /// The key in hexadecimal digits.
    pub key: String,
    /// In hexadecimal digits; `None` removes the row.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
}

/// A meter by name, with its settings.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct MeterName {
    pub user_id: String,
    pub meter_type_id: Uuid,
    /// The meter key of its operator.
    pub meter_key: Uuid,
    /// The id, if one was given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<Uuid>,
    /// Whether it is deleted at its next reset.
    #[serde(default)]
    pub delete_on_reset: bool,
    /// Copied to its records.
    #[serde(default)]
    pub custom_fields: serde_json::Map<String, serde_json::Value>,
    /// A capacity and thresholds of its own, as a document writes them.
    #[serde(default, skip_serializing_if = "serde_json::Map::is_empty")]
    pub limits: serde_json::Map<String, serde_json::Value>,
    /// The time zone it opens in, if it has one of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timezone: Option<String>,
    /// Time of creation in nanoseconds; `None` is the time of the command.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created_at: Option<i64>,
}

impl MeterName {
    /// Returns the meter in the terms of a plan, if the plan has its type and operator.
    pub fn declared(&self, plan: &Plan) -> Option<DeclaredMeter> {
        let meter_type = plan.meter_types.iter().position(|kind| kind.id == self.meter_type_id)?;
        let processor = plan.processors.iter().position(|processor| processor.key == self.meter_key)?;
        let mut custom_fields: Vec<_> =
            self.custom_fields.iter().map(|(name, value)| (name.clone(), value.to_string())).collect();
        custom_fields.sort();
        // They were checked before they entered the log.
        let limits = Pipeline::read_own_limits(&self.limits, true).unwrap_or_default();
        Some(DeclaredMeter {
            id: self.id,
            user: self.user_id.clone(),
            processor: processor as u16,
            meter_type: meter_type as u16,
            created_at: self.created_at.map(Timestamp::from_nanos),
            delete_on_reset: self.delete_on_reset,
            custom_fields,
            zone: self.timezone.as_deref().and_then(Zone::named),
            capacity: limits.capacity,
            thresholds: limits.thresholds,
        })
    }
}

impl LogCommand {
    /// Returns the affected pipeline; `None` for all or several.
    pub fn pipeline(&self) -> Option<Uuid> {
        match self {
            LogCommand::Tick | LogCommand::Change { .. } => None,
            LogCommand::Close { pipeline, .. }
            | LogCommand::Flush { pipeline }
            | LogCommand::Open { pipeline, .. }
            | LogCommand::Edit { pipeline, .. }
            | LogCommand::Delete { pipeline, .. }
            | LogCommand::Forget { pipeline, .. }
            | LogCommand::Listen { pipeline, .. }
            | LogCommand::Table { pipeline, .. }
            | LogCommand::Adopt { pipeline, .. } => Some(*pipeline),
        }
    }

    /// Encodes it for the log.
    pub fn to_json(&self) -> Vec<u8> {
        serde_json::to_vec(self).unwrap_or_default()
    }

    pub fn read(bytes: &[u8]) -> Result<LogCommand, Error> {
        let wrong = |why: &str| Error::new(Kind::Corrupt, format!("a command in the log: {why}"));
        let written: Written = serde_json::from_slice(bytes).map_err(|why| wrong(&why.to_string()))?;
        let name = written.command;
        written.command().ok_or_else(|| wrong(&format!("`{name:?}` lacks one of its fields")))
    }
}

/// A command as it is read: its name, and the fields of all commands. A derived reader of tagged
/// enums buffers its input, and loses numbers there (`arbitrary_precision`).
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Written {
    command: Name,
    pipeline: Option<Uuid>,
    meter: Option<MeterName>,
    meter_type: Option<Uuid>,
    listens: Option<bool>,
    version: Option<u32>,
    document: Option<AdoptedDocument>,
    #[serde(default)]
    state: StateChoices,
    #[serde(default)]
    commands: Vec<Written>,
    #[serde(default)]
    rows: Vec<CatalogRow>,
    table: Option<String>,
    content: Option<TableVersion>,
    at: Option<i64>,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
enum Name {
    Tick,
    Close,
    Flush,
    Open,
    Edit,
    Delete,
    Forget,
    Listen,
    Table,
    Adopt,
    Change,
}

impl Written {
    /// Returns the command, unless a field of it is missing.
    fn command(self) -> Option<LogCommand> {
        let Written {
            command,
            pipeline,
            meter,
            meter_type,
            listens,
            version,
            document,
            state,
            commands,
            rows,
            table,
            content,
            at,
        } = self;
        match command {
            Name::Tick => return Some(LogCommand::Tick),
            Name::Change => {
                let commands: Option<Vec<LogCommand>> = commands.into_iter().map(Written::command).collect();
                return Some(LogCommand::Change { commands: commands?, rows });
            }
            Name::Close
            | Name::Flush
            | Name::Open
            | Name::Edit
            | Name::Delete
            | Name::Forget
            | Name::Listen
            | Name::Table
            | Name::Adopt => {}
        }
        let pipeline = pipeline?;
        Some(match command {
            Name::Tick | Name::Change => return None,
            Name::Close => LogCommand::Close { pipeline, at: at? },
            Name::Flush => LogCommand::Flush { pipeline },
            Name::Open => LogCommand::Open { pipeline, meter: meter? },
            Name::Edit => LogCommand::Edit { pipeline, meter: meter? },
            Name::Delete => LogCommand::Delete { pipeline, meter: meter? },
            Name::Forget => LogCommand::Forget { pipeline, meter_type: meter_type? },
            Name::Listen => LogCommand::Listen { pipeline, listens: listens? },
            Name::Table => LogCommand::Table { pipeline, table: table?, content: content? },
            Name::Adopt => LogCommand::Adopt { pipeline, version: version?, document, state },
        })
    }
}

#[cfg(test)]
mod tests;
