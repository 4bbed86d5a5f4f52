//! Commands, letters, items and verdicts in entries of a log never panic.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    sim::decoders::entry(data);
});
