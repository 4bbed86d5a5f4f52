//! The JSON scanner never panics and accepts exactly what serde_json accepts.
#![no_main]

use flowmeter_core::event::json::{Projection, Scanner};
use flowmeter_core::event::{Batch, Path};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let paths: Vec<Path> = ["a", "a.b", "data.c"].iter().filter_map(|path| Path::parse(path).ok()).collect();
    let mut batch = Batch::default();
    batch.block.open().extend_from_slice(data);
    batch.block.seal();
    Scanner::new().decode(&Projection::new(&paths), &mut batch, 1 << 20);
    for event in 0..batch.len() {
        let refused = batch.faults.iter().any(|fault| fault.event as usize == event);
        let line = batch.raw(event);
        let theirs = serde_json::from_slice::<serde_json::Map<String, serde_json::Value>>(line).is_ok();
        // serde_json also refuses numbers beyond a float's range, which are kept as text here.
        let float_range = line.iter().any(|c| matches!(c, b'e' | b'E')) || line.len() > 300;
        assert!(refused != theirs || float_range, "{}", String::from_utf8_lossy(line));
    }
});
