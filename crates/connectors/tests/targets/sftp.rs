//! The SFTP target, with a real OpenSSH server and with a lying peer.

mod peer;

use std::fs;
use std::path::Path;

use flowmeter_connectors::Abandon;
use flowmeter_engine::Kind;
use flowmeter_engine::outbox::{Answer, Held, Target};
use serde_json::Value;

use self::peer::{Lie, Peer};
use super::contract::{held, keeps_to_it, record, send, target, with_switch};
use super::support::sshd::Sshd;

const PATH: &str = "in/{meterType}/{window}.ndjson";

fn yaml(sshd: &Sshd, host_key: &str, more: &str) -> String {
    let (port, user, key) = (sshd.port, &sshd.user, sshd.key());
    format!(
        "  - sftp: {{ host: 127.0.0.1, port: {port}, user: {user}, key: '${{file:{key}}}', hostKey: '{host_key}', path: '{PATH}', timeout: 10s{more} }}"
    )
}

fn open(yaml: &str) -> Box<dyn Target> {
    target(yaml, Path::new("."), &Value::Null)
}

fn probed(yaml: &str) -> Result<(), (Kind, String)> {
    open(yaml).probe().map_err(|why| (why.kind, why.to_string()))
}

/// Returns the names in a folder, sorted.
fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap().flatten();
    let mut names: Vec<String> = entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

#[test]
fn files_keep_to_the_contract() {
    let Some(sshd) = Sshd::start("files_keep_to_the_contract (SFTP)") else { return };
    let yaml = yaml(&sshd, &sshd.fingerprint("host"), "");
    let reopen = |_: &Value| open(&yaml);
    // Existing records are counted by reading them back.
    let count = || {
        let held = held(open(&yaml).as_mut(), 0..20).unwrap();
        held.iter().filter(|held| **held == Held::Same).count()
    };
    let folder = sshd.files().join("in/LLM tokens");
    let lose = || fs::remove_file(folder.join("000000000000.ndjson")).unwrap();
    keeps_to_it(&reopen, Some(&lose), &count);
    let expected = [1, 2, 10, 15].map(|first| format!("{first:012}.ndjson"));
    assert_eq!(names(&folder), expected, "no part is left");
    let written = fs::read_to_string(folder.join(&expected[3])).unwrap();
    assert_eq!(written, format!("{}\n", record(0, 15)));
}

#[test]
fn a_connection_is_kept_and_replaced_when_the_server_was_away() {
    let Some(sshd) = Sshd::start("a_connection_is_kept") else { return };
    let mut target = open(&yaml(&sshd, &sshd.fingerprint("host"), ""));
    target.probe().unwrap();
    for number in 0..5 {
        assert_eq!(send(target.as_mut(), number..number + 1), [Answer::Accepted]);
    }
    assert_eq!(held(target.as_mut(), 0..5), Some(vec![Held::Same; 5]));
    assert_eq!(sshd.connections(), 1);
    sshd.kill();
    sshd.go();
    assert_eq!(send(target.as_mut(), 5..6), [Answer::Accepted], "the connection was closed in between");
    assert_eq!(sshd.connections(), 2);
    sshd.kill();
    let answers = send(target.as_mut(), 6..7);
    let [Answer::Unavailable { why, .. }] = &answers[..] else { panic!("{answers:?}") };
    assert!(why.starts_with(&format!("sftp 127.0.0.1:{}: ", sshd.port)), "{why}");
    assert!(!target.needs_a_person());
    sshd.go();
    assert_eq!(send(target.as_mut(), 6..7), [Answer::Accepted]);
}

#[test]
fn the_records_of_a_server_that_is_killed_in_the_middle_are_there_once() {
    let Some(sshd) = Sshd::start("a_server_that_is_killed_in_the_middle") else { return };
    let mut target = open(&yaml(&sshd, &sshd.fingerprint("host"), ""));
    // About 3 MB.
    let window = 0..4_000;
    for bytes in [1_000, 10_000, 1_000_000, 2_000_000] {
        sshd.kill_after(bytes);
        let answers = send(target.as_mut(), window.clone());
        assert!(matches!(answers[0], Answer::Unavailable { .. }), "after {bytes}: {:?}", answers[0]);
        sshd.go();
    }
    let folder = sshd.files().join("in/LLM tokens");
    assert_eq!(names(&folder), [".000000000000.ndjson.part"], "nothing is visible before it is whole");
    assert_eq!(send(target.as_mut(), window.clone()), vec![Answer::Accepted; 4_000]);
    assert_eq!(names(&folder), ["000000000000.ndjson"]);
    assert_eq!(fs::read_to_string(folder.join("000000000000.ndjson")).unwrap().lines().count(), 4_000);
    assert_eq!(held(target.as_mut(), window), Some(vec![Held::Same; 4_000]));
}

#[test]
fn stale_parts_are_replaced_and_files_never() {
    let Some(sshd) = Sshd::start("stale_parts_are_replaced") else { return };
    let mut target = open(&yaml(&sshd, &sshd.fingerprint("host"), ""));
    let folder = sshd.files().join("in/LLM tokens");
    fs::create_dir_all(&folder).unwrap();
    let (part, file) = (folder.join(".000000000000.ndjson.part"), folder.join("000000000000.ndjson"));
    // A part of a crash, longer than the file.
    fs::write(&part, vec![b'x'; 100_000]).unwrap();
    assert_eq!(send(target.as_mut(), 0..3), vec![Answer::Accepted; 3]);
    let whole = fs::read(&file).unwrap();
    assert_eq!(whole.iter().filter(|byte| **byte == b'\n').count(), 3);
    // A crash between the link and the removal of the part.
    fs::hard_link(&file, &part).unwrap();
    assert_eq!(send(target.as_mut(), 0..3), vec![Answer::Accepted; 3]);
    assert_eq!(names(&folder), ["000000000000.ndjson"]);
    // A part that is a link to a file of another program.
    fs::rename(&file, folder.join("kept")).unwrap();
    fs::hard_link(folder.join("kept"), &part).unwrap();
    assert_eq!(send(target.as_mut(), 0..2), vec![Answer::Accepted; 2]);
    assert_eq!(fs::read(folder.join("kept")).unwrap(), whole, "what the part was linked to is as it was");
    // A file with other content.
    fs::write(folder.join("000000000005.ndjson"), "something else\n").unwrap();
    let answers = send(target.as_mut(), 5..7);
    assert!(
        matches!(&answers[..], [Answer::Refused(why), Answer::Refused(_)] if why.contains("000000000005.ndjson is there")),
        "{answers:?}"
    );
    assert_eq!(fs::read_to_string(folder.join("000000000005.ndjson")).unwrap(), "something else\n");
    // A folder in place of a file.
    fs::create_dir(folder.join("000000000009.ndjson")).unwrap();
    assert!(!send(target.as_mut(), 9..10).contains(&Answer::Accepted));
}

#[test]
fn a_wrong_host_key_is_refused_with_the_fingerprint_of_the_server() {
    let Some(sshd) = Sshd::start("a_wrong_host_key") else { return };
    sshd.make_key("other", "ed25519", "");
    let (right, wrong) = (sshd.fingerprint("host"), sshd.fingerprint("other"));
    let mut target = open(&yaml(&sshd, &wrong, ""));
    let why = target.probe().unwrap_err();
    assert_eq!(why.kind, Kind::Invalid);
    let why = why.to_string();
    for expected in [format!("{right} (ssh-ed25519)"), format!("ssh-keyscan -p {} 127.0.0.1 | ssh-keygen -lf -", sshd.port)] {
        assert!(why.contains(&expected), "{why}");
    }
    assert!(matches!(send(target.as_mut(), 0..1)[..], [Answer::Unavailable { .. }]));
    assert!(target.needs_a_person());
    assert_eq!(names(&sshd.files()), Vec::<String>::new());
    // Several keys, while one is replaced.
    let list = yaml(&sshd, "LIST", "").replace("'LIST'", &format!("['{wrong}', '{right}']"));
    assert_eq!(probed(&list), Ok(()));
    let known = sshd.known_host();
    assert_eq!(probed(&yaml(&sshd, &known, "")), Ok(()));
    sshd.change_host_key("ed25519");
    let (kind, why) = probed(&yaml(&sshd, &known, "")).unwrap_err();
    assert!(kind == Kind::Invalid && why.contains(&sshd.fingerprint("host")), "{why}");
}

#[test]
fn keys_of_every_kind_are_taken() {
    let Some(sshd) = Sshd::start("keys_of_every_kind_are_taken") else { return };
    for (kind, passphrase) in [("ecdsa", ""), ("rsa", ""), ("ed25519", "open sesame"), ("rsa", "open sesame")] {
        let name = format!("{kind}-{}", passphrase.len());
        let key = sshd.make_key(&name, kind, passphrase);
        sshd.authorize(&name);
        if passphrase.is_empty() {
            sshd.change_host_key(kind);
        }
        for host_key in [sshd.fingerprint("host"), sshd.known_host()] {
            let more = if passphrase.is_empty() { String::new() } else { format!(", passphrase: {passphrase}") };
            let yaml = yaml(&sshd, &host_key, &more).replace(&sshd.key(), &key);
            assert_eq!(probed(&yaml), Ok(()), "{kind} {passphrase}");
        }
    }
}

#[test]
fn a_login_that_is_refused_needs_a_person() {
    let Some(sshd) = Sshd::start("a_login_that_is_refused") else { return };
    let stranger = sshd.make_key("stranger", "ed25519", "");
    let right = yaml(&sshd, &sshd.fingerprint("host"), "");
    for (label, yaml) in [
        ("another key", right.replace(&sshd.key(), &stranger)),
        ("another user", right.replace(&format!("user: {}", sshd.user), "user: no-such-user")),
        ("a password where keys are wanted", right.replace(&format!("key: '${{file:{}}}'", sshd.key()), "password: x")),
    ] {
        let (kind, why) = probed(&yaml).unwrap_err();
        assert_eq!(kind, Kind::Invalid, "{label}: {why}");
        assert!(why.contains("is refused; the server takes: publickey; check `user`"), "{label}: {why}");
    }
    let (kind, why) = probed(&right.replace(&format!("port: {}", sshd.port), "port: 1")).unwrap_err();
    assert!(kind == Kind::Unavailable && why.starts_with("sftp 127.0.0.1:1: no connection: "), "{why}");
}

#[test]
fn a_folder_is_made_before_records_are_sent_or_the_reason_is_reported() {
    let Some(sshd) = Sshd::start("a_folder_is_made_before_records_are_sent") else { return };
    let yaml = |path: &str| yaml(&sshd, &sshd.fingerprint("host"), "").replace(PATH, path);
    assert_eq!(probed(&yaml("a/b/{window}.csv")), Ok(()));
    assert!(sshd.files().join("a/b").is_dir());
    assert_eq!(probed(&yaml("{window}.csv")), Ok(()));
    fs::write(sshd.files().join("taken"), "a file").unwrap();
    for path in ["taken/{window}.csv", "taken/deep/{window}.csv"] {
        let (kind, why) = probed(&yaml(path)).unwrap_err();
        assert_eq!(kind, Kind::Invalid, "{why}");
        assert!(why.contains("taken"), "{why}");
    }
    // CSV in the folder of the login.
    let mut target = open(&yaml("{meterType}-{window}.csv"));
    assert_eq!(send(target.as_mut(), 0..2), vec![Answer::Accepted; 2]);
    assert!(fs::read_to_string(sshd.files().join("LLM tokens-000000000000.csv")).unwrap().starts_with("id,userId,"));
    assert_eq!(held(target.as_mut(), 0..3), Some(vec![Held::Same, Held::Same, Held::Missing]));
}

fn of_peer(peer: &Peer, password: &str) -> String {
    let (port, host_key) = (peer.port, &peer.host_key);
    format!(
        "  - sftp: {{ host: 127.0.0.1, port: {port}, user: me, password: {password}, hostKey: '{host_key}', path: '{PATH}', timeout: 2s }}"
    )
}

#[test]
fn a_password_is_sent_also_to_a_server_that_asks_for_it() {
    for asks in [false, true] {
        let peer = Peer::start(asks);
        assert_eq!(probed(&of_peer(&peer, peer::PASSWORD)), Ok(()), "asks: {asks}");
        let (kind, why) = probed(&of_peer(&peer, "other")).unwrap_err();
        assert_eq!(kind, Kind::Invalid, "{why}");
        assert!(why.contains("the login `me` is refused"), "{why}");
    }
}

#[test]
fn a_peer_that_lies_makes_no_record_disappear_or_appear_twice() {
    for lie in [
        Lie::RenamesAndReportsAFailure,
        Lie::ReportsAFailureOfWrites,
        Lie::LosesTheEndOfWrites,
        Lie::CutsTheConnectionAtTheRename,
        Lie::NeverAnswersTheRename,
        Lie::ForgetsThatTheNameIsTaken,
    ] {
        let peer = Peer::start(false);
        let mut target = open(&of_peer(&peer, peer::PASSWORD));
        assert_eq!(send(target.as_mut(), 0..3), vec![Answer::Accepted; 3], "{lie:?}");
        peer.lie(lie);
        let answers = send(target.as_mut(), 3..6);
        send(target.as_mut(), 3..6);
        peer.tell_the_truth();
        if lie == Lie::LosesTheEndOfWrites {
            // The file is visible and not whole: a person must move it away.
            assert!(matches!(&answers[0], Answer::Unavailable { why, .. } if why.contains("bytes after")), "{answers:?}");
            assert!(matches!(&send(target.as_mut(), 3..6)[0], Answer::Refused(why) if why.contains("move it away")));
            peer.remove("in/LLM tokens/000000000003.ndjson");
        }
        assert_eq!(send(target.as_mut(), 3..6), vec![Answer::Accepted; 3], "{lie:?}");
        assert_eq!(held(target.as_mut(), 0..6), Some(vec![Held::Same; 6]), "{lie:?}");
        let files = peer.files();
        assert_eq!(files.keys().map(String::as_str).collect::<Vec<_>>(), FILES, "{lie:?}");
        assert_eq!(files.values().flatten().filter(|byte| **byte == b'\n').count(), 6, "{lie:?}");
    }
}

#[test]
fn files_of_a_server_without_extensions_keep_to_the_contract() {
    let peer = Peer::start(false);
    let yaml = of_peer(&peer, peer::PASSWORD);
    let count = || {
        let held = held(open(&yaml).as_mut(), 0..20).unwrap();
        held.iter().filter(|held| **held == Held::Same).count()
    };
    keeps_to_it(&|_: &Value| open(&yaml), Some(&|| peer.remove(FILES[0])), &count);
}

const FILES: [&str; 2] = ["in/LLM tokens/000000000000.ndjson", "in/LLM tokens/000000000003.ndjson"];

#[test]
fn answers_of_a_lying_peer_are_bounded_and_reported() {
    for (lie, expected) in [
        (Lie::SendsMoreThanWasAskedFor, "more bytes than were asked for"),
        (Lie::SendsWithoutEnd, "more than 268435456 bytes"),
        (Lie::DeniesEverything, "Permission denied (no entry)"),
    ] {
        let peer = Peer::start(false);
        let mut target = open(&of_peer(&peer, peer::PASSWORD));
        assert_eq!(send(target.as_mut(), 0..3), vec![Answer::Accepted; 3]);
        peer.lie(lie);
        let answers = send(target.as_mut(), 0..3);
        assert!(matches!(&answers[0], Answer::Unavailable { why, .. } if why.contains(expected)), "{lie:?}: {answers:?}");
        assert_eq!(target.needs_a_person(), lie == Lie::DeniesEverything);
        peer.tell_the_truth();
        assert_eq!(send(target.as_mut(), 0..3), vec![Answer::Accepted; 3], "{lie:?}");
    }
    // Short answers are no lie.
    let peer = Peer::start(false);
    let mut target = open(&of_peer(&peer, peer::PASSWORD));
    peer.lie(Lie::SendsAFewBytesAtATime);
    assert_eq!(send(target.as_mut(), 0..200), vec![Answer::Accepted; 200]);
    assert_eq!(held(target.as_mut(), 0..200), Some(vec![Held::Same; 200]));
}

#[test]
fn a_server_without_an_answer_is_unavailable() {
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let peer = Peer::start(false);
    let port = format!("port: {}", silent.local_addr().unwrap().port());
    let yaml = of_peer(&peer, peer::PASSWORD).replace(&format!("port: {}", peer.port), &port);
    let (kind, why) = probed(&yaml).unwrap_err();
    assert!(kind == Kind::Unavailable && why.ends_with("no answer within 2 s"), "{why}");
}

#[test]
fn a_server_that_hangs_is_given_up() {
    let peer = Peer::start(false);
    let abandon = Abandon::default();
    let yaml = of_peer(&peer, peer::PASSWORD).replace("timeout: 2s", "timeout: 10m");
    let mut target = with_switch(&yaml, Path::new("."), &Value::Null, &abandon);
    target.probe().unwrap();
    peer.lie(Lie::NeverAnswersTheRename);
    let hangs = peer.hangs();
    let asking = std::thread::spawn(move || {
        hangs.recv().unwrap();
        abandon.ask();
    });
    let answers = send(target.as_mut(), 0..3);
    asking.join().unwrap();
    assert!(matches!(&answers[0], Answer::Unavailable { why, .. } if why.contains("given up")), "{answers:?}");
}
