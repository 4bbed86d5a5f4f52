//! Reads the arguments of commands: pipelines and times.

use std::path::Path;
use std::sync::Arc;

use anyhow::Context;
use flowmeter_core::plan::Plan;
use flowmeter_core::table::TableOrigin;
use flowmeter_core::time::Timestamp;
use flowmeter_document::{Pipeline, TargetKind, TargetPlan, TestCase, TestData};
use flowmeter_engine::Settings;

use crate::clock;
use crate::failure::Wrong;
use crate::input::Input;

/// A pipeline with its paths resolved.
pub(crate) struct Loaded {
    pub(crate) plan: Arc<Plan>,
    pub(crate) targets: Vec<TargetPlan>,
    pub(crate) tests: Vec<TestCase>,
    /// The document with every default written out.
    pub(crate) document: String,
}

/// Reads a pipeline document; every problem has the name of the file.
pub(crate) fn document(path: &Path) -> anyhow::Result<Pipeline> {
    let text = std::fs::read_to_string(path).map_err(|why| Wrong(format!("{}: {why}", path.display())))?;
    Pipeline::read_with_files(&text, &|file| script(path, file)).with_context(|| path.display().to_string())
}

/// Reads the file of a script, which is relative to its document.
pub(crate) fn script(document: &Path, file: &str) -> Result<String, String> {
    const BYTES_MAX: u64 = 1 << 20;
    let path = document.parent().unwrap_or(Path::new("")).join(file);
    let length = std::fs::metadata(&path).map_err(|why| why.to_string())?.len();
    if length > BYTES_MAX {
        return Err(format!("{length} bytes are no script; at most 256 KiB"));
    }
    std::fs::read_to_string(&path).map_err(|why| why.to_string())
}

/// Prints the warnings of a document to standard error, with their places.
pub(crate) fn warn(path: &Path, pipeline: &Pipeline) {
    for warning in &pipeline.warnings {
        let (file, line, column) = (path.display(), warning.line, warning.column);
        eprintln!("{file}:{line}:{column}: warning: {}: {}", warning.field, warning.message);
    }
}

/// Reads a pipeline. Its relative paths are relative to its own folder, so that it works from any
/// folder.
pub(crate) fn pipeline(path: &Path) -> anyhow::Result<Loaded> {
    let pipeline = document(path)?;
    warn(path, &pipeline);
    let document = pipeline.effective().to_owned();
    let Pipeline { mut plan, mut targets, mut tests, .. } = pipeline;
    let folder = path.parent().map(Path::to_path_buf).unwrap_or_default();
    flowmeter_connectors::services::resolve(&mut plan)?;
    for path in plan.sources.iter_mut().flat_map(|source| &mut source.paths) {
        *path = resolve(&folder, path);
    }
    for table in &mut plan.tables {
        if let TableOrigin::File(source) = &mut table.origin {
            source.paths.iter_mut().for_each(|path| *path = resolve(&folder, path));
        }
    }
    for target in &mut targets {
        if let TargetKind::File(file) = &mut target.kind {
            file.path = resolve(&folder, &file.path);
        }
    }
    for data in tests.iter_mut().flat_map(|test| [&mut test.input, &mut test.expect]) {
        if let TestData::File(file) = data {
            *file = resolve(&folder, file);
        }
    }
    Ok(Loaded { plan: Arc::new(plan), targets, tests, document })
}

fn resolve(folder: &Path, path: &str) -> String {
    if path == "-" || path.starts_with("${") || folder.as_os_str().is_empty() {
        return path.to_owned();
    }
    folder.join(path).to_string_lossy().into_owned()
}

/// Returns the clock of the run.
pub(crate) fn as_of(input: &Input) -> anyhow::Result<Timestamp> {
    input.as_of.as_deref().map_or_else(|| Ok(clock::now()), |text| instant("--as-of", text))
}

/// Parses an instant of the command line.
pub(crate) fn instant(name: &str, text: &str) -> anyhow::Result<Timestamp> {
    Timestamp::parse_rfc3339(text.as_bytes())
        .ok_or_else(|| Wrong(format!("{name} {text}: not a time; write RFC 3339, like 2024-01-31T00:00:00Z")).into())
}

/// Returns the engine's settings.
pub(crate) fn settings(input: &Input, taps_max: usize) -> Settings {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let threads = input.threads.map_or(cores, usize::from);
    Settings { threads, partitions: input.partitions.map_or(threads, usize::from), taps_max }
}
