//! A settings file is read or refused with its line; it never panics.
#![no_main]

use std::path::Path;

use flowmeter_node::settings::{Layers, Settings};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let file = Some((Path::new("flowmeter.yaml"), text));
    drop(Settings::read(&Layers { file, environment: Vec::new(), other_variables: &[], flags: Vec::new() }));
});
