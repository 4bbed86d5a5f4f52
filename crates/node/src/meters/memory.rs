//! The bound of the meters' memory. When it is reached, new events are refused with a problem that
//! says so. Events in the log are still counted, periods close and records are delivered; nothing
//! is dropped, and nothing ends for lack of memory.
//!
//! Events that are in the log and not counted yet may open an unknown number of meters. If that
//! could be more than there is room for, senders wait until counting has progressed.

use std::sync::PoisonError;
use std::time::Duration;

use flowmeter_engine::{Error, Kind};

use crate::installation::Installation;
use crate::refusal::{Refusal, RefusalKind, Refused};

/// Time after which a sender shall retry: a person has to make room first.
const RETRY_AFTER_S: u64 = 30;
/// Time for which a sender waits for counting: less than usual timeouts.
const PATIENCE: Duration = Duration::from_secs(10);
/// Interval at which the progress of counting is checked.
const LOOK_EVERY: Duration = Duration::from_millis(20);

impl Installation {
    /// Returns the maximum of bytes of meters.
    pub fn meters_bytes_max(&self) -> u64 {
        self.meters_bytes_max
    }

    /// Checks that there is room for more meters.
    ///
    /// # Errors
    /// There is no room.
    pub(crate) fn meters_have_room(&self) -> Result<(), Refused> {
        let (bytes, max) = (self.meter_bytes(0), self.meters_bytes_max);
        if bytes < max {
            return Ok(());
        }
        let detail = format!("meters take {bytes} bytes; memory.meters_bytes is {max}");
        Err(Box::new(Refusal::new(RefusalKind::MetersFull, detail).retry_after(RETRY_AFTER_S)))
    }

    /// Whether there is room for the meters of everything in the log, and more.
    ///
    /// # Errors
    /// There is no room for meters at all.
    pub(crate) fn meters_may_grow(&self) -> Result<bool, Error> {
        self.meters_have_room().map_err(|why| Error::new(Kind::Unavailable, why.detail))?;
        Ok(self.meter_bytes(self.log_end()) < self.meters_bytes_max)
    }

    /// Waits until there is room for the meters of everything in the log, and more.
    ///
    /// # Errors
    /// There is no room, or counting makes no progress.
    pub async fn wait_for_meters(&self) -> Result<(), Refused> {
        let mut waited = Duration::ZERO;
        loop {
            self.meters_have_room()?;
            let bytes = self.meter_bytes(self.log_end());
            if bytes < self.meters_bytes_max {
                return Ok(());
            }
            if waited >= PATIENCE {
                let max = self.meters_bytes_max;
                let detail =
                    format!("what waits to be counted could bring meters to {bytes} bytes; memory.meters_bytes is {max}");
                return Err(Box::new(Refusal::new(RefusalKind::Overloaded, detail).retry_after(1)));
            }
            tokio::time::sleep(LOOK_EVERY).await;
            waited += LOOK_EVERY;
        }
    }

    /// Returns the bytes of all meters, once the log is counted up to a position.
    pub(crate) fn meter_bytes(&self, position: u64) -> u64 {
        let pipelines = self.pipelines.read().unwrap_or_else(PoisonError::into_inner);
        pipelines.values().map(|served| served.board().meter_bytes_at(position)).sum()
    }
}

/// Returns a third of the memory of the machine or its container: with the overhead of the
/// allocator, identities and a checkpoint in progress, a process takes more than twice the bytes of
/// its meters. There is no bound where the memory is unknown.
pub(crate) fn of_the_machine() -> u64 {
    let machine = std::fs::read_to_string("/proc/meminfo").ok().and_then(|text| total(&text));
    let container = ["/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"]
        .into_iter()
        .find_map(|file| std::fs::read_to_string(file).ok()?.trim().parse::<u64>().ok());
    machine.into_iter().chain(container).min().map_or(u64::MAX, |bytes| bytes / 3)
}

/// Returns the bytes of memory in `/proc/meminfo`.
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
