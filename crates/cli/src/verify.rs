//! `flowmeter verify`: counts everything again.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;
use flowmeter_node::verify::verify as verified;

use crate::args::Verify;
use crate::failure::{self, FAILED, Wrong};

pub(crate) fn verify(verify: &Verify) -> anyhow::Result<ExitCode> {
    let scratch = scratch(verify)?;
    let threads = verify.threads.map_or_else(|| std::thread::available_parallelism().map_or(1, usize::from), usize::from);
    let outcome = verified(&verify.data, &scratch, threads);
    // The scratch folder is of no further use.
    drop(std::fs::remove_dir_all(&scratch));
    let verified = outcome?;
    let mut text: String = verified.differences.iter().map(|difference| format!("{difference}\n")).collect();
    let ending = match verified.differences.is_empty() {
        true => "everything is equal",
        false => "not everything is equal and whole",
    };
    let [files, pipelines, events] = [verified.files, verified.pipelines, verified.events];
    let [meters, records] = [verified.meters, verified.records];
    text.push_str(&format!(
        "{files} files read whole, {pipelines} pipelines, {events} events counted again, \
         {meters} meters and {records} records compared: {ending}\n",
    ));
    failure::print(&text)?;
    Ok(if verified.differences.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(FAILED) })
}

/// Creates a folder for temporary files.
fn scratch(verify: &Verify) -> anyhow::Result<PathBuf> {
    if !verify.data.is_dir() {
        return Err(Wrong(format!("{} is no folder", verify.data.display())).into());
    }
    let data = verify.data.canonicalize()?;
    let above = verify.scratch.as_deref().or(data.parent()).unwrap_or(Path::new("."));
    let folder = above.join(format!(".flowmeter-verify-{}", std::process::id()));
    std::fs::create_dir_all(&folder).with_context(|| format!("{}: give --scratch a folder to write in", folder.display()))?;
    Ok(folder)
}
