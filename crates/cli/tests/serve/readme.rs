//! The README's commands do what it says.

use serde_json::Value;

use crate::support::root;
use crate::support::server::Server;

/// The lines of the README's first block under a heading that begin with a word.
fn commands(heading: &str, word: &str) -> Vec<String> {
    let text = std::fs::read_to_string(root().join("README.md")).unwrap();
    let section = text.split(&format!("\n## {heading}\n")).nth(1).unwrap_or_else(|| panic!("no section {heading}"));
    let block = section.split("```").nth(1).unwrap().replace("\\\n", " ");
    block.lines().filter(|line| line.starts_with(word)).map(str::to_owned).collect()
}

#[test]
fn an_event_is_counted_and_the_meter_shown() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path(), &[]);
    let curls = commands("Serve", "curl ");
    assert_eq!(curls.len(), 2);
    let mut shown = String::new();
    for curl in curls {
        let here = curl
            .replace("http://127.0.0.1:8888", &server.url)
            .replace("localhost:8888", server.url.trim_start_matches("http://"));
        assert_ne!(here, curl, "the address of `flowmeter serve`");
        let output = std::process::Command::new("sh").args(["-c", &here]).env("no_proxy", "127.0.0.1").output();
        let output = output.unwrap();
        assert!(output.status.success(), "{here}: {}", String::from_utf8_lossy(&output.stderr));
        shown = String::from_utf8(output.stdout).unwrap();
    }
    let meters: Value = serde_json::from_str(&shown).unwrap();
    assert_eq!((&meters["items"][0]["userId"], &meters["items"][0]["value"]), (&"anna".into(), &1.into()), "{meters}");
}
