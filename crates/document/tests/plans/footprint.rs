//! The measured memory of meters.

use std::sync::Arc;

use flowmeter_core::partition::{Command, Effects, Identity, IdentityTable, Meter, Partition, RecordKey, Usage};
use flowmeter_core::plan::DeclaredMeter;
use flowmeter_core::record::Record;
use flowmeter_core::time::Timestamp;
use flowmeter_core::verdict::Reason;
use flowmeter_document::Pipeline;

const DOCUMENT: &str = "
pipeline: p
source: { http: {} }
operators: [{ meter: { key: a1f8797b-c827-4483-b6cf-6d3d3baa18a7, rules: [{ category: c }] } }]
meterTypes: [{ name: t, category: c, aggregation: increment }]
";

#[test]
fn every_meter_is_in_it() {
    let plan = Arc::new(Pipeline::read(DOCUMENT).unwrap().plan);
    let mut partition: Partition = Partition::with_identities(plan, IdentityTable::default());
    let before = partition.meter_bytes();
    let open = |user: String| DeclaredMeter { user, ..DeclaredMeter::default() };
    let mut last = before;
    for name in ["short", "one that does not fit into the meter itself"] {
        let declared = open(name.to_owned());
        partition.apply(Command::Open(&declared), Timestamp::default(), &mut Nothing);
        let bytes = partition.meter_bytes();
        assert!(bytes >= last + 192, "{name}: {last} → {bytes}");
        last = bytes;
    }
    assert_eq!(partition.meter_count(), 2);
}

struct Nothing;

impl Effects for Nothing {
    fn duplicate(&mut self, _: &Identity) {}
    fn late(&mut self, _: &Usage) {}
    fn parked(&mut self, _: &Usage, _: Reason, _: String) {}
    fn unmatched(&mut self, _: &Usage) {}
    fn opened(&mut self, _: &Meter) {}
    fn deleted(&mut self, _: &Meter) {}
    fn record(&mut self, _: RecordKey<'_>, _: &Record<'_>) {}
    fn threshold(&mut self, _: u32, _: RecordKey<'_>, _: &[u8]) {}
}
