//! The project's own chores.
//!
//! `cargo xtask ci` formats, lints and tests; `tidy` checks what the compiler does not; `words`
//! lists hard words; `errors` writes the pages of `docs/errors/`; `web` builds the dashboard and
//! `browser` checks its pages; `mutants` tests the simulation; `dist` makes packages; `bench batch` measures beside peers.

mod bench;
mod ci;
mod dist;
mod errors;
mod mutants;
mod tidy;
mod web;
mod wrap;

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

const USAGE: &str = "cargo xtask ci | tidy | mutants [SEEDS] | words [AREA] | errors | web [--check] | browser | dist [--binary FILE] [--out DIR] | bench batch [--events N] [--only NAME,…] [--keep] | bench shapes [--events N] [--only NAME,…] [--rows record|bare] [--repeat R] [--before FILE] | bench operators [--events N] [--keys N] [--only NAME,…] [--repeat R] [--before FILE] | bench ingest [--scale S] [--only CASE] | bench flush [--meters N] [--only file|postgres] | bench notifications [--events N] [--sessions N]";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let done = match words.as_slice() {
        ["ci", rest @ ..] => ci::ci(&root(), rest),
        ["tidy"] => tidy::tidy(&root()),
        ["words"] => tidy::words(&root(), None),
        ["words", area] => tidy::words(&root(), Some(area)),
        ["mutants"] => mutants::find(&root(), "1000"),
        ["mutants", seeds] => mutants::find(&root(), seeds),
        ["errors"] => errors::write(&root()),
        ["web"] => web::web(&root(), false),
        ["web", "--check"] => web::web(&root(), true),
        ["browser"] => web::browser(&root()),
        ["dist", rest @ ..] => dist::dist(&root(), rest),
        ["bench", "batch", rest @ ..] => bench::batch(&root(), rest),
        ["bench", "shapes", rest @ ..] => bench::shapes(&root(), rest),
        ["bench", "operators", rest @ ..] => bench::operators(&root(), rest),
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

/// Returns cargo as a user would call it, without the variables that cargo set for this program.
/// Build scripts that read them would otherwise build everything again.
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

/// Returns the folder of the workspace.
fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).parent().map(PathBuf::from).unwrap_or_default()
}
