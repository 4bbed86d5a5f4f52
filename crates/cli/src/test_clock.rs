//! The test clock of `serve`, and the mark that keeps its data apart.
//!
//! A history played with a test clock has instants that never were. A data folder that has lived
//! with one is marked for ever, so that it is not taken for a real one.

use std::path::Path;
use std::sync::Arc;

use flowmeter_core::time::Timestamp;
use flowmeter_engine::node::TestClock;
use flowmeter_node::settings::Settings;

use crate::clock::Wall;
use crate::failure::Wrong;

/// The mark, in a folder of its own so that backups have it.
const MARK: &str = "test_clock/mark";

/// Returns the test clock, if one is asked for, and marks the data folder.
///
/// # Errors
/// The instant cannot be read, the address is not of this machine, or the data folder has lived
/// with the other kind of clock.
pub(crate) fn open(start: Option<&str>, settings: &Settings) -> anyhow::Result<Option<Arc<TestClock>>> {
    let mark = settings.data.join(MARK);
    let (is_marked, is_used) = (mark.exists(), is_used(&settings.data)?);
    let data = settings.data.display();
    let Some(start) = start else {
        return match is_marked {
            true => {
                let message = format!("{data} has lived with a test clock; serve it with --test-clock, or use another folder");
                Err(Wrong(message).into())
            }
            false => Ok(None),
        };
    };
    let at = Timestamp::parse_rfc3339(start.as_bytes());
    let at = at.ok_or_else(|| Wrong(format!("--test-clock `{start}` is no instant; write it like 2026-01-01T00:00:00Z")))?;
    if !settings.listen.ip().is_loopback() && !settings.test_clock_allow_remote {
        let message = format!(
            "a server with a test clock listens on this machine only, not on {}; set test_clock.allow_remote to allow it",
            settings.listen
        );
        return Err(Wrong(message).into());
    }
    if is_used && !is_marked {
        let message = format!("{data} has lived without a test clock; use a new folder for --test-clock");
        return Err(Wrong(message).into());
    }
    let folder = mark.parent().unwrap_or(&settings.data);
    let written = std::fs::create_dir_all(folder).and_then(|()| std::fs::write(&mark, format!("{start}\n")));
    written.map_err(|why| Wrong(format!("{}: {why}", mark.display())))?;
    Ok(Some(Arc::new(TestClock::at(at, Arc::new(Wall)))))
}

/// Whether a data folder has anything in it.
fn is_used(data: &Path) -> anyhow::Result<bool> {
    match std::fs::read_dir(data) {
        Ok(mut entries) => Ok(entries.next().is_some()),
        Err(why) if why.kind() == std::io::ErrorKind::NotFound => Ok(false),
        Err(why) => Err(Wrong(format!("{}: {why}", data.display())).into()),
    }
}
