//! The archive and the Debian package, made of the binary under test, unpacked and started.
#![allow(clippy::unwrap_used)] // a test that cannot continue stops

mod support;

use std::path::Path;
use std::process::Command;

use support::server::Server;

/// Runs a program and returns its standard output; `None` if the machine does not have it.
fn output(command: &mut Command) -> Option<String> {
    let output = command.output().ok()?;
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {complaint}");
    Some(String::from_utf8(output.stdout).unwrap())
}

/// Makes the packages; returns their names.
fn pack(out: &Path) -> Vec<String> {
    let binary = env!("CARGO_BIN_EXE_flowmeter");
    let mut cargo = Command::new(env!("CARGO"));
    cargo.current_dir(support::root()).args(["run", "--quiet", "--package", "xtask", "--", "dist"]);
    let made = output(cargo.args(["--binary", binary, "--out"]).arg(out)).unwrap();
    let name = |line: &str| Path::new(line).file_name().unwrap().to_str().unwrap().to_owned();
    made.lines().map(name).collect()
}

#[test]
fn the_packages_hold_what_a_user_installs_and_the_server_starts_from_them() {
    let folder = tempfile::tempdir().unwrap();
    let made = pack(folder.path());
    let archive = made.iter().find(|name| name.ends_with(".tar.gz")).unwrap();
    let files = output(Command::new("tar").arg("-tzf").arg(folder.path().join(archive))).unwrap();
    for file in [
        "bin/flowmeter",
        "share/man/man1/flowmeter.1",
        "share/man/man1/flowmeter-run.1",
        "share/bash-completion/completions/flowmeter",
        "lib/systemd/system/flowmeter.service",
        "share/doc/flowmeter/LICENSE",
        "share/doc/flowmeter/THIRD-PARTY-LICENCES",
    ] {
        assert!(files.lines().any(|line| line.ends_with(&format!("/{file}"))), "{file} is not in {archive}:\n{files}");
    }
    let mut sums = Command::new("sha256sum");
    assert!(output(sums.current_dir(folder.path()).args(["--check", "SHA256SUMS"])).is_some());

    let Some(package) = made.iter().find(|name| name.ends_with(".deb")) else {
        eprintln!("skipped: this machine's architecture has no Debian package");
        return;
    };
    let root = folder.path().join("root");
    let unpacked = Command::new("dpkg-deb").arg("-x").arg(folder.path().join(package)).arg(&root).status();
    if !unpacked.is_ok_and(|status| status.success()) {
        eprintln!("skipped: there is no dpkg-deb, so the Debian package is not unpacked");
        return;
    }
    let unit = std::fs::read_to_string(root.join("usr/lib/systemd/system/flowmeter.service")).unwrap();
    assert!(unit.contains("ExecStart=/usr/bin/flowmeter serve --config /etc/flowmeter/flowmeter.yaml"), "{unit}");
    let fields = output(Command::new("dpkg-deb").arg("-f").arg(folder.path().join(package))).unwrap();
    assert!(fields.contains("Package: flowmeter") && fields.contains("Depends: libc6 (>= 2."), "{fields}");
    let settings = root.join("etc/flowmeter/flowmeter.yaml");
    let data = folder.path().join("data");
    let server = Server::start_program(&root.join("usr/bin/flowmeter"), &data, &["--config", settings.to_str().unwrap()]);
    assert_eq!(server.get("/health/ready")["status"], "ready");
}
