//! `cargo xtask dist`: what people install.
//!
//! Builds the binary with the profile `dist` and packs it with its manual pages, completions, the
//! systemd unit and all licences: as an archive, and as a Debian package where the machine is of
//! a kind that Debian has a name for. `SHA256SUMS` lists the checksums.

mod deb;
mod licences;
mod stage;

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, bail, ensure};

/// Where the packages go, unless it is said otherwise.
const FOLDER: &str = "target/dist-packages";

/// The options of the command.
struct Order {
    /// The binary to pack; built if left out.
    binary: Option<PathBuf>,
    out: PathBuf,
}

/// Builds and packs a release.
pub(crate) fn dist(root: &Path, arguments: &[&str]) -> anyhow::Result<()> {
    let order = read(root, arguments)?;
    let binary = match order.binary {
        Some(binary) => binary,
        None => build(root)?,
    };
    let version = version_of(&binary)?;
    let target = host()?;
    std::fs::create_dir_all(&order.out).with_context(|| order.out.display().to_string())?;
    let name = format!("flowmeter-{version}-{target}");
    let staged = stage::stage(root, &binary, &order.out.join(&name))?;
    let mut made = vec![archive(&order.out, &name)?];
    match deb::architecture(&target) {
        Some(architecture) => made.push(deb::package(&staged, &order.out, &version, architecture)?),
        None => eprintln!("skipped: Debian has no architecture for {target}, so there is no Debian package"),
    }
    checksums(&order.out, &made)?;
    made.iter().for_each(|name| println!("{}", order.out.join(name).display()));
    Ok(())
}

fn read(root: &Path, arguments: &[&str]) -> anyhow::Result<Order> {
    let mut order = Order { binary: None, out: root.join(FOLDER) };
    let mut rest = arguments.iter();
    while let Some(flag) = rest.next() {
        let value = rest.next().with_context(|| format!("{flag} needs a value"))?;
        match *flag {
            "--binary" => order.binary = Some(PathBuf::from(value)),
            "--out" => order.out = PathBuf::from(value),
            _ => bail!("unknown flag {flag}; there are --binary FILE and --out DIR"),
        }
    }
    Ok(order)
}

fn build(root: &Path) -> anyhow::Result<PathBuf> {
    // Clients that take long to build, or need Perl and make, are in what people install.
    let build = ["build", "--profile", "dist", "--package", "flowmeter", "--features", "kafka-tls,sftp", "--locked"];
    let status = crate::cargo(root).args(build).status().context("cargo")?;
    ensure!(status.success(), "cargo {} ended with {status}", build.join(" "));
    Ok(root.join("target/dist/flowmeter"))
}

fn version_of(binary: &Path) -> anyhow::Result<String> {
    let text = output(Command::new(binary).arg("--version"))?;
    let version = text.split_whitespace().nth(1).context("`flowmeter --version` prints no version")?;
    Ok(version.to_owned())
}

/// The triple that the compiler builds for.
fn host() -> anyhow::Result<String> {
    let text = output(Command::new("rustc").arg("-vV"))?;
    let host = text.lines().find_map(|line| line.strip_prefix("host: ")).context("rustc names no host")?;
    Ok(host.to_owned())
}

/// Packs a staged folder; the same files give the same bytes.
fn archive(out: &Path, name: &str) -> anyhow::Result<String> {
    let file = format!("{name}.tar.gz");
    tar(out, name, &out.join(&file))?;
    Ok(file)
}

/// Packs a folder of a folder with fixed owners, times and order.
fn tar(folder: &Path, inside: &str, to: &Path) -> anyhow::Result<()> {
    let fixed = ["--sort=name", "--mtime=@0", "--owner=0", "--group=0", "--numeric-owner"];
    let mut tar = Command::new("tar");
    tar.current_dir(folder).env("GZIP", "-n").args(fixed).arg("-czf").arg(to).arg(inside);
    output(&mut tar).map(drop)
}

fn checksums(out: &Path, made: &[String]) -> anyhow::Result<()> {
    let sums = output(Command::new("sha256sum").current_dir(out).args(made))?;
    std::fs::write(out.join("SHA256SUMS"), sums).context("SHA256SUMS")
}

/// Runs a program and returns its standard output.
fn output(command: &mut Command) -> anyhow::Result<String> {
    let name = command.get_program().to_string_lossy().into_owned();
    let output = command.output().with_context(|| name.clone())?;
    let complaint = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{name} ended with {}: {complaint}", output.status);
    String::from_utf8(output.stdout).with_context(|| format!("the output of {name}"))
}
