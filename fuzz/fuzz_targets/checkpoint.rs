//! Checkpoints with a right checksum and whatever content are read or told as damaged.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    sim::decoders::checkpoint(data);
});
