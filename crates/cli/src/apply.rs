//! `flowmeter apply` and `flowmeter diff`: pipelines kept as files, in git for example, and the
//! pipelines of a server.
//!
//! Every document is checked, compared and rehearsed before the first one is sent. So a mistake in
//! the last file changes nothing on the server.

mod compared;
mod documents;
mod lines;
mod report;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use flowmeter_engine::StateChoice;
use serde_json::value::RawValue;

use crate::args::state_choice;
use crate::client::{Connection, Server};
use crate::failure::{self, DIFFERENT};
use crate::form::Form;
use compared::{Compared, Outcome, compare, send};

/// Make the pipelines of a server equal to documents in files.
///
/// Creates each pipeline that the server does not have, changes each one that differs, and leaves
/// the others as they are. Two documents are equal if `flowmeter check` prints the same for them.
/// Pipelines of the server that no file has stay. All documents are checked before the first is
/// sent. A running pipeline adopts its change at once; a new one starts with `pipelines run`.
#[derive(Debug, Args)]
#[command(
    after_help = "Exit codes: 0 good; 2 a document is wrong or the server refused it; 3 failure or no answer.\n\nExamples:\n  flowmeter apply -f pipelines/\n  flowmeter apply -f billing.yaml -f usage.yaml --dry-run\n  flowmeter apply -f pipelines/ --url https://meter:8888 --output json"
)]
pub(crate) struct Apply {
    #[command(flatten)]
    pub(crate) documents: Documents,
    /// Print what would be done, and change nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Release or forget the state of an operator whose fields change or that is gone: `release`
    /// counts it as it is, `forget` parks it; may be repeated
    #[arg(long, value_name = "PIPELINE/OPERATOR=release|forget", value_parser = state_choice)]
    pub(crate) state: Vec<(String, StateChoice)>,
    #[command(flatten)]
    pub(crate) server: Server,
}

/// Show how the pipelines of a server differ from documents in files.
///
/// Compares the effective documents, with every default written out, and prints the lines that
/// differ. Changes nothing. Needs a key with the scope read; with the scope admin it also prints
/// the effects on meters that exist.
#[derive(Debug, Args)]
#[command(
    after_help = "Exit codes: 0 equal; 1 different; 2 a document is wrong or the server refused it; 3 failure or no answer.\n\nExamples:\n  flowmeter diff -f pipelines/\n  flowmeter diff -f billing.yaml --url https://meter:8888"
)]
pub(crate) struct Diff {
    #[command(flatten)]
    pub(crate) documents: Documents,
    #[command(flatten)]
    pub(crate) server: Server,
}

#[derive(Debug, Args)]
pub(crate) struct Documents {
    /// A pipeline document, or a folder with *.yaml, *.yml and *.json; may be repeated
    #[arg(short, long = "file", required = true, value_name = "FILE|DIR")]
    pub(crate) file: Vec<PathBuf>,
}

pub(crate) fn apply(apply: &Apply) -> anyhow::Result<ExitCode> {
    let connection = Connection::new(&apply.server.address)?;
    let all = compare_all(&connection, &apply.documents, &apply.state, false)?;
    let form = apply.server.output;
    let mut done: Vec<Box<RawValue>> = Vec::new();
    for compared in &all {
        let sent = if apply.dry_run { Ok(next_version(compared)) } else { send(&connection, compared).map(Some) };
        let version = match sent {
            Ok(version) => version,
            Err(why) => {
                print_objects(form, &done)?;
                let (count, all) = (done.len(), all.len());
                return Err(
                    why.context(format!("{count} of {all} documents were applied; apply them again after this is solved"))
                );
            }
        };
        done.push(report::object(compared, version, false));
        if form == Form::Table {
            failure::print(&report::line(compared, version))?;
        }
    }
    print_objects(form, &done)?;
    if apply.dry_run {
        eprintln!("dry run: nothing was changed");
    }
    Ok(ExitCode::SUCCESS)
}

pub(crate) fn diff(diff: &Diff) -> anyhow::Result<ExitCode> {
    let connection = Connection::new(&diff.server.address)?;
    let all = compare_all(&connection, &diff.documents, &[], true)?;
    match diff.server.output {
        Form::Table => {
            let text = |compared: &Compared| {
                format!("{}{}", report::line(compared, next_version(compared)), report::difference(compared))
            };
            failure::print(&all.iter().map(text).collect::<String>())?;
        }
        Form::Json => {
            let object = |compared: &Compared| report::object(compared, next_version(compared), true);
            print_objects(Form::Json, &all.iter().map(object).collect::<Vec<_>>())?;
        }
    }
    let are_equal = all.iter().all(|compared| compared.outcome == Outcome::Unchanged);
    Ok(if are_equal { ExitCode::SUCCESS } else { ExitCode::from(DIFFERENT) })
}

fn compare_all(
    connection: &Connection,
    documents: &Documents,
    state: &[(String, StateChoice)],
    is_reading: bool,
) -> anyhow::Result<Vec<Compared>> {
    let mut documents = documents::read(&documents.file)?;
    documents::add_state(&mut documents, state)?;
    documents.into_iter().map(|document| compare(connection, document, is_reading)).collect()
}

/// Returns the version that a pipeline would have.
fn next_version(compared: &Compared) -> Option<u64> {
    let changes = u64::from(compared.outcome != Outcome::Unchanged);
    Some(compared.version.unwrap_or_default() + changes)
}

/// Prints the results for programs.
fn print_objects(form: Form, objects: &[Box<RawValue>]) -> anyhow::Result<()> {
    if form == Form::Json {
        let objects: Vec<&str> = objects.iter().map(|object| object.get()).collect();
        failure::print(&format!("[{}]\n", objects.join(",\n")))?;
    }
    Ok(())
}
