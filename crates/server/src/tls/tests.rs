//! Certificates are read, refused and replaced.

use std::fs;
use std::path::PathBuf;

use super::Tls;

struct Files {
    _folder: tempfile::TempDir,
    cert: PathBuf,
    key: PathBuf,
}

fn files(cert: &str, key: &str) -> Files {
    let folder = tempfile::tempdir().unwrap();
    let files = Files { cert: folder.path().join("cert.pem"), key: folder.path().join("key.pem"), _folder: folder };
    fs::write(&files.cert, cert).unwrap();
    fs::write(&files.key, key).unwrap();
    files
}

fn made() -> (String, String) {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    (made.cert.pem(), made.signing_key.serialize_pem())
}

#[test]
fn files_that_are_refused() {
    let ((cert, key), (_, other)) = (made(), made());
    let cases = [
        ("", key.as_str(), "no `BEGIN CERTIFICATE`"),
        (&key, &key, "no `BEGIN CERTIFICATE`"),
        (&cert, "", "no private key"),
        (&cert, &cert, "no private key"),
        (&cert, &other, "is not the key of the certificate"),
    ];
    for (cert, key, expected) in cases {
        let files = files(cert, key);
        let why = Tls::load(&files.cert, &files.key).unwrap_err().to_string();
        assert!(why.contains(expected), "{why}");
        assert!(!why.contains("BEGIN PRIVATE"), "{why}");
    }
    let files = files(&cert, &key);
    let why = Tls::load(&files.cert, &files.key.with_extension("gone")).unwrap_err().to_string();
    assert!(why.starts_with("tls.key: ") && why.contains("can the server's user read it?"), "{why}");
}

#[test]
fn a_renewal_that_cannot_be_read_changes_nothing() {
    let (cert, key) = made();
    let files = files(&cert, &key);
    let tls = Tls::load(&files.cert, &files.key).unwrap();
    let used = || tls.resolver.current.read().unwrap().cert[0].clone();
    let first = used();
    fs::write(&files.cert, "half a fi").unwrap();
    assert!(tls.reload().is_err());
    assert_eq!(used(), first);
    let (cert, key) = made();
    fs::write(&files.cert, cert).unwrap();
    fs::write(&files.key, key).unwrap();
    tls.reload().unwrap();
    assert_ne!(used(), first);
}
