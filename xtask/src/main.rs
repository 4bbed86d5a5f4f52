//! The project's own chores.
//!
//! `cargo xtask ci` formats, lints and tests; `tidy` checks what the compiler does not;
//! `web` builds the dashboard; `browser` checks its pages; `bench batch` measures beside peers.

mod bench;
mod ci;
mod tidy;
mod web;

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

const USAGE: &str = "cargo xtask ci | tidy | web [--check] | browser | bench batch [--events N] [--only NAME,…] [--keep] | bench ingest [--scale S] [--only CASE] | bench flush [--meters N] [--only file|postgres] | bench notifications [--events N] [--sessions N]";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let done = match words.as_slice() {
        ["ci"] => ci::ci(&root()),
        ["tidy"] => tidy::tidy(&root()),
        ["web"] => web::web(&root(), false),
        ["web", "--check"] => web::web(&root(), true),
        ["browser"] => web::browser(&root()),
        ["bench", "batch", rest @ ..] => bench::batch(&root(), rest),
        ["bench", "ingest", rest @ ..] => bench::ingest(&root(), rest),
        ["bench", "flush", rest @ ..] => bench::flush(&root(), rest),
        ["bench", "notifications", rest @ ..] => bench::notifications(&root(), rest),
        _ => Err(anyhow::anyhow!("usage: {USAGE}")),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("error: {why:#}");
            ExitCode::FAILURE
        }
    }
}

/// Cargo, as it is called by hand: what this program was told of itself is not handed on.
/// Build scripts that look at it would make everything anew, and again when called by hand.
fn cargo(root: &Path) -> Command {
    let mut cargo = Command::new("cargo");
    let own = ["CARGO_PKG_", "CARGO_MANIFEST_", "CARGO_CRATE_", "CARGO_BIN_", "CARGO_PRIMARY_"];
    for (name, _) in std::env::vars_os() {
        if name.to_str().is_some_and(|name| own.iter().any(|beginning| name.starts_with(beginning))) {
            cargo.env_remove(name);
        }
    }
    cargo.current_dir(root);
    cargo
}

/// The folder of the workspace.
fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).parent().map(PathBuf::from).unwrap_or_default()
}
