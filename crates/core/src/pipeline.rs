//! Pipelines as documents: YAML or JSON in, a [`Plan`] or a list of problems out.
//!
//! One table ([`shape`]) says which fields there are, of what form and default; the
//! checker, the JSON Schema and the effective document are all made from it. What the
//! table cannot say (names that must resolve, expressions that must compile) is checked
//! by the compiler, one file for each part of the document. Every problem names line,
//! column and field, and says what to write.

mod compile;
mod conform;
mod effective;
mod forms;
mod graph;
mod meter;
mod meter_type;
mod operators;
mod problem;
mod schema;
pub mod shape;
mod source;
mod target;
#[cfg(test)]
mod tests;
mod tree;

pub use problem::{Problem, Problems};
pub use schema::json_schema;
pub use source::{Format, IdRule, SourcePlan};
pub use target::{TargetFormat, TargetPlan};

use crate::plan::Plan;

/// A pipeline that has been read and compiled.
#[derive(Clone, Debug)]
pub struct Pipeline {
    /// Ready to run.
    pub plan: Plan,
    /// Where records go.
    pub targets: Vec<TargetPlan>,
    effective: String,
}

impl Pipeline {
    /// Reads a document. All problems that can be found at once are reported at once.
    pub fn read(text: &str) -> Result<Pipeline, Problems> {
        let tree = tree::parse(text)?;
        let mut problems = Problems::default();
        conform::conform(&tree, &forms::PIPELINE, "", &mut problems);
        problems.into_result()?;
        let mut problems = Problems::default();
        let compiled = compile::compile(&tree, &mut problems);
        problems.into_result()?;
        let (plan, targets) = compiled.ok_or_else(Problems::default)?;
        Ok(Pipeline { plan, targets, effective: effective::effective(&tree) })
    }

    /// The document with every default written out, as YAML.
    pub fn effective(&self) -> &str {
        &self.effective
    }
}
