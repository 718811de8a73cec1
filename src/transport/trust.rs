//! [`Trust`], which servers are believed: those of the system's certificates and the operator's, or of
//! one CA alone. And what is said when a server's certificate is not among them.

use std::error::Error as StdError;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::{self, PemObject};
use rustls::{CertificateError, ClientConfig, RootCertStore};
use thiserror::Error;

/// Why there are no trusted certificates.
#[derive(Debug, Error)]
pub enum TrustError {
    /// The file that `--ca-file` names.
    #[error("--ca-file {}: expected PEM certificates", path.display())]
    CaFile {
        /// The file.
        path: PathBuf,
        /// Why it cannot be read.
        source: pem::Error,
    },
    /// The file that `--ca-file` names has none in it.
    #[error("--ca-file {}: expected PEM certificates, found none", .0.display())]
    CaFileEmpty(PathBuf),
    /// A CA that was to be the only one is none.
    #[error("expected PEM certificates")]
    Pem(#[source] pem::Error),
    /// A CA that was to be the only one has no certificate.
    #[error("expected PEM certificates, found none that can be used")]
    PemEmpty,
    /// Nobody could be believed.
    #[error(
        "no trusted certificates: expected the system's (package ca-certificates), SSL_CERT_FILE, SSL_CERT_DIR or \
         --ca-file"
    )]
    NoRoots,
    /// The TLS library refuses its own defaults.
    #[error("TLS cannot be set up")]
    Library(#[source] rustls::Error),
}

/// Who vouches for servers. Clones are cheap.
#[derive(Clone, Debug)]
pub struct Trust(ClientConfig);

impl Trust {
    /// The system's certificates, those that `SSL_CERT_FILE` and `SSL_CERT_DIR` name, and the operator's.
    pub(super) fn usual(ca_file: Option<&Path>) -> Result<Self, TrustError> {
        let mut roots = RootCertStore::empty();
        // The crate reads SSL_CERT_FILE and SSL_CERT_DIR, and the system's files where neither is set.
        // What it cannot read is not fatal as long as something is left.
        let system = rustls_native_certs::load_native_certs();
        for error in &system.errors {
            tracing::warn!(%error, "some trusted certificates cannot be read");
        }
        roots.add_parsable_certificates(system.certs);
        if let Some(path) = ca_file {
            roots.add_parsable_certificates(ca_certificates(path)?);
        }
        if roots.is_empty() {
            return Err(TrustError::NoRoots);
        }
        Self::new(roots)
    }

    /// These certificates, in PEM, and no others.
    pub fn only(pem: &[u8]) -> Result<Self, TrustError> {
        let certificates: Vec<_> = CertificateDer::pem_slice_iter(pem)
            .collect::<Result<_, _>>()
            .map_err(TrustError::Pem)?;
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(certificates);
        if roots.is_empty() {
            return Err(TrustError::PemEmpty);
        }
        Self::new(roots)
    }

    /// TLS 1.2 and 1.3 by ring.
    fn new(roots: RootCertStore) -> Result<Self, TrustError> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(TrustError::Library)?
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(Self(config))
    }

    /// TLS for HTTP/2 where the server has it.
    pub(super) fn tls(&self) -> ClientConfig {
        self.tls_for(&[b"h2", b"http/1.1"])
    }

    /// TLS for these protocols, the preferred one first.
    pub(super) fn tls_for(&self, protocols: &[&[u8]]) -> ClientConfig {
        let mut config = self.0.clone();
        config.alpn_protocols = protocols.iter().map(|name| name.to_vec()).collect();
        config
    }
}

fn ca_certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TrustError> {
    let unreadable = |source| TrustError::CaFile {
        path: path.to_owned(),
        source,
    };
    let certificates: Vec<_> = CertificateDer::pem_file_iter(path)
        .map_err(unreadable)?
        .collect::<Result<_, _>>()
        .map_err(unreadable)?;
    if certificates.is_empty() {
        return Err(TrustError::CaFileEmpty(path.to_owned()));
    }
    Ok(certificates)
}

/// What is wrong with the server's certificate, if that is what an error was made of.
pub(super) fn failure_in(error: &(dyn StdError + 'static)) -> Option<String> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(rustls::Error::InvalidCertificate(problem)) = error.downcast_ref() {
            return Some(in_words(problem));
        }
        // A handshake's error travels inside I/O errors, one in the other, and an I/O error gives what is
        // inside it only when asked for it: its `source` is the source of that.
        next = match error
            .downcast_ref::<io::Error>()
            .and_then(io::Error::get_ref)
        {
            Some(inner) => Some(inner),
            None => error.source(),
        };
    }
    None
}

fn in_words(problem: &CertificateError) -> String {
    match problem {
        CertificateError::UnknownIssuer => "its issuer is not trusted".to_owned(),
        // Another CA of the same name: an old one, mostly.
        CertificateError::BadSignature => {
            "it is not signed by the trusted issuer of that name".to_owned()
        }
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            "it has expired".to_owned()
        }
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            "it is not valid yet".to_owned()
        }
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            "it is for another host".to_owned()
        }
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificates_problem_is_found_inside_io_errors() {
        let problem = rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer);
        let nested = io::Error::other(io::Error::new(io::ErrorKind::InvalidData, problem));
        assert_eq!(
            failure_in(&nested).as_deref(),
            Some("its issuer is not trusted")
        );
        assert_eq!(failure_in(&io::Error::other("something else")), None);
    }

    #[test]
    fn a_ca_alone_must_be_one() {
        for pem in [
            "",
            "text",
            "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
        ] {
            assert!(Trust::only(pem.as_bytes()).is_err(), "{pem}");
        }
    }
}
