//! `cargo xtask mutants`: puts faults back that the product once had, and wants the simulation to
//! find each within 1,000 seeds.

use std::path::Path;

/// Builds the simulation with the faults, in a folder of its own, and runs it.
pub(crate) fn find(root: &Path, seeds: &str) -> anyhow::Result<()> {
    let mut simulation = crate::cargo(root);
    simulation.args(["run", "--quiet", "-p", "sim", "--target-dir", "target/mutants", "--", "--mutants", seeds]);
    simulation.env("RUSTFLAGS", "--cfg mutants");
    let status = simulation.status()?;
    anyhow::ensure!(status.success(), "the simulation does not find every fault");
    Ok(())
}
