//! Segments of the log are read or reported as damaged; what the log was opened with can be read.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    sim::decoders::segment(data);
    sim::decoders::file(data);
});
