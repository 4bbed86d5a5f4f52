//! The document parser and the schedule parser never panic.
#![no_main]

use flowmeter_core::time::{Timestamp, Zone};
use flowmeter_document::{Pipeline, read_schedule};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Ok(pipeline) = Pipeline::read(text) {
        assert!(Pipeline::read(pipeline.effective()).is_ok(), "{}", pipeline.effective());
    }
    if let Ok(schedule) = read_schedule(text) {
        let at = Timestamp::from_nanos(1_700_000_000_000_000_000);
        let period = schedule.period_at(&Zone::utc(), at);
        assert!(period.contains(at));
    }
});
