//! Which servers are trusted: those of the public authorities, or those of given
//! certificates.
//!
//! A certificate made by `openssl req -x509` signs itself: it is an authority and a server's
//! certificate at once. rustls refuses an authority as a server's certificate. Here it is
//! accepted if it is byte for byte one of the given ones, as curl and OpenSSL do; its name and
//! the time until which it is valid are checked as always.

#[cfg(test)]
mod tests;

use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{WantsClientCert, WebPkiServerVerifier, verify_server_name};
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, ClientConfig, ConfigBuilder, DigitallySignedStruct};
use rustls::{Error, RootCertStore, SignatureScheme};

/// Returns the configuration of a client that trusts the certificates of a PEM text; the
/// public authorities without one.
///
/// # Errors
/// The text has no certificate, or one that is none.
pub fn client(ca: Option<&[u8]>) -> Result<ClientConfig, String> {
    Ok(builder(ca)?.with_no_client_auth())
}

/// A configuration that still may have a certificate of the client.
type Builder = ConfigBuilder<ClientConfig, WantsClientCert>;

/// The same, for a client that may show a certificate of its own.
pub(crate) fn builder(ca: Option<&[u8]>) -> Result<Builder, String> {
    let provider = Arc::new(ring::default_provider());
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider));
    let builder = builder.with_safe_default_protocol_versions().map_err(|why| why.to_string())?;
    let Some(pem) = ca else {
        let roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
        return Ok(builder.with_root_certificates(roots));
    };
    let given = CertificateDer::pem_slice_iter(pem).collect::<Result<Vec<_>, _>>();
    let given = given.map_err(|why| why.to_string())?;
    if given.is_empty() {
        return Err("there is no certificate (PEM) in it".to_owned());
    }
    let mut roots = RootCertStore::empty();
    for certificate in &given {
        roots.add(certificate.clone()).map_err(|why| why.to_string())?;
    }
    let chains = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider).build();
    let chains = chains.map_err(|why| why.to_string())?;
    let verifier = Arc::new(Given { chains, given });
    Ok(builder.dangerous().with_custom_certificate_verifier(verifier))
}

/// Accepts what leads to a given certificate, and a given certificate itself.
#[derive(Debug)]
struct Given {
    chains: Arc<WebPkiServerVerifier>,
    given: Vec<CertificateDer<'static>>,
}

impl Given {
    /// Whether an authority was refused only because it is one. Its validity was checked
    /// before that.
    fn is_only_an_authority(why: &Error) -> bool {
        let Error::InvalidCertificate(CertificateError::Other(why)) = why else { return false };
        let why = why.0.downcast_ref::<webpki::Error>();
        matches!(why, Some(webpki::Error::CaUsedAsEndEntity))
    }
}

impl ServerCertVerifier for Given {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let (shown, above, name) = (end_entity, intermediates, server_name);
        match self.chains.verify_server_cert(shown, above, name, ocsp_response, now) {
            Err(why) if Given::is_only_an_authority(&why) && self.given.contains(end_entity) => {
                verify_server_name(&ParsedCertificate::try_from(end_entity)?, server_name)?;
                Ok(ServerCertVerified::assertion())
            }
            verified => verified,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.chains.verify_tls12_signature(message, certificate, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.chains.verify_tls13_signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.chains.supported_verify_schemes()
    }
}
