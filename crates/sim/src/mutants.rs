//! Puts faults back that the product once had, and counts the seeds until one is found.
//!
//! It needs a build with `RUSTFLAGS="--cfg mutants"`; `cargo xtask mutants` makes it and runs it.

use std::process::ExitCode;

/// Looks for each fault with up to `seeds` seeds of either kind of history.
#[cfg(mutants)]
pub(crate) fn find(seeds: u64) -> ExitCode {
    use flowmeter_core::mutant::{self, Mutant};

    // A panic is one of the ways in which a fault is found.
    std::panic::set_hook(Box::new(|_| {}));
    let mut missed = 0;
    for fault in Mutant::ALL {
        mutant::put_back(Some(fault));
        let finds = |seed: &u64| sim::run_server(*seed, false).err().or_else(|| sim::run(*seed, sim::STEPS, false).err());
        // A history that is not sound without the fault finds nothing.
        let is_sound = |seed: u64| {
            mutant::put_back(None);
            let is_sound = finds(&seed).is_none();
            mutant::put_back(Some(fault));
            is_sound
        };
        let found = (0..seeds).find_map(|seed| finds(&seed).filter(|_| is_sound(seed)).map(|what| (seed, what)));
        match found {
            Some((seed, what)) => {
                let line: String = what.lines().next().unwrap_or_default().chars().take(160).collect();
                println!("{fault:?}: found after {} seeds: {line}", seed + 1);
            }
            None => {
                missed += 1;
                println!("{fault:?}: NOT found within {seeds} seeds");
            }
        }
    }
    if missed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

#[cfg(not(mutants))]
pub(crate) fn find(_seeds: u64) -> ExitCode {
    eprintln!("this build has no faults to put back; run `cargo xtask mutants`");
    ExitCode::from(2)
}
