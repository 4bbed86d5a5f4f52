//! Manifests for warehouses: the objects of a window, and the statement that loads them.
//!
//! A manifest is written after all its objects. Its name is made from the window's number, so a
//! repeated window finds it. Loading it twice has the effect of loading it once: Snowflake
//! remembers the files that it loaded, BigQuery the id of the job.

use flowmeter_document::{ObjectsPlan, TargetFormat, Warehouse};
use flowmeter_engine::Error;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::place::window_name;
use super::windowed::{ALONE, Blobs, Put};

/// An object that was written for a window.
pub(super) struct Written {
    pub(super) name: String,
    pub(super) records: usize,
    pub(super) bytes: Vec<u8>,
}

/// The manifests of a target.
pub(super) struct Manifests {
    warehouse: Warehouse,
    /// The address of the objects.
    url: String,
    format: TargetFormat,
    /// The pipeline and the target, for ids of jobs.
    owner: String,
}

impl Manifests {
    /// Returns the manifests of a plan, if its objects are loaded by a warehouse.
    ///
    /// # Errors
    /// A reference in the address has no value.
    pub(super) fn of(plan: &ObjectsPlan, owner: &str) -> Result<Option<Manifests>, Error> {
        let Some(warehouse) = plan.warehouse.clone() else { return Ok(None) };
        let url = crate::expand(&plan.url)?.trim_end_matches('/').to_owned();
        Ok(Some(Manifests { warehouse, url, format: plan.format, owner: owner.to_owned() }))
    }

    /// Writes the manifest of a window. Returns why it cannot be, if another one is there.
    ///
    /// # Errors
    /// The store does not answer.
    pub(super) fn write(&self, blobs: &mut dyn Blobs, window: u64, written: &[Written]) -> Result<Option<String>, Error> {
        // A record that its window was written without has a manifest of its own.
        let alone = written.iter().any(|one| one.name.contains(ALONE));
        let suffix = if alone { ALONE } else { "" };
        let name = format!("manifests/{}{suffix}.json", window_name(window));
        let text = self.text(window, suffix, written);
        if blobs.put(&name, text.into_bytes())? == Put::New {
            return Ok(None);
        }
        // A window with more records was written before: its objects are in that manifest.
        let there = blobs.get(&name)?.unwrap_or_default();
        let there: Value = serde_json::from_slice(&there).unwrap_or_default();
        let named =
            |one: &Written| there["files"].as_array().is_some_and(|files| files.iter().any(|file| file["name"] == one.name));
        match written.iter().all(named) {
            true => Ok(None),
            false => Ok(Some(format!("{name} is there and names other objects; move it away and send again"))),
        }
    }

    fn text(&self, window: u64, suffix: &str, written: &[Written]) -> String {
        let files: Vec<Value> = written
            .iter()
            .map(|one| {
                let sum = Sha256::digest(&one.bytes).iter().map(|byte| format!("{byte:02x}")).collect::<String>();
                json!({
                    "name": one.name, "url": format!("{}/{}", self.url, one.name), "records": one.records,
                    "bytes": one.bytes.len(), "sha256": sum,
                })
            })
            .collect();
        let records: usize = written.iter().map(|one| one.records).sum();
        let names: Vec<&str> = written.iter().map(|one| one.name.as_str()).collect();
        let mut manifest = json!({"window": window, "records": records, "files": files, "load": self.statement(&names)});
        if let Warehouse::BigQuery { .. } = self.warehouse {
            manifest["jobId"] = json!(format!("{}{}", job_id(&self.owner, window), suffix.replace('-', "_")));
        }
        let mut text = serde_json::to_string_pretty(&manifest).unwrap_or_default();
        text.push('\n');
        text
    }

    /// Returns the statement that loads objects.
    fn statement(&self, names: &[&str]) -> String {
        match &self.warehouse {
            Warehouse::Snowflake { stage, table } => {
                let files: Vec<String> = names.iter().map(|name| format!("'{}'", name.replace('\'', "''"))).collect();
                let format = match self.format {
                    TargetFormat::Parquet => "TYPE = PARQUET) MATCH_BY_COLUMN_NAME = CASE_INSENSITIVE",
                    TargetFormat::Csv => {
                        "TYPE = CSV PARSE_HEADER = TRUE FIELD_OPTIONALLY_ENCLOSED_BY = '\"') MATCH_BY_COLUMN_NAME = CASE_INSENSITIVE"
                    }
                    TargetFormat::Ndjson => "TYPE = JSON) MATCH_BY_COLUMN_NAME = CASE_INSENSITIVE",
                };
                format!("COPY INTO {table} FROM @{stage} FILES = ({}) FILE_FORMAT = ({format};", files.join(", "))
            }
            Warehouse::BigQuery { table } => {
                let uris: Vec<String> = names.iter().map(|name| json!(format!("{}/{name}", self.url)).to_string()).collect();
                let format = match self.format {
                    TargetFormat::Parquet => "format = 'PARQUET'",
                    TargetFormat::Csv => "format = 'CSV', skip_leading_rows = 1",
                    TargetFormat::Ndjson => "format = 'NEWLINE_DELIMITED_JSON'",
                };
                format!("LOAD DATA INTO `{table}` FROM FILES ({format}, uris = [{}]);", uris.join(", "))
            }
        }
    }
}

/// Returns the id of the job that loads a window: BigQuery runs no second job of one id.
fn job_id(owner: &str, window: u64) -> String {
    let owner: String = owner.chars().map(|letter| if letter.is_ascii_alphanumeric() { letter } else { '_' }).collect();
    format!("flowmeter_{owner}_{}", window_name(window))
}
