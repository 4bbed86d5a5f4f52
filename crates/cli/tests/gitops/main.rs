//! Pipelines kept as files, and records taken out to people: the commands as a user runs them,
//! against a real server.

#![allow(clippy::unwrap_used)] // a test that cannot continue stops

#[path = "../support/mod.rs"]
mod support;

mod apply;
mod expect;
mod export;

use std::path::Path;
use std::process::{Command, Output};

use support::server::Server;

/// Runs a command in a folder, as a client of a server.
fn client(server: &Server, folder: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_flowmeter"));
    command.args(arguments).current_dir(folder).env("FLOWMETER_URL", &server.url);
    command.output().unwrap()
}

/// Returns exit code, standard output and standard error.
fn parts(output: &Output) -> (i32, String, String) {
    (output.status.code().unwrap(), String::from_utf8(output.stdout.clone()).unwrap(), support::stderr(output))
}

fn write(folder: &Path, name: &str, text: &str) {
    let file = folder.join(name);
    std::fs::create_dir_all(file.parent().unwrap()).unwrap();
    std::fs::write(file, text).unwrap();
}
