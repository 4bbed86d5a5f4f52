//! Commands that ask a server speak TLS, also with a certificate that signs itself.

#![allow(clippy::unwrap_used)] // a test that cannot continue stops

mod support;

use std::path::Path;
use std::process::Command;

use rcgen::{BasicConstraints, CertificateParams, IsCa, KeyPair};
use support::server::{Server, event};

/// A server with a certificate like that of `openssl req -x509`: it signs itself, and is an
/// authority.
fn started(folder: &Path) -> (Server, String) {
    let mut params = CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate().unwrap();
    let made = params.self_signed(&key).unwrap();
    let (cert, private) = (folder.join("cert.pem"), folder.join("key.pem"));
    std::fs::write(&cert, made.pem()).unwrap();
    std::fs::write(&private, key.serialize_pem()).unwrap();
    let set = [format!("tls.cert={}", cert.display()), format!("tls.key={}", private.display())];
    let server = Server::start(&folder.join("data"), &["--set", &set[0], "--set", &set[1]]);
    assert!(server.url.starts_with("https://"));
    (server, cert.display().to_string())
}

#[test]
fn every_client_command_trusts_the_certificate_of_ca() {
    let folder = tempfile::tempdir().unwrap();
    let (server, ca) = started(folder.path());
    let events = folder.path().join("events.ndjson");
    std::fs::write(&events, event("e1", "anna", 1.into()).to_string()).unwrap();
    let (events, to) = (events.display().to_string(), folder.path().join("backup").display().to_string());
    let commands: [&[&str]; 4] =
        [&["events", "send", &events, "--wait"], &["explain", "e1"], &["meters", "list"], &["backup", "--to", &to]];
    for arguments in commands {
        let run = |more: &[&str]| {
            let mut command = Command::new(env!("CARGO_BIN_EXE_flowmeter"));
            command.args(arguments).args(["--url", &server.url]).args(more).output().unwrap()
        };
        let refused = run(&[]);
        assert_eq!(refused.status.code(), Some(3), "{arguments:?}: {}", support::stderr(&refused));
        let accepted = run(&["--ca", &ca]);
        assert!(accepted.status.success(), "{arguments:?}: {}", support::stderr(&accepted));
    }
}

#[test]
fn a_ca_file_without_a_certificate_is_named_in_the_error() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("none.pem");
    std::fs::write(&file, "nothing").unwrap();
    let output = support::flowmeter(&["meters", "list", "--ca", file.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(2));
    let said = support::stderr(&output);
    assert!(said.contains("none.pem") && said.contains("no certificate"), "{said}");
}
