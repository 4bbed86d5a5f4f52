//! OpenMeter's own clients, as they are published, against a server of its own: programs
//! written for OpenMeter meter here once their address is changed.
//!
//! The clients are installed once, beside the build. Where that is not possible (no
//! network, no `python3`, no `node`) the tests say that they are skipped.
#![allow(clippy::unwrap_used, missing_docs)]

#[path = "support/serving.rs"]
#[allow(dead_code, unreachable_pub)]
mod serving;

use std::path::{Path, PathBuf};
use std::process::Command;

use serving::Server;

const PYTHON: &str = "openmeter==1.0.0b236";
const JAVASCRIPT: &str = "@openmeter/sdk@1.0.0-beta.231";

fn home(name: &str) -> PathBuf {
    let home = Path::new(env!("CARGO_TARGET_TMPDIR")).join("openmeter-sdk").join(name);
    std::fs::create_dir_all(&home).unwrap();
    home
}

/// Runs a command to its end; why not, otherwise.
fn run(command: &mut Command) -> Result<String, String> {
    let output = command.output().map_err(|why| format!("{command:?}: {why}"))?;
    match output.status.success() {
        true => Ok(String::from_utf8_lossy(&output.stdout).into_owned()),
        false => {
            Err(format!("{command:?}: {}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr)))
        }
    }
}

/// Installs something into a folder, once: a mark is put there when it is whole.
fn once(home: &Path, package: &str, install: impl FnOnce() -> Result<(), String>) -> bool {
    let mark = home.join("installed");
    if std::fs::read_to_string(&mark).is_ok_and(|known| known == package) {
        return true;
    }
    match install() {
        Ok(()) => std::fs::write(mark, package).is_ok(),
        Err(why) => {
            eprintln!("skipped: {package} cannot be installed: {why}");
            false
        }
    }
}

fn program(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/sdk").join(name)
}

fn meters_here(command: &mut Command) {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path(), &[]);
    let output = run(command.env("OPENMETER_URL", format!("{}/openmeter", server.url())));
    assert_eq!(output.as_deref().map(str::trim), Ok("ok"), "{}", output.as_ref().err().cloned().unwrap_or_default());
}

#[test]
fn the_python_client_meters_here() {
    let home = home("python");
    let python = home.join("bin/python");
    let install = || {
        run(Command::new("python3").args(["-m", "venv"]).arg(&home))?;
        run(Command::new(&python).args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", PYTHON])).map(drop)
    };
    if once(&home, PYTHON, install) {
        meters_here(Command::new(&python).arg(program("program.py")));
    }
}

#[test]
fn the_javascript_client_meters_here() {
    let home = home("javascript");
    let install = || {
        std::fs::write(home.join("package.json"), r#"{"private": true}"#).map_err(|why| why.to_string())?;
        run(Command::new("npm").args(["install", "--no-audit", "--no-fund", "--silent", JAVASCRIPT]).current_dir(&home)).map(drop)
    };
    if once(&home, JAVASCRIPT, install) {
        meters_here(Command::new("node").arg(program("program.mjs")).env("SDK_HOME", &home));
    }
}
