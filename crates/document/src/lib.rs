//! Pipelines as documents: YAML or JSON in, a [`Plan`] or a list of problems out.
//!
//! One table ([`shape`]) declares the fields, their forms and their defaults. The checker, the JSON
//! Schema and the effective document are all derived from it. The compiler, one file for each part
//! of the document, checks what the table cannot express (names that must resolve, expressions that
//! must compile). Every problem has a line, a column and a field, and names the correct form.

mod compile;
mod conform;
mod effective;
mod forms;
mod graph;
mod http;
mod keyed;
mod lookup;
mod meter;
mod meter_type;
mod names;
mod operator_forms;
mod operators;
mod own;
mod prices;
mod problem;
mod run_schedule;
mod schema;
mod script;
mod service;
mod shape;
mod source;
mod tables;
mod targets;
mod test_cases;
#[cfg(test)]
mod tests;
mod tree;
mod value;
mod warnings;

pub use meter_type::read_schedule;
pub use problem::{Problem, Problems};
pub use schema::json_schema;
pub use targets::{
    Body, ClickHousePlan, Dialect, EmailPlan, FileFormat, FilePlan, HttpPlan, KafkaPlan, ObjectsPlan, PostgresPlan, ReadBack,
    SftpPlan, TargetFormat, TargetKind, TargetPlan, Told, Warehouse,
};
pub use test_cases::{TestCase, TestData};

use std::collections::BTreeMap;

use flowmeter_core::meter_type::{MeterType, derived};
use flowmeter_core::plan::Plan;
use serde_json::{Map, Value};
use uuid::Uuid;

/// A pipeline that has been read and compiled.
#[derive(Clone, Debug)]
pub struct Pipeline {
    /// The compiled plan, ready to run.
    pub plan: Plan,
    /// The targets of its records.
    pub targets: Vec<TargetPlan>,
    /// The tests of the document.
    pub tests: Vec<TestCase>,
    /// Parts of the document that are valid but have no effect.
    pub warnings: Vec<Problem>,
    effective: String,
}

/// A document with the content of its scripts' files in it.
fn with_files(text: &str, read: &dyn Fn(&str) -> Result<String, String>) -> Result<tree::Node, Problems> {
    let mut tree = tree::parse(text)?;
    let mut problems = Problems::default();
    script::put_in_code(&mut tree, read, &mut problems);
    problems.into_result()?;
    Ok(tree)
}

/// A meter type as a document declares it.
#[derive(Clone, Debug)]
pub struct Declared {
    /// The given id, or one derived from its name.
    pub id: Uuid,
    /// A name that is unique in the document.
    pub name: String,
    /// Its fields, as written.
    pub fields: Map<String, Value>,
}

impl Pipeline {
    /// Reads a document. It reports all problems that can be found in one pass.
    pub fn read(text: &str) -> Result<Pipeline, Problems> {
        Pipeline::of_tree(&tree::parse(text)?, false)
    }

    /// Reads a document whose scripts may be in files beside it. `read` returns the content of a
    /// file, or why it cannot be read.
    pub fn read_with_files(text: &str, read: &dyn Fn(&str) -> Result<String, String>) -> Result<Pipeline, Problems> {
        Pipeline::of_tree(&with_files(text, read)?, false)
    }

    /// Reads a document for an installation whose meter types are not known here: its rules may
    /// address categories that have no types. Its scripts may be in files beside it.
    pub fn read_open_with_files(text: &str, read: &dyn Fn(&str) -> Result<String, String>) -> Result<Pipeline, Problems> {
        Pipeline::of_tree(&with_files(text, read)?, true)
    }

    /// The document with the content of its scripts' files in it; `None` if it names no files.
    /// Fields keep their order, because the steps of a `map` have one.
    pub fn with_code(text: &str, read: &dyn Fn(&str) -> Result<String, String>) -> Result<Option<String>, Problems> {
        let has_file = |tree: &tree::Node| {
            let operators = tree.get("operators").map(tree::Node::items).unwrap_or_default();
            operators.iter().any(|operator| operator.get("script").is_some_and(|script| script.get("file").is_some()))
        };
        let before = tree::parse(text)?;
        match has_file(&before) {
            true => Ok(Some(with_files(text, read)?.json_text())),
            false => Ok(None),
        }
    }

    /// Reads a document in an installation that has its own meter types, each a document as under
    /// `meterTypes`. The pipeline's rules may address their categories, and categories without
    /// types yet. A type of the pipeline takes precedence over one of the same name.
    pub fn read_shared(text: &str, shared: &[&str]) -> Result<Pipeline, Problems> {
        let mut tree = tree::parse(text)?;
        let shared = shared.iter().map(|kind| tree::parse(kind)).collect::<Result<Vec<_>, _>>()?;
        let named = |node: &tree::Node| node.text("name").map(str::to_owned);
        let own: Vec<_> = tree.get("meterTypes").map(tree::Node::items).unwrap_or_default().iter().map(named).collect();
        tree.extend_list("meterTypes", shared.into_iter().filter(|kind| !own.contains(&named(kind))));
        Pipeline::of_tree(&tree, true)
    }

    /// Reads one meter type, as under `meterTypes`: its id and name.
    pub fn read_meter_type(text: &str) -> Result<MeterType, Problems> {
        let mut tree = tree::parse("{}")?;
        tree.extend_list("meterTypes", [tree::parse(text)?]);
        let mut problems = Problems::default();
        let kinds = tree.get("meterTypes").into_iter().flat_map(tree::Node::items);
        kinds.for_each(|kind| conform::conform(kind, &forms::METER_TYPE, "", &mut problems));
        problems.into_result()?;
        let mut problems = Problems::default();
        let mut kinds = meter_type::compile_all(&tree, &mut problems);
        problems.into_result()?;
        kinds.pop().ok_or_else(Problems::default)
    }

    /// Returns the line of each operator of a document, by its id; none of one that is not a
    /// document.
    pub fn operator_lines(text: &str) -> BTreeMap<String, usize> {
        let Ok(tree) = tree::parse(text) else { return BTreeMap::new() };
        let items = tree.get("operators").map(tree::Node::items).unwrap_or_default();
        items.iter().filter_map(|item| Some((operators::id_of(item)?.to_owned(), item.line))).collect()
    }

    /// Returns the meter types that a document declares.
    pub fn declared_meter_types(text: &str) -> Result<Vec<Declared>, Problems> {
        let tree = tree::parse(text)?;
        let items = tree.get("meterTypes").map(tree::Node::items).unwrap_or_default();
        let declared = items.iter().filter_map(|item| {
            let name = item.text("name")?.to_owned();
            let id = item.text("id").and_then(|id| Uuid::try_parse(id).ok());
            let Value::Object(fields) = item.to_json() else { return None };
            Some(Declared { id: id.unwrap_or_else(|| derived::meter_type(&name)), name, fields })
        });
        Ok(declared.collect())
    }

    fn of_tree(tree: &tree::Node, open_categories: bool) -> Result<Pipeline, Problems> {
        let mut problems = Problems::default();
        conform::conform(tree, &forms::PIPELINE, "", &mut problems);
        problems.into_result()?;
        let mut problems = Problems::default();
        let compiled = compile::compile(tree, open_categories, &mut problems);
        let tests = test_cases::compile_all(tree, &mut problems);
        problems.into_result()?;
        let (plan, targets, mut warnings) = compiled.ok_or_else(Problems::default)?;
        warnings.0.sort_by_key(|warning| (warning.line, warning.column));
        Ok(Pipeline { plan, targets, tests, warnings: warnings.0, effective: effective::effective(tree) })
    }

    /// Returns the document with every default written out, as YAML.
    pub fn effective(&self) -> &str {
        &self.effective
    }
}
