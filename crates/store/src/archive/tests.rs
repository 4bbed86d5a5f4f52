//! The archive, on a real folder and on a disk that fails.

mod failing;

use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use super::{Archive, Filter, Row, Settings, scan};
use crate::disk::{Disk, LocalDisk};
use crate::{Error, Kind};
use failing::FailingDisk;

const FOLDER: &str = "events/calls";
const SECOND: i64 = 1_000_000_000;

/// Small bounds, so that few events make several files and row groups.
fn small() -> Settings {
    Settings { file_rows_max: 100, row_group_rows: 30, ..Settings::default() }
}

fn disk() -> (tempfile::TempDir, Arc<dyn Disk>) {
    let folder = tempfile::tempdir().unwrap();
    let disk = LocalDisk::new(folder.path()).unwrap();
    (folder, Arc::new(disk))
}

/// The event that is archived at a position: a function of it, so that a replay has the same ones.
fn row(position: u64) -> Row {
    let at = position.cast_signed() * SECOND;
    let id = format!("id-{position}");
    Row {
        position,
        received_at: at,
        pipeline: "calls".into(),
        namespace: "default".into(),
        origin: "http".into(),
        line: position % 7,
        source: Some("/switch/1".into()),
        event_type: position.is_multiple_of(2).then(|| "call".into()),
        subject: Some(format!("user-{}", position % 5)),
        event_at: (!position.is_multiple_of(3)).then_some(at - 5),
        verdict: if position.is_multiple_of(10) { "parked" } else { "counted" }.into(),
        reason: position.is_multiple_of(10).then(|| "no_user".into()),
        detail: position.is_multiple_of(10).then(|| "no `subject` — no user present".into()),
        operator: None,
        raw: format!("{{\"id\":\"{id}\",\"subject\":\"Zoë 日本 🦀\"}}").into_bytes(),
        id: Some(id),
    }
}

fn append(archive: &mut Archive, positions: std::ops::Range<u64>) -> Result<(), Error> {
    positions.map(row).try_for_each(|row| archive.append(&row.event()))
}

fn rows(disk: &Arc<dyn Disk>, filter: Filter) -> Result<Vec<Row>, Error> {
    scan(Arc::clone(disk), FOLDER, filter)?.collect()
}

fn positions(disk: &Arc<dyn Disk>, filter: Filter) -> Vec<u64> {
    rows(disk, filter).unwrap().iter().map(|row| row.position).collect()
}

#[test]
fn every_column_comes_back() {
    let (_root, disk) = disk();
    let mut archive = Archive::open(Arc::clone(&disk), FOLDER, small()).unwrap();
    let empty = Row {
        position: 0,
        received_at: i64::MIN,
        pipeline: String::new(),
        namespace: String::new(),
        origin: String::new(),
        line: 0,
        id: None,
        source: None,
        event_type: None,
        subject: None,
        event_at: None,
        verdict: "rejected".into(),
        reason: None,
        detail: None,
        operator: None,
        raw: Vec::new(),
    };
    let full = Row {
        position: 1,
        received_at: i64::MAX,
        line: i64::MAX.cast_unsigned(),
        event_at: Some(-1),
        operator: Some("meter \u{0} \"x\"".into()),
        ..row(10)
    };
    let not_text = Row { position: 2, raw: vec![0xff, 0x00, b'{'], ..row(11) };
    let large = Row { position: 3, raw: vec![b'x'; 3 << 20], ..row(12) };
    let expected = [empty, full, not_text, large];
    for row in &expected {
        archive.append(&row.event()).unwrap();
    }
    archive.finish().unwrap();
    assert_eq!(rows(&disk, Filter::default()).unwrap(), expected);
}

#[test]
fn a_replay_writes_nothing_twice() {
    let (_root, disk) = disk();
    let mut archive = Archive::open(Arc::clone(&disk), FOLDER, small()).unwrap();
    assert_eq!(archive.next(), None);
    append(&mut archive, 7..250).unwrap();
    append(&mut archive, 7..250).unwrap();
    archive.finish().unwrap();
    let names = disk.list(FOLDER).unwrap();
    assert!(names[0].starts_with("00000000000000000007-00000000000000000106-"));
    assert_eq!(names.len(), 3);

    let mut archive = Archive::open(Arc::clone(&disk), FOLDER, small()).unwrap();
    assert_eq!(archive.next(), Some(250));
    append(&mut archive, 7..260).unwrap();
    archive.finish().unwrap();
    archive.finish().unwrap();
    assert_eq!(positions(&disk, Filter::default()), (7..260).collect::<Vec<_>>());
    assert!(disk.list(FOLDER).unwrap()[3].starts_with("00000000000000000250-00000000000000000259-"));
}

#[test]
fn unfinished_files_are_removed() {
    let (_root, disk) = disk();
    let mut archive = Archive::open(Arc::clone(&disk), FOLDER, small()).unwrap();
    append(&mut archive, 0..150).unwrap();
    assert_eq!((archive.next(), archive.next_durable()), (Some(150), Some(100)));
    drop(archive);
    assert!(disk.list(FOLDER).unwrap().iter().any(|name| name.ends_with(".new")));

    let archive = Archive::open(Arc::clone(&disk), FOLDER, small()).unwrap();
    assert_eq!(archive.next(), Some(100));
    assert_eq!(disk.list(FOLDER).unwrap().len(), 1);
    assert_eq!(positions(&disk, Filter::default()), (0..100).collect::<Vec<_>>());
}

#[test]
fn a_gap_is_refused_unless_it_is_said() {
    let (_root, disk) = disk();
    let mut archive = Archive::open(Arc::clone(&disk), FOLDER, small()).unwrap();
    append(&mut archive, 0..10).unwrap();
    assert_eq!(append(&mut archive, 20..30).unwrap_err().kind, Kind::Bug);
    append(&mut archive, 10..12).unwrap();
    archive.skip_to(5).unwrap();
    archive.skip_to(20).unwrap();
    append(&mut archive, 20..30).unwrap();
    archive.finish().unwrap();
    assert_eq!(positions(&disk, Filter::default()), (0..12).chain(20..30).collect::<Vec<_>>());
    let too_far = Row { position: 1 << 63, ..row(0) };
    archive.skip_to(too_far.position).unwrap();
    assert_eq!(archive.append(&too_far.event()).unwrap_err().kind, Kind::Bug);
}

#[test]
fn a_file_ends_at_its_bytes_too_and_always_at_the_same_place() {
    let names = || {
        let (_root, disk) = disk();
        let settings = Settings { file_bytes_max: 64 << 10, ..Settings::default() };
        let mut archive = Archive::open(Arc::clone(&disk), FOLDER, settings).unwrap();
        append(&mut archive, 0..20_000).unwrap();
        archive.finish().unwrap();
        disk.list(FOLDER).unwrap()
    };
    assert!(names().len() > 1);
    assert_eq!(names(), names());
}

type Wanted = Box<dyn Fn(&Row) -> bool>;

#[test]
fn a_filter_chooses() {
    let (_root, disk) = disk();
    let mut archive = Archive::open(Arc::clone(&disk), FOLDER, small()).unwrap();
    append(&mut archive, 0..1000).unwrap();
    archive.finish().unwrap();
    let all = Filter::default();
    let is = |text: &str| Some(text.to_owned());
    let cases: Vec<(Filter, Wanted)> = vec![
        (all.clone(), Box::new(|_| true)),
        (Filter::from_position(955), Box::new(|row| row.position >= 955)),
        (Filter { positions: Some(140..260), ..all.clone() }, Box::new(|row| (140..260).contains(&row.position))),
        (Filter { id: is("id-777"), ..all.clone() }, Box::new(|row| row.position == 777)),
        (Filter { id: is("unknown"), ..all.clone() }, Box::new(|_| false)),
        (Filter { subject: is("user-3"), ..all.clone() }, Box::new(|row| row.position % 5 == 3)),
        (Filter { verdict: is("parked"), ..all.clone() }, Box::new(|row| row.verdict == "parked")),
        (Filter { source: is("/switch/2"), ..all.clone() }, Box::new(|_| false)),
        (Filter { pipeline: is("calls"), ..all.clone() }, Box::new(|_| true)),
        (Filter { received_at: Some(50 * SECOND..60 * SECOND), ..all.clone() }, Box::new(|row| (50..60).contains(&row.position))),
        (
            Filter { event_at: Some(50 * SECOND - 5..60 * SECOND - 5), verdict: is("counted"), ..all },
            Box::new(|row| (50..60).contains(&row.position) && row.event_at.is_some() && row.verdict == "counted"),
        ),
    ];
    for (filter, wanted) in cases {
        let expected: Vec<Row> = (0..1000).map(row).filter(|row| wanted(row)).collect();
        assert_eq!(rows(&disk, filter.clone()).unwrap(), expected, "{filter:?}");
    }
}

#[test]
fn looking_up_an_id_reads_little() {
    let (_root, local) = disk();
    let failing = Arc::new(FailingDisk::new(Arc::clone(&local)));
    let disk: Arc<dyn Disk> = Arc::clone(&failing) as Arc<dyn Disk>;
    let settings = Settings { file_rows_max: 5000, row_group_rows: 5000, ..Settings::default() };
    let mut archive = Archive::open(Arc::clone(&disk), FOLDER, settings).unwrap();
    for position in 0..50_000_u64 {
        // Pseudo-random numbers, so that the events do not compress to nothing.
        let number =
            |nth: u64| (position * 8 + nth + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29).wrapping_mul(nth + 3);
        let raw = format!("{{\"data\":[{},{},{},{}]}}", number(0), number(1), number(2), number(3));
        archive.append(&Row { raw: raw.into_bytes(), ..row(position) }.event()).unwrap();
    }
    archive.finish().unwrap();
    let read = |filter: Filter| {
        let before = failing.read_bytes();
        (positions(&disk, filter), failing.read_bytes() - before)
    };
    let (_, whole) = read(Filter { verdict: Some("parked".into()), ..Filter::default() });
    let (found, lookup) = read(Filter { id: Some("id-31415".into()), ..Filter::default() });
    assert_eq!(found, [31415]);
    assert!(lookup * 3 < whole, "{lookup} bytes of {whole}");
}

#[test]
fn retention_by_size_takes_the_oldest() {
    let (_root, disk) = disk();
    let mut archive = Archive::open(Arc::clone(&disk), FOLDER, small()).unwrap();
    append(&mut archive, 0..450).unwrap();
    archive.finish().unwrap();
    let half = archive.bytes() / 2;
    let settings = Settings { retention_bytes: Some(half), ..small() };
    let mut archive = Archive::open(Arc::clone(&disk), FOLDER, settings).unwrap();
    let removed = archive.retain(0).unwrap();
    assert!(removed[0].starts_with("00000000000000000000-00000000000000000099-"));
    assert!(archive.bytes() <= half);
    assert_eq!(positions(&disk, Filter::default()), (removed.len() as u64 * 100..450).collect::<Vec<_>>());
    assert_eq!(archive.retain(0).unwrap(), Vec::<String>::new());
}

#[test]
fn retention_by_age_takes_what_is_older_and_remembers_the_position() {
    let (_root, disk) = disk();
    let settings = Settings { retention_age: Some(60 * SECOND.cast_unsigned()), ..small() };
    let mut archive = Archive::open(Arc::clone(&disk), FOLDER, settings.clone()).unwrap();
    append(&mut archive, 0..300).unwrap();
    // The first file's last event was received at second 99.
    assert_eq!(archive.retain(159 * SECOND).unwrap().len(), 0);
    assert_eq!(archive.retain(160 * SECOND).unwrap().len(), 1);
    assert_eq!(archive.retain(1000 * SECOND).unwrap().len(), 2);
    assert_eq!(disk.list(FOLDER).unwrap(), ["next"]);

    let mut archive = Archive::open(Arc::clone(&disk), FOLDER, settings).unwrap();
    assert_eq!(archive.next(), Some(300));
    append(&mut archive, 0..310).unwrap();
    archive.finish().unwrap();
    assert_eq!(positions(&disk, Filter::default()), (300..310).collect::<Vec<_>>());
}

#[test]
fn a_scan_passes_over_what_retention_takes() {
    let (_root, disk) = disk();
    let settings = Settings { retention_bytes: Some(0), ..small() };
    let mut archive = Archive::open(Arc::clone(&disk), FOLDER, settings).unwrap();
    append(&mut archive, 0..300).unwrap();
    let mut scan = archive.scan(Filter::default()).unwrap();
    assert_eq!(scan.next().unwrap().unwrap().position, 0);
    archive.retain(0).unwrap();
    assert!(scan.all(|row| row.is_ok_and(|row| row.position < 100)));
}

#[test]
fn changed_bytes_are_reported() {
    let (root, disk) = disk();
    let mut archive = Archive::open(Arc::clone(&disk), FOLDER, small()).unwrap();
    append(&mut archive, 0..70).unwrap();
    archive.finish().unwrap();
    let name = disk.list(FOLDER).unwrap().remove(0);
    let path = root.path().join(FOLDER).join(&name);
    let good = std::fs::read(&path).unwrap();
    // Every byte is covered; testing every third keeps the test short.
    for at in (0..good.len()).step_by(3) {
        let mut bad = good.clone();
        bad[at] ^= 0x10;
        std::fs::write(&path, &bad).unwrap();
        let why = rows(&disk, Filter::default()).unwrap_err();
        // A changed byte of the format's number makes another format.
        assert!(matches!(why.kind, Kind::Corrupt | Kind::Format) && why.to_string().contains(&name), "byte {at}: {why}");
        // Row groups that are skipped are not verified; but none is skipped wrongly.
        let found = rows(&disk, Filter { id: Some("id-42".into()), ..Filter::default() });
        assert!(found.is_err() || found.unwrap() == [row(42)], "byte {at}");
    }
    for length in [0, 3, 11, good.len() / 2, good.len() - 1] {
        std::fs::write(&path, &good[..length]).unwrap();
        assert_eq!(rows(&disk, Filter::default()).unwrap_err().kind, Kind::Corrupt, "{length} bytes");
    }
}

#[test]
fn files_that_overlap_and_names_that_lie_are_told() {
    let (root, disk) = disk();
    let mut archive = Archive::open(Arc::clone(&disk), FOLDER, small()).unwrap();
    append(&mut archive, 0..10).unwrap();
    archive.finish().unwrap();
    let folder = root.path().join(FOLDER);
    let checksum = disk.list(FOLDER).unwrap()[0][41..].to_owned();
    let name = |first: u64, last: u64| folder.join(format!("{first:020}-{last:020}{checksum}"));
    std::fs::write(folder.join("notes.parquet"), "not ours").unwrap();
    std::fs::copy(name(0, 9), name(5, 14)).unwrap();
    assert_eq!(Archive::open(Arc::clone(&disk), FOLDER, small()).err().unwrap().kind, Kind::Corrupt);
    for (first, last) in [(0, 8), (10, 19)] {
        std::fs::remove_file(name(5, 14)).ok();
        std::fs::rename(name(0, 9), name(first, last)).unwrap();
        assert_eq!(rows(&disk, Filter::default()).unwrap_err().kind, Kind::Corrupt);
        std::fs::rename(name(first, last), name(0, 9)).unwrap();
    }
}

/// After any failure, opening the archive again and appending from its next position stores every
/// event once.
#[test]
fn no_failure_loses_or_doubles() {
    let mut failed = Vec::new();
    for fails_at in 0.. {
        let (_root, local) = disk();
        let failing = Arc::new(FailingDisk::new(Arc::clone(&local)));
        failing.fail_at(fails_at);
        let disk = Arc::clone(&failing) as Arc<dyn Disk>;
        let mut wrote = || {
            let mut archive = Archive::open(Arc::clone(&disk), FOLDER, Settings { retention_bytes: Some(1), ..small() })?;
            if let Err(why) = append(&mut archive, 0..250).and_then(|()| archive.finish()) {
                // Without opening it again, the archive either continues from its next position or
                // refuses.
                failed.push(why.kind);
                let next = archive.next().unwrap_or_default();
                match append(&mut archive, next..250).and_then(|()| archive.finish()) {
                    Ok(()) => assert_eq!(positions(&local, Filter::default()), (0..250).collect::<Vec<_>>()),
                    Err(why) => assert_eq!(why.kind, Kind::Poisoned),
                }
                return Err(why);
            }
            archive.retain(0)
        };
        let outcome = wrote();
        let done = outcome.is_ok() && !failing.has_failed();
        let mut archive = Archive::open(Arc::clone(&local), FOLDER, small()).unwrap();
        let next = archive.next().unwrap_or_default();
        append(&mut archive, next..300).unwrap();
        archive.finish().unwrap();
        let found = positions(&local, Filter::default());
        assert_eq!(found, (found[0]..300).collect::<Vec<_>>(), "failure at {fails_at}");
        if done {
            break;
        }
    }
    assert!(failed.contains(&Kind::Full) && failed.len() > 10, "{failed:?}");
}

#[test]
fn a_disk_that_does_not_read_is_not_a_corrupt_file() {
    let (_root, local) = disk();
    let mut archive = Archive::open(Arc::clone(&local), FOLDER, small()).unwrap();
    append(&mut archive, 0..70).unwrap();
    archive.finish().unwrap();
    let failing = Arc::new(FailingDisk::new(local));
    let disk = Arc::clone(&failing) as Arc<dyn Disk>;
    for fails_at in 0.. {
        failing.fail_read_at(fails_at);
        match rows(&disk, Filter { id: Some("id-42".into()), ..Filter::default() }) {
            Ok(found) => {
                assert!(found.len() == 1 && fails_at > 5);
                break;
            }
            Err(why) => assert_eq!(why.kind, Kind::Unavailable, "read {fails_at}: {why}"),
        }
    }
}

/// DuckDB can read the files, where Python has it.
#[test]
fn duckdb_reads_it() {
    let (root, disk) = disk();
    let mut archive = Archive::open(Arc::clone(&disk), FOLDER, small()).unwrap();
    append(&mut archive, 0..250).unwrap();
    archive.finish().unwrap();
    let query = "SELECT verdict, count(*) FROM read_parquet('{}/*.parquet') GROUP BY ALL ORDER BY ALL";
    let Some(answer) = duckdb(&root.path().join(FOLDER), query) else { return };
    assert_eq!(answer, "[('counted', 225), ('parked', 25)]");
    let query = "SELECT position, epoch_ns(received_at), epoch_ns(event_at), subject, raw->>'subject' \
                 FROM read_parquet('{}/*.parquet') WHERE id = 'id-104'";
    let answer = duckdb(&root.path().join(FOLDER), query).unwrap();
    assert_eq!(answer, "[(104, 104000000000, 103999999995, 'user-4', 'Zoë 日本 🦀')]");
}

fn duckdb(folder: &Path, query: &str) -> Option<String> {
    let query = query.replace("{}", &folder.display().to_string());
    let python = |code: &str| Command::new("python3").args(["-c", code, &query]).output();
    if !python("import duckdb").is_ok_and(|run| run.status.success()) {
        eprintln!("skipped: python3 with the module duckdb is not here, so nothing but this program read the files");
        return None;
    }
    let run = python("import duckdb, sys; print(duckdb.sql(sys.argv[1]).fetchall())").unwrap();
    assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
    Some(String::from_utf8(run.stdout).unwrap().trim().to_owned())
}

/// Indexes by a path beside the subject: the number of an event modulo 50.
fn indexed(disk: &Arc<dyn Disk>) -> Archive {
    let mut archive = Archive::open(Arc::clone(disk), FOLDER, small()).unwrap();
    archive.index_by(&["data.user".to_owned()]).unwrap();
    archive
}

fn append_indexed(archive: &mut Archive, positions: std::ops::Range<u64>) -> Result<(), Error> {
    positions.map(row).try_for_each(|row| {
        let user = (row.position % 50).to_string();
        archive.append_with(&row.event(), &[Some(&user).filter(|user| **user != "7").map(String::as_str)])
    })
}

fn user(user: &str) -> Filter {
    Filter { hints: vec![("data.user".to_owned(), user.to_owned())], ..Filter::default() }
}

fn subject(subject: &str) -> Filter {
    Filter { subject: Some(subject.to_owned()), ..Filter::default() }
}

#[test]
fn an_index_finds_the_rows_of_a_value_and_changes_no_result() {
    let (root, disk) = disk();
    let mut archive = indexed(&disk);
    append_indexed(&mut archive, 3..1003).unwrap();
    archive.finish().unwrap();
    let of_user = |user: u64| (3..1003).filter(|position| position % 50 == user).collect::<Vec<u64>>();
    let of_subject: Vec<u64> = (3..1003).filter(|position| position % 5 == 2).collect();
    assert_eq!(positions(&disk, user("12")), of_user(12));
    assert_eq!(positions(&disk, Filter { verdict: Some("parked".into()), ..user("20") }), of_user(20));
    assert_eq!(positions(&disk, Filter { positions: Some(100..300), ..user("12") }), [112, 162, 212, 262]);
    assert_eq!(positions(&disk, user("7")), Vec::<u64>::new(), "it has no value there");
    assert_eq!(positions(&disk, user("unknown")), Vec::<u64>::new());
    assert_eq!(positions(&disk, subject("user-2")), of_subject);
    // A path that no index has leaves nothing out.
    let other = Filter { hints: vec![("data.other".to_owned(), "1".to_owned())], ..Filter::default() };
    assert_eq!(positions(&disk, other).len(), 1000);
    // Damaged, shortened and missing indexes are not used.
    let folder = root.path().join(FOLDER).join(super::INDEX_FOLDER);
    let names: Vec<_> = std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert_eq!(names.len(), 20, "two of each file");
    for name in &names {
        let whole = std::fs::read(name).unwrap();
        for damaged in [[&whole[..12], &[whole[12] ^ 1], &whole[13..]].concat(), whole[..whole.len() / 2].to_vec()] {
            std::fs::write(name, damaged).unwrap();
            assert_eq!(positions(&disk, subject("user-2")), of_subject);
            let found = positions(&disk, user("12"));
            assert!(of_user(12).iter().all(|position| found.contains(position)));
        }
        std::fs::remove_file(name).unwrap();
    }
    assert_eq!(positions(&disk, subject("user-2")), of_subject);
    assert_eq!(positions(&disk, user("12")).len(), 1000, "the reader compares the events");
    // They are made again.
    drop(archive);
    let mut archive = indexed(&disk);
    let mut values = |row: &Row| vec![Some((row.position % 50).to_string())];
    assert!(archive.index_one(&mut values, &|| false).unwrap());
    while archive.index_one(&mut values, &|| true).unwrap() {}
    assert_eq!(std::fs::read_dir(&folder).unwrap().count(), 20);
    assert_eq!(positions(&disk, user("12")), of_user(12));
}

#[test]
fn indexes_go_with_their_files() {
    let (root, disk) = disk();
    let settings = Settings { retention_bytes: Some(0), ..small() };
    let mut archive = Archive::open(Arc::clone(&disk), FOLDER, settings).unwrap();
    append(&mut archive, 0..250).unwrap();
    archive.finish().unwrap();
    let indexes = || disk.list(&format!("{FOLDER}/{}", super::INDEX_FOLDER)).unwrap().len();
    assert_eq!(indexes(), 3);
    archive.retain(0).unwrap();
    assert_eq!(indexes(), 0);
    append(&mut archive, 250..350).unwrap();
    let name = disk.list(FOLDER).unwrap().into_iter().find(|name| name.ends_with(".parquet")).unwrap();
    std::fs::remove_file(root.path().join(FOLDER).join(name)).unwrap();
    drop(Archive::open(Arc::clone(&disk), FOLDER, small()).unwrap());
    assert_eq!(indexes(), 0);
}

#[test]
fn the_keys_of_events_in_no_file_are_known_to_readers() {
    let (_root, disk) = disk();
    let mut archive = indexed(&disk);
    let recent = archive.recent();
    let of = |path: &str, value: &str, from: u64| recent.positions(&[(path, value)], from);
    append_indexed(&mut archive, 0..130).unwrap();
    assert_eq!(of("subject", "user-2", 100), None, "not published");
    archive.publish();
    assert_eq!(of("data.user", "12", 100), Some((vec![112], 130)));
    assert_eq!(of("data.user", "12", 113), Some((vec![], 130)));
    assert_eq!(of("subject", "user-2", 120), Some((vec![122, 127], 130)));
    assert_eq!(recent.positions(&[("subject", "user-2"), ("data.user", "1")], 100).unwrap().0.len(), 7);
    assert_eq!(of("data.user", "12", 99), None, "that event is in a file");
    assert_eq!(of("data.other", "12", 100), None);
    append_indexed(&mut archive, 130..150).unwrap();
    archive.publish();
    assert_eq!(of("data.user", "38", 100), Some((vec![138], 150)));
    archive.finish().unwrap();
    assert_eq!(of("data.user", "12", 150), None);
    // Other paths begin another file.
    append_indexed(&mut archive, 150..160).unwrap();
    archive.index_by(&[]).unwrap();
    assert_eq!(archive.next_durable(), Some(160));
    append(&mut archive, 160..170).unwrap();
    archive.publish();
    assert_eq!(of("data.user", "12", 160), None);
    assert_eq!(of("subject", "user-3", 160), Some((vec![163, 168], 170)));
}
