//! `tests` of a document: events, and the records that they must make. They have no effect on a
//! pipeline that runs.

use flowmeter_core::time::Timestamp;

use super::compile::instant;
use super::problem::Problems;
use super::tree::Node as Tree;

/// A test of a document.
#[derive(Clone, Debug)]
pub struct TestCase {
    /// A name that is unique in the document.
    pub name: String,
    /// The events that come in.
    pub input: TestData,
    /// The clock of the test.
    pub as_of: Option<Timestamp>,
    /// The records that are expected.
    pub expect: TestData,
}

/// Events or records of a test.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TestData {
    /// JSON objects in the document itself, each as its text.
    Items(Vec<String>),
    /// A file with them, relative to the document.
    File(String),
}

/// Returns the tests of a document that conforms to the table of forms.
pub(super) fn compile_all(tree: &Tree, problems: &mut Problems) -> Vec<TestCase> {
    let mut cases: Vec<TestCase> = Vec::new();
    for (i, node) in tree.get("tests").map(Tree::items).unwrap_or_default().iter().enumerate() {
        let name = node.text("name").unwrap_or_default().to_owned();
        if cases.iter().any(|other| other.name == name) {
            let message = format!("there are two tests `{name}`; give each a name of its own");
            problems.add(node.get("name").unwrap_or(node), &format!("tests[{i}].name"), message);
        }
        let (input, expect) = (data(node.get("input")), data(node.get("expect")));
        cases.push(TestCase { name, input, as_of: instant(node, "asOf"), expect });
    }
    cases
}

fn data(node: Option<&Tree>) -> TestData {
    match node.and_then(Tree::scalar) {
        Some(file) => TestData::File(file.to_owned()),
        None => TestData::Items(node.map(Tree::items).unwrap_or_default().iter().map(Tree::json_text).collect()),
    }
}
