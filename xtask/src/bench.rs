//! `cargo xtask bench batch`: the main job with Flowmeter and three peers, in one run;
//! `cargo xtask bench shapes`: jobs of other shapes beside DuckDB; `cargo xtask bench operators`: jobs
//! with and without each operator; and `cargo xtask bench ingest`: the server under load.

mod data;
mod flush;
mod ingest;
mod notifications;

pub(crate) use flush::flush;
pub(crate) use ingest::ingest;
pub(crate) use notifications::notifications;

use std::path::Path;
use std::process::Command;

use anyhow::{Context, ensure};

/// Makes the data if it does not exist, builds the release binary, and runs `benches/batch.py`,
/// which compares all systems.
pub(crate) fn batch(root: &Path, rest: &[&str]) -> anyhow::Result<()> {
    let option = |name: &str| rest.iter().position(|word| *word == name).and_then(|at| rest.get(at + 1)).copied();
    let events: u64 = option("--events").unwrap_or("10000000").parse().context("--events takes a number")?;
    let folder = root.join("bench-data");
    std::fs::create_dir_all(&folder)?;
    let file = folder.join(format!("events-{events}.ndjson"));
    if !file.exists() {
        eprintln!("making {} events …", events);
        data::write(&file, events)?;
    }
    run(crate::cargo(root).args(["build", "--release", "--bin", "flowmeter"]))?;
    let python = python(root)?;
    let mut script = Command::new(python);
    script.arg(root.join("benches/batch.py")).arg(root).arg(&file);
    if let Some(only) = option("--only") {
        script.args(["--only", only]);
    }
    run(&mut script)?;
    if !rest.contains(&"--keep") {
        std::fs::remove_file(&file)?;
    }
    Ok(())
}

/// Builds the release binary and runs `benches/shapes.py` with the given options, which makes its
/// data.
pub(crate) fn shapes(root: &Path, rest: &[&str]) -> anyhow::Result<()> {
    script(root, "shapes", rest)
}

/// Does the same with `benches/operators.py`.
pub(crate) fn operators(root: &Path, rest: &[&str]) -> anyhow::Result<()> {
    script(root, "operators", rest)
}

fn script(root: &Path, name: &str, rest: &[&str]) -> anyhow::Result<()> {
    let folder = root.join("bench-data").join(name);
    std::fs::create_dir_all(&folder)?;
    run(crate::cargo(root).args(["build", "--release", "--bin", "flowmeter"]))?;
    let python = python(root)?;
    let binary = root.join("target/release/flowmeter");
    run(Command::new(python).arg(root.join("benches").join(name).with_extension("py")).arg(binary).arg(&folder).args(rest))
}

/// Returns a Python with the peers, in an environment of the benchmark's own.
fn python(root: &Path) -> anyhow::Result<std::path::PathBuf> {
    let environment = root.join("bench-data/python");
    let python = environment.join("bin/python");
    if !python.exists() {
        run(Command::new("python3").args(["-m", "venv"]).arg(&environment))?;
    }
    let requirements = root.join("benches/requirements.txt");
    run(Command::new(&python).args(["-m", "pip", "install", "--quiet", "--requirement"]).arg(requirements))?;
    Ok(python)
}

fn run(command: &mut Command) -> anyhow::Result<()> {
    let status = command.status().with_context(|| format!("{command:?}"))?;
    ensure!(status.success(), "{command:?} ended with {status}");
    Ok(())
}
