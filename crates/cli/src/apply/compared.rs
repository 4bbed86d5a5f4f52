//! A document and the pipeline of its name on the server: whether they are equal, and the effects
//! of a change.
//!
//! The server makes the effective documents of both sides, with the meter types of the
//! installation in them. So the versions of client and server need not agree on defaults.

use anyhow::Context;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::documents::Document;
use crate::client::{Connection, part};

/// The result of a document.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    Created,
    Changed,
    Unchanged,
}

impl Outcome {
    pub(super) fn name(self) -> &'static str {
        match self {
            Outcome::Created => "created",
            Outcome::Changed => "changed",
            Outcome::Unchanged => "unchanged",
        }
    }
}

/// A document beside the pipeline of the server.
pub(super) struct Compared {
    pub(super) document: Document,
    pub(super) outcome: Outcome,
    /// The version on the server; none if the server has no such pipeline.
    pub(super) version: Option<u64>,
    /// The effective document of the server; empty if it has none.
    pub(super) before: String,
    /// The effective document of the file.
    pub(super) after: String,
    /// The effects of a change: the answer of a dry run. None if the key may not ask for them.
    pub(super) effects: Option<Box<RawValue>>,
}

#[derive(Deserialize)]
struct Known {
    version: u64,
    effective: String,
}

#[derive(Deserialize)]
struct Checked {
    effective: String,
}

const FORBIDDEN: u16 = 403;
const NOT_FOUND: u16 = 404;

/// Compares a document with the server; a change is rehearsed there.
///
/// # Errors
/// The server refuses the document or the change, or does not answer. `is_reading` accepts a key
/// that may read and not change: the effects are unknown then.
pub(super) fn compare(connection: &Connection, document: Document, is_reading: bool) -> anyhow::Result<Compared> {
    let place = document.file.display().to_string();
    ask(connection, document, is_reading).context(place)
}

fn ask(connection: &Connection, document: Document, is_reading: bool) -> anyhow::Result<Compared> {
    let body = Some(("application/yaml", document.text.as_bytes()));
    let checked = connection.ask("POST", "/api/v1/pipelines/check", body)?.good()?;
    let checked: Checked = serde_json::from_slice(&checked).context("the answer to a check is no effective document")?;
    let after = checked.effective;
    let path = path_of(&document);
    let known = connection.ask("GET", &path, None)?;
    if known.status == NOT_FOUND {
        let (before, outcome) = (String::new(), Outcome::Created);
        return Ok(Compared { document, outcome, version: None, before, after, effects: None });
    }
    let known: Known = serde_json::from_slice(&known.good()?).context("the answer is no pipeline")?;
    let (version, before) = (Some(known.version), known.effective);
    if before == after {
        return Ok(Compared { document, outcome: Outcome::Unchanged, version, before, after, effects: None });
    }
    let (kind, newer) = document.new_version();
    let rehearsed = connection.ask("PUT", &format!("{path}?dryRun=true"), Some((kind, &newer)))?;
    let effects = match rehearsed.status {
        FORBIDDEN if is_reading => None,
        _ => Some(serde_json::from_slice(&rehearsed.good()?).context("the answer to a dry run is no JSON")?),
    };
    Ok(Compared { document, outcome: Outcome::Changed, version, before, after, effects })
}

/// Sends a document, if it is not equal. Returns the version that the server has then.
///
/// # Errors
/// The server refuses it, does not answer, or another client changed the pipeline since it was
/// compared.
pub(super) fn send(connection: &Connection, compared: &Compared) -> anyhow::Result<u64> {
    let place = || compared.document.file.display().to_string();
    let body = ("application/yaml", compared.document.text.as_bytes());
    let answer = match (compared.outcome, compared.version) {
        (Outcome::Unchanged, version) => return Ok(version.unwrap_or_default()),
        (Outcome::Changed, Some(version)) => {
            let (kind, newer) = compared.document.new_version();
            connection.put_if(&path_of(&compared.document), (kind, &newer), &format!("\"{version}\"")).with_context(place)?
        }
        (Outcome::Created | Outcome::Changed, _) => {
            connection.ask("POST", "/api/v1/pipelines", Some(body)).with_context(place)?
        }
    };
    let kept: Known = serde_json::from_slice(&answer.good().with_context(place)?).context("the answer is no pipeline")?;
    Ok(kept.version)
}

fn path_of(document: &Document) -> String {
    format!("/api/v1/pipelines/{}", part(&document.name))
}
