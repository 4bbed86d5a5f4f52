//! `cargo xtask web`: builds the dashboard; with `--check`, compares what it builds with what is committed.
//!
//! The built files in `web/dist/` are committed, so that a build of the server needs no Node. Their
//! table names a hash of the sources; `tidy` compares it without Node.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, ensure};
use sha2::{Digest, Sha256};

/// Builds the dashboard, or compares what it builds with what is committed.
pub(crate) fn web(root: &Path, is_check: bool) -> anyhow::Result<()> {
    let folder = root.join("web");
    // Not `npm ci`: it insists on optional packages for other systems, which a registry may lack.
    npm(&folder, &["install", "--no-save", "--no-audit", "--no-fund"])?;
    npm(&folder, &["run", "check"])?;
    npm(&folder, &["run", "test"])?;
    if is_check { compare(root, &folder) } else { npm(&folder, &["run", "build"]) }
}

/// Builds the dashboard beside the committed one and compares the two. Other versions of Node compress
/// differently: with those it says so and ends well.
fn compare(root: &Path, folder: &Path) -> anyhow::Result<()> {
    let pinned = fs::read_to_string(folder.join(".node-version")).context("web/.node-version")?;
    let output = Command::new("node").arg("--version").output().context("node")?;
    let version = String::from_utf8_lossy(&output.stdout);
    if version.trim().trim_start_matches('v') != pinned.trim() {
        eprintln!("SKIPPED: web/dist was built by Node {}, here is {}", pinned.trim(), version.trim());
        return Ok(());
    }
    let beside = root.join("target/web-dist");
    let mut build = Command::new("npm");
    let status = build.args(["run", "build"]).env("FLOWMETER_DIST", &beside).current_dir(folder).status().context("npm")?;
    ensure!(status.success(), "npm run build ended with {status}");
    let (committed, built) = (files(&folder.join("dist"))?, files(&beside)?);
    let all = committed.keys().chain(built.keys());
    let mut different: Vec<String> =
        all.filter(|name| committed.get(*name) != built.get(*name)).map(|name| name.display().to_string()).collect();
    different.sort();
    different.dedup();
    ensure!(different.is_empty(), "web/dist is not what web/ builds; run `cargo xtask web`: {}", different.join(", "));
    Ok(())
}

/// Opens the dashboard in a browser and checks its pages. Says so and ends well where there is no
/// Node, no browser or no registry.
pub(crate) fn browser(root: &Path) -> anyhow::Result<()> {
    let folder = root.join("web");
    if let Err(why) = npm(&folder, &["install", "--no-save", "--no-audit", "--no-fund", "--loglevel=error"]) {
        eprintln!("SKIPPED: the browser tests need Node and its packages: {why:#}");
        return Ok(());
    }
    web(root, true)?;
    npm(&folder, &["run", "--silent", "browser"])
}

fn npm(folder: &Path, arguments: &[&str]) -> anyhow::Result<()> {
    eprintln!("npm {}", arguments.join(" "));
    let status = Command::new("npm").args(arguments).current_dir(folder).status();
    let status = status.context("npm: install Node 20.19 or newer to build the dashboard")?;
    ensure!(status.success(), "npm {} ended with {status}", arguments.join(" "));
    Ok(())
}

fn files(folder: &Path) -> anyhow::Result<BTreeMap<PathBuf, Vec<u8>>> {
    let mut found = BTreeMap::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        for entry in fs::read_dir(&next).with_context(|| next.display().to_string())? {
            let path = entry?.path();
            if path.is_dir() {
                folders.push(path);
            } else {
                let name = path.strip_prefix(folder).unwrap_or(&path).to_owned();
                found.insert(name, fs::read(&path)?);
            }
        }
    }
    Ok(found)
}

/// Files and folders that the built dashboard depends on.
const SOURCES: [&str; 8] =
    ["index.html", "package.json", "package-lock.json", "vite.config.ts", "tsconfig.json", "src", "public", "scripts"];

/// Returns the hash of the sources, as `web/scripts/finish.js` makes it.
pub(crate) fn sources_hash(root: &Path) -> anyhow::Result<String> {
    let folder = root.join("web");
    let mut all: Vec<(String, Vec<u8>)> = Vec::new();
    for name in SOURCES {
        let path = folder.join(name);
        if path.is_dir() {
            for (inside, bytes) in files(&path)? {
                all.push((format!("{name}/{}", inside.display()), bytes));
            }
        } else {
            all.push((name.to_owned(), fs::read(&path).with_context(|| path.display().to_string())?));
        }
    }
    all.sort();
    let lines: String = all.iter().map(|(name, bytes)| format!("{name} {}\n", hex(&Sha256::digest(bytes)))).collect();
    Ok(hex(&Sha256::digest(lines.as_bytes())))
}

/// Returns the hash that the committed table names.
pub(crate) fn built_from(root: &Path) -> anyhow::Result<String> {
    let table = fs::read_to_string(root.join("web/dist/files.rs")).context("web/dist/files.rs")?;
    Ok(table.split("Sources: ").nth(1).and_then(|rest| rest.split_whitespace().next()).unwrap_or_default().to_owned())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
