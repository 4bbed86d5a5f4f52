//! Encodes commands and decodes them again.

use super::*;
use crate::StateChoice;

fn every_command() -> Vec<LogCommand> {
    let pipeline = Uuid::from_u128(1);
    let custom_fields = r#"{"rate":1842.00000000000000025,"big":12345678901234567890123}"#;
    let meter = MeterName {
        user_id: "ann".to_owned(),
        meter_type_id: Uuid::from_u128(2),
        meter_key: Uuid::from_u128(3),
        id: Some(Uuid::from_u128(4)),
        delete_on_reset: true,
        custom_fields: serde_json::from_str(custom_fields).unwrap(),
        limits: serde_json::Map::new(),
        timezone: None,
        created_at: Some(i64::MAX),
    };
    vec![
        LogCommand::Tick,
        LogCommand::Flush { pipeline },
        LogCommand::Open { pipeline, meter: meter.clone() },
        LogCommand::Edit { pipeline, meter: meter.clone() },
        LogCommand::Delete { pipeline, meter },
        LogCommand::Forget { pipeline, meter_type: Uuid::from_u128(2) },
        LogCommand::Listen { pipeline, listens: true },
        LogCommand::Table { pipeline, table: "plans".to_owned(), content: TableVersion { version: 3, hash: "ab".to_owned() } },
        LogCommand::Adopt { pipeline, version: u32::MAX, document: None, state: StateChoices::new() },
        LogCommand::Adopt {
            pipeline,
            version: 2,
            document: None,
            state: StateChoices::from([("hours".to_owned(), StateChoice::Release), ("pairs".to_owned(), StateChoice::Forget)]),
        },
        LogCommand::Change {
            commands: vec![LogCommand::Listen { pipeline, listens: false }],
            rows: vec![CatalogRow { table: "audit".to_owned(), key: "00ff".to_owned(), value: None }],
        },
    ]
}

#[test]
fn every_command_is_read_as_it_was_written() {
    for command in every_command() {
        assert_eq!(LogCommand::read(&command.to_json()).unwrap(), command);
    }
}

#[test]
fn an_adoption_of_an_older_program_has_no_choices() {
    let pipeline = Uuid::from_u128(1);
    let text = format!(r#"{{"command":"adopt","pipeline":"{pipeline}","version":2}}"#);
    let expected = LogCommand::Adopt { pipeline, version: 2, document: None, state: StateChoices::new() };
    assert_eq!(LogCommand::read(text.as_bytes()).unwrap(), expected);
    assert_eq!(String::from_utf8(expected.to_json()).unwrap(), text);
}

#[test]
fn custom_fields_keep_their_digits() {
    let open = &every_command()[2];
    let text = String::from_utf8(LogCommand::read(&open.to_json()).unwrap().to_json()).unwrap();
    assert!(text.contains("1842.00000000000000025"), "{text}");
    assert!(text.contains("12345678901234567890123"), "{text}");
}

#[test]
fn a_command_without_one_of_its_fields_is_damage() {
    let pipeline = Uuid::from_u128(1);
    for text in [
        r#"{"command":"adopt","version":1}"#.to_owned(),
        format!(r#"{{"command":"adopt","pipeline":"{pipeline}"}}"#),
        format!(r#"{{"command":"unknown","pipeline":"{pipeline}"}}"#),
        "{}".to_owned(),
    ] {
        let why = LogCommand::read(text.as_bytes()).unwrap_err();
        assert_eq!(why.kind, Kind::Corrupt, "{text}");
    }
}
