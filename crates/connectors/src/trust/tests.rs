//! A table of certificates a server may show, and whether they are accepted.

use std::time::Duration;

use rcgen::{BasicConstraints, CertificateParams, IsCa, KeyPair, date_time_ymd};

use super::*;

/// A certificate that signs itself, for `localhost` until a year.
fn certificate(is_ca: bool, until: i32) -> CertificateDer<'static> {
    let mut params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    params.is_ca = match is_ca {
        true => IsCa::Ca(BasicConstraints::Unconstrained),
        false => IsCa::NoCa,
    };
    params.not_before = date_time_ymd(2020, 1, 1);
    params.not_after = date_time_ymd(until, 1, 1);
    let key = KeyPair::generate().unwrap();
    params.self_signed(&key).unwrap().der().clone()
}

fn verify(given: &CertificateDer<'static>, shown: &CertificateDer<'_>, name: &str) -> Result<(), Error> {
    let provider = Arc::new(ring::default_provider());
    let mut roots = RootCertStore::empty();
    roots.add(given.clone()).unwrap();
    let chains = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider).build();
    let verifier = Given { chains: chains.unwrap(), given: vec![given.clone()] };
    let name = ServerName::try_from(name).unwrap();
    // 2023.
    let now = UnixTime::since_unix_epoch(Duration::from_secs(1_700_000_000));
    verifier.verify_server_cert(shown, &[], &name, &[], now).map(drop)
}

#[test]
fn a_given_certificate_is_accepted_also_if_it_is_an_authority() {
    let (leaf, authority) = (certificate(false, 2030), certificate(true, 2030));
    assert_eq!(verify(&leaf, &leaf, "localhost"), Ok(()));
    assert_eq!(verify(&authority, &authority, "localhost"), Ok(()));
}

#[test]
fn another_certificate_a_wrong_name_and_an_expired_one_are_refused() {
    let authority = certificate(true, 2030);
    let cases = [("another authority", certificate(true, 2030), "localhost"), ("another name", authority.clone(), "example.com")];
    for (what, shown, name) in cases {
        assert!(verify(&authority, &shown, name).is_err(), "{what}");
    }
    let expired = certificate(true, 2022);
    assert!(verify(&expired, &expired, "localhost").is_err(), "expired");
}

#[test]
fn a_text_without_a_certificate_is_refused() {
    assert!(client(Some(b"no PEM")).unwrap_err().contains("no certificate"));
    assert!(client(None).is_ok());
}
