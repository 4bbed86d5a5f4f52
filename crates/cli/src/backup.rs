//! `flowmeter backup` and `flowmeter restore`.

use std::process::ExitCode;

use flowmeter_server::installation::backup::{back_up, restore as restored};
use serde_json::json;

use crate::args::{Backup, Restore};
use crate::asking::ask;
use crate::failure;

pub(crate) fn backup(backup: &Backup) -> anyhow::Result<ExitCode> {
    let (files, bytes) = match (&backup.data, &backup.url) {
        (Some(data), _) => {
            let made = back_up(data, &backup.to, crate::clock::now())?;
            (made.files.len() as u64, made.bytes())
        }
        (None, url) => {
            let to = std::path::absolute(&backup.to)?;
            let url = url.as_deref().unwrap_or_default();
            let told = ask(url, backup.key.as_deref(), "/api/v1/backup", Some(&json!({"to": to})))?.good()?;
            (told["files"].as_u64().unwrap_or_default(), told["bytes"].as_u64().unwrap_or_default())
        }
    };
    failure::print(&format!("{files} files, {bytes} bytes in {}\n", backup.to.display()))
}

pub(crate) fn restore(restore: &Restore) -> anyhow::Result<ExitCode> {
    let made = restored(&restore.from, &restore.data)?;
    let (files, bytes) = (made.files.len(), made.bytes());
    failure::print(&format!("{files} files, {bytes} bytes of {} in {}\n", made.at, restore.data.display()))
}
