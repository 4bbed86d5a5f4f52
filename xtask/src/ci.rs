//! `cargo xtask ci`: format, lint, tidy, build, the dashboard in a browser, test.
//!
//! The client of SFTP, a feature of the build, is tested where there is a server for it. `--with kafka`
//! adds the client of Kafka: its library and server take ten minutes more.

use std::path::Path;

use anyhow::{Context, bail, ensure};

/// The server by which the client of SFTP is tested.
const SSHD: &str = "/usr/sbin/sshd";

/// Checks everything that must hold before a change lands; the tests' own summary comes last.
pub(crate) fn ci(root: &Path, arguments: &[&str]) -> anyhow::Result<()> {
    let features = features(arguments)?.join(",");
    crate::tidy::tidy(root)?;
    cargo(root, &["fmt", "--all", "--check"])?;
    cargo(root, &["clippy", "--workspace", "--all-targets", "--quiet", "--features", &features, "--", "-D", "warnings"])?;
    cargo(root, &["build", "--workspace", "--quiet", "--features", &features])?;
    let browser = crate::web::browser(root);
    cargo(root, &["test", "--workspace", "--all-targets", "--quiet", "--no-fail-fast", "--features", &features])?;
    browser
}

/// Returns the features with whose tests the run goes, and says what is left out.
fn features(arguments: &[&str]) -> anyhow::Result<Vec<&'static str>> {
    let mut features = Vec::new();
    match Path::new(SSHD).exists() {
        true => features.push("flowmeter/sftp"),
        false => eprintln!("SKIPPED: the tests of SFTP; there is no {SSHD}, install the package openssh-server"),
    }
    match arguments {
        [] => eprintln!("SKIPPED: the tests of Kafka; `cargo xtask ci --with kafka` runs them, with Java and Maven"),
        ["--with", "kafka"] => features.push("flowmeter/kafka"),
        _ => bail!("unknown arguments {}; there is --with kafka", arguments.join(" ")),
    }
    Ok(features)
}

fn cargo(root: &Path, step: &[&str]) -> anyhow::Result<()> {
    eprintln!("cargo {}", step.join(" "));
    let status = crate::cargo(root).args(step).status().context("cargo")?;
    ensure!(status.success(), "cargo {} ended with {status}", step.join(" "));
    Ok(())
}
