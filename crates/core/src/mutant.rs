//! Faults that the product once had, to test the simulation.
//!
//! A build with `RUSTFLAGS="--cfg mutants"` can put one of them back; the simulation must find it. In
//! any other build [`is_put_back`] is `false` at compile time, and the faults are not in the program.

/// A fault that can be put back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Mutant {
    /// A period that was due before the newest entry of the log is not flushed.
    NoTickForThePast = 1,
    /// A second settlement of a parked event takes effect too.
    SettledTwice,
    /// A correction is answered before it is in the log.
    AnsweredBeforeTheLog,
    /// A change that is refused is in the catalog.
    RefusedChangeHolds,
    /// Positions of lost entries are given to other entries.
    PositionsReused,
    /// An event is too late only where its period was flushed already.
    LateByFlush,
    /// A parked event spends its identity.
    ParkedSpends,
    /// A pipeline that stops is not reported.
    SilentStop,
    /// A pipeline that stopped on a full disk is not loaded again.
    RestsForEver,
}

impl Mutant {
    /// Every fault, in the order of the list.
    pub const ALL: [Mutant; 9] = [
        Mutant::NoTickForThePast,
        Mutant::SettledTwice,
        Mutant::AnsweredBeforeTheLog,
        Mutant::RefusedChangeHolds,
        Mutant::PositionsReused,
        Mutant::LateByFlush,
        Mutant::ParkedSpends,
        Mutant::SilentStop,
        Mutant::RestsForEver,
    ];
}

#[cfg(mutants)]
static CHOSEN: std::sync::atomic::AtomicU8 = std::sync::atomic::AtomicU8::new(0);

/// Puts a fault back, for the rest of the process; `None`: no fault.
#[cfg(mutants)]
pub fn put_back(mutant: Option<Mutant>) {
    CHOSEN.store(mutant.map_or(0, |mutant| mutant as u8), std::sync::atomic::Ordering::Relaxed);
}

/// Returns whether a fault is put back.
#[cfg(mutants)]
pub fn is_put_back(mutant: Mutant) -> bool {
    CHOSEN.load(std::sync::atomic::Ordering::Relaxed) == mutant as u8
}

/// Returns whether a fault is put back: never in this build.
#[cfg(not(mutants))]
#[inline]
pub const fn is_put_back(_: Mutant) -> bool {
    false
}
