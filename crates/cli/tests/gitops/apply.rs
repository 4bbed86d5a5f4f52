//! `flowmeter apply` and `flowmeter diff`.

use serde_json::Value;

use crate::support::server::{Server, event};
use crate::{client, parts, write};

const KEY: &str = "5a1d7c52-43d2-4b43-9a63-7d1de7a0b5";

fn document(name: &str, number: u32, schedule: &str) -> String {
    format!(
        "pipeline: {name}
source: {{ http: {{}} }}
operators:
  - meter: {{ key: {KEY}{number:02}, rules: [{{ category: {name}, value: data.value }}] }}
meterTypes:
  - {{ name: Total of {name}, category: {name}, resetSchedule: {schedule} }}
targets:
  - none: {{}}
"
    )
}

#[test]
fn a_folder_of_documents_is_created_changed_and_left_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let server = Server::start(&folder.join("data"), &[]);
    let run = |arguments: &[&str]| parts(&client(&server, folder, arguments));
    write(folder, "git/b.yaml", &document("beta", 1, "monthly"));
    write(folder, "git/a.yml", &document("alpha", 2, "monthly"));
    write(folder, "git/flowmeter.schema.json", "{}");
    write(folder, "git/.hidden.yaml", "not a pipeline");
    write(folder, "git/notes.txt", "not a pipeline");

    let (code, said, why) = run(&["apply", "-f", "git", "--dry-run"]);
    assert_eq!((code, said.as_str()), (0, "created    alpha\ncreated    beta\n"), "{why}");
    assert!(why.contains("dry run: nothing was changed"), "{why}");
    assert_eq!(run(&["pipelines", "show", "beta"]).0, 2, "a dry run creates nothing");
    assert_eq!(run(&["apply", "-f", "git"]).1, "created    alpha\ncreated    beta\n");
    assert_eq!(run(&["apply", "-f", "git"]).1, "unchanged  alpha\nunchanged  beta\n");
    assert_eq!(run(&["diff", "-f", "git"]), (0, "unchanged  alpha\nunchanged  beta\n".to_owned(), String::new()));

    // Spelling is not a difference: comments, defaults, quotes, YAML or JSON.
    let same = format!("# a comment\nfutureTolerance: \"5m\"\n{}", document("beta", 1, "monthly"));
    write(folder, "git/b.yaml", &same);
    assert_eq!(run(&["diff", "-f", "git/b.yaml"]).1, "unchanged  beta\n");

    // A change has its effects on the meters that exist in its line, and is sent once.
    assert_eq!(run(&["pipelines", "run", "beta"]).0, 0);
    server.count(&[event("1", "anna", 2.into()), event("2", "bob", 3.into())]);
    write(folder, "git/b.yaml", &document("beta", 1, "weekly").replace("none: {}", "file: { path: out.ndjson }"));
    let (code, said, why) = run(&["diff", "-f", "git"]);
    assert_eq!(code, 1, "{said}{why}");
    let expected = "\nchanged    beta  version 2; 2 meters stay; meters of `Total of beta` have the new periods from ";
    assert!(said.contains(expected), "{said}");
    assert!(said.contains("; targets added: `file`; targets removed: `none`\n"), "{said}");
    assert!(said.contains("--- beta, version 1 on the server\n+++ git/b.yaml\n@@ "), "{said}");
    assert!(said.contains("\n-    resetSchedule: monthly\n+    resetSchedule: weekly\n"), "{said}");
    let (code, said, why) = run(&["apply", "-f", "git/a.yml", "-f", "git/b.yaml", "--output", "json"]);
    assert_eq!(code, 0, "{why}");
    let results: Value = serde_json::from_str(&said).unwrap();
    let short: Vec<_> = results.as_array().unwrap().iter().map(|one| (&one["result"], &one["version"])).collect();
    assert_eq!(serde_json::json!(short), serde_json::json!([["unchanged", 1], ["changed", 2]]), "{said}");
    assert_eq!(results[1]["effects"]["keeps"]["meters"], 2, "{said}");
    assert_eq!(run(&["diff", "-f", "git"]).0, 0);
}

#[test]
fn nothing_is_sent_if_one_document_is_wrong() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let server = Server::start(&folder.join("data"), &[]);
    let good = document("good", 1, "monthly");
    write(folder, "git/a.yaml", &good);
    std::fs::create_dir(folder.join("empty")).unwrap();
    let renamed = good.replace("name: Total of good", "name: Other");
    for (name, text, expected) in [
        ("z.yaml", good.replace("monthly", "montly"), "git/z.yaml:6:59: meterTypes[0].resetSchedule: unknown value `montly`"),
        ("z.yaml", good.clone(), "git/z.yaml: the pipeline `good` is in git/a.yaml as well; keep one of them"),
        ("z.json", "[1]".to_owned(), "nothing was sent: 1 of 2 documents cannot be used; see above"),
    ] {
        write(folder, &format!("git/{name}"), &text);
        for command in ["apply", "diff"] {
            let (code, said, why) = parts(&client(&server, folder, &[command, "-f", "git"]));
            assert_eq!((code, said.as_str()), (2, ""), "{expected}: {why}");
            assert!(why.contains(expected), "{expected}: {why}");
        }
        std::fs::remove_file(folder.join("git").join(name)).unwrap();
    }
    let run = |arguments: &[&str]| parts(&client(&server, folder, arguments));
    assert_eq!(run(&["pipelines", "show", "good"]).0, 2, "nothing was sent");
    for (path, expected) in [("empty", "-f empty: the folder has no *.yaml"), ("nowhere", "-f nowhere: No such file")] {
        let (code, _, why) = run(&["apply", "-f", path]);
        assert!(code == 2 && why.contains(expected), "{code} {why}");
    }
    let (code, _, why) = run(&["apply", "-f", "git", "--url", "http://127.0.0.1:1"]);
    assert!(code == 3 && why.contains("no answer from http://127.0.0.1:1"), "{code} {why}");

    // Meters exist in the type that the change takes away: the dry run is refused before anything.
    assert_eq!(run(&["apply", "-f", "git"]).0, 0);
    assert_eq!(run(&["pipelines", "run", "good"]).0, 0);
    server.count(&[event("1", "anna", 2.into())]);
    write(folder, "git/0.yaml", &document("first", 4, "monthly"));
    write(folder, "git/a.yaml", &renamed);
    let (code, _, why) = run(&["apply", "-f", "git"]);
    assert!(code == 2 && why.contains("git/a.yaml: "), "{code} {why}");
    assert_eq!(run(&["pipelines", "show", "first"]).0, 2, "the first document was not sent");
}

#[test]
fn scripts_beside_a_document_are_sent_with_it() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let server = Server::start(&folder.join("data"), &[]);
    // The steps of a map have an order that must survive.
    let steps =
        "operators:\n  - map: { set: { data.z: 'data.value * 2', data.a: 'data.z + 1' } }\n  - script: { file: lib/double.js }\n";
    let text = document("scripted", 1, "monthly").replace("operators:\n", steps);
    write(folder, "git/s.yaml", &text);
    write(folder, "git/lib/double.js", "function step(event) { return event; }\n");
    let run = |arguments: &[&str]| parts(&client(&server, folder, arguments));
    let (code, said, why) = run(&["apply", "-f", "git"]);
    assert_eq!((code, said.as_str()), (0, "created    scripted\n"), "{why}");
    assert_eq!(run(&["apply", "-f", "git"]).1, "unchanged  scripted\n");
    let kept = server.get("/api/v1/pipelines/scripted");
    let effective = kept["effective"].as_str().unwrap();
    assert!(effective.contains("function step(event)"), "{effective}");
    assert!(effective.find("data.z:") < effective.find("data.a:"), "{effective}");
    write(folder, "git/lib/double.js", "function step(event) { return [event]; }\n");
    let (code, said, why) = run(&["diff", "-f", "git"]);
    assert!(code == 1 && said.contains("return [event]"), "{code} {said} {why}");
    std::fs::remove_file(folder.join("git/lib/double.js")).unwrap();
    let (code, _, why) = run(&["apply", "-f", "git"]);
    assert!(code == 2 && why.contains("operators[1].script.file: `lib/double.js`: No such file"), "{code} {why}");
}

#[test]
fn a_key_that_may_only_read_sees_differences() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let data = folder.join("data");
    let key = |scope: &str| {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_flowmeter"));
        command.args(["keys", "create", "--name", scope, "--scope", scope, "--output", "json", "--data"]).arg(&data);
        let made: Value = serde_json::from_slice(&command.output().unwrap().stdout).unwrap();
        made["secret"].as_str().unwrap().to_owned()
    };
    let (admin, read) = (key("admin"), key("read"));
    let server = Server::start(&data, &["--set", "auth.required=true"]);
    let run = |arguments: &[&str]| parts(&client(&server, folder, arguments));
    write(folder, "p.yaml", &document("p", 1, "monthly"));
    assert_eq!(run(&["apply", "-f", "p.yaml", "--key", &admin]).1, "created    p\n");
    write(folder, "p.yaml", &document("p", 1, "weekly"));
    let (code, said, why) = run(&["diff", "-f", "p.yaml", "--key", &read]);
    assert_eq!(code, 1, "{why}");
    assert!(said.starts_with("changed    p  version 2; effects are unknown: the key lacks the scope admin\n--- p,"), "{said}");
    let (code, said, why) = run(&["apply", "-f", "p.yaml", "--key", &read]);
    assert!((code, said.as_str()) == (2, "") && why.contains("p.yaml: ") && why.contains("scope_missing"), "{code} {why}");
}
