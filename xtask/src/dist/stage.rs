//! The folder of a release, as it is unpacked.
//!
//! ```text
//! bin/flowmeter
//! share/man/man1/*.1
//! share/bash-completion/completions/flowmeter, share/zsh/…, share/fish/…
//! lib/systemd/system/flowmeter.service
//! share/doc/flowmeter/LICENSE, THIRD-PARTY-LICENCES, README.md, CHANGELOG.md
//! ```

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context;

use super::{licences, output};

/// Shells with the places of their completions.
const COMPLETIONS: [(&str, &str); 3] = [
    ("bash", "share/bash-completion/completions/flowmeter"),
    ("zsh", "share/zsh/site-functions/_flowmeter"),
    ("fish", "share/fish/vendor_completions.d/flowmeter.fish"),
];

/// Documents of the repository that a release carries.
const DOCUMENTS: [&str; 3] = ["LICENSE", "README.md", "CHANGELOG.md"];

/// Empties the folder and fills it.
pub(super) fn stage(root: &Path, binary: &Path, folder: &Path) -> anyhow::Result<PathBuf> {
    if folder.exists() {
        std::fs::remove_dir_all(folder).with_context(|| folder.display().to_string())?;
    }
    copy(binary, &folder.join("bin/flowmeter"))?;
    let pages = folder.join("share/man/man1");
    std::fs::create_dir_all(&pages)?;
    output(Command::new(binary).args(["man", "--all"]).arg(&pages))?;
    for (shell, place) in COMPLETIONS {
        let script = output(Command::new(binary).args(["completions", shell]))?;
        write(&folder.join(place), &script)?;
    }
    copy(&root.join("packaging/flowmeter.service"), &folder.join("lib/systemd/system/flowmeter.service"))?;
    let documents = folder.join("share/doc/flowmeter");
    for document in DOCUMENTS {
        copy(&root.join(document), &documents.join(document))?;
    }
    write(&documents.join("THIRD-PARTY-LICENCES"), &licences::licences(root)?)?;
    Ok(folder.to_owned())
}

pub(super) fn write(path: &Path, text: &str) -> anyhow::Result<()> {
    let parent = path.parent().with_context(|| path.display().to_string())?;
    std::fs::create_dir_all(parent).with_context(|| parent.display().to_string())?;
    std::fs::write(path, text).with_context(|| path.display().to_string())
}

fn copy(from: &Path, to: &Path) -> anyhow::Result<()> {
    let parent = to.parent().with_context(|| to.display().to_string())?;
    std::fs::create_dir_all(parent).with_context(|| parent.display().to_string())?;
    std::fs::copy(from, to).map(drop).with_context(|| from.display().to_string())
}
