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
fn the_expiry_is_that_of_the_certificate_in_use() {
    let mut wanted = rcgen::CertificateParams::new(["localhost".to_owned()]).unwrap();
    let mut write = |year, files: Option<&Files>| {
        wanted.not_after = rcgen::date_time_ymd(year, 11, 30);
        let key = rcgen::KeyPair::generate().unwrap();
        let (cert, key) = (wanted.self_signed(&key).unwrap().pem(), key.serialize_pem());
        match files {
            None => return Some(self::files(&cert, &key)),
            Some(files) => {
                fs::write(&files.cert, cert).unwrap();
                fs::write(&files.key, key).unwrap();
            }
        }
        None
    };
    let files = write(2031, None).unwrap();
    let tls = Tls::load(&files.cert, &files.key).unwrap();
    assert_eq!(tls.expires_at().unwrap().to_string(), "2031-11-30T00:00:00.000Z");
    write(2032, Some(&files));
    tls.reload().unwrap();
    assert_eq!(tls.expires_at().unwrap().to_string(), "2032-11-30T00:00:00.000Z");
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
