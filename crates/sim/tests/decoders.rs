//! Tests the decoders of files with changed bytes of valid files: a byte, a range, a length.
//! (`fuzz/` has a target for each, guided by coverage.)

#![allow(clippy::unwrap_used)] // a test that cannot continue stops

use std::sync::Arc;

use flowmeter_store::disk::{Disk, read_all};
use flowmeter_store::log::{self, Encoded, EntryKind, Log};
use sim::decoders::{LAYOUT, checkpoint, entry, file, image, manifest, segment};
use sim::disk::SimDisk;
use sim::documents::plan_of;
use sim::producer::Producer;
use sim::random::Random;

/// Returns name and bytes of the files that a pipeline wrote after some events, and the image of
/// its partition.
fn files() -> (Vec<(String, Vec<u8>)>, Vec<u8>) {
    let disk = SimDisk::new(Random::new(1));
    let mut random = Random::new(2);
    let mut producer = Producer::default();
    let settings = log::Settings { segment_bytes: 1 << 20, reserve_bytes: 0 };
    let (mut log, _) = Log::open(Arc::new(disk.clone()), "log", settings).unwrap();
    let mut live = LAYOUT.open_live(&disk, 0, (0, 0), 0, None).unwrap();
    for n in 0..30 {
        let now = 1_711_756_800_000_000_000 + n * 600_000_000_000;
        let mut bytes = vec![0, 4];
        bytes.extend_from_slice(b"here");
        bytes.extend_from_slice(producer.lines(&mut random, now).as_bytes());
        log.append(&Encoded::new(EntryKind::Events, now, 1, &bytes)).unwrap();
        log.append(&Encoded::new(EntryKind::Command, now, 0, br#"{"command":"tick"}"#)).unwrap();
        log.commit().unwrap();
    }
    let mut reader = log.reader(0).unwrap();
    while let Some(entry) = reader.read().unwrap() {
        live.take(&[Arc::new(entry)], &|version| plan_of(0, version)).unwrap();
    }
    live.checkpoint().unwrap();
    let image = live.meters().next().unwrap().0.image();
    let read = |name: String| (name.clone(), read_all(&disk as &dyn Disk, &name).unwrap());
    (disk.names().into_iter().map(read).collect(), image)
}

fn changed(random: &mut Random, sound: &[u8]) -> Vec<u8> {
    let mut bytes = sound.to_vec();
    for _ in 0..=random.below(3) {
        if bytes.is_empty() {
            break;
        }
        let at = random.index(bytes.len());
        match random.below(6) {
            0 => bytes.truncate(at),
            1 => drop(bytes.remove(at)),
            2 => bytes.insert(at, random.number() as u8),
            3 => bytes[at] = [0, 1, 0x7f, 0x80, 0xff][random.index(5)],
            4 => {
                let end = (at + 9).min(bytes.len());
                bytes[at..end].fill(0xff);
            }
            _ => bytes[at] ^= 1 << random.below(8),
        }
    }
    bytes
}

#[test]
fn changed_bytes_are_reported_or_read_and_never_panic() {
    let (files, whole) = files();
    let mut random = Random::new(3);
    let chosen =
        |part: &str| files.iter().filter(|(name, _)| name.contains(part)).map(|(_, bytes)| bytes.clone()).collect::<Vec<_>>();
    let (mut segments, checkpoints) = (chosen(".seg"), chosen(".ckpt"));
    // A segment without entries is only a head.
    segments.retain(|bytes| bytes.len() > 32 + 60);
    let newest = checkpoints.last().unwrap();
    let body = &newest[9..newest.len() - 4];
    checkpoint(body);
    let at = body.windows(8).position(|window| window == b"FLOWIDS\0").unwrap();
    for _ in 0..20_000 {
        let sound = &segments[random.index(segments.len())];
        file(&changed(&mut random, sound));
        segment(&changed(&mut random, &sound[32..]));
        entry(&changed(&mut random, &sound[32 + 60..]));
        checkpoint(&changed(&mut random, body));
        image(&changed(&mut random, &whole));
        manifest(&changed(&mut random, &body[at..body.len() - 4]));
    }
    for bytes in [&b""[..], &[0xff; 40], &[0; 100]] {
        [segment, file, entry, checkpoint, image, manifest].iter().for_each(|decode| decode(bytes));
    }
}
