//! The server's certificate.
//!
//! It uses rustls with ring; TLS 1.2 and 1.3 with rustls' own choice of ciphers, so there is
//! nothing to misconfigure. The certificate can be replaced while the server runs
//! ([`Tls::reload`]): certificates with a lifetime of weeks are renewed without a restart, and a
//! renewal that cannot be read leaves the old one in use.

#[cfg(test)]
mod tests;

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

use flowmeter_core::time::Timestamp;
use rustls::ServerConfig;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use x509_cert::der::Decode;

/// The error of the files, with its remedy.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Error(String);

/// A certificate with its key, from two PEM files.
#[derive(Debug)]
pub struct Tls {
    config: Arc<ServerConfig>,
    resolver: Arc<Resolver>,
}

impl Tls {
    /// Reads `tls.cert` (the server's certificate first, then those between it and the
    /// root) and `tls.key` (PKCS#8, PKCS#1 or SEC1, without a passphrase).
    ///
    /// # Errors
    /// A file that cannot be read, holds something else, or a key of another certificate.
    pub fn load(cert: &Path, key: &Path) -> Result<Tls, Error> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let current = RwLock::new(Arc::new(read(cert, key, &provider)?));
        let resolver = Arc::new(Resolver { cert: cert.to_owned(), key: key.to_owned(), current });
        let builder = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let builder = builder.map_err(|why| Error(format!("TLS: {why}")))?;
        let mut config = builder.with_no_client_auth().with_cert_resolver(Arc::<Resolver>::clone(&resolver));
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(Tls { config: Arc::new(config), resolver })
    }

    /// Reads the files again; later connections use the new certificate.
    ///
    /// # Errors
    /// As [`load`](Self::load); the certificate in use stays in use.
    pub fn reload(&self) -> Result<(), Error> {
        let fresh = read(&self.resolver.cert, &self.resolver.key, self.config.crypto_provider())?;
        *self.resolver.current.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(fresh);
        Ok(())
    }

    /// Returns the instant at which the certificate in use expires; none if it does not say.
    pub(crate) fn expires_at(&self) -> Option<Timestamp> {
        let current = self.resolver.current.read().unwrap_or_else(PoisonError::into_inner);
        let certificate = x509_cert::Certificate::from_der(current.cert.first()?).ok()?;
        let seconds = certificate.tbs_certificate.validity.not_after.to_unix_duration().as_secs();
        Timestamp::from_scaled(i64::try_from(seconds).ok()?, 1_000_000_000)
    }

    /// Returns the configuration for rustls.
    pub(crate) fn config(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.config)
    }
}

struct Resolver {
    cert: PathBuf,
    key: PathBuf,
    current: RwLock<Arc<CertifiedKey>>,
}

impl ResolvesServerCert for Resolver {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.current.read().unwrap_or_else(PoisonError::into_inner)))
    }
}

impl fmt::Debug for Resolver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Resolver({}, {})", self.cert.display(), self.key.display())
    }
}

fn read(cert: &Path, key: &Path, provider: &CryptoProvider) -> Result<CertifiedKey, Error> {
    let chain = CertificateDer::pem_slice_iter(&bytes("tls.cert", cert)?).collect::<Result<Vec<_>, _>>();
    let chain = chain.map_err(|why| Error(format!("tls.cert: {}: not PEM: {why}", cert.display())))?;
    if chain.is_empty() {
        return Err(Error(format!("tls.cert: {}: no `BEGIN CERTIFICATE` in it; give the certificate as PEM", cert.display())));
    }
    let secret = PrivateKeyDer::from_pem_slice(&bytes("tls.key", key)?).map_err(|_| {
        let how =
            "no private key that can be read in it; give it as PEM, without a passphrase (`openssl pkey -in KEY -out PLAIN`)";
        Error(format!("tls.key: {}: {how}", key.display()))
    })?;
    CertifiedKey::from_der(chain, secret, provider).map_err(|why| match why {
        rustls::Error::InconsistentKeys(_) => {
            let (cert, key) = (cert.display(), key.display());
            Error(format!(
                "tls.key: {key} is not the key of the certificate in {cert}; the server's own certificate must come first"
            ))
        }
        why => Error(format!("tls.cert, tls.key: {} with {}: {why}", cert.display(), key.display())),
    })
}

fn bytes(setting: &str, path: &Path) -> Result<Vec<u8>, Error> {
    std::fs::read(path).map_err(|why| Error(format!("{setting}: {}: {why}; can the server's user read it?", path.display())))
}
