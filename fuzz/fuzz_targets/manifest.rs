//! Manifests of identities are read or reported as damaged, and written as they were read.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    sim::decoders::manifest(data);
});
