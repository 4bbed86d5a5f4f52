//! TLS to targets: whom we trust, and our own certificate.

use std::sync::Arc;

use flowmeter_core::pipeline::TlsPlan;
use flowmeter_engine::{Error, Kind};
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};

fn wrong(what: &str, why: impl std::fmt::Display) -> Error {
    Error::new(Kind::Invalid, format!("tls.{what}: {why}; it must be PEM, as ${{file:PATH}}"))
}

/// As the document says; whoever everybody trusts, where it says nothing.
///
/// # Errors
/// A certificate or a key is none.
pub(crate) fn of(plan: &TlsPlan) -> Result<ClientConfig, Error> {
    let text = |written: &Option<String>| written.as_deref().map(crate::expand).transpose();
    let (ca, certificate, key) = (text(&plan.ca)?, text(&plan.certificate)?, text(&plan.key)?);
    let mut roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
    if let Some(ca) = ca {
        roots = RootCertStore::empty();
        for authority in CertificateDer::pem_slice_iter(ca.as_bytes()) {
            roots.add(authority.map_err(|why| wrong("ca", why))?).map_err(|why| wrong("ca", why))?;
        }
    }
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|why| wrong("ca", why))?
        .with_root_certificates(roots);
    match (certificate, key) {
        (None, None) => Ok(builder.with_no_client_auth()),
        (Some(certificate), Some(key)) => {
            let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(certificate.as_bytes()).collect();
            let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).map_err(|why| wrong("key", why))?;
            builder.with_client_auth_cert(chain.map_err(|why| wrong("certificate", why))?, key).map_err(|why| wrong("key", why))
        }
        _ => Err(wrong("certificate", "a certificate and its key go together")),
    }
}
