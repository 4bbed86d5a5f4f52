//! Whatever is read from a disk, shown to the code that reads it: it may say that it is
//! damaged, and may not panic, hang or ask for all memory. The fuzz targets call these with
//! bytes of their own; a test calls them with images that were sound and were changed.
//!
//! Checksums are put right here: a reader must be able to bear what carries a right one.

use std::sync::Arc;

use flowmeter_core::image::Glass;
use flowmeter_core::partition::{IdentityTable, Partition};
use flowmeter_engine::live::{Letter, LogCommand, folder_of, items, judged, parked_item, record_item};
use flowmeter_store::disk::Disk;
use flowmeter_store::identities::Manifest;
use flowmeter_store::log::{self, Entry, EntryKind, Log};

use crate::disk::SimDisk;
use crate::documents::plan_of;
use crate::node::Layout;
use crate::random::Random;

/// How pipelines are laid out here.
pub const LAYOUT: Layout = Layout { partitions: 1, segment_bytes: 4000, outlet_bytes: 4000, identities_bytes: 0 };

fn put(disk: &SimDisk, name: &str, bytes: &[u8]) {
    if let Ok(mut file) = disk.create(name) {
        // The simulated disk has no faults here.
        drop(file.append(bytes));
    }
}

/// A segment of a log: what follows its head.
pub fn segment(bytes: &[u8]) {
    let disk = SimDisk::new(Random::new(0));
    let open = || Log::open(Arc::new(disk.clone()), "log", log::Settings { segment_bytes: 1 << 20, reserve_bytes: 0 });
    drop(open());
    if let Some(mut file) = disk.names().first().and_then(|name| disk.open(name).ok()) {
        drop(file.append(bytes));
    }
    let Ok((log, _)) = open() else { return };
    let Ok(mut reader) = log.reader(0) else { return };
    let mut entries = 0;
    while let Ok(Some(read)) = reader.read() {
        entry(&read.bytes);
        entries += 1;
    }
    assert_eq!(entries, log.next(), "what a log was opened with can be read");
}

/// A whole file of a log's folder.
pub fn file(bytes: &[u8]) {
    let disk = SimDisk::new(Random::new(0));
    put(&disk, "log/00000000000000000000.seg", bytes);
    drop(Log::open(Arc::new(disk), "log", log::Settings::default()));
}

/// A checkpoint, between its mark and its checksum.
pub fn checkpoint(bytes: &[u8]) {
    let Ok(plan) = plan_of(0, 1) else { return };
    let mut image = b"FLOWCKPT\x01".to_vec();
    image.extend_from_slice(bytes);
    let sum = flowmeter_store::checksum(&image);
    image.extend_from_slice(&sum.to_le_bytes());
    let disk = SimDisk::new(Random::new(0));
    put(&disk, &format!("{}/checkpoints/00000000000000000001.ckpt", folder_of(plan.id)), &image);
    if let Ok(mut live) = LAYOUT.open_live(&disk, 0, (0, 0), u64::MAX) {
        drop(live.checkpoint());
    }
}

/// The image of a partition, as checkpoints hold it.
pub fn image(bytes: &[u8]) {
    let Ok(plan) = plan_of(0, 1) else { return };
    let read: Result<Partition, _> = Partition::read(&plan, IdentityTable::default(), &mut Glass::new(bytes));
    if let Ok(partition) = read {
        for meter in partition.meters() {
            partition.show(meter, crate::documents::at(0), &mut Vec::new());
        }
        drop(partition.image());
        let _ = partition.next_due();
    }
}

/// What is in an entry of a log, of whatever kind.
pub fn entry(bytes: &[u8]) {
    drop(LogCommand::read(bytes));
    drop(Letter::read(bytes));
    let items_said = bytes.first().map_or(1, |first| u32::from(*first) * 8);
    let entry = Entry { kind: EntryKind::Items, at: 0, items: items_said, position: 0, first_item: 0, bytes: bytes.to_vec() };
    for (_, item) in items(&entry) {
        let _ = (parked_item(item), record_item(item));
    }
    let verdicts: usize = judged(&entry).map(|block| block.verdicts.len()).sum();
    assert!(verdicts <= items_said as usize, "an entry has no more verdicts than items");
}

/// A manifest of identities, without its checksum.
pub fn manifest(bytes: &[u8]) {
    drop(Manifest::read(bytes));
    let mut summed = bytes.to_vec();
    summed.extend_from_slice(&flowmeter_store::checksum(bytes).to_le_bytes());
    if let Ok(manifest) = Manifest::read(&summed) {
        let mut again = Vec::new();
        manifest.write_to(&mut again);
        assert_eq!(again, summed, "a manifest that is read is written alike");
    }
}
