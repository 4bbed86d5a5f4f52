//! The licences of all crates that are in the binary.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::path::Path;

use anyhow::Context;
use serde_json::Value;

use super::output;

/// Returns a text with every crate, its licence and the licence's wording.
pub(super) fn licences(root: &Path) -> anyhow::Result<String> {
    let metadata = ["metadata", "--format-version", "1", "--locked", "--filter-platform", &super::host()?];
    let metadata: Value = serde_json::from_str(&output(crate::cargo(root).args(metadata))?).context("cargo metadata")?;
    let packages = list(&metadata["packages"]);
    let by_id: BTreeMap<&str, &Value> = packages.iter().map(|package| (text(&package["id"]), package)).collect();
    let mut crates: Vec<&Value> = linked(&metadata).into_iter().filter_map(|id| by_id.get(id).copied()).collect();
    crates.retain(|package| !package["source"].is_null());
    crates.sort_by_key(|package| (text(&package["name"]), text(&package["version"])));
    let mut all = String::from("Flowmeter contains these libraries, under the licences named.\n");
    for package in crates {
        let [name, version, licence] = ["name", "version", "license"].map(|field| text(&package[field]));
        write!(all, "\n{:=<80}\n{name} {version} ({licence})\n", "")?;
        let folder = Path::new(text(&package["manifest_path"])).parent().context("a crate without a folder")?;
        for wording in wordings(folder)? {
            write!(all, "\n{}\n", wording.trim_end())?;
        }
    }
    Ok(all)
}

/// The crates that the binary is linked of: no build scripts, no tests.
fn linked(metadata: &Value) -> BTreeSet<&str> {
    let nodes = list(&metadata["resolve"]["nodes"]);
    let nodes: BTreeMap<&str, &Value> = nodes.iter().map(|node| (text(&node["id"]), node)).collect();
    let ours = list(&metadata["packages"]).iter().find(|package| text(&package["name"]) == "flowmeter");
    let mut open: Vec<&str> = ours.map(|package| text(&package["id"])).into_iter().collect();
    let mut linked = BTreeSet::new();
    while let Some(id) = open.pop() {
        if !linked.insert(id) {
            continue;
        }
        let dependencies = nodes.get(id).map(|node| list(&node["deps"])).unwrap_or_default();
        let is_linked = |dependency: &&Value| list(&dependency["dep_kinds"]).iter().any(|kind| kind["kind"].is_null());
        open.extend(dependencies.iter().filter(is_linked).map(|dependency| text(&dependency["pkg"])));
    }
    linked
}

/// The texts of licences in a crate's folder.
fn wordings(folder: &Path) -> anyhow::Result<Vec<String>> {
    let mut names = BTreeSet::new();
    for entry in std::fs::read_dir(folder).with_context(|| folder.display().to_string())? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().to_uppercase();
        let is_licence = ["LICENSE", "LICENCE", "COPYING", "NOTICE"].iter().any(|beginning| name.starts_with(beginning));
        if is_licence && entry.file_type()?.is_file() {
            names.insert(entry.path());
        }
    }
    let read = |path: &std::path::PathBuf| Ok(String::from_utf8_lossy(&std::fs::read(path)?).into_owned());
    names.iter().map(read).collect()
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map(Vec::as_slice).unwrap_or_default()
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}
