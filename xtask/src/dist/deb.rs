//! The Debian package: an `ar` archive of two packed folders.
//!
//! It has no scripts: the unit makes its user when it starts (`DynamicUser`). After the
//! installation, `systemctl enable --now flowmeter` starts the server.

use std::path::Path;

use anyhow::Context;

use super::stage::write;
use super::tar;

/// Returns Debian's name of an architecture.
pub(super) fn architecture(target: &str) -> Option<&'static str> {
    match target {
        "x86_64-unknown-linux-gnu" => Some("amd64"),
        "aarch64-unknown-linux-gnu" => Some("arm64"),
        _ => None,
    }
}

/// Packs a staged release; gives the file's name.
pub(super) fn package(staged: &Path, out: &Path, version: &str, architecture: &str) -> anyhow::Result<String> {
    let work = out.join("deb");
    if work.exists() {
        std::fs::remove_dir_all(&work)?;
    }
    let data = work.join("data");
    copy_all(staged, &data.join("usr"))?;
    let unit = data.join("usr/lib/systemd/system/flowmeter.service");
    let text = std::fs::read_to_string(&unit).context("the unit")?;
    std::fs::write(&unit, text.replace("/usr/local/bin/flowmeter", "/usr/bin/flowmeter"))?;
    std::fs::rename(data.join("usr/share/doc/flowmeter/LICENSE"), data.join("usr/share/doc/flowmeter/copyright"))?;
    write(&data.join("etc/flowmeter/flowmeter.yaml"), SETTINGS)?;
    let size = size_of(&data)?.div_ceil(1024);
    let libc = libc_of(&std::fs::read(data.join("usr/bin/flowmeter"))?);
    write(&work.join("control/control"), &control(version, architecture, size, &libc))?;
    write(&work.join("control/conffiles"), "/etc/flowmeter/flowmeter.yaml\n")?;
    tar(&work.join("control"), ".", &work.join("control.tar.gz"))?;
    tar(&data, ".", &work.join("data.tar.gz"))?;
    let mut file = b"!<arch>\n".to_vec();
    append(&mut file, "debian-binary", b"2.0\n");
    for member in ["control.tar.gz", "data.tar.gz"] {
        append(&mut file, member, &std::fs::read(work.join(member))?);
    }
    let name = format!("flowmeter_{version}_{architecture}.deb");
    std::fs::write(out.join(&name), file).with_context(|| name.clone())?;
    std::fs::remove_dir_all(&work)?;
    Ok(name)
}

/// The settings file of a new installation.
const SETTINGS: &str = "\
# Settings of Flowmeter. `flowmeter serve --print-config` shows all of them with their origin;
# docs/settings.md explains each.
listen: 127.0.0.1:8888
";

/// Returns the newest version of the C library that a binary has symbols of.
fn libc_of(binary: &[u8]) -> String {
    const MARK: &[u8] = b"GLIBC_2.";
    let minor = |at: usize| {
        let digits = binary[at + MARK.len()..].iter().take_while(|c| c.is_ascii_digit());
        digits.fold(0u32, |minor, c| minor.saturating_mul(10) + u32::from(c - b'0'))
    };
    let places = (0..binary.len().saturating_sub(MARK.len())).filter(|at| binary[*at..].starts_with(MARK));
    format!("2.{}", places.map(minor).max().unwrap_or(28))
}

fn control(version: &str, architecture: &str, size: u64, libc: &str) -> String {
    format!(
        "Package: flowmeter\nVersion: {version}\nArchitecture: {architecture}\nMaintainer: Flowmeter <flowmeter@localhost>\n\
         Installed-Size: {size}\nDepends: libc6 (>= {libc}), libgcc-s1\nSuggests: systemd\nSection: net\nPriority: optional\n\
         Description: usage metering and mediation\n Takes usage events, counts them exactly, closes metering periods and\n \
         delivers metered records to downstream systems.\n"
    )
}

/// Adds a member to an `ar` archive: a header of 60 characters, the bytes, an even length.
fn append(archive: &mut Vec<u8>, name: &str, bytes: &[u8]) {
    let header = format!("{name:<16}{:<12}{:<6}{:<6}{:<8}{:<10}`\n", 0, 0, 0, "100644", bytes.len());
    archive.extend_from_slice(header.as_bytes());
    archive.extend_from_slice(bytes);
    if bytes.len() % 2 == 1 {
        archive.push(b'\n');
    }
}

fn copy_all(from: &Path, to: &Path) -> anyhow::Result<()> {
    std::fs::create_dir_all(to).with_context(|| to.display().to_string())?;
    for entry in std::fs::read_dir(from).with_context(|| from.display().to_string())? {
        let entry = entry?;
        let to = to.join(entry.file_name());
        match entry.file_type()?.is_dir() {
            true => copy_all(&entry.path(), &to)?,
            false => std::fs::copy(entry.path(), &to).map(drop)?,
        }
    }
    Ok(())
}

fn size_of(folder: &Path) -> anyhow::Result<u64> {
    let mut size = 0;
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        size += match entry.file_type()?.is_dir() {
            true => size_of(&entry.path())?,
            false => entry.metadata()?.len(),
        };
    }
    Ok(size)
}
