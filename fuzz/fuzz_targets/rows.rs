//! Rows, log lines, decimals, times and durations never panic.
#![no_main]

use flowmeter_core::event::csv::{ColumnType, Columns, Dialect};
use flowmeter_core::event::{Batch, Path, access_log, csv};
use flowmeter_core::time::{Clue, TimeFormat, Timestamp, Zone, parse_duration};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let mut batch = Batch::default();
    batch.block.open().extend_from_slice(data);
    batch.block.seal();
    let columns = Columns { targets: vec![Some((0, ColumnType::Number)), None], width: 1, ..Columns::default() };
    csv::decode(&Dialect::default(), &columns, &mut batch, 1 << 16);
    let paths: Vec<Path> = access_log::FIELDS.iter().filter_map(|path| Path::parse(path).ok()).collect();
    access_log::decode(&access_log::Columns::new(&paths, false), &mut batch, 1 << 16);
    drop(flowmeter_core::decimal::parse(data));
    drop(Timestamp::parse_rfc3339(data));
    for format in ["unix_s", "%Y-%m-%d %H:%M:%S%.f", "%d/%b/%Y:%H:%M:%S %z"] {
        if let Some(format) = TimeFormat::named(format, Zone::utc()) {
            drop(format.parse(data, Clue::Text));
        }
    }
    if let Ok(text) = std::str::from_utf8(data) {
        drop(parse_duration(text));
    }
});
