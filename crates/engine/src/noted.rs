//! Events of single meters besides their records: meters are opened and deleted.
//!
//! The core reports them as effects. Lanes and partitions collect them while a reader is
//! subscribed, and they are sorted in an order that does not depend on the number of partitions: by
//! block, then by meter. Changes that people make meter by meter are always collected.

use flowmeter_core::partition::{Effects, Meter};
use flowmeter_core::time::Timestamp;
use uuid::Uuid;

/// An event of a single meter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Happening {
    /// An event, a document or a person opened it.
    Opened,
    /// It was deleted, at its reset or by a person.
    Deleted,
}

/// An event of a meter. Such events sort by meter.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Noted {
    /// The user of the meter.
    pub user: Box<[u8]>,
    /// Index of its type in the plan.
    pub meter_type: u16,
    /// Index of its processor in the plan.
    pub processor: u16,
    /// The event of the meter.
    pub happening: Happening,
    /// The id that a person gave it, if any.
    pub id: Option<Uuid>,
    /// When it was created.
    pub created_at: Timestamp,
    /// Whether it is deleted at its next reset.
    pub delete_on_reset: bool,
}

impl Noted {
    pub(crate) fn of(happening: Happening, meter: &Meter) -> Noted {
        Noted {
            user: meter.user.as_ref().into(),
            meter_type: meter.meter_type,
            processor: meter.processor,
            happening,
            id: meter.rare.as_ref().and_then(|rare| rare.id),
            created_at: meter.created_at,
            delete_on_reset: meter.delete_on_reset,
        }
    }
}

/// Receives the effects of a command about single meters, which concerns no events and makes no
/// records.
#[derive(Default)]
pub(crate) struct Noting(pub(crate) Vec<Noted>);

impl Effects for Noting {
    fn opened(&mut self, meter: &Meter) {
        self.0.push(Noted::of(Happening::Opened, meter));
    }

    fn deleted(&mut self, meter: &Meter) {
        self.0.push(Noted::of(Happening::Deleted, meter));
    }
}
