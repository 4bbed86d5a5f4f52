//! `cargo xtask ci`: format, lint, tidy, build, the dashboard in a browser, test.

use std::path::Path;

use anyhow::{Context, ensure};

/// Checks everything that must hold before a change lands; the tests' own summary comes last.
pub(crate) fn ci(root: &Path) -> anyhow::Result<()> {
    crate::tidy::tidy(root)?;
    cargo(root, &["fmt", "--all", "--check"])?;
    cargo(root, &["clippy", "--workspace", "--all-targets", "--quiet", "--", "-D", "warnings"])?;
    cargo(root, &["build", "--workspace", "--quiet"])?;
    let browser = crate::web::browser(root);
    cargo(root, &["test", "--workspace", "--all-targets", "--quiet", "--no-fail-fast"])?;
    browser
}

fn cargo(root: &Path, step: &[&str]) -> anyhow::Result<()> {
    eprintln!("cargo {}", step.join(" "));
    let status = crate::cargo(root).args(step).status().context("cargo")?;
    ensure!(status.success(), "cargo {} ended with {status}", step.join(" "));
    Ok(())
}
