//! Expressions never panic, compiled or evaluated.
#![no_main]

use flowmeter_core::event::json::{Projection, Scanner};
use flowmeter_core::event::{Batch, Path};
use flowmeter_core::expression::{Fields, Program};
use libfuzzer_sys::fuzz_target;

#[derive(Default)]
struct Slots(Vec<Path>);

impl Fields for Slots {
    fn slot(&mut self, path: &Path) -> u16 {
        self.0.push(path.clone());
        self.0.len() as u16 - 1
    }
}

fuzz_target!(|data: &[u8]| {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let mut slots = Slots::default();
    let Ok(program) = Program::compile(text, &mut slots) else { return };
    let mut paths = slots.0.clone();
    paths.dedup();
    let mut batch = Batch::default();
    batch.block.open().extend_from_slice(br#"{"a":1.5,"b":"text","c":null,"d":[1],"e":true,"time":"2024-01-01T00:00:00Z"}"#);
    batch.block.seal();
    Scanner::new().decode(&Projection::new(&slots.0), &mut batch, 1 << 16);
    drop(program.evaluate(&batch, 0));
});
