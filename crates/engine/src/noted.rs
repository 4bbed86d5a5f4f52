//! What happens to single meters besides their records: they are opened, and they go.
//!
//! The core tells it as an effect. Lanes and partitions gather it while somebody listens,
//! and it is put in an order that does not depend on how many of them there are: by block,
//! then by meter. What people do by hand, meter by meter, is gathered always.

use flowmeter_core::partition::{Effects, Meter};
use flowmeter_core::time::Timestamp;
use uuid::Uuid;

/// An event of a single meter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Happening {
    /// An event, a document or a person opened it.
    Opened,
    /// It is gone: at its reset, or by hand.
    Deleted,
}

/// A meter that something happened to. They sort by meter.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Noted {
    /// Whose.
    pub user: Box<[u8]>,
    /// Its type, by its place in the plan.
    pub meter_type: u16,
    /// Its processor, by its place in the plan.
    pub processor: u16,
    /// The event of the meter.
    pub happening: Happening,
    /// The id it was given by hand, if it was.
    pub id: Option<Uuid>,
    /// When it was created.
    pub created_at: Timestamp,
    /// Whether it goes at its next reset.
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

/// Takes the effects of a command about single meters, which meets no events and makes no
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
