//! Letters with files of records, at a real mail server.

use std::collections::BTreeSet;
use std::path::Path;

use data_encoding::BASE64;
use flowmeter_engine::outbox::{Answer, Outgoing, Span, Target};
use serde_json::{Value, json};

use super::contract::{keeps_to_it, record, send, target};
use super::support::mail::MailServer;

fn yaml(port: u16, folder: &Path, scheme: &str, more: &str) -> String {
    let ca = folder.join("cert.pem");
    format!(
        "  - email:\n      smtp: {scheme}://127.0.0.1:{port}\n      username: flowmeter\n      password: s3cret\n      from: Billing <billing@example.com>\n      to: [finance@example.com, 'Ada <ada@example.com>']\n      tls: {{ ca: '${{file:{}}}' }}\n{more}",
        ca.display()
    )
}

fn open(mail: &MailServer, folder: &Path, more: &str) -> Box<dyn Target> {
    target(&yaml(mail.port, folder, "smtps", more), folder, &Value::Null)
}

/// Returns the rows of the CSV file of a letter, by the names of columns.
fn rows(letter: &Value) -> Vec<Vec<(String, String)>> {
    let bytes = BASE64.decode(letter["files"][0]["bytes"].as_str().unwrap().as_bytes()).unwrap();
    let mut reader = csv::Reader::from_reader(bytes.as_slice());
    let names: Vec<String> = reader.headers().unwrap().iter().map(str::to_owned).collect();
    let row = |row: csv::StringRecord| names.iter().cloned().zip(row.iter().map(str::to_owned)).collect();
    reader.records().map(|one| row(one.unwrap())).collect()
}

fn cell<'r>(row: &'r [(String, String)], name: &str) -> &'r str {
    row.iter().find(|(column, _)| column == name).map(|(_, text)| text.as_str()).unwrap()
}

#[test]
fn letters_keep_to_the_contract() {
    for scheme in ["smtps", "smtp"] {
        let folder = tempfile::tempdir().unwrap();
        let Some(mail) = MailServer::start("letters_keep_to_the_contract", folder.path(), scheme) else { return };
        let yaml = yaml(mail.port, folder.path(), scheme, "");
        let reopen = |memory: &Value| target(&yaml, folder.path(), memory);
        reopen(&Value::Null).probe().unwrap();
        let records = || {
            let rows = mail.letters().iter().flat_map(rows).collect::<Vec<_>>();
            rows.iter().map(|row| cell(row, "recordId").to_owned()).collect::<BTreeSet<_>>()
        };
        keeps_to_it(&reopen, None, &|| records().len());
        let letters = mail.letters();
        let ids: Vec<&str> = letters.iter().map(|letter| letter["id"].as_str().unwrap()).collect();
        assert_eq!(ids[1], ids[2], "a window that is sent again is the same letter");
        assert_eq!(rows(&letters[1]), rows(&letters[2]));
        let first = &letters[0];
        assert_eq!((&first["from"], &first["user"]), (&json!("Billing <billing@example.com>"), &json!("flowmeter")));
        assert_eq!(first["to"], "finance@example.com, Ada <ada@example.com>");
        assert_eq!(first["subject"], "Usage LLM tokens 2026-01");
        assert_eq!(first["files"][0]["name"], "LLM tokens_2026-01.csv");
        let text = |letter: &Value| letter["text"].as_str().unwrap().to_owned();
        assert!(text(first).contains("Sum of the values: more than 20 digits of tokens"), "{}", text(first));
        let last = &letters[letters.len() - 1];
        assert!(text(last).contains("Sum of the values: 12345678901234567890.123456789012345678 tokens"), "{}", text(last));
        let row = &rows(first)[0];
        assert_eq!((cell(row, "value"), cell(row, "pipeline")), ("12345678901234567890.123456789012345678", "p"));
        assert_eq!((cell(row, "period"), cell(row, "periodStartLocal")), ("2026-01", "2026-01-01T00:00:00"));
    }
}

#[test]
fn records_of_one_file_name_go_in_one_letter() {
    let folder = tempfile::tempdir().unwrap();
    let Some(mail) = MailServer::start("records_of_one_file_name_go_in_one_letter", folder.path(), "smtps") else { return };
    let more = "      file: '{userId}_{periodStart:%Y.%m}.xlsx'\n      subject: 'Usage of {userId}'\n";
    let mut target = open(&mail, folder.path(), more);
    assert_eq!(send(target.as_mut(), 0..7), vec![Answer::Accepted; 7]);
    let letters = mail.letters();
    let named: Vec<(&str, &str)> = letters
        .iter()
        .map(|letter| (letter["subject"].as_str().unwrap(), letter["files"][0]["name"].as_str().unwrap()))
        .collect();
    let expected = ["user0", "user1", "user2"]
        .map(|user| (format!("Usage of {user}@example.com"), format!("{user}@example.com_2026.01.xlsx")));
    assert_eq!(named, expected.iter().map(|(subject, name)| (subject.as_str(), name.as_str())).collect::<Vec<_>>());
    let workbook = BASE64.decode(letters[0]["files"][0]["bytes"].as_str().unwrap().as_bytes()).unwrap();
    assert!(workbook.starts_with(b"PK"), "a workbook is a ZIP archive");
}

#[test]
fn each_answer_of_the_mail_server_has_its_meaning() {
    let folder = tempfile::tempdir().unwrap();
    let Some(mut mail) = MailServer::start("each_answer_of_the_mail_server_has_its_meaning", folder.path(), "smtps") else {
        return;
    };
    let mut target = open(&mail, folder.path(), "");
    mail.answer("452 4.3.1 the disk is full");
    let busy = send(target.as_mut(), 0..2);
    assert!(matches!(&busy[1], Answer::Unavailable { why, .. } if why.contains("the disk is full")), "{busy:?}");
    mail.answer("554 5.7.1 no files of usage");
    let refused = send(target.as_mut(), 0..2);
    assert!(matches!(&refused[0], Answer::Refused(why) if why.contains("no files of usage")), "{refused:?}");
    mail.answer("hang up");
    let cut = send(target.as_mut(), 0..2);
    assert!(cut.iter().all(|answer| matches!(answer, Answer::Unavailable { .. })), "they stay in one letter: {cut:?}");
    assert_eq!(send(target.as_mut(), 0..2), vec![Answer::Accepted; 2]);
    let ids: BTreeSet<String> = mail.letters().iter().map(|letter| letter["id"].to_string()).collect();
    assert_eq!(ids.len(), 1, "each attempt is the same letter");

    // Records that are sent again on request go together, in a letter with an id of its own.
    let texts = [1, 3].map(|number| (number, record(number % 3, number)));
    let again: Vec<Outgoing<'_>> =
        texts.iter().map(|(number, text)| Outgoing { number: *number, json: text.as_bytes() }).collect();
    assert_eq!(target.send(Span { first: 1, until: 2 }, &again), vec![Answer::Accepted; 2]);
    let letters = mail.letters();
    let last = &letters[letters.len() - 1];
    assert!(rows(last).len() == 2 && !ids.contains(&last["id"].to_string()), "{}", last["id"]);

    let other = yaml(mail.port, folder.path(), "smtps", "").replace("s3cret", "guessed");
    let mut other = super::contract::target(&other, folder.path(), &Value::Null);
    let why = other.probe().unwrap_err();
    assert!(why.kind == flowmeter_engine::Kind::Invalid && why.to_string().contains("check `username` and `password`"), "{why}");
    assert!(matches!(send(other.as_mut(), 0..1)[0], Answer::Unavailable { .. }));
    assert!(other.needs_a_person());
    let unknown = yaml(mail.port, folder.path(), "smtps", "").replace("finance@", "unknown@");
    let mut unknown = super::contract::target(&unknown, folder.path(), &Value::Null);
    let answers = send(unknown.as_mut(), 0..1);
    assert!(matches!(&answers[0], Answer::Refused(why) if why.contains("no such mailbox")), "{answers:?}");
    let port = mail.port;
    drop(mail);
    let mut gone = super::contract::target(&yaml(port, folder.path(), "smtps", ""), folder.path(), &Value::Null);
    assert!(gone.probe().unwrap_err().to_string().contains("check `smtp` and `tls`"));
    assert!(matches!(send(gone.as_mut(), 0..1)[0], Answer::Unavailable { .. }));
}
