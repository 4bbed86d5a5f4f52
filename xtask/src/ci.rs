//! `cargo xtask ci`: format, lint, tidy, test.

use std::path::Path;

use anyhow::{Context, ensure};

/// Checks everything that must hold before a change lands; the tests' own summary comes last.
pub(crate) fn ci(root: &Path) -> anyhow::Result<()> {
    let steps: [&[&str]; 3] = [
        &["fmt", "--all", "--check"],
        &["clippy", "--workspace", "--all-targets", "--quiet", "--", "-D", "warnings"],
        &["test", "--workspace", "--all-targets", "--quiet", "--no-fail-fast"],
    ];
    crate::tidy::tidy(root)?;
    for step in steps {
        eprintln!("cargo {}", step.join(" "));
        let status = crate::cargo(root).args(step).status().context("cargo")?;
        ensure!(status.success(), "cargo {} ended with {status}", step.join(" "));
    }
    Ok(())
}
