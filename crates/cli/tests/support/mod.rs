//! Runs the binary as a user runs it.
#![allow(dead_code, unreachable_pub, missing_docs, clippy::unwrap_used)] // each test file uses its part

pub mod chance;
pub mod contract;
pub mod server;
pub mod service;

use std::path::PathBuf;
use std::process::{Command, Output};

use serde_json::Value;

pub fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..")
}

pub fn flowmeter(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_flowmeter")).args(arguments).current_dir(root()).output().unwrap()
}

/// Returns standard output of a run that must succeed.
pub fn stdout(arguments: &[&str]) -> String {
    let output = flowmeter(arguments);
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

pub fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

pub fn records(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}
