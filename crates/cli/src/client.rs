//! The client: lists, shows and changes the data of a server.
//!
//! Every subcommand is a row: a request, and the members of the answer that make a table. One
//! function sends it and prints the answer. Numbers are printed as they were sent, so none of them
//! loses a digit.

mod calls;
mod commands;
mod connection;
mod events;
pub(crate) mod export;
mod keys;
mod preview;
mod reconciled;
pub(crate) mod table;
mod watch;

use std::path::Path;
use std::process::ExitCode;

use flowmeter_engine::{StateChoice, StateChoices};
use serde_json::json;
use serde_json::value::RawValue;

pub(crate) use commands::Commands;
use commands::{OnServer, Paging};
pub(crate) use connection::{Connection, Server};
use table::Columns;

use crate::failure::{self, Wrong};
use crate::form::Form;

/// Formats an answer for people.
type Text = fn(&[u8]) -> anyhow::Result<String>;

/// A request, and how its answer is shown.
pub(crate) struct Call {
    method: &'static str,
    path: String,
    query: Vec<(&'static str, String)>,
    body: Option<(&'static str, Vec<u8>)>,
    /// For a list: the maximum of items; then its items are shown.
    items_max: Option<usize>,
    columns: Columns,
    /// Formats the answer for people, if a list of members is not enough.
    text: Option<Text>,
}

/// Returns the body of a new version: a document, and decisions about the state of operators.
pub(crate) fn document_with_state(document: &str, state: &[(String, StateChoice)]) -> Vec<u8> {
    let state: StateChoices = state.iter().cloned().collect();
    json!({"document": document, "state": state}).to_string().into_bytes()
}

impl Call {
    fn new(method: &'static str, path: impl Into<String>) -> Call {
        Call { method, path: path.into(), query: Vec::new(), body: None, items_max: None, columns: &[], text: None }
    }

    fn get(path: impl Into<String>) -> Call {
        Call::new("GET", path)
    }

    fn post(path: impl Into<String>) -> Call {
        Call::new("POST", path)
    }

    fn list(path: impl Into<String>, list: &Paging, columns: Columns) -> Call {
        let items_max = if list.all { usize::MAX } else { list.limit };
        Call { items_max: Some(items_max), columns, ..Call::get(path) }
    }

    /// Adds a query parameter, if it was given.
    fn with(mut self, name: &'static str, value: &Option<String>) -> Call {
        self.query.extend(value.iter().map(|value| (name, value.clone())));
        self
    }

    fn json(self, body: &serde_json::Value) -> Call {
        Call { body: Some(("application/json", body.to_string().into_bytes())), ..self }
    }

    fn document(self, file: &Path) -> anyhow::Result<Call> {
        Ok(Call { body: Some(("application/yaml", read(file)?)), ..self })
    }

    /// A pipeline's document, with the code of scripts that are in files beside it.
    fn pipeline(self, file: &Path) -> anyhow::Result<Call> {
        let bytes = read(file)?;
        // A document with problems is sent as it is: the server lists them all.
        let with_code = std::str::from_utf8(&bytes).ok().map(|text| {
            let code = |name: &str| crate::load::script(file, name);
            flowmeter_document::Pipeline::with_code(text, &code)
        });
        let body = match with_code {
            Some(Ok(Some(text))) => text.into_bytes(),
            Some(Err(why)) if why.to_string().contains("script.file") => return Err(Wrong(why.to_string()).into()),
            Some(Ok(None) | Err(_)) | None => bytes,
        };
        Ok(Call { body: Some(("application/yaml", body)), ..self })
    }

    /// Adds decisions about the state of operators to a document.
    fn with_state(self, state: &[(String, StateChoice)]) -> anyhow::Result<Call> {
        let (false, Some((_, document))) = (state.is_empty(), &self.body) else { return Ok(self) };
        let document = std::str::from_utf8(document).map_err(|_| Wrong("the document is not UTF-8".to_owned()))?;
        let body = document_with_state(document, state);
        Ok(Call { body: Some(("application/json", body)), ..self })
    }

    /// The rows of a table, in the format of the file's ending.
    fn rows(self, file: &Path) -> anyhow::Result<Call> {
        let is_csv = file.extension().is_some_and(|ending| ending.eq_ignore_ascii_case("csv"));
        let content_type = if is_csv { "text/csv" } else { "application/x-ndjson" };
        Ok(Call { body: Some((content_type, read(file)?)), ..self })
    }
}

/// Reads a file, or standard input for `-`.
fn read(file: &Path) -> anyhow::Result<Vec<u8>> {
    let read = match file.to_str() {
        Some("-") => {
            let mut bytes = Vec::new();
            std::io::Read::read_to_end(&mut std::io::stdin().lock(), &mut bytes).map(|_| bytes)
        }
        _ => std::fs::read(file),
    };
    Ok(read.map_err(|why| Wrong(format!("{}: {why}", file.display())))?)
}

/// Encodes one part of a path.
pub(crate) fn part(name: &str) -> String {
    flowmeter_core::template::percent_encoded(name.as_bytes())
}

/// Runs a command of the client.
pub(crate) fn client(commands: Commands) -> anyhow::Result<ExitCode> {
    match commands {
        Commands::Events(OnServer { server, act: commands::Events::Send(send) }) => events::send(&server, &send),
        Commands::Keys(OnServer { server, act: commands::Keys::Create(create) }) if create.data.is_some() => {
            keys::create_offline(&create, server.output)
        }
        Commands::Sessions(OnServer { server, act: commands::Sessions::Watch { id } }) => watch::watch(&server, id.as_deref()),
        commands => {
            let (server, call) = commands.call()?;
            let connection = Connection::new(&server.address)?;
            let text = match call.items_max {
                Some(items_max) => table::list(&items(&connection, &call, items_max)?, call.columns, server.output),
                None => {
                    let answer = connection.send(&call, &call.query)?;
                    match (call.text, server.output) {
                        (Some(text), Form::Table) => text(&answer)?,
                        _ => table::one(&answer, server.output),
                    }
                }
            };
            failure::print(&text)
        }
    }
}

/// Returns the items of a list.
fn items(connection: &Connection, call: &Call, items_max: usize) -> anyhow::Result<Vec<Box<RawValue>>> {
    let mut found = Vec::new();
    pages(connection, call, items_max, &mut |items| {
        found.extend(items);
        Ok(())
    })?;
    Ok(found)
}

/// Takes the items of a page of a list.
type TakePage<'a> = &'a mut dyn FnMut(Vec<Box<RawValue>>) -> anyhow::Result<()>;

/// Reads a list page by page, up to a number of items.
fn pages(connection: &Connection, call: &Call, items_max: usize, take: TakePage<'_>) -> anyhow::Result<()> {
    #[derive(serde::Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Page {
        items: Vec<Box<RawValue>>,
        next_cursor: Option<String>,
    }
    const PAGE: usize = 500;
    let mut left = items_max;
    let mut cursor = None;
    loop {
        let mut query = call.query.clone();
        query.push(("limit", PAGE.min(left).to_string()));
        query.extend(cursor.map(|cursor| ("cursor", cursor)));
        let answer = connection.send(call, &query)?;
        let mut page: Page = serde_json::from_slice(&answer).map_err(|why| anyhow::anyhow!("{}: no list: {why}", call.path))?;
        page.items.truncate(left);
        left -= page.items.len();
        take(page.items)?;
        match page.next_cursor {
            Some(next) if left > 0 => cursor = Some(next),
            _ => return Ok(()),
        }
    }
}
