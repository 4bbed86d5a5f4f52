//! Meters that were opened lately, for an index of meters that is kept beside the partition.

use super::{Identities, Memory, Meter, MeterIx, MeterKey, Meters, Partition};
use crate::plan::Plan;

/// Maximum of opened meters that wait to be taken: four megabytes. Beyond, the index is made again.
const OPENED_MAX: usize = 1 << 20;

/// Places of meters that were opened; `None`: they are not noted.
#[derive(Debug, Default)]
pub(super) struct Opened(Option<Vec<MeterIx>>);

impl Opened {
    #[inline]
    pub(super) fn note(&mut self, meter: MeterIx) {
        if let Some(noted) = &mut self.0 {
            match noted.len() < OPENED_MAX {
                true => noted.push(meter),
                false => self.0 = None,
            }
        }
    }
}

impl<M: Meters, I: Identities> Partition<M, I> {
    /// Notes meters that are opened from now on.
    pub fn note_opened(&mut self) {
        self.opened = Opened(Some(Vec::new()));
    }

    /// Removes and returns noted places, at most `max`; `None` if some were not noted. A place may
    /// be named twice, and its meter may have gone.
    pub fn take_opened(&mut self, max: usize) -> Option<Vec<MeterIx>> {
        let noted = self.opened.0.as_mut()?;
        Some(noted.split_off(noted.len().saturating_sub(max)))
    }

    /// Returns the meter at a place, if there is one.
    pub fn meter_at(&self, place: MeterIx) -> Option<&Meter> {
        self.meters.peek(place).filter(|meter| meter.is_alive())
    }

    /// Returns a user's meter.
    pub fn meter_of(&self, user: &[u8], processor: u16, meter_type: u16) -> Option<&Meter> {
        let key = MeterKey::new(user, Plan::user_hash(user), processor, meter_type);
        self.meter_at(self.meters.find(&key)?)
    }
}

impl<I: Identities> Partition<Memory, I> {
    /// Returns the place after those of all meters.
    pub fn places_end(&self) -> u32 {
        self.meters.places_end()
    }
}
