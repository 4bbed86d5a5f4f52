//! The bound of the meters' memory: when it is reached, the door closes for new events, with
//! an answer that says so. What is in the log is counted, periods close, records go; nothing
//! is dropped, and nothing is ended for want of memory.
//!
//! Events that are in the log and not yet counted may open meters, nobody knows how many. If
//! it could be more than there is room for, senders wait until counting has come further.

use std::sync::PoisonError;
use std::time::Duration;

use super::{Installation, Refused};
use crate::problem::{Code, Problem};

/// How long a sender is asked to wait: somebody has to do something first.
const RETRY_AFTER_S: u64 = 30;
/// How long a sender is kept waiting for counting: less than they have patience for.
const PATIENCE: Duration = Duration::from_secs(10);
/// How often it is looked whether counting has come further.
const LOOK_EVERY: Duration = Duration::from_millis(20);

impl Installation {
    /// Bytes that meters may take.
    pub fn meters_bytes_max(&self) -> u64 {
        self.meters_bytes_max
    }

    /// Whether there is room for more meters.
    ///
    /// # Errors
    /// There is none.
    pub(super) fn meters_have_room(&self) -> Result<(), Refused> {
        let (bytes, max) = (self.meter_bytes(0), self.meters_bytes_max);
        if bytes < max {
            return Ok(());
        }
        let detail = format!("meters take {bytes} bytes; memory.meters_bytes is {max}");
        Err(Box::new(Problem::new(Code::MetersFull, detail).retry_after(RETRY_AFTER_S)))
    }

    /// Waits until there is room for the meters of everything in the log, and more.
    ///
    /// # Errors
    /// There is none, or counting does not come forward.
    pub(crate) async fn wait_for_meters(&self) -> Result<(), Refused> {
        let mut waited = Duration::ZERO;
        loop {
            self.meters_have_room()?;
            let bytes = self.meter_bytes(self.tail.end());
            if bytes < self.meters_bytes_max {
                return Ok(());
            }
            if waited >= PATIENCE {
                let max = self.meters_bytes_max;
                let detail =
                    format!("what waits to be counted could bring meters to {bytes} bytes; memory.meters_bytes is {max}");
                return Err(Box::new(Problem::new(Code::Overloaded, detail).retry_after(1)));
            }
            tokio::time::sleep(LOOK_EVERY).await;
            waited += LOOK_EVERY;
        }
    }

    /// Bytes of all meters, once the log is counted up to a position.
    fn meter_bytes(&self, position: u64) -> u64 {
        let pipelines = self.pipelines.read().unwrap_or_else(PoisonError::into_inner);
        pipelines.values().map(|served| served.board().meter_bytes_at(position)).sum()
    }
}

/// A third of what the machine or its container has: with what the allocator adds, identities
/// and a checkpoint under way, a process takes twice what its meters do, and more. No bound
/// where neither says.
pub(super) fn of_the_machine() -> u64 {
    let machine = std::fs::read_to_string("/proc/meminfo").ok().and_then(|text| total(&text));
    let container = ["/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"]
        .into_iter()
        .find_map(|file| std::fs::read_to_string(file).ok()?.trim().parse::<u64>().ok());
    machine.into_iter().chain(container).min().map_or(u64::MAX, |bytes| bytes / 3)
}

/// Bytes of memory that `/proc/meminfo` tells of.
fn total(text: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kib = line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?;
    kib.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_machine_says_how_much_it_has() {
        assert_eq!(total("MemTotal:       24634196 kB\nMemFree: 1 kB\n"), Some(24_634_196 * 1024));
        assert_eq!(total("MemFree: 1 kB\n"), None);
        assert_eq!(total("MemTotal: much\n"), None);
    }
}
