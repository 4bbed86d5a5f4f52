//! TLS to services and targets: the trusted authorities and the client certificate.

use flowmeter_core::service::TlsPlan;
use flowmeter_engine::{Error, Kind};
use rustls::ClientConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use crate::trust;

fn wrong(what: &str, why: impl std::fmt::Display) -> Error {
    Error::new(Kind::Invalid, format!("tls.{what}: {why}; it must be PEM, as ${{file:PATH}}"))
}

/// Returns the configuration of the document; by default, with the public CA roots.
///
/// # Errors
/// A certificate or a key is invalid.
pub(crate) fn of(plan: &TlsPlan) -> Result<ClientConfig, Error> {
    let text = |written: &Option<String>| written.as_deref().map(crate::expand).transpose();
    let (ca, certificate, key) = (text(&plan.ca)?, text(&plan.certificate)?, text(&plan.key)?);
    let builder = trust::builder(ca.as_deref().map(str::as_bytes)).map_err(|why| wrong("ca", why))?;
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

/// Selects the cryptography of the process, which the library of object storage uses: ring, as
/// everywhere.
pub(crate) fn prefer_ring() {
    // It fails only if it was set before.
    drop(rustls::crypto::ring::default_provider().install_default());
}
