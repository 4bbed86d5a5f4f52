//! Flips a bit in a durable file. It must be reported, or do no harm; then the world continues from
//! a copy made before.

use super::{Stop, World};
use crate::disk::Faults;

impl World {
    pub(super) fn damage(&mut self) -> Result<(), Stop> {
        if self.disk.is_down() || self.log.is_none() || !self.pending.is_empty() {
            return Ok(());
        }
        self.disk.set_faults(Faults::default());
        let part =
            ["log/", "/checkpoints/", "/identities/", "/records/", "/verdicts/", "/parked/", "/answers/"][self.random.index(7)];
        let copy = self.disk.copy();
        let chosen = |name: &str| (name.starts_with(part) || name.contains(part)) && !name.ends_with(".new");
        let Some((file, at)) = self.disk.flip(chosen) else { return Ok(()) };
        self.note("damage");
        self.print(|| format!("{file} at byte {at}"));
        let kept: Vec<_> = self.slots.iter().map(|slot| slot.seen.clone()).collect();
        let outcome = self.restart(false).map_err(Stop::Wrong).and_then(|()| self.audit());
        let told = match outcome {
            Ok(()) => Ok("damage without harm"),
            Err(Stop::Wrong(what)) if what.contains("Corrupt") => Ok("damage reported"),
            Err(Stop::Wrong(what)) => Err(format!("after {file} was damaged at byte {at}: {what}")),
            Err(Stop::Disk) => Err(format!("after {file} was damaged at byte {at} the disk was blamed")),
        };
        self.note(told?);
        self.disk = copy;
        for (slot, seen) in self.slots.iter_mut().zip(kept) {
            slot.seen = seen;
        }
        Ok(self.restart(false)?)
    }
}
