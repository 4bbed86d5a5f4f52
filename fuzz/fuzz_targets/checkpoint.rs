//! Checkpoints with a right checksum and any content, and images in them, are read or reported as damaged.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    sim::decoders::checkpoint(data);
    sim::decoders::image(data);
});
