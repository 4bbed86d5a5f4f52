//! `flowmeter backup` and `flowmeter restore`.

use std::process::ExitCode;

use anyhow::Context;
use flowmeter_node::backup::{back_up, restore as restored};
use serde::Deserialize;
use serde_json::json;

use crate::args::{Backup, Restore};
use crate::client::{Connection, table};
use crate::form::Form;
use crate::{clock, failure};

/// The answer of a server that made a backup.
#[derive(Deserialize)]
struct Made {
    files: u64,
    bytes: u64,
}

pub(crate) fn backup(backup: &Backup) -> anyhow::Result<ExitCode> {
    let (files, bytes, json) = match &backup.data {
        Some(data) => {
            let made = back_up(data, &backup.to, clock::now())?;
            let (files, bytes) = (made.files.len() as u64, made.bytes());
            let to = backup.to.display().to_string();
            let told = json!({"files": files, "bytes": bytes, "to": to});
            (files, bytes, told.to_string().into_bytes())
        }
        None => {
            let to = std::path::absolute(&backup.to)?;
            let body = json!({"to": to}).to_string().into_bytes();
            // The duration of a backup depends on the size of its files.
            let connection = Connection::patient(&backup.server.address)?;
            let body = Some(("application/json", body.as_slice()));
            let answer = connection.ask("POST", "/api/v1/backup", body)?.good()?;
            let url = &backup.server.address.url;
            let no_backup = || format!("the answer of {url} is not about a backup");
            let told: Made = serde_json::from_slice(&answer).with_context(no_backup)?;
            (told.files, told.bytes, answer)
        }
    };
    match backup.server.output {
        Form::Json => failure::print(&table::one(&json, Form::Json)),
        Form::Table => {
            let to = backup.to.display();
            failure::print(&format!("{files} files, {bytes} bytes in {to}\n"))
        }
    }
}

pub(crate) fn restore(restore: &Restore) -> anyhow::Result<ExitCode> {
    let made = restored(&restore.from, &restore.data)?;
    let (files, bytes) = (made.files.len(), made.bytes());
    let data = restore.data.display();
    let text = format!("{files} files, {bytes} bytes of {} in {data}\n", made.at);
    failure::print(&text)
}
