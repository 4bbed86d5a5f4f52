//! A client that `openapi-python-client` generates from the served description meters, corrects and
//! reads records. The generator is installed once, beside the build. Where that is not possible (no
//! network, no `python3`) the test says that it is skipped.

#![allow(clippy::unwrap_used)] // a test that cannot continue stops

mod support;

use std::path::{Path, PathBuf};
use std::process::Command;

use support::server::Server;

/// The generator, a judge of the description, and what a generated client is built with and needs.
const PACKAGES: [&str; 7] = [
    "openapi-python-client==0.29.*",
    "openapi-spec-validator==0.9.*",
    "setuptools",
    "wheel",
    "httpx",
    "attrs",
    "python-dateutil",
];

/// Returns the output of a command that must succeed; the error otherwise.
fn run(command: &mut Command) -> Result<String, String> {
    let output = command.output().map_err(|why| format!("{command:?}: {why}"))?;
    let text = [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned()).concat();
    if output.status.success() { Ok(text) } else { Err(format!("{command:?}: {text}")) }
}

/// Returns Python with the packages; none where they cannot be installed.
fn python() -> Option<PathBuf> {
    let home = Path::new(env!("CARGO_TARGET_TMPDIR")).join("generated-client");
    let (python, mark) = (home.join("bin/python"), home.join("installed"));
    let packages = PACKAGES.join(" ");
    if std::fs::read_to_string(&mark).is_ok_and(|known| known == packages) {
        return Some(python);
    }
    let install = || {
        run(Command::new("python3").args(["-m", "venv"]).arg(&home))?;
        run(pip(&python).args(PACKAGES))?;
        std::fs::write(&mark, &packages).map_err(|why| why.to_string())
    };
    match install() {
        Ok(()) => Some(python),
        Err(why) => {
            eprintln!("skipped: the generator of the client cannot be installed: {why}");
            None
        }
    }
}

fn pip(python: &Path) -> Command {
    let mut pip = Command::new(python);
    pip.args(["-m", "pip", "install", "--quiet", "--no-input", "--disable-pip-version-check"]);
    pip
}

/// Returns the settings of the generator that the manual shows.
fn settings() -> String {
    let page = std::fs::read_to_string(support::root().join("docs/http.md")).unwrap();
    let (_, rest) = page.split_once("# client.yaml\n").expect("docs/http.md shows client.yaml");
    rest.split("```").next().unwrap().to_owned()
}

#[test]
fn a_generated_client_meters_corrects_and_reads() {
    let Some(python) = python() else { return };
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let server = Server::start(&at("data"), &["--test-clock", "2026-01-05T12:00:00Z"]);
    std::fs::write(at("openapi.json"), server.ask("GET", "/api/v1/openapi.json").send().body).unwrap();
    std::fs::write(at("client.yaml"), settings()).unwrap();
    run(Command::new(&python).args(["-m", "openapi_spec_validator"]).arg(at("openapi.json"))).unwrap();

    let mut generate = Command::new(python.with_file_name("openapi-python-client"));
    generate.args(["generate", "--meta", "setup", "--path"]).arg(at("openapi.json")).arg("--config").arg(at("client.yaml"));
    let said = run(generate.arg("--output-path").arg(at("client"))).unwrap();
    assert!(!said.contains("will not be generated"), "{said}");
    run(pip(&python).args(["--no-build-isolation", "--no-deps", "--force-reinstall"]).arg(at("client"))).unwrap();

    let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/sdk/generated.py");
    let said = run(Command::new(&python).arg(program).env("FLOWMETER_URL", &server.url)).unwrap();
    assert_eq!(said.trim(), "ok");
}
