//! Targets: where records go.

pub mod files;
mod format;
pub mod growing;
pub mod stdout;

use flowmeter_core::pipeline::{TargetFormat, TargetPlan};
use flowmeter_engine::{Error, Target};

/// The target of a plan; `None` for nowhere.
pub fn open(plan: &TargetPlan) -> Result<Option<Box<dyn Target>>, Error> {
    Ok(match &plan.path {
        None => None,
        Some(path) if path == "-" => Some(Box::new(stdout::Stdout::new(plan.format))),
        Some(path) => Some(Box::new(files::Files::new(&crate::expand(path)?, plan.format)?)),
    })
}

/// The target of a path given on a command line.
pub fn of_path(path: &str) -> Result<Box<dyn Target>, Error> {
    let format = if path.ends_with(".csv") { TargetFormat::Csv } else { TargetFormat::Ndjson };
    Ok(match path {
        "-" => Box::new(stdout::Stdout::new(format)),
        path => Box::new(files::Files::new(path, format)?),
    })
}
