//! Pipeline documents in files and folders: found, read and checked before anything is sent.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::Context;
use flowmeter_document::Pipeline;
use flowmeter_engine::StateChoice;

use crate::client::document_with_state;
use crate::failure::{self, Wrong};
use crate::load;

/// The endings of pipeline documents in a folder.
const ENDINGS: [&str; 3] = ["yaml", "yml", "json"];
/// The ending of JSON Schemas, which may be kept beside the documents for editors.
const SCHEMA_ENDING: &str = ".schema.json";

/// A document that can be sent.
pub(super) struct Document {
    pub(super) file: PathBuf,
    /// The name of its pipeline.
    pub(super) name: String,
    /// The text to be sent: the code of scripts in files is in it.
    pub(super) text: String,
    /// Decisions about the state of operators that a new version has no place for.
    pub(super) state: Vec<(String, StateChoice)>,
}

impl Document {
    /// Returns the body of a new version, with its content type.
    pub(super) fn new_version(&self) -> (&'static str, Vec<u8>) {
        match self.state.is_empty() {
            true => ("application/yaml", self.text.clone().into_bytes()),
            false => ("application/json", document_with_state(&self.text, &self.state)),
        }
    }
}

/// Gives each document the decisions about the state of its operators; each operator is named
/// `PIPELINE/OPERATOR`.
///
/// # Errors
/// A name without a pipeline among the documents.
pub(super) fn add_state(documents: &mut [Document], state: &[(String, StateChoice)]) -> anyhow::Result<()> {
    for (name, choice) in state {
        let named = name.split_once('/');
        let found = named
            .and_then(|(pipeline, operator)| Some((documents.iter_mut().find(|document| document.name == pipeline)?, operator)));
        let Some((document, operator)) = found else {
            let message = format!("--state {name}: write PIPELINE/OPERATOR, with the name of a pipeline in the files");
            return Err(Wrong(message).into());
        };
        document.state.push((operator.to_owned(), *choice));
    }
    Ok(())
}

/// Reads the documents of files and folders, in their order. Prints every mistake with its place.
///
/// # Errors
/// A path that cannot be read, a document with mistakes, or two documents of one name.
pub(super) fn read(paths: &[PathBuf]) -> anyhow::Result<Vec<Document>> {
    let mut files = Vec::new();
    for path in paths {
        find(path, &mut files)?;
    }
    let mut documents = Vec::new();
    for file in &files {
        match one(file) {
            Ok(document) => documents.push(document),
            Err(why) => failure::print_problems(file, &why),
        }
    }
    let wrong = files.len() - documents.len();
    if wrong > 0 {
        let message = format!("nothing was sent: {wrong} of {} documents cannot be used; see above", files.len());
        return Err(Wrong(message).into());
    }
    check_names(&documents)?;
    Ok(documents)
}

/// Adds the documents of a path: a file itself, or the documents of a folder in the order of their
/// names. Hidden files and JSON Schemas are no documents.
fn find(path: &Path, files: &mut Vec<PathBuf>) -> anyhow::Result<()> {
    let unreadable = |why: std::io::Error| Wrong(format!("-f {}: {why}", path.display()));
    if !std::fs::metadata(path).map_err(unreadable)?.is_dir() {
        files.push(path.to_owned());
        return Ok(());
    }
    let mut found = Vec::new();
    for entry in std::fs::read_dir(path).map_err(unreadable)? {
        let file = entry.map_err(unreadable)?.path();
        let name = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let ending = file.extension().and_then(|ending| ending.to_str()).unwrap_or_default();
        if ENDINGS.contains(&ending) && !name.starts_with('.') && !name.ends_with(SCHEMA_ENDING) && !file.is_dir() {
            found.push(file);
        }
    }
    if found.is_empty() {
        let message =
            format!("-f {}: the folder has no *.yaml, *.yml or *.json; name the folder of the pipelines", path.display());
        return Err(Wrong(message).into());
    }
    found.sort();
    files.extend(found);
    Ok(())
}

fn one(file: &Path) -> anyhow::Result<Document> {
    let text = std::fs::read_to_string(file).map_err(|why| Wrong(format!("{}: {why}", file.display())))?;
    let place = || file.display().to_string();
    // Meter types may be those of the server, which are not known here.
    let pipeline = Pipeline::read_open_with_files(&text, &|name| load::script(file, name)).with_context(place)?;
    load::warn(file, &pipeline);
    let with_code = Pipeline::with_code(&text, &|name| load::script(file, name)).with_context(place)?;
    Ok(Document { file: file.to_owned(), name: pipeline.plan.name, text: with_code.unwrap_or(text), state: Vec::new() })
}

fn check_names(documents: &[Document]) -> anyhow::Result<()> {
    let mut names: BTreeMap<&str, &Path> = BTreeMap::new();
    for document in documents {
        if let Some(other) = names.insert(&document.name, &document.file) {
            let (name, first, second) = (&document.name, other.display(), document.file.display());
            let message = format!("{second}: the pipeline `{name}` is in {first} as well; keep one of them");
            return Err(Wrong(message).into());
        }
    }
    Ok(())
}
